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
