"""Grading: whatever students hand in costs them only their own points, and the table says why."""

import copy
import csv
import io
import json
import os
import re
import subprocess
import sys

import pytest

from course import exercises
from course.exercises import grading
from imgcls import paths

SECONDS = 10
MODULE = """
from course.exercises import Expected


def doubled(amount, double):
    yield Expected("amount", 42, "Multiply.", "It is 6 times 7.")
    yield Expected("double", 6, "Add it to itself.", "Twice is plus itself.", answer=double(3))


def halved(half):
    yield Expected("half", 0.5, "Divide.", "One of two parts.")
"""
RIGHT = "amount = 6 * 7\n\n\ndef double(x):\n    return 2 * x"
WRONG = "amount = 41\n\n\ndef double(x):\n    return 2 * x"
TRICKS = """
import builtins, sys
import course.exercises as machinery
from course.exercises import tiny
import numpy as np

def check_answers(*_, **__):
    print("✓ everything is right")

def nothing_is_wrong(*_, **__):
    return None

machinery.check_answers = check_answers
machinery.find_problem = machinery.verdicts = nothing_is_wrong
machinery.Expected = tiny.Expected = nothing_is_wrong
tiny.doubled = lambda **answers: []
np.isclose = lambda *_, **__: np.array(True)
np.asarray = lambda *_, **__: 1
builtins.getattr = builtins.sum = lambda *_: 2
sys.modules["course.exercises.tiny"] = machinery
del sys.modules["course.exercises"]
"""


def cell(key, source, part=None):
    kind = "markdown" if part == "task" else "code"
    tags = {"tags": [f"exercise-{part}"]} if part else {}
    return {"id": key, "cell_type": kind, "metadata": tags, "source": source.splitlines(keepends=True)}


def tiny_notebook(modules):
    """A notebook with an exercise that has a given cell and a start, and one that has neither."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            cell("imports", f"import course.exercises\n\ncourse.exercises.__path__.append({str(modules)!r})"),
            cell("task-1", "### Exercise: twice", "task"),
            cell("given-1", "from course.exercises import check_answers\n\nfactors = (6, 7)", "given"),
            cell("start-1", "amount = 6 + 7\n\n\ndef double(x):\n    return x * x", "start"),
            cell("solution-1", RIGHT.replace("6 * 7", "factors[0] * factors[1]"), "solution"),
            cell("check-1", 'check_answers("tiny.doubled", amount=amount, double=double)', "check"),
            cell("task-2", "### Exercise: half", "task"),
            cell("solution-2", "half = 1 / 2  # a half", "solution"),
            cell("check-2", 'check_answers("tiny.halved", half=half)', "check"),
        ],
    }


def handed_in(edition, first=RIGHT, second="half = 0.5"):
    """The student edition with answers."""
    done = copy.deepcopy(edition)
    for one in done["cells"]:
        one["source"] = {"start-1": first, "solution-2": second}.get(one["id"], one["source"])
        if one["cell_type"] == "code":
            one |= {"outputs": [], "execution_count": None}
    return done


def without(edition, *keys):
    return edition | {"cells": [one for one in edition["cells"] if one["id"] not in keys]}


def with_source(edition, key, source):
    cells = [one | {"source": source} if one["id"] == key else one for one in edition["cells"]]
    return edition | {"cells": cells}


def without_ids(edition):
    return edition | {"cells": [{key: one[key] for key in one if key != "id"} for one in edition["cells"]]}


# What is handed in, the points of both exercises, and what the remarks say.
HANGS = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
PEOPLE = {
    "right": (lambda edition: handed_in(edition), 2, 1, "^$"),
    "untouched": (lambda edition: edition, 0, 0,
                  r"amount is wrong: `13`; double has a result that is wrong: `9`\n.*halved not written yet$"),
    "partly": (lambda edition: handed_in(edition, WRONG, "half = 2"), 1, 0,
               "amount is wrong: `41`\n.*half is wrong: `2`$"),
    "magic": (lambda edition: handed_in(edition, f"%matplotlib inline\n{RIGHT}\ndisplay(amount)"), 2, 1, "^$"),
    "hangs": (lambda edition: handed_in(edition, "while True:\n    pass"), 0, 1, "doubled still running after 10 s$"),
    "hoards": (lambda edition: handed_in(edition, "kept = []\nwhile True:\n    kept.append(bytes(10**8))"), 0, 1,
               "raises MemoryError"),
    "waits": (lambda edition: handed_in(edition, HANGS), 0, 1, "still running after 10 s$"),
    "asks": (lambda edition: handed_in(edition, f"{RIGHT}\namount = int(input())"), 2, 1, "raises EOFError"),
    "crashes": (lambda edition: handed_in(edition, "import os\nos.abort()"), 0, 1, "process ended by SIGABRT"),
    "leaves": (lambda edition: handed_in(edition, "import os\nos._exit(0)"), 0, 1, "process ended with status 0"),
    "exits": (lambda edition: handed_in(edition, "import sys\nsys.exit()"), 0, 1, "raises SystemExit.*not written yet"),
    "later": (lambda edition: handed_in(edition, "amount = 42\ndef double(x):\n    raise SystemExit(7)"), 0, 1,
              "the process ended with status 7"),
    "raises": (lambda edition: handed_in(edition, "amount = 42\ndouble = half"), 1, 1, "NameError: name .half"),
    "breaks": (lambda edition: handed_in(edition, "amount = 42\ndef double(x):\n    return x / 0"), 1, 1,
               "double cannot be evaluated: ZeroDivisionError: division by zero$"),
    "syntax": (lambda edition: handed_in(edition, "amount = = 42"), 0, 1, "raises SyntaxError"),
    "tricks": (lambda edition: handed_in(edition, WRONG + TRICKS), 1, 1, "amount is wrong: `41`$"),
    "replaced": (lambda edition: handed_in(edition, WRONG + "\n_=factors=(1, 1)"), 1, 1, "amount is wrong: `41`$"),
    "edited": (lambda edition: with_source(handed_in(edition, WRONG), "check-1", "print('✓')"), 1, 1,
               r"amount is wrong: `41`; the check cell was changed \(ours was used\)$"),
    "given": (lambda edition: with_source(handed_in(edition, "amount = factors"), "given-1", "factors = 42"), 0, 1,
              r"the given cell was changed \(ours was used\)$"),
    "deleted": (lambda edition: without(handed_in(edition), "start-1"), 0, 1, "doubled the answer cell is missing$"),
    "unchecked": (lambda edition: without(handed_in(edition), "check-1", "check-2", "task-1"), 2, 1,
                  "check cell was changed"),
    "nameless": (lambda edition: without_ids(handed_in(edition)), 2, 1, "^$"),
    "lost": (lambda edition: without_ids(without(handed_in(edition), "start-1")), 0, 0, "answer cell is missing$"),
    "empty": (lambda edition: "", 0, 0, "09_tiny_empty.ipynb is not JSON"),
    "cut": (lambda edition: json.dumps(edition)[:-40], 0, 0, r"09_tiny_cut.ipynb is not JSON \(.*\)$"),
    "binary": (lambda edition: b"\xff\x00\x80", 0, 0, "09_tiny_binary.ipynb is not JSON"),
    "list": (lambda edition: "[1, 2]", 0, 0, "is JSON, but not a notebook of version 4$"),
    "old": (lambda edition: '{"worksheets": [{"cells": []}]}', 0, 0, "is JSON, but not a notebook of version 4$"),
    "strange": (lambda edition: '{"cells": [3, {"cell_type": "code"}]}', 0, 0, "not a notebook of version 4$"),
}  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A checkout with one notebook, its student edition, and a folder with what was handed in."""
    root = tmp_path_factory.mktemp("course")
    (root / "modules").mkdir()
    (root / "modules" / "tiny.py").write_text(MODULE)
    (root / "notebooks").mkdir()
    notebook = tiny_notebook(root / "modules")
    (root / "notebooks" / "09_tiny.ipynb").write_text(json.dumps(notebook))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "NOTEBOOKS", root / "notebooks")
        (path,) = exercises.write_editions(root / "editions")
        edition = json.loads(path.read_text())
        for name, (change, *_) in PEOPLE.items():
            content = change(edition)
            content = content if isinstance(content, str | bytes) else json.dumps(content)
            path = root / "handed-in" / f"09_tiny_{name}.ipynb"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield root


@pytest.fixture(scope="module")
def graded(course):
    """The questions, the people by name, and the lines that were reported."""
    lines = []
    files = grading.find_files([course / "handed-in"])
    asked, people = grading.grade_files(files, SECONDS, jobs=4, report=lines.append)
    return asked, {person.name: person for person in people}, lines


@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_gets_the_points_of_the_answers(graded, name):
    asked, people, lines = graded
    _, first, second, words = PEOPLE[name]
    grades = people[name].grades
    remarks = "\n".join(grading._remarks(asked, people[name]))
    assert (grades["tiny.doubled"].points, grades["tiny.halved"].points) == (first, second), remarks
    assert re.search(words, remarks, re.S), remarks
    assert sum(f"tiny_{name}.ipynb: {first + second} of 3 points" in line for line in lines) == 1


def test_the_table_has_a_row_for_each_person_and_a_column_for_each_question(graded):
    asked, people, _ = graded
    chosen = [people[name] for name in ("cut", "partly", "right")]
    names, head, most, *rows = grading.to_text(asked, chosen).splitlines()
    assert names == "09_tiny: 09.1 doubled, 09.2 halved"
    assert head.split() == ["09.1", "09.2", "points"]
    assert most.split() == ["out", "of", "2", "1", "3"]
    assert [row.split() for row in rows[:3]] == [
        ["cut", "0", "0", "0"],
        ["partly", "1", "0", "1"],
        ["right", "2", "1", "3"],
    ]
    assert "partly: 09.1 amount is wrong: `41`" in rows
    assert max(map(len, rows)) <= 130
    table = list(csv.DictReader(io.StringIO(grading.to_csv(asked, chosen))))
    assert [row["person"] for row in table] == ["cut", "partly", "right"]
    assert [row["tiny.doubled (2)"] + row["tiny.halved (1)"] + row["points (3)"] for row in table] == [
        "000",
        "101",
        "213",
    ]
    assert table[1]["remarks"] == "tiny.doubled amount is wrong: `41`\ntiny.halved half is wrong: `2`"


def test_several_notebooks_have_a_table_each_and_one_of_all_points():
    asked = [
        grading.Question(notebook, number, f"{notebook[3:]}.{name}", ("x", "y"), (), "", {})
        for notebook in ("01_a", "02_b")
        for number, name in ((1, "first"), (2, "second"))
    ]
    anna = grading.Person("anna", {"a.first": grading.Grade(2), "a.second": grading.Grade(1, "y is wrong: `2`")}, [])
    ben = grading.Person("ben", {"b.first": grading.Grade(2), "b.second": grading.Grade(2)}, ["b.ipynb is not JSON"])
    assert grading.to_text(asked, [anna, ben]) == (
        "01_a: 01.1 first, 01.2 second\n"
        "        01.1  01.2  points\n"
        "out of     2     2       4\n"
        "anna       2     1       3\n"
        "ben        -     -       0\n"
        "\n"
        "02_b: 02.1 first, 02.2 second\n"
        "        02.1  02.2  points\n"
        "out of     2     2       4\n"
        "anna       -     -       0\n"
        "ben        2     2       4\n"
        "\n"
        "               points\n"
        "all notebooks       8\n"
        "anna                3\n"
        "ben                 4\n"
        "\n"
        "anna: 01.2 y is wrong: `2`\n"
        "ben: b.ipynb is not JSON\n"
    )


def test_a_name_is_no_formula_in_a_spreadsheet():
    table = grading.to_csv([], [grading.Person("=1+1", {}, ["=2.ipynb is not JSON"])])
    assert next(csv.reader(table.splitlines()[1:])) == ["'=1+1", "0", "'=2.ipynb is not JSON"]


def test_persons_are_read_from_names_of_files_and_folders(tmp_path):
    def person(path):
        return grading.find_person(tmp_path / path, "05_cifar_ten")

    assert person("anna/05_cifar_ten.ipynb") == person("05_cifar_ten_anna.ipynb") == "anna"
    assert person("anna_05_cifar_ten (1).ipynb") == person("x/anna-cifar_ten.ipynb") == "anna"
    assert person("anna/05_cifar_ten (2).ipynb") == person("anna/05_cifar_ten-1.ipynb") == "anna"
    assert person("Anna Meier_1234_file_05_cifar_ten.ipynb") == "Anna Meier_1234_file"


def test_a_second_file_a_foreign_one_and_a_forgotten_one_are_told(course, tmp_path):
    source = (course / "handed-in" / "09_tiny_untouched.ipynb").read_text()
    for name in ("anna/09_tiny.ipynb", "anna/sub/anna_tiny.ipynb", "anna/.ipynb_checkpoints/09_tiny.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / "essay.ipynb").write_text('{"cells": []}')
    (tmp_path / "cleo").mkdir()
    (tmp_path / "cleo" / "renamed.ipynb").write_text(source)
    asked, people = grading.grade_files(grading.find_files([tmp_path]), SECONDS, 4, lambda line: None)
    second = str(tmp_path / "anna/sub/anna_tiny.ipynb")
    assert {person.name for person in people} == {"anna", second, "essay", "renamed"}
    text = grading.to_text(asked, people)
    assert "a second 09_tiny of anna" in text
    assert "essay.ipynb is none of the notebooks of the course" in text
    assert next(line for line in text.splitlines() if line.startswith("essay")).split() == ["essay", "-", "-", "0"]


def command(course, *arguments):
    environment = {**os.environ, "IMGCLS_ROOT": str(course)}
    words = [sys.executable, "-m", "course.exercises", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True)


def test_the_command_writes_text_and_csv(course, tmp_path):
    handed = [course / "handed-in" / f"09_tiny_{name}.ipynb" for name in ("right", "empty")]
    done = command(course, "grade", *handed, "--seconds", SECONDS, "--out", tmp_path / "grades.csv")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()[3:5]] == [["empty", "0", "0"], ["right", "2", "1"]]
    assert "right.ipynb: 3 of 3 points" in done.stderr
    rows = list(csv.reader(io.StringIO((tmp_path / "grades.csv").read_text(encoding="utf-8-sig"))))
    assert [row[0] for row in rows] == ["person", "empty", "right"]


def test_the_command_writes_student_editions(course, tmp_path):
    done = command(course, "write", "--to", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / '09_tiny.ipynb'}\n"
    assert "6 * 7" not in (tmp_path / "09_tiny.ipynb").read_text()


def test_an_invalid_request_is_one_line(course, tmp_path):
    done = command(course, "grade", tmp_path / "nowhere")
    assert (done.returncode, done.stderr) == (2, f"error: there is no file or folder {tmp_path / 'nowhere'}\n")
    done = command(course, "grade", tmp_path)
    assert (done.returncode, done.stderr) == (2, f"error: there is no notebook in {tmp_path}\n")


@pytest.mark.parametrize(
    ("key", "source", "words"),
    [
        (
            "solution-2",
            "half = 1 / 3  # a half",
            "our own solution of tiny.halved does not get its points here: half is",
        ),
        ("check-2", 'check("half", half, 0.5)', "09_tiny.ipynb in this checkout cannot be graded: a check cell is one"),
    ],
)
def test_nobody_is_graded_where_our_own_solution_fails(course, tmp_path, monkeypatch, key, source, words):
    notebook = with_source(tiny_notebook(course / "modules"), key, source)
    (tmp_path / "09_tiny.ipynb").write_text(json.dumps(notebook))
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    with pytest.raises(grading.GradingError, match=words):
        grading.grade_files([course / "handed-in" / "09_tiny_right.ipynb"], SECONDS, 2)


def test_a_student_edition_shows_hints_in_a_notebook(course, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("IMGCLS_REPORT", raising=False)
    notebook = nbformat.read(course / "handed-in" / "09_tiny_partly.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [output.data["text/markdown"] for one in notebook.cells for output in one.get("outputs", [])]
    assert shown == [
        "✗ `amount` is wrong: `41`. Multiply.",
        "✓ `double` is right. Twice is plus itself.",
        "✗ `half` is wrong: `2`. Divide.",
    ]
