"""Figures of the first notebook: pixels, a convolution, the training loop, gradient steps, splits, intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from imgcls.plots import theme

# Title, line of code or note below it, and centre in inches of each step of the training loop.
STEPS = (
    ("data", "images, labels", (1.2, 0.55)),
    ("model", "logits = model(images)", (3.6, 0.55)),
    ("loss", "cross-entropy(logits, labels)", (6.0, 0.55)),
    ("gradient", "loss.backward()", (6.0, 1.95)),
    ("step", "optimizer.step()", (3.6, 1.95)),
)
BOX = (2.0, 0.7)  # inches
USES = ("gradient steps: the weights", "choices: epoch, learning rate, network", "one measurement, at the end")


@theme.themed
def pixel_values(image: Any, top: int, left: int, size: int = 7) -> Figure:
    """An image with a square marked, beside the numbers of one channel in this square.

    Args:
        image: (3, H, W) or (1, H, W) uint8; the numbers are those of the first channel.
        top: First row of the square.
        left: First column of the square.
        size: Side of the square in pixels.
    """
    pixels = theme.array(image)
    figure, (picture, numbers) = theme.canvas(height=3.4, ncols=2)
    picture.imshow(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0], cmap="gray", interpolation="nearest")
    picture.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, fill=False, color=theme.ORANGE, linewidth=2.5))
    picture.set_title(f"{pixels.shape[2]} × {pixels.shape[1]} pixels")
    values = pixels[0, top : top + size, left : left + size]
    _number_grid(numbers, values, high=255)
    numbers.set_title(f"{'red' if len(pixels) == 3 else 'only'} channel in the marked square")
    for ax in (picture, numbers):
        ax.set_axis_off()
    return figure


@theme.themed
def convolution(pixels: Any, kernel: Any, at: tuple[int, int] = (0, 0)) -> Figure:
    """One step of a convolution without padding: a window of the input, the kernel, and the sum in the output.

    Args:
        pixels: (H, W) numbers.
        kernel: (K, K) numbers.
        at: Row and column of the output whose window is marked.
    """
    pixels, kernel = theme.array(pixels), theme.array(kernel)
    size = len(kernel)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size))
    output = (windows * kernel).sum(axis=(2, 3))
    grids = {"input": pixels, "kernel": kernel, "output": output}
    figure, panels = theme.canvas(height=3.0, ncols=3, width_ratios=[grid.shape[1] for grid in grids.values()])
    for ax, (name, values) in zip(panels, grids.items(), strict=True):
        _number_grid(ax, values, low=min(0, values.min()), high=max(1, values.max()))
        ax.set_title(name)
        ax.set_anchor("N")
        ax.set_axis_off()
    row, column = at
    for ax, side in ((panels[0], size), (panels[2], 1)):
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(Rectangle(corner, side, side, fill=False, color=theme.ORANGE, linewidth=3, zorder=3))
    pairs = zip(kernel.ravel(), windows[row, column].ravel(), strict=True)
    terms = [f"({w:g})·{x:g}" if w < 0 else f"{w:g}·{x:g}" for w, x in pairs if w * x]
    text = " + ".join(terms or ["0"]) + f" = {output[row, column]:g}"
    figure.supxlabel(text.replace("-", "−"), size=theme.SMALL, color=theme.INK)
    return figure


def _number_grid(ax: Axes, values: np.ndarray, low: float = 0, high: float = 1) -> None:
    """Numbers in squares whose colour follows the number."""
    ax.imshow(values, cmap=theme.HEAT, vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        colour = theme.SURFACE if value > (low + high) / 2 else theme.INK
        ax.text(column, row, f"{value:g}".replace("-", "−"), ha="center", va="center", size=theme.SMALL, color=colour)


@theme.themed
def training_loop() -> Figure:
    """The five steps of a training loop as boxes with their lines of code, joined by arrows."""
    figure = Figure(figsize=(theme.WIDTH, 2.5))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, theme.WIDTH), ylim=(2.5, 0))
    ax.set_axis_off()
    width, height = BOX
    for title, code, (x, y) in STEPS:
        corner = (x - width / 2, y - height / 2)
        look = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": theme.SURFACE, "edgecolor": theme.ACCENT}
        ax.add_patch(FancyBboxPatch(corner, width, height, linewidth=1.8, **look))
        ax.text(x, y - 0.13, title, ha="center", va="center", size=theme.TEXT, weight="bold")
        text, size = theme.fit_text(code, width - 0.15, theme.SMALL)
        ax.text(x, y + 0.16, text, ha="center", va="center", size=size)
    _arrow(ax, (2.2, 0.55), (2.6, 0.55))
    _arrow(ax, (4.6, 0.55), (5.0, 0.55))
    _arrow(ax, (6.0, 0.9), (6.0, 1.6))
    _arrow(ax, (5.0, 1.95), (4.6, 1.95))
    _arrow(ax, (3.6, 1.6), (3.6, 0.9))
    ax.text(3.5, 1.25, "new weights", ha="right", va="center", size=theme.SMALL, color=theme.MUTED)
    ax.text(5.9, 1.25, "how wrong?", ha="right", va="center", size=theme.SMALL, color=theme.MUTED)
    notes = "once for each batch;\nall batches are one epoch"
    ax.text(1.2, 1.95, notes, ha="center", va="center", size=theme.SMALL, color=theme.MUTED)
    return figure


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {"arrowstyle": "-|>", "mutation_scale": 13, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, end, facecolor=theme.INK, edgecolor=theme.INK, **look))


@theme.themed
def descent(slopes: Mapping[str, Sequence[float]], centre: float = 3.0) -> Figure:
    """Steps of gradient descent on the loss (w - centre)², one panel for each learning rate.

    Args:
        slopes: Title of the panel -> weight before the first step and after each step.
        centre: Weight with the lowest loss.
    """
    theme.need(slopes, "descent", "paths")
    figure, panels = theme.canvas(height=2.9, ncols=len(slopes), sharey=True)
    reach = max(1.0, max(abs(w - centre) for path in slopes.values() for w in path))
    curve = np.linspace(centre - 1.1 * reach, centre + 1.1 * reach, 200)
    for ax, (title, path) in zip(panels, slopes.items(), strict=True):
        weights = np.asarray(path, float)
        ax.plot(curve, (curve - centre) ** 2, color=theme.MUTED, linewidth=1.3)
        look = {"color": theme.ACCENT, "markersize": 6, "linewidth": 1.2, "mec": theme.SURFACE}
        ax.plot(weights, (weights - centre) ** 2, "o-", **look)
        ax.plot(weights[0], (weights[0] - centre) ** 2, "D", color=theme.ORANGE, markersize=8, mec=theme.SURFACE)
        ax.set(title=title, xlabel="weight w")
        ax.tick_params(labelleft=ax is panels[0])
    panels[0].set_ylabel("loss")
    return figure


@theme.themed
def three_splits(counts: Mapping[str, int]) -> Figure:
    """The images as a bar cut into three splits, with the use of each below.

    Args:
        counts: Name -> images of the training, validation and test split, in this order.
    """
    figure, (ax,) = theme.canvas(height=1.9)
    total, left = sum(counts.values()), 0.0
    for row, ((name, count), colour, use) in enumerate(zip(counts.items(), theme.SERIES, USES, strict=False)):
        width = count / total
        ax.add_patch(Rectangle((left, 0), width, 0.8, facecolor=colour, edgecolor=theme.SURFACE, linewidth=2))
        ax.text(left + width / 2, 0.4, f"{count:,}", ha="center", va="center", color=theme.SURFACE)
        ax.plot(0.012, 1.3 + 0.5 * row, "s", color=colour, markersize=9)
        ax.text(0.035, 1.3 + 0.5 * row, name, va="center", weight="bold")
        ax.text(0.2, 1.3 + 0.5 * row, use, va="center")
        left += width
    ax.set(xlim=(0, 1), ylim=(2.65, -0.05))
    ax.set_axis_off()
    return figure


@theme.themed
def coverage(intervals: pd.DataFrame, truth: float) -> Axes:
    """Confidence intervals of repeated samples as vertical lines; those that miss the true value are marked.

    Args:
        intervals: Columns value, low, high (shares), one row a sample.
        truth: The true share.
    """
    theme.need_columns(intervals, "coverage", ["value", "low", "high"])
    ax = theme.axes(None, 3.2)
    misses = ((intervals["low"] > truth) | (intervals["high"] < truth)).to_numpy()
    x = np.arange(1, len(intervals) + 1)
    for chosen, colour, marker, label in (
        (~misses, theme.ACCENT, "o", "contains the true accuracy"),
        (misses, theme.ORANGE, "D", "misses it"),
    ):
        some = intervals[chosen]
        ax.vlines(x[chosen], some["low"], some["high"], color=colour, linewidth=2.5, alpha=0.55)
        ax.plot(x[chosen], some["value"], marker, color=colour, markersize=5, label=label)
    ax.axhline(truth, color=theme.INK, linewidth=1.2)
    ax.set(xlabel="simulated test set", ylabel="measured accuracy")
    ax.set_xlim(0, len(intervals) + 1)
    theme.percent_axis(ax.yaxis)
    theme.legend_above(ax)
    return ax
