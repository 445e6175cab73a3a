"""Transfer learning: a backbone pretrained on generated species that are absent from all tasks, and linear probes."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from imgcls import models, paths
from imgcls.data import load
from imgcls.data.batches import ImageSet
from imgcls.evaluation import extract_features, predict
from imgcls.models import MissingWeights, create_model
from imgcls.precision import pick_device
from imgcls.training import Recipe, Run, build_seeded, fit, fit_seeds
from imgcls.transforms import RandomCrop, RandomHorizontalFlip

SOURCE = "menagerie/source"
SIDE = 64  # pixels
RECIPE = Recipe(
    epochs=3, batch_size=64, lr=0.01, optimizer="muon", weight_decay=0.01, ema_decay=0.98,
    transforms=(RandomCrop(padding=6), RandomHorizontalFlip()),
)  # fmt: skip
"""For the source set at less than 64 pixels."""


def source_recipe(image_size: int = SIDE, epochs: int | None = None) -> Recipe:
    """The default recipe of `source_backbone`: `RECIPE`, or a faster recipe at 64 pixels.

    The faster recipe trains its first half at half the image size. Its batches are larger, and Muon takes three
    Newton–Schulz steps instead of five: for a ResNet-18, an optimizer step takes about as long as 64 images.

    Args:
        image_size: side in pixels; images are generated at 64 at most.
        epochs: instead of the recipe's own.
    """
    if image_size < SIDE:
        return replace(RECIPE, epochs=epochs or RECIPE.epochs)
    epochs = epochs or 4
    sizes = ((1, SIDE // 2), (1 + epochs // 2, SIDE)) if epochs > 1 else ()
    return replace(RECIPE, epochs=epochs, batch_size=128, lr=0.014, ns_steps=3, resolution_schedule=sizes)


def pretrained(origin: str, name: str = "resnet18", image_size: int = 64, **source: Any) -> str | Path:
    """The `weights` for `create_model`, checked before any long computation.

    Args:
        origin: "source" for the backbone of `source_backbone`, "imagenet", or a folder written by `models.save`.
        name: name of the network.
        image_size: side in pixels of the task's images; the source backbone trains at 64 at most.
        source: further arguments of `source_backbone`.

    Raises:
        MissingWeights: the weights are not on this machine and cannot be downloaded; the message names alternatives.
        ValueError: an unknown origin, or a folder with another network.
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


def source_backbone(
    name: str = "resnet18",
    recipe: Recipe | None = None,
    train_count: int | None = None,
    image_size: int = SIDE,
    seed: int = 0,
    folder: str | Path | None = None,
) -> Path:
    """The folder of a network pretrained on `menagerie/source`; the first call trains the network.

    Every combination of arguments and images has its own folder. Pass the folder to
    `create_model(name, num_classes, weights=...)` for the features with a new head, or to `models.load` for the whole
    network.

    Args:
        name: name of the network, from `models.list_models()`.
        recipe: training recipe; `source_recipe(image_size)` if None.
        train_count: number of training images; all if None.
        image_size: side in pixels.
        seed: random seed for initialisation and training.
        folder: parent folder of all backbones; `build/backbones` if None.

    Returns:
        A folder written by `models.save`. Its card has the data, the recipe, the seed and `metrics`: test accuracy on
        the source set, with its interval.
    """
    splits = load(SOURCE, image_size=image_size, train_count=train_count)
    recipe = recipe or source_recipe(image_size)
    data = {"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint, "train": len(splits.train)}
    facts = {"data": data, "recipe": recipe.as_json(), "seed": seed}
    settings = {"architecture": name, "image_size": image_size, **facts}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    target = Path(folder or paths.BACKBONES) / f"{name}-source-{key}"
    if not (target / "card.json").exists():
        create = partial(create_model, name, len(splits.classes), image_size=image_size)
        run = fit_seeds(create, splits.train, splits.val, recipe, [seed])[0]
        accuracy = predict(run.model, splits.test).accuracy_interval
        metrics = {"test accuracy": asdict(accuracy), "epoch": run.history.best_epoch, "seconds": run.history.seconds}
        models.save(run.model, target, splits.classes, metrics=metrics, **facts)
    return target


def linear_probe(
    create: Callable[[], nn.Module], train: ImageSet, val: ImageSet, recipe: Recipe, seeds: Sequence[int]
) -> list[Run]:
    """Train only the head, on features that the frozen backbone computes once; one run per seed.

    The models of the runs are whole networks, which take images.

    Args:
        create: builds the pretrained network, such as `partial(create_model, "resnet18", 2, weights=folder)`.
        train: split to train the head on.
        val: split to choose the epoch by.
        recipe: recipe for the head, without transforms and batch mix.
        seeds: one run each.

    Returns:
        Runs; `seconds` of the first epoch includes the time for the features.

    Raises:
        ValueError: the recipe has transforms or a batch mix.
    """
    if recipe.transforms or recipe.batch_mix:
        raise ValueError("frozen features cannot be augmented: leave transforms and batch_mix out of the recipe")
    runs = []
    for seed in seeds:
        model = build_seeded(create, seed).to(pick_device())
        began = time.perf_counter()
        body = models.backbone(model)
        features = [extract_features(body, split) for split in (train, val)]
        seconds = time.perf_counter() - began
        history = fit(models.head(model), *features, recipe, seed)
        history.rows[0]["seconds"] += seconds
        runs.append(Run(model, history, seed))
    return runs
