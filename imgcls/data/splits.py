"""A data set in memory: its splits, questions to them, two of them as one, and one of them as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from PIL import Image

from imgcls.data.sources import DataError, Skipped
from imgcls.pixels import channel_statistics

NAMES = ("train", "val", "test")
SIZE_COLUMNS = [f"{side}_{what}" for side in ("width", "height") for what in ("min", "median", "max")]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The images of one split in memory or mapped into it; `names` tells each apart, e.g. test/cat/0001.jpg."""

    images: torch.Tensor  # uint8 (N, C, H, W)
    labels: torch.Tensor  # int64 (N,)
    masks: torch.Tensor | None  # bool (N, H, W), of generated images
    names: tuple[str, ...]
    classes: tuple[str, ...]
    sizes: torch.Tensor | None = None  # int64 (N, 2), original width and height of real images

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({len(self)} images {tuple(self.images.shape[1:])}, {len(self.classes)} classes)"

    def subset(self, indices: Sequence[int] | torch.Tensor | np.ndarray | slice) -> "Split":
        """Some of the images, by index, boolean mask or slice; the classes stay."""
        if not isinstance(indices, slice):
            indices = torch.as_tensor(indices)
            indices = indices if indices.dtype == torch.bool else indices.long()  # an empty list would be float
        index = torch.arange(len(self))[indices]
        return Split(
            self.images[index],
            self.labels[index],
            None if self.masks is None else self.masks[index],
            tuple(self.names[i] for i in index.tolist()),
            self.classes,
            None if self.sizes is None else self.sizes[index],
        )


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """A data set, split: train to learn from, val to choose by, test to be looked at once."""

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    fingerprint: str
    name: str
    kind: str  # "generated" | "real"

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(split)}" for name, split in self.items())
        shape = tuple(self.train.images.shape[1:])
        return (
            f"Splits({self.name!r}, {self.kind}, {counts}, {len(self.classes)} classes, images {shape}, "
            f"left out {len(self.skipped)}, fingerprint {self.fingerprint})"
        )

    def items(self) -> tuple[tuple[str, Split], ...]:
        """(name, split) of train, val and test."""
        return tuple((name, getattr(self, name)) for name in NAMES)

    @property
    def sizes(self) -> pd.DataFrame:
        """Smallest, median and largest original width and height in pixels, for each split."""
        rows = {}
        for name, split in self.items():
            if split.sizes is not None and len(split):
                rows[name] = size_summary(split.sizes)
        return pd.DataFrame.from_dict(rows, orient="index", columns=SIZE_COLUMNS)


def size_summary(sizes: torch.Tensor) -> list[int]:
    """Smallest, median and largest width, then height: (N, 2) to the values of SIZE_COLUMNS."""
    ordered = sizes.sort(dim=0).values  # (N, 2)
    return torch.stack([ordered[0], ordered[len(ordered) // 2], ordered[-1]], dim=1).flatten().tolist()


def statistics(split: Split) -> dict:
    """Mean and standard deviation (of all pixels, biased) of each channel, counts and original sizes.

    Returns:
        count; per_class {class: count}; mean and std, float64 (C,) in units of [0, 1]; sizes {width_min: …} in
        pixels, or None for generated images.
    """
    mean, std = channel_statistics(split.images)
    per_class = torch.bincount(split.labels, minlength=len(split.classes)).tolist()
    sizes = None
    if split.sizes is not None:
        sizes = dict(zip(SIZE_COLUMNS, size_summary(split.sizes), strict=True))
    return {
        "count": len(split),
        "per_class": dict(zip(split.classes, per_class, strict=True)),
        "mean": mean,
        "std": std,
        "sizes": sizes,
    }


def class_counts(splits: Splits) -> pd.DataFrame:
    """Number of images of each class (rows) in each split (columns)."""
    counts = {
        name: torch.bincount(split.labels, minlength=len(splits.classes)).tolist() for name, split in splits.items()
    }
    return pd.DataFrame(counts, index=pd.Index(splits.classes, name="class"))


def concat_classes(first: Split, second: Split) -> Split:
    """The images of both, the first split's before the second's, and so their classes.

    Masks and original sizes are kept where both splits have them.

    Raises:
        DataError: a class of the one is a class of the other too, or the images differ in size or channels.
    """
    common = [name for name in first.classes if name in second.classes]
    if common:
        raise DataError(f"{common[0]!r} is a class of both splits; rename it in one, or leave it out there")
    shapes = [tuple(split.images.shape[1:]) for split in (first, second)]
    if shapes[0] != shapes[1]:
        raise DataError(f"images of {shapes[0]} and of {shapes[1]} cannot be joined; load both at one size")
    both = {
        what: None if getattr(first, what) is None or getattr(second, what) is None
        else torch.cat([torch.as_tensor(getattr(split, what)) for split in (first, second)])
        for what in ("images", "masks", "sizes")
    }  # fmt: skip
    labels = torch.cat([first.labels, second.labels + len(first.classes)])
    return Split(labels=labels, names=first.names + second.names, classes=first.classes + second.classes, **both)


def export(split: Split, folder: str | Path) -> list[Path]:
    """Write the images as PNG files, folder/class/name.png, which `load` reads again; returns the paths in order.

    The slashes of a name become dashes: test/cat/0001.jpg is written as cat/test-cat-0001.png.

    Raises:
        FileExistsError: a file is there already; nothing is written over.
    """
    written = []
    for image, label, name in zip(split.images, split.labels.tolist(), split.names, strict=True):
        path = Path(folder, split.classes[label], "-".join(PurePosixPath(name).with_suffix(".png").parts))
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = image.permute(1, 2, 0).numpy()  # (H, W, C)
        with path.open("xb") as file:
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        written.append(path)
    return written
