"""Comparison of methods, each trained from the same seeds: averages over seeds and a paired test over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import Interval, over_seeds, paired_over_seeds


def correct(runs: Sequence[Predictions]) -> np.ndarray:
    """Whether each run classifies each image correctly, bool (seeds, N)."""
    return np.stack([run.correct.numpy() for run in runs])


def verdict(gain: Interval) -> str:
    """Better, worse or inconclusive, by the side of zero on which the whole interval is."""
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "inconclusive"


def as_points(gain: Interval | Mapping[str, float]) -> str:
    """A difference with its interval in points: `+3.1 [+0.4, +5.8]`."""
    row = gain if isinstance(gain, Mapping) else {"gain": gain.value, "low": gain.low, "high": gain.high}
    return f"{100 * row['gain']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def compare_seeds(methods: Mapping[str, Sequence[Predictions]], reference: str | None = None) -> pd.DataFrame:
    """Compare each method with the previous one, or with one `reference`, by a paired test over seeds.

    Args:
        methods: Name of each method -> its predictions on the same images, one entry for each of the same seeds.
        reference: Name of the method with which all others are compared; None for the previous method.

    Returns:
        One row per method: `name`; `seeds`; `mean` of the accuracies over the seeds, with `low` and `high` (Student's
        t) and `spread` (standard deviation); `gain` with `gain_low` and `gain_high` (`paired_over_seeds`), and
        `verdict`. The gain of the reference is missing.

    Raises:
        ValueError: the methods have different seeds or images, or fewer than two seeds.
    """
    rows, before = [], methods[reference] if reference else None
    for name, runs in methods.items():
        accuracies = over_seeds([run.accuracy for run in runs])
        row = {"name": name, "seeds": len(runs), "mean": accuracies.value, "low": accuracies.low}
        row |= {"high": accuracies.high, "spread": float(np.std([run.accuracy for run in runs], ddof=1))}
        if before is not None and name != reference:
            gain = paired_over_seeds(correct(before), correct(runs))
            row |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high, "verdict": verdict(gain)}
        rows.append(row)
        before = runs if reference is None else before
    return pd.DataFrame(rows)


def seeds_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `compare_seeds` as text: mean ± standard deviation over seeds, gain with its interval, verdict."""
    rows = []
    for row in table.to_dict("records"):
        mean = f"{100 * row['mean']:.1f} ± {100 * row['spread']:.1f} %"
        text = {"": row["name"], f"mean of {row['seeds']} seeds": mean}
        text |= {"gain (points)": "–", "paired test over seeds": "–"}
        if pd.notna(row.get("gain", np.nan)):
            text["gain (points)"] = as_points({"gain": row["gain"], "low": row["gain_low"], "high": row["gain_high"]})
            text["paired test over seeds"] = row["verdict"]
        rows.append(text)
    return pd.DataFrame(rows)
