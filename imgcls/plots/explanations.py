"""Figures of class activation maps, filters and feature maps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from imgcls.plots import sheets, theme
from imgcls.plots.sheets import CORRECT, GAP, INCORRECT, LINE, PAD, PIXELS, PLATE

CAM_MAP = colormaps["viridis"]
IN_A_ROW = 16  # filters or feature maps
FILTERS = 64  # filters of each layer that are shown


@theme.themed
def cam_grid(
    images: Any, cams: Any, titles: Sequence[str], correct: Sequence[bool] | None = None, columns: int = 3
) -> Figure:
    """Pairs of an image and its class activation map.

    Args:
        images: (N, C, H, W) uint8 or float in [0, 1].
        cams: (N, h, w) in [0, 1].
        titles: N captions.
        correct: (N,) whether each prediction is correct, marked by colour and sign.
        columns: Pairs in a row.
    """
    pixels, cams = sheets.to_pixels(images, "cam_grid", PIXELS // 2), theme.array(cams)
    cell = sheets.cell_width(2 * columns)
    width, tall = 2 * cell + GAP / 2, cell * sheets.aspect(pixels[0])
    marks = [""] * len(pixels) if correct is None else ["✓ " if one else "✗ " for one in correct]
    colours = [PLATE] * len(pixels) if correct is None else [CORRECT if one else INCORRECT for one in correct]
    texts = [theme.wrap(mark + title, width - 2 * PAD) for mark, title in zip(marks, titles, strict=True)]
    lines = max(map(len, texts))
    step = tall + lines * LINE + PAD + GAP
    columns = min(columns, len(pixels))
    bottom = math.ceil(len(pixels) / columns) * step
    figure, ax = sheets.sheet(columns * (width + GAP) - GAP, bottom + LINE + PAD)
    for i, (image, cam, text, colour) in enumerate(zip(pixels, cams, texts, colours, strict=True)):
        x, y = i % columns * (width + GAP), i // columns * step
        sheets.put(ax, image, x, y, cell)
        sheets.put(ax, cam_overlay(image, cam), x + cell + GAP / 2, y, cell)
        sheets.plate(ax, text, x, y + tall, width, colour, lines)
    _colour_bar(ax, bottom, columns * (width + GAP) - GAP)
    return figure


def cam_overlay(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """An image in grey under the viridis colours of its class activation map: 40 % image, 60 % map.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        cam: (h, w) in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    height, width = image.shape[:2]
    cam = Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    grey = image if image.ndim == 2 else image @ [0.299, 0.587, 0.114]
    colours = CAM_MAP(np.asarray(cam).clip(0, 1))[..., :3] * 255
    return (0.4 * grey[..., None] + 0.6 * colours).astype(np.uint8)


def _colour_bar(ax: Axes, y: float, width: float) -> None:
    sheets.plate(ax, [], 0, y, width, lines=1)
    bar = min(1.4, width / 3)
    left, middle = width / 2 - bar / 2, y + (LINE + PAD) / 2
    ramp = np.linspace(0, 1, 64)[None]
    ax.imshow(ramp, extent=(left, left + bar, middle + 0.06, middle - 0.06), cmap=CAM_MAP, aspect="auto", zorder=2)
    for x, side, text in ((left - PAD, "right", "no weight"), (left + bar + PAD, "left", "most weight")):
        text, size = theme.fit_text(text, left - 2 * PAD)
        ax.text(x, middle, text, ha=side, va="center", size=size, color="white")


@theme.themed
def filters(weights: Any) -> Figure:
    """Every filter of a layer as one square; more than three channels are averaged to grey.

    Args:
        weights: (F, C, h, w) in [0, 1].
    """
    weights = theme.array(weights)
    if weights.shape[1] not in (1, 3):
        weights = weights.mean(1, keepdims=True)
    pixels = sheets.to_pixels(weights, "filters")
    square = math.ceil(math.sqrt(len(pixels)))
    full = (n for n in range(square, 13) if len(pixels) % n == 0)  # numbers of columns that fill the last row
    columns = next(full, min(12, square))
    return sheets.grid(pixels, [[] for _ in pixels], columns, cell=min(sheets.cell_width(columns), 0.75))


@theme.themed
def filter_sheets(layers: Mapping[str, Any]) -> Figure:
    """Up to 64 filters of each layer, under the name of the layer and its number of filters.

    Args:
        layers: Name -> (F, C, h, w) in [0, 1]; C is 1 or 3.
    """
    theme.need(layers, "filter_sheets", "layers")
    blocks = {}
    for name, weights in layers.items():
        shown = f"{FILTERS} of {len(weights)}" if len(weights) > FILTERS else f"{len(weights)}"
        blocks[f"{name}: {shown} filters"] = sheets.to_pixels(theme.array(weights)[:FILTERS], "filter_sheets")
    return _stacked(blocks)


@theme.themed
def feature_sheets(image: Any, layers: Mapping[str, Any]) -> Figure:
    """An image above all feature maps of each layer, each map scaled separately.

    Args:
        image: (C, H, W) uint8, or floats in [0, 1]; C is 1 or 3.
        layers: Name -> (F, h, w).
    """
    theme.need(layers, "feature_sheets", "layers")
    blocks = {}
    for name, maps in layers.items():
        maps = theme.array(maps).astype(float)
        low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
        scaled = (maps - low) / np.maximum(high - low, 1e-12)  # 0 for a constant map
        count, height, width = maps.shape
        title = f"{name}: {count} maps of {height} × {width}"
        blocks[title] = sheets.to_pixels(scaled[:, None], "feature_sheets", PIXELS / len(layers))
    return _stacked(blocks, sheets.to_pixels(theme.array(image)[None], "feature_sheets")[0])


def _stacked(blocks: Mapping[str, np.ndarray], first: np.ndarray | None = None) -> Figure:
    """Small images in rows of 16 under the title of each block; `first` is on top, four images wide."""
    cell, head = (theme.WIDTH - (IN_A_ROW - 1) * GAP / 2) / IN_A_ROW, LINE + PAD + GAP / 2
    wide = 4 * cell + 1.5 * GAP
    top = 0 if first is None else wide * sheets.aspect(first) + GAP
    steps = [cell * sheets.aspect(images[0]) + GAP / 2 for images in blocks.values()]  # from one row to the next
    rows = [math.ceil(len(images) / IN_A_ROW) for images in blocks.values()]
    heights = [head + n * step + GAP / 2 for n, step in zip(rows, steps, strict=True)]
    figure, ax = sheets.sheet(theme.WIDTH, top + sum(heights) - GAP)
    if first is not None:
        sheets.put(ax, first, 0, 0, wide)
    for (title, images), step, height in zip(blocks.items(), steps, heights, strict=True):
        sheets.plate(ax, [title], 0, top, theme.WIDTH)
        for i, image in enumerate(images):
            sheets.put(ax, image, i % IN_A_ROW * (cell + GAP / 2), top + head + i // IN_A_ROW * step, cell)
        top += height
    return figure
