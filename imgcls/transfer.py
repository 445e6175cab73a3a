"""Transfer learning: frozen features, heads on them, fine-tuning, and a backbone pretrained on generated species."""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import Tensor, nn

from imgcls import models, paths
from imgcls.data import load
from imgcls.data.batches import ImageSet
from imgcls.evaluation import FeatureSplit, Predictions, extract_features, predict
from imgcls.files import write
from imgcls.messages import UserError
from imgcls.models import MissingWeights, create_model
from imgcls.models.onnx import onnx_runner
from imgcls.precision import pick_device
from imgcls.training import History, Recipe, Run, build_seeded, fit, fit_seeds
from imgcls.transforms import RandomCrop, RandomHorizontalFlip

SOURCE = "menagerie/source"
SIDE = 64  # pixels
RECIPE = Recipe(
    epochs=3, batch_size=64, lr=0.01, optimizer="muon", weight_decay=0.01, ema_decay=0.98,
    transforms=(RandomCrop(padding=6), RandomHorizontalFlip()),
)  # fmt: skip
"""For the source set at less than 64 pixels."""
FINE_TUNE = Recipe(
    epochs=3, batch_size=32, lr=1e-4, optimizer="adamw", weight_decay=0.05,
    transforms=(RandomCrop(padding=20), RandomHorizontalFlip()),
)  # fmt: skip
"""For `fine_tune` at 160 pixels."""
PENALTIES = tuple(10 ** (-exponent / 2) for exponent in range(11))
"""Penalties on the squared weights of a logistic head, strongest first, per training image."""
FEATURE_BATCH = 64  # images at a time


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
            f"{error}. In a report, the parameter backbone (or backbones) names the weights: 'source' trains a "
            "backbone on generated images, without any network"
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


def frozen_features(model: nn.Module, *splits: ImageSet, cache: str | Path | None = None) -> list[FeatureSplit]:
    """The features of splits from a model's frozen backbone: on a CPU with ONNX Runtime, else with PyTorch.

    Args:
        model: from `create_model`; on the CPU for ONNX Runtime.
        splits: uint8 images.
        cache: folder in which the features of each split are kept, and found again for the same images and weights.

    Returns:
        Features, float32 (N, D), of each split.
    """
    body = models.backbone(model).eval()
    weights = hashlib.blake2b(digest_size=16)
    for key, value in body.state_dict().items():
        weights.update(f"{key}{tuple(value.shape)}".encode() + value.detach().cpu().contiguous().numpy().tobytes())
    run = None
    found = []
    for split in splits:
        file = None
        if cache is not None:
            key = weights.copy()
            key.update(str(tuple(split.images.shape)).encode())
            for part in split.images.split(1024):
                key.update(part.cpu().contiguous().numpy().data)
            file = Path(cache) / f"{key.hexdigest()}.safetensors"
        if file is not None and file.is_file():
            features = safetensors.torch.load(file.read_bytes())["features"]
        else:
            run = run or feature_extractor(body, split.images[:2])
            features = run(split)
            if file is not None:
                write(file, safetensors.torch.save({"features": features}))
        names = tuple(getattr(split, "names", ()))
        found.append(FeatureSplit(features, split.labels.clone(), tuple(split.classes), names))
    return found


def feature_extractor(body: nn.Module, images: Tensor) -> Callable[[ImageSet], Tensor]:
    """A function from a split to the outputs of a backbone, float32 (N, D).

    Args:
        body: from `models.backbone`.
        images: uint8 (N, C, H, W), of the size that the function will get.
    """
    if next(body.parameters()).device.type == "cpu" and (run := onnx_runner(body, images)):
        return lambda split: torch.cat([run(part) for part in split.images.split(FEATURE_BATCH)])
    return lambda split: extract_features(body, split).images


def fit_logistic_head(model: nn.Module, train: FeatureSplit, val: FeatureSplit, balanced: bool = False) -> pd.DataFrame:
    """Set the model's output layer to a logistic regression on frozen features, its penalty chosen on validation.

    Features are standardised by train, and the output layer absorbs that. The penalties are tried from the strongest
    on, each from the weights of the one before, until the validation loss has risen twice.

    Args:
        model: from `create_model`, with one linear output layer.
        train: features of the training images, from `frozen_features`.
        val: features of the validation images.
        balanced: weight every class equally.

    Returns:
        A row for each penalty tried: penalty, val_loss, val_accuracy, and chosen (bool).

    Raises:
        ValueError: the training images are of fewer than two classes, or the head is not one linear layer.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    layer = models.head(model)
    if not isinstance(layer, nn.Linear):
        raise UserError(f"the head is {layer}; a logistic regression needs a single linear layer")
    labels = train.labels.numpy()
    present = np.unique(labels)
    if len(present) < 2:
        raise UserError(f"{len(train.labels)} images of one class; training needs at least two classes")
    mean, std = train.images.mean(dim=0), train.images.std(dim=0, correction=0).clamp(min=1e-6)
    x = ((train.images - mean) / std).numpy()
    regression = LogisticRegression(
        max_iter=300, tol=1e-5, warm_start=True, class_weight="balanced" if balanced else None
    )
    rows, best, rises = [], None, 0
    for penalty in PENALTIES:
        regression.C = 1 / (penalty * len(x))
        # One thread: each product is small, and several wait long for each other where a core is busy.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # the weakest penalties; validation decides
            regression.fit(x, labels)
        coefficients, intercept = regression.coef_, regression.intercept_
        if len(present) == 2:  # one row for two classes
            coefficients, intercept = (
                np.stack([-coefficients[0], coefficients[0]]) / 2,
                np.outer([-0.5, 0.5], intercept),
            )
        weight = torch.zeros(layer.weight.shape)
        # A class without a training image gets a bias that no other class's logit reaches.
        bias = torch.full((layer.out_features,), -1e4)
        weight[present] = torch.from_numpy(coefficients).float() / std
        bias[present] = torch.from_numpy(intercept).float().flatten() - weight[present] @ mean
        predictions = Predictions(val.images @ weight.T + bias, val.labels, val.classes)
        rows.append({"penalty": penalty, "val_loss": predictions.loss, "val_accuracy": predictions.accuracy})
        if best is None or predictions.loss < best[0]:
            best, rises = (predictions.loss, weight, bias, penalty), 0
        elif (rises := rises + 1) == 2:
            break
    with torch.no_grad():
        layer.weight.copy_(best[1])
        layer.bias.copy_(best[2])
    table = pd.DataFrame(rows)
    return table.assign(chosen=table["penalty"] == best[3])


def fine_tune(
    model: nn.Module, train: ImageSet, val: ImageSet, recipe: Recipe, seed: int, **options: Any
) -> tuple[History, bool]:
    """Train all of a model whose head is fitted, with frozen batch norm; the weights before stay if they are better.

    Args:
        model: from `create_model`.
        train: split to train on.
        val: split to choose by.
        recipe: with a small learning rate, such as `FINE_TUNE`.
        seed: of order and augmentation.
        options: further arguments of `fit`, such as checkpoint and tracker.

    Returns:
        The history, and whether validation gained, so that the model has the new weights; if not, the best epoch is 0.
    """
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loss = predict(model, val).loss  # it tells more than the accuracy of a few images
    models.freeze_batch_norm(model)
    history = fit(model, train, val, recipe, seed, **options)
    gained = predict(model, val).loss < loss
    if not gained:
        model.load_state_dict(before)
        history.best_epoch = 0
    return history, gained


def linear_probe(
    create: Callable[[], nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    seeds: Sequence[int],
    **options: Any,
) -> list[Run]:
    """Train only the head, on features that the frozen backbone computes once; one run per seed.

    The models of the runs are whole networks, which take images.

    Args:
        create: builds the pretrained network, such as `partial(create_model, "resnet18", 2, weights=folder)`.
        train: split to train the head on.
        val: split to choose the epoch by.
        recipe: recipe for the head, without transforms and batch mix.
        seeds: one run each.
        options: further arguments of `fit`, such as show=False.

    Returns:
        Runs; `seconds` of the first epoch includes the time for the features.

    Raises:
        ValueError: the recipe has transforms or a batch mix.
    """
    if recipe.transforms or recipe.batch_mix:
        raise UserError("frozen features cannot be augmented: leave transforms and batch_mix out of the recipe")
    runs = []
    for seed in seeds:
        model = build_seeded(create, seed).to(pick_device())
        began = time.perf_counter()
        features = frozen_features(model, train, val)
        seconds = time.perf_counter() - began
        history = fit(models.head(model), *features, recipe, seed, **options)
        history.rows[0]["seconds"] += seconds
        runs.append(Run(model, history, seed))
    return runs
