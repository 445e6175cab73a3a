"""The prediction for one image by one run: probabilities, Grad-CAM, and reasons why it may be wrong."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from imgcls import explain, openset
from imgcls.app import MAX_BYTES
from imgcls.app.runs import data_of
from imgcls.data import Split, decoding, load_image
from imgcls.evaluation import predict_checked
from imgcls.models import resize_of, temperature_of, threshold_of

PREVIEW = 640  # longer side of the preview in pixels
AMBIGUOUS = 2 / 3  # ratio of the second probability to the first above which both classes are named
CONFIDENT = 0.9  # probability from which on no error rate is given
COLOURED = 24  # levels between the channels of a pixel from which on it has a colour


@dataclass(frozen=True)
class UploadedImage:
    """An uploaded image: a preview, and the input of the network."""

    preview: Image.Image  # upright RGB, sides at most PREVIEW
    size: tuple[int, int]  # upright width and height of the original
    pixels: Tensor  # uint8 (C, S, S), the input of the network
    resize: str  # how they were made square
    animated: bool
    coloured: bool


@dataclass(frozen=True)
class ImagePrediction:
    """What the page shows for an image."""

    image: UploadedImage
    ranked: tuple[tuple[str, float], ...]  # every class with its probability, most probable first
    known: bool | str  # whether the score reaches the threshold for known inputs, or why there is no threshold
    cam: Tensor | str  # Grad-CAM, float32 (S, S) in [0, 1], or why there is none
    warnings: tuple[str, ...]  # why the prediction may be wrong
    notes: tuple[str, ...]  # what of the image does not reach the network


def read_image(data: bytes, card: Mapping[str, Any]) -> UploadedImage:
    """Decode the bytes of an upload with the image size, channels and resize of the card.

    Raises:
        Undecodable: too many bytes or pixels, or not an image; `reason` is one line.
    """
    if len(data) > MAX_BYTES:
        raise decoding.Undecodable(f"{len(data) / 2**20:,.1f} MB are more than the limit of {MAX_BYTES // 2**20} MB")
    preview, size = decoding.open_rgb(data, at_least=PREVIEW)
    preview.thumbnail((PREVIEW, PREVIEW))
    levels = np.asarray(preview, dtype=np.int16)
    coloured = bool(np.mean(np.ptp(levels, axis=2) > COLOURED) > 0.01)
    with Image.open(io.BytesIO(data), formats=decoding.formats_of(data)) as image:
        animated = bool(getattr(image, "is_animated", False))
    pixels = load_image(data, card["image_size"], card["channels"], resize_of(card))
    return UploadedImage(preview, size, pixels, resize_of(card), animated, coloured)


def predict_image(
    model: nn.Module, card: Mapping[str, Any], image: UploadedImage, photograph: bool = True
) -> ImagePrediction:
    """Predict the class of an image, as `imgcls predict` does.

    Args:
        model: Of the run, in evaluation mode.
        card: Of the run.
        image: From `read_image` with the same card.
        photograph: False for a generated example.

    Raises:
        ValueError: a logit is not finite.
    """
    images, classes = image.pixels[None], tuple(card["classes"])
    raw = predict_checked(model, Split(images, torch.zeros(1, dtype=torch.int64), None, ("upload",), classes))
    calibrated = raw.with_temperature(temperature_of(card))
    # Stable, so that the first of equal classes wins as in Predictions.predicted.
    order = calibrated.logits[0].argsort(descending=True, stable=True).tolist()
    probabilities = calibrated.probabilities[0].tolist()
    ranked = tuple((classes[i], probabilities[i]) for i in order)

    known = threshold_of(card)
    if not isinstance(known, str):
        score, threshold, _ = known
        known = bool(getattr(openset, score)(raw.logits)[0] >= threshold)
    try:
        cam = explain.grad_cam(model, images, calibrated.predicted)[0]
    except ValueError as error:  # a network without a spatial layer
        cam = str(error)
    return ImagePrediction(
        image, ranked, known, cam, probability_warnings(ranked, card, photograph), input_notes(image, card)
    )


def probability_warnings(
    ranked: tuple[tuple[str, float], ...], card: Mapping[str, Any], photograph: bool
) -> tuple[str, ...]:
    """Reasons why a prediction may be wrong, from its probabilities and the training data."""
    (first, p), (second, q), *_ = ranked
    out_of_domain = photograph and data_of(card)[1] == "generated"
    warnings = []
    if q > AMBIGUOUS * p:
        warnings.append(f"Ambiguous between {first} ({per_cent(p)}) and {second} ({per_cent(q)}).")
    if p < 0.5:
        warnings.append(f"No class has a probability of 50 %: {first} is the most probable of {len(ranked)}.")
    elif not warnings and not out_of_domain and p < CONFIDENT and "temperature" in card:
        warnings.append(f"Of 100 predictions with this confidence, about {round(100 * (1 - p))} are wrong.")
    if out_of_domain:
        warnings.append("This run was trained on generated images only; its probabilities do not hold for photographs.")
    return tuple(warnings)


def input_notes(image: UploadedImage, card: Mapping[str, Any]) -> tuple[str, ...]:
    """What of an image does not reach the network: size, borders, colours, frames."""
    size, (width, height) = card["image_size"], image.size
    notes = []
    if (max if image.resize == "pad" else min)(width, height) < size:
        notes.append(f"The image of {width} × {height} pixels was enlarged to the {size} × {size} of the network.")
    if width != height:
        rest = per_cent(1 - min(width, height) / max(width, height))
        reasons = {
            "crop": f"{rest} of the image is outside the centre square, the input of the network.",
            "squash": "the image was squashed to the square input of the network, which distorts its shapes.",
            "pad": f"{rest} of the input of the network is border beside the image.",
        }
        notes.append(f"Not square: {reasons[image.resize]}")
    if card["channels"] == 1 and image.coloured:
        notes.append("The network uses grayscale images: the colours of this image are ignored.")
    if image.animated:
        notes.append("An animation: only its first frame was used.")
    return tuple(notes)


def per_cent(share: float) -> str:
    """As `imgcls predict` prints it."""
    return f"{100 * share:.1f} %"
