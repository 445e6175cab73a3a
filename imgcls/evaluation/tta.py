"""Test-time augmentation: transforms of a batch over which `predict` averages the logits."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from imgcls.transforms import RandomCrop


def flip_shift_tta(pixels: int = 1) -> list[Callable[[Tensor], Tensor]]:
    """Six transforms for `predict`: the image unmoved and shifted along the diagonal both ways, each also mirrored.

    Args:
        pixels: Size of the shifts, with reflected borders; 0 gives the image and its mirror image only.
    """
    shifts = (0, pixels, -pixels) if pixels else (0,)
    return [partial(_flip_shift, pixels=shift, flip=flip) for shift in shifts for flip in (False, True)]


def _flip_shift(images: Tensor, pixels: int, flip: bool) -> Tensor:
    images = images.flip(3) if flip else images
    if not pixels:
        return images
    shift = torch.full((len(images),), pixels)
    return RandomCrop(abs(pixels), mode="reflect").apply(images, {"top": -shift, "left": -shift})
