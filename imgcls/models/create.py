"""One function for every network with random, ImageNet or saved weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from imgcls.models.factory import build, check_name
from imgcls.models.serialization import read_card, transfer


def create_model(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    weights: str | Path | None = None,
    image_size: int | None = None,
    statistics: tuple[float | Sequence[float], float | Sequence[float]] | None = None,
    **options: Any,
) -> nn.Sequential:
    """Build a network by name, with normalisation as its first module.

    Args:
        name: one of `list_models()`, or "timm:<name>" (a pretrained tag may follow: "timm:resnet18.a1_in1k").
        num_classes: outputs; a pretrained head of another width is replaced by a new one.
        in_channels: image channels; a network made for RGB gets a new first convolution. Pretrained RGB filters
            are summed for one channel, else repeated and scaled to keep the scale of their outputs.
        weights: None for random weights, "imagenet" for pretrained ones, or a folder written by `save`: features
            and normalisation are copied, the output layer is always new. Image size and options that are not given
            are those of its card.
        image_size: side in pixels of the images to come. Sets the size of networks that have a fixed one (vit,
            maxvit, many of timm's) and of our own linear layers; checked against the minimum.
        statistics: (mean, std) in [0, 1] units to normalise with, instead of those that training will measure:
            (0, 1) leaves pixels from 0 to 1 as they are.
        options: the network's own keyword arguments; torchvision's resnets also take `small_stem=True`,
            a 3x3 stem of stride 1 without pooling, for images of up to 64 px (He et al. 2016, section 4.2).

    Returns:
        nn.Sequential of `normalize` (its buffers hold the pretrained weights' statistics, or wait for `fit`) and
        `network`, channels-last: (N, C, H, W) images, `uint8` or in [0, 1], to (N, K) logits. Its attribute
        `built_from` has architecture, num_classes, channels, image_size and options. An image size that was not
        given is None there, or the default of our own networks.

    Raises:
        ValueError: an unknown name or option, an image size that the network cannot take, or weights of another
            architecture, channel count or shape.
        MissingWeights: pretrained weights that are neither cached nor can be downloaded, or a folder without them.
    """
    if weights in (None, "imagenet"):
        model = build(name, num_classes, in_channels, image_size, options, pretrained=weights == "imagenet")
    else:
        _check_folder(weights)
        check_name(name)
        card = read_card(weights)
        if (card["architecture"], card["channels"]) != (name, in_channels):
            raise ValueError(
                f"{weights} holds a {card['architecture']!r} for {card['channels']} channels, which does not fit "
                f"{name!r} for {in_channels}; create that network with in_channels={card['channels']}, "
                "or choose other weights"
            )
        size = card["image_size"] if image_size is None else image_size
        model = build(name, num_classes, in_channels, size, card["options"] | options)
        transfer(model, weights, card)
    if statistics is not None:
        model.normalize.set_statistics(*statistics)
    return model


def _check_folder(weights: str | Path) -> None:
    """Refuse a word that is neither a choice nor a path; errors about a path come from reading it."""
    if isinstance(weights, str):
        path = Path(weights)
        is_path = path.exists() or path.suffix or len(path.parts) > 1
    else:
        is_path = isinstance(weights, Path)
    if not is_path:
        raise ValueError(
            f"unknown weights {weights!r}; choose None (random), 'imagenet' or a folder written by models.save"
        )
