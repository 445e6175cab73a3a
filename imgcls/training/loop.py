"""The training loop `fit`, and its step."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgcls.data.batches import ImageSet
from imgcls.evaluation import Predictions, predict
from imgcls.evaluation.predictions import halve
from imgcls.messages import UserError
from imgcls.models import freeze, initialize_from_data
from imgcls.precision import autocast, make_scaler
from imgcls.progress import Progress
from imgcls.reproducibility import configure_threads, derive_seed, fork_rng, seed_device
from imgcls.tracking import Tracker
from imgcls.training.batches import Batch, steps_per_epoch, train_batches
from imgcls.training.checkpoints import Checkpoints, State, StepResult, identity
from imgcls.training.distributed import Distributed, init_distributed
from imgcls.training.history import History, Run
from imgcls.training.optimizers import make_ema, make_optimizer, set_lr
from imgcls.training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]  # logits float32 (N, K) and targets -> sum over the batch


class TrainingDiverged(RuntimeError):
    """The training loss became infinite or not a number."""


def fit(
    model: nn.Module,
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    seed: int = 0,
    on_epoch_end: Callable[[nn.Module, dict], Mapping[str, float] | None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 0,
    tracker: Tracker | None = None,
    show: bool = True,
) -> History:
    """Train a model; afterwards it has the weights of the best validation accuracy.

    The same seed gives the same weights bit for bit on one machine, also if training is stopped anywhere and resumed
    from the same checkpoint folder. Global random state is restored. Under `torchrun` or `accelerate launch`, all
    processes make the same call and share each batch; batch norm sees one shard at a time.

    Args:
        model: Maps uint8 (N, C, H, W) to logits; a first module `normalize` that is not fitted is fitted to `train`.
        train: Split to learn from (`.images`, `.labels`, `.classes`); images may be a memory map larger than memory.
        val: Split to choose the best epoch by.
        recipe: Every hyperparameter.
        seed: Key of batch order, augmentation and dropout.
        on_epoch_end: Called with (model, row) after validation; the numbers it returns are added to the row.
        checkpoint: Folder to resume this run from; a checkpoint is written after each epoch, the newest two stay.
        checkpoint_every: Additional checkpoints, one after each such number of steps; 0 for none.
        tracker: Records each epoch's row.
        show: Draw the progress line.

    Raises:
        TrainingDiverged: the training loss became infinite or not a number.
        ValueError: the checkpoint was made with another recipe, seed or data; or `train` has no full batch.
    """
    configure_threads()
    world = init_distributed()
    initialize_from_data(model, train.images)
    model.to(world.device, memory_format=torch.channels_last)
    optimizer, loss = make_optimizer(model, recipe), make_loss(recipe, train, world.device)
    ema = make_ema(model, recipe)
    eval_model = ema.module if ema else model
    steps = steps_per_epoch(len(train.labels), recipe, world.size)

    scaler = make_scaler(world.device)
    parts = {"model": model, "optimizer": optimizer} | ({"ema": ema.module} if ema else {})
    parts |= {"scaler": scaler} if scaler.is_enabled() else {}
    run = identity(model, recipe, seed, train, val, world.size)
    train, val = (move_if_it_fits(split, world.device) for split in (train, val))
    checkpoints = Checkpoints(checkpoint and Path(checkpoint), run, parts, world)
    state = checkpoints.restore() or State(copy_weights(model), recipe.micro_batch_size)
    history = state.history

    train_model = trainable = None
    with fork_rng(world.device), Progress(recipe.epochs * steps, show=show and world.is_main) as progress:
        for epoch in range(len(history.rows), recipe.epochs):
            patience = recipe.early_stopping_patience
            if patience is not None and epoch - history.best_epoch >= patience:
                break
            if train_model is None or trainable != recipe.trainable_at(epoch + 1):
                trainable = recipe.trainable_at(epoch + 1)
                train_model = world.prepare(model if trainable is None else freeze(model, trainable))
            train_model.train()
            start = time.perf_counter() - state.elapsed

            for batch in train_batches(train, recipe, seed, epoch, state.step, world):
                steps_before = epoch * steps + state.step
                seed_device(world.device, seed, "model", epoch, state.step, world.rank)  # reproducible dropout
                lr = recipe.lr_at(steps_before / (recipe.epochs * steps)) * state.lr_factor
                set_lr(optimizer, lr)
                result = train_step(train_model, optimizer, batch, loss, recipe, world, state.micro_batch_size, scaler)
                state.add(result)
                if ema:
                    ema.update(model, step=steps_before + 1)
                if checkpoint_every and state.step % checkpoint_every == 0 and state.step < steps:
                    state.elapsed = time.perf_counter() - start
                    checkpoints.save(steps_before + 1, state)
                progress.update(steps_before + 1, partial(progress_text, recipe, state, world, start))

            total_loss, correct, seen = map(sum, zip(*world.gather(state.sums()), strict=True))
            if not math.isfinite(total_loss):
                raise TrainingDiverged(
                    f"the training loss became {total_loss / seen} in epoch {epoch + 1} at learning rate {lr:.3g}: "
                    "try a learning rate ten times smaller"
                )
            train_seconds = time.perf_counter() - start
            validation = validate(eval_model, val, world)
            row = {
                "epoch": epoch + 1,
                "train_loss": total_loss / seen,
                "train_accuracy": correct / seen,
                "val_loss": validation.loss,
                "val_accuracy": validation.accuracy,
                "lr": lr,
                "images_per_second": seen / train_seconds,
                "seconds": time.perf_counter() - start,
            }
            row |= (on_epoch_end and on_epoch_end(eval_model, row)) or {}

            state.epochs_since_best += 1
            if history.improved_by(row):
                history.best_epoch, state.best_weights, state.epochs_since_best = epoch + 1, copy_weights(eval_model), 0
            if recipe.schedule == "plateau" and state.epochs_since_best >= recipe.plateau_epochs:
                state.lr_factor, state.epochs_since_best = state.lr_factor * recipe.gamma, 0
            history.rows.append(row)
            state.start_epoch()
            if tracker and world.is_main:
                tracker.log(row, epoch + 1)  # before the checkpoint: a run that is killed in between logs it again
            checkpoints.save((epoch + 1) * steps, state)
        model.load_state_dict(state.best_weights)
        progress.finish(history.summary())
    return history


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    loss: Loss,
    recipe: Recipe,
    world: Distributed | None = None,
    micro_batch_size: int | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> StepResult:
    """One optimizer step at the optimizer's learning rate.

    A batch that does not fit into the device's memory is halved until it fits. The gradients of its micro-batches add
    up to the same step; only batch norm differs.

    Args:
        model: In training mode.
        optimizer: From `make_optimizer`.
        batch: From `train_batches`.
        loss: From `make_loss`.
        recipe: Gives `max_grad_norm` and `micro_batch_size`.
        world: The processes that share the step; None is one process.
        micro_batch_size: Number of images that fitted in earlier steps, instead of the recipe's.
        scaler: From `make_scaler`; it passes over a step whose float16 gradients overflow. None scales nothing.

    Raises:
        OutOfMemoryError: a single image does not fit, or several processes train (they would wait for each other).
    """
    world = world or Distributed(batch.images.device)
    scaler = scaler or torch.amp.GradScaler(batch.images.device.type, enabled=False)
    micro_batch_size = micro_batch_size or recipe.micro_batch_size
    while True:
        try:
            size = micro_batch_size or len(batch.labels)
            total, correct = _accumulate_gradients(model, batch, loss, world, size, scaler)
            break
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                "batch norm needs more than one value for each channel, and a batch of one image has one in the last "
                "layers: use batches of at least 2 images (--batch-size), or larger images"
            ) from error
        except torch.OutOfMemoryError as error:
            check_can_halve(size, world, error)
        # Outside the block above, whose exception holds the tensors of the failed attempt.
        optimizer.zero_grad(set_to_none=True)
        micro_batch_size = halve(size, " and adding up their gradients; the batch of a step stays the same")
    scaler.unscale_(optimizer)
    if recipe.max_grad_norm:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(total, correct, len(batch.labels), micro_batch_size)


def make_loss(recipe: Recipe, train: ImageSet, device: torch.device) -> Loss:
    """Cross-entropy summed over a batch, with the recipe's label smoothing and class weights.

    The step divides the sum by the number of images, also with class weights: a batch with more images of rare classes
    has larger gradients.
    """
    weights = recipe.loss_weights(train.labels, len(train.classes)) if recipe.class_weights else None
    return partial(
        F.cross_entropy,
        weight=None if weights is None else weights.to(device),
        label_smoothing=recipe.label_smoothing,
        reduction="sum",
    )


def _accumulate_gradients(
    model: nn.Module,
    batch: Batch,
    loss: Loss,
    world: Distributed,
    micro_batch_size: int,
    scaler: torch.amp.GradScaler,
) -> tuple[Tensor, Tensor]:
    """Forward and backward passes over the micro-batches; returns sum of losses and number of correct predictions."""
    divisor = batch.global_size / world.size  # gradients are averaged over the processes
    splits = (values.split(micro_batch_size) for values in (batch.images, batch.labels, batch.targets))
    micro_batches = list(zip(*splits, strict=True))
    total = correct = 0
    for i, (images, labels, targets) in enumerate(micro_batches, start=1):
        with nullcontext() if i == len(micro_batches) else world.no_sync(model):
            with autocast(images.device):
                logits = model(images)
            part = loss(logits.float(), targets)
            scaler.scale(part / divisor).backward()
        total = total + part.detach()
        correct = correct + (logits.argmax(1) == labels).sum()
    return total, correct


def check_can_halve(size: int, world: Distributed, error: torch.OutOfMemoryError) -> None:
    """Raise OutOfMemoryError where a micro-batch cannot be halved after it did not fit."""
    if world.size > 1:
        raise torch.OutOfMemoryError(
            f"{size} images do not fit into the memory of one of {world.size} processes: "
            f"set micro_batch_size={max(1, size // 2)}, which gives the same steps in parts"
        ) from error
    if size == 1:
        raise error


def move_if_it_fits(split: ImageSet, device: torch.device) -> ImageSet:
    """The split on a CUDA device, where it fits into half of the free memory; else the split itself."""
    if device.type != "cuda" or split.images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return split
    return SimpleNamespace(images=split.images.to(device), labels=split.labels.to(device), classes=split.classes)


def validate(model: nn.Module, val: ImageSet, world: Distributed) -> Predictions:
    """Predict one shard of the split in each process, and return all predictions in all processes."""
    if world.size == 1 or len(val.labels) < world.size:
        return predict(model, val)
    world.broadcast_buffers(model)
    rows = world.shard(len(val.labels))
    shard = SimpleNamespace(images=val.images[rows], labels=val.labels[rows], classes=val.classes)
    logits = torch.cat(world.gather(predict(model, shard).logits))
    return Predictions(logits, val.labels.cpu(), tuple(val.classes))


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's state, independent of later changes."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def progress_text(recipe: Recipe, state: State, world: Distributed, start: float) -> str:
    """The epoch so far in one line; `start` is its start time by `time.perf_counter`."""
    loss, correct, seen = state.sums()
    speed = world.size * seen / (time.perf_counter() - start)
    rows = state.history.rows
    last = f" · validation {100 * rows[-1]['val_accuracy']:.1f} %" if rows else ""
    return (
        f"epoch {len(rows) + 1}/{recipe.epochs} · loss {loss / seen:.3f} · train {100 * correct / seen:.1f} %"
        f"{last} · {speed:,.0f} images/s"
    )


def fit_seeds(
    create: Callable[[], nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    seeds: Sequence[int],
    **options: Any,
) -> list[Run]:
    """Create and train a model once per seed, which also determines the initial weights.

    `create` makes the untrained model, such as `partial(create_model, "simple_cnn", num_classes=10)`; the other
    arguments are those of `fit`.
    """
    runs = []
    for seed in seeds:
        model = build_seeded(create, seed)
        runs.append(Run(model, fit(model, train, val, recipe, seed, **options), seed))
    return runs


def build_seeded(create: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Call `create` under a random state that depends on the seed alone; the global state is restored."""
    with fork_rng():
        torch.default_generator.manual_seed(derive_seed(seed, "weights"))
        return create()


def compose_hooks(*hooks: Callable[[nn.Module, dict], dict | None]) -> Callable[[nn.Module, dict], dict]:
    """Several `on_epoch_end` hooks as one; the numbers that they return go into the same row."""

    def call(model: nn.Module, row: dict) -> dict:
        found: dict = {}
        for hook in hooks:
            found |= hook(model, row | found) or {}
        return found

    return call
