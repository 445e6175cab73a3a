"""Two builds of one report are equal but for measured times, and nothing else that differs stays unseen."""

import shutil
import sys

import pandas as pd
import pytest
from test_reports import cell, command, figure, good, png, render, stream, text, tree, write_notebook

from course.reports import elapsed
from course.reports.__main__ import main
from course.reports.compare import differences
from course.reports.errors import RequestError

__all__ = ["tree"]  # a fixture
NAME = "05_good"
RUN = """import os, time, pandas as pd
from IPython.display import display
from course.plots import accuracy_against_seconds, ladder
from imgcls.plots import show
from course.reports import elapsed
from imgcls.progress import Progress
progress = Progress(1)
progress.finish(f"1 epoch in {time.time_ns() % 60} min 7 s · loss 0.5 · {time.time_ns() % 1000} images/s")
rungs = pd.DataFrame({"name": ["a", "b"], "accuracy": [.5, .6], "low": [.4, .5], "high": [.6, .7]})
timed = rungs.assign(seconds=[1.0, 2 + time.time_ns() % 1000])
display(timed)
print(os.getcwd(), set("abcdef"))
display_markdown(f"It took {elapsed(time.time_ns() % 1000)}.")
show(accuracy_against_seconds(timed), alt="Two points.")
show(ladder(rungs.rename(columns={"name": "rung", "accuracy": "value"})), alt="Two rungs.")"""


def shown(content, kind="text/html"):
    data = {kind: content, "text/plain": "x"}
    return cell("show()", outputs=[{"output_type": "display_data", "metadata": {}, "data": data}])


def picture(colour, **meta):
    return cell("draw()", outputs=[figure(content=png(colour=colour), dark=png(colour=colour), **meta)])


def table(**columns):
    return shown(pd.DataFrame(columns)._repr_html_())


MEASURED = {
    "a line of training": lambda k: cell("fit()", outputs=[stream(f"in 3{k} s · loss 0.2 · {1234 + k:,} images/s")]),
    "an hour of it": lambda k: cell("fit()", outputs=[stream(f"2 epochs in {k + 1} h 2 min, 0.{k + 2}5 s left")]),
    "a column": lambda k: table(name=["a", "b"], **{"seconds of training": [k, 7]}),
    "a row": lambda k: shown(pd.Series({"seed": 1, "seconds": k}).to_frame("card")._repr_html_()),
    "prose": lambda k: shown(f"It took {elapsed(30 + k)} in all.", "text/markdown"),
    "a time axis": lambda k: picture(["teal", "red"][k], timed=True),
    "the run": lambda k: {"seconds": 70.0 + k, "finished": f"2025-05-03T14:0{k}:00+02:00"},
    "the commit": lambda k: {"environment": {"commit": f"1a2b3c{k}", "dirty": bool(k)}},
    "a table of trials": lambda k: {"tables": {"trials": [{"lr": 0.1, "seconds": 1.5 + k}]}},
}
FOUND = {
    "a line of training": lambda k: cell("fit()", outputs=[stream(f"in 36 s · loss 0.{k} · 123 images/s")]),
    "a column": lambda k: table(name=["a", "b"], **{"seconds": [1, 2], "accuracy": [k, 7]}),
    "a row": lambda k: shown(pd.Series({"seed": k, "seconds": 1}).to_frame("card")._repr_html_()),
    "prose": lambda k: text(f"The others took {30 + k} s."),
    "a picture": lambda k: picture(["teal", "red"][k]),
    "words under a picture": lambda k: picture("teal", timed=True, caption=f"Of {k}."),
    "a line more": lambda k: text("## A\n\n" + "One more.\n" * k),
    "the device": lambda k: {"environment": {"device": f"cpu {k}"}},
    "a claim": lambda k: {"claims": [dict.fromkeys(("claimed", "as_published", "repaired"), 0.1)
                                     | {"what": "accuracy", "best": k / 2}]},
    "a table of trials": lambda k: {"tables": {"trials": [{"lr": 0.1 * k, "seconds": 1.5}]}},
}  # fmt: skip
ENVIRONMENT = {"python": "3", "torch": "2", "device": "cpu", "threads": 2, "precision": "float32", "commit": "a"}


def two_builds(tree, make):
    """Two folders with the same report, of which `make(0)` and `make(1)` give a cell or a part of the result."""
    for k, folder in enumerate(("first", "second")):
        made = make(k)
        cells, content = ([], made) if "cell_type" not in made else ([made], {})
        content |= {"environment": ENVIRONMENT | {"dirty": False} | content.get("environment", {})}
        render(tree, text("## A part"), *cells, **content)
        shutil.copytree(tree / "reports", tree / folder)
    return list(differences(tree / "first", tree / "second"))


@pytest.mark.parametrize("what", MEASURED)
def test_what_a_clock_measured_is_left_out(tree, what):
    assert two_builds(tree, MEASURED[what]) == []
    assert (tree / "first" / f"{NAME}.html").read_bytes() != (tree / "second" / f"{NAME}.html").read_bytes() or (
        tree / "first" / f"{NAME}.json"
    ).read_bytes() != (tree / "second" / f"{NAME}.json").read_bytes()


@pytest.mark.parametrize("what", FOUND)
def test_everything_else_is_found(tree, what):
    assert two_builds(tree, FOUND[what])


def test_a_difference_is_named_by_its_place(tree):
    assert f"{NAME}.json: 'claims[0].best: 0.0' or 'claims[0].best: 0.5'" in two_builds(tree, FOUND["a claim"])
    (tree / "second" / f"{NAME}.json").unlink()
    assert f"{NAME}.json is missing in {tree / 'second'}" in list(differences(tree / "first", tree / "second"))
    with pytest.raises(RequestError, match="contains no report"):
        list(differences(tree / "first", tree / "notebooks"))


def test_a_notebook_run_twice_in_two_places_says_the_same(tmp_path, monkeypatch, capsys):
    folders = []
    for place in ("here", "there"):
        root = tmp_path / place
        write_notebook(root, NAME, good(NAME, cell(RUN)))
        done = command(root, "run", "05")
        assert done.returncode == 0, done.stderr
        folders.append(root / "reports")

    def compared():
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    monkeypatch.setattr(sys, "argv", ["reports", "compare", *map(str, folders)])
    assert compared() == (0, "equal, apart from times\n", "")
    pages = [folder / f"{NAME}.html" for folder in folders]
    assert pages[0].read_bytes() != pages[1].read_bytes()
    pages[1].write_text(pages[1].read_text().replace("loss 0.5", "loss 0.6", 1))
    code, said, count = compared()
    assert (code, count) == (1, "1 difference\n")
    assert "loss 0.5 " in said
    assert "loss 0.6 " in said
