"""Random seeds, the choice of device and precision, and the record of the environment of a result."""

import ctypes
import hashlib
import os
import platform
import subprocess
from contextlib import AbstractContextManager
from functools import cache

import torch

from imgcls import paths
from imgcls.messages import did_you_mean

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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


def pick_device() -> torch.device:
    """CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_precision(device: torch.device | None = None) -> torch.dtype:
    """bfloat16 where the hardware computes in it, else float32; the variable `IMGCLS_PRECISION` forces either.

    Such hardware is a CPU with AMX or AVX512-BF16, or a CUDA device of compute capability 8.0 or higher.

    Raises:
        ValueError: `IMGCLS_PRECISION` is neither "float32" nor "bfloat16".
    """
    forced = os.environ.get("IMGCLS_PRECISION")
    if forced:
        if forced not in PRECISIONS:
            raise ValueError(f"IMGCLS_PRECISION={forced} is unknown; {did_you_mean(forced, PRECISIONS)}")
        return PRECISIONS[forced]
    device = device or pick_device()
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)  # is_bf16_supported() also counts emulation
    else:
        native = device.type == "cpu" and not _cpu_flags().isdisjoint(("amx_bf16", "avx512_bf16"))
    return torch.bfloat16 if native else torch.float32


@cache
def _cpu_flags() -> frozenset[str]:
    """Instruction sets of this CPU as Linux names them; empty elsewhere."""
    try:
        with open("/proc/cpuinfo") as info:  # noqa: PTH123
            line = next((line for line in info if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[2].split())


def autocast(device: torch.device | None = None) -> AbstractContextManager:
    """Mixed precision in the dtype of `pick_precision`; does nothing for float32."""
    device = device or pick_device()
    precision = pick_precision(device)
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def cpu_count() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def configure_threads() -> int:
    """Use every core this process may run on, and keep freed memory; returns the number of threads.

    glibc returns each large activation to the kernel, which maps its pages anew in the next step, a tenth of the time
    of a small network; the two thresholds of mallopt(3) prevent that (benchmark row `step_vs_default_malloc`).
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", cpu_count())))
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

    `commit` is the short hash and `dirty` whether files differ from it; both are None outside a git checkout.
    """
    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    status = _git("status", "--porcelain")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": name,
        "threads": torch.get_num_threads(),
        "precision": str(pick_precision(device)).removeprefix("torch."),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "dirty": None if status is None else bool(status),
    }
