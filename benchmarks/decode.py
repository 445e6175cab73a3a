"""Decoding of photographs to uint8 tensors of 64 px: imgcls with an empty cache against ImageFolder and DataLoader.

python -m benchmarks.decode [--runs 5] [--data cats-dogs.zip] [--out FILE]     (about three minutes)

imgcls reads the archive in place, decodes with one process per core and writes its cache. The peer reads the unpacked
files, resamples with the same filter and uses its fastest number of loader workers.
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
    """Decode every image of the archive into an empty cache; return their number."""
    with tempfile.TemporaryDirectory() as empty:
        splits = load(archive, image_size=SIZE, cache=empty)
        return sum(len(split) for _, split in splits.items())


def image_folder(folder: Path, workers: int) -> int:
    """Load the unpacked images as torchvision's tutorials do; return their number."""
    square = T.Compose(
        [T.Resize(SIZE, T.InterpolationMode.BICUBIC), T.CenterCrop(SIZE), T.PILToTensor()]
    )  # no floats: the cache holds uint8 too
    parts = ConcatDataset([ImageFolder(part, square) for part in sorted(folder.iterdir())])
    batches = [images for images, _ in DataLoader(parts, BATCH, num_workers=workers)]
    return len(torch.cat(batches))


def rate(work: Callable[..., int], *values: object) -> float:
    """Images per second."""
    begun = time.perf_counter()
    count = work(*values)
    return count / (time.perf_counter() - begun)


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, archive="cats-dogs.zip")
    with tempfile.TemporaryDirectory() as folder:
        found = load(args.data, image_size=SIZE, cache=Path(folder, "cache"))
        images = sum(len(split) for _, split in found.items())
        for name, split in found.items():
            unpack(args.data, split.names, Path(folder, "files", name))
        with own_process() as mine, own_process() as theirs:
            files = Path(folder, "files")
            mine(ours, args.data)
            best = fastest({str(n): partial(theirs, seconds_of, partial(image_folder, files, n)) for n in WORKERS})
            sides = {
                "ours": partial(mine, rate, ours, args.data),
                "imagefolder": partial(theirs, rate, image_folder, files, int(best)),
            }
            times = alternate(sides, args.runs, "images/s")
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
        args.out,
    )


if __name__ == "__main__":
    main()
