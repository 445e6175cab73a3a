"""A notebook's parameters: read from its parameters cell without running it, and checked by name and type.

papermill's own inspection infers types and accepts any name and value; these functions accept neither.
"""

import ast
import contextlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from course.reports.errors import RequestError
from course.reports.files import Files, read_cells
from imgcls import paths
from imgcls.files import write
from imgcls.messages import did_you_mean

KINDS = ("int", "float", "str", "bool", "list[int]", "list[float]", "list[str]")
BOOLEANS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell: `epochs: int = 8  # passes over the training split`."""

    name: str
    kind: str
    optional: bool
    default: Any
    note: str = ""


@dataclass(frozen=True)
class Request:
    """A checked request: which notebook, under which profile, with which parameters."""

    files: Files
    overrides: dict[str, Any]  # injected after the parameters cell; paths are absolute
    shown: dict[str, Any]  # every parameter as it was typed, for the report

    def stamp(self) -> None:
        """Write the inputs to a file; its time changes only if they differ from those of the last request."""
        data, state = Path(self.overrides.get("data") or ""), None
        if data.is_absolute():  # a changed size or time is a cheap sign of other data at the same path
            state = [data.stat().st_size if data.is_file() else 0, data.stat().st_mtime_ns]
        text = json.dumps({"parameters": self.overrides, "data": state}, indent=1)
        if not self.files.inputs.exists() or self.files.inputs.read_text() != text:
            write(self.files.inputs, text)


def notebooks() -> tuple[str, ...]:
    """Names of all notebooks, in their order."""
    return tuple(sorted(path.stem for path in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))


def profiles() -> tuple[str, ...]:
    """`default` (the values in the notebooks) and every `notebooks/profiles/*.yaml`."""
    return ("default", *sorted({path.stem for path in paths.PROFILES.glob("*.yaml")} - {"default"}))


def check_profile(profile: str) -> None:
    """Raise a RequestError with the choices if there is no such profile."""
    if profile not in profiles():
        raise RequestError(f"unknown profile {profile!r}; {did_you_mean(profile, profiles())}")


def find(name: str) -> str:
    """Full name of a notebook given as `05` or `05_cifar_ten`.

    Raises:
        RequestError: there is no such notebook.
    """
    for full in notebooks():
        if name in (full, full[:2]):
            return full
    raise RequestError(f"unknown notebook {name!r}; {did_you_mean(name, notebooks())}")


def read(name: str) -> dict[str, Parameter]:
    """Parameters of a notebook, from the one cell tagged `parameters`; nothing is executed.

    Raises:
        RequestError: no such cell or two, or a line that is not `name: type = value`.
    """
    path = Files(name).notebook
    tagged = [cell for cell in read_cells(path) if "parameters" in cell["metadata"].get("tags", ())]
    if len(tagged) != 1:
        raise RequestError(f"{path.name} has {len(tagged)} cells tagged 'parameters'; it must have exactly one")
    source = tagged[0]["source"]
    try:
        found = [_parameter(statement, source) for statement in ast.parse(source).body]
    except (SyntaxError, ValueError) as error:
        raise RequestError(
            f"{path.name}, parameters cell: {error}; every line must read 'name: type = value' with a type among "
            f"{', '.join(KINDS)}, or one of these and '| None'"
        ) from None
    return {parameter.name: parameter for parameter in found}


def check(name: str, profile: str = "default", data: str | None = None, assignments: Iterable[str] = ()) -> Request:
    """Check a request before anything runs.

    `data` sets the parameter of that name and `assignments` are texts `key=value`; both override the profile.
    Relative paths in them start at the current folder, those in a profile or notebook at the project's root.

    Raises:
        RequestError: unknown notebook, profile or parameter, a value of the wrong type, or missing data.
    """
    name = find(name)
    parameters = read(name)
    given = [(key, value, False) for key, value in _profile(profile, name).items()]
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise RequestError(f"-p {assignment!r} is not of the form key=value")
        given.append((key.strip(), value.strip(), True))
    if data is not None:
        given.append(("data", data, True))

    problems, overrides, shown = [], {}, {key: parameter.default for key, parameter in parameters.items()}
    data_folder = paths.ROOT  # in which a relative path starts
    for key, value, typed in given:
        if key not in parameters:
            hint = did_you_mean(key, parameters, cutoff=0.5)
            problems.append(f"unknown parameter {key!r} (given {value!r}); {hint}")
            continue
        try:
            shown[key] = overrides[key] = convert(parameters[key], value, text=typed)
        except ValueError as error:
            problems.append(f"{key} = {value!r}: {error} (default: {parameters[key].default!r})")
        else:
            data_folder = Path.cwd() if key == "data" and typed else data_folder
    if isinstance(shown.get("data"), str):
        try:
            location = _locate(shown["data"], data_folder)
        except ValueError as error:
            problems.append(f"{error}, or give another: make report-{name[:2]} PROFILE={profile} DATA=path")
        else:
            if location != parameters["data"].default:
                overrides["data"] = location
    if problems:
        raise RequestError(f"{name}, profile {profile}, was not run:\n  " + "\n  ".join(problems))
    return Request(Files(name, profile), overrides, shown)


def convert(parameter: Parameter, value: Any, text: bool = False) -> Any:
    """Value of the parameter's type; `text` if it was typed on a command line, where every value is text.

    Raises:
        ValueError: the value is not of that type.
    """
    if text and parameter.optional and value.lower() in ("none", "null"):
        value = None
    if value is None and parameter.optional:
        return None
    if not parameter.kind.startswith("list"):
        return _scalar(parameter.kind, value, text)
    if text:
        items = (item.strip().strip("'\"") for item in value.strip("[]()").split(","))
        value = [item for item in items if item]
    if not isinstance(value, list):
        raise ValueError(f"expected a {parameter.kind}, got {_typed(value)}")
    return [_scalar(parameter.kind[5:-1], item, text) for item in value]


def _scalar(kind: str, value: Any, text: bool) -> Any:
    """One value of a type; neither a float nor a bool becomes an int."""
    if kind == "bool" and text:
        value = BOOLEANS.get(value.lower(), value)
    elif (kind == "float" and not isinstance(value, bool)) or (kind == "int" and text):  # YAML reads 1e-4 as text
        with contextlib.suppress(TypeError, ValueError):
            value = float(value) if kind == "float" else int(value)
    if type(value).__name__ == kind and (kind != "float" or math.isfinite(value)):
        return value
    article, choices = ("an" if kind == "int" else "a"), (" (true or false)" if kind == "bool" else "")
    raise ValueError(f"expected {article} {kind}{choices}, got {_typed(value)}")


def _parameter(statement: ast.stmt, source: str) -> Parameter:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            annotation = ast.unparse(statement.annotation)
        case _:
            raise ValueError(f"line {statement.lineno} is {ast.unparse(statement)!r}")
    kind = annotation.removesuffix(" | None").removeprefix("None | ")
    if kind not in KINDS:
        raise ValueError(f"line {statement.lineno} has the type {annotation!r}")
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        raise ValueError(f"line {statement.lineno}: {ast.unparse(statement.value)!r} is not a literal") from None
    after = source.splitlines()[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode()
    parameter = Parameter(name, kind, kind != annotation, default, after.strip().lstrip("# "))
    try:
        convert(parameter, default)
    except ValueError as error:
        raise ValueError(f"line {statement.lineno}: {parameter.name} = {default!r}: {error}") from None
    return parameter


def _profile(profile: str, name: str) -> dict[str, Any]:
    """The section of a notebook in `notebooks/profiles/<profile>.yaml`, empty for the default profile."""
    check_profile(profile)
    path = paths.PROFILES / f"{profile}.yaml"
    if not path.exists():
        return {}
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise RequestError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(sections, dict):
        raise RequestError(f"{path.name} must map names of notebooks to parameters, not be {_typed(sections)}")
    for key in sections:
        if key not in notebooks():
            closest = did_you_mean(key, notebooks())
            raise RequestError(f"{path.name} has a section for {key!r}, which is not a notebook; {closest}")
    section = sections.get(name) or {}
    if not isinstance(section, dict):
        raise RequestError(f"{path.name}, {name}: expected 'parameter: value' lines, got {_typed(section)}")
    return section


def _locate(data: str, folder: Path) -> str:
    """Absolute path, or the name of a data set; a bare word without a suffix is a name of the catalogue."""
    if data.startswith("menagerie/"):
        return data
    path = Path(data).expanduser()
    target = (folder / path).resolve()
    is_name = not (set(data) & {"/", "\\"} or path.suffix)
    if target.is_dir() or (target.exists() and not is_name):
        return str(target)
    if is_name or "data" in path.parts:  # only these can be in the catalogue, whose import loads torch
        from imgcls.data import catalogue

        known, steps = catalogue.key(data), catalogue.steps_for(data)
        if found := (catalogue.find(known) if known else steps and catalogue.existing(target)):
            return str(found.resolve())
        if steps:
            raise ValueError(f"data = {data!r}: not here yet. To bring it: {steps}; looked for {target}")
        if is_name and data:
            return data
    raise ValueError(
        f"data = {data!r}: not found; looked for {target}. Bring it there"
        " (a folder, .zip or .tar of class/image), use 'menagerie/<subset>' or a name of the catalogue"
    )


def _typed(value: Any) -> str:
    return "nothing" if value is None else f"the {type(value).__name__} {value!r}"
