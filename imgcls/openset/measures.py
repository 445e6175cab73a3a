"""Measures of how well a score separates known from unknown images, and thresholds from known images alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import expit, logit
from torch import Tensor

from imgcls.evaluation.statistics import Interval, PairedTest, wilson
from imgcls.messages import UserError
from imgcls.openset.scores import BASELINE


@dataclass(frozen=True)
class AurocTest:
    """AUROC of b minus AUROC of a on the same images, with its interval and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int

    significant = PairedTest.significant
    __str__ = PairedTest.__str__


def auroc(known: ArrayLike, unknown: ArrayLike, confidence: float = 0.95) -> Interval:
    """Probability that a known image scores above an unknown one, ties counting half, with DeLong's interval.

    The interval is symmetric on the logit scale (DeLong et al. 1988; Pepe 2003), so it stays inside [0, 1]. Where the
    separation is perfect, DeLong's variance is 0; the limit is then Wilson's for as many trials as there are disjoint
    pairs, which is the smaller number of images. The interval covers the sampling of images, not of classes; `n` counts
    all images.
    """
    known, unknown = _scores(known, "known"), _scores(unknown, "unknown")
    value, above, below = _placements(known, unknown)
    n, rarer = known.size + unknown.size, min(known.size, unknown.size)
    if value in (0.0, 1.0):
        limits = wilson(rarer if value else 0, rarer, confidence)
        return Interval(value, limits.low, limits.high, n)
    deviation = math.sqrt(above.var(ddof=1) / known.size + below.var(ddof=1) / unknown.size)
    half = stats.norm.ppf(0.5 + confidence / 2) * deviation / (value * (1 - value))
    return Interval(value, float(expit(logit(value) - half)), float(expit(logit(value) + half)), n)


def compare_auroc(
    known_a: ArrayLike, unknown_a: ArrayLike, known_b: ArrayLike, unknown_b: ArrayLike, confidence: float = 0.95
) -> AurocTest:
    """Two scores on the same images, in the same order: AUROC of b minus that of a (DeLong et al. 1988)."""
    a = [_scores(known_a, "known"), _scores(unknown_a, "unknown")]
    b = [_scores(known_b, "known"), _scores(unknown_b, "unknown")]
    sizes = [len(part) for part in a]
    if sizes != [len(part) for part in b]:
        raise UserError(f"a paired test needs the same images twice, got {sizes} and {[len(part) for part in b]}")
    (first, *before), (second, *after) = _placements(*a), _placements(*b)
    gap = second - first
    gains = [new - old for old, new in zip(before, after, strict=True)]
    deviation = math.sqrt(sum(gain.var(ddof=1) / gain.size for gain in gains))
    if deviation == 0:
        return AurocTest(gap, gap, gap, 1.0 if gap == 0 else 0.0, sum(sizes))
    half = stats.norm.ppf(0.5 + confidence / 2) * deviation
    return AurocTest(gap, gap - half, gap + half, float(2 * stats.norm.sf(abs(gap) / deviation)), sum(sizes))


def fpr_at_tpr(known: ArrayLike, unknown: ArrayLike, tpr: float = 0.95, confidence: float = 0.95) -> Interval:
    """False positive rate: share of unknown images accepted at the threshold that accepts `tpr` of the known ones.

    The interval combines the uncertainty of the share with that of the threshold by the method of variance estimates
    recovery (Zou and Donner 2008), from Wilson's interval of each. With fewer than a few hundred known images its
    coverage is slightly below `confidence`. `n` counts unknown images.
    """
    known, unknown = _scores(known, "known"), _scores(unknown, "unknown")
    passed = int((unknown >= threshold_at_tpr(known, tpr)).sum())
    share = wilson(passed, unknown.size, confidence)
    kept = wilson(round(tpr * known.size), known.size, confidence)
    strict, lax = ((unknown >= threshold_at_tpr(known, limit)).mean() for limit in (kept.low, kept.high))
    low = share.value - math.hypot(share.value - share.low, max(share.value - strict, 0))
    high = share.value + math.hypot(share.high - share.value, max(lax - share.value, 0))
    return Interval(share.value, max(low, 0.0), min(high, 1.0), unknown.size)


def threshold_at_tpr(known: ArrayLike, tpr: float = 0.95) -> float:
    """The highest threshold that at least the fraction `tpr` of these scores reach; use known validation images."""
    known = np.sort(_scores(known, "known", 1))
    if not 0 < tpr <= 1:
        raise UserError(f"tpr = {tpr!r} is not a true positive rate; choose above 0 and at most 1, such as 0.95")
    return float(known[known.size - math.ceil(tpr * known.size - 1e-9)])


def detection_curve(known: ArrayLike, unknown: ArrayLike) -> pd.DataFrame:
    """ROC curve with known images as the positives: columns threshold (falling), known_kept, unknown_kept."""
    from sklearn.metrics import roc_curve  # slow to import, needed only here

    known, unknown = _scores(known, "known", 1), _scores(unknown, "unknown", 1)
    truth = np.repeat([1, 0], [known.size, unknown.size])
    passed, kept, thresholds = roc_curve(truth, np.concatenate([known, unknown]))
    return pd.DataFrame({"threshold": thresholds, "known_kept": kept, "unknown_kept": passed})


def detection_table(scores: Mapping[str, Tensor], is_unknown: Tensor, baseline: str = BASELINE) -> pd.DataFrame:
    """AUROC and FPR of every score on the same images, the baseline first and the others compared with it.

    Args:
        scores: name -> (N,), from `unknown_scores`.
        is_unknown: whether each image is of an unknown class, bool (N,).
        baseline: the score with which the others are compared.

    Returns:
        One row per score: method; auroc, low, high; fpr95, fpr95_low, fpr95_high; gain over the baseline's AUROC with
        gain_low, gain_high and p_value (DeLong, not corrected for the number of scores; NaN for the baseline); n.
    """
    if baseline not in scores:
        raise UserError(f"no score {baseline!r} to compare with; there are {', '.join(map(repr, scores))}")
    if wrong := {name: len(score) for name, score in scores.items() if len(score) != len(is_unknown)}:
        raise UserError(f"is_unknown has {len(is_unknown)} images, but scores have other numbers of them: {wrong}")
    parts = {name: (score[~is_unknown], score[is_unknown]) for name, score in scores.items()}
    rows = []
    for name in [baseline, *(name for name in parts if name != baseline)]:
        area, passed = auroc(*parts[name]), fpr_at_tpr(*parts[name])
        row = {"method": name, "auroc": area.value, "low": area.low, "high": area.high}
        row |= {"fpr95": passed.value, "fpr95_low": passed.low, "fpr95_high": passed.high}
        if name != baseline:
            test = compare_auroc(*parts[baseline], *parts[name])
            row |= {"gain": test.difference, "gain_low": test.low, "gain_high": test.high, "p_value": test.p_value}
        rows.append(row | {"n": area.n})
    columns = ["method", "auroc", "low", "high", "fpr95", "fpr95_low", "fpr95_high"]
    return pd.DataFrame(rows, columns=[*columns, "gain", "gain_low", "gain_high", "p_value", "n"])


def _scores(values: ArrayLike, what: str, least: int = 2) -> np.ndarray:
    found = torch.as_tensor(values).detach().cpu().double().numpy()
    if found.ndim != 1 or found.size < least:
        raise UserError(f"{what} scores of shape {found.shape}; expected (N,) with N at least {least}")
    if missing := int(np.isnan(found).sum()):
        raise UserError(f"{missing} of {found.size} {what} scores are not a number, so they have no rank")
    return found


def _placements(known: np.ndarray, unknown: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUROC, and for each image the share of the other group that is on the correct side of it: (N,) and (M,)."""
    ranks = stats.rankdata(np.concatenate([known, unknown]))
    above = (ranks[: known.size] - stats.rankdata(known)) / unknown.size
    below = 1 - (ranks[known.size :] - stats.rankdata(unknown)) / known.size
    return float(above.mean()), above, below
