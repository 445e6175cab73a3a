"""Calibration: the reliability diagram."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from imgcls.plots import theme


@theme.themed
def reliability(before: pd.DataFrame, after: pd.DataFrame | None = None, ece: Sequence[float] = ()) -> Figure:
    """Accuracy against confidence, over the number of predictions at each confidence.

    Args:
        before: Columns confidence, accuracy, count; a row for each bin, empty bins left out or NaN.
        after: The same columns after temperature scaling.
        ece: Expected calibration error (a share) of `before`, and of `after`.
    """
    frames = [("before scaling" if after is not None else "predictions", before, theme.ORANGE, "s")]
    if after is not None:
        frames.append(("after scaling", after, theme.ACCENT, "o"))
    for _, frame, *_ in frames:
        theme.need_columns(frame, "reliability", ["confidence", "accuracy", "count"])
    figure, (top, bottom) = theme.canvas(2, 6.4, sharex=True, height_ratios=[3, 1])
    theme.dress(top, grid="both")
    for i, (name, frame, colour, marker) in enumerate(frames):
        frame = frame[frame["count"] > 0].sort_values("confidence")
        label = name + (f", ECE {theme.percent(ece[i], 1)}" if i < len(ece) else "")
        look = {"marker": marker, "color": colour}
        top.plot(frame["confidence"], frame["accuracy"], linewidth=2, markersize=6, label=label, **look)
        bottom.plot(frame["confidence"], frame["count"], linewidth=1.5, markersize=5, **look)
    top.axline((0, 0), slope=1, color=theme.MUTED, linewidth=1, linestyle=theme.DASHED, label="perfect calibration")
    top.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
    bottom.set(xlabel="confidence", ylabel="predictions", ylim=(0, None))
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    theme.percent_axis(top.yaxis)
    theme.percent_axis(bottom.xaxis)
    theme.legend_above(top, columns=3)
    return figure
