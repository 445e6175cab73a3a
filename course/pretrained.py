"""The first available of several pretrained networks that a notebook's parameter names, and untrained ones."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from course.collapse import recalibrate
from imgcls.data import Split
from imgcls.evaluation.statistics import Interval
from imgcls.models import MissingWeights, read_card
from imgcls.transfer import pretrained

CHOICE = re.compile(r"(?P<origin>[^@]+)/(?P<name>[^/@]+)@(?P<size>[1-9]\d*)")
SYNTAX = "write origin/name@pixels, such as 'imagenet/efficientnet_lite0@128'"


@dataclass(frozen=True)
class Pretrained:
    """An available pretrained network."""

    origin: str  # as `pretrained` takes it
    name: str
    image_size: int  # pixels
    weights: str | Path

    @property
    def trained_on(self) -> str:
        """The images that the weights were trained on, as text for a report."""
        if self.origin == "imagenet":
            return "the photographs of ImageNet"
        card = read_card(self.weights)
        data, accuracy = card.get("data"), card.get("metrics", {}).get("test accuracy")
        images = f"{data['train']:,} {data['kind']} images" if data else "images"
        tested = f" (test accuracy {Interval(**accuracy)})" if accuracy else ""
        return f"{images} of {len(card['classes'])} classes{tested}"


def untrained(create: Callable[..., nn.Module], images: Split) -> nn.Module:
    """A network with random weights whose batch norms have the mean and variance of these images.

    With the initial mean 0 and variance 1, activations can shrink from layer to layer until all images look alike.

    Args:
        create: takes weights, such as `partial(create_model, "resnet18", 10)`.
        images: training images, of the size that the network takes.
    """
    return recalibrate(create(weights=None), images)


def first_available(choices: Sequence[str], **source: Any) -> Pretrained:
    """The first of several pretrained networks whose weights are available; prints which are not, and why.

    Args:
        choices: "origin/name@pixels" each, such as "imagenet/efficientnet_lite0@128" or "source/resnet18@64".
        source: further arguments of `source_backbone`, for those of origin "source".

    Raises:
        MissingWeights: none is available; the message has the reason for each.
        ValueError: a choice of another form, or no choice.
    """
    reasons = []
    for choice in choices:
        try:
            found = _checked(choice, source)
        except MissingWeights as error:
            reasons.append(f"{choice}: {error}")
            continue
        for reason in reasons:
            print(f"not available, so {choice} takes its place: {reason}")
        return found
    raise _none_available(reasons)


def all_available(choices: Sequence[str], **source: Any) -> list[Pretrained]:
    """All of several pretrained networks whose weights are available; prints which are not, and why.

    Arguments and errors are those of `first_available`.
    """
    found, reasons = [], []
    for choice in choices:
        try:
            found.append(_checked(choice, source))
        except MissingWeights as error:
            reasons.append(f"{choice}: {error}")
    if not found:
        raise _none_available(reasons)
    for reason in reasons:
        print(f"not available, and left out: {reason}")
    return found


def _checked(choice: str, source: dict[str, Any]) -> Pretrained:
    match = CHOICE.fullmatch(choice)
    if not match:
        raise ValueError(f"{choice!r} names no pretrained network; {SYNTAX}")
    origin, name, size = match["origin"], match["name"], int(match["size"])
    return Pretrained(origin, name, size, pretrained(origin, name, size, **(source if origin == "source" else {})))


def _none_available(reasons: list[str]) -> Exception:
    return MissingWeights("; ".join(reasons)) if reasons else ValueError(f"no pretrained network is named; {SYNTAX}")
