"""Timing: imgcls and its peers take turns, each in its own process."""

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

SHARED = paths.ROOT.parent / "shared" / "data"  # archives of real images, next to the checkout


def arguments(
    description: str | None,
    archive: str | None = None,
    images: int | None = None,
    runs: int | None = 5,
    table: bool = False,
    airbench: bool = False,
) -> argparse.Namespace:
    """Command line of a benchmark: `--out`, and `--runs`, `--images`, `--data`, `--table` if requested.

    Raises:
        SystemExit: the archive is missing, or a count is not positive.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file that gets the rows (%(default)s)")
    if runs:
        parser.add_argument("--runs", type=int, default=runs, help="timed runs of each side (%(default)s)")
    if images:
        parser.add_argument("--images", type=int, default=images, help="images of a run (%(default)s)")
    if archive:
        parser.add_argument("--data", type=Path, default=SHARED, help=f"{archive}, or its folder (%(default)s)")
    if airbench:
        parser.add_argument("--airbench", type=Path, help="the peer's airbench94_muon.py")
        parser.add_argument("--no-plain-loop", action="store_true", help="leave the plain loop out")
    if table:
        parser.add_argument("--table", action="store_true", help="print the table of --out for README, measure nothing")
    args = parser.parse_args()
    for name in ("runs", "images"):
        if getattr(args, name, 1) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(args, name)}")
    if archive:
        args.data = args.data / archive if args.data.is_dir() else args.data
        if not args.data.is_file():
            parser.error(f"no archive at {args.data}; download {archive} and pass its path as --data")
    if airbench and args.airbench and not args.airbench.is_file():
        parser.error(f"no file at {args.airbench}; it is in the public repository KellerJordan/cifar10-airbench")
    return args


@contextlib.contextmanager
def own_process() -> Iterator[Callable[..., Any]]:
    """Yield a function that makes calls in a fresh interpreter, which keeps imports and caches between calls.

    Thread counts, allocator settings and patches of one framework cannot reach another's timing.
    """
    fresh, usual = multiprocessing.get_context("spawn"), multiprocessing.get_start_method()
    with ProcessPoolExecutor(1, fresh, _start_children_as_usual, (usual,)) as pool:
        yield lambda work, *values: pool.submit(_quietly, work, *values).result()


def _start_children_as_usual(method: str) -> None:
    """Restore the usual start method: a spawned process would spawn its loader workers too, which takes seconds."""
    multiprocessing.set_start_method(method, force=True)


def _quietly(work: Callable[..., Any], *values: Any) -> Any:
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return work(*values)


def alternate(works: Mapping[str, Callable[[], float]], runs: int, unit: str = "s") -> dict[str, list[float]]:
    """Values of all functions, called in turn; every second round runs backwards, to balance drift of the machine."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for run in range(runs):
        for name in list(works)[:: -1 if run % 2 else 1]:
            found[name].append(works[name]())
        latest = "   ".join(f"{name} {values[-1]:,.4g}" for name, values in found.items())
        print(f"  run {run + 1}/{runs} ({unit}): {latest}", flush=True)
    return found


def fastest(candidates: Mapping[str, Callable[[], float]]) -> str:
    """Name of the candidate with the fewest seconds: the better of two runs, after a warm-up run."""
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
    """Median wall time of some runs, after a warm-up run."""
    work()
    return statistics.median(seconds_of(work) for _ in range(runs))
