"""Random augmentation of whole batches, one independent draw per image.

Every transform is a frozen dataclass (plain data: comparable, printable, `dataclasses.asdict`-able) with

    draw(n, height, width, generator) -> dict of parameter tensors, first axis n, on the CPU
    apply(images, parameters) -> images, a deterministic function of its two arguments
    transform(images, generator) = apply(images, draw(...))

Images are (N, C, H, W), uint8 or float in [0, 1]; dtype, device and memory format come back as they went in.
Arithmetic is done in float32 and rounded once, to the nearest level, where the images are uint8. All random
numbers come from the CPU generator, so the parameters are the same on every device and thread count.

What lies outside the image (`mode`): "constant" is black, "reflect" mirrors without repeating the border
pixel, "edge" repeats it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from scipy.special import betaincinv
from torch import Generator, Tensor

from imgcls.reproducibility import generator as seeded_generator

Parameters = dict[str, Tensor]
Transform = Callable[[Tensor, Generator], Tensor]
Interval = tuple[float, float]
Change = Callable[[Tensor, Tensor], Tensor]

_GRID_MODES = {"constant": "zeros", "reflect": "reflection", "edge": "border"}
_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as Pillow and torchvision weigh red, green and blue


def apply(
    transforms: Sequence[Transform],
    images: Tensor,
    generator: Generator,
    size: int | None = None,
    rows: slice = slice(None),
) -> Tensor:
    """One transform after the other, all drawing from the same generator.

    Shapes: (N, C, H, W) in and out. Images that are the `rows` of a larger batch of `size` get the draws that they
    would get in it.

    Raises:
        TypeError: rows of a larger batch meet a transform without `draw` and `apply`.
    """
    whole = size is None or size == len(images)
    for transform in transforms:
        if whole:
            images = transform(images, generator)
        elif hasattr(transform, "draw") and hasattr(transform, "apply"):
            parameters = transform.draw(size, *images.shape[-2:], generator)
            images = transform.apply(images, {name: values[rows] for name, values in parameters.items()})
        else:
            raise TypeError(f"{transform!r} cannot be applied to a part of a batch: it has no draw and apply")
    return images


def preview(transforms: Sequence[Transform], image: Tensor, count: int = 16, seed: int = 0) -> Tensor:
    """The same image augmented `count` times, for a figure that shows what training will see.

    Shapes: (C, H, W) in, (count, C, H, W) out.
    """
    if image.ndim != 3:
        raise ValueError(f"preview takes one image of shape (C, H, W); got {tuple(image.shape)}")
    return apply(transforms, image.repeat(count, 1, 1, 1), seeded_generator(seed, "preview"))


def resize(images: Tensor, side: int) -> Tensor:
    """Images of another size, bilinear and without aliasing; (N, C, H, W) to (N, C, side, side), dtype kept."""
    _check_images(images)
    if images.shape[-2:] == (side, side):
        return images
    return _from_levels(F.interpolate(_levels(images), size=(side, side), mode="bilinear", antialias=True), images)


# Shared machinery: checks, conversions, drawing, geometry.


def _check_images(images: Tensor) -> None:
    if images.ndim != 4:
        hint = "; add the batch axis with images[None]" if images.ndim == 3 else ""
        raise ValueError(f"images must have shape (N, C, H, W); got {tuple(images.shape)}{hint}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8, or float in [0, 1]; got {images.dtype}")


def _call(self: Any, images: Tensor, generator: Generator) -> Tensor:
    """Draw for every image from `generator`, then apply; (N, C, H, W) in and out."""
    _check_images(images)
    return self.apply(images, self.draw(len(images), *images.shape[-2:], generator))


def _check_number(name: str, value: float, low: float, high: float = math.inf, whole: bool = False) -> None:
    kinds = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        limits = f"of at least {low}" if high == math.inf else f"between {low} and {high}"
        raise ValueError(f"{name} must be {kind} {limits}; got {value!r}")


def _check_mode(mode: str) -> None:
    if mode not in _GRID_MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(_GRID_MODES)}")


def _interval(
    name: str, value: float | Sequence[float], low: float, high: float, centre: float | None = None
) -> Interval:
    """A pair is taken as it is; around a centre, a number d means centre - d (at least `low`) to centre + d."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise ValueError(f"{name} must be one number or a pair (low, high); got {value!r}")
        first, last = value
    elif centre is None:
        raise ValueError(f"{name} must be a pair (low, high); got {value!r}")
    else:
        _check_number(name, value, 0)
        first, last = max(low, centre - value), centre + value
    _check_number(name, first, low, high)
    _check_number(name, last, low, high)
    if first > last:
        raise ValueError(f"{name} must be (low, high) with low <= high; got {value!r}")
    return first, last


def _freeze(transform: object, **values: object) -> None:
    """Store normalised values, so that lists from JSON or YAML compare equal to tuples."""
    for name, value in values.items():
        object.__setattr__(transform, name, value)


def _uniform(interval: Interval, n: int, generator: Generator) -> Tensor:
    low, high = interval
    return low + (high - low) * torch.rand(n, generator=generator)


def _integers(low: int, high: int, n: int, generator: Generator) -> Tensor:
    return torch.randint(low, high + 1, (n,), generator=generator)  # both ends included


def _restore(values: Tensor, images: Tensor) -> Tensor:
    """`values` with the dtype and memory format of `images`; uint8 by rounding, in place, floats in [0, 255]."""
    if values.dtype != images.dtype:
        values = values.round_() if images.dtype == torch.uint8 else values
        values = values.to(images.dtype)
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return values.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _levels(images: Tensor) -> Tensor:
    """Float32 in [0, 255] whatever the dtype, where sums of whole levels are exact in any order."""
    return images.float() if images.dtype == torch.uint8 else images.float() * 255


def _from_levels(levels: Tensor, images: Tensor) -> Tensor:
    return _restore(levels if images.dtype == torch.uint8 else levels / 255, images)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """One value per image, on the device of `like`, shaped to broadcast over (N, C, H, W)."""
    return values.to(like.device, non_blocking=True).view(-1, 1, 1, 1)


def _grouped(images: Tensor, group: Tensor, changes: Sequence[Change | None]) -> Tensor:
    """Image i changed by `changes[group[i]]`, where None leaves it alone; `group` is on the CPU.

    A change takes the images of its group and their CPU indices, by which it finds their parameters.
    """
    order = group.long().argsort(stable=True)
    counts = group.long().bincount(minlength=len(changes)).tolist()
    if len(images) in counts:  # one group holds them all
        change = changes[counts.index(len(images))]
        return change(images, order) if change else images
    chunks = images.index_select(0, order.to(images.device, non_blocking=True)).split(counts)
    parts = [
        change(chunk, index) if change and len(index) else chunk
        for change, chunk, index in zip(changes, chunks, order.split(counts), strict=True)
    ]
    return torch.cat(parts).index_select(0, order.argsort().to(images.device, non_blocking=True))


def _shift(images: Tensor, top: Tensor, left: Tensor, mode: str) -> Tensor:
    """The window of the image's own size whose upper left corner lies at (top, left) pixels: one gather."""
    n, channels, height, width = images.shape
    above, beside = int(top.abs().max()), int(left.abs().max())
    rows = top[:, None] + torch.arange(height)  # (N, H)
    if mode == "constant":
        wide = F.pad(images, (beside, beside, above, above))
        rows = rows + above
    elif mode == "edge":
        first, last = images[..., :1], images[..., -1:]
        repeats = (*images.shape[:3], beside)
        wide = torch.cat([first.expand(repeats), images, last.expand(repeats)], 3)
        rows = rows.clamp(0, height - 1)
    else:
        mirrored = images.flip(3)
        before, after = mirrored[..., width - 1 - beside : width - 1], mirrored[..., 1 : 1 + beside]
        wide = torch.cat([before, images, after], 3)
        rows = (height - 1) - ((height - 1) - rows.abs()).abs()
    wide = wide.contiguous()
    plane = torch.arange(n * channels).view(n, channels, 1) * wide.stride(1)
    start = plane + (rows * wide.stride(2) + left[:, None] + beside)[:, None, :]  # (N, C, H)
    # Lines of `width` values from any start, as rows of an overlapping view: selecting one is a plain copy.
    lines = wide.as_strided((wide.numel() - width + 1, width), (1, 1))
    chosen = lines.index_select(0, start.flatten().to(images.device, non_blocking=True))
    return _restore(chosen.view(n, channels, height, width), images)


def _affine(
    angle: Tensor | float = 0.0,
    translate: tuple[Tensor | float, Tensor | float] = (0.0, 0.0),
    scale: Tensor | float = 1.0,
    shear: tuple[Tensor | float, Tensor | float] = (0.0, 0.0),
    n: int = 1,
) -> Tensor:
    """(N, 2, 3) matrices that take output to input coordinates, in pixels from the image's centre.

    The image is sheared (x, then y), turned clockwise, scaled, then moved; angles in degrees.
    """

    def column(value: Tensor | float) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float64).expand(n)

    turn = torch.deg2rad(column(angle))
    sine, cosine = turn.sin() / column(scale), turn.cos() / column(scale)
    tan_x, tan_y = (torch.deg2rad(column(value)).tan() for value in shear)
    move_x, move_y = (column(value) for value in translate)
    a = (1 + tan_x * tan_y) * cosine - tan_x * sine
    b = (1 + tan_x * tan_y) * sine + tan_x * cosine
    c = tan_y * cosine - sine
    d = tan_y * sine + cosine
    rows = (a, b, -a * move_x - b * move_y), (c, d, -c * move_x - d * move_y)
    return torch.stack([torch.stack(row, 1) for row in rows], 1).float()


def _sample(images: Tensor, columns: Tensor, rows: Tensor, mode: str) -> Tensor:
    """Bilinear values at x + iy = columns (N, W) + rows (N, H), complex, in pixels from the image's centre."""
    height, width = images.shape[-2:]
    halves = max(width - 1, 1) / 2, max(height - 1, 1) / 2

    def scaled(position: Tensor) -> Tensor:
        position = torch.complex(position.real / halves[0], position.imag / halves[1])
        return position.to(images.device, non_blocking=True)

    grid = torch.view_as_real(scaled(columns)[:, None, :] + scaled(rows)[:, :, None])  # (N, H, W, 2)
    values = F.grid_sample(images.float(), grid, padding_mode=_GRID_MODES[mode], align_corners=True)
    return _restore(values, images)


def _warp(images: Tensor, matrices: Tensor, mode: str) -> Tensor:
    height, width = images.shape[-2:]
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    along_x, along_y, move = torch.complex(*matrices.unbind(1)).unsqueeze(1).unbind(2)  # each (N, 1)
    # Sums instead of a matrix product: its order of additions may change with the thread count.
    return _sample(images, along_x * x, along_y * y + move, mode)


def _draw_boxes(
    n: int, height: int, width: int, scale: Interval, ratio: Interval, generator: Generator
) -> tuple[Parameters, Tensor]:
    """The first of ten random boxes that fits into the image, for each image, and whether any did."""
    area = height * width * _uniform(scale, 10 * n, generator).view(n, 10)
    aspect = _uniform((math.log(ratio[0]), math.log(ratio[1])), 10 * n, generator).view(n, 10).exp()
    heights, widths = (area / aspect).sqrt().round().long(), (area * aspect).sqrt().round().long()
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = fits.int().argmax(1, keepdim=True)
    box_height, box_width = (sizes.gather(1, first)[:, 0] for sizes in (heights, widths))
    where = torch.rand(2, n, generator=generator, dtype=torch.float64)
    top = (where[0] * (height - box_height + 1)).long()
    left = (where[1] * (width - box_width + 1)).long()
    return {"top": top, "left": left, "height": box_height, "width": box_width}, fits.any(1)


def _inside_box(images: Tensor, parameters: Parameters) -> Tensor:
    """Bool (N, 1, H, W), true inside each image's box; a box may reach over the border."""
    box = {name: values.to(images.device)[:, None] for name, values in parameters.items()}
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= box["top"]) & (rows < box["top"] + box["height"])
    in_columns = (columns >= box["left"]) & (columns < box["left"] + box["width"])
    return (in_rows[:, None, :, None] & in_columns[:, None, None, :]).view(len(images), 1, *images.shape[2:])


def _fill_box(images: Tensor, parameters: Parameters, fill: float | tuple[float, ...]) -> Tensor:
    colour = torch.tensor(fill, device=images.device).view(1, -1, 1, 1)
    if colour.shape[1] not in (1, images.shape[1]):
        raise ValueError(f"fill {fill!r} gives {colour.shape[1]} channels; the images have {images.shape[1]}")
    colour = (colour * 255).round() if images.dtype == torch.uint8 else colour
    return _restore(torch.where(_inside_box(images, parameters), colour.to(images.dtype), images), images)


def _checked_fill(fill: float | Sequence[float]) -> float | tuple[float, ...]:
    for value in fill if isinstance(fill, Sequence) else (fill,):
        _check_number("fill", value, 0, 1)
    return tuple(fill) if isinstance(fill, Sequence) else fill


# Geometry.


@dataclass(frozen=True)
class RandomCrop:
    """Pad by `padding` pixels on every side and cut a window of the original size at a random place."""

    padding: int = 4  # pixels
    mode: str = "reflect"

    def __post_init__(self) -> None:
        _check_number("padding", self.padding, 0, whole=True)
        _check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`top` and `left` (n,): the window's corner in pixels of the unpadded image, -padding to padding."""
        if self.mode == "reflect" and self.padding >= min(height, width):
            raise ValueError(
                f"cannot reflect {self.padding} pixels of a {height} x {width} image: "
                "padding must be smaller than the image, or mode 'constant' or 'edge'"
            )
        offsets = _integers(-self.padding, self.padding, 2 * n, generator)
        return {"top": offsets[:n], "left": offsets[n:]}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """One gather for the whole batch; (N, C, H, W) in and out."""
        return _shift(images, parameters["top"], parameters["left"], self.mode)

    __call__ = _call


@dataclass(frozen=True)
class RandomTranslate:
    """Move by whole pixels, up to `pixels` or to a `fraction` of height and width (give exactly one)."""

    pixels: int | None = None
    fraction: float | None = None  # of the height and of the width
    mode: str = "constant"

    def __post_init__(self) -> None:
        if (self.pixels is None) == (self.fraction is None):
            raise ValueError(
                f"RandomTranslate takes either pixels or fraction; got pixels={self.pixels!r}, "
                f"fraction={self.fraction!r}"
            )
        if self.pixels is not None:
            _check_number("pixels", self.pixels, 0, whole=True)
        else:
            _check_number("fraction", self.fraction, 0, 1)
        _check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`down` and `right` (n,): the movement in pixels."""
        limits = [self.pixels if self.fraction is None else round(self.fraction * s) for s in (height, width)]
        if self.mode == "reflect" and (limits[0] >= height or limits[1] >= width):
            raise ValueError(f"cannot reflect {limits} pixels of a {height} x {width} image; move by less")
        down, right = (_integers(-limit, limit, n, generator) for limit in limits)
        return {"down": down, "right": right}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """One gather for the whole batch; (N, C, H, W) in and out."""
        return _shift(images, -parameters["down"], -parameters["right"], self.mode)

    __call__ = _call


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror left and right with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _check_number("p", self.p, 0, 1)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`flip` (n,), bool."""
        return {"flip": torch.rand(n, generator=generator) < self.p}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        return _restore(_grouped(images, parameters["flip"], [None, lambda chosen, _: chosen.flip(3)]), images)

    __call__ = _call


@dataclass(frozen=True)
class RandomVerticalFlip:
    """Mirror top and bottom with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _check_number("p", self.p, 0, 1)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`flip` (n,), bool."""
        return {"flip": torch.rand(n, generator=generator) < self.p}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        return _restore(_grouped(images, parameters["flip"], [None, lambda chosen, _: chosen.flip(2)]), images)

    __call__ = _call


@dataclass(frozen=True)
class RandomAffine:
    """Turn, move, scale and shear about the centre, in one bilinear sampling.

    `degrees`: d for -d to d, or (low, high); clockwise. `translate`: the largest movement as a fraction of
    the width and height, or (of the width, of the height); not rounded to whole pixels. `scale`: (low, high).
    `shear`: the largest angle in degrees along x, or (along x, along y).
    """

    degrees: float | Interval = 0.0
    translate: float | Interval = 0.0
    scale: Interval = (1.0, 1.0)
    shear: float | Interval = 0.0
    mode: str = "constant"

    def __post_init__(self) -> None:
        translate, shear = self.translate, self.shear
        _freeze(
            self,
            degrees=_interval("degrees", self.degrees, -360, 360, centre=0),
            translate=tuple(translate) if isinstance(translate, Sequence) else (translate, translate),
            scale=_interval("scale", self.scale, 1e-3, 1e3),
            shear=tuple(shear) if isinstance(shear, Sequence) else (shear, 0.0),
        )
        for name, high in (("translate", 1), ("shear", 89)):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} must be one number or a pair (x, y); got {getattr(self, name)!r}")
            for value in getattr(self, name):
                _check_number(name, value, 0, high)
        _check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`angle`, `shear_x`, `shear_y` in degrees, `right`, `down` in pixels, and `scale`; each (n,)."""
        right, down = self.translate[0] * width, self.translate[1] * height
        intervals = {
            "angle": self.degrees,
            "right": (-right, right),
            "down": (-down, down),
            "scale": self.scale,
            "shear_x": (-self.shear[0], self.shear[0]),
            "shear_y": (-self.shear[1], self.shear[1]),
        }
        return {name: _uniform(interval, n, generator) for name, interval in intervals.items()}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """One grid sample for the whole batch; (N, C, H, W) in and out."""
        p = parameters
        shear, translate = (p["shear_x"], p["shear_y"]), (p["right"], p["down"])
        return _warp(images, _affine(p["angle"], translate, p["scale"], shear, len(images)), self.mode)

    __call__ = _call


@dataclass(frozen=True)
class RandomRotation:
    """Turn about the centre by an angle in degrees: d for -d to d, or (low, high); clockwise, bilinear."""

    degrees: float | Interval = 10.0
    mode: str = "constant"

    def __post_init__(self) -> None:
        _freeze(self, degrees=_interval("degrees", self.degrees, -360, 360, centre=0))
        _check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`angle` (n,), in degrees."""
        return {"angle": _uniform(self.degrees, n, generator)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """One grid sample for the whole batch; (N, C, H, W) in and out."""
        return _warp(images, _affine(parameters["angle"], n=len(images)), self.mode)

    __call__ = _call


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of the image, stretched to the image's own size by bilinear sampling.

    `scale` is the part's share of the area, `ratio` its width over its height. As in Szegedy et al. 2015,
    arXiv:1409.4842; where ten tries do not fit, the largest centred part of an allowed ratio is taken.
    """

    scale: Interval = (0.08, 1.0)
    ratio: Interval = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        _freeze(
            self,
            scale=_interval("scale", self.scale, 1e-6, 1),
            ratio=_interval("ratio", self.ratio, 1e-3, 1e3),
        )

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`top`, `left`, `height`, `width` (n,): the part, in whole pixels."""
        box, fits = _draw_boxes(n, height, width, self.scale, self.ratio, generator)
        low, high = self.ratio
        whole_height, whole_width = min(height, round(width / low)), min(width, round(height * high))
        fallback = {
            "top": (height - whole_height) // 2,
            "left": (width - whole_width) // 2,
            "height": whole_height,
            "width": whole_width,
        }
        return {name: torch.where(fits, box[name], fallback[name]) for name in box}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """One grid sample for the whole batch; (N, C, H, W) in and out."""

        def positions(start: Tensor, length: Tensor, size: int) -> Tensor:
            inner = (torch.arange(size) + 0.5) * (length[:, None] / size) - 0.5
            # Held inside the part: its own border pixel is repeated, the pixels beyond it stay unseen.
            return start[:, None] + inner.clamp(min=0).minimum(length[:, None] - 1) - (size - 1) / 2

        y = positions(parameters["top"], parameters["height"], images.shape[2])
        x = positions(parameters["left"], parameters["width"], images.shape[3])
        return _sample(images, torch.complex(x, 0 * x), torch.complex(0 * y, y), "edge")

    __call__ = _call


# Occlusion.


@dataclass(frozen=True)
class Cutout:
    """A square of `size` pixels, centred on a random pixel and clipped at the border, is painted over.

    `fill` is one number or one per channel, in [0, 1]. DeVries & Taylor 2017, arXiv:1708.04552.
    """

    size: int = 8  # pixels
    fill: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        _check_number("size", self.size, 1, whole=True)
        _freeze(self, fill=_checked_fill(self.fill))

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`top`, `left`, `height`, `width` (n,): the square before clipping, in pixels."""
        size = torch.full((n,), self.size)
        top = _integers(0, height - 1, n, generator) - self.size // 2
        left = _integers(0, width - 1, n, generator) - self.size // 2
        return {"top": top, "left": left, "height": size, "width": size}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        return _fill_box(images, parameters, self.fill)

    __call__ = _call


@dataclass(frozen=True)
class RandomErasing:
    """With probability `p`, a random rectangle is painted over.

    `scale` is its share of the area, `ratio` its width over its height, `fill` one number or one per channel,
    in [0, 1]. Zhong et al. 2017, arXiv:1708.04896. Where ten tries do not fit, the image is left alone.
    """

    p: float = 0.5
    scale: Interval = (0.02, 0.33)
    ratio: Interval = (0.3, 3.3)
    fill: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        _check_number("p", self.p, 0, 1)
        _freeze(
            self,
            scale=_interval("scale", self.scale, 1e-6, 1),
            ratio=_interval("ratio", self.ratio, 1e-3, 1e3),
            fill=_checked_fill(self.fill),
        )

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`top`, `left`, `height`, `width` (n,), in pixels; height 0 where nothing is erased."""
        erase = torch.rand(n, generator=generator) < self.p
        box, fits = _draw_boxes(n, height, width, self.scale, self.ratio, generator)
        return box | {"height": box["height"] * (erase & fits)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""
        return _fill_box(images, parameters, self.fill)

    __call__ = _call


# Colour. These helpers take and return levels: float32 (N, C, H, W) in [0, 255]; factors are (N,).


def _grey(levels: Tensor) -> Tensor:
    """(N, 1, H, W) luma; one channel is its own."""
    channels = levels.shape[1]
    if channels == 1:
        return levels
    if channels != 3:
        raise ValueError(f"colour transforms need 1 or 3 channels; the images have {channels}")
    return _LUMA[0] * levels[:, 0:1] + _LUMA[1] * levels[:, 1:2] + _LUMA[2] * levels[:, 2:3]


def _blend(levels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`other` at factor 0, `levels` at 1, beyond it above 1."""
    factor = _column(factor, levels)
    return (levels * factor).add_(other * (1 - factor)).clamp_(0, 255)


def _brightness(levels: Tensor, factor: Tensor) -> Tensor:
    return (levels * _column(factor, levels)).clamp_(0, 255)


def _contrast(levels: Tensor, factor: Tensor) -> Tensor:
    grey = _grey(levels)
    # A sum of whole numbers is the same in any order, so the mean cannot depend on the thread count.
    total = (grey * 2**16).int().sum((1, 2, 3), keepdim=True)
    return _blend(levels, (total / (2**16 * grey[0].numel())).float(), factor)


def _saturation(levels: Tensor, factor: Tensor) -> Tensor:
    return _blend(levels, _grey(levels), factor)


def _hue(levels: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of HSV by a fraction of the full circle; grey images stay as they are."""
    if levels.shape[1] == 1:
        return levels
    _grey(levels)  # for its check of the channels
    red, green, blue = levels.split(1, 1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    # Weights of 0 and 1 and sums, because torch.where costs ten times as much on a CPU.
    red_leads = (red == value).float()
    green_leads = (green == value).float() * (1 - red_leads)
    blue_leads = 1 - red_leads - green_leads
    slope = red_leads * (green - blue) + green_leads * (blue - red) + blue_leads * (red - green)
    hue = slope / (6 * chroma).clamp_(min=1e-6) + (green_leads + 2 * blue_leads) / 3 + _column(turn, levels)
    # A channel is lowest within a sixth of a turn of the colour opposite to it, highest beyond a third.
    opposite = torch.tensor([1 / 2, -1 / 6, 1 / 6], device=levels.device).view(1, 3, 1, 1)
    away = hue - opposite
    away.sub_(away.round()).abs_()
    return (value - chroma * away.mul_(-6).add_(2).clamp_(0, 1)).clamp_(0, 255)


_COLOUR_CHANGES = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
}


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue by random factors, in an order drawn for each image.

    A number d means a factor from max(0, 1 - d) to 1 + d, a pair (low, high) is taken as it is; `hue` is in
    turns of the colour circle, d for -d to d with d at most 0.5. Grey images keep saturation and hue.
    """

    brightness: float | Interval = 0.0
    contrast: float | Interval = 0.0
    saturation: float | Interval = 0.0
    hue: float | Interval = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            _freeze(self, **{name: _interval(name, getattr(self, name), 0, 1e3, centre=1)})
        _freeze(self, hue=_interval("hue", self.hue, -0.5, 0.5, centre=0))

    @property
    def changes(self) -> tuple[str, ...]:
        """The names of what is changed at all."""
        neutral = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
        return tuple(name for name, interval in neutral.items() if getattr(self, name) != interval)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """One factor (n,) for each of `changes`, and `order` (n, len(changes)): indices into `changes`."""
        order = torch.rand(n, len(self.changes), generator=generator).argsort(dim=1, stable=True)
        factors = {name: _uniform(getattr(self, name), n, generator) for name in self.changes}
        return {"order": order} | factors

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Images that share a step's change are changed together; (N, C, H, W) in and out."""
        if not self.changes:
            return images

        def change(name: str) -> Change:
            return lambda levels, index: _COLOUR_CHANGES[name](levels, parameters[name][index])

        levels = _levels(images)
        for step in range(len(self.changes)):
            levels = _grouped(levels, parameters["order"][:, step], [change(name) for name in self.changes])
        return _from_levels(levels, images)

    __call__ = _call


@dataclass(frozen=True)
class RandomGrayscale:
    """With probability `p`, every channel becomes the image's luma."""

    p: float = 0.1

    def __post_init__(self) -> None:
        _check_number("p", self.p, 0, 1)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`grey` (n,), bool."""
        return {"grey": torch.rand(n, generator=generator) < self.p}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """(N, C, H, W) in and out."""

        def grey(chosen: Tensor, _: Tensor) -> Tensor:
            return _from_levels(_grey(_levels(chosen)), chosen).expand_as(chosen)

        return _restore(_grouped(images, parameters["grey"], [None, grey]), images)

    __call__ = _call


def _sharpness(levels: Tensor, factor: Tensor) -> Tensor:
    """Away from, or towards, a 3 x 3 smoothing of the inner pixels; border pixels stay as they are."""
    if min(levels.shape[-2:]) < 3:
        return levels
    rows = levels[:, :, :-2] + levels[:, :, 1:-1] + levels[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = levels.clone()
    smooth[:, :, 1:-1, 1:-1] = ((box + 4 * levels[:, :, 1:-1, 1:-1]) / 13).round()
    return _blend(levels, smooth, factor)


def _posterize(levels: Tensor, bits: Tensor) -> Tensor:
    step = 2 ** (8 - _column(bits, levels))
    return (levels / step).floor() * step


def _solarize(levels: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(levels >= _column(threshold, levels), 255 - levels, levels)


def _autocontrast(levels: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one level stays."""
    low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    stretched = (levels - low) * (255 / (high - low).clamp(min=1))
    return torch.where(high > low, stretched, levels)


def _equalize(levels: Tensor, _: Tensor) -> Tensor:
    """Spread each channel's histogram evenly, with Pillow's whole-number rule."""
    n, channels, height, width = levels.shape
    values = levels.long().view(n * channels, height * width)
    offsets = 256 * torch.arange(n * channels, device=levels.device)[:, None]
    histogram = (values + offsets).flatten().bincount(minlength=256 * n * channels).view(-1, 256)
    brightest = histogram.gather(1, values.amax(1, keepdim=True))  # how many pixels have the highest level
    step = (height * width - brightest) // 255
    below = histogram.cumsum(1) - histogram
    table = ((step // 2 + below) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=levels.device))
    return table.gather(1, values).view(levels.shape).float()


@dataclass(frozen=True)
class TrivialAugment:
    """One of fourteen operations at one of 31 strengths for each image: the wide space of TrivialAugment.

    Müller & Hutter 2021, arXiv:2103.10158. Geometry is bilinear and shares one grid sample. Translation goes
    up to 32 pixels at every image size, as in the paper. Float images are taken to 256 levels first, where
    posterising and equalising are defined.
    """

    mode: str = "constant"

    def __post_init__(self) -> None:
        _check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`operation` (n,), an index into TRIVIAL_OPERATIONS, and its `magnitude` (n,).

        Magnitudes: slope, pixels, degrees (counter-clockwise), enhancement factor, bits kept, threshold
        level; 0 where the operation has none.
        """
        operation = _integers(0, len(TRIVIAL_OPERATIONS) - 1, n, generator)
        strength = _integers(0, 30, n, generator)
        sign = 2 * _integers(0, 1, n, generator) - 1
        return {"operation": operation, "magnitude": _trivial_magnitude(operation, strength, sign)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Images that share an operation are changed together; (N, C, H, W) in and out."""
        operation, magnitude = parameters["operation"], parameters["magnitude"]
        pixels = images if images.dtype == torch.uint8 else (images.float() * 255).round().to(torch.uint8)
        height, width = images.shape[-2:]

        def geometry(chosen: Tensor, index: Tensor) -> Tensor:
            matrices = _trivial_matrices(operation[index], magnitude[index], height, width)
            return _warp(chosen, matrices, self.mode)

        def colour(change: Callable[[Tensor, Tensor], Tensor]) -> Change:
            return lambda chosen, index: _from_levels(change(_levels(chosen), magnitude[index]), chosen)

        others = [change for *_, change in TRIVIAL_OPERATIONS.values()][len(_GEOMETRIC) :]
        changes = [geometry] + [colour(change) if change else None for change in others]
        result = _grouped(pixels, (operation - len(_GEOMETRIC) + 1).clamp(min=0), changes)
        return _restore(result if images.dtype == torch.uint8 else result / 255, images)

    __call__ = _call


_GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")

# name -> (weakest magnitude, strongest, function of levels and magnitudes), geometry first; a magnitude given
# in whole numbers moves from the weakest in whole steps
TRIVIAL_OPERATIONS: dict[str, tuple[float, float, Callable[[Tensor, Tensor], Tensor] | None]] = {
    "shear_x": (0.0, 0.99, None),
    "shear_y": (0.0, 0.99, None),
    "translate_x": (0, 32, None),
    "translate_y": (0, 32, None),
    "rotate": (0, 135, None),
    "identity": (0, 0, None),
    "brightness": (0.01, 2.0, _brightness),
    "color": (0.01, 2.0, _saturation),
    "contrast": (0.01, 2.0, _contrast),
    "sharpness": (0.01, 2.0, _sharpness),
    "posterize": (8, 2, _posterize),
    "solarize": (256, 0, _solarize),
    "autocontrast": (0, 0, _autocontrast),
    "equalize": (0, 0, _equalize),
}


def _trivial_magnitude(operation: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Float (N,), for strengths 0 to 30; only geometry takes the sign."""
    rows = TRIVIAL_OPERATIONS.values()
    start, end = (torch.tensor([row[k] for row in rows], dtype=torch.float64)[operation] for k in (0, 1))
    whole = torch.tensor([isinstance(row[0], int) for row in rows])[operation]
    change = (end - start) * strength / 30
    change = torch.where(whole, change.trunc(), change)
    return (start + torch.where(operation < len(_GEOMETRIC), sign * change, change)).float()


def _trivial_matrices(operation: Tensor, magnitude: Tensor, height: int, width: int) -> Tensor:
    """Output to input coordinates; shears hold the upper left corner, as Pillow's affine transform does."""

    def only(name: str) -> Tensor:
        return magnitude.double() * (operation == _GEOMETRIC.index(name))

    slope_x, slope_y = only("shear_x"), only("shear_y")
    shear = (slope_x.atan().rad2deg(), slope_y.atan().rad2deg())
    translate = (only("translate_x") - slope_x * height / 2, only("translate_y") - slope_y * width / 2)
    return _affine(-only("rotate"), translate, 1.0, shear, len(operation))


# Mixing, which changes the targets too.


def _soft(targets: Tensor, num_classes: int | None) -> Tensor:
    """Float (N, K): targets that are so already, or class indices as one-hot rows."""
    if targets.is_floating_point() and targets.ndim == 2:
        return targets
    if targets.is_floating_point() or targets.ndim != 1:
        raise ValueError(f"targets must be int64 (N,) or float (N, K); got {targets.dtype} {targets.shape}")
    if num_classes is None:
        raise ValueError("targets are class indices: give num_classes to the transform, or (N, K) targets")
    return F.one_hot(targets.long(), num_classes).float()


def _beta(alpha: float, n: int, generator: Generator) -> Tensor:
    """Beta(alpha, alpha) by the inverse of its distribution function: torch's sampler takes no generator."""
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.from_numpy(betaincinv(alpha, alpha, uniform.numpy())).float()


def _as_float(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _call_mix(self: Any, images: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw for every image from `generator`, then apply; float (N, C, H, W) and float (N, K) come back."""
    _check_images(images)
    return self.apply(images, targets, self.draw(len(images), *images.shape[-2:], generator))


@dataclass(frozen=True)
class MixUp:
    """Each image and target is averaged with a partner of the batch, with a weight from Beta(alpha, alpha).

    Every image has a weight of its own. Targets are int64 (N,), which need `num_classes`, or float (N, K).
    Zhang et al. 2017, arXiv:1710.09412.
    """

    alpha: float = 0.2
    num_classes: int | None = None

    def __post_init__(self) -> None:
        _check_number("alpha", self.alpha, 1e-3)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`partner` (n,), a permutation, and `weight` (n,), the image's own share."""
        return {
            "partner": torch.randperm(n, generator=generator),
            "weight": _beta(self.alpha, n, generator),
        }

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Float images in [0, 1] (N, C, H, W) and float targets (N, K)."""
        partner = parameters["partner"].to(images.device)
        weight = _column(parameters["weight"], images)
        values, targets = _as_float(images), _soft(targets, self.num_classes)
        mixed = _restore(weight * values + (1 - weight) * values[partner], values)
        share = parameters["weight"].to(targets.device)[:, None]
        return mixed, share * targets + (1 - share) * targets[partner.to(targets.device)]

    __call__ = _call_mix


@dataclass(frozen=True)
class CutMix:
    """A rectangle of each image is replaced by the same part of a partner; targets mix by area.

    The area's share is drawn from Beta(alpha, alpha) and the rectangle's centre anywhere; clipped at the
    border, and targets follow what is left. Every image has a rectangle of its own. Targets are int64 (N,),
    which need `num_classes`, or float (N, K). Yun et al. 2019, arXiv:1905.04899.
    """

    alpha: float = 1.0
    num_classes: int | None = None

    def __post_init__(self) -> None:
        _check_number("alpha", self.alpha, 1e-3)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`partner` (n,), a permutation, and the rectangle `top`, `left`, `height`, `width` (n,), clipped."""
        partner = torch.randperm(n, generator=generator)
        side = (1 - _beta(self.alpha, n, generator)).sqrt()  # of the rectangle, as a share of the image's
        parameters = {"partner": partner}
        for start, length, size in (("top", "height", height), ("left", "width", width)):
            cut = (side * size).long()
            first = _integers(0, size - 1, n, generator) - cut // 2
            parameters[start] = first.clamp(0, size)
            parameters[length] = (first + cut).clamp(0, size) - parameters[start]
        return parameters

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Float images in [0, 1] (N, C, H, W) and float targets (N, K)."""
        box = {name: parameters[name] for name in ("top", "left", "height", "width")}
        partner = parameters["partner"].to(images.device)
        values, targets = _as_float(images), _soft(targets, self.num_classes)
        mixed = _restore(torch.where(_inside_box(images, box), values[partner], values), values)
        area = images.shape[-2] * images.shape[-1]
        share = (1 - box["height"] * box["width"] / area).to(targets.device)[:, None]
        return mixed, share * targets + (1 - share) * targets[partner.to(targets.device)]

    __call__ = _call_mix
