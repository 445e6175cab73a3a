"""Every method that a notebook names has its paper under "Further reading", and every link is in references.toml."""

import re
import tomllib

import nbformat
import pytest

from course import exercises
from imgcls import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
REFERENCES = tomllib.loads((paths.NOTEBOOKS / "references.toml").read_text(encoding="utf-8"))
FIELDS = {"title": str, "authors": str, "year": int, "url": str, "methods": list}
LINK = re.compile(r"\]\(<?(https?://[^)\s>]+)|<(https?://[^>\s]+)>|(?<![(<\[\w])(https?://[^\s<>)\]`]+[^\s<>)\]`.,;:])")


def prose(notebook):
    """Markdown of a notebook without exercises, code and formulas: the main text, and the list of further reading."""
    cells = nbformat.read(notebook, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown" and not exercises.part_of(cell))
    text = re.sub(r"```.*?```|`[^`\n]*`|\$[^$]+\$", " ", text, flags=re.S)
    main, _, rest = text.partition("\n## Further reading\n")
    reading, _, after = rest.partition("\n## ")
    return f"{main}\n{after}", reading


def named(text, phrase):
    """Whether a text names a method; not as a part of another word, nor of a longer name such as Grad-CAM++."""
    pattern = re.escape(phrase).replace(r"\ ", r"[\s-]+").replace(r"\-", "[-\u2011]")
    return re.search(rf"(?<![\w-]){pattern}(?![\w+])", text, 0 if phrase != phrase.lower() else re.I) is not None


def normalised(url):
    """An address without what may differ between links to one work."""
    url = re.sub(r"^https?://(?:www\.|dx\.)?", "", url).partition("#")[0].rstrip("/")
    return re.sub(r"^(arxiv\.org)/pdf/([\d.]+?)(?:\.pdf)?$", r"\1/abs/\2", re.sub(r"v\d+$", "", url)).lower()


def addresses(work):
    return [normalised(url) for url in (work["url"], *work.get("also", ()))]


def is_linked(work, links):
    return any(link == url or link.startswith(f"{url}/") for link in links for url in addresses(work))


def links(text):
    return {normalised("".join(match.groups(""))) for match in LINK.finditer(text)}


def works_of(phrase, references):
    return [work for work in references.values() if phrase in work["methods"]]


def unlinked(text, reading, references=REFERENCES):
    """A line for "Further reading" for each method that the text names without a link to one of its works."""
    found = {}
    for phrase in sorted({phrase for work in references.values() for phrase in work["methods"]}):
        works = works_of(phrase, references)
        if named(text, phrase) and not any(is_linked(work, links(reading)) for work in works):
            one = works[0]
            line = f"- [{one['authors']} {one['year']}, {one['title']}]({one['url']})"
            found.setdefault(line, []).append(phrase)
    return [f"{line}   # {', '.join(phrases)}" for line, phrases in found.items()]


@pytest.mark.parametrize("key", REFERENCES)
def test_a_reference_is_complete(key):
    work = REFERENCES[key]
    assert set(FIELDS) <= set(work) <= {*FIELDS, "also"}
    assert all(isinstance(work[field], kind) for field, kind in FIELDS.items())
    assert 1900 < work["year"] <= 2026
    assert all(url.startswith("https://") and not url.endswith("/") for url in (work["url"], *work.get("also", ())))
    assert all(phrase.strip() == phrase and phrase for phrase in work["methods"])


def test_no_work_is_listed_twice():
    urls = [url for work in REFERENCES.values() for url in addresses(work)]
    assert sorted(urls) == sorted(set(urls))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_method_has_its_paper_under_further_reading(notebook):
    text, reading = prose(notebook)
    missing = unlinked(text, reading)
    assert not missing, "add to Further reading:\n" + "\n".join(missing)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_link_is_known(notebook):
    text, reading = prose(notebook)
    found = links(text + reading)
    unknown = {link for link in found if not any(is_linked(work, {link}) for work in REFERENCES.values())}
    assert not unknown, "add the work to notebooks/references.toml, or link it by another address"


def test_a_method_without_its_paper_is_found():
    text = "Batch-norm and Grad-CAM++ after\nAdamW, with a temperature scaling of `Muon` and Madam."
    lines = unlinked(text, "- [Ioffe](https://arxiv.org/pdf/1502.03167v3) and <https://arxiv.org/abs/1706.04599>")
    assert [line.partition("   # ")[2] for line in lines] == ["AdamW", "Grad-CAM++", "Muon"]
    assert lines[0].startswith("- [Loshchilov and Hutter 2019, Decoupled weight decay regularization](https://arxiv")


def test_one_of_several_works_is_enough():
    assert unlinked("An AUROC.", "[x](https://doi.org/10.1148/radiology.143.1.7063747)") == []
    assert len(unlinked("An AUROC.", "[x](https://arxiv.org/abs/1512.03385)")) == 1


def test_links_are_found_in_every_way_of_writing_them():
    text = "[a](https://a.org/b#c), [d](<https://d.org>), <https://e.org/> and https://www.f.org/g. No [h](h.ipynb)."
    assert links(text) == {"a.org/b", "d.org", "e.org", "f.org/g"}
