"""The generated data sets of `menagerie`: rendered once, then mapped from the cache."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

import menagerie
from imgcls.data.cache import create_array, read_cache, write_cache
from imgcls.data.splits import Split, Splits, parse_names, select_classes
from imgcls.messages import UserError
from imgcls.progress import transient_progress

BATCH = 1024  # images rendered at a time
LUMA = (19595, 38470, 7471)  # ITU-R 601 in 65536ths, as in Pillow
PREFIX = "menagerie/"


def generated_names() -> tuple[str, ...]:
    """menagerie/<subset> of every subset."""
    return tuple(f"{PREFIX}{subset}" for subset in menagerie.subsets())


def load_generated(
    name: str,
    image_size: int,
    channels: int,
    classes: Sequence[str] | None,
    settings: Mapping[str, float],
    counts: Mapping[str, int | None],
    folder: Path,
) -> Splits:
    """Load one of `generated_names()`.

    `settings` are keywords of `menagerie.render`, `counts` the images of each split (None: the number of the subset),
    `folder` is the cache; the rest as for `load`.
    """
    subset = name.removeprefix(PREFIX)
    known = menagerie.subsets()[subset].classes
    chosen = select_classes(classes, known, name)
    label_of = {one: label for label, one in enumerate(chosen)}
    try:
        menagerie.render(subset, "train", torch.arange(0), image_size, **settings)
    except ValueError as error:  # a setting out of range
        raise UserError(str(error)) from error
    splits, fingerprints = {}, []
    for split, size in menagerie.sizes(subset).items():
        index = _indices(subset, split, [known.index(one) for one in chosen], size, counts[split])
        what = f"{menagerie.VERSION}/{subset}/{split}/{settings}/{chosen}/{len(index)}"
        fingerprint = hashlib.sha256(what.encode()).hexdigest()
        fingerprints.append(fingerprint)
        key = (folder, fingerprint[:16], image_size, channels)

        arguments = {"image_size": image_size, "channels": channels, "settings": settings}
        fill = partial(render_into, subset=subset, split=split, index=index, **arguments)
        stored = read_cache(*key) or write_cache(*key, fill)
        images, masks = stored.gather(np.arange(len(index)))
        labels = torch.tensor([label_of[one] for one in parse_names(stored.names)[1]], dtype=torch.int64)
        splits[split] = Split(images, labels, masks, stored.names, chosen)
    fingerprint = hashlib.sha256("/".join(fingerprints).encode()).hexdigest()[:16]
    return Splits(**splits, classes=chosen, skipped=(), fingerprint=fingerprint, name=name, kind="generated")


def _indices(subset: str, split: str, labels: Sequence[int], size: int, count: int | None) -> torch.Tensor:
    """Indices of the first `count` images with these labels; without `count`, all among the first `size` images."""

    def among(index: torch.Tensor) -> torch.Tensor:
        return index[torch.isin(menagerie.labels(subset, split, index), torch.tensor(labels))]

    if count is None:
        return among(torch.arange(size))
    period = len(menagerie.subsets()[subset].orders[menagerie.SPLITS.index(split)])
    repeats = -(-count // len(among(torch.arange(period))))
    return among(torch.arange(period * repeats))[:count]


def render_into(
    folder: Path,
    subset: str,
    split: str,
    index: torch.Tensor,
    image_size: int,
    channels: int,
    settings: Mapping[str, float],
) -> dict:
    """Render images `index` (N,) into folder/images.npy and masks.npy, batch by batch; returns the cache's index."""
    total = len(index)
    images = create_array(folder / "images.npy", (total, channels, image_size, image_size), np.uint8)
    masks = create_array(folder / "masks.npy", (total, image_size, image_size), np.bool_)
    names: list[str] = []
    with transient_progress(total, lambda done: f"rendering: {done:,} of {total:,} images") as advance:
        for chunk in index.split(BATCH):
            batch = menagerie.render(subset, split, chunk, image_size, **settings)
            rows = slice(len(names), len(names) + len(chunk))
            images[rows] = (batch.images if channels == 3 else grayscale(batch.images)).numpy()
            masks[rows] = batch.masks.numpy()
            labels = zip(batch.labels.tolist(), chunk.tolist(), strict=True)
            names += [f"{split}/{batch.classes[label]}/{i:06d}" for label, i in labels]
            advance(len(chunk))
    images.flush()
    masks.flush()
    return {"names": names, "rows": list(range(total)), "sizes": None, "masks": True, "skipped": [], "unread": []}


def grayscale(images: torch.Tensor) -> torch.Tensor:
    """Uint8 (N, 3, H, W) to (N, 1, H, W), with the rounding of Pillow."""
    red, green, blue = (images[:, i : i + 1].int() * weight for i, weight in enumerate(LUMA))
    return ((red + green + blue + 0x8000) >> 16).to(torch.uint8)
