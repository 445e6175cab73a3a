"""Features learnt elsewhere: the source backbone, pretrained on kinds that no task contains, and probes on it."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from imgcls import models, paths
from imgcls.data import load
from imgcls.data.batches import ImageSet
from imgcls.evaluation import extract_features, predict
from imgcls.models import MissingWeights, create_model
from imgcls.reproducibility import pick_device
from imgcls.training import Recipe, Run, build_seeded, fit, fit_seeds
from imgcls.transforms import RandomCrop, RandomHorizontalFlip

SOURCE = "menagerie/source"
SIDE = 64  # pixels
CHOICE = re.compile(r"(?P<origin>[^@]+)/(?P<name>[^/@]+)@(?P<size>[1-9]\d*)")
AS_WRITTEN = "write origin/name@pixels, such as 'source/cifar_fast@32'"
RECIPE = Recipe(
    epochs=3, batch_size=64, lr=0.01, optimizer="muon", weight_decay=0.01, ema_decay=0.98,
    transforms=(RandomCrop(padding=6), RandomHorizontalFlip()),
)  # fmt: skip
"""For the source set at less than 64 pixels."""


def source_recipe(image_size: int = SIDE, epochs: int | None = None) -> Recipe:
    """How `source_backbone` trains unless told otherwise: `RECIPE`, or at 64 pixels one that is quicker there.

    Its first half sees the images at half their side. Its batches are larger, and Muon takes three turns instead of
    five, since a step of it costs a ResNet-18 about as much as a batch of 64 does.

    Args:
        image_size: side in pixels; none is drawn larger than 64.
        epochs: instead of the recipe's own.
    """
    if image_size < SIDE:
        return replace(RECIPE, epochs=epochs or RECIPE.epochs)
    epochs = epochs or 4
    sizes = ((1, SIDE // 2), (1 + epochs // 2, SIDE)) if epochs > 1 else ()
    return replace(RECIPE, epochs=epochs, batch_size=128, lr=0.014, ns_steps=3, resolution_schedule=sizes)


def pretrained(origin: str, name: str = "resnet18", image_size: int = 64, **source: Any) -> str | Path:
    """What to give `create_model` as `weights`; asked before any long work, so that missing weights are known early.

    Args:
        origin: "source" for the backbone of `source_backbone`, "imagenet", or a folder written by `models.save`.
        name: of the network.
        image_size: side in pixels of the images to come; the source backbone learns from at most 64.
        source: further arguments of `source_backbone`.

    Raises:
        MissingWeights: the weights are not here and cannot be had; the message names the other ways.
        ValueError: an unknown origin, or a folder that holds another network.
    """
    if origin == "source":
        return source_backbone(name, image_size=min(image_size, SIDE), **source)
    try:
        create_model(name, 2, weights=origin, image_size=image_size)
    except MissingWeights as error:
        raise MissingWeights(
            f"{error}. In a report, the parameter backbone names the weights: 'source' trains a backbone on "
            "generated images, without any network (ARGS='-p backbone=source')"
        ) from error
    return origin


@dataclass(frozen=True)
class Pretrained:
    """A pretrained network that can be had: what to build, the weights to give it, and the images that it takes."""

    origin: str  # as `pretrained` takes it
    name: str
    image_size: int  # pixels
    weights: str | Path


def first_available(choices: Sequence[str], **source: Any) -> Pretrained:
    """The first of several pretrained networks whose weights are here, or can be brought; says which are not.

    Args:
        choices: "origin/name@pixels" each, such as "imagenet/timm:inception_resnet_v2@96" or "source/cifar_fast@32".
        source: further arguments of `source_backbone`, for those of origin "source".

    Raises:
        MissingWeights: none can be had; the message tells why for each.
        ValueError: a choice is not written so, or there is none.
    """
    reasons = []
    for choice in choices:
        found = CHOICE.fullmatch(choice)
        if not found:
            raise ValueError(f"{choice!r} names no pretrained network; {AS_WRITTEN}")
        origin, name, size = found["origin"], found["name"], int(found["size"])
        try:
            weights = pretrained(origin, name, size, **(source if origin == "source" else {}))
        except MissingWeights as error:
            reasons.append(f"{choice}: {error}")
            continue
        for reason in reasons:
            print(f"not to be had, so {choice} takes its place: {reason}")
        return Pretrained(origin, name, size, weights)
    if not reasons:
        raise ValueError(f"no pretrained network is named; {AS_WRITTEN}")
    raise MissingWeights("; ".join(reasons))


def source_backbone(
    name: str = "resnet18",
    recipe: Recipe | None = None,
    train_count: int | None = None,
    image_size: int = SIDE,
    seed: int = 0,
    folder: str | Path | None = None,
) -> Path:
    """The folder of a network pretrained on `menagerie/source`; it is trained first if it is not there yet.

    What stands in the folder was made with exactly these arguments and these images: any other has a folder of its
    own. Give it to `create_model(name, num_classes, weights=...)`, which takes over the features and puts a new
    head on them, or to `models.load` for the whole network.

    Args:
        name: of the network, from `models.list_models()`.
        recipe: of the training; `source_recipe` of the side if None.
        train_count: use only so many training images.
        image_size: side in pixels.
        seed: of the first weights and of the training.
        folder: where backbones are kept; `build/backbones` if None.

    Returns:
        A folder written by `models.save`. Its card has the data, the recipe, the seed and `metrics`: accuracy on the
        source set's own test images, with its interval.
    """
    splits = load(SOURCE, image_size=image_size, train_count=train_count)
    recipe = recipe or source_recipe(image_size)
    made = {
        "data": {
            "name": splits.name,
            "kind": splits.kind,
            "fingerprint": splits.fingerprint,
            "train": len(splits.train),
        },
        "recipe": recipe.as_json(),
        "seed": seed,
    }
    asked = {"architecture": name, "image_size": image_size, **made}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]
    place = Path(folder or paths.BACKBONES) / f"{name}-source-{key}"
    if not (place / "card.json").exists():
        create = partial(create_model, name, len(splits.classes), image_size=image_size)
        run = fit_seeds(create, splits.train, splits.val, recipe, [seed])[0]
        found = predict(run.model, splits.test).accuracy_interval
        metrics = {"test accuracy": asdict(found), "epoch": run.history.best_epoch, "seconds": run.history.seconds}
        models.save(run.model, place, splits.classes, metrics=metrics, **made)
    return place


def linear_probe(
    create: Callable[[], nn.Module], train: ImageSet, val: ImageSet, recipe: Recipe, seeds: Sequence[int]
) -> list[Run]:
    """Train only a head, on features that the frozen backbone computes once; one run a seed.

    Nothing can be augmented this way. Afterwards the head stands on its network again, so the model takes images.

    Args:
        create: Makes the pretrained network, such as `partial(create_model, "resnet18", 2, weights=folder)`.
        train: Split to learn from.
        val: Split to choose the epoch by.
        recipe: Of the head; without transforms.
        seeds: One run each.

    Returns:
        Runs whose first epoch's `seconds` hold the time that the features took as well.

    Raises:
        ValueError: the recipe has transforms or a mix.
    """
    if recipe.transforms or recipe.batch_mix:
        raise ValueError("kept features cannot be augmented: leave transforms and mix out of the recipe")
    runs = []
    for seed in seeds:
        model = build_seeded(create, seed).to(pick_device())
        began = time.perf_counter()
        body = models.backbone(model)
        kept = [extract_features(body, split) for split in (train, val)]
        seconds = time.perf_counter() - began
        history = fit(models.head(model), *kept, recipe, seed)
        history.rows[0]["seconds"] += seconds
        runs.append(Run(model, history, seed))
    return runs
