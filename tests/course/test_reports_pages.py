"""What pages are made of: exercises, pictures, the index, and what `make figures` keeps for the README."""

import base64
import io
import json
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from test_pages import COURSE, EXERCISE
from test_reports import NAME, assert_self_contained, cell, figure, png, render, text, tree

from course.reports import export, figures, index
from course.reports.files import Files
from imgcls import paths

__all__ = ["tree"]  # a fixture
HEADLINE = [{"metric": "accuracy", "model": "net", "value": 0.86, "low": 0.85, "high": 0.87, "n": 100}]
CLAIM = {"what": "accuracy", "claimed": 0.8, "as_published": "n/a", "repaired": None, "best": 0.91}
CLAIM["intervals"] = {"best": [0.9, 1.02]}


def photograph(size, seed=0):
    """A picture in a few dozen colours, as `plots.show` makes them, of which no two parts are alike."""
    noise = np.random.default_rng(seed).integers(0, 64, (size[1], size[0]), dtype=np.uint8)
    picture = Image.fromarray(noise, "L").convert("RGB").quantize(48)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_an_exercise_is_one_box_with_its_solution_folded(tree):
    source = render(tree, text("## A part"), *EXERCISE, text("## Another"))
    page = assert_self_contained(source)
    box = re.search(r'<section class="callout try-it exercise" aria-labelledby="([^"]+)">(.*?)</section>', source, re.S)
    assert f'<h3 id="{box[1]}">Try it: add up</h3>' in box[2]
    assert re.findall(r"<summary>(\w+)", box[2]) == ["Given", "Start", "Solution", "Check"]
    assert 'class="formula"' in box[2] or "<svg" in box[2]
    assert page.folded.count("code") == source.count('<pre class="code">')
    assert re.findall(r"<details [^>]*open[^>]*><summary>(\w+)", box[2]) == ["Start"]
    assert box[2].index("Check") < box[2].index("is right") < box[2].rindex("</details>")
    assert source.count("<section") == source.count("</section") == 2  # the card is the other
    assert "Another" in source[box.end() :]


def test_an_exercise_without_its_check_is_refused(tree):
    with pytest.raises(RuntimeError, match=r"exercise 1 at cell .* its cells must be task, given, start"):
        render(tree, *EXERCISE[:-1])


DIAGNOSTICS = re.compile(r'<details class="section"><summary><h2 id="diagnostics">Diagnostics</h2>(.*?)</summary>')


def test_the_section_diagnostics_is_folded_and_its_figures_are_counted(tree):
    shown = [cell(f"draw({k})", outputs=[figure()]) for k in range(4)]
    source = render(tree, text("## A\n\nOne."), shown[0], text("## Diagnostics\n\n### Below\n\nTwo."), *shown[1:3],
                    text("Three.\n\n## B\n\n### C\n\nFour."), shown[3])  # fmt: skip
    page = assert_self_contained(source)
    begin, end = DIAGNOSTICS.search(source), source.index('</details><h2 id="b">')
    assert begin[1] == "<span>2 figures</span>"
    folded = source[begin.end() : end]
    assert [word for word in ("One.", "Two.", "Three.", "Four.") if word in folded] == ["Two.", "Three."]
    assert re.findall(r'<figure id="figure-(\d)', folded) == ["2", "3"]
    linked = [link["href"][1:] for link in page.all("a") if link.get("href", "").startswith("#")]
    assert linked == ["content", *["a", "diagnostics", "b", "c"] * 2]
    assert source.count("<details") == source.count("</details>")


def test_a_folded_section_may_be_the_last(tree):
    source = render(tree, text("## Diagnostics\n\nOne."))
    assert_self_contained(source)
    assert DIAGNOSTICS.search(source)[1] == ""
    assert source.count("<details") == source.count("</details>")


def test_a_report_leads_to_the_index_and_to_its_neighbours_by_title(tree):
    (tree / "notebooks" / "course.toml").write_text(COURSE)
    (tree / "notebooks" / "01_never.ipynb").write_text((tree / "notebooks" / f"{NAME}.ipynb").read_text())
    page = BeautifulSoup(render(tree, text("See [the first](01_never.ipynb#a)."), name="05_good"), "html.parser")
    assert page.select_one("main a")["href"] == "01_never.html#a"
    [link] = page.select(".neighbours a")
    assert (link["href"], link["rel"]) == ("01_never.html", ["prev"])
    assert link.get_text(" ", strip=True) == "Previous 01 A first notebook"
    page = BeautifulSoup(render(tree, text("## A"), name="01_never"), "html.parser")
    assert [link["href"] for link in page.select(".neighbours a")] == ["05_good.html"]
    assert {link["href"] for link in page.select(".kicker a, footer > p a")} == {"index.html"}


def test_a_link_to_a_notebook_that_does_not_exist_fails_the_report(tree):
    (tree / "notebooks" / "course.toml").write_text(COURSE)
    render(tree, text("[of the course, not written yet](./01_never.ipynb)"))
    with pytest.raises(RuntimeError, match=r"cell 3 .*'07_gone.ipynb#x' leads to a notebook that does not exist"):
        render(tree, text("[gone](07_gone.ipynb#x)"))


def test_the_index_shows_the_path_of_the_course(tree):
    (tree / "notebooks" / "course.toml").write_text(COURSE)
    (tree / "notebooks" / "01_never.ipynb").write_text((tree / "notebooks" / f"{NAME}.ipynb").read_text())
    (tree / "notebooks" / "profiles" / "durations.json").write_text('{"default": {"01_never": {"seconds": 130}}}')
    render(tree, text("## A"), seconds=70.0)
    page = BeautifulSoup((tree / "reports" / "index.html").read_text(), "html.parser")
    path = [" ".join(item.get_text().split()) for item in page.select(".path li")]
    assert path[0] == "01 A first notebook 45 min of work, 2 min 10 s to run"
    assert path[1].endswith("on a telephone 90 min of work, 1 min 10 s to run; after 01")
    assert [link["href"] for link in page.select(".path a")] == ["#report-01_never", "05_good.html"]
    article = page.select_one("#report-05_good")
    assert "Which question is so long" in article.select_one(".question").get_text()
    assert "Concepts a long concept of many words, another concept" in article.get_text()
    assert "What is it?" in page.select_one("#report-01_never").get_text()


@pytest.mark.parametrize("kind", ["palette", "transparent", "grey", "colour"])
def test_pictures_in_pages_are_smaller_and_the_same_to_the_last_pixel(kind):
    picture = Image.open(io.BytesIO(photograph((300, 200))))
    made = {"palette": picture, "grey": picture.convert("L"), "colour": picture.convert("RGB")}
    made["transparent"] = picture.convert("RGBA")
    made["transparent"].putalpha(Image.linear_gradient("L").resize(picture.size))
    buffer = io.BytesIO()
    made[kind].save(buffer, "PNG", compress_level=1)
    uri = export.picture_uri(buffer.getvalue(), "image/png")
    assert uri.startswith("data:image/webp;base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA")
    wanted = np.asarray(made[kind].convert("RGBA"))
    seen = wanted[..., 3] > 0  # what is fully transparent has no colour
    assert (np.asarray(shown)[seen] == wanted[seen]).all()
    assert (np.asarray(shown)[..., 3] == wanted[..., 3]).all()
    assert len(uri) * 3 / 4 < buffer.tell()


def test_a_picture_that_does_not_shrink_stays_as_it_is():
    tiny = base64.b64decode(png((1, 1)))
    smallest = min(len(tiny), len(base64.b64decode(export.picture_uri(tiny, "image/png").split(",")[1])))
    assert len(base64.b64decode(export.picture_uri(tiny, "image/png").split(",")[1])) == smallest
    assert export.picture_uri(b"<svg/>", "image/svg+xml").startswith("data:image/svg+xml")


def built(root, names, size=(300, 200), **content):
    """Finished reports, each with a cover of its own that is hard to compress; no index yet."""
    for number, name in enumerate(names):
        cover = base64.b64encode(photograph(size, seed=number)).decode()
        shown = figure("A cover.", cover, cover, cover=True, caption=f"Confusion of {name}.")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(index, "write_index", lambda profile: None)
            render(root, text("## A"), cell("x", outputs=[shown]), name=name, **content)


def test_the_index_collates_all_and_stays_small(tree):
    built(tree, ["00_a", "01_b", "02_c", "03_d"], (520, 260), headline=HEADLINE, claims=[CLAIM], seconds=70.0)
    built(tree, [NAME], headline=HEADLINE, claims=[CLAIM, CLAIM | {"what": "loss", "unit": ""}], seconds=20.0)
    source = index.write_index().read_text()
    assert_self_contained(source)
    assert len(source.encode()) <= 300_000
    assert source.count("<picture>") == 5
    assert source.count('<tr class="case">') == 5
    assert source.count('<th scope="row">') == 6
    assert '91.0 %<span class="limits">90.0 to 100.0</span>' in source  # no share is above one
    assert '<b class="time">5 min</b> in all' in source
    assert "cpu, 2 threads, float32; torch 2, Python 3" in source
    assert "Reports that need attention" not in source
    (Files("01_b").json).write_text("{}")
    index.write_failure(Files("02_c"), "no memory")
    source = index.write_index().read_text()
    wrong = re.search(r'<div class="wrong".*?</div>', source, re.S)[0]
    assert re.findall(r'href="#report-(\w+)"', wrong) == ["01_b", "02_c"]
    assert "no memory" in wrong
    assert "01_b.json is not valid" in wrong


def test_figures_keep_covers_and_numbers(tree, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tree / "figures")
    assert figures.write_figures("default") == []
    assert not paths.FIGURES.exists()
    built(tree, [NAME], headline=HEADLINE, claims=[CLAIM])
    written = figures.write_figures("default")
    assert sorted(path.name for path in written) == [f"{NAME}.png", "results.json"]
    before = {path.name: path.read_bytes() for path in written}
    kept = json.loads(before["results.json"])["default"][NAME]
    assert kept["headline"] == HEADLINE
    assert kept["claims"] == [CLAIM]
    assert "finished" not in kept
    with Image.open(paths.FIGURES / f"{NAME}.png") as picture:
        assert picture.info["Description"] == "A cover."
    figures.write_figures("default")
    assert {path.name: path.read_bytes() for path in written} == before
    (paths.FIGURES / "results.json").write_text('{"real": {"05_x": {"seconds": 1}}}')
    figures.write_figures("default")
    assert list(json.loads((paths.FIGURES / "results.json").read_text())) == ["default", "real"]
