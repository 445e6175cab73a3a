"""Lines of numbers: learning curves, gradient norms, learning-rate range test, scores against a varied quantity."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from pandas.api import types

from imgcls.messages import UserError
from imgcls.plots import theme
from imgcls.plots.labels import end_labels, level_lines

TRAINING = {"linewidth": 1.3, "linestyle": (0, (3, 2))}
VALIDATION = {"linewidth": 2}
MOST_TICKS = 12  # values of a varied quantity that each get a tick


@theme.themed
def learning_curves(
    runs: Mapping[str, pd.DataFrame],
    loss_lines: Mapping[str, float] | None = None,
    accuracy_lines: Mapping[str, float] | None = None,
) -> Figure:
    """Loss over accuracy against epochs: validation solid, training dashed, the best epoch of each run marked.

    Args:
        runs: Name -> frame with epoch, train_loss, train_accuracy, val_loss, val_accuracy; up to seven.
        loss_lines: Label -> loss drawn as a horizontal line, such as {"chance, ln 10": 2.303}.
        accuracy_lines: Label -> accuracy drawn as a horizontal line.
    """
    runs = theme.series(runs, "learning_curves")
    columns = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]
    for _, frame, *_ in runs:
        theme.need_columns(frame, "learning_curves", columns)
    figure, panels = theme.canvas(2, 6.8, sharex=True)
    for ax, measure, lines in zip(panels, ("loss", "accuracy"), (loss_lines, accuracy_lines), strict=True):
        labels = []
        for name, frame, colour, marker in runs:
            train, val = (frame[f"{split}_{measure}"].where(np.isfinite) for split in ("train", "val"))
            point = {"color": colour, "marker": "." if len(frame) == 1 else ""}
            ax.plot(frame["epoch"], train, **TRAINING, **point)
            ax.plot(frame["epoch"], val, **VALIDATION, **point)
            text = textwrap.fill(name, 16)
            if frame["val_accuracy"].notna().any():
                ranked = frame.sort_values(["val_accuracy", "val_loss"], ascending=[False, True])
                best = ranked.index[0]  # the epoch whose weights `fit` restores
                ax.plot(frame["epoch"][best], val[best], marker, color=colour, markersize=9, mec=theme.SURFACE)
                if measure == "accuracy":
                    text += f"\nbest {theme.percent(val[best], 1)}"
            if val.notna().any():
                labels.append((val.dropna().iloc[-1], text, colour, marker))
        ax.set_ylabel(measure)
        ax.margins(x=0.03)
        level_lines(ax, lines)
        end_labels(ax, labels)
    theme.percent_axis(panels[1].yaxis)
    panels[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[1].set_xlabel("epoch")
    keys = [
        Line2D([], [], color=theme.MUTED, label="validation", **VALIDATION),
        Line2D([], [], color=theme.MUTED, label="training", **TRAINING),
        Line2D([], [], color=theme.MUTED, linestyle="", marker="o", markersize=8, label="best epoch"),
    ]
    theme.legend_above(panels[0], handles=keys)
    return figure


@theme.themed
def gradient_norms(networks: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Gradient norm from the first layer to the last on a log scale: a line that falls to the left is vanishing.

    The line is the median over epochs, the band runs from the smallest to the largest epoch, and each label compares
    the first layer with the last. A norm of exactly zero is drawn at the bottom of the panel.

    Args:
        networks: Name -> frame with index = epoch and columns = layers from first to last (a column "epoch" is
            ignored); up to seven.
        ax: Where to draw; a new figure by default.
    """
    looks = []
    for name, frame, *look in theme.series(networks, "gradient_norms"):
        theme.need(frame, "gradient_norms", f"epochs of {name!r}")
        frame = frame.drop(columns="epoch", errors="ignore")
        theme.need(frame.columns, "gradient_norms", f"layers of {name!r}")
        looks.append((name, frame.astype(float).replace(np.inf, np.nan), *look))
    ax = theme.axes(ax, 4.8)
    ax.set_yscale("log")
    theme.powers_axis(ax.yaxis)
    every = np.concatenate([norms.to_numpy().ravel() for _, norms, *_ in looks])
    floor = every[every > 0].min(initial=1) / 3
    labels = []
    for name, norms, colour, marker in looks:
        depth = np.linspace(0, 1, norms.shape[1]) if norms.shape[1] > 1 else np.array([0.5])
        middle = norms.median()
        line = middle.clip(lower=floor)
        ax.fill_between(depth, norms.min().clip(lower=floor), norms.max(), color=colour, alpha=0.16, linewidth=0)
        ax.plot(depth, line, color=colour, marker=marker, linewidth=2, markersize=6)
        end = line.dropna().iloc[-1] if line.notna().any() else floor
        label = f"{textwrap.fill(name, 26)}\n{_first_to_last(middle.iloc[0], middle.iloc[-1])}"
        labels.append((end, label, colour, marker))
    layers = max((list(norms.columns) for _, norms, *_ in looks), key=len)
    if all(list(norms.columns) == layers for _, norms, *_ in looks) and len(layers) > 1:
        ax.set_xticks(np.linspace(0, 1, len(layers)), layers, rotation=40, ha="right", rotation_mode="anchor")
    else:
        ax.set_xticks([0, 1], ["first\nlayer", "last\nlayer"])
    ax.set(ylabel="gradient norm", xlabel="layer, from the input to the output")
    ax.minorticks_off()
    end_labels(ax, labels)
    return ax


def _first_to_last(first: float, last: float) -> str:
    """The gradient norm of the first layer compared with that of the last."""
    if not np.isfinite([first, last]).all():
        return "not finite"
    if first == 0 or last == 0:
        return "first layer: zero" if first == 0 else "last layer: zero"
    ratio = first / last
    if ratio > 0.67:
        return f"first is {ratio:.1f} × last"
    return f"first is 1/{float(f'{1 / ratio:.2g}'):,.0f} of last"


@theme.themed
def lr_range(table: pd.DataFrame, marks: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """The loss of a learning-rate range test against the rate on a log scale, of each step and smoothed.

    Args:
        table: One row a step with lr, loss and smoothed, as `training.lr_range_test` returns it.
        marks: Label -> learning rate to mark on the smoothed line; up to two.
        ax: Where to draw; a new figure by default.
    """
    theme.need_columns(table, "lr_range", ["lr", "loss", "smoothed"])
    ax = theme.axes(ax, 3.6)
    loss, smoothed = (table[name].where(np.isfinite) for name in ("loss", "smoothed"))
    ax.set_xscale("log")
    theme.powers_axis(ax.xaxis)
    ax.plot(table["lr"], loss, color=theme.MUTED, linewidth=0.9, label="each step")
    ax.plot(table["lr"], smoothed, color=theme.ACCENT, linewidth=2, label="smoothed")
    start = smoothed.iloc[0]
    room = max(start - smoothed.min(), 1e-3)
    bottom = min(loss.min(), smoothed.min()) - 0.55 * room
    # The first label is left of its line, the second right, so that labels of close marks do not overlap.
    for (label, rate), (side, gap) in zip(marks.items(), (("right", -5), ("left", 5)), strict=False):
        height = smoothed[(table["lr"] - rate).abs().idxmin()]
        ax.plot([rate, rate], [bottom, height], color=theme.ACCENT, linewidth=1, linestyle=theme.DOTTED)
        ax.plot(rate, height, "o", color=theme.ACCENT, markersize=8, mec=theme.SURFACE)
        ax.annotate(
            f"{label}: {rate:.2g}", (rate, bottom), (gap, 5), textcoords="offset points", size=theme.SMALL, ha=side,
            va="bottom",
        )  # fmt: skip
    ax.set(xlabel="learning rate", ylabel="loss", ylim=(bottom, start + 0.8 * room))
    theme.legend_above(ax, handles=ax.lines[:2])
    return ax


@theme.themed
def curves(
    scores: pd.DataFrame,
    xlabel: str,
    ylabels: Mapping[str, str] | None = None,
    lines: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Shares with their intervals against a varied number, one panel for each quantity measured.

    A series has the same colour and marker in every panel and may be missing in some.

    Args:
        scores: Columns panel, x (a number), series, value, low, high (shares; low and high may be NaN); up to seven
            series. Panels and series come in the order of the frame.
        xlabel: What x is.
        ylabels: Panel -> what its values are.
        lines: Panel -> label -> share drawn as a horizontal line.

    Raises:
        ValueError: No rows, a missing column, more series than colours, or a label or line for no panel.
    """
    theme.need_columns(scores, "curves", ["panel", "x", "series", "value", "low", "high"])
    looks = theme.series(dict.fromkeys(scores["series"]), "curves")
    ylabels, lines = ylabels or {}, lines or {}
    if not types.is_numeric_dtype(scores["x"]):
        raise UserError(f"curves: x contains {scores['x'].iloc[0]!r}; pass numbers")
    groups = dict(list(scores.groupby("panel", sort=False)))
    if strange := [panel for panel in [*ylabels, *lines] if panel not in groups]:
        raise UserError(f"curves: there is no panel {strange[0]!r}; the frame has {', '.join(map(repr, groups))}")
    figure, panels = theme.panel_grid(len(groups), 3.4 if len(groups) == 1 else 3.1)
    style = {"linewidth": 2, "markersize": 7, "mec": theme.SURFACE}
    for ax, (panel, frame) in zip(panels, groups.items(), strict=True):
        for name, _, colour, marker in looks:
            one = frame[frame["series"] == name].sort_values("x", kind="stable")
            if one.empty:
                continue
            ax.fill_between(one["x"], one["low"], one["high"], color=colour, alpha=0.16, linewidth=0)
            ax.plot(one["x"], one["value"], color=colour, marker=marker, **style)
        ax.set(title=panel, xlabel=xlabel, ylabel=ylabels.get(panel, ""))
        theme.percent_axis(ax.yaxis)
    keys = [Line2D([], [], color=colour, marker=marker, label=name, **style) for name, _, colour, marker in looks]
    theme.figure_legend(figure, keys, theme.legend_columns([name for name, *_ in looks]))
    for ax, (panel, frame) in zip(panels, groups.items(), strict=True):
        level_lines(ax, lines.get(panel))
        _ticks_at(ax, np.unique(frame["x"]))
    return figure


def _ticks_at(ax: Axes, values: np.ndarray) -> None:
    """A tick at each value, with its number where it does not overlap the one before; round ticks for many values."""
    if len(values) > MOST_TICKS:
        whole = bool((values == np.round(values)).all())
        ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=whole))
        return
    ax.figure.draw_without_rendering()  # settles the layout
    places = ax.transData.transform(np.column_stack([values, np.zeros(len(values))]))[:, 0] / ax.figure.dpi
    texts, free = [], -np.inf
    for place, value in zip(places, values, strict=True):
        half = theme.text_width(theme.short_number(value)) / 2
        texts.append(theme.short_number(value) if place - half > free else "")
        free = place + half + 0.06 if texts[-1] else free
    ax.set_xticks(values, texts)
