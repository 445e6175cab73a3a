"""The task that all training loops share: files, network and settings."""

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

HELD_OUT = 0.002  # share of images for validation, which `fit` needs; small, since it is not timed
LR, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4


@dataclass(frozen=True)
class Task:
    """Some epochs over the same images; imgcls reads the archive in place, the peers read unpacked files."""

    archive: Path
    cache: Path  # of imgcls
    folder: Path  # of the peers: train/<class>/<file> and val/<class>/<file>
    images: int  # of train
    image_size: int
    mean: tuple[float, ...]  # of train in [0, 1]; the time excludes computing them
    std: tuple[float, ...]
    num_classes: int
    epochs: int = 1
    batch_size: int = 128
    network: str = "cifar_dropout"
    workers: int = 0  # of the peers' loaders
    fast: bool = False  # the peers with bfloat16, channels-last weights and no logging

    @property
    def recipe(self) -> Recipe:
        """The training settings for `fit`."""
        return Recipe(
            epochs=self.epochs, batch_size=self.batch_size, lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY,
            schedule="constant", transforms=(RandomCrop(padding=4), RandomHorizontalFlip()),
        )  # fmt: skip


def load(archive: Path, folder: Path, image_size: int, images: int | None) -> Splits:
    """Decode every file of the archive; at most `images` are for training, equally many per class."""
    return imgcls.data.load(
        archive, image_size=image_size, cache=folder, train_count=images, val_fraction=HELD_OUT, test_fraction=HELD_OUT
    )


@cache
def splits(task: Task) -> Splits:
    """The images for imgcls, from the decoded cache."""
    return load(task.archive, task.cache, task.image_size, task.images)


def prepare(archive: Path, folder: Path, image_size: int, images: int | None = None) -> Task:
    """Decode for imgcls, unpack the same training and validation files for the peers, compute mean and std."""
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
    """Write the named files of an archive to folder/class/file."""
    with zipfile.ZipFile(archive) as packed:
        depth = names[0].count("/") + 1  # names leave out a wrapper folder
        members = {"/".join(name.split("/")[-depth:]): name for name in packed.namelist()}
        for name in names:
            target = folder / "/".join(name.split("/")[-2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(packed.read(members[name]))


def our_network(task: Task) -> nn.Module:
    """The model for `fit`, which begins with normalisation."""
    torch.manual_seed(0)
    return create_model(task.network, task.num_classes, image_size=task.image_size)


def peer_network(task: Task) -> nn.Module:
    """The model without normalisation, which the peers do in their transforms; channels-last only if `task.fast`."""
    memory_format = torch.channels_last if task.fast else torch.contiguous_format
    return our_network(task).network.to(memory_format=memory_format)
