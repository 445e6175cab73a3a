"""Text in a chart: labels at the ends of lines, of horizontal levels, and next to rows."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from imgcls.plots.theme import DOTTED, INK, MUTED, SMALL, SURFACE, text_width


def end_labels(ax: Axes, labels: Sequence[tuple[float, str, str, str]]) -> None:
    """Label lines at their right ends, moved apart until none overlap; (y in data units, text, colour, marker) each."""
    if not labels:
        return
    labels = sorted(labels, key=lambda label: label[0])
    ax.figure.draw_without_rendering()  # settles the limits and the height that the layout leaves
    ends = ax.transData.transform([(ax.get_xlim()[1], y) for y, *_ in labels])
    ends = ax.transAxes.inverted().transform(ends)[:, 1]
    line = 1.25 * SMALL / 72 * ax.figure.dpi / ax.get_window_extent().height  # as a share of the axes
    lines = np.array([text.count("\n") + 1.3 for _, text, *_ in labels]) * line
    offsets = np.concatenate([[0], np.cumsum((lines[1:] + lines[:-1]) / 2)])
    # The least squared shift that keeps the order, then clipped to the panel.
    low, high = lines[0] / 2, 1 - lines[-1] / 2 - offsets[-1]
    heights = np.clip(isotonic_regression(ends - offsets).x, low, max(low, high)) + offsets
    for height, (_, text, colour, marker) in zip(heights, labels, strict=True):
        ax.plot(1.025, height, marker, transform=ax.transAxes, color=colour, clip_on=False, markersize=6)
        ax.annotate(text, (1.05, height), xycoords="axes fraction", va="center", size=SMALL, annotation_clip=False)


def right_text(ax: Axes, row: float, text: str, colour: str = INK) -> None:
    """Write numbers to the right of the panel, next to a row; a hyphen becomes a minus sign."""
    ax.annotate(
        text.replace("-", "−"), (1.02, row), xycoords=("axes fraction", "data"), va="center", size=SMALL, color=colour,
        annotation_clip=False,
    )  # fmt: skip


def level_lines(ax: Axes, levels: Mapping[str, float] | None) -> None:
    """Dotted horizontal lines (label -> y), each labelled at the end and on the side with the least data.

    Call it after drawing the data: it extends the limits so that each label is inside the panel.
    """
    if not levels:
        return
    (bottom, top), values = ax.get_ylim(), levels.values()
    span = max(top, *values) - min(bottom, *values)
    ax.set_ylim(min(bottom, min(values) - 0.05 * span), max(top, max(values) + 0.11 * span))
    ax.figure.draw_without_rendering()  # settles the layout
    drawn = [_along(ax.transData.transform(line.get_xydata())) for line in ax.lines if len(line.get_xdata())]
    drawn = np.concatenate(drawn)
    panel, unit = ax.get_window_extent(), ax.figure.dpi / 72
    for label, level in levels.items():
        ax.axhline(level, color=MUTED, linewidth=1, linestyle=DOTTED)
        middle = ax.transData.transform((0, level))[1]
        width = text_width(label) * ax.figure.dpi
        costs = {}
        for (x, left), up in product(((1, panel.x1 - width), (0, panel.x0)), (1, -1)):
            near = (drawn[:, 0] > left - 6 * unit) & (drawn[:, 0] < left + width + 6 * unit)
            height = (drawn[near, 1] - middle) * up / unit  # points away from the line, on the side of the label
            outside = not panel.y0 < middle + up * 15 * unit < panel.y1
            costs[x, up] = ((height > -3) & (height < 20)).sum() + 1e6 * outside
        x, up = min(costs, key=costs.get)
        ax.annotate(
            label, (x, level), (0, 3 * up), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right" if x else "left", va="bottom" if up > 0 else "top", size=SMALL, color=MUTED, zorder=5,
            bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1, "alpha": 0.7},
        )  # fmt: skip


def _along(corners: np.ndarray) -> np.ndarray:
    """Points (N, 2) close to each other along a line through `corners`."""
    steps = np.linspace(0, len(corners) - 1, 40 * len(corners))
    return np.stack([np.interp(steps, np.arange(len(corners)), column) for column in corners.T], 1)
