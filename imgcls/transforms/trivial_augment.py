"""TrivialAugment: one operation at a random strength for each image."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from imgcls.transforms.base import BatchTransform, Change, Parameters, from_levels, grouped, per_image, to_levels
from imgcls.transforms.checks import check_mode
from imgcls.transforms.colour import blend, brightness, contrast, saturation
from imgcls.transforms.geometry import affine_matrices, warp


def _sharpness(levels: Tensor, factor: Tensor) -> Tensor:
    """Move levels away from, or towards, a 3 x 3 smoothing of the inner pixels; border pixels are unchanged."""
    if min(levels.shape[-2:]) < 3:
        return levels
    rows = levels[:, :, :-2] + levels[:, :, 1:-1] + levels[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = levels.clone()
    smooth[:, :, 1:-1, 1:-1] = ((box + 4 * levels[:, :, 1:-1, 1:-1]) / 13).round()
    return blend(levels, smooth, factor)


def _posterize(levels: Tensor, bits: Tensor) -> Tensor:
    step = 2 ** (8 - per_image(bits, levels))
    return (levels / step).floor() * step


def _solarize(levels: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(levels >= per_image(threshold, levels), 255 - levels, levels)


def _autocontrast(levels: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one level is unchanged."""
    low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    stretched = (levels - low) * (255 / (high - low).clamp(min=1))
    return torch.where(high > low, stretched, levels)


def _equalize(levels: Tensor, _: Tensor) -> Tensor:
    """Equalise each channel's histogram, with Pillow's integer rule."""
    n, channels, height, width = levels.shape
    values = levels.long().view(n * channels, height * width)
    offsets = 256 * torch.arange(n * channels, device=levels.device)[:, None]
    histogram = (values + offsets).flatten().bincount(minlength=256 * n * channels).view(-1, 256)
    brightest = histogram.gather(1, values.amax(1, keepdim=True))  # number of pixels at the highest level
    step = (height * width - brightest) // 255
    below = histogram.cumsum(1) - histogram
    table = ((step // 2 + below) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=levels.device))
    return table.gather(1, values).view(levels.shape).float()


# name -> (weakest magnitude, strongest, function of levels and magnitudes), geometry first; magnitudes given as
# integers take integer values only
TRIVIAL_OPERATIONS: dict[str, tuple[float, float, Change | None]] = {
    "shear_x": (0.0, 0.99, None),
    "shear_y": (0.0, 0.99, None),
    "translate_x": (0, 32, None),
    "translate_y": (0, 32, None),
    "rotate": (0, 135, None),
    "identity": (0, 0, None),
    "brightness": (0.01, 2.0, brightness),
    "color": (0.01, 2.0, saturation),
    "contrast": (0.01, 2.0, contrast),
    "sharpness": (0.01, 2.0, _sharpness),
    "posterize": (8, 2, _posterize),
    "solarize": (256, 0, _solarize),
    "autocontrast": (0, 0, _autocontrast),
    "equalize": (0, 0, _equalize),
}
_GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


@dataclass(frozen=True)
class TrivialAugment(BatchTransform):
    """Apply one of fourteen operations at one of 31 strengths to each image: the wide space of TrivialAugment.

    Müller & Hutter 2021, arXiv:2103.10158. All geometric operations share one bilinear grid sample. Translation is up
    to 32 pixels at every image size, as in the paper. Float images are first quantised to 256 levels, for which
    posterising and equalising are defined.
    """

    mode: str = "constant"

    def __post_init__(self) -> None:
        check_mode(self.mode)

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`operation` (n,), an index into TRIVIAL_OPERATIONS, and its `magnitude` (n,).

        Magnitudes: slope, pixels, degrees (counter-clockwise), enhancement factor, bits kept, threshold
        level; 0 where the operation has none.
        """
        operation, strength, sign = (
            torch.randint(count, (n,), generator=generator) for count in (len(TRIVIAL_OPERATIONS), 31, 2)
        )
        return {"operation": operation, "magnitude": magnitudes(operation, strength, 2 * sign - 1)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change all images with the same operation in one call; (N, C, H, W) in and out."""
        operation, magnitude = parameters["operation"], parameters["magnitude"]
        pixels = images if images.dtype == torch.uint8 else (images.float() * 255).round().to(torch.uint8)
        height, width = images.shape[-2:]

        def geometry(chosen: Tensor, index: Tensor) -> Tensor:
            return warp(chosen, _matrices(operation[index], magnitude[index], height, width), self.mode)

        def colour(change: Change) -> Change:
            return lambda chosen, index: from_levels(change(to_levels(chosen), magnitude[index]), chosen)

        others = [change for *_, change in TRIVIAL_OPERATIONS.values()][len(_GEOMETRIC) :]
        changes = [geometry] + [colour(change) if change else None for change in others]
        result = grouped(pixels, (operation - len(_GEOMETRIC) + 1).clamp(min=0), changes)
        return from_levels(result, images)


def magnitudes(operation: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Float (N,), for strengths 0 to 30; only geometry uses the sign."""
    rows = TRIVIAL_OPERATIONS.values()
    start, end = (torch.tensor([row[k] for row in rows], dtype=torch.float64)[operation] for k in (0, 1))
    whole = torch.tensor([isinstance(row[0], int) for row in rows])[operation]
    change = (end - start) * strength / 30
    change = torch.where(whole, change.trunc(), change)
    return (start + torch.where(operation < len(_GEOMETRIC), sign * change, change)).float()


def _matrices(operation: Tensor, magnitude: Tensor, height: int, width: int) -> Tensor:
    """Output to input coordinates; shears fix the upper left corner, as Pillow's affine transform does."""
    angle, slope_x, slope_y, right, down = (
        magnitude.double() * (operation == _GEOMETRIC.index(name))
        for name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
    )
    return affine_matrices(
        -angle,
        right=right - slope_x * height / 2,
        down=down - slope_y * width / 2,
        shear_x=slope_x.atan().rad2deg(),
        shear_y=slope_y.atan().rad2deg(),
    )
