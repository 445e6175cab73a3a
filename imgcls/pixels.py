"""Statistics of `uint8` pixels that both data and models need."""

import torch
from torch import Tensor


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Exact mean and standard deviation (biased) of each channel over all pixels, read in chunks.

    Shapes: `uint8` (N, C, H, W), a memory map is fine, to float64 (C,) twice on the CPU, in units of [0, 1].
    """
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for chunk in images.split(1024):
        for c in range(channels):
            counts[c] += torch.bincount(chunk[:, c].flatten(), minlength=256).cpu()
    levels = torch.arange(256)
    pixels = images.numel() // channels
    mean = (counts @ levels).double() / pixels
    std = ((counts @ levels**2).double() / pixels - mean**2).clamp(min=0).sqrt()
    return mean / 255, std / 255
