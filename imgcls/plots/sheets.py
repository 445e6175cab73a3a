"""Building blocks of grids of images: a panel measured in inches, images, and captions on plates.

A sheet has no background and fits light and dark pages, so these large figures need no dark version.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from imgcls.messages import UserError
from imgcls.plots.theme import WIDTH, array, fit_text, need

PLATE, CORRECT, INCORRECT = "#2b3038", "#1b7a4b", "#b3362b"  # white text is readable on each
GAP = 0.1  # inches between images
LINE = 0.2  # inches a line of a caption takes
PAD = 0.06  # inches
PIXELS = 70_000  # maximum over all images of a figure, which are downsampled, since a report is limited to 2 MB
SMOOTH_FROM = 97  # pixels per side; the pixels of smaller images are drawn as squares


def to_pixels(images: Any, function: str, pixels: float = PIXELS) -> np.ndarray:
    """(N, H, W, 3) or (N, H, W) uint8 from (N, C, H, W), downsampled if all images together exceed `pixels`."""
    images = array(images)
    need(images, function, "images")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(f"{function}: images have shape {images.shape}; expected (N, C, H, W) with C = 1 or 3")
    if images.dtype != np.uint8:
        images = (images.astype(float).clip(0, 1) * 255).round().astype(np.uint8)
    images = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
    shrink = math.sqrt(pixels / math.prod(images.shape[:3]))
    if shrink >= 1:
        return images
    side = [max(1, round(length * shrink)) for length in images.shape[2:0:-1]]
    return np.stack([np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BOX)) for image in images])


def aspect(image: np.ndarray) -> float:
    """Height over width."""
    return image.shape[0] / image.shape[1]


def cell_width(columns: int) -> float:
    """Width in inches of an image if `columns` images fill the report's width."""
    return (WIDTH - (columns - 1) * GAP) / columns


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure without background whose one panel is measured in inches from the top left corner."""
    figure = Figure(figsize=(width, height), facecolor="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_autoscale_on(False)
    return figure, ax


def put(ax: Axes, image: np.ndarray, x: float, y: float, width: float, height: float | None = None) -> None:
    """Draw an image at (x, y), `width` inches wide; scaled down to `height` if it is given."""
    tall = width * aspect(image)
    if height is not None and tall > height:
        x, width, tall = x + (width - width * height / tall) / 2, width * height / tall, height
    ax.imshow(
        image, extent=(x, x + width, y + tall, y), cmap="gray", vmin=0, vmax=255, aspect="auto",
        interpolation="nearest" if max(image.shape[:2]) < SMOOTH_FROM else "auto",
    )  # fmt: skip


def plate(
    ax: Axes, text: Sequence[str], x: float, y: float, width: float, colour: str = PLATE, lines: float | None = None
) -> None:
    """Lines of white text on a plate with the top left corner (x, y) and a height of `lines` lines."""
    height = (lines or len(text)) * LINE + PAD
    ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, linewidth=0))
    for i, line in enumerate(text):
        line, size = fit_text(line, width - 2 * PAD)
        ax.text(x + PAD, y + PAD / 2 + (i + 0.5) * LINE, line, va="center_baseline", size=size, color="white")


def grid(
    images: Sequence[np.ndarray], titles: Sequence[Sequence[str]], columns: int,
    colours: Sequence[str] | None = None, cell: float = 0, frame: bool = False,
) -> Figure:  # fmt: skip
    """Images row by row, each above the lines of its title on a coloured plate.

    Args:
        images: As `to_pixels` returns them.
        titles: Lines for each image; the height of a row is that of its longest title.
        columns: Images in a row.
        colours: Colour of each plate, and of the frame if `frame` is set.
        cell: Width of an image in inches; by default the row fills the report's column.
        frame: Whether each image has a frame.
    """
    cell = cell or cell_width(columns)
    columns = min(columns, len(images))
    tall = cell * aspect(images[0])
    lines = [max(map(len, titles[i : i + columns])) for i in range(0, len(images), columns)]
    plates = [n * LINE + PAD if n else 0 for n in lines]
    tops = np.cumsum([0, *(tall + height + GAP for height in plates)])
    figure, ax = sheet(columns * (cell + GAP) - GAP, tops[-1] - GAP)
    for i, (image, title, colour) in enumerate(zip(images, titles, colours or [PLATE] * len(images), strict=True)):
        row, x = i // columns, i % columns * (cell + GAP)
        put(ax, image, x, tops[row], cell)
        if title:
            plate(ax, title, x, tops[row] + tall, cell, colour, lines[row])
        if frame:
            height = tall + plates[row]
            ax.add_patch(Rectangle((x, tops[row]), cell, height, fill=False, edgecolor=colour, linewidth=3))
    return figure
