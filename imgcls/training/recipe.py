"""Every hyperparameter of a training run as plain data, and the learning rate as a function of progress."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
SCHEDULES = ("constant", "exponential", "cosine", "one_cycle", "plateau")
Unfreezing = tuple[tuple[int, str | int], ...]


@dataclass(frozen=True)
class Recipe:
    """Every hyperparameter of a training run."""

    epochs: int = 10
    batch_size: int = 128  # images of one step, over all processes together
    lr: float = 0.05  # peak learning rate
    optimizer: str = "sgd"  # one of OPTIMIZERS
    momentum: float = 0.9  # SGD and Muon
    nesterov: bool = True  # SGD and Muon
    ns_steps: int = 5  # of Newton and Schulz's iteration; fewer are quicker, and further from orthogonal
    weight_decay: float = 5e-4  # on weights of two or more dimensions; biases and norms are left alone
    layer_decay: float = 1.0  # learning rate of each stage as a share of the next stage's; 1 treats all alike
    unfreeze_schedule: Unfreezing = ()  # (first epoch, what trains from then on) as `models.freeze` takes it
    schedule: str = "one_cycle"  # one of SCHEDULES
    warmup_fraction: float = 0.2  # share of the run that one_cycle takes to reach the peak
    gamma: float = 0.99  # factor of the learning rate: each epoch (exponential) or at each plateau
    plateau_epochs: int = 3  # epochs without a better validation accuracy that make a plateau
    early_stopping_patience: int | None = (
        None  # epochs without a better validation accuracy before stopping; None never stops
    )
    max_grad_norm: float | None = None  # largest L2 norm of all gradients together; longer ones are scaled down to it
    ema_decay: float = (
        0.0  # decay per step of the averaged weights, which are then validated and kept; 0 averages nothing
    )
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | str | None = None  # factors of the loss; "balanced": inverse to the frequency
    balanced_sampling: bool = False  # images drawn with replacement, every class equally often
    transforms: tuple = ()  # augmentation, applied to each batch in this order
    alternating_flip: bool = False  # each image is mirrored in every other epoch, instead of by chance
    resolution_schedule: tuple[tuple[int, int], ...] = ()  # (first epoch, side in px from then on): small images first
    batch_mix: Any = None  # MixUp or CutMix
    drop_last: bool = True  # every step sees a full batch
    micro_batch_size: int | None = (
        None  # images at a time on one device; the gradients of the parts add up to the batch's
    )

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; choose one of {', '.join(choices)}")
        for name in (
            "epochs",
            "batch_size",
            "lr",
            "ns_steps",
            "early_stopping_patience",
            "max_grad_norm",
            "micro_batch_size",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        if not 0 < self.warmup_fraction < 1:
            raise ValueError(f"warmup is a share of the run between 0 and 1, got {self.warmup_fraction!r}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is a factor above 0 and at most 1, got {self.layer_decay!r}")
        for name in ("ema_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} lies between 0 and 1, 1 excluded, got {getattr(self, name)!r}")
        self._check_class_weights()
        self._check_unfreezing()
        self._check_image_sizes()

    def _check_class_weights(self) -> None:
        if isinstance(self.class_weights, str) and self.class_weights != "balanced":
            raise ValueError(
                f"class_weights {self.class_weights!r} is unknown; choose 'balanced' or one number a class"
            )
        if isinstance(self.class_weights, Sequence) and not isinstance(self.class_weights, str):
            object.__setattr__(self, "class_weights", tuple(self.class_weights))
            if not all(weight >= 0 for weight in self.class_weights) or not sum(self.class_weights) > 0:
                raise ValueError(f"class_weights must not be negative nor all zero, got {self.class_weights!r}")

    def _check_unfreezing(self) -> None:
        object.__setattr__(self, "unfreeze_schedule", tuple((epoch, what) for epoch, what in self.unfreeze_schedule))
        firsts = [epoch for epoch, _ in self.unfreeze_schedule]
        if firsts != sorted(set(firsts)) or any(epoch < 1 for epoch in firsts):
            raise ValueError(
                f"unfreeze lists (first epoch, what trains from then on), epochs counted from 1 and rising, "
                f"such as ((1, 'head'), (3, 'all')); got {self.unfreeze_schedule!r}"
            )

    def _check_image_sizes(self) -> None:
        object.__setattr__(
            self, "resolution_schedule", tuple((epoch, side) for epoch, side in self.resolution_schedule)
        )
        firsts = [epoch for epoch, _ in self.resolution_schedule]
        if firsts != sorted(set(firsts)) or any(number < 1 for pair in self.resolution_schedule for number in pair):
            raise ValueError(
                f"image_sizes lists (first epoch, side in px from then on), epochs counted from 1 and rising, "
                f"such as ((1, 24), (5, 32)); got {self.resolution_schedule!r}"
            )

    def lr_at(self, progress: float) -> float:
        """Learning rate after a share `progress` in [0, 1] of the steps; `plateau` is lowered by `fit` itself."""
        if self.schedule == "one_cycle":  # linear up, linear down to zero
            rising = progress / self.warmup_fraction
            return self.lr * max(0.0, min(rising, (1 - progress) / (1 - self.warmup_fraction)))
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * progress))
        if self.schedule == "exponential":
            return self.lr * self.gamma ** math.floor(progress * self.epochs)
        return self.lr

    def as_json(self) -> dict[str, Any]:
        """Every hyperparameter as JSON can hold it; a transform or a tuple as Python writes it."""
        plain = str | int | float | None
        return {key: value if isinstance(value, plain) else repr(value) for key, value in vars(self).items()}

    def trainable_at(self, epoch: int) -> str | int | None:
        """What `unfreeze` says of an epoch counted from 1, for `models.freeze`; None leaves the model as it is."""
        return _in_force(self.unfreeze_schedule, epoch)

    def image_size_at(self, epoch: int) -> int | None:
        """Side in pixels to which images are resized in an epoch counted from 1; None leaves them as they are."""
        return _in_force(self.resolution_schedule, epoch)

    def loss_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """One factor of the loss for each class, float32 (K,); "balanced" ones average 1 over the images.

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
            raise ValueError(f"class_weights gives {len(self.class_weights)} weights for {classes} classes")
        return torch.tensor(self.class_weights, dtype=torch.float32)


def _in_force(plan: Sequence[tuple[int, Any]], epoch: int) -> Any:
    """What a plan of (first epoch, what holds from then on) says of an epoch; None before its first."""
    return next((what for first, what in reversed(plan) if first <= epoch), None)
