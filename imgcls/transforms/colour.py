"""Brightness, contrast, saturation and hue.

The functions of levels take and return float32 (N, C, H, W) in [0, 255]; their factors are (N,).
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from imgcls.messages import UserError
from imgcls.precision import send
from imgcls.transforms.base import BatchTransform, Parameters, from_levels, grouped, per_image, to_levels, uniform
from imgcls.transforms.checks import Interval, freeze, interval

LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as Pillow and torchvision weigh red, green and blue


def luma(levels: Tensor) -> Tensor:
    """(N, 1, H, W); a single channel is returned unchanged."""
    channels = levels.shape[1]
    if channels == 1:
        return levels
    if channels != 3:
        raise UserError(f"colour transforms need 1 or 3 channels; the images have {channels}")
    return LUMA[0] * levels[:, 0:1] + LUMA[1] * levels[:, 1:2] + LUMA[2] * levels[:, 2:3]


def blend(levels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`other` at factor 0, `levels` at 1, extrapolated above 1."""
    factor = per_image(factor, levels)
    return (levels * factor + other * (1 - factor)).clamp(0, 255)


def brightness(levels: Tensor, factor: Tensor) -> Tensor:
    """Levels times the factor."""
    return (levels * per_image(factor, levels)).clamp(0, 255)


def contrast(levels: Tensor, factor: Tensor) -> Tensor:
    """Move levels away from, or towards, the image's mean luma."""
    grey = luma(levels)
    # A sum of whole numbers is the same in any order, so the mean does not depend on the thread count.
    total = (grey * 2**16).int().sum((1, 2, 3), keepdim=True)
    return blend(levels, (total / (2**16 * grey[0].numel())).float(), factor)


def saturation(levels: Tensor, factor: Tensor) -> Tensor:
    """Move levels away from, or towards, the luma of each pixel."""
    return blend(levels, luma(levels), factor)


def hue(levels: Tensor, turn: Tensor) -> Tensor:
    """Rotate the hue of HSV by a fraction of the full circle; grayscale images are unchanged."""
    if levels.shape[1] == 1:
        return levels
    luma(levels)  # raises unless there are 3 channels
    red, green, blue = levels.split(1, 1)
    value = levels.amax(1, keepdim=True)
    chroma = value - levels.amin(1, keepdim=True)
    slope = torch.where(green == value, blue - red, red - green)
    slope = torch.where(red == value, green - blue, slope)
    sector = torch.where(red == value, 0.0, torch.where(green == value, 1 / 3, 2 / 3))
    turned = slope / (6 * chroma).clamp(min=1e-6) + sector + per_image(turn, levels)
    # A channel is lowest within 1/6 turn of its opposite colour, and highest beyond 1/3 turn.
    opposite = send(torch.tensor([1 / 2, -1 / 6, 1 / 6]), levels.device).view(1, 3, 1, 1)
    distance = turned - opposite
    distance = (distance - distance.round()).abs()
    return (value - chroma * (2 - 6 * distance).clamp(0, 1)).clamp(0, 255)


_CHANGES = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}


@dataclass(frozen=True)
class ColorJitter(BatchTransform):
    """Change brightness, contrast, saturation and hue by random factors, in an order drawn for each image.

    A number d means a factor from max(0, 1 - d) to 1 + d, a pair means (low, high). `hue` is in turns of the colour
    circle: a number d of at most 0.5 means -d to d. Saturation and hue leave grayscale images unchanged.
    """

    brightness: float | Interval = 0.0
    contrast: float | Interval = 0.0
    saturation: float | Interval = 0.0
    hue: float | Interval = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            freeze(self, **{name: interval(name, getattr(self, name), 0, 1e3, centre=1)})
        freeze(self, hue=interval("hue", self.hue, -0.5, 0.5, centre=0))

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the properties that are not neutral."""
        neutral = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
        return tuple(name for name, limits in neutral.items() if getattr(self, name) != limits)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """One factor (n,) for each of `changes`, and `order` (n, len(changes)): indices into `changes`."""
        order = torch.rand(n, len(self.changes), generator=generator).argsort(dim=1, stable=True)
        factors = {name: uniform(getattr(self, name), n, generator) for name in self.changes}
        return {"order": order} | factors

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change images with the same property in one call per step; (N, C, H, W) in and out."""
        if not self.changes:
            return images
        changes = [
            lambda levels, index, name=name: _CHANGES[name](levels, parameters[name][index]) for name in self.changes
        ]
        levels = to_levels(images)
        for step in range(len(changes)):
            levels = grouped(levels, parameters["order"][:, step], changes)
        return from_levels(levels, images)
