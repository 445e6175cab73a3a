"""From photographs on disk to five trained epochs at 64 px, against ImageFolder and a DataLoader.

python -m benchmarks.first_epochs [--runs 5] [--data cats-dogs.zip] [--out FILE]     (about seven minutes)

imgcls decodes every file of the archive once, into an empty cache; its time includes all of `fit`. The peer decodes its
training files in each epoch, with its fastest number of workers, and trains in float32.
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.epoch import WORKERS, settings
from benchmarks.loops import image_folder, run
from benchmarks.measure import alternate, arguments, fastest, own_process, seconds_of
from benchmarks.record import report, version, versus
from benchmarks.tasks import Task, load, our_network, prepare
from imgcls.training import fit

SIZE, EPOCHS = 64, 5


def ours(task: Task, train: bool) -> float:
    """Seconds to decode, and to train if `train`."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as empty:
            found = load(task.archive, Path(empty), task.image_size, None)
            if train:
                fit(our_network(task), found.train, found.val, task.recipe)

    return seconds_of(work)


def usual(task: Task, train: bool) -> float:
    """Seconds of the usual pipeline, or of one pass over its loader if not `train`."""
    if train:
        return run("imagefolder", task).seconds
    loader = image_folder(task, augment=False)
    return seconds_of(lambda: [y.shape for _, y in loader])


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, archive="cats-dogs.zip")
    with tempfile.TemporaryDirectory() as folder, own_process() as for_us, own_process() as for_them:
        task = replace(prepare(args.data, Path(folder), SIZE), epochs=EPOCHS)
        print(f"decoding and {EPOCHS} epochs of {task.images:,} photographs", flush=True)
        rows = []
        for name, train, target, what in (
            ("decode_vs_imagefolder", False, "> 1", "photographs to 64 px, once"),
            ("first_epochs_vs_imagefolder", True, ">= 3", f"photographs to {EPOCHS} epochs at 64 px"),
        ):
            one = replace(task, epochs=1)  # to find the fastest number of workers
            best = fastest({str(n): partial(for_them, usual, replace(one, workers=n), train) for n in WORKERS})
            theirs = replace(task, workers=int(best))
            works = {"ours": partial(for_us, ours, task, train), "imagefolder": partial(for_them, usual, theirs, train)}
            for_us(ours, one, train)
            found = alternate(works, args.runs)
            rows.append(
                versus(
                    name,
                    "s",
                    found["ours"],
                    found["imagefolder"],
                    f"torchvision {version('torchvision')}",
                    target,
                    what=what,
                    settings=settings(theirs),
                    images=task.images,
                )
            )
    report(rows, args.out)


if __name__ == "__main__":
    main()
