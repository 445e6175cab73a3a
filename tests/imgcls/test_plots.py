"""Figures say what the data say, on every page, and stay small."""

import base64
import io
import math
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import check_pages, figure_of
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from imgcls import plots
from imgcls.plots import display, theme

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LONG = ("german shepherd", "humpback whale", "siamese cat", "spider monkey", "hippopotamus")


def pictures(n, size=16, channels=3, seed=0):
    """Smooth random pictures, about as hard to compress as photographs."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand((n, channels, size // 4, size // 4), generator=draws)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    noise = 0.06 * torch.randn(smooth.shape, generator=draws)
    return ((smooth + noise).clamp(0, 1) * 255).to(torch.uint8)


def run(accuracies, loss=2.0):
    epochs = np.arange(1, len(accuracies) + 1)
    losses = loss / epochs
    return pd.DataFrame(
        {"epoch": epochs, "train_loss": losses, "val_loss": losses + 0.1, "train_accuracy": accuracies}
        | {"val_accuracy": accuracies}
    )


def norms(first, last, layers=4):
    return pd.DataFrame(np.tile(np.geomspace(first, last, layers), (3, 1)), columns=[f"conv{i}" for i in range(layers)])


def bins(shift=0.0):
    centres = np.linspace(0.1, 0.9, 5)
    return pd.DataFrame({"confidence": centres, "accuracy": centres - shift, "count": [3, 5, 8, 20, 60]})


SCORES = pd.DataFrame(
    {"class": LONG, "precision": [0.9, 0.8, 0.7, 0.6, 0.5], "recall": [0.8, 0.9, 0.6, 0.7, 0.4]}
    | {"f1": [0.84, 0.85, 0.64, 0.65, 0.44], "support": [10, 20, 30, 40, 50]}
)
COUNTS = pd.DataFrame({"train": [1200, 30, 5], "test": [10, 20, 30]}, index=["cat", "dog", "bird"])
CONFUSION = np.array([[100, 0], [60, 40]])

RANGE = pd.DataFrame({"lr": np.logspace(-4, 0, 9), "loss": [2.3] * 3 + [2.2, 1.9, 1.6, 1.4, 1.5, np.inf]}).assign(
    smoothed=lambda t: t["loss"]
)

CHARTS = {
    "class_counts": lambda: plots.class_counts(COUNTS),
    "sizes": lambda: plots.sizes([64, 64, 100], [64, 64, 80]),
    "learning_curves": lambda: plots.learning_curves({"one": run([0.2, 0.6, 0.5]), "two": run([0.3, 0.4, 0.5])}),
    "gradient_norms": lambda: plots.gradient_norms({"flat": norms(1, 1), "vanishing": norms(1e-6, 1)}),
    "lr_range": lambda: plots.lr_range(RANGE, {"steepest": 1e-2, "lowest": 1e-1}),
    "confusion": lambda: plots.confusion(torch.tensor(CONFUSION), ["Arctic fox", "Elephant"]),
    "per_class": lambda: plots.per_class(SCORES),
    "reliability": lambda: plots.reliability(bins(0.1), bins(), [0.1, 0.0]),
}
SHEETS = {
    "sample_grid": lambda: plots.sample_grid(pictures(20), torch.arange(20) % 10, CLASSES),
    "sample_grid_grey": lambda: plots.sample_grid(pictures(10, channels=1), torch.arange(10) % 5, LONG),
    "augmentation_preview": lambda: plots.augmentation_preview(pictures(1)[0], pictures(7) / 255),
    "prediction_grid": lambda: plots.prediction_grid(pictures(7), [0] * 7, [0, 1] * 3 + [0], [0.9] * 7, LONG),
    "cam_grid": lambda: plots.cam_grid(pictures(4), torch.rand(4, 4, 4), LONG[:4], [True, False, True, False]),
    "filters": lambda: plots.filters(torch.rand(32, 3, 3, 3)),
    "gallery": lambda: plots.gallery(pictures(7), LONG + CLASSES[:2]),
    "picture_rows": lambda: plots.picture_rows({"16": pictures(4), "32": pictures(4, 32)}, LONG[:4]),
}


def texts(drawing):
    """Every visible piece of text of a figure or panel, line breaks as blanks."""
    found = drawing.findobj(lambda artist: hasattr(artist, "get_text") and artist.get_visible())
    return [artist.get_text().replace("\n", " ") for artist in found]


def opened(png):
    return Image.open(io.BytesIO(png))


@pytest.fixture
def published(monkeypatch):
    """What `show` sends to the notebook, as a list of (data, metadata)."""
    sent = []
    monkeypatch.setattr(display, "get_ipython", object)
    monkeypatch.setattr(display, "publish_display_data", lambda data, metadata: sent.append((data, metadata)))
    return sent


# ------------------------------------------------------------------ showing and saving


@pytest.mark.parametrize("name", [*CHARTS, *SHEETS])
def test_every_figure_is_drawn_and_rendered_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figure_of((CHARTS | SHEETS)[name]())
        png = display.render(figure)
    assert abs(opened(png).width - figure.get_figwidth() * 150) <= 1
    assert figure.get_figwidth() <= theme.WIDTH + 1e-6
    assert len(png) < 40_000


def test_functions_neither_change_the_session_style_nor_register_figures():
    before = dict(plt.rcParams)
    for draw in CHARTS.values():
        draw()
    assert dict(plt.rcParams) == before
    assert plt.get_fignums() == []


def test_the_theme_holds_whatever_style_the_session_has():
    plain = display.render(figure_of(CHARTS["lr_range"]()))
    with plt.style.context("dark_background"):
        assert display.render(figure_of(CHARTS["lr_range"]())) == plain


def test_show_publishes_one_bundle_with_the_text_alternative(published):
    plots.show(CHARTS["per_class"](), alt="Five classes.", caption="Each class.")
    [(data, metadata)] = published
    assert set(data) == {"image/png", "application/vnd.imgcls.dark+png", "text/plain"}
    assert data["text/plain"] == "Five classes."
    assert metadata == {"image/png": {"alt": "Five classes.", "caption": "Each class.", "width": 720, "opaque": True}}


@pytest.mark.parametrize("name", CHARTS)
def test_the_dark_twin_is_the_same_figure_on_a_dark_background(name, published):
    figure = figure_of(CHARTS[name]())
    plots.show(figure, alt="x")
    assert "timed" not in published[0][1]["image/png"]
    kinds = ("image/png", "application/vnd.imgcls.dark+png")
    check_pages(*(base64.b64decode(published[0][0][kind]) for kind in kinds))


@pytest.mark.parametrize("name", ["confusion", "learning_curves", "per_class"])
def test_the_twin_leaves_the_figure_as_it_was(name):
    figure = figure_of(CHARTS[name]())
    before = display.render(figure)
    with plots.dark_twin(figure):
        assert display.render(figure) != before
    assert display.render(figure) == before


def test_no_colour_of_the_light_theme_is_left_in_the_twin():
    figure = figure_of(CHARTS["per_class"]())
    with plots.dark_twin(figure):
        left = {to_hex(a.get_color()) for a in figure.findobj(lambda a: isinstance(a, Text | Line2D))}
    assert not left & set(plots.LIGHT.values())


def test_ink_and_series_stand_out_from_both_backgrounds():
    def luminance(colour):
        channels = np.array(to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colours in (plots.LIGHT, plots.DARK):
        paper = luminance(colours["surface"])
        for name in set(colours) - {"surface", "grid"}:
            low, high = sorted((luminance(colours[name]), paper))
            assert (high + 0.05) / (low + 0.05) >= (4.5 if name in ("ink", "muted") else 3), name


def test_sheets_of_pictures_are_clear_between_the_pictures_and_need_no_twin(published):
    plots.show(SHEETS["prediction_grid"](), alt="x")
    [(data, metadata)] = published
    assert set(data) == {"image/png", "text/plain"}
    assert metadata["image/png"]["opaque"] is False
    alpha = np.asarray(opened(base64.b64decode(data["image/png"])).convert("RGBA"))[..., 3]
    assert set(np.unique(alpha)) == {0, 255}
    assert alpha[0, 0] == 255
    assert alpha[-1, -1] == 0  # seven pictures in rows of five


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_a_figure_without_a_text_alternative_is_refused(alt):
    with pytest.raises(ValueError, match="alt is"):
        plots.show(CHARTS["lr_range"](), alt=alt)


def test_show_outside_a_notebook_prints_the_text_alternative(capsys):
    plots.show(CHARTS["lr_range"](), alt="The rate rises, then falls.")
    assert capsys.readouterr().out == "The rate rises, then falls.\n"


def test_show_closes_figures_made_with_pyplot(published):
    figure, ax = plt.subplots()
    plots.sizes([1, 2], [3, 4], ax=ax)
    plots.show(ax, alt="x")
    assert not plt.fignum_exists(figure.number)
    assert len(published) == 1


def test_saved_bytes_are_reproducible_and_carry_no_metadata(tmp_path):
    first, second = (plots.save(CHARTS["per_class"](), tmp_path / "new" / f"{i}.png") for i in range(2))
    assert first.read_bytes() == second.read_bytes()
    assert Image.open(first).info == {}


def test_forty_pictures_of_32_pixels_stay_small():
    figure = plots.prediction_grid(pictures(40, 32), [0] * 40, [0] * 40, [0.5] * 40, CLASSES)
    assert len(figure.axes[0].images) == 40
    assert len(display.render(figure)) <= 90_000


def test_large_pictures_are_averaged_down_to_the_budget():
    figure = plots.augmentation_preview(pictures(1, 96)[0], pictures(17, 96))
    drawn = sum(image.get_array().shape[0] * image.get_array().shape[1] for image in figure.axes[0].images[1:])
    assert 0.8 * 70_000 < drawn < 1.1 * 70_000


def test_the_palette_keeps_the_fills_of_a_chart_exact():
    picture = opened(display.render(figure_of(CHARTS["class_counts"]()))).convert("RGB")
    colours = {to_hex(np.array(c) / 255) for _, c in sorted(picture.getcolors(1 << 24))[-2:]}
    assert colours == {plots.LIGHT["surface"], plots.LIGHT["blue"]}


# ------------------------------------------------------------------ empty and wrong input


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.sample_grid(pictures(0), [], CLASSES),
        lambda: plots.class_counts(COUNTS[:0]),
        lambda: plots.augmentation_preview(pictures(1)[0], pictures(0)),
        lambda: plots.learning_curves({}),
        lambda: plots.learning_curves({"a": run([])}),
        lambda: plots.gradient_norms({}),
        lambda: plots.gradient_norms({"a": norms(1, 1)[:0]}),
        lambda: plots.confusion(np.zeros((0, 0)), []),
        lambda: plots.per_class(SCORES[:0]),
        lambda: plots.prediction_grid(pictures(0), [], [], [], CLASSES),
        lambda: plots.reliability(bins()[:0]),
        lambda: plots.gallery(pictures(0)),
        lambda: plots.picture_rows({}),
        lambda: plots.filters(torch.rand(0, 3, 3, 3)),
        lambda: plots.cam_grid(pictures(0), torch.rand(0, 4, 4), []),
        lambda: plots.sizes([], []),
    ],
)
def test_empty_input_is_named(draw):
    with pytest.raises(ValueError, match=r"^\w+: no [\w ']+ to draw; pass at least one"):
        draw()


def test_a_missing_column_is_named_beside_those_there():
    with pytest.raises(ValueError, match=r"per_class: the frame has no column 'f1', 'support'; it has 'class', 'prec"):
        plots.per_class(SCORES[["class", "precision", "recall"]])


def test_more_runs_than_colours_are_refused():
    with pytest.raises(ValueError, match="8 runs, but readers can distinguish 7 colours"):
        plots.learning_curves({str(i): run([0.1, 0.2]) for i in range(8)})


def test_confusion_with_the_wrong_number_of_names_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but there are 3 class names"):
        plots.confusion(CONFUSION, ["a", "b", "c"])


def test_pictures_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 8, 8, 3\); expected \(N, C, H, W\)"):
        plots.prediction_grid(np.zeros((4, 8, 8, 3)), [0] * 4, [0] * 4, [1] * 4, CLASSES)


# ------------------------------------------------------------------ charts


def test_class_counts_writes_each_count_and_each_total():
    figure = plots.class_counts(COUNTS)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["train\n1,235 images", "test\n60 images"]
    assert {"1,200", "30", "5", "10", "20"} <= set(texts(figure))
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1200, 30, 5]


def test_sizes_draws_one_dot_a_size_and_names_the_most_common():
    ax = plots.sizes([64, 64, 100], [64, 64, 80])
    assert ax.collections[0].get_offsets().tolist() == [[64, 64], [100, 80]]
    assert ax.get_title(loc="left") == "most common: 64 × 64, 67 % of 3 images"


def test_learning_curves_draw_both_measures_and_mark_the_best_epoch():
    figure = plots.learning_curves({"one": run([0.2, 0.6, 0.5])}, loss_lines={"chance, ln 10": math.log(10)})
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel(), accuracy.get_xlabel()) == ("loss", "accuracy", "epoch")
    curves = [line for line in accuracy.lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata().tolist() for line in curves] == [[0.2, 0.6, 0.5]] * 2
    assert [line.is_dashed() for line in curves] == [True, False]  # training, validation
    [best] = [line for line in accuracy.lines if line.get_markersize() == 9]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, 0.6)
    assert "one best 60.0 %" in texts(accuracy)
    assert "chance, ln 10" in texts(loss)
    assert any(np.allclose(line.get_ydata(), math.log(10)) for line in loss.lines)
    assert loss.get_ylim()[1] > math.log(10)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95])
def test_a_level_below_or_above_the_curves_lies_in_the_panel_with_its_label(level):
    runs = {"one": run([0.4, 0.6, 0.5])}
    panel = plots.learning_curves(runs, accuracy_lines={"chance": level}).axes[1]
    without = plots.learning_curves(runs).axes[1].get_ylim()
    low, high = panel.get_ylim()
    assert low < level < high
    assert (low == without[0], high == without[1]) == (level > 0.4, level < 0.6)  # moved only where it must be
    panel.figure.draw_without_rendering()
    [label] = [text for text in panel.texts if text.get_text() == "chance"]
    assert panel.bbox.y0 < label.get_window_extent().y0 < label.get_window_extent().y1 < panel.bbox.y1


def test_of_equal_accuracies_the_epoch_with_the_lower_loss_is_marked_as_fit_keeps_it():
    history = run([0.2, 0.6, 0.6]).assign(val_loss=[1.0, 0.8, 0.5])
    [best] = [line for line in plots.learning_curves({"one": history}).axes[1].lines if line.get_markersize() == 9]
    assert best.get_xdata()[0] == 3


def test_learning_curves_bear_one_epoch_and_a_diverged_run():
    diverged = run([0.1, 0.1]).assign(val_loss=[np.inf, np.nan], train_loss=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plots.learning_curves({"short": run([0.3]), "diverged": diverged})
        display.render(figure)
    loss, accuracy = figure.axes
    assert np.isfinite(loss.get_ylim()).all()
    assert {"short best 30.0 %", "diverged best 10.0 %"} <= set(texts(accuracy))


def test_end_labels_keep_their_order_and_do_not_overlap():
    runs = {f"run {i}": run([0.1, 0.5 + i / 1000]) for i in range(6)}
    figure = plots.learning_curves(runs)
    figure.draw_without_rendering()
    labels = [t for t in figure.axes[1].texts if t.get_text().startswith("run")]
    boxes = sorted((t.get_window_extent() for t in labels), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))
    heights = {t.get_text().split("\n")[0]: t.get_window_extent().y0 for t in labels}
    assert sorted(heights, key=heights.get) == list(runs)


def test_gradient_norms_say_whether_they_vanish():
    ax = plots.gradient_norms({"flat": norms(1, 1), "vanishing": norms(1e-6, 1)})
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "gradient norm"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["conv0", "conv1", "conv2", "conv3"]
    assert {"flat first is 1.0 × last", "vanishing first is 1/1,000,000 of last"} <= set(texts(ax))
    assert np.allclose(ax.lines[1].get_ydata(), np.geomspace(1e-6, 1, 4))


def test_gradient_norms_of_zero_or_not_finite_are_labelled_not_dropped():
    dead, broken = norms(1, 1), norms(1, 1)
    dead["conv0"], broken["conv0"] = 0.0, np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plots.gradient_norms({"dead": dead, "broken": broken, "longer": norms(1e-3, 1, layers=6)})
        display.render(ax.figure)
    assert {"dead first layer: zero", "broken not finite"} <= set(texts(ax))
    assert ax.lines[0].get_ydata()[0] > 0  # on the floor of the log scale


def test_confusion_writes_counts_and_shares_of_each_row():
    figure = plots.confusion(CONFUSION, ["Arctic fox", "Elephant"])
    cells = [[t.get_text() for t in ax.texts] for ax in figure.axes]
    assert cells == [["100", "0", "60", "40"], ["100", "0", "60", "40"]]
    counts, shares = plots.confusion([[3, 1], [0, 0]], ["a", "b"]).axes
    assert [t.get_text() for t in counts.texts] == ["3", "1", "0", "0"]
    assert [t.get_text() for t in shares.texts] == ["75", "25", "0", "0"]
    assert (counts.get_xlabel(), counts.get_ylabel()) == ("predicted", "true")
    assert shares.collections[0].get_array().tolist() == [[75, 25], [0, 0]]


@pytest.mark.parametrize(("classes", "numbers"), [(12, 144), (13, 0), (50, 0)])
def test_confusion_writes_numbers_up_to_twelve_classes(classes, numbers):
    counts = np.diag(np.arange(classes) + 1)
    figure = plots.confusion(counts, [f"class {i}" for i in range(classes)])
    panels = [ax for ax in figure.axes if ax.get_ylabel() == "true"]
    assert [len(ax.texts) for ax in panels] == [numbers, numbers]
    assert len(figure.axes) == (2 if numbers else 4)  # a colour bar beside each where numbers are missing


def test_shares_that_show_the_picture_of_the_counts_again_are_left_out():
    counts = 4 * np.eye(5, dtype=int) + np.roll(np.eye(5, dtype=int), 1, axis=0)
    [panel] = plots.confusion(counts, list("abcde")).axes
    assert panel.get_title(loc="left") == "Number of images (5 of each true class)"
    assert len(plots.confusion(np.diag(range(1, 6)), list("abcde")).axes) == 2


def test_many_values_of_a_varied_quantity_have_round_ticks():
    x = np.linspace(-86.3, 432, 23)
    scores = pd.DataFrame({"panel": "a", "x": x, "series": "b", "value": 0.5, "low": np.nan, "high": np.nan})
    [panel] = plots.curves(scores, "x").axes
    low, high = panel.get_xlim()
    assert [tick for tick in panel.get_xticks() if low <= tick <= high] == [-100, 0, 100, 200, 300, 400]
    assert plots.curves(scores[:3], "x").axes[0].get_xticks().tolist() == x[:3].tolist()


def test_names_of_a_large_confusion_do_not_collide():
    figure = plots.confusion(np.eye(50, dtype=int), [f"humpback whale {i}" for i in range(50)])
    figure.draw_without_rendering()
    for labels, low, high in (
        (figure.axes[0].get_xticklabels(), "x0", "x1"),
        (figure.axes[0].get_yticklabels(), "y0", "y1"),
    ):
        boxes = sorted((t.get_window_extent() for t in labels), key=lambda box: getattr(box, low))
        assert all(getattr(a, high) <= getattr(b, low) + 1 for a, b in pairwise(boxes))


def test_per_class_sorts_by_f1_and_writes_the_support():
    ax = plots.per_class(SCORES)
    names = [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()]
    assert names == ["humpback whale", "german shepherd", "spider monkey", "siamese cat", "hippopotamus"]
    f1 = next(line for line in ax.lines if line.get_label() == "F1")
    assert f1.get_xdata().tolist() == sorted(SCORES["f1"], reverse=True)
    assert [t.get_text() for t in ax.texts] == ["20", "10", "40", "30", "50", "images"]
    assert ax.get_xticks().max() <= 1  # no more than all can be right


def test_reliability_draws_both_states_with_their_error():
    top, bottom = plots.reliability(bins(0.1), bins(), [0.0987, 0.0123]).axes
    names = [text.get_text() for text in top.get_legend().get_texts()]
    assert names == ["before scaling, ECE 9.9 %", "after scaling, ECE 1.2 %", "perfect calibration"]
    assert np.allclose(top.lines[0].get_ydata(), bins(0.1)["accuracy"])
    assert bottom.lines[0].get_ydata().tolist() == [3, 5, 8, 20, 60]
    assert (bottom.get_xlabel(), bottom.get_ylabel()) == ("confidence", "predictions")
    assert len(plots.reliability(bins()).axes[1].lines) == 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.per_class(SCORES, ax=ax),
        lambda ax: plots.sizes([1, 2], [3, 4], ax=ax),
        lambda ax: plots.gradient_norms({"a": norms(1, 1)}, ax=ax),
    ],
)
def test_panels_go_where_they_are_told(draw):
    ax = Figure().subplots()
    assert draw(ax) is ax
    assert isinstance(draw(None), Axes)


# ------------------------------------------------------------------ grids of images


def test_sample_grid_shows_the_first_of_each_class_under_its_name():
    images, labels = pictures(40), torch.arange(40) % 10
    ax = plots.sample_grid(images, labels, CLASSES, per_class=2).axes[0]
    assert [t.get_text() for t in ax.texts] == list(CLASSES)
    assert len(ax.images) == 20
    shown = [image.get_array() for image in ax.images]
    assert np.array_equal(shown[1], images[10].permute(1, 2, 0))  # the second airplane
    assert all(image.get_interpolation() == "nearest" for image in ax.images)


def test_sample_grid_leaves_room_for_a_class_without_pictures():
    ax = plots.sample_grid(pictures(4), [0, 0, 2, 2], ["a", "b", "c"], per_class=2).axes[0]
    assert [t.get_text() for t in ax.texts] == ["a", "b", "c"]
    assert len(ax.images) == 4


def test_prediction_grid_marks_correct_and_incorrect_by_colour_and_sign():
    ax = plots.prediction_grid(pictures(3), [3, 3, 5], [3, 5, 3], [0.91, 0.5, 0.999], CLASSES).axes[0]
    assert [t.get_text() for t in ax.texts] == [
        "✓ cat",
        "91 %",
        "✗ dog",
        "50 %, is cat",
        "✗ cat",
        "100 %, is dog",
    ]
    frames = [to_hex(patch.get_edgecolor()) for patch in ax.patches if not patch.get_fill()]
    assert frames == ["#1b7a4b", "#b3362b", "#b3362b"]


def test_long_captions_stay_on_their_plates():
    figure = plots.prediction_grid(pictures(5), [0] * 5, [1] * 5, [0.5] * 5, ["weimaraner of the old kind", *LONG])
    figure.draw_without_rendering()
    width = figure.axes[0].patches[0].get_window_extent().width
    for text in figure.axes[0].texts:
        assert text.get_window_extent().width <= width
    assert any(t.get_text().endswith("…") for t in figure.axes[0].texts)


def test_augmentation_preview_starts_with_the_original():
    original, augmented = pictures(1)[0], pictures(7, seed=1)
    ax = plots.augmentation_preview(original, augmented).axes[0]
    assert len(ax.images) == 8
    assert np.array_equal(ax.images[0].get_array(), original.permute(1, 2, 0))
    assert [t.get_text() for t in ax.texts] == ["original"]


def test_cam_grid_pairs_each_picture_with_its_map():
    cams = torch.zeros(2, 16, 16)
    cams[1] = 1
    black = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    ax = plots.cam_grid(black, cams, ["cat 91 %", "dog 80 %"], [True, False]).axes[0]
    assert len(ax.images) == 5  # two pairs and the colour bar
    none, most = ax.images[1].get_array()[0, 0], ax.images[3].get_array()[0, 0]
    assert none[2] > none[1] and most[0] > 100 and most[1] > 100  # noqa: PT018 - viridis: violet, yellow
    assert {"✓ cat 91 %", "✗ dog 80 %", "no weight", "most weight"} == {t.get_text() for t in ax.texts}


def test_gallery_writes_each_title_under_its_picture():
    ax = plots.gallery(pictures(3), ["cat", "a dog of many words that need lines", "bird"], columns=3).axes[0]
    assert len(ax.images) == 3
    assert " ".join(t.get_text() for t in ax.texts) == "cat a dog of many words that need lines bird"
    assert len(plots.gallery(pictures(3)).axes[0].texts) == 0


def test_picture_rows_keep_the_pixels_of_each_row_and_align_its_columns():
    ax = plots.picture_rows({"16 pixels": pictures(3), "32 pixels": pictures(3, 32)}, ["a", "b", "c"]).axes[0]
    assert [t.get_text() for t in ax.texts] == ["a", "b", "c", "16 pixels", "32 pixels"]
    assert [image.get_array().shape[0] for image in ax.images] == [16] * 3 + [32] * 3
    extents = [image.get_extent() for image in ax.images]
    assert [one[:2] for one in extents[:3]] == [one[:2] for one in extents[3:]]
    assert max(one[2] for one in extents[:3]) < min(one[3] for one in extents[3:])  # y grows downwards


def test_filters_draw_every_filter_and_average_deep_ones():
    assert len(plots.filters(torch.rand(32, 3, 3, 3)).axes[0].images) == 32
    deep = torch.rand(4, 64, 3, 3)
    ax = plots.filters(deep).axes[0]
    grey = (deep.mean(1) * 255).round()
    assert np.abs(ax.images[2].get_array() - grey[2].numpy()).max() <= 1


def test_feature_sheets_draw_every_map_in_its_own_range():
    maps = torch.stack([torch.arange(16.0).view(4, 4), torch.zeros(4, 4)] * 10)
    figure = plots.feature_sheets(pictures(1)[0], {"first": maps, "second": maps[:3, :2]})
    ax = figure.axes[0]
    assert len(ax.images) == 1 + 20 + 3
    drawn = ax.images[1].get_array()
    assert (drawn.min(), drawn.max()) == (0, 255)
    assert ax.images[2].get_array().max() == 0  # without differences
    words = [t.get_text() for t in ax.texts]
    assert words == ["first: 20 maps of 4 × 4", "second: 3 maps of 2 × 4"]
    lowest = max(image.get_extent()[2] for image in ax.images)
    assert lowest <= figure.get_size_inches()[1] + 1e-6
    with pytest.raises(ValueError, match="feature_sheets: no layers to draw"):
        plots.feature_sheets(pictures(1)[0], {})
