"""Figures made of pictures: each is one sheet measured in inches, with captions on plates of their own.

A sheet has no background: it sits on a light and on a dark page, so one version of these heavy files is enough.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from imgcls.plots.theme import WIDTH, array, fit, need, text_width, themed, wrap

PLATE, RIGHT, WRONG = "#2b3038", "#1b7a4b", "#b3362b"  # under white text, readable on any page
GAP = 0.1  # inches between pictures
LINE = 0.2  # inches a line of a caption takes
PAD = 0.06
PIXELS = 70_000  # of all pictures of a sheet; more are averaged away, since a report has to stay below 2 MB
SMOOTH_FROM = 97  # pixels; smaller pictures show their pixels as squares, as the network sees them
CAM_MAP = colormaps["viridis"]


@themed
def sample_grid(images: Any, labels: Any, classes: Sequence[str], per_class: int | None = None) -> Figure:
    """The first pictures of every class, each group under the name of its class, in the order of the classes.

    Args:
        images: (N, C, H, W) uint8, or floats in [0, 1]; C is 1 or 3.
        labels: (N,) class of each.
        classes: names.
        per_class: pictures of each; without it as many as keep the figure near thirty.
    """
    labels = array(labels)
    need(labels, "sample_grid", "images")
    per_class = per_class or max(1, min(6, 30 // len(classes)))
    chosen = [np.flatnonzero(labels == k)[:per_class] for k in range(len(classes))]
    pictures = _pictures(array(images)[np.concatenate(chosen)], "sample_grid")
    groups = np.split(pictures, np.cumsum([len(indices) for indices in chosen])[:-1])
    columns = max(1, 6 // per_class)  # groups in a row
    cell = _cell(columns * per_class)
    width = per_class * cell + (per_class - 1) * GAP / 2
    height = cell * _aspect(pictures[0]) + LINE + PAD
    figure, ax = _sheet(columns * (width + GAP) - GAP, math.ceil(len(classes) / columns) * (height + GAP) - GAP)
    for k, group in enumerate(groups):
        x, y = k % columns * (width + GAP), k // columns * (height + GAP)
        _plate(ax, [classes[k]], x, y, width)
        for i, picture in enumerate(group):
            _put(ax, picture, x + i * (cell + GAP / 2), y + LINE + PAD, cell)
    return figure


@themed
def augmentation_preview(original: Any, augmented: Any, columns: int = 6) -> Figure:
    """A picture, and what training sees of it: the original first, then one independent draw a cell.

    Args:
        original: (C, H, W) uint8 or float in [0, 1].
        augmented: (N, C, H, W) of the same kind.
        columns: pictures in a row.
    """
    augmented = _pictures(augmented, "augmentation_preview")
    pictures = [*_pictures(array(original)[None], "augmentation_preview"), *augmented]
    titles = [["original"], *([] for _ in augmented)]
    return _grid(pictures, titles, [PLATE] * len(pictures), columns)


@themed
def prediction_grid(
    images: Any, true: Any, predicted: Any, confidence: Any, classes: Sequence[str], columns: int = 5
) -> Figure:
    """Pictures with the predicted class and its confidence: green and a tick where right, red and a cross where not.

    Args:
        images: (N, C, H, W) uint8 or float in [0, 1].
        true: (N,) true class numbers.
        predicted: (N,) predicted class numbers.
        confidence: (N,) probability of the predicted class.
        classes: names.
        columns: pictures in a row.
    """
    pictures = _pictures(images, "prediction_grid")
    true, predicted, confidence = array(true), array(predicted), array(confidence)
    right, room = true == predicted, _cell(columns) - 2 * PAD
    titles = []
    for t, p, share in zip(true, predicted, confidence, strict=True):
        sure, truth = f"{share * 100:.0f} %", [] if t == p else [f"is {classes[t]}"]
        titles.append([f"{'✓' if t == p else '✗'} {classes[p]}", sure, *truth])
    if all(text_width(", ".join(title[1:]), 8) <= room for title in titles):
        titles = [[title[0], ", ".join(title[1:])] for title in titles]
    return _grid(pictures, titles, [RIGHT if good else WRONG for good in right], columns, frame=True)


@themed
def cam_grid(
    images: Any, cams: Any, titles: Sequence[str], right: Sequence[bool] | None = None, columns: int = 3
) -> Figure:
    """Pairs of a picture and what decided about it: the map in viridis over the picture in grey.

    Args:
        images: (N, C, H, W) uint8 or float in [0, 1].
        cams: (N, h, w) in [0, 1].
        titles: N captions.
        right: (N,) whether each prediction was right: green and a tick, red and a cross; none without it.
        columns: pairs in a row.
    """
    pictures, cams = _pictures(images, "cam_grid", PIXELS // 2), array(cams).astype(float)
    cell = _cell(2 * columns)
    width, tall = 2 * cell + GAP / 2, cell * _aspect(pictures[0])
    marks = [""] * len(pictures) if right is None else ["✓ " if r else "✗ " for r in right]
    colours = [PLATE] * len(pictures) if right is None else [RIGHT if r else WRONG for r in right]
    texts = [wrap(mark + title, width - 2 * PAD) for mark, title in zip(marks, titles, strict=True)]
    lines = max(map(len, texts))
    step = tall + lines * LINE + PAD + GAP
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure, ax = _sheet(columns * (width + GAP) - GAP, rows * step + LINE + PAD)
    for i, (picture, cam, text, colour) in enumerate(zip(pictures, cams, texts, colours, strict=True)):
        x, y = i % columns * (width + GAP), i // columns * step
        _put(ax, picture, x, y, cell)
        _put(ax, _overlay(picture, cam), x + cell + GAP / 2, y, cell)
        _plate(ax, text, x, y + tall, width, colour, lines)
    _scale(ax, rows * step, columns * (width + GAP) - GAP)
    return figure


def _overlay(picture: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The picture in grey under the colours of the map, at the picture's size."""
    height, width = picture.shape[:2]
    cam = Image.fromarray(cam.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    grey = picture if picture.ndim == 2 else picture @ [0.299, 0.587, 0.114]
    colours = CAM_MAP(np.asarray(cam).clip(0, 1))[..., :3] * 255
    return (0.4 * grey[..., None] + 0.6 * colours).astype(np.uint8)


def _scale(ax: Axes, y: float, width: float) -> None:
    """A small colour bar on a plate of its own, between the words for its ends."""
    _plate(ax, [], 0, y, width, lines=1)
    bar = min(1.4, width / 3)
    left, middle = width / 2 - bar / 2, y + (LINE + PAD) / 2
    ramp = np.linspace(0, 1, 64)[None]
    ax.imshow(ramp, extent=(left, left + bar, middle + 0.06, middle - 0.06), cmap=CAM_MAP, aspect="auto", zorder=2)
    room = left - 2 * PAD
    for x, side, text in ((left - PAD, "right", "no weight"), (left + bar + PAD, "left", "most weight")):
        text, size = fit(text, room)
        ax.text(x, middle, text, ha=side, va="center", size=size, color="white")


@themed
def filters(weights: Any, columns: int | None = None, titles: Sequence[str] | None = None) -> Figure:
    """Every filter (or feature map) of a layer as one square; more than three channels are averaged to grey.

    Args:
        weights: (F, C, h, w), or (F, h, w), in [0, 1].
        columns: squares in a row; the nearest square grid, at most twelve wide, without it.
        titles: F captions, or none.
    """
    weights = array(weights)
    if weights.ndim == 3:
        weights = weights[:, None]
    if weights.shape[1:2] not in ((1,), (3,)):
        weights = weights.mean(1, keepdims=True)
    pictures = _pictures(weights, "filters")
    square = math.ceil(math.sqrt(len(pictures)))
    full = (n for n in range(square, 13) if len(pictures) % n == 0)  # rows without a hole, if there is such a number
    columns = columns or next(full, min(12, square))
    captions = [[title] for title in titles] if titles is not None else [[] for _ in pictures]
    return _grid(
        pictures, captions, [PLATE] * len(pictures), columns, cell=min(_cell(columns), 0.75 if titles is None else 2)
    )


@themed
def duplicates(pairs: Sequence[tuple], names: Sequence[tuple[str, str]], similarity: Sequence[float]) -> Figure:
    """Pairs of pictures that are the same or nearly so, with the name of each, two pairs in a row.

    Args:
        pairs: (a, b) pictures, each (C, H, W) uint8 or float in [0, 1]; sizes may differ.
        names: (name of a, name of b).
        similarity: 1 for identical pixels, less for near-duplicates.
    """
    need(pairs, "duplicates", "pairs")
    share = PIXELS // (2 * len(pairs))
    cell, columns = _cell(4), min(2, len(pairs))
    width = 2 * cell + GAP / 2
    texts = [[_path_lines(name, cell - 2 * PAD) for name in both] for both in names]
    lines = max(len(text) for both in texts for text in both)
    step = LINE + PAD + cell + lines * LINE + PAD + 2 * GAP
    figure, ax = _sheet(columns * (width + 2 * GAP) - 2 * GAP, math.ceil(len(pairs) / columns) * step - 2 * GAP)
    for i, (both, text, alike) in enumerate(zip(pairs, texts, similarity, strict=True)):
        x, y = i % columns * (width + 2 * GAP), i // columns * step
        _plate(ax, ["identical" if alike >= 1 else f"{math.floor(alike * 1000) / 10:.1f} % alike"], x, y, width)
        for k in range(2):
            left, top = x + k * (cell + GAP / 2), y + LINE + PAD
            _put(ax, _pictures(array(both[k])[None], "duplicates", share)[0], left, top, cell, cell)
            _plate(ax, text[k], left, top + cell, cell, lines=lines)
    return figure


def _path_lines(name: str, width: float) -> list[str]:
    """A file's name broken after its slashes."""
    return [line.replace("/ ", "/") for line in wrap(name.replace("/", "/ "), width)]


# ------------------------------------------------------------------ sheets


def _pictures(images: Any, function: str, pixels: int = PIXELS) -> np.ndarray:
    """(N, H, W, 3) or (N, H, W) for imshow from (N, C, H, W), made smaller where they have more than `pixels`."""
    images = array(images)
    need(images, function, "images")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"{function}: images have shape {images.shape}; expected (N, C, H, W) with C = 1 or 3")
    if images.dtype != np.uint8:
        images = (images.astype(float).clip(0, 1) * 255).round().astype(np.uint8)
    pictures = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
    shrink = math.sqrt(pixels / math.prod(pictures.shape[:3]))
    if shrink >= 1:
        return pictures
    side = [max(1, round(length * shrink)) for length in pictures.shape[2:0:-1]]
    return np.stack([np.asarray(Image.fromarray(p).resize(side, Image.Resampling.BOX)) for p in pictures])


def _aspect(picture: np.ndarray) -> float:
    return picture.shape[0] / picture.shape[1]


def _cell(columns: int) -> float:
    """Width of a picture when `columns` of them fill the report's column."""
    return (WIDTH - (columns - 1) * GAP) / columns


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure without background whose one panel is measured in inches from the top left corner."""
    figure = Figure(figsize=(width, height), facecolor="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_autoscale_on(False)
    return figure, ax


def _put(ax: Axes, picture: np.ndarray, x: float, y: float, width: float, height: float | None = None) -> None:
    """Draw a picture at (x, y), `width` wide; within `height` where given, keeping its shape."""
    tall = width * _aspect(picture)
    if height is not None and tall > height:
        x, width, tall = x + (width - width * height / tall) / 2, width * height / tall, height
    ax.imshow(
        picture, extent=(x, x + width, y + tall, y), cmap="gray", vmin=0, vmax=255, aspect="auto",
        interpolation="nearest" if max(picture.shape[:2]) < SMOOTH_FROM else "auto",
    )  # fmt: skip


def _plate(
    ax: Axes, text: list[str], x: float, y: float, width: float, colour: str = PLATE, lines: int | None = None
) -> None:
    """Lines of white text on a plate whose top left corner is (x, y)."""
    height = (lines or len(text)) * LINE + PAD
    ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, linewidth=0))
    for i, line in enumerate(text):
        line, size = fit(line, width - 2 * PAD)
        ax.text(x + PAD, y + PAD / 2 + (i + 0.5) * LINE, line, va="center_baseline", size=size, color="white")


def _grid(
    pictures: Any, titles: list[list[str]], colours: list[str], columns: int, cell: float = 0, frame: bool = False
) -> Figure:
    """Pictures row by row, each over the lines of its title; a row is as tall as its longest title asks."""
    cell = cell or _cell(columns)
    columns = min(columns, len(pictures))
    tall = cell * _aspect(pictures[0])
    lines = [max(map(len, titles[i : i + columns])) for i in range(0, len(pictures), columns)]
    plates = [n * LINE + PAD if n else 0 for n in lines]
    tops = np.cumsum([0, *(tall + plate + GAP for plate in plates)])
    figure, ax = _sheet(columns * (cell + GAP) - GAP, tops[-1] - GAP)
    for i, (picture, title, colour) in enumerate(zip(pictures, titles, colours, strict=True)):
        row, x = i // columns, i % columns * (cell + GAP)
        _put(ax, picture, x, tops[row], cell)
        if title:
            _plate(ax, title, x, tops[row] + tall, cell, colour, lines[row])
        if frame:
            height = tall + plates[row]
            ax.add_patch(Rectangle((x, tops[row]), cell, height, fill=False, edgecolor=colour, linewidth=3))
    return figure
