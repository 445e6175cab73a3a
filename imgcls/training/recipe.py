"""Every hyperparameter of a training run, and the learning rate as a function of progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imgcls.messages import UserError, did_you_mean
from imgcls.training.schedule import SCHEDULES, learning_rate

OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
POSITIVE = ("epochs", "batch_size", "lr", "ns_steps", "early_stopping_patience", "max_grad_norm", "micro_batch_size")


@dataclass(frozen=True)
class Recipe:
    """Every hyperparameter of a training run."""

    epochs: int = 10
    batch_size: int = 128  # images of one step, over all processes together
    lr: float = 0.05  # peak learning rate
    optimizer: str = "sgd"  # one of OPTIMIZERS
    momentum: float = 0.9  # SGD and Muon
    nesterov: bool = True  # SGD and Muon
    ns_steps: int = 5  # Newton–Schulz steps of Muon; fewer are faster and less exactly orthogonal
    weight_decay: float = 5e-4  # on weights of two or more dimensions, not on biases and norms
    layer_decay: float = 1.0  # factor of the learning rate from each stage to the one before it; 1: no decay
    unfreeze_schedule: tuple[tuple[int, str | int], ...] = ()  # (first epoch, `trainable` of `models.freeze`)
    schedule: str = "one_cycle"  # one of SCHEDULES
    warmup_fraction: float = 0.2  # share of the run in which one_cycle rises to the peak
    gamma: float = 0.99  # factor of the learning rate: each epoch (exponential) or at each plateau
    plateau_epochs: int = 3  # epochs without a better validation accuracy that make a plateau
    early_stopping_patience: int | None = None  # epochs without a better validation accuracy; None: never stop
    max_grad_norm: float | None = None  # largest L2 norm of all gradients together; larger ones are scaled down
    ema_decay: float = 0.0  # per step, of the averaged weights, which are validated and saved; 0: no average
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | str | None = None  # factors of the loss; "balanced": inverse to the frequency
    balanced_sampling: bool = False  # images drawn with replacement, every class equally often
    transforms: tuple = ()  # augmentation, applied to each batch in this order
    alternating_flip: bool = False  # flip each image in every second epoch, instead of at random
    resolution_schedule: tuple[tuple[int, int], ...] = ()  # (first epoch, side in px from then on)
    batch_mix: Any = None  # MixUp or CutMix
    drop_last: bool = True  # every step has a full batch
    micro_batch_size: int | None = None  # images at a time on one device, whose gradients add up to the batch's

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            if value not in choices:
                raise UserError(f"{name} {value!r} is unknown; {did_you_mean(value, choices)}")
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name} must be positive, got {value!r}")
        for name in ("momentum", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)!r}")
        if not 0 < self.warmup_fraction < 1:
            raise UserError(f"warmup_fraction must be between 0 and 1, got {self.warmup_fraction!r}")
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay!r}")
        for name in ("ema_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 0 and below 1, got {getattr(self, name)!r}")
        self._check_class_weights()
        self._check_schedule("unfreeze_schedule", "what trains from then on", 0, "((1, 'head'), (3, 'all'))")
        self._check_schedule("resolution_schedule", "side in px from then on", 1, "((1, 24), (5, 32))")

    def _check_class_weights(self) -> None:
        weights = self.class_weights
        if isinstance(weights, str):
            if weights != "balanced":
                raise UserError(f"class_weights {weights!r} is unknown; choose 'balanced' or one number per class")
        elif weights is not None:
            object.__setattr__(self, "class_weights", tuple(weights))
            if not all(weight >= 0 for weight in weights) or not sum(weights) > 0:
                raise UserError(f"class_weights must not be negative nor all zero, got {weights!r}")

    def _check_schedule(self, name: str, meaning: str, smallest: int, example: str) -> None:
        schedule = tuple((first, value) for first, value in getattr(self, name))
        object.__setattr__(self, name, schedule)
        firsts = [first for first, _ in schedule]
        rising = firsts == sorted(set(firsts)) and all(first >= 1 for first in firsts)
        if not rising or any(isinstance(value, int) and value < smallest for _, value in schedule):
            raise UserError(
                f"{name} lists (first epoch, {meaning}), epochs counted from 1 and rising, "
                f"such as {example}; got {schedule!r}"
            )

    def lr_at(self, progress: float) -> float:
        """Learning rate after a share `progress` in [0, 1] of the steps; `fit` lowers that of `plateau`."""
        return learning_rate(
            self.schedule, self.lr, progress, self.epochs, warmup_fraction=self.warmup_fraction, gamma=self.gamma
        )

    def as_json(self) -> dict[str, Any]:
        """Every hyperparameter for JSON; a transform or a tuple as its `repr`."""
        plain = str | int | float | None
        return {key: value if isinstance(value, plain) else repr(value) for key, value in vars(self).items()}

    def trainable_at(self, epoch: int) -> str | int | None:
        """What trains in an epoch counted from 1, for `models.freeze`; None leaves the model unchanged."""
        return _scheduled(self.unfreeze_schedule, epoch)

    def image_size_at(self, epoch: int) -> int | None:
        """Side in pixels to which images are resized in an epoch counted from 1; None leaves them unchanged."""
        return _scheduled(self.resolution_schedule, epoch)

    def loss_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """One factor of the loss per class, float32 (K,); "balanced" ones average 1 over the images.

        Raises:
            ValueError: the recipe gives another number of weights than there are classes.
        """
        if self.class_weights is None:
            return None
        if self.class_weights == "balanced":
            counts = labels.long().bincount(minlength=classes)
            present = int((counts > 0).sum())
            return torch.where(counts > 0, len(labels) / (present * counts.clamp(min=1)), 0.0)
        if len(self.class_weights) != classes:
            raise UserError(f"class_weights gives {len(self.class_weights)} weights for {classes} classes")
        return torch.tensor(self.class_weights, dtype=torch.float32)


def _scheduled(schedule: Sequence[tuple[int, Any]], epoch: int) -> Any:
    """The value of a schedule of (first epoch, value from then on) in an epoch; None before the first."""
    return next((value for first, value in reversed(schedule) if first <= epoch), None)
