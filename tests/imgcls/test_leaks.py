"""What a case keeps shut must stay shut: names are followed through the notebook's code, cell by cell."""

import ast

import nbformat
import pytest

from imgcls import paths

NOTEBOOK = paths.NOTEBOOKS / "02_forty_species.ipynb"
HARMLESS = {"classes"}  # names of species are no pictures; `len` of a split is none either
DECIDED = {
    "weights", "learn", "steps", "repaired", "answering", "model", "full_head", "raced", "body", "train_features",
    "val_features", "detectors", "thresholds", "detector", "keep", "temperature", "calibrated", "guesser", "traits",
    "seen_in_pictures", "kept", "teachers", "matrix",
}  # fmt: skip
"""What is trained, fitted or chosen, and must not know any picture of an unknown species."""
ASSIGNS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)
OPENED = "### Species that it never saw"


def depends(node: ast.AST, tainted: set[str]) -> bool:
    """Whether an expression uses the pictures of a tainted name: more than its length and its class names."""
    if isinstance(node, ast.Attribute) and node.attr in HARMLESS:
        return False
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "len":
        return False
    if isinstance(node, ast.Name):
        return node.id in tainted
    return any(depends(child, tainted) for child in ast.iter_child_nodes(node))


def spread(source: str, tainted: set[str]) -> set[str]:
    """Names that hold something of the tainted ones once this code has run, those assigned in branches too."""
    tainted = set(tainted)
    assignments = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ASSIGNS) and node.value is not None]
    for node in sorted(assignments, key=lambda node: node.lineno):
        if depends(node.value, tainted):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            tainted |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return tainted


def cells(path=NOTEBOOK):
    return nbformat.read(path, as_version=4).cells


def test_nothing_that_is_decided_depends_on_a_picture_of_an_unknown_species():
    tainted = {"strangers"}
    for cell in cells():
        if cell.cell_type == "code":
            tainted = spread(cell.source, tainted)
            assert not tainted & DECIDED, f"{tainted & DECIDED} would know unknown species after\n{cell.source}"
    assert {"stranger_features", "scores", "found", "opened", "zero_shot"} <= tainted  # the names are really followed


def test_before_the_test_is_opened_only_the_number_and_the_names_of_unknown_species_are_used():
    sources = [cell for cell in cells() if cell.cell_type == "code" or OPENED in cell.source]
    opened = next(i for i, cell in enumerate(sources) if cell.cell_type == "markdown")
    for cell in sources[:opened]:
        for statement in ast.parse(cell.source).body:
            assert not depends(statement, {"strangers"}) or "strangers =" in ast.unparse(statement), cell.source


def test_everything_decided_is_a_name_of_the_notebook():
    """A renamed variable must not slip out of the list unseen."""
    stored = {
        node.id
        for cell in cells()
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert stored >= DECIDED


@pytest.mark.parametrize(
    ("source", "leaks"),
    [
        ("thresholds = keep(val_features)", False),
        ("thresholds = keep(strangers.images)", True),
        ("both = cat(known, strangers.images)\nthresholds = keep(both)", True),
        ("if apart:\n    seen = strangers\nthresholds = keep(seen)", True),
        ("names = [*classes, *strangers.classes]\nthresholds = keep(names, len(strangers))", False),
        ("a, thresholds = both(strangers.labels)", True),
    ],
)
def test_a_planted_leak_is_found(source, leaks):
    assert ("thresholds" in spread(source, {"strangers"})) == leaks
