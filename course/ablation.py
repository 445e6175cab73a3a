"""Ablation: one change at a time, each compared over the same seeds and the same test images."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

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
