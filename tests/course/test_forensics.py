"""What printed numbers imply: confusion matrices, sample sizes, and the optimism of a chosen epoch."""

import numpy as np
import pytest

from course.forensics import (
    matching_confusions,
    possible_sample_sizes,
    predictions_from_confusion,
    selection_optimism,
)


def test_printed_scores_determine_the_confusion_matrix():
    """CASES 01: only [[100, 0], [60, 40]] and its mirror image give 70, 81, 70 and 67 per cent."""
    tables = matching_confusions(70, 81, 70, 67, each=100)
    assert tables.tolist() == [[[40, 60], [0, 100]], [[100, 0], [60, 40]]]
    for table in matching_confusions(60, 61, 60, 59, each=10):
        found = predictions_from_confusion(table, ("a", "b"))
        scores = [found.accuracy, *found.macro().values()]
        assert [abs(100 * x - y) <= 0.5 for x, y in zip(scores, (60, 61, 60, 59), strict=True)] == [True] * 4
    assert len(matching_confusions(50, 90, 50, 10, each=10)) == 0


def test_predictions_from_a_confusion_matrix_have_that_matrix():
    confusion = np.array([[5, 1, 0], [2, 0, 3], [0, 0, 7]])
    assert predictions_from_confusion(confusion, ("a", "b", "c")).confusion().tolist() == confusion.tolist()
    with pytest.raises(ValueError, match="as many rows and columns of counts"):
        predictions_from_confusion(np.ones((2, 3), dtype=int), ("a", "b"))


def test_printed_shares_determine_the_number_of_images():
    shares = [f"{k / 91:.3f}".removeprefix("0") for k in (7, 33, 52, 60, 80)]
    assert possible_sample_sizes(shares, most=100) == [91]
    assert 182 in possible_sample_sizes(shares, most=200)  # twice as many could always be
    assert possible_sample_sizes([".5", "0.5"], most=5) == [2, 4]  # of five images, two are 0.4 and three are 0.6
    assert possible_sample_sizes(["0.333", "0.333333"], most=9) == [3, 6, 9]


def test_printed_means_over_batches_allow_other_numbers_of_images():
    """CASES 03: 336 images if the accuracies are shares of one count; 78, 91 or 92 if batches of 32 were averaged."""
    printed = [".759", ".464", ".804", ".818", ".768", ".801", ".714", ".357", ".607", ".7589"]
    assert possible_sample_sizes(printed)[0] == 336
    assert possible_sample_sizes(printed, most=100, batch_size=32) == [78, 91, 92]
    assert 3 in possible_sample_sizes(["0.75"], most=4, batch_size=2)  # batches of 2 and of 1, the mean of 0.5 and 1


def test_selection_optimism_is_zero_for_one_epoch_and_positive_for_many_equals():
    rng = np.random.default_rng(0)
    one = rng.random((1, 400)) < 0.8
    many = rng.random((50, 400)) < 0.8  # fifty epochs that are equally good in truth
    assert abs(selection_optimism(one).value) < 0.005
    # the largest of fifty normal draws lies 2.25 standard deviations up; each half has 200 images
    expected = 2.25 * np.sqrt(0.8 * 0.2 / 200)
    assert selection_optimism(many).value == pytest.approx(expected, rel=0.25)
    with pytest.raises(ValueError, match="shape"):
        selection_optimism([True, False])
