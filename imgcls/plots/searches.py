"""Figures of a hyperparameter search: its history, and the importance of each hyperparameter."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from imgcls.messages import UserError
from imgcls.plots import theme

STATES = ("complete", "pruned")


@theme.themed
def search_history(trials: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Best validation accuracy of each trial of a search in the order of their start, and the best so far.

    Args:
        trials: Columns number, state ("complete" or "pruned") and reached (the trial's best validation accuracy, a
            share; a trial with NaN is counted, but not drawn).
        ax: Where to draw; a new figure by default.

    Raises:
        ValueError: No trials, a missing column, or another state.
    """
    theme.need_columns(trials, "search_history", ["number", "state", "reached"])
    check_states(trials, "search_history")
    ax = theme.axes(ax, 3.6)
    trials = trials.sort_values("number", kind="stable")
    size = 8 if len(trials) <= 50 else 6
    looks = {
        "complete": {"marker": "o", "color": theme.ACCENT, "markersize": size, "mec": theme.SURFACE, "zorder": 4},
        "pruned": {"marker": "x", "color": theme.MUTED, "markersize": 5, "markeredgewidth": 1.1},
    }
    for state, look in looks.items():
        some = trials[trials["state"] == state]
        if len(some):
            ax.plot(some["number"], some["reached"], linestyle="", label=f"{state} ({len(some)})", **look)
    best = np.fmax.accumulate(trials["reached"].to_numpy(float))
    ax.plot(trials["number"], best, drawstyle="steps-post", color=theme.ORANGE, linewidth=1.8, label="best so far")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    theme.percent_axis(ax.yaxis)
    ax.set(xlabel="trial", ylabel="validation accuracy")
    theme.legend_above(ax)
    return ax


def check_states(trials: pd.DataFrame, function: str) -> None:
    """Raise ValueError for a trial that is neither complete nor pruned."""
    if strange := [state for state in trials["state"] if state not in STATES]:
        raise UserError(
            f"{function}: a trial has the state {strange[0]!r}; keep only the trials that are {' or '.join(STATES)}"
        )


@theme.themed
def importances(shares: pd.Series, ax: Axes | None = None) -> Axes:
    """Importance of each hyperparameter for the accuracies of a search, the most important on top.

    Args:
        shares: Index = hyperparameter, values = shares of the total importance; NaN is shown as unknown.
        ax: Where to draw; a new figure by default.
    """
    theme.need(shares, "importances", "hyperparameters")
    shares = shares.astype(float).sort_values(ascending=False, kind="stable")
    ax = theme.axes(ax, 0.8 + 0.38 * len(shares), grid="")
    widths = shares.where(np.isfinite(shares), 0)
    bars = ax.barh(range(len(shares)), widths, height=0.68, color=theme.ACCENT)
    ax.bar_label(bars, [_per_cent(share) for share in shares], padding=4, size=theme.SMALL, color=theme.INK)
    theme.rows_axis(ax, [str(name).replace("_", " ") for name in shares.index])
    ax.set_xlim(0, max(widths.max(), 1e-9) * 1.12)
    ax.set_xticks([])
    ax.set_xlabel("share of the importance")
    return ax


def _per_cent(share: float) -> str:
    if not np.isfinite(share):
        return "unknown"
    return "< 1 %" if 0 < share < 0.005 else theme.percent(share)
