"""Guided backpropagation: what in an image speaks for a class or excites one neuron, and what that neuron likes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pandas as pd
import torch
from pytorch_grad_cam.guided_backprop import GuidedBackpropReLU
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imgcls.explain.maps import grad_cam
from imgcls.explain.shared import Recorded, as_leaf, check_images, device_of, find_layer, recording, targets_of

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

    Springenberg et al. 2015, "Striving for Simplicity", section 3.4. Such a gradient is sharp and easy on the eye, but
    depends on the class far less than a class activation map does (Adebayo et al. 2018, "Sanity Checks"): it shows
    which pixels a neuron answers to, not why a class was chosen.

    Weights, mode, gradients and hooks are left as found; the model runs in evaluation mode, in float32.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        targets: class per image, one class for all, or None for the predicted class.
        layer: module, or its name, whose unit is to be explained instead of a class.
        unit: channel of that layer, one for all images or one per image; what counts is the strongest position.
        batch_size: images per pass.

    Returns:
        float32 (N, C, H, W) on the CPU, per unit of pixel value in [0, 1].

    Raises:
        ValueError: targets beside a unit, a layer without a unit or the reverse, a channel that the layer does not
            have, or a network with another activation than ReLU, for which guided backpropagation is not defined.
    """
    check_images(images, "guided_backprop")
    if (layer is None) != (unit is None) or (unit is not None and targets is not None):
        raise ValueError(
            f"guided_backprop explains either a class (targets) or one unit of a layer (layer and unit); "
            f"got targets={targets!r}, layer={_name(layer)}, unit={unit!r}"
        )
    wanted = targets_of(targets, len(images)) if unit is None else targets_of(unit, len(images), "units")
    module = None if layer is None else find_layer(model, layer)
    device, found = device_of(model), []
    with recording(model, module or model, images.shape[-2:]) as answer, torch.enable_grad():
        for start in range(0, len(images), batch_size):
            batch = as_leaf(images[start : start + batch_size], device)
            with _GuidedReLU() as rectifiers:
                model(batch)
            _check_activations(rectifiers)
            units = answer[0].flatten(2).max(2).values  # one place each, where amax would share among equals
            chosen = units.argmax(1) if wanted is None else _channels(wanted[start : start + batch_size], units)
            score = units.gather(1, chosen[:, None]).sum()
            found.append(torch.autograd.grad(score, batch)[0].cpu())
    return torch.cat(found)


def guided_grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: int | Sequence[int] | Tensor | None = None,
    method: str = "grad_cam",
    layer: str | nn.Module | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Guided backpropagation times the class activation map: fine as the one, about the class as the other.

    Selvaraju et al. 2017, section 3.3. Arguments are those of `grad_cam`, the result is that of `guided_backprop`.
    """
    cams = grad_cam(model, images, targets, method, layer, batch_size)
    return guided_backprop(model, images, targets, batch_size=batch_size) * cams[:, None]


def strongest_patches(
    model: nn.Module, images: Tensor, layer: str | nn.Module, units: Sequence[int] | Tensor, k: int = 3,
    batch_size: int = 64,
) -> pd.DataFrame:  # fmt: skip
    """What each unit likes: the images that excite it most, and the part of each that it sees there.

    The part is the receptive field of the unit's strongest position, cut at the image's border. It is found by
    sending NaN through the network from every row and every column of pixels, and hence exact, also around paddings
    and branches; a layer behind global pooling or attention sees the whole image.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        layer: module, or its name.
        units: its channels.
        k: images for each unit.
        batch_size: images per pass.

    Returns:
        One row for each of the k images of each unit, strongest first: unit, rank (from 1), image (its index),
        activation, and the box in pixels: top, left, bottom, right, the latter two exclusive.

    Raises:
        ValueError: k out of range, or a unit or layer that is not there.
    """
    check_images(images, "strongest_patches")
    if not 1 <= k <= len(images):
        raise ValueError(f"k={k} images for each unit, of {len(images)}; choose from 1 to {len(images)}")
    module, device = find_layer(model, layer), device_of(model)
    values, places = [], []
    with recording(model, module, images.shape[-2:]) as answer, torch.no_grad():
        for start in range(0, len(images), batch_size):
            model(images[start : start + batch_size].to(device))
            chosen = _channels(units, answer[0])
            best = answer[0][:, chosen].float().flatten(2).max(2)
            values.append(best.values.cpu())
            places.append(best.indices.cpu())
    width = answer[0].shape[-1]
    strongest = torch.cat(values).topk(k, dim=0)  # (k, units)
    places = torch.cat(places).gather(0, strongest.indices)
    rows, columns = _receptive_fields(model, module, images[:1], batch_size)
    found = []
    for u, unit in enumerate(units):
        for rank in range(k):
            y, x = divmod(int(places[rank, u]), width)
            (top, bottom), (left, right) = rows[y], columns[x]
            box = {"top": top, "left": left, "bottom": bottom, "right": right}
            value = {"image": int(strongest.indices[rank, u]), "activation": float(strongest.values[rank, u])}
            found.append({"unit": int(unit), "rank": rank + 1, **value, **box})
    return pd.DataFrame(found)


def _receptive_fields(
    model: nn.Module, layer: nn.Module, image: Tensor, batch_size: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """First and last pixel, the latter exclusive, that each row and each column of a layer's map depends on."""
    tensors = {name: t.detach().cpu() for name, t in (*model.named_parameters(), *model.named_buffers())}
    height, width = image.shape[-2:]
    reached = []
    with recording(model, layer, (height, width), stop=True) as answer, torch.no_grad(), _plain_kernels():
        for dim, count in ((2, height), (3, width)):
            seen = []
            for some in torch.arange(count).split(batch_size):
                x = torch.full((len(some), *image.shape[1:]), 0.5)
                for one, at in zip(x, some, strict=True):
                    one.select(dim - 1, int(at)).fill_(torch.nan)
                with suppress(Recorded):
                    torch.func.functional_call(model, tensors, (x,))
                seen.append(answer[0].isnan().any(1).any(4 - dim))
            reached.append(torch.cat(seen))  # (pixels, places)
    return tuple([_span(column) for column in seen.T] for seen in reached)


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Convolution by one matrix product: Winograd's computes several places at once and spreads NaN over all."""
    fast, *_ = torch.backends.mkldnn.set_flags(False, _fp32_precision=None)  # not `flags`, which touches TF32 too
    try:
        with torch.backends.nnpack.flags(enabled=False):
            yield
    finally:
        torch.backends.mkldnn.set_flags(fast, _fp32_precision=None)


def _span(seen: Tensor) -> tuple[int, int]:
    places = seen.nonzero()[:, 0]
    return int(places[0]), int(places[-1]) + 1


def _channels(units: Sequence[int] | Tensor, maps: Tensor) -> Tensor:
    """Numbers of channels on the device of the maps, none beyond what there is."""
    chosen = torch.as_tensor([int(u) for u in units], device=maps.device)
    outside = chosen[(chosen < 0) | (chosen >= maps.shape[1])]
    if len(outside):
        raise ValueError(f"there is no unit {int(outside[0])}; choose from 0 to {maps.shape[1] - 1}")
    return chosen


def _name(layer: str | nn.Module | None) -> str:
    return type(layer).__name__ if isinstance(layer, nn.Module) else repr(layer)


# ------------------------------------------------------------------ the rule for ReLUs
class _GuidedReLU(TorchFunctionMode):
    """Inside the block every ReLU, called as a module or as a function, has the guided gradient; notes what it meets.

    Acting on the calls leaves the modules alone, so nothing has to be put back.
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
    """Where a rectifier stops rising, 0 for never; None for what is no rectifier."""
    if name in RELUS:
        return 0.0
    if name in CAPPED:
        low, high = (args[i] if len(args) > i else kwargs.get(word) for i, word in ((1, "min_val"), (2, "max_val")))
        return 6.0 if name == "relu6" else high if low == 0 else None
    return None


def _check_activations(met: _GuidedReLU) -> None:
    if met.others or not met.relus:
        what = f"the network uses {', '.join(sorted(met.others))}" if met.others else "the network has none"
        raise ValueError(
            f"guided backpropagation is defined for ReLUs, but {what}; "
            "take a network with ReLUs (configurable_cnn with activation='relu', resnet18), or grad_cam"
        )
