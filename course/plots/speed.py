"""Accuracy against training time."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from imgcls.messages import format_duration
from imgcls.plots import theme
from imgcls.plots.labels import level_lines, text_width

TICKS = [  # seconds
    *(n * unit for unit in (0.01, 0.1) for n in (1, 2, 5)),
    *(n * unit for unit in (1, 60, 3600) for n in (1, 2, 5, 10, 20, 30)),
]
# Of a label: points to the right, up. Where the places beside its point are taken, it is 3 or 5 times as far away.
SIDES = [(9, 0), (-9, 0), (0, 9), (0, -9), (7, 7), (7, -7), (-7, 7), (-7, -7)]
DISTANCES = (1, 3, 5)


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
    _time_axis(ax, drawn["seconds"], margin=0.16)
    ax.margins(y=0.14)
    theme.percent_axis(ax.yaxis)
    ax.set_ylabel("accuracy")
    level_lines(ax, dict(zip(untimed["name"], untimed["accuracy"], strict=True)))
    across = [[(x, low), (x, high)] for x, low, high in models[["seconds", "low", "high"]].to_numpy(float)]
    steps = np.repeat(best[["seconds", "accuracy"]].to_numpy(float), 2, axis=0)
    steps = np.column_stack([steps[1:, 0], steps[:-1, 1]])  # the corners of the line
    levels = [[(drawn["seconds"].min(), level), (drawn["seconds"].max(), level)] for level in untimed["accuracy"]]
    _label_points(ax, drawn["seconds"], drawn["accuracy"], drawn["name"], [*across, *pairwise(steps), *levels])
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
    """Label each point where the label covers least of the points, labels and `lines` (of two ends).

    A label that is not beside its point has a line to it, which should cross nothing either.
    """
    ax.figure.draw_without_rendering()  # settles the layout
    panel, unit = ax.get_window_extent(), ax.figure.dpi / 72
    points = ax.transData.transform(np.stack([xs, ys], 1))
    thin = [Bbox(np.sort(ax.transData.transform(ends), axis=0)).padded(3 * unit) for ends in lines]
    solid = [Bbox([at, at]).padded(6 * unit) for at in points]  # no label may hide these, nor another label
    solid += [text.get_window_extent().padded(unit) for text in ax.texts]
    pointers = []
    for at, x, y, name in zip(points, xs, ys, names, strict=True):
        size = np.array([text_width(name) * ax.figure.dpi, 1.2 * theme.SMALL * unit])
        costs = {}
        for far, side in product(DISTANCES, SIDES):
            corner = at + far * unit * np.array(side) + size * (np.sign(side) - 1) / 2
            box = Bbox.from_bounds(*corner, *size).padded(2 * unit)
            pointer = Path([at, (box.min + box.max) / 2])
            outside = box.width * box.height - _shared(box, panel)
            covered = sum(_shared(box, other) for other in thin) + 10 * sum(_shared(box, other) for other in solid)
            crossed = sum(pointer.intersects_bbox(other) for other in solid if far > 1 and not other.contains(*at))
            crossed += sum(pointer.intersects_path(other) for other in pointers)
            cost = covered + 1e3 * outside + (20 * far + 300 * crossed) * unit**2
            costs[cost, far, side] = box, pointer
        (_, far, (dx, dy)), (box, pointer) = min(costs.items(), key=lambda item: item[0])
        solid.append(box)
        pointers += [pointer] * (far > 1)
        line = {"arrowstyle": "-", "color": theme.MUTED, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 5}
        ha = {-1: "right", 0: "center", 1: "left"}[np.sign(dx)]
        va = {-1: "top", 0: "center", 1: "bottom"}[np.sign(dy)]
        ax.annotate(
            name, (x, y), (far * dx, far * dy), textcoords="offset points", ha=ha, va=va, size=theme.SMALL,
            bbox={"facecolor": theme.SURFACE, "edgecolor": "none", "pad": 1}, arrowprops=line if far > 1 else None,
        )  # fmt: skip


def _shared(a: Bbox, b: Bbox) -> float:
    """Area that two boxes share."""
    both = Bbox.intersection(a, b)
    return both.width * both.height if both else 0.0
