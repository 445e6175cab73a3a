"""Every exercise of the notebooks: its solution is right, and the start and three plausible wrong answers are not."""

import ast
import json
import re
import runpy
import signal
import symtable
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from course import exercises
from course.exercises import Expected, find_problem, source_of
from course.reports.markup import Slugs, markdown
from imgcls import paths

CASES = sorted(path.stem for path in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SECONDS = 60  # for one answer; most take less than 0.1


def cells_of(case):
    return json.loads((paths.NOTEBOOKS / f"{case}.ipynb").read_text())["cells"]


def wrong_answers(case):
    """Those of tests/course/wrong_answers, in a file with the name of the notebook, with or without its number."""
    folder = Path(__file__).with_name("wrong_answers")
    (path,) = (path for path in folder.glob("*.py") if path.stem in (case, case.partition("_")[2]))
    return runpy.run_path(str(path))["WRONG"]


def names(cells):
    """Names of variables and functions that code cells define, and those that they read, locals left out."""
    written, read = set(), set()
    for cell in cells:
        tables = [symtable.symtable(source_of(cell), "cell", "exec")]
        written |= {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_assigned()}
        while tables:
            table = tables.pop()
            tables += table.get_children()
            top = table.get_type() == "module"
            read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return written, read


@contextmanager
def time_limit(seconds):
    """Raise TimeoutError in this thread after so many seconds, where the system can."""

    def stop(*_):
        raise TimeoutError(f"still running after {seconds} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(cells, exercise, answer, more=""):
    """The names that an exercise has after an answer, alone but for the notebook's imports."""
    given = [] if exercise.given is None else [source_of(cells[exercise.given])]
    scope = {}
    with time_limit(SECONDS):
        for part in (exercises.imports_of(cells), *given, answer, more):
            exec(part, scope)
    return scope


def attempt(cells, exercise, answer):
    """What is found of an answer: for each name a problem or None, and a remark."""
    question, asked = exercises.question_of(source_of(cells[exercise.check]))
    scope = run(cells, exercise, answer)
    with time_limit(SECONDS):
        return exercises.verdicts(question, {name: scope[name] for name in asked})


def faults(case, cells, wrong):
    """What is wrong with the exercises of a notebook, as sentences that begin with the name of the exercise."""
    found = exercises.find(cells)
    if len(found) < 4:
        yield f"{len(found)} exercises, where at least four belong"
    functions = []
    for exercise in found:
        question, asked = exercises.question_of(source_of(cells[exercise.check]))
        module, _, function = question.partition(".")
        functions.append(function)
        if module != case.partition("_")[2]:
            yield f"{question}: not the module of the notebook {case}"
        if not source_of(cells[exercise.task]).startswith("### Exercise: "):
            yield f"{question}: the heading of the task must begin with 'Exercise: '"
        solution = source_of(cells[exercise.solution])
        if set(exercises.solution_names(solution, source_of(cells[exercise.check]))) != set(asked):
            yield f"{question}: the check reads a name that the solution does not define"
            continue
        verdicts = attempt(cells, exercise, solution)
        for name, problem, why in verdicts:
            if problem:
                yield f"{question}: {name} {problem} in the solution"
            elif not why:
                yield f"{question}: no reason why {name} is right"
        if exercise.start is not None:
            verdicts = attempt(cells, exercise, source_of(cells[exercise.start]))
            if not any(problem for _, problem, _ in verdicts):
                yield f"{question}: what a student begins from is right already"
        answers = wrong.get(function, [])
        if len(answers) < 3:
            yield f"{question}: {len(answers)} wrong answers, where at least three belong"
        for answer in answers:
            try:
                verdicts = attempt(cells, exercise, answer)
            except Exception as error:
                yield f"{question}: {type(error).__name__} ({error}) from the wrong answer\n{answer}"
                continue
            if not any(problem and hint for _, problem, hint in verdicts):
                yield f"{question}: no hint for the wrong answer\n{answer}\n{verdicts}"
    if set(wrong) != set(functions):
        yield f"wrong answers to {sorted(wrong)}, and the exercises are {sorted(functions)}"


@pytest.mark.parametrize("case", CASES)
def test_solutions_are_right_and_wrong_answers_get_a_hint(case):
    assert list(faults(case, cells_of(case), wrong_answers(case))) == []


@pytest.mark.parametrize("case", CASES)
def test_tasks_can_be_rendered(case):
    cells = cells_of(case)
    for exercise in exercises.find(cells):
        page, _ = markdown(source_of(cells[exercise.task]), Slugs())  # raises for a formula that cannot be drawn
        assert ">Exercise: " in page


@pytest.mark.parametrize("case", CASES)
def test_names_of_exercises_are_their_own(case):
    """A student's slip must not reach the rest of the notebook, nor the notebook an exercise."""
    cells = [cell for cell in cells_of(case) if cell["cell_type"] == "code"]
    written, read = names(cell for cell in cells if exercises.part_of(cell))
    written_outside, read_outside = names(cell for cell in cells if not exercises.part_of(cell))
    assert written & (written_outside | read_outside) == set()
    assert (read & written_outside) - written == set()


# ---------------------------------------------------------------- the checks of the checks


def cell(part, source):
    kind = "markdown" if part == "task" else "code"
    return {"id": f"{part}-{abs(hash(source)) % 10**8}", "cell_type": kind, "source": source.splitlines(keepends=True),
            "metadata": {"tags": [f"exercise-{part}"] if part else []}}  # fmt: skip


def doubled(amount, double):
    yield Expected("amount", 42, "Multiply.", "It is 6 times 7.")
    yield Expected("double", [2, 4], "Add it to itself.", "Twice is plus itself.", answer=[double(1), double(2)])


def halved(half):
    yield Expected("half", 0.5, "Divide.", "One of two parts.")


TASKS = {
    "doubled": [
        cell("task", "### Exercise: twice\n\nWhat is $6 \\cdot 7$?"),
        cell("given", "factors = (6, 7)"),
        cell("start", "amount = ...\n\n\ndef double(x):\n    return x"),
        cell("solution", "amount = factors[0] * factors[1]\n\n\ndef double(x):\n    y = x\n    return x + y"),
        cell("check", 'check_answers("tiny.doubled", amount=amount, double=double)'),
    ],
    "halved": [
        cell("task", "### Exercise: half"),
        cell("solution", "half = 1 / 2  # a half"),
        cell("check", 'check_answers("tiny.halved", half=half)'),
    ],
}
WRONG = {
    "doubled": ["amount = 13\n\ndef double(x):\n    return x * x"] * 3,
    "halved": ["half = 0", "half = 1", "half = 2"],
}


@pytest.fixture
def tiny_module(monkeypatch):
    """What is expected in a notebook of two tasks, as a module of `course.exercises`."""
    module = ModuleType("course.exercises.tiny")
    module.doubled, module.halved = doubled, halved
    monkeypatch.setitem(sys.modules, "course.exercises.tiny", module)
    return module


def tiny_cells(**changed):
    """The notebook with some cells of the first task replaced; None removes one."""
    sources = {exercises.part_of(cell): source_of(cell) for cell in TASKS["doubled"]} | changed
    first = [cell(part, source) for part, source in sources.items() if source is not None]
    return [cell(None, "import math"), *first, *TASKS["halved"] * 3]


def test_no_fault_is_found_where_none_is(tiny_module):
    assert list(faults("09_tiny", tiny_cells(), WRONG)) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task": "### Try it: twice"}, "must begin with 'Exercise: '"),
        ({"check": 'check_answers("tiny.doubled", amount=amount)'}, "missing 1 required positional argument"),
        ({"check": 'check_answers("other.halved", amount=amount, double=double)'}, "not the module of the notebook"),
        ({"solution": "amount = 41\n\ndef double(x):\n    return 2 * x"}, "amount is wrong: `41` in the solution"),
        ({"solution": "amount = 42"}, "a name that the solution does not define"),
        ({"start": source_of(TASKS["doubled"][3])}, "right already"),
    ],
)  # fmt: skip
def test_a_fault_of_an_exercise_is_found(tiny_module, changed, words):
    found = list(faults("09_tiny", tiny_cells(**changed), WRONG))
    assert any(re.search(words, fault) for fault in found), found


@pytest.mark.parametrize(
    ("function", "answers", "words"),
    [
        ("doubled", [], "doubled: 0 wrong answers"),
        ("halved", ["half = 0", "half = 1"], "halved: 2 wrong answers"),
        ("halved", ["half = 0.5", "half = 1", "half = 2"], "halved: no hint for the wrong answer\nhalf = 0.5"),
        ("halved", ["half = 1 / 0", "half = 1", "half = 2"], r"halved: ZeroDivisionError \(division by zero\)"),
        ("halved", ["half = ..."] * 3, "halved: no hint"),
        ("third", ["half = 0"] * 3, "wrong answers to .*third"),
    ],
)
def test_a_wrong_answer_that_is_none_is_found(tiny_module, function, answers, words):
    found = list(faults("09_tiny", tiny_cells(), WRONG | {function: answers}))
    assert any(re.search(words, fault) for fault in found), found


def test_an_answer_that_hangs_is_stopped():
    with pytest.raises(TimeoutError), time_limit(0.05):
        exec("while True:\n    pass")


@pytest.mark.parametrize(
    "source",
    ["", "x = 1", 'check_answers("a.b")', 'check_answers("a.b", x=y)',
     'check_answers("a.b", x=2)', "check_answers(x=x)",
     'print(check_answers("a.b", x=x))', 'x = 0.5\ncheck_answers("a.b", x=x)', 'check("a.b", x, 2)'],
)  # fmt: skip
def test_a_check_cell_shows_nothing_of_what_is_expected(source):
    with pytest.raises(ValueError, match="a check cell is one line"):
        exercises.question_of(source)
    assert exercises.question_of('import math\ncheck_answers("a.b", x=x, y=y)') == ("a.b", ["x", "y"])


# ---------------------------------------------------------------- what is right and what is not


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (..., 3, "not written yet"),
        (3, 3.0000001, None),
        (torch.tensor(3), 3, None),
        (np.float32(3), torch.tensor(3.0), None),
        (3.1, 3, "is wrong: `3.1`"),
        ("3", 3, "is a str, where numbers"),
        (None, 3, r"is None \(is a `return` missing\?\)"),
        (None, None, None),
        (len, 3, "is a builtin_function_or_method, where numbers"),
        (float("nan"), 3, "is wrong: `nan`"),
        (True, True, None),
        (np.True_, True, None),
        (torch.tensor(True), True, None),
        (torch.tensor(False), True, "is wrong: `tensor"),
        (torch.tensor([True, True]), True, "is wrong: `tensor"),
        (1, True, "is wrong: `1`"),
        (False, True, "is wrong: `False`"),
        ("cat", "cat", None),
        ("dog", "cat", "is wrong: `'dog'`"),
        ([1, 2], (1, 2), None),
        ([1, 2, 3], [1, 2], r"has the shape \(3,\) instead of \(2,\)"),
        (torch.zeros(2, 2), torch.eye(2), "wrong in 2 of 4 places"),
        (torch.zeros(2, requires_grad=True), [0, 0], None),
        ([[1], [1, 2]], [1, 2], "from which no numbers can be read"),
        (["cat", "dog"], ["cat", "dog"], None),
        (["dog", "cat"], ["cat", "dog"], "is wrong"),
        ({"a": 1}, {"a": 1}, None),
        ({"a": 2}, {"a": 1}, "is wrong at 'a', which is wrong: `2`"),
        ({"b": 1}, {"a": 1}, "a dict with the keys 'a'"),
    ],
)
def test_a_check_knows_right_from_wrong(answer, expected, words):
    problem = find_problem(answer, expected)
    if words is None:
        assert problem is None
    else:
        assert re.search(words, problem or "right"), problem


@pytest.mark.parametrize(
    ("amount", "double", "first", "second"),
    [
        (42, lambda x: 2 * x, (None, "It is 6 times 7."), (None, "Twice is plus itself.")),
        (41, lambda x: x * x, ("is wrong: `41`", "Multiply."),
         ("has a result that is wrong in 1 of 2 places", "Add it to itself.")),
        (..., lambda x: 2 * x, ("is not written yet", ""), (None, "Twice is plus itself.")),
        (42, ..., (None, "It is 6 times 7."), ("is not written yet", "")),
        (42, lambda x: ..., (None, "It is 6 times 7."), ("is not written yet", "")),
        (42, lambda x: x / 0, (None, "It is 6 times 7."),
         ("cannot be evaluated: ZeroDivisionError: division by zero", "")),
    ],
)  # fmt: skip
def test_each_answer_of_an_exercise_has_its_own_verdict(tiny_module, amount, double, first, second):
    found = exercises.verdicts("tiny.doubled", {"amount": amount, "double": double})
    assert found == [("amount", *first), ("double", *second)]


def test_answers_that_depend_on_a_missing_one_wait_for_it(tiny_module):
    tiny_module.doubled = lambda a, b: [Expected("b", a + 1, "One more.", "It is one more.")]
    assert exercises.verdicts("tiny.doubled", {"a": ..., "b": 2}) == [
        ("a", "is not written yet", ""),
        ("b", "waits for `a`", ""),
    ]


def test_the_first_thing_that_is_wrong_counts(tiny_module):
    tiny_module.halved = lambda half: [
        Expected("half", 0.5, "Divide.", "One of two."),
        Expected("half", 0, "Round down.", "It is below 1.", answer=int(half)),
    ]
    assert exercises.verdicts("tiny.halved", {"half": 0.5}) == [("half", None, "One of two. It is below 1.")]
    assert exercises.verdicts("tiny.halved", {"half": 0.6}) == [("half", "is wrong: `0.6`", "Divide.")]
    assert exercises.verdicts("tiny.halved", {"half": 1.5}) == [("half", "is wrong: `1.5`", "Divide.")]


def test_an_expected_name_that_nobody_writes_is_an_error(tiny_module):
    tiny_module.halved = lambda half: [Expected("hlaf", 0.5, "Divide.", "One of two.")]
    assert exercises.verdicts("tiny.halved", {"half": 0.5})[0][1] == "cannot be evaluated: KeyError: 'hlaf'"
    tiny_module.halved = lambda half: []
    assert exercises.verdicts("tiny.halved", {"half": 0.5})[0][1] == "was not compared: it is not expected"


def test_what_a_function_returns_may_be_nothing(tiny_module):
    tiny_module.doubled = lambda double: [Expected("double", 2, "Add.", "So it is.", answer=double(1))]
    assert exercises.verdicts("tiny.doubled", {"double": lambda x: None})[0][1].startswith("has a result that is None")
    assert exercises.verdicts("tiny.doubled", {"double": lambda x: ...})[0][1] == "is not written yet"


def test_a_wrong_solution_stops_a_report_but_not_a_student(tiny_module, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda markdown: shown.append(markdown.data))
    monkeypatch.delenv("IMGCLS_REPORT", raising=False)
    exercises.check_answers("tiny.halved", half=0.4)
    exercises.check_answers("tiny.halved", half=...)
    exercises.check_answers("tiny.halved", half=0.5)
    assert shown == [
        "✗ `half` is wrong: `0.4`. Divide.",
        "✗ `half` is not written yet.",
        "✓ `half` is right. One of two parts.",
    ]
    monkeypatch.setenv("IMGCLS_REPORT", "{}")
    exercises.check_answers("tiny.halved", half=0.5)
    with pytest.raises(exercises.WrongSolution, match=r"half is wrong: `0\.4`"):
        exercises.check_answers("tiny.halved", half=0.4)


# ---------------------------------------------------------------- what a student begins from


def test_a_blank_keeps_imports_names_and_comments_and_gives_nothing_away():
    solution = "from math import log\nstep = 7\n# how\nloss = (\n    step * log(2)\n)  # in nats, “ü”\nother = 1"
    assert exercises.blank(solution, 'check("loss", loss, 1)') == (
        f"from math import log\n{exercises.TURN}\nloss = ...  # in nats, “ü”"
    )
    with pytest.raises(ValueError, match="step needs a comment"):
        exercises.blank(solution, 'check("step", step, 7)')
    with pytest.raises(ValueError, match="reads no name"):
        exercises.blank(solution, "check('x', 1, 7)")
    with pytest.raises(ValueError, match="double is a function: add a start cell"):
        exercises.blank("def double(x):\n    return 2 * x", "check(double(1))")


def test_a_start_cell_takes_the_place_of_the_solution():
    before = tiny_cells()
    after = exercises.student_edition({"cells": before})["cells"]
    assert [cell["id"] for cell in after] == [cell["id"] for cell in before if exercises.part_of(cell) != "solution"
                                              or cell["source"] == TASKS["halved"][1]["source"]]  # fmt: skip
    answers = [cell for cell in after if "exercise-answer" in cell["metadata"]["tags"]]
    assert [source_of(cell) for cell in answers] == [
        "amount = ...\n\n\ndef double(x):\n    return x",
        *[f"{exercises.TURN}\nhalf = ...  # a half"] * 3,
    ]
    assert not any(exercises.part_of(cell) in ("start", "solution") for cell in after)
    with pytest.raises(ValueError, match="exercise 1: double is a function"):
        exercises.student_edition({"cells": tiny_cells(start=None, solution="def double(x):\n    return 2 * x")})


@pytest.mark.parametrize(
    "parts",
    ["task check", "task solution", "solution check", "task solution other check", "task solution given check",
     "task task solution check", "task given given solution check", "task start given solution check",
     "task solution start check", "task start check", "task start start solution check"],
)  # fmt: skip
def test_an_incomplete_exercise_is_named(parts):
    tags = ["other", "exercise-task", "exercise-solution", "exercise-check"]
    tags += [f"exercise-{part}" for part in parts.split()]
    cells = [{"metadata": {"tags": [tag]}, "source": "", "cell_type": "code"} for tag in tags]
    with pytest.raises(
        ValueError, match=r"exercise 2 at cell 5 .*: its cells must be task, given, start, solution, ch"
    ):
        exercises.find(cells)


def test_the_student_edition_differs_in_the_solutions_alone(own_folders):
    written = exercises.write_editions()
    assert [path.stem for path in written] == CASES
    for path, case in zip(written, CASES, strict=True):
        before, after = cells_of(case), json.loads(path.read_text())["cells"]
        found = exercises.find(before)
        dropped = {exercise.solution for exercise in found if exercise.start is not None}
        answers = {exercise.solution if exercise.start is None else exercise.start for exercise in found}
        kept = [k for k in range(len(before)) if k not in dropped]
        assert {k for k, cell in zip(kept, after, strict=True) if before[k] != cell} == answers
        for exercise in found:
            if exercise.start is None:
                answer = source_of(after[kept.index(exercise.solution)])
                assert exercises.TURN in answer
                values = [node.value for node in ast.parse(answer).body if isinstance(node, ast.Assign)]
                assert {ast.unparse(value) for value in values} == {"..."}
