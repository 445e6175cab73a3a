"""A data set in memory, its division into train, val and test, and its statistics."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from imgcls.data.sources import DataError, SkippedFile, split_named
from imgcls.messages import did_you_mean, normal_form
from imgcls.pixels import channel_statistics

NAMES = ("train", "val", "test")
SIZE_COLUMNS = [f"{side}_{what}" for side in ("width", "height") for what in ("min", "median", "max")]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The images of one split in memory or mapped into it; `names` are unique, e.g. test/cat/0001.jpg."""

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
        """Some of the images, by index, boolean mask or slice, with all classes."""
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
    """A data set: train to fit, val to choose epochs and hyperparameters, test for the final evaluation only."""

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]
    fingerprint: str
    name: str
    kind: str  # "generated" | "real"
    duplicate_groups: int = 0  # groups of two or more duplicates among the images that were divided at random
    given: tuple[str, ...] = NAMES  # the splits that were not drawn at random

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(split)}" for name, split in self.items())
        shape = tuple(self.train.images.shape[1:])
        return (
            f"Splits({self.name!r}, {self.kind}, {counts}, {len(self.classes)} classes, images {shape}, "
            f"skipped {len(self.skipped)}, fingerprint {self.fingerprint})"
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
                ordered = split.sizes.sort(dim=0).values  # (N, 2)
                summary = torch.stack([ordered[0], ordered[len(ordered) // 2], ordered[-1]], dim=1)  # (2, 3)
                rows[name] = summary.flatten().tolist()
        return pd.DataFrame.from_dict(rows, orient="index", columns=SIZE_COLUMNS)


def statistics(split: Split) -> dict:
    """Number of images, and mean and standard deviation (of all pixels, biased) of each channel.

    Returns:
        count; per_class {class: count}; mean and std, float64 (C,) in units of [0, 1].
    """
    mean, std = channel_statistics(split.images)
    per_class = torch.bincount(split.labels, minlength=len(split.classes)).tolist()
    return {
        "count": len(split),
        "per_class": dict(zip(split.classes, per_class, strict=True)),
        "mean": mean,
        "std": std,
    }


def class_counts(splits: Splits) -> pd.DataFrame:
    """Number of images of each class (rows) in each split (columns)."""
    counts = {
        name: torch.bincount(split.labels, minlength=len(splits.classes)).tolist() for name, split in splits.items()
    }
    return pd.DataFrame(counts, index=pd.Index(splits.classes, name="class"))


# ------------------------------------------------------------------ dividing

LARGE = 0.1  # share of a class's quota from which on a group of duplicates is drawn only if nothing else fits
IndicesByClass = dict[str, list[int]]  # in the random order of shuffle_key, so that a smaller sample is a prefix


def parse_names(names: Sequence[str], split_again: bool = False) -> tuple[list[str | None], list[str]]:
    """Split (None if there is none, or with `split_again`) and class of names such as train/cat/1.jpg or cat/1.jpg.

    A class has the spelling of the first split in the order of train, none, val, test. Another split's name that is
    equal but for case, accents' encoding or separators is that class, unless it could be two of them.
    """
    parts = [name.split("/") for name in names]
    of_folder = {part[0]: split_named(part[0]) for part in parts if len(part) == 3}
    split_of = [of_folder[part[0]] if len(part) == 3 else None for part in parts]
    spelling: dict[str, str] = {}
    for split in ("train", None, "val", "test"):
        known = tuple(set(spelling.values()))
        for name in {part[-2] for part, one in zip(parts, split_of, strict=True) if one == split}:
            spelling.setdefault(name, match_class(name, known) or name)
    if split_again:
        split_of = [None] * len(names)
    return split_of, [spelling[part[-2]] for part in parts]


def match_class(name: str, known: Sequence[str]) -> str | None:
    """The known class with this name, or the only one with a name that is equal but for its form; None for none."""
    alike = [name] if name in known else [one for one in known if normal_form(one) == normal_form(name)]
    return alike[0] if len(alike) == 1 else None


def lookalikes(classes: Sequence[str]) -> list[list[str]]:
    """Classes whose names are equal but for case, accents' encoding or separators, in groups of two or more."""
    groups = defaultdict(list)
    for name in classes:
        groups[normal_form(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def select_classes(classes: Sequence[str] | None, known: tuple[str, ...], where: str | Path) -> tuple[str, ...]:
    """The classes to load, each once, as they are spelled in `known`; all of it if None.

    Raises:
        DataError: an unknown class, or none at all.
    """
    if classes is None:
        return known
    selected = []
    for name in (classes,) if isinstance(classes, str) else classes:
        selected.append(match_class(name, known))
        if selected[-1] is None:
            raise DataError(f"{where} has no class {name!r}; {did_you_mean(name, known)}")
    if not selected:
        raise DataError(f"classes must name at least one class of: {', '.join(known)}")
    return tuple(dict.fromkeys(selected))


def shuffle_key(seed: int, name: str) -> bytes:
    """Sort key of a random order that depends on (seed, name) alone, not on file system, library or other classes."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def drawn_from(names: Sequence[str], split_again: bool = False) -> list[int]:
    """Indices of the names among which `divide` draws: train or everything; none if val and test are given."""
    split_of = parse_names(names, split_again)[0]
    if {"val", "test"} <= set(split_of):
        return []
    pool = "train" if "train" in split_of else None
    return [index for index, split in enumerate(split_of) if split == pool]


def divide(
    names: Sequence[str],
    classes: Sequence[str],
    seed: int,
    val_fraction: float,
    test_fraction: float,
    where: str | Path,
    groups: Sequence[Sequence[str]] = (),
    split_again: bool = False,
) -> dict[str, IndicesByClass]:
    """Indices of the names in train, val and test; a missing split is sampled by class from train or from everything.

    Names of one of the groups (of two or more names each, of any classes) are in the same split. With `split_again`,
    the splits in the names do not count.

    Raises:
        DataError: a class without an image to train on.
    """
    found: dict[str | None, IndicesByClass] = defaultdict(lambda: {name: [] for name in classes})
    split_of, class_of = parse_names(names, split_again)
    order = sorted(range(len(names)), key=lambda i: shuffle_key(seed, names[i]))
    for index in order:
        if class_of[index] in classes:
            found[split_of[index]][class_of[index]].append(index)
    pool = found["train"] if "train" in found else found[None]
    splits = {split: found[split] for split in ("val", "test") if split in found}
    for name in classes:
        if not pool[name]:
            raise DataError(
                f"{where}: class {name!r} has no image to train on; add some, or remove its folder (in Python, exclude "
                f"it with classes=)"
            )
    drawn_test = "test" not in splits
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    for split, fraction in (("test", test_fraction), ("val", val_fraction)):
        if split in splits:
            continue
        quota = {}
        for name, indices in pool.items():
            whole = len(indices) + (len(splits["test"][name]) if split == "val" and drawn_test and None in found else 0)
            count = round(Fraction(str(fraction)) * whole)
            quota[name] = min(max(count, 1), len(indices) - 1)  # at least one image in each split if there are two
        free, together = {index for indices in pool.values() for index in indices}, defaultdict(list)
        for index in order:
            if index in free:
                together[group_of.get(names[index], names[index])].append(index)
        drawn = _draw(
            list(together.values()), class_of, quota, spare=2 if split == "test" and "val" not in splits else 1
        )
        splits[split] = {name: [index for index in pool[name] if index in drawn] for name in classes}
        pool = {name: [index for index in pool[name] if index not in drawn] for name in classes}
    return {"train": pool, **splits}


def _draw(groups: list[list[int]], class_of: Sequence[str], quota: dict[str, int], spare: int) -> set[int]:
    """Indices in the first groups that fit into the quota of each of their classes; large groups come last.

    A class with duplicates keeps `spare` groups if it can: for train, and for a split that is drawn later. If none of
    its groups fits, its smallest is drawn, unless that leaves one of the classes without an image.
    """
    sizes = [Counter(class_of[index] for index in group) for group in groups]
    left = Counter(name for size in sizes for name in size)  # groups
    with_duplicates = {name for group, size in zip(groups, sizes, strict=True) if len(group) > 1 for name in size}
    drawn, taken = set(), Counter()

    def draw(k: int) -> None:
        drawn.update(groups[k])
        taken.update(sizes[k])
        left.subtract(sizes[k].keys())

    for share in (LARGE, 1):
        for k, size in enumerate(sizes):
            fits = all(n <= max(1, share * quota[name]) and taken[name] + n <= quota[name] for name, n in size.items())
            if fits and drawn.isdisjoint(groups[k]) and all(left[c] > spare for c in size if c in with_duplicates):
                draw(k)
    for name in quota:
        if quota[name] and not taken[name]:
            rest = [k for k, size in enumerate(sizes) if name in size and all(left[one] > 1 for one in size)]
            if rest:
                draw(min(rest, key=lambda k: len(groups[k])))
    return drawn


def stratified_sample(indices: IndicesByClass, count: int | None, split: str) -> IndicesByClass:
    """At most `count` images in the proportions of the classes (largest remainders), at least one of each.

    Raises:
        DataError: `count` is smaller than the number of classes; the message names the split.
    """
    present = {name: len(rows) for name, rows in indices.items() if rows}
    total = sum(present.values())
    if count is None or count >= total:
        return indices
    if count < len(present):
        option = " (--max-train-images)" * (split == "train")
        raise DataError(f"{split}_count={count}{option} is fewer than the {len(present)} classes of that split")
    exact = {name: Fraction(size * count, total) for name, size in present.items()}
    quota = {name: max(1, int(share)) for name, share in exact.items()}
    by_remainder = sorted(present, key=lambda name: (quota[name] - exact[name], name))
    for name in by_remainder[: max(0, count - sum(quota.values()))]:
        quota[name] += 1
    while sum(quota.values()) > count:  # the minimum of one image in small classes is taken from the largest
        quota[max(quota, key=lambda name: (quota[name], name))] -= 1
    return {name: rows[: quota.get(name, 0)] for name, rows in indices.items()}
