"""How figures look: two sets of the same colours, sizes that survive a phone, and the helpers every figure uses."""

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter
from scipy.optimize import isotonic_regression

WIDTH = 7.2  # inches, the report's column: 720 CSS px at 100 px per inch
TEXT = 11  # points; 15 px on a desktop, 7.5 px where a phone scales the figure to 350 px
SMALL = 10
TIME_AXIS = "training time"  # its figures differ from run to run, and are marked by this label

# The same names in both. Every pair of series colours stays apart under deuteranopia and protanopia (OKLab distance
# above 0.1) and at least 3:1 from its background. A figure is drawn in LIGHT; its twin swaps colour for colour.
# The surfaces are the reports' paper.
LIGHT = {
    "surface": "#fdfcfa",
    "ink": "#1f2328",
    "muted": "#59626d",
    "grid": "#dfe3e8",
    "blue": "#3173bb",
    "orange": "#ba6002",
    "green": "#3f9475",
    "plum": "#640044",
    "violet": "#5041a4",
    "olive": "#564d00",
    "grey": "#5e6269",
}
DARK = {
    "surface": "#15181b",
    "ink": "#e8ebef",
    "muted": "#a7b0bb",
    "grid": "#343a43",
    "blue": "#77afef",
    "orange": "#d0812c",
    "green": "#6dc090",
    "plum": "#be4384",
    "violet": "#886fcb",
    "olive": "#eedc87",
    "grey": "#d6dce6",
}
SURFACE, INK, MUTED, GRID, ACCENT = (LIGHT[name] for name in ("surface", "ink", "muted", "grid", "blue"))
SERIES = tuple(LIGHT[name] for name in ("blue", "orange", "green", "plum", "violet", "olive", "grey"))
MARKERS = ("o", "s", "D", "^", "v", "P", "X")  # a second sign beside each colour

# From almost the surface to almost the ink, so that ink and surface are each readable on their own half.
HEAT = LinearSegmentedColormap.from_list("imgcls", ["#f4f7fb", "#bfd6ee", "#6a9fd4", "#2c69ac", "#123e6e"])
HEAT_DARK = LinearSegmentedColormap.from_list("imgcls dark", ["#1b2028", "#1f3f60", "#2c679d", "#75acea", "#d3e6fb"])

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": TEXT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.facecolor": SURFACE,
    "axes.formatter.use_mathtext": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "figure.facecolor": SURFACE,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.06,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "savefig.facecolor": "auto",
    "savefig.bbox": None,
    "svg.hashsalt": "imgcls",
}


P = ParamSpec("P")
R = TypeVar("R")


def themed(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the theme, whatever style the session has set."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with style.context(["default", RC]):
            return draw(*args, **kwargs)

    return drawn


def need(data: Sized, function: str, what: str) -> None:
    """Stop on empty input with a sentence that says which figure had nothing to draw."""
    if len(data) == 0:
        raise ValueError(f"{function}: no {what} to draw; pass at least one, or leave the figure out")


def need_columns(frame: pd.DataFrame, function: str, columns: Sequence[str]) -> None:
    """Stop on an empty frame or one without the columns that the figure reads."""
    need(frame, function, "rows")
    if missing := [column for column in columns if column not in frame]:
        raise ValueError(
            f"{function}: the frame has no column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(repr, frame.columns))}"
        )


def array(values: Any) -> np.ndarray:
    """A NumPy array from anything array-like; tensors are detached, brought to the CPU and to a precision NumPy has."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def canvas(rows: int = 1, height: float = 3.6, **subplots: Any) -> tuple[Figure, np.ndarray]:
    """A report-wide figure with its dressed panels as a flat array; `subplots` goes to Figure.subplots."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(rows, squeeze=False, **subplots).ravel()
    for ax in panels:
        dress(ax)
    return figure, panels


def axes(ax: Axes | None, height: float) -> Axes:
    """The given axes, or those of a new report-wide figure, dressed in the theme."""
    return canvas(height=height)[1][0] if ax is None else dress(ax)


def dress(ax: Axes, grid: str = "y") -> Axes:
    """Leave of a panel what helps reading: a light grid along one axis, a base line, small ticks."""
    ax.set_axisbelow(True)
    ax.grid(False)
    if grid:
        ax.grid(True, axis=grid, color=GRID, linewidth=0.8)
    ax.tick_params(color=GRID, labelcolor=INK, length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)
    return ax


def rows_axis(ax: Axes, names: Sequence[str], width: int = 20) -> None:
    """Name the rows of a dot plot, first on top, long names on two lines, no ticks."""
    ax.set_yticks(range(len(names)), [textwrap.fill(str(name), width, break_on_hyphens=False) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["bottom"].set_visible(False)


def percent_axis(axis: Axis) -> None:
    """Show fractions as per cent, with a decimal only where the ticks need one."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.4g} %"))


def legend_above(ax: Axes, columns: int = 4, **kwargs: Any) -> None:
    """One row of keys over the panel, where no data can lie under it."""
    ax.legend(
        **{"loc": "lower left", "bbox_to_anchor": (0, 1.01), "ncols": columns, "borderaxespad": 0.2}
        | {"columnspacing": 1.4, "handletextpad": 0.5, "borderpad": 0}
        | kwargs
    )


def key_columns(names: Sequence[str], width: float = WIDTH - 0.9) -> int:
    """Columns of a legend, filled from top to bottom, that `width` inches have room for."""
    for columns in range(len(names), 1, -1):
        parts = np.array_split(np.array(names, object), columns)
        if sum(max(text_width(name, SMALL) for name in part) + 0.55 for part in parts) <= width:
            return columns
    return 1


def series(runs: Mapping[str, Any], function: str) -> list[tuple[str, Any, str, str]]:
    """(name, data, colour, marker) of each run; more runs than colours is an error, not a rainbow."""
    need(runs, function, "runs")
    if len(runs) > len(SERIES):
        raise ValueError(
            f"{function}: {len(runs)} runs, but readers can tell {len(SERIES)} colours apart; "
            "split them over several figures"
        )
    return [
        (name, data, *look) for (name, data), look in zip(runs.items(), zip(SERIES, MARKERS, strict=True), strict=False)
    ]


def end_labels(ax: Axes, labels: Sequence[tuple[float, str, str, str]]) -> None:
    """Name each line at its right end: (y, text, colour, marker), moved apart as little as needed; y is in data."""
    if not labels:
        return
    labels = sorted(labels, key=lambda label: label[0])
    ax.figure.draw_without_rendering()  # settles the limits and the height that the layout leaves
    ends = ax.transData.transform([(ax.get_xlim()[1], y) for y, *_ in labels])
    ends = ax.transAxes.inverted().transform(ends)[:, 1]
    line = 1.25 * SMALL / 72 * ax.figure.dpi / ax.get_window_extent().height  # as a share of the axes
    lines = np.array([text.count("\n") + 1.3 for _, text, *_ in labels]) * line
    offsets = np.concatenate([[0], np.cumsum((lines[1:] + lines[:-1]) / 2)])
    # least squares under "each above the one before", then held inside the panel
    low, high = lines[0] / 2, 1 - lines[-1] / 2 - offsets[-1]
    heights = np.clip(isotonic_regression(ends - offsets).x, low, max(low, high)) + offsets
    for height, (_, text, colour, marker) in zip(heights, labels, strict=True):
        ax.plot(1.025, height, marker, transform=ax.transAxes, color=colour, clip_on=False, markersize=6)
        ax.annotate(text, (1.05, height), xycoords="axes fraction", va="center", size=SMALL, annotation_clip=False)


def text_width(text: str, size: float) -> float:
    """Inches that a line of text takes."""
    font = FontProperties(family="DejaVu Sans", size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def fit(text: str, width: float, size: float = SMALL, smallest: float = 8) -> tuple[str, float]:
    """A line of text and the size at which it fits `width` inches; shortened with … below `smallest`."""
    taken = text_width(text, size)
    if taken <= width:
        return text, size
    if taken * smallest / size <= width:
        return text, size * width / taken
    while len(text) > 1 and text_width(text + "…", smallest) > width:
        text = text[:-1].rstrip()
    return text + "…", smallest


def wrap(text: str, width: float, size: float = SMALL) -> list[str]:
    """Break text between words so that each line fits `width` inches where its words let it."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def right_text(ax: Axes, row: float, text: str, colour: str = MUTED) -> None:
    """Write in a column of its own right of the panel."""
    ax.annotate(
        text, (1.02, row), xycoords=("axes fraction", "data"), va="center", size=SMALL, color=colour,
        annotation_clip=False,
    )  # fmt: skip
