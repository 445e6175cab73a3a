"""Example images: generated ones of the run's classes, and of classes that the run does not have."""

import io
import math
from collections.abc import Sequence

import torch
from PIL import Image

import menagerie

KNOWN = 6  # images of the run's classes
UNKNOWN_CLASSES = ("hot-air balloon", "lobster", "cactus", "zebra", "giraffe", "fox")
UNKNOWN = 2  # images of UNKNOWN_CLASSES that are no class of the run


def examples(data: str, classes: Sequence[str], size: int) -> list[tuple[str, bool, bytes]]:
    """Generated test images that suit a run.

    Args:
        data: Name of its training data. Test images come from that set if it is generated, else from the generated
            set that shares most classes, if any does.
        classes: Of the run.
        size: Of its images in pixels.

    Returns:
        The class of each, whether it is a class of the run, and the bytes of a PNG file.
    """
    wanted = {_normalized(name) for name in classes}
    found = []
    subsets = menagerie.subsets()
    shared = {name: sum(_normalized(one) in wanted for one in subset.classes) for name, subset in subsets.items()}
    own = data.removeprefix("menagerie/")
    best = own if shared.get(own) else max(shared, key=lambda name: shared[name])
    if shared[best]:
        labels = subsets[best].classes
        order = menagerie.labels(best, "test", torch.arange(len(labels) * math.ceil(KNOWN / shared[best]))).tolist()
        shown = [i for i, label in enumerate(order) if _normalized(labels[label]) in wanted]
        shown = shown[:: len(shown) // KNOWN]  # of many classes evenly spaced ones instead of the first
        rendered = menagerie.render(best, "test", torch.tensor(shown[:KNOWN]), image_size=size)
        names = [labels[label] for label in rendered.labels.tolist()]
        found += [(name, True, _png(image)) for name, image in zip(names, rendered.images, strict=True)]
    unknown = [name for name in UNKNOWN_CLASSES if _normalized(name) not in wanted][:UNKNOWN]
    rendered = menagerie.portraits(unknown, image_size=size)
    return found + [(name, False, _png(image)) for name, image in zip(unknown, rendered.images, strict=True)]


def _normalized(name: str) -> str:
    """A class name without case, separators and plural: `Cats` of one data set is the `cat` of another."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split()).removesuffix("s")


def _png(image: torch.Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()
