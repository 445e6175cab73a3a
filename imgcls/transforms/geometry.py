"""Crops, flips, and affine transforms, each by one bilinear sampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from imgcls.messages import UserError
from imgcls.precision import send
from imgcls.transforms.base import BatchTransform, Parameters, grouped, restore, uniform
from imgcls.transforms.checks import PADDING_MODES, Interval, check_mode, check_number, freeze, interval


@dataclass(frozen=True)
class RandomCrop(BatchTransform):
    """Pad by `padding` pixels on every side and crop a window of the original size at a random position."""

    padding: int = 4  # pixels
    mode: str = "reflect"

    def __post_init__(self) -> None:
        check_number("padding", self.padding, 0, whole=True)
        check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`top` and `left` (n,): the window's corner in pixels of the unpadded image, -padding to padding."""
        if self.mode == "reflect" and self.padding >= min(height, width):
            raise UserError(
                f"cannot reflect {self.padding} pixels of a {height} x {width} image: "
                "padding must be smaller than the image, or mode 'constant' or 'edge'"
            )
        offsets = torch.randint(-self.padding, self.padding + 1, (2 * n,), generator=generator)
        return {"top": offsets[:n], "left": offsets[n:]}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        return _shift(images, parameters["top"], parameters["left"], self.mode)


@dataclass(frozen=True)
class _RandomFlip(BatchTransform):
    p: float = 0.5
    axis: ClassVar[int]  # of (N, C, H, W)

    def __post_init__(self) -> None:
        check_number("p", self.p, 0, 1)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`flip` (n,), bool."""
        return {"flip": torch.rand(n, generator=generator) < self.p}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        flipped = grouped(images, parameters["flip"], [None, lambda chosen, _: chosen.flip(self.axis)])
        return restore(flipped, images)


class RandomHorizontalFlip(_RandomFlip):
    """Mirror left and right with probability `p`."""

    axis = 3


class RandomVerticalFlip(_RandomFlip):
    """Mirror top and bottom with probability `p`."""

    axis = 2


@dataclass(frozen=True)
class RandomAffine(BatchTransform):
    """Rotate, translate, scale and shear about the centre, in one bilinear sampling.

    `degrees`: d for -d to d, or (low, high); clockwise. `translate`: the maximum shift as a fraction of width and
    height, or (fraction of the width, fraction of the height), not rounded to whole pixels. `scale`: (low, high).
    `shear`: the maximum angle in degrees along x, or (along x, along y).
    """

    degrees: float | Interval = 0.0
    translate: float | Interval = 0.0
    scale: Interval = (1.0, 1.0)
    shear: float | Interval = 0.0
    mode: str = "constant"

    def __post_init__(self) -> None:
        translate, shear = self.translate, self.shear
        freeze(
            self,
            degrees=interval("degrees", self.degrees, -360, 360, centre=0),
            translate=tuple(translate) if isinstance(translate, Sequence) else (translate, translate),
            scale=interval("scale", self.scale, 1e-3, 1e3),
            shear=tuple(shear) if isinstance(shear, Sequence) else (shear, 0.0),
        )
        for name, high in (("translate", 1), ("shear", 89)):
            if len(getattr(self, name)) != 2:
                raise UserError(f"{name} must be one number or a pair (x, y); got {getattr(self, name)!r}")
            for value in getattr(self, name):
                check_number(name, value, 0, high)
        check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`angle`, `shear_x`, `shear_y` in degrees, `right`, `down` in pixels, and `scale`; each (n,)."""
        right, down = self.translate[0] * width, self.translate[1] * height
        shear_x, shear_y = self.shear
        return {
            "angle": uniform(self.degrees, n, generator),
            "right": uniform((-right, right), n, generator),
            "down": uniform((-down, down), n, generator),
            "scale": uniform(self.scale, n, generator),
            "shear_x": uniform((-shear_x, shear_x), n, generator),
            "shear_y": uniform((-shear_y, shear_y), n, generator),
        }

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        return warp(images, affine_matrices(**parameters), self.mode)


@dataclass(frozen=True)
class RandomRotation(BatchTransform):
    """Rotate about the centre by an angle in degrees: d for -d to d, or (low, high); clockwise, bilinear."""

    degrees: float | Interval = 10.0
    mode: str = "constant"

    def __post_init__(self) -> None:
        freeze(self, degrees=interval("degrees", self.degrees, -360, 360, centre=0))
        check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`angle` (n,), in degrees."""
        return {"angle": uniform(self.degrees, n, generator)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        return warp(images, affine_matrices(**parameters), self.mode)


@dataclass(frozen=True)
class RandomResizedCrop(BatchTransform):
    """Crop a random part and resize it to the image's size by bilinear sampling (Szegedy et al. 2015).

    `scale` is the part's share of the area, `ratio` its width over its height (arXiv:1409.4842). If none of ten
    samples fits, the largest centred part of an allowed ratio is used.
    """

    scale: Interval = (0.08, 1.0)
    ratio: Interval = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        freeze(self, scale=interval("scale", self.scale, 1e-6, 1), ratio=interval("ratio", self.ratio, 1e-3, 1e3))

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`top`, `left`, `height`, `width` (n,): the part, in whole pixels."""
        low, high = self.ratio
        area = height * width * uniform(self.scale, 10 * n, generator).view(n, 10)
        aspect = uniform((math.log(low), math.log(high)), 10 * n, generator).view(n, 10).exp()
        heights, widths = (area / aspect).sqrt().round().long(), (area * aspect).sqrt().round().long()
        fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
        first = fits.int().argmax(1, keepdim=True)
        box_height, box_width = (sizes.gather(1, first)[:, 0] for sizes in (heights, widths))
        where = torch.rand(2, n, generator=generator, dtype=torch.float64)
        top = (where[0] * (height - box_height + 1)).long()
        left = (where[1] * (width - box_width + 1)).long()
        box = {"top": top, "left": left, "height": box_height, "width": box_width}
        max_height, max_width = min(height, round(width / low)), min(width, round(height * high))
        centred = ((height - max_height) // 2, (width - max_width) // 2, max_height, max_width)
        return {
            name: values.where(fits.any(1), fallback)
            for (name, values), fallback in zip(box.items(), centred, strict=True)
        }

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""

        def positions(start: Tensor, length: Tensor, size: int) -> Tensor:
            inner = (torch.arange(size) + 0.5) * (length[:, None] / size) - 0.5
            # Clamped to the part: its border pixels are repeated, pixels outside are not sampled.
            return start[:, None] + inner.clamp(min=0).minimum(length[:, None] - 1) - (size - 1) / 2

        y = positions(parameters["top"], parameters["height"], images.shape[2])
        x = positions(parameters["left"], parameters["width"], images.shape[3])
        columns, rows = torch.stack([x, torch.zeros_like(x)], 1), torch.stack([torch.zeros_like(y), y], 1)
        return _sample(images, columns, rows, "edge")


def affine_matrices(
    angle: Tensor,
    right: Tensor | float = 0.0,
    down: Tensor | float = 0.0,
    scale: Tensor | float = 1.0,
    shear_x: Tensor | float = 0.0,
    shear_y: Tensor | float = 0.0,
) -> Tensor:
    """(N, 2, 3) matrices that map output to input coordinates, in pixels from the image's centre.

    The image is sheared (x, then y), rotated clockwise, scaled, then translated; angles (N,) in degrees.
    """

    def column(value: Tensor | float) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float64).expand(len(angle))

    radians = torch.deg2rad(column(angle))
    sine, cosine = radians.sin() / column(scale), radians.cos() / column(scale)
    tan_x, tan_y = (torch.deg2rad(column(value)).tan() for value in (shear_x, shear_y))
    right, down = column(right), column(down)
    a = (1 + tan_x * tan_y) * cosine - tan_x * sine
    b = (1 + tan_x * tan_y) * sine + tan_x * cosine
    c = tan_y * cosine - sine
    d = tan_y * sine + cosine
    rows = (a, b, -a * right - b * down), (c, d, -c * right - d * down)
    return torch.stack([torch.stack(row, 1) for row in rows], 1).float()


def warp(images: Tensor, matrices: Tensor, mode: str) -> Tensor:
    """Images (N, C, H, W) sampled at the input coordinates that `affine_matrices` give, bilinear."""
    height, width = images.shape[-2:]
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    along_x, along_y, move = matrices.split(1, 2)  # each (N, 2, 1)
    # Sums instead of a matrix product, whose order of additions may depend on the thread count.
    return _sample(images, along_x * x, along_y * y + move, mode)


def _sample(images: Tensor, columns: Tensor, rows: Tensor, mode: str) -> Tensor:
    """Bilinear values at columns (N, 2, W) + rows (N, 2, H): (x, y) in pixels from the image's centre."""
    height, width = images.shape[-2:]
    half = torch.tensor([max(width - 1, 1), max(height - 1, 1)]).view(2, 1) / 2
    columns, rows = (send(positions / half, images.device) for positions in (columns, rows))
    grid = columns[:, :, None, :] + rows[:, :, :, None]  # (N, 2, H, W)
    values = F.grid_sample(
        images.float(), grid.permute(0, 2, 3, 1), padding_mode=PADDING_MODES[mode], align_corners=True
    )
    return restore(values, images)


def _shift(images: Tensor, top: Tensor, left: Tensor, mode: str) -> Tensor:
    """The window of the image's own size whose upper left corner is at (top, left) pixels."""
    n, channels, height, width = images.shape
    above, beside = int(top.abs().max()), int(left.abs().max())
    device = images.device
    top, left = send(top, device), send(left, device)
    rows = top[:, None] + torch.arange(height, device=device)  # (N, H)
    columns = torch.arange(-beside, width + beside, device=device)
    if mode == "constant":
        wide, rows = F.pad(images, (beside, beside, above, above)), rows + above
    else:
        wide, rows = images.index_select(3, _inside(columns, width, mode)), _inside(rows, height, mode)
    wide = wide.contiguous()
    plane = torch.arange(n * channels, device=device).view(n, channels, 1) * wide.stride(1)
    start = plane + (rows * wide.stride(2) + left[:, None] + beside)[:, None, :]  # (N, C, H)
    # Image rows as rows of an overlapping view: index_select copies each as one block, four times as fast as
    # gather (benchmarks: augment_vs_kornia).
    lines = wide.as_strided((wide.numel() - width + 1, width), (1, 1))
    chosen = lines.index_select(0, start.flatten())
    return restore(chosen.view(n, channels, height, width), images)


def _inside(positions: Tensor, size: int, mode: str) -> Tensor:
    """Map positions outside the image to positions from 0 to size - 1, by the padding mode."""
    if mode == "edge":
        return positions.clamp(0, size - 1)
    return (size - 1) - ((size - 1) - positions.abs()).abs()
