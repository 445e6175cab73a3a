"""Batches of a split, and the order of a training epoch as a pure function of (seed, epoch)."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from imgcls.reproducibility import generator


class ImageSet(Protocol):
    """Anything with images (N, C, H, W), labels (N,) and class names (K,); a `data.Split` is one."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def batches(
    split: ImageSet, batch_size: int, device: torch.device | str | None = None, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The split in order as (images, labels int64) on `device`, from image `start` on.

    Images are views where they are there already, so do not write.
    """
    parts = (values[start:].split(batch_size) for values in (split.images, split.labels))
    for images, labels in zip(*parts, strict=True):
        yield images.to(device), labels.to(device).long()


def order(n: int, seed: int, epoch: int) -> Tensor:
    """The epoch's permutation of 0 … n - 1; int64 (n,)."""
    return torch.randperm(n, generator=generator(seed, "order", epoch))


def weighted_order(weights: Tensor, seed: int, epoch: int) -> Tensor:
    """As many indices as there are weights, drawn with replacement in proportion to them; int64 (n,)."""
    draw = generator(seed, "weighted order", epoch)
    return torch.multinomial(weights.double(), len(weights), replacement=True, generator=draw)


def balanced_weights(labels: Tensor) -> Tensor:
    """One weight per sample that makes every class present equally likely; float64 (N,), sum 1."""
    counts = labels.long().bincount()
    return (1 / counts[labels.long()].double()) / (counts > 0).sum()
