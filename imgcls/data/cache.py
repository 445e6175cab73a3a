"""Pictures decoded once, in parallel, into a file that the next read maps into memory."""

import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from tqdm import tqdm

from imgcls.data import decoding
from imgcls.data.sources import Member, Skipped, Source

FORMAT = 2  # raise it whenever the same files would give other pixels or another index
CHUNK_FILES, CHUNK_BYTES = (16, 256), 8 * 2**20  # handed to a decoding process at a time: at least, at most
# Without `site`, which takes longer to start than Pillow, and behind the standard library, which must not be shadowed.
DECODER = "import sys; sys.path += sys.argv[1:]; import decoding; decoding.main()"
IN_PROCESS = 256  # so few files are decoded sooner than processes start
GATHER_IN_MEMORY = 4 * 2**30  # bytes; a larger selection of rows is written to a file and mapped
ABANDONED = 24 * 3600  # seconds after which nobody still builds in a folder
CHECKED_BYTES = 32 * 2**20  # of pixels, compared with their checksum on every read


@dataclass(frozen=True)
class Stored:
    """What a cache folder holds; `images` and `masks` are mapped, one row for every name."""

    folder: Path
    images: np.ndarray  # uint8 (rows, C, H, W)
    masks: np.ndarray | None  # bool (rows, H, W)
    rows: np.ndarray  # of the names, in images and masks
    names: tuple[str, ...]
    sizes: np.ndarray | None  # (names, 2) original width and height
    skipped: tuple[Skipped, ...]

    def gather(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images and masks of some of the names: a view where they lie side by side, else a copy."""
        rows = self.rows[indices]
        return self._rows(self.images, rows), None if self.masks is None else self._rows(self.masks, rows)

    def _rows(self, array: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        if len(rows) and (np.diff(rows) == 1).all():
            return torch.from_numpy(array[rows[0] : rows[-1] + 1])
        if array[:1].nbytes * len(rows) <= GATHER_IN_MEMORY:
            return torch.from_numpy(array[rows])
        key = hashlib.sha256(rows.tobytes() + array.dtype.str.encode()).hexdigest()[:16]
        path = self.folder / f"selection-{key}.npy"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=self.folder) as building:
                copy = _create(Path(building, path.name), (len(rows), *array.shape[1:]), array.dtype)
                for start in range(0, len(rows), 1024):
                    copy[start : start + 1024] = array[rows[start : start + 1024]]
                copy.flush()
                Path(building, path.name).replace(path)
        return torch.from_numpy(np.load(path, mmap_mode="c"))


def read(folder: Path, expected: dict) -> Stored | None:
    """Map a cache folder, or None if it is missing, torn or not what is expected."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if any(index[key] != value for key, value in {**expected, "format": FORMAT}.items()):
            return None
        # Copy-on-write: nobody can spoil the cache by writing to a tensor.
        images = np.load(folder / "images.npy", mmap_mode="c")
        masks = np.load(folder / "masks.npy", mmap_mode="c") if index["masks"] else None
        names, rows = tuple(index["names"]), np.array(index["rows"], dtype=np.int64)
        if len(names) != len(rows) or _checksum(images) != index["checksum"]:
            return None
        sizes = None if index["sizes"] is None else np.array(index["sizes"], dtype=np.int64).reshape(-1, 2)
        skipped = tuple(Skipped(*entry) for entry in index["skipped"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return Stored(folder, images, masks, rows, names, sizes, skipped)


def write(folder: Path, expected: dict, fill: Callable[[Path], dict]) -> Stored:
    """Build a cache folder aside, `fill` writing its arrays and returning its index, and put it in place whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(".building-*"):  # of a process that was killed
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > ABANDONED:
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-", ignore_cleanup_errors=True) as aside:
        building = Path(aside, folder.name)
        building.mkdir()
        index = {"format": FORMAT, **expected, **fill(building)}
        index["checksum"] = _checksum(np.load(building / "images.npy", mmap_mode="r"))
        with (building / "index.json").open("w", encoding="utf-8") as file:
            file.write(json.dumps(index))  # ten times as fast as json.dump, which encodes in Python
            file.flush()
            os.fsync(file.fileno())
        if read(folder, expected) is None:  # else another process was faster, and its copy is as good
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                building.rename(folder)
    stored = read(folder, expected)
    if stored is None:
        raise OSError(f"the cache {folder} could not be written; remove it, check the disk and try again")
    return stored


def _checksum(images: np.ndarray) -> int:
    """CRC of evenly spaced rows: all of a small file, enough of a large one to notice a torn or foreign one."""
    count = max(1, min(len(images), CHECKED_BYTES // max(1, images[:1].nbytes)))
    rows = np.linspace(0, len(images) - 1, count).astype(np.int64)
    return zlib.crc32(np.ascontiguousarray(images if count == len(images) else images[rows]).data)


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype | type) -> np.memmap:
    try:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk must be an error here, not a crash while writing to the map
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raise OSError(
            error.errno, f"no space for {needed / 2**20:,.0f} MB of decoded images in {path.parents[2]}; make some"
        ) from error
    return array


# ------------------------------------------------------------------ decoding


def decode_into(
    folder: Path, source: Source, entries: Sequence[tuple[str, Member]], image_size: int, channels: int
) -> dict:
    """Decode (name, member) pairs into folder/images.npy and return the index, sorted by name.

    One share of the files is decoded here, from the first moment on; the others go to processes of their own, because
    a small picture costs as much Python as decoding and threads would wait for each other. The processes run `decoding`
    alone: unlike a fork they are safe beside running threads, and unlike spawned workers they do not import the
    user's script a second time.
    """
    row_of = {member: row for row, (_, member) in enumerate(sorted(entries, key=lambda entry: entry[0]))}
    names = sorted(name for name, _ in entries)
    members = [member for member in source.members if member in row_of]
    images = _create(folder / "images.npy", (len(names), channels, image_size, image_size), np.uint8)
    sizes = np.zeros((len(names), 2), dtype=np.int64)
    reasons: dict[int, str] = {}
    workers = _cpu_count() if len(members) > IN_PROCESS else 1
    lock = threading.Lock()
    chunks = _chunks(source, members, 3 * workers)

    def work(own_process: bool) -> None:
        with _decoder(own_process) as decode:
            while True:
                with lock:
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                good = [(row_of[member], data) for member, data in chunk if not isinstance(data, str)]
                reasons.update((row_of[member], data) for member, data in chunk if isinstance(data, str))
                answers = decode(image_size, channels, [data for _, data in good])
                for (row, _), answer in zip(good, answers, strict=True):
                    if isinstance(answer, str):
                        reasons[row] = answer
                    else:
                        images[row], sizes[row] = planes(answer[0], image_size, channels), answer[1]
                with lock:
                    bar.update(len(chunk))

    with progress(len(members), "decoding") as bar, ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(work, own_process=k > 0) for k in range(workers)]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:  # Ctrl-C too: the others stop after the chunk they hold
            with lock:
                chunks.close()
            raise
    images.flush()
    rows = [row for row in range(len(names)) if row not in reasons]
    full_names = {row: member.name for member, row in row_of.items()}
    return {
        "names": [names[row] for row in rows],
        "rows": rows,
        "sizes": sizes[rows].tolist(),
        "masks": False,
        "skipped": sorted([full_names[row], reason] for row, reason in reasons.items()),
    }


def planes(pixels: bytes, image_size: int, channels: int) -> np.ndarray:
    """What `decoding.decode_square` gives, as uint8 (C, H, W)."""
    return np.frombuffer(pixels, np.uint8).reshape(image_size, image_size, channels).transpose(2, 0, 1)


def _chunks(source: Source, members: Sequence[Member], parts: int) -> Iterator[list[tuple[Member, bytes | str]]]:
    """Files with their content, `1 / parts` of what is left at a time: small ones last, so that all end together."""
    fewest, most = CHUNK_FILES
    chunk, size, left = [], 0, len(members)
    for member, data in zip(members, source.read(members), strict=True):
        chunk.append((member, data))
        size += len(data)
        if len(chunk) >= max(fewest, min(most, left // parts)) or size >= CHUNK_BYTES:
            yield chunk
            chunk, size, left = [], 0, left - len(chunk)
    if chunk:
        yield chunk


@contextmanager
def _decoder(own_process: bool) -> Iterator[Callable[[int, int, list[bytes]], list]]:
    if not own_process:
        yield lambda size, channels, files: [decoding.try_decode_square(data, size, channels) for data in files]
        return
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [sys.executable, "-P", "-S", "-c", DECODER, Path(decoding.__file__).parent, Path(PIL.__file__).parents[1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )

        def ask(size: int, channels: int, files: list[bytes]) -> list:
            try:
                pickle.dump((size, channels, files), process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                return pickle.load(process.stdout)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                code = process.wait()
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip()[-1000:] or "it said nothing"
                raise RuntimeError(f"a decoding process ended with code {code}: {said}") from error

        try:
            yield ask
        finally:
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            process.wait()


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def progress(total: int, what: str) -> tqdm:
    """One line on stderr with the time left; silent in logs and for what takes less than two seconds."""
    shown = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, desc=what, unit=" images", delay=2, leave=False, file=sys.stderr, disable=not shown)


# ------------------------------------------------------------------ generated images


def render_into(folder: Path, total: int, batches: Iterator[tuple], image_size: int, channels: int) -> dict:
    """Write generated (images, masks, labels, names), batch by batch, and return the index."""
    images = _create(folder / "images.npy", (total, channels, image_size, image_size), np.uint8)
    masks = _create(folder / "masks.npy", (total, image_size, image_size), np.bool_)
    names: list[str] = []
    with progress(total, "rendering") as bar:
        for batch_images, batch_masks, _, batch_names in batches:
            rows = slice(len(names), len(names) + len(batch_names))
            images[rows], masks[rows] = batch_images.numpy(), batch_masks.numpy()
            names.extend(batch_names)
            bar.update(len(batch_names))
    images.flush()
    masks.flush()
    return {"names": names, "rows": list(range(total)), "sizes": None, "masks": True, "skipped": []}
