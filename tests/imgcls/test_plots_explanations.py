"""Figures of filters draw all that they are given."""

import numpy as np
import pytest
import torch

from imgcls.plots import explanations


def test_filter_sheets_draw_the_first_of_each_layer_under_its_name():
    colour, grey = torch.rand(4, 3, 3, 3), torch.rand(70, 1, 3, 3)
    figure = explanations.filter_sheets({"one": colour, "two": grey})
    ax = figure.axes[0]
    drawn = [image.get_array() for image in ax.get_images()]
    assert [text.get_text() for text in ax.texts] == ["one: 4 filters", "two: 64 of 70 filters"]
    assert len(drawn) == 4 + 64
    assert np.abs(drawn[1] - 255 * colour[1].permute(1, 2, 0).numpy()).max() <= 0.5
    assert np.abs(drawn[4 + 63] - 255 * grey[63, 0].numpy()).max() <= 0.5
    boxes = [image.get_extent() for image in ax.get_images()]
    assert max(right for _, right, *_ in boxes) <= figure.get_size_inches()[0] + 1e-6
    assert max(bottom for *_, bottom, _ in boxes) <= figure.get_size_inches()[1] + 1e-6
    assert len({(round(left, 3), round(top, 3)) for left, _, _, top in boxes}) == 68
    with pytest.raises(ValueError, match="filter_sheets: no layers to draw"):
        explanations.filter_sheets({})
