"""Accuracy against training time."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from imgcls.messages import format_duration
from imgcls.plots import theme
from imgcls.plots.labels import level_lines

TICKS = [  # seconds
    *(n * unit for unit in (0.01, 0.1) for n in (1, 2, 5)),
    *(n * unit for unit in (1, 60, 3600) for n in (1, 2, 5, 10, 20, 30)),
]
SIDES = [(9, 0), (-9, 0), (0, 9), (0, -9), (7, 7), (7, -7), (-7, 7), (-7, -7)]  # of a label: points to the right, up


@theme.themed
def accuracy_against_seconds(
    models: pd.DataFrame, published: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Accuracy with its interval against training time on a log scale; the line joins the best up to each time.

    Args:
        models: Columns name, seconds, accuracy (or value), low, high.
        published: Columns name, seconds, accuracy of published results; NaN seconds give a horizontal line.
        ax: Where to draw; a new figure by default.
    """
    if "accuracy" not in models:
        models = models.rename(columns={"value": "accuracy"})
    theme.need_columns(models, "accuracy_against_seconds", ["name", "seconds", "accuracy", "low", "high"])
    ax = theme.axes(ax, 4.8, grid="both")
    models = models.sort_values("seconds", kind="stable")
    best = models[models["accuracy"] >= models["accuracy"].cummax()]
    ax.plot(best["seconds"], best["accuracy"], drawstyle="steps-post", color=theme.MUTED, linewidth=1.2)
    ax.vlines(models["seconds"], models["low"], models["high"], color=theme.ACCENT, linewidth=3.5, alpha=0.45)
    ax.plot(models["seconds"], models["accuracy"], "o", color=theme.ACCENT, markersize=9, mec=theme.SURFACE)
    others = pd.DataFrame(columns=["name", "seconds", "accuracy"]) if published is None else published
    timed, untimed = others[others["seconds"].notna()], others[others["seconds"].isna()]
    ax.plot(timed["seconds"], timed["accuracy"], "D", color=theme.ORANGE, markerfacecolor="none", markersize=8, mew=1.7)
    drawn = pd.concat([models[["name", "seconds", "accuracy"]], timed]).astype({"seconds": float, "accuracy": float})
    _time_axis(ax, drawn["seconds"], margin=0.12)
    ax.margins(y=0.14)
    theme.percent_axis(ax.yaxis)
    ax.set_ylabel("accuracy")
    level_lines(ax, dict(zip(untimed["name"], untimed["accuracy"], strict=True)))
    across = [[(x, low), (x, high)] for x, low, high in models[["seconds", "low", "high"]].to_numpy(float)]
    steps = np.repeat(best[["seconds", "accuracy"]].to_numpy(float), 2, axis=0)
    steps = np.column_stack([steps[1:, 0], steps[:-1, 1]])  # the corners of the line
    _label_points(ax, drawn["seconds"], drawn["accuracy"], drawn["name"], [*across, *pairwise(steps)])
    return ax


@theme.themed
def learning_speed(runs: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Validation accuracy after each epoch against the training time until then, on a log scale.

    Args:
        runs: Name -> frame with a row an epoch: seconds (of that epoch), val_accuracy (a share), and optional before
            (seconds before the first epoch, the same in each row); up to seven.
        ax: Where to draw; a new figure by default.

    Raises:
        ValueError: No runs or epochs, a missing column, more runs than colours, or times that are not positive.
    """
    looks = theme.series(runs, "learning_speed")
    for _, frame, *_ in looks:
        theme.need_columns(frame, "learning_speed", ["seconds", "val_accuracy"])
    ax = theme.axes(ax, 4.4, grid="both")
    ends = []
    for name, frame, colour, marker in looks:
        seconds = frame["seconds"].cumsum() + (frame["before"].iloc[0] if "before" in frame else 0)
        if not seconds.min() > 0 or seconds.isna().any():
            raise ValueError(
                f"learning_speed: an epoch of {name!r} ends after {seconds.min():g} s or at an unknown time; "
                "a log scale needs seconds above 0"
            )
        size = {"markersize": 7, "mec": theme.SURFACE} if len(frame) <= 20 else {"markersize": 4.5, "mew": 0}
        ax.plot(seconds, frame["val_accuracy"], marker=marker, color=colour, linewidth=1.8, label=name, **size)
        ends += [seconds.iloc[0], seconds.iloc[-1]]
    _time_axis(ax, ends, margin=0.05)
    theme.percent_axis(ax.yaxis)
    ax.set_ylabel("validation accuracy")
    theme.legend_above(ax, theme.legend_columns(list(runs)))
    return ax


def _time_axis(ax: Axes, seconds: Sequence[float] | pd.Series, margin: float) -> None:
    """A log axis of durations with ticks at round ones; `margin` is a share of its length."""
    first, last = min(seconds), max(seconds)
    spread = max(last / first, 4) ** margin
    ax.set_xscale("log")
    ax.set_xlim(first / spread, last * spread)
    ticks = [tick for tick in TICKS if first / spread <= tick <= last * spread]
    if len(ticks) < 2:
        ticks = sorted({float(f"{one:.1g}") for one in seconds})
    ticks = ticks[:: math.ceil(len(ticks) / 8)]
    ax.set_xticks(ticks, [format_duration(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel(theme.TIME_AXIS)


def _label_points(ax: Axes, xs: pd.Series, ys: pd.Series, names: pd.Series, lines: Sequence[Sequence]) -> None:
    """Label each point on the side where the label covers least of the points, labels and `lines` (of two ends)."""
    ax.figure.draw_without_rendering()  # settles the layout
    panel, unit = ax.get_window_extent(), ax.figure.dpi / 72
    taken = [Bbox([at, at]).padded(6 * unit) for at in ax.transData.transform(np.stack([xs, ys], 1))]
    texts = [text.get_window_extent().padded(unit) for text in ax.texts]
    taken += [Bbox(np.sort(ax.transData.transform(ends), axis=0)).padded(3 * unit) for ends in lines]
    for x, y, name in zip(xs, ys, names, strict=True):
        costs = {}
        for dx, dy in SIDES:
            ha = {-1: "right", 0: "center", 1: "left"}[np.sign(dx)]
            va = {-1: "top", 0: "center", 1: "bottom"}[np.sign(dy)]
            label = ax.annotate(
                name, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, size=theme.SMALL,
                bbox={"facecolor": theme.SURFACE, "edgecolor": "none", "pad": 1},
            )  # fmt: skip
            box = label.get_window_extent().padded(unit)
            outside = box.width * box.height - _shared(box, panel)
            cut = sum(_shared(box, other) for other in texts)  # letters that its background hides
            costs[label] = sum(_shared(box, other) for other in taken) + 10 * cut + 1e3 * outside
        best = min(costs, key=costs.get)
        texts.append(best.get_window_extent().padded(unit))
        for label in costs.keys() - {best}:
            label.remove()


def _shared(a: Bbox, b: Bbox) -> float:
    """Area that two boxes share."""
    both = Bbox.intersection(a, b)
    return both.width * both.height if both else 0.0
