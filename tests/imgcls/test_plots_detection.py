"""Figures of known against unknown show what the arrays say, light and dark."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import check_twin

from imgcls import plots
from imgcls.plots import detection, display

CURVES = {
    "ViM": pd.DataFrame({"unknown_kept": [0.0, 0.1, 1.0], "known_kept": [0.0, 0.9, 1.0]}),
    "max softmax": pd.DataFrame({"unknown_kept": [0.0, 0.4, 1.0], "known_kept": [0.0, 0.7, 1.0]}),
}
TABLE = pd.DataFrame({"method": ["max softmax", "ViM"], "auroc": [0.65, 0.9], "low": [0.6, 0.88], "high": [0.7, 0.92]})
UNKNOWN = np.arange(100) >= 60
SCORES = {"max softmax": np.linspace(1, 0, 100), "ViM": torch.linspace(5, -5, 100), "KNN": np.linspace(-1, -9, 100)}
THRESHOLDS = {"max softmax": 0.5, "ViM": -4.0}
FIGURES = {
    "detection_curves": lambda: detection.detection_curves(CURVES, TABLE),
    "score_histograms": lambda: detection.score_histograms(SCORES, UNKNOWN, THRESHOLDS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_dark_twin_and_is_left_as_it_was(name):
    figure, light = check_twin(FIGURES[name])
    assert display.render(figure) == light


def test_the_baseline_comes_first_and_is_the_thickest_whatever_the_order():
    ax = detection.detection_curves(CURVES, TABLE)
    keys = [text.get_text() for text in ax.get_legend().get_texts()]
    assert keys == [
        "max softmax\n0.650 [0.600, 0.700]", "ViM\n0.900 [0.880, 0.920]", "chance", "95 % of known accepted"
    ]  # fmt: skip
    baseline, other, *_ = ax.lines
    assert np.array_equal(baseline.get_xydata(), CURVES["max softmax"][["unknown_kept", "known_kept"]])
    assert np.array_equal(other.get_xydata(), CURVES["ViM"][["unknown_kept", "known_kept"]])
    assert baseline.get_linewidth() > 1.5 * other.get_linewidth()
    assert baseline.get_color() == plots.LIGHT["ink"]
    assert [line.get_color() for line in ax.get_legend().get_lines()[:2]] == [plots.LIGHT["ink"], plots.LIGHT["blue"]]
    assert ax.lines[-1].get_ydata()[0] == 0.95


def test_histograms_sum_to_one_and_write_what_the_threshold_accepts():
    figure = detection.score_histograms(SCORES, UNKNOWN, THRESHOLDS)
    panels = dict(zip(SCORES, figure.axes, strict=False))
    for name, ax in panels.items():
        known, _, unknown, _ = ax.patches  # filled, then its outline
        values = np.asarray(SCORES[name], float)
        for stairs, part in ((known, ~UNKNOWN), (unknown, UNKNOWN)):
            shares, edges, _ = stairs.get_data()
            assert shares.sum() == pytest.approx(1)
            middle = (shares * (edges[1:] + edges[:-1]) / 2).sum()
            assert middle == pytest.approx(values[part].mean(), abs=0.02 * np.ptp(values))
    texts = {name: [text.get_text() for text in ax.texts] for name, ax in panels.items()}
    assert texts["max softmax"] == ["accepted: 83 % of known,\n0 % of unknown"]  # 50 of 60, 0 of 40
    assert texts["ViM"] == ["accepted: 100 % of known,\n75 % of unknown"]
    assert texts["KNN"] == []
    assert panels["ViM"].lines[0].get_xdata()[0] == -4.0
    assert not figure.axes[3].axison


def test_a_constant_score_and_far_outliers_are_drawn_too():
    flat = detection.score_histograms({"flat": np.ones(100)}, UNKNOWN, {"flat": 1.0})
    assert flat.axes[0].texts[0].get_text() == "accepted: 100 % of known,\n100 % of unknown"
    far = detection.score_histograms({"far": np.append(np.linspace(0, 1, 999), -1e6)}, np.arange(1000) >= 900)
    shares, edges, _ = far.axes[0].patches[2].get_data()
    assert edges[0] > -1
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("message", "draw"),
    [
        ("detection_curves: no curves to draw", lambda: detection.detection_curves({}, TABLE)),
        (
            "detection_curves: no curve of 'max softmax'; there are 'ViM'",
            lambda: detection.detection_curves({"ViM": CURVES["ViM"]}, TABLE),
        ),
        ("the table has no row of 'ViM'", lambda: detection.detection_curves(CURVES, TABLE[:1])),
        ("no column 'auroc'", lambda: detection.detection_curves(CURVES, TABLE.drop(columns="auroc"))),
        ("score_histograms: no scores to draw", lambda: detection.score_histograms({}, UNKNOWN)),
        (
            "0 of 100 images are unknown; pass some of each",
            lambda: detection.score_histograms(SCORES, np.zeros(100, bool)),
        ),
        (
            "a threshold of 'energy', which is not drawn",
            lambda: detection.score_histograms(SCORES, UNKNOWN, {"energy": 1.0}),
        ),
        (r"'ViM' has shape \(99,\)", lambda: detection.score_histograms({"ViM": np.ones(99)}, UNKNOWN)),
    ],
)
def test_wrong_input_is_named(message, draw):
    with pytest.raises(ValueError, match=message):
        draw()
