"""Imports point one way, between packages, sub-packages and files, and no module works when it is imported.

The tables below are the design; the code is parsed, not run, and must agree.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from imgcls import paths

PACKAGES = {  # package -> the packages that it may import
    "menagerie": set(),
    "imgcls": {"menagerie"},
    "course": {"imgcls", "menagerie"},
    "benchmarks": {"course", "imgcls", "menagerie"},
}
EVERYONE = {"files", "messages", "paths", "pixels", "precision", "progress", "reproducibility"}
"""Modules of imgcls that each of its sub-packages may import."""

ALLOWED = {  # sub-package of imgcls -> those that it may import; the menagerie is allowed to data alone
    "files": set(),
    "messages": set(),
    "paths": set(),
    "pixels": set(),
    "precision": set(),
    "progress": set(),
    "reproducibility": set(),
    "transforms": set(),
    "models": set(),
    "plots": set(),
    "tracking": set(),
    "data": {"menagerie"},
    "evaluation": {"data", "transforms"},
    "explain": {"evaluation", "models"},
    "openset": {"evaluation"},
    "training": {"data", "evaluation", "models", "tracking", "transforms"},
    "transfer": {"data", "evaluation", "models", "training", "transforms"},
    "search": {"data", "evaluation", "models", "tracking", "training", "transforms"},
}
NARROW = {  # (sub-package, what it imports) -> the only modules of it that it may take
    ("explain", "evaluation"): {"imgcls.evaluation.statistics"},
}
DOORS = {"__main__", "app", "cli"}
"""The two ways in, and `python -m imgcls`: they may import anything, and nothing imports them."""

OPENS = {
    ("imgcls.__main__", "imgcls.cli"),
    ("imgcls.cli", "imgcls.app.__main__"),
    ("course.documents", "imgcls.cli"),
}
"""A door that only opens another, `python -m imgcls` and `imgcls app`, or is described: docs/cli.md."""

HARMLESS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.AnnAssign)
PURE_CALLS = {
    "LinearSegmentedColormap.from_list", "Path(__file__).resolve", "Path(__file__).with_name", "_rebuilt", "_root",
    "dict.fromkeys", "fields", "frozenset", "functools.partial", "list", "names.split", "object", "os.environ.get",
    "partial", "range", "re.compile", "slice", "torch.tensor", "tuple",
}  # fmt: skip
"""What the value of a module's constant may call, besides classes."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the four packages by its dotted name; a package stands for its `__init__`."""
    found = {}
    for package in PACKAGES:
        for path in sorted((paths.ROOT / package).rglob("*.py")):
            parts = path.relative_to(paths.ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, module: str, is_package: bool, known: set[str]) -> set[str]:
    """Known modules that a source imports, wherever in it: `from a.b import c` is a.b.c where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            parents = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name in known and not defines(base, alias.name) else base)
    return {name for name in found if name in known and name != module}


@cache
def defines(module: str, name: str) -> bool:
    """Whether a package binds a name itself, such as a function that hides the submodule it comes from."""
    path = modules().get(module)
    if path is None:
        return False
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return True
    return False


@cache
def graph() -> dict[str, set[str]]:
    """Which modules each module imports."""
    known = set(modules())
    return {
        name: imported(path.read_text(encoding="utf-8"), name, path.name == "__init__.py", known)
        for name, path in modules().items()
    }


def part(module: str) -> str:
    """Sub-package or file of imgcls that a module belongs to; the menagerie is one part."""
    return module.split(".")[1] if module.startswith("imgcls.") else module.split(".")[0]


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """One circle of imports, from a module back to it; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for other in sorted(edges.get(name, ())):
            if found := visit(other, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := visit(name, []))), [])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_along_the_arrow(package):
    for module, names in graph().items():
        if module.split(".")[0] == package:
            others = {name.split(".")[0] for name in names} - {package}
            assert others <= PACKAGES[package], f"{module} may not import {others - PACKAGES[package]}"


def test_sub_packages_follow_the_table():
    for module, names in graph().items():
        own = part(module)
        if not module.startswith("imgcls.") or own in DOORS:
            continue
        assert own in ALLOWED, f"imgcls.{own} is not in the design's table: place it there first"
        for name in names - {"imgcls"}:
            other = part(name)
            if other == own:
                continue
            assert other in ALLOWED[own] | EVERYONE, f"{module} may not import {name}"
            narrow = NARROW.get((own, other))
            assert narrow is None or name in narrow, f"{module} may not import {name}: only {narrow}"


def test_nothing_imports_a_door():
    """The doors neither: what both need belongs to the library."""
    for module, names in graph().items():
        for name in names:
            if (module, name) in OPENS:
                continue
            if name.startswith("imgcls.") and part(name) in DOORS and part(module) != part(name):
                assert not module.startswith(("imgcls.", "course.")), f"{module} imports {name}"


def test_no_file_imports_itself_through_others():
    assert not cycle(graph()), " -> ".join(cycle(graph()))


def test_the_library_itself_imports_nothing():
    assert not graph()["imgcls"]


def test_a_circle_is_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    ("line", "module", "is_package"),
    [
        ("from imgcls.training import loop", "imgcls.data.load", False),
        ("from imgcls.training.loop import fit", "imgcls.data.load", False),
        ("import imgcls.training.loop", "imgcls.data.load", False),
        ("import imgcls.training.loop as l", "imgcls", True),
        ("from .loop import fit", "imgcls.training.recipe", False),
        ("from .loop import fit", "imgcls.training", True),
        ("from . import loop", "imgcls.training", True),
        ("from ..training.loop import fit", "imgcls.data.load", False),
        ("def f():\n    from imgcls.training.loop import fit", "imgcls.data.load", False),
    ],
)
def test_the_parser_sees_every_way_to_import(line, module, is_package):
    assert imported(line, module, is_package, {"imgcls", "imgcls.training.loop"}) == {"imgcls.training.loop"}


# ------------------------------------------------------------------ work at import time
def works(source: str) -> list[int]:
    """Lines of statements that do more at import time than define: loops, blocks, bare calls, calls in constants."""
    return [node.lineno for node in ast.parse(source).body if not _defines(node)]


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # a docstring
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return node.value is None or all(_is_pure(call) for call in _calls(node.value))
    if isinstance(node, ast.If):  # TYPE_CHECKING, and `python -m`
        return ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
    if isinstance(node, ast.Try):  # a package that not every system has
        return all(isinstance(one, (ast.Import, ast.ImportFrom)) for one in node.body)
    return isinstance(node, HARMLESS)


def _calls(value: ast.expr) -> list[ast.Call]:
    """Calls that run when the value is computed: not those in the body of a lambda."""
    if isinstance(value, ast.Lambda):
        return []
    own = [value] if isinstance(value, ast.Call) else []
    return own + [call for child in ast.iter_child_nodes(value) for call in _calls(child)]


def _is_pure(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    return name in PURE_CALLS or name.rpartition(".")[2][0].isupper()  # a class


def test_nothing_works_at_import_time():
    for module, path in modules().items():
        if path.name == "__main__.py":
            continue
        found = works(path.read_text(encoding="utf-8"))
        assert not found, f"{module} works at import time in line {', '.join(map(str, found))}"


@pytest.mark.parametrize(
    "source",
    [
        "for x in y:\n    pass", "while True:\n    pass", "with open('x') as f:\n    pass", "print('x')", "x += 1",
        "x = load('x')", "x = file.read_text()", "x: int = load()", "x = [load(i) for i in y]", "if y:\n    x = 1",
        "del x", "assert x",
        "try:\n    x = load()\nexcept OSError:\n    x = 1",
    ],
)  # fmt: skip
def test_work_is_seen(source):
    assert works(source)


@pytest.mark.parametrize(
    "source",
    ['"""Doc."""', "import x", "X = 1", "X = {'a': frozenset((1, 2))}", "X = lambda: load()", "def f():\n    load()",
     "if TYPE_CHECKING:\n    import x", "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None"],
)  # fmt: skip
def test_definitions_are_no_work(source):
    assert not works(source)
