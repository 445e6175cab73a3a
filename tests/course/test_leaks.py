"""What a case keeps shut must stay shut: names are followed through the notebook's code, cell by cell."""

import ast

import nbformat
import pytest

from course import exercises
from imgcls import paths

NOTEBOOK = paths.NOTEBOOKS / "06_unknown_species.ipynb"
UNKNOWN = {"unseen_set"}  # makes every split of unknown species
HARMLESS = {"classes"}  # names of species are no pictures; `len` of a split is none either
DECIDED = {
    "learn", "val", "start", "penalties", "recipe", "tuned", "model", "head", "train_f", "val_f", "pseudo_f",
    "detectors", "search", "on_pseudo", "detector", "two", "thresholds", "probe", "visible", "traits", "matrix",
    "exemplars",
}  # fmt: skip
"""What is trained, fitted or chosen, and must not know any picture of an unknown species."""
ASSIGNS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)


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
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):  # a, b = x, y
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if depends(value, tainted):
                    tainted |= {one.id for one in ast.walk(name) if isinstance(one, ast.Name)}
    return tainted


def cells(path=NOTEBOOK):
    return nbformat.read(path, as_version=4).cells


def test_nothing_that_is_decided_depends_on_a_picture_of_an_unknown_species():
    tainted = UNKNOWN
    for cell in cells():
        if cell.cell_type == "code" and not exercises.part_of(cell):
            tainted = spread(cell.source, tainted)
            assert not tainted & DECIDED, f"{tainted & DECIDED} would know unknown species after\n{cell.source}"
    assert {
        "unseen_f",
        "scores",
        "found",
        "opened",
        "zero_shot",
        "new_scores",
    } <= tainted  # the names are really followed


def test_everything_decided_is_a_name_of_the_notebook():
    """A renamed variable must not slip out of the list unseen."""
    stored = {
        node.id
        for cell in cells()
        if cell.cell_type == "code" and not exercises.part_of(cell)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert stored >= DECIDED


@pytest.mark.parametrize(
    ("source", "leaks"),
    [
        ("thresholds = keep(val_features)", False),
        ("thresholds = keep(unseen_set.images)", True),
        ("both = cat(known, unseen_set.images)\nthresholds = keep(both)", True),
        ("if apart:\n    seen = unseen_set\nthresholds = keep(seen)", True),
        ("names = [*classes, *unseen_set.classes]\nthresholds = keep(names, len(unseen_set))", False),
        ("a, thresholds = both(unseen_set.labels)", True),
        ("test, thresholds = unseen_set, keep(val)", False),
    ],
)
def test_a_planted_leak_is_found(source, leaks):
    assert ("thresholds" in spread(source, UNKNOWN)) == leaks
