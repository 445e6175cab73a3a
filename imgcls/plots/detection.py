"""Figures of telling known from unknown: what each threshold lets pass, and how the scores of the two overlap."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from imgcls.plots.theme import (
    ACCENT,
    INK,
    MUTED,
    SERIES,
    SMALL,
    array,
    axes,
    canvas,
    dress,
    need,
    need_columns,
    percent_axis,
    series,
    themed,
)

BASELINE = "max softmax"
DASHED = (0, (4, 3))
DOTTED = (0, (1, 2))
KINDS = ("known classes", "unknown classes")
BINS = 40
TAIL = 0.005  # of the images at either end, which the outermost bins take in


@themed
def detection_curves(
    curves: Mapping[str, pd.DataFrame],
    table: pd.DataFrame,
    baseline: str = BASELINE,
    keep: float | None = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """ROC curves of unknown-class scores, each with its area in the key; the baseline comes first, thick and in ink.

    Args:
        curves: score -> frame with known_kept and unknown_kept (shares), as `openset.detection_curve` returns it; the
            baseline and up to seven others.
        table: columns method, auroc, low, high (shares), as `openset.detection_table` returns it.
        baseline: the score that the others have to beat.
        keep: share of the known images at which a line is drawn; None for none.
        ax: where to draw; a new figure without it.

    Raises:
        ValueError: no curves, a missing column, no baseline, a curve without a row in the table, or too many curves.
    """
    need(curves, "detection_curves", "curves")
    need_columns(table, "detection_curves", ["method", "auroc", "low", "high"])
    areas = table.set_index("method")
    if baseline not in curves:
        raise ValueError(
            f"detection_curves: no curve {baseline!r} to measure the others against; "
            f"there are {', '.join(map(repr, curves))}"
        )
    if missing := [name for name in curves if name not in areas.index]:
        raise ValueError(f"detection_curves: the table has no row of {', '.join(map(repr, missing))}")
    others = {name: curve for name, curve in curves.items() if name != baseline}
    looks = [(name, curve, colour) for name, curve, colour, _ in series(others, "detection_curves")] if others else []
    ax = dress(axes(ax, 4.6), grid="both")
    keys = []
    for name, curve, colour in [(baseline, curves[baseline], INK), *looks]:  # the thickest lies below
        need_columns(curve, "detection_curves", ["known_kept", "unknown_kept"])
        look = {"color": colour, "linewidth": 3.4 if name == baseline else 1.6}
        ax.plot(curve["unknown_kept"], curve["known_kept"], **look)
        value, low, high = (100 * areas.loc[name, column] for column in ("auroc", "low", "high"))
        keys.append(Line2D([], [], label=f"{name}\n{value:.1f} % [{low:.1f}, {high:.1f}]", **look))
    keys += ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DOTTED, label="guessing")
    if keep is not None:
        text = f"{100 * keep:.4g} % of known kept"
        keys.append(ax.axhline(keep, color=MUTED, linewidth=1, linestyle=DASHED, label=text))
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="unknown images taken for known", ylabel="known images kept")
    percent_axis(ax.xaxis)
    percent_axis(ax.yaxis)
    ax.legend(
        handles=keys, title="area under the curve", alignment="left", loc="upper left",
        bbox_to_anchor=(1.03, 1.01), borderaxespad=0, labelspacing=0.75, title_fontsize=SMALL,
    )  # fmt: skip
    return ax


@themed
def score_histograms(
    scores: Mapping[str, Any], is_unknown: Any, thresholds: Mapping[str, float] | None = None
) -> Figure:
    """Scores of known and of unknown images, one panel a score, each histogram adding up to 1, with the threshold.

    The outermost bins take in what lies beyond them, half a per cent of all images at either end.

    Args:
        scores: name -> (N,), higher for what looks known.
        is_unknown: whether each image is of an unknown class, bool (N,).
        thresholds: name -> score from which on an image counts as known.

    Raises:
        ValueError: no scores, an array of another length, images of one kind only, or a threshold of no score.
    """
    need(scores, "score_histograms", "scores")
    unknown = array(is_unknown).astype(bool)
    if unknown.all() or not unknown.any():
        raise ValueError(f"score_histograms: {unknown.sum()} of {unknown.size} images are unknown; show both kinds")
    if strange := [name for name in thresholds or {} if name not in scores]:
        raise ValueError(
            f"score_histograms: a threshold of {strange[0]!r}, which is not drawn; "
            f"there are {', '.join(map(repr, scores))}"
        )
    columns = min(2, len(scores))
    rows = math.ceil(len(scores) / columns)
    figure, panels = canvas(rows, 0.5 + (3.2 if columns == 1 else 2.35) * rows, ncols=columns)
    for ax, (name, values) in zip(panels, scores.items(), strict=False):
        values = array(values).astype(float)
        if values.shape != unknown.shape:
            raise ValueError(f"score_histograms: {name!r} has shape {values.shape}, is_unknown {unknown.shape}")
        _histograms(ax, values, unknown, (thresholds or {}).get(name))
        ax.set_title(name)
    for ax in panels[len(scores) :]:
        ax.set_axis_off()
    keys = [Patch(facecolor=colour, alpha=0.6, label=label) for colour, label in zip(SERIES, KINDS, strict=False)]
    if thresholds:
        keys.append(Line2D([], [], color=INK, linewidth=1.6, linestyle=DASHED, label="threshold"))
    figure.legend(handles=keys, loc="outside upper left", ncols=3, columnspacing=1.4, handletextpad=0.5)
    return figure


def _histograms(ax: Axes, values: np.ndarray, unknown: np.ndarray, threshold: float | None) -> None:
    low, high = np.quantile(values, [TAIL, 1 - TAIL])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    inside = values.clip(edges[0], edges[-1])
    for part, colour in ((inside[~unknown], ACCENT), (inside[unknown], SERIES[1])):
        shares = np.histogram(part, edges)[0] / len(part)
        ax.stairs(shares, edges, fill=True, color=colour, alpha=0.45)
        ax.stairs(shares, edges, color=colour, linewidth=1.4)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_ylim(0, ax.dataLim.y1 * (1.05 if threshold is None else 1.32))
    if threshold is None:
        return
    ax.axvline(threshold, color=INK, linewidth=1.6, linestyle=DASHED)
    kept = [np.mean(values[part] >= threshold) for part in (~unknown, unknown)]
    text = "kept: {:.0%} of known,\n{:.0%} of unknown".format(*kept).replace("%", " %")
    left = threshold < np.mean(ax.get_xlim())
    ax.annotate(
        text, (threshold, 1), (5 if left else -5, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="left" if left else "right", va="top", size=SMALL, color=INK,
    )  # fmt: skip
