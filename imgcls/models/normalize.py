"""Normalisation as the first module of every model, so that its statistics are saved with the weights."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from imgcls.messages import UserError
from imgcls.pixels import channel_statistics

SAMPLE = 5000  # maximum number of images to which a layer after the normalisation is fitted


class Normalize(nn.Module):
    """Maps `uint8` (or floats in [0, 1]) to zero mean and unit standard deviation per channel.

    Before `fit` or `set_statistics` the buffers are 0 and 1, which leaves [0, 1] unchanged.

    Shapes: (N, C, H, W) to float (N, C, H, W) in channels-last memory format.
    Buffers: `mean` and `std` (C,) in [0, 1] units; `fitted` (bool), whether they were set.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("fitted", torch.tensor(False))
        self.register_load_state_dict_pre_hook(_refuse_earlier_version)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise a batch; raises ValueError on a wrong shape and TypeError on a wrong dtype."""
        channels = len(self.mean)
        if images.ndim != 4 or images.shape[1] != channels:
            raise UserError(
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

    def fit(self, images: Tensor) -> Self:
        """Set the buffers to the exact statistics of `images`; a memory map is read in chunks.

        Args:
            images: `uint8` (N, C, H, W), of the training split only.

        Raises:
            ValueError: `images` is not `uint8`, has another channel count or is empty.
        """
        channels = len(self.mean)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != channels or not len(images):
            raise UserError(
                f"fit takes uint8 images of shape (N, {channels}, H, W) with N > 0, "
                f"not {images.dtype} of shape {tuple(images.shape)}"
            )
        return self.set_statistics(*channel_statistics(images))

    @torch.no_grad()
    def set_statistics(self, mean: float | Sequence[float] | Tensor, std: float | Sequence[float] | Tensor) -> Self:
        """Set the buffers in [0, 1] units; a constant channel gets a standard deviation of one grey level."""
        self.mean.copy_(torch.as_tensor(mean))
        self.std.copy_(torch.as_tensor(std).clamp(min=1 / 255))
        self.fitted.fill_(True)
        return self

    def inverse(self, x: Tensor) -> Tensor:
        """Undo the normalisation: (N, C, H, W) back to floats in [0, 1], not clamped."""
        return x * self.std[:, None, None] + self.mean[:, None, None]

    def extra_repr(self) -> str:
        """Show the statistics in the model's repr."""
        if self.mean.is_meta or not self.fitted:
            return f"channels={len(self.mean)}, not fitted"
        return ", ".join(f"{k}={[round(v, 4) for v in getattr(self, k).tolist()]}" for k in ("mean", "std"))


def initialize_from_data(model: nn.Module, images: Tensor) -> None:
    """Fit the modules whose buffers are measured on the training images, unless they are fitted.

    `model.normalize` is fitted to all images. Every other module with `fit` and a `fitted` flag, such as `Whitening`,
    is fitted to evenly spaced normalised images. A model without `normalize` is not changed.

    Args:
        model: From `create_model`.
        images: `uint8` (N, C, H, W), of the training split only.
    """
    normalize = getattr(model, "normalize", None)
    if normalize is None:
        return
    if not normalize.fitted:
        normalize.fit(images)
    for module in model.modules():
        if not getattr(module, "fitted", True):
            module.fit(normalize(images[:: -(-len(images) // SAMPLE)]))


def _refuse_earlier_version(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Before loading, raise an error if a state dict has the former name of the buffer."""
    del module
    if f"{prefix}measured" in state:
        raise UserError(
            f"the state dict has {prefix}measured, which an earlier version of imgcls wrote (now {prefix}fitted), "
            "and this version does not read it; train the model again"
        )
