"""Layers by name and their outputs as maps, and checks of the inputs of all explanations."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from imgcls.messages import UserError, did_you_mean
from imgcls.models.surgery import eval_mode, forward_hooks


def one_per_image(values: int | Sequence[int] | Tensor | None, count: int, what: str = "targets") -> list[int] | None:
    """One whole number per image; None stays None."""
    if values is None:
        return None
    if isinstance(values, int):
        return [values] * count
    values = [int(value) for value in values]
    if len(values) != count:
        raise UserError(f"{len(values)} {what} for {count} images; give one per image, one number, or None")
    return values


def check_images(images: Tensor, function: str) -> None:
    """Raise ValueError unless the images are a batch of at least one image."""
    if images.ndim != 4 or not len(images):
        raise UserError(f"{function} takes images of shape (N, C, H, W) with N > 0, not {tuple(images.shape)}")


def find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """A module of the model, given as module or by its name in `model.named_modules()`."""
    modules = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        if any(layer is module for module in modules.values()):
            return layer
        raise UserError(f"the layer {type(layer).__name__} is not a part of the model; choose one of its modules")
    if layer in modules:
        return modules[layer]
    raise UserError(f"unknown layer {layer!r} in model.named_modules(); {did_you_mean(layer, filter(None, modules))}")


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's parameters; the CPU for a model without parameters."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def as_leaf(images: Tensor, device: torch.device) -> Tensor:
    """Floats in [0, 1] that require a gradient."""
    scale = 255 if images.dtype == torch.uint8 else 1
    return (images.detach().to(device, torch.float32) / scale).requires_grad_()


class Recorded(Exception):
    """Ends a forward pass at the recorded layer."""


@contextmanager
def recording(model: nn.Module, layer: nn.Module, size: Sequence[int], stop: bool = False) -> Iterator[list[Tensor]]:
    """Evaluation mode; the list contains the layer's latest output, as maps (N, C, h, w) or units (N, D, 1, 1).

    Args:
        model: network that runs inside the block.
        layer: module of the model.
        size: (H, W) of the images, which distinguishes the layouts of an output.
        stop: end a forward pass at this layer, with the exception `Recorded`.
    """
    outputs: list[Tensor] = []
    shape = map_shape(model, size)

    def record(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        # Copies, since an in-place ReLU may overwrite the output.
        outputs[:] = [output[:, :, None, None].clone() if output.ndim == 2 else as_maps(output, *shape)]
        if stop:
            raise Recorded

    with forward_hooks([layer], record), eval_mode(model):
        yield outputs


def map_shape(model: nn.Module, size: Sequence[int]) -> tuple[float, int | None]:
    """Aspect ratio of the images and number of class tokens, as `as_maps` takes them."""
    return size[-1] / size[-2], getattr(getattr(model, "network", model), "num_prefix_tokens", None)


def as_maps(output: Tensor, aspect: float, prefix: int | None = None) -> Tensor:
    """Bring a layer's output to (N, C, H, W), as a copy: (N, H, W, C) and tokens (N, T, D) are rearranged.

    Args:
        output: output of the layer.
        aspect: width over height of the image, which distinguishes the layouts.
        prefix: number of tokens before the patches; None for all that do not fit into a grid of this aspect.
    """
    if output.ndim == 4:
        _, a, b, c = output.shape
        misfit_first, misfit_last = (abs(math.log(w / h / aspect)) for h, w in ((b, c), (a, b)))
        return output.clone() if misfit_first <= misfit_last else output.permute(0, 3, 1, 2).clone()
    if output.ndim == 3:
        patches = output.shape[1] - (prefix or 0)
        height = max(1, math.floor(math.sqrt(patches / aspect) + 1e-6))
        width = patches // height if prefix is not None else math.floor(height * aspect + 0.5)
        grid = output[:, output.shape[1] - height * width :]
        return grid.transpose(1, 2).unflatten(2, (height, width)).clone()
    raise UserError(
        f"a layer with output of shape {tuple(output.shape)} has no spatial positions to map; "
        "choose one before the pooling, such as models.last_conv(model)"
    )


def as_channels(units: Sequence[int] | Tensor, maps: Tensor) -> Tensor:
    """Channel numbers on the device of the maps; raises ValueError for an unknown channel."""
    chosen = torch.as_tensor([int(u) for u in units], device=maps.device)
    outside = chosen[(chosen < 0) | (chosen >= maps.shape[1])]
    if len(outside):
        raise UserError(f"there is no unit {int(outside[0])}; choose from 0 to {maps.shape[1] - 1}")
    return chosen
