"""Figures of a data set: images of each class, and the sizes of the originals."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imgcls.plots import theme


@theme.themed
def class_counts(counts: pd.DataFrame) -> Figure:
    """Number of images per class, one panel per split, each on its own scale to show the class balance.

    Args:
        counts: Index = class, columns = splits, values = number of images.
    """
    theme.need(counts, "class_counts", "classes")
    theme.need(counts.columns, "class_counts", "splits")
    figure, panels = theme.canvas(1, 0.9 + 0.28 * len(counts), ncols=len(counts.columns), sharey=True)
    for ax, (split, column) in zip(panels, counts.items(), strict=True):
        theme.dress(ax, grid="")
        bars = ax.barh(range(len(counts)), column, height=0.72, color=theme.ACCENT)
        ax.bar_label(bars, fmt="{:,.0f}", padding=4, size=theme.SMALL, color=theme.INK)
        ax.set_title(f"{split}\n{column.sum():,} images")
        ax.set_xlim(0, max(column.max(), 1) * 1.4)
        theme.rows_axis(ax, counts.index)
        ax.set_xticks([])
    return figure


@theme.themed
def sizes(widths: Any, heights: Any, ax: Axes | None = None) -> Axes:
    """Width against height of the original images; the area of a dot grows with the number of images of that size.

    Args:
        widths: Pixels, one number per image.
        heights: Pixels, one number per image.
        ax: Where to draw; a new figure by default.
    """
    widths, heights = theme.array(widths), theme.array(heights)
    theme.need(widths, "sizes", "images")
    ax = theme.axes(ax, 4.6, grid="both")
    pairs, counts = np.unique(np.stack([widths, heights], 1), axis=0, return_counts=True)
    area = 14 + 500 * counts / len(widths)
    ax.scatter(*pairs.T, s=area, color=theme.ACCENT, alpha=0.55, linewidth=0)
    side = max(widths.max(), heights.max()) * 1.08
    ax.axline((0, 0), slope=1, color=theme.MUTED, linewidth=1, linestyle=theme.DASHED)
    ax.text(side * 0.04, side * 0.06, "square", rotation=45, color=theme.MUTED, size=theme.SMALL)
    (w, h), share = pairs[counts.argmax()], counts.max() / len(widths) * 100
    title = f"most common: {w:.0f} × {h:.0f}, {share:.0f} % of {len(widths):,} images"
    ax.set_title(title, size=theme.SMALL, weight="normal")
    ax.set(xlim=(0, side), ylim=(0, side), aspect="equal", xlabel="width, pixels", ylabel="height, pixels")
    return ax
