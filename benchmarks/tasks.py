"""The same work for everyone: which files, which network, which settings."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

import imgcls.data
from imgcls.data import Splits
from imgcls.models import create_model
from imgcls.models.normalize import Normalize
from imgcls.reproducibility import configure_threads
from imgcls.training import Recipe
from imgcls.transforms import RandomCrop, RandomHorizontalFlip

HELD_OUT = 0.002  # share of the images to validate on: a fit needs some, and they should cost nothing
LR, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4


@dataclass(frozen=True)
class Task:
    """Some epochs over the same images; ours reads the archive in place, the peers its files in a folder."""

    archive: Path
    cache: Path  # of ours
    folder: Path  # of the peers: train/<class>/<file> and val/<class>/<file>
    images: int  # of train
    image_size: int
    mean: tuple[float, ...]  # of train in [0, 1], which the peers get for nothing
    std: tuple[float, ...]
    num_classes: int
    epochs: int = 1
    batch_size: int = 128
    network: str = "cifar_dropout"
    workers: int = 0  # of the peers' loaders
    fast: bool = False  # the peers with bfloat16, channels-last weights and no logging

    @property
    def recipe(self) -> Recipe:
        """The same training for `fit`."""
        return Recipe(
            epochs=self.epochs, batch_size=self.batch_size, lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY,
            schedule="constant", transforms=(RandomCrop(padding=4), RandomHorizontalFlip()),
        )  # fmt: skip


def load(archive: Path, folder: Path, image_size: int, images: int | None) -> Splits:
    """Every file of the archive decoded, at most `images` of them to train on, equally many of each class."""
    return imgcls.data.load(
        archive, image_size=image_size, cache=folder, train_count=images, val_fraction=HELD_OUT, test_fraction=HELD_OUT
    )


@cache
def splits(task: Task) -> Splits:
    """The images of ours, from the decoded cache."""
    return load(task.archive, task.cache, task.image_size, task.images)


def prepare(archive: Path, folder: Path, image_size: int, images: int | None = None) -> Task:
    """Decode for ours, unpack the very same training and validation files for the peers, measure the statistics."""
    configure_threads()
    found = load(archive, folder / "cache", image_size, images)
    place = folder / f"files-{len(found.train)}"
    for part in ("train", "val"):
        unpack(archive, getattr(found, part).names, place / part)
    normalize = Normalize().fit(found.train.images)
    return Task(
        archive, folder / "cache", place, len(found.train), image_size, tuple(normalize.mean.tolist()),
        tuple(normalize.std.tolist()), len(found.classes),
    )  # fmt: skip


def unpack(archive: Path, names: Sequence[str], folder: Path) -> None:
    """Write the files with these names of a loaded archive to folder/class/file."""
    with zipfile.ZipFile(archive) as packed:
        depth = names[0].count("/") + 1  # a wrapper folder is no part of the names
        members = {"/".join(name.split("/")[-depth:]): name for name in packed.namelist()}
        for name in names:
            target = folder / "/".join(name.split("/")[-2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(packed.read(members[name]))


def our_network(task: Task) -> nn.Module:
    """The model as `fit` takes it, normalisation first."""
    torch.manual_seed(0)
    return create_model(task.network, task.num_classes, image_size=task.image_size)


def peer_network(task: Task) -> nn.Module:
    """The same module without the normalisation, which the peers' transforms do; in PyTorch's own memory format."""
    memory_format = torch.channels_last if task.fast else torch.contiguous_format
    return our_network(task).network.to(memory_format=memory_format)
