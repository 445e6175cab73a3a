"""Test-time augmentation: views of a batch over which `predict` averages the logits."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from imgcls.transforms import RandomCrop


def flip_shift_tta(pixels: int = 1) -> list[Callable[[Tensor], Tensor]]:
    """Six views for `predict`: where it is, and moved towards two corners; each as it is and mirrored.

    Args:
        pixels: How far to move, down and right, or up and left; what moves in is reflected.
    """
    moves = [partial(_moved, pixels=distance) for distance in (pixels, -pixels)] if pixels else []
    return [view for move in (_unchanged, *moves) for view in (move, partial(_mirrored, then=move))]


def _unchanged(images: Tensor) -> Tensor:
    return images


def _moved(images: Tensor, pixels: int) -> Tensor:
    distance = torch.full((len(images),), pixels)
    return RandomCrop(abs(pixels), mode="reflect").apply(images, {"top": -distance, "left": -distance})


def _mirrored(images: Tensor, then: Callable[[Tensor], Tensor]) -> Tensor:
    return then(images.flip(3))
