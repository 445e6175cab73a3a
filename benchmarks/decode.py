"""Photographs to uint8 tensors of 64 px: ours into an empty cache, against ImageFolder and its loader.

python -m benchmarks.decode [--runs 5] [--data cats-dogs.zip] [--out FILE]     (about three minutes)

Ours reads the archive in place, decodes with as many processes as there are cores and writes the cache. The peer reads
the same files unpacked, resamples with the same filter, and gets the number of loader workers that suits it best.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from benchmarks.measure import alternate, arguments, fastest, own_process, seconds_of
from benchmarks.record import report, version, versus
from benchmarks.tasks import unpack
from imgcls.data import load

SIZE, BATCH = 64, 128
WORKERS = (0, 1, 2)


def ours(archive: Path) -> int:
    """Every picture of the archive, decoded into an empty cache; how many there are."""
    with tempfile.TemporaryDirectory() as empty:
        splits = load(archive, image_size=SIZE, cache=empty)
        return sum(len(split) for _, split in splits.items())


def image_folder(folder: Path, workers: int) -> int:
    """The same pictures as torchvision's tutorials load them; how many there are."""
    square = T.Compose(
        [T.Resize(SIZE, T.InterpolationMode.BICUBIC), T.CenterCrop(SIZE), T.PILToTensor()]
    )  # no floats: the cache holds uint8 too
    parts = ConcatDataset([ImageFolder(part, square) for part in sorted(folder.iterdir())])
    batches = [images for images, _ in DataLoader(parts, BATCH, num_workers=workers)]
    return len(torch.cat(batches))


def seconds(work: Callable[..., int], *values: object) -> float:
    """Wall time of one run."""
    return seconds_of(partial(work, *values))


def rate(work: Callable[..., int], *values: object) -> float:
    """Pictures a second."""
    begun = time.perf_counter()
    count = work(*values)
    return count / (time.perf_counter() - begun)


def main() -> None:
    """Measure, print, record."""
    asked = arguments(__doc__, archive="cats-dogs.zip")
    with tempfile.TemporaryDirectory() as folder:
        found = load(asked.data, image_size=SIZE, cache=Path(folder, "cache"))
        images = sum(len(split) for _, split in found.items())
        for name, split in found.items():
            unpack(asked.data, split.names, Path(folder, "files", name))
        with own_process() as mine, own_process() as theirs:
            files = Path(folder, "files")
            mine(ours, asked.data)
            best = fastest({str(n): partial(theirs, seconds, image_folder, files, n) for n in WORKERS})
            sides = {
                "ours": partial(mine, rate, ours, asked.data),
                "imagefolder": partial(theirs, rate, image_folder, files, int(best)),
            }
            times = alternate(sides, asked.runs, "images/s")
    report(
        [
            versus(
                "decode_vs_imagefolder",
                "images/s",
                times["ours"],
                times["imagefolder"],
                f"torchvision {version('torchvision')}, Pillow {version('pillow')}",
                ">= 2",
                what=f"{images:,} photographs to {SIZE} px",
                settings=f"{best} loader workers",
                images=images,
            )
        ],
        asked.out,
    )


if __name__ == "__main__":
    main()
