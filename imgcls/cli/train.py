"""`imgcls train`: from a folder of images to a folder with a model."""

import contextlib
import copy
import itertools
import json
import logging
import os
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from imgcls import models, openset, paths, training
from imgcls.cli import common
from imgcls.cli.common import classification_metrics
from imgcls.data import Splits, load
from imgcls.evaluation import Predictions, fit_temperature, predict_checked
from imgcls.files import write
from imgcls.messages import format_duration, plural, some
from imgcls.precision import pick_device, pick_precision
from imgcls.reproducibility import configure_threads, fork_rng
from imgcls.tracking import TRACKERS, start
from imgcls.training import OPTIMIZERS, SCHEDULES, History, Recipe
from imgcls.training.distributed import Distributed

KNOWN_RATE = 0.95  # fraction of the validation images that the threshold for unknown inputs accepts
TIMED_STEPS, TIMED_SECONDS = 3, 1.0  # of the time estimate; it ends with the first step beyond either


def train(
    data: common.Data,
    model: common.Model = "resnet18",
    image_size: common.ImageSize = 64,
    grayscale: common.Grayscale = False,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Start from ImageNet weights.")] = False,
    epochs: Annotated[int, typer.Option(help="Number of passes over the training images.")] = 10,
    batch_size: common.BatchSize = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.05,
    optimizer: Annotated[str, typer.Option(help=f"One of {', '.join(OPTIMIZERS)}.")] = "sgd",
    schedule: Annotated[str, typer.Option(help=f"One of {', '.join(SCHEDULES)}.")] = "one_cycle",
    weight_decay: Annotated[float, typer.Option(help="Decay of weights of two or more dimensions.")] = 5e-4,
    ema_decay: Annotated[
        float, typer.Option(help="Average the weights with this decay for each step, such as 0.98; 0 disables.")
    ] = 0.0,
    label_smoothing: Annotated[float, typer.Option(help="Fraction of each target spread over all classes.")] = 0.0,
    balanced_sampling: Annotated[
        bool, typer.Option("--balanced-sampling", help="Sample every class equally often.")
    ] = False,
    augment: common.Augment = True,
    max_train_images: Annotated[int | None, typer.Option(help="Use at most this number of training images.")] = None,
    seed: common.Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default build/runs/DATA-MODEL.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes on this machine that share each batch.")] = 1,
    tracker: Annotated[
        list[str] | None, typer.Option(help=f"Log to one of {', '.join(TRACKERS)}; repeatable; default tensorboard.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints inside an epoch.")] = 200,
) -> None:
    """Train a classifier on a folder of images and keep the weights of the best validation accuracy.

    The same command again resumes an interrupted run, also in the middle of an epoch. The test split is not used. The
    folder of the run gets the weights and their card, history.csv, metrics.json (validation) and learning_curves.png.

    \b
      imgcls train photos.zip --image-size 96 --epochs 20
      imgcls train menagerie/cifar_ten --model cifar_dropout --image-size 32 --processes 2
    """  # noqa: D301 - \b keeps the lines of the examples
    recipe = Recipe(
        epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer, schedule=schedule,
        weight_decay=weight_decay, ema_decay=ema_decay, label_smoothing=label_smoothing,
        balanced_sampling=balanced_sampling, transforms=common.augmentation(image_size) if augment else (),
    )  # fmt: skip
    models.minimum_size(model)  # refuses an unknown name before any image is decoded
    channels, weights = 1 if grayscale else 3, "imagenet" if pretrained else None
    splits = load(data, image_size=image_size, channels=channels, seed=seed, train_count=max_train_images)
    network = training.build_seeded(
        lambda: models.create_model(model, len(splits.classes), channels, weights, image_size=image_size), seed
    )
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        _print_plan(splits, model, network, recipe, processes)
        _launch(processes)
        return
    distributed = training.init_distributed()
    if distributed.is_main and distributed.size == 1:
        _print_plan(splits, model, network, recipe, 1, expected_seconds(network, splits, recipe, seed))
    folder = out or paths.BUILD / "runs" / f"{Path(data).stem}-{model}"
    config = asdict(recipe) | {"data": data, "model": model, "image_size": image_size, "seed": seed}
    config |= {"processes": distributed.size, "max_train_images": max_train_images}
    opened = []
    distributed.broadcast(lambda: opened.append(start(folder, to=tracker or ("tensorboard",), config=config)))
    with opened[0] if distributed.is_main else contextlib.nullcontext() as tracking:
        history = training.fit(
            network, splits.train, splits.val, recipe, seed,
            checkpoint=folder / "checkpoints", checkpoint_every=checkpoint_every, tracker=tracking,
        )  # fmt: skip
    if distributed.is_main:
        _save(folder, network, splits, history, recipe, seed)
        typer.echo(f"evaluate: {shlex.join(['imgcls', 'evaluate', str(folder), data])}")
        typer.echo(f"predict:  {shlex.join(['imgcls', 'predict', str(folder), 'picture.jpg'])}")


def _print_plan(
    splits: Splits, model: str, network: nn.Module, recipe: Recipe, processes: int, seconds: float | None = None
) -> None:
    train, val, test = (len(split) for _, split in splits.items())
    typer.echo(f"{train + val + test:,} images of {len(splits.classes)} classes ({some(splits.classes)})")
    typer.echo(f"{train:,} to train, {val:,} to validate, {test:,} to test")
    if splits.skipped:
        first = splits.skipped[0]
        typer.echo(f"{plural(len(splits.skipped), 'file')} skipped, the first: {first.name}, {first.reason}")
    duration = "" if seconds is None else f", about {format_duration(seconds)}"
    epochs = f"{recipe.epochs} epochs of {train // recipe.batch_size} steps"
    typer.echo(f"{model}, {models.parameter_count(network):,} parameters; {epochs}{duration}")
    precision, threads = str(pick_precision()).removeprefix("torch."), max(1, configure_threads() // processes)
    each = f"{processes} processes, each with" if processes > 1 else "one process with"
    typer.echo(f"{each} {plural(threads, 'thread')}, on {pick_device().type} in {precision}")


def expected_seconds(network: nn.Module, splits: Splits, recipe: Recipe, seed: int) -> float:
    """Seconds of all epochs, extrapolated from a few steps of a copy; network and random state are unchanged.

    The first step is slower than all others and counts only if it is the only one. Validating an image is assumed to
    cost a third of training on it: the forward pass without the backward one.
    """
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
    import torch.distributed.run as torchrun
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise ValueError(f"{processes} processes need as many GPUs, and there are {torch.cuda.device_count()}")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, configure_threads() // processes)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # each process prints its own error
    try:
        torchrun.main(["--standalone", f"--nproc-per-node={processes}", "-m", "imgcls.cli", *sys.argv[1:]])
    except ChildFailedError as error:
        raise typer.Exit(max(1, *(failure.exitcode for failure in error.failures.values()))) from None


def _save(folder: Path, network: nn.Module, splits: Splits, history: History, recipe: Recipe, seed: int) -> None:
    """Write the weights, their card, the validation metrics and the learning curves."""
    from imgcls import plots  # slow to import, needed only here

    predictions = predict_checked(network, splits.val)
    temperature, accuracy = validation_temperature(predictions), predictions.accuracy_interval
    threshold = openset.threshold_at_tpr(openset.energy(predictions.logits), KNOWN_RATE)
    models.save(
        network, folder, splits.classes,
        data={"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint},
        validation={"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high, "n": accuracy.n},
        temperature=temperature, known={"score": "energy", "threshold": threshold, "keeps": KNOWN_RATE},
        recipe=recipe.as_json(), seed=seed,
    )  # fmt: skip
    metrics = {
        "validation": classification_metrics(predictions, temperature),
        "best_epoch": history.best_epoch,
        "seconds": history.seconds,
    }
    write(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    curves = plots.learning_curves({network.built_from["architecture"]: history.frame()})
    plots.save(curves, folder / "learning_curves.png")
    typer.echo(f"validation accuracy {accuracy} in epoch {history.best_epoch}")
    typer.echo(f"weights:  {folder / 'weights.safetensors'}")
    typer.echo(f"curves:   {folder / 'learning_curves.png'}, or tensorboard --logdir {shlex.quote(str(folder))}")


def validation_temperature(predictions: Predictions) -> float:
    """Temperature fitted on validation predictions, finite also where all of them are correct.

    Without an error the likelihood has no maximum: the temperature would be 0 and every confidence 1. The image of
    the lowest confidence then counts once more, with its second class as its label: n correct of n + 1.
    """
    if predictions.correct.all():
        least = predictions.logits[predictions.confidence.argmin()]
        second = least.topk(min(2, len(least))).indices[-1:]
        logits, labels = torch.cat([predictions.logits, least[None]]), torch.cat([predictions.labels, second])
        predictions = Predictions(logits, labels, predictions.classes)
    return fit_temperature(predictions)
