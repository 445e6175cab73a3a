"""`imgcls train`: from a folder of images to a folder with a model."""

import contextlib
import logging
import os
import sys
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from imgcls import datasets, models, paths
from imgcls.datasets import Splits
from imgcls.models import create_model, parameter_count
from imgcls.reproducibility import configure_threads, pick_device, pick_precision
from imgcls.statistics import wilson
from imgcls.tracking import start
from imgcls.training import OPTIMIZERS, SCHEDULES, History, Recipe, fit, initialized, join
from imgcls.transforms import RandomCrop, RandomHorizontalFlip


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
    ema: Annotated[float, typer.Option(help="Decay per step of averaged weights; 0 averages nothing.")] = 0.0,
    label_smoothing: Annotated[float, typer.Option(help="Share of a target that goes to all classes.")] = 0.0,
    balanced: Annotated[bool, typer.Option("--balanced", help="Show every class equally often.")] = False,
    augment: Annotated[bool, typer.Option(help="Random crop and horizontal flip.")] = True,
    seed: Annotated[int, typer.Option(help="Of the split, the first weights, the order and the augmentation.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; build/runs/<data>-<model> if left out.")] = None,
    processes: Annotated[int, typer.Option(help="Processes on this machine that share each batch.")] = 1,
    tracker: Annotated[list[str] | None, typer.Option(help="tensorboard, wandb, clearml, mlflow; repeatable.")] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints inside an epoch.")] = 200,
) -> None:
    """Train a network on images in folders, and keep the weights of the best validation accuracy.

    The same command again goes on where a stopped one was, in the middle of an epoch too. The test split is not
    looked at.

    \b
      imgcls train photos.zip --size 96 --epochs 20
      imgcls train menagerie/cifar_ten --model cifar_dropout --size 32 --processes 2
    """  # noqa: D301 - \b keeps the lines of the examples
    recipe = Recipe(
        epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer, schedule=schedule, ema=ema,
        label_smoothing=label_smoothing, balanced_sampling=balanced,
        transforms=(RandomCrop(padding=size // 8), RandomHorizontalFlip()) if augment else (),
    )  # fmt: skip
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    splits = datasets.load(data, image_size=size, channels=1 if grey else 3, seed=seed)
    folder = out or paths.BUILD / "runs" / f"{Path(data).stem}-{model}"
    network = _network(model, splits, seed, pretrained)
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        _print_plan(splits, model, network, recipe, processes)
        _launch(processes)
        return
    team = join()
    if team.first and team.size == 1:
        _print_plan(splits, model, network, recipe, 1)
    config = asdict(recipe) | {"data": data, "model": model, "size": size, "seed": seed, "processes": team.size}
    opened = []
    team.from_first(lambda: opened.append(start(folder, to=tracker or ("tensorboard",), config=config)))
    with opened[0] if team.first else contextlib.nullcontext() as tracking:
        history = fit(
            network, splits.train, splits.val, recipe, seed,
            checkpoint=folder / "checkpoints", checkpoint_every=checkpoint_every, tracker=tracking,
        )  # fmt: skip
    if team.first:
        _keep(folder, network, splits, history)


def _network(model: str, splits: Splits, seed: int, pretrained: bool) -> nn.Module:
    channels, size = splits.train.images.shape[1:3]
    weights = "imagenet" if pretrained else None
    return initialized(lambda: create_model(model, len(splits.classes), channels, weights, image_size=size), seed)


def _print_plan(splits: Splits, model: str, network: nn.Module, recipe: Recipe, processes: int) -> None:
    counts = [len(split.labels) for split in (splits.train, splits.val, splits.test)]
    shown = ", ".join(splits.classes[:8]) + (", …" if len(splits.classes) > 8 else "")
    typer.echo(f"{sum(counts):,} images of {len(splits.classes)} classes ({shown})")
    typer.echo("{:,} to train, {:,} to validate, {:,} to test".format(*counts))
    if splits.left_out:
        typer.echo(f"{len(splits.left_out)} files left out, the first: {splits.left_out[0]}")
    steps = counts[0] // recipe.batch_size
    typer.echo(f"{model}, {parameter_count(network):,} parameters; {recipe.epochs} epochs of {steps} steps")
    device, precision = pick_device(), str(pick_precision()).removeprefix("torch.")
    threads = max(1, configure_threads() // processes)
    each = f"{processes} processes, each with" if processes > 1 else "one process with"
    typer.echo(f"{each} {threads} thread{'s' * (threads > 1)}, on {device.type} in {precision}")


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


def _keep(folder: Path, network: nn.Module, splits: Splits, history: History) -> None:
    """Weights and what is needed to use them, and what to do next."""
    right = round(history.best["val_accuracy"] * len(splits.val.labels))
    accuracy = wilson(right, len(splits.val.labels))
    data = {"name": splits.name, "kind": splits.kind, "fingerprint": splits.fingerprint}
    validation = {"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high, "n": accuracy.n}
    models.save(network, folder, splits.classes, data=data, validation=validation)
    typer.echo(f"validation accuracy {accuracy} in epoch {history.best_epoch}")
    typer.echo(f"weights: {folder / 'weights.safetensors'}\ncurves:  tensorboard --logdir {folder}")
