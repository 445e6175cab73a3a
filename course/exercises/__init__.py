"""Exercises of the notebooks: check an answer, and make the notebooks without solutions.

An exercise is a sequence of cells with tags: `exercise-task` (text), `exercise-given` (code, optional),
`exercise-start` (code, optional: what a student sees instead of the solution, such as code to repair),
`exercise-solution` and `exercise-check`. Apart from the imports they need no other cell, so that a student can begin
anywhere and a test can run every solution in seconds. The check cell calls `check_answers`; what is expected is
computed in the module of this package that has the name of the notebook without its number.
"""

import ast
import copy
import importlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imgcls import paths
from imgcls.files import write

PARTS = ("task", "given", "start", "solution", "check")
LETTERS = {None: "-", "task": "t", "given": "g", "start": "b", "solution": "s", "check": "c"}
TURN = "# Your turn: write what belongs in place of the dots, then run the next cell."
_LENGTH = 60  # characters of a wrong answer that are shown
OPEN = "is not written yet"
_VARIABLE = object()  # compare the variable itself


class WrongSolution(AssertionError):
    """The solution of an exercise fails its own check while the report runner executes the notebook."""


@dataclass(frozen=True)
class Expected:
    """What one answer of an exercise should be, and what is said about it.

    Args:
        name: Name of the variable or function that the student writes.
        value: A number, a text, or an array, tensor, list or dict of them.
        hint: Shown with a wrong answer; never the solution itself.
        why: Shown with a right answer: a sentence on the reason.
        within: Absolute tolerance.
        answer: What to compare, if it is not the variable itself: what the student's function returned, for example.
            `...` is not written yet; None is an answer, of a function that returns nothing.
    """

    name: str
    value: Any
    hint: str
    why: str
    within: float = 1e-6
    answer: Any = _VARIABLE


def check_answers(exercise: str, **answers: Any) -> None:
    """Show which answers of an exercise are right and why, and a hint for those that are not.

    A wrong answer raises no exception, so that the notebook continues after an exercise that is not solved.

    Args:
        exercise: Module and function of `course.exercises` that yield what is expected: "cifar_ten.temperature".
        answers: What the student wrote, by name; `...` where nothing is written yet.

    Raises:
        WrongSolution: an answer is wrong and the report runner executes the notebook.
    """
    from IPython.display import Markdown, display

    problems = []
    for name, problem, remark in verdicts(exercise, answers):
        line = f"✓ `{name}` is right. {remark}" if problem is None else f"✗ `{name}` {problem}. {remark}"
        display(Markdown(line.strip()))
        problems += [] if problem is None else [f"{name} {problem}"]
    if problems and "IMGCLS_REPORT" in os.environ:
        raise WrongSolution(f"the solution of the exercise {exercise} is wrong: {'; '.join(problems)}")


def verdicts(exercise: str, answers: Mapping[str, Any]) -> list[tuple[str, str | None, str]]:
    """For each answer its name, what is wrong with it (None if it is right), and a hint or the reason.

    If several things are expected of an answer, the first that is wrong counts. An error, of the student's own
    function or of a value of the wrong type, is what is wrong with every answer that was not compared before it.
    """
    module, _, function = exercise.partition(".")
    missing = [name for name, answer in answers.items() if answer is ...]
    found: dict[str, list[tuple[str | None, str]]] = {name: [(OPEN, "")] for name in missing}
    failure = "was not compared: it is not expected"
    try:
        for expected in getattr(importlib.import_module(f"course.exercises.{module}"), function)(**answers):
            answer = answers[expected.name] if expected.answer is _VARIABLE else expected.answer
            problem = find_problem(answer, expected.value, expected.within)
            remark = expected.why if problem is None else "" if problem == OPEN else expected.hint
            if problem not in (None, OPEN) and callable(answers[expected.name]) and expected.answer is not _VARIABLE:
                problem = f"has a result that {problem}"
            found.setdefault(expected.name, []).append((problem, remark))
    except Exception as error:
        failure = f"cannot be evaluated: {type(error).__name__}: {error}"
        if missing:  # most likely the reason: the others depend on what is not there
            failure = f"waits for {', '.join(f'`{name}`' for name in missing)}"
    return [(name, *_summary(found.get(name, [(failure, "")]))) for name in answers]


def _summary(found: Sequence[tuple[str | None, str]]) -> tuple[str | None, str]:
    """The first problem with its hint, else None with all different reasons."""
    wrong = next((one for one in found if one[0] is not None), None)
    return wrong or (None, " ".join(dict.fromkeys(why for _, why in found)))


def find_problem(answer: Any, expected: Any, within: float = 1e-6) -> str | None:
    """What is wrong with an answer, as the end of a sentence; None if it is correct."""
    if answer is ... or (isinstance(answer, list | tuple) and any(part is ... for part in answer)):
        return OPEN
    if answer is None and expected is not None:
        return "is None (is a `return` missing?)"
    if isinstance(expected, bool | np.bool_):
        return None if _is_bool(answer) and bool(answer) == bool(expected) else f"is wrong: {_short(answer)}"
    if isinstance(expected, str | None):
        return None if type(answer) is type(expected) and answer == expected else f"is wrong: {_short(answer)}"
    if isinstance(expected, Mapping):
        return _problem_of_dict(answer, expected, within)
    try:
        given, wanted = _array(answer), _array(expected)
    except (TypeError, ValueError, RuntimeError):
        return f"is a {type(answer).__name__}, from which no numbers can be read"
    if given.shape != wanted.shape:
        return f"has the shape {given.shape} instead of {wanted.shape}"
    if not np.issubdtype(wanted.dtype, np.number):
        return None if given.tolist() == wanted.tolist() else f"is wrong: {_short(answer)}"
    if not (np.issubdtype(given.dtype, np.number) or given.dtype == bool):
        return f"is a {type(answer).__name__}, where numbers were asked for"
    off = ~np.isclose(given.astype(float), wanted.astype(float), rtol=0, atol=within, equal_nan=True)
    if not off.any():
        return None
    return f"is wrong: {_short(answer)}" if off.ndim == 0 else f"is wrong in {off.sum():,} of {off.size:,} places"


def _is_bool(value: Any) -> bool:
    """Whether a value is True or False of Python, NumPy or PyTorch."""
    return isinstance(value, bool | np.bool_) or (
        str(getattr(value, "dtype", "")).endswith("bool") and getattr(value, "ndim", 1) == 0
    )


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _problem_of_dict(answer: Any, expected: Mapping, within: float) -> str | None:
    if not isinstance(answer, Mapping) or set(answer) != set(expected):
        return f"should be a dict with the keys {', '.join(map(repr, expected))}"
    for key, value in expected.items():
        if (problem := find_problem(answer[key], value, within)) is not None:
            return f"is wrong at {key!r}, which {problem}"
    return None


def _short(answer: Any) -> str:
    text = " ".join(repr(answer).split())
    return f"`{text if len(text) <= _LENGTH else text[: _LENGTH - 1] + '…'}`"


@dataclass(frozen=True)
class Exercise:
    """Positions of the cells of one exercise in its notebook; `given` and `start` are optional."""

    number: int
    task: int
    given: int | None
    start: int | None
    solution: int
    check: int


def part_of(cell: Mapping[str, Any]) -> str | None:
    """Which of the PARTS a cell is; None if it is not in an exercise."""
    tags = cell["metadata"].get("tags", ())
    return next((part for part in PARTS if f"exercise-{part}" in tags), None)


def find(cells: Sequence[Mapping[str, Any]]) -> list[Exercise]:
    """The exercises of a notebook in their order.

    Raises:
        ValueError: parts are missing or in another order.
    """
    letters = "".join(LETTERS[part_of(cell)] for cell in cells)  # such as --tgsc--tbsc
    found = []
    for match in re.finditer("t(g?)(b?)sc|[tgbsc]", letters):
        number, first = len(found) + 1, match.start()
        if len(match[0]) == 1:
            raise ValueError(
                f"exercise {number} at cell {first + 1} ({cells[first].get('id', 'without id')}): its cells must be "
                f"{', '.join(PARTS)} in this order with nothing between them; only given and start may be missing"
            )
        given = first + 1 if match[1] else None
        start = first + 1 + len(match[1]) if match[2] else None
        found.append(Exercise(number, first, given, start, match.end() - 2, match.end() - 1))
    return found


def imports_of(cells: Sequence[Mapping[str, Any]]) -> str:
    """Source of the first code cell that imports something, all that exercises need of their notebook."""
    for source in (source_of(cell) for cell in cells if cell["cell_type"] == "code"):
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(source))):
            return source
    return ""


def question_of(check_source: str) -> tuple[str, list[str]]:
    """Name of the exercise that a check cell is about, and the names that it reads.

    Raises:
        ValueError: the cell is not, after imports, one `check_answers("module.function", name=name, …)`.
    """
    match [node for node in ast.parse(check_source).body if not isinstance(node, ast.Import | ast.ImportFrom)]:
        case [ast.Expr(ast.Call(ast.Name("check_answers"), [ast.Constant(str(exercise))], keywords))]:
            if keywords and all(ast.unparse(keyword.value) == keyword.arg for keyword in keywords):
                return exercise, [keyword.arg for keyword in keywords]
    raise ValueError('a check cell is one line: check_answers("notebook.exercise", name=name, …)')


def solution_names(solution: str, check_source: str) -> list[str]:
    """Names of variables and functions that a solution defines and its check reads, which a student has to write."""
    read = {node.id for node in ast.walk(ast.parse(check_source)) if isinstance(node, ast.Name)}
    return [name for name in _definitions(solution) if name in read]


def blank(solution: str, check_source: str) -> str:
    """The solution with dots for each name of `solution_names` and its comment; imports stay, other steps go.

    Raises:
        ValueError: the check reads nothing that the solution defines, or a name has no comment, or is a function.
    """
    names, lines = solution_names(solution, check_source), solution.splitlines()
    if not names:
        raise ValueError("the check reads no name that the solution defines")
    kept = [ast.unparse(node) for node in ast.parse(solution).body if isinstance(node, ast.Import | ast.ImportFrom)]
    kept.append(TURN)
    definitions = _definitions(solution)
    for name in names:
        statement = definitions[name]
        if isinstance(statement, ast.FunctionDef):
            raise ValueError(f"{name} is a function: add a start cell (exercise-start) with what a student begins from")
        comment = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode().strip()
        if not comment.startswith("#"):
            raise ValueError(f"{name} needs a comment after it that says what to write")
        kept.append(f"{name} = ...  {comment}")
    return "\n".join(kept)


def _definitions(source: str) -> dict[str, ast.stmt]:
    """The last statement `name = …` or `def name` for each name, in the order of the first ones."""
    found: dict[str, ast.stmt] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            found |= {target.id: statement for target in statement.targets if isinstance(target, ast.Name)}
    return found


def student_edition(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook with start cells or dots instead of solutions; everything else, checks included, is unchanged.

    Raises:
        ValueError: `find` or `blank` raises it; the message names the exercise.
    """
    edition = copy.deepcopy(notebook)
    cells, dropped = edition["cells"], []
    for exercise in find(cells):
        answer = cells[exercise.solution]
        if exercise.start is not None:
            answer = cells[exercise.start]
            dropped.append(exercise.solution)
        else:
            try:
                text = blank(source_of(answer), source_of(cells[exercise.check]))
            except ValueError as error:
                raise ValueError(f"exercise {exercise.number}: {error}") from None
            answer["source"] = text.splitlines(keepends=True)
        tags = answer["metadata"]["tags"]
        own = ("exercise-start", "exercise-solution")
        answer["metadata"]["tags"] = ["exercise-answer" if tag in own else tag for tag in tags]
    edition["cells"] = [cell for k, cell in enumerate(cells) if k not in dropped]
    return edition


def write_editions(folder: Path | None = None) -> list[Path]:
    """Write the student edition of every notebook, by default to `build/exercises/`; returns the paths."""
    folder = folder or paths.BUILD / "exercises"
    written = []
    for path in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        edition = student_edition(json.loads(path.read_text(encoding="utf-8")))
        written.append(write(folder / path.name, json.dumps(edition, indent=1, ensure_ascii=False) + "\n"))
    return written


def source_of(cell: Mapping[str, Any]) -> str:
    """Source of a cell, which a notebook file holds as lines."""
    return "".join(cell["source"])
