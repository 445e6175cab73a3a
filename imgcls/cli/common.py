"""What several commands need: the augmentation, what answers are worth, and the way to say things."""

import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from imgcls.evaluation import Predictions
from imgcls.transforms import RandomCrop, RandomHorizontalFlip, Transform


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError with the closest choice, and all of them, unless the value is one."""
    choices = list(choices)
    if value not in choices:
        close = difflib.get_close_matches(value, choices, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{what} {value!r} is unknown; {hint}choose one of {', '.join(choices)}")


def note(text: str, kind: str = "note") -> None:
    """A line on stderr, such as `note: …`; stdout is for results."""
    print(f"{kind}: {text}", file=sys.stderr)


def some(names: Sequence[str], shown: int = 8) -> str:
    """The first names and how many more there are, for an error message."""
    rest = len(names) - shown
    return ", ".join(map(str, names[:shown])) + (f" and {rest} more" if rest > 0 else "")


def augmentation(size: int) -> tuple[Transform, ...]:
    """What `train` does to its images unless told otherwise, and `search` too, so that its settings hold there."""
    return RandomCrop(padding=size // 8), RandomHorizontalFlip()


def worth(answers: Predictions, temperature: float) -> dict[str, Any]:
    """How good answers are, as plain JSON: what `train` says of validation and `evaluate` of any split.

    Returns:
        n; accuracy and balanced_accuracy, each {value, low, high, n}; temperature; loss and ece without it, and
        loss_at_temperature and ece_at_temperature; per_class, rows {class, precision, recall, f1, support} in which
        a ratio of nothing to nothing is None.
    """
    cooled = answers.with_temperature(temperature)
    table = answers.per_class()
    said = answers.predicted.bincount(minlength=len(answers.classes)).numpy()
    table.loc[said == 0, "precision"] = math.nan
    table.loc[table["support"] == 0, "recall"] = math.nan
    table.loc[said + table["support"] == 0, "f1"] = math.nan
    return {
        "n": len(answers),
        "accuracy": asdict(answers.accuracy_interval),
        "balanced_accuracy": asdict(answers.balanced_accuracy),
        "temperature": temperature,
        "loss": answers.loss,
        "loss_at_temperature": cooled.loss,
        "ece": answers.ece,
        "ece_at_temperature": cooled.ece,
        "per_class": [
            {key: None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")
        ],
    }
