import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from conftest import REPOSITORY, copy_builder
from PIL import Image

from course.reports import Result, index, markup, parameters, shell
from course.reports.errors import RequestError
from course.reports.files import Files
from course.reports.math import FormulaError, to_svg
from course.reports.result import show, show_limit, validate
from imgcls import paths
from imgcls.plots import theme

NAME = "05_good"
PARAMETERS = """data: str = "menagerie/cifar_ten"  # a name or a path
epochs: int = 4  # passes
lr: float = 1e-2
flip: bool = True
seeds: list[int] = [0, 1]
limit: int | None = None
"""
ENVIRONMENT = {"python": "3", "torch": "2", "device": "cpu", "threads": 2, "precision": "float32", "commit": None}
ENVIRONMENT["dirty"] = None
HEADLINE = {"metric": "accuracy", "model": "net", "value": 0.86, "low": 0.85, "high": 0.87, "n": 100}
SETUP = f"""from types import SimpleNamespace as N
from course.reports import Result, display_markdown
data = N(name="shapes", kind="generated", fingerprint="f", classes=("a", "b"), train=[0] * 8, val=[], test=[0] * 4,
         skipped=[N(name="bad.jpg", reason="truncated")])
report = Result("{{name}}", "Does it work, at $p < 0.05$?", data, environment={ENVIRONMENT!r})"""
FINISH = """report.headline("test accuracy", "small network", N(value=.86, low=.85, high=.87, n=1000))
report.claim("accuracy", claimed=.78, as_published="none", repaired=.8, best=None)
report.claim("loss", claimed=2.302, unit="")
report.answer(f"It does: {report.content['headline'][0]['value']:.0%}.")
report.write()
report.claims_table()"""


def png(size=(40, 20), colour="teal", noise=False):
    picture = Image.effect_noise(size, 90) if noise else Image.new("RGB", size, colour)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def cell(source, kind="code", tags=(), outputs=(), count=1):
    made = {"cell_type": kind, "id": f"c{abs(hash((source, tags))):x}"[:12], "metadata": {"tags": list(tags)}}
    made["source"] = source
    return made | ({"outputs": list(outputs), "execution_count": count if outputs else None} if kind == "code" else {})


def text(source):
    return cell(source, "markdown")


def figure(alt="A teal box.", content=None, dark=None, **meta):
    """What `plots.show` publishes."""
    data = {"image/png": content or png(), "text/plain": "<Figure>"}
    if dark:
        data["application/vnd.imgcls.dark+png"] = dark
    return {"output_type": "display_data", "data": data, "metadata": {"image/png": {"alt": alt, **meta}}}


def stream(content, name="stdout"):
    return {"output_type": "stream", "name": name, "text": content}


def write_notebook(root, name, cells, values=PARAMETERS):
    heading = [text(f"# The title of {name}\n\nAn opening."), cell(values, tags=("parameters",))]
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": heading + list(cells)}
    (root / "notebooks" / "profiles").mkdir(parents=True, exist_ok=True)
    path = root / "notebooks" / f"{name}.ipynb"
    path.write_text(json.dumps(content))
    return path


def good(name, *more):
    return [cell(SETUP.replace("{name}", name)), *more, text("## The end"), cell(FINISH)]


def command(root, *arguments, **options):
    environment = {**os.environ, "IMGCLS_ROOT": str(root), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", "course.reports", *arguments],
        capture_output=True,
        text=True,
        cwd=options.pop("cwd", root),
        env=environment,
        timeout=90,
        **options,
    )


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("NOTEBOOKS", "BUILD", "REPORTS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PROFILES", tmp_path / "notebooks" / "profiles")
    write_notebook(tmp_path, NAME, good(NAME))
    return tmp_path


# ---------------------------------------------------------------- parameters


def test_a_request_joins_notebook_profile_and_command_line(tree, monkeypatch):
    (tree / "notebooks/profiles/smoke.yaml").write_text(f"{NAME}:\n  epochs: 1\n  lr: 1e-4\n  limit: 20\n")
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere" / "mine.zip").touch()
    monkeypatch.chdir(tree / "elsewhere")
    request = parameters.check("05", "smoke", "mine.zip", ("flip=false", "seeds=[3, 4]"))
    expected = {"epochs": 1, "lr": 1e-4, "limit": 20, "flip": False, "seeds": [3, 4]}
    assert request.overrides == expected | {"data": str(tree / "elsewhere" / "mine.zip")}
    assert request.shown == expected | {"data": "mine.zip"}
    assert parameters.read(NAME)["epochs"].note == "passes"
    assert parameters.check(NAME).overrides == {}


@pytest.mark.parametrize(
    ("assignment", "value"),
    [("lr=1", 1.0), ("limit=none", None), ("limit=7", 7), ("seeds=1,2", [1, 2]), ("flip=True", True), ("data=x", "x")],
)
def test_command_line_text_becomes_the_declared_type(tree, assignment, value):
    shown = parameters.check(NAME, assignments=(assignment,)).shown[assignment.partition("=")[0]]
    assert shown == value
    assert type(shown) is type(value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("epochz: 3", ("'epochz'", "3", "did you mean 'epochs'?")),
        ("xxxxxx: 3", ("'xxxxxx'", "3", "choose from data, epochs, lr, flip, seeds, limit")),
        ("epochs: true", ("epochs", "True", "int")),
        ("epochs: 1.5", ("epochs", "1.5", "int")),
        ("epochs: '3'", ("epochs", "'3'", "int")),
        ("lr: fast", ("lr", "'fast'", "float")),
        ("lr: .nan", ("lr", "nan", "float")),
        ("flip: 'false'", ("flip", "'false'", "bool")),
        ("seeds: 3", ("seeds", "3", "list[int]")),
        ("seeds: [a]", ("seeds", "'a'", "int")),
        ("data: 5", ("data", "5", "str")),
        ("data: data/nowhere.zip", ("data", "'data/nowhere.zip'", "looked for", "DATA=path")),
        ("data: nowhere.zip", ("data", "'nowhere.zip'", "looked for")),
    ],
)
def test_wrong_values_are_refused_by_name(tree, section, words):
    (tree / "notebooks/profiles/smoke.yaml").write_text(f"{NAME}:\n  {section}\n")
    with pytest.raises(RequestError) as refusal:
        parameters.check(NAME, "smoke")
    assert all(word in str(refusal.value) for word in (NAME, "smoke", *words)), refusal.value
    assert not Files(NAME, "smoke").inputs.exists()


def test_unknown_names_come_with_their_choices(tree):
    with pytest.raises(RequestError, match=r"unknown notebook '07'.*05_good"):
        parameters.check("07")
    with pytest.raises(RequestError, match="unknown profile 'reel'"):
        parameters.check(NAME, "reel")
    (tree / "notebooks/profiles/smoke.yaml").write_text("05_goood:\n  epochs: 1\n")
    with pytest.raises(RequestError, match=r"05_goood.*did you mean '05_good'"):
        parameters.check(NAME, "smoke")


@pytest.mark.parametrize(
    "values", ["epochs = 3", "import os", "epochs: int = os.cpu_count()", "epochs: int = 1.5", "x: dict = {}", "x: int"]
)
def test_a_parameters_cell_holds_only_typed_literals(tree, values):
    write_notebook(tree, NAME, [], values)
    with pytest.raises(RequestError, match="parameters cell"):
        parameters.read(NAME)


def test_exactly_one_parameters_cell(tree):
    write_notebook(tree, NAME, [cell("a: int = 1", tags=("parameters",))])
    with pytest.raises(RequestError, match="2 cells tagged"):
        parameters.read(NAME)


def test_the_stamp_moves_only_with_parameters_or_data(tree):
    def stamp(*assignments):
        parameters.check(NAME, assignments=assignments).stamp()
        return Files(NAME).inputs.stat().st_mtime_ns

    first = stamp("epochs=2")
    assert stamp("epochs=2") == first
    assert stamp("epochs=3") != first
    (tree / "a.zip").write_text("1")
    first = stamp(f"data={tree}/a.zip")
    assert stamp(f"data={tree}/a.zip") == first
    (tree / "a.zip").write_text("other content")
    assert stamp(f"data={tree}/a.zip") != first


# ---------------------------------------------------------------- results


def make_result(**more):
    data = SimpleNamespace(name="d", kind="real", fingerprint="f", classes="ab", train="123", val=None, test="1")
    data.skipped = [SimpleNamespace(name="x.jpg", reason="empty | file")]
    return Result("05_good", "Why?", data, parameters={"epochs": 1}, environment=ENVIRONMENT, **more)


def test_a_result_is_what_the_design_says(tree):
    report = make_result(seeds=[1, 2])
    with pytest.raises(ValueError, match="answer: is empty"):
        report.write()
    interval = SimpleNamespace(value=0.86, low=0.85, high=0.87, n=100)
    report.headline("accuracy", "net", interval)
    report.claim("accuracy", claimed=0.8, best=interval)
    report.answer("Because.")
    content = json.loads(report.write().read_text())
    assert content["headline"] == [
        {"metric": "accuracy", "model": "net", "value": 0.86, "low": 0.85, "high": 0.87, "n": 100}
    ]
    assert content["claims"] == [
        {
            "what": "accuracy",
            "claimed": 0.8,
            "as_published": None,
            "repaired": None,
            "best": 0.86,
            "intervals": {"best": [interval.low, interval.high]},
        }
    ]
    assert content["data"]["skipped"] == [{"name": "x.jpg", "reason": "empty | file"}]
    assert (content["data"]["train"], content["data"]["val"], content["data"]["test"]) == (3, 0, 1)
    assert validate(content, "05_good") == []
    assert "| 80.0 % | – | – | 86.0 % [85.0, 87.0] |" in report.claims_table().data
    assert "empty \\| file" in report.provenance().data


def test_what_is_left_out_is_counted_by_reason_and_named_as_it_is_called(tree):
    """Names come from untrusted sources: they neither break the page nor become pictures, links, formulas or cells."""
    names = ["<img src=x onerror=alert(1)>.png", "![a](http://b/c.png)", "a|b`c.png", "$x_{$.png", "**d**_e_\\f.png",
             "http://evil.test/", "[g]: h", "&lt;.png"]  # fmt: skip
    report = make_result()
    items = [{"name": name, "reason": "zero bytes"} for name in names]
    items += [{"name": f"{k}.png", "reason": "<b>truncated</b> | 1"} for k in range(12)]
    items += [{"name": f"r{k}", "reason": f"reason {k}"} for k in range(30)]
    report.content["data"]["skipped"] = items
    page = shown_provenance(report)
    rows = cells(page)
    assert ["left out", "50 files, named below"] in rows
    assert ["zero bytes", "8", ", ".join(names)] in rows
    assert ["<b>truncated</b> | 1", "12", ", ".join(f"{k}.png" for k in range(10)) + " and 2 more"] in rows
    assert ["another reason, listed in the result file", "12", ""] in rows
    assert page.find_all(["img", "a", "svg", "b", "strong", "em"]) == []
    report.content["data"]["skipped"] = []
    assert ["left out", "none"] in cells(shown_provenance(report))


def shown_provenance(report):
    return BeautifulSoup(markup.markdown(report.provenance().data, markup.Slugs())[0], "html.parser")


def cells(page):
    return [[cell.get_text().strip() for cell in row.find_all("td")] for row in page.find_all("tr")]


def test_a_result_holds_whole_tables(tree):
    result = make_result()
    frame = pd.DataFrame({"number": [0, 1], "value": [0.5, float("nan")], "on": [True, False], "name": ["a", None]})
    result.table("trials", frame.assign(spent=np.array([1, 2], dtype=np.int32)))
    rows = json.loads(json.dumps(result.content["tables"]["trials"], allow_nan=False))
    assert rows == [
        {"number": 0, "value": 0.5, "on": True, "name": "a", "spent": 1},
        {"number": 1, "value": None, "on": False, "name": None, "spent": 2},
    ]


def test_an_interval_over_seeds_is_shown_within_what_a_share_can_be(tree):
    report = make_result()
    report.claim("accuracy", repaired=SimpleNamespace(value=0.99, low=0.97, high=1.01, n=3))
    report.claim("loss", best=SimpleNamespace(value=0.5, low=-0.1, high=1.1, n=3), unit="")
    report.claim("one run", best=SimpleNamespace(value=0.5, low=float("nan"), high=float("nan"), n=1))
    shown = report.claims_table().data
    assert "99.0 % [97.0, 100.0]" in shown
    assert "0.5 [-0.1, 1.1]" in shown
    assert "| one run | – | – | – | 50.0 % |" in shown


def test_a_result_states_no_nan(tree):
    with pytest.raises(ValueError, match="nan"):
        make_result().claim("loss", claimed=float("nan"))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("data", {"kind": "drawn"}, "data.kind: 'drawn' is not one of ['generated', 'real']"),
        ("data", {"kind": "real"}, "data: 'fingerprint' is a required property"),
        ("headline", [{"metric": "a"}], "headline[0]: 'value' is a required property"),
        ("headline", [HEADLINE | {"value": True}], "headline[0].value: True is not of type 'number'"),
        ("headline", [HEADLINE | {"low": 0.9}], "headline[0]: 0.86 is outside [0.9, 0.87]"),
        ("claims", [{"what": "a"}], "claims[0]: 'best' is a required property"),
        ("question", " ", "question: is empty"),
        ("case", "04", "case: '04' instead of '05_good'"),
        ("seeds", [0.5], "seeds[0]: 0.5 is not of type 'integer'"),
    ],
)
def test_an_invalid_result_is_named(tree, key, value, problem):
    content = make_result().content | {"answer": "Yes.", "finished": "2025-05-03T14:05:00+02:00"}
    assert validate(content, "05_good") == []
    assert problem in validate(content | {key: value}, "05_good")
    assert validate([], "05_good") == ["result: [] is not of type 'object'"]


def test_numbers_as_readers_see_them():
    assert [show(0.8623), show(2.302), show(552874), show(0.5, ""), show(12.3, "s"), show(None), show("x")] == [
        "86.2 %", "2.302", "552,874", "0.5", "12.3 s", "–", "x"
    ]  # fmt: skip
    assert [show_limit(0.92, 0.903, ""), show_limit(0.8831, 0.9, ""), show_limit(0.1, 0.25)] == [
        "0.920", "0.8831", "10.0 %"
    ]  # fmt: skip


# ---------------------------------------------------------------- markup


def html(source):
    return markup.markdown(source, markup.Slugs())[0]


def test_formulas_are_drawn_and_prices_are_not():
    page = html(r"Between $5 and $6, `cost = $3` and `$x$`, but $\frac{a}{b}$ & $a<b$." + "\n\n$$\n\\sum_i x_i\n$$")
    assert page.count("<svg") == 3
    assert 'aria-label="a&lt;b"' in page
    assert "$5 and $6" in page
    assert "<code>$x$</code>" in page
    assert "currentColor" in page
    assert '<div class="formula">' in page


@pytest.mark.parametrize("tex", [r"\frac{a", r"\nonsense x", "\U0001f600"])
def test_a_bad_formula_is_named(tex):
    with pytest.raises(FormulaError, match=re.escape(tex)):
        to_svg(tex)


def test_a_formula_stands_on_its_baseline():
    svg = to_svg("x_i")
    assert re.search(r"vertical-align:-0\.\d+em", svg)
    numbers = [float(number) for number in re.findall(r"-?\d+", re.search(r' d="([^"]+)"', svg)[1])]
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    assert max(numbers[0::2]) <= width + 3
    assert max(numbers[1::2]) <= height + 3


def test_foreign_html_loses_everything_active():
    page = markup.sanitize(
        '<p onclick="x()" style="color:red" id=a>t<!-- c --></p><script>1</script><style>p{}</style>'
        '<iframe src="http://x"></iframe><a href="jAva\tscript:1">l</a><a href="https://x.org">m</a><svg onload=1/>'
    )
    assert not re.search(r"script|onclick|style|http://|onload|<!--| id=", page)
    assert 'href="https://x.org"' in page
    assert "[iframe element, not shown]" in page
    for picture in ('<img src="https://x/y.png" alt="a">', '<img src="data:image/png;base64,AA==">'):
        with pytest.raises(markup.Unexportable):
            markup.sanitize(picture)


def test_tables_scroll_and_numbers_align():
    page = markup.sanitize(
        "<table><thead><tr><th>n</th><th>x</th><th>p</th></tr></thead>"
        "<tr><td>a</td><td>1.5</td><td>–</td></tr><tr><td>b</td><td>2 %</td><td>&lt; 0.0001</td></tr></table>"
    )
    assert 'class="scroll"' in page
    assert page.count('"num"') == 6


def test_frames_lose_row_numbers_but_keep_a_real_index():
    import pandas as pd

    frame = pd.DataFrame({"layer": ["conv", "dense"], "multiply_adds": [9437184, 1200]})
    plain = markup.sanitize(frame._repr_html_())
    assert "<th>0</th>" not in plain
    assert plain.count("<th>") + plain.count("<th ") == 2
    assert ">9,437,184<" in plain
    assert ">1,200<" in plain
    indexed = markup.sanitize(frame.set_index("layer")._repr_html_())
    assert "conv</th>" in indexed
    checked = markup.sanitize(frame.assign(passed=[True, False])._repr_html_())
    assert (">✓ yes<" in checked, ">✗ no<" in checked) == (True, True)
    assert indexed.count("<tr>") + indexed.count("<tr ") == 3  # the name of the index has no row of its own
    assert indexed.index("layer</th>") < indexed.index("multiply_adds</th>")
    years = markup.sanitize(pd.DataFrame({"n": [1, 2]}, index=[2024, 2025])._repr_html_())
    assert "2025</th>" in years


def test_a_number_is_not_torn_from_its_sign_or_its_spread():
    page = markup.sanitize(
        "<p>mean 91.5 ± 0.2 % of 10</p><pre>1 ± 2 %</pre><p>[-8.3, +0.4], or [0, 1, 2], p &lt; 0.1</p>"
    )
    assert "<p>[-8.3,\xa0+0.4], or [0, 1,\xa02], p &lt;\xa00.1</p>" in page
    assert "<p>mean 91.5\xa0±\xa00.2\xa0% of 10</p>" in page
    assert "<pre>1 ± 2 %</pre>" in page


def test_terminal_text_is_shown_as_it_ends():
    assert markup.plain("\x1b[31mred\x1b[0m\n  1 %\r 50 %\r100 %\r\nend") == "red\n100 %\nend"
    assert markup.plain("decoding: 100%\r              \r") == ""  # a bar that wiped itself leaves nothing


def test_callouts_and_links_between_notebooks():
    page = html("> **Mistake** x\n\n> plain\n\n[next](02_forty_species.ipynb#the-end)")
    assert '<blockquote class="callout mistake">' in page
    assert "<blockquote>\n" in page
    assert 'href="02_forty_species.html#the-end"' in page


def test_page_and_figures_share_their_paper():
    papers = re.findall(r"--paper: (#\w{6})", (REPOSITORY / "course/reports/template/style.css").read_text())
    assert [theme.LIGHT["surface"], theme.DARK["surface"]] == papers


# ---------------------------------------------------------------- rendering, without a kernel


class Page(HTMLParser):
    """The elements of a page, with a note of those that stand inside `<details>`."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.open, self.folded = [], 0, []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open += tag == "details"
        if self.open:
            self.folded.append(dict(attrs).get("class"))

    def handle_endtag(self, tag):
        self.open -= tag == "details"

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def assert_self_contained(source):
    page = Page(source)
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("title")) >= 1
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert not page.all("script", "link", "iframe", "object", "embed", "base", "form")
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "srcset", "data", "poster", "background"):
            assert attributes.get(key, "data:").startswith("data:"), (tag, key)
    assert "@import" not in source
    assert not re.search(r"url\((?!data:)", source)
    assert all(image.get("alt", "").strip() for image in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        if link.get("href", "").startswith("#"):
            assert link["href"][1:] in ids
    return page


def executed(tree, *cells, name=NAME, **content):
    """An executed notebook with its result, as the runner leaves them."""
    files = Files(name)
    write_notebook(tree, name, cells)
    files.executed.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(files.notebook, files.executed)
    result = make_result().content | {
        "answer": "Yes.",
        "finished": "2025-05-03T14:05:00+02:00",
        "case": name,
        **content,
    }
    files.result.write_text(json.dumps(result | {"token": "t"}))
    return files


def render(tree, *cells, name=NAME, **content):
    from course.reports import export

    executed(tree, *cells, name=name, **content)
    return export.render(name).read_text()


def test_every_kind_of_output_is_shown(tree):
    cells = [
        text("## A part\n\n### A part\n\n$x$"),
        cell("draw()", outputs=[figure(caption="Of `x`.", dark=png(colour="white"), width=20)]),
        cell("secret = 1", tags=("hide",), outputs=[stream("never shown")]),
        cell("epochs = 99", tags=("injected-parameters",)),
        cell("a % b", outputs=[stream("1 %\r2 %\n"), stream("more\n"), stream("\x1b[31mcareful\x1b[0m", "stderr")]),
        cell("t", outputs=[{"output_type": "execute_result", "execution_count": 1, "metadata": {},
             "data": {"text/html": "<style>x</style><table class='dataframe'><tr><td>1</td></tr></table>"}}]),
        cell("w", outputs=[{"output_type": "display_data", "metadata": {}, "data": {
            "application/vnd.jupyter.widget-view+json": {}, "text/html": "<b>gone</b>", "text/plain": "a widget"}}]),
        cell("1 / 0", tags=("raises-exception",), outputs=[{"output_type": "error", "ename": "ZeroDivisionError",
             "evalue": "", "traceback": ["\x1b[0;31mZeroDivisionError\x1b[0m"]}]),
    ]  # fmt: skip
    source = render(tree, *cells)
    page = assert_self_contained(source)
    assert f"<title>The title of {NAME}</title>" in source
    assert all(word in source for word in ("Real images", "Why?", "Yes.", "2 %\nmore", "standard error", "a widget"))
    assert not any(word in source for word in ("never shown", "secret", "1 %\r", "\x1b", "<b>gone", "epochs = 99"))
    assert "ZeroDivisionError" in source
    assert [link["href"] for link in page.all("a") if link.get("href", "")[:1] == "#"].count("#a-part-2") == 2
    assert source.count("Figure 1.") == 1
    assert page.all("source")[0]["media"] == "(prefers-color-scheme: dark)"
    assert {"width": "20", "height": "10"}.items() <= page.all("img")[0].items()
    pres = [attributes for attributes in page.all("pre") if attributes.get("class") == "code"]
    assert pres
    assert page.folded.count("code") == len(pres)
    files = Files(NAME)
    written = json.loads(files.json.read_text())
    assert written["figures"] == [f"figures/{NAME}-1-of-x.png"]
    assert "token" not in written
    with Image.open(files.folder / written["figures"][0]) as picture:
        assert picture.info["Description"] == "A teal box."


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (text("So $\\frac{a$ it is."), ("cell 3", "\\frac{a")),
        (cell("x", outputs=[{"output_type": "display_data", "metadata": {},
              "data": {"text/markdown": "$\\nonsense$"}}]), ("cell 3", "nonsense")),
        (cell("plt.show()", outputs=[figure(alt=" ")]), ("cell 3", "plt.show()", "alt")),
        (text("![](a.png)"), ("cell 3", "a.png", "alt")),
        (text("![a](https://x.org/a.png)"), ("cell 3", "x.org")),
        (cell("big", outputs=[figure(content=png((1600, 1600), noise=True))]), ("MB", "figure 1", "cell 3", "kB")),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_fails_the_report(tree, bad, words):
    render(tree, text("## Fine"))
    with pytest.raises(RuntimeError) as failure:
        render(tree, bad)
    assert all(word in str(failure.value) for word in words), failure.value
    files = Files(NAME)
    assert not files.html.exists()
    assert not files.json.exists()
    assert files.executed.exists()  # rendering again costs no run
    assert words[0] in files.failed.read_text()
    assert 'class="failed"' in (files.folder / "index.html").read_text()
    render(tree, text("## Fine"))
    assert files.html.exists()
    assert not files.failed.exists()


def test_the_index_tells_the_state_of_each_notebook(tree):
    write_notebook(tree, "01_never", [])
    write_notebook(tree, "02_broken", [])
    index.write_failure(Files("02_broken"), 'the <loss> is "nan"')
    headline = [{"metric": "accuracy", "model": "net", "value": 0.86, "low": 0.85, "high": 0.87, "n": 100}]
    claims = [{"what": "accuracy", "claimed": 0.8, "as_published": "n/a", "repaired": None, "best": 0.91}]
    render(tree, cell("a", outputs=[figure()]), cell("b", outputs=[figure("The cover.", cover=True)]),
           headline=headline, claims=claims)  # fmt: skip
    source = (tree / "reports/index.html").read_text()
    assert_self_contained(source)
    words = ("not built yet", "the &lt;loss&gt; is &#34;nan&#34;", "02_broken.failed.html", "Real images", "86.0 %")
    assert all(word in source for word in (*words, "91.0 %", 'alt="The cover."', "3 May 2025", "Why?"))
    os.utime(Files(NAME).notebook, (time.time() + 60, time.time() + 60))
    assert index.entry(Files(NAME))["state"] == "stale"


# ---------------------------------------------------------------- the commands, with kernels


def test_a_refusal_is_quick_and_changes_nothing(tree):
    render(tree, text("## Fine"))
    before = time.perf_counter()
    done = command(tree, "run", "05", "-p", "epochz=3", "--data", "no/where.zip")
    assert time.perf_counter() - before < 5
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("epochz", "epochs", "no/where.zip", str(tree / "no/where.zip")))
    assert "Traceback" not in done.stderr
    assert Files(NAME).html.exists()
    code = "import sys; from course.reports import __main__; print({'torch', 'papermill'} & set(sys.modules) or [])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_only_a_valid_result_of_this_run_counts(tree):
    from course.reports import run

    files = executed(tree)
    assert run.find_invalid(files, "t") is None
    assert "from another run" in run.find_invalid(files, "another")
    content = json.loads(files.result.read_text())
    files.result.write_text(json.dumps(content | {"case": "04_other"}))
    assert "case: '04_other'" in run.find_invalid(files, "t")
    files.result.write_text(json.dumps(content)[:-9])
    assert "not JSON" in run.find_invalid(files, "t")
    files.result.unlink()
    assert "without writing a result" in run.find_invalid(files, "t")


def test_a_quiet_exit_in_the_middle_is_no_clean_end(tree):
    from course.reports import run

    error = {"output_type": "error", "ename": "SystemExit", "evalue": "0", "traceback": []}
    ran = cell("1", outputs=[stream("x")])
    for cells, reason in (
        ([ran, cell("exit()", outputs=[error])], "SystemExit: 0"),
        ([ran, cell("never()")], "before the cell 'never()' ran"),
        ([ran, cell("1 / 0", tags=("raises-exception",), outputs=[error]), cell("  ")], None),
    ):
        notebook = json.loads(write_notebook(tree, NAME, cells).read_text())
        notebook["cells"][1]["execution_count"] = 1
        files = Files(NAME)
        files.running.parent.mkdir(parents=True, exist_ok=True)
        files.running.write_text(json.dumps(notebook))
        found = run.find_unfinished(files)
        assert found == reason if reason is None else reason in found


def on_terminal(root, columns, *arguments):
    """Run a command on a pseudo terminal and return its exit status and every byte that it drew."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "IMGCLS_ROOT": str(root), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", "course.reports", *arguments], stderr=theirs, cwd=root, env=environment
    )
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 4096):
            drawn += part
    os.close(ours)
    return process.wait(timeout=90), drawn.decode()


def displayed(drawn, columns):
    """What stands on a terminal of so many columns in the end, line by line, and every state of its last line."""
    lines, column, states = [""], 0, []
    for sign in drawn.replace("\r\n", "\n"):
        if sign == "\n":
            lines.append("")
            column = 0
        elif sign == "\r":
            states.append(lines[-1].rstrip())
            column = 0
        else:
            if column == columns:  # wraps: a carriage return no longer reaches the row above
                lines.append("")
                column = 0
            lines[-1] = lines[-1][:column] + sign + lines[-1][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines], states


LONG = """import time
from imgcls.progress import Progress
progress = Progress(200, every=.1)
for step in range(200):
    time.sleep(.02)
    progress.update(step + 1, lambda: f"epoch {step // 40 + 1}/5 · loss 1.234 · a rather long line · 77 images/s")
progress.finish("5 epochs, all is well")"""


def test_a_terminal_shows_how_far_a_long_cell_is(tree):
    columns = 70
    write_notebook(tree, NAME, good(NAME, cell(LONG), cell("print('no progress here')")))
    for _ in range(3):  # a busy machine makes the kernel's message library complain now and then, on the same terminal
        code, drawn = on_terminal(tree, columns, "execute", "05")
        assert code == 0, drawn
        if "signaler.cpp" not in drawn and "ZMQStream" not in drawn:
            break
    lines, states = displayed(drawn, columns)
    assert len(lines) == 7, drawn  # five cells, the summary and the empty line after it: nothing wrapped
    for number, (line, start) in enumerate(
        zip(lines, ("data: str", "from types", "from imgcls", "print(", "report.head"), strict=False), 1
    ):
        assert re.fullmatch(rf"{NAME}    {number}/5  {re.escape(start)}.*\d\.\d s", line), lines
        assert "epoch" not in line
    assert lines[5].startswith(f"{NAME}: executed in")
    moving = [state for state in states if f"{NAME}    3/5  epoch" in state]
    assert {f"epoch {n}/5" for n in (2, 3, 4)} <= {re.search(r"epoch ./5", state)[0] for state in moving}
    assert any(re.search(r"· \d( s|\.\d s) left$", state) for state in moving)
    assert "all is well" not in "".join(state for state in states if "  4/5  " in state)
    assert not list((tree / "build").rglob("*.progress"))
    run = json.loads(Files(NAME).executed.read_text())
    outputs = [output for one in run["cells"] if "".join(one["source"]) == LONG for output in one["outputs"]]
    assert [output["data"] for output in outputs] == [{"text/plain": ["5 epochs, all is well"]}]  # the report: one line


def test_a_log_shows_no_progress_and_the_kernel_needs_no_free_port(tree):
    """Two kernels that start at the same time could be given the same one."""
    connection = "import json, ipykernel.connect\nassert json.loads(ipykernel.connect.get_connection_info())"
    transport = cell(f"{connection}['transport'] == 'ipc'")
    write_notebook(tree, NAME, good(NAME, cell(LONG.replace("200", "20")), transport))
    done = command(tree, "execute", "05")
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stderr
    assert "\r" not in done.stderr


FAILING = {
    "01_raises": ([cell("print('last words')\nraise ValueError('the \\x1b[31mloss\\x1b[0m is nan')")], "ValueError"),
    "02_killed": ([cell("import os, signal; os.kill(os.getpid(), 9)")], "kernel died"),
    "03_hangs": ([cell("import time; time.sleep(600)")], "time limit of 5 s"),
    "07_interrupted": ([cell("print('go', flush=True); import time; time.sleep(600)")], "interrupted"),
}


def run_failing(root, name):
    """Run a notebook over an older good report, in a tree of its own so that runs need not wait for each other."""
    cells, _ = FAILING[name]
    write_notebook(root, name, [text("## Part"), *cells])
    (root / "reports/figures").mkdir(parents=True)
    for old in (f"{name}.html", f"{name}.json", f"figures/{name}-1-old.png"):
        (root / "reports" / old).write_text("an older, good one")
    arguments = [sys.executable, "-m", "course.reports", "run", name]
    arguments += ["--timeout", "5"] if name == "03_hangs" else []
    environment = {**os.environ, "IMGCLS_ROOT": str(root)} | ({"HOME": "/nonexistent"} if name == "01_raises" else {})
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
    )  # fmt: skip
    if name == "07_interrupted":
        log = root / "build/executed/default" / f"{name}.log"
        while process.poll() is None and not (log.exists() and "go" in log.read_text().split()):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    return process.returncode, errors


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    roots = {name: tmp_path_factory.mktemp(name) for name in FAILING}
    with ThreadPoolExecutor(3) as pool:
        return {
            name: (roots[name], *done)
            for name, done in zip(FAILING, pool.map(run_failing, roots.values(), roots), strict=True)
        }


@pytest.mark.parametrize("name", FAILING)
def test_no_failure_looks_like_a_report(failures, name):
    root, code, errors = failures[name]
    assert code == (130 if name == "07_interrupted" else 1), errors
    assert "Traceback (most recent" not in errors
    reports = root / "reports"
    assert sorted(path.name for path in reports.glob("*.*")) == [f"{name}.failed.html", "index.html"]
    assert not list((reports / "figures").iterdir())
    assert not (root / "build/executed/default" / f"{name}.ipynb").exists()
    source = (reports / f"{name}.failed.html").read_text()
    assert_self_contained(source)
    assert FAILING[name][1] in source
    assert "\x1b" not in source
    assert re.search(r"<h2>Cell \d+, in “Part”</h2>", source)
    if name == "01_raises":
        assert all(word in source for word in ("last words", "Traceback", "is nan", "Cell 4"))
    assert FAILING[name][1] in (reports / "index.html").read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with three notebooks, made once with `make -j2 reports`."""
    root = copy_builder(tmp_path_factory.mktemp("project"))
    times = "import time\nwith open('times', 'a') as file: print('{}', time.time(), file=file)\ntime.sleep(.3)"
    show = (
        "from IPython.display import display\n"
        + f"display({figure()['data']!r}, raw=True, metadata={figure()['metadata']!r})"
    )
    for name in ("03_first", NAME):
        start, end = cell(times.format("start")), cell(times.format("end"))
        write_notebook(
            root, name, [start, *good(name, cell(show), cell("display_markdown(f'Ran {epochs} epochs.')")), end]
        )
    write_notebook(root, "04_bad", [cell(times.format("start")), cell("1 / 0")])
    return root, make(root, "-j2", "reports")


def make(root, *arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("IMGCLS", "MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments, f"RUN={sys.executable}", "READY="],
        capture_output=True,
        text=True,
        cwd=root,
        env=environment,
        timeout=120,
    )


def test_make_builds_the_others_one_at_a_time_and_reports_the_failure(project):
    root, done = project
    assert done.returncode != 0
    assert "04_bad failed: ZeroDivisionError" in done.stderr
    for name in ("03_first", NAME):
        source = (root / "reports" / f"{name}.html").read_text()
        assert_self_contained(source)
        assert all(word in source for word in ("Generated images", "Ran 4 epochs.", "86.0 %", "Figure 1."))
        assert len(source) < 2_000_000
        content = json.loads((root / "reports" / f"{name}.json").read_text())
        assert validate(content, name) == []
        assert content["parameters"]["lr"] == 0.01
        assert all((root / "reports" / figure).exists() for figure in content["figures"])
    assert (root / "reports/04_bad.failed.html").exists()
    assert not (root / "reports/04_bad.html").exists()
    source = (root / "reports/index.html").read_text()
    assert "ZeroDivisionError" in source
    assert source.count('class="badge generated"') == 2
    events = [line.split()[0] for line in (root / "notebooks/times").read_text().splitlines()]
    assert "start start start" not in " ".join(events)  # 04_bad has a start only
    assert sorted(events) == ["end", "end", "start", "start", "start"]


def test_make_does_only_what_is_needed(project):
    root, _ = project
    page, run = root / "reports" / f"{NAME}.html", root / "build/executed/default" / f"{NAME}.ipynb"
    before = page.stat().st_mtime_ns, run.stat().st_mtime_ns
    again = make(root, "report-05")
    assert again.returncode == 0
    assert again.stdout.strip() == f"reports/{NAME}.html is up to date"
    assert (page.stat().st_mtime_ns, run.stat().st_mtime_ns) == before
    assert make(root, "-q", "report-05").returncode == 0
    assert "course.reports estimate" not in make(root, "-n", "report-05").stdout
    commands = re.findall(r"course.reports (\w+)", make(root, "-n", "-j2", "reports").stdout)
    assert commands[0] == "estimate"
    assert commands.count("estimate") == 1

    time.sleep(0.02)
    (root / "course/reports/template/style.css").touch()
    assert make(root, "report-05").returncode == 0
    assert page.stat().st_mtime_ns > before[0]
    assert run.stat().st_mtime_ns == before[1]

    planned = make(root, "-n", "report-05").stdout
    assert "execute" not in planned
    assert "render" not in planned
    time.sleep(0.02)
    (root / "notebooks" / f"{NAME}.ipynb").touch()
    assert re.findall(r"execute \S+|render \S+", make(root, "-n", "report-05").stdout) == [
        f"execute {NAME}", f"render {NAME}"
    ]  # fmt: skip


def test_make_runs_again_for_other_data_and_refuses_missing_data(project):
    root, _ = project
    (root / "some data").mkdir()
    assert "execute 03_first" not in make(root, "-n", "report-03").stdout
    stamp = root / "build/executed/default/03_first.inputs"
    before = stamp.read_text()
    assert "execute 03_first" in make(root, "-n", "report-03", "DATA=some data").stdout
    assert str(root / "some data") in stamp.read_text()
    assert "execute 03_first" in make(root, "-n", "report-03").stdout
    assert stamp.read_text() == before
    refused = make(root, "report-03", "DATA=no/such.zip")
    assert refused.returncode != 0
    assert all(word in refused.stderr for word in ("03_first", "no/such.zip", str(root / "no/such.zip")))
    assert (root / "reports/03_first.html").exists()
    assert "make report-05 DATA=" in make(root, "reports", "DATA=x").stderr
    assert "choose from 03_first, 04_bad, 05_good" in make(root, "report-77").stderr


def test_make_names_what_is_missing_with_the_way_to_it_and_builds_the_rest(project):
    root, _ = project
    data = {"03_first": "data/here", "04_bad": "data/own.zip", NAME: "data/cifar10"}
    (root / "notebooks/profiles/real.yaml").write_text("".join(f"{n}:\n  data: {p}\n" for n, p in data.items()))
    (root / "data/here").mkdir(parents=True)
    done = make(root, "reports", "PROFILE=real")
    assert done.returncode != 0
    assert "data/own.zip" in done.stderr
    assert "data = 'data/cifar10': not here yet. To bring it: imgcls data get cifar10 (0.2 GB)" in done.stderr
    assert (root / "reports/real/03_first.html").exists()
    assert sorted(path.name for path in (root / "reports/real").glob("0*.html")) == ["03_first.html"]
    assert "not built yet" in (root / "reports/real/index.html").read_text()


def test_names_and_archives_of_the_catalogue_are_found(tree, monkeypatch):
    (tree / "data").mkdir()
    monkeypatch.setattr(paths, "DATA", tree / "data")
    for data in ("cifar10", "data/cifar10", "data/Animals_with_Attributes2/JPEGImages"):
        with pytest.raises(RequestError, match=r"not here yet\. To bring it: .*data.*; looked for"):
            parameters.check(NAME, data=data)
    (tree / "data/cifar10.zip").write_bytes(b"")
    monkeypatch.chdir(tree)
    for data in ("cifar10", "CIFAR10", "data/cifar10"):
        assert parameters.check(NAME, data=data).overrides["data"] == str((tree / "data/cifar10.zip").resolve())


# ------------------------------------------------------------------ commands
def test_shell_shows_the_command_and_all_that_it_prints(capsys):
    program = "import os, sys; print(os.getcwd()); print('a b', file=sys.stderr); sys.exit(3)"
    shell(f'python -c "{program}"', expect=3)
    assert capsys.readouterr().out == f'$ python -c "{program}"\n{paths.ROOT}\na b\n'
    with pytest.raises(RuntimeError, match="ended with status 3 instead of 0"):
        shell(f'python -c "{program}"')


def test_shell_finds_the_commands_of_its_own_python(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    shell('python -c "import sys; print(sys.prefix)"')
    assert capsys.readouterr().out.endswith(f"{sys.prefix}\n")
    with pytest.raises(FileNotFoundError, match="no command 'imgclass'"):
        shell("imgclass predict")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda *_, **__: None)  # a checkout that is not installed
        shell("imgcls doctor --help")
    assert "Usage" in capsys.readouterr().out
