"""The training loop: a Recipe of plain data, `fit` on one screen, and exact resume from any step."""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgcls.batches import ImageSet, batches, steps_per_epoch
from imgcls.evaluation import predict
from imgcls.reproducibility import autocast, configure_threads, derive_seed, generator, pick_device, seed_device
from imgcls.tracking import Progress, Tracker, clock

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "exponential", "cosine", "one_cycle", "plateau")


class TrainingDiverged(RuntimeError):
    """The loss stopped being a number."""


@dataclass(frozen=True)
class Recipe:
    """Every hyperparameter of a training run."""

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.05  # peak learning rate
    optimizer: str = "sgd"  # one of OPTIMIZERS
    momentum: float = 0.9  # SGD only
    nesterov: bool = True  # SGD only
    weight_decay: float = 5e-4  # on weights of two or more dimensions; biases and norms are left alone
    schedule: str = "one_cycle"  # one of SCHEDULES
    warmup: float = 0.2  # share of the run that one_cycle takes to reach the peak
    gamma: float = 0.99  # factor of the learning rate: each epoch (exponential) or at each plateau
    plateau_epochs: int = 3  # epochs without a better validation accuracy that make a plateau
    patience: int | None = None  # epochs without a better validation accuracy before stopping; None never stops
    label_smoothing: float = 0.0
    transforms: tuple = ()  # augmentation, applied to each batch in this order
    mix: Any = None  # MixUp or CutMix
    drop_last: bool = True  # every step sees a full batch

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; choose one of {', '.join(choices)}")
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")
        if not 0 < self.warmup < 1:
            raise ValueError(f"warmup is a share of the run between 0 and 1, got {self.warmup!r}")

    def lr_at(self, progress: float) -> float:
        """Learning rate after a share `progress` in [0, 1] of the steps; `plateau` is lowered by `fit` itself."""
        if self.schedule == "one_cycle":  # linear up, linear down to zero
            rising = progress / self.warmup
            return self.lr * max(0.0, min(rising, (1 - progress) / (1 - self.warmup)))
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * progress))
        if self.schedule == "exponential":
            return self.lr * self.gamma ** math.floor(progress * self.epochs)
        return self.lr


@dataclass
class History:
    """One row an epoch, and which epoch's weights were kept."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; 0 before the first epoch

    def frame(self) -> pd.DataFrame:
        """Rows as a table: epoch, losses, accuracies, lr, seconds, images_per_second and what a hook added."""
        return pd.DataFrame(self.rows)

    def gradients(self) -> pd.DataFrame:
        """What a `GradientProbe` recorded: one row an epoch, one column a layer, first layer first."""
        table = self.frame().set_index("epoch").filter(regex="^grad/")
        return table.rename(columns=lambda name: name.removeprefix("grad/"))

    @property
    def best(self) -> dict[str, float]:
        """The row of the kept weights."""
        return self.rows[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        """Time spent training and validating."""
        return sum(row["seconds"] for row in self.rows)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Optimizer over the trainable parameters, with weight decay on weights only."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=nesterov)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](groups, recipe.lr)


@dataclass
class _State:
    """Everything that a resumed run needs besides weights and optimizer: plain numbers, lists and tensors."""

    best_weights: dict[str, Tensor]
    epoch: int = 0
    step: int = 0  # steps done in this epoch
    loss: float | Tensor = 0.0  # sums over this epoch's images
    right: int | Tensor = 0
    seen: int = 0
    spent: float = 0.0  # seconds of this epoch before the interruption
    lr_factor: float = 1.0
    since_better: int = 0  # epochs since the best or since the learning rate was last lowered
    best_epoch: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)


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
) -> History:
    """Train, and leave the weights of the best validation accuracy in the model.

    The same seed gives the same weights bit for bit on one machine; so does stopping anywhere and calling
    again with the same checkpoint file. Global random state is put back as it was.

    Args:
        model: Takes uint8 (N, C, H, W); a first module `normalize` that was never measured is measured on `train`.
        train: Split to learn from (`.images`, `.labels`, `.classes`).
        val: Split to choose the epoch by.
        recipe: Every hyperparameter.
        seed: Key of batch order, augmentation and dropout.
        on_epoch_end: Called with (model, row) after validation; numbers it returns join the row.
        checkpoint: File to resume from if it is there, rewritten after each epoch.
        checkpoint_every: Rewrite it every so many steps as well.
        tracker: Gets each epoch's row.

    Raises:
        TrainingDiverged: the training loss became infinite or not a number.
        ValueError: the checkpoint was made with another recipe, seed or data; or `train` has no full batch.
    """
    configure_threads()
    device = pick_device()
    measure_normalization(model, train.images)
    model.to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    steps = steps_per_epoch(len(train.labels), recipe.batch_size, recipe.drop_last)
    if not steps:
        raise ValueError(f"{len(train.labels)} images make no full batch of {recipe.batch_size}: lower batch_size")
    file = _CheckpointFile(checkpoint, _identity(recipe, seed, train, val))
    state = file.restore(model, optimizer) or _State(_copy_weights(model))
    history = History(state.rows, state.best_epoch)
    progress = Progress(recipe.epochs * steps)

    with torch.random.fork_rng():
        for epoch in range(state.epoch, recipe.epochs):
            model.train()
            began = time.perf_counter() - state.spent
            stream = batches(
                train, recipe.batch_size, seed=seed, epoch=epoch, transforms=recipe.transforms,
                start_step=state.step, drop_last=recipe.drop_last, device=device,
            )  # fmt: skip
            for step, (x, y) in enumerate(stream, start=state.step):
                seed_device(device, seed, "model", epoch, step)  # dropout owes nothing to the past
                lr = recipe.lr_at((epoch * steps + step) / (recipe.epochs * steps)) * state.lr_factor
                loss, right = train_step(model, optimizer, x, y, recipe, lr, generator(seed, "mix", epoch, step))
                state.loss, state.right, state.seen = (
                    state.loss + loss * len(y),
                    state.right + right,
                    state.seen + len(y),
                )
                state.step = step + 1
                if checkpoint_every and state.step % checkpoint_every == 0 and state.step < steps:
                    state.spent = time.perf_counter() - began
                    file.save(model, optimizer, state)
                progress.update(epoch * steps + state.step, f"epoch {epoch + 1}/{recipe.epochs}{_latest(history)}")
            row = _epoch_row(model, val, state, lr, time.perf_counter() - began)
            row |= (on_epoch_end and on_epoch_end(model, row)) or {}
            _close_epoch(model, recipe, history, state, row)
            file.save(model, optimizer, state)
            if tracker:
                tracker.log(row, epoch + 1)
            if recipe.patience is not None and epoch + 1 - history.best_epoch >= recipe.patience:
                break
    model.load_state_dict(state.best_weights)
    progress.finish(
        f"{len(history.rows)} epochs in {clock(history.seconds)}{_latest(history)}, kept epoch {history.best_epoch}"
    )
    return history


@dataclass(frozen=True)
class Run:
    """A trained model with its history and the seed that made it."""

    model: nn.Module
    history: History
    seed: int


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
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "weights"))
        return create()


def sanity_checks(create: Callable[[], nn.Module], train: ImageSet, seed: int = 0) -> pd.DataFrame:
    """Two checks that cost seconds and find most broken set-ups before any long run.

    An untrained classifier should be as unsure as a guess, a loss near ln C; and any sound network can learn two
    images by heart. Returns one row a check: check, expected, measured, passed.
    """
    model = initialized(create, seed)
    measure_normalization(model, train.images)
    device = pick_device()
    model.to(device, memory_format=torch.channels_last)
    some = next(batches(train, min(256, len(train.labels)), seed=seed, epoch=0, device=device))
    with torch.inference_mode():
        start = float(F.cross_entropy(model(some[0]).float(), some[1]))
    chance = math.log(len(train.classes))

    recipe = Recipe(lr=1e-3, optimizer="adam", weight_decay=0.0)
    optimizer = make_optimizer(model, recipe)
    first = int((some[1] != some[1][0]).nonzero()[0])  # two images of different classes
    x, y = some[0][[0, first]], some[1][[0, first]]
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for _ in range(100):
        loss, _ = train_step(model, optimizer, x, y, recipe, lr=1e-3)
    return pd.DataFrame(
        [
            ("loss before training is near ln C", f"{chance:.2f}", f"{start:.2f}", abs(start - chance) < 0.2 * chance),
            ("two images are learned by heart", "< 0.05", f"{float(loss):.3f}", float(loss) < 0.05),
        ],
        columns=["check", "expected", "measured", "passed"],
    )


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    lr: float,
    draws: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of gradient descent; returns the mean loss and the number of right answers, both detached."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    targets = labels
    if recipe.mix:
        images, targets = recipe.mix(images, labels, draws)
    with autocast(images.device):
        logits = model(images)
    loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach().double(), (logits.argmax(1) == labels).sum()


def measure_normalization(model: nn.Module, images: Tensor) -> None:
    """Set the statistics of the model's first module from the training images, unless it has some already."""
    normalize = getattr(model, "normalize", None)
    if normalize is not None and not normalize.measured:
        normalize.measure(images)


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """L2 norm of the loss gradient at the weights of each convolution and dense layer, first layer first.

    Computed in float32 and training mode on a copy, so that the model and its running statistics stay as they are.
    """
    probe = copy.deepcopy(model).train().float()
    device = next(probe.parameters()).device
    layers = [module for module in probe.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    kinds = ["conv" if isinstance(layer, nn.Conv2d) else "dense" for layer in layers]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = F.cross_entropy(probe(images.to(device)), labels.to(device))
    gradients = torch.autograd.grad(loss, [layer.weight for layer in layers])
    names = [f"{kind} {kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]
    return {name: float(gradient.norm()) for name, gradient in zip(names, gradients, strict=True)}


@dataclass(frozen=True)
class GradientProbe:
    """An `on_epoch_end` hook that records `gradient_norms` on fixed images as `grad/<layer>`."""

    images: Tensor
    labels: Tensor

    def __call__(self, model: nn.Module, row: dict) -> dict[str, float]:
        """The norms as columns for the epoch's row."""
        return {f"grad/{name}": norm for name, norm in gradient_norms(model, self.images, self.labels).items()}


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _latest(history: History) -> str:
    if not history.rows:
        return ""
    row = history.rows[-1]
    return (
        f" · loss {row['train_loss']:.3f} · train {100 * row['train_accuracy']:.1f} %"
        f" · validation {100 * row['val_accuracy']:.1f} % · {row['images_per_second']:,.0f} images/s"
    )


def _epoch_row(model: nn.Module, val: ImageSet, state: _State, lr: float, seconds: float) -> dict[str, float]:
    """Sums of the epoch divided once, and the validation; `seconds` counts training alone until here."""
    train_loss = float(state.loss) / state.seen
    if not math.isfinite(train_loss):
        raise TrainingDiverged(
            f"the training loss became {train_loss} in epoch {state.epoch + 1} at learning rate {lr:.3g}: "
            "try a learning rate ten times smaller"
        )
    began = time.perf_counter()
    answers = predict(model, val)
    return {
        "epoch": state.epoch + 1,
        "train_loss": train_loss,
        "train_accuracy": int(state.right) / state.seen,
        "val_loss": answers.loss,
        "val_accuracy": answers.accuracy,
        "lr": lr,
        "images_per_second": state.seen / seconds,
        "seconds": seconds + time.perf_counter() - began,
    }


def _close_epoch(model: nn.Module, recipe: Recipe, history: History, state: _State, row: dict[str, float]) -> None:
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


def _identity(recipe: Recipe, seed: int, train: ImageSet, val: ImageSet) -> dict[str, str]:
    """What must not change between a run and its resumption, each as text."""
    key = {f.name: repr(getattr(recipe, f.name)) for f in fields(recipe)} | {"seed": repr(seed)}
    for name, split in (("training data", train), ("validation data", val)):
        sample = split.images[:: max(1, len(split.labels) // 64)].contiguous().numpy().tobytes()
        digest = hashlib.sha256(split.labels.numpy().tobytes() + sample).hexdigest()[:16]
        key[name] = f"{tuple(split.images.shape)} {digest}"
    return key


@dataclass(frozen=True)
class _CheckpointFile:
    """A run on disk: written whole or not at all, and resumed only by the run it belongs to."""

    path: str | Path | None
    identity: dict[str, str]

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, state: _State) -> None:
        """Write everything that `restore` needs; does nothing without a path."""
        if self.path is None:
            return
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        content = {
            "identity": self.identity,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "state": vars(state),
        }
        torch.save(content, partial)
        partial.replace(path)

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> _State | None:
        """Load weights and optimizer and return the state; None where there is no file yet."""
        if self.path is None or not Path(self.path).exists():
            return None
        content = torch.load(self.path, map_location="cpu", weights_only=True)
        theirs = content["identity"]
        changed = [name for name in self.identity if theirs.get(name) != self.identity[name]]
        if changed:
            differences = "; ".join(f"{name} was {theirs.get(name)}, now {self.identity[name]}" for name in changed)
            raise ValueError(f"{self.path} belongs to another run ({differences}): use its recipe, or another file")
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        return _State(**content["state"])
