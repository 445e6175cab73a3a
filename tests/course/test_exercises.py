"""Every exercise of the notebooks: its solution passes its check, the blank and a typical mistake do not."""

import ast
import json
import re

import numpy as np
import pytest
import torch

from course import exercises
from course.exercises import find_problem
from course.reports.markup import Slugs, markdown
from imgcls import paths

CASES = sorted(path.stem for path in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
TYPICAL = {  # mistakes that a check has to notice
    ("00", 1): "coat = zoo.images[0].float().mean(dim=(1, 2))",
    ("00", 2): "expected_at_home = bias_here",
    ("00", 3): "wrong_costs = log(0.01)",
    ("00", 4): "too_long = 0.5",
    ("01", 1): "four_numbers['precision'] = 100 / 140",
    ("01", 2): "epoch_loss = batch_means.mean()",
    ("01", 3): "with_one_wrong = wilson(enough, enough).low",
    ("01", 4): "share_inside = (drawn_maps * pack.masks).sum(dim=(1, 2)) / pack.masks.sum(dim=(1, 2))",
    ("02", 1): "floor_of_40 = log((e + 39) / e)",
    ("02", 2): "area_by_hand = (sure_known[:40] > sure_unknown).float().mean()",
    ("02", 3): "cut_off = unknown_scores.sort().values[4]",
    ("02", 4): "lopsided = 0.45",
    ("03", 1): "points_off = 100 * (around_it.high - around_it.low)",
    ("03", 2): "mistaken_loss = -0.6 * log(0.6) - 0.4 * log(0.4)",
    ("03", 3): "fair_weights = 1 / rare_labels.bincount()",
    ("03", 4): "best_fair = max((says == is_dog).float().mean() for says in called)",
    ("04", 1): "layer_parameters = 128 * 9 * 64",
    ("04", 2): "drifted_to = 2 * 0.9**20",
    ("04", 3): "flattery = (drawn_scores - 0.43).mean()",
    ("04", 4): "gain_half = 4.303 * gains.std() / np.sqrt(3)",
    ("05", 1): "ten_sigmoids = 10 * one_sigmoid",
    ("05", 2): "coin_p = one_sided",
    ("05", 3): "softer = raw_logits.softmax(dim=1).amax(dim=1) / 2",
    ("05", 4): "seen_by_network = unit - colour_mean[:, None, None]",
}


def cells_of(case):
    return json.loads((paths.NOTEBOOKS / f"{case}.ipynb").read_text())["cells"]


def source(cell):
    return "".join(cell["source"])


def names(cells, kind):
    """Names that code cells read (ast.Load) or bind (ast.Store), but for variables of comprehensions."""
    nodes = [node for cell in cells for node in ast.walk(ast.parse(source(cell)))]
    found = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}
    targets = [node.target for node in nodes if isinstance(node, ast.comprehension)]
    return found - {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


NUMBERED = [(case, number) for case in CASES for number in range(1, len(exercises.find(cells_of(case))) + 1)]


@pytest.fixture
def attempt(monkeypatch):
    """Runs an exercise, alone but for the notebook's imports, and tells which names its checks accept."""

    def run(case, number, answer=None, more=""):
        cells, verdicts = cells_of(case), {}

        def judge(name, given, expected, hint="", within=1e-6):
            verdicts[name] = find_problem(given, expected, within)

        monkeypatch.setattr(exercises, "check", judge)
        exercise = exercises.find(cells)[number - 1]
        imports = next(cell for cell in cells if "import" in source(cell) and cell["cell_type"] == "code")
        given = [] if exercise.given is None else [source(cells[exercise.given])]
        solution = source(cells[exercise.solution]) if answer is None else answer
        scope = {}
        for part in (source(imports), *given, solution, more, source(cells[exercise.check])):
            exec(part, scope)
        return verdicts

    return run


@pytest.mark.parametrize("case", CASES)
def test_a_notebook_has_three_to_five_exercises_and_says_what_for(case):
    cells = cells_of(case)
    found = exercises.find(cells)
    assert 3 <= len(found) <= 5
    for exercise in found:
        assert source(cells[exercise.task]).startswith("### Try it: ")
        markdown(source(cells[exercise.task]), Slugs())  # raises for a formula that a report could not draw
    about = next(source(cell) for cell in cells if cell.get("id") == "about")
    assert [line.split(":**")[0] for line in about.splitlines()] == ["- **Before", "- **Afterwards", "- **Time"]


@pytest.mark.parametrize("case", CASES)
def test_names_of_exercises_are_their_own(case):
    """A student's slip must not reach the rest of the notebook, nor the notebook an exercise."""
    cells = [cell for cell in cells_of(case) if cell["cell_type"] == "code"]
    inside = [cell for cell in cells if exercises.part_of(cell)]
    outside = [cell for cell in cells if not exercises.part_of(cell)]

    written, read = names(inside, ast.Store), names(inside, ast.Load)
    assert written & (names(outside, ast.Store) | names(outside, ast.Load)) == set()
    assert (read & names(outside, ast.Store)) - written == set()


@pytest.mark.parametrize(("case", "number"), NUMBERED)
def test_the_solution_is_right_and_the_blank_is_not(attempt, case, number):
    cells = cells_of(case)
    exercise = exercises.find(cells)[number - 1]
    right = attempt(case, number)
    assert right
    assert set(right.values()) == {None}
    blank = exercises.blank(source(cells[exercise.solution]), source(cells[exercise.check]))
    open_ones = attempt(case, number, blank)
    assert open_ones == dict.fromkeys(right, "is not written yet")


@pytest.mark.parametrize(("case", "number"), NUMBERED)
def test_a_typical_mistake_is_noticed(attempt, case, number):
    mistake = TYPICAL[case[:2], number]
    verdicts = attempt(case, number, more=mistake)
    name = mistake.split(" = ")[0].split("[")[0]
    assert {key for key, problem in verdicts.items() if problem} == {name}
    assert verdicts[name] != "is not written yet"


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (..., 3, "not written yet"),
        (3, 3.0000001, None),
        (torch.tensor(3), 3, None),
        (np.float32(3), torch.tensor(3.0), None),
        (3.1, 3, "is not `3.1`"),
        ("3", 3, "is a str, where numbers"),
        (None, 3, "is a NoneType"),
        (float("nan"), 3, "is not `nan`"),
        (True, True, None),
        (1, True, "is not `1`"),
        (False, True, "is not `False`"),
        ("cat", "cat", None),
        ("dog", "cat", "is not `'dog'`"),
        ([1, 2], (1, 2), None),
        ([1, 2, 3], [1, 2], r"has the shape \(3,\) instead of \(2,\)"),
        (torch.zeros(2, 2), torch.eye(2), "wrong in 2 of 4 places"),
        (torch.zeros(2, requires_grad=True), [0, 0], None),
        ([[1], [1, 2]], [1, 2], "from which no numbers can be read"),
        (["cat", "dog"], ["cat", "dog"], None),
        (["dog", "cat"], ["cat", "dog"], "is not"),
        ({"a": 1}, {"a": 1}, None),
        ({"a": 2}, {"a": 1}, "is wrong at 'a', which is not `2`"),
        ({"b": 1}, {"a": 1}, "a dict with the keys 'a'"),
    ],
)
def test_a_check_knows_right_from_wrong(answer, expected, words):
    problem = find_problem(answer, expected)
    if words is None:
        assert problem is None
    else:
        assert re.search(words, problem or "right"), problem


def test_a_wrong_solution_stops_a_report_but_not_a_student(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda markdown: shown.append(markdown.data))
    monkeypatch.delenv("IMGCLS_REPORT", raising=False)
    exercises.check("answer", 41, 42, "Look again.")
    exercises.check("answer", ..., 42)
    assert shown == ["✗ `answer` is not `41`. Look again.", "✗ `answer` is not written yet."]
    monkeypatch.setenv("IMGCLS_REPORT", "{}")
    exercises.check("answer", 42, 42)
    with pytest.raises(exercises.WrongSolution, match="answer is not `41`"):
        exercises.check("answer", 41, 42)
    assert shown[2] == "✓ `answer` is right."


def test_a_blank_keeps_imports_names_and_comments_and_gives_nothing_away():
    solution = "from math import log\nstep = 7\n# how\nloss = (\n    step * log(2)\n)  # in nats, “ü”\nother = 1"
    assert exercises.blank(solution, 'check("loss", loss, 1)') == (
        f"from math import log\n{exercises.TURN}\nloss = ...  # in nats, “ü”"
    )
    with pytest.raises(ValueError, match="step needs a comment"):
        exercises.blank(solution, 'check("step", step, 7)')
    with pytest.raises(ValueError, match="reads no name"):
        exercises.blank(solution, "check('x', 1, 7)")


@pytest.mark.parametrize(
    "parts",
    ["task check", "task solution", "solution check", "task solution other check", "task solution given check",
     "task task solution check", "task given given solution check"],
)  # fmt: skip
def test_an_incomplete_exercise_is_named(parts):
    tags = ["other", "exercise-task", "exercise-solution", "exercise-check"]
    tags += [f"exercise-{part}" for part in parts.split()]
    cells = [{"metadata": {"tags": [tag]}, "source": "", "cell_type": "code"} for tag in tags]
    with pytest.raises(ValueError, match=r"exercise 2 at cell 5 .*: its cells must be task, given, solution, check"):
        exercises.find(cells)


def test_the_student_edition_differs_in_the_solutions_alone(own_folders):
    written = exercises.write_editions()
    assert [path.stem for path in written] == CASES
    for path, case in zip(written, CASES, strict=True):
        before, after = cells_of(case), json.loads(path.read_text())["cells"]
        solutions = {exercise.solution for exercise in exercises.find(before)}
        assert {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b} == solutions
        for i in solutions:
            assert exercises.TURN in source(after[i])
            kept = [node for node in ast.parse(source(after[i])).body if isinstance(node, ast.Assign)]
            assert kept
            assert all(isinstance(node.value, ast.Constant) and node.value.value is ... for node in kept)
