"""The table of contents of the course: `notebooks/course.toml`, which index, navigation and tests read."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imgcls import paths

_KINDS = {str: "a text", int: "a positive whole number"}


@dataclass(frozen=True)
class Chapter:
    """One notebook of the course."""

    name: str  # of the file, without .ipynb
    title: str  # the notebook's first heading
    question: str
    before: tuple[str, ...]  # names of the notebooks that a student has worked through
    concepts: tuple[str, ...]
    minutes: int  # to read it and do its exercises

    @property
    def number(self) -> str:
        """The two digits in front of the name."""
        return self.name[:2]


def read_contents(file: Path | None = None) -> dict[str, Chapter]:
    """The chapters by name in their order, by default of `notebooks/course.toml`; empty if there is no such file.

    Raises:
        ValueError: a key is missing, unknown or of the wrong type, chapters are not in the order of their numbers, or
            a chapter builds on one that does not come before it.
    """
    file = file or paths.NOTEBOOKS / "course.toml"
    if not file.exists():
        return {}
    chapters: dict[str, Chapter] = {}
    for name, table in tomllib.loads(file.read_text(encoding="utf-8")).items():
        where = f"{file.name}: [{name}]"
        if chapters and name <= next(reversed(chapters)):
            raise ValueError(
                f"{where} comes after [{next(reversed(chapters))}]: chapters are in the order of their names"
            )
        _check(where, table)
        for needed in table["before"]:
            if needed not in chapters:
                raise ValueError(f"{where} builds on {needed!r}, which is no chapter before it")
        lists = {key: tuple(table[key]) for key in ("before", "concepts")}
        chapters[name] = Chapter(name, **table | lists)
    return chapters


def _check(where: str, table: Any) -> None:
    """Raise ValueError unless the table has every key of a chapter, of its type, and no other."""
    kinds = {field.name: field.type for field in fields(Chapter) if field.name != "name"}
    if not isinstance(table, dict) or table.keys() != kinds.keys():
        raise ValueError(f"{where} needs the keys {', '.join(kinds)} and no other")
    for key, kind in kinds.items():
        value = table[key]
        texts = isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)
        right = {str: isinstance(value, str) and bool(value.strip()), int: type(value) is int and value > 0}
        if not right.get(kind, texts):
            raise ValueError(f"{where} has the {key} {value!r}, which is not {_KINDS.get(kind, 'a list of texts')}")
