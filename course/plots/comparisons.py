"""Accuracies side by side: claims, mistakes, ideas under test, and methods under controls."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imgcls.plots import theme
from imgcls.plots.labels import right_text

FAR = 5  # a gain of more than so many times the extent of the median idea is an arrow at the edge


def intervals(ax: Axes, rows: Any, value: Any, low: Any, high: Any, colour: str = theme.ACCENT, **marker: Any) -> None:
    """A dot with its interval in each row; `marker` goes to Axes.plot."""
    ax.hlines(rows, low, high, color=colour, linewidth=3.5, alpha=0.45)
    ax.plot(value, rows, "o", color=colour, **{"markersize": 9} | marker)


@theme.themed
def ladder(rungs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy of each rung with its interval, beside the claimed accuracy and that of the published code.

    Args:
        rungs: Columns rung, value, low, high (shares); optional claimed and as_published, NaN where there is none. The
            first row is on top.
        ax: Where to draw; a new figure by default.
    """
    theme.need_columns(rungs, "ladder", ["rung", "value", "low", "high"])
    ax = theme.axes(ax, 1.2 + 0.54 * len(rungs), grid="both")
    rows = np.arange(len(rungs))
    intervals(ax, rows, rungs["value"], rungs["low"], rungs["high"], mec=theme.SURFACE, label="measured here")
    for column, marker, colour in (("claimed", "D", theme.ORANGE), ("as_published", "s", theme.MUTED)):
        if column in rungs and rungs[column].notna().any():
            look = {"color": colour, "markerfacecolor": "none", "markersize": 8, "markeredgewidth": 1.7}
            ax.plot(rungs[column], rows + 0.27, marker, label=column.replace("_", " "), **look)
    theme.rows_axis(ax, rungs["rung"])
    for row, (value, low, high) in enumerate(rungs[["value", "low", "high"]].to_numpy(float)):
        if np.isfinite(value):
            interval = f"  [{low * 100:.1f}, {high * 100:.1f}]" if np.isfinite([low, high]).all() else ""
            right_text(ax, row, theme.percent(value, 1) + interval)
    ax.margins(x=0.06)
    theme.percent_axis(ax.xaxis)
    ax.set_xlabel("accuracy")
    theme.legend_above(ax)
    return ax


@theme.themed
def mistakes(costs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy under each mistake with its interval, and the points lost against the accuracy without the mistake.

    Args:
        costs: Columns what, value, low, high, reference (shares; the accuracy without the mistake).
        ax: Where to draw; a new figure by default.
    """
    theme.need_columns(costs, "mistakes", ["what", "value", "low", "high", "reference"])
    ax = theme.axes(ax, 1.3 + 0.46 * len(costs), grid="both")
    rows = np.arange(len(costs))
    ax.hlines(rows, costs["value"], costs["reference"], color=theme.ORANGE, linewidth=1.6)
    ax.plot(
        costs["reference"], rows, "|", color=theme.INK, markersize=16, markeredgewidth=2, label="without the mistake"
    )
    intervals(ax, rows, costs["value"], costs["low"], costs["high"], mec=theme.SURFACE, label="with the mistake")
    theme.rows_axis(ax, costs["what"], width=24)
    for row, lost in enumerate(costs["value"] - costs["reference"]):
        right_text(ax, row, "no change" if abs(lost) < 0.0005 else f"{lost * 100:+.1f} points")
    ax.margins(x=0.06)
    theme.percent_axis(ax.xaxis)
    ax.set_xlabel("accuracy")
    theme.legend_above(ax)
    return ax


@theme.themed
def gains(trials: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Gain of each idea in points with its interval; filled where the idea was selected.

    A gain or loss far beyond the others is an arrow at the edge, so that the intervals of the others remain visible.

    Args:
        trials: Columns name, gain, low, high (shares) and kept, as `selection.forward_selection` returns them; rows
            without a gain, such as the start, are left out. The first row is on top.
        ax: Where to draw; a new figure by default.
    """
    theme.need_columns(trials, "gains", ["name", "gain", "low", "high", "kept"])
    trials = trials[trials["gain"].notna()]
    theme.need(trials, "gains", "ideas")
    ax = theme.axes(ax, 1.2 + 0.5 * len(trials), grid="x")
    ax.axvline(0, color=theme.INK, linewidth=1)
    rows = np.arange(len(trials))
    gain, low, high = 100 * trials[["gain", "low", "high"]].to_numpy(float).T
    selected = trials["kept"].to_numpy(bool)
    least = np.maximum(low, -high)  # the least gain or loss within the interval; negative if the interval includes 0
    near = least <= FAR * np.median(np.abs([gain, low, high]).max(axis=0))
    for mine, colour, face, label in (
        (selected, theme.ACCENT, theme.ACCENT, "selected"),
        (~selected, theme.MUTED, "none", "not selected alone"),
    ):
        if mine.any():
            seen = mine & near
            intervals(ax, rows[seen], gain[seen], low[seen], high[seen], colour, markerfacecolor=face, label=label)
            for row in rows[mine & ~near]:
                edge, arrow = (0.98, ">") if gain[row] > 0 else (0.02, "<")
                look = {"color": colour, "markerfacecolor": face, "markersize": 9}
                ax.plot(edge, row, arrow, transform=ax.get_yaxis_transform(), **look)
    theme.rows_axis(ax, trials["name"])
    for row in rows:
        right_text(ax, row, f"{gain[row]:+.1f}  [{low[row]:+.1f}, {high[row]:+.1f}]")
    ax.margins(x=0.06)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel("gain on validation images (points)" + ("" if near.all() else "; arrow: beyond the scale"))
    theme.legend_above(ax)
    return ax


@theme.themed
def controls(scores: pd.DataFrame, chance: float | None = None, xlabel: str = "") -> Figure:
    """Accuracy of several methods under each setting of each control, one panel a control.

    Args:
        scores: Columns control, setting, method, value, low, high; settings keep their order.
        chance: Accuracy of a uniform prediction, drawn as a line.
        xlabel: What the settings are, where the name of the control is not enough.
    """
    theme.need_columns(scores, "controls", ["control", "setting", "method", "value", "low", "high"])
    groups = list(scores.groupby("control", sort=False))
    figure, panels = theme.panel_grid(len(groups), 2.9, top=0.4, sharey=True)
    looks = theme.series(dict.fromkeys(scores["method"]), "controls")
    for ax, (control, frame) in zip(panels, groups, strict=True):
        settings = list(dict.fromkeys(frame["setting"]))
        for k, (method, _, colour, marker) in enumerate(looks):
            one = frame[frame["method"] == method].set_index("setting").reindex(settings)
            x = np.arange(len(settings)) + (k - (len(looks) - 1) / 2) * 0.12  # so that intervals do not overlap
            ax.vlines(x, one["low"], one["high"], color=colour, linewidth=3, alpha=0.45)
            look = {"marker": marker, "color": colour, "linewidth": 1.3, "markersize": 7, "mec": theme.SURFACE}
            ax.plot(x, one["value"], label=method, **look)
        if chance is not None:
            ax.axhline(chance, color=theme.MUTED, linewidth=1, linestyle=theme.DOTTED, label="chance level")
        ax.set_xticks(range(len(settings)), settings)
        ax.set_xlim(-0.5, len(settings) - 0.5)
        ax.set(title=control, xlabel=xlabel)
        ax.tick_params(labelleft=True)
        theme.percent_axis(ax.yaxis)
    theme.figure_legend(figure, panels[0].lines, columns=len(panels[0].lines))
    return figure
