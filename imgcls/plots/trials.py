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

FAR = 5  # a gain so many times the reach of the middle idea would leave no room to see the others


@themed
def gains(trials: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Gain of each idea in points with its interval, beside the line of no gain; filled where the idea stayed.

    An idea that gains far more than the others, or loses far more, is an arrow at the edge: the scale is that of the
    others, so that their intervals can be seen. Its number stands on the right like every other.

    Args:
        trials: columns name, gain, low, high (shares) and kept, as `search.forward_selection` gives them; rows
            without a gain, such as the start, are left out. Rows are drawn from top to bottom.
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
    least = np.maximum(points[:, 1], -points[:, 2])  # what is gained or lost at least; negative where neither is sure
    near = least <= FAR * np.median(np.abs(points).max(axis=1))
    for mine, colour, face, label in (
        (kept, ACCENT, ACCENT, "stays"),
        (~kept, MUTED, "none", "does not stay by itself"),
    ):
        if mine.any():
            seen = mine & near
            style = {"color": colour, "markerfacecolor": face, "markersize": 9}
            ax.hlines(rows[seen], points[seen, 1], points[seen, 2], color=colour, linewidth=3.5, alpha=0.45)
            ax.plot(points[seen, 0], rows[seen], "o", label=label, **style)
            for row in rows[mine & ~near]:
                edge, arrow = (0.98, ">") if points[row, 0] > 0 else (0.02, "<")
                ax.plot(edge, row, arrow, transform=ax.get_yaxis_transform(), **style)
    rows_axis(ax, trials["name"])
    for row, (gain, low, high) in enumerate(points):
        right_text(ax, row, f"{gain:+.1f}  [{low:+.1f}, {high:+.1f}]", INK)
    ax.margins(x=0.06)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(
        "gain on the validation images, in points" + ("" if near.all() else "; an arrow lies beyond the scale")
    )
    legend_above(ax)
    return ax
