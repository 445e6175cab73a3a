"""Effects with their intervals and the verdict on each."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from course.plots.comparisons import intervals
from imgcls.plots import theme
from imgcls.plots.labels import right_text

LOOKS = {
    "supported": {"colour": theme.ACCENT, "marker": {"mec": theme.SURFACE}},
    "contradicted": {"colour": theme.ORANGE, "marker": {"mec": theme.SURFACE}},
    "inconclusive": {"colour": theme.MUTED, "marker": {"markerfacecolor": theme.SURFACE}},
}


@theme.themed
def verdicts(tests: pd.DataFrame, xlabel: str = "difference in test accuracy (points)", ax: Axes | None = None) -> Axes:
    """Gain of each statement in points with its 95 % interval; the colour is the verdict after the correction.

    Args:
        tests: From `course.lessons.paired_tests`. The first row is on top.
        xlabel: Label of the axis.
        ax: Where to draw; a new figure by default.
    """
    theme.need_columns(tests, "verdicts", ["statement", "gain", "low", "high", "verdict"])
    theme.need(tests, "verdicts", "statements")
    ax = theme.axes(ax, 1.4 + 0.52 * len(tests), grid="x")
    ax.axvline(0, color=theme.INK, linewidth=1)
    rows = np.arange(len(tests))
    gain, low, high = 100 * tests[["gain", "low", "high"]].to_numpy(float).T
    for verdict, look in LOOKS.items():
        mine = (tests["verdict"] == verdict).to_numpy()
        if mine.any():
            some = (rows[mine], gain[mine], low[mine], high[mine])
            intervals(ax, *some, look["colour"], label=verdict, **look["marker"])
    theme.rows_axis(ax, tests["statement"], width=28)
    for row in rows:
        right_text(ax, row, f"{gain[row]:+.1f}  [{low[row]:+.1f}, {high[row]:+.1f}]")
    ax.margins(x=0.06)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(xlabel)
    theme.legend_above(ax)
    return ax
