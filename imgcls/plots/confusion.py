"""Errors class by class: confusion matrix, and precision, recall and F1."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from imgcls.messages import UserError
from imgcls.plots import theme
from imgcls.plots.labels import right_text

NUMBERED = 12  # maximum number of classes for numbers in the cells


@theme.themed
def confusion(counts: Any, classes: Sequence[str]) -> Figure:
    """Confusion matrix twice: as counts, and as shares of each true class. The colour scale is the square root.

    Up to four classes, the two panels are side by side. Up to twelve, the cells show their numbers. With more than four
    classes and equally many images of each, the shares would show the same picture, so they are left out.

    Args:
        counts: (K, K) whole numbers, rows = true class, columns = predicted class.
        classes: K names.
    """
    counts = theme.array(counts)
    theme.need(counts, "confusion", "classes")
    if counts.shape != (len(classes), len(classes)):
        raise UserError(f"confusion: counts have shape {counts.shape}, but there are {len(classes)} class names")
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    beside = len(classes) <= 4
    names_height = max(map(theme.text_width, classes)) * (0.7 if len(classes) <= NUMBERED else 1)
    one = not beside and len(set(counts.sum(1))) == 1
    rows = 1 if beside or one else 2
    height = 4.1 if beside else rows * (6.2 + names_height)
    figure, panels = theme.canvas(rows, height, ncols=2 if beside else 1)
    title = f"Number of images ({counts[0].sum():,.0f} of each true class)" if one else "Number of images"
    _confusion_panel(panels[0], counts, classes, title, "{:,.0f}".format)
    if not one:
        _confusion_panel(panels[1], shares, classes, "Per cent of each true class", "{:.0f}".format)
    return figure


def _confusion_panel(
    ax: Axes, values: np.ndarray, classes: Sequence[str], title: str, write: Callable[[float], str]
) -> None:
    import seaborn as sns  # slow to import, needed only here

    k, top = len(classes), max(values.max(), 1e-9)
    theme.dress(ax, grid="")
    numbered = k <= NUMBERED
    sns.heatmap(
        values, ax=ax, cmap=theme.HEAT, norm=PowerNorm(0.5, 0, top), square=True, linewidths=1 if numbered else 0.4,
        linecolor=theme.SURFACE, xticklabels=classes, yticklabels=classes, cbar=not numbered,
        cbar_kws={"shrink": 0.5, "aspect": 24, "pad": 0.02},
    )  # fmt: skip
    size = min(theme.SMALL, 72 * 5.4 / k * 0.8)
    turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if numbered else {"rotation": 90, "ha": "center"}
    for label in ax.get_xticklabels():
        label.set(size=size, **turn)
    for label in ax.get_yticklabels():
        label.set(size=size, rotation=0)
    ax.tick_params(length=0)
    ax.spines["bottom"].set_visible(False)
    ax.set(title=title, xlabel="predicted", ylabel="true")
    if not numbered:
        bar = ax.collections[0].colorbar
        bar.outline.set_visible(False)
        bar.ax.tick_params(color=theme.GRID, labelcolor=theme.INK, length=3)
        return
    for row, column in np.ndindex(k, k):  # seaborn's own annotations have colours without a dark twin
        dark = np.sqrt(values[row, column] / top) > 0.55
        colour = theme.SURFACE if dark else theme.INK if values[row, column] else theme.MUTED
        ax.text(column + 0.5, row + 0.5, write(values[row, column]), ha="center", va="center", size=size, color=colour)


@theme.themed
def per_class(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Precision, recall and F1 of each class, best F1 on top, with the number of test images of the class.

    Args:
        scores: Columns class, precision, recall, f1, support.
        ax: Where to draw; a new figure by default.
    """
    theme.need_columns(scores, "per_class", ["class", "precision", "recall", "f1", "support"])
    scores = scores.sort_values("f1", ascending=False, kind="stable")
    ax = theme.axes(ax, 1.2 + 0.3 * len(scores), grid="both")
    rows, ends = range(len(scores)), scores[["precision", "recall"]]
    ax.hlines(rows, ends.min(axis=1), ends.max(axis=1), color=theme.MUTED, linewidth=1)
    for column, marker in (("precision", "<"), ("recall", ">")):
        ax.plot(
            scores[column], rows, marker, label=column, color=theme.MUTED, markerfacecolor=theme.SURFACE, markersize=8
        )
    ax.plot(scores["f1"], rows, "o", label="F1", color=theme.ACCENT, markersize=9)
    theme.rows_axis(ax, scores["class"])
    for row, support in zip(rows, scores["support"], strict=True):
        right_text(ax, row, f"{support:,.0f}", theme.MUTED)
    right_text(ax, -0.95, "images", theme.MUTED)
    ax.set_xlim(min(0.9, np.nanmin(scores[["precision", "recall", "f1"]]) - 0.05), 1.03)
    ax.set_xticks([tick for tick in ax.get_xticks() if ax.get_xlim()[0] <= tick <= 1])
    theme.percent_axis(ax.xaxis)
    theme.legend_above(ax)
    return ax
