"""Open-set detection: ROC curves of unknown-class scores, and histograms of the scores of known and unknown images."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from imgcls.messages import UserError
from imgcls.plots import theme

BASELINE = "max softmax"
KEEP = 0.95  # share of the known images that the marked operating point accepts
BINS = 40
TAIL = 0.005  # share of the images at either end that the outermost bins contain


@theme.themed
def detection_curves(curves: Mapping[str, pd.DataFrame], table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """ROC curves of unknown-class scores with the AUROC of each; the baseline, max softmax, is thick and comes first.

    Args:
        curves: Score -> frame with known_kept and unknown_kept (shares), as `openset.detection_curve` returns it; the
            baseline and up to seven others.
        table: Columns method, auroc, low, high (shares), as `openset.detection_table` returns it.
        ax: Where to draw; a new figure by default.

    Raises:
        ValueError: No curves, a missing column, no baseline, a curve without a row in the table, or too many curves.
    """
    theme.need(curves, "detection_curves", "curves")
    theme.need_columns(table, "detection_curves", ["method", "auroc", "low", "high"])
    areas = table.set_index("method")
    if BASELINE not in curves:
        raise UserError(f"detection_curves: no curve of {BASELINE!r}; there are {', '.join(map(repr, curves))}")
    if missing := [name for name in curves if name not in areas.index]:
        raise UserError(f"detection_curves: the table has no row of {', '.join(map(repr, missing))}")
    others = {name: curve for name, curve in curves.items() if name != BASELINE}
    colours = [look[2] for look in theme.series(others, "detection_curves")] if others else []
    ax = theme.axes(ax, 4.45, grid="both")
    keys = []
    for name, colour in zip((BASELINE, *others), (theme.INK, *colours), strict=True):  # the thickest is drawn below
        curve = curves[name]
        theme.need_columns(curve, "detection_curves", ["known_kept", "unknown_kept"])
        look = {"color": colour, "linewidth": 3.4 if name == BASELINE else 1.6}
        ax.plot(curve["unknown_kept"], curve["known_kept"], **look)
        value, low, high = areas.loc[name, ["auroc", "low", "high"]]
        keys.append(Line2D([], [], label=f"{textwrap.fill(name, 26)}\n{value:.3f} [{low:.3f}, {high:.3f}]", **look))
    keys += ax.plot([0, 1], [0, 1], color=theme.MUTED, linewidth=1, linestyle=theme.DOTTED, label="chance")
    text = f"{theme.percent(KEEP)} of known accepted"
    keys.append(ax.axhline(KEEP, color=theme.MUTED, linewidth=1, linestyle=theme.DASHED, label=text))
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="unknown images accepted as known", ylabel="known images accepted")
    theme.percent_axis(ax.xaxis)
    theme.percent_axis(ax.yaxis)
    ax.legend(
        handles=keys, title="AUROC [95 % CI]", alignment="left", loc="upper left",
        bbox_to_anchor=(1.03, 1.01), borderaxespad=0, labelspacing=0.55, title_fontsize=theme.SMALL,
    )  # fmt: skip
    return ax


@theme.themed
def score_histograms(
    scores: Mapping[str, Any], is_unknown: Any, thresholds: Mapping[str, float] | None = None
) -> Figure:
    """Scores of known and unknown images with the threshold, one panel per score; each histogram sums to 1.

    The outermost bins contain the most extreme half per cent of all images at either end.

    Args:
        scores: Name -> (N,), higher for known images.
        is_unknown: Whether each image is of an unknown class, bool (N,).
        thresholds: Name -> lowest score at which an image is accepted as known.

    Raises:
        ValueError: No scores, an array of another length, only known or only unknown images, or a threshold without a
            score.
    """
    theme.need(scores, "score_histograms", "scores")
    unknown = theme.array(is_unknown).astype(bool)
    if unknown.all() or not unknown.any():
        raise UserError(f"score_histograms: {unknown.sum()} of {unknown.size} images are unknown; pass some of each")
    if strange := [name for name in thresholds or {} if name not in scores]:
        raise UserError(
            f"score_histograms: a threshold of {strange[0]!r}, which is not drawn; "
            f"there are {', '.join(map(repr, scores))}"
        )
    figure, panels = theme.panel_grid(len(scores), 3.2 if len(scores) == 1 else 2.35)
    for ax, (name, values) in zip(panels, scores.items(), strict=True):
        values = theme.array(values).astype(float)
        if values.shape != unknown.shape:
            raise UserError(f"score_histograms: {name!r} has shape {values.shape}, is_unknown {unknown.shape}")
        _histograms(ax, values, unknown, (thresholds or {}).get(name))
        ax.set_title(name)
    looks = ((theme.ACCENT, "known classes"), (theme.ORANGE, "unknown classes"))
    keys = [Patch(facecolor=colour, alpha=0.6, label=label) for colour, label in looks]
    if thresholds:
        keys.append(Line2D([], [], color=theme.INK, linewidth=1.6, linestyle=theme.DASHED, label="threshold"))
    theme.figure_legend(figure, keys)
    return figure


def _histograms(ax: Axes, values: np.ndarray, unknown: np.ndarray, threshold: float | None) -> None:
    low, high = np.quantile(values, [TAIL, 1 - TAIL])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    inside = values.clip(edges[0], edges[-1])
    for part, colour in ((inside[~unknown], theme.ACCENT), (inside[unknown], theme.ORANGE)):
        shares = np.histogram(part, edges)[0] / len(part)
        ax.stairs(shares, edges, fill=True, color=colour, alpha=0.45)
        ax.stairs(shares, edges, color=colour, linewidth=1.4)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_ylim(0, ax.dataLim.y1 * (1.05 if threshold is None else 1.32))
    if threshold is None:
        return
    ax.axvline(threshold, color=theme.INK, linewidth=1.6, linestyle=theme.DASHED)
    known_accepted, unknown_accepted = (
        theme.percent(np.mean(values[part] >= threshold)) for part in (~unknown, unknown)
    )
    text = f"accepted: {known_accepted} of known,\n{unknown_accepted} of unknown"
    left = threshold < np.mean(ax.get_xlim())
    ax.annotate(
        text, (threshold, 1), (5 if left else -5, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="left" if left else "right", va="top", size=theme.SMALL, color=theme.INK,
    )  # fmt: skip
