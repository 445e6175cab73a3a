"""Open-set detection drawn in the feature space: a plane of known and unknown images, and the two terms of ViM."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imgcls.plots import theme

DOT = {"linestyle": "", "markersize": 4.5, "alpha": 0.75, "mew": 0}
CROSS = {"linestyle": "", "marker": "x", "markersize": 5.5, "mew": 1.2, "color": theme.INK, "alpha": 0.8}


@theme.themed
def feature_space(
    features: Any, labels: Any, classes: Sequence[str], unknown: Any, energy: Any, residual: Any, is_unknown: Any
) -> Figure:
    """Left: features in the plane of their two principal components. Right: the energy against the residual of ViM.

    Args:
        features: (N, D) of known images of a few classes, whose principal components span the plane.
        labels: (N,) their classes.
        classes: Names by label; up to seven.
        unknown: (M, D) features of unknown images.
        energy: (P,) energy score of known and unknown images.
        residual: (P,) scaled residual norm of the same images, which ViM subtracts from the energy.
        is_unknown: bool (P,).

    Raises:
        ValueError: More classes than colours, or arrays of other lengths.
    """
    features, labels, unknown = (theme.array(values) for values in (features, labels, unknown))
    looks = theme.series(dict.fromkeys(classes), "feature_space")
    figure, (left, right) = theme.canvas(1, 4.2, ncols=2)
    keys = _plane(left, features.astype(float), labels, unknown.astype(float), looks)
    keys += _vim(right, *(theme.array(values) for values in (energy, residual, is_unknown)))
    theme.figure_legend(figure, keys, theme.legend_columns([key.get_label() for key in keys]))
    return figure


def principal_plane(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and the two orthonormal directions (D, 2) of largest variance of features (N, D)."""
    mean = features.mean(0)
    return mean, np.linalg.svd(features - mean, full_matrices=False)[2][:2].T


def _plane(ax: Axes, features: np.ndarray, labels: np.ndarray, unknown: np.ndarray, looks: list) -> list[Line2D]:
    theme.dress(ax, grid="")
    mean, directions = principal_plane(features)
    keys = []
    for label, (name, _, colour, marker) in enumerate(looks):
        x, y = ((features[labels == label] - mean) @ directions).T
        ax.plot(x, y, marker, color=colour, **DOT)
        ax.plot(x.mean(), y.mean(), marker, color=colour, markersize=12, mec=theme.SURFACE, mew=1.4, zorder=5)
        keys.append(Line2D([], [], color=colour, marker=marker, linestyle="", markersize=7, label=name))
    ax.plot(*((unknown - mean) @ directions).T, **CROSS)
    ax.set(title="Feature space", xlabel="first principal component", ylabel="second", xticks=[], yticks=[])
    return [*keys, Line2D([], [], **CROSS, label="pseudo-unknown")]


def _vim(ax: Axes, energy: np.ndarray, residual: np.ndarray, is_unknown: np.ndarray) -> list[Line2D]:
    theme.dress(ax, grid="")
    known = ~is_unknown.astype(bool)
    ax.plot(residual[known], energy[known], ".", color=theme.MUTED, **DOT)
    ax.plot(residual[~known], energy[~known], **CROSS)
    middle = np.median(energy[known] - residual[known])
    ends, limits = np.array([residual.min(), residual.max()]), ax.get_ylim()
    ax.plot(ends, ends + middle, color=theme.ORANGE, linewidth=1.6, linestyle=theme.DASHED)
    ax.set(title="ViM", xlabel="residual norm, scaled", ylabel="energy of the logits", ylim=limits)
    return [
        Line2D([], [], color=theme.MUTED, marker=".", linestyle="", markersize=9, label="known, all classes"),
        Line2D([], [], color=theme.ORANGE, linewidth=1.6, linestyle=theme.DASHED, label="equal ViM score"),
    ]
