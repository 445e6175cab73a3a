"""What a model looks at: class activation maps and how well they find the subject, its filters, its feature maps."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd
import pytorch_grad_cam as cams
import torch
import torch.nn.functional as F
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from imgcls import models
from imgcls.reproducibility import generator
from imgcls.statistics import over_seeds, wilson

METHODS: dict[str, type[cams.GradCAM]] = {
    "grad_cam": cams.GradCAM,  # Selvaraju et al. 2017
    "grad_cam++": cams.GradCAMPlusPlus,  # Chattopadhay et al. 2018
    "layer_cam": cams.LayerCAM,  # Jiang et al. 2021
    "eigen_cam": cams.EigenCAM,  # Muhammad & Yeasin 2020; does not look at the target
    "eigen_grad_cam": cams.EigenGradCAM,
    "hirescam": cams.HiResCAM,  # Draelos & Carin 2020
    "xgrad_cam": cams.XGradCAM,  # Fu et al. 2020
    "elementwise_cam": cams.GradCAMElementWise,
}
"""Name -> class of the grad-cam library."""


def grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: int | Sequence[int] | Tensor | None = None,
    method: str = "grad_cam",
    layer: nn.Module | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Class activation maps: where in each image the score of the target class comes from.

    The model's mode, `requires_grad` flags, gradients and hooks are left as found; it runs in evaluation
    mode, in float32, also where its backbone is frozen.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        targets: class per image, one class for all, or None for the predicted class.
        method: one of `METHODS`.
        layer: module whose output is weighed; None takes `models.last_conv` at the images' size, the last with a
            map of at least 4 x 4.
        batch_size: images per pass.

    Returns:
        float32 (N, H, W) on the CPU, each image scaled on its own from 0 to 1; all zero where nothing
        speaks for the class.

    Raises:
        ValueError: an unknown method, targets that do not fit, or a layer of another model.
    """
    if method not in METHODS:
        close = difflib.get_close_matches(method, METHODS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(METHODS)}"
        raise ValueError(f"unknown method {method!r}; {hint}")
    if images.ndim != 4 or not len(images):
        raise ValueError(f"grad_cam takes images of shape (N, C, H, W) with N > 0, not {tuple(images.shape)}")
    targets = _targets(targets, len(images))
    layer = models.last_conv(model, tuple(images.shape[-2:]), positions=16) if layer is None else layer
    if not any(layer is module for module in model.modules()):
        raise ValueError(f"the layer {type(layer).__name__} is no part of the model; pick one of its modules")

    height, width = images.shape[-2:]
    prefix = getattr(getattr(model, "network", model), "num_prefix_tokens", None)
    device = next(model.parameters()).device
    found = {p: (p.requires_grad, p.grad) for p in model.parameters()}
    maps = []
    with models.evaluating(model), torch.enable_grad():
        library = METHODS[method](model, [layer], partial(_as_maps, aspect=width / height, prefix=prefix))
        try:
            # Gradients flow from the images (frozen backbones too), so the parameters need none.
            for parameter in found:
                parameter.requires_grad_(False)
            for start in range(0, len(images), batch_size):
                batch = _as_leaf(images[start : start + batch_size], device)
                wanted = targets and [ClassifierOutputTarget(t) for t in targets[start : start + batch_size]]
                maps.append(torch.from_numpy(library(batch, wanted)))
        finally:
            # By hand: the library's own `with` swallows an IndexError, and its zero_grad drops gradients.
            library.activations_and_grads.release()
            for parameter, (flag, gradient) in found.items():
                parameter.requires_grad_(flag)
                parameter.grad = gradient
    return torch.nan_to_num(torch.cat(maps).float()).clamp(0, 1)


def first_filters(model: nn.Module) -> Tensor:
    """The filters of the first convolution, (F, C, h, w), each scaled on its own from 0 to 1."""
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is None:
        raise ValueError(f"{type(model).__name__} has no convolution, hence no filters to show")
    filters = conv.weight.detach().float().cpu()
    low, high = filters.amin((1, 2, 3), keepdim=True), filters.amax((1, 2, 3), keepdim=True)
    return (filters - low) / (high - low).clamp(min=1e-12)


@torch.no_grad()
def feature_maps(model: nn.Module, image: Tensor, layer: str | nn.Module = "all") -> Tensor | dict[str, Tensor]:
    """What the layers answer to one image.

    Args:
        model: from `models.create_model`.
        image: (C, H, W), `uint8` or floats in [0, 1].
        layer: a module, its name in `model.named_modules()`, or "all" for every convolution.

    Returns:
        float32 (C, H, W) of the layer, not scaled; for "all" a dict of name -> maps, first to last.
    """
    modules = dict(model.named_modules())
    if layer == "all":
        chosen = {name: module for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    else:
        chosen = {name: m for name, m in modules.items() if layer in (name, m)}
        if not chosen:
            close = difflib.get_close_matches(str(layer), modules, n=3) if isinstance(layer, str) else []
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see model.named_modules()"
            raise ValueError(f"unknown layer {layer if isinstance(layer, str) else type(layer).__name__!r}; {hint}")
    if image.ndim != 3:
        raise ValueError(f"feature_maps takes one image of shape (C, H, W), not {tuple(image.shape)}")

    answers: dict[str, Tensor] = {}
    aspect = image.shape[-1] / image.shape[-2]
    prefix = getattr(getattr(model, "network", model), "num_prefix_tokens", None)

    def keep(name: str) -> Callable:
        # Cloned inside _as_maps: a ReLU may overwrite the answer in place.
        return lambda module, inputs, output: answers.update({name: _as_maps(output, aspect, prefix)[0].float().cpu()})

    handles = [module.register_forward_hook(keep(name)) for name, module in chosen.items()]
    try:
        with models.evaluating(model):
            model(image[None].to(next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return answers if layer == "all" else next(iter(answers.values()))


# ------------------------------------------------------------------ do the maps find the subject?
def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether the highest point of each map lies on the subject (Zhang et al. 2018, "Top-down neural attention").

    Args:
        maps: (N, H, W), not negative; a map that is zero everywhere points nowhere and loses.
        masks: bool (N, H, W), true on the subject.

    Returns:
        bool (N,).
    """
    maps, masks = _pairs(maps, masks)
    return masks.gather(1, maps.argmax(1, keepdim=True))[:, 0] & (maps.amax(1) > 0)


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map that lies on the subject (Wang et al. 2020, Score-CAM); 0 for a map that is zero everywhere.

    Shapes: (N, H, W) twice, as in `pointing_game`, to float32 (N,).
    """
    maps, masks = _pairs(maps, masks)
    total = maps.double().sum(1)
    return torch.where(total > 0, (maps * masks).double().sum(1) / total, 0.0).float()


def mask_iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the subject and where a map reaches `threshold` times its highest value.

    Shapes: (N, H, W) twice, as in `pointing_game`, to float32 (N,); 0 for a map that is zero everywhere.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a share of the highest value, above 0 and at most 1; got {threshold!r}")
    maps, masks = _pairs(maps, masks)
    top = maps.amax(1, keepdim=True)
    found = (maps >= threshold * top) & (top > 0)
    return (found & masks).sum(1) / (found | masks).sum(1)


def localisation(methods: Mapping[str, Tensor], masks: Tensor, threshold: float = 0.5, seed: int = 0) -> pd.DataFrame:
    """How well maps find the subject, always beside two that know nothing of it.

    The baseline "centre" is a Gaussian in the middle of the image, as wide as a quarter of its sides; "random" is
    noise on a grid of 7 x 7 cells, as coarse as a usual map. A method that does not beat both has shown nothing.

    Args:
        methods: name -> maps (N, H, W) of the same images.
        masks: bool (N, H, W).
        threshold: of `mask_iou`.
        seed: of the random maps.

    Returns:
        One row a method, baselines last: method; pointing, energy and iou, means over the images, each with its
        95 % interval as `_low` and `_high` (Wilson for the first, Student's t for the others); n.
    """
    rows = []
    for name, maps in {**methods, **_baselines(masks, seed)}.items():
        points = pointing_game(maps, masks)
        measured = {
            "pointing": wilson(int(points.sum()), len(points)),
            "energy": over_seeds(energy_inside(maps, masks).numpy()),
            "iou": over_seeds(mask_iou(maps, masks, threshold).numpy()),
        }
        row = {"method": name, "n": len(points)}
        for what, interval in measured.items():
            row |= {what: interval.value, f"{what}_low": interval.low, f"{what}_high": interval.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _baselines(masks: Tensor, seed: int) -> dict[str, Tensor]:
    n, height, width = masks.shape
    y = (torch.arange(height) - (height - 1) / 2) / (height / 4)
    x = (torch.arange(width) - (width - 1) / 2) / (width / 4)
    centre = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / 2)
    cells = torch.rand(n, 1, 7, 7, generator=generator(seed, "random maps"))
    noise = F.interpolate(cells, (height, width), mode="bilinear", align_corners=False)[:, 0]
    return {"centre": centre.expand(n, -1, -1), "random": noise - noise.amin((1, 2), keepdim=True)}


def _pairs(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps {tuple(maps.shape)} and masks {tuple(masks.shape)} must both be (N, H, W)")
    if masks.dtype != torch.bool or not masks.flatten(1).any(1).all():
        raise ValueError("masks must be bool and show some of the subject in every image; leave the others out")
    if (maps < 0).any():
        raise ValueError("maps must not be negative")
    return maps.flatten(1), masks.flatten(1)


# ------------------------------------------------------------------ shared machinery
def _targets(targets: int | Sequence[int] | Tensor | None, count: int) -> list[int] | None:
    if targets is None:
        return None
    if isinstance(targets, int):
        return [targets] * count
    targets = [int(t) for t in targets]
    if len(targets) != count:
        raise ValueError(f"{len(targets)} targets for {count} images; give one per image, one number, or None")
    return targets


def _as_leaf(images: Tensor, device: torch.device) -> Tensor:
    """Floats in [0, 1] that own their gradient."""
    scale = 255 if images.dtype == torch.uint8 else 1
    return (images.detach().to(device, torch.float32) / scale).requires_grad_()


def _as_maps(output: Tensor, aspect: float, prefix: int | None = None) -> Tensor:
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
