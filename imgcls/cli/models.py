"""`imgcls models`: the networks by name, and what each one costs."""

import inspect
import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import torchvision
import typer
from torch import nn

from imgcls.cli.common import check_choice, note
from imgcls.models import create_model, default_size, list_models, minimum_size, parameter_count, summary
from imgcls.models.networks import NETWORKS

FORMATS = ("table", "csv", "json")
SIZE = 64
USUAL = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "vgg16", "inception_v3", "googlenet"),
    *("efficientnet_v2_s", "convnext_tiny", "mobilenet_v3_large", "vit_b_16"),
)
NO_WEIGHTS = ("none exist", None)
GIVEN_BY_CREATE_MODEL = {
    *("num_classes", "init_weights", "aux_logits", "transform_input", "image_size"),  # torchvision
    *("in_chans", "img_size", "pretrained"),  # timm
}


def models(
    name: Annotated[str | None, typer.Argument(help="One network, for its layers; a table if left out.")] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the images in pixels; 64, or for NAME its own if it is timm's or cannot take 64."),
    ] = None,
    classes: Annotated[int, typer.Option(help="Outputs of the network.")] = 10,
    every: Annotated[bool, typer.Option("--all", help="Only the names, of every network there is.")] = False,
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
) -> None:
    """Show the networks with parameters, multiply-adds and smallest images, or the layers of one of them.

    Nothing is downloaded: whether ImageNet weights are here is looked up in the folder that would hold them.

    \b
      imgcls models --size 96
      imgcls models resnet18 --size 224 --classes 1000
      imgcls models timm:vit_tiny_patch16_224 --size 224
      imgcls models --all
    """  # noqa: D301 - \b keeps the lines of the examples
    check_choice("format", format, FORMATS)
    if size is not None and size < 1:
        raise ValueError(f"--size must be at least 1 px, got {size}")
    if every:
        if name is not None:
            raise ValueError(f"--all lists every name; leave it out to see {name!r}, or leave out the name")
        names = list_models(timm_too=True)
        typer.echo(json.dumps(names) if format == "json" else "\n".join(names))
    elif name is None:
        size = size or SIZE
        _echo(pd.DataFrame([_row(one, size, classes) for one in (*NETWORKS, *USUAL)]), format)
        if format == "table":
            typer.echo(f"\nfor {classes} classes and one image of {size} px; - where a network cannot take that size")
            note("layers and options of one network: imgcls models NAME; all names: --all")
    else:
        too_small = minimum_size(name) > SIZE or name.startswith("timm:")  # of which no minimum is known
        _show(name, size or (default_size(name) if too_small else SIZE), classes, format)


def _row(name: str, size: int, classes: int) -> dict[str, Any]:
    """A network's line of the table; one that cannot take the size is counted at its own."""
    try:
        network, adds = _built(name, size, classes)
    except ValueError:
        network, adds = build(name, classes), None  # too small, or no multiple of the patches
    return {
        "name": name,
        "parameters": parameter_count(network),
        "multiply_adds": None if adds is None else int(adds["multiply_adds"].sum()),
        "smallest_side": smallest_side(name, network),
        "imagenet_weights": imagenet_weights(name)[0],
    }


def _show(name: str, size: int, classes: int, format: str) -> None:
    network, layers = _built(name, size, classes)
    weights, file = imagenet_weights(name)
    facts = {
        "name": name,
        "size": size,
        "classes": classes,
        "parameters": parameter_count(network),
        "multiply_adds": int(layers["multiply_adds"].sum()),
        "smallest_side": smallest_side(name, network),
        "made_for": default_size(name),
        "imagenet_weights": weights,
        "weights_file": file,
        "options": {option: _plain(value) for option, value in options(name, network).items()},
    }
    if format == "json":
        rows = json.loads(layers.to_json(orient="records"))
        typer.echo(json.dumps(facts | {"layers": rows}, indent=2))
        return
    _echo(layers, format)
    if format == "table":
        taken = ", ".join(f"{option} ({value})" for option, value in facts["options"].items())
        least = facts["smallest_side"]
        typer.echo(
            f"\n{facts['parameters']:,} parameters, {facts['multiply_adds']:,} multiply-adds "
            f"for one image of {size} px and {classes} classes\n"
            f"made for {facts['made_for']} px{f', takes {least} px and more' if least else ''}\n"
            f"ImageNet weights: {weights}{f', {file}' if file else ''}\n"
            f"options of models.create_model({name!r}, …), with defaults: {taken or 'none'}"
        )


def build(name: str, classes: int, size: int | None = None) -> nn.Sequential:
    """A network without memory for its weights (on the meta device), enough to count and to trace shapes."""
    with torch.device("meta"):
        return create_model(name, classes, image_size=size)


def _built(name: str, size: int, classes: int) -> tuple[nn.Sequential, pd.DataFrame]:
    network = build(name, classes, size)
    try:
        return network, summary(network, size)
    except (RuntimeError, AssertionError) as error:  # timm's limits are known to its layers alone
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name!r} did not run on an image of {size} px ({reason}); it is made for {default_size(name)} px (--size)"
        ) from error


def options(name: str, network: nn.Module) -> dict[str, Any]:
    """The keyword arguments that `create_model` passes on to a network, with their defaults."""
    if name in NETWORKS:
        parameters = inspect.signature(NETWORKS[name]).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    parameters = inspect.signature(type(network.network)).parameters.values()
    own = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in GIVEN_BY_CREATE_MODEL}
    return own | ({"small_stem": False} if isinstance(network.network, torchvision.models.ResNet) else {})


def smallest_side(name: str, network: nn.Module) -> int | None:
    """Smallest image side in pixels; one patch of a vision transformer, None where it is not known (timm's)."""
    if name.startswith("timm:"):
        return None
    body = network.network
    return body.patch_size if isinstance(body, torchvision.models.VisionTransformer) else minimum_size(name)


def imagenet_weights(name: str) -> tuple[str, str | None]:
    """Pretrained weights as "here", "not here" or "none exist", and the file that is or would be theirs."""
    if name in NETWORKS:
        return NO_WEIGHTS
    if name.startswith("timm:"):
        return _timm_weights(name.removeprefix("timm:"))
    return _in_hub(torchvision.models.get_model_weights(name).DEFAULT.url)


def _in_hub(url: str) -> tuple[str, str]:
    file = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    return "here" if file.is_file() else "not here", str(file)


def _timm_weights(name: str) -> tuple[str, str | None]:
    import timm  # slow
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    if not config.has_weights:
        return NO_WEIGHTS
    if not config.hf_hub_id:
        return _in_hub(config.url)
    found = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
    return ("here", found) if isinstance(found, str) else ("not here", f"model.safetensors of {config.hf_hub_id}")


def _plain(value: Any) -> Any:
    """A default as JSON holds it; classes and functions by their names."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | None) else getattr(value, "__name__", str(value))


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
