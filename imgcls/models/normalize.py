"""Normalisation as the model's first module, with statistics that travel in its checkpoint."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

CHUNK_BYTES = 1 << 22  # bytes of one channel read at once while measuring


class Normalize(nn.Module):
    """Maps `uint8` (or floats in [0, 1]) to zero mean and unit deviation per channel.

    Until `measure` or `set_statistics` is called the buffers are 0 and 1, which passes [0, 1] through.

    Shapes: (N, C, H, W) to float (N, C, H, W) in channels-last memory format.
    Buffers: `mean` and `std` (C,) in [0, 1] units; `measured` (bool) says whether they were ever set.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("measured", torch.tensor(False))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise a batch; raises ValueError on a wrong shape and TypeError on a wrong dtype."""
        channels = len(self.mean)
        if images.ndim != 4 or images.shape[1] != channels:
            raise ValueError(
                f"the model takes images of shape (N, {channels}, H, W), not {tuple(images.shape)}; "
                "one image needs images[None], another channel count needs create_model(in_channels=...)"
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise TypeError(f"the model takes uint8 images or floats in [0, 1], not {images.dtype}")
        top = 255 if images.dtype == torch.uint8 else 1
        scale = 1 / (top * self.std)[:, None, None]
        shift = -(self.mean / self.std)[:, None, None]
        x = images.to(self.mean.dtype, memory_format=torch.channels_last)
        return torch.addcmul(shift, x, scale).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def measure(self, images: Tensor) -> Self:
        """Set the buffers to the exact statistics of `images`, read in chunks (a memory map is fine).

        Args:
            images: `uint8` (N, C, H, W), the training split and nothing else.

        Raises:
            ValueError: `images` is not `uint8`, has another channel count or is empty.
        """
        channels = len(self.mean)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != channels or not len(images):
            raise ValueError(
                f"measure takes uint8 images of shape (N, {channels}, H, W) with N > 0, "
                f"not {images.dtype} of shape {tuple(images.shape)}"
            )
        counts = np.stack([_histogram(images[:, c]) for c in range(channels)])  # (C, 256)
        levels = np.arange(256)
        total, squares = counts @ levels, counts @ levels**2
        n = images.numel() // channels
        mean = total / n
        variance = squares / n - mean**2
        return self.set_statistics(mean / 255, np.sqrt(variance) / 255)

    @torch.no_grad()
    def set_statistics(self, mean: Sequence[float] | np.ndarray, std: Sequence[float] | np.ndarray) -> Self:
        """Set the buffers by hand, in [0, 1] units; a constant channel gets a deviation of one grey level."""
        self.mean.copy_(torch.as_tensor(mean))
        self.std.copy_(torch.as_tensor(std).clamp(min=1 / 255))
        self.measured.fill_(True)
        return self

    def inverse(self, x: Tensor) -> Tensor:
        """Undo the normalisation: (N, C, H, W) back to floats in [0, 1], not clamped."""
        return x * self.std[:, None, None] + self.mean[:, None, None]

    def extra_repr(self) -> str:
        """Show the statistics, once there are any, in the model's repr."""
        if self.mean.is_meta or not self.measured:
            return f"channels={len(self.mean)}, not measured"
        return ", ".join(f"{k}={[round(v, 4) for v in getattr(self, k).tolist()]}" for k in ("mean", "std"))


def _histogram(images: Tensor) -> np.ndarray:
    """Count the grey levels of `uint8` images (N, H, W), two pixels at a time: half the work of one by one."""
    pairs = np.zeros(1 << 16, dtype=np.int64)
    padding = 0
    for chunk in images.split(max(1, CHUNK_BYTES // images[0].numel())):
        pixels = chunk.cpu().reshape(-1).numpy()
        if pixels.size % 2:
            pixels, padding = np.append(pixels, np.uint8(0)), padding + 1
        pairs += np.bincount(pixels.view(np.uint16), minlength=1 << 16)
    table = pairs.reshape(256, 256)
    counts = table.sum(0) + table.sum(1)
    counts[0] -= padding
    return counts
