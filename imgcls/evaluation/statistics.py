"""Uncertainty: intervals for one accuracy, paired tests for two, intervals over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from imgcls.messages import UserError


@dataclass(frozen=True)
class Interval:
    """A value with its confidence limits from `n` trials."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """`86.2 % [85.5, 86.9]`."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class PairedTest:
    """Accuracy of b minus accuracy of a on the same images, with its interval and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    only_a: int  # images that only a classifies correctly
    only_b: int

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at the 5 % level."""
        return self.p_value < 0.05

    def __str__(self) -> str:
        """`+1.8 points [+1.1, +2.5], p = 0.0003`."""
        p = f"p = {self.p_value:.2g}" if self.p_value >= 1e-4 else "p < 0.0001"
        return f"{100 * self.difference:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}], {p}"


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927); for 200 of 200, the lower limit is 98.1 %.

    Raises:
        ValueError: `n` is not positive, or `correct` is outside [0, n].
    """
    from scipy import stats  # slow to import, and predicting does not need it

    if n <= 0 or not 0 <= correct <= n:
        raise UserError(f"{correct} of {n} is not a proportion: n must be positive and 0 <= correct <= n")
    interval = stats.binomtest(int(correct), int(n)).proportion_ci(confidence, method="wilson")
    return Interval(correct / n, float(interval.low), float(interval.high), int(n))


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, confidence: float = 0.95) -> PairedTest:
    """Exact McNemar test of two models on the same images (McNemar 1947), with an interval for the difference.

    Only images on which exactly one model is correct are informative: under the null hypothesis, each model is the
    correct one with probability 1/2. The interval is Wald's for paired proportions with Agresti and Min's (2005) half
    counts.

    Args:
        correct_a: Whether model a is correct on each image, bool (N,).
        correct_b: Whether model b is correct, in the same order.
        confidence: Level of the interval.

    Raises:
        ValueError: the numbers of images differ, or there is no image.
    """
    from scipy import stats  # slow to import, and predicting does not need it

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise UserError(f"a paired test needs the same images twice, got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    n, x, y = a.size + 2, only_a + 0.5, only_b + 0.5
    centre, spread = (y - x) / n, np.sqrt(x + y - (y - x) ** 2 / n) / n
    z = stats.norm.ppf(0.5 + confidence / 2)
    low, high = float(centre - z * spread), float(centre + z * spread)
    return PairedTest((only_b - only_a) / a.size, low, high, p_value, a.size, only_a, only_b)


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean over repeated runs with Student's t interval; `n` counts the runs, and one run has no interval (nan)."""
    from scipy import stats  # slow to import, and predicting does not need it

    runs = np.asarray(values, dtype=float)
    if not runs.size:
        raise UserError("no runs to average: give at least one value")
    if runs.size == 1:
        return Interval(float(runs[0]), float("nan"), float("nan"), 1)
    half = stats.t.ppf(0.5 + confidence / 2, runs.size - 1) * runs.std(ddof=1) / np.sqrt(runs.size)
    return Interval(float(runs.mean()), float(runs.mean() - half), float(runs.mean() + half), int(runs.size))


def paired_over_seeds(correct_a: ArrayLike, correct_b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean accuracy of b minus that of a, both trained from the same seeds and tested on the same images.

    The variance is that of the mean over seeds plus that of the mean over images. The interaction of seed and image
    counts in both, so the interval is slightly too wide. Student's t has the degrees of freedom of the sum
    (Satterthwaite 1946).

    Args:
        correct_a: Whether each run of a is correct on each image, bool (seeds, N).
        correct_b: Whether each run of b is correct, with the same order of seeds and images.
        confidence: Level of the interval.

    Returns:
        The difference with its limits; `n` counts the seeds.

    Raises:
        ValueError: the seeds or images differ, or there are fewer than two of either.
    """
    from scipy import stats  # slow to import, and predicting does not need it

    value, error, freedom, seeds = _mean_gain(correct_a, correct_b)
    half = stats.t.ppf(0.5 + confidence / 2, freedom) * error if error else 0.0
    return Interval(value, float(value - half), float(value + half), seeds)


def paired_p_over_seeds(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Two-sided p-value of no difference between a and b, by the t test whose interval is `paired_over_seeds`."""
    from scipy import stats  # slow to import, and predicting does not need it

    value, error, freedom, _ = _mean_gain(correct_a, correct_b)
    if not error:
        return float(value == 0)
    return float(2 * stats.t.sf(abs(value) / error, freedom))


def _mean_gain(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[float, float, float, int]:
    """Mean gain of b over a, its standard error, the degrees of freedom of the error, and the number of seeds."""
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < 2:
        raise UserError(
            f"a comparison over seeds needs (seeds, images) twice, at least two of both; got {a.shape} and {b.shape}"
        )
    gains = b.astype(float) - a
    means = gains.mean(axis=1), gains.mean(axis=0)  # of each seed, of each image
    variances = np.array([values.var(ddof=1) / values.size for values in means])
    total = variances.sum()
    freedom = total**2 / (variances**2 / [values.size - 1 for values in means]).sum() if total else np.inf
    return float(gains.mean()), float(np.sqrt(total)), float(freedom), len(a)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values adjusted for testing several hypotheses at once (Holm 1979), in the order given.

    Rejecting where the adjusted p-value is below α keeps the chance of at least one false rejection below α, however
    the tests depend on each other.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)).clip(max=1)
    return adjusted[np.argsort(order, kind="stable")]
