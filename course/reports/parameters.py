"""A notebook's parameters: read from its parameters cell without running it, and checked by name and type."""

import ast
import difflib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from course.reports.files import Files
from imgcls import paths
from imgcls.files import write

KINDS = ("int", "float", "str", "bool", "list[int]", "list[float]", "list[str]")


class Refused(ValueError):
    """A request that cannot be run as it stands; nothing was changed."""


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell: `epochs: int = 8  # passes over the training split`."""

    name: str
    kind: str
    optional: bool
    default: Any
    note: str = ""

    def __str__(self) -> str:
        """`epochs: int = 8`."""
        return f"{self.name}: {self.kind}{' | None' if self.optional else ''} = {self.default!r}"


@dataclass(frozen=True)
class Request:
    """A checked request: which notebook, under which profile, with which parameters."""

    files: Files
    overrides: dict[str, Any]  # injected after the parameters cell; paths are absolute
    shown: dict[str, Any]  # every parameter as it was typed, for the report

    def stamp(self) -> None:
        """Write down the inputs, touching the file only if they differ from those of the last request."""
        text = json.dumps({"parameters": self.overrides, "data": _state(self.overrides.get("data"))}, indent=1)
        if not self.files.inputs.exists() or self.files.inputs.read_text() != text:
            write(self.files.inputs, text)


def notebooks() -> tuple[str, ...]:
    """Names of all notebooks, in their order."""
    return tuple(sorted(path.stem for path in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))


def profiles() -> tuple[str, ...]:
    """`default` (the values that stand in the notebooks) and every `notebooks/profiles/*.yaml`."""
    return ("default", *sorted({path.stem for path in paths.PROFILES.glob("*.yaml")} - {"default"}))


def find(name: str) -> str:
    """Full name of a notebook given as `05` or `05_cifar_ten`.

    Raises:
        Refused: there is no such notebook; the message lists those there are.
    """
    known = notebooks()
    matches = [full for full in known if name == full or name == full[:2]]
    if len(matches) == 1:
        return matches[0]
    raise Refused(f"unknown notebook {name!r}{_closest(name, known)}; there are {_list(known)}")


def read(name: str) -> dict[str, Parameter]:
    """Parameters of a notebook, from the one cell tagged `parameters`; nothing is executed.

    Raises:
        Refused: no such cell or two, or a line that is not `name: type = value`.
    """
    path = Files(name).notebook
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    if len(tagged) != 1:
        raise Refused(f"{path.name} has {len(tagged)} cells tagged 'parameters'; it must have exactly one")
    source = "".join(tagged[0]["source"])
    try:
        statements = ast.parse(source).body
        found = [_parameter(statement, source) for statement in statements]
    except (SyntaxError, ValueError) as error:
        raise Refused(
            f"{path.name}, parameters cell: {error}; every line must read 'name: type = value' with a type among "
            f"{_list(KINDS)}, or one of these and '| None'"
        ) from None
    return {parameter.name: parameter for parameter in found}


def check(name: str, profile: str = "default", data: str | None = None, assignments: tuple[str, ...] = ()) -> Request:
    """Check a request before anything runs.

    `data` sets the parameter of that name and `assignments` are texts `key=value`; both win over the profile.
    A relative path in them is meant from the current folder, one in a profile or notebook from the project's root.

    Raises:
        Refused: unknown notebook, profile or parameter, a value of the wrong type, or data that is not there.
    """
    name = find(name)
    parameters = read(name)
    given = [(key, value, False) for key, value in _profile(profile, name).items()]
    given += [(*_split(assignment), True) for assignment in assignments]
    if data is not None:
        given.append(("data", data, True))

    problems, overrides, shown = [], {}, {key: parameter.default for key, parameter in parameters.items()}
    folders = dict.fromkeys(parameters, paths.ROOT)
    for key, value, typed in given:
        if key not in parameters:
            problems.append(
                f"unknown parameter {key!r} (given {value!r}){_closest(key, parameters)}; choices: {_list(parameters)}"
            )
            continue
        try:
            shown[key] = overrides[key] = convert(parameters[key], value, text=typed)
        except ValueError as error:
            problems.append(f"{key} = {value!r}: {error} (default: {parameters[key].default!r})")
            continue
        folders[key] = Path.cwd() if typed else paths.ROOT
    if isinstance(shown.get("data"), str) and not any(problem.startswith("data =") for problem in problems):
        try:
            location = _locate(shown["data"], folders["data"])
        except ValueError as error:
            problems.append(f"{error}, or give another: make report-{name[:2]} PROFILE={profile} DATA=path")
        else:
            if location != parameters["data"].default:
                overrides["data"] = location
    if problems:
        raise Refused(f"{name}, profile {profile}, was not run:\n  " + "\n  ".join(problems))
    return Request(Files(name, profile), overrides, shown)


def convert(parameter: Parameter, value: Any, text: bool = False) -> Any:
    """Value of the parameter's type; `text` says that it was typed on a command line, where all is text.

    Raises:
        ValueError: the value is not of that type.
    """
    if text and isinstance(value, str):
        value = _parse(parameter, value)
    if value is None and parameter.optional:
        return None
    if parameter.kind.startswith("list"):
        if not isinstance(value, list):
            raise ValueError(f"expected a {parameter.kind}, got {_typed(value)}")
        return [_scalar(parameter.kind[5:-1], item) for item in value]
    return _scalar(parameter.kind, value)


def _parse(parameter: Parameter, text: str) -> Any:
    """What a text typed on a command line means for this parameter."""
    if parameter.optional and text.lower() in ("none", "null"):
        return None
    if parameter.kind.startswith("list"):
        items = [item.strip().strip("'\"") for item in text.strip().strip("[]()").split(",")]
        item = Parameter(parameter.name, parameter.kind[5:-1], False, None)
        return [_parse(item, word) for word in items if word]
    if parameter.kind == "bool":
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        return words.get(text.lower(), text)
    if parameter.kind == "int" and re.fullmatch(r"[+-]?\d[\d_]*", text):
        return int(text)
    return text


def _scalar(kind: str, value: Any) -> Any:
    if kind == "float":
        if isinstance(value, str):  # YAML reads 1e-4 as text
            try:
                value = float(value)
            except ValueError:
                raise ValueError(f"expected a float, got {_typed(value)}") from None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    elif kind == "int":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif kind == "bool":
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            raise ValueError(f"expected a bool (true or false), got {_typed(value)}")
    elif isinstance(value, str):
        return value
    raise ValueError(f"expected {'an' if kind[0] == 'i' else 'a'} {kind}, got {_typed(value)}")


def _parameter(statement: ast.stmt, source: str) -> Parameter:
    if not (
        isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None
    ):
        raise ValueError(f"line {statement.lineno} is {ast.unparse(statement)!r}")
    annotation = ast.unparse(statement.annotation)
    kind = annotation.removesuffix(" | None").removeprefix("None | ")
    if kind not in KINDS:
        raise ValueError(f"line {statement.lineno} has the type {annotation!r}")
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        raise ValueError(f"line {statement.lineno}: {ast.unparse(statement.value)!r} is no literal") from None
    last = source.splitlines()[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode()
    bare = Parameter(statement.target.id, kind, kind != annotation, default, last.strip().lstrip("# "))
    try:
        convert(bare, default)
    except ValueError as error:
        raise ValueError(f"line {statement.lineno}: {bare.name} = {default!r}: {error}") from None
    return bare


def _profile(profile: str, name: str) -> dict[str, Any]:
    """The section of a notebook in `notebooks/profiles/<profile>.yaml`, empty for the default profile."""
    if profile not in profiles():
        raise Refused(f"unknown profile {profile!r}{_closest(profile, profiles())}; there are {_list(profiles())}")
    path = paths.PROFILES / f"{profile}.yaml"
    if not path.exists():
        return {}
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise Refused(f"{path.name} cannot be read: {error}") from None
    if not isinstance(sections, dict):
        raise Refused(f"{path.name} must map names of notebooks to parameters, not be {_typed(sections)}")
    for key in sections:
        if key not in notebooks():
            raise Refused(
                f"{path.name} has a section for {key!r}, which is no notebook{_closest(str(key), notebooks())}; "
                f"there are {_list(notebooks())}"
            )
    section = sections.get(name) or {}
    if not isinstance(section, dict):
        raise Refused(f"{path.name}, {name}: expected 'parameter: value' lines, got {_typed(section)}")
    return section


def _split(assignment: str) -> tuple[str, str]:
    key, equals, value = assignment.partition("=")
    if not equals:
        raise Refused(f"-p {assignment!r} is not of the form key=value")
    return key.strip(), value.strip()


def _locate(data: str, folder: Path) -> str:
    """Path made absolute, name of a generated set as it is; a bare word without a suffix is a name of the catalogue."""
    path = Path(data).expanduser()
    is_name = data.startswith("menagerie/") or not (set(data) & {"/", "\\"} or path.suffix)
    if (folder / path).exists() and not data.startswith("menagerie/") and (not is_name or (folder / path).is_dir()):
        return str((folder / path).resolve())
    from imgcls.data import catalogue  # slow to import, needed only here

    known = catalogue.key(data)
    steps = catalogue.steps_for(data)
    found = catalogue.find(known) if known else steps and catalogue.existing(folder / path)
    if found:
        return str(found.resolve())
    if steps:
        raise ValueError(f"data = {data!r}: not here yet. To bring it: {steps}; looked for {(folder / path).resolve()}")
    if is_name and data:
        return data
    raise ValueError(
        f"data = {data!r}: not found; looked for {(folder / path).resolve()}. Bring it there"
        " (a folder, .zip or .tar of class/image), use 'menagerie/<subset>' or a name of the catalogue"
    )


def _state(data: str | None) -> list[int] | None:
    """Size and time of an archive, time of a folder: cheap signs that other data lies at the same path."""
    if data is None or not (path := Path(data)).is_absolute():
        return None
    state = path.stat()
    return [state.st_size if path.is_file() else 0, state.st_mtime_ns]


def _closest(name: str, choices: Any) -> str:
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _list(words: Any) -> str:
    return ", ".join(words) or "none"


def _typed(value: Any) -> str:
    return "nothing" if value is None else f"the {type(value).__name__} {value!r}"
