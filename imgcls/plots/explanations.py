"""Figures of what a model looks at: what neurons like, which part carries a decision, how good explanations are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from imgcls.plots.pictures import GAP, LINE, PAD, PIXELS, _pictures, _plate, _put, _sheet, picture_rows
from imgcls.plots.theme import (
    ACCENT,
    INK,
    MUTED,
    SERIES,
    SMALL,
    SURFACE,
    WIDTH,
    array,
    canvas,
    dress,
    need,
    need_columns,
    percent_axis,
    rows_axis,
    text_width,
    themed,
)

ORANGE = SERIES[1]
MEASURES = {"pointing": "Pointing game", "energy": "Energy inside", "iou": "Overlap (IoU)", "road": "ROAD"}
BASELINES = ("centre", "random", "edges")
BRIGHT = 99.5  # percentile of a gradient's magnitude that is drawn at full strength


@themed
def guided_grid(images: Any, guided: Any, patches: pd.DataFrame, pixels: int = 2 * PIXELS) -> Figure:
    """One row a neuron: the patches that excite it most, each beside the guided gradient within it, in grey where zero.

    Args:
        images: (R, C, H, W) uint8 or float in [0, 1], the picture of each row of `patches`.
        guided: (R, C, H, W) guided gradients of the neurons in those pictures.
        patches: R rows with unit and the box in pixels: top, left, bottom, right; each unit as often as the others.
        pixels: of all pictures together, more are averaged away.
    """
    need_columns(patches, "guided_grid", ["unit", "top", "left", "bottom", "right"])
    images, guided = array(images), array(guided).astype(float)
    if len(images) != len(patches) or images.shape != guided.shape:
        raise ValueError(
            f"guided_grid: images {images.shape} and gradients {guided.shape} must both be (R, C, H, W) with one entry "
            f"for each of the {len(patches)} rows of patches; take images[patches['image']]"
        )
    groups = [np.flatnonzero(patches["unit"] == unit) for unit in dict.fromkeys(patches["unit"])]
    pairs = max(map(len, groups))
    names = [f"unit {patches['unit'].iloc[rows[0]]}" for rows in groups]
    side = max(text_width(name, SMALL) for name in names) + 2 * PAD + 0.02
    cell = min((WIDTH - side - pairs * (GAP + GAP / 3)) / (2 * pairs), 1.5)
    pair, head = 2 * cell + GAP / 3 + GAP, LINE + PAD + GAP
    figure, ax = _sheet(side + pairs * pair, head + len(groups) * (cell + GAP) - GAP)
    for i in range(pairs):
        for text, x in (("patch", 0), ("guided", cell + GAP / 3)):
            _plate(ax, [text], side + GAP + i * pair + x, 0, cell)
    for row, (rows, name) in enumerate(zip(groups, names, strict=True)):
        y = head + row * (cell + GAP)
        _plate(ax, [name], 0, y, side, lines=(cell - PAD) / LINE)
        for i, r in enumerate(rows):
            top, left, bottom, right = (int(patches[edge].iloc[r]) for edge in ("top", "left", "bottom", "right"))
            share = pixels / (2 * len(patches))
            for k, picture in enumerate((images[r], gradient_picture(guided[r, :, top:bottom, left:right]))):
                cut = picture[:, top:bottom, left:right] if k == 0 else picture
                drawn = _pictures(cut[None], "guided_grid", share)[0]
                _put(ax, drawn, side + GAP + i * pair + k * (cell + GAP / 3), y, cell, cell)
    return figure


@themed
def filter_sheets(layers: Mapping[str, Any], columns: int = 16, most: int = 64) -> Figure:
    """The first filters of each layer as squares under a plate with the layer's name and how many it has.

    Args:
        layers: name -> (F, C, h, w) in [0, 1] with C = 1 or 3.
        columns: squares in a row.
        most: squares of each layer.
    """
    need(layers, "filter_sheets", "layers")
    sheets = {name: (len(values), _pictures(array(values)[:most], "filter_sheets")) for name, values in layers.items()}
    cell, plate = (WIDTH - (columns - 1) * GAP / 2) / columns, LINE + PAD
    step = cell + GAP / 2
    heights = [plate + GAP / 2 + math.ceil(len(some) / columns) * step + GAP / 2 for _, some in sheets.values()]
    figure, ax = _sheet(WIDTH, sum(heights) - GAP)
    top = 0.0
    for (name, (count, some)), height in zip(sheets.items(), heights, strict=True):
        shown = f"{len(some)} of {count} filters" if len(some) < count else f"{count} filters"
        _plate(ax, [f"{name}: {shown}"], 0, top, WIDTH)
        for i, one in enumerate(some):
            _put(ax, one, i % columns * step, top + plate + GAP / 2 + i // columns * step, cell, cell)
        top += height
    return figure


def gradient_rows(
    images: Any, gradients: Mapping[str, Any], titles: Sequence[str] | None = None, pixels: int = 3 * PIXELS
) -> Figure:
    """Pictures over their gradients, one row for each method, in grey where a gradient is zero.

    Args:
        images: (N, C, H, W) uint8 or float in [0, 1].
        gradients: method -> (N, C, H, W) numbers of either sign.
        titles: a caption for each column, or none.
        pixels: of all pictures together, more are averaged away.
    """
    drawn = {name: np.stack([gradient_picture(one) for one in array(values)]) for name, values in gradients.items()}
    return picture_rows({"picture": images, **drawn}, titles, pixels)


def gradient_picture(gradient: Any) -> np.ndarray:
    """A gradient (C, H, W) as a picture in [0, 1]: 0.5 where it is zero, each on its own scale."""
    gradient = array(gradient).astype(float)
    return (0.5 + gradient / (2 * max(np.percentile(np.abs(gradient), BRIGHT), 1e-12))).clip(0, 1)


@themed
def part_bars(parts: pd.DataFrame, most: int = 10) -> Figure:
    """Share of the maps' energy on each part with its interval, and the part's share of the area as a mark.

    Where the bar passes the mark, the part carries more than its size; the number at the right is energy over area.

    Args:
        parts: columns class, part, energy, energy_low, energy_high, area, density; one panel a class.
        most: parts drawn of each class, those with the most energy; the background stands below them in words.
    """
    need_columns(parts, "part_bars", ["class", "part", "energy", "energy_low", "energy_high", "area", "density"])
    groups = [frame for _, frame in parts.groupby("class", sort=False)]
    columns = min(2, len(groups))
    rows = math.ceil(len(groups) / columns)
    tall = max(len(_leading(frame, most)) for frame in groups) + any(parts["part"] == "background")
    figure, panels = canvas(rows, 0.45 + rows * (0.65 + 0.27 * tall), ncols=columns, sharex=True)
    for ax, frame in zip(panels, groups, strict=False):
        _part_panel(ax, frame, most, tall)
        ax.set_title(frame["class"].iloc[0] if len(groups) > 1 else "")
        ax.tick_params(labelbottom=True)
    panels[0].set_xlim(left=0)  # of all; set before the last panel is drawn, it would cut what is longer there
    for ax in panels[len(groups) :]:
        ax.set_axis_off()
    keys = [
        Patch(color=ACCENT, label="share of the map"),
        Line2D([], [], color=ORANGE, linestyle="", marker="|", markersize=13, markeredgewidth=3, label="of the area"),
    ]
    figure.legend(handles=keys, loc="outside upper left", ncols=2, columnspacing=1.4, handletextpad=0.5)
    return figure


def _leading(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    return frame[frame["part"] != "background"].nlargest(most, "energy")


def _part_panel(ax: Axes, frame: pd.DataFrame, most: int, tall: int) -> None:
    dress(ax, grid="x")
    parts = _leading(frame, most)
    rows = np.arange(len(parts))
    ax.barh(rows, parts["energy"], height=0.62, color=ACCENT)
    ax.hlines(rows, parts["energy_low"].clip(lower=0), parts["energy_high"], color=INK, linewidth=1.4)
    ax.plot(parts["area"], rows, "|", color=ORANGE, markersize=13, markeredgewidth=3)
    rows_axis(ax, parts["part"])
    notes = [f"× {density:.1f}" for density in parts["density"]]
    rest = frame[frame["part"] == "background"]
    for energy, area, density in rest[["energy", "area", "density"]].to_numpy():
        # In words: a bar of it would leave the parts no room.
        text = f"background: {energy * 100:.0f} %, of the area {area * 100:.0f} %"
        ax.annotate(
            text, (0, len(parts)), (2, 0), textcoords="offset points", va="center", size=SMALL, color=MUTED,
            annotation_clip=False,
        )  # fmt: skip
        notes.append(f"× {density:.1f}")
    for row, note in enumerate(notes):
        ax.annotate(
            note, (1.01, row), xycoords=("axes fraction", "data"), va="center", size=SMALL,
            color=INK if row < len(parts) else MUTED, annotation_clip=False,
        )  # fmt: skip
    ax.set_ylim(tall - 0.5, -0.5)
    percent_axis(ax.xaxis)


@themed
def explanation_scores(
    table: pd.DataFrame, measures: Sequence[str] | None = None, baselines: Sequence[str] = BASELINES
) -> Figure:
    """Each method's scores with their intervals, one panel a measure; the line is the best baseline's score.

    Args:
        table: column method; for each measure a column of that name, with `_low` and `_high`. Rows are drawn from top
            to bottom, methods in colour and baselines muted below them.
        measures: columns to draw; without it those of `MEASURES` that the table has.
        baselines: names in the column method that are no method.
    """
    need_columns(table, "explanation_scores", ["method"])
    measures = list(measures or [name for name in MEASURES if name in table])
    need_columns(table, "explanation_scores", [name + end for name in measures for end in ("", "_low", "_high")])
    if not measures:
        raise ValueError(f"explanation_scores: the frame has none of the columns {', '.join(MEASURES)}")
    blind = table["method"].isin(baselines)
    table = pd.concat([table[~blind], table[blind]])
    blind = table["method"].isin(baselines).to_numpy()
    rows = np.arange(len(table)) + 0.35 * blind
    figure, panels = canvas(1, 0.95 + 0.36 * len(table), ncols=len(measures), sharey=True)
    for ax, name in zip(panels, measures, strict=True):
        dress(ax, grid="x")
        value, low, high = (table[name + end].to_numpy(float) for end in ("", "_low", "_high"))
        for some, colour, face in ((~blind, ACCENT, ACCENT), (blind, MUTED, SURFACE)):
            ax.hlines(rows[some], low[some], high[some], color=colour, linewidth=3.5, alpha=0.45)
            edge = SURFACE if face == ACCENT else colour
            ax.plot(value[some], rows[some], "o", color=colour, markerfacecolor=face, markersize=8, mec=edge)
        if np.isfinite(value[blind]).any():
            ax.axvline(np.nanmax(value[blind]), color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        ax.set_title(MEASURES.get(name, name))
        ax.margins(x=0.12)
        percent_axis(ax.xaxis)
        ax.locator_params(axis="x", nbins=4)
        rows_axis(ax, table["method"])
        ax.set_yticks(rows, table["method"])
        ax.set_ylim(rows[-1] + 0.5, -0.5)
    if blind.any():
        keys = [
            Line2D([], [], color=ACCENT, linestyle="", marker="o", markersize=8, label="explanation"),
            Line2D(
                [], [], color=MUTED, linestyle="", marker="o", markersize=8, markerfacecolor=SURFACE, label="baseline"
            ),
            Line2D([], [], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="best baseline"),
        ]
        figure.legend(handles=keys, loc="outside upper left", ncols=3, columnspacing=1.4, handletextpad=0.5)
    return figure
