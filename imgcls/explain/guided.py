"""Guided backpropagation for a class or one unit of a layer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pytorch_grad_cam.guided_backprop import GuidedBackpropReLU
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imgcls.explain.activations import (
    as_channels,
    as_leaf,
    check_images,
    device_of,
    find_layer,
    one_per_image,
    recording,
)
from imgcls.explain.maps import grad_cam
from imgcls.messages import UserError

RELUS = ("relu", "relu_")
CAPPED = ("relu6", "hardtanh", "hardtanh_")  # ReLU6 is a hard tanh from 0 to 6
OTHERS = (
    "celu", "elu", "gelu", "hardswish", "leaky_relu", "mish", "prelu", "rrelu", "selu", "silu", "softplus",
)  # fmt: skip


def guided_backprop(
    model: nn.Module,
    images: Tensor,
    targets: int | Sequence[int] | Tensor | None = None,
    layer: str | nn.Module | None = None,
    unit: int | Sequence[int] | Tensor | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Gradient of a class score, or of one unit, that passes a ReLU only where it and the input are positive.

    Springenberg et al. 2015, "Striving for Simplicity", section 3.4. The gradient is sharp, but depends on the class
    far less than a class activation map does (Adebayo et al. 2018, "Sanity Checks"): it shows which pixels activate
    a neuron, not why a class was predicted.

    The model runs in evaluation mode, in float32; its weights, modes, gradients and hooks are restored.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        targets: class per image, one class for all, or None for the predicted class.
        layer: module, or its name, whose unit is explained instead of a class.
        unit: channel of that layer, one for all images or one per image, at its strongest position.
        batch_size: images per pass.

    Returns:
        float32 (N, C, H, W) on the CPU, per unit of pixel value in [0, 1].

    Raises:
        ValueError: targets together with a unit, a layer without a unit or the reverse, a channel that the layer does
            not have, or a network with an activation other than ReLU, where guided backpropagation is not defined.
    """
    check_images(images, "guided_backprop")
    if (layer is None) != (unit is None) or (unit is not None and targets is not None):
        raise UserError(
            f"guided_backprop explains either a class (targets) or one unit of a layer (layer and unit); "
            f"got targets={targets!r}, layer={_name(layer)}, unit={unit!r}"
        )
    chosen = one_per_image(targets, len(images)) if unit is None else one_per_image(unit, len(images), "units")
    module = None if layer is None else find_layer(model, layer)
    device, gradients = device_of(model), []
    with recording(model, module or model, images.shape[-2:]) as output, torch.enable_grad():
        for start in range(0, len(images), batch_size):
            batch = as_leaf(images[start : start + batch_size], device)
            with GuidedReLU() as rectifiers:
                model(batch)
            _check_activations(rectifiers)
            units = output[0].flatten(2).max(2).values  # one position each; the gradient of amax averages over ties
            index = units.argmax(1) if chosen is None else as_channels(chosen[start : start + batch_size], units)
            score = units.gather(1, index[:, None]).sum()
            gradients.append(torch.autograd.grad(score, batch)[0].cpu())
    return torch.cat(gradients)


def guided_grad_cam(
    model: nn.Module, images: Tensor, targets: int | Sequence[int] | Tensor | None = None, batch_size: int = 64
) -> Tensor:
    """Guided backpropagation times the class activation map: as sharp as the former, as class-specific as the latter.

    Selvaraju et al. 2017, section 3.3. Arguments as for `grad_cam`, result as for `guided_backprop`.
    """
    cams = grad_cam(model, images, targets, batch_size=batch_size)
    return guided_backprop(model, images, targets, batch_size=batch_size) * cams[:, None]


def _name(layer: str | nn.Module | None) -> str:
    return type(layer).__name__ if isinstance(layer, nn.Module) else repr(layer)


# ------------------------------------------------------------------ the rule for ReLUs
class GuidedReLU(TorchFunctionMode):
    """Inside the block every ReLU, called as a module or as a function, has the guided gradient.

    `relus` counts the ReLUs, `others` names other activations. The library's GuidedBackpropReLUModel replaces modules
    permanently, misses functions such as `F.relu`, and takes one image at a time; this mode changes no module.
    """

    def __init__(self) -> None:
        super().__init__()
        self.relus, self.others = 0, set()

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name.rstrip("_") in OTHERS:
            self.others.add(name.rstrip("_"))
        ceiling = _ceiling(name, args, kwargs)
        if ceiling is None:
            return func(*args, **kwargs)
        self.relus += 1
        x = args[0] if args else kwargs["input"]
        in_place = name.endswith("_") or kwargs.get("inplace") or any(a is True for a in args)
        y = GuidedBackpropReLU.apply(x.clone() if in_place else x)
        y = y.clamp(max=ceiling) if ceiling else y
        return x.copy_(y) if in_place else y


def _ceiling(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> float | None:
    """The input at which a ReLU saturates, 0 for never; None if the function is not a ReLU."""
    if name in RELUS:
        return 0.0
    if name in CAPPED:
        low, high = (args[i] if len(args) > i else kwargs.get(word) for i, word in ((1, "min_val"), (2, "max_val")))
        return 6.0 if name == "relu6" else high if low == 0 else None
    return None


def _check_activations(seen: GuidedReLU) -> None:
    if seen.others or not seen.relus:
        what = f"the network uses {', '.join(sorted(seen.others))}" if seen.others else "the network has none"
        raise UserError(
            f"guided backpropagation is defined for ReLUs, but {what}; "
            "take a network with ReLUs (configurable_cnn with activation='relu', resnet18), or grad_cam"
        )
