"""Rendering speed of the menagerie, and the time until its data sets are ready.

python -m benchmarks.menagerie [--runs 5] [--out FILE]     (about two minutes)
"""

import tempfile
import time

import menagerie
from benchmarks.measure import arguments, median_seconds
from benchmarks.record import report, row
from imgcls import reproducibility
from imgcls.data import load

COUNT = 960  # images of one timed call


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__)
    reproducibility.configure_threads()
    rows = []
    for size, target in ((32, "-"), (64, ">= 300"), (96, ">= 150"), (224, "-")):
        count = COUNT if size < 200 else COUNT // 4
        seconds = median_seconds(lambda n=count, s=size: menagerie.generate("species", "train", 0, n, s), args.runs)
        rows.append(row(f"menagerie_{size}px", "images/s", count / seconds, target, args.runs))
    with tempfile.TemporaryDirectory() as cache:
        first, again = {}, {}
        for times in (first, again):
            for name, subset in menagerie.subsets().items():
                begun = time.perf_counter()
                load(f"menagerie/{name}", image_size=subset.image_size, cache=cache)
                times[name] = time.perf_counter() - begun
    rows.append(row("menagerie_fox_elephant_ready", "s", first["fox_elephant"], "< 10", 1))
    rows.append(row("menagerie_all_sets_ready", "s", sum(first.values()), "< 120", 1))
    rows.append(row("menagerie_all_sets_from_cache", "s", sum(again.values()), "-", 1))
    rows.append(row("menagerie_slowest_set_from_cache", "s", max(again.values()), "< 1", 1))
    report(rows, args.out)


if __name__ == "__main__":
    main()
