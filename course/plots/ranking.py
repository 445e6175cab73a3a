"""Threshold and ranking: the log-odds of two classes beside the decision boundary, and the ROC curves."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from course.ranking import auroc, log_odds, roc_curve
from imgcls.evaluation import Predictions
from imgcls.plots import theme

BINS = 36
LOOKS = ((theme.SERIES[0], "-"), (theme.ORANGE, "--"), (theme.SERIES[2], "-."))


@theme.themed
def threshold_and_ranking(settings: Mapping[str, Predictions]) -> Figure:
    """Histograms of the log-odds of two classes with the decision boundary at 0, and the ROC curve of each setting.

    A network whose histograms are apart but on one side of the boundary ranks well and classifies badly.

    Args:
        settings: Name -> predictions of the same images of two classes; up to three.
    """
    theme.need(settings, "threshold_and_ranking", "settings")
    figure = Figure(figsize=(theme.WIDTH, 0.9 + 1.55 * len(settings)), layout="constrained")
    grid = figure.add_gridspec(len(settings), 2, width_ratios=[3, 2])
    scores = {name: log_odds(one).numpy() for name, one in settings.items()}
    edges = np.linspace(min(map(np.min, scores.values())), max(map(np.max, scores.values())), BINS + 1)
    panels = []
    for k, (name, one) in enumerate(settings.items()):
        ax = theme.dress(figure.add_subplot(grid[k, 0], sharex=panels[0] if panels else None))
        for label, colour in enumerate((theme.ACCENT, theme.ORANGE)):
            ax.hist(scores[name][(one.labels == label).numpy()], edges, color=colour, alpha=0.6)
        ax.axvline(0, color=theme.INK, linewidth=1.6, linestyle=theme.DASHED)
        ax.set_title(f"{name}: accuracy {theme.percent(one.accuracy, 1)}", size=theme.SMALL)
        ax.set_ylabel("images")
        ax.locator_params(axis="x", nbins=6)
        panels.append(ax)
    panels[-1].set_xlabel(f"log-odds; predicted as {settings[name].classes[1]} if above 0")
    right = theme.dress(figure.add_subplot(grid[:, 1]), grid="both")
    for (name, one), (colour, style) in zip(settings.items(), LOOKS, strict=False):
        first, second = roc_curve(one)
        right.plot(first, second, style, color=colour, linewidth=2, label=f"{name}\nAUROC {auroc(one):.3f}")
    right.plot([0, 1], [0, 1], color=theme.MUTED, linewidth=1, linestyle=theme.DOTTED)
    classes = settings[name].classes
    right.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    right.set_xlabel(f"{classes[0]} above the\nthreshold")
    right.set_ylabel(f"{classes[1]} above it")
    right.legend(loc="lower right", fontsize=theme.SMALL)
    theme.percent_axis(right.xaxis)
    theme.percent_axis(right.yaxis)
    keys = [Patch(facecolor=c, alpha=0.6, label=n) for c, n in zip((theme.ACCENT, theme.ORANGE), classes, strict=True)]
    keys.append(Line2D([], [], color=theme.INK, linewidth=1.6, linestyle=theme.DASHED, label="decision boundary"))
    theme.figure_legend(figure, keys)
    return figure
