"""Random seeds, threads, and the record of the environment of a result."""

import ctypes
import hashlib
import os
import platform
import subprocess
from contextlib import AbstractContextManager
from functools import cache

import psutil
import torch

from imgcls import paths
from imgcls.precision import pick_device, pick_precision

CODE = (".py", ".ipynb", ".yaml", ".toml", "Makefile")  # new files that may change a result


def derive_seed(*parts: int | str) -> int:
    """Turn any key, such as `(seed, "train", epoch, step)`, into a 63-bit seed.

    Keys that differ in one part give unrelated seeds, on every machine and in every process.
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """CPU generator whose stream depends on the key alone."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def seed_device(device: torch.device, *parts: int | str) -> None:
    """Seed the global generator of one device by a key; cheap enough for every step, unlike `torch.manual_seed`."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(derive_seed(*parts))
    else:
        getattr(torch, device.type).manual_seed(derive_seed(*parts))


def fork_rng(device: torch.device | str = "cpu") -> AbstractContextManager:
    """Restore the random state of the CPU and of this one device after the block."""
    device = torch.device(device)
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    current = torch.cuda.current_device() if device.type == "cuda" else 0
    index = current if device.index is None else device.index  # without it, PyTorch copies the state of every GPU
    return torch.random.fork_rng(devices=[index], device_type=device.type)


def cpu_count() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def configure_threads() -> int:
    """Use every core this process may run on, and keep freed memory; returns the number of threads.

    `OMP_NUM_THREADS` and an earlier `torch.set_num_threads` are respected: a number of threads that is neither that of
    the physical nor of the logical cores was chosen by somebody, since PyTorch starts with one of these.

    glibc returns each large activation to the kernel, which maps its pages anew in the next step; the two thresholds
    of mallopt(3) prevent that (measured by the benchmark row `step_vs_default_malloc`).
    """
    if torch.get_num_threads() in (psutil.cpu_count(logical=False), cpu_count()):
        wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2": 2 in nested regions
        torch.set_num_threads(int(wanted) if wanted.isdecimal() and int(wanted) else cpu_count())
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        mmap_threshold, trim_threshold = -3, -1  # constants of malloc.h
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
    return torch.get_num_threads()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(paths.ROOT), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def provenance() -> dict[str, str | int | bool | None]:
    """The environment of a result: versions, device, threads, precision, and the commit with its state.

    `commit` is the short hash and `dirty` whether files differ from it; both are None outside a git checkout. A new
    file counts if it is code: a run that was saved in the project's folder changes no result.
    """
    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    status = _git("status", "--porcelain", "--untracked-files=all")
    changed = [line.rstrip('"') for line in (status or "").splitlines()]
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": name,
        "threads": torch.get_num_threads(),
        "precision": str(pick_precision(device)).removeprefix("torch."),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "dirty": None if status is None else any(line[:2] != "??" or line.endswith(CODE) for line in changed),
    }
