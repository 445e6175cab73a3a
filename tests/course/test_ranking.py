"""Threshold and ranking kept apart, ablations over seeds, and confusions near a printed one."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import MeanColour

from course import plots
from course.corrections import corrections, corrections_table
from course.diagnostics import PartlyNormalized
from course.forensics import nearest_confusions, nearest_text
from course.mistakes import overwritten_split, without_normalization
from course.ranking import auroc, best_threshold_accuracy, log_odds, roc_curve, threshold_text
from imgcls.data import load
from imgcls.evaluation import Predictions, predict
from imgcls.evaluation.statistics import paired_over_seeds
from imgcls.models import Normalize


def two_classes(seed, gap=1.5, shift=0.0, each=100):
    """Predictions whose log-odds are normal with one class higher by `gap`, all moved by `shift`."""
    labels = torch.arange(2 * each) // each
    odds = torch.randn(2 * each, generator=torch.Generator().manual_seed(seed)) + gap * (labels - 0.5) + shift
    return Predictions(torch.stack([torch.zeros(2 * each), odds], dim=1), labels, ("fox", "elephant"))


def test_auroc_is_the_share_of_ordered_pairs_and_a_shift_keeps_it():
    one, shifted = two_classes(0), two_classes(0, shift=-3)
    odds = log_odds(one)
    pairs = (odds[one.labels == 1][:, None] > odds[one.labels == 0]).float().mean()
    assert auroc(one) == pytest.approx(float(pairs))
    assert auroc(shifted) == pytest.approx(auroc(one))
    assert shifted.accuracy < 0.6 < one.accuracy
    assert best_threshold_accuracy(shifted) == pytest.approx(best_threshold_accuracy(one))
    first, second = roc_curve(one)
    assert np.trapezoid(second, first) == pytest.approx(auroc(one))


def test_log_odds_need_two_classes():
    three = Predictions(torch.zeros(3, 3), torch.arange(3), ("a", "b", "c"))
    with pytest.raises(ValueError, match="two classes, not 3"):
        log_odds(three)


def test_corrections_are_compared_with_the_row_above_or_with_a_reference():
    steps = {name: [two_classes(seed, gap) for seed in range(3)] for name, gap in (("a", 0.5), ("b", 3), ("c", 3.1))}
    table = corrections(steps).set_index("rung")
    assert table["verdict"].tolist()[1:] == ["better", "inconclusive"]
    gain = paired_over_seeds(*(np.stack([one.correct.numpy() for one in steps[name]]) for name in "ab"))
    assert table.loc["b", ["gain", "gain_low", "gain_high"]].tolist() == [gain.value, gain.low, gain.high]
    assert table.loc["b", "auroc"] == pytest.approx(np.mean([auroc(one) for one in steps["b"]]))
    against = corrections(steps, reference="b").set_index("rung")
    assert against.loc[["a", "c"], "verdict"].tolist() == ["worse", "inconclusive"]
    text = corrections_table(table.reset_index())
    assert text["gain (points)"].iloc[0] == text["verdict"].iloc[0] == "–"
    with pytest.raises(ValueError, match="no step 'z'"):
        corrections(steps, reference="z")


def test_the_nearest_confusion_is_found_in_either_order_of_the_classes():
    bad_threshold = two_classes(0, gap=3, shift=-1.75)  # few elephants are above the boundary
    found = nearest_confusions({(1, 0.5): two_classes(1), (2, 1.0): bad_threshold}, ("run", "missing"), (1.0, 0.4))
    assert found["run"].tolist() == [2, 1]
    recalls = bad_threshold.confusion(normalize=True).diagonal()
    assert found.loc[0, ["first", "second"]].tolist() == pytest.approx(recalls.tolist())
    assert found["distance"].iloc[0] == pytest.approx(abs(recalls - [1, 0.4]).sum())
    assert not found["exact"].any()
    assert nearest_confusions({(2, 1.0): bad_threshold}, ("run", "missing"), recalls.tolist())["exact"].all()
    mirrored = nearest_confusions({(2, 1.0): bad_threshold}, ("run", "missing"), (0.4, 1.0))
    assert mirrored["distance"].iloc[0] == found["distance"].iloc[0]


@pytest.mark.parametrize(
    ("row", "head", "end"),
    [
        ([0.5, 0.37, 1.0, False], "None of 2 settings (seed, epoch, missing share) gives", "possible, but not proven."),
        ([0.0, 0.37, 1.0, False], "None of 2 settings (seed, epoch, missing share) gives", "no sign of a missing"),
        ([1.0, 1.0, 0.4, True], "1 of 2 settings (seed, epoch, missing share) gives", "possible, but not proven."),
    ],
)
def test_the_nearest_setting_shows_that_a_missing_normalisation_is_possible(row, head, end):
    near = pd.DataFrame([row, [0.1, 0.5, 0.5, False]], columns=["missing", "first", "second", "exact"])
    text = nearest_text(near)
    assert text.startswith(f"{head} these two recalls.")
    assert f"has {100 * row[0]:.0f} % of the normalisation missing and recalls of 100 % and" in text
    assert end in text


@pytest.mark.parametrize(
    ("normalised", "unnormalised", "part"),
    [
        ((0.0, 0.0, 0.0), (-3.0, -3.1, -2.9), "So a part of the"),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), "is inconclusive."),
        ((0.0, 0.0, 0.0), (-3.0, 0.0, 0.1), "is inconclusive."),
        ((-3.0, -3.1, -2.9), (0.0, 0.0, 0.0), "are not due to the missing normalisation."),
    ],
)
def test_the_gain_of_the_best_threshold_is_compared_with_that_of_normalised_images(normalised, unnormalised, part):
    runs = [[two_classes(seed, shift=x) for seed, x in enumerate(shifts)] for shifts in (normalised, unnormalised)]
    text = threshold_text(*runs)
    assert part in text
    gains = [best_threshold_accuracy(one) - one.balanced_accuracy.value for one in runs[1]]
    assert f"would give {100 * np.mean(gains):.1f} points without normalisation" in text


def test_a_part_of_the_normalisation_is_missing_after_each_epoch(tiny):
    train, _ = tiny
    model = MeanColour()
    model.normalize = Normalize(3).fit(train.images)
    pixels = train.images.float() / 255
    half = model.normalize(without_normalization(model, 0.5)(train.images))
    assert torch.allclose(half, (pixels + model.normalize(pixels)) / 2, atol=1e-4)
    assert torch.equal(without_normalization(model, 0.0)(train.images), pixels)
    partly = PartlyNormalized(train, missing=(0.0, 1.0))
    for epoch in (1, 2, 1):
        partly(model, {"epoch": epoch})
    assert list(partly.predictions) == [(run, e, m) for run, e in ((1, 1), (1, 2), (2, 1)) for m in (0.0, 1.0)]
    assert len(partly.last(1.0)) == 2
    expected = predict(model, train, transform=without_normalization(model))
    assert torch.equal(partly.last(1.0)[0].logits, expected.logits)


def test_the_overwritten_split_holds_all_labelled_images():
    splits = load("menagerie/fox_elephant", image_size=16, train_count=12, val_count=6, test_count=4)
    both = overwritten_split(splits)
    assert len(both) == 18
    assert set(both.names) == {*splits.train.names, *splits.val.names}
    assert torch.equal(both.images[12:], torch.as_tensor(splits.val.images))


def test_the_figure_names_accuracy_and_auroc_of_each_setting():
    figure = plots.threshold_and_ranking({"normalised": two_classes(0), "not normalised": two_classes(0, shift=-2)})
    *panels, roc = figure.axes
    assert [panel.get_title(loc="left").split(":")[0] for panel in panels] == ["normalised", "not normalised"]
    assert f"AUROC {auroc(two_classes(0)):.3f}" in roc.get_legend().get_texts()[0].get_text()
