"""Data sets for the notebooks: two splits in one, classes in turn, a split as files, checks of the generated sets."""

from pathlib import Path, PurePosixPath

import pandas as pd
import torch
from PIL import Image

import menagerie
from imgcls.data import DataError, Split

COUNT = 48  # images rendered for each check


def concat_classes(first: Split, second: Split) -> Split:
    """The images and classes of two splits, those of the first before those of the second.

    Masks and original sizes are kept where both splits have them.

    Raises:
        DataError: the splits share a class, or their images differ in size or channels.
    """
    common = [name for name in first.classes if name in second.classes]
    if common:
        raise DataError(f"{common[0]!r} is a class of both splits; rename it in one, or exclude it from one")
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


def interleaved(labels: torch.Tensor) -> torch.Tensor:
    """Indices of the first image of each class, then of the second, and so on; int64 (N,).

    Files are in the order of their classes, so the first of them would be of one class.
    """
    place = torch.zeros_like(labels)
    for label in labels.unique():
        place[labels == label] = torch.arange(int((labels == label).sum()))
    return (place * (int(labels.max()) + 1) + labels).argsort()


def export(split: Split, folder: str | Path) -> list[Path]:
    """Write the images as PNG files, folder/class/name.png, which `load` reads again; returns the paths in order.

    The slashes of a name become dashes: test/cat/0001.jpg is written as cat/test-cat-0001.png.

    Raises:
        FileExistsError: a file exists already; nothing is overwritten.
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


def generated_checks(subset: str, image_size: int = 64, seed: int = 0) -> pd.DataFrame:
    """Render images twice and check the promises of the menagerie: pure functions of the index, consistent masks.

    Returns:
        One row per check: check, expected, measured, passed.
    """
    index = torch.arange(COUNT)
    first = menagerie.render(subset, "train", index, image_size, seed)
    again = menagerie.render(subset, "train", index, image_size, seed)
    alone = menagerie.render(subset, "train", index[COUNT // 2 :], image_size, seed)
    other = menagerie.render(subset, "train", index, image_size, seed + 1)
    agree = (first.masks == (first.parts > 0)).float().mean(dtype=torch.float64)
    classes = menagerie.subsets()[subset].kinds
    named = sum(kind in classes[k] for kind, k in zip(first.kinds, first.labels.tolist(), strict=True))
    seen = int((first.masks.flatten(1).sum(1) > 0).sum())
    half = COUNT // 2
    rows = [
        ("the same seed gives the same bytes", _same(first.images, again.images), COUNT, COUNT),
        ("another batch gives the same bytes", _same(first.images[half:], alone.images), COUNT - half, COUNT - half),
        ("another seed gives the same bytes", _same(first.images, other.images), 0, COUNT),
        ("the species belongs to the class", named, COUNT, COUNT),
        ("the mask is not empty", seen, COUNT, COUNT),
    ]
    found = [
        (check, f"{target} of {n}", f"{measured} of {n}", measured == target) for check, measured, target, n in rows
    ]
    pixels = ("mask and parts agree", "100 % of pixels", f"{100 * agree:.4g} % of pixels", bool(agree == 1))
    return pd.DataFrame([*found, pixels], columns=["check", "expected", "measured", "passed"])


def _same(a: torch.Tensor, b: torch.Tensor) -> int:
    """Number of images that agree in every byte."""
    return int((a == b).flatten(1).all(dim=1).sum())
