"""Parallel coordinates: every trial of a search as a line through its hyperparameters to its accuracy."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from pandas.api import types

from imgcls.messages import UserError
from imgcls.plots import theme
from imgcls.plots.searches import check_states

CHOICES = 6  # maximum number of distinct values for which a column of numbers is a list of choices
INTERVALS = 6  # intervals of a numeric axis
OUTER = 1.5  # inches for the labels outside the first and the last axis
FAINTEST = -0.25  # start of the colour scale for ranks from 0 to 1, so that the worst trial is visible

Scale = tuple[np.ndarray, list[tuple[float, str]]]  # positions from 0 to 1, and (position, text) of the ticks


@theme.themed
def parallel_coordinates(
    trials: pd.DataFrame, parameters: Sequence[str], chosen: Mapping[str, int] | None = None, log: Sequence[str] = ()
) -> Figure:
    """Every trial as a line through its hyperparameters to its accuracy; better trials have stronger colours.

    Numbers have a numeric axis; text, booleans and numbers with up to six distinct values are evenly spaced choices. A
    line breaks at a missing value. After Inselberg (1985), The plane with parallel coordinates.

    Args:
        trials: One row per trial with a column for each parameter and reached (the best validation accuracy, a share);
            optional state ("complete" or "pruned", thin and dashed); number if `chosen` is given.
        parameters: Columns to draw, from left to right.
        chosen: Label -> number of a trial to highlight; labels of the same trial share one line.
        log: Parameters on a log scale.

    Raises:
        ValueError: No trials or parameters, a missing column, another state, a chosen trial that does not exist, more
            chosen trials than colours, a log scale for a parameter that is not drawn or not positive.
    """
    name, chosen = "parallel_coordinates", chosen or {}
    theme.need(parameters, name, "parameters")
    theme.need_columns(trials, name, [*parameters, "reached", *(["number"] if chosen else [])])
    if "state" in trials:
        check_states(trials, name)
    if strange := [column for column in log if column not in parameters]:
        raise UserError(f"{name}: log names {strange[0]!r}, which is not drawn; choose from {', '.join(parameters)}")
    trials = trials.sort_values("reached", kind="stable", na_position="first")  # the best is drawn on top
    accuracy = trials["reached"].to_numpy(float)
    scales = [_scale(trials[column], column in log, name) for column in parameters]
    scales.append(_numeric(accuracy, write=lambda share: f"{share * 100:.4g} %"))
    paths = np.stack([positions for positions, _ in scales], 1)  # (trials, axes)
    pruned = (trials["state"] == "pruned").to_numpy() if "state" in trials else np.zeros(len(trials), bool)
    widths = np.where(pruned, 0.9, 1.5) * (1 if len(trials) <= 50 else 0.7)

    figure, [ax] = theme.canvas(height=4.8)
    last = len(parameters)
    ax.vlines(range(last + 1), 0, 1, color=theme.MUTED, linewidth=1, zorder=1)
    lines = LineCollection(
        [np.column_stack([np.arange(last + 1), path]) for path in paths],
        array=_ranks(accuracy), cmap=theme.HEAT, norm=Normalize(FAINTEST, 1), zorder=2,
        linewidths=widths, linestyles=[theme.DASHED if dashed else "solid" for dashed in pruned],
    )  # fmt: skip
    ax.add_collection(lines, autolim=False)
    keys = []
    for label, number, colour, marker, width in _chosen(trials, chosen):
        path = paths[np.flatnonzero(trials["number"] == number)[0]]
        look = {"color": colour, "marker": marker, "markersize": 6 + 1.2 * width, "linewidth": width}
        keys += ax.plot(range(last + 1), path, label=label, mec=theme.SURFACE, zorder=4, clip_on=False, **look)
    if pruned.any() and not pruned.all():
        keys.append(Line2D([], [], color=theme.MUTED, linewidth=1.5, label="complete"))
    if pruned.any():
        keys.append(Line2D([], [], color=theme.MUTED, linewidth=0.9, linestyle=theme.DASHED, label="pruned"))
    _name_axes(ax, [*parameters, "validation accuracy"], scales)
    if keys:
        theme.legend_above(ax, theme.legend_columns([key.get_label() for key in keys]), handles=keys)
    return figure


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 (worst, or NaN) to 1 (best), squared so that only the best have a strong colour."""
    ranks = pd.Series(values).rank().fillna(1).to_numpy() - 1
    return (ranks / ranks.max()) ** 2 if ranks.max() > 0 else np.ones(len(ranks))


def _chosen(trials: pd.DataFrame, chosen: Mapping[str, int]) -> list[tuple[str, int, str, str, float]]:
    """(label, number, colour, marker, width) of each highlighted trial."""
    labels: dict[int, list[str]] = {}
    for label, number in chosen.items():
        if not (trials["number"] == number).any():
            raise UserError(
                f"parallel_coordinates: {label!r} names trial {number}, but the frame has none of that number; "
                f"its trials go from {trials['number'].min()} to {trials['number'].max()}"
            )
        labels.setdefault(number, []).append(label)
    looks = list(zip(theme.SERIES, theme.MARKERS, strict=True))[1:]  # without the blue of the other lines
    if len(labels) > len(looks):
        raise UserError(
            f"parallel_coordinates: {len(labels)} chosen trials, but readers can distinguish {len(looks)} colours; "
            "choose fewer"
        )
    widths = np.linspace(4, 2, max(len(labels), 2))  # later ones are narrower, so that none hides another
    return [
        (", ".join(names), number, *look, width)
        for (number, names), look, width in zip(labels.items(), looks, widths, strict=False)
    ]


def _scale(values: pd.Series, log: bool, function: str) -> Scale:
    """Position of each value on its axis, and the ticks of the axis."""
    numeric = types.is_numeric_dtype(values) and not types.is_bool_dtype(values)
    if log and not (numeric and (values.dropna() > 0).all()):
        raise UserError(f"{function}: {values.name!r} is not positive throughout, so it cannot have a log scale")
    distinct = values.nunique()
    if numeric and distinct > 1 and (log or distinct > min(CHOICES, len(values) / 2)):
        numbers = values.to_numpy(float, na_value=np.nan)
        return _logarithmic(numbers) if log else _numeric(numbers, whole=types.is_integer_dtype(values))
    if isinstance(values.dtype, pd.CategoricalDtype):
        choices = list(values.cat.remove_unused_categories().cat.categories)
    else:
        choices = sorted(values.dropna().unique(), key=None if numeric else str)
    places = np.linspace(0, 1, len(choices)) if len(choices) > 1 else np.full(len(choices), 0.5)
    positions = values.astype(object).map(dict(zip(choices, places, strict=True))).to_numpy(float)
    return positions, [(place, theme.short_number(choice)) for place, choice in zip(places, choices, strict=True)]


def _numeric(values: np.ndarray, whole: bool = False, write: Callable[[float], str] = theme.short_number) -> Scale:
    finite = values[np.isfinite(values)]
    if len(set(finite)) < 2:  # one value has no range
        return np.where(np.isfinite(values), 0.5, np.nan), [(0.5, write(value)) for value in set(finite)]
    ticks = MaxNLocator(INTERVALS, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(finite.min(), finite.max())
    low, span = ticks[0], ticks[-1] - ticks[0]
    return (values - low) / span, [((tick - low) / span, write(tick)) for tick in ticks]


def _logarithmic(values: np.ndarray) -> Scale:
    """A log axis that begins and ends at 1, 2 or 5 times a power of ten; many ticks are reduced to ends and powers."""
    low, high = np.nanmin(values) * (1 + 1e-9), np.nanmax(values) * (1 - 1e-9)  # tolerates rounding
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    grid = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    first = max(tick for tick in grid if tick <= low)
    last = min(tick for tick in grid if tick >= high)
    ticks = [tick for tick in grid if first <= tick <= last]
    place = {tick: np.log10(tick / first) / np.log10(last / first) for tick in ticks}
    if len(ticks) > INTERVALS:
        tens = [tick for tick in ticks if tick in grid[::3] and 0.08 < place[tick] < 0.92]  # not too close to the ends
        ticks = [first, *tens[:: -(-len(tens) // INTERVALS)], last]
    positions = np.log10(values / first) / np.log10(last / first)
    return positions, [(place[tick], theme.short_number(tick)) for tick in ticks]


def _label(text: str, width: float) -> tuple[str, float]:
    """Text wrapped to `width` inches, and its font size."""
    if theme.text_width(text) <= width:
        return text, theme.SMALL
    lines = [theme.fit_text(line, width) for line in theme.wrap(text.replace("_", " "), width)]
    return "\n".join(line for line, _ in lines), min(size for _, size in lines)


def _name_axes(ax: Axes, names: Sequence[str], scales: Sequence[Scale]) -> None:
    """Write the label of each axis below it, and its ticks next to it."""
    last = len(names) - 1
    outer = [max((theme.text_width(text) for _, text in scales[k][1]), default=0) for k in (0, last)]
    room = (theme.WIDTH - 0.4 - sum(min(width, OUTER) for width in outer)) / last  # inches from one axis to the next
    for k, (_, ticks) in enumerate(scales):
        dx, side = (-6, "right") if k == 0 else (6, "left")
        for place, text in ticks:
            text, size = _label(text, OUTER if k in (0, last) else 0.75 * room)
            ax.plot(k, place, "_", color=theme.MUTED, markersize=6, zorder=3, clip_on=False)
            ax.annotate(
                text, (k, place), (dx, 0), textcoords="offset points", ha=side, va="center", size=size, color=theme.INK,
                zorder=6, bbox={"facecolor": theme.SURFACE, "edgecolor": "none", "pad": 1, "alpha": 0.9},
            )  # fmt: skip
    labels = [_label(name.replace("_", " "), 0.94 * room) for name in names]
    ax.set_xticks(range(last + 1), [text for text, _ in labels], size=min(size for _, size in labels))
    theme.dress(ax, grid="")
    ax.tick_params(length=0, pad=6)
    ax.set_yticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set(xlim=(0, last), ylim=(-0.04, 1.04))
