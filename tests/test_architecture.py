"""Imports point one way. The table below is the design; the code is parsed, not run, and must agree."""

import ast
from functools import cache
from pathlib import Path

import pytest

import imgcls

PACKAGE = Path(imgcls.__file__).parent

EVERYWHERE = {"files", "paths", "reproducibility"}
DOORS = {"cli", "app"}
ALLOWED = {
    "files": set(),
    "paths": set(),
    "catalogue": set(),
    "reproducibility": set(),
    "decoding": set(),
    "menagerie": set(),
    "datasets": {"catalogue", "decoding", "menagerie"},
    "transforms": set(),
    "batches": {"transforms"},
    "models": set(),
    "statistics": set(),
    "evaluation": {"batches", "statistics", "transforms"},
    "training": {"batches", "evaluation", "models", "tracking"},
    "tracking": set(),
    "recipes": {"training", "transforms"},
    "search": {"batches", "evaluation", "statistics", "tracking", "training", "transforms"},
    "openset": {"statistics", "evaluation"},
    "transfer": {"batches", "datasets", "evaluation", "models", "training", "transforms"},
    "explain": {"models", "statistics"},
    "baselines": {"batches", "evaluation"},
    "plots": set(),
    "exercises": set(),
    "reports": {"catalogue", "exercises", "plots", "tracking"},
}


def imported(source: str, package: str) -> set[str]:
    """First-level modules of imgcls that a source file imports, relative imports included."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if base == "imgcls" else base for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("imgcls.")}
    return found


@cache
def modules() -> dict[str, set[str]]:
    """Each first-level module with what its files import; a package counts as one module."""
    table = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts == ("__init__",):
            continue
        package = ".".join(["imgcls", *parts[:-1]])
        table.setdefault(parts[0], set()).update(imported(path.read_text(), package) - {parts[0]})
    return table


@pytest.mark.parametrize(("module", "imports"), modules().items())
def test_imports_follow_the_table(module, imports):
    if module in DOORS:
        return
    assert module in ALLOWED, f"imgcls.{module} is not in the design's table: place it there first"
    assert imports <= ALLOWED[module] | EVERYWHERE, f"imgcls.{module} may not import {imports - ALLOWED[module]}"


@pytest.mark.parametrize(("module", "imports"), modules().items())
def test_nothing_imports_a_door(module, imports):
    """The doors neither: what both need belongs to the library."""
    assert not imports & DOORS, f"imgcls.{module} imports {imports & DOORS}: move what it needs out of there"


def test_the_package_itself_imports_nothing():
    assert imported((PACKAGE / "__init__.py").read_text(), "imgcls") == set()


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("from imgcls import training", "imgcls"),
        ("from imgcls.training import fit", "imgcls"),
        ("import imgcls.training", "imgcls"),
        ("from . import training", "imgcls"),
        ("from .training import fit", "imgcls"),
        ("from ..training import fit", "course.reports"),
        ("def f():\n    from imgcls.training import fit", "imgcls"),
    ],
)
def test_the_parser_sees_every_way_to_import(line, package):
    assert imported(line, package) == {"training"}


def test_no_work_at_import_time():
    """Module bodies hold definitions, constants and imports; no loops, no printing, no files."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            assert not isinstance(node, (ast.For, ast.While, ast.With)), (
                f"{path.name}:{node.lineno} works at import time"
            )
