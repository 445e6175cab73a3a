"""The device that computes, and the precision of its matrix products: bfloat16 or float32."""

import os
from contextlib import AbstractContextManager
from functools import cache

import torch

from imgcls.messages import did_you_mean

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device() -> torch.device:
    """CUDA, then Apple's MPS, then the CPU; the variable `IMGCLS_DEVICE` (as set by `--device`) forces one.

    Raises:
        ValueError: there is no such device here.
    """
    if forced := os.environ.get("IMGCLS_DEVICE"):
        try:
            torch.empty(1, device=forced)
        except (RuntimeError, AssertionError) as error:  # AssertionError: a PyTorch that was built without it
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"there is no device {forced!r} here ({reason}); choose cpu, cuda, cuda:1 or mps, or leave it out"
            ) from error
        return torch.device(forced)
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
