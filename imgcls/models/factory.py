"""Every network by name: the course's own, torchvision's and timm's, behind one normalising front."""

import difflib
import functools
import inspect
import json
import logging
import math
import os
import sys
import types
import urllib.error
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgcls.models.networks import CHOICES, NETWORKS
from imgcls.models.normalize import Normalize
from imgcls.models.surgery import classifiers

MINIMUM_SIZE = {
    "cifar_fast": 9,
    "cifar": 8,
    "zfnet": 37,
    "alexnet": 63,
    "convnext": 32,
    "densenet": 29,
    "googlenet": 15,
    "inception_v3": 75,
    "maxvit": 224,
    "squeezenet1_0": 21,
    "squeezenet1_1": 17,
    "swin": 4,
    "vgg": 32,
}
"""Smallest image side in pixels by the start of the name; measured, and measured again by a test."""

INSTEAD = (
    "choose weights=None or a folder written by models.save "
    "(notebook 00 makes one from generated images: build/backbones/)"
)
"""The end of an error message about ImageNet weights that cannot be had."""


class MissingWeights(FileNotFoundError):
    """Pretrained weights were asked for and are not on this machine; the message says how to bring them."""


def list_models(timm_too: bool = False) -> tuple[str, ...]:
    """Every name that `create_model` takes; timm's thousand and more only when asked for."""
    names = (*NETWORKS, *_torchvision_names())
    return (*names, *(f"timm:{name}" for name in _library().list_models())) if timm_too else names


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
        in_channels: image channels; a network made for RGB gets a new first convolution. With pretrained
            weights one channel gets the sum of the RGB filters, which answers to a grey image as the
            original does to its RGB copy; other counts get them in turn, scaled to keep the response.
        weights: None for random weights, "imagenet" for pretrained ones, or a folder written by `save`: its
            features and normalisation are taken over, and the output layer is always a new one. Image size and
            options that are not given are then those of its card.
        image_size: side in pixels of the images to come. Sets the size of networks that have a fixed one
            (vit, maxvit, many of timm's) and of our own dense layers; checked against the minimum.
        statistics: (mean, std) in [0, 1] units to normalise with, instead of those that training will measure:
            (0, 1) leaves pixels from 0 to 1 as they are.
        options: the network's own keyword arguments; torchvision's resnets also take `small_stem=True`,
            a 3x3 stem of stride 1 without pooling, for images of up to 64 px (He et al. 2016, section 4.2).

    Returns:
        nn.Sequential of `normalize` (its buffers hold the pretrained weights' statistics, or wait for
        `fit`) and `network`, channels-last: (N, C, H, W) images, `uint8` or in [0, 1], to (N, K) logits.
        Its attribute `built_from` tells how it was made: architecture, num_classes, channels, image_size and
        options. An image size that was not given is None there, or the default of our own networks.

    Raises:
        ValueError: an unknown name or option, an image size that the network cannot take, or weights of another
            architecture, channel count or shape.
        MissingWeights: pretrained weights that are neither cached nor to be downloaded, or a folder without them.
    """
    saved = weights not in (None, "imagenet")
    if saved:
        _check_folder(weights)
    for what, value in {"num_classes": num_classes, "in_channels": in_channels}.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{what} must be a whole number of at least 1, not {value!r}")
    _check_name(name)
    if saved:
        from imgcls.models import serialization  # which builds on this module

        card = serialization.read_card(weights)
        if (card["architecture"], card["channels"]) != (name, in_channels):
            raise ValueError(
                f"{weights} holds a {card['architecture']!r} for {card['channels']} channels, which does not fit "
                f"{name!r} for {in_channels}; ask for that network with in_channels={card['channels']}, "
                "or choose other weights"
            )
        options = card["options"] | options
        image_size = card["image_size"] if image_size is None else image_size
    elif image_size is None and name in NETWORKS:
        image_size = default_size(name)
    if image_size is not None and image_size < minimum_size(name):
        raise ValueError(
            f"{name!r} needs images of at least {minimum_size(name)} px, not {image_size}; "
            "enlarge the images or choose a network for small ones (cifar_*, simple_cnn, resnet18)"
        )
    build = _own if name in NETWORKS else _timm if name.startswith("timm:") else _torchvision
    normalize = Normalize(in_channels)
    network = build(name, num_classes, normalize, weights == "imagenet", image_size, options)
    model = nn.Sequential(OrderedDict(normalize=normalize, network=network))
    if saved:
        serialization.transfer(model, weights, card)
    if statistics is not None:
        normalize.set_statistics(*statistics)
    model.built_from = {
        "architecture": name,
        "num_classes": num_classes,
        "channels": in_channels,
        "image_size": image_size,
        "options": _recorded(options),
    }
    return model.to(memory_format=torch.channels_last)


def minimum_size(name: str) -> int:
    """Smallest image side in pixels that a network accepts; 1 where no limit is known (as for timm's)."""
    _check_name(name)
    return next((size for start, size in MINIMUM_SIZE.items() if name.startswith(start)), 1)


def default_size(name: str, weights: str | None = None) -> int:
    """Image side in pixels that a network was made for, as `create_model` builds it without `image_size`."""
    _check_name(name)
    if name in NETWORKS:
        return inspect.signature(NETWORKS[name]).parameters["image_size"].default
    if name.startswith("timm:"):
        return _library().get_pretrained_cfg(name.removeprefix("timm:")).input_size[-1]
    if weights is None and _torchvision_class(name) is _vision().VisionTransformer:
        return 224  # vit_h_14's weights take 518
    return _vision().get_model_weights(name).DEFAULT.transforms().crop_size[0]


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """The end of an error message: the closest choice where there is one, else all of them."""
    choices = list(choices)
    close = difflib.get_close_matches(value, choices, n=3)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    return f"choose from {', '.join(choices[:20])}{', …' if len(choices) > 20 else ''}"


def _check_name(name: str) -> None:
    if name.startswith("timm:"):
        if not _library().is_model(name.removeprefix("timm:")):
            raise ValueError(f"unknown model {name!r}; {did_you_mean(name, list_models(timm_too=True))}")
    elif name not in NETWORKS and name not in _torchvision_names():
        raise ValueError(f"unknown model {name!r}; {did_you_mean(name, list_models())}")


def _check_folder(weights: str | Path) -> None:
    """Refuse a word that is neither a choice nor a path; what is wrong with a path is said where it is read."""
    if isinstance(weights, str):
        path = Path(weights)
        is_path = path.exists() or path.suffix or len(path.parts) > 1
    else:
        is_path = isinstance(weights, Path)
    if not is_path:
        close = difflib.get_close_matches(str(weights), ["imagenet"])
        raise ValueError(
            f"unknown weights {weights!r}{' (did you mean ' + repr(close[0]) + '?)' if close else ''}; "
            "choose None (random), 'imagenet' or a folder written by models.save"
        )


def _recorded(options: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON gives them back (tuples as lists); what JSON cannot hold stays, and `save` refuses it."""
    try:
        return json.loads(json.dumps(options))
    except TypeError:
        return dict(options)


def _check_options(name: str, options: Mapping[str, Any], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for option in options:
        if option not in allowed:
            raise ValueError(f"unknown option {option!r} for {name!r}; {did_you_mean(option, allowed)}")


# ------------------------------------------------------------------ our own
def _own(
    name: str, num_classes: int, normalize: Normalize, pretrained: bool, image_size: int | None, options: dict
) -> nn.Module:
    constructor = NETWORKS[name]
    parameters = inspect.signature(constructor).parameters.values()
    _check_options(name, options, [p.name for p in parameters if p.kind is p.KEYWORD_ONLY])
    for option, choices in CHOICES.items():
        if option in options and options[option] not in choices:
            raise ValueError(
                f"unknown {option} {options[option]!r} for {name!r}; {did_you_mean(str(options[option]), choices)}"
            )
    if pretrained:
        raise ValueError(f"{name!r} has no ImageNet weights; take a torchvision name, or {INSTEAD}")
    size = {} if image_size is None else {"image_size": image_size}
    return constructor(num_classes, len(normalize.mean), **size, **options)


# ------------------------------------------------------------------ torchvision
def _vision() -> types.ModuleType:
    import torchvision  # slow: PyTorch's compiler comes with it, and our own networks need neither

    return torchvision.models


@functools.cache
def _torchvision_names() -> tuple[str, ...]:
    return tuple(_vision().list_models(module=_vision()))


def _torchvision(
    name: str, num_classes: int, normalize: Normalize, pretrained: bool, image_size: int | None, options: dict
) -> nn.Module:
    constructor = _torchvision_class(name)
    parameters = inspect.signature(constructor).parameters.values()
    fixed = {"num_classes", "init_weights", "aux_logits", "transform_input"}
    allowed = [p.name for p in parameters if p.default is not p.empty and p.name not in fixed]
    resnet = constructor is _vision().ResNet
    _check_options(name, options, [*allowed, *(["small_stem"] if resnet else [])])
    options = dict(options)
    small_stem = options.pop("small_stem", False)
    if small_stem and pretrained:
        raise ValueError("small_stem=True would discard the pretrained stem; choose weights=None or leave it out")

    source = _vision().get_model_weights(name).DEFAULT if pretrained else None
    builder = _vision().get_model_builder(name)
    kwargs = dict(options)
    if source is None:
        kwargs["num_classes"] = num_classes
        if constructor in (_vision().GoogLeNet, _vision().Inception3):
            kwargs |= {"aux_logits": False, "init_weights": True}
    size = _torchvision_size(name, constructor, image_size)
    if source is None or constructor is _vision().MaxVit:
        kwargs |= size
    try:
        network = builder(weights=source, progress=False, **kwargs)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise _missing_torchvision(name, source, error) from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name!r} cannot be built with {options}: {error}") from error

    if source is not None:
        if size and constructor is _vision().VisionTransformer:
            network = _resize_vit(network, builder, size["image_size"], options)
        preset = source.transforms()
        _adopt_statistics(normalize, preset.mean, preset.std)
        if getattr(network, "transform_input", False):
            # These weights expect [-1, 1] and convert from ImageNet's statistics on three channels only.
            network.transform_input = False
            normalize.set_statistics([0.5] * len(normalize.mean), [0.5] * len(normalize.mean))
        for auxiliary in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, auxiliary):
                setattr(network, auxiliary, None)
                network.aux_logits = False
        _replace_head(network, num_classes)
    if small_stem:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    if len(normalize.mean) != 3:
        _replace_stem(network, len(normalize.mean), pretrained=pretrained)
    return network


@functools.cache
def _torchvision_class(name: str) -> type[nn.Module]:
    module = sys.modules[_vision().get_model_builder(name).__module__]
    members = (getattr(module, member) for member in module.__all__)
    return next(m for m in members if isinstance(m, type) and issubclass(m, nn.Module))


def _torchvision_size(name: str, constructor: type[nn.Module], image_size: int | None) -> dict[str, Any]:
    """The constructor's own argument for the image size, where it has one."""
    if image_size is None:
        return {}
    if constructor is _vision().VisionTransformer:
        patch = int(name.rsplit("_", 1)[-1])
        if image_size % patch:
            raise ValueError(
                f"{name!r} cuts images into patches of {patch} px, and {image_size} is no multiple of that; "
                f"choose image_size={max(patch, image_size // patch * patch)}"
            )
        return {"image_size": image_size}
    if constructor is _vision().MaxVit:
        if image_size % 224:
            raise ValueError(f"{name!r} takes multiples of 224 px, not {image_size}; choose image_size=224")
        return {"input_size": (image_size, image_size)}
    return {}


def _resize_vit(network: nn.Module, builder: Callable, image_size: int, options: dict) -> nn.Module:
    """The same vision transformer for another image size, its position embedding interpolated."""
    if image_size == network.image_size:
        return network
    resized = builder(weights=None, image_size=image_size, num_classes=network.num_classes, **options)
    interpolate = _vision().vision_transformer.interpolate_embeddings
    resized.load_state_dict(interpolate(image_size, network.patch_size, network.state_dict()))
    return resized


def _missing_torchvision(name: str, source: Any, error: Exception) -> MissingWeights:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = source.url.rsplit("/", 1)[-1]
    return MissingWeights(
        f"the ImageNet weights of {name!r} are not on this machine and could not be downloaded ({error}); "
        f"fetch {source.url} where there is a network and put the file at {folder / file} "
        f"(TORCH_HOME moves that folder), or {INSTEAD}"
    )


# ------------------------------------------------------------------ timm
def _library() -> types.ModuleType:
    import timm  # slow, and it imports Weights & Biases where that is installed

    return timm


def _timm(
    name: str, num_classes: int, normalize: Normalize, pretrained: bool, image_size: int | None, options: dict
) -> nn.Module:
    timm_name = name.removeprefix("timm:")
    taken = {"num_classes", "in_chans", "img_size", "pretrained"} & set(options)
    if taken:
        raise ValueError(
            f"option {min(taken)!r} for {name!r} goes by create_model's own argument: "
            "num_classes, in_channels, image_size or weights"
        )
    config = _library().get_pretrained_cfg(timm_name)
    if pretrained and not config.has_weights:
        raise MissingWeights(f"timm has no pretrained weights for {name!r}; {INSTEAD}")
    size = {"img_size": image_size} if image_size is not None and config.fixed_input_size else {}
    try:
        with _silent("huggingface_hub"):  # it tells of every retry; what came of them is in the error
            network = _library().create_model(
                timm_name,
                pretrained=pretrained,
                num_classes=num_classes,
                in_chans=len(normalize.mean),
                **size,
                **options,
            )
    except TypeError as error:
        raise ValueError(f"{name!r} cannot be built with {options | size}: {error}") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise _missing_timm(name, config, error) from error
    if pretrained:
        _adopt_statistics(normalize, config.mean, config.std)
    return network


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    spoken = logging.getLogger(logger)
    level = spoken.level
    spoken.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        spoken.setLevel(level)


def _missing_timm(name: str, config: Any, error: Exception) -> MissingWeights:
    if config.hf_hub_id:
        home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
        folder = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
        what = f"model.safetensors of {config.hf_hub_id}"
        where = f"{folder} (`hf download {config.hf_hub_id}` fills it; HF_HOME moves it)"
    else:
        what, where = config.url, str(Path(torch.hub.get_dir()) / "checkpoints")
    return MissingWeights(
        f"the pretrained weights of {name!r} are not on this machine and could not be downloaded ({error}); "
        f"fetch {what} where there is a network and bring it to {where}, or {INSTEAD}"
    )


# ------------------------------------------------------------------ surgery
def _adopt_statistics(normalize: Normalize, mean: Iterable[float], std: Iterable[float]) -> None:
    """Give the buffers the statistics that pretrained RGB weights expect, for any channel count."""
    mean, std, channels = list(mean), list(std), len(normalize.mean)
    if channels == 1:
        mean, std = [sum(mean) / len(mean)], [sum(std) / len(std)]
    normalize.set_statistics((mean * channels)[:channels], (std * channels)[:channels])


def _replace_head(network: nn.Module, num_classes: int) -> None:
    """Put a new output layer in place of one of another width, initialised as PyTorch does."""
    (head,) = classifiers(network)
    if num_classes == (head.out_channels if isinstance(head, nn.Conv2d) else head.out_features):
        return
    if isinstance(head, nn.Conv2d):  # squeezenet
        new = nn.Conv2d(head.in_channels, num_classes, head.kernel_size, bias=head.bias is not None)
    else:
        new = nn.Linear(head.in_features, num_classes, bias=head.bias is not None)
    network.set_submodule(_path_of(network, head), new)
    if hasattr(network, "num_classes"):
        network.num_classes = num_classes


def _replace_stem(network: nn.Module, channels: int, pretrained: bool) -> None:
    """Put a first convolution of `channels` in place of the RGB one, in the same scale of response."""
    old = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=old.padding,
        dilation=old.dilation,
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(_adapt_filters(old.weight, channels, pretrained))
        if old.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(_path_of(network, old), new)


def _adapt_filters(weight: Tensor, channels: int, pretrained: bool) -> Tensor:
    if not pretrained:
        return torch.randn_like(weight[:, :1].expand(-1, channels, -1, -1)) * weight.std() * (3 / channels) ** 0.5
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight.repeat(1, math.ceil(channels / 3), 1, 1)[:, :channels] * (3 / channels)


def _path_of(network: nn.Module, module: nn.Module) -> str:
    return next(path for path, m in network.named_modules() if m is module)
