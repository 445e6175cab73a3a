"""Exercises of the notebooks: check an answer, and make the notebooks without solutions.

An exercise is a sequence of cells with tags: `exercise-task` (text), `exercise-given` (code, optional),
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

PARTS = ("task", "given", "solution", "check")
TURN = "# Your turn: write what belongs in place of the dots, then run the next cell."
_LENGTH = 60  # characters of a wrong answer that are shown


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
    """

    name: str
    value: Any
    hint: str
    why: str
    within: float = 1e-6
    answer: Any = None


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
        display(Markdown(f"✓ `{name}` is right. {remark}" if problem is None else f"✗ `{name}` {problem}. {remark}"))
        problems += [] if problem is None else [f"{name} {problem}"]
    if problems and "IMGCLS_REPORT" in os.environ:
        raise WrongSolution(f"the solution of the exercise {exercise} is wrong: {'; '.join(problems)}")


def verdicts(exercise: str, answers: Mapping[str, Any]) -> list[tuple[str, str | None, str]]:
    """For each answer its name, what is wrong with it (None if it is right), and a hint or the reason."""
    missing = [name for name, answer in answers.items() if answer is ...]
    if missing:
        return [(name, "is not written yet", "") for name in missing]
    module, _, function = exercise.partition(".")
    found = []
    try:
        for expected in getattr(importlib.import_module(f"course.exercises.{module}"), function)(**answers):
            answer = answers[expected.name] if expected.answer is None else expected.answer
            problem = find_problem(answer, expected.value, expected.within)
            found.append((expected.name, problem, expected.why if problem is None else expected.hint))
    except Exception as error:  # of the student's own function, or of a value that is of the wrong type
        names = ", ".join(answers)
        found.append((names, f"cannot be evaluated: {type(error).__name__}: {error}", ""))
    return found


def check(name: str, answer: Any, expected: Any, hint: str = "", within: float = 1e-6) -> None:
    """Show whether an answer is correct, and if not, what may be wrong with it; never the solution itself.

    A wrong answer raises no exception, so that the notebook continues after an exercise that is not solved.

    Args:
        name: Name of the variable that the student assigns.
        answer: Its value; `...` if it is not written yet.
        expected: A number, a text, or an array, tensor, list or dict of them.
        hint: Shown with a wrong answer.
        within: Absolute tolerance.

    Raises:
        WrongSolution: the answer is wrong and the report runner executes the notebook.
    """
    from IPython.display import Markdown, display

    problem = find_problem(answer, expected, within)
    if problem is None:
        display(Markdown(f"✓ `{name}` is right."))
    else:
        display(Markdown(f"✗ `{name}` {problem}. {hint}".strip()))
        if "IMGCLS_REPORT" in os.environ:
            raise WrongSolution(f"the solution of an exercise is wrong: {name} {problem}")


def find_problem(answer: Any, expected: Any, within: float = 1e-6) -> str | None:
    """What is wrong with an answer, as the end of a sentence; None if it is correct."""
    if answer is ...:
        return "is not written yet"
    if isinstance(expected, str | bool | None):
        return None if type(answer) is type(expected) and answer == expected else f"is not {_short(answer)}"
    if isinstance(expected, Mapping):
        return _problem_of_dict(answer, expected, within)
    try:
        given, wanted = _array(answer), _array(expected)
    except (TypeError, ValueError, RuntimeError):
        return f"is a {type(answer).__name__}, from which no numbers can be read"
    if given.shape != wanted.shape:
        return f"has the shape {given.shape} instead of {wanted.shape}"
    if not np.issubdtype(wanted.dtype, np.number):
        return None if given.tolist() == wanted.tolist() else f"is not {_short(answer)}"
    if not (np.issubdtype(given.dtype, np.number) or given.dtype == bool):
        return f"is a {type(answer).__name__}, where numbers were asked for"
    off = ~np.isclose(given.astype(float), wanted.astype(float), rtol=0, atol=within, equal_nan=True)
    if not off.any():
        return None
    return f"is not {_short(answer)}" if off.ndim == 0 else f"is wrong in {off.sum():,} of {off.size:,} places"


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
    """Positions of the cells of one exercise in its notebook; `given` is optional."""

    number: int
    task: int
    given: int | None
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
    letters = "".join((part_of(cell) or "-")[0] for cell in cells)  # such as --tgsc--tsc
    found = []
    for match in re.finditer("t(g?)sc|[tgsc]", letters):
        number, start = len(found) + 1, match.start()
        if len(match[0]) == 1:
            raise ValueError(
                f"exercise {number} at cell {start + 1} ({cells[start].get('id', 'without id')}): its cells must be "
                f"{', '.join(PARTS)} in this order with nothing between them; only given may be missing"
            )
        found.append(Exercise(number, start, start + 1 if match[1] else None, match.end() - 2, match.end() - 1))
    return found


def solution_names(solution: str, check_source: str) -> list[str]:
    """Names that a solution assigns and its check reads, which a student has to write."""
    read = {node.id for node in ast.walk(ast.parse(check_source)) if isinstance(node, ast.Name)}
    return [name for name in _assignments(solution) if name in read]


def blank(solution: str, check_source: str) -> str:
    """The solution with dots for each name of `solution_names` and its comment; imports stay, other steps go.

    Raises:
        ValueError: the check reads nothing that the solution assigns, or a name has no comment.
    """
    names, lines = solution_names(solution, check_source), solution.splitlines()
    if not names:
        raise ValueError("the check reads no name that the solution assigns")
    kept = [ast.unparse(node) for node in ast.parse(solution).body if isinstance(node, ast.Import | ast.ImportFrom)]
    kept.append(TURN)
    assignments = _assignments(solution)
    for name in names:
        statement = assignments[name]
        comment = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode().strip()
        if not comment.startswith("#"):
            raise ValueError(f"{name} needs a comment after it that says what to write")
        kept.append(f"{name} = ...  {comment}")
    return "\n".join(kept)


def _assignments(source: str) -> dict[str, ast.stmt]:
    """The last statement of the form `name = …` for each name, in the order of the first ones."""
    return {
        target.id: statement
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def student_edition(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook with dots instead of solutions; everything else, checks included, is unchanged."""
    edition = copy.deepcopy(notebook)
    for exercise in find(edition["cells"]):
        cell, check_source = edition["cells"][exercise.solution], _source(edition["cells"][exercise.check])
        cell["source"] = blank(_source(cell), check_source).splitlines(keepends=True)
        tags = cell["metadata"]["tags"]
        cell["metadata"]["tags"] = ["exercise-answer" if tag == "exercise-solution" else tag for tag in tags]
    return edition


def write_editions(folder: Path | None = None) -> list[Path]:
    """Write the student edition of every notebook, by default to `build/exercises/`; returns the paths."""
    folder = folder or paths.BUILD / "exercises"
    written = []
    for path in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        edition = student_edition(json.loads(path.read_text(encoding="utf-8")))
        written.append(write(folder / path.name, json.dumps(edition, indent=1, ensure_ascii=False) + "\n"))
    return written


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])
