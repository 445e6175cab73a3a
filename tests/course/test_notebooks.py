"""The notebooks tell, the library does; and each of them runs from its first cell to its last."""

import ast
import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from imgcls import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
HEADINGS = ["Question", "Data", "The report as published", "Repaired", "Going further", "What the model looks at"]
HEADINGS += ["Answer", "Provenance"]
LONGEST_CELL = 18  # lines


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


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
    assert by_default == notebook.stem.startswith("04")


def test_cells_are_short_and_define_nothing(notebook):
    for cell in code_cells(notebook):
        lists = (ast.Import, ast.ImportFrom, ast.AnnAssign)  # of imports or of parameters, which are read by the line
        is_list = all(isinstance(node, lists) for node in ast.parse(cell.source).body)
        assert is_list or len(cell.source.splitlines()) <= LONGEST_CELL, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While)
            assert not isinstance(node, forbidden), f"the library is the home of this: {ast.unparse(node)}"


def test_a_case_has_its_headings_in_order(notebook):
    if notebook.stem.startswith("00"):
        return
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "markdown"]
    found = [line[3:] for cell in cells for line in cell.source.splitlines() if line.startswith("## ")]
    assert [heading for heading in found if heading in HEADINGS] == found
    assert found == sorted(found, key=HEADINGS.index)
    assert {"Question", "Data", "Answer", "Provenance"} <= set(found)


def test_every_figure_goes_through_show_with_words_for_those_who_cannot_see_it(notebook):
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "plots.show":
                keywords = {keyword.arg for keyword in node.keywords}
                assert {"alt", "caption"} <= keywords, ast.unparse(node)


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
