"""The parts of a network: head, backbone, stages, freezing, the layer to explain, and the cost of each layer.

The functions rely on one property of our networks, torchvision's and timm's: modules are registered in execution
order.
"""

import copy
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from imgcls.messages import UserError

STACKS = ("features", "layers", "blocks", "stages", "encoder", "trunk_output")
"""Children of a backbone that count as their own children (resnet's layer1 … layer4 do not)."""

_BatchNorm = nn.modules.batchnorm._BatchNorm
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_PASSIVE = (*_POOLS, nn.LocalResponseNorm, nn.Dropout, nn.Identity)


@contextmanager
def forward_hooks(modules: Iterable[nn.Module], hook: Callable[[nn.Module, tuple, Any], Any]) -> Iterator[None]:
    """Call `hook(module, inputs, output)` after each forward pass of these modules inside the block."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# ------------------------------------------------------------------ head and backbone
def classifiers(network: nn.Module) -> tuple[nn.Module, ...]:
    """The output layers: two for timm's distilled transformers, else one."""
    network = _network(network)
    if hasattr(network, "get_classifier"):  # timm
        found = network.get_classifier()
        found = tuple(found) if isinstance(found, tuple | list) else (found,)
        layers = [m for part in found for m in part.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        if layers:
            return tuple(layers) if len(found) > 1 else (layers[-1],)
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        raise UserError(f"{type(network).__name__} has no linear or convolutional layer, hence no head")
    return (layers[-1],)


def head(model: nn.Module) -> nn.Module:
    """The output layer: the last linear layer (squeezenet: the last convolution)."""
    return classifiers(model)[0]


def backbone(model: nn.Module) -> nn.Module:
    """The model without its output layer: images to features (N, D); weights and buffers stay shared."""
    memo = {id(t): t for t in (*model.parameters(), *model.buffers())}
    for layer in classifiers(model):
        memo[id(layer)] = nn.Identity()
    body = copy.deepcopy(model, memo)
    vars(body).pop("built_from", None)  # create_model cannot rebuild it
    return body


def slice_head(model: nn.Module, outputs: int) -> nn.Module:
    """The model with only its first outputs; all other weights and buffers stay shared.

    Raises:
        ValueError: the model has fewer outputs, or a head that is not a single linear layer.
    """
    layer = head(model)
    if not isinstance(layer, nn.Linear) or len(classifiers(model)) > 1:
        raise UserError(f"the head is {layer}; only a single linear layer can be sliced")
    if not 1 <= outputs <= layer.out_features:
        raise UserError(f"cannot keep {outputs} of {layer.out_features} outputs; choose 1 to {layer.out_features}")
    sliced = copy.deepcopy(layer)
    sliced.out_features = outputs
    sliced.weight = nn.Parameter(layer.weight.detach()[:outputs].clone())
    if layer.bias is not None:
        sliced.bias = nn.Parameter(layer.bias.detach()[:outputs].clone())
    memo = {id(t): t for t in (*model.parameters(), *model.buffers())} | {id(layer): sliced}
    return copy.deepcopy(model, memo).train(model.training)


# ------------------------------------------------------------------ stages and freezing
def stages(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The backbone as a list of (name, module), first to last: the units that `freeze` counts.

    A stage is a block of the architecture (resnet: stem, layer1 … layer4; efficientnet: its feature blocks;
    vit: stem and encoder layers; googlenet: its inceptions). Single layers up to a pooling form one stage
    (vgg: five stages) as an nn.ModuleList. A final norm belongs to the stage before it; the layers after the
    backbone (vgg's hidden linear layers) belong to none.
    """
    return [
        ("stem" if i == 0 else path, members[0] if len(members) == 1 else nn.ModuleList(members))
        for i, (path, members) in enumerate(_groups(_network(model)))
    ]


def freeze(model: nn.Module, trainable: str | int = "head") -> nn.Module:
    """Freeze the model in place except for its last layers; returns it.

    Args:
        model: from `create_model`.
        trainable: "head" (the output layer), "all", or a number k: the last k of `stages(model)` and all
            layers after them. Frozen batch norm does not update its running statistics, also after `model.train()`.

    Raises:
        ValueError: another string, or a number of stages that the model does not have.
    """
    unfrozen, modules = _unfrozen(model, trainable), list(_network(model).modules())
    for module in modules:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(module in unfrozen)
    for module in modules:
        if isinstance(module, _BatchNorm):
            vars(module).pop("train", None)
            module.train(model.training)
            if module not in unfrozen:
                _keep_in_eval(module)
    return model


def freeze_batch_norm(model: nn.Module) -> nn.Module:
    """Freeze only the batch norms in place, parameters and running statistics, also after `model.train()`.

    A pretrained network keeps the statistics that its weights were trained with, whatever the batch size.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
            _keep_in_eval(module)
    return model


def trainable_parts(model: nn.Module) -> pd.DataFrame:
    """The parameters that each choice of `freeze` trains; the model is not changed and may be on the meta device.

    Returns:
        A row for "head", for the last 1, 2, … stages and for "all": trainable (the argument of `freeze`), first (the
        first stage that trains, "" for the head alone), parameters, and batch_norms (the number of frozen ones).
    """
    names = [name for name, _ in stages(model)]
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    rows = []
    for trainable in ("head", *range(1, len(names)), "all"):
        unfrozen = _unfrozen(model, trainable)
        first = "" if trainable == "head" else names[-trainable if isinstance(trainable, int) else 0]
        count = sum(p.numel() for module in unfrozen for p in module.parameters(recurse=False))
        frozen = sum(norm not in unfrozen for norm in norms)
        rows.append({"trainable": trainable, "first": first, "parameters": count, "batch_norms": frozen})
    return pd.DataFrame(rows)


def _unfrozen(model: nn.Module, trainable: str | int) -> set[nn.Module]:
    """The modules whose own parameters train."""
    network, parts = _network(model), _groups(_network(model))
    if isinstance(trainable, bool) or not (
        trainable in ("head", "all") or (isinstance(trainable, int) and 1 <= trainable <= len(parts))
    ):
        raise UserError(
            f"trainable={trainable!r}; choose 'head', 'all' or a number of stages from 1 to {len(parts)} "
            f"({', '.join(name for name, _ in stages(model))})"
        )
    modules = list(network.modules())
    if trainable == "head":
        return {m for layer in classifiers(model) for m in layer.modules()}
    if trainable in ("all", len(parts)):
        return set(modules)
    # Containers of the first unfrozen module come before it, so tokens and position embeddings stay frozen.
    return set(modules[modules.index(parts[-trainable][1][0]) :])


def _keep_in_eval(norm: nn.Module) -> None:
    norm.train = types.MethodType(_stay_in_eval, norm)
    norm.train()


def _stay_in_eval(self: nn.Module, mode: bool = True) -> nn.Module:
    """Replaces `train` on frozen batch norm (a bound method, so that deepcopy rebinds it)."""
    del mode
    return nn.Module.train(self, False)


def _groups(network: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """Stages as (path of the first member, members)."""
    groups: list[tuple[str, list[nn.Module]]] = []
    joinable = False  # whether single layers may still join the last group
    for path, module in _flatten(network, "", set(classifiers(network))):
        weighted = any(isinstance(m, nn.Linear | nn.Conv2d | nn.MultiheadAttention) for m in module.modules())
        single = not any(True for _ in module.children())
        if weighted and not (single and joinable):
            groups.append((path, [module]))
            joinable = single
        elif groups and (joinable or any(True for _ in module.parameters())):  # a norm joins in any case
            groups[-1][1].append(module)
        if isinstance(module, _POOLS):
            joinable = False
    return groups


def _flatten(parent: nn.Module, prefix: str, heads: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for name, child in parent.named_children():
        if not heads.isdisjoint(child.modules()):
            return  # the classifier comes after the whole backbone
        path = f"{prefix}{name}"
        if name in STACKS and any(True for _ in child.children()):
            yield from _flatten(child, f"{path}.", heads)
        else:
            yield path, child


# ------------------------------------------------------------------ the layer to explain
def last_conv(model: nn.Module, image_size: int | tuple[int, int] | None = None, positions: int = 2) -> nn.Module:
    """The module whose output a class activation map weights: the last with spatial positions.

    It is the end of the last stage (resnet: layer4; inception: the last concatenation; vgg: the last ReLU before the
    pooling). For a transformer with a class token it is the first norm of the last encoder block, because no gradient
    reaches the patches after that block's attention.

    Args:
        model: from `create_model`.
        image_size: if given, skip stages whose output has fewer than `positions` positions at that size.
        positions: where no stage has so many, take the last of those with the most.
    """
    network = _network(model)
    candidates = [_output_of(members) for _, members in _groups(network)]
    candidates = [c for c in candidates if c is not None]
    if not candidates:
        raise UserError(f"{type(network).__name__} has no stage with a layer to explain")
    if image_size is None:
        return candidates[-1]
    shapes = _output_shapes(model, candidates, image_size)
    counts = {c: _positions(shapes[c]) for c in reversed(candidates) if c in shapes and len(shapes[c]) in (3, 4)}
    enough = (candidate for candidate, count in counts.items() if count >= positions)
    return next(enough, max(counts, key=counts.get, default=candidates[-1]))


def _output_of(members: list[nn.Module]) -> nn.Module | None:
    layers = [m for m in members if not isinstance(m, _PASSIVE)]
    for block in layers:
        parts = dict(block.named_children())
        norm = parts.get("ln_1", parts.get("norm1"))
        if norm is not None and any(_attends(part) for part in parts.values()):
            return norm
    last = layers[-1] if layers else None
    if isinstance(last, nn.Sequential) and any(isinstance(m, _POOLS) for m in last):
        pool = max(i for i, m in enumerate(last) if isinstance(m, _POOLS))
        return _output_of(list(last)[:pool])  # the positions before the pooling
    return last


def _attends(module: nn.Module) -> bool:
    """Whether a module is attention, which uses its children's weights without calling the children."""
    return isinstance(module, nn.MultiheadAttention) or isinstance(getattr(module, "qkv", None), nn.Linear)


def _positions(shape: torch.Size) -> int:
    """Spatial positions of an output: (N, C, H, W), (N, H, W, C) or tokens (N, T, D)."""
    if len(shape) == 3:
        return shape[1]
    return min(shape[1] * shape[2], shape[2] * shape[3])


def _output_shapes(
    model: nn.Module, modules: list[nn.Module], image_size: int | tuple[int, int]
) -> dict[nn.Module, torch.Size]:
    shapes: dict[nn.Module, torch.Size] = {}

    def record(module: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor):
            shapes[module] = output.shape

    with forward_hooks(modules, record), eval_mode(model), torch.no_grad():
        model(_blank(model, image_size))
    return shapes


# ------------------------------------------------------------------ costs
def parameter_count(model: nn.Module) -> int:
    """Number of parameters, including frozen ones; running statistics of batch norm are buffers and do not count."""
    return sum(p.numel() for p in model.parameters())


def summary(model: nn.Module, input_size: int | tuple[int, ...] = 224) -> pd.DataFrame:
    """One row per layer in execution order, for one image.

    Args:
        model: from `create_model`.
        input_size: side in pixels, (H, W) or (C, H, W).

    Returns:
        DataFrame with columns layer, type, output_shape (without N), parameters, multiply_adds. Parameters outside
        of layers (class tokens, position embeddings) have a row without an output. The column sums are the model's
        totals; attention's own matrix products count for the attention module.
    """
    from torch.utils.flop_counter import FlopCounterMode  # slow to import, needed only here

    size = input_size[-2:] if isinstance(input_size, tuple) else input_size
    names = {module: path for path, module in model.named_modules()}
    rows: dict[str, dict] = {}

    def record(module: nn.Module, inputs: tuple, output: object) -> None:
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else None
        rows[names[module]] = {"layer": names[module], "type": type(module).__name__, "output_shape": shape}

    leaves = [m for m in model.modules() if _attends(m) or not any(True for _ in m.children())]
    counter = FlopCounterMode(display=False)
    # The counter does not see the fused kernels for attention on the CPU.
    with forward_hooks(leaves, record), eval_mode(model), torch.no_grad(), _plain_attention(), counter:
        model(_blank(model, size))

    root = type(model).__name__
    flops = {path: sum(ops.values()) for path, ops in counter.get_flop_counts().items()}
    parameters = dict.fromkeys(rows, 0)
    outside: dict[str, Tensor] = {}
    for path, parameter in model.named_parameters():
        owner = next((row for row in rows if path.startswith(f"{row}.")), None)
        if owner is None:
            outside[path] = parameter
        else:
            parameters[owner] += parameter.numel()
    for path, row in rows.items():
        row["parameters"] = parameters[path]
        inner = sum(flops.get(f"{root}.{below}", 0) for below in rows if below.startswith(f"{path}."))
        row["multiply_adds"] = (flops.get(f"{root}.{path}", 0) - inner) // 2  # those have their own rows
    for path, parameter in outside.items():
        row = {"layer": path, "type": "Parameter", "output_shape": None}
        rows[path] = row | {"parameters": parameter.numel(), "multiply_adds": 0}
    return pd.DataFrame(list(rows.values()), columns=["layer", "type", "output_shape", "parameters", "multiply_adds"])


@contextmanager
def _plain_attention() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


# ------------------------------------------------------------------ shared
@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; the mode of each module is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _network(model: nn.Module) -> nn.Module:
    return model.network if isinstance(getattr(model, "network", None), nn.Module) else model


def _blank(model: nn.Module, image_size: int | tuple[int, int]) -> Tensor:
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    parameter = next(model.parameters())
    channels = len(model.normalize.mean) if hasattr(model, "normalize") else 3
    return torch.zeros(1, channels, height, width, dtype=parameter.dtype, device=parameter.device)
