"""Pictures to try without having any: generated ones of the run's classes, and strangers."""

import io
from collections.abc import Sequence

import torch
from PIL import Image

import menagerie

OWN = 6  # pictures of the run's classes
STRANGERS = ("hot-air balloon", "lobster", "cactus", "zebra", "giraffe", "fox")
FOREIGN = 2  # of STRANGERS, those that are no class of the run


def examples(data: str, classes: Sequence[str], size: int) -> list[tuple[str, bool, bytes]]:
    """Generated test pictures that suit a run.

    Args:
        data: name of its training data; of a generated set its own test images are taken, and else those of the set
            that shares most classes, if any does.
        classes: of the run.
        size: of its images in pixels.

    Returns:
        What each shows, whether that is a class of the run, and the bytes of a PNG file.
    """
    wanted = {_plain(name) for name in classes}
    found = []
    subset = _subset(data.removeprefix("menagerie/"), wanted)
    if subset:
        labels = menagerie.subsets()[subset].classes
        rounds = -(-OWN // sum(_plain(name) in wanted for name in labels))
        order = menagerie.labels(subset, "test", torch.arange(len(labels) * rounds)).tolist()
        shown = [i for i, label in enumerate(order) if _plain(labels[label]) in wanted]
        shown = shown[:: len(shown) // OWN]  # of many classes some at even distances, instead of the first
        made = menagerie.render(subset, "test", torch.tensor(shown[:OWN]), image_size=size)
        names = [labels[label] for label in made.labels.tolist()]
        found += [(name, True, _png(image)) for name, image in zip(names, made.images, strict=True)]
    strangers = [name for name in STRANGERS if _plain(name) not in wanted][:FOREIGN]
    made = menagerie.portraits(strangers, image_size=size)
    return found + [(name, False, _png(image)) for name, image in zip(strangers, made.images, strict=True)]


def _subset(own: str, wanted: set[str]) -> str | None:
    """The set itself, or the one whose classes have most names in common with the run's; None if none has any."""
    subsets = menagerie.subsets()
    shared = {name: len(wanted & {_plain(one) for one in subset.classes}) for name, subset in subsets.items()}
    best = own if shared.get(own) else max(shared, key=lambda name: shared[name])
    return best if shared[best] else None


def _plain(name: str) -> str:
    """A class without case, separators and plural: `Cats` of one data set is the `cat` of another."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split()).removesuffix("s")


def _png(image: torch.Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()
