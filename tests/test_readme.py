"""Every result that the README states is traced to what is committed: the numbers of a report, or of a benchmark."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from imgcls import paths

README = paths.ROOT / "README.md"
RESULTS, BENCHMARKS = paths.FIGURES / "results.json", paths.ROOT / "benchmarks" / "results.json"
NUMBER = r"[-+−]?\d[\d,]*(?:\.\d+)?"
INTERVAL = re.compile(rf"({NUMBER})(?: %)? \[({NUMBER}), ({NUMBER})\]")
DURATION = re.compile(rf"({NUMBER}) (?:min|minutes)(?: (\d+) (?:s|seconds))?\b")
PLAIN = re.compile(rf"(?<![\w.,])({NUMBER})( %| ×| s\b| points?\b)?(?![\w]|,\d|\.\d)")
NO_RESULT = {"95 %": "the level of every interval", "3.11": "a version of Python"}
GAIN = (("gain", "gain"), ("gain_low", "low"), ("gain_high", "high"))
# What no committed file holds, by section and text, with the reason.
EXCUSED: dict[tuple[str, str], str] = {
    ("", "60,000"): "images of the data set; the opening names no file",
    ("The images that come with it", "1,001"): "images of a generated set, as menagerie.sizes tells",
    ("On real images", "91.0 %"): "a target",
    ("On real images", "15,000"): "30 % of the training images, as notebooks/profiles/real.yaml has it",
    ("On real images", "90.96 %"): "of another project, measured elsewhere on the same images; notebook 05 draws it",
    ("On real images", "535 s"): "the same",
    ("Two commands", "18 minutes"): "of `time make reports` in a new clone",
    ("A case in short", "10 minutes 21 seconds"): "of an earlier run than the one whose numbers are kept",
}


def sections(source: str) -> Iterator[tuple[str, str]]:
    """Title and text of each section; what stands above the first heading of level two has no title."""
    parts = re.split(r"^## (.+)$", re.sub(r"```.*?```", "", source, flags=re.S), flags=re.M)
    yield "", parts[0]
    yield from zip(parts[1::2], parts[2::2], strict=True)


def stated(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Results in a text, each as it is written and as bare numbers.

    A number is a result if it has an interval, a unit (per cent, times, seconds, points), a decimal point or at least
    four digits; others count or name things. A duration in minutes comes as seconds.
    """
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|`[^`]*`", " ", text)
    found = []
    for match in INTERVAL.finditer(text):
        found.append((match[0], tuple(map(bare, match.groups()))))
    text = INTERVAL.sub(" ", text)
    for match in DURATION.finditer(text):
        exact = match[2] is not None
        seconds = 60 * float(bare(match[1])) + float(match[2] or 0)
        found.append((match[0], (f"{seconds:.0f} s" if exact else f"{seconds / 60:.1f} min",)))
    for match in PLAIN.finditer(DURATION.sub(" ", text)):
        number = match[1].rstrip(",")
        if (match[2] or "." in number or len(bare(number)) > 3) and match[0].strip() not in NO_RESULT:
            found.append((match[0].strip(), (bare(number),)))
    return found


def bare(number: str) -> str:
    """`1,234.5` without commas and sign: a gain is told from a loss by the words around it."""
    return number.replace(",", "").lstrip("+-−")


def sources(text: str, known: dict[str, dict[str, Any]]) -> list[Any]:
    """What is committed of the files and commands that a section names."""
    found = [known.get("real" if real else "default", {}).get(name)
             for real, name in re.findall(r"reports/(real/)?(\d\d_\w+)\.json", text)]  # fmt: skip
    profiles = ("default", "real") if "PROFILE=real" in text else ("default",)
    for number in re.findall(r"make report-(\d\d)", text):
        found += [result for profile in profiles for name, result in known.get(profile, {}).items()
                  if name.startswith(number)]  # fmt: skip
    if "make bench" in text or "benchmarks/results.json" in text:
        found.append(json.loads(BENCHMARKS.read_text(encoding="utf-8")))
    return [one for one in found if one]


def written(content: Any) -> set[tuple[str, ...]]:
    """Every way in which a reader may write the numbers of a result: alone, as a duration, with their interval."""
    ways: set[tuple[str, ...]] = set()
    if isinstance(content, dict):
        value = content.get("value", content.get("ours"))
        if "low" in content and value is not None:
            ways.add(per_cent(value, content["low"], content["high"]))
        gain = [content.get(key, content.get(other)) for key, other in GAIN]
        if None not in gain:
            ways.add(per_cent(*map(abs, gain)))
        if content.get("p_value") is not None and content["p_value"] < 0.0001:  # written as p < 0.0001
            ways.add(("0.0001",))
        for stage, limits in content.get("intervals", {}).items():
            ways.add(per_cent(content[stage], *(min(max(limit, 0.0), 1.0) for limit in limits)))
        if isinstance(content.get("seconds"), float):
            ways |= {(f"{content['seconds']:.0f} s",), (f"{content['seconds'] / 60:.1f} min",)}
        return ways.union(*map(written, content.values()))
    if isinstance(content, list):
        return ways.union(*map(written, content))
    if isinstance(content, str):
        alone = [bare(one) for one in re.findall(NUMBER, content)]
        shares = {(f"{100 * float(one):.0f}",) for one in alone if float(one) <= 1}  # a target of 0.90 is 90 %
        return {numbers for _, numbers in stated(content)} | {(one,) for one in alone} | shares
    if isinstance(content, bool) or content is None:
        return ways
    scaled = (abs(content), 100 * abs(content)) if abs(content) <= 1 else (abs(content),)
    return {(f"{number:.{digits}f}",) for number in scaled for digits in range(5)}


def per_cent(*numbers: float) -> tuple[str, ...]:
    return tuple(f"{100 * number:.1f}" for number in numbers)


def untraced(readme: str, known: dict[str, dict[str, Any]]) -> set[tuple[str, str]]:
    """Section and text of each result that is in none of the files which its section names."""
    return {
        (title, text)
        for title, body in sections(readme)
        for text, numbers in stated(body)
        if numbers not in set().union(*map(written, sources(body, known)))
    }


@pytest.fixture(scope="module")
def known():
    return json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def readme():
    return README.read_text(encoding="utf-8")


def test_every_result_is_traced(readme, known):
    lost = untraced(readme, known) - set(EXCUSED)
    assert not lost, "mend these, run make figures, or name in their section the file that they are from"


def test_what_is_excused_still_needs_it(readme, known):
    assert set(EXCUSED) <= untraced(readme, known), "no longer needed: take it out"


def test_the_commits_are_those_of_the_results(readme, known):
    quoted = re.findall(r"`reports/(real/)?(\d\d_\w+)\.json`, commit (\w{7})", readme.replace("\n", " "))
    assert quoted
    for real, name, commit in quoted:
        result = known.get("real" if real else "default", {}).get(name)
        if result is not None:
            assert result["environment"]["commit"] == commit, f"{name} is of another commit: run make figures"


RESULT = {
    "seconds": 193.4,
    "answer": "It is 98.3 % over 3 seeds.",
    "headline": [{"value": 0.985, "low": 0.9568, "high": 0.9949, "n": 200}],
    "claims": [{"what": "accuracy", "claimed": 0.7, "best": 0.91, "intervals": {"best": [0.9, 1.02]}}],
    "data": {"test": 1200},
    "ideas": [{"accuracy": 0.8, "gain": 0.0063, "low": -0.0012, "high": 0.0138}, {"gain": None, "low": None}],
    "steps": [
        {"value": 0.8, "low": 0.7, "high": 0.9, "gain": 0.02, "gain_low": 0.01, "gain_high": 0.03, "p_value": 1e-9}
    ],
}
TRUE = (
    "See `reports/01_x.json`. It is 98.5 % [95.7, 99.5], on the mean 98.3 %, at best 91.0 % [90.0, 100.0]; claimed were"
    " 70 %, at 95 %. It took 3 min 13 s, or 3.2 minutes, for 1,200 images of 64 pixels in 3 steps."
    " One idea gains +0.6 [−0.1, +1.4], another +2.0 [+1.0, +3.0], p < 0.0001."
)


def test_what_is_true_is_traced():
    known = {"default": {"01_x": RESULT}}
    assert untraced(f"## A\n{TRUE}\n## B\nNothing.", known) == set()
    assert len(stated(TRUE)) == 10


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("98.5 % [95.7, 99.5]", "98.5 % [95.7, 99.6]"),
        ("98.5 % [95.7, 99.5]", "91.0 % [95.7, 99.5]"),
        ("98.3 %", "98.4 %"),
        ("70 %", "71 %"),
        ("3 min 13 s", "3 min 14 s"),
        ("3.2 minutes", "3.3 minutes"),
        ("1,200", "1,201"),
        ("+0.6 [−0.1, +1.4]", "+0.6 [−0.1, +1.5]"),
        ("+2.0 [+1.0, +3.0]", "+2.0 [+70.0, +90.0]"),
        ("0.0001", "0.0002"),
    ],
)
def test_what_is_false_is_found(true, false):
    known = {"default": {"01_x": RESULT}}
    assert untraced(f"## A\n{TRUE.replace(true, false)}", known) == {("A", false)}


@pytest.mark.parametrize("source", ["`reports/02_y.json`", "`reports/real/01_x.json`", "nothing"])
def test_a_number_of_another_file_is_not_traced(source):
    known = {"default": {"01_x": RESULT, "02_y": {"seconds": 1.0}}, "real": {}}
    text = TRUE.replace("`reports/01_x.json`", source)
    assert len(untraced(f"## A\n{text}", known)) == len(stated(TRUE))
    assert untraced(f"## A\n{TRUE}\n## B\n98.3 %", known) == {("B", "98.3 %")}
