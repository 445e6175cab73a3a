"""The training loop on one screen: `fit`, and the step that it repeats."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgcls.data.batches import ImageSet, balanced_weights, batches, steps_per_epoch
from imgcls.evaluation import Predictions, predict
from imgcls.messages import format_duration
from imgcls.models import freeze
from imgcls.models.layers import Whitening
from imgcls.progress import Progress
from imgcls.reproducibility import autocast, configure_threads, derive_seed, generator, seed_device
from imgcls.tracking import Tracker
from imgcls.training.checkpoints import Checkpoints, State, StepResult, identity
from imgcls.training.distributed import Distributed, init_distributed
from imgcls.training.history import History, Run
from imgcls.training.optimizers import make_average, make_optimizer, set_lr
from imgcls.training.recipe import Recipe

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

Batch = tuple[Tensor, Tensor, Tensor]  # images, labels int64, and targets: the labels, or mixed ones
WHITENED = 5000  # images at most whose patches decide the filters of a `Whitening`
Loss = Callable[[Tensor, Tensor], Tensor]  # logits float32 (N, K) and targets to the sum over the batch


class TrainingDiverged(RuntimeError):
    """The loss stopped being a number."""


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
    """Train, and leave the weights of the best validation accuracy in the model.

    The same seed gives the same weights bit for bit on one machine; so does stopping anywhere and calling
    again with the same checkpoint folder. Global random state is put back as it was. Under `torchrun` or
    `accelerate launch` all processes call it alike and share each batch; batch norm sees each share alone.

    Args:
        model: Takes uint8 (N, C, H, W); a first module `normalize` that was never measured is measured on `train`.
        train: Split to learn from (`.images`, `.labels`, `.classes`); images may be a memory map larger than memory.
        val: Split to choose the epoch by.
        recipe: Every hyperparameter.
        seed: Key of batch order, augmentation and dropout.
        on_epoch_end: Called with (model, row) after validation; numbers it returns join the row.
        checkpoint: Folder of this run to resume from; written to after each epoch, the newest two are kept.
        checkpoint_every: Write a checkpoint every so many steps as well.
        tracker: Gets each epoch's row.
        show: Draw the progress line.

    Raises:
        TrainingDiverged: the training loss became infinite or not a number.
        ValueError: the checkpoint was made with another recipe, seed or data; or `train` has no full batch.
    """
    configure_threads()
    distributed = init_distributed()
    measure_normalization(model, train.images)
    model.to(distributed.device, memory_format=torch.channels_last)
    optimizer, average = make_optimizer(model, recipe), make_average(model, recipe)
    loss = make_loss(recipe, train, distributed.device)
    steps = steps_in_epoch(len(train.labels), recipe, distributed.size)
    saved = Checkpoints(checkpoint and Path(checkpoint), identity(model, recipe, seed, train, val, distributed.size))
    state = _restore(saved, distributed, model, optimizer, average) or State(
        _copy_weights(model), recipe.micro_batch_size
    )
    history = History(state.rows, state.best_epoch)
    train_model, trainable = None, None

    own = (
        [torch.cuda.current_device()] if distributed.device.type == "cuda" else []
    )  # without it, fork_rng copies every GPU's
    with torch.random.fork_rng(own), Progress(recipe.epochs * steps, show=show and distributed.is_main) as progress:
        for epoch in range(state.epoch, recipe.epochs):
            if (
                recipe.early_stopping_patience is not None
                and epoch - state.best_epoch >= recipe.early_stopping_patience
            ):
                break
            if train_model is None or recipe.trainable_at(epoch + 1) != trainable:
                trainable = recipe.trainable_at(epoch + 1)
                train_model = distributed.prepare(model if trainable is None else freeze(model, trainable))
            train_model.train()
            began = time.perf_counter() - state.elapsed
            for step, batch in enumerate(
                train_batches(train, recipe, seed, epoch, state.step, distributed), start=state.step
            ):
                done = epoch * steps + step
                seed_device(
                    distributed.device, seed, "model", epoch, step, distributed.rank
                )  # dropout owes nothing to the past
                lr = recipe.lr_at(done / (recipe.epochs * steps)) * state.lr_factor
                global_batch_size = min(recipe.batch_size, len(train.labels) - step * recipe.batch_size)
                result = train_step(
                    train_model,
                    optimizer,
                    batch,
                    loss,
                    lr,
                    recipe.max_grad_norm,
                    state.micro_batch_size,
                    distributed,
                    global_batch_size,
                )
                if average:
                    average.update(model, step=done + 1)
                state.add(result, len(batch[1]))
                if checkpoint_every and state.step % checkpoint_every == 0 and state.step < steps:
                    state.elapsed = time.perf_counter() - began
                    _save(saved, distributed, done + 1, model, optimizer, average, state)
                progress.update(done + 1, partial(_now, recipe, state, history, distributed.size, began))
            eval_model = average.module if average else model
            row = _epoch_row(eval_model, val, state, lr, time.perf_counter() - began, distributed)
            row |= (on_epoch_end and on_epoch_end(eval_model, row)) or {}
            _close_epoch(eval_model, recipe, history, state, row)
            if tracker and distributed.is_main:
                tracker.log(row, epoch + 1)  # before the checkpoint: a run that is killed in between logs it again
            _save(saved, distributed, (epoch + 1) * steps, model, optimizer, average, state)
        model.load_state_dict(state.best_weights)
        progress.finish(_summary(history))
    return history


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    loss: Loss,
    lr: float,
    max_grad_norm: float | None = None,
    micro_batch_size: int | None = None,
    distributed: Distributed | None = None,
    global_batch_size: int | None = None,
) -> StepResult:
    """One step of gradient descent.

    A batch that does not fit into the device's memory is cut in halves, and those again, whose gradients add up
    to the same step; only batch norm notices.

    Args:
        model: In training mode.
        optimizer: From `make_optimizer`.
        batch: Images (N, C, H, W), labels int64 (N,) to count right answers by, targets (N,) or (N, K).
        loss: From `make_loss`.
        lr: Learning rate of this step.
        max_grad_norm: Largest L2 norm of all gradients together.
        micro_batch_size: Images at a time.
        distributed: The processes that share the step.
        global_batch_size: Images of the step over all processes, the divisor of the loss; `batch` alone if None.

    Raises:
        OutOfMemoryError: one image alone does not fit, or several processes train (they would wait for each other).
    """
    set_lr(optimizer, lr)
    distributed = distributed or Distributed(batch[0].device)
    divisor = (global_batch_size or len(batch[1])) / distributed.size  # gradients are averaged over the processes
    while True:
        try:
            total, correct = _add_gradients(model, batch, loss, divisor, micro_batch_size, distributed)
            break
        except torch.OutOfMemoryError as error:
            micro_batch_size = _halved(micro_batch_size or len(batch[1]), distributed, error)
            optimizer.zero_grad(set_to_none=True)
    if max_grad_norm:
        nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(total, correct, micro_batch_size)


def make_loss(recipe: Recipe, train: ImageSet, device: torch.device) -> Loss:
    """Cross-entropy summed over a batch, with the recipe's smoothing and class weights.

    With class weights the sum is divided by the number of images like any other, not by their weights: a batch
    that happens to hold rare classes then moves the model more.
    """
    weights = recipe.loss_weights(train.labels, len(train.classes)) if recipe.class_weights else None
    return partial(
        F.cross_entropy,
        weight=None if weights is None else weights.to(device),
        label_smoothing=recipe.label_smoothing,
        reduction="sum",
    )


def _add_gradients(
    model: nn.Module, batch: Batch, loss: Loss, divisor: float, micro_batch_size: int | None, distributed: Distributed
) -> tuple[Tensor, Tensor]:
    """Forward and backward over the batch's parts; the sum of the losses and the number of right answers."""
    cut = micro_batch_size and micro_batch_size < len(batch[1])
    parts = list(zip(*(values.split(micro_batch_size) for values in batch), strict=True)) if cut else [batch]
    total = correct = 0
    for i, (images, labels, targets) in enumerate(parts, start=1):
        with nullcontext() if i == len(parts) else distributed.no_sync(model):
            with autocast(images.device):
                logits = model(images)
            part = loss(logits.float(), targets)
            (part / divisor).backward()
        total, correct = total + part.detach().double(), correct + (logits.argmax(1) == labels).sum()
    return total, correct


def _halved(micro_batch_size: int, distributed: Distributed, error: torch.OutOfMemoryError) -> int:
    if distributed.size > 1:
        raise torch.OutOfMemoryError(
            f"{micro_batch_size} images do not fit into the memory of one of {distributed.size} processes: "
            f"set micro_batch={max(1, micro_batch_size // 2)}, which gives the same steps in parts"
        ) from error
    if micro_batch_size == 1:
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = -(-micro_batch_size // 2)
    warnings.warn(
        f"{micro_batch_size} images do not fit into memory: taking {half} at a time and adding up their gradients; "
        "the batch of a step stays the same",
        stacklevel=4,
    )
    return half


def fit_seeds(
    create: Callable[[], nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    seeds: Sequence[int],
    **options: Any,
) -> list[Run]:
    """Create and train a model once per seed; the seed decides the initial weights too.

    Args:
        create: Makes the untrained model, such as `partial(create_model, "simple_cnn", num_classes=10)`.
        train: As in `fit`.
        val: As in `fit`.
        recipe: As in `fit`.
        seeds: One run each.
        **options: Passed to `fit`.
    """
    runs = []
    for seed in seeds:
        model = build_seeded(create, seed)
        runs.append(Run(model, fit(model, train, val, recipe, seed, **options), seed))
    return runs


def build_seeded(create: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Call `create` with the random state that belongs to the seed, and leave the global state as it was."""
    with torch.random.fork_rng(devices=[]):
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


def measure_normalization(model: nn.Module, images: Tensor) -> None:
    """Set the statistics of the model's first module from the training images, unless it has some already.

    And the filters of a `Whitening` behind it, from images taken at even distances.
    """
    normalize = getattr(model, "normalize", None)
    if normalize is None:
        return
    if not normalize.fitted:
        normalize.fit(images)
    for module in model.modules():
        if isinstance(module, Whitening) and not module.fitted:
            module.fit(normalize(images[:: -(-len(images) // WHITENED)]))


# ------------------------------------------------------------------ data
def steps_in_epoch(n: int, recipe: Recipe, processes: int = 1) -> int:
    """Steps of an epoch over n images; raises ValueError where they make no batch, or one too small to share."""
    steps = steps_per_epoch(n, recipe.batch_size, recipe.drop_last)
    if not steps:
        raise ValueError(f"{n} images make no full batch of {recipe.batch_size}: lower batch_size")
    smallest = recipe.batch_size if recipe.drop_last else n - (steps - 1) * recipe.batch_size
    if smallest < processes:
        raise ValueError(
            f"{processes} processes cannot share a batch of {smallest}: raise batch_size (now {recipe.batch_size}), "
            "or leave out the last batch with drop_last=True"
        )
    return steps


def train_batches(
    train: ImageSet, recipe: Recipe, seed: int, epoch: int, start: int, distributed: Distributed
) -> Iterator[Batch]:
    """This process's share of each batch of the epoch; the batches themselves do not depend on the team."""
    stream = batches(
        train, recipe.batch_size, seed=seed, epoch=epoch, transforms=recipe.transforms,
        start_step=start, drop_last=recipe.drop_last, device=distributed.device,
        alternating_flip=recipe.alternating_flip,
        image_size=recipe.image_size_at(epoch + 1),
        weights=balanced_weights(train.labels) if recipe.balanced_sampling else None,
        shard=None if recipe.batch_mix else distributed.shard,
    )  # fmt: skip
    for step, (images, labels) in enumerate(stream, start=start):
        if recipe.batch_mix:  # a partner may lie in another's share
            mixed, targets = recipe.batch_mix(images, labels, generator(seed, "batch_mix", epoch, step))
            rows = distributed.shard(len(labels))
            yield mixed[rows], labels[rows], targets[rows]
        else:
            yield images, labels, labels


# ------------------------------------------------------------------ the end of an epoch
def _validate(model: nn.Module, val: ImageSet, distributed: Distributed) -> Predictions:
    """Each process answers its share of the split, and all get all answers."""
    if distributed.size == 1 or len(val.labels) < distributed.size:
        return predict(model, val)
    distributed.broadcast_buffers(model)
    rows = distributed.shard(len(val.labels))
    part = SimpleNamespace(images=val.images[rows], labels=val.labels[rows], classes=val.classes)
    logits = torch.cat(distributed.gather(predict(model, part).logits))
    return Predictions(logits, val.labels, tuple(val.classes))


def _epoch_row(
    model: nn.Module, val: ImageSet, state: State, lr: float, seconds: float, distributed: Distributed
) -> dict[str, float]:
    """Sums of the epoch divided once, and the validation; `seconds` counts training alone until here."""
    loss, correct, seen = (sum(values) for values in zip(*distributed.gather(state.sums()), strict=True))
    train_loss = loss / seen
    if not math.isfinite(train_loss):
        raise TrainingDiverged(
            f"the training loss became {train_loss} in epoch {state.epoch + 1} at learning rate {lr:.3g}: "
            "try a learning rate ten times smaller"
        )
    began = time.perf_counter()
    answers = _validate(model, val, distributed)
    return {
        "epoch": state.epoch + 1,
        "train_loss": train_loss,
        "train_accuracy": correct / seen,
        "val_loss": answers.loss,
        "val_accuracy": answers.accuracy,
        "lr": lr,
        "images_per_second": seen / seconds,
        "seconds": seconds + time.perf_counter() - began,
    }


def _close_epoch(model: nn.Module, recipe: Recipe, history: History, state: State, row: dict[str, float]) -> None:
    """Append the row, keep the weights if they are the best, lower the rate on a plateau, start the next epoch."""
    best = history.best if history.rows else {"val_accuracy": -1.0, "val_loss": math.inf}
    history.rows.append(row)
    state.epochs_since_best += 1
    if (row["val_accuracy"], -row["val_loss"]) > (best["val_accuracy"], -best["val_loss"]):
        history.best_epoch = state.best_epoch = row["epoch"]
        state.best_weights = _copy_weights(model)
        state.epochs_since_best = 0
    if recipe.schedule == "plateau" and state.epochs_since_best >= recipe.plateau_epochs:
        state.lr_factor *= recipe.gamma
        state.epochs_since_best = 0
    state.epoch, state.step = state.epoch + 1, 0
    state.loss, state.correct, state.seen, state.elapsed = 0.0, 0, 0, 0.0


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# ------------------------------------------------------------------ stopping and going on
def _save(
    saved: Checkpoints,
    distributed: Distributed,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: "ModelEmaV3 | None",
    state: State,
) -> None:
    if saved.folder is None:
        return
    sums = distributed.gather(state.sums())
    if distributed.is_main:
        content = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.module.state_dict() if average else None,
            "state": vars(state) | {"loss": None, "correct": None, "seen": None},
            "sums": sums,
        }
        saved.save(step, content)


def _restore(
    saved: Checkpoints,
    distributed: Distributed,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: "ModelEmaV3 | None",
) -> State | None:
    """Load weights and optimizer and return the state; None where there is no checkpoint yet."""
    content = distributed.broadcast(saved.restore)
    if content is None:
        return None
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    if average:
        average.module.load_state_dict(content["average"])
    state = State(**content["state"])
    state.loss, state.correct, state.seen = content["sums"][distributed.rank]
    return state


# ------------------------------------------------------------------ what the progress line says
def _now(recipe: Recipe, state: State, history: History, processes: int, began: float) -> str:
    speed = processes * state.seen / (time.perf_counter() - began)
    last = f" · validation {100 * history.rows[-1]['val_accuracy']:.1f} %" if history.rows else ""
    loss, correct, seen = state.sums()
    return (
        f"epoch {state.epoch + 1}/{recipe.epochs} · loss {loss / seen:.3f} · train {100 * correct / seen:.1f} %"
        f"{last} · {speed:,.0f} images/s"
    )


def _summary(history: History) -> str:
    row, epochs = history.rows[-1], len(history.rows)
    return (
        f"{epochs} epoch{'s' * (epochs > 1)} in {format_duration(history.seconds)} · loss {row['train_loss']:.3f}"
        f" · train {100 * row['train_accuracy']:.1f} % · validation {100 * row['val_accuracy']:.1f} %"
        f" · {row['images_per_second']:,.0f} images/s, kept epoch {history.best_epoch}"
    )
