"""Figures made of pictures: each is one sheet measured in inches, with captions on plates of their own.

A sheet has no background: it sits on a light and on a dark page, so one version of these heavy files is enough.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from imgcls.plots.theme import SMALL, WIDTH, array, fit, need, text_width, themed, wrap

PLATE, RIGHT, WRONG = "#2b3038", "#1b7a4b", "#b3362b"  # under white text, readable on any page
GAP = 0.1  # inches between pictures
LINE = 0.2  # inches a line of a caption takes
PAD = 0.06
PIXELS = 70_000  # of all pictures of a sheet; more are averaged away, since a report has to stay below 2 MB
SMOOTH_FROM = 97  # pixels; smaller pictures show their pixels as squares, as the network sees them
CAM_MAP = colormaps["viridis"]
PART_MAP = colormaps["tab20"]
SWATCH = 0.16  # inches, of a colour in a key


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
def feature_sheets(image: Any, layers: Mapping[str, Any], columns: int = 16) -> Figure:
    """A picture, and under it a sheet of all feature maps of each layer, each map scaled to its own range.

    Args:
        image: (C, H, W) uint8, or floats in [0, 1]; C is 1 or 3.
        layers: name -> (F, h, w) numbers.
        columns: maps in a row.
    """
    need(layers, "feature_sheets", "layers")
    maps = {name: array(values).astype(float) for name, values in layers.items()}
    sheets = {
        name: _pictures(_own_range(values)[:, None], "feature_sheets", PIXELS / len(maps))
        for name, values in maps.items()
    }
    cell, plate = (WIDTH - (columns - 1) * GAP / 2) / columns, LINE + PAD
    picture = _pictures(array(image)[None], "feature_sheets")[0]
    first = 4 * cell + 1.5 * GAP  # as wide as four maps
    tops = np.cumsum([first * _aspect(picture) + GAP] + [
        plate + GAP / 2 + math.ceil(len(sheet) / columns) * (cell * _aspect(sheet[0]) + GAP / 2) + GAP / 2
        for sheet in sheets.values()
    ])  # fmt: skip
    figure, ax = _sheet(WIDTH, tops[-1] - GAP)
    _put(ax, picture, 0, 0, first)
    for (name, sheet), top in zip(sheets.items(), tops, strict=False):
        _, height, width = maps[name].shape
        _plate(ax, [f"{name}: {len(sheet)} maps of {height} × {width}"], 0, top, WIDTH)
        for i, one in enumerate(sheet):
            tall = cell * _aspect(one) + GAP / 2
            _put(ax, one, i % columns * (cell + GAP / 2), top + plate + GAP / 2 + i // columns * tall, cell)
    return figure


def _own_range(maps: np.ndarray) -> np.ndarray:
    """Each map (F, h, w) from 0 to 1; a map without differences is 0."""
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / np.maximum(high - low, 1e-12)


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


@themed
def gallery(images: Any, titles: Sequence[str] | None = None, columns: int = 5, pixels: int = PIXELS) -> Figure:
    """Pictures row by row, each over its title.

    Args:
        images: (N, C, H, W) uint8, or floats in [0, 1]; C is 1 or 3.
        titles: N captions, or none.
        columns: pictures in a row.
        pixels: of all pictures together, more are averaged away; even surfaces bear more than the usual.
    """
    pictures = _pictures(images, "gallery", pixels)
    room = _cell(columns) - 2 * PAD
    captions = [wrap(title, room) for title in titles] if titles is not None else [[] for _ in pictures]
    return _grid(pictures, captions, [PLATE] * len(pictures), columns)


@themed
def picture_rows(rows: Mapping[str, Any], titles: Sequence[str] | None = None, pixels: int = PIXELS) -> Figure:
    """One row of pictures for each setting under a plate with its name, so that columns compare.

    Args:
        rows: name of the setting -> (N, C, H, W) uint8, or floats in [0, 1]; H and W may differ from row to row.
        titles: a caption for each column, or none.
        pixels: of all pictures together, more are averaged away.
    """
    need(rows, "picture_rows", "rows")
    arrays = [array(images) for images in rows.values()]
    counts = [images.size // images.shape[1] for images in arrays]
    kept = min(1, pixels / max(sum(counts), 1))
    drawn = [_pictures(images, "picture_rows", count * kept) for images, count in zip(arrays, counts, strict=True)]
    cell = _cell(max(map(len, drawn)))
    plate, head = LINE + PAD, LINE + PAD if titles is not None else 0
    heights = [cell * _aspect(pictures[0]) for pictures in drawn]
    figure, ax = _sheet(WIDTH, head + sum(heights) + len(drawn) * (plate + GAP) - GAP)
    for i, title in enumerate(titles or ()):
        _plate(ax, [title], i * (cell + GAP), 0, cell)
    y = head + (GAP / 2 if head else 0)
    for name, pictures, height in zip(rows, drawn, heights, strict=True):
        _plate(ax, [name], 0, y, WIDTH)
        for i, picture in enumerate(pictures):
            _put(ax, picture, i * (cell + GAP), y + plate, cell)
        y += plate + height + GAP
    return figure


@themed
def part_maps(images: Any, parts: Any, names: Sequence[str]) -> Figure:
    """Pictures over maps of what each pixel shows, with a key to the colours under all of them.

    Args:
        images: (N, C, H, W) uint8, or floats in [0, 1].
        parts: (N, H, W) whole numbers; 0 is nothing, k is names[k - 1].
        names: of the parts; only those that occur are named.
    """
    parts = array(parts)
    pictures = _pictures(images, "part_maps", PIXELS // 2)
    found = [int(k) for k in np.unique(parts) if k]
    colours = np.full((len(names) + 1, 3), 232, np.uint8)
    for i, k in enumerate(found):
        colours[k] = (np.array(PART_MAP(i % PART_MAP.N)[:3]) * 255).astype(np.uint8)
    cell = _cell(len(pictures))
    tall = cell * _aspect(pictures[0])
    key = _flow([names[k - 1] for k in found], WIDTH - 2 * PAD)
    top = 2 * (tall + GAP / 2)
    lines = key[-1][1] + 1
    figure, ax = _sheet(WIDTH, top + lines * LINE + PAD)
    for i, (picture, part) in enumerate(zip(pictures, parts, strict=True)):
        _put(ax, picture, i * (cell + GAP), 0, cell)
        _put(ax, colours[part], i * (cell + GAP), tall + GAP / 2, cell)
    _plate(ax, [], 0, top, WIDTH, lines=lines)
    for (x, line), k in zip(key, found, strict=True):
        y = top + PAD / 2 + (line + 0.5) * LINE
        ax.add_patch(Rectangle((PAD + x, y - 0.05), SWATCH, 0.1, facecolor=colours[k] / 255, linewidth=0))
        ax.text(PAD + x + SWATCH + 0.05, y, names[k - 1], va="center_baseline", size=SMALL, color="white")
    return figure


def _flow(words: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Where each entry of a key stands, (inches from the left, line), when lines are `width` inches long."""
    places, x, line = [], 0.0, 0
    for word in words:
        taken = SWATCH + 0.2 + text_width(word, SMALL)
        if x and x + taken > width:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += taken
    return places


@themed
def landscape(images: Any, names: Sequence[str], features: Any, columns: int = 8) -> Figure:
    """Pictures on a grid on which those with like features are neighbours.

    Args:
        images: (N, C, H, W) uint8, or floats in [0, 1].
        names: N captions.
        features: (N, D) numbers; their distances decide the order.
        columns: pictures in a row.
    """
    images = array(images)
    need(images, "landscape", "images")
    order = neighbours(features, columns)
    return gallery(images[order], [names[i] for i in order], columns)


def neighbours(features: Any, columns: int) -> np.ndarray:
    """An order of N rows of features, int (N,), that puts like ones next to each other on a grid, row by row.

    The best order is too hard to find (quadratic assignment), so two are exchanged as long as any exchange helps,
    from the order along the first principal direction on.
    """
    features = array(features).astype(float)
    features = features - features.mean(0)
    distance = np.linalg.norm(features[:, None] - features[None], axis=2)
    y, x = np.divmod(np.arange(len(features)), columns)
    near = 1 / np.maximum((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2, 1) ** 2  # of cells
    np.fill_diagonal(near, 0)
    order = np.argsort(features @ np.linalg.svd(features, full_matrices=False)[2][0], kind="stable")
    improved = True
    while improved:
        improved = False
        for a in range(len(order)):
            alike = distance[np.ix_(order, order)]
            # What exchanging a with each b changes: both leave their neighbours for those of the other.
            own, all_ = near[a] @ alike[a], (near * alike).sum(1)
            change = near @ alike[a] + alike @ near[a] - own - all_ + 2 * near[a] * alike[a]
            change[a] = 0
            b = int(change.argmin())
            if change[b] < -1e-9:
                order[[a, b]] = order[[b, a]]
                improved = True
    return order


# ------------------------------------------------------------------ sheets


def _pictures(images: Any, function: str, pixels: float = PIXELS) -> np.ndarray:
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
