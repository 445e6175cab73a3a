"""Networks by name, with random or ImageNet weights: our own, torchvision's and timm's, after a `Normalize`."""

import functools
import inspect
import json
import logging
import sys
import types
import urllib.error
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imgcls.messages import UserError, did_you_mean
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
    "efficientnet_lite": 32,
    "googlenet": 15,
    "inception_v3": 75,
    "maxvit": 224,
    "squeezenet1_0": 21,
    "squeezenet1_1": 17,
    "swin": 4,
    "vgg": 32,
}
"""Smallest image side in pixels by the start of the name, as measured and tested."""

TIMM_NAMES = {"efficientnet_lite0": "tf_efficientnet_lite0"}
"""Networks with a name of our own that timm builds; their ImageNet weights are installed with this library."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

ALTERNATIVES = (
    "choose efficientnet_lite0, whose ImageNet weights are here without a network, weights=None, or a folder written "
    "by models.save (notebook 04 makes one from generated images: build/backbones/)"
)
"""End of an error message about unavailable ImageNet weights."""


class MissingWeights(FileNotFoundError):
    """Pretrained weights that are not on this machine; the message says how to get them."""


def list_models(timm_too: bool = False) -> tuple[str, ...]:
    """Every name that `create_model` accepts; with `timm_too` also timm's, over a thousand."""
    names = (*NETWORKS, *TIMM_NAMES, *_torchvision_names())
    return (*names, *(f"timm:{name}" for name in _timm_library().list_models())) if timm_too else names


def build(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    image_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    pretrained: bool = False,
) -> nn.Sequential:
    """A network with random or, if `pretrained`, ImageNet weights; see `create_model`."""
    check_name(name)
    for what, value in {"num_classes": num_classes, "in_channels": in_channels}.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{what} must be a whole number of at least 1, not {value!r}")
    if image_size is None and name in NETWORKS:
        image_size = default_size(name)
    if image_size is not None and image_size < minimum_size(name):
        raise UserError(
            f"{name!r} needs images of at least {minimum_size(name)} px, not {image_size}; "
            "enlarge the images or choose a network for small ones (cifar_*, simple_cnn, resnet18)"
        )
    options = dict(options or {})
    library = _own if name in NETWORKS else _timm if timm_name(name) else _torchvision
    normalize = Normalize(in_channels)
    network = library(name, num_classes, normalize, pretrained, image_size, options)
    model = nn.Sequential(OrderedDict(normalize=normalize, network=network))
    model.built_from = {
        "architecture": name,
        "num_classes": num_classes,
        "channels": in_channels,
        "image_size": image_size,
        "options": _as_json(options),
    }
    return model.to(memory_format=torch.channels_last)


def minimum_size(name: str) -> int:
    """Smallest image side in pixels that a network accepts; 1 if no limit is known, as for timm's."""
    check_name(name)
    return next((size for start, size in MINIMUM_SIZE.items() if name.startswith(start)), 1)


def default_size(name: str) -> int:
    """Default image side in pixels of a network, when `create_model` gets no `image_size`."""
    check_name(name)
    if name in NETWORKS:
        return inspect.signature(NETWORKS[name]).parameters["image_size"].default
    if timm_name(name):
        return _timm_library().get_pretrained_cfg(timm_name(name)).input_size[-1]
    if _torchvision_class(name) is _vision().VisionTransformer:
        return 224  # although vit_h_14's weights use 518
    return _vision().get_model_weights(name).DEFAULT.transforms().crop_size[0]


def timm_name(name: str) -> str | None:
    """The name in timm of a network that timm builds; None for all others."""
    return name.removeprefix("timm:") if name.startswith("timm:") else TIMM_NAMES.get(name)


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1,000 classes, in order; equal names (crane, maillot, …) get a number."""
    names = _vision().get_model_weights("resnet18").DEFAULT.meta["categories"]
    counts = [names[:index].count(name) + 1 for index, name in enumerate(names)]
    return [name if count == 1 else f"{name} {count}" for name, count in zip(names, counts, strict=True)]


def check_name(name: str) -> None:
    """Raise ValueError with the closest names for an unknown name."""
    if name.startswith("timm:"):
        if not _timm_library().is_model(timm_name(name)):
            raise UserError(f"unknown model {name!r}; {did_you_mean(name, list_models(timm_too=True))}")
        base, tag, _ = timm_name(name).partition(".")
        tagged = [f"timm:{one}" for one in _timm_library().list_models(f"{base}.*", include_tags=True)] if tag else []
        if tag and name not in tagged:
            raise UserError(f"unknown weights of timm:{base}, {name!r}; {did_you_mean(name, tagged)}")
    elif name in TIMM_NAMES:
        return
    elif name not in NETWORKS and name not in _torchvision_names():
        raise UserError(f"unknown model {name!r}; {did_you_mean(name, list_models())}")


def _as_json(options: dict[str, Any]) -> dict[str, Any]:
    """Options after a round trip through JSON (tuples become lists); unchanged if impossible, then `save` fails."""
    try:
        return json.loads(json.dumps(options))
    except TypeError:
        return options


def _check_options(name: str, options: Iterable[str], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for option in options:
        if option not in allowed:
            raise UserError(f"unknown option {option!r} for {name!r}; {did_you_mean(option, allowed)}")


# ------------------------------------------------------------------ our own
def _own(
    name: str, num_classes: int, normalize: Normalize, pretrained: bool, image_size: int, options: dict
) -> nn.Module:
    constructor = NETWORKS[name]
    parameters = {p.name: p for p in inspect.signature(constructor).parameters.values() if p.kind is p.KEYWORD_ONLY}
    _check_options(name, options, parameters)
    for option, value in options.items():
        if type(parameters[option].default) is int and type(value) is int and value < 1:
            raise UserError(f"{option} of {name!r} must be at least 1, not {value}")
    for option, choices in CHOICES.items():
        if option in options and options[option] not in choices:
            raise UserError(
                f"unknown {option} {options[option]!r} for {name!r}; {did_you_mean(options[option], choices)}"
            )
    if pretrained:
        raise UserError(f"{name!r} has no ImageNet weights; take a torchvision name, or {ALTERNATIVES}")
    try:
        return constructor(num_classes, len(normalize.mean), image_size, **options)
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        if not options:
            raise
        raise UserError(f"{name!r} cannot be built with {options}: {error}") from error


# ------------------------------------------------------------------ torchvision
def _vision() -> types.ModuleType:
    import torchvision  # slow (it imports PyTorch's compiler), and our own networks do not need it

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
    kwargs = dict(options)
    small_stem = kwargs.pop("small_stem", False)
    if small_stem and pretrained:
        raise UserError("small_stem=True would discard the pretrained stem; choose weights=None or leave it out")

    source = _vision().get_model_weights(name).DEFAULT if pretrained else None
    builder = _vision().get_model_builder(name)
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
        raise _missing(name, source.url, _hub_file(source.url), error) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{name!r} cannot be built with {options}: {error}") from error

    if source is not None:
        if size and constructor is _vision().VisionTransformer:
            network = _resize_vit(network, builder, size["image_size"], options)
        preset = source.transforms()
        mean, std = preset.mean, preset.std
        if getattr(network, "transform_input", False):
            # These weights expect [-1, 1]; their own conversion from ImageNet's statistics needs three channels.
            network.transform_input = False
            mean = std = [0.5] * 3
        for auxiliary in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, auxiliary):
                setattr(network, auxiliary, None)
                network.aux_logits = False
        adapt_pretrained(network, normalize, num_classes, mean, std)
    if small_stem:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    if source is None and len(normalize.mean) != 3:
        _replace_stem(network, len(normalize.mean), pretrained=False)
    return network


@functools.cache
def _torchvision_class(name: str) -> type[nn.Module]:
    module = sys.modules[_vision().get_model_builder(name).__module__]
    members = (getattr(module, member) for member in module.__all__)
    return next(m for m in members if isinstance(m, type) and issubclass(m, nn.Module))


def _torchvision_size(name: str, constructor: type[nn.Module], image_size: int | None) -> dict[str, Any]:
    """The constructor's argument for the image size, if it has one."""
    if image_size is None:
        return {}
    if constructor is _vision().VisionTransformer:
        patch = int(name.rsplit("_", 1)[-1])
        if image_size % patch:
            raise UserError(
                f"{name!r} cuts images into patches of {patch} px, and {image_size} px is not a multiple of that; "
                f"choose image_size={max(patch, image_size // patch * patch)}"
            )
        return {"image_size": image_size}
    if constructor is _vision().MaxVit:
        if image_size % 224:
            raise UserError(f"{name!r} takes multiples of 224 px, not {image_size}; choose image_size=224")
        return {"input_size": (image_size, image_size)}
    return {}


def _resize_vit(network: nn.Module, builder: Callable, image_size: int, options: dict) -> nn.Module:
    """A vision transformer for another image size, with interpolated position embedding."""
    if image_size == network.image_size:
        return network
    resized = builder(weights=None, image_size=image_size, num_classes=network.num_classes, **options)
    interpolate = _vision().vision_transformer.interpolate_embeddings
    resized.load_state_dict(interpolate(image_size, network.patch_size, network.state_dict()))
    return resized


# ------------------------------------------------------------------ timm
def _timm_library() -> types.ModuleType:
    import timm  # slow, and it imports Weights & Biases where that is installed

    return timm


def _timm(
    name: str, num_classes: int, normalize: Normalize, pretrained: bool, image_size: int | None, options: dict
) -> nn.Module:
    taken = {"num_classes", "in_chans", "img_size", "pretrained"} & set(options)
    if taken:
        raise UserError(
            f"option {min(taken)!r} for {name!r} is set by an argument of create_model: "
            "num_classes, in_channels, image_size or weights"
        )
    config = _timm_library().get_pretrained_cfg(timm_name(name))
    if pretrained and not config.has_weights:
        raise MissingWeights(f"timm has no pretrained weights for {name!r}; {ALTERNATIVES}")
    size = {"img_size": image_size} if image_size is not None and config.fixed_input_size else {}
    try:
        with _silent("huggingface_hub"):  # it logs every retry
            network = _timm_library().create_model(
                timm_name(name),
                pretrained=pretrained,
                num_classes=num_classes,
                in_chans=len(normalize.mean),
                **size,
                **options,
            )
    except (TypeError, ValueError) as error:
        raise UserError(f"{name!r} cannot be built with {options | size}: {error}") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise _missing_timm(name, config, error) from error
    if pretrained:
        _adopt_statistics(normalize, config.mean, config.std)
    return network


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Only critical messages of a logger inside the block."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _missing_timm(name: str, config: Any, error: Exception) -> MissingWeights:
    if not config.hf_hub_id:
        return _missing(name, config.url, _hub_file(config.url), error)
    from huggingface_hub.constants import HF_HUB_CACHE

    where = f"{HF_HUB_CACHE} (`hf download {config.hf_hub_id}` fills that folder, HF_HOME moves it)"
    return _missing(name, f"model.safetensors of {config.hf_hub_id}", where, error)


# ------------------------------------------------------------------ pretrained weights
def _hub_file(url: str) -> str:
    return f"{Path(torch.hub.get_dir(), 'checkpoints', url.rsplit('/', 1)[-1])} (TORCH_HOME moves that folder)"


def _missing(name: str, what: str, where: str, error: Exception) -> MissingWeights:
    return MissingWeights(
        f"the ImageNet weights of {name!r} are not on this machine and could not be downloaded ({error}); "
        f"fetch {what} on a machine with a network and bring it to {where}, or {ALTERNATIVES}"
    )


def adapt_pretrained(
    network: nn.Module, normalize: Normalize, num_classes: int, mean: Iterable[float], std: Iterable[float]
) -> None:
    """Give a pretrained RGB network the task's classes and the channels of `normalize`, and this its statistics."""
    _adopt_statistics(normalize, mean, std)
    _replace_head(network, num_classes)
    if len(normalize.mean) != 3:
        _replace_stem(network, len(normalize.mean), pretrained=True)


def _adopt_statistics(normalize: Normalize, mean: Iterable[float], std: Iterable[float]) -> None:
    """Set the statistics of pretrained RGB weights, for any channel count."""
    mean, std, channels = list(mean), list(std), len(normalize.mean)
    if channels == 1:
        mean, std = [sum(mean) / len(mean)], [sum(std) / len(std)]
    normalize.set_statistics((mean * channels)[:channels], (std * channels)[:channels])


def _replace_head(network: nn.Module, num_classes: int) -> None:
    """Replace an output layer of another width by a new one with PyTorch's initialisation."""
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
    """Replace the first RGB convolution by one of `channels`, with outputs of the same scale."""
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
        if pretrained:
            new.weight.copy_(_timm_library().models.adapt_input_conv(channels, old.weight))
        else:
            new.weight.copy_(torch.randn_like(new.weight) * old.weight.std() * (3 / channels) ** 0.5)
        if old.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(_path_of(network, old), new)


def _path_of(network: nn.Module, module: nn.Module) -> str:
    return next(path for path, m in network.named_modules() if m is module)
