"""Generated images with exact masks, parts and depth: no download, and any number of them.

Each step has its module. A row of the species table and random draws give an individual (`kinds`). Its body plan
(`plans`) poses a skeleton of primitives (`anatomy`). The view (`view`) rotates the body and fits it to the frame. The
primitives become pixels (`raster`), which get a coat (`coat`) and light (`light`) in a habitat (`scene`). `picture`
runs the steps in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from menagerie import picture
from menagerie import scene as scenes
from menagerie.anatomy import PARTS
from menagerie.draws import WORD, Draws, scramble
from menagerie.kinds import attribute_names, attributes, differences, document, named, row, table
from menagerie.making import steps
from menagerie.threads import one_thread_each

__all__ = [
    "PARTS",
    "SPLITS",
    "VERSION",
    "Generated",
    "Subset",
    "attribute_names",
    "attributes",
    "differences",
    "generate",
    "habitats",
    "labels",
    "one_thread_each",
    "portraits",
    "render",
    "row",
    "sizes",
    "steps",
    "subsets",
    "table",
]  # fmt: skip

VERSION = 1
"""Increase with every change that alters an image: caches of generated images are keyed by it."""

SPLITS = ("train", "val", "test")
UNKNOWN = "unknown"  # the last class of species_mixed


@dataclass(frozen=True)
class Subset:
    """Contents of a generated data set; the class and kind of image i depend on i alone."""

    classes: tuple[str, ...]
    kinds: tuple[tuple[str, ...], ...]  # of each class
    sizes: tuple[int, int, int]  # default number of train, val and test images
    image_size: int  # pixels at which the classes are easy to distinguish
    orders: tuple[tuple[int, ...], ...]  # of train, val and test: classes of successive images, repeated cyclically


@dataclass(frozen=True, eq=False)
class Generated:
    """A batch of generated images with the ground truth of every pixel."""

    images: torch.Tensor  # uint8 (N, 3, H, W)
    masks: torch.Tensor  # bool (N, H, W), the visible subject
    parts: torch.Tensor  # uint8 (N, H, W), 0 off the subject, k is PARTS[k - 1]
    depth: torch.Tensor  # float32 (N, H, W) in half image widths, larger is nearer; NaN off the subject
    labels: torch.Tensor  # int64 (N,)
    classes: tuple[str, ...]
    kinds: tuple[str, ...]  # of each image
    habitats: tuple[str, ...]  # of each image
    traits: torch.Tensor  # float32 (N, T), attributes of the individual, named by attribute_names()


@cache
def habitats() -> tuple[str, ...]:
    """Names of the habitats that can be the background."""
    return tuple(scenes.habitats())


@cache
def subsets() -> dict[str, Subset]:
    """Every generated data set by name."""
    found = {}
    for name, entry in document()["subsets"].items():
        if "unknown" in entry:
            seen, unseen = found[entry["seen"]], found[entry["unknown"]]
            classes = dict(zip(seen.classes, seen.kinds, strict=True)) | {UNKNOWN: sum(unseen.kinds, ())}
            orders = (_evenly([1] * len(seen.classes) + [len(unseen.classes)]),) * 3
        else:
            classes = entry.get("classes") or {species: [species] for species in entry["species"]}
            even = tuple(range(len(classes)))
            uneven = _evenly(_counts(name, len(classes), *entry["each"])) if "each" in entry else even
            orders = (uneven, even, even)
        kinds = tuple(tuple(one) for one in classes.values())
        found[name] = Subset(tuple(classes), kinds, tuple(entry["sizes"]), entry["image_size"], orders)
    return found


def _counts(name: str, classes: int, least: int, most: int) -> list[int]:
    """Random number of images of each class, from least to most."""
    drawn = Draws(f"{name}/counts", torch.arange(classes)).number(least, most + 1)
    return [int(one) for one in drawn]


def _evenly(counts: Sequence[int]) -> tuple[int, ...]:
    """Order in which class c occurs counts[c] times, spread as evenly as possible."""
    places = [((k + 0.5) / count, label) for label, count in enumerate(counts) for k in range(count)]
    return tuple(label for _, label in sorted(places))


def generate(
    subset: str,
    split: str = "train",
    start: int = 0,
    count: int = 64,
    image_size: int = 64,
    seed: int = 0,
    habitat_bias: float = 0.0,
    clutter: float = 1.0,
) -> Generated:
    """Render images `start` to `start + count` of a split.

    Image i is a pure function of (subset, split, seed, i); its bytes depend neither on the batch nor on the number of
    threads. Another `image_size` shows the same scene in more or fewer pixels.

    Args:
        subset: a name in `subsets()`.
        split: train, val or test.
        start: index of the first image.
        count: number of images.
        image_size: height and width in pixels.
        seed: random seed of every draw.
        habitat_bias: probability that the background is the habitat of the kind instead of a random one. A negative
            value is the probability of the habitat of another class, so -1 swaps the backgrounds of two classes. The
            subject, its place in the frame and its occlusion do not depend on it.
        clutter: how much pose, scale, position and occlusion vary. At 0 every subject is whole, large, centred,
            seen from the side and not occluded; 1 is the default of the data sets.

    Raises:
        ValueError: for an unknown subset or split, or a number out of range.
    """
    if start < 0 or count < 0 or start + count > 2**31:
        raise ValueError(f"start {start} and count {count} must not be negative, with a sum of at most 2**31")
    return render(subset, split, torch.arange(start, start + count), image_size, seed, habitat_bias, clutter)


def render(
    subset: str,
    split: str,
    index: torch.Tensor,
    image_size: int = 64,
    seed: int = 0,
    habitat_bias: float = 0.0,
    clutter: float = 1.0,
    subject: bool = True,
) -> Generated:
    """Render chosen images, `index` int64 (N), with or without their subject; other arguments as for `generate`."""
    known = _subset(subset)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of: {', '.join(SPLITS)}")
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, not {image_size}")
    if not -1 <= habitat_bias <= 1:
        raise ValueError(f"habitat_bias is a probability from 0 to 1, or below zero to -1 to swap, not {habitat_bias}")
    if not 0 <= clutter <= 1:
        raise ValueError(f"clutter is a share from 0 to 1, not {clutter}")
    key = f"{subset}/{split}/{seed}"
    label = labels(subset, split, index)
    drawn = scramble(index & WORD).tolist()
    kinds = tuple(known.kinds[c][word % len(known.kinds[c])] for c, word in zip(label.tolist(), drawn, strict=True))
    draws = Draws(f"{key}/habitat", index)
    tied, anywhere = draws.chance(abs(habitat_bias)), (draws.number() * len(habitats())).long()
    homes = kinds if habitat_bias >= 0 else _others(known, label, draws)
    own = torch.tensor([habitats().index(str(row(kind)["habitat"])) for kind in homes], dtype=torch.int64)
    habitat = torch.where(tied, own, anywhere)
    taken = picture.take(kinds, habitat, key, index, image_size, subject=subject, clutter=clutter)
    return _generated(taken, label, known.classes, kinds, habitat)


def _others(known: Subset, label: torch.Tensor, draws: Draws) -> list[str]:
    """A kind of another class for each image."""
    steps, which = draws.number(1, max(len(known.classes), 2)).long(), draws.number()
    others = [known.kinds[c] for c in ((label + steps) % len(known.classes)).tolist()]
    return [kinds[int(share * len(kinds))] for kinds, share in zip(others, which.tolist(), strict=True)]


def portraits(
    kinds: Sequence[str],
    habitat: str | None = None,
    yaw: Sequence[float] | None = None,
    same: bool = False,
    image_size: int = 96,
    seed: int = 0,
    clutter: float = 1.0,
) -> Generated:
    """Render one image of each kind, regardless of subsets; labels number the kinds.

    Args:
        kinds: names of rows of the table, which may repeat.
        habitat: a name in habitats(), random if None.
        yaw: direction of each head in radians: 0 to the right, π to the left, π/2 away from the viewer; random if None.
        same: whether all images of one kind show the same individual.
        image_size: height and width in pixels.
        seed: random seed of every draw.
        clutter: as for `generate`.

    Raises:
        ValueError: for an unknown kind or habitat.
    """
    if habitat is not None:
        named("habitat", habitat, scenes.habitats())
    key = f"portraits/{seed}"
    index = torch.zeros(len(kinds), dtype=torch.int64) if same else torch.arange(len(kinds))
    drawn = (Draws(f"{key}/habitat", index).number() * len(habitats())).long()
    places = drawn if habitat is None else torch.full_like(index, habitats().index(habitat))
    turned = None if yaw is None else torch.tensor(yaw, dtype=torch.float32)
    taken = picture.take(kinds, places, key, index, image_size, turned, clutter=clutter)
    classes = tuple(dict.fromkeys(kinds))
    label = torch.tensor([classes.index(kind) for kind in kinds], dtype=torch.int64)
    return _generated(taken, label, classes, tuple(kinds), places)


def _generated(
    taken: picture.Pictures,
    labels: torch.Tensor,
    classes: tuple[str, ...],
    kinds: tuple[str, ...],
    habitat: torch.Tensor,
) -> Generated:
    return Generated(
        taken.images, taken.parts > 0, taken.parts, taken.depth, labels, classes, kinds,
        tuple(habitats()[i] for i in habitat.tolist()), taken.traits,
    )  # fmt: skip


def labels(subset: str, split: str, index: torch.Tensor) -> torch.Tensor:
    """Class of each image, int64 (N); the training split of `species` is imbalanced, val and test are balanced."""
    order = torch.tensor(_subset(subset).orders[SPLITS.index(split)])
    return order[index % len(order)]


def sizes(subset: str) -> dict[str, int]:
    """Default number of images of each split."""
    return dict(zip(SPLITS, _subset(subset).sizes, strict=True))


def _subset(name: str) -> Subset:
    return named("subset", name, subsets())
