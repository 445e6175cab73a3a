"""How sure a number is: intervals for one accuracy, paired tests for two, spread over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A value with its confidence limits; `n` is the number of trials behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """`86.2 % [85.5, 86.9]`."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class PairedTest:
    """Accuracy of b minus accuracy of a on the same images, and how likely so large a gap is by chance."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int
    only_a: int  # images that a alone gets right
    only_b: int

    @property
    def decided(self) -> bool:
        """Whether the 5 % test tells the two apart."""
        return self.p_value < 0.05

    def __str__(self) -> str:
        """`+1.8 points [+1.1, +2.5], p = 0.0003`."""
        p = f"p = {self.p_value:.2g}" if self.p_value >= 1e-4 else "p < 0.0001"
        return f"{100 * self.difference:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}], {p}"


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927); 200 of 200 still leaves a lower bound of 98.1 %.

    Raises:
        ValueError: `n` is not positive, or `correct` lies outside [0, n].
    """
    if n <= 0 or not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is no proportion: n must be positive and 0 <= correct <= n")
    interval = stats.binomtest(int(correct), int(n)).proportion_ci(confidence, method="wilson")
    return Interval(correct / n, float(interval.low), float(interval.high), int(n))


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, confidence: float = 0.95) -> PairedTest:
    """Exact McNemar test of two models on the same images (McNemar 1947), with an interval for the gap.

    Only images on which the models disagree carry information: under the null hypothesis each such image
    is a fair coin. The interval is Wald's for paired proportions with Agresti and Min's (2005) half counts.

    Args:
        correct_a: Whether model a is right, bool (N,).
        correct_b: The same for model b, in the same order.
        confidence: Level of the interval.

    Raises:
        ValueError: the two do not cover the same number of images, or none.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ValueError(f"a paired test needs the same images twice, got {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    n, x, y = a.size + 2, only_a + 0.5, only_b + 0.5
    centre, spread = (y - x) / n, np.sqrt(x + y - (y - x) ** 2 / n) / n
    z = stats.norm.ppf(0.5 + confidence / 2)
    return PairedTest(
        (only_b - only_a) / a.size,
        float(centre - z * spread),
        float(centre + z * spread),
        p_value,
        a.size,
        only_a,
        only_b,
    )


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean over repeated runs with Student's t interval; `n` counts the runs, and one run has no interval (nan)."""
    runs = np.asarray(values, dtype=float)
    if not runs.size:
        raise ValueError("no runs to average: give at least one value")
    if runs.size == 1:
        return Interval(float(runs[0]), float("nan"), float("nan"), 1)
    half = stats.t.ppf(0.5 + confidence / 2, runs.size - 1) * runs.std(ddof=1) / np.sqrt(runs.size)
    return Interval(float(runs.mean()), float(runs.mean() - half), float(runs.mean() + half), int(runs.size))


def paired_over_seeds(correct_a: ArrayLike, correct_b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean accuracy of b minus that of a, both trained from the same seeds and asked about the same images.

    Another seed would have moved the difference, and so would other images: the interval holds both, each as the
    variance of a mean (over seeds, and over images), added up. What a single image does in a single run counts in both,
    so the interval is rather too wide. Student's t has the degrees of freedom of the sum (Satterthwaite 1946).

    Args:
        correct_a: Whether each run of a was right on each image, bool (seeds, N).
        correct_b: The same for b, seeds and images in the same order.
        confidence: Level of the interval.

    Returns:
        The difference with its limits; `n` counts the seeds.

    Raises:
        ValueError: the two do not have the same seeds and images, or there are fewer than two of either.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < 2:
        raise ValueError(
            f"a comparison over seeds needs (seeds, images) twice, at least two of both; got {a.shape} and {b.shape}"
        )
    gains = b.astype(float) - a
    means = gains.mean(axis=1), gains.mean(axis=0)  # of each seed, of each image
    variances = np.array([values.var(ddof=1) / values.size for values in means])
    value, total = float(gains.mean()), variances.sum()
    if not total:
        return Interval(value, value, value, len(a))
    freedom = total**2 / (variances**2 / [values.size - 1 for values in means]).sum()
    half = stats.t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(total)
    return Interval(value, float(value - half), float(value + half), len(a))


def selection_optimism(correct: ArrayLike, draws: int = 1000, seed: int = 0) -> Interval:
    """How much choosing the best epoch on the very images one reports flatters the accuracy.

    The images are split in halves at random, many times: the epoch is chosen on one half, and its accuracy
    there is compared with its accuracy on the other half, which took no part in the choice.

    Args:
        correct: Whether each image was right after each epoch, bool (epochs, N).
        draws: Number of random halvings.
        seed: Key of the halvings.

    Returns:
        Mean difference of the two accuracies, with the central 95 % of the halvings as limits.
    """
    table = np.asarray(correct, dtype=bool)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"expected (epochs, images) with at least two images, got shape {table.shape}")
    rng, half = np.random.default_rng(seed), table.shape[1] // 2
    gaps = []
    for _ in range(draws):
        order = rng.permutation(table.shape[1])
        chosen_on, kept_apart = table[:, order[:half]].mean(axis=1), table[:, order[half : 2 * half]].mean(axis=1)
        best = chosen_on.argmax()
        gaps.append(chosen_on[best] - kept_apart[best])
    low, high = np.quantile(gaps, [0.025, 0.975])
    return Interval(float(np.mean(gaps)), float(low), float(high), table.shape[1])
