"""One picture and one run: the answer, where it comes from, and every reason to doubt it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from imgcls import explain, openset
from imgcls.app.runs import data_of, threshold_of
from imgcls.data import Split, decoding, load_image
from imgcls.evaluation import predict_checked
from imgcls.models import temperature_of

MAX_BYTES = 25 * 2**20  # of one picture
PREVIEW = 640  # longer side in pixels of the original as the page shows it
CLOSE = 2 / 3  # of the first probability; a second class beyond that is too close to call
SURE = 0.9  # probability from which on nothing more is said about mistakes
COLOURED = 24  # levels between the channels of a pixel from which on it has a colour


@dataclass(frozen=True)
class Picture:
    """An upload in the two forms that matter: as people see it, and nothing but pixels for the network."""

    preview: Image.Image  # upright RGB, sides at most PREVIEW
    size: tuple[int, int]  # upright width and height of the original
    seen: Tensor  # uint8 (C, S, S), what the network gets
    animated: bool
    coloured: bool


@dataclass(frozen=True)
class Answer:
    """What a run says about a picture."""

    picture: Picture
    ranked: tuple[tuple[str, float], ...]  # every class with its probability, most probable first
    known: bool | None  # whether the picture is like the training images; None where the run cannot tell
    untold: str  # why it cannot
    cam: Tensor | None  # float32 (S, S) in [0, 1]
    unmapped: str  # why there is none
    doubts: tuple[str, ...]  # why the answer may be wrong
    remarks: tuple[str, ...]  # what of the picture did not reach the network


def read(data: bytes, card: Mapping[str, Any]) -> Picture:
    """Decode the bytes of an upload as the card asks; nothing else of them is used.

    Raises:
        Undecodable: too many bytes or pixels, or no picture; `reason` is one line.
    """
    if len(data) > MAX_BYTES:
        raise decoding.Undecodable(f"{len(data) / 2**20:,.1f} MB are more than the limit of {MAX_BYTES // 2**20} MB")
    preview, size = decoding.open_rgb(data, at_least=PREVIEW)
    preview.thumbnail((PREVIEW, PREVIEW))
    levels = np.asarray(preview, dtype=np.int16)
    coloured = np.mean(np.ptp(levels, axis=2) > COLOURED) > 0.01
    seen = load_image(data, card["image_size"], card["channels"])
    with Image.open(io.BytesIO(data), formats=decoding.FORMATS) as image:
        animated = bool(getattr(image, "is_animated", False))
    return Picture(preview, size, seen, animated, bool(coloured))


def ask(model: nn.Module, card: Mapping[str, Any], picture: Picture, photograph: bool = True) -> Answer:
    """Ask a model about a picture, as `imgcls predict` does.

    Args:
        model: of the run, in evaluation mode.
        card: of the run.
        picture: from `read` with the same card.
        photograph: whether it came from outside, instead of being one of the generated examples.

    Raises:
        ValueError: the model's answer is no number.
    """
    images, classes = picture.seen[None], tuple(card["classes"])
    split = Split(images, torch.zeros(1, dtype=torch.int64), None, ("picture",), classes)
    raw = predict_checked(model, split)
    said = raw.with_temperature(temperature_of(card))
    # Stable, so that the first of equal classes wins as in Predictions.predicted.
    order = said.logits[0].argsort(descending=True, stable=True).tolist()
    shares = said.probabilities[0].tolist()
    ranked = tuple((classes[i], shares[i]) for i in order)

    known, untold = None, ""
    limit = threshold_of(card)
    if isinstance(limit, str):
        untold = limit
    else:
        known = bool(getattr(openset, limit[0])(raw.logits)[0] >= limit[1])

    cam, unmapped = None, ""
    try:
        cam = explain.grad_cam(model, images, said.predicted)[0]
    except ValueError as error:  # a network without a layer that has places
        unmapped = str(error)
    return Answer(
        picture, ranked, known, untold, cam, unmapped, _doubts(ranked, card, photograph), _remarks(picture, card)
    )


def _doubts(ranked: tuple[tuple[str, float], ...], card: Mapping[str, Any], photograph: bool) -> tuple[str, ...]:
    (first, p), (second, q), *_ = ranked
    foreign = photograph and data_of(card)[1] == "generated"
    said = []
    if q > CLOSE * p:
        said.append(f"Unsure between {first} ({per_cent(p)}) and {second} ({per_cent(q)}).")
    if p < 0.5:
        said.append(f"No class reaches a half: {first} is only the most probable of {len(ranked)}.")
    elif not said and not foreign and p < SURE and "temperature" in card:
        said.append(f"Of 100 answers as sure as this one, about {round(100 * (1 - p))} are wrong.")
    if foreign:
        said.append("This run has seen generated pictures only; its probabilities do not hold for photographs.")
    return tuple(said)


def _remarks(picture: Picture, card: Mapping[str, Any]) -> tuple[str, ...]:
    size, (width, height) = card["image_size"], picture.size
    said = []
    if min(width, height) < size:
        said.append(f"The picture is {width} × {height} pixels and was enlarged to the {size} × {size} of the network.")
    if width != height:
        lost = 1 - min(width, height) / max(width, height)
        said.append(f"Not square: {per_cent(lost)} of the picture lies outside the square that the network sees.")
    if card["channels"] == 1 and picture.coloured:
        said.append("The network takes grey pictures: it does not see the colours of this one.")
    if picture.animated:
        said.append("An animation: only its first frame was looked at.")
    return tuple(said)


def per_cent(share: float) -> str:
    """As `imgcls predict` prints it."""
    return f"{100 * share:.1f} %"
