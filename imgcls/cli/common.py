"""What several commands need: a run's model, its answers and what they are worth, and the way to say things."""

import difflib
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from imgcls import models
from imgcls.batches import ImageSet
from imgcls.evaluation import Predictions, predict
from imgcls.models import MissingWeights
from imgcls.reproducibility import pick_device


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError with the closest choice, and all of them, unless the value is one."""
    choices = list(choices)
    if value not in choices:
        close = difflib.get_close_matches(value, choices, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{what} {value!r} is unknown; {hint}choose one of {', '.join(choices)}")


def say(text: str, kind: str = "note") -> None:
    """A line on stderr, such as `note: …`; stdout is for results."""
    print(f"{kind}: {text}", file=sys.stderr)


def some(names: Sequence[str], shown: int = 8) -> str:
    """The first names and how many more there are, for an error message."""
    rest = len(names) - shown
    return ", ".join(map(str, names[:shown])) + (f" and {rest} more" if rest > 0 else "")


# ------------------------------------------------------------------ a run
def open_run(run: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run on the device of this machine, in evaluation mode, and its card.

    Raises:
        MissingWeights: there is no such folder or no model in it; a run of a similar name beside it is suggested.
        ValueError: what is there cannot be used.
    """
    try:
        model, card = models.load(run)
    except MissingWeights as error:
        beside = [path.parent.name for path in run.parent.glob("*/card.json")]
        close = difflib.get_close_matches(run.name, beside, n=1)
        raise MissingWeights(f"{error}{f'; did you mean {str(run.parent / close[0])!r}?' if close else ''}") from error
    return model.to(pick_device()), card


def temperature_of(card: Mapping[str, Any]) -> float:
    """What the logits are divided by before the softmax; 1 where the card says nothing.

    Raises:
        ValueError: it is no positive number.
    """
    value = card.get("temperature", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(
            f"the card's temperature must be a positive number, not {value!r}; mend card.json or remove it"
        )
    return float(value)


# ------------------------------------------------------------------ answers
def answer(model: nn.Module, *splits: ImageSet) -> Predictions:
    """The model's answers on one split, or on several one after the other.

    Raises:
        ValueError: they are no numbers, or of another count of classes than the data.
    """
    parts = [predict(model, split) for split in splits]
    logits = torch.cat([part.logits for part in parts])
    broken = int((~logits.isfinite().all(dim=1)).sum())
    if broken:
        raise ValueError(
            f"the model's answers to {broken} of {len(logits)} images are not finite numbers: its training diverged; "
            "train it anew with a learning rate ten times smaller"
        )
    labels, names = torch.cat([part.labels for part in parts]), sum((part.names for part in parts), ())
    return Predictions(logits, labels, parts[0].classes, names)


def worth(answers: Predictions, temperature: float) -> dict[str, Any]:
    """How good answers are, as plain JSON: what `train` says of validation and `evaluate` of any split.

    Returns:
        n; accuracy and balanced_accuracy, each {value, low, high, n}; temperature; loss and ece without it, and
        loss_at_temperature and ece_at_temperature; per_class, rows {class, precision, recall, f1, support} in which
        a ratio of nothing to nothing is None.
    """
    cooled = answers.at_temperature(temperature)
    table = answers.per_class()
    said = answers.predicted.bincount(minlength=len(answers.classes)).numpy()
    table.loc[said == 0, "precision"] = math.nan
    table.loc[table["support"] == 0, "recall"] = math.nan
    table.loc[said + table["support"] == 0, "f1"] = math.nan
    return {
        "n": len(answers),
        "accuracy": asdict(answers.interval),
        "balanced_accuracy": asdict(answers.balanced),
        "temperature": temperature,
        "loss": answers.loss,
        "loss_at_temperature": cooled.loss,
        "ece": answers.ece,
        "ece_at_temperature": cooled.ece,
        "per_class": [
            {key: None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")
        ],
    }
