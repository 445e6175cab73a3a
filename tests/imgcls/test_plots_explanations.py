"""Figures of explanations show the numbers they are given, all of them, on both pages."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from imgcls.plots import display, explanations, theme

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


def pictures(n=6, size=16):
    return (torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)


def patches(box=(2, 4, 12, 16)):
    units = pd.DataFrame({"unit": [5, 5, 5, 9, 9, 9], "rank": [1, 2, 3] * 2, "image": range(6)})
    return units.assign(**dict(zip(("top", "left", "bottom", "right"), box, strict=True)))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def shown(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].get_images()]


def test_filter_sheets_draw_the_first_of_each_layer_under_its_name():
    colour, grey = torch.rand(4, 3, 3, 3), torch.rand(70, 1, 3, 3)
    figure = explanations.filter_sheets({"one": colour, "two": grey}, columns=8, most=20)
    ax, drawn = figure.axes[0], shown(figure)
    assert texts(ax) == ["one: 4 filters", "two: 20 of 70 filters"]
    assert len(drawn) == 4 + 20
    assert np.abs(drawn[1] - 255 * colour[1].permute(1, 2, 0).numpy()).max() <= 0.5
    assert np.abs(drawn[4 + 19] - 255 * grey[19, 0].numpy()).max() <= 0.5
    boxes = [image.get_extent() for image in ax.get_images()]
    assert max(right for _, right, *_ in boxes) <= figure.get_size_inches()[0] + 1e-6
    assert max(bottom for *_, bottom, _ in boxes) <= figure.get_size_inches()[1] + 1e-6
    assert len({(round(left, 3), round(top, 3)) for left, _, _, top in boxes}) == 24
    with pytest.raises(ValueError, match="filter_sheets: no layers to draw"):
        explanations.filter_sheets({})


def test_guided_grid_cuts_picture_and_gradient_at_the_same_box():
    images, gradients = pictures(), torch.randn(6, 3, 16, 16)
    gradients[:, :, :2] = 100  # outside of the boxes: must not set the scale
    figure = explanations.guided_grid(images, gradients, patches())
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
    figure = explanations.guided_grid(smooth, spots, table)
    assert len(figure.axes[0].get_images()) == 60
    assert len(display.render(figure)) < 200_000


def test_a_gradient_of_zero_is_grey_and_signs_are_told_apart():
    gradient = torch.zeros(3, 10, 10)
    gradient[0, 0, 0], gradient[0, 1, 1] = 2.0, -1.0
    picture = explanations.gradient_picture(gradient)
    assert picture[0, 0, 0] == 1
    assert picture[0, 1, 1] == 0
    assert (picture[1:] == 0.5).all()
    assert (explanations.gradient_picture(torch.zeros(3, 4, 4)) == 0.5).all()


def test_gradient_rows_stand_under_their_pictures():
    images, gradients = pictures(4), {"guided backprop": torch.randn(4, 3, 16, 16), "plain": torch.zeros(4, 3, 16, 16)}
    figure = explanations.gradient_rows(images, gradients, titles=list("abcd"))
    drawn = shown(figure)
    assert len(drawn) == 12
    assert np.array_equal(drawn[0], images[0].permute(1, 2, 0))
    assert np.unique(drawn[-1]).tolist() == [128]
    assert [t for t in texts(figure.axes[0]) if len(t) > 1] == ["picture", "guided backprop", "plain"]


def test_part_bars_show_energy_area_and_density_of_every_class():
    figure = explanations.part_bars(PARTS)
    cat, dog = figure.axes
    assert [ax.get_title(loc="left") for ax in (cat, dog)] == ["cat", "dog"]
    assert [bar.get_width() for bar in cat.patches] == [0.30, 0.05]
    assert [bar.get_width() for bar in dog.patches] == [0.60]
    assert [label.get_text() for label in cat.get_yticklabels()] == ["head", "leg"]
    assert cat.lines[0].get_xdata().tolist() == [0.10, 0.10]
    assert texts(cat) == ["background: 65 %, of the area 80 %", "× 3.0", "× 0.5", "× 0.8"]
    for ax in figure.axes:  # the panels share their scale, so the longer of the two decides
        assert ax.get_xlim()[0] == 0
        assert 0.7 <= ax.get_xlim()[1] < 0.8
    few = explanations.part_bars(PARTS[PARTS["class"] == "cat"], most=1).axes
    assert len(few) == 1
    assert [bar.get_width() for bar in few[0].patches] == [0.30]


def test_explanation_scores_puts_baselines_below_and_draws_the_best_of_them():
    figure = explanations.explanation_scores(SCORES)
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
    only = explanations.explanation_scores(SCORES, ["road"], baselines=())
    assert len(only.axes) == 1
    assert len(only.axes[0].lines[0].get_xdata()) == 4


@pytest.mark.parametrize(
    "draw", [lambda: explanations.part_bars(PARTS), lambda: explanations.explanation_scores(SCORES)]
)
def test_charts_have_a_dark_twin_with_no_colour_of_the_light_one(draw):
    light, dark = draw(), draw()
    ours = {to_hex(patch.get_facecolor()) for patch in light.findobj(Rectangle)} - {"#ffffff"}
    assert ours <= set(theme.LIGHT.values())
    with display.dark_twin(dark):
        picture = Image.open(io.BytesIO(display.render(dark))).convert("RGB")
        colours = {
            "#{:02x}{:02x}{:02x}".format(*colour) for _, colour in picture.getcolors(picture.width * picture.height)
        }
    assert theme.DARK["blue"] in colours
    assert not colours & {theme.LIGHT[name] for name in ("blue", "ink", "surface")}


def test_what_cannot_be_drawn_is_refused():
    images, gradients = pictures(), torch.randn(6, 3, 16, 16)
    with pytest.raises(
        ValueError, match=r"one entry for each of the 6 rows of patches; take images\[patches\['image'\]\]"
    ):
        explanations.guided_grid(images[:5], gradients[:5], patches())
    with pytest.raises(ValueError, match="no column 'unit'"):
        explanations.guided_grid(images, gradients, patches().drop(columns="unit"))
    with pytest.raises(ValueError, match="no column 'area'"):
        explanations.part_bars(PARTS.drop(columns="area"))
    with pytest.raises(ValueError, match="none of the columns pointing, energy, iou, road"):
        explanations.explanation_scores(SCORES[["method"]])
    with pytest.raises(ValueError, match="no column 'energy'"):
        explanations.explanation_scores(SCORES, ["energy"])
    with pytest.raises(ValueError, match="no rows to draw"):
        explanations.explanation_scores(SCORES[:0])
