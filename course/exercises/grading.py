"""Grade the notebooks that students hand in.

Of a notebook that was handed in, only the answer cells count. Imports, given cells and checks are those of this
checkout, so that a changed check has no effect. Each answer runs in a process of its own with a time limit, and
functions of modules that it replaces are put back before the answers are compared. This stops accidents and the easy
tricks; it is no sandbox: code that means harm can do what the user who grades can do. Grade work of people who you do
not know in a container or on a machine without anything of value.
"""

import ast
import csv
import importlib
import io
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from course import exercises
from course.exercises import source_of
from imgcls import paths

SECONDS = 60.0
_MEMORY = 8 * 2**30  # bytes for one answer, where the system enforces it
_WIDTH = 110  # characters of a remark in the text


class GradingError(Exception):
    """Nothing can be graded; the message says what to do."""


@dataclass(frozen=True)
class Part:
    """One cell of an exercise in the student edition: the `index`-th of `count` cells with its tag."""

    id: str
    source: str
    index: int
    count: int


@dataclass(frozen=True)
class Question:
    """One exercise of one of our notebooks.

    Args:
        notebook: Such as 05_cifar_ten.
        number: From 1, in the order of the notebook.
        name: Module and function of what is expected, such as "cifar_ten.temperature".
        answers: Names that the student writes; each is a point.
        before: Our imports and given cell, which run before the answer.
        solution: Our answer.
        parts: The answer, the check and, if there is one, the given cell.
    """

    notebook: str
    number: int
    name: str
    answers: tuple[str, ...]
    before: tuple[str, ...]
    solution: str
    parts: Mapping[str, Part]

    @property
    def short(self) -> str:
        """Such as 05.2."""
        return f"{self.notebook[:2]}.{self.number}"


@dataclass(frozen=True)
class Grade:
    """Points of one answer, and why there are not more of them."""

    points: int
    remark: str = ""


@dataclass
class Person:
    """One row of the table: grades by name of the question, and remarks on whole files."""

    name: str
    grades: dict[str, Grade]
    remarks: list[str]


# ------------------------------------------------------------------ our notebooks and theirs
def questions(notebook: str) -> list[Question]:
    """The exercises of one of our notebooks.

    Raises:
        GradingError: an exercise is incomplete, or its check cell does not call `check_answers`.
    """
    cells = _cells(paths.NOTEBOOKS / f"{notebook}.ipynb")
    found = []
    try:
        all_exercises = exercises.find(cells)
        given = [exercise.given for exercise in all_exercises if exercise.given is not None]
        for k, exercise in enumerate(all_exercises):
            start = exercise.solution if exercise.start is None else exercise.start
            places = {"answer": (start, k, len(all_exercises)), "check": (exercise.check, k, len(all_exercises))}
            if exercise.given is not None:
                places["given"] = (exercise.given, given.index(exercise.given), len(given))
            parts = {
                part: Part(cells[place].get("id", ""), source_of(cells[place]), index, count)
                for part, (place, index, count) in places.items()
            }
            name, answers = exercises.question_of(parts["check"].source)
            before = [exercises.imports_of(cells), *([parts["given"].source] if "given" in parts else [])]
            solution = source_of(cells[exercise.solution])
            found.append(Question(notebook, k + 1, name, tuple(answers), tuple(before), solution, parts))
    except ValueError as error:
        raise GradingError(f"{notebook}.ipynb in this checkout cannot be graded: {error}") from None
    return found


def _cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def find_files(given: Iterable[Path]) -> list[Path]:
    """The notebooks among files and in folders, in the order of their names.

    Raises:
        GradingError: a path does not exist, or there is no notebook.
    """
    found = []
    for path in given:
        if not path.exists():
            raise GradingError(f"there is no file or folder {path}")
        inside = sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
        hidden = [{".ipynb_checkpoints", "__MACOSX"} & set(one.parts) or one.name.startswith(".") for one in inside]
        found += [one for one, skip in zip(inside, hidden, strict=True) if not skip]
    if not found:
        raise GradingError(f"there is no notebook in {', '.join(map(str, given))}")
    return found


def find_notebook(path: Path, text: str) -> str | None:
    """Which of our notebooks a file is: the one that its checks name, else the one that its name contains."""
    ours = {one.stem.partition("_")[2]: one.stem for one in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    named = Counter(re.findall(r"""check_answers\(\\?["'](\w+)\.""", text))
    known = [name for name, _ in named.most_common() if name in ours] or [name for name in ours if name in path.stem]
    return ours[known[0]] if known else None


def find_person(path: Path, notebook: str | None) -> str:
    """Who hands in: what the file's name says besides the notebook's, else the name of the folder."""
    rest = path.stem
    for name in filter(None, [notebook, (notebook or "").partition("_")[2]]):
        rest = rest.replace(name, "")
    rest = re.sub(r"[\s_-]*(\(\d+\)|-\d)$", "", rest)  # a browser's mark of a second copy
    return rest.strip(" _-.") or path.absolute().parent.name


def read_cells(text: str) -> list[dict[str, Any]]:
    """The code cells of a notebook with `id`, `tags` and `source`.

    Raises:
        ValueError: the text is not a notebook.
    """
    try:
        content = json.loads(text)
        return [
            {"id": cell.get("id"), "tags": cell.get("metadata", {}).get("tags", []), "source": source_of(cell)}
            for cell in content["cells"]
            if cell["cell_type"] == "code"
        ]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from None
    except (KeyError, TypeError, AttributeError):
        raise ValueError("is JSON, but not a notebook of version 4") from None


def find_part(question: Question, cells: Sequence[Mapping[str, Any]], name: str) -> str | None:
    """Source of a cell by its id, else by its tag if no cell with this tag is missing; None if it is gone."""
    part = question.parts[name]
    with_id = [cell["source"] for cell in cells if part.id and cell["id"] == part.id]
    tagged = [cell["source"] for cell in cells if f"exercise-{name}" in cell["tags"]]
    if with_id:
        return with_id[0]
    return tagged[part.index] if len(tagged) == part.count else None


# ------------------------------------------------------------------ one answer
def grade(question: Question, answer: str, seconds: float = SECONDS) -> Grade:
    """Run one answer in a process of its own and compare what it wrote with what is expected."""
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Not a daemon: those may not start the workers of a data loader.
        process = context.Process(target=_run, args=(sender, question, answer, folder))
        process.start()
        sender.close()
        try:
            return _receive(receiver, question, seconds)
        except EOFError:
            process.join()
            return Grade(0, f"the process ended {_status(process.exitcode)} before its answers were compared")
        finally:
            _kill(process)


@cache
def _context() -> multiprocessing.context.BaseContext:
    """On Linux, processes are copies of one that has imported what takes long, and run nothing."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["IPython.core.interactiveshell", *_imported()])
    return context


def _imported() -> list[str]:
    """What the notebooks import, as `module` and `module.name`; names that are no modules do no harm."""
    sources = [exercises.imports_of(_cells(path)) for path in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    found = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return sorted(set(found))


def _receive(receiver: Connection, question: Question, seconds: float) -> Grade:
    if (problem := receiver.recv()) is not None:
        raise GradingError(f"{question.name} cannot be graded here: {problem}")
    if not receiver.poll(seconds):
        return Grade(0, f"still running after {seconds:g} s")
    error, verdicts = receiver.recv()
    wrong = [(name, problem) for name, problem, _ in verdicts if problem is not None]
    if not error and [problem for _, problem in wrong] == [exercises.OPEN] * len(verdicts):
        return Grade(0, "not written yet")
    remarks = [f"the cell raises {error}"] if error else []
    remarks += [f"{name} {problem}" for name, problem in wrong]
    return Grade(len(verdicts) - len(wrong), "; ".join(remarks))


def _run(sender: Connection, question: Question, answer: str, folder: str) -> None:
    """In the process of one answer: send why it cannot begin or None, then the error or None and the verdicts."""
    if hasattr(os, "setsid"):
        os.setsid()  # so that what the answer starts can be stopped with it
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(folder)
    os.environ |= {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "IPYTHONDIR": folder}
    os.environ.pop("IMGCLS_REPORT", None)
    from IPython.core.interactiveshell import InteractiveShell  # an answer may contain magics
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    shell.enable_gui = lambda gui=None: None  # for `%matplotlib inline`
    try:
        for source in question.before:
            shell.run_cell(source).raise_error()
        importlib.import_module(f"course.exercises.{question.name.partition('.')[0]}")
    except Exception as problem:  # not of the student's making
        sender.send(f"{type(problem).__name__}: {problem}")
        return
    _limit_memory()
    _seed()
    verdicts, modules, functions = exercises.verdicts, dict(sys.modules), _functions()
    sender.send(None)
    result = shell.run_cell(answer)
    error = result.error_before_exec or result.error_in_exec
    sys.modules.update(modules)
    for namespace, name, function in functions:
        if namespace.get(name) is not function:
            namespace[name] = function
    answers = {name: shell.user_ns.get(name, ...) for name in question.answers}
    sender.send((f"{type(error).__name__}: {error}" if error else None, verdicts(question.name, answers)))


def _limit_memory() -> None:
    """Let an answer that fills a list without end run into a MemoryError, before the machine stops."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _seed() -> None:
    """Let an answer that draws at random get the same grade each time."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator, which students use
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _functions() -> list[tuple[dict[str, Any], str, Callable]]:
    """Namespace, name and value of the functions and classes of all imported modules."""
    namespaces = [getattr(module, "__dict__", {}) for name, module in sys.modules.items() if name != "__main__"]
    return [(one, name, value) for one in namespaces for name, value in list(one.items()) if callable(value)]


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, OSError):  # no such call on Windows; no group yet, or no longer
        process.kill()
    process.join()


def _status(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with status {code}"


# ------------------------------------------------------------------ all answers
def grade_files(
    files: Sequence[Path], seconds: float = SECONDS, jobs: int = 1, report: Callable[[str], None] = print
) -> tuple[list[Question], list[Person]]:
    """Grade notebooks that were handed in; returns the questions and a row for each person.

    Args:
        files: Notebooks; the person is read from the name of the file or of its folder.
        seconds: Time limit for one answer.
        jobs: Answers that run at the same time.
        report: Called with a line after each file.

    Raises:
        GradingError: one of our own solutions does not get its points here.
    """
    ours: dict[str, list[Question]] = {}
    people: dict[str, Person] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for path in files:
            text = _read(path)
            notebook = find_notebook(path, text)
            if notebook and notebook not in ours:
                ours[notebook] = questions(notebook)
                _check_solutions(pool, ours[notebook], seconds)
                report(f"{notebook}: our own solutions get {_most(ours[notebook])} points")
            name = find_person(path, notebook)
            person = people.setdefault(name, Person(name, {}, []))
            if notebook and any(question.name in person.grades for question in ours[notebook]):
                person = people[str(path)] = Person(str(path), {}, [f"a second {notebook} of {name}"])
            if notebook is None:
                person.remarks.append(f"{path.name} is none of the notebooks of the course")
                report(f"{path}: none of the notebooks of the course")
                continue
            grades, remarks = _grade_file(pool, text, ours[notebook], seconds)
            person.grades |= grades
            person.remarks += [f"{path.name} {remark}" for remark in remarks]
            report(f"{path}: {sum(one.points for one in grades.values())} of {_most(ours[notebook])} points")
    listed = [question for notebook in sorted(ours) for question in ours[notebook]]
    return listed, sorted(people.values(), key=lambda person: person.name.lower())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # is not JSON, as is reported later


def _check_solutions(pool: ThreadPoolExecutor, asked: list[Question], seconds: float) -> None:
    grades = pool.map(lambda question: grade(question, question.solution, seconds), asked)
    for question, one in zip(asked, grades, strict=True):
        if one.points < len(question.answers):
            raise GradingError(f"our own solution of {question.name} does not get its points here: {one.remark}")


def _grade_file(
    pool: ThreadPoolExecutor, text: str, asked: list[Question], seconds: float
) -> tuple[dict[str, Grade], list[str]]:
    """Grades by name of the question, and what is wrong with the file as a whole."""
    try:
        cells = read_cells(text)
    except ValueError as error:
        return {question.name: Grade(0) for question in asked}, [str(error)]

    def grade_one(question: Question) -> Grade:
        answer = find_part(question, cells, "answer")
        if answer is None:
            return Grade(0, "the answer cell is missing")
        changed = [part for part in ("given", "check") if part in question.parts and _differs(question, cells, part)]
        one = grade(question, answer, seconds)
        notes = [f"the {part} cell was changed (ours was used)" for part in changed]
        return Grade(one.points, "; ".join(filter(None, [one.remark, *notes])))

    return dict(zip([question.name for question in asked], pool.map(grade_one, asked), strict=True)), []


def _differs(question: Question, cells: Sequence[Mapping[str, Any]], part: str) -> bool:
    theirs = find_part(question, cells, part)
    return theirs is None or theirs.split() != question.parts[part].source.split()


# ------------------------------------------------------------------ the table
def to_text(asked: Sequence[Question], people: Sequence[Person]) -> str:
    """For each notebook a table with a row for each person and a column for each question; then all points and why."""
    notebooks = sorted({question.notebook for question in asked})
    lines = []
    for notebook in notebooks:
        own = [question for question in asked if question.notebook == notebook]
        names = [f"{question.short} {question.name.partition('.')[2]}" for question in own]
        lines += [f"{notebook}: {', '.join(names)}", *_table(own, people), ""]
    if len(notebooks) > 1:
        rows = [["all notebooks", str(_most(asked))], *([person.name, str(_points(person))] for person in people)]
        lines += [*_aligned([["", "points"], *rows]), ""]
    remarks = [f"{person.name}: {_cut(remark)}" for person in people for remark in _remarks(asked, person, short=True)]
    return "\n".join([*lines, *remarks]).rstrip("\n") + "\n"


def _table(asked: Sequence[Question], people: Sequence[Person]) -> list[str]:
    rows = [["", *(question.short for question in asked), "points"]]
    rows.append(["out of", *(str(len(question.answers)) for question in asked), str(_most(asked))])
    for person in people:
        grades = [person.grades.get(question.name) for question in asked]
        total = sum(one.points for one in grades if one is not None)
        rows.append([person.name, *("-" if one is None else str(one.points) for one in grades), str(total)])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns of equal width, the first aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [f"{row[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def to_csv(asked: Sequence[Question], people: Sequence[Person]) -> str:
    """The table for a spreadsheet; the points to be had are in the heading of each column."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(
        ["person", *(f"{one.name} ({len(one.answers)})" for one in asked), f"points ({_most(asked)})", "remarks"]
    )
    for person in people:
        grades = [person.grades.get(question.name) for question in asked]
        remarks = "\n".join(_remarks(asked, person))
        table.writerow(
            [
                _no_formula(person.name),
                *("" if one is None else one.points for one in grades),
                _points(person),
                _no_formula(remarks),
            ]
        )
    return stream.getvalue()


def _no_formula(text: str) -> str:
    """A text that a spreadsheet does not compute, whatever a file is called."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _points(person: Person) -> int:
    return sum(one.points for one in person.grades.values())


def _most(asked: Sequence[Question]) -> int:
    return sum(len(question.answers) for question in asked)


def _remarks(asked: Sequence[Question], person: Person, short: bool = False) -> list[str]:
    graded = [(question.short if short else question.name, person.grades.get(question.name)) for question in asked]
    return person.remarks + [f"{name} {one.remark}" for name, one in graded if one is not None and one.remark]


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
