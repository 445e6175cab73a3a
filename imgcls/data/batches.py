"""The order of the data and every draw of its augmentation, as a pure function of (seed, epoch, step)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from imgcls.reproducibility import generator
from imgcls.transforms import Transform, apply, resize


class ImageSet(Protocol):
    """Anything with images (N, C, H, W) and labels (N,); a `datasets.Split` is one."""

    images: Tensor
    labels: Tensor


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


def steps_per_epoch(n: int, batch_size: int, drop_last: bool = False) -> int:
    """Batches in one pass over n images; `drop_last` leaves out a last batch that is not full."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    return n // batch_size if drop_last else -(-n // batch_size)


def batches(
    split: ImageSet,
    batch_size: int,
    *,
    seed: int | None = None,
    epoch: int | None = None,
    transforms: Sequence[Transform] = (),
    shuffle: bool = True,
    start_step: int = 0,
    drop_last: bool = False,
    device: torch.device | str | None = None,
    weights: Tensor | None = None,
    shard: Callable[[int], slice] | None = None,
    alternating_flip: bool = False,
    image_size: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (images, labels int64), moved to `device` first and augmented there.

    Step k is the same whether the epoch starts at step 0 or at `start_step`; skipped steps cost nothing. With
    `weights` (N,), samples are drawn with replacement in proportion to them. Without shuffling, images on
    their own device come as views, so do not write into them. Only the rows of a batch are read from a memory
    map. `share` takes the size of a batch to the rows of it that are wanted, which come out as they would in
    the whole batch: several processes share one order and one set of draws. With `alternating_flip` an image is
    mirrored in every other epoch, which half of them begins with being decided by the seed: two epochs show each
    image both ways, where chance would show half of them the same way twice (Jordan 2024, arXiv:2404.00498). With
    `image_size` the augmented images come out with that many pixels a side.

    Raises:
        ValueError: an argument is out of range, or a random order or draw is asked for without seed and epoch.
    """
    n = len(split.images)
    steps = steps_per_epoch(n, batch_size, drop_last)
    if len(split.labels) != n:
        raise ValueError(f"{n} images but {len(split.labels)} labels")
    if steps == 0:
        raise ValueError(f"no batch of {batch_size} can be made of {n} images; lower batch_size or drop_last")
    if not 0 <= start_step <= steps:
        raise ValueError(f"start_step must be between 0 and the epoch's {steps} steps; got {start_step}")
    if (shuffle or len(transforms) or alternating_flip) and (seed is None or epoch is None):
        raise ValueError(f"shuffled or augmented batches need seed and epoch; got seed={seed!r}, epoch={epoch!r}")
    if weights is not None:
        _check_weights(weights, n, shuffle)

    def iterate() -> Iterator[tuple[Tensor, Tensor]]:
        index = None
        if shuffle:
            index = order(n, seed, epoch) if weights is None else weighted_order(weights, seed, epoch)
        mirrored = _mirrored(n, seed, epoch) if alternating_flip else None
        target = torch.device(device) if device is not None else split.images.device
        for step in range(start_step, steps):
            first, size = step * batch_size, min(batch_size, n - step * batch_size)
            mine = shard(size) if shard else slice(size)
            rows = slice(first + (mine.start or 0), first + mine.stop)
            if index is None:
                images, labels = split.images[rows], split.labels[rows]
            else:
                images, labels = (_gather(t, index[rows], target) for t in (split.images, split.labels))
            images, labels = images.to(target, non_blocking=True), labels.to(target, non_blocking=True)
            if mirrored is not None:
                turn = mirrored[rows] if index is None else mirrored[index[rows]]
                images = torch.where(turn.to(target)[:, None, None, None], images.flip(3), images)
            if len(transforms):
                images = apply(transforms, images, generator(seed, "augment", epoch, step), size, mine)
            if image_size:
                images = resize(images, image_size)
            yield images, labels.long()

    return iterate()


def _mirrored(n: int, seed: int, epoch: int) -> Tensor:
    """Which images are mirrored in this epoch: half of them, and the other half in the next; bool (n,)."""
    first = torch.randint(2, (n,), generator=generator(seed, "alternating flip"))
    return (first + epoch) % 2 == 1


def _check_weights(weights: Tensor, n: int, shuffle: bool) -> None:
    if not shuffle:
        raise ValueError("weights draw samples at random: they cannot go with shuffle=False")
    if weights.shape != (n,):
        raise ValueError(f"weights must have shape ({n},), one per image; got {tuple(weights.shape)}")
    if not (weights.isfinite().all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("weights must be finite, not negative, and not all zero")


def _gather(values: Tensor, index: Tensor, target: torch.device) -> Tensor:
    """The rows of a batch; into pinned memory where they go on to a CUDA device, so the copy can overlap."""
    if values.device.type == "cpu" and target.type == "cuda":
        rows = torch.empty((len(index), *values.shape[1:]), dtype=values.dtype, pin_memory=True)
        return torch.index_select(values, 0, index, out=rows)
    return values.index_select(0, index.to(values.device))
