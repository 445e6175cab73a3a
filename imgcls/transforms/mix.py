"""Mixing of images and their targets."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.special import betaincinv
from torch import Generator, Tensor

from imgcls.messages import UserError
from imgcls.precision import send
from imgcls.transforms.base import Parameters, check_images, per_image, restore
from imgcls.transforms.checks import check_number


@dataclass(frozen=True)
class _Mix:
    alpha: float
    num_classes: int | None = None

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, 1e-3)

    def __call__(self, images: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw for every image from `generator`, then apply."""
        check_images(images)
        return self.apply(images, targets, self.draw(len(images), *images.shape[-2:], generator))


@dataclass(frozen=True)
class MixUp(_Mix):
    """Each image and target is averaged with a partner of the batch, with a weight from Beta(alpha, alpha).

    Every image has its own weight. Targets are int64 (N,), which need `num_classes`, or float (N, K).
    Zhang et al. 2017, arXiv:1710.09412.
    """

    alpha: float = 0.2

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`partner` (n,), a permutation, and `weight` (n,), the image's own share."""
        return {"partner": torch.randperm(n, generator=generator), "weight": _beta(self.alpha, n, generator)}

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Float images in [0, 1] (N, C, H, W) and float targets (N, K)."""
        partner, values = parameters["partner"], _to_float(images)
        weight = per_image(parameters["weight"], images)
        mixed = weight * values + (1 - weight) * values[send(partner, images.device)]
        return restore(mixed, values), _mix_targets(targets, self.num_classes, partner, parameters["weight"])


@dataclass(frozen=True)
class CutMix(_Mix):
    """Replace a rectangle of each image by the same part of a partner; targets mix by area (Yun et al. 2019).

    The share of the area is sampled from Beta(alpha, alpha), and the centre uniformly over the image. The rectangle is
    clipped at the border; targets follow the clipped area. Every image has its own rectangle. Targets are int64 (N,),
    which need `num_classes`, or float (N, K). arXiv:1905.04899.
    """

    alpha: float = 1.0

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """`partner` (n,), a permutation, and the rectangle `top`, `left`, `height`, `width` (n,), clipped."""
        partner = torch.randperm(n, generator=generator)
        side = (1 - _beta(self.alpha, n, generator)).sqrt()  # of the rectangle, as a share of the image's
        parameters = {"partner": partner}
        for start, length, size in (("top", "height", height), ("left", "width", width)):
            cut = (side * size).long()
            first = torch.randint(size, (n,), generator=generator) - cut // 2
            parameters[start] = first.clamp(0, size)
            parameters[length] = (first + cut).clamp(0, size) - parameters[start]
        return parameters

    def apply(self, images: Tensor, targets: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Float images in [0, 1] (N, C, H, W) and float targets (N, K)."""
        partner, values = parameters["partner"], _to_float(images)
        height, width = images.shape[-2:]
        top, left = (per_image(parameters[name], images) for name in ("top", "left"))
        bottom, right = top + per_image(parameters["height"], images), left + per_image(parameters["width"], images)
        y, x = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
        inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)  # (N, 1, H, W)
        mixed = torch.where(inside, values[send(partner, images.device)], values)
        weight = 1 - parameters["height"] * parameters["width"] / (height * width)
        return restore(mixed, values), _mix_targets(targets, self.num_classes, partner, weight)


def _mix_targets(targets: Tensor, num_classes: int | None, partner: Tensor, weight: Tensor) -> Tensor:
    """Float (N, K): each row's targets times `weight` (N,), plus its partner's times 1 - weight."""
    if not (targets.is_floating_point() and targets.ndim == 2):
        if targets.is_floating_point() or targets.ndim != 1:
            raise UserError(f"targets must be int64 (N,) or float (N, K); got {targets.dtype} {targets.shape}")
        if num_classes is None:
            raise UserError("targets are class indices: give num_classes to the transform, or (N, K) targets")
        targets = F.one_hot(targets.long(), num_classes).float()
    weight = send(weight, targets.device)[:, None]
    return weight * targets + (1 - weight) * targets[send(partner, targets.device)]


def _beta(alpha: float, n: int, generator: Generator) -> Tensor:
    """Beta(alpha, alpha) by the inverse of its distribution function, as torch's sampler accepts no generator."""
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.from_numpy(betaincinv(alpha, alpha, uniform.numpy())).float()


def _to_float(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images
