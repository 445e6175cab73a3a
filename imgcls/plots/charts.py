"""Figures of numbers: training, comparison, errors, calibration, sizes. Accuracies come in and are drawn as shares."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from imgcls.plots.theme import (
    ACCENT,
    GRID,
    HEAT,
    INK,
    MUTED,
    SERIES,
    SMALL,
    SURFACE,
    TIME_AXIS,
    array,
    axes,
    canvas,
    dress,
    end_labels,
    legend_above,
    need,
    need_columns,
    percent_axis,
    right_text,
    rows_axis,
    series,
    text_width,
    themed,
)

ORANGE = SERIES[1]
DURATIONS = [n * unit for unit in (1, 60, 3600) for n in (1, 2, 5, 10, 20, 30)]  # seconds
SIDES = [  # where a label may stand: points to the right and up, and its alignment
    (9, 0, "left", "center"),
    (-9, 0, "right", "center"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (7, 7, "left", "bottom"),
    (7, -7, "left", "top"),
    (-7, 7, "right", "bottom"),
    (-7, -7, "right", "top"),
]
NUMBERED = 12  # classes up to which a confusion grid writes its numbers


# ------------------------------------------------------------------ data


@themed
def class_counts(counts: pd.DataFrame) -> Figure:
    """Images of each class in each split, one panel a split, each on its own scale: balance is what is compared.

    Args:
        counts: index = class, columns = splits, values = number of images.
    """
    need(counts, "class_counts", "classes")
    need(counts.columns, "class_counts", "splits")
    figure, panels = canvas(1, 0.9 + 0.28 * len(counts), ncols=len(counts.columns), sharey=True)
    for ax, (split, column) in zip(panels, counts.items(), strict=True):
        dress(ax, grid="")
        bars = ax.barh(range(len(counts)), column, height=0.72, color=ACCENT)
        ax.bar_label(bars, [f"{value:,}" for value in column], padding=4, size=SMALL, color=INK)
        ax.set_title(f"{split}\n{column.sum():,} images")
        ax.set_xlim(0, max(column.max(), 1) * 1.4)
        rows_axis(ax, counts.index)
        ax.set_xticks([])
    return figure


@themed
def sizes(widths: Any, heights: Any, ax: Axes | None = None) -> Axes:
    """Width against height of the original images; the area of a dot grows with the images of that size.

    Args:
        widths: pixels, one number an image.
        heights: pixels, one number an image.
        ax: where to draw; a new figure without it.
    """
    widths, heights = array(widths), array(heights)
    need(widths, "sizes", "images")
    ax = dress(axes(ax, 4.6), grid="both")
    pairs, counts = np.unique(np.stack([widths, heights], 1), axis=0, return_counts=True)
    area = 14 + 500 * counts / len(widths)
    ax.scatter(*pairs.T, s=area, color=ACCENT, alpha=0.55, linewidth=0)
    side = max(widths.max(), heights.max()) * 1.08
    ax.axline((0, 0), slope=1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.text(side * 0.04, side * 0.06, "square", rotation=45, color=MUTED, size=SMALL)
    (w, h), share = pairs[counts.argmax()], counts.max() / len(widths) * 100
    title = f"most common: {w:.0f} × {h:.0f}, {share:.0f} % of {len(widths):,} images"
    ax.set_title(title, size=SMALL, weight="normal")
    ax.set(xlim=(0, side), ylim=(0, side), aspect="equal", xlabel="width, pixels", ylabel="height, pixels")
    return ax


# ------------------------------------------------------------------ training


@themed
def learning_curves(
    runs: Mapping[str, pd.DataFrame],
    loss_lines: Mapping[str, float] | None = None,
    accuracy_lines: Mapping[str, float] | None = None,
) -> Figure:
    """Loss over accuracy against epochs: validation solid, training dashed, the best epoch of each run marked.

    Args:
        runs: name -> frame with epoch, train_loss, train_accuracy, val_loss, val_accuracy; up to seven.
        loss_lines: label -> loss drawn as a horizontal line, such as {"guessing, ln 10": 2.303}.
        accuracy_lines: the same for the accuracy panel.
    """
    runs = series(runs, "learning_curves")
    columns = [f"{split}_{measure}" for split, measure in product(("train", "val"), ("loss", "accuracy"))]
    for _, frame, *_ in runs:
        need_columns(frame, "learning_curves", ["epoch", *columns])
    figure, panels = canvas(2, 6.8, sharex=True)
    for ax, measure, lines in zip(panels, ("loss", "accuracy"), (loss_lines, accuracy_lines), strict=True):
        labels = []
        for name, frame, colour, marker in runs:
            train, val = (frame[f"{split}_{measure}"].where(np.isfinite) for split in ("train", "val"))
            point = {"marker": "." if len(frame) == 1 else ""}
            ax.plot(frame["epoch"], train, color=colour, linewidth=1.3, linestyle=(0, (3, 2)), **point)
            ax.plot(frame["epoch"], val, color=colour, linewidth=2, **point)
            text = textwrap.fill(name, 16)
            if frame["val_accuracy"].notna().any():
                ranked = frame.sort_values(["val_accuracy", "val_loss"], ascending=[False, True])
                best = ranked.index[0]  # as fit chooses
                ax.plot(frame["epoch"][best], val[best], marker, color=colour, markersize=9, mec=SURFACE)
                if measure == "accuracy":
                    text += f"\nbest {val[best]:.1%}".replace("%", " %")
            if val.notna().any():
                labels.append((val.dropna().iloc[-1], text, colour, marker))
        _level_lines(ax, lines)
        ax.set_ylabel(measure)
        ax.margins(x=0.03)
        end_labels(ax, labels)
    percent_axis(panels[1].yaxis)
    panels[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[1].set_xlabel("epoch")
    keys = [
        Line2D([], [], color=MUTED, linewidth=2, label="validation"),
        Line2D([], [], color=MUTED, linewidth=1.3, linestyle=(0, (3, 2)), label="training"),
        Line2D([], [], color=MUTED, linestyle="", marker="o", markersize=8, label="best epoch"),
    ]
    legend_above(panels[0], handles=keys)
    return figure


def _level_lines(ax: Axes, lines: Mapping[str, float] | None, side: str = "right") -> None:
    if lines:
        (bottom, top), levels = ax.get_ylim(), lines.values()
        span = max(top, *levels) - min(bottom, *levels)
        ax.set_ylim(min(bottom, min(levels) - 0.05 * span), max(top, max(levels) + 0.11 * span))  # labels stand above
    edge, gap = (1, -2) if side == "right" else (0, 2)
    for label, level in (lines or {}).items():
        ax.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        ax.annotate(
            label, (edge, level), (gap, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha=side, va="bottom", size=SMALL, color=MUTED,
        )  # fmt: skip


@themed
def gradient_norms(networks: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Gradient norm from the first layer to the last, on a log scale: a line falling to the left vanishes.

    The line is the median over epochs, the band runs from the least to the greatest epoch, and each label says what
    is left of the last layer's gradient at the first one. A norm of exactly zero is drawn on the floor of the panel.

    Args:
        networks: name -> frame with index = epoch and columns = layers from first to last (a column "epoch" is
            left aside); up to seven.
        ax: where to draw; a new figure without it.
    """
    networks = [
        (n, f.drop(columns="epoch", errors="ignore"), *look) for n, f, *look in series(networks, "gradient_norms")
    ]
    for name, frame, *_ in networks:
        need(frame, "gradient_norms", f"epochs of {name!r}")
        need(frame.columns, "gradient_norms", f"layers of {name!r}")
    ax = axes(ax, 4.8)
    ax.set_yscale("log")
    every = np.concatenate([frame.to_numpy(float).ravel() for _, frame, *_ in networks])
    floor = every[(every > 0) & np.isfinite(every)].min(initial=1) / 3
    labels = []
    for name, frame, colour, marker in networks:
        norms = frame.astype(float).replace(np.inf, np.nan)
        depth = np.linspace(0, 1, norms.shape[1]) if norms.shape[1] > 1 else np.array([0.5])
        middle = norms.median()
        line = middle.clip(lower=floor)
        ax.fill_between(depth, norms.min().clip(lower=floor), norms.max(), color=colour, alpha=0.16, linewidth=0)
        ax.plot(depth, line, color=colour, marker=marker, linewidth=2, markersize=6)
        end = line.dropna().iloc[-1] if line.notna().any() else floor
        label = f"{textwrap.fill(name, 26)}\n{_share(middle.iloc[0], middle.iloc[-1])}"
        labels.append((end, label, colour, marker))
    longest = max((frame.columns for _, frame, *_ in networks), key=len)
    same = all(list(frame.columns) == list(longest) for _, frame, *_ in networks)
    if same and len(longest) > 1:
        ax.set_xticks(np.linspace(0, 1, len(longest)), longest, rotation=40, ha="right", rotation_mode="anchor")
    else:
        ax.set_xticks([0, 1], ["first\nlayer", "last\nlayer"])
    ax.set(ylabel="gradient norm", xlabel="layer, from the input to the output")
    ax.minorticks_off()
    end_labels(ax, labels)
    return ax


def _share(first: float, last: float) -> str:
    """How much of the last layer's gradient norm arrives at the first one, in words."""
    if not np.isfinite([first, last]).all():
        return "not finite"
    if first == 0 or last == 0:
        return "first layer gets none" if first == 0 else "last layer has none"
    ratio = first / last
    if ratio > 0.67:
        return f"first is {ratio:.1f} × last"
    return f"first is 1/{float(f'{1 / ratio:.2g}'):,.0f} of last"


@themed
def lr_curve(steps: Any, lr: Any, ax: Axes | None = None) -> Axes:
    """The learning rate that each step is trained with.

    Args:
        steps: step numbers (or epochs).
        lr: learning rate at each of them.
        ax: where to draw; a new figure without it.
    """
    steps, lr = array(steps), array(lr)
    need(steps, "lr_curve", "steps")
    ax = axes(ax, 2.8)
    ax.plot(steps, lr, color=ACCENT, linewidth=2)
    top = int(np.argmax(lr))
    ax.plot(steps[top], lr[top], "o", color=ACCENT, markersize=8, mec=SURFACE)
    ax.annotate(f"highest: {lr[top]:.3g}", (steps[top], lr[top]), (8, 6), textcoords="offset points", size=SMALL)
    ax.set(xlabel="step", ylabel="learning rate", ylim=(0, lr[top] * 1.18))
    ax.ticklabel_format(axis="y", style="plain")
    return ax


@themed
def lr_range(table: pd.DataFrame, marks: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """The loss of a range test against its rising learning rate, on a log scale: each step's, and smoothed.

    Args:
        table: one row a step with lr, loss and smoothed, as `training.lr_range_test` returns it.
        marks: label -> learning rate to mark on the smoothed line.
        ax: where to draw; a new figure without it.
    """
    need_columns(table, "lr_range", ["lr", "loss", "smoothed"])
    ax = axes(ax, 3.6)
    loss, smoothed = (table[name].where(np.isfinite) for name in ("loss", "smoothed"))
    ax.set_xscale("log")
    ax.plot(table["lr"], loss, color=MUTED, linewidth=0.9)
    ax.plot(table["lr"], smoothed, color=ACCENT, linewidth=2)
    start = smoothed.iloc[0]
    room = max(start - smoothed.min(), 1e-3)
    bottom = min(loss.min(), smoothed.min()) - 0.55 * room
    sides = ["right", *["left"] * len(marks)]  # of the line, so that two marks close to each other can be read
    for (label, rate), side in zip(marks.items(), sides, strict=False):
        height = smoothed[(table["lr"] - rate).abs().idxmin()]
        ax.plot([rate, rate], [bottom, height], color=ACCENT, linewidth=1, linestyle=(0, (1, 2)))
        ax.plot(rate, height, "o", color=ACCENT, markersize=8, mec=SURFACE)
        ax.annotate(
            f"{label}: {rate:.2g}", (rate, bottom), (-5 if side == "right" else 5, 5), textcoords="offset points",
            size=SMALL, ha=side, va="bottom",
        )  # fmt: skip
    ax.set(xlabel="learning rate", ylabel="loss", ylim=(bottom, start + 0.8 * room))
    keys = [
        Line2D([], [], color=MUTED, linewidth=0.9, label="each step"),
        Line2D([], [], color=ACCENT, linewidth=2, label="smoothed"),
    ]
    legend_above(ax, handles=keys)
    return ax


# ------------------------------------------------------------------ errors


@themed
def confusion(counts: Any, classes: Sequence[str]) -> Figure:
    """Confusion grid twice: as counts, and as shares of each true class. The colour scale is the square root.

    Up to four classes the two stand side by side, otherwise one over the other; up to twelve the cells carry
    their numbers.

    Args:
        counts: (K, K) whole numbers, rows = true class, columns = predicted class.
        classes: K names.
    """
    counts = array(counts)
    need(counts, "confusion", "classes")
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"confusion: counts have shape {counts.shape}, but there are {len(classes)} class names")
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    beside = len(classes) <= 4
    names_height = max(text_width(name, SMALL) for name in classes) * (0.7 if len(classes) <= NUMBERED else 1)
    height = 4.1 if beside else 2 * (6.2 + names_height)
    figure, panels = canvas(1 if beside else 2, height, ncols=2 if beside else 1)
    _confusion_panel(panels[0], counts, classes, "Number of images", "{:,.0f}".format)
    _confusion_panel(panels[1], shares, classes, "Per cent of each true class", "{:.0f}".format)
    return figure


def _confusion_panel(ax: Axes, values: np.ndarray, classes: Sequence[str], title: str, write: Any) -> None:
    k, top = len(classes), max(values.max(), 1e-9)
    dress(ax, grid="")
    numbered = k <= NUMBERED
    sns.heatmap(
        values, ax=ax, cmap=HEAT, norm=PowerNorm(0.5, 0, top), square=True, linewidths=1 if numbered else 0.4,
        linecolor=SURFACE, xticklabels=classes, yticklabels=classes, cbar=not numbered,
        cbar_kws={"shrink": 0.5, "aspect": 24, "pad": 0.02},
    )  # fmt: skip
    size = min(SMALL, 72 * 5.4 / k * 0.8)
    turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if numbered else {"rotation": 90, "ha": "center"}
    for label in ax.get_xticklabels():
        label.set(size=size, **turn)
    for label in ax.get_yticklabels():
        label.set(size=size, rotation=0)
    ax.tick_params(length=0)
    ax.spines["bottom"].set_visible(False)
    ax.set(title=title, xlabel="predicted", ylabel="true")
    if not numbered:
        bar = ax.collections[0].colorbar
        bar.outline.set_visible(False)
        bar.ax.tick_params(color=GRID, labelcolor=INK, length=3)
        return
    for row, column in np.ndindex(k, k):
        dark = np.sqrt(values[row, column] / top) > 0.55
        colour = SURFACE if dark else INK if values[row, column] else MUTED
        ax.text(column + 0.5, row + 0.5, write(values[row, column]), ha="center", va="center", size=size, color=colour)


@themed
def per_class(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Precision, recall and F1 of each class, best F1 on top, with the number of test images behind them.

    Args:
        scores: columns class, precision, recall, f1, support.
        ax: where to draw; a new figure without it.
    """
    need_columns(scores, "per_class", ["class", "precision", "recall", "f1", "support"])
    scores = scores.sort_values("f1", ascending=False, kind="stable")
    ax = dress(axes(ax, 1.2 + 0.3 * len(scores)), grid="both")
    rows = range(len(scores))
    ax.hlines(
        rows,
        scores[["precision", "recall"]].min(axis=1),
        scores[["precision", "recall"]].max(axis=1),
        color=MUTED,
        linewidth=1,
    )
    for column, marker, face, size in (
        ("precision", "<", SURFACE, 8),
        ("recall", ">", SURFACE, 8),
        ("f1", "o", ACCENT, 9),
    ):
        edge = ACCENT if column == "f1" else MUTED
        name = "F1" if column == "f1" else column
        ax.plot(scores[column], rows, marker, color=edge, markerfacecolor=face, markersize=size, label=name)
    rows_axis(ax, scores["class"])
    for row, support in zip(rows, scores["support"], strict=True):
        right_text(ax, row, f"{support:,.0f}")
    right_text(ax, -0.95, "images")
    ax.set_xlim(min(0.9, np.nanmin(scores[["precision", "recall", "f1"]]) - 0.05), 1.03)
    ax.set_xticks([tick for tick in ax.get_xticks() if ax.get_xlim()[0] <= tick <= 1])
    percent_axis(ax.xaxis)
    legend_above(ax)
    return ax


@themed
def reliability(before: pd.DataFrame, after: pd.DataFrame | None = None, ece: Sequence[float] = ()) -> Figure:
    """Accuracy against confidence, over the number of predictions at each confidence.

    Args:
        before: columns confidence, accuracy, count; a row for each bin, empty bins left out or NaN.
        after: the same after temperature scaling.
        ece: expected calibration error (a share) of `before`, and of `after`.
    """
    frames = [("before scaling" if after is not None else "predictions", before, ORANGE, "s")]
    if after is not None:
        frames.append(("after scaling", after, ACCENT, "o"))
    for _, frame, *_ in frames:
        need_columns(frame, "reliability", ["confidence", "accuracy", "count"])
    figure, (top, bottom) = canvas(2, 6.4, sharex=True, height_ratios=[3, 1])
    dress(top, grid="both")
    for i, (name, frame, colour, marker) in enumerate(frames):
        frame = frame[frame["count"] > 0].sort_values("confidence")
        label = name + (f", ECE {ece[i]:.1%}".replace("%", " %") if i < len(ece) else "")
        top.plot(
            frame["confidence"], frame["accuracy"], marker=marker, color=colour, linewidth=2, markersize=6, label=label
        )
        bottom.plot(frame["confidence"], frame["count"], marker=marker, color=colour, linewidth=1.5, markersize=5)
    top.axline((0, 0), slope=1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    top.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
    bottom.set(xlabel="confidence", ylabel="predictions", ylim=(0, None))
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    percent_axis(top.yaxis)
    percent_axis(bottom.xaxis)
    legend_above(top, columns=3)
    return figure


# ------------------------------------------------------------------ comparison


@themed
def ladder(rungs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy of each rung with its interval, beside what was claimed and what the published code gives.

    Args:
        rungs: columns rung, value, low, high (shares); claimed and as_published where there are any, NaN or absent
            where not. Rows are drawn from top to bottom.
        ax: where to draw; a new figure without it.
    """
    need_columns(rungs, "ladder", ["rung", "value", "low", "high"])
    ax = dress(axes(ax, 1.2 + 0.54 * len(rungs)), grid="both")
    rows = np.arange(len(rungs))
    _intervals(ax, rungs, "measured here")
    for column, marker, name in (("claimed", "D", "claimed"), ("as_published", "s", "as published")):
        if column in rungs and rungs[column].notna().any():
            colour = ORANGE if column == "claimed" else MUTED
            ax.plot(
                rungs[column], rows + 0.27, marker, color=colour, markerfacecolor="none", markersize=8,
                markeredgewidth=1.7, label=name,
            )  # fmt: skip
    rows_axis(ax, rungs["rung"])
    for row, (value, low, high) in enumerate(rungs[["value", "low", "high"]].to_numpy(float)):
        if np.isfinite(value):
            interval = f"  [{low * 100:.1f}, {high * 100:.1f}]" if np.isfinite([low, high]).all() else ""
            right_text(ax, row, f"{value * 100:.1f} %{interval}", INK)
    ax.margins(x=0.06)
    percent_axis(ax.xaxis)
    ax.set_xlabel("accuracy")
    legend_above(ax)
    return ax


def _intervals(ax: Axes, frame: pd.DataFrame, label: str) -> None:
    rows = np.arange(len(frame))
    ax.hlines(rows, frame["low"], frame["high"], color=ACCENT, linewidth=3.5, alpha=0.45)
    ax.plot(frame["value"], rows, "o", color=ACCENT, markersize=9, mec=SURFACE, label=label)


@themed
def controls(scores: pd.DataFrame, chance: float | None = None, xlabel: str = "") -> Figure:
    """Accuracy of several methods under each setting of each control, one panel a control.

    Args:
        scores: columns control, setting, method, value, low, high; settings are drawn in the order in which they come.
        chance: accuracy of a guess, drawn as a line.
        xlabel: what the settings are, where the name of the control does not say it.
    """
    need_columns(scores, "controls", ["control", "setting", "method", "value", "low", "high"])
    groups = list(scores.groupby("control", sort=False))
    columns = min(2, len(groups))
    rows = math.ceil(len(groups) / columns)
    figure, panels = canvas(rows, 0.4 + 2.9 * rows, ncols=columns, sharey=True)
    looks = series(dict.fromkeys(scores["method"]), "controls")
    for ax, (control, frame) in zip(panels, groups, strict=False):
        settings = list(dict.fromkeys(frame["setting"]))
        for k, (method, _, colour, marker) in enumerate(looks):
            one = frame[frame["method"] == method].set_index("setting").reindex(settings)
            x = (
                np.arange(len(settings)) + (k - (len(looks) - 1) / 2) * 0.12
            )  # side by side, or intervals hide each other
            ax.vlines(x, one["low"], one["high"], color=colour, linewidth=3, alpha=0.45)
            ax.plot(
                x, one["value"], marker=marker, color=colour, linewidth=1.3, markersize=7, mec=SURFACE, label=method
            )
        if chance is not None:
            ax.axhline(chance, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="guessing")
        ax.set_xticks(range(len(settings)), settings)
        ax.set_xlim(-0.5, len(settings) - 0.5)
        ax.set(title=control, xlabel=xlabel)
        ax.tick_params(labelleft=True)
        percent_axis(ax.yaxis)
    for ax in panels[len(groups) :]:
        ax.set_axis_off()
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), columnspacing=1.4, handletextpad=0.5)
    return figure


@themed
def accuracy_against_seconds(
    models: pd.DataFrame, published: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Accuracy with its interval against training time on a log scale; the line joins the best for the time spent.

    Args:
        models: columns name, seconds, accuracy (or value), low, high.
        published: columns name, seconds, accuracy of what others report; nan for unknown seconds, which makes a line
            across.
        ax: where to draw; a new figure without it.
    """
    if "accuracy" not in models:
        models = models.rename(columns={"value": "accuracy"})
    need_columns(models, "accuracy_against_seconds", ["name", "seconds", "accuracy", "low", "high"])
    ax = dress(axes(ax, 4.8), grid="both")
    models = models.sort_values("seconds", kind="stable")
    best = models[models["accuracy"] >= models["accuracy"].cummax()]
    ax.plot(best["seconds"], best["accuracy"], drawstyle="steps-post", color=MUTED, linewidth=1.2)
    ax.vlines(models["seconds"], models["low"], models["high"], color=ACCENT, linewidth=3.5, alpha=0.45)
    ax.plot(models["seconds"], models["accuracy"], "o", color=ACCENT, markersize=9, mec=SURFACE)
    ax.set_xscale("log")
    others = pd.DataFrame(columns=["name", "seconds", "accuracy"]) if published is None else published
    timed = others[others["seconds"].notna()]
    ax.plot(timed["seconds"], timed["accuracy"], "D", color=ORANGE, markerfacecolor="none", markersize=8, mew=1.7)
    drawn = pd.concat([models[["name", "seconds", "accuracy"]], timed]).astype({"seconds": float, "accuracy": float})
    first, last = drawn["seconds"].min(), drawn["seconds"].max()
    spread = max(last / first, 4) ** 0.12
    first, last = first / spread, last * spread
    ticks = [tick for tick in DURATIONS if first <= tick <= last]
    if len(ticks) < 2:  # runs of less than a second, or all within a few
        ticks = sorted({float(f"{seconds:.1g}") for seconds in models["seconds"]})
    ticks = ticks[:: math.ceil(len(ticks) / 8)]
    ax.set_xlim(first, last)
    ax.set_xticks(ticks, [duration(tick) for tick in ticks])
    ax.minorticks_off()
    ax.margins(y=0.14)
    percent_axis(ax.yaxis)
    ax.set(xlabel=TIME_AXIS, ylabel="accuracy")
    _level_lines(ax, dict(others[others["seconds"].isna()][["name", "accuracy"]].to_numpy()), side="left")
    _label_points(ax, drawn["seconds"], drawn["accuracy"], drawn["name"])
    return ax


def duration(seconds: float) -> str:
    """A time as an axis writes it, in its largest whole unit: 0.5 s, 20 s, 5 min."""
    unit, length = next((u, n) for u, n in (("h", 3600), ("min", 60), ("s", 0.001)) if seconds >= n)
    return f"{seconds / max(length, 1):g} {unit}"


def _label_points(ax: Axes, xs: pd.Series, ys: pd.Series, names: pd.Series) -> None:
    """Write each name at the side of its point where it covers least of the others and of what is written."""
    ax.figure.draw_without_rendering()
    points = ax.transData.transform(np.stack([xs, ys], 1))
    panel, unit = ax.get_window_extent(), ax.figure.dpi / 72
    pad = 1  # points around a name in which it hides what lies behind
    taken = [(x - 6 * unit, y - 6 * unit, x + 6 * unit, y + 6 * unit) for x, y in points]
    taken += [tuple(text.get_window_extent().padded(pad * unit).extents) for text in ax.texts]
    for (x, y), name in zip(points, names, strict=True):
        width, height = text_width(name, SMALL) * ax.figure.dpi, SMALL * 1.3 * unit
        boxes = []
        for dx, dy, ha, va in SIDES:
            left = x + dx * unit - width * {"left": 0, "center": 0.5, "right": 1}[ha]
            low = y + dy * unit - height * {"bottom": 0, "center": 0.5, "top": 1}[va]
            boxes.append((left - pad * unit, low - pad * unit, left + width + pad * unit, low + height + pad * unit))
        costs = [sum(_overlap(box, other) for other in taken) + _outside(box, panel.extents) for box in boxes]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        dx, dy, ha, va = SIDES[best]
        ax.annotate(
            name, ax.transData.inverted().transform((x, y)), (dx, dy), textcoords="offset points", ha=ha, va=va,
            size=SMALL, bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": pad},
        )  # fmt: skip


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Area that two boxes (left, low, right, high) share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Sequence[float], panel: Sequence[float]) -> float:
    """Cost of a box that leaves the panel: worse than any overlap."""
    inside = _overlap(box, panel)
    return 1e3 * ((box[2] - box[0]) * (box[3] - box[1]) - inside)


@themed
def mistakes(costs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy that each mistake leaves, with its interval, and the points it costs against the reference.

    Args:
        costs: columns what, value, low, high, reference (shares; the accuracy without the mistake).
        ax: where to draw; a new figure without it.
    """
    need_columns(costs, "mistakes", ["what", "value", "low", "high", "reference"])
    ax = dress(axes(ax, 1.3 + 0.46 * len(costs)), grid="both")
    rows = np.arange(len(costs))
    ax.hlines(rows, costs["value"], costs["reference"], color=ORANGE, linewidth=1.6, label="lost")
    ax.plot(costs["reference"], rows, "|", color=INK, markersize=16, markeredgewidth=2, label="without the mistake")
    _intervals(ax, costs, "with the mistake")
    rows_axis(ax, costs["what"], width=24)
    for row, lost in enumerate(costs["value"] - costs["reference"]):
        text = "no change" if abs(lost) < 0.0005 else f"{lost * 100:+.1f} points".replace("-", "−")
        right_text(ax, row, text, INK)
    ax.margins(x=0.06)
    percent_axis(ax.xaxis)
    ax.set_xlabel("accuracy")
    handles, names = ax.get_legend_handles_labels()
    legend_above(ax, handles=handles[1:], labels=names[1:])
    return ax
