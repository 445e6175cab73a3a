"""Saved models: a folder with safetensors weights and a JSON card that describes how to build and use the model.

The card contains image size, channels, classes, normalisation and the SHA-256 of the weights, so that preprocessing
is always the same as in training.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from imgcls.files import open_atomic
from imgcls.messages import UserError, did_you_mean
from imgcls.models.factory import MissingWeights, build
from imgcls.models.surgery import classifiers, head
from imgcls.precision import pick_device
from imgcls.reproducibility import fork_rng

FORMAT = 2  # format 1 had other names for options of our networks and for a buffer of the normalisation
WEIGHTS, CARD = "weights.safetensors", "card.json"
CONFIG = "config.json"  # what `imgcls train` writes first
KINDS: dict[str, type] = {
    "format": int,
    "architecture": str,
    "options": dict,
    "classes": list,
    "image_size": int,
    "channels": int,
    "normalisation": dict,
    "sha256": str,
}
"""Required keys of a card, with their types."""

SCORES = ("energy", "max_logit")  # functions of imgcls.openset, of the logits before any temperature

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
REASON = 500  # characters of PyTorch's message about keys and shapes, which may list every layer


# ------------------------------------------------------------------ writing
def save(model: nn.Module, folder: str | Path, classes: Sequence[str], **facts: Any) -> Path:
    """Write a model as `weights.safetensors` and `card.json`, the card last: a folder with a card is complete.

    Args:
        model: from `create_model`; on any device and in any floating-point type.
        folder: created if missing; an existing model is replaced.
        classes: names of the outputs, in order.
        facts: further entries of the card, such as `data={...}`, `metrics={...}`, `recipe={...}`, `seed=0`;
            `resize` as for `imgcls.data.load`, since the pixels depend on it.

    Returns:
        The folder.

    Raises:
        ValueError: the model is not from `create_model`, was built for images of an unknown size or has another
            number of outputs than there are classes; a fact is not JSON, or has the name of a key of the card.
    """
    folder = Path(folder)
    built = getattr(model, "built_from", None)
    if built is None:
        raise UserError(
            f"this {type(model).__name__} is not from create_model, so a card cannot describe how to build it; "
            "build it with create_model and load its state_dict into that"
        )
    if built["image_size"] is None:
        raise UserError(
            f"the image size of this {built['architecture']!r} is unknown, and predictions depend on it; "
            'build it with create_model(..., image_size=...), or set model.built_from["image_size"]'
        )
    layer = head(model)
    outputs = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
    if outputs != len(classes):
        raise UserError(f"the model has {outputs} outputs and {len(classes)} classes were named; name one for each")
    taken = [key for key in facts if key in KINDS]
    if taken:
        raise UserError(f"the card's {taken[0]!r} comes from the model; give the fact another name")

    # Copies, because safetensors accepts neither channels-last nor shared memory.
    state = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in model.state_dict().items()
    }
    weights = safetensors.torch.save(state)
    card = {
        "format": FORMAT,
        "architecture": built["architecture"],
        "options": built["options"],
        "classes": list(classes),
        "image_size": built["image_size"],
        "channels": built["channels"],
        "normalisation": _statistics(model),
        "sha256": hashlib.sha256(weights).hexdigest(),
        **facts,
    }
    for key, value in card.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{key!r} cannot be written to a card: {error}; give plain numbers, strings, lists and dicts"
            ) from error

    # Both files are on the disk before either is renamed, so a full disk leaves an older model intact.
    with open_atomic(folder / CARD) as card_file, open_atomic(folder / WEIGHTS, sync=True) as weights_file:
        card_file.write((json.dumps(card, indent=2) + "\n").encode())
        card_file.flush()
        os.fsync(card_file.fileno())
        weights_file.write(weights)  # the weights are moved first, at the end of the block
    return folder


# ------------------------------------------------------------------ reading
def load(folder: str | Path) -> tuple[nn.Sequential, dict[str, Any]]:
    """Build the model that `save` wrote, bit for bit the same, on the CPU and in evaluation mode.

    Args:
        folder: with `weights.safetensors` and `card.json`.

    Returns:
        The model and its card.

    Raises:
        MissingWeights: no such folder, or no card or weights in it.
        ValueError: a pickle, a broken card or one of an earlier version, or weights that do not belong to the card.
    """
    folder, card = Path(folder), read_card(folder)
    state = _read_weights(folder, card)
    try:
        with fork_rng():  # loading does not change the caller's random state
            model = build(
                card["architecture"], len(card["classes"]), card["channels"], card["image_size"], card["options"]
            )
    except (TypeError, ValueError) as error:
        raise UserError(f"{folder / CARD} describes a model that cannot be built: {error}; save it again") from error
    try:
        model.load_state_dict(state, assign=True)  # keeps the floating-point type too
    except RuntimeError as error:
        raise UserError(
            f"{folder / WEIGHTS} does not belong to the model that {CARD} describes by 'architecture', 'options', "
            f"'classes', 'channels' and 'image_size': {shorten(str(error), REASON)}; save the model again"
        ) from error
    if card["normalisation"] != _statistics(model):
        raise UserError(
            f"{folder / CARD} does not match its weights: 'normalisation' is {card['normalisation']}, and the weights "
            f"contain {_statistics(model)}; save the model again"
        )
    return model.to(memory_format=torch.channels_last).eval(), card


def open_run(run: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run in evaluation mode on this machine's device, and its card; raises as `load` does."""
    run = Path(run)
    try:
        model, card = load(run)
    except MissingWeights as error:
        if (run / CONFIG).is_file():
            raise
        others = sorted(str(path.parent) for path in run.parent.glob(f"*/{CARD}"))
        raise MissingWeights(f"{error}{f'; {did_you_mean(run, others)}' if others else ''}") from error
    return model.to(pick_device()), card


def read_card(folder: str | Path) -> dict[str, Any]:
    """The card of a saved model, without the weights.

    Raises:
        MissingWeights: no such folder, or no card in it.
        ValueError: a pickle, broken JSON, a missing key, or a card of another format.
    """
    folder = Path(folder)
    path = folder / CARD
    if not path.is_file():
        raise _missing(folder, CARD)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); save the model again") from error
    if not isinstance(card, dict):
        raise UserError(f"{path} holds a {type(card).__name__} instead of a card; save the model again")
    if card.get("format", FORMAT) != FORMAT:
        age = "an earlier" if card["format"] == 1 else "another"
        raise UserError(
            f"{path} has format {card['format']!r}, and this version of imgcls reads format {FORMAT}: it was written "
            f"by {age} version; train the model again, or use it with the version that wrote it"
        )
    missing = [key for key in KINDS if key not in card]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; save the model again with models.save")
    for key, kind in KINDS.items():
        value = card[key]
        if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 1)):
            must = "positive int" if kind is int else kind.__name__
            raise UserError(f"{key!r} in {path} must be a {must}, not {value!r}; save the model again")
    return card


def temperature_of(card: Mapping[str, Any]) -> float:
    """The temperature of a card, which divides the logits before the softmax; 1 where the card has none.

    Raises:
        ValueError: it is not a positive number.
    """
    value = card.get("temperature", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(
            f"the card's temperature must be a positive number, not {value!r}; correct or remove it in card.json"
        )
    return float(value)


def threshold_of(card: Mapping[str, Any]) -> tuple[str, float, float] | str:
    """Score, threshold and true positive rate of the card's entry `known`, or why there is no valid threshold.

    The entry is {"score": one of SCORES, "threshold": number, "keeps": fraction of validation images that reach it}.
    """
    entry = card.get("known")
    if entry is None:
        return "its card has no threshold for unknown inputs"
    if not isinstance(entry, dict):
        return f"the entry 'known' on its card is {entry!r} instead of a score and a threshold"
    score, threshold, keeps = (entry.get(key) for key in ("score", "threshold", "keeps"))
    if score not in SCORES:
        return f"its card names the score {score!r}, but only {' and '.join(SCORES)} are supported"
    numbers = all(
        isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in (threshold, keeps)
    )
    if not numbers or not 0 < keeps <= 1:
        return f"the entry 'known' on its card has threshold {threshold!r} and keeps {keeps!r}, not valid numbers"
    return score, float(threshold), float(keeps)


def resize_of(card: Mapping[str, Any]) -> str:
    """How the images of a card were made square, as for `imgcls.data.load`; "crop" where the card has no entry."""
    return card.get("resize", "crop")


def transfer(model: nn.Module, folder: str | Path, card: Mapping[str, Any]) -> None:
    """Copy all weights and statistics of a saved model, except the output layer, into a new model in place.

    The output layer gets PyTorch's default initialisation.

    Raises:
        MissingWeights: the folder has no weights.
        ValueError: the weights do not belong to the card, or have other shapes than the model.
    """
    folder = Path(folder)
    layers = classifiers(model)
    heads = tuple(f"{path}." for path, module in model.named_modules() if module in layers)
    state = {key: value for key, value in _read_weights(folder, card).items() if not key.startswith(heads)}
    state |= {key: value for key, value in model.state_dict().items() if key.startswith(heads)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"the weights in {folder} do not fit this {card['architecture']!r}: {shorten(str(error), REASON)}; build "
            f"it with the settings of its card (image_size={card['image_size']}, options {card['options']})"
        ) from error
    for layer in layers:
        layer.reset_parameters()


def _read_weights(folder: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise _missing(folder, WEIGHTS)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        raise UserError(
            f"{path} is not the file that {CARD} was written for (its SHA-256 differs): it is incomplete or was "
            "replaced; copy the folder again, or save the model again"
        )
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file ({error}); save the model again") from error


def _missing(folder: Path, name: str) -> Exception:
    """The error for a missing file of a saved model: a pickle, a file instead of a folder, or nothing was found."""
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        pickles = [] if WEIGHTS in names else [folder / name for name in names if name.endswith(PICKLES)]
    else:
        pickles = [folder] if folder.suffix in PICKLES else []
    if pickles:
        return UserError(
            f"{pickles[0]} is a pickle, which can run any code when it is read, and is refused; if it is yours, "
            "read it with torch.load(..., weights_only=True), load that into a model from create_model "
            "and write it with models.save"
        )
    if folder.is_file():
        return UserError(f"{folder} is a file; give the folder with {WEIGHTS} and {CARD}")
    if (folder / CONFIG).is_file():
        return MissingWeights(
            f"the training of {folder} has not finished: the same `imgcls train` command continues it"
        )
    return MissingWeights(
        f"no {name} in {folder}{'' if folder.is_dir() else ', which does not exist'}; models.save writes such folders: "
        "`imgcls train` one for every run, notebook 04 that of the source backbone (build/backbones/)"
    )


def _statistics(model: nn.Module) -> dict[str, list[float]]:
    return {key: getattr(model.normalize, key).tolist() for key in ("mean", "std")}
