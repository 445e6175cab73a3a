"""Ideas on trial: what each gained, with its doubt, and whether it stayed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from imgcls.plots.theme import (
    ACCENT,
    INK,
    MUTED,
    axes,
    dress,
    legend_above,
    need,
    need_columns,
    right_text,
    rows_axis,
    themed,
)


@themed
def gains(trials: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Gain of each idea in points with its interval, beside the line of no gain; filled where the idea stayed.

    Args:
        trials: columns name, gain, low, high (shares) and kept, as `search.climb` gives them; rows without a gain,
            such as the start, are left out. Rows are drawn from top to bottom.
        ax: where to draw; a new figure without it.
    """
    need_columns(trials, "gains", ["name", "gain", "low", "high", "kept"])
    trials = trials[trials["gain"].notna()]
    need(trials, "gains", "ideas")
    ax = dress(axes(ax, 1.2 + 0.5 * len(trials)), grid="x")
    ax.axvline(0, color=INK, linewidth=1)
    rows = np.arange(len(trials))
    points = 100 * trials[["gain", "low", "high"]].to_numpy(float)
    kept = trials["kept"].to_numpy(bool)
    for mine, colour, face, label in ((kept, ACCENT, ACCENT, "stays"), (~kept, MUTED, "none", "not told from chance")):
        if mine.any():
            ax.hlines(rows[mine], points[mine, 1], points[mine, 2], color=colour, linewidth=3.5, alpha=0.45)
            ax.plot(points[mine, 0], rows[mine], "o", color=colour, markerfacecolor=face, markersize=9, label=label)
    rows_axis(ax, trials["name"])
    for row, (gain, low, high) in enumerate(points):
        right_text(ax, row, f"{gain:+.1f}  [{low:+.1f}, {high:+.1f}]", INK)
    ax.margins(x=0.06)
    ax.set_xlabel("gain on the validation images, in points")
    legend_above(ax)
    return ax
