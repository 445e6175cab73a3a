"""What the notebooks' prose states in numbers is what a report claims: all that we measured is filled in by the run."""

import re

import nbformat
import pytest
from test_readme import stated

from course import exercises
from imgcls import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
COUNT = "(?:two|three|four|five|six|seven|eight|nine|ten|twenty|hundred|thousand)"
WORDED = re.compile(rf"\b(?:twice|half|{COUNT} times) (?:as|the) \w+|\b(?:\w+ )?{COUNT} (?:points|per cent)\b")
CITED = re.compile(r"\b(?:et al\.|[A-Z]\w+) (?:19|20)\d\d\b|arXiv:\S+")
SIZE = re.compile(r"\b\d+ × \d+\b")
# Neither claimed in the notebook's own Question nor measured, by notebook and text, with the reason.
EXCUSED = {
    ("01", "80 %"): "what calibration means",
    ("02", "0.001"): "the rate in the published code, a setting",
    ("02", "80 %"): "derived above it: forty of fifty species",
    ("02", "ten times as much"): "the multiply-adds of the networks are in the table of the comparison",
    ("06", "80 %"): "derived beside it: forty of fifty species",
    ("06", "0.5"): "the AUROC of a random score",
    ("06", "0.4"): "a setting of the cell below",
    ("03", "75.89 %"): "claimed: .7589 in the Question",
    ("03", "100 %"): "what a collapse means",
    ("03", "0.1"): "PyTorch's default momentum of batch norm",
    ("03", "0.5"): "the usual threshold, and a momentum that is a setting",
    ("05", "0.5"): "the threshold in the published code, a setting",
}


def prose(notebook):
    """Texts of the Question, which says what the report claims, and of all other cells but exercises and hints."""
    question, others, heading = [], [], ""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type != "markdown" or exercises.part_of(cell):
            continue
        for part in re.split(r"^(?=## )", cell.source, flags=re.M):
            heading = part.splitlines()[0] if part.startswith("## ") else heading
            (question if heading == "## Question" else others).append(part)
    return "\n".join(question), "\n".join(others)


def numbers(text):
    """Each result in a text, as it is written and as bare numbers or words; no formulas, code, citations or sizes."""
    text = re.sub(r"^> \*\*Try it\*\*.*?(?=\n\n|\Z)", " ", text, flags=re.M | re.S)
    text = re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$]+\$", " ", text, flags=re.S)
    text = SIZE.sub(" ", CITED.sub(" ", text))
    worded = [(match[0].strip(), (match[0].strip(),)) for match in WORDED.finditer(re.sub(r"\s+", " ", text))]
    return [(one.text, one.numbers) for one in stated(text)] + worded


def unclaimed(question, others):
    """What is stated elsewhere and not in the Question."""
    claimed = {values for _, values in numbers(question)}
    return {text for text, values in numbers(others) if values not in claimed}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_prose_states_no_number_that_the_run_could_fill_in(notebook):
    excused = {text for name, text in EXCUSED if name == notebook.stem[:2]}
    found = unclaimed(*prose(notebook))
    assert not found - excused, "fill it in with say(f'…'), or excuse it with its reason"
    assert not excused - found, "no longer needed: take it out of EXCUSED"


@pytest.mark.parametrize(
    "planted",
    ["It is right 86.2 % of the time.", "That costs 3.4 points.", "It is twice as fast.", "It takes 12 s.",
     "It is about three points better.", "It needs ten times the memory.", "It saw 12,345 images."],
)  # fmt: skip
def test_a_result_typed_into_prose_is_found(planted):
    claims = "The report says 70 %, at a rate of 0.1, over 640 images."
    true = "Of the 70 % (Smith 2017) we keep `99.9 %`, $0.25$ and 0.1; its 95 % interval says so. Two nets, ten seeds."
    assert unclaimed(claims, true) == set()
    assert len(unclaimed(claims, f"{true} {planted}")) == 1
