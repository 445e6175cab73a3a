"""Figures of the first notebook."""

import pandas as pd
import pytest
import torch
from conftest import check_twin
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle

from course.plots import primer
from imgcls.plots import theme

IMAGE = (torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
EDGE = torch.tensor([[0, 4, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 0, 0]])
KERNEL = torch.tensor([[-1, 0, 1]] * 3)
INTERVALS = pd.DataFrame({"value": [0.7, 0.9, 0.5], "low": [0.6, 0.8, 0.4], "high": [0.8, 0.95, 0.6]})
FIGURES = {
    "pixel_values": lambda: primer.pixel_values(IMAGE // 2, 3, 4),
    "convolution": lambda: primer.convolution(EDGE, KERNEL, (0, 1)),
    "training_loop": primer.training_loop,
    "descent": lambda: primer.descent({"small": [0.0, 1.0, 2.0], "large": [0.0, 7.0, -2.0]}),
    "three_splits": lambda: primer.three_splits({"training": 1200, "validation": 300, "test": 600}),
    "coverage": lambda: primer.coverage(INTERVALS, 0.7),
}


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_a_dark_twin(name):
    check_twin(FIGURES[name])


def test_the_numbers_are_those_of_the_marked_square():
    picture, numbers = primer.pixel_values(IMAGE, 3, 4, size=5).axes
    assert texts(numbers) == [str(value) for value in IMAGE[0, 3:8, 4:9].flatten().tolist()]
    (mark,) = [patch for patch in picture.patches if isinstance(patch, Rectangle)]
    assert (mark.get_xy(), mark.get_width()) == ((3.5, 2.5), 5)
    assert numbers.get_title(loc="left") == "red channel in the marked square"
    assert primer.pixel_values(IMAGE[:1], 3, 4).axes[1].get_title(loc="left") == "only channel in the marked square"


def test_the_output_is_that_of_the_convolution_and_its_sum_is_written_out():
    figure = primer.convolution(EDGE, KERNEL, (0, 1))
    expected = torch.nn.functional.conv2d(EDGE[None, None].float(), KERNEL[None, None].float())[0, 0]
    assert texts(figure.axes[2]) == [f"{value:g}" for value in expected.flatten().tolist()]
    assert figure.get_supxlabel() == "(−1)·4 + 1·9 + 1·9 + 1·9 = 23"
    assert primer.convolution(EDGE * 0, KERNEL).get_supxlabel() == "0 = 0"


def test_arrows_of_the_training_loop_touch_no_text():
    figure = primer.training_loop()
    (ax,) = figure.axes
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    arrows = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 5
    assert not any(box.overlaps(arrow) for box in boxes for arrow in arrows)


def test_intervals_that_miss_the_truth_are_marked():
    lines = primer.coverage(INTERVALS, 0.7).collections
    counts = {to_hex(one.get_color()[0]): len(one.get_segments()) for one in lines}
    assert counts == {theme.ACCENT: 1, theme.ORANGE: 2}


def test_a_split_is_as_wide_as_its_share():
    (ax,) = primer.three_splits({"training": 60, "validation": 15, "test": 25}).axes
    assert [patch.get_width() for patch in ax.patches] == [0.6, 0.15, 0.25]
    assert texts(ax)[:3] == ["60", "training", primer.USES[0]]
