"""One training epoch of a CIFAR network on image files, against common pipelines.

python -m benchmarks.epoch [--runs 5] [--images 50000] [--data cifar10-jpeg.zip] [--out FILE]   (about twenty minutes)

The usual pipeline (ImageFolder, DataLoader, float32) trains on all images. Frameworks train on at most
FRAMEWORK_IMAGES, with their defaults and with their fastest settings. imgcls trains from its decoded cache; the row
`epoch_first_vs_imagefolder` includes the time to fill that cache, test images included. The ratio of the row
`passes_of_epoch` is the share of our epoch that its forward and backward passes take: what no loop can save.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.loops import has_bfloat16, passes, run
from benchmarks.measure import alternate, arguments, fastest, own_process, seconds_of
from benchmarks.record import Row, report, version, versus
from benchmarks.tasks import Task, load, prepare

SIZE = 32
FRAMEWORK_IMAGES, TRIAL_IMAGES = 10_000, 2560
WORKERS = (0, 1, 2)
FRAMEWORKS = {
    "lightning": 0,
    "fastai": 2,
    "accelerate": 0,
}  # default number of loader workers; fastai uses one per core
DISTRIBUTIONS = {"imagefolder": "torchvision"}


def first_decode(archive: Path) -> float:
    """Seconds to decode every file of the archive into an empty cache."""
    with tempfile.TemporaryDirectory() as empty:
        return seconds_of(lambda: load(archive, Path(empty), SIZE, None))


def seconds(name: str, task: Task) -> float:
    """Seconds of training without validation."""
    return run(name, task).seconds


def tuned(name: str, task: Task, trial: Task, process: object) -> Task:
    """Set the number of loader workers that is fastest on the trial."""
    best = fastest({str(n): partial(process, seconds, name, replace(trial, workers=n)) for n in WORKERS})
    return replace(task, workers=int(best))


def settings(task: Task) -> str:
    """The settings of a peer as text."""
    number = "bfloat16, channels-last, nothing logged" if has_bfloat16() else "float32, channels-last, nothing logged"
    return f"{number if task.fast else 'float32'}, {task.workers} loader workers"


def compared(peers: dict[str, tuple[str, Task]], task: Task, trial: Task, runs: int, target: str) -> list[Row]:
    """Measure imgcls and the peers in turn; `peers` maps the suffix of a row's name to a loop and its task."""
    rows = []
    with ExitStack() as stack:
        processes = {name: stack.enter_context(own_process()) for name in ("ours", *peers)}
        chosen = {}
        for name, (loop, theirs) in peers.items():
            small = replace(trial, fast=theirs.fast, workers=max(theirs.workers, 0))
            print(f" {name}", flush=True)
            if theirs.workers < 0:
                theirs = tuned(loop, theirs, small, processes[name])
            else:
                processes[name](seconds, loop, small)
            chosen[name] = loop, theirs
        processes["ours"](seconds, "ours", trial)
        works = {name: partial(processes[name], seconds, *chosen[name]) for name in peers}
        found = alternate({"ours": partial(processes["ours"], seconds, "ours", task), **works}, runs)
    for name, (loop, theirs) in chosen.items():
        package = DISTRIBUTIONS.get(loop, loop)
        rows.append(
            versus(
                f"epoch_vs_{name}",
                "s",
                found["ours"],
                found[name],
                f"{package} {version(package)}",
                target,
                what=f"an epoch of {task.images:,} images",
                settings=settings(theirs),
                images=task.images,
            )
        )
    return rows


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, archive="cifar10-jpeg.zip", images=50_000)
    with tempfile.TemporaryDirectory() as folder:
        make = partial(prepare, args.data, Path(folder), SIZE)
        trial = make(min(args.images, TRIAL_IMAGES))
        task, smaller = make(args.images), make(min(args.images, FRAMEWORK_IMAGES))

        print(f"epoch of {task.images:,} images, usual pipeline", flush=True)
        rows = compared({"imagefolder": ("imagefolder", replace(task, workers=-1))}, task, trial, args.runs, ">= 5")
        with own_process() as process:
            decoding = [process(first_decode, args.data) for _ in range(args.runs)]
        usual = rows[0]
        first = [a + b for a, b in zip(usual["ours_runs"], decoding, strict=True)]
        rows.append(
            versus(
                "epoch_first_vs_imagefolder",
                "s",
                first,
                usual["peer_runs"],
                usual["peer_name"],
                "> 1",
                what="decoding and the first epoch",
                settings=usual["settings"],
                images=task.images,
            )
        )
        print(f"epoch of {smaller.images:,} images, frameworks", flush=True)
        peers = {}
        for name, workers in FRAMEWORKS.items():
            peers[name] = name, replace(smaller, workers=workers)
            peers[f"{name}_best"] = name, replace(smaller, workers=-1, fast=True)
        rows += compared(peers, smaller, trial, args.runs, "> 1")
        with own_process() as process:
            works = {"ours": partial(process, seconds, "ours", smaller), "passes": partial(process, passes, smaller)}
            found = alternate(works, args.runs)
        what = {"what": f"an epoch of {smaller.images:,} images", "images": smaller.images}
        rows.append(versus("passes_of_epoch", "s", found["ours"], found["passes"], "its passes alone", "-", **what))
    report(rows, args.out)


if __name__ == "__main__":
    main()
