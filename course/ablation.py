<<<<<<< HEAD
"""Ablation: one change at a time, each compared over the same seeds and the same test images."""
=======
"""Comparisons of methods over seeds: accuracy of each method, and the effect of each change with a verdict."""
>>>>>>> main

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

<<<<<<< HEAD
from course.ranking import auroc
from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import over_seeds, paired_over_seeds
from imgcls.messages import UserError


def ablation(steps: Mapping[str, Sequence[Predictions]], reference: str | None = None) -> pd.DataFrame:
    """Accuracy of each step over seeds, and its gain over the step before it, or over one `reference`.

    The gain is `paired_over_seeds`: the same seeds and the same images on both sides.

    Args:
        steps: Name -> predictions on one test split, one entry per seed, the same number for every step.
        reference: Step with which all others are compared; None for the previous step.

    Returns:
        One row per step: name; value, low, high (mean accuracy over seeds with Student's t interval); seeds; gain with
        gain_low and gain_high (NaN where nothing is compared); verdict "higher", "lower", "inconclusive" or "". Of two
        classes also auroc (mean over seeds), auroc_gain with auroc_gain_low and auroc_gain_high (t interval of the
        differences).

    Raises:
        ValueError: fewer than two seeds, different numbers of them, or an unknown reference.
    """
    counts = {len(runs) for runs in steps.values()}
    if len(counts) != 1 or min(counts) < 2:
        raise UserError(f"an ablation needs the same number of seeds for every step, at least two, not {counts}")
    if reference is not None and reference not in steps:
        raise UserError(f"there is no step {reference!r} to compare with; choose one of: {', '.join(steps)}")
    rows, before = [], steps.get(reference)
    for name, runs in steps.items():
        mean = over_seeds([run.accuracy for run in runs])
        row = {"name": name, "value": mean.value, "low": mean.low, "high": mean.high, "seeds": mean.n, "verdict": ""}
        areas = [auroc(run) for run in runs] if len(runs[0].classes) == 2 else []
        row |= {"auroc": np.mean(areas)} if areas else {}
        if before is not None and name != reference:
            gain = paired_over_seeds(*(np.stack([run.correct.numpy() for run in each]) for each in (before, runs)))
            row |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
            row["verdict"] = "higher" if gain.low > 0 else "lower" if gain.high < 0 else "inconclusive"
            if areas:
                change = over_seeds(np.subtract(areas, [auroc(run) for run in before]))
                row |= {"auroc_gain": change.value, "auroc_gain_low": change.low, "auroc_gain_high": change.high}
        rows.append(row)
        before = runs if reference is None else before
    return pd.DataFrame(rows)


def ablation_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `ablation` as text: accuracy, AUROC and gain, each with its 95 % interval over seeds."""
    rows = []
    for row in table.to_dict("records"):
        text = {"": row["name"], f"accuracy, mean of {row['seeds']} seeds": f"{100 * row['value']:.1f} %"}
        if "auroc" in row:
            text["AUROC"] = f"{row['auroc']:.3f}"
        gain, low, high = (100 * row.get(key, np.nan) for key in ("gain", "gain_low", "gain_high"))
        text["gain (points)"] = f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]" if np.isfinite(gain) else "–"
        text["verdict"] = row["verdict"] or "–"
        rows.append(text)
    return pd.DataFrame(rows)
=======
from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import Interval, over_seeds, paired_over_seeds


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
    hits = {name: np.stack([run.correct.numpy() for run in runs]) for name, runs in predictions.items()}
    rows = []
    for change, (before, after) in changes.items():
        gain = paired_over_seeds(hits[before], hits[after])
        verdict = "better" if gain.low > 0 else "worse" if gain.high < 0 else "inconclusive"
        row = {"change": change, "gain": gain.value, "low": gain.low, "high": gain.high}
        rows.append(row | {"n": gain.n, "verdict": verdict})
    return pd.DataFrame(rows)


def as_points(gain: Interval | Mapping[str, float]) -> str:
    """A difference with its interval in points: `+3.1 [+0.4, +5.8]`."""
    row = gain if isinstance(gain, Mapping) else {"gain": gain.value, "low": gain.low, "high": gain.high}
    return f"{100 * row['gain']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def effects_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `effects` as text for readers."""
    gains = [as_points(row) for row in table.to_dict("records")]
    return pd.DataFrame({"change": table["change"], "gain (points)": gains, "verdict": table["verdict"]})
>>>>>>> main
