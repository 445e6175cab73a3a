"""Figures of the course say what the data say, light and dark."""

import math
import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import check_twin
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from course import plots
from course.plots.explanations import gradient_picture
from course.plots.landscape import neighbours
from course.plots.optimizers import CURVATURE, START, step_spectra, valley_paths
from imgcls.plots import display, theme

NAMES = ("german shepherd", "humpback whale", "siamese cat", "spider monkey", "hippopotamus")
RUNGS = pd.DataFrame(
    {"rung": ["baseline", "+ batch norm"], "value": [0.4, 0.8], "low": [0.38, 0.78], "high": [0.42, 0.82]}
    | {"claimed": [np.nan, 0.78], "as_published": [0.1, np.nan]}
)
ELSEWHERE = pd.DataFrame(
    {"name": ["time unknown", "a faster one"], "seconds": [math.nan, 40.0], "accuracy": [0.86, 0.91]}
)
TRIALS = pd.DataFrame(
    {
        "name": ["start", "a good idea", "a doubtful idea", "a bad idea"],
        "gain": [math.nan, 0.031, 0.004, -0.02],
        "low": [math.nan, 0.012, -0.009, -0.03],
        "high": [math.nan, 0.05, 0.017, -0.01],
        "kept": [True, True, False, False],
    }
)
TIMES = pd.DataFrame(
    {"name": ["a", "b", "c"], "seconds": [30, 200, 90], "accuracy": [0.5, 0.9, 0.4], "low": [0.4, 0.8, 0.3]}
    | {"high": [0.6, 0.95, 0.5]}
)
COSTS = pd.DataFrame(
    {"what": ["blue and red swapped", "nothing"], "value": [0.7, 0.85], "low": [0.68, 0.84], "high": [0.72, 0.86]}
    | {"reference": [0.85, 0.85]}
)
SCORES_OF_CONTROLS = pd.DataFrame(
    [
        (control, setting, method, value, value - 0.05, value + 0.05)
        for control, settings in (("image_size", ("32", "64")), ("clutter", ("0", "0.5", "1")))
        for setting in settings
        for method, value in (("network", 0.7), ("colours", 0.4))
    ],
    columns=["control", "setting", "method", "value", "low", "high"],
)
SPEED = {
    "probe": pd.DataFrame({"seconds": [0.1, 0.1], "val_accuracy": [0.7, 0.8], "before": 0.5}),
    "network": pd.DataFrame({"seconds": [20.0, 20.0, 20.0], "val_accuracy": [0.3, np.nan, 0.9]}),
}

VERDICTS = pd.DataFrame(
    {"statement": ["deeper is better", "wider is better", "ReLU beats GELU"], "gain": [0.031, -0.02, 0.004]}
    | {"low": [0.012, -0.03, -0.009], "high": [0.05, -0.01, 0.017]}
    | {"verdict": ["supported", "contradicted", "inconclusive"]}
)
PARTS = pd.DataFrame(
    [
        ("cat", "head", 0.30, 0.25, 0.35, 0.10, 3.0),
        ("cat", "leg", 0.05, 0.02, 0.08, 0.10, 0.5),
        ("cat", "background", 0.65, 0.6, 0.7, 0.8, 0.8),
        ("dog", "leg", 0.60, 0.5, 0.7, 0.2, 3.0),
        ("dog", "background", 0.40, 0.3, 0.5, 0.8, 0.5),
    ],
    columns=["class", "part", "energy", "energy_low", "energy_high", "area", "density"],
)
SCORES = pd.DataFrame(
    {"method": ["centre", "grad_cam", "edges", "layer_cam"]}
    | {"pointing": [0.6, 0.8, 0.5, 0.7], "pointing_low": [0.5, 0.7, 0.4, 0.6], "pointing_high": [0.7, 0.9, 0.6, 0.8]}
    | {"road": [np.nan, 0.2, 0.1, 0.3], "road_low": [np.nan, 0.1, 0, 0.2], "road_high": [np.nan, 0.3, 0.2, 0.4]}
)

METHODS = pd.DataFrame(
    {"name": ["nothing", "class weights", "plateau"], "gain": [np.nan, 0.1, -0.01]}
    | {"gain_low": [np.nan, 0.05, -0.03], "gain_high": [np.nan, 0.15, 0.01]}
    | {"verdict": [None, "better", "inconclusive"]}
)
GRADIENT = torch.diag(0.5 ** torch.arange(8.0)).repeat(1, 3)  # singular values halve from one to the next


FIGURES = {
    "ladder": lambda: plots.ladder(RUNGS),
    "accuracy_against_seconds": lambda: plots.accuracy_against_seconds(TIMES),
    "accuracy_against_published": lambda: plots.accuracy_against_seconds(TIMES, ELSEWHERE),
    "gains": lambda: plots.gains(TRIALS),
    "learning_speed": lambda: plots.learning_speed(SPEED),
    "mistakes": lambda: plots.mistakes(COSTS),
    "controls": lambda: plots.controls(SCORES_OF_CONTROLS, chance=0.1, xlabel="setting"),
    "part_bars": lambda: plots.part_bars(PARTS),
    "explanation_scores": lambda: plots.explanation_scores(SCORES),
    "verdicts": lambda: plots.verdicts(VERDICTS),
    "method_gains": lambda: plots.method_gains(METHODS, "gain (points)"),
    "optimizer_steps": lambda: plots.optimizer_steps(GRADIENT.view(8, 6, 2, 2)),
}
SHEETS = {
    "part_maps": lambda: plots.part_maps(pictures(3), torch.arange(3 * 256).view(3, 16, 16) % 6, NAMES),
    "landscape": lambda: plots.landscape(pictures(10), list("abcdefghij"), torch.rand(10, 4), columns=4),
    "guided_grid": lambda: plots.guided_grid(pictures(), torch.randn(6, 3, 16, 16), patches()),
    "gradient_rows": lambda: plots.gradient_rows(pictures(), {"plain": torch.randn(6, 3, 16, 16)}),
}


def pictures(n=6, size=16):
    return (torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)


def patches(box=(2, 4, 12, 16)):
    units = pd.DataFrame({"unit": [5, 5, 5, 9, 9, 9], "rank": [1, 2, 3] * 2, "image": range(6)})
    return units.assign(**dict(zip(("top", "left", "bottom", "right"), box, strict=True)))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def shown(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].get_images()]


def legend(owner):
    return [text.get_text() for text in owner.get_legend().get_texts()]


def line_of(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


# ------------------------------------------------------------------ every figure


@pytest.mark.parametrize("name", FIGURES)
def test_every_chart_has_a_dark_twin_and_is_left_as_it_was(name):
    figure, light = check_twin(FIGURES[name])
    assert display.render(figure) == light
    with_time = any(ax.get_xlabel() == theme.TIME_AXIS for ax in figure.axes)
    assert with_time == name.startswith(("accuracy_against", "learning_speed"))


def test_method_gains_are_filled_where_the_interval_excludes_zero():
    ax = plots.method_gains(METHODS, "gain (points)")
    filled, hollow = (line_of(ax, label) for label in ("interval excludes zero", "inconclusive"))
    assert (filled.get_xdata().tolist(), hollow.get_xdata().tolist()) == ([10.0], [-1.0])
    assert hollow.get_markerfacecolor() == "none"
    assert texts(ax) == ["+10.0  [+5.0, +15.0]", "−1.0  [−3.0, +1.0]"]
    with pytest.raises(ValueError, match="methods with a gain"):
        plots.method_gains(METHODS.iloc[:1], "")


@pytest.mark.parametrize("name", SHEETS)
def test_every_grid_is_drawn_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = SHEETS[name]()
        display.render(figure)
    assert figure.get_figwidth() <= theme.WIDTH + 1e-6


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("ladder", lambda: plots.ladder(RUNGS[:0])),
        ("accuracy_against_seconds", lambda: plots.accuracy_against_seconds(TIMES[:0])),
        ("gains", lambda: plots.gains(TRIALS[:1])),
        ("mistakes", lambda: plots.mistakes(COSTS[:0])),
        ("controls", lambda: plots.controls(SCORES_OF_CONTROLS[:0])),
        ("part_maps", lambda: plots.part_maps(pictures(0), torch.zeros(0, 16, 16), NAMES)),
        ("landscape", lambda: plots.landscape(pictures(0), [], torch.rand(0, 4), columns=4)),
        ("learning_speed", lambda: plots.learning_speed({})),
        ("learning_speed", lambda: plots.learning_speed({"a": SPEED["probe"][:0]})),
        ("explanation_scores", lambda: plots.explanation_scores(SCORES[:0])),
    ],
)
def test_empty_input_is_named(name, draw):
    with pytest.raises(ValueError, match=rf"^{name}: no \w+ to draw; pass at least one"):
        draw()


@pytest.mark.parametrize(
    ("message", "draw"),
    [
        ("ladder: the frame has no column 'low', 'high'", lambda: plots.ladder(RUNGS[["rung", "value"]])),
        (
            "learning_speed: the frame has no column 'seconds'",
            lambda: plots.learning_speed({"a": SPEED["probe"].drop(columns="seconds")}),
        ),
        (
            "learning_speed: an epoch of 'a' ends after 0 s",
            lambda: plots.learning_speed({"a": SPEED["network"].assign(seconds=0.0)}),
        ),
        (
            "learning_speed: 8 runs, but readers can distinguish 7 colours",
            lambda: plots.learning_speed({str(i): SPEED["probe"] for i in range(8)}),
        ),
        (
            r"one entry for each of the 6 rows of patches; take images\[patches\['image'\]\]",
            lambda: plots.guided_grid(pictures(5), torch.randn(6, 3, 16, 16), patches()),
        ),
        (
            "no column 'unit'",
            lambda: plots.guided_grid(pictures(), torch.randn(6, 3, 16, 16), patches().drop(columns="unit")),
        ),
        ("no column 'area'", lambda: plots.part_bars(PARTS.drop(columns="area"))),
        (
            "none of the columns pointing, energy, iou, road",
            lambda: plots.explanation_scores(SCORES[["method"]]),
        ),
        ("no column 'road_high'", lambda: plots.explanation_scores(SCORES.drop(columns="road_high"))),
    ],
)
def test_wrong_input_is_named(message, draw):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.ladder(RUNGS, ax=ax),
        lambda ax: plots.mistakes(COSTS, ax=ax),
        lambda ax: plots.gains(TRIALS, ax=ax),
        lambda ax: plots.accuracy_against_seconds(TIMES, ax=ax),
        lambda ax: plots.learning_speed(SPEED, ax=ax),
    ],
)
def test_panels_go_where_they_are_told(draw):
    ax = Figure().subplots()
    assert draw(ax) is ax
    assert isinstance(draw(None), Axes)


# ------------------------------------------------------------------ what each figure draws


def test_runs_of_less_than_a_second_have_an_axis_too():
    models = pd.DataFrame(
        {"name": ["a", "b"], "seconds": [0.21, 0.34], "accuracy": [0.1, 0.2], "low": 0.05, "high": 0.3}
    )
    labels = [label.get_text() for label in plots.accuracy_against_seconds(models).get_xticklabels()]
    assert labels == ["0.2 s", "0.3 s"]


def test_ladder_keeps_the_order_and_leaves_out_what_is_not_there():
    ax = plots.ladder(RUNGS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["baseline", "+ batch norm"]
    assert ax.yaxis_inverted()
    assert [t.get_text() for t in ax.texts] == ["40.0 %  [38.0, 42.0]", "80.0 %  [78.0, 82.0]"]
    claimed = next(line for line in ax.lines if line.get_label() == "claimed")
    assert (claimed.get_marker(), claimed.get_markerfacecolor()) == ("D", "none")
    bare = plots.ladder(RUNGS.drop(columns=["claimed"]).assign(as_published=np.nan))
    assert [t.get_text() for t in bare.get_legend().get_texts()] == ["measured here"]


def test_runs_of_nearly_the_same_length_have_more_than_one_tick():
    alike = TIMES.iloc[:2].assign(seconds=[3.1, 6.2])
    labels = [label.get_text() for label in plots.accuracy_against_seconds(alike).get_xticklabels()]
    assert labels == ["3 s", "6 s"]


def test_accuracy_against_seconds_names_every_model_and_joins_the_best():
    ax = plots.accuracy_against_seconds(TIMES.rename(columns={"accuracy": "value"}))
    assert ax.get_xscale() == "log"
    assert sorted(t.get_text() for t in ax.texts) == ["a", "b", "c"]
    assert ax.lines[0].get_xdata().tolist() == [30, 200]  # c is slower than a and worse
    assert {"30 s", "1 min", "2 min"} <= {label.get_text() for label in ax.get_xticklabels()}


def test_names_of_close_points_do_not_cover_each_other():
    frame = pd.DataFrame({"name": [f"network {i}" for i in range(5)], "seconds": [100, 104, 108, 500, 505]})
    frame["accuracy"] = [0.80, 0.801, 0.802, 0.9, 0.9]
    ax = plots.accuracy_against_seconds(frame.assign(low=frame["accuracy"] - 0.2, high=frame["accuracy"] + 0.05))
    ax.figure.draw_without_rendering()
    boxes = [Text.get_window_extent(t) for t in ax.texts]  # without the line to its point
    assert not any(a.padded(-1).overlaps(b.padded(-1)) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_name_hides_no_point_and_points_to_its_own_from_afar():
    points = {
        "baseline": (5.5, 0.133), "+ batch norm": (6.4, 0.555), "+ dropout": (11.7, 0.518),
        "+ augmentation": (10, 0.521), "+ Muon": (8.4, 0.67), "+ longer training": (13.9, 0.773),
        "fast recipe": (4.9, 0.83), "fast recipe with TTA": (4.9, 0.848), "frozen features": (8.7, 0.822),
        "fine-tuned": (36, 0.876),
    }  # fmt: skip
    frame = pd.DataFrame([(name, *point) for name, point in points.items()], columns=["name", "seconds", "accuracy"])
    published = pd.DataFrame([{"name": "claimed, time unknown", "seconds": math.nan, "accuracy": 0.86}])
    ax = plots.accuracy_against_seconds(frame.assign(low=frame["accuracy"], high=frame["accuracy"]), published)
    ax.figure.draw_without_rendering()
    places = ax.transData.transform(frame[["seconds", "accuracy"]].to_numpy())
    labels = {text.get_text(): text for text in ax.texts}
    afar = 0
    for name, at in zip(frame["name"], places, strict=True):
        box = Text.get_window_extent(labels[name])
        assert not any(box.padded(2).contains(*place) for place in places), name
        gap = max(box.x0 - at[0], at[0] - box.x1, box.y0 - at[1], at[1] - box.y1) * 72 / ax.figure.dpi
        assert (gap > 12) == (labels[name].arrow_patch is not None), (name, gap)
        afar += gap > 12
    assert afar, "no name stands off: the case is too easy"
    with display.dark_twin(ax.figure):
        lines = [label.arrow_patch for label in labels.values() if label.arrow_patch]
        assert {to_hex(line.get_edgecolor()) for line in lines} == {theme.DARK["muted"]}


def test_names_of_points_are_clear_of_the_line_that_joins_the_best():
    frame = pd.DataFrame({"name": ["early", "much better", "last"], "seconds": [10, 11, 100]})
    frame["accuracy"] = [0.2, 0.8, 0.85]
    ax = plots.accuracy_against_seconds(frame.assign(low=frame["accuracy"] - 0.01, high=frame["accuracy"] + 0.01))
    ax.figure.draw_without_rendering()
    [x0, x1], [y0, y1] = ax.transData.transform([(11, 0.2), (100, 0.8)]).T
    for text in ax.texts:
        box = Text.get_window_extent(text)
        assert not box.x0 < x0 < box.x1 or box.y1 < y0 or box.y0 > y1, text  # the vertical step
        assert not box.y0 < y1 < box.y1 or box.x1 < x0 or box.x0 > x1, text  # the horizontal step


def test_mistakes_write_what_each_costs():
    ax = plots.mistakes(COSTS)
    assert [t.get_text() for t in ax.texts] == ["−15.0 points", "no change"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["blue and red swapped", "nothing"]


def test_part_maps_name_the_parts_that_occur():
    parts = torch.zeros(2, 16, 16, dtype=torch.uint8)
    parts[0, :8], parts[1, 4:] = 2, 5
    ax = plots.part_maps(pictures(2), parts, NAMES).axes[0]
    assert [t.get_text() for t in ax.texts] == [NAMES[1], NAMES[4]]
    drawn = ax.images[1].get_array()
    assert (drawn[0, 0] != drawn[15, 0]).any()
    swatch = [patch.get_facecolor()[:3] for patch in ax.patches][1]  # after the plate
    assert np.allclose(np.array(swatch) * 255, drawn[0, 0])


def test_a_key_wraps_where_its_line_ends():
    ax = plots.part_maps(pictures(1), torch.arange(256).view(1, 16, 16) % 31, [f"a long name {i}" for i in range(30)])
    places = [t.get_position() for t in ax.axes[0].texts]
    assert len({round(y, 3) for _, y in places}) > 3
    assert max(x for x, _ in places) < theme.WIDTH


def test_landscape_puts_like_next_to_like():
    features = torch.tensor([[0.0], [9.0], [1.0], [8.0], [2.0], [7.0], [3.0], [6.0]])
    order = neighbours(features, columns=8)
    assert features[order, 0].tolist() in ([0, 1, 2, 3, 6, 7, 8, 9], [9, 8, 7, 6, 3, 2, 1, 0])
    ax = plots.landscape(pictures(8), list("abcdefgh"), features, columns=8).axes[0]
    assert "".join(t.get_text() for t in ax.texts) in ("aceghfdb", "bdfhgeca")


def test_no_exchange_of_two_neighbours_would_help():
    features = torch.rand(12, 5, generator=torch.Generator().manual_seed(3))
    order = neighbours(features, columns=4)
    assert sorted(order) == list(range(12))

    y, x = np.divmod(np.arange(12), 4)
    near = 1 / np.maximum((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2, 1) ** 2
    distance = torch.cdist(features, features).numpy()

    def cost(order):
        return (near * distance[np.ix_(order, order)]).sum()

    best = cost(order)
    for a in range(12):
        for b in range(a):
            swapped = order.copy()
            swapped[[a, b]] = swapped[[b, a]]
            assert cost(swapped) >= best - 1e-4


def test_controls_draw_each_method_in_each_panel_with_its_intervals():
    figure = plots.controls(SCORES_OF_CONTROLS, chance=0.1)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["image_size", "clutter"]
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["0", "0.5", "1"]
    network, colours = figure.axes[1].lines[:2]
    assert (network.get_ydata().tolist(), colours.get_ydata().tolist()) == ([0.7] * 3, [0.4] * 3)
    assert (network.get_xdata() < colours.get_xdata()).all()  # side by side
    [legend] = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["network", "colours", "chance level"]


def test_gains_fill_only_selected_ideas():
    ax = plots.gains(TRIALS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a good idea", "a doubtful idea", "a bad idea"]
    points = {line.get_label(): line for line in ax.lines if line.get_marker() == "o"}
    assert points["selected"].get_xdata().tolist() == pytest.approx([3.1])
    assert points["selected"].get_markerfacecolor() != "none"
    assert points["not selected alone"].get_markerfacecolor() == "none"
    assert [t.get_text() for t in ax.texts] == ["+3.1  [+1.2, +5.0]", "+0.4  [−0.9, +1.7]", "−2.0  [−3.0, −1.0]"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gain_beyond_all_others_leaves_them_their_room(sign):
    usual = plots.gains(TRIALS).get_xlim()
    giant = {
        "name": "a giant",
        "gain": 0.3 * sign,
        "low": 0.3 * sign - 0.02,
        "high": 0.3 * sign + 0.02,
        "kept": sign > 0,
    }
    ax = plots.gains(pd.concat([TRIALS, pd.DataFrame([giant])], ignore_index=True))
    assert ax.get_xlim() == pytest.approx(usual)
    arrow = next(line for line in ax.lines if line.get_marker() == {1: ">", -1: "<"}[sign])
    assert (arrow.get_ydata()[0], arrow.get_markerfacecolor() == "none") == (3, sign < 0)
    assert "beyond the scale" in ax.get_xlabel()
    assert ax.texts[3].get_text().startswith("+30.0" if sign > 0 else "−30.0")
    assert "beyond" not in plots.gains(TRIALS).get_xlabel()


def test_a_wide_interval_that_reaches_the_others_is_drawn_whole():
    doubt = {"name": "a doubt", "gain": 0.02, "low": -0.4, "high": 0.44, "kept": False}
    ax = plots.gains(pd.concat([TRIALS, pd.DataFrame([doubt])], ignore_index=True))
    assert (ax.get_xlim()[0] < -40, ax.get_xlim()[1] > 44) == (True, True)
    assert "beyond" not in ax.get_xlabel()


def test_published_times_are_points_and_unknown_ones_lines():
    ax = plots.accuracy_against_seconds(TIMES, ELSEWHERE)
    marks = next(line for line in ax.lines if line.get_marker() == "D")
    assert (list(marks.get_xdata()), list(marks.get_ydata())) == ([40.0], [0.91])
    assert any(list(line.get_ydata()) == [0.86, 0.86] for line in ax.lines)
    assert {"time unknown", "a faster one"} <= {t.get_text() for t in ax.texts}


def test_no_point_writes_its_name_over_that_of_a_line():
    names = ["frozen", "first", "second", "pretrained, fine-tuned", "fast recipe", "fast recipe, TTA", "longest"]
    own = {"name": names, "seconds": [13.0, 92.0, 131.0, 113.0, 345.0, 345.0, 2305.0]}
    own["accuracy"] = own["low"] = own["high"] = [0.476, 0.772, 0.817, 0.86, 0.882, 0.897, 0.884]
    lines = {"name": ["claimed, time unknown", "of another"], "seconds": [math.nan, 535.0], "accuracy": [0.86, 0.91]}
    ax = plots.accuracy_against_seconds(pd.DataFrame(own), pd.DataFrame(lines))
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 9
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_learning_speed_adds_up_the_seconds_and_those_before():
    ax = plots.learning_speed(SPEED)
    probe, network = (line_of(ax, name) for name in SPEED)
    assert np.allclose(probe.get_xdata(), [0.6, 0.7])
    assert probe.get_ydata().tolist() == [0.7, 0.8]
    assert network.get_xdata().tolist() == [20, 40, 60]
    assert ax.get_xscale() == "log"
    assert legend(ax) == ["probe", "network"]
    assert {"1 s", "10 s", "1 min"} <= {label.get_text() for label in ax.get_xticklabels()}
    low, high = ax.get_xlim()
    assert low < 0.6 < 60 < high


def test_guided_grid_cuts_picture_and_gradient_at_the_same_box():
    images, gradients = pictures(), torch.randn(6, 3, 16, 16)
    gradients[:, :, :2] = 100  # outside of the boxes: must not set the scale
    figure = plots.guided_grid(images, gradients, patches())
    drawn = shown(figure)
    assert len(drawn) == 12
    for i in range(6):
        cut = images[i, :, 2:12, 4:16].permute(1, 2, 0)
        assert np.array_equal(drawn[2 * i], cut)
        inside = gradients[i, :, 2:12, 4:16]
        expected = (0.5 + inside / (2 * np.percentile(inside.abs(), 99.5))).clamp(0, 1) * 255
        assert np.abs(drawn[2 * i + 1] - expected.permute(1, 2, 0).numpy()).max() <= 1
    assert [t for t in texts(figure.axes[0]) if t.startswith("unit")] == ["unit 5", "unit 9"]
    boxes = [image.get_extent() for image in figure.axes[0].get_images()]
    width, height = figure.get_size_inches()
    assert all(0 <= left < right <= width + 1e-6 and 0 <= top < low <= height + 1e-6 for left, right, low, top in boxes)
    assert all(abs((low - top) / (right - left) - 10 / 12) < 1e-6 for left, right, low, top in boxes)


def test_ten_neurons_stay_within_a_report():
    table = pd.concat([patches((0, 0, 64, 64)).assign(unit=[2 * i] * 3 + [2 * i + 1] * 3) for i in range(5)])
    smooth = torch.nn.functional.interpolate(torch.rand(30, 3, 8, 8), size=64, mode="bilinear")
    spots = torch.randn(30, 3, 64, 64) * (smooth.mean(1, keepdim=True) > 0.6)
    figure = plots.guided_grid(smooth, spots, table)
    assert len(figure.axes[0].get_images()) == 60
    assert len(display.render(figure)) < 200_000


def test_a_gradient_of_zero_is_grey_and_signs_differ():
    gradient = torch.zeros(3, 10, 10)
    gradient[0, 0, 0], gradient[0, 1, 1] = 2.0, -1.0
    picture = gradient_picture(gradient)
    assert picture[0, 0, 0] == 1
    assert picture[0, 1, 1] == 0
    assert (picture[1:] == 0.5).all()
    assert (gradient_picture(torch.zeros(3, 4, 4)) == 0.5).all()


def test_gradient_rows_stand_under_their_pictures():
    images, gradients = pictures(4), {"guided backprop": torch.randn(4, 3, 16, 16), "plain": torch.zeros(4, 3, 16, 16)}
    figure = plots.gradient_rows(images, gradients, titles=list("abcd"))
    drawn = shown(figure)
    assert len(drawn) == 12
    assert np.array_equal(drawn[0], images[0].permute(1, 2, 0))
    assert np.unique(drawn[-1]).tolist() == [128]
    assert [t for t in texts(figure.axes[0]) if len(t) > 1] == ["image", "guided backprop", "plain"]


def test_part_bars_show_energy_area_and_density_of_every_class():
    figure = plots.part_bars(PARTS)
    cat, dog = figure.axes
    assert [ax.get_title(loc="left") for ax in (cat, dog)] == ["cat", "dog"]
    assert [bar.get_width() for bar in cat.patches] == [0.30, 0.05]
    assert [bar.get_width() for bar in dog.patches] == [0.60]
    assert [label.get_text() for label in cat.get_yticklabels()] == ["head", "leg"]
    assert cat.lines[0].get_xdata().tolist() == [0.10, 0.10]
    assert texts(cat) == ["× 3.0", "× 0.5", "× 0.8", "background: 65 %, of the area 80 %"]
    for ax in figure.axes:  # the panels share their scale, so the longer of the two decides
        assert ax.get_xlim()[0] == 0
        assert 0.7 <= ax.get_xlim()[1] < 0.8
    few = plots.part_bars(PARTS[PARTS["class"] == "cat"], most=1).axes
    assert len(few) == 1
    assert [bar.get_width() for bar in few[0].patches] == [0.30]


def test_explanation_scores_puts_baselines_below_and_draws_the_best_of_them():
    figure = plots.explanation_scores(SCORES)
    pointing, road = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Pointing game", "ROAD"]
    assert [label.get_text() for label in pointing.get_yticklabels()] == ["grad_cam", "layer_cam", "centre", "edges"]
    methods, baselines, best = pointing.lines
    assert methods.get_xdata().tolist() == [0.8, 0.7]
    assert baselines.get_xdata().tolist() == [0.6, 0.5]
    assert methods.get_ydata().max() < baselines.get_ydata().min()
    assert list(pointing.get_yticks()) == [*methods.get_ydata(), *baselines.get_ydata()]
    assert best.get_xdata() == [0.6, 0.6]
    assert road.lines[2].get_xdata() == [0.1, 0.1]  # the centre has no score there
    spans = [segment[:, 0].tolist() for segment in pointing.collections[0].get_segments()]
    assert spans == [[0.7, 0.9], [0.6, 0.8]]
    only = plots.explanation_scores(SCORES[["method", "road", "road_low", "road_high"]])
    assert [ax.get_title(loc="left") for ax in only.axes] == ["ROAD"]


# ------------------------------------------------------------------ verdicts


def test_verdicts_are_drawn_in_points_and_named_in_the_legend():
    ax = plots.verdicts(VERDICTS)
    assert legend(ax) == VERDICTS["verdict"].tolist()
    assert line_of(ax, "supported").get_xdata() == pytest.approx([3.1])
    assert "−2.0  [−3.0, −1.0]" in texts(ax)


def test_verdicts_that_are_not_there_are_left_out_of_the_legend():
    assert legend(plots.verdicts(VERDICTS.iloc[2:])) == ["inconclusive"]


# ------------------------------------------------------------------ optimizers


def test_gradient_descent_goes_down_the_valley_as_its_closed_form_says():
    path = valley_paths(steps=5)["gradient descent"]
    expected = [[w * (1 - 0.03 * c) ** t for w, c in zip(START, CURVATURE, strict=True)] for t in range(6)]
    np.testing.assert_allclose(path, expected, rtol=1e-5)


def test_momentum_and_adam_end_nearer_to_the_minimum_than_gradient_descent():
    left = {name: np.linalg.norm(path[-1]) for name, path in valley_paths().items()}
    assert max(left["momentum"], left["Adam"]) < left["gradient descent"] / 1.5


def test_muon_makes_singular_values_equal_and_gradient_descent_keeps_them():
    spectra = step_spectra(GRADIENT)
    np.testing.assert_allclose(spectra["gradient descent"], 0.5 ** np.arange(8), rtol=1e-4)
    np.testing.assert_allclose(spectra["Adam"], 1, rtol=1e-4)  # the signs of a diagonal matrix
    assert spectra["Muon"].min() > 0.85
