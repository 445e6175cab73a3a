"""Figures of searches and of runs side by side say what the data say, light and dark."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import check_twin, figure_of
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from imgcls import plots
from imgcls.plots import display, theme

TRIALS = pd.DataFrame(
    {
        "number": [2, 0, 1, 3, 4],  # not in order
        "state": ["complete", "complete", "pruned", "complete", "pruned"],
        "reached": [0.5, 0.4, 0.6, 0.8, np.nan],
        "lr": [1e-3, 1e-4, 1e-2, 1e-3, 1e-4],
        "dropout": [0.0, 0.1, 0.25, 0.4, 0.5],
        "filters": [16, 64, 128, 16, 64],
        "batch_norm": [True, False, True, True, False],
        "activation": ["relu", "gelu", "silu", None, "relu"],
    }
)
PARAMETERS = ["lr", "dropout", "batch_norm", "activation"]
SCORES = pd.DataFrame(
    [
        (panel, x, name, value + x / 100, value + x / 100 - 0.05, value + x / 100 + 0.05)
        for panel, names in (("known", ("energy", "traits")), ("unknown", ("traits",)), ("all", ("energy",)))
        for name, value in zip(names, (0.4, 0.6), strict=False)
        for x in (20, 1, 2, 5)  # not in order
    ],
    columns=["panel", "x", "series", "value", "low", "high"],
)
FIGURES = {
    "search_history": lambda: plots.search_history(TRIALS),
    "parallel_coordinates": lambda: plots.parallel_coordinates(TRIALS, PARAMETERS, chosen={"best": 3}, log=["lr"]),
    "importances": lambda: plots.importances(pd.Series({"dropout": 0.25, "lr": 0.75})),
    "curves": lambda: plots.curves(SCORES, "images", lines={"known": {"chance": 0.1}}),
}


def legend(owner):
    return [text.get_text() for text in owner.get_legend().get_texts()]


def line_of(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def trial_lines(figure):
    """The collection of all trials, worst first."""
    return next(c for c in figure.axes[0].collections if isinstance(c, LineCollection) and c.get_array() is not None)


def axis_labels(figure, k):
    """{position: text} of the ticks of one parallel axis."""
    return {round(t.xy[1], 6): t.get_text() for t in figure.axes[0].texts if t.xy[0] == k}


# ------------------------------------------------------------------ every figure


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_dark_twin_and_is_left_as_it_was(name):
    figure, light = check_twin(FIGURES[name])
    if name == "parallel_coordinates":  # the one with a colour map
        assert display.render(figure) == light


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("search_history", lambda: plots.search_history(TRIALS[:0])),
        ("parallel_coordinates", lambda: plots.parallel_coordinates(TRIALS[:0], PARAMETERS)),
        ("parallel_coordinates", lambda: plots.parallel_coordinates(TRIALS, [])),
        ("importances", lambda: plots.importances(pd.Series(dtype=float))),
        ("curves", lambda: plots.curves(SCORES[:0], "x")),
    ],
)
def test_empty_input_is_named(name, draw):
    with pytest.raises(ValueError, match=rf"^{name}: no \w+ to draw; pass at least one"):
        draw()


@pytest.mark.parametrize(
    ("message", "draw"),
    [
        ("search_history: the frame has no column 'state'", lambda: plots.search_history(TRIALS.drop(columns="state"))),
        (
            "parallel_coordinates: the frame has no column 'depth', 'number'",
            lambda: plots.parallel_coordinates(TRIALS.drop(columns="number"), ["lr", "depth"], chosen={"best": 3}),
        ),
        ("curves: the frame has no column 'x'", lambda: plots.curves(SCORES.drop(columns="x"), "x")),
        ("search_history: a trial has the state 'fail'", lambda: plots.search_history(TRIALS.assign(state="fail"))),
        (
            "'best' names trial 9, but the frame has none of that number; its trials go from 0 to 4",
            lambda: plots.parallel_coordinates(TRIALS, PARAMETERS, chosen={"best": 9}),
        ),
        (
            "log names 'rl', which is not drawn; choose from lr, dropout",
            lambda: plots.parallel_coordinates(TRIALS, ["lr", "dropout"], log=["rl"]),
        ),
        (
            "'dropout' is not positive throughout",
            lambda: plots.parallel_coordinates(TRIALS, PARAMETERS, log=["dropout"]),
        ),
        (
            "'activation' is not positive throughout",
            lambda: plots.parallel_coordinates(TRIALS, PARAMETERS, log=["activation"]),
        ),
        ("curves: x contains 'a'; pass numbers", lambda: plots.curves(SCORES.assign(x="a"), "x")),
        (
            "curves: there is no panel 'knwon'; the frame has 'known', 'unknown', 'all'",
            lambda: plots.curves(SCORES, "x", lines={"knwon": {"chance": 0.1}}),
        ),
    ],
)
def test_wrong_input_is_named(message, draw):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize(
    ("message", "draw"),
    [
        ("7 chosen trials, but readers can distinguish 6 colours", lambda many: plots.parallel_coordinates(
            many, ["lr"], chosen={str(i): i for i in range(7)})),
        ("curves: 8 runs, but readers can distinguish 7 colours", lambda many: plots.curves(
            many.assign(panel="p", x=1, series=range(8), value=1, low=1, high=1), "x")),
    ],
)  # fmt: skip
def test_more_series_than_colours_are_refused(message, draw):
    many = pd.DataFrame({"number": range(8), "reached": 0.5, "lr": np.geomspace(1e-4, 1, 8)})
    with pytest.raises(ValueError, match=message):
        draw(many)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.search_history(TRIALS, ax=ax),
        lambda ax: plots.importances(pd.Series({"lr": 1.0}), ax=ax),
    ],
)
def test_panels_go_where_they_are_told(draw):
    ax = Figure().subplots()
    assert draw(ax) is ax
    assert isinstance(draw(None), Axes)


# ------------------------------------------------------------------ the trials of a search


def test_search_history_runs_on_with_the_best_of_complete_and_pruned_trials():
    ax = plots.search_history(TRIALS)
    best = line_of(ax, "best so far")
    assert best.get_xdata().tolist() == [0, 1, 2, 3, 4]
    assert best.get_ydata().tolist() == [0.4, 0.6, 0.6, 0.8, 0.8]  # trial 1 was pruned, trial 4 saw nothing
    assert best.get_drawstyle() == "steps-post"
    complete, pruned = line_of(ax, "complete (3)"), line_of(ax, "pruned (2)")
    assert (complete.get_xdata().tolist(), complete.get_ydata().tolist()) == ([0, 2, 3], [0.4, 0.5, 0.8])
    assert (pruned.get_xdata()[0], pruned.get_ydata()[0], pruned.get_marker()) == (1, 0.6, "x")
    assert legend(ax) == ["complete (3)", "pruned (2)", "best so far"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("trial", "validation accuracy")
    assert legend(plots.search_history(TRIALS[:1])) == ["complete (1)", "best so far"]


def test_parallel_coordinates_put_each_value_at_its_place():
    figure = plots.parallel_coordinates(TRIALS, PARAMETERS, log=["lr"])
    drawn = {
        round(path[-1, 1], 6): path[:, 1] for path in [p.vertices for p in trial_lines(figure).get_paths()][1:]
    }  # but the one of NaN
    # reached: 0.4 … 0.8 on an axis from 40 % to 80 %; lr: three decades' ends; dropout: 0 … 0.5
    expected = {
        0.0: [0, 0.2, 0, 0, 0],  # trial 0: 1e-4, 0.1, False, gelu
        0.25: [0.5, 0, 1, 0.5, 0.25],  # trial 2: 1e-3, 0, True, relu
        0.5: [1, 0.5, 1, 1, 0.5],  # trial 1: 1e-2, 0.25, True, silu
        1.0: [0.5, 0.8, 1, np.nan, 1],  # trial 3 has no activation: its line breaks there
    }
    assert drawn.keys() == expected.keys()
    for reached, path in expected.items():
        assert np.allclose(drawn[reached], path, equal_nan=True)
    assert axis_labels(figure, 0) == {0: "1e-4", 0.5: "0.001", 1: "0.01"}
    assert axis_labels(figure, 2) == {0: "False", 1: "True"}
    assert axis_labels(figure, 3) == {0: "gelu", 0.5: "relu", 1: "silu"}
    assert axis_labels(figure, 4)[1] == "80 %"
    names = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]
    assert names == ["lr", "dropout", "batch norm", "activation", "validation accuracy"]


def test_numbers_of_a_few_choices_are_spread_evenly():
    many = pd.DataFrame({"filters": [16, 32, 128] * 4, "units": range(100, 1300, 100), "reached": 0.5})
    figure = plots.parallel_coordinates(many, ["filters", "units"])
    assert axis_labels(figure, 0) == {0: "16", 0.5: "32", 1: "128"}
    assert axis_labels(figure, 1)[1] == "1200"
    ordered = many.assign(size=pd.Categorical(["small", "large", "small"] * 4, ["small", "medium", "large"]))
    assert axis_labels(plots.parallel_coordinates(ordered, ["size"]), 0) == {0: "small", 1: "large"}


def test_pruned_trials_are_dashed_and_the_best_line_is_the_strongest():
    figure = plots.parallel_coordinates(TRIALS, PARAMETERS)
    lines = trial_lines(figure)
    dashed = [pattern is not None for _, pattern in lines.get_linestyle()]
    assert dashed == [True, False, False, True, False]  # by accuracy: trial 4 (NaN), 0, 2, 1, 3
    assert np.argsort(lines.get_array(), kind="stable").tolist() == [0, 1, 2, 3, 4]
    assert lines.get_array()[-1] == 1
    assert legend(figure.axes[0]) == ["complete", "pruned"]
    assert figure_of(plots.parallel_coordinates(TRIALS.drop(columns="state"), PARAMETERS)).axes[0].get_legend() is None


def test_chosen_trials_lie_on_their_lines_with_a_marker_at_each_axis():
    chosen = {"by validation": 3, "by training loss": 1, "by chance": 1}
    figure = plots.parallel_coordinates(TRIALS, PARAMETERS, chosen=chosen, log=["lr"])
    [ax] = figure.axes
    assert legend(ax)[:2] == ["by validation", "by training loss, by chance"]
    first, second = line_of(ax, "by validation"), line_of(ax, "by training loss, by chance")
    assert np.allclose(second.get_ydata(), [1, 0.5, 1, 1, 0.5])
    assert np.allclose(first.get_ydata(), [0.5, 0.8, 1, np.nan, 1], equal_nan=True)
    assert first.get_color() != second.get_color()
    assert {first.get_marker(), second.get_marker()} == {"s", "D"}
    assert first.get_linewidth() > second.get_linewidth() > 1.5


def test_names_of_eight_axes_do_not_collide():
    names = ["learning_rate", "weight_decay", "batch_normalization", "dropout_after_each_block"]
    names += ["activation_function", "filters_of_the_first_layer", "dense_units"]
    draws = np.random.default_rng(0)
    many = pd.DataFrame(draws.random((24, len(names))), columns=names).assign(reached=draws.random(24))
    figure = plots.parallel_coordinates(many, names)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert boxes[0].x0 >= 0
    assert boxes[-1].x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (64, "64"),
        (0.001, "0.001"),
        (1e-4, "1e-4"),
        (5.04e-5, "5.04e-5"),
        (1e-10, "1e-10"),
        (2.5e6, "2.5e6"),
        (0.0, "0"),
        (0.1234, "0.123"),
        (True, "True"),
        ("1e+05", "1e+05"),
        ((3, 3), "(3, 3)"),
    ],
)
def test_numbers_are_written_short(value, text):
    assert theme.short_number(value) == text


def test_a_wide_log_axis_names_its_ends_and_powers_of_ten():
    trials = pd.DataFrame({"reached": [0.1, 0.2, 0.3], "wide": [3e-6, 4e-2, 1e-3], "narrow": [0.1, 0.3, 0.5]})
    figure = plots.parallel_coordinates(trials, ["wide", "narrow"], log=["wide", "narrow"])
    ticks = axis_labels(figure, 0)
    assert list(ticks.values()) == ["2e-6", "1e-5", "1e-4", "0.001", "0.01", "0.05"]
    assert np.isclose({text: place for place, text in ticks.items()}["1e-4"], np.log(50) / np.log(25_000), atol=1e-6)
    assert list(axis_labels(figure, 1).values()) == ["0.1", "0.2", "0.5"]
    positions = [path.vertices[1, 1] for path in trial_lines(figure).get_paths()]
    assert np.allclose(positions, np.log([1, 3, 5]) / np.log(5))


def test_importances_are_sorted_and_written_in_per_cent():
    shares = pd.Series({"dropout": 0.2, "lr": 0.757, "init": np.nan, "weight_decay": 0.001, "seed": 0.0})
    ax = plots.importances(shares)
    assert [bar.get_width() for bar in ax.patches] == [0.757, 0.2, 0.001, 0, 0]
    assert [t.get_text() for t in ax.texts] == ["76 %", "20 %", "< 1 %", "0 %", "unknown"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["lr", "dropout", "weight decay", "seed", "init"]
    assert ax.yaxis_inverted()  # the first on top


def test_curves_draw_each_series_in_its_panels_over_its_band():
    figure = plots.curves(SCORES, "images", ylabels={"unknown": "AUROC"}, lines={"known": {"chance": 0.1}})
    known, unknown, every, spare = figure.axes
    assert [ax.get_title(loc="left") for ax in (known, unknown, every)] == ["known", "unknown", "all"]
    assert (known.get_ylabel(), unknown.get_ylabel(), known.get_xlabel()) == ("", "AUROC", "images")
    assert not spare.axison
    energy, traits, level = known.lines
    assert energy.get_xdata().tolist() == [1, 2, 5, 20]
    assert np.allclose(energy.get_ydata(), [0.41, 0.42, 0.45, 0.6])
    corners = known.collections[0].get_paths()[0].vertices
    assert {(1.0, 0.36), (20.0, 0.65)} <= set(map(tuple, corners.round(6)))
    looks = [(line.get_color(), line.get_marker()) for line in (traits, unknown.lines[0], energy, every.lines[0])]
    assert looks[0] == looks[1] != looks[2] == looks[3]
    assert level.is_dashed()
    assert set(level.get_ydata()) == {0.1}
    assert known.get_ylim()[0] < 0.1
    assert [t.get_text() for t in known.texts] == ["chance"]
    [keys] = figure.legends
    assert [t.get_text() for t in keys.get_texts()] == ["energy", "traits"]


def test_ticks_of_curves_stand_at_the_values_and_their_numbers_apart():
    close = SCORES[SCORES["panel"] == "known"].replace({"x": {20: 200}})
    figure = plots.curves(close, "images")
    [ax] = figure.axes
    assert ax.get_xticks().tolist() == [1, 2, 5, 200]
    figure.draw_without_rendering()
    written = [label for label in ax.get_xticklabels() if label.get_text()]
    assert [written[0].get_text(), written[-1].get_text()] == ["1", "200"]
    assert len(written) < 4
    boxes = [label.get_window_extent() for label in written]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_the_name_of_a_level_keeps_clear_of_the_curves():
    rising = pd.DataFrame({"panel": "p", "x": [1, 2, 3], "series": "s", "value": [0.2, 0.3, 0.9]})
    rising = rising.assign(low=rising["value"], high=rising["value"])
    figure = plots.curves(rising, "x", lines={"p": {"published result": 0.92, "chance": 0.19}})
    figure.draw_without_rendering()
    [ax] = figure.axes
    corners = ax.transData.transform(ax.lines[0].get_xydata())
    xs = np.linspace(corners[0, 0], corners[-1, 0], 500)
    ys = np.interp(xs, *corners.T)
    for text in ax.texts:
        box = text.get_window_extent()
        assert not ((box.x0 < xs) & (xs < box.x1) & (box.y0 < ys) & (ys < box.y1)).any(), text.get_text()
