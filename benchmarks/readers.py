"""How other loaders handle the malformed and malicious files of `benchmarks.malformed`, one file at a time.

python -m benchmarks.readers [--out FILE]     (about a minute)
python -m benchmarks.readers --table          (the table of README, from the results)

Each loader gets the same folder and reads one image after the other as its documentation shows.
"""

import io
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import malformed
from benchmarks.measure import arguments, own_process
from benchmarks.record import Row, report, row, version
from imgcls.data import decoding, load

CORRECT = "read as meant"
SKIPPED = "left out, named with the reason"
OTHER = "other pixels, nothing said"
REPLACED = "another file's picture in its place"
DAMAGED = "read although it is damaged, no picture or off the list"
UNLISTED = "not listed, nothing said"
ERROR = "an error that ends the epoch"
OUTCOMES = (CORRECT, SKIPPED, UNLISTED, OTHER, REPLACED, DAMAGED, ERROR)
CLASSES = ("ape", "bee")
PREFIX = "hostile_files_"  # of row names

Pictures = Mapping[str, Callable[[], np.ndarray]]  # path below the folder -> function that reads it as uint8 (H, W, 3)


def write_files(folder: Path) -> dict[str, malformed.MalformedFile]:
    """Write the files into two class folders; keys are their paths below `folder`."""
    written = {}
    for k, file in enumerate(malformed.files()):
        path = folder / CLASSES[k % 2] / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        written[f"{CLASSES[k % 2]}/{file.name}"] = file
    return written


def ours(folder: Path) -> tuple[dict[str, str], float]:
    """Outcome of each file in imgcls, and the seconds of the slowest file."""
    splits = load(folder, image_size=malformed.SIDE, cache=folder.parent / "cache")
    read = {
        name: image.permute(1, 2, 0).numpy()
        for _, split in splits.items()
        for name, image in zip(split.names, split.images, strict=True)
    }
    skipped = {entry.name: entry.reason for entry in splits.skipped}
    files = malformed.files()
    readable = [file for file in files if file.pixels is not None]
    outcomes, slowest = {}, 0.0
    for k, file in enumerate(files):
        name = f"{CLASSES[k % 2]}/{file.listed_name or file.name}"
        if name in skipped:
            outcomes[file.name] = SKIPPED if file.reason and file.reason in skipped[name] else ERROR
        else:
            outcomes[file.name] = classify(file, read[name], readable) if name in read else UNLISTED
        begun = time.perf_counter()
        decoding.try_decode_square(file.data, malformed.SIDE, 3, "crop")
        slowest = max(slowest, time.perf_counter() - begun)
    return outcomes, slowest


def imagefolder(folder: Path) -> Pictures:
    """Torchvision's ImageFolder with its default loader."""
    from torchvision.datasets import ImageFolder

    found = ImageFolder(str(folder))
    return {path: partial(lambda i: np.asarray(found[i][0]), i) for i, (path, _) in enumerate(found.samples)}


def timm(folder: Path) -> Pictures:
    """Timm's ImageDataset with its folder reader."""
    import logging

    from timm.data import ImageDataset

    logging.getLogger("timm").setLevel(logging.ERROR)
    found = ImageDataset(str(folder))
    names = found.filenames(absolute=True)
    return {path: partial(lambda i: np.asarray(found[i][0]), i) for i, path in enumerate(names)}


def fastai(folder: Path) -> Pictures:
    """Fastai's `get_image_files` and `PILImage`, which its data blocks use."""
    from fastai.vision.all import PILImage, get_image_files

    return {str(path): partial(lambda p: np.asarray(PILImage.create(p)), path) for path in get_image_files(folder)}


PEERS = {"imagefolder": (imagefolder, "torchvision"), "timm": (timm, "timm"), "fastai": (fastai, "fastai")}


def classify(file: malformed.MalformedFile, got: np.ndarray, others: Iterable[malformed.MalformedFile]) -> str:
    """Outcome of a file for which a reader returned these pixels."""
    if file.pixels is not None and _same(got, file.pixels, file.tolerance):
        return CORRECT
    if any(one is not file and _same(got, one.pixels, one.tolerance) for one in others) or not _is_readable(file.data):
        return REPLACED
    return OTHER if file.pixels is not None else DAMAGED


def _is_readable(data: bytes) -> bool:
    """Whether Pillow decodes the bytes; pixels for a file that it cannot decode come from another file."""
    try:
        Image.open(io.BytesIO(data)).convert("RGB")
    except Exception:  # a decoder may raise anything on malformed bytes
        return False
    return True


def _same(got: np.ndarray, meant: np.ndarray, tolerance: int) -> bool:
    return got.shape == meant.shape and bool(np.abs(got.astype(int) - meant).max() <= tolerance)


def peer_outcomes(name: str, folder: Path) -> tuple[dict[str, str], float]:
    """Outcome of each file with one of PEERS, and the seconds of the slowest file."""
    warnings.simplefilter("ignore")
    files = malformed.files()
    found = PEERS[name][0](folder)
    below = {str(Path(path).relative_to(folder)): read for path, read in found.items()}
    readable = [file for file in files if file.pixels is not None]
    outcomes, slowest = {}, 0.0
    for k, file in enumerate(files):
        read = below.get(f"{CLASSES[k % 2]}/{file.name}")
        if read is None:
            outcomes[file.name] = UNLISTED
            continue
        begun = time.perf_counter()
        try:
            outcomes[file.name] = classify(file, read(), readable)
        except Exception:  # any error would reach the training loop
            outcomes[file.name] = ERROR
        slowest = max(slowest, time.perf_counter() - begun)
    return outcomes, slowest


def table(rows: Sequence[Row]) -> str:
    """Markdown table with one column per loader, from rows of results.json.

    Raises:
        ValueError: no row is of this benchmark.
    """
    mine = [one for one in rows if one["name"].startswith(PREFIX)]
    if not mine:
        raise ValueError(f"no row {PREFIX}…; measure first: python -m benchmarks.readers")
    total = next(one["files"] for one in mine if "files" in one)
    lines = [[f"of the same {total} files", *(one["peer_name"] or "imgcls" for one in mine)]]
    lines.append([":---"] + ["---:"] * len(mine))
    lines += [[what, *(str(one["outcomes"].get(what, 0)) for one in mine)] for what in OUTCOMES]
    lines.append(["slowest file", *(f"{one['slowest']:.2f} s" for one in mine)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def compare() -> list[Row]:
    """Run every loader that is installed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "files")
        total = len(write_files(folder))
        outcomes, slowest = ours(folder)
        found = Counter(outcomes.values())
        rows = [row(f"{PREFIX}ours", "files", found[CORRECT] + found[SKIPPED], "-", 1, files=total,
                    outcomes=dict(found), slowest=round(slowest, 4))]  # fmt: skip
        for name, (_, package) in PEERS.items():
            if version(package) is None:
                print(f"{package} is not installed and left out (make bench installs it)", flush=True)
                continue
            with own_process() as process:
                outcomes, slowest = process(peer_outcomes, name, folder)
            found = Counter(outcomes.values())
            rows.append(row(f"{PREFIX}{name}", "files", rows[0]["ours"], "-", 1, peer=found[CORRECT],
                            peer_name=f"{package} {version(package)}", outcomes=dict(found), slowest=round(slowest, 4),
                            which={what: _named(outcomes, what) for what in OUTCOMES[2:]}))  # fmt: skip
    return rows


def main() -> None:
    """Measure and record, unless `--table`; then print the table."""
    args = arguments(__doc__, runs=None, table=True)
    if not args.table:
        report(compare(), args.out)
    try:
        print(table(json.loads(args.out.read_text(encoding="utf-8"))["rows"]))
    except ValueError as error:
        raise SystemExit(str(error)) from None


def _named(outcomes: Mapping[str, str], what: str) -> list[str]:
    return [ascii(name)[1:-1][:40] for name, found in outcomes.items() if found == what]


if __name__ == "__main__":
    main()
