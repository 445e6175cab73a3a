"""Scores of explanation methods beside baselines, and gradients as images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from course.plots.comparisons import intervals
from imgcls.plots import sheets, theme
from imgcls.plots.images import picture_rows
from imgcls.plots.sheets import GAP, LINE, PAD, PIXELS

MEASURES = {"pointing": "Pointing game", "energy": "Energy inside", "iou": "Overlap (IoU)", "road": "ROAD"}
BASELINES = ("centre", "random", "edges")
BRIGHT = 99.5  # percentile of a gradient's magnitude that is drawn at full strength


@theme.themed
def explanation_scores(table: pd.DataFrame) -> Figure:
    """Scores of each method with their intervals, one panel a measure; the line is the best baseline's score.

    Args:
        table: Column method; for each of `MEASURES` that was taken a column of that name, with `_low` and `_high`.
            Methods are drawn in the order of the rows, `BASELINES` muted below them.
    """
    theme.need_columns(table, "explanation_scores", ["method"])
    measures = [name for name in MEASURES if name in table]
    if not measures:
        raise ValueError(f"explanation_scores: the frame has none of the columns {', '.join(MEASURES)}")
    theme.need_columns(table, "explanation_scores", [name + end for name in measures for end in ("_low", "_high")])
    table = table.sort_values("method", key=lambda method: method.isin(BASELINES), kind="stable")
    baseline = table["method"].isin(BASELINES).to_numpy()
    rows = np.arange(len(table)) + 0.35 * baseline
    figure, panels = theme.canvas(1, 0.95 + 0.36 * len(table), ncols=len(measures), sharey=True)
    looks = (
        (~baseline, theme.ACCENT, {"mec": theme.SURFACE, "markersize": 8}),
        (baseline, theme.MUTED, {"markerfacecolor": theme.SURFACE, "markersize": 8}),
    )
    for ax, name in zip(panels, measures, strict=True):
        theme.dress(ax, grid="x")
        value, low, high = (table[name + end].to_numpy(float) for end in ("", "_low", "_high"))
        for some, colour, marker in looks:
            intervals(ax, rows[some], value[some], low[some], high[some], colour, **marker)
        if np.isfinite(value[baseline]).any():
            ax.axvline(np.nanmax(value[baseline]), color=theme.MUTED, linewidth=1, linestyle=theme.DASHED, zorder=1)
        ax.set_title(MEASURES[name])
        ax.margins(x=0.12)
        theme.percent_axis(ax.xaxis)
        ax.locator_params(axis="x", nbins=3)  # with more, the labels of a narrow panel run together
        theme.rows_axis(ax, table["method"])
        ax.set_yticks(rows, table["method"])
        ax.set_ylim(rows[-1] + 0.5, -0.5)
    if baseline.any():
        keys = [
            Line2D([], [], color=colour, linestyle="", marker="o", label=label, **marker)
            for (_, colour, marker), label in zip(looks, ("explanation", "baseline"), strict=True)
        ]
        keys.append(Line2D([], [], color=theme.MUTED, linewidth=1, linestyle=theme.DASHED, label="best baseline"))
        theme.figure_legend(figure, keys)
    return figure


def gradient_rows(images: Any, gradients: Mapping[str, Any], titles: Sequence[str] | None = None) -> Figure:
    """Images over their gradients, one row for each method, grey where a gradient is zero.

    Args:
        images: (N, C, H, W) uint8 or float in [0, 1].
        gradients: Method -> (N, C, H, W).
        titles: A caption for each column.
    """
    drawn = {
        name: np.stack([gradient_picture(one) for one in theme.array(values)]) for name, values in gradients.items()
    }
    return picture_rows({"image": images, **drawn}, titles, 3 * PIXELS)


@theme.themed
def guided_grid(images: Any, guided: Any, patches: pd.DataFrame) -> Figure:
    """One row a neuron: the patches that excite it most, each beside its guided gradient, grey where the gradient is 0.

    Args:
        images: (R, C, H, W) uint8 or float in [0, 1], the image of each row of `patches`.
        guided: (R, C, H, W) guided gradients of the neurons in those images.
        patches: R rows with unit and the box in pixels: top, left, bottom, right; each unit as often as the others.
    """
    theme.need_columns(patches, "guided_grid", ["unit", "top", "left", "bottom", "right"])
    images, guided = theme.array(images), theme.array(guided).astype(float)
    if len(images) != len(patches) or images.shape != guided.shape:
        raise ValueError(
            f"guided_grid: images {images.shape} and gradients {guided.shape} must both be (R, C, H, W) with one entry "
            f"for each of the {len(patches)} rows of patches; take images[patches['image']]"
        )
    groups = [np.flatnonzero(patches["unit"] == unit) for unit in dict.fromkeys(patches["unit"])]
    pairs = max(map(len, groups))
    names = [f"unit {patches['unit'].iloc[rows[0]]}" for rows in groups]
    side = max(map(theme.text_width, names)) + 2 * PAD + 0.02
    cell = min((theme.WIDTH - side - pairs * (GAP + GAP / 3)) / (2 * pairs), 1.5)
    pair, head = 2 * cell + GAP / 3 + GAP, LINE + PAD + GAP
    figure, ax = sheets.sheet(side + pairs * pair, head + len(groups) * (cell + GAP) - GAP)
    for i in range(pairs):
        for text, x in (("patch", 0), ("guided", cell + GAP / 3)):
            sheets.plate(ax, [text], side + GAP + i * pair + x, 0, cell)
    for row, (rows, name) in enumerate(zip(groups, names, strict=True)):
        y = head + row * (cell + GAP)
        sheets.plate(ax, [name], 0, y, side, lines=(cell - PAD) / LINE)
        for i, r in enumerate(rows):
            top, left, bottom, right = (int(patches[edge].iloc[r]) for edge in ("top", "left", "bottom", "right"))
            box = np.s_[:, top:bottom, left:right]
            for k, image in enumerate((images[r][box], gradient_picture(guided[r][box]))):
                image = sheets.to_pixels(image[None], "guided_grid", PIXELS / len(patches))[0]
                sheets.put(ax, image, side + GAP + i * pair + k * (cell + GAP / 3), y, cell, cell)
    return figure


def gradient_picture(gradient: Any) -> np.ndarray:
    """A gradient (C, H, W) as an image in [0, 1]: 0.5 where it is zero, scaled to its own range."""
    gradient = theme.array(gradient).astype(float)
    return (0.5 + gradient / (2 * max(np.percentile(np.abs(gradient), BRIGHT), 1e-12))).clip(0, 1)
