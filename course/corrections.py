"""A row per step of an ablation: accuracy and AUROC over seeds, and the gain over the row above or a reference."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from course.ablation import accuracy_over_seeds, effects
from course.ranking import auroc
from course.seeds import as_points
from imgcls.evaluation import Predictions
from imgcls.messages import UserError


def corrections(steps: Mapping[str, Sequence[Predictions]], reference: str | None = None) -> pd.DataFrame:
    """Accuracy of each step over seeds, and its gain over the step before it, or over one `reference`.

    Args:
        steps: Name -> predictions of two classes on one test split, one entry per seed in the same order.
        reference: Step with which all others are compared; None for the previous step.

    Returns:
        One row per step: rung (its name), value, low, high, deviation (`accuracy_over_seeds`), auroc (mean over seeds),
        and where the step is compared gain, gain_low, gain_high, n (seeds) and verdict (`effects`).

    Raises:
        ValueError: an unknown reference.
    """
    if reference is not None and reference not in steps:
        raise UserError(f"there is no step {reference!r} to compare with; choose one of: {', '.join(steps)}")
    names = list(steps)
    changes = {name: (reference or before, name) for before, name in zip([None, *names], names, strict=False)}
    changes = {name: pair for name, pair in changes.items() if None not in pair and pair[0] != name}
    table = accuracy_over_seeds(steps)
    table["auroc"] = [np.mean([auroc(one) for one in runs]) for runs in steps.values()]
    gains = effects(steps, changes).rename(columns={"change": "rung", "low": "gain_low", "high": "gain_high"})
    return table.merge(gains, on="rung", how="left")


def corrections_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `corrections` as text for readers."""
    rows = []
    for row in table.to_dict("records"):
        gain = {"gain": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}
        compared = pd.notna(row["gain"])
        rows.append({
            "": row["rung"],
            "accuracy, mean over seeds": f"{100 * row['value']:.1f} ± {100 * row['deviation']:.1f} %",
            "AUROC": f"{row['auroc']:.3f}",
            "gain (points)": as_points(gain) if compared else "–",
            "verdict": row["verdict"] if compared else "–",
        })  # fmt: skip
    return pd.DataFrame(rows)
