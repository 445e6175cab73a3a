"""Effects of changes over seeds, and tables of open-set detection, counted by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from course import ablation, detection
from course import plots as course_plots
from course.plots.species import principal_plane
from imgcls import openset
from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import mcnemar, paired_over_seeds, wilson

CLASSES = ("a", "b")


def runs(*shares, n=200):
    """Predictions of as many seeds as shares; the first images of each are correct."""
    labels = torch.zeros(n, dtype=torch.long)
    return [
        Predictions(
            torch.eye(2)[(torch.arange(n) >= share * n).long()] * torch.arange(1, n + 1)[:, None], labels, CLASSES
        )
        for share in shares
    ]


METHODS = {"before": runs(0.50, 0.51, 0.52), "much better": runs(0.80, 0.81, 0.82), "the same": runs(0.80, 0.82, 0.81)}
CHANGES = {"first": ("before", "much better"), "second": ("much better", "the same"), "back": ("much better", "before")}


def test_accuracy_over_seeds_is_the_mean_of_the_seeds_and_stays_a_share():
    table = ablation.accuracy_over_seeds(METHODS | {"all": runs(1, 1, 0.99)}).set_index("rung")
    assert table.loc["before", "value"] == pytest.approx(0.51)
    assert table.loc["before", "deviation"] == pytest.approx(0.01)
    assert table.loc["all", "high"] == 1.0
    assert (table["low"] <= table["value"]).all()


def test_an_effect_is_the_paired_difference_and_its_verdict_follows_the_interval():
    table = ablation.effects(METHODS, CHANGES).set_index("change")
    assert table["verdict"].tolist() == ["better", "inconclusive", "worse"]
    hits = [np.stack([one.correct.numpy() for one in METHODS[name]]) for name in ("before", "much better")]
    expected = paired_over_seeds(*hits)
    assert table.loc["first", ["gain", "low", "high", "n"]].tolist() == [expected.value, expected.low, expected.high, 3]
    text = ablation.effects_table(table.reset_index())
    assert text["gain (points)"][0].startswith("+30.0 [+")
    assert ablation.as_points(expected) == text["gain (points)"][0]


def test_unknown_images_are_correct_if_rejected_and_known_ones_if_accepted_and_named():
    correct = torch.tensor([True, True, False, False, False])
    is_unknown = torch.tensor([False, False, False, True, True])
    score = torch.tensor([0.9, 0.1, 0.9, 0.1, 0.9])
    opened = detection.open_set_correct(correct, is_unknown, score, 0.5)
    assert opened.tolist() == [True, False, False, True, False]
    table = detection.open_set_table({"closed": correct, "open": opened}, is_unknown)
    assert table["rule"].tolist() == ["closed", "open"]
    assert table["unknown"][1].startswith("50.0 %")
    assert table["against the row above"].tolist() == ["–", str(mcnemar(correct, opened))]


def test_what_a_threshold_rejects_and_loses_is_counted():
    closed = torch.tensor([True, True, False, False, False, False])
    is_unknown = torch.tensor([False, False, False, True, True, True])
    opened = detection.open_set_correct(closed, is_unknown, torch.tensor([0.9, 0.1, 0.1, 0.1, 0.9, 0.9]), 0.5)
    text = detection.rejection_text(closed, opened, is_unknown)
    assert text.startswith(f"rejects {wilson(1, 3)} of the 3 unknown images")
    assert text.endswith("for the other 66.7 %; 1 of 3 known images lose a correct prediction")


def test_only_a_significant_gain_is_one():
    before, after = torch.arange(100) < 50, torch.arange(100) < 70
    assert detection.significant_gain(before, after) == wilson(70, 100)
    assert detection.significant_gain(after, before) is None
    assert detection.significant_gain(before, before) is None
    assert detection.significant_gain(before, torch.arange(100) < 52) is None


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((-0.1, 0.01), "No other score has a significantly higher AUROC than base; significantly lower: a; "
                       "inconclusive: b (DeLong"),
        ((0.1, 0.2), "Significantly higher AUROC than base: a, b (DeLong"),
        ((0.01, -0.02), "No other score has a significantly higher AUROC than base; inconclusive: a, b (DeLong"),
    ],
)  # fmt: skip
def test_scores_are_better_worse_or_inconclusive_against_the_baseline(gains, expected):
    p_values = [np.nan, *(0.001 if abs(gain) > 0.05 else 0.3 for gain in gains)]
    table = pd.DataFrame({"method": ["base", "a", "b"], "gain": [np.nan, *gains], "p_value": p_values})
    assert detection.against_baseline(table).startswith(expected)


def test_auroc_is_written_as_a_number_from_0_to_1():
    draws = torch.Generator().manual_seed(0)
    is_unknown = torch.arange(200) >= 120
    scores = {name: torch.randn(200, generator=draws) - is_unknown.float() * gap
              for name, gap in (("max softmax", 1), ("energy", 1.5))}  # fmt: skip
    table = openset.detection_table(scores, is_unknown)
    text = detection.detection_text(table)
    assert text["AUROC"][0] == detection.auroc_text(*table.loc[0, ["auroc", "low", "high"]])
    assert text["AUROC"][0].startswith("0.")
    assert text["gain in AUROC"][0] == text["p (DeLong)"][0] == "–"
    assert text["FPR at 95 % TPR"].str.contains("%").all()


def test_the_principal_plane_has_the_directions_of_largest_variance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 6)) * [1, 9, 1, 4, 1, 1] + 3
    mean, directions = principal_plane(features)
    assert np.abs(mean - 3).max() < 1.5
    assert np.abs(directions).argmax(0).tolist() == [1, 3]
    assert directions.T @ directions == pytest.approx(np.eye(2), abs=1e-9)


def test_the_feature_space_shows_every_image_of_both_panels():
    rng = np.random.default_rng(0)
    unknown = np.arange(50) >= 30
    figure = course_plots.feature_space(
        torch.from_numpy(rng.normal(size=(40, 8))), torch.arange(40) % 2, CLASSES, rng.normal(size=(20, 8)),
        rng.normal(size=50), rng.uniform(size=50), unknown,
    )  # fmt: skip
    assert isinstance(figure, Figure)
    left, right = figure.axes
    counts = [len(line.get_xdata()) for line in left.lines]
    assert counts == [20, 1, 20, 1, 20]  # images and mean of each class, then the unknown ones
    assert [len(line.get_xdata()) for line in right.lines] == [30, 20, 2]
    with pytest.raises(ValueError, match="distinguish 7 colours"):
        course_plots.feature_space(
            rng.normal(size=(40, 8)), np.arange(40) % 8, [*"abcdefgh"], rng.normal(size=(20, 8)),
            rng.normal(size=50), rng.uniform(size=50), unknown,
        )  # fmt: skip
