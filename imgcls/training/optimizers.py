"""Optimizers by name, with a learning rate per stage; and the exponential moving average of the weights."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from imgcls.models import head, stages
from imgcls.precision import pick_precision
from imgcls.training.muon import Muon, suits_muon
from imgcls.training.recipe import Recipe

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


FUSED = ("cpu", "cuda")  # devices with one kernel for the whole step (benchmark row `step_vs_unfused`)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Optimizer over the trainable parameters, with weight decay on weights only.

    Each group's `lr_scale` is its factor of the learning rate under `layer_decay`. Parameters that `unfreeze_schedule`
    unfreezes later are included, and do not change while they have no gradient. Muon trains the matrices of hidden
    layers, each convolution reshaped to (filters, the rest), and by AdamW head, biases and norms at the same rate.
    """
    # Not timm's parameter groups: they omit parameters that are frozen first, and treat our networks as one layer.
    depths = _depths(model) if recipe.layer_decay < 1 else {}
    output = set(head(model).parameters()) if recipe.optimizer == "muon" else set()
    groups: dict[tuple, dict] = {}
    for parameter in model.parameters():
        if not (parameter.requires_grad or recipe.unfreeze_schedule):
            continue
        scale = recipe.layer_decay ** depths.get(parameter, 0)
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        group = {"params": [], "weight_decay": decay, "lr_scale": scale}
        if recipe.optimizer == "muon":
            group["muon"] = suits_muon(parameter) and parameter not in output
        key = tuple(value for name, value in group.items() if name != "params")
        groups.setdefault(key, group)["params"].append(parameter)
    parameters = list(groups.values())
    nesterov = recipe.nesterov and recipe.momentum > 0
    # SGD's fused kernel fails if some weights have no momentum yet, such as those that are unfrozen later; and it takes
    # uninitialised memory for momentum if a scaler passes over its first step.
    device = next(model.parameters()).device
    scaled = pick_precision(device) == torch.float16
    fused = device.type in FUSED and not recipe.unfreeze_schedule and not scaled
    if recipe.optimizer == "muon":
        return Muon(parameters, recipe.lr, recipe.momentum, nesterov, recipe.ns_steps, fused=fused)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](parameters, recipe.lr, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set each group's learning rate to its factor of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def _depths(model: nn.Module) -> dict[nn.Parameter, int]:
    """Number of stages between each parameter and the head; 0 for the head and the layers after the backbone."""
    parts = stages(model)
    stage_of = {parameter: i for i, (_, stage) in enumerate(parts) for parameter in stage.parameters()}
    output = set(head(model).parameters())
    current, depths = 0, {}
    for parameter in model.parameters():  # in execution order
        current = stage_of.get(parameter, current)
        outside = parameter not in stage_of and current == len(parts) - 1
        depths[parameter] = 0 if parameter in output or outside else len(parts) - current
    return depths


def make_ema(model: nn.Module, recipe: Recipe) -> "ModelEmaV3 | None":
    """Exponential moving average of weights and buffers (timm's), or None where `recipe.ema_decay` is 0.

    The decay rises to `ema_decay` in the first steps; otherwise a short run would end with an average of its start.
    """
    if not recipe.ema_decay:
        return None
    from timm.utils import ModelEmaV3  # slow to import, needed only here

    return ModelEmaV3(model, recipe.ema_decay, use_warmup=True)
