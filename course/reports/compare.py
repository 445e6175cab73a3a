"""Compare two builds of the reports, result files and pages, except for measured times and the commit."""

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from course.reports.errors import RequestError
from course.reports.markup import TIMED
from course.reports.result import CODE

WIDTH = 70  # characters shown of each version of a difference
_DATA = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+")
_MARKED = re.compile(r'<span class="time">.*?</span>')


def differences(first: Path, second: Path) -> Iterator[str]:
    """Each difference between two folders of reports, one line each.

    Ignored are the date and duration of a run, values and columns named seconds or time, durations written by
    `elapsed` and by the training loop, pictures with a time axis, and the commit. Everything else is compared,
    every pixel too.

    Raises:
        RequestError: a folder contains neither a report nor a result.
    """
    names = [_names(folder) for folder in (first, second)]
    for name in sorted(names[0] | names[1]):
        missing = [str(folder) for folder, found in zip((first, second), names, strict=True) if name not in found]
        if missing:
            yield f"{name} is missing in {missing[0]}"
        else:
            read = _result if name.endswith(".json") else _page
            yield from (f"{name}: {change}" for change in _changes(read(first / name), read(second / name)))


def _names(folder: Path) -> set[str]:
    found = {path.name for pattern in ("*.html", "*.json") for path in folder.glob(pattern)}
    if not found:
        raise RequestError(f"{str(folder)!r} contains no report: give two folders such as reports/ and a copy of it")
    return found


def _result(path: Path) -> list[str]:
    """One line for each value of a result file, `claims[0].best: 0.91`."""
    return [f"{where}: {value}" for where, value in _values(json.loads(path.read_text(encoding="utf-8")), "")]


def _values(content: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            if not (TIMED.match(key) or (where, key) == ("", "finished") or (where == "environment" and key in CODE)):
                yield from _values(value, f"{where}.{key}" if where else key)
    elif isinstance(content, list):
        for k, value in enumerate(content):
            yield from _values(value, f"{where}[{k}]")
    else:
        yield where, json.dumps(_MARKED.sub("", content) if isinstance(content, str) else content, ensure_ascii=False)


def _page(path: Path) -> list[str]:
    """The lines of a page, with pictures replaced by the first digits of their hash."""
    source = _DATA.sub(
        lambda match: f"picture-{hashlib.sha256(match[0].encode()).hexdigest()[:12]}", path.read_text(encoding="utf-8")
    )
    soup = BeautifulSoup(source, "html.parser")
    for picture in soup.select("figure.time picture"):
        picture.decompose()
    for measured in soup.select(":not(figure).time, .commit"):
        measured.clear()
    return str(soup).splitlines()


def _changes(first: list[str], second: list[str]) -> Iterator[str]:
    """Lines that differ, each shortened to the text around the first different character."""
    for kind, a, b, c, d in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind != "equal":
            for one, other in itertools.zip_longest(first[a:b], second[c:d], fillvalue=""):
                yield _shorten(one, other)


def _shorten(one: str, other: str) -> str:
    same = next((k for k, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))
    start = max(0, same - WIDTH // 2)
    shown = [f"{'…' if start else ''}{text[start : start + WIDTH]}" or "nothing" for text in (one, other)]
    return f"{shown[0]!r} or {shown[1]!r}"
