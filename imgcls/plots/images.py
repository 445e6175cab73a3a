"""Grids of images: samples, augmentations, predictions, one row per setting."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from imgcls.plots import sheets, theme
from imgcls.plots.sheets import CORRECT, GAP, INCORRECT, LINE, PAD, PIXELS


@theme.themed
def sample_grid(images: Any, labels: Any, classes: Sequence[str], per_class: int | None = None) -> Figure:
    """The first images of every class under the name of the class.

    Args:
        images: (N, C, H, W) uint8, or floats in [0, 1]; C is 1 or 3.
        labels: (N,) class numbers.
        classes: Their names.
        per_class: Images of each class; by default as many as keep the figure near thirty.
    """
    labels = theme.array(labels)
    theme.need(labels, "sample_grid", "images")
    per_class = per_class or max(1, min(6, 30 // len(classes)))
    chosen = [np.flatnonzero(labels == k)[:per_class] for k in range(len(classes))]
    pixels = sheets.to_pixels(theme.array(images)[np.concatenate(chosen)], "sample_grid")
    groups = np.split(pixels, np.cumsum([len(indices) for indices in chosen])[:-1])
    columns = max(1, 6 // per_class)  # groups in a row
    cell = sheets.cell_width(columns * per_class)
    width = per_class * cell + (per_class - 1) * GAP / 2
    height = cell * sheets.aspect(pixels[0]) + LINE + PAD
    rows = math.ceil(len(classes) / columns)
    figure, ax = sheets.sheet(columns * (width + GAP) - GAP, rows * (height + GAP) - GAP)
    for k, group in enumerate(groups):
        x, y = k % columns * (width + GAP), k // columns * (height + GAP)
        sheets.plate(ax, [classes[k]], x, y, width)
        for i, image in enumerate(group):
            sheets.put(ax, image, x + i * (cell + GAP / 2), y + LINE + PAD, cell)
    return figure


@theme.themed
def augmentation_preview(original: Any, augmented: Any) -> Figure:
    """An image, followed by independent draws of its augmentation.

    Args:
        original: (C, H, W) uint8 or float in [0, 1].
        augmented: (N, C, H, W) uint8 or float in [0, 1].
    """
    augmented = sheets.to_pixels(augmented, "augmentation_preview")
    pixels = [*sheets.to_pixels(theme.array(original)[None], "augmentation_preview"), *augmented]
    return sheets.grid(pixels, [["original"], *([] for _ in augmented)], columns=6)


@theme.themed
def prediction_grid(
    images: Any, true: Any, predicted: Any, confidence: Any, classes: Sequence[str], columns: int = 5
) -> Figure:
    """Images with predicted class and confidence: green and ticked if correct, red with the true class if not.

    Args:
        images: (N, C, H, W) uint8 or float in [0, 1].
        true: (N,) true class numbers.
        predicted: (N,) predicted class numbers.
        confidence: (N,) probability of the predicted class.
        classes: Names.
        columns: Images in a row.
    """
    pixels = sheets.to_pixels(images, "prediction_grid")
    true, predicted, confidence = theme.array(true), theme.array(predicted), theme.array(confidence)
    titles = []
    for t, p, share in zip(true, predicted, confidence, strict=True):
        truth = [] if t == p else [f"is {classes[t]}"]
        titles.append([f"{'✓' if t == p else '✗'} {classes[p]}", theme.percent(share), *truth])
    if all(theme.text_width(", ".join(title[1:]), 8) <= sheets.cell_width(columns) - 2 * PAD for title in titles):
        titles = [[title[0], ", ".join(title[1:])] for title in titles]
    colours = [CORRECT if correct else INCORRECT for correct in true == predicted]
    return sheets.grid(pixels, titles, columns, colours, frame=True)


@theme.themed
def gallery(images: Any, titles: Sequence[str] | None = None, columns: int = 5, pixels: int = PIXELS) -> Figure:
    """Images row by row, each with its title below.

    Args:
        images: (N, C, H, W) uint8, or floats in [0, 1]; C is 1 or 3.
        titles: N captions.
        columns: Images in a row.
        pixels: Maximum number of pixels of all images together; larger images are downsampled.
    """
    drawn = sheets.to_pixels(images, "gallery", pixels)
    room = sheets.cell_width(columns) - 2 * PAD
    captions = [theme.wrap(title, room) for title in titles] if titles is not None else [[] for _ in drawn]
    return sheets.grid(drawn, captions, columns)


@theme.themed
def picture_rows(rows: Mapping[str, Any], titles: Sequence[str] | None = None, pixels: int = PIXELS) -> Figure:
    """One row of images for each setting, so that columns can be compared.

    Args:
        rows: Name of the setting -> (N, C, H, W) uint8, or floats in [0, 1]; H and W may differ between rows.
        titles: A caption for each column.
        pixels: Maximum number of pixels of all images together; larger images are downsampled.
    """
    theme.need(rows, "picture_rows", "rows")
    arrays = [theme.array(images) for images in rows.values()]
    counts = [images.size // images.shape[1] for images in arrays]
    kept = min(1, pixels / max(sum(counts), 1))
    drawn = [sheets.to_pixels(one, "picture_rows", count * kept) for one, count in zip(arrays, counts, strict=True)]
    cell = sheets.cell_width(max(map(len, drawn)))
    name_height, head = LINE + PAD, LINE + PAD if titles is not None else 0
    heights = [cell * sheets.aspect(images[0]) for images in drawn]
    figure, ax = sheets.sheet(theme.WIDTH, head + sum(heights) + len(drawn) * (name_height + GAP) - GAP)
    for i, title in enumerate(titles or ()):
        sheets.plate(ax, [title], i * (cell + GAP), 0, cell)
    y = head + (GAP / 2 if head else 0)
    for name, images, height in zip(rows, drawn, heights, strict=True):
        sheets.plate(ax, [name], 0, y, theme.WIDTH)
        for i, image in enumerate(images):
            sheets.put(ax, image, i * (cell + GAP), y + name_height, cell)
        y += name_height + height + GAP
    return figure
