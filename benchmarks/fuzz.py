"""Fuzz the decoder with mutated files: number of crashes, longest time and peak memory.

python -m benchmarks.fuzz [--images 10000] [--seconds 900] [--seed 0] [--data cats-dogs.zip] [--out FILE]

Files are photographs of the archive, if it exists, and generated ones in every format. Each batch runs in its own
process, which imports no more than a decoding process does: this isolates crashes and measures memory. Times are
processor time, so other load on the machine does not matter.
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

from benchmarks import malformed
from imgcls.data import decoding

BATCH, SIZE = 500, 64
PHOTOS = 200  # number of photographs taken from the archive
SECONDS, MEBIBYTES = 1, 500  # limits that no file may reach
HANGS = 30  # seconds spent on one file before its process is killed
SHARE_OF_PHOTOS = 0.5
ODD = (0, 1, 0x7F, 0x80, 0xFF)  # byte values at limits and sign changes


def originals(archive: Path | None) -> tuple[list[bytes], list[bytes]]:
    """Photographs (none without an archive), and generated images in every format and mode."""
    photos = []
    if archive is not None and archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]
            photos = [packed.read(name) for name in names[:: max(1, len(names) // PHOTOS)][:PHOTOS]]
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    large = [malformed.encode(pixels, kind) for kind in decoding.FORMATS]
    large.append(malformed.encode(pixels, "TIFF", compression="tiff_lzw"))
    large.append(malformed.encode(pixels, "JPEG", progressive=True))
    return photos, large + [file.data for file in malformed.files() if file.pixels is not None]


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Add one to four faults to a file, such as flipped bits, lost blocks and false sizes."""
    spoilt = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        size = len(spoilt)
        if size < 16:
            break
        # Half of the faults hit the first bytes, which hold format and size.
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
    """Correct the checksums of a PNG, so that faults reach its chunk parsers; other files stay unchanged."""
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
        read, skipped {reason without its numbers: count}, slowest (seconds of processor time) and slowest_case.
    """
    warnings.simplefilter("ignore")
    skipped: Counter[str] = Counter()
    read, slowest, slowest_case = 0, 0.0, first
    decoding.try_decode_square(others[0], SIZE, 3, "crop")  # the first image loads the plugins
    for case in range(first, first + count):
        rng = np.random.default_rng([seed, case])
        group = photos if photos and rng.random() < SHARE_OF_PHOTOS else others
        data, other = group[rng.integers(len(group))], others[rng.integers(len(others))]
        data = mutate(data, other, rng)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        begun = time.thread_time()
        result = decoding.try_decode_square(data, SIZE, 3, "crop")
        taken = time.thread_time() - begun
        faulthandler.cancel_dump_traceback_later()
        if isinstance(result, str):
            skipped[re.sub(r"[\d,]+", "N", result).partition(": ")[0]] += 1
        else:
            assert len(result[0]) == SIZE * SIZE * 3, case
            read += 1
        if taken > slowest:
            slowest, slowest_case = taken, case
    return {"read": read, "skipped": dict(skipped), "slowest": slowest, "slowest_case": slowest_case}


def in_batches(archive: Path, images: int, seed: int, seconds: float) -> dict[str, Any]:
    """Run all cases, or as many as the time allows, one process per batch."""
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
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
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
    """Peak memory of this process in MiB; on Linux, ru_maxrss would include memory of its parent."""
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
    args = parser.parse_args()
    if args.child:
        found = campaign(*originals(args.data), *args.child, args.seed)
        print(json.dumps(found | {"peak": peak_memory()}))
        return 0

    from benchmarks.measure import SHARED  # these import PyTorch, which child processes do without
    from benchmarks.record import RESULTS, report, row

    archive = args.data or SHARED / "cats-dogs.zip"
    archive = archive / "cats-dogs.zip" if archive.is_dir() else archive
    found = in_batches(archive, args.images, args.seed, args.seconds)
    more = {
        "files": found["files"],
        "read": found["read"],
        "skipped": dict(found["skipped"].most_common()),
        "photographs": archive.is_file(),
        "seed": args.seed,
    }
    rows = [
        row("fuzz_batches_crashed", "batches", len(found["crashes"]), "0", 1, **more),
        row("fuzz_slowest_file", "s", found["slowest"], f"< {SECONDS}", 1, case=found["slowest_case"]),
        row("fuzz_peak_memory", "MiB", found["peak"], f"< {MEBIBYTES}", 1),
    ]
    report(rows, args.out or RESULTS)
    for crash in found["crashes"]:
        print(crash, file=sys.stderr)
    return bool(found["crashes"]) or found["slowest"] >= SECONDS or found["peak"] >= MEBIBYTES


if __name__ == "__main__":
    sys.exit(main())
