"""Every result that the README states is that of a named value: in the results of the reports or of a benchmark."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from imgcls import paths

README = paths.ROOT / "README.md"
RESULTS, BENCHMARKS = paths.FIGURES / "results.json", paths.ROOT / "benchmarks" / "results.json"
TRACED = paths.ROOT / "tests" / "readme_numbers.yaml"
NUMBER = r"[-+−]?\d[\d,]*(?:\.\d+)?"
STATED = re.compile(
    rf"(?P<value>{NUMBER})(?: %)? \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\]"
    rf"|(?P<minutes>{NUMBER}) (?:min|minutes)(?: (?P<seconds>\d+) (?:s|seconds))?\b"
    rf"|(?<![\w.,])(?P<number>{NUMBER})(?P<unit> %| ×| s\b| points?\b)?(?![\w]|,\d|\.\d)"
)
NO_RESULT = {"95 %": "the level of every interval", "3.11": "a version of Python"}
NAMES = ("what", "name", "model")  # keys by which a row of a list is found


class Stated(NamedTuple):
    """A result as it is written, and its numbers without commas and signs of plus; minutes with seconds in seconds."""

    text: str
    numbers: tuple[str, ...]
    unit: str = ""


def stated(text: str) -> list[Stated]:
    """Results in a text, in its order.

    A number is a result if it has an interval, a unit (per cent, times, seconds, points), a decimal point or at least
    four digits, or is all that a cell of a table holds; others count or name things.
    """
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|`[^`]*`", " ", text)
    found = []
    for match in STATED.finditer(text):
        part = match.groupdict()
        if part["low"]:
            found.append(Stated(match[0], tuple(map(bare, (part["value"], part["low"], part["high"]))), "interval"))
        elif part["seconds"]:
            found.append(Stated(match[0], (f"{60 * int(part['minutes']) + int(part['seconds'])}",), "s"))
        elif part["minutes"]:
            found.append(Stated(match[0], (bare(part["minutes"]),), "min"))
        else:
            number, unit = bare(part["number"].rstrip(",")), (part["unit"] or "").strip()
            cell = text[: match.start()].endswith(("| ", "≥ ", "≤ ", "< ")) and text[match.end() :].startswith(" |")
            if (unit or "." in number or len(number) > 3 or cell) and match[0].strip() not in NO_RESULT:
                found.append(Stated(match[0].strip(), (number,), unit))
    return found


def bare(number: str) -> str:
    """`+1,234.5` without comma and plus; a minus stays."""
    return number.replace(",", "").replace("−", "-").lstrip("+")


def blocks(source: str) -> Iterator[str]:
    """Paragraphs and table rows, each on one line; no code."""
    for part in re.split(r"\n\s*\n|\n(?=\|)", re.sub(r"```.*?```", "", source, flags=re.S)):
        yield " ".join(part.split())


def lookup(path: str, results: dict[str, Any]) -> Any:
    """The value at a path: a number, or a dict of value, low and high."""
    value, parts = results, path.split("/")
    for k, part in enumerate(parts):
        if isinstance(value, str):
            words = "/".join(parts[k:])
            match = STATED.search(value, value.index(words) + len(words))
            scale = 100 if "%" in match[0] else 1
            keys = ("value", "low", "high") if match["low"] else ("number",)
            numbers = [float(bare(match[key])) / scale for key in keys]
            return dict(zip(keys, numbers, strict=True)) if match["low"] else numbers[0]
        if isinstance(value, list):
            value = [row for row in value if part in [row.get(key) for key in NAMES]][0]  # noqa: RUF015
        elif part == "gain":
            return {"value": value[part], "low": value.get("gain_low", value["low"]),
                    "high": value.get("gain_high", value["high"])}  # fmt: skip
        elif part in value.get("intervals", {}):
            value = dict(zip(("value", "low", "high"), (value[part], *value["intervals"][part]), strict=True))
        else:
            value = value[part]
    return value


def rounded(value: Any, one: Stated, is_gain: bool) -> tuple[str, ...]:
    """A value as the README would write it, with the unit and the digits of what stands there."""
    numbers = [value]
    if isinstance(value, dict):
        value = value | {"value": value.get("value", value.get("ours"))}
        numbers = [value[key] for key in (("value", "low", "high") if one.unit == "interval" else ("value",))]
    if one.unit == "interval" and not is_gain:  # over seeds, an interval may reach beyond what a share can be
        numbers = [min(max(number, 0.0), 1.0) for number in numbers]
    scale = 1 / 60 if one.unit == "min" else 100 if one.unit in ("%", "interval") or is_gain else 1
    digits = [len(number.partition(".")[2]) for number in one.numbers]
    return tuple(f"{scale * number:.{d}f}" for number, d in zip(numbers, digits, strict=False))


def difference(spec: str, one: Stated, results: dict[str, Any]) -> str | None:
    """Why a number is not what its line in the table says."""
    if spec.startswith("none: "):
        return None if spec.startswith(f"none: {one.text}, ") else f"{one.text!r} instead of {spec!r}"
    path = spec.removeprefix("below ")
    try:
        value = lookup(path, results)
    except (LookupError, ValueError, AttributeError):
        return f"no value at {path}"
    if spec != path:
        return None if value < float(one.numbers[0]) else f"{one.text!r} is not above {value} ({path})"
    expected = rounded(value, one, path.endswith("/gain"))
    return None if one.numbers == expected else f"{one.text!r} should be {', '.join(expected)} ({path})"


def differences(readme: str, traced: dict[str, list[str]], results: dict[str, Any]) -> list[str]:
    """Every number of the README that differs from its value or has none, and every line that is not used."""
    found, unused = [], set(traced)
    for block in blocks(readme):
        numbers = stated(block)
        keys = [key for key in traced if key in block]
        specs = [spec for key in keys for spec in traced[key]]
        if len(keys) > 1 or len(specs) != len(numbers):
            found.append(f"{[one.text for one in numbers]} in {block[:60]!r}: {len(specs)} paths, by {keys}")
            continue
        unused -= set(keys)
        found += filter(None, (difference(spec, one, results) for spec, one in zip(specs, numbers, strict=True)))
    return found + [f"{key!r} is not in the README" for key in sorted(unused)]


@pytest.fixture(scope="module")
def results():
    known = json.loads(RESULTS.read_text(encoding="utf-8"))
    cases = {profile: {name[:2]: result for name, result in reports.items()} for profile, reports in known.items()}
    return cases | {"bench": {row["name"]: row for row in json.loads(BENCHMARKS.read_text(encoding="utf-8"))["rows"]}}


@pytest.fixture(scope="module")
def readme():
    text = README.read_text(encoding="utf-8")
    return re.sub(r"<!-- (\w+) -->.*?<!-- end of \1 -->", "", text, flags=re.S)  # made by course.documents


def test_every_result_is_that_of_its_path(readme, results):
    traced = yaml.safe_load(TRACED.read_text(encoding="utf-8"))
    assert differences(readme, traced, results) == [], f"mend the README, run make figures, or change {TRACED.name}"


RESULT = {
    "seconds": 193.4,
    "answer": "On the mean it is 98.3 % over 3 seeds.",
    "headline": [{"model": "net", "value": 0.985, "low": 0.9568, "high": 0.9949, "n": 200}],
    "claims": [{"what": "accuracy", "claimed": 0.7, "best": 0.91, "intervals": {"best": [0.9, 1.02]}}],
    "data": {"test": 1200},
    "tables": {"ideas": [{"name": "one", "gain": -0.0063, "low": -0.0138, "high": 0.0012, "p_value": 1e-9}]},
}
TRUE = (
    "It is 98.5 % [95.7, 99.5], on the mean 98.3 %, at best 91.0 % [90.0, 100.0]; claimed were 70 %, at 95 %. It took"
    " 3 min 13 s, or 3.2 minutes, for 1,200 images of 64 pixels in 3 steps. One idea gains −0.6 [−1.4, +0.1],"
    " p < 0.0001."
)
WHERE = [
    "headline/net", "answer/the mean", "claims/accuracy/best", "claims/accuracy/claimed", "seconds", "seconds",
    "data/test", "tables/ideas/one/gain", "below tables/ideas/one/p_value",
]  # fmt: skip


def test_what_is_true_is_traced():
    assert differences(f"{TRUE}\n\nNothing.", {"It is": WHERE}, RESULT) == []
    assert len(differences(TRUE, {}, RESULT)) == 1
    assert len(differences(f"{TRUE}\n\n98.3 %", {"It is": WHERE}, RESULT)) == 1
    assert len(differences("| a | 12 |", {}, RESULT)) == 1
    assert differences(TRUE, {"It is": WHERE, "gone": []}, RESULT) == ["'gone' is not in the README"]


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("98.5 % [95.7, 99.5]", "98.5 % [95.7, 99.6]"),
        ("98.5 % [95.7, 99.5]", "91.0 % [95.7, 99.5]"),
        ("98.3 %", "98.4 %"),
        ("98.3 %", "70.0 %"),
        ("70 %", "71 %"),
        ("3 min 13 s", "3 min 14 s"),
        ("3.2 minutes", "3.3 minutes"),
        ("1,200", "1,201"),
        ("−0.6 [−1.4, +0.1]", "−0.6 [−1.4, +0.2]"),
        ("−0.6 [−1.4, +0.1]", "+0.6 [−1.4, +0.1]"),
        ("0.0001", "0.0000000001"),
    ],
)
def test_what_is_false_is_found(true, false):
    found = differences(TRUE.replace(true, false), {"It is": WHERE}, RESULT)
    assert len(found) == 1
    assert repr(false) in found[0]


def test_improved_is_never_below_corrected():
    cases = json.loads(RESULTS.read_text(encoding="utf-8"))
    claims = [one for profile in cases.values() for case in profile.values() for one in case["claims"]]
    both = [one for one in claims if "unit" not in one and None not in (one["repaired"], one["best"])]
    assert len(both) > 10  # shares: an accuracy, a precision; a loss has an empty unit
    assert [one["what"] for one in both if one["best"] < one["repaired"]] == []
