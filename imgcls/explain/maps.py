"""Class activation maps, filters and feature maps."""

from collections.abc import Sequence
from functools import partial

import pytorch_grad_cam as cams
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from imgcls.explain.activations import (
    as_leaf,
    as_maps,
    check_images,
    device_of,
    find_layer,
    map_shape,
    one_per_image,
)
from imgcls.messages import UserError, did_you_mean
from imgcls.models.surgery import eval_mode, forward_hooks, last_conv

METHODS: dict[str, type[cams.GradCAM]] = {
    "grad_cam": cams.GradCAM,  # Selvaraju et al. 2017
    "grad_cam++": cams.GradCAMPlusPlus,  # Chattopadhay et al. 2018
    "layer_cam": cams.LayerCAM,  # Jiang et al. 2021
    "eigen_cam": cams.EigenCAM,  # Muhammad & Yeasin 2020; ignores the target, arbitrary sign
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
    layer: str | nn.Module | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Class activation maps: how much each position of an image contributes to the score of the target class.

    The model runs in evaluation mode, in float32, also where its backbone is frozen. Its modes, `requires_grad`
    flags, gradients and hooks are restored.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        targets: class per image, one class for all, or None for the predicted class.
        method: one of `METHODS`.
        layer: module (or its name) whose output is weighted; None takes `models.last_conv` at the images' size,
            the last with a map of at least 4 x 4.
        batch_size: images per pass.

    Returns:
        float32 (N, H, W) on the CPU, each image scaled separately from 0 to 1; all zero where no position
        contributes to the class.

    Raises:
        ValueError: an unknown method, targets that do not fit, or a layer of another model.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}; {did_you_mean(method, METHODS)}")
    check_images(images, "grad_cam")
    targets = one_per_image(targets, len(images))
    if layer is None:
        layer = last_conv(model, tuple(images.shape[-2:]), positions=16)
    layer, device = find_layer(model, layer), device_of(model)
    aspect, prefix = map_shape(model, images.shape)
    states = {p: (p.requires_grad, p.grad) for p in model.parameters()}
    maps = []
    with eval_mode(model), torch.enable_grad():
        library = METHODS[method](model, [layer], partial(as_maps, aspect=aspect, prefix=prefix))
        try:
            # Gradients flow from the images (frozen backbones too), so the parameters need none.
            for parameter in states:
                parameter.requires_grad_(False)
            for start in range(0, len(images), batch_size):
                batch = as_leaf(images[start : start + batch_size], device)
                chosen = targets and [ClassifierOutputTarget(t) for t in targets[start : start + batch_size]]
                maps.append(torch.from_numpy(library(batch, chosen)))
        finally:
            # Not the library's own `with`: it swallows an IndexError, and its zero_grad drops gradients.
            library.activations_and_grads.release()
            for parameter, (flag, gradient) in states.items():
                parameter.requires_grad_(flag)
                parameter.grad = gradient
    return torch.nan_to_num(torch.cat(maps).float()).clamp(0, 1)


def first_filters(model: nn.Module) -> Tensor:
    """The filters of the first convolution, (F, C, h, w), each scaled separately from 0 to 1."""
    return next(iter(layer_filters(model).values()))


def layer_filters(model: nn.Module) -> dict[str, Tensor]:
    """The filters of every convolution by the layer's name, first to last, each scaled separately from 0 to 1.

    Filters of the first layer have all channels, (F, C, h, w). Filters of deeper layers are means over their input
    channels, (F, 1, h, w), so that they can be drawn.
    """
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    if not layers:
        raise UserError(f"{type(model).__name__} has no convolution, hence no filters to show")
    (first, stem), *deeper = layers
    filters = {first: stem.weight} | {name: conv.weight.mean(1, keepdim=True) for name, conv in deeper}
    return {name: _own_range(weights) for name, weights in filters.items()}


def _own_range(weights: Tensor) -> Tensor:
    filters = weights.detach().float().cpu()
    low, high = filters.amin((1, 2, 3), keepdim=True), filters.amax((1, 2, 3), keepdim=True)
    return (filters - low) / (high - low).clamp(min=1e-12)


@torch.no_grad()
def feature_maps(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The outputs of every convolution for one image, float32 (C, h, w) by the layer's name, first to last.

    The image is (C, H, W), `uint8` or floats in [0, 1]; the maps are not scaled.
    """
    if image.ndim != 3:
        raise UserError(f"feature_maps takes one image of shape (C, H, W), not {tuple(image.shape)}")
    names = {module: name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    maps: dict[str, Tensor] = {}
    shape = map_shape(model, image.shape)

    def record(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        maps[names[module]] = as_maps(output, *shape)[0].float().cpu()  # a copy: a ReLU may overwrite the output

    with forward_hooks(names, record), eval_mode(model):
        model(image[None].to(device_of(model)))
    return maps
