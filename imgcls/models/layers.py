"""Layers of our own networks that are missing in PyTorch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCHES = 5000 * 64**2  # that a `Whitening` of color images is fitted to: 1 GB


class Whitening(nn.Conv2d):
    """A first convolution whose filters are the principal components of small image patches, and their negatives.

    Each filter is scaled to outputs of variance one (less for components of noise). After a ReLU, a component and its
    negative together preserve all information. The filters are a buffer and do not train; the bias does. Before `fit`
    they are random. Used by Page (2018, "How to Train Your ResNet") and Jordan (2024, arXiv:2404.00498).

    Shapes: (N, C, H, W) to (N, 2 C k², H - k + 1, W - k + 1).
    Buffers: `weight`; `fitted` (bool), whether `fit` was called.
    """

    def __init__(self, channels: int = 3, kernel_size: int = 2) -> None:
        super().__init__(channels, 2 * channels * kernel_size**2, kernel_size)
        filters = self.weight.detach()
        del self.weight
        self.register_buffer("weight", filters)
        self.register_buffer("fitted", torch.tensor(False))
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor, floor: float = 5e-4) -> "Whitening":
        """Set the filters from the patches of some images; returns the layer.

        Args:
            images: normalised (N, C, H, W); a few thousand are enough. Of more than PATCHES patches, those of a
                regular grid are taken.
            floor: added to the variance of each component before it is divided by its root.
        """
        stride = math.ceil(math.sqrt(len(images) * images.shape[2] * images.shape[3] / PATCHES))
        stride += stride % 2 == 0  # an even stride would see only some places within the blocks of a JPEG
        patches = F.unfold(images.float(), self.kernel_size, stride=stride)
        patches = patches.transpose(1, 2).flatten(0, 1)  # (patches, C k²)
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))  # smallest first
        filters = (components / (variances.clamp(min=0) + floor).sqrt()).T.flip(0).reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))
        self.fitted.fill_(True)
        return self


class Residual(nn.Sequential):
    """Adds the output of its modules to their input (He et al. 2016, "Deep Residual Learning").

    Where the output has more channels, the input is added to the first ones (option A of the paper).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape, or with more channels."""
        y = super().forward(x)
        return y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))


class ScaledLinear(nn.Linear):
    """Linear layer without bias whose outputs, and therefore gradients, are multiplied by a fixed number."""

    def __init__(self, features: int, outputs: int, scale: float) -> None:
        super().__init__(features, outputs, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) to (N, outputs)."""
        return self.scale * super().forward(x)

    def extra_repr(self) -> str:
        """Show the scale in the model's repr."""
        return f"{super().extra_repr()}, scale={self.scale:.3g}"


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014) whose mask on a CPU uses one random byte per value instead of one float.

    On a CPU the probability is rounded to a multiple of 1/256, and the other values are scaled to match. PyTorch
    samples its mask serially; the row `dropout_vs_torch` of `make bench` shows the difference.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Set a share p of the values to zero and scale up the others; the identity in evaluation mode."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        dropped = min(round(256 * self.p), 255)
        words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 8),))  # eight bytes a draw
        layout = torch.empty_like(x, dtype=torch.uint8).stride()
        kept = words.view(torch.uint8)[: x.numel()].as_strided(x.shape, layout) >= dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - dropped))


class AdaptivePool(nn.AdaptiveAvgPool2d):
    """Average pooling to a square; a map of that size is returned unchanged: the CUDA gradient is nondeterministic."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, side, side)."""
        return x if x.shape[-2:] == (self.output_size,) * 2 else super().forward(x)


class GlobalMaxPool(nn.Module):
    """`AdaptiveMaxPool2d(1)` with the same values and gradients; the CUDA gradient of that one is nondeterministic."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 1, 1)."""
        return x.flatten(2).max(2).values[..., None, None]
