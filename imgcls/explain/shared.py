"""What every explanation needs: targets, layers by name, images that own a gradient, layouts of outputs."""

import difflib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from imgcls import models


def targets_of(targets: int | Sequence[int] | Tensor | None, count: int, what: str = "targets") -> list[int] | None:
    """One whole number per image, or None where none was given."""
    if targets is None:
        return None
    if isinstance(targets, int):
        return [targets] * count
    targets = [int(t) for t in targets]
    if len(targets) != count:
        raise ValueError(f"{len(targets)} {what} for {count} images; give one per image, one number, or None")
    return targets


def check_images(images: Tensor, function: str) -> None:
    """Stop on anything but a batch of at least one image."""
    if images.ndim != 4 or not len(images):
        raise ValueError(f"{function} takes images of shape (N, C, H, W) with N > 0, not {tuple(images.shape)}")


def find_layer(model: nn.Module, layer: str | nn.Module) -> nn.Module:
    """A module of the model, by itself or by its name in `model.named_modules()`."""
    modules = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        if any(layer is module for module in modules.values()):
            return layer
        raise ValueError(f"the layer {type(layer).__name__} is no part of the model; pick one of its modules")
    if layer in modules:
        return modules[layer]
    close = difflib.get_close_matches(str(layer), modules, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see model.named_modules()"
    raise ValueError(f"unknown layer {layer!r}; {hint}")


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are; the CPU for a model without any."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def as_leaf(images: Tensor, device: torch.device) -> Tensor:
    """Floats in [0, 1] that own their gradient."""
    scale = 255 if images.dtype == torch.uint8 else 1
    return (images.detach().to(device, torch.float32) / scale).requires_grad_()


class Recorded(Exception):
    """Ends a pass at the layer that was to be recorded."""


@contextmanager
def recording(model: nn.Module, layer: nn.Module, size: Sequence[int], stop: bool = False) -> Iterator[list[Tensor]]:
    """Evaluation mode; the list holds what the layer put out last, as maps (N, C, h, w) or units (N, D, 1, 1).

    Args:
        model: the network that runs inside the block.
        layer: one of its modules.
        size: (H, W) of the images, which tells the layouts of an output apart.
        stop: whether a pass ends there, with the exception `Recorded`.
    """
    answer: list[Tensor] = []
    shape = map_shape(model, size)

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        # Copies, since an in-place ReLU may overwrite the answer.
        answer[:] = [output[:, :, None, None].clone() if output.ndim == 2 else as_maps(output, *shape)]
        if stop:
            raise Recorded

    handle = layer.register_forward_hook(keep)
    try:
        with models.eval_mode(model):
            yield answer
    finally:
        handle.remove()


def map_shape(model: nn.Module, size: Sequence[int]) -> tuple[float, int | None]:
    """Aspect of the images and number of class tokens, the two that `as_maps` asks for."""
    return size[-1] / size[-2], getattr(getattr(model, "network", model), "num_prefix_tokens", None)


def as_maps(output: Tensor, aspect: float, prefix: int | None = None) -> Tensor:
    """Bring a layer's output to (N, C, H, W), as a copy: (N, H, W, C) and tokens (N, T, D) are rearranged.

    Args:
        output: of the layer.
        aspect: width over height of the image, which tells the layouts apart.
        prefix: tokens before the patches; None for all that a grid of this aspect leaves over.
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
    raise ValueError(
        f"a layer with output of shape {tuple(output.shape)} has no places to map; "
        "choose one before the pooling, such as models.last_conv(model)"
    )
