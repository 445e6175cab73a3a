"""How things are timed: by turns with their peer, each side in a process of its own."""

import argparse
import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from imgcls import paths

SHARED = paths.ROOT.parent / "shared" / "data"  # where the archives of real images lie beside a checkout


def arguments(
    description: str | None,
    archive: str | None = None,
    images: int | None = None,
    runs: int | None = 5,
    table: bool = False,
) -> argparse.Namespace:
    """Command line of a benchmark: `--out`, and `--runs`, `--images`, `--data`, `--table` where it has them.

    Raises:
        SystemExit: the archive is not there, or a count is not positive.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file that gets the rows (%(default)s)")
    if runs:
        parser.add_argument("--runs", type=int, default=runs, help="timed runs of each side (%(default)s)")
    if images:
        parser.add_argument("--images", type=int, default=images, help="images of a run (%(default)s)")
    if archive:
        parser.add_argument("--data", type=Path, default=SHARED, help=f"{archive}, or its folder (%(default)s)")
    if table:
        parser.add_argument("--table", action="store_true", help="print the table of --out for README, measure nothing")
    asked = parser.parse_args()
    for name in ("runs", "images"):
        if getattr(asked, name, 1) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(asked, name)}")
    if archive:
        asked.data = asked.data / archive if asked.data.is_dir() else asked.data
        if not asked.data.is_file():
            parser.error(f"no archive at {asked.data}; bring {archive} and say where it lies with --data")
    return asked


@contextlib.contextmanager
def own_process() -> Iterator[Callable[..., Any]]:
    """A fresh interpreter that calls functions one after the other and keeps what they import and cache.

    Thread counts, allocator settings and patches of one framework cannot reach another's timing.
    """
    fresh, usual = multiprocessing.get_context("spawn"), multiprocessing.get_start_method()
    with ProcessPoolExecutor(1, fresh, _start_children_as_usual, (usual,)) as pool:
        yield lambda work, *values: pool.submit(_quietly, work, *values).result()


def _start_children_as_usual(method: str) -> None:
    """A spawned process would spawn its loader workers too, which takes seconds that no user of a loader pays."""
    multiprocessing.set_start_method(method, force=True)


def _quietly(work: Callable[..., Any], *values: Any) -> Any:
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return work(*values)


def alternate(works: Mapping[str, Callable[[], float]], runs: int, unit: str = "s") -> dict[str, list[float]]:
    """What each returns, by turns; every other round goes backwards, so that a drift of the machine meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for run in range(runs):
        for name in list(works)[:: -1 if run % 2 else 1]:
            found[name].append(works[name]())
        latest = "   ".join(f"{name} {values[-1]:,.4g}" for name, values in found.items())
        print(f"  run {run + 1}/{runs} ({unit}): {latest}", flush=True)
    return found


def fastest(candidates: Mapping[str, Callable[[], float]]) -> str:
    """The candidate that takes the fewest seconds, each tried twice after one that is not counted."""
    times = {}
    for name, work in candidates.items():
        work()
        times[name] = min(work(), work())
    best = min(times, key=times.__getitem__)
    print(f"  best of {', '.join(f'{name} {seconds:.2f} s' for name, seconds in times.items())}: {best}", flush=True)
    return best


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall time of some runs, after one that is not counted."""
    work()
    return statistics.median(seconds_of(work) for _ in range(runs))
