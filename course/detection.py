"""Tables of open-set detection for readers: AUROC, false positive rate, and what "unknown" is worth."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from imgcls.evaluation.statistics import Interval, mcnemar, wilson


def auroc_text(value: float, low: float, high: float) -> str:
    """An AUROC with its interval: `0.864 [0.842, 0.883]`."""
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def detection_text(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `openset.detection_table` as text."""
    rows = []
    for row in table.to_dict("records"):
        gain, p = "–", "–"
        if row["p_value"] == row["p_value"]:  # NaN for the baseline
            gain = f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"
            p = "< 0.0001" if row["p_value"] < 1e-4 else f"{row['p_value']:.4f}"
        passed = Interval(row["fpr95"], row["fpr95_low"], row["fpr95_high"], row["n"])
        rows.append({"score": row["method"], "AUROC": auroc_text(row["auroc"], row["low"], row["high"])}
                    | {"FPR at 95 % TPR": str(passed), "gain in AUROC": gain, "p (DeLong)": p})  # fmt: skip
    return pd.DataFrame(rows)


def against_baseline(table: pd.DataFrame) -> str:
    """How the scores of `openset.detection_table` compare with its baseline, the first row, in one sentence."""
    others, significant = table.iloc[1:], table["p_value"].iloc[1:] < 0.05
    groups = {
        "higher": significant & (others["gain"] > 0),
        "significantly lower": significant & (others["gain"] < 0),
        "inconclusive": ~significant,
    }
    named = {verdict: ", ".join(others["method"][rows]) for verdict, rows in groups.items()}
    baseline, higher = table["method"].iloc[0], named.pop("higher")
    first = "No other score has a significantly higher AUROC than {}"
    first = "Significantly higher AUROC than {}: " + higher if higher else first
    parts = [first.format(baseline), *(f"{verdict}: {names}" for verdict, names in named.items() if names)]
    return "; ".join(parts) + " (DeLong's test of each score, 5 % level)."


def rejection_text(closed: Tensor, opened: Tensor, is_unknown: Tensor) -> str:
    """What a threshold does to unknown and to known images, as the end of a sentence about a network.

    Args:
        closed: Whether each prediction of the closed set is correct, bool (N,).
        opened: The same with "unknown", from `open_set_correct`.
        is_unknown: bool (N,).
    """
    rejected = wilson(int(opened[is_unknown].sum()), int(is_unknown.sum()))
    lost = int((closed & ~opened)[~is_unknown].sum())
    return (
        f"rejects {rejected} of the {rejected.n:,} unknown images and names a known species for the other "
        f"{100 * (1 - rejected.value):.1f} %; {lost:,} of {int((~is_unknown).sum()):,} known images lose a correct "
        "prediction"
    )


def significant_gain(before: Tensor, after: Tensor) -> Interval | None:
    """Accuracy of a rule if it is significantly higher than that of the rule before (McNemar's test), or None.

    Args:
        before: Whether each prediction is correct, bool (N,).
        after: The same for the later rule, on the same images.
    """
    paired = mcnemar(before, after)
    return wilson(int(after.sum()), len(after)) if paired.significant and paired.difference > 0 else None


def open_set_correct(correct: Tensor, is_unknown: Tensor, score: Tensor, threshold: float) -> Tensor:
    """Whether each prediction is correct if images below the threshold are predicted as "unknown".

    Args:
        correct: Whether the predicted known class is the true one, bool (N,); false for unknown images.
        is_unknown: bool (N,).
        score: (N,), higher for known images.
        threshold: Lowest score at which an image is accepted as known.
    """
    accepted = score >= threshold
    return torch.where(is_unknown, ~accepted, correct & accepted)


def open_set_table(decisions: Mapping[str, Tensor], is_unknown: Tensor) -> pd.DataFrame:
    """Accuracy of each decision rule on all, known and unknown images, compared with the rule before it.

    Args:
        decisions: Rule -> whether each prediction is correct, bool (N,), from `open_set_correct`.
        is_unknown: bool (N,).

    Returns:
        One row per rule, as text: rule, all images, known, unknown, and the gain over the rule before (McNemar).
    """
    rows, before = [], None
    for name, correct in decisions.items():
        parts = {"all images": correct, "known": correct[~is_unknown], "unknown": correct[is_unknown]}
        row = {"rule": name} | {what: str(wilson(int(part.sum()), len(part))) for what, part in parts.items()}
        rows.append(row | {"against the row above": "–" if before is None else str(mcnemar(before, correct))})
        before = correct
    return pd.DataFrame(rows)
