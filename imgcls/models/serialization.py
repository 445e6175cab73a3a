"""Models that leave the machine: a folder of safetensors and a JSON card that says what they are and how to ask them.

Preprocessing cannot drift from training: the card holds image size, channels, classes and normalisation, and
the weights are taken only if they are the ones the card was written for.
"""

import difflib
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from imgcls.models.factory import MissingWeights, create_model
from imgcls.models.surgery import classifiers, head
from imgcls.reproducibility import fork_rng, pick_device

FORMAT = 1
WEIGHTS, CARD = "weights.safetensors", "card.json"
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
"""What every card holds."""

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


# ------------------------------------------------------------------ writing
def save(model: nn.Module, folder: str | Path, classes: Sequence[str], **facts: Any) -> Path:
    """Write a model as `weights.safetensors` and `card.json`, the card last: a folder with a card is complete.

    Args:
        model: from `create_model`; it may be on any device and in any floating-point type.
        folder: made if need be; a model that is there already is replaced.
        classes: names of the outputs, in their order.
        facts: what else the card shall say, such as `data={...}`, `metrics={...}`, `recipe={...}`, `seed=0`.

    Returns:
        The folder.

    Raises:
        ValueError: the model is not from `create_model`, was built for images of an unknown size or has another
            number of outputs than there are classes; a fact is not JSON, or has the name of a key of the card.
    """
    folder = Path(folder)
    built = getattr(model, "built_from", None)
    if built is None:
        raise ValueError(
            f"this {type(model).__name__} is not from create_model, so no card could say how to build it again; "
            "build it with create_model and load its state_dict into that"
        )
    if built["image_size"] is None:
        raise ValueError(
            f"the size of the images that this {built['architecture']!r} is for is unknown, and predictions depend "
            'on it; build it with create_model(..., image_size=...), or set model.built_from["image_size"]'
        )
    layer = head(model)
    outputs = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
    if outputs != len(classes):
        raise ValueError(f"the model has {outputs} outputs and {len(classes)} classes were named; name one for each")
    taken = [key for key in facts if key in KINDS]
    if taken:
        raise ValueError(f"the card's {taken[0]!r} comes from the model; give the fact another name")

    # Copies, for safetensors takes neither channels-last nor shared memory.
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
        "normalisation": {key: getattr(model.normalize, key).tolist() for key in ("mean", "std")},
        "sha256": hashlib.sha256(weights).hexdigest(),
        **facts,
    }
    for key, value in card.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{key!r} cannot stand on a card: {error}; give plain numbers, words, lists and dicts"
            ) from error

    folder.mkdir(parents=True, exist_ok=True)
    # Both are on the disk before either takes its place, so a full disk leaves an older model whole.
    contents = {WEIGHTS: weights, CARD: (json.dumps(card, indent=2) + "\n").encode()}
    asides = {folder / name: folder / f".{name}.part" for name in contents}
    try:
        for aside, content in zip(asides.values(), contents.values(), strict=True):
            _write(aside, content)
        for path, aside in asides.items():
            aside.replace(path)
    finally:
        for aside in asides.values():
            aside.unlink(missing_ok=True)
    return folder


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


# ------------------------------------------------------------------ reading
def load(folder: str | Path) -> tuple[nn.Sequential, dict[str, Any]]:
    """Build the model that `save` wrote, ready to predict: on the CPU, in evaluation mode, bit for bit the same.

    Args:
        folder: with `weights.safetensors` and `card.json`.

    Returns:
        The model and its card.

    Raises:
        MissingWeights: no such folder, or no card or weights in it.
        ValueError: a pickle, a broken card, or weights that are not those the card was written for.
    """
    folder, card = Path(folder), read_card(folder)
    state = _read_weights(folder, card)
    try:
        with fork_rng():  # reading shall not move anybody's random numbers
            model = create_model(
                card["architecture"],
                len(card["classes"]),
                card["channels"],
                weights=None,
                image_size=card["image_size"],
                statistics=None,
                **card["options"],
            )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CARD} describes a model that cannot be built: {error}; save it anew") from error
    if contradiction := _contradiction(card, model, state):
        raise ValueError(f"{folder / CARD} does not match its weights: {contradiction}; save the model anew")
    misfits = _misfits(model.state_dict(), state)
    if misfits:
        raise ValueError(
            f"{folder / WEIGHTS} is not of the model that {CARD} describes by 'architecture', 'options' and "
            f"'image_size': {misfits}; save it anew"
        )
    model.load_state_dict(state, assign=True)  # takes over the floating-point type too
    return model.to(memory_format=torch.channels_last).eval(), card


def open_run(run: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run on the device of this machine, in evaluation mode, and its card.

    Raises:
        MissingWeights: there is no such folder or no model in it; a run of a similar name beside it is suggested.
        ValueError: what is there cannot be used.
    """
    run = Path(run)
    try:
        model, card = load(run)
    except MissingWeights as error:
        beside = [path.parent.name for path in run.parent.glob(f"*/{CARD}")]
        close = difflib.get_close_matches(run.name, beside, n=1)
        raise MissingWeights(f"{error}{f'; did you mean {str(run.parent / close[0])!r}?' if close else ''}") from error
    return model.to(pick_device()), card


def read_card(folder: str | Path) -> dict[str, Any]:
    """Read what `save` wrote about a model, without its weights.

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
        raise ValueError(f"{path} is not JSON ({error}); save the model anew") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path} holds a {type(card).__name__} instead of a card; save the model anew")
    if card.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} is of format {card['format']!r}, and this version reads format {FORMAT}; "
            "save the model anew with this version, or read it with the one that wrote it"
        )
    missing = [key for key in KINDS if key not in card]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; save the model anew with models.save")
    for key, kind in KINDS.items():
        value = card[key]
        if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 1)):
            must = "positive int" if kind is int else kind.__name__
            raise ValueError(f"{key!r} in {path} must be a {must}, not {value!r}; save the model anew")
    return card


def temperature_of(card: Mapping[str, Any]) -> float:
    """What the logits are divided by before the softmax; 1 where the card says nothing.

    Raises:
        ValueError: it is no positive number.
    """
    value = card.get("temperature", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(
            f"the card's temperature must be a positive number, not {value!r}; mend card.json or remove it"
        )
    return float(value)


def transfer(model: nn.Module, folder: str | Path, card: Mapping[str, Any]) -> None:
    """Give a new model, in place, all that a saved one of its architecture has learnt but the output layer.

    The output layer is drawn anew as PyTorch does by itself, whatever the network's own scheme, since the old one
    answers another question.

    Raises:
        MissingWeights: the weights are not there.
        ValueError: they are not the card's, or have other shapes than the model.
    """
    folder = Path(folder)
    layers = classifiers(model)
    heads = tuple(f"{path}." for path, module in model.named_modules() if module in layers)
    features = {k: v for k, v in _read_weights(folder, card).items() if not k.startswith(heads)}
    misfits = _misfits({k: v for k, v in model.state_dict().items() if not k.startswith(heads)}, features)
    if misfits:
        raise ValueError(
            f"the weights in {folder} do not fit this {card['architecture']!r}: {misfits}; "
            f"build it as its card says (image_size={card['image_size']}, options {card['options']})"
        )
    model.load_state_dict(features, strict=False)
    for layer in layers:
        layer.reset_parameters()


def _read_weights(folder: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise _missing(folder, WEIGHTS)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        raise ValueError(
            f"{path} is not the file that {CARD} was written for (its SHA-256 differs): it is torn or was exchanged; "
            "copy the folder again, or save the model anew"
        )
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}); save the model anew with models.save") from error


def _missing(folder: Path, name: str) -> Exception:
    """What to raise where a file of a saved model is not there, by what is there instead."""
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        pickles = [] if WEIGHTS in names else [folder / name for name in names if name.endswith(PICKLES)]
    else:
        pickles = [folder] if folder.suffix in PICKLES else []
    if pickles:
        return ValueError(
            f"{pickles[0]} is a pickle, which can run any code when it is read, and is refused; if it is your own, "
            "read it with torch.load(..., weights_only=True), load that into a model from create_model "
            "and write it with models.save"
        )
    if folder.is_file():
        return ValueError(f"{folder} is a file; give the folder with {WEIGHTS} and {CARD}")
    return MissingWeights(
        f"no {name} in {folder}{'' if folder.is_dir() else ', which does not exist'}; such a folder is written by "
        "models.save: `imgcls train` makes one of every run, notebook 00 that of the source backbone (build/backbones/)"
    )


def _contradiction(card: Mapping[str, Any], model: nn.Module, state: Mapping[str, Tensor]) -> str | None:
    """Which field of a card says something else than the weights, where one field alone can tell."""
    stored = {key: state[f"normalize.{key}"].tolist() for key in ("mean", "std") if f"normalize.{key}" in state}
    channels = len(stored.get("mean", ())) or card["channels"]
    if channels != card["channels"]:
        return f"'channels' is {card['channels']}, and the weights take {channels}"
    if len(stored) == 2 and card["normalisation"] != stored:
        return f"'normalisation' is {card['normalisation']}, and the weights hold {stored}"
    layer = head(model)
    weight = next((state.get(f"{path}.weight") for path, module in model.named_modules() if module is layer), None)
    if weight is not None and len(weight) != len(card["classes"]):
        return f"'classes' names {len(card['classes'])}, and the weights have {len(weight)} outputs"
    return None


def _misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """How one state differs from another in keys and shapes, in a few words; nothing where it does not."""
    shapes = [
        f"{key} is {tuple(given[key].shape)} there and {tuple(value.shape)} here"
        for key, value in expected.items()
        if key in given and given[key].shape != value.shape
    ]
    found = {"missing": expected.keys() - given.keys(), "unexpected": given.keys() - expected.keys()}
    parts = [f"{what} {_some(sorted(keys))}" for what, keys in found.items() if keys]
    return "; ".join([*parts, *([_some(shapes)] if shapes else [])])


def _some(items: Iterable[str], shown: int = 3) -> str:
    items = list(items)
    rest = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {rest} more" if rest > 0 else "")
