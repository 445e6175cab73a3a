"""What a model measures instead of learning it, normalisation and whitening, kept in its checkpoint."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK_BYTES = 1 << 22  # bytes of one channel read at once while measuring
SAMPLE = 5000  # images at most that a layer behind the normalisation is fitted to


class Normalize(nn.Module):
    """Maps `uint8` (or floats in [0, 1]) to zero mean and unit deviation per channel.

    Until `fit` or `set_statistics` is called the buffers are 0 and 1, which passes [0, 1] through.

    Shapes: (N, C, H, W) to float (N, C, H, W) in channels-last memory format.
    Buffers: `mean` and `std` (C,) in [0, 1] units; `fitted` (bool) says whether they were ever set.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("fitted", torch.tensor(False))

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
    def fit(self, images: Tensor) -> Self:
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
        self.fitted.fill_(True)
        return self

    def inverse(self, x: Tensor) -> Tensor:
        """Undo the normalisation: (N, C, H, W) back to floats in [0, 1], not clamped."""
        return x * self.std[:, None, None] + self.mean[:, None, None]

    def extra_repr(self) -> str:
        """Show the statistics, once there are any, in the model's repr."""
        if self.mean.is_meta or not self.fitted:
            return f"channels={len(self.mean)}, not measured"
        return ", ".join(f"{k}={[round(v, 4) for v in getattr(self, k).tolist()]}" for k in ("mean", "std"))


class Whitening(nn.Conv2d):
    """A first convolution whose filters are measured: the principal components of small patches, and their negatives.

    Each is scaled so that its answers have a variance of one, those to noise less; behind a rectifier, a component and
    its negative together lose nothing. The filters are a buffer and never train, the bias does. Until `fit` is
    called they are random. Used by Page (2018, "How to Train Your ResNet") and by Jordan (2024, arXiv:2404.00498).

    Shapes: (N, C, H, W) to (N, 2 C k², H - k + 1, W - k + 1).
    Buffers: `weight`; `fitted` (bool) says whether it was.
    """

    def __init__(self, channels: int = 3, kernel_size: int = 2) -> None:
        super().__init__(channels, 2 * channels * kernel_size**2, kernel_size)
        filters = self.weight.detach()
        del self.weight
        self.register_buffer("weight", filters)
        self.register_buffer("fitted", torch.tensor(False))
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor, floor: float = 5e-4) -> Self:
        """Set the filters from the patches of some images.

        Args:
            images: (N, C, H, W) as they come out of normalisation; a few thousand do.
            floor: Added to the variance of each component before it is divided by its root.
        """
        patches = F.unfold(images.float(), self.kernel_size).transpose(1, 2).flatten(0, 1)  # (patches, C k²)
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))  # smallest first
        filters = (components / (variances.clamp(min=0) + floor).sqrt()).T.flip(0).reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))
        self.fitted.fill_(True)
        return self


def initialize_from_data(model: nn.Module, images: Tensor) -> None:
    """Fit what a model takes from the training images instead of learning it, unless it was fitted before.

    `model.normalize` is fitted to all images; then every other module with `fit` and a `fitted` flag, such as
    `Whitening`, to normalised images at even distances. Does nothing to a model without `normalize`.

    Args:
        model: From `create_model`.
        images: `uint8` (N, C, H, W), the training split and nothing else.
    """
    normalize = getattr(model, "normalize", None)
    if normalize is None:
        return
    if not normalize.fitted:
        normalize.fit(images)
    for module in model.modules():
        if not getattr(module, "fitted", True):
            module.fit(normalize(images[:: -(-len(images) // SAMPLE)]))


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
