"""Comparison of models on the same images."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from imgcls.evaluation.predictions import Predictions
from imgcls.evaluation.statistics import Interval, mcnemar, over_seeds
from imgcls.messages import UserError


def compare(predictions: Mapping[str, Sequence[Predictions]], reference: str | None = None) -> pd.DataFrame:
    """Compare each model with the previous one, or with one `reference`, on the same images.

    Args:
        predictions: Name of each model -> its predictions on one test split, one entry per seed, in order.
        reference: Name of the model with which all others are compared; None for the previous model.

    Returns:
        One row per model: `name`; `value`, `low`, `high`, `n` (first seed, Wilson); `mean` and `spread` (standard
        deviation) over `seeds` runs; `gain` over the compared model, with `gain_low`, `gain_high` and `p_value` of the
        exact McNemar test (first seed), and `seeds_agree`, the number of common seeds in which the gain has the sign of
        its mean.

    Raises:
        ValueError: no model has the name `reference`.
    """
    if reference is not None and reference not in predictions:
        raise UserError(f"there is no {reference!r} to compare with; choose one of: {', '.join(predictions)}")
    rows, before = [], predictions.get(reference)
    for name, runs in predictions.items():
        accuracies = np.array([run.accuracy for run in runs])
        row = {"name": name, **vars(runs[0].accuracy_interval), "mean": over_seeds(accuracies).value}
        row |= {"seeds": len(runs), "spread": accuracies.std(ddof=1) if len(runs) > 1 else np.nan}
        if before is not None and name != reference:
            test = mcnemar(before[0].correct, runs[0].correct)
            both = min(len(runs), len(before))
            gains = accuracies[:both] - np.array([run.accuracy for run in before[:both]])
            agree = int((np.sign(gains) == np.sign(gains.mean())).sum())
            row |= {"gain": test.difference, "gain_low": test.low, "gain_high": test.high}
            row |= {"p_value": test.p_value, "seeds_agree": agree}
        rows.append(row)
        before = runs if reference is None else before
    return pd.DataFrame(rows)


def comparison_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `compare` as text: accuracy with interval, mean over seeds, gain and p-value."""
    repeats = int(table["seeds"].max())
    mean = f"mean of {repeats} seeds" if repeats > 1 else "one seed"
    rows = []
    for row in table.to_dict("records"):
        accuracy = Interval(row["value"], row["low"], row["high"], row["n"])
        text = {"": row["name"], "accuracy": str(accuracy), mean: f"{100 * row['mean']:.1f} %"}
        if repeats > 1:
            several = f"{100 * row['mean']:.1f} ± {100 * row['spread']:.1f} %"
            fewer = f" ({row['seeds']} seeds)" if row["seeds"] < repeats else ""
            text[mean] = several + fewer if row["seeds"] > 1 else "one seed"
        text |= {"gain (points)": "–", "p": "–"}
        if pd.notna(row.get("gain", np.nan)):
            gain, low, high = (100 * row[key] for key in ("gain", "gain_low", "gain_high"))
            text["gain (points)"] = f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]"
            text["p"] = "< 0.0001" if row["p_value"] < 1e-4 else f"{row['p_value']:.4f}"
        rows.append(text)
    return pd.DataFrame(rows)
