"""Form and length of the notebooks; and each of them runs from its first cell to its last."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from course import exercises
from course.contents import read_contents
from imgcls import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
ENDING = ["Answer", "Key points", "Further reading", "Provenance"]
HEADINGS = ["Question", "Data", "The report as published", "One correction at a time", "Going further"]
HEADINGS += ["What the model looks at", "Diagnostics", *ENDING]
LONGEST_CELL, MOST_CELLS, MOST_FIGURES = 18, 60, 12  # lines, cells, figures outside the section Diagnostics
CASES = range(1, 8)  # numbers of the notebooks that follow a published report


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def headings(path):
    """Headings of the second level, in their order."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    return [line[3:] for cell in cells for line in cell.source.splitlines() if line.startswith("## ")]


def sections(path):
    """Each cell with the heading of the second level that it is under."""
    heading = ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^## (.+)", cell.source, re.M)][-1]
        yield heading, cell


def figure_calls(cell):
    """Calls of `plots.show` in a code cell."""
    calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func) == "plots.show"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_outputs_are_stripped_and_no_machine_is_named(notebook):
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    assert content.metadata.kernelspec.name == "python3"
    for cell in code_cells(notebook):
        assert not cell.outputs
        assert cell.execution_count is None
    assert "/home/" not in notebook.read_text()


def test_one_parameters_cell_with_every_name_typed(notebook):
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.AnnAssign), f"line {statement.lineno} is no `name: type = value`"
        assert statement.value is not None


def test_only_the_comparison_of_photographs_and_drawings_pretrains_on_drawings(notebook):
    cells = code_cells(notebook)
    assert not any("source_backbone" in cell.source for cell in cells)
    parameters = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    values = [ast.literal_eval(statement.value) for statement in ast.parse(parameters).body]
    named = [text for value in values for text in (value if isinstance(value, list) else [value])]
    by_default = any(isinstance(text, str) and text.split("/")[0] == "source" for text in named)
    assert by_default == notebook.stem.startswith("07")


def test_cells_are_short_and_define_nothing(notebook):
    for cell in code_cells(notebook):
        tree = ast.parse(cell.source)
        lists = (ast.Import, ast.ImportFrom, ast.AnnAssign)  # of imports or of parameters, which are read by the line
        is_list = all(isinstance(node, lists) for node in tree.body)
        assert is_list or len(cell.source.splitlines()) <= LONGEST_CELL, cell.source
        if notebook.stem.startswith("00") or exercises.part_of(cell):
            continue  # a first network by hand, and what a student writes
        forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While)
        for node in ast.walk(tree):
            assert not isinstance(node, forbidden), f"the library is the home of this: {ast.unparse(node)}"


def test_a_notebook_is_short(notebook):
    cells = list(sections(notebook))
    assert len(cells) <= MOST_CELLS
    main = [cell for heading, cell in cells if cell.cell_type == "code" and heading != "Diagnostics"]
    assert sum(len(figure_calls(cell)) for cell in main) <= MOST_FIGURES


def test_the_first_heading_is_the_title_in_the_table_of_contents(notebook):
    first = nbformat.read(notebook, as_version=4).cells[0]
    assert first.source.splitlines()[0] == f"# {read_contents()[notebook.stem].title}"


def test_headings_are_in_order(notebook):
    found = headings(notebook)
    assert found[-len(ENDING) :] == ENDING
    if int(notebook.stem[:2]) in CASES:
        assert [heading for heading in found if heading in HEADINGS] == found
        assert found == sorted(found, key=HEADINGS.index)
        assert {"Question", "Data"} <= set(found)


def test_four_to_seven_key_points_and_a_list_of_further_reading(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    parts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown").split("\n## ")
    bullets = {part.split("\n")[0]: len(re.findall(r"^[-*] ", part, re.M)) for part in parts}
    assert 4 <= bullets["Key points"] <= 7
    assert bullets["Further reading"] > 0


def test_every_figure_goes_through_show_with_words_for_those_who_cannot_see_it(notebook):
    for cell in code_cells(notebook):
        for call in figure_calls(cell):
            assert {"alt", "caption"} <= {keyword.arg for keyword in call.keywords}, ast.unparse(call)


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory):
    """A copy of the notebooks, the same for all of them: what one draws or pretrains the others find."""
    root = tmp_path_factory.mktemp("smoke")
    shutil.copytree(paths.NOTEBOOKS, root / "notebooks")
    return root


@pytest.fixture
def smoke(notebook, copied_tree):
    """The notebook run under the smoke profile and rendered; the process, and the folder of its report."""
    command = [sys.executable, "-m", "course.reports", "run", notebook.stem, "--profile", "smoke"]
    environment = {**os.environ, "IMGCLS_ROOT": str(copied_tree)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done, copied_tree / "reports" / "smoke"


def test_the_smoke_profile_makes_a_report_and_a_result(notebook, smoke):
    done, reports = smoke
    assert done.returncode == 0, done.stderr
    page = (reports / f"{notebook.stem}.html").read_text()
    result = json.loads((reports / f"{notebook.stem}.json").read_text())
    assert result["profile"] == "smoke"
    assert "<script" not in page
    assert len(page) < 2_000_000
    for row in result["headline"]:
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert "Warning" not in page
