"""The training batches of one process: order and augmentation as a pure function of (seed, epoch, step)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from imgcls.data.batches import ImageSet, balanced_weights, order, weighted_order
from imgcls.messages import UserError
from imgcls.precision import send
from imgcls.reproducibility import generator
from imgcls.training.distributed import Distributed
from imgcls.training.recipe import Recipe
from imgcls.transforms import apply, resize


class Batch(NamedTuple):
    """One process's shard of the images of a step."""

    images: Tensor  # (N, C, H, W)
    labels: Tensor  # int64 (N,), to count correct predictions by
    targets: Tensor  # the labels, or probabilities (N, K) after mixing
    global_size: int  # images of the step over all processes, the divisor of the loss


def steps_per_epoch(n: int, recipe: Recipe, processes: int = 1) -> int:
    """Steps in one epoch of n images.

    Raises:
        ValueError: there is no full batch, or a batch has fewer images than there are processes.
    """
    steps = n // recipe.batch_size if recipe.drop_last else -(-n // recipe.batch_size)
    if not steps:
        raise UserError(f"{n} images are fewer than one batch of {recipe.batch_size}: lower batch_size")
    smallest = recipe.batch_size if recipe.drop_last else n - (steps - 1) * recipe.batch_size
    if smallest < processes:
        raise UserError(
            f"{processes} processes cannot share a batch of {smallest}: raise batch_size (now {recipe.batch_size}), "
            "or leave out the last batch with drop_last=True"
        )
    return steps


def train_batches(
    train: ImageSet, recipe: Recipe, seed: int, epoch: int, start_step: int = 0, world: Distributed | None = None
) -> Iterator[Batch]:
    """This process's shard of each batch of an epoch, moved to its device and augmented there.

    Step k does not depend on `start_step` or on the number of processes.
    Only the rows of a shard are read from a memory map.

    Args:
        train: Split to learn from.
        recipe: Batch size, sampling and augmentation.
        seed: Key of order and augmentation.
        epoch: Counted from 0.
        start_step: First step; earlier steps are not computed.
        world: The processes that share each batch; None is one process on the device of the images.

    Raises:
        ValueError: `train` has another number of labels than images, or makes no batch.
    """
    n, world = len(train.images), world or Distributed(train.images.device)
    if len(train.labels) != n:
        raise UserError(f"{n} images but {len(train.labels)} labels")
    balanced = recipe.balanced_sampling
    index = weighted_order(balanced_weights(train.labels.cpu()), seed, epoch) if balanced else order(n, seed, epoch)
    # What does not depend on the step is sent once an epoch; images may be on the device, or a map of a file.
    index = send(index, train.images.device)
    labels_of_epoch = send(train.labels.to(index.device).long()[index], world.device)
    if recipe.alternating_flip:
        flipped = send(_alternating_flip(n, seed, epoch).to(index.device)[index], world.device)
    image_size = recipe.image_size_at(epoch + 1)

    for step in range(start_step, steps_per_epoch(n, recipe, world.size)):
        first = step * recipe.batch_size
        rows = index[first : first + recipe.batch_size]
        size, shard = len(rows), world.shard(len(rows))
        part = slice(size) if recipe.batch_mix else shard  # an image is mixed with one of any shard
        images = send(train.images.index_select(0, rows[part]), world.device)
        labels = targets = labels_of_epoch[first : first + size][part]
        if recipe.alternating_flip:
            images = torch.where(flipped[first : first + size][part, None, None, None], images.flip(3), images)
        images = apply(recipe.transforms, images, generator(seed, "augment", epoch, step), size, part)
        if image_size:
            images = resize(images, image_size)
        if recipe.batch_mix:
            images, targets = recipe.batch_mix(images, labels, generator(seed, "mix", epoch, step))
            images, labels, targets = images[shard], labels[shard], targets[shard]
        yield Batch(images, labels, targets, size)


def _alternating_flip(n: int, seed: int, epoch: int) -> Tensor:
    """Which images are flipped in this epoch, bool (n,): about half, and the other images in the next epoch.

    Two epochs show each image in both orientations; with random flips, half of the images would have the same
    orientation in both epochs (Jordan 2024, arXiv:2404.00498).
    """
    first = torch.randint(2, (n,), generator=generator(seed, "alternating flip"))
    return (first + epoch) % 2 == 1
