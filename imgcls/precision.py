"""The device that computes, and the precision of its matrix products: bfloat16, float16 or float32."""

import os
from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor

from imgcls.messages import UserError, did_you_mean

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device() -> torch.device:
    """CUDA, then Apple's MPS, then the CPU; the variable `IMGCLS_DEVICE` (as set by `--device`) forces one.

    Raises:
        ValueError: there is no such device here.
    """
    if forced := os.environ.get("IMGCLS_DEVICE"):
        try:
            device = torch.empty(1, device=forced).device
            reason = "" if device.type in ("cpu", "cuda", "mps") else "training does not run on this type"
        except (RuntimeError, AssertionError) as error:  # AssertionError: a PyTorch that was built without it
            reason = str(error).partition("\n")[0]
        if reason:
            raise UserError(
                f"there is no device {forced!r} here ({reason}); choose cpu, cuda, cuda:1 or mps, or leave it out"
            )
        return torch.device(forced)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_precision(device: torch.device | None = None) -> torch.dtype:
    """bfloat16 where the hardware computes in it, else float32; the variable `IMGCLS_PRECISION` forces one.

    Such hardware is a CPU with AMX or AVX512-BF16, or a CUDA device of compute capability 8.0 or higher. CUDA devices
    from 7.0 on (V100, T4) have tensor cores for float16.

    Raises:
        ValueError: `IMGCLS_PRECISION` is not one of PRECISIONS.
    """
    forced = os.environ.get("IMGCLS_PRECISION")
    if forced:
        if forced not in PRECISIONS:
            raise UserError(f"IMGCLS_PRECISION={forced} is unknown; {did_you_mean(forced, PRECISIONS)}")
        return PRECISIONS[forced]
    device = device or pick_device()
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)  # is_bf16_supported() also counts emulation
        if capability >= (8, 0):
            return torch.bfloat16
        return torch.float16 if capability >= (7, 0) else torch.float32
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


def make_scaler(device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss so that float16 gradients do not vanish; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=pick_precision(device) == torch.float16)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device, without waiting for it: CUDA copies only from pinned memory while it computes."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory(device).to(device, non_blocking=True)
    return values.to(device)
