"""Comparisons of methods over seeds: accuracy of each method, and the effect of each change with a verdict."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from course.seeds import as_points, correct, verdict
from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import over_seeds, paired_over_seeds


def accuracy_over_seeds(predictions: Mapping[str, Sequence[Predictions]]) -> pd.DataFrame:
    """Mean accuracy of each method over its seeds, with Student's t interval over the seeds.

    Args:
        predictions: Method -> predictions on one test split, one entry per seed.

    Returns:
        One row per method: rung (the name), value, low and high within 0 and 1, deviation (standard, over the seeds).
    """
    rows = []
    for name, runs in predictions.items():
        accuracies = [run.accuracy for run in runs]
        mean = over_seeds(accuracies)
        row = {"rung": name, "value": mean.value, "low": max(mean.low, 0.0), "high": min(mean.high, 1.0)}
        rows.append(row | {"deviation": float(np.std(accuracies, ddof=1))})
    return pd.DataFrame(rows)


def effects(predictions: Mapping[str, Sequence[Predictions]], changes: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Effect of each change on the accuracy, tested over seeds and images at once (`paired_over_seeds`).

    Args:
        predictions: Method -> predictions on one test split, one entry per seed in the same order.
        changes: Name of the change -> method without it, method with it.

    Returns:
        One row per change: change, gain, low, high (shares), n (seeds), and verdict: "better" or "worse" where the
        95 % interval excludes 0, else "inconclusive".
    """
    rows = []
    for change, (before, after) in changes.items():
        gain = paired_over_seeds(correct(predictions[before]), correct(predictions[after]))
        row = {"change": change, "gain": gain.value, "low": gain.low, "high": gain.high}
        rows.append(row | {"n": gain.n, "verdict": verdict(gain)})
    return pd.DataFrame(rows)


def effects_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `effects` as text for readers."""
    gains = [as_points(row) for row in table.to_dict("records")]
    return pd.DataFrame({"change": table["change"], "gain (points)": gains, "verdict": table["verdict"]})
