"""Mutated files through the decoder: how many crash it, how long the worst takes, how much memory it needs.

python -m benchmarks.fuzz [--images 10000] [--seconds 900] [--seed 0] [--data cats-dogs.zip] [--out FILE]

Files are photographs of the archive where it is there, and generated ones in every format. Batches run in processes of
their own, as small as the one that decodes for a data set, so that a crash is told from a reason and memory is theirs.
Times are processor time: a machine that does other things as well does not count.
"""

import argparse
import faulthandler
import json
import re
import resource
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import hostile
from imgcls.data import decoding

BATCH, SIZE = 500, 64
PHOTOS = 200  # of the archive that are mutated
SECONDS, MEBIBYTES = 1, 500  # that no file may reach
HANGS = 30  # seconds of one file after which its process is ended
SHARE_OF_PHOTOS = 0.5
ODD = (0, 1, 0x7F, 0x80, 0xFF)  # bytes that limits and signs are made of


def originals(archive: Path | None) -> tuple[list[bytes], list[bytes]]:
    """Photographs, and generated pictures in every format and mode; the former are empty without an archive."""
    photos = []
    if archive is not None and archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]
            photos = [packed.read(name) for name in names[:: max(1, len(names) // PHOTOS)][:PHOTOS]]
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    large = [hostile.encode(pixels, kind) for kind in decoding.FORMATS]
    large.append(hostile.encode(pixels, "TIFF", compression="tiff_lzw"))
    large.append(hostile.encode(pixels, "JPEG", progressive=True))
    return photos, large + [file.data for file in hostile.files() if file.shows is not None]


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to four faults, as broken disks and broken minds make them."""
    spoilt = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        size = len(spoilt)
        if size < 16:
            break
        # Half of the faults hit the first bytes, where sizes and formats stand.
        at = int(rng.integers(0, min(size, 128) if rng.random() < 0.5 else size))
        length = int(min(rng.integers(1, 64), size - at))
        match rng.integers(0, 8):
            case 0:
                spoilt[at] ^= 1 << rng.integers(8)
            case 1:
                spoilt[at] = int(rng.choice(ODD))
            case 2:  # a number of two or four bytes, such as a width
                width = int(rng.choice([2, 4]))
                spoilt[at : at + width] = bytes([int(rng.choice(ODD))]) * width
            case 3:
                spoilt[at : at + length] = rng.bytes(length)
            case 4:
                del spoilt[at:]
            case 5:
                del spoilt[at : at + length]
            case 6:
                spoilt[at:at] = spoilt[at : at + length] * int(rng.integers(1, 40))
            case 7:
                start = int(rng.integers(0, len(other)))
                spoilt[at:at] = other[start : start + 256]
    return _with_checksums(spoilt) if rng.random() < 0.5 else bytes(spoilt)


def _with_checksums(data: bytearray) -> bytes:
    """The blocks of a PNG with sums that hold, so that faults reach what reads them; other files as they are."""
    at = 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def campaign(photos: Sequence[bytes], others: Sequence[bytes], first: int, count: int, seed: int) -> dict[str, Any]:
    """Decode cases first … first + count, each a function of (seed, case) alone.

    Returns:
        read, skipped {reason without its numbers: how often}, slowest (seconds of processor time) and slowest_case.
    """
    warnings.simplefilter("ignore")
    skipped: Counter[str] = Counter()
    read, slowest, slowest_case = 0, 0.0, first
    decoding.try_decode_square(others[0], SIZE, 3)  # plugins load with the first picture
    for case in range(first, first + count):
        rng = np.random.default_rng([seed, case])
        group = photos if photos and rng.random() < SHARE_OF_PHOTOS else others
        data, other = group[rng.integers(len(group))], others[rng.integers(len(others))]
        data = mutate(data, other, rng)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        begun = time.thread_time()
        answer = decoding.try_decode_square(data, SIZE, 3)
        taken = time.thread_time() - begun
        faulthandler.cancel_dump_traceback_later()
        if isinstance(answer, str):
            skipped[re.sub(r"[\d,]+", "N", answer).partition(": ")[0]] += 1
        else:
            assert len(answer[0]) == SIZE * SIZE * 3, case
            read += 1
        if taken > slowest:
            slowest, slowest_case = taken, case
    return {"read": read, "skipped": dict(skipped), "slowest": slowest, "slowest_case": slowest_case}


def in_batches(archive: Path, images: int, seed: int, seconds: float) -> dict[str, Any]:
    """All cases, or as many as the time allows, a process for each batch."""
    total: dict[str, Any] = {
        "files": 0,
        "read": 0,
        "skipped": Counter(),
        "slowest": 0.0,
        "slowest_case": 0,
        "peak": 0.0,
        "crashes": [],
    }
    begun = time.monotonic()
    while total["files"] < images and time.monotonic() - begun < seconds:
        first, count = total["files"], min(BATCH, images - total["files"])
        command = [sys.executable, "-m", "benchmarks.fuzz", "--child", str(first), str(count), "--seed", str(seed)]
        done = subprocess.run([*command, "--data", str(archive)], capture_output=True, text=True, errors="replace")
        total["files"] += count
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            total["crashes"].append(f"cases {first} to {first + count - 1}, code {done.returncode}: {last[0]}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        total["read"] += found["read"]
        total["skipped"].update(found["skipped"])
        total["peak"] = max(total["peak"], found["peak"])
        if found["slowest"] > total["slowest"]:
            total |= {"slowest": found["slowest"], "slowest_case": found["slowest_case"]}
        print(f"  {total['files']:,} files: {total['read']:,} read, {len(total['crashes'])} batches crashed, slowest "
              f"{total['slowest']:.2f} s, {total['peak']:.0f} MB", flush=True)  # fmt: skip
    return total


def peak_memory() -> float:
    """MiB that this process ever held; Linux counts what its parent held before it started into ru_maxrss."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> int:
    """Run, print, record; 1 if anything crashed, took too long or too much memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        found = campaign(*originals(asked.data), *asked.child, asked.seed)
        print(json.dumps(found | {"peak": peak_memory()}))
        return 0

    from benchmarks.measure import SHARED  # with PyTorch, which the small processes do without
    from benchmarks.record import RESULTS, report, row

    archive = asked.data or SHARED / "cats-dogs.zip"
    archive = archive / "cats-dogs.zip" if archive.is_dir() else archive
    found = in_batches(archive, asked.images, asked.seed, asked.seconds)
    more = {
        "files": found["files"],
        "read": found["read"],
        "skipped": dict(found["skipped"].most_common()),
        "photographs": archive.is_file(),
        "seed": asked.seed,
    }
    rows = [
        row("fuzz_batches_crashed", "batches", len(found["crashes"]), "0", 1, **more),
        row("fuzz_slowest_file", "s", found["slowest"], f"< {SECONDS}", 1, case=found["slowest_case"]),
        row("fuzz_peak_memory", "MiB", found["peak"], f"< {MEBIBYTES}", 1),
    ]
    report(rows, asked.out or RESULTS)
    for crash in found["crashes"]:
        print(crash, file=sys.stderr)
    return bool(found["crashes"]) or found["slowest"] >= SECONDS or found["peak"] >= MEBIBYTES


if __name__ == "__main__":
    sys.exit(main())
