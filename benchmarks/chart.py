"""figures/benchmarks.png: speed of data and training with its targets; with `--out`, a figure beside that file.

python -m benchmarks.chart [--out FILE]     (seconds)
"""

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from benchmarks.measure import arguments
from benchmarks.record import RESULTS, Row, meets_target
from imgcls import paths
from imgcls.plots import save
from imgcls.plots.theme import ACCENT, INK, MUTED, SERIES, SMALL, canvas, dress, legend_above, need, themed

FIGURE = "benchmarks.png"
MISSED = SERIES[1]
OVERHEAD = "loop_overhead"
FASTER = ("augment_", "decode_", "epoch_", "first_epochs_")  # rows of the upper panel
TICKS = (0.5, 1, 2, 3, 5, 10, 20, 50, 100)


@themed
def ratios(rows: Sequence[Row]) -> Figure:
    """Speed-up over each peer (upper panel) and the overhead of each training loop over a bare loop (lower panel).

    Args:
        rows: of results.json; those of other measurements are left out.
    """
    faster = [one for one in rows if one["ratio"] is not None and one["name"].startswith(FASTER)]
    loops = [one for one in rows if one["ratio"] is not None and one["name"].startswith(OVERHEAD)]
    need(faster + loops, "ratios", "rows with a ratio")
    shown = [(part, draw) for part, draw in ((faster, _faster), (loops, _overhead)) if part]
    figure, panels = canvas(
        len(shown),
        sum(1.1 + 0.42 * len(part) for part, _ in shown),
        height_ratios=[0.4 + 0.42 * len(part) for part, _ in shown],
    )
    for ax, (part, draw) in zip(panels, shown, strict=True):
        draw(ax, part)
    return figure


def _faster(ax: Axes, rows: Sequence[Row]) -> None:
    peers = [one["peer_name"].partition(",")[0] for one in rows]
    labels = [f"{one['what']}\nagainst {peer}{_variant(one)}" for one, peer in zip(rows, peers, strict=True)]
    limits = [float(one["target"].split()[-1]) for one in rows]
    ax.set_xscale("log")
    _bars(ax, labels, [one["ratio"] for one in rows], limits, [meets_target(one) for one in rows], low=1)
    ax.set_xlim(min(0.9, 0.8 * min(one["ratio"] for one in rows)), 1.6 * max(one["ratio"] for one in rows))
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    ax.set_xlabel("times faster than the peer")
    keys = [Patch(color=ACCENT, label="target met"), Line2D([], [], color=INK, linewidth=2, label="target")]
    if any(meets_target(one) is False for one in rows):
        keys.insert(1, Patch(color=MISSED, label="missed"))
    legend_above(ax, handles=keys)


def _overhead(ax: Axes, rows: Sequence[Row]) -> None:
    own = [one for one in rows if one["name"] == OVERHEAD]
    others = [one for one in rows if one["name"] != OVERHEAD]
    labels = ["imgcls"] * len(own) + [one["peer_name"] for one in others]
    values = [one["ratio"] for one in own] + [one["peer_overhead"] for one in others]
    kept = [meets_target(one) for one in own] + [None] * len(others)
    limits = [float(one["target"].split()[-1]) for one in own] + [None] * len(others)
    _bars(ax, labels, values, limits, kept, low=0, digits=3)
    ax.set_xlim(0, 1.18 * max(values))
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    ax.set_xlabel("time of a short step, relative to a bare loop")


def _bars(
    ax: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    limits: Sequence[float | None],
    kept: Sequence[bool | None],
    low: float,
    digits: int = 2,
) -> None:
    """Horizontal bars from `low`, first on top, each with its value at the end and a line at its target."""
    dress(ax, grid="x")
    colours = [MUTED if verdict is None else ACCENT if verdict else MISSED for verdict in kept]
    ax.barh(range(len(values)), [value - low for value in values], left=low, height=0.56, color=colours)
    for row, (value, limit) in enumerate(zip(values, limits, strict=True)):
        if limit is not None:
            ax.plot([limit, limit], [row - 0.4, row + 0.4], color=INK, linewidth=2, solid_capstyle="butt")
        end = max(value, limit or value)
        text = f"{value:.{digits}f}×" if value < 2 else f"{value:.1f}×"
        ax.annotate(text, (end, row), (6, 0), textcoords="offset points", va="center", size=SMALL, color=INK)
    ax.set_yticks(range(len(labels)), labels, size=SMALL)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["bottom"].set_visible(False)


def _variant(one: Row) -> str:
    if one["name"].endswith("_best"):
        return ", best settings"
    return ", defaults" if f"{one['name']}_best" in one.get("siblings", ()) else ""


def draw(results: Path, figure: Path) -> Path:
    """Draw the rows of a results file; returns the path of the figure."""
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"]
    names = [one["name"] for one in rows]
    return save(ratios([one | {"siblings": names} for one in rows]), figure)


def main() -> None:
    """Draw."""
    results = arguments(__doc__, runs=None).out
    print(draw(results, paths.FIGURES / FIGURE if results == RESULTS else results.with_suffix(".png")))


if __name__ == "__main__":
    main()
