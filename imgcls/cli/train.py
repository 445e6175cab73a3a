"""`imgcls train`: from a folder of images to a folder with a model."""

import contextlib
import copy
import json
import logging
import os
import shlex
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from imgcls import models, openset, paths
from imgcls.cli.common import augmentation, worth
from imgcls.data import Splits, load
from imgcls.evaluation import Predictions, fit_temperature, predict_checked
from imgcls.files import write
from imgcls.models import create_model, minimum_size, parameter_count
from imgcls.reproducibility import configure_threads, pick_device, pick_precision
from imgcls.tracking import start
from imgcls.training import (
    OPTIMIZERS,
    SCHEDULES,
    History,
    Recipe,
    build_seeded,
    fit,
    init_distributed,
    make_loss,
    make_optimizer,
    train_step,
)
from imgcls.training.distributed import Distributed
from imgcls.training.loop import steps_in_epoch, train_batches

KEEPS = 0.95  # share of the validation images that count as known
TIMED_STEPS, TIMED_SECONDS = 3, 1.0  # of a trial before the run; it ends with the first step beyond either


def train(
    data: Annotated[str, typer.Argument(help="Folder, .zip or .tar of class/image files, or menagerie/<subset>.")],
    model: Annotated[str, typer.Option(help="Name of a network, as models.list_models() has it.")] = "resnet18",
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 64,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of three.")] = False,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Start from ImageNet weights.")] = False,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Images of one step, over all processes together.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.05,
    optimizer: Annotated[str, typer.Option(help=f"One of {', '.join(OPTIMIZERS)}.")] = "sgd",
    schedule: Annotated[str, typer.Option(help=f"One of {', '.join(SCHEDULES)}.")] = "one_cycle",
    weight_decay: Annotated[float, typer.Option(help="On weights of two or more dimensions.")] = 5e-4,
    ema: Annotated[float, typer.Option(help="Decay per step of averaged weights; 0 averages nothing.")] = 0.0,
    label_smoothing: Annotated[float, typer.Option(help="Share of a target that goes to all classes.")] = 0.0,
    balanced: Annotated[bool, typer.Option("--balanced", help="Show every class equally often.")] = False,
    augment: Annotated[bool, typer.Option(help="Random crop and horizontal flip.")] = True,
    train_count: Annotated[int | None, typer.Option(help="Use only so many training images.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the first weights, the order and the augmentation.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; build/runs/<data>-<model> if left out.")] = None,
    processes: Annotated[int, typer.Option(help="Processes on this machine that share each batch.")] = 1,
    tracker: Annotated[list[str] | None, typer.Option(help="tensorboard, wandb, clearml, mlflow; repeatable.")] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints inside an epoch.")] = 200,
) -> None:
    """Train a network on images in folders, and keep the weights of the best validation accuracy.

    The same command again goes on where a stopped one was, in the middle of an epoch too. The test split is not
    looked at. The run's folder gets the weights and their card, history.csv, metrics.json (the validation images)
    and learning_curves.png.

    \b
      imgcls train photos.zip --size 96 --epochs 20
      imgcls train menagerie/cifar_ten --model cifar_dropout --size 32 --processes 2
    """  # noqa: D301 - \b keeps the lines of the examples
    recipe = Recipe(
        epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer, schedule=schedule,
        weight_decay=weight_decay, ema_decay=ema, label_smoothing=label_smoothing, balanced_sampling=balanced,
        transforms=augmentation(size) if augment else (),
    )  # fmt: skip
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    minimum_size(model)  # refuses an unknown name before any image is decoded
    splits = load(data, image_size=size, channels=1 if grey else 3, seed=seed, train_count=train_count)
    folder = out or paths.BUILD / "runs" / f"{Path(data).stem}-{model}"
    network = _network(model, splits, seed, pretrained)
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        _print_plan(splits, model, network, recipe, processes, "")
        _launch(processes)
        return
    distributed = init_distributed()
    if distributed.is_main and distributed.size == 1:
        _print_plan(splits, model, network, recipe, 1, f", {_about(_expected_seconds(network, splits, recipe, seed))}")
    config = asdict(recipe) | {"data": data, "model": model, "size": size, "seed": seed, "processes": distributed.size}
    config["train_count"] = train_count
    opened = []
    distributed.broadcast(lambda: opened.append(start(folder, to=tracker or ("tensorboard",), config=config)))
    with opened[0] if distributed.is_main else contextlib.nullcontext() as tracking:
        history = fit(
            network, splits.train, splits.val, recipe, seed,
            checkpoint=folder / "checkpoints", checkpoint_every=checkpoint_every, tracker=tracking,
        )  # fmt: skip
    if distributed.is_main:
        _keep(folder, network, splits, history, recipe, seed)
        _print_next(folder, data)


def _network(model: str, splits: Splits, seed: int, pretrained: bool) -> nn.Module:
    channels, size = splits.train.images.shape[1:3]
    weights = "imagenet" if pretrained else None
    return build_seeded(lambda: create_model(model, len(splits.classes), channels, weights, image_size=size), seed)


def _print_plan(splits: Splits, model: str, network: nn.Module, recipe: Recipe, processes: int, duration: str) -> None:
    counts = [len(split.labels) for split in (splits.train, splits.val, splits.test)]
    shown = ", ".join(splits.classes[:8]) + (", …" if len(splits.classes) > 8 else "")
    typer.echo(f"{sum(counts):,} images of {len(splits.classes)} classes ({shown})")
    typer.echo("{:,} to train, {:,} to validate, {:,} to test".format(*counts))
    if splits.skipped:
        count, first = len(splits.skipped), splits.skipped[0]
        typer.echo(f"{count} file{'s' * (count > 1)} left out, the first: {first.name}, {first.reason}")
    steps = counts[0] // recipe.batch_size
    typer.echo(f"{model}, {parameter_count(network):,} parameters; {recipe.epochs} epochs of {steps} steps{duration}")
    device, precision = pick_device(), str(pick_precision()).removeprefix("torch.")
    threads = max(1, configure_threads() // processes)
    each = f"{processes} processes, each with" if processes > 1 else "one process with"
    typer.echo(f"{each} {threads} thread{'s' * (threads > 1)}, on {device.type} in {precision}")


def _expected_seconds(network: nn.Module, splits: Splits, recipe: Recipe, seed: int) -> float:
    """Time of all epochs, by a few steps of a copy: neither the network nor any random state is touched.

    The first step is slower than all others and counts only if it is the only one. Validating an image is taken to
    cost a third of training on it: the forward pass without the backward one.
    """
    configure_threads()
    device, probe = pick_device(), copy.deepcopy(network)
    probe.to(device, memory_format=torch.channels_last).train()
    optimizer, loss = make_optimizer(probe, recipe), make_loss(recipe, splits.train, device)
    steps, times = steps_in_epoch(len(splits.train.labels), recipe), []
    own = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(own):
        began = time.perf_counter()
        for _, batch in zip(
            range(TIMED_STEPS), train_batches(splits.train, recipe, seed, 0, 0, Distributed(device)), strict=False
        ):
            float(train_step(probe, optimizer, batch, loss, recipe.lr).loss)  # waits for the device
            times.append(time.perf_counter() - began - sum(times))
            if sum(times) > TIMED_SECONDS:
                break
    later = times[1:] or times
    step = sum(later) / len(later)
    return recipe.epochs * step * (steps + len(splits.val.labels) / recipe.batch_size / 3)


def _about(seconds: float) -> str:
    """`about 40 s`, `about 3 min`, `about 2.5 h`: no finer than an estimate can be."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {10 * round(seconds / 10)} s"
    return f"about {seconds / 60:.0f} min" if seconds < 90 * 60 else f"about {seconds / 3600:.1f} h"


def _launch(processes: int) -> None:
    """Run this very command in several processes, as `torchrun --standalone` would."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise ValueError(f"{processes} processes need as many GPUs, and there are {torch.cuda.device_count()}")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, configure_threads() // processes)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # each process says what it must
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=uuid.uuid4().hex,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.1,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-m", "imgcls.cli", *sys.argv[1:])
    except ChildFailedError as error:
        raise typer.Exit(max(1, *(failure.exitcode for failure in error.failures.values()))) from None


def _keep(folder: Path, network: nn.Module, splits: Splits, history: History, recipe: Recipe, seed: int) -> None:
    """Weights and what is needed to use them, and what they are worth on the validation images."""
    from imgcls import plots  # slow to import, needed only here

    answers = predict_checked(network, splits.val)
    temperature = _temperature(answers)
    found, accuracy = worth(answers, temperature), answers.accuracy_interval
    models.save(
        network, folder, splits.classes,
        data={"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint},
        validation={"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high, "n": accuracy.n},
        temperature=temperature, known=_known(answers), recipe=recipe.as_json(), seed=seed,
    )  # fmt: skip
    metrics = {"validation": found, "best_epoch": history.best_epoch, "seconds": history.seconds}
    write(folder / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    plots.save(
        plots.learning_curves({network.built_from["architecture"]: history.frame()}), folder / "learning_curves.png"
    )
    typer.echo(f"validation accuracy {accuracy} in epoch {history.best_epoch}")


def _known(answers: Predictions) -> dict[str, float | str]:
    """From which energy on a picture counts as like those of the training: 95 % of the validation images do."""
    scores = openset.energy(answers.logits)
    return {"score": "energy", "threshold": openset.threshold_at_tpr(scores, KEEPS), "keeps": KEEPS}


def _temperature(answers: Predictions) -> float:
    """What the validation images say the logits should be divided by.

    Without a mistake the likelihood has no maximum and would make the model entirely sure of everything. The image it
    is least sure of then counts once more, as a mistake: n right answers are no proof of more than n in n + 1.
    """
    if answers.correct.all():
        unsure = answers.logits[answers.confidence.argmin()]
        runner_up = unsure.topk(min(2, len(unsure))).indices[-1:]
        answers = Predictions(
            torch.cat([answers.logits, unsure[None]]), torch.cat([answers.labels, runner_up]), answers.classes
        )
    return fit_temperature(answers)


def _print_next(folder: Path, data: str) -> None:
    typer.echo(f"weights:  {folder / 'weights.safetensors'}")
    typer.echo(f"curves:   {folder / 'learning_curves.png'}, or tensorboard --logdir {shlex.quote(str(folder))}")
    typer.echo(f"evaluate: {shlex.join(['imgcls', 'evaluate', str(folder), data])}")
    typer.echo(f"predict:  {shlex.join(['imgcls', 'predict', str(folder), 'picture.jpg'])}")
