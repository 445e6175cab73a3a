"""Many image files decoded in parallel, into one array."""

import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import PIL

from imgcls.data import decoding
from imgcls.data.cache import create_array
from imgcls.data.sources import Member, Source
from imgcls.progress import transient_progress
from imgcls.reproducibility import cpu_count

CHUNK_FILES, CHUNK_BYTES = (16, 256), 8 * 2**20  # files (minimum, maximum) and bytes that a process gets at a time
# Without `site`, which takes longer to start than Pillow; `decoding` must not shadow the standard library.
DECODER = "import sys; sys.path += sys.argv[1:]; import decoding; decoding.main()"
IN_PROCESS = 256  # up to this number of files, one thread finishes before processes would have started

Decoder = Callable[[list[bytes]], list]  # contents of files to try_decode_square results


def decode_into(
    folder: Path, source: Source, entries: Sequence[tuple[str, Member]], image_size: int, channels: int, resize: str
) -> dict:
    """Decode (name, member) pairs into folder/images.npy and return the index, sorted by name.

    One thread decodes in this process and starts at once; the others send files to decoding processes. A small image
    needs as much Python as decoding, so threads would wait for each other (`make bench`, decode). The processes run
    `decoding` alone. Unlike a fork they are safe beside running threads; unlike spawned workers they do not import the
    user's script a second time.
    """
    row_of = {member: row for row, (_, member) in enumerate(sorted(entries, key=lambda entry: entry[0]))}
    names = sorted(name for name, _ in entries)
    members = [member for member in source.members if member in row_of]
    images = create_array(folder / "images.npy", (len(names), channels, image_size, image_size), np.uint8)
    sizes = np.zeros((len(names), 2), dtype=np.int64)
    reasons: dict[int, str] = {}
    workers = cpu_count() if len(members) > IN_PROCESS else 1
    lock = threading.Lock()
    chunks = _chunks(source, members, 3 * workers)

    def work(own_process: bool) -> None:
        with _decoder(own_process, (image_size, channels, resize)) as decode:
            while True:
                with lock:
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                results = decode([data for _, data in chunk])
                for (member, _), result in zip(chunk, results, strict=True):
                    row = row_of[member]
                    if isinstance(result, str):
                        reasons[row] = result
                    else:
                        images[row], sizes[row] = planes(result[0], image_size, channels), result[1]
                with lock:
                    advance(len(chunk))

    total = len(members)
    progress = transient_progress(total, lambda done: f"decoding: {done:,} of {total:,} images")
    with progress as advance, ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(work, own_process=k > 0) for k in range(workers)]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:  # Ctrl-C too: the other threads stop after their current chunk
            with lock:
                chunks.close()
            raise
    images.flush()
    rows = [row for row in range(len(names)) if row not in reasons]
    member_names = {row: member.name for member, row in row_of.items()}
    return {
        "names": [names[row] for row in rows],
        "rows": rows,
        "sizes": sizes[rows].tolist(),
        "masks": False,
        "skipped": sorted([member_names[row], reason] for row, reason in reasons.items()),
        "unread": [],
    }


def planes(pixels: bytes, image_size: int, channels: int) -> np.ndarray:
    """The pixels of `decoding.decode_square` as uint8 (C, H, W)."""
    return np.frombuffer(pixels, np.uint8).reshape(image_size, image_size, channels).transpose(2, 0, 1)


def _chunks(source: Source, members: Sequence[Member], parts: int) -> Iterator[list[tuple[Member, bytes]]]:
    """Files with their content, `1 / parts` of the rest at a time, limited by CHUNK_FILES and CHUNK_BYTES.

    The last chunks are small, so that all threads end at about the same time.
    """
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
def _decoder(own_process: bool, shape: tuple[int, int, str]) -> Iterator[Decoder]:
    """A function that decodes files to this (image_size, channels, resize), here or in a process of its own."""
    if not own_process:
        yield lambda files: [decoding.try_decode_square(data, *shape) for data in files]
        return
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-S", "-c", DECODER, Path(decoding.__file__).parent, Path(PIL.__file__).parents[1]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )

        def decode(files: list[bytes]) -> list:
            try:
                pickle.dump((*shape, files), process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                return pickle.load(process.stdout)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                code = process.wait()
                errors.seek(0)
                text = errors.read().decode(errors="replace").strip()[-1000:] or "no error output"
                raise RuntimeError(f"a decoding process ended with code {code}: {text}") from error

        try:
            yield decode
        finally:
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            process.wait()
