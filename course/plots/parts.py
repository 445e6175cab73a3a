"""Parts of the generated animals: maps of them, and the share of an explanation on each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from imgcls.plots import sheets, theme
from imgcls.plots.sheets import GAP, LINE, PAD, PIXELS

PART_MAP = colormaps["tab20"]
SWATCH = 0.16  # inches, of a colour in the legend


@theme.themed
def part_maps(images: Any, parts: Any, names: Sequence[str]) -> Figure:
    """Images over maps of the part that each pixel shows, with a legend of the colours.

    Args:
        images: (N, C, H, W) uint8, or floats in [0, 1].
        parts: (N, H, W) whole numbers; 0 is background, k is names[k - 1].
        names: Of the parts; the legend has only those that occur.
    """
    parts = theme.array(parts)
    pixels = sheets.to_pixels(images, "part_maps", PIXELS // 2)
    found = [int(k) for k in np.unique(parts) if k]
    colours = np.full((len(names) + 1, 3), 232, np.uint8)
    for i, k in enumerate(found):
        colours[k] = (np.array(PART_MAP(i % PART_MAP.N)[:3]) * 255).astype(np.uint8)
    cell = sheets.cell_width(len(pixels))
    tall = cell * sheets.aspect(pixels[0])
    places = _flow([names[k - 1] for k in found], theme.WIDTH - 2 * PAD)
    top = 2 * (tall + GAP / 2)
    lines = places[-1][1] + 1
    figure, ax = sheets.sheet(theme.WIDTH, top + lines * LINE + PAD)
    for i, (image, part) in enumerate(zip(pixels, parts, strict=True)):
        sheets.put(ax, image, i * (cell + GAP), 0, cell)
        sheets.put(ax, colours[part], i * (cell + GAP), tall + GAP / 2, cell)
    sheets.plate(ax, [], 0, top, theme.WIDTH, lines=lines)
    for (x, line), k in zip(places, found, strict=True):
        y = top + PAD / 2 + (line + 0.5) * LINE
        ax.add_patch(Rectangle((PAD + x, y - 0.05), SWATCH, 0.1, facecolor=colours[k] / 255, linewidth=0))
        ax.text(PAD + x + SWATCH + 0.05, y, names[k - 1], va="center_baseline", size=theme.SMALL, color="white")
    return figure


def _flow(words: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Position of each entry of a legend, (inches from the left, line), in lines `width` inches long."""
    places, x, line = [], 0.0, 0
    for word in words:
        taken = SWATCH + 0.2 + theme.text_width(word)
        if x and x + taken > width:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += taken
    return places


@theme.themed
def part_bars(parts: pd.DataFrame, most: int = 10) -> Figure:
    """Share of the maps' energy on each part with its interval, and the part's share of the area as a mark.

    A bar that passes its mark is a part with more energy than its size; the number at the right is energy over area.

    Args:
        parts: Columns class, part, energy, energy_low, energy_high, area, density; one panel a class.
        most: Parts drawn of each class, those with the most energy; the background is given as text.
    """
    theme.need_columns(parts, "part_bars", ["class", "part", "energy", "energy_low", "energy_high", "area", "density"])
    groups = [frame for _, frame in parts.groupby("class", sort=False)]
    tall = max(len(_leading(frame, most)) for frame in groups) + any(parts["part"] == "background")
    figure, panels = theme.panel_grid(len(groups), 0.65 + 0.27 * tall, top=0.45, sharex=True)
    for ax, frame in zip(panels, groups, strict=True):
        _part_panel(ax, frame, most, tall)
        ax.set_title(frame["class"].iloc[0] if len(groups) > 1 else "")
        ax.tick_params(labelbottom=True)
    panels[0].set_xlim(left=0)  # of all panels; set earlier, it would stop autoscaling and cut off longer bars
    keys = [
        Patch(color=theme.ACCENT, label="share of the map"),
        Line2D(
            [], [], color=theme.ORANGE, linestyle="", marker="|", markersize=13, markeredgewidth=3, label="of the area"
        ),
    ]
    theme.figure_legend(figure, keys)
    return figure


def _leading(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    return frame[frame["part"] != "background"].nlargest(most, "energy")


def _part_panel(ax: Axes, frame: pd.DataFrame, most: int, tall: int) -> None:
    theme.dress(ax, grid="x")
    parts = _leading(frame, most)
    rows = np.arange(len(parts))
    ax.barh(rows, parts["energy"], height=0.62, color=theme.ACCENT)
    ax.hlines(rows, parts["energy_low"].clip(lower=0), parts["energy_high"], color=theme.INK, linewidth=1.4)
    ax.plot(parts["area"], rows, "|", color=theme.ORANGE, markersize=13, markeredgewidth=3)
    theme.rows_axis(ax, parts["part"])
    background = frame[frame["part"] == "background"]
    for row, density in enumerate([*parts["density"], *background["density"]]):
        ax.annotate(
            f"× {density:.1f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", size=theme.SMALL,
            color=theme.INK if row < len(parts) else theme.MUTED, annotation_clip=False,
        )  # fmt: skip
    for energy, area in zip(background["energy"], background["area"], strict=True):
        # As text: its bar would be so long that those of the parts were too short to read.
        text = f"background: {theme.percent(energy)}, of the area {theme.percent(area)}"
        look = {"va": "center", "size": theme.SMALL, "color": theme.MUTED, "annotation_clip": False}
        ax.annotate(text, (0, len(parts)), (2, 0), textcoords="offset points", **look)
    ax.set_ylim(tall - 0.5, -0.5)
    theme.percent_axis(ax.xaxis)
