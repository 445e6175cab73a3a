"""Colours, sizes and axes of every figure: a light and a dark theme, panels, legends, and text that fits."""

import functools
import math
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter

from imgcls.messages import UserError, printable

WIDTH = 7.2  # inches, the report's column: 720 CSS px at 100 px per inch
TEXT = 11  # points; 15 px on a desktop, 7.5 px where a phone scales the figure to 350 px
SMALL = 10
TIME_AXIS = "training time"  # marks figures that differ from run to run
DASHED, DOTTED = (0, (4, 3)), (0, (1, 2))

# Name -> colour in the light and in the dark theme: a figure is drawn in LIGHT, and its dark twin replaces each colour.
# Any two series colours differ under deuteranopia and protanopia (OKLab distance above 0.1) and have a contrast of at
# least 3:1 to the surface. The surfaces are the backgrounds of the reports.
COLOURS = {
    "surface": ("#fdfcfa", "#15181b"),
    "ink": ("#1f2328", "#e8ebef"),
    "muted": ("#59626d", "#a7b0bb"),
    "grid": ("#dfe3e8", "#343a43"),
    "blue": ("#3173bb", "#77afef"),
    "orange": ("#ba6002", "#d0812c"),
    "green": ("#3f9475", "#6dc090"),
    "plum": ("#640044", "#be4384"),
    "violet": ("#5041a4", "#886fcb"),
    "olive": ("#564d00", "#eedc87"),
    "grey": ("#5e6269", "#d6dce6"),
}
LIGHT, DARK = ({name: COLOURS[name][k] for name in COLOURS} for k in (0, 1))
SURFACE, INK, MUTED, GRID, ACCENT = (LIGHT[name] for name in ("surface", "ink", "muted", "grid", "blue"))
SERIES = tuple(LIGHT[name] for name in ("blue", "orange", "green", "plum", "violet", "olive", "grey"))
ORANGE = SERIES[1]
MARKERS = ("o", "s", "D", "^", "v", "P", "X")  # each series has a colour and a marker

# From nearly the surface to nearly the ink: text in ink is readable on the lower half, text in surface on the upper.
HEAT = LinearSegmentedColormap.from_list("imgcls", ["#f4f7fb", "#bfd6ee", "#6a9fd4", "#2c69ac", "#123e6e"])
HEAT_DARK = LinearSegmentedColormap.from_list("imgcls dark", ["#1b2028", "#1f3f60", "#2c679d", "#75acea", "#d3e6fb"])

RC: dict[str, Any] = {
    "font.size": TEXT,
    "text.parse_math": False,  # names of classes and files may hold "$"
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.facecolor": SURFACE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "figure.facecolor": SURFACE,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.06,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
}

FALLBACKS = (  # of Linux, Windows and macOS, for scripts that DejaVu Sans lacks
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "Yu Gothic",
    "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Noto Sans Devanagari", "Lohit Devanagari",
    "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Nirmala UI", "Kohinoor Devanagari", "Leelawadee UI",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Geeza Pro", "Noto Emoji", "Segoe UI Emoji", "Symbola", "Arial Unicode MS",
)  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")


@functools.cache
def families() -> list[str]:
    """DejaVu Sans, which ships with matplotlib, then what is installed for other scripts."""
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in fontManager.get_font_names())]


@functools.cache
def glyphs() -> frozenset[int]:
    """Code points that one of the `families` draws."""
    return frozenset().union(*(get_font(findfont(name)).get_charmap() for name in families()))


def check_glyphs(figure: Figure) -> None:
    """Warn once for each script in the figure that no installed font draws."""
    text = {letter for part in figure.findobj(Text) for letter in part.get_text()}
    # Joiners, and marks that choose between text and emoji, are drawn by no font.
    drawn = {letter for letter in text if letter.isprintable() and unicodedata.category(letter) not in ("Mn", "Cf")}
    for letter in sorted(letter for letter in drawn if ord(letter) not in glyphs()):
        symbol = unicodedata.category(letter).startswith("S")
        _warn_missing("emoji" if symbol else unicodedata.name(letter, "unnamed").partition(" ")[0])


@functools.cache
def _warn_missing(script: str) -> None:
    script = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}.get(script, script.capitalize())
    warnings.warn(
        f"no installed font has {script} characters, so figures show boxes in their place; install a font that has "
        "them, such as Noto (fonts.google.com/noto), and run again",
        stacklevel=3,
    )


def themed(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorator: draw with the theme, independent of the session's style."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with style.context(["default", RC | {"font.family": families()}]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s)Glyph .* missing")  # one a character: `check_glyphs` says it once
            return draw(*args, **kwargs)

    return drawn


def need(data: Sized, function: str, what: str) -> None:
    """Raise ValueError on empty input, with the name of the figure's function."""
    if len(data) == 0:
        raise UserError(f"{function}: no {what} to draw; pass at least one, or leave the figure out")


def need_columns(frame: pd.DataFrame, function: str, columns: Sequence[str]) -> None:
    """Raise ValueError on an empty frame or a missing column."""
    need(frame, function, "rows")
    if missing := [column for column in columns if column not in frame]:
        raise UserError(
            f"{function}: the frame has no column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(repr, frame.columns))}"
        )


def array(values: Any) -> np.ndarray:
    """A NumPy array from anything array-like; floating-point tensors become float32, as NumPy has no bfloat16."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def canvas(rows: int = 1, height: float = 3.6, **subplots: Any) -> tuple[Figure, np.ndarray]:
    """A report-wide figure and its panels as a flat array; `height` in inches, `subplots` goes to Figure.subplots."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(rows, squeeze=False, **subplots).ravel()
    for ax in panels:
        dress(ax)
    return figure, panels


def panel_grid(count: int, row_height: float, top: float = 0.5, **subplots: Any) -> tuple[Figure, np.ndarray]:
    """A figure with `count` panels in at most two columns; heights in inches, `top` is the height of the legend."""
    columns = min(2, count)
    rows = math.ceil(count / columns)
    figure, panels = canvas(rows, top + row_height * rows, ncols=columns, **subplots)
    for ax in panels[count:]:
        ax.set_axis_off()
    return figure, panels[:count]


def axes(ax: Axes | None, height: float, grid: str = "y") -> Axes:
    """The given axes, or those of a new report-wide figure `height` inches high, dressed in the theme."""
    if ax is None:
        return dress(canvas(height=height)[1][0], grid)
    for text in ax.findobj(Text):  # made without the theme
        text.set_parse_math("$" in text.get_text())
    return dress(ax, grid)


def dress(ax: Axes, grid: str = "y") -> Axes:
    """Reduce a panel to a light grid along `grid` ("x", "y", "both" or ""), a base line and small ticks."""
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
    """Label the rows of a dot plot or bar chart, first row on top; names wrap at `width` characters."""
    ax.set_yticks(range(len(names)), [textwrap.fill(str(name), width, break_on_hyphens=False) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["bottom"].set_visible(False)


def percent(share: float, digits: int = 0) -> str:
    """A share as per cent: 0.864 is `86 %`, or `86.4 %` with one digit."""
    return f"{100 * share:.{digits}f} %"


def short_number(value: object) -> str:
    """A number in three digits: 64, 0.01, 5e-4; other values as text."""
    if isinstance(value, str | bool | np.bool_) or not isinstance(value, int | float | np.number):
        return str(value)
    text = f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2e}"
    text = f"{value:.0f}" if value == round(value) and abs(value) < 1e5 else text
    return re.sub(r"\.?0*e([+-])0*", lambda found: "e" + found[1].strip("+"), text)


def percent_axis(axis: Axis) -> None:
    """Show shares as per cent, with decimals only if the ticks need them."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.4g} %"))


def powers_axis(axis: Axis) -> None:
    """Label a log scale with powers of ten in plain text, since the theme draws no formulas."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))


def _power(value: float) -> str:
    exponent = round(math.log10(value))
    if not math.isclose(value, 10.0**exponent):
        return f"{value:.3g}"  # a scale of less than a decade
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def legend_above(ax: Axes, columns: int = 4, **kwargs: Any) -> None:
    """Legend above the panel, clear of the data; `kwargs` goes to Axes.legend."""
    ax.legend(
        **{"loc": "lower left", "bbox_to_anchor": (0, 1.01), "ncols": columns, "borderaxespad": 0.2}
        | {"columnspacing": 1.4, "handletextpad": 0.5, "borderpad": 0}
        | kwargs
    )


def figure_legend(figure: Figure, handles: Sequence[Artist], columns: int = 3) -> None:
    """Legend above all panels."""
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.4, handletextpad=0.5)


def legend_columns(names: Sequence[str], width: float = WIDTH - 0.9) -> int:
    """Number of columns with which a legend fits `width` inches; legends are filled column by column."""
    for columns in range(len(names), 1, -1):
        parts = np.array_split(np.array(names, object), columns)
        if sum(max(map(text_width, part)) + 0.55 for part in parts) <= width:
            return columns
    return 1


def series(runs: Mapping[str, Any], function: str) -> list[tuple[str, Any, str, str]]:
    """(name, data, colour, marker) of each run.

    Raises:
        ValueError: no runs, or more runs than colours.
    """
    need(runs, function, "runs")
    if len(runs) > len(SERIES):
        raise UserError(
            f"{function}: {len(runs)} runs, but readers can distinguish {len(SERIES)} colours; "
            "split them over several figures"
        )
    return [
        (name, data, *look) for (name, data), look in zip(runs.items(), zip(SERIES, MARKERS, strict=True), strict=False)
    ]


def text_width(text: str, size: float = SMALL) -> float:
    """Width of a line of text in inches."""
    font = FontProperties(family=families(), size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def fit_text(text: str, width: float, size: float = SMALL, smallest: float = 8) -> tuple[str, float]:
    """A line of text and the size at which it fits `width` inches; below `smallest` points the text is cut with "…"."""
    text = printable(text)
    taken = text_width(text, size)
    if taken <= width:
        return text, size
    if taken * smallest / size <= width:
        return text, size * width / taken
    while len(text) > 1 and text_width(text + "…", smallest) > width:
        text = text[:-1].rstrip()
    return text + "…", smallest


def wrap(text: str, width: float, size: float = SMALL) -> list[str]:
    """Break text between words so that lines fit `width` inches; a longer word keeps its own line."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
