"""Gains of methods over a reference, by the paired test over seeds."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from course.plots.comparisons import intervals
from imgcls.plots import theme
from imgcls.plots.labels import right_text


@theme.themed
def method_gains(table: pd.DataFrame, xlabel: str, ax: Axes | None = None) -> Axes:
    """Gain of each method in points with its interval; filled where the interval excludes zero.

    Args:
        table: Columns name, gain, gain_low, gain_high (shares) and verdict, as `course.seeds.compare_seeds` returns
            them; rows without a gain are left out. The first row is on top.
        xlabel: What the gain is, and over what.
        ax: Where to draw; a new figure by default.
    """
    theme.need_columns(table, "method_gains", ["name", "gain", "gain_low", "gain_high", "verdict"])
    table = table[table["gain"].notna()]
    theme.need(table, "method_gains", "methods with a gain")
    ax = theme.axes(ax, 1.3 + 0.5 * len(table), grid="x")
    ax.axvline(0, color=theme.INK, linewidth=1)
    rows = np.arange(len(table))
    gain, low, high = 100 * table[["gain", "gain_low", "gain_high"]].to_numpy(float).T
    clear = (table["verdict"] != "inconclusive").to_numpy()
    for mine, colour, face, label in (
        (clear, theme.ACCENT, theme.ACCENT, "interval excludes zero"),
        (~clear, theme.MUTED, "none", "inconclusive"),
    ):
        if mine.any():
            intervals(ax, rows[mine], gain[mine], low[mine], high[mine], colour, markerfacecolor=face, label=label)
    theme.rows_axis(ax, table["name"])
    for row in rows:
        right_text(ax, row, f"{gain[row]:+.1f}  [{low[row]:+.1f}, {high[row]:+.1f}]")
    ax.margins(x=0.06)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(xlabel)
    theme.legend_above(ax)
    return ax
