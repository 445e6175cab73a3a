"""Figures of many runs: the trials of a search, and what runs reach, how fast, and answer. Accuracies are shares."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from pandas.api import types

from imgcls.plots.charts import DURATIONS, duration
from imgcls.plots.theme import (
    ACCENT,
    HEAT,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    SMALL,
    SURFACE,
    TIME_AXIS,
    WIDTH,
    axes,
    canvas,
    dress,
    fit,
    key_columns,
    legend_above,
    need,
    need_columns,
    percent_axis,
    rows_axis,
    series,
    text_width,
    themed,
    wrap,
)

STATES = ("complete", "pruned")
CHOICES = 6  # different numbers up to which a column that repeats them is a list of choices
INTERVALS = 6  # of a numeric axis
DASHED = (0, (4, 2))
OUTER = 1.5  # inches for the labels outside the first and the last axis
TIMES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, *DURATIONS]  # seconds
FILLS = [(colour, hatch) for hatch in ("", "////") for colour in SERIES][:10]
FAINTEST = -0.25  # where the colour scale begins, with ranks from 0 to 1: the worst trial is still seen

Scale = tuple[np.ndarray, list[tuple[float, str]]]  # positions from 0 to 1, and (position, text) of the ticks


@themed
def search_history(trials: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What each trial of a search reached, in the order in which they began, and the best of all so far.

    Args:
        trials: columns number, state ("complete" or "pruned") and reached (the best validation accuracy that the
            trial saw, a share; NaN where it saw none: such a trial is counted and not drawn).
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: no trials, a missing column, or another state.
    """
    need_columns(trials, "search_history", ["number", "state", "reached"])
    _check_states(trials, "search_history")
    ax = axes(ax, 3.6)
    trials = trials.sort_values("number", kind="stable")
    looks = {
        "complete": {
            "marker": "o",
            "color": ACCENT,
            "markersize": 8 if len(trials) <= 50 else 6,
            "mec": SURFACE,
            "zorder": 4,
        },
        "pruned": {"marker": "x", "color": MUTED, "markersize": 5, "markeredgewidth": 1.1},
    }
    for state, look in looks.items():
        some = trials[trials["state"] == state]
        if len(some):
            ax.plot(some["number"], some["reached"], linestyle="", label=f"{state} ({len(some)})", **look)
    best = np.fmax.accumulate(trials["reached"].to_numpy(float))
    ax.plot(trials["number"], best, drawstyle="steps-post", color=SERIES[1], linewidth=1.8, label="best so far")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    percent_axis(ax.yaxis)
    ax.set(xlabel="trial", ylabel="validation accuracy")
    legend_above(ax)
    return ax


def _check_states(trials: pd.DataFrame, function: str) -> None:
    if strange := [state for state in trials["state"] if state not in STATES]:
        raise ValueError(
            f"{function}: a trial has the state {strange[0]!r}, which has no sign; "
            f"keep the trials that are {' or '.join(STATES)}"
        )


# ------------------------------------------------------------------ trials side by side


@themed
def parallel_coordinates(
    trials: pd.DataFrame,
    parameters: Sequence[str],
    reached: str = "reached",
    chosen: Mapping[str, int] | None = None,
    log: Sequence[str] = (),
) -> Figure:
    """Every trial as a line through the values that it drew to the accuracy that it reached; the better, the stronger.

    Numbers lie on an axis with rounded ends; text, truth values and numbers that repeat up to six values are choices,
    spread evenly. The colour is the rank by accuracy. A line breaks where a value is missing. After Inselberg (1985),
    The plane with parallel coordinates.

    Args:
        trials: one row a trial with a column for each parameter and one for the accuracy; state ("complete" or
            "pruned", thin and dashed) where there is one; number where `chosen` asks for it.
        parameters: columns to draw, from left to right.
        reached: column of the accuracy, a share.
        chosen: label -> number of a trial to draw over the others; labels of the same trial share one line.
        log: parameters on a log scale.

    Raises:
        ValueError: no trials or no parameters, a missing column, another state, a chosen trial that is not there or
            more of them than colours, a log scale for a parameter that is not drawn or is not positive.
    """
    name, chosen = "parallel_coordinates", chosen or {}
    need(parameters, name, "parameters")
    need_columns(trials, name, [*parameters, reached, *(["number"] if chosen else [])])
    if "state" in trials:
        _check_states(trials, name)
    if strange := [column for column in log if column not in parameters]:
        raise ValueError(f"{name}: log names {strange[0]!r}, which is not drawn; choose from {', '.join(parameters)}")
    trials = trials.sort_values(reached, kind="stable", na_position="first")  # the best on top
    accuracy = trials[reached].to_numpy(float)
    scales = [_scale(trials[column], column in log, name) for column in parameters]
    scales.append(_numeric(accuracy, lambda share: f"{share * 100:.4g} %"))
    paths = np.stack([positions for positions, _ in scales], 1)  # (trials, axes)
    pruned = (trials["state"] == "pruned").to_numpy() if "state" in trials else np.zeros(len(trials), bool)
    widths = np.where(pruned, 0.9, 1.5) * (1 if len(trials) <= 50 else 0.7)

    figure, [ax] = canvas(height=4.8)
    last = len(parameters)
    ax.vlines(range(last + 1), 0, 1, color=MUTED, linewidth=1, zorder=1)
    lines = LineCollection(
        [np.column_stack([np.arange(last + 1), path]) for path in paths],
        array=_ranks(accuracy), cmap=HEAT, norm=Normalize(FAINTEST, 1), zorder=2,
        linewidths=widths, linestyles=[DASHED if dashed else "solid" for dashed in pruned],
    )  # fmt: skip
    ax.add_collection(lines, autolim=False)
    keys = []
    for label, number, colour, marker, width in _chosen(trials, chosen):
        path = paths[np.flatnonzero(trials["number"] == number)[0]]
        look = {"color": colour, "marker": marker, "markersize": 6 + 1.2 * width, "mec": SURFACE, "linewidth": width}
        keys += ax.plot(np.arange(last + 1), path, label=label, zorder=4, clip_on=False, **look)
    if pruned.any() and not pruned.all():
        keys.append(Line2D([], [], color=MUTED, linewidth=1.5, label="complete"))
    if pruned.any():
        keys.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle=DASHED, label="pruned"))
    _name_axes(ax, [*parameters, "validation accuracy" if reached == "reached" else reached], scales)
    if keys:
        legend_above(ax, key_columns([key.get_label() for key in keys]), handles=keys)
    return figure


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 0 for the worst to 1 for the best, squared so that only the best are strong; 0 for NaN."""
    ranks = pd.Series(values).rank().fillna(1).to_numpy() - 1
    return (ranks / ranks.max()) ** 2 if ranks.max() > 0 else np.ones(len(ranks))


def _chosen(trials: pd.DataFrame, chosen: Mapping[str, int]) -> list[tuple[str, int, str, str, float]]:
    """(label, number, colour, marker, width) of each trial to draw over the others."""
    labels: dict[int, list[str]] = {}
    for label, number in chosen.items():
        if not (trials["number"] == number).any():
            raise ValueError(
                f"parallel_coordinates: {label!r} names trial {number}, but the frame has none of that number; "
                f"its trials go from {trials['number'].min()} to {trials['number'].max()}"
            )
        labels.setdefault(number, []).append(label)
    looks = list(zip(SERIES, MARKERS, strict=True))[1:]  # the first is as blue as the lines underneath
    if len(labels) > len(looks):
        raise ValueError(
            f"parallel_coordinates: {len(labels)} chosen trials, but readers can tell {len(looks)} colours apart; "
            "choose fewer"
        )
    widths = np.linspace(4, 2, max(len(labels), 2))  # the later the narrower, so that none hides another
    return [
        (", ".join(names), number, *look, width)
        for (number, names), look, width in zip(labels.items(), looks, widths, strict=False)
    ]


def _scale(values: pd.Series, log: bool, function: str) -> Scale:
    """Where each value lies on its axis, and the ticks of the axis."""
    numeric = types.is_numeric_dtype(values) and not types.is_bool_dtype(values)
    if log and not (numeric and (values.dropna() > 0).all()):
        raise ValueError(f"{function}: {values.name!r} is not positive throughout, so it cannot have a log scale")
    distinct = values.nunique()
    if numeric and distinct > 1 and (log or distinct > min(CHOICES, len(values) / 2)):
        numbers = values.to_numpy(float, na_value=np.nan)
        return _logarithmic(numbers) if log else _numeric(numbers, _short, whole=types.is_integer_dtype(values))
    if isinstance(values.dtype, pd.CategoricalDtype):
        choices = list(values.cat.remove_unused_categories().cat.categories)
    else:
        choices = sorted(values.dropna().unique(), key=None if numeric else str)
    places = np.linspace(0, 1, len(choices)) if len(choices) > 1 else np.full(len(choices), 0.5)
    positions = values.astype(object).map(dict(zip(choices, places, strict=True))).to_numpy(float)
    return positions, [(place, _short(choice)) for place, choice in zip(places, choices, strict=True)]


def _numeric(values: np.ndarray, write: Callable[[float], str], whole: bool = False) -> Scale:
    finite = values[np.isfinite(values)]
    if len(set(finite)) < 2:  # one value has no range
        return np.where(np.isfinite(values), 0.5, np.nan), [(0.5, write(value)) for value in set(finite)]
    ticks = MaxNLocator(INTERVALS, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(finite.min(), finite.max())
    low, span = ticks[0], ticks[-1] - ticks[0]
    return (values - low) / span, [((tick - low) / span, write(tick)) for tick in ticks]


def _logarithmic(values: np.ndarray) -> Scale:
    """From 1, 2 or 5 times a power of ten to another; ticks at all of these, or at the ends and powers where many."""
    low, high = np.nanmin(values) * (1 + 1e-9), np.nanmax(values) * (1 - 1e-9)  # a rounded 0.1 is still 0.1
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    grid = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    first = max(tick for tick in grid if tick <= low)
    last = min(tick for tick in grid if tick >= high)
    ticks = [tick for tick in grid if first <= tick <= last]
    place = {tick: np.log10(tick / first) / np.log10(last / first) for tick in ticks}
    if len(ticks) > INTERVALS:
        tens = [tick for tick in ticks if tick in grid[::3] and 0.08 < place[tick] < 0.92]  # clear of the ends
        ticks = [first, *tens[:: -(-len(tens) // INTERVALS)], last]
    return np.log10(values / first) / np.log10(last / first), [(place[tick], _short(tick)) for tick in ticks]


def _short(value: object) -> str:
    """A value as a reader would write it: 64, 0.01, 5e-4."""
    if isinstance(value, str | bool | np.bool_) or not isinstance(value, int | float | np.number):
        return str(value)
    text = f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2e}"
    text = f"{value:.0f}" if value == round(value) and abs(value) < 1e5 else text
    return re.sub(r"\.?0*e([+-])0*", lambda found: "e" + found[1].strip("+"), text)


def _label(text: str, width: float) -> tuple[str, float]:
    """Text and its size, on as many lines as keep it within `width` inches."""
    if text_width(text, SMALL) <= width:
        return text, SMALL
    lines = [fit(line, width) for line in wrap(text.replace("_", " "), width)]
    return "\n".join(line for line, _ in lines), min(size for _, size in lines)


def _name_axes(ax: Axes, names: Sequence[str], scales: Sequence[Scale]) -> None:
    """Name each axis below it, on lines as narrow as its room, and write its ticks beside it."""
    last = len(names) - 1
    outer = [max((text_width(text, SMALL) for _, text in scales[k][1]), default=0) for k in (0, last)]
    room = (WIDTH - 0.4 - sum(min(width, OUTER) for width in outer)) / last  # inches from one axis to the next
    for k, (_, ticks) in enumerate(scales):
        dx, side = (-6, "right") if k == 0 else (6, "left")
        for place, text in ticks:
            text, size = _label(text, OUTER if k in (0, last) else 0.75 * room)
            ax.plot(k, place, "_", color=MUTED, markersize=6, zorder=3, clip_on=False)
            ax.annotate(
                text, (k, place), (dx, 0), textcoords="offset points", ha=side, va="center", size=size, color=INK,
                zorder=6, bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1, "alpha": 0.75},
            )  # fmt: skip
    labels = [_label(name.replace("_", " "), 0.94 * room) for name in names]
    ax.set_xticks(range(last + 1), [text for text, _ in labels], size=min(size for _, size in labels))
    dress(ax, grid="")
    ax.tick_params(length=0, pad=6)
    ax.set_yticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set(xlim=(0, last), ylim=(-0.04, 1.04))


# ------------------------------------------------------------------ what mattered


@themed
def importances(shares: pd.Series, ax: Axes | None = None) -> Axes:
    """How much each hyperparameter mattered to the accuracies of a search, the most important on top.

    Args:
        shares: index = hyperparameter, values = shares of the whole; not finite ones are named as unknown.
        ax: where to draw; a new figure without it.
    """
    need(shares, "importances", "hyperparameters")
    shares = shares.astype(float).sort_values(ascending=False, kind="stable")
    ax = dress(axes(ax, 0.8 + 0.38 * len(shares)), grid="")
    widths = shares.where(np.isfinite(shares), 0)
    bars = ax.barh(range(len(shares)), widths, height=0.68, color=ACCENT)
    ax.bar_label(bars, [_per_cent(share) for share in shares], padding=4, size=SMALL, color=INK)
    rows_axis(ax, [str(name).replace("_", " ") for name in shares.index])
    ax.set_xlim(0, max(widths.max(), 1e-9) * 1.12)
    ax.set_xticks([])
    ax.set_xlabel("share of the importance")
    return ax


def _per_cent(share: float) -> str:
    if not np.isfinite(share):
        return "unknown"
    return "< 1 %" if 0 < share < 0.005 else f"{share * 100:.0f} %"


# ------------------------------------------------------------------ runs side by side


@themed
def learning_speed(runs: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Validation accuracy after each epoch against the training time spent until then, on a log scale.

    Args:
        runs: name -> frame with a row an epoch: seconds (of that epoch), val_accuracy (a share), and before (seconds
            spent before the first epoch, the same in each row) where there were any; up to seven.
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: no runs or epochs, a missing column, more runs than colours, or times that are not positive.
    """
    looks = series(runs, "learning_speed")
    for _, frame, *_ in looks:
        need_columns(frame, "learning_speed", ["seconds", "val_accuracy"])
    ax = dress(axes(ax, 4.4), grid="both")
    ends = []
    for name, frame, colour, marker in looks:
        spent = frame["seconds"].cumsum() + (frame["before"].iloc[0] if "before" in frame else 0)
        if not spent.min() > 0 or spent.isna().any():
            raise ValueError(
                f"learning_speed: an epoch of {name!r} ends after {spent.min():g} s or at an unknown time; "
                "a log scale needs seconds above 0"
            )
        ax.plot(
            spent, frame["val_accuracy"], marker=marker, color=colour, linewidth=1.8, label=name,
            **({"markersize": 7, "mec": SURFACE} if len(frame) <= 20 else {"markersize": 4.5, "mew": 0}),
        )  # fmt: skip
        ends += [spent.iloc[0], spent.iloc[-1]]
    ax.set_xscale("log")
    spread = max(max(ends) / min(ends), 4) ** 0.05
    first, last = min(ends) / spread, max(ends) * spread
    ticks = [tick for tick in TIMES if first <= tick <= last]
    ticks = ticks[:: math.ceil(len(ticks) / 8)] if ticks else sorted({float(f"{end:.1g}") for end in ends})
    ax.set_xlim(first, last)
    ax.set_xticks(ticks, [duration(tick) for tick in ticks])
    ax.minorticks_off()
    percent_axis(ax.yaxis)
    ax.set(xlabel=TIME_AXIS, ylabel="validation accuracy")
    legend_above(ax, key_columns(list(runs)))
    return ax


@themed
def predicted_shares(
    shares: pd.DataFrame, truth: Mapping[str, float] | pd.Series | None = None, ax: Axes | None = None
) -> Axes:
    """What a network answers: the share of the images that got each class, one full bar a run.

    The eighth to the tenth class repeat a colour under stripes.

    Args:
        shares: index = runs from top to bottom, columns = up to ten classes, values = shares that add up to 1.
        truth: class -> its true share; a dashed line stands where each class would end.
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: no runs or classes, more classes than fills, a run whose shares do not add up to 1, or a class
            without a true share.
    """
    need(shares, "predicted_shares", "runs")
    need(shares.columns, "predicted_shares", "classes")
    if len(shares.columns) > len(FILLS):
        raise ValueError(
            f"predicted_shares: {len(shares.columns)} classes, but readers can tell {len(FILLS)} fills apart; "
            "add up the rarest as one class"
        )
    totals = shares.sum(axis=1)
    if len(off := totals[(totals - 1).abs() > 0.01]):
        raise ValueError(f"predicted_shares: the shares of {off.index[0]!r} add up to {off.iloc[0]:.4g}, not to 1")
    ax = dress(axes(ax, 1.3 + 0.5 * len(shares)), grid="")
    rows = np.arange(len(shares))
    ends = shares.fillna(0).cumsum(axis=1)
    for (name, values), (colour, hatch) in zip(shares.items(), FILLS, strict=False):
        look = {"color": colour, "edgecolor": SURFACE, "hatch": hatch, "linewidth": 1}
        ax.barh(rows, values, left=ends[name] - values, height=0.66, label=str(name), **look)
    true_ends = _true_ends(shares, truth) if truth is not None else []
    for end in true_ends:  # on a plate of its own, as it crosses bars of any colour
        ax.axvline(end, color=SURFACE, linewidth=3)
        ax.axvline(end, color=INK, linewidth=1.6, linestyle=DASHED)
    names = [str(name) for name in shares.index]
    rows_axis(ax, names)
    ax.set_xlim(0, 1)
    percent_axis(ax.xaxis)
    ax.set_xlabel("share of the answers")
    label_width = min(max(text_width(name, SMALL) for name in names), 1.7)
    keys, labels = ax.get_legend_handles_labels()
    if truth is not None:
        keys.append(Line2D([], [], color=INK, linewidth=1.6, linestyle=DASHED))
        labels.append("true share")
    legend_above(ax, key_columns(labels, WIDTH - 0.5 - label_width), handles=keys, labels=labels)
    _write_shares(ax, shares, ends, true_ends)
    return ax


def _true_ends(shares: pd.DataFrame, truth: Mapping[str, float] | pd.Series) -> np.ndarray:
    """Where each class but the last would end."""
    if missing := [name for name in shares.columns if name not in truth]:
        raise ValueError(f"predicted_shares: truth has no share of {', '.join(map(repr, missing))}; name every class")
    return np.cumsum([truth[name] for name in shares.columns])[:-1]


def _write_shares(ax: Axes, shares: pd.DataFrame, ends: pd.DataFrame, lines: Sequence[float]) -> None:
    """Write each share in its bar, in the middle of the widest piece that the lines leave, where that has room."""
    ax.figure.draw_without_rendering()  # settles the width that the layout leaves
    width = ax.get_window_extent().width / ax.figure.dpi
    for name, (colour, hatch) in zip(shares.columns, FILLS, strict=False):
        plate = {"facecolor": colour, "edgecolor": "none", "pad": 1.5} if hatch else None
        for row, (share, end) in enumerate(zip(shares[name], ends[name], strict=True)):
            cuts = [end - share, *(line for line in lines if end - share < line < end), end]
            left, right = max(pairwise(cuts), key=lambda piece: piece[1] - piece[0])
            text = f"{share * 100:.0f} %"
            if (right - left) * width > text_width(text, SMALL) + 0.1:
                look = {"color": SURFACE, "size": SMALL, "ha": "center", "va": "center", "bbox": plate}
                ax.text((left + right) / 2, row, text, **look)


@themed
def curves(
    scores: pd.DataFrame,
    xlabel: str,
    ylabels: Mapping[str, str] | None = None,
    lines: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Shares with their intervals against a number that was varied, one panel for each thing measured.

    A series keeps its colour and marker over the panels and may be missing in some.

    Args:
        scores: columns panel, x (a number), series, value, low, high (shares; low and high may be NaN); up to seven
            series. Panels and series come in the order in which the frame names them.
        xlabel: what x is.
        ylabels: panel -> what its values are.
        lines: panel -> label -> share drawn as a horizontal line.

    Raises:
        ValueError: no rows, a missing column, more series than colours, or a label or line for no panel.
    """
    need_columns(scores, "curves", ["panel", "x", "series", "value", "low", "high"])
    looks = series(dict.fromkeys(scores["series"]), "curves")
    if not types.is_numeric_dtype(scores["x"]):
        raise ValueError(f"curves: x holds {scores['x'].iloc[0]!r}, which is no number; plots.controls draws settings")
    groups = dict(list(scores.groupby("panel", sort=False)))
    if strange := [panel for panel in [*(ylabels or {}), *(lines or {})] if panel not in groups]:
        raise ValueError(f"curves: there is no panel {strange[0]!r}; the frame has {', '.join(map(repr, groups))}")
    columns = min(2, len(groups))
    rows = math.ceil(len(groups) / columns)
    figure, panels = canvas(rows, 0.5 + (3.4 if columns == 1 else 3.1) * rows, ncols=columns)
    for ax, (panel, frame) in zip(panels, groups.items(), strict=False):
        for name, _, colour, marker in looks:
            one = frame[frame["series"] == name].sort_values("x", kind="stable")
            if one.empty:
                continue
            ax.fill_between(one["x"], one["low"], one["high"], color=colour, alpha=0.16, linewidth=0)
            ax.plot(one["x"], one["value"], color=colour, marker=marker, linewidth=2, markersize=7, mec=SURFACE)
        ax.set(title=panel, xlabel=xlabel, ylabel=(ylabels or {}).get(panel, ""))
        percent_axis(ax.yaxis)
        for level in (lines or {}).get(panel, {}).values():
            ax.axhline(level, color=MUTED, linewidth=1, linestyle=DASHED)
    for ax in panels[len(groups) :]:
        ax.set_axis_off()
    keys = [
        Line2D([], [], color=colour, marker=marker, linewidth=2, markersize=7, mec=SURFACE, label=name)
        for name, _, colour, marker in looks
    ]
    look = {"ncols": key_columns([name for name, *_ in looks]), "columnspacing": 1.4, "handletextpad": 0.5}
    figure.legend(handles=keys, loc="outside upper left", **look)
    figure.draw_without_rendering()  # settles the widths that the layout leaves
    for ax, (panel, frame) in zip(panels, groups.items(), strict=False):
        _ticks_at(ax, np.unique(frame["x"]))
        _name_levels(ax, (lines or {}).get(panel, {}))
    return figure


def _name_levels(ax: Axes, levels: Mapping[str, float]) -> None:
    """Name each horizontal line at that end and on that side of it where least of the data lies under the name."""
    panel, unit = ax.get_window_extent(), ax.figure.dpi / 72
    points = [np.empty((0, 2))]
    for line in ax.lines[: len(ax.lines) - len(levels)]:
        corners = ax.transData.transform(line.get_xydata())
        steps = np.linspace(0, len(corners) - 1, 40 * len(corners))
        points.append(np.stack([np.interp(steps, np.arange(len(corners)), column) for column in corners.T], 1))
    points = np.concatenate(points)
    for label, level in levels.items():
        middle = ax.transData.transform((0, level))[1]
        width = text_width(label, SMALL) * ax.figure.dpi
        costs = {}
        for (x, left), up in product(((1, panel.x1 - width), (0, panel.x0)), (1, -1)):
            near = (points[:, 0] > left - 6 * unit) & (points[:, 0] < left + width + 6 * unit)
            height = (points[near, 1] - middle) * up / unit  # points away from the line, on the side of the name
            outside = not panel.y0 < middle + up * 15 * unit < panel.y1
            costs[x, up] = ((height > -3) & (height < 20)).sum() + 1e6 * outside
        x, up = min(costs, key=costs.get)
        ax.annotate(
            label, (x, level), (0, 3 * up), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right" if x else "left", va="bottom" if up > 0 else "top", size=SMALL, color=MUTED, zorder=5,
        )  # fmt: skip


def _ticks_at(ax: Axes, values: np.ndarray) -> None:
    """A tick at each value, with its number where that leaves the numbers apart."""
    places = ax.transData.transform(np.column_stack([values, np.zeros(len(values))]))[:, 0] / ax.figure.dpi
    texts, free = [], -np.inf
    for place, value in zip(places, values, strict=True):
        half = text_width(_short(value), SMALL) / 2
        texts.append(_short(value) if place - half > free else "")
        free = place + half + 0.06 if texts[-1] else free
    ax.set_xticks(values, texts)
