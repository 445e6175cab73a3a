"""What other loaders do with the hostile files that `tests/test_hostile.py` is about, file by file, in one run.

python -m benchmarks.readers [--out FILE]     (about a minute)
python -m benchmarks.readers --table          (the table of README, from the results)

Each loader gets the same folder and is asked for one picture after the other as its documentation shows.
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

from benchmarks import hostile
from benchmarks.measure import arguments, own_process
from benchmarks.record import Row, report, row, version
from imgcls.data import decoding, load

RIGHT = "read as meant"
NAMED = "left out, named with the reason"
OTHER = "other pixels, nothing said"
REPLACED = "another file's picture in its place"
DAMAGED = "read although it is damaged, no picture or off the list"
UNLISTED = "not listed, nothing said"
ERROR = "an error that ends the epoch"
OUTCOMES = (RIGHT, NAMED, UNLISTED, OTHER, REPLACED, DAMAGED, ERROR)
CLASSES = ("ape", "bee")
PREFIX = "hostile_files_"  # of the names of the rows

Pictures = Mapping[str, Callable[[], np.ndarray]]  # path below the folder -> what reads its picture, uint8 (H, W, 3)


def lay(folder: Path) -> dict[str, hostile.Hostile]:
    """Write the files as two class folders."""
    laid = {}
    for k, file in enumerate(hostile.files()):
        path = folder / CLASSES[k % 2] / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        laid[f"{CLASSES[k % 2]}/{file.name}"] = file
    return laid


def ours(folder: Path) -> tuple[dict[str, str], float]:
    """Outcome of each file in a data set of ours, and the seconds of its slowest one."""
    splits = load(folder, image_size=hostile.SIDE, cache=folder.parent / "cache")
    read = {
        name: image.permute(1, 2, 0).numpy()
        for _, split in splits.items()
        for name, image in zip(split.names, split.images, strict=True)
    }
    skipped = {entry.name: entry.reason for entry in splits.skipped}
    files = hostile.files()
    shown = [file for file in files if file.shows is not None]
    outcomes, slowest = {}, 0.0
    for k, file in enumerate(files):
        name = f"{CLASSES[k % 2]}/{file.shown_name or file.name}"
        if name in skipped:
            outcomes[file.name] = NAMED if file.reason and file.reason in skipped[name] else ERROR
        else:
            outcomes[file.name] = judge(file, read[name], shown) if name in read else UNLISTED
        begun = time.perf_counter()
        decoding.try_decode_square(file.data, hostile.SIDE, 3)
        slowest = max(slowest, time.perf_counter() - begun)
    return outcomes, slowest


def imagefolder(folder: Path) -> Pictures:
    """ImageFolder of torchvision with its loader."""
    from torchvision.datasets import ImageFolder

    found = ImageFolder(str(folder))
    return {path: partial(lambda i: np.asarray(found[i][0]), i) for i, (path, _) in enumerate(found.samples)}


def timm(folder: Path) -> Pictures:
    """The dataset of timm over its folder reader."""
    import logging

    from timm.data import ImageDataset

    logging.getLogger("timm").setLevel(logging.ERROR)
    found = ImageDataset(str(folder))
    names = found.filenames(absolute=True)
    return {path: partial(lambda i: np.asarray(found[i][0]), i) for i, path in enumerate(names)}


def fastai(folder: Path) -> Pictures:
    """The image files and the PILImage that data blocks of fastai use."""
    from fastai.vision.all import PILImage, get_image_files

    return {str(path): partial(lambda p: np.asarray(PILImage.create(p)), path) for path in get_image_files(folder)}


PEERS = {"imagefolder": (imagefolder, "torchvision"), "timm": (timm, "timm"), "fastai": (fastai, "fastai")}


def judge(file: hostile.Hostile, got: np.ndarray, others: Iterable[hostile.Hostile]) -> str:
    """What it means that a reader gave these pixels for this file."""
    if file.shows is not None and _same(got, file.shows, file.tolerance):
        return RIGHT
    if any(one is not file and _same(got, one.shows, one.tolerance) for one in others) or not _is_readable(file.data):
        return REPLACED
    return OTHER if file.shows is not None else DAMAGED


def _is_readable(data: bytes) -> bool:
    """Whether Pillow alone gives any pixels; whoever has pixels for the others has them from elsewhere."""
    try:
        Image.open(io.BytesIO(data)).convert("RGB")
    except Exception:  # a decoder may raise anything at hostile bytes
        return False
    return True


def _same(got: np.ndarray, meant: np.ndarray, tolerance: int) -> bool:
    return got.shape == meant.shape and bool(np.abs(got.astype(int) - meant).max() <= tolerance)


def ask(name: str, folder: Path) -> tuple[dict[str, str], float]:
    """Outcome of each file with one of PEERS, and the seconds of its slowest one."""
    warnings.simplefilter("ignore")
    files = hostile.files()
    found = PEERS[name][0](folder)
    below = {str(Path(path).relative_to(folder)): read for path, read in found.items()}
    shown = [file for file in files if file.shows is not None]
    outcomes, slowest = {}, 0.0
    for k, file in enumerate(files):
        read = below.get(f"{CLASSES[k % 2]}/{file.name}")
        if read is None:
            outcomes[file.name] = UNLISTED
            continue
        begun = time.perf_counter()
        try:
            outcomes[file.name] = judge(file, read(), shown)
        except Exception:  # whatever it is, it reaches the loop that asked
            outcomes[file.name] = ERROR
        slowest = max(slowest, time.perf_counter() - begun)
    return outcomes, slowest


def table(rows: Sequence[Row]) -> str:
    """Markdown, one column for each loader, from rows of results.json.

    Raises:
        ValueError: none of them is of this benchmark.
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
    """Ask every loader that is installed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "files")
        total = len(lay(folder))
        outcomes, slowest = ours(folder)
        found = Counter(outcomes.values())
        rows = [row(f"{PREFIX}ours", "files", found[RIGHT] + found[NAMED], "-", 1, files=total,
                    outcomes=dict(found), slowest=round(slowest, 4))]  # fmt: skip
        for name, (_, package) in PEERS.items():
            if version(package) is None:
                print(f"{package} is not here, so it is left out (make bench brings it)", flush=True)
                continue
            with own_process() as process:
                outcomes, slowest = process(ask, name, folder)
            found = Counter(outcomes.values())
            rows.append(row(f"{PREFIX}{name}", "files", rows[0]["ours"], "-", 1, peer=found[RIGHT],
                            peer_name=f"{package} {version(package)}", outcomes=dict(found), slowest=round(slowest, 4),
                            which={what: _named(outcomes, what) for what in OUTCOMES[2:]}))  # fmt: skip
    return rows


def main() -> None:
    """Ask and record, unless only the table is wanted; print it."""
    asked = arguments(__doc__, runs=None, table=True)
    if not asked.table:
        report(compare(), asked.out)
    try:
        print(table(json.loads(asked.out.read_text(encoding="utf-8"))["rows"]))
    except ValueError as error:
        raise SystemExit(str(error)) from None


def _named(outcomes: Mapping[str, str], what: str) -> list[str]:
    return [ascii(name)[1:-1][:40] for name, found in outcomes.items() if found == what]


if __name__ == "__main__":
    main()
