"""Cache of decoded or rendered images, mapped into memory: one folder CACHE/FINGERPRINT-SIZE-CHANNELS per data set.

The fingerprint is that of the files, with the way in which they become square unless it is "crop".
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from imgcls.data.sources import SkippedFile
from imgcls.files import open_atomic

FORMAT = 4  # increase when the same files give other pixels or another index
GATHER_IN_MEMORY = 4 * 2**30  # bytes; a larger selection of rows is written to a file and mapped
ABANDONED = 24 * 3600  # seconds after which an unfinished folder is a leftover of a killed process
CHECKED_BYTES = 32 * 2**20  # bytes of pixels whose checksum is compared on every read


@dataclass(frozen=True)
class Stored:
    """Content of a cache folder; `images` and `masks` are mapped, one row for every name."""

    folder: Path
    images: np.ndarray  # uint8 (rows, C, H, W)
    masks: np.ndarray | None  # bool (rows, H, W)
    rows: np.ndarray  # row of each name in images and masks
    names: tuple[str, ...]
    sizes: np.ndarray | None  # (names, 2) original width and height
    skipped: tuple[SkippedFile, ...]
    unread: tuple[SkippedFile, ...]  # given splits, and classes of one, of which no image could be decoded

    def gather(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images and masks of some of the names: a view where they are adjacent, else a copy."""
        rows = self.rows[indices]
        return self._gather(self.images, rows), None if self.masks is None else self._gather(self.masks, rows)

    def _gather(self, array: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        if len(rows) and (np.diff(rows) == 1).all():
            return torch.from_numpy(array[rows[0] : rows[-1] + 1])
        if array[:1].nbytes * len(rows) <= GATHER_IN_MEMORY:
            return torch.from_numpy(array[rows])
        key = hashlib.sha256(rows.tobytes() + array.dtype.str.encode()).hexdigest()[:16]
        path = self.folder / f"selection-{key}.npy"
        if not path.exists():
            header = {"descr": array.dtype.str, "fortran_order": False, "shape": (len(rows), *array.shape[1:])}
            with open_atomic(path) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, len(rows), 1024):
                    file.write(array[rows[start : start + 1024]].data)
        return torch.from_numpy(np.load(path, mmap_mode="c"))


def read_cache(cache: Path, fingerprint: str, image_size: int, channels: int) -> Stored | None:
    """Map the images stored for a fingerprint; None if they are missing, incomplete or in another format."""
    folder, header = _location(cache, fingerprint, image_size, channels)
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if any(index[key] != value for key, value in header.items()):
            return None
        # Copy-on-write: writing to a tensor cannot change the cache.
        images = np.load(folder / "images.npy", mmap_mode="c")
        masks = np.load(folder / "masks.npy", mmap_mode="c") if index["masks"] else None
        names, rows = tuple(index["names"]), np.array(index["rows"], dtype=np.int64)
        if len(names) != len(rows) or _checksum(images) != index["checksum"]:
            return None
        sizes = None if index["sizes"] is None else np.array(index["sizes"], dtype=np.int64).reshape(-1, 2)
        skipped, unread = (tuple(SkippedFile(*file) for file in index[key]) for key in ("skipped", "unread"))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return Stored(folder, images, masks, rows, names, sizes, skipped, unread)


def write_cache(cache: Path, fingerprint: str, image_size: int, channels: int, fill: Callable[[Path], dict]) -> Stored:
    """Build a temporary folder, in which `fill` writes the arrays and returns the index, then rename it."""
    folder, header = _location(cache, fingerprint, image_size, channels)
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob(".building-*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > ABANDONED:
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".building-", ignore_cleanup_errors=True) as aside:
        building = Path(aside, folder.name)
        building.mkdir()
        index = {**header, **fill(building)}
        index["checksum"] = _checksum(np.load(building / "images.npy", mmap_mode="r"))
        with open_atomic(building / "index.json", sync=True) as file:
            file.write(json.dumps(index).encode())  # ten times as fast as json.dump, which encodes in Python
        if read_cache(cache, fingerprint, image_size, channels) is None:  # else another process was faster
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                building.rename(folder)
    stored = read_cache(cache, fingerprint, image_size, channels)
    if stored is None:
        raise OSError(f"the cache {folder} could not be written; remove it, check the disk and try again")
    return stored


def _location(cache: Path, fingerprint: str, image_size: int, channels: int) -> tuple[Path, dict[str, str | int]]:
    """The folder, and the entries that identify its index."""
    header = {"format": FORMAT, "image_size": image_size, "channels": channels, "fingerprint": fingerprint}
    return cache / f"{fingerprint}-{image_size}-{channels}", header


def _checksum(images: np.ndarray) -> int:
    """CRC of evenly spaced rows: all rows of a small file, enough of a large file to detect damage."""
    count = max(1, min(len(images), CHECKED_BYTES // max(1, images[:1].nbytes)))
    rows = np.linspace(0, len(images) - 1, count).astype(np.int64)
    return zlib.crc32(np.ascontiguousarray(images if count == len(images) else images[rows]).data)


def create_array(path: Path, shape: tuple[int, ...], dtype: np.dtype | type) -> np.memmap:
    """A new .npy file in a folder that is being built, mapped for writing, with its space on the disk reserved.

    Raises:
        OSError: the disk is too small; the message says how much is needed.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk must raise here, not crash while writing to the map
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raise OSError(
            error.errno,
            f"no space for {needed / 2**20:,.0f} MB of images in {path.parents[2]}; free some space",
        ) from error
    return array
