"""Trained runs in a folder, and the facts on their cards."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import safe_open

from imgcls import models
from imgcls.data.load import check_shape
from imgcls.evaluation.statistics import Interval
from imgcls.messages import UserError
from imgcls.models.serialization import CARD, WEIGHTS

SKIPPED_FOLDERS = ("cache", "checkpoints", "executed")  # folders with many files, none of them a run


@dataclass(frozen=True)
class Run:
    """A folder with a model that can be used."""

    folder: Path
    name: str  # relative to build/, else the whole path
    card: dict[str, Any]
    changed: int  # nanoseconds, the later of card and weights


def find_runs(build: Path, others: Iterable[Path] = ()) -> tuple[list[Run], list[tuple[str, str]]]:
    """Every run below these folders, newest first, and the name and reason of each that cannot be used.

    Runs below `build` are named relative to it, others by their whole path.

    The weights are checked against their own header, which finds a truncated file without reading all of it; whether
    they match the card is checked when they are loaded.
    """
    found: list[Run] = []
    broken: list[tuple[str, str]] = []
    seen: set[str] = set()
    outside = [folder for folder in dict.fromkeys(map(Path.resolve, others)) if build.resolve() not in folder.parents]
    for place, folders, files in chain(os.walk(build), *map(os.walk, outside)):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS and not name.startswith("."))
        if CARD not in files and WEIGHTS not in files:
            continue
        folder = Path(place)
        name = (folder.relative_to(build) if folder.is_relative_to(build) else folder).as_posix()
        if name in seen:
            continue
        seen.add(name)
        try:
            card = _check(folder)
            changed = max((folder / file).stat().st_mtime_ns for file in (CARD, WEIGHTS))
            found.append(Run(folder, name, card, changed))
        except Exception as error:  # a damaged file may raise anything, and the other runs must be found
            broken.append((name, " ".join(str(error).split()) or type(error).__name__))
    return sorted(found, key=lambda run: (-run.changed, run.name)), sorted(broken)


def _check(folder: Path) -> dict[str, Any]:
    """The card of a run.

    Raises:
        Exception: the run cannot be used; the message says why.
    """
    card = models.read_card(folder)
    if not all(isinstance(name, str) for name in card["classes"]):
        raise UserError(f"the classes on the card must be strings, not {card['classes']!r}; save the model again")
    if len(card["classes"]) < 2:
        raise UserError(f"it has only the class {card['classes']}, so every prediction is the same")
    models.temperature_of(card)
    check_shape(card["image_size"], card["channels"], models.resize_of(card))
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"there is no {WEIGHTS}; copy the folder again, or train it again")
    try:
        with safe_open(folder / WEIGHTS, framework="pt"):
            return card
    except Exception as error:
        raise UserError(f"{WEIGHTS} is damaged or truncated ({error}); copy the folder again") from error


# ------------------------------------------------------------------ facts on a card
def accuracy_of(card: Mapping[str, Any]) -> Interval | None:
    """Validation accuracy with its interval; None where the card has no valid one."""
    entry = card.get("validation")
    values = [entry.get(key) for key in ("accuracy", "low", "high", "n")] if isinstance(entry, dict) else [None]
    return Interval(*values) if all(map(_is_number, values)) else None


def data_of(card: Mapping[str, Any]) -> tuple[str, str]:
    """Name and kind ("generated", "real", or nothing) of the training data."""
    entry = card.get("data")
    entry = entry if isinstance(entry, dict) else {}
    return str(entry.get("name", "")), str(entry.get("kind", ""))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
