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
from imgcls.models import freeze
from imgcls.models.normalize import Whitening
from imgcls.reproducibility import autocast, configure_threads, derive_seed, generator, seed_device
from imgcls.tracking import Progress, Tracker, clock
from imgcls.training.checkpoints import Checkpoints, State, StepResult, identity
from imgcls.training.distributed import Team, join
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
    team = join()
    measure_normalization(model, train.images)
    model.to(team.device, memory_format=torch.channels_last)
    optimizer, average = make_optimizer(model, recipe), make_average(model, recipe)
    loss = make_loss(recipe, train, team.device)
    steps = steps_of(len(train.labels), recipe, team.size)
    saved = Checkpoints(checkpoint and Path(checkpoint), identity(model, recipe, seed, train, val, team.size))
    state = _restore(saved, team, model, optimizer, average) or State(_copy_weights(model), recipe.micro_batch)
    history = History(state.rows, state.best_epoch)
    live, trainable = None, None

    own = [torch.cuda.current_device()] if team.device.type == "cuda" else []  # without it, fork_rng copies every GPU's
    with torch.random.fork_rng(own), Progress(recipe.epochs * steps, show=show and team.first) as progress:
        for epoch in range(state.epoch, recipe.epochs):
            if recipe.patience is not None and epoch - state.best_epoch >= recipe.patience:
                break
            if live is None or recipe.trainable_in(epoch + 1) != trainable:
                trainable = recipe.trainable_in(epoch + 1)
                live = team.prepare(model if trainable is None else freeze(model, trainable))
            live.train()
            began = time.perf_counter() - state.spent
            for step, batch in enumerate(shares(train, recipe, seed, epoch, state.step, team), start=state.step):
                done = epoch * steps + step
                seed_device(team.device, seed, "model", epoch, step, team.rank)  # dropout owes nothing to the past
                lr = recipe.lr_at(done / (recipe.epochs * steps)) * state.lr_factor
                whole = min(recipe.batch_size, len(train.labels) - step * recipe.batch_size)
                result = train_step(live, optimizer, batch, loss, lr, recipe.clip_norm, state.micro_batch, team, whole)
                if average:
                    average.update(model, step=done + 1)
                state.add(result, len(batch[1]))
                if checkpoint_every and state.step % checkpoint_every == 0 and state.step < steps:
                    state.spent = time.perf_counter() - began
                    _save(saved, team, done + 1, model, optimizer, average, state)
                progress.update(done + 1, partial(_now, recipe, state, history, team.size, began))
            judged = average.module if average else model
            row = _epoch_row(judged, val, state, lr, time.perf_counter() - began, team)
            row |= (on_epoch_end and on_epoch_end(judged, row)) or {}
            _close_epoch(judged, recipe, history, state, row)
            if tracker and team.first:  # before the checkpoint: a run that is killed in between logs the epoch again
                tracker.log(row, epoch + 1)
            _save(saved, team, (epoch + 1) * steps, model, optimizer, average, state)
        model.load_state_dict(state.best_weights)
        progress.finish(_summary(history))
    return history


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    loss: Loss,
    lr: float,
    clip_norm: float | None = None,
    micro_batch: int | None = None,
    team: Team | None = None,
    whole: int | None = None,
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
        clip_norm: Largest L2 norm of all gradients together.
        micro_batch: Images at a time.
        team: The processes that share the step.
        whole: Images of the step over all processes, by which the loss is divided; those of `batch` if None.

    Raises:
        OutOfMemoryError: one image alone does not fit, or several processes train (they would wait for each other).
    """
    set_lr(optimizer, lr)
    team = team or Team(batch[0].device)
    divisor = (whole or len(batch[1])) / team.size  # gradients are averaged over the processes
    while True:
        try:
            total, right = _add_gradients(model, batch, loss, divisor, micro_batch, team)
            break
        except torch.OutOfMemoryError as error:
            micro_batch = _halved(micro_batch or len(batch[1]), team, error)
            optimizer.zero_grad(set_to_none=True)
    if clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(total, right, micro_batch)


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
    model: nn.Module, batch: Batch, loss: Loss, divisor: float, micro_batch: int | None, team: Team
) -> tuple[Tensor, Tensor]:
    """Forward and backward over the batch's parts; the sum of the losses and the number of right answers."""
    cut = micro_batch and micro_batch < len(batch[1])
    parts = list(zip(*(values.split(micro_batch) for values in batch), strict=True)) if cut else [batch]
    total = right = 0
    for i, (images, labels, targets) in enumerate(parts, start=1):
        with nullcontext() if i == len(parts) else team.unsynchronised(model):
            with autocast(images.device):
                logits = model(images)
            part = loss(logits.float(), targets)
            (part / divisor).backward()
        total, right = total + part.detach().double(), right + (logits.argmax(1) == labels).sum()
    return total, right


def _halved(micro_batch: int, team: Team, error: torch.OutOfMemoryError) -> int:
    if team.size > 1:
        raise torch.OutOfMemoryError(
            f"{micro_batch} images do not fit into the memory of one of {team.size} processes: "
            f"set micro_batch={max(1, micro_batch // 2)}, which gives the same steps in parts"
        ) from error
    if micro_batch == 1:
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = -(-micro_batch // 2)
    warnings.warn(
        f"{micro_batch} images do not fit into memory: taking {half} at a time and adding up their gradients; "
        "the batch of a step stays the same",
        stacklevel=4,
    )
    return half


def repeat(
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
        model = initialized(create, seed)
        runs.append(Run(model, fit(model, train, val, recipe, seed, **options), seed))
    return runs


def initialized(create: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Call `create` with the random state that belongs to the seed, and leave the global state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "weights"))
        return create()


def together(*hooks: Callable[[nn.Module, dict], dict | None]) -> Callable[[nn.Module, dict], dict]:
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
    if not normalize.measured:
        normalize.measure(images)
    for module in model.modules():
        if isinstance(module, Whitening) and not module.measured:
            module.measure(normalize(images[:: -(-len(images) // WHITENED)]))


# ------------------------------------------------------------------ data
def steps_of(n: int, recipe: Recipe, processes: int = 1) -> int:
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


def shares(train: ImageSet, recipe: Recipe, seed: int, epoch: int, start: int, team: Team) -> Iterator[Batch]:
    """This process's share of each batch of the epoch; the batches themselves do not depend on the team."""
    stream = batches(
        train, recipe.batch_size, seed=seed, epoch=epoch, transforms=recipe.transforms,
        start_step=start, drop_last=recipe.drop_last, device=team.device, alternating_flip=recipe.alternating_flip,
        image_size=recipe.image_size_in(epoch + 1),
        weights=balanced_weights(train.labels) if recipe.balanced_sampling else None,
        share=None if recipe.mix else team.rows,
    )  # fmt: skip
    for step, (images, labels) in enumerate(stream, start=start):
        if recipe.mix:  # a partner may lie in another's share
            mixed, targets = recipe.mix(images, labels, generator(seed, "mix", epoch, step))
            rows = team.rows(len(labels))
            yield mixed[rows], labels[rows], targets[rows]
        else:
            yield images, labels, labels


# ------------------------------------------------------------------ the end of an epoch
def _validate(model: nn.Module, val: ImageSet, team: Team) -> Predictions:
    """Each process answers its share of the split, and all get all answers."""
    if team.size == 1 or len(val.labels) < team.size:
        return predict(model, val)
    team.share_buffers(model)
    rows = team.rows(len(val.labels))
    part = SimpleNamespace(images=val.images[rows], labels=val.labels[rows], classes=val.classes)
    logits = torch.cat(team.gather(predict(model, part).logits))
    return Predictions(logits, val.labels, tuple(val.classes))


def _epoch_row(
    model: nn.Module, val: ImageSet, state: State, lr: float, seconds: float, team: Team
) -> dict[str, float]:
    """Sums of the epoch divided once, and the validation; `seconds` counts training alone until here."""
    loss, right, seen = (sum(values) for values in zip(*team.gather(state.sums()), strict=True))
    train_loss = loss / seen
    if not math.isfinite(train_loss):
        raise TrainingDiverged(
            f"the training loss became {train_loss} in epoch {state.epoch + 1} at learning rate {lr:.3g}: "
            "try a learning rate ten times smaller"
        )
    began = time.perf_counter()
    answers = _validate(model, val, team)
    return {
        "epoch": state.epoch + 1,
        "train_loss": train_loss,
        "train_accuracy": right / seen,
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
    state.since_better += 1
    if (row["val_accuracy"], -row["val_loss"]) > (best["val_accuracy"], -best["val_loss"]):
        history.best_epoch = state.best_epoch = row["epoch"]
        state.best_weights = _copy_weights(model)
        state.since_better = 0
    if recipe.schedule == "plateau" and state.since_better >= recipe.plateau_epochs:
        state.lr_factor *= recipe.gamma
        state.since_better = 0
    state.epoch, state.step = state.epoch + 1, 0
    state.loss, state.right, state.seen, state.spent = 0.0, 0, 0, 0.0


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# ------------------------------------------------------------------ stopping and going on
def _save(
    saved: Checkpoints,
    team: Team,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: "ModelEmaV3 | None",
    state: State,
) -> None:
    if saved.folder is None:
        return
    sums = team.gather(state.sums())
    if team.first:
        content = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.module.state_dict() if average else None,
            "state": vars(state) | {"loss": None, "right": None, "seen": None},
            "sums": sums,
        }
        saved.save(step, content)


def _restore(
    saved: Checkpoints,
    team: Team,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: "ModelEmaV3 | None",
) -> State | None:
    """Load weights and optimizer and return the state; None where there is no checkpoint yet."""
    content = team.from_first(saved.restore)
    if content is None:
        return None
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    if average:
        average.module.load_state_dict(content["average"])
    state = State(**content["state"])
    state.loss, state.right, state.seen = content["sums"][team.rank]
    return state


# ------------------------------------------------------------------ what the progress line says
def _now(recipe: Recipe, state: State, history: History, processes: int, began: float) -> str:
    speed = processes * state.seen / (time.perf_counter() - began)
    last = f" · validation {100 * history.rows[-1]['val_accuracy']:.1f} %" if history.rows else ""
    loss, right, seen = state.sums()
    return (
        f"epoch {state.epoch + 1}/{recipe.epochs} · loss {loss / seen:.3f} · train {100 * right / seen:.1f} %"
        f"{last} · {speed:,.0f} images/s"
    )


def _summary(history: History) -> str:
    row, epochs = history.rows[-1], len(history.rows)
    return (
        f"{epochs} epoch{'s' * (epochs > 1)} in {clock(history.seconds)} · loss {row['train_loss']:.3f}"
        f" · train {100 * row['train_accuracy']:.1f} % · validation {100 * row['val_accuracy']:.1f} %"
        f" · {row['images_per_second']:,.0f} images/s, kept epoch {history.best_epoch}"
    )
