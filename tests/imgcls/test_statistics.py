import numpy as np
import pytest
from scipy import stats

from imgcls.evaluation.statistics import (
    Interval,
    holm,
    mcnemar,
    over_seeds,
    paired_over_seeds,
    paired_p_over_seeds,
    wilson,
)


def test_wilson_against_its_closed_form():
    correct, n, z = 862, 1000, 1.959963984540054
    p = correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    interval = wilson(correct, n)
    assert (interval.low, interval.high) == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert str(interval) == "86.2 % [83.9, 88.2]"


def test_a_perfect_accuracy_still_has_an_interval():
    interval = wilson(200, 200)
    assert interval.value == 1.0
    assert interval.low == pytest.approx(200 / (200 + 1.959963984540054**2), abs=1e-12)


@pytest.mark.parametrize(("correct", "n"), [(1, 0), (-1, 10), (11, 10)])
def test_wilson_refuses_what_is_not_a_proportion(correct, n):
    with pytest.raises(ValueError, match=f"{correct} of {n}"):
        wilson(correct, n)


def test_wilson_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    p = 0.86
    covered = np.mean([(i := wilson(int(k), 400)).low <= p <= i.high for k in rng.binomial(400, p, 2000)])
    assert 0.93 < covered < 0.97


def test_mcnemar_against_the_binomial_by_hand():
    a = np.array([1] * 50 + [1] * 2 + [0] * 8 + [0] * 40, dtype=bool)
    b = np.array([1] * 50 + [0] * 2 + [1] * 8 + [0] * 40, dtype=bool)
    test = mcnemar(a, b)
    by_hand = 2 * sum([1, 10, 45]) / 2**10  # two-sided: P(X <= 2) for ten fair coins, twice
    assert test.p_value == pytest.approx(by_hand)
    assert (test.only_a, test.only_b) == (2, 8)
    assert test.difference == pytest.approx(0.06)
    assert test.low < 0.06 < test.high
    assert not test.significant


def test_a_paired_test_is_sharper_than_two_intervals():
    right = np.arange(1000) % 10 < 8
    better = right.copy()
    better[np.flatnonzero(~right)[:15]] = True  # the same mistakes less fifteen
    first, second = wilson(right.sum(), 1000), wilson(better.sum(), 1000)
    assert second.low < first.high  # the intervals overlap
    assert mcnemar(right, better).significant


def test_mcnemar_of_equal_models_and_of_unequal_lengths():
    assert mcnemar([True, False], [True, False]).p_value == 1.0
    with pytest.raises(ValueError, match="the same images"):
        mcnemar([True], [True, False])


def test_over_seeds_is_students_interval():
    interval = over_seeds([0.80, 0.82, 0.84])
    half = 4.302652729696142 * 0.02 / np.sqrt(3)  # t quantile of 2 degrees of freedom
    assert interval.value == pytest.approx(0.82)
    assert interval.high - interval.value == pytest.approx(half)
    assert np.isnan(over_seeds([0.5]).low)
    assert over_seeds([0.5]) != Interval(0.5, 0.5, 0.5, 1)


def draws_of_two(rng, seeds, images, gain, seed_sd, image_sd):
    """Runs of a and b whose chance of being right moves with the seed, and with what each image is to b."""
    ease = rng.uniform(0.2, 0.8, images)
    a = ease + np.zeros((seeds, 1))
    b = ease + gain + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, image_sd, images)
    return rng.random((seeds, images)) < a, rng.random((seeds, images)) < b


@pytest.mark.parametrize(("seed_sd", "image_sd"), [(0.0, 0.0), (0.03, 0.0), (0.0, 0.15), (0.02, 0.1)])
def test_a_comparison_over_seeds_covers_the_truth_at_least_as_often_as_it_says(seed_sd, image_sd):
    rng = np.random.default_rng(1)
    found = [paired_over_seeds(*draws_of_two(rng, 3, 300, 0.02, seed_sd, image_sd)) for _ in range(600)]
    covered = np.mean([one.low <= 0.02 <= one.high for one in found])
    assert covered > 0.93
    assert np.mean([one.value for one in found]) == pytest.approx(0.02, abs=0.005)


def test_a_comparison_over_seeds_against_its_formula_by_hand():
    a = np.zeros((2, 4), bool)
    b = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool)
    found = paired_over_seeds(a, b)
    # Means of the seeds .5 .25, of the images 1 .5 0 0; variances of their means:
    seeds, images = 0.03125 / 2, 0.2291666667 / 4
    freedom = (seeds + images) ** 2 / (seeds**2 / 1 + images**2 / 3)
    assert freedom == pytest.approx(3.98, abs=0.01)
    assert found.value == pytest.approx(0.375)
    quantile = stats.t.ppf(0.975, freedom)
    assert found.high - found.value == pytest.approx(quantile * np.sqrt(seeds + images), rel=1e-6)
    assert found.n == 2


def test_a_comparison_over_seeds_needs_seeds_and_the_same_images():
    same = np.ones((2, 5), bool)
    assert paired_over_seeds(same, same) == Interval(0.0, 0.0, 0.0, 2)
    for other in (np.ones((1, 5), bool), np.ones((2, 4), bool), np.ones(5, bool)):
        with pytest.raises(ValueError, match="at least two of both"):
            paired_over_seeds(other, same)
    with pytest.raises(ValueError, match="at least two of both"):
        paired_over_seeds(same[:1], same[:1])


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_the_p_value_over_seeds_is_that_at_which_the_interval_touches_zero(confidence):
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 50)) < 0.5, rng.random((3, 50)) < 0.55
    p = paired_p_over_seeds(a, b)
    touching = paired_over_seeds(a, b, confidence=1 - p)
    assert min(abs(touching.low), abs(touching.high)) == pytest.approx(0, abs=1e-9)
    inside = paired_over_seeds(a, b, confidence)
    assert (p > 1 - confidence) == (inside.low < 0 < inside.high)


def test_the_p_value_over_seeds_of_equal_and_of_always_different_runs():
    same = np.ones((2, 5), bool)
    assert paired_p_over_seeds(same, same) == 1
    assert paired_p_over_seeds(same, ~same) == 0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == pytest.approx([1, 1])
    assert holm([]).size == 0


def test_holm_keeps_the_rate_of_false_verdicts():
    p = np.random.default_rng(0).random((2000, 10))
    assert np.mean(p.min(axis=1) < 0.05) > 0.35
    assert np.mean([holm(row).min() < 0.05 for row in p]) == pytest.approx(0.05, abs=0.015)
