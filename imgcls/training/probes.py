"""Cheap checks of a model before and during training: sanity checks, a learning-rate range test, gradient norms."""

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from imgcls.data.batches import ImageSet
from imgcls.messages import UserError
from imgcls.models import initialize_from_data
from imgcls.precision import pick_device
from imgcls.reproducibility import configure_threads, fork_rng, seed_device
from imgcls.training.batches import Batch, train_batches
from imgcls.training.distributed import Distributed
from imgcls.training.loop import build_seeded, make_loss, train_step
from imgcls.training.optimizers import make_optimizer, set_lr
from imgcls.training.recipe import Recipe

SMOOTHED = 10  # steps over which a range test averages the loss, about
MEMORIZED = 0.05  # loss of two images below which they count as memorised


def sanity_checks(create: Callable[[], nn.Module], train: ImageSet, seed: int = 0) -> pd.DataFrame:
    """Two checks that take seconds and find most broken set-ups before any long run.

    The loss of an untrained classifier of C classes should be near ln C, the loss of a uniform prediction; and a
    working network can memorise two images. Returns one row per check: check, expected, measured, passed.
    """
    device, chance = pick_device(), math.log(len(train.classes))
    with fork_rng(device):
        seed_device(device, seed, "sanity checks")  # of dropout
        start, end = _first_and_last_loss(build_seeded(create, seed), train, seed, device)
    return pd.DataFrame(
        [
            ("loss before training is near ln C", f"{chance:.2f}", f"{start:.2f}", abs(start - chance) < 0.2 * chance),
            ("two images are memorised", f"< {MEMORIZED}", f"{end:.3f}", end < MEMORIZED),
        ],
        columns=["check", "expected", "measured", "passed"],
    )


def _first_and_last_loss(model: nn.Module, train: ImageSet, seed: int, device: torch.device) -> tuple[float, float]:
    """Loss of an untrained model on some images, and on two images after at most 100 steps without dropout."""
    initialize_from_data(model, train.images)
    model.to(device, memory_format=torch.channels_last)
    some = Recipe(batch_size=min(256, len(train.labels)))
    images, labels, *_ = next(train_batches(train, some, seed, epoch=0, world=Distributed(device)))
    with torch.inference_mode():
        start = float(F.cross_entropy(model(images).float(), labels))

    recipe = Recipe(lr=1e-3, optimizer="adam", weight_decay=0.0)
    optimizer, loss = make_optimizer(model, recipe), make_loss(recipe, train, device)
    other = int((labels != labels[0]).nonzero()[0])  # two images of different classes
    x, y = images[[0, other]], labels[[0, other]]
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for _ in range(100):
        end = float(train_step(model, optimizer, Batch(x, y, y, 2), loss, recipe).loss) / 2
        if end < MEMORIZED / 5:
            break
    return start, end


@dataclass(frozen=True)
class LearningRates:
    """The loss at each learning rate of a range test, and two rates read from the curve."""

    table: pd.DataFrame  # one row per step: lr, loss, smoothed
    steepest: float  # rate at the fastest fall of the smoothed loss: a good peak rate
    lowest: float  # rate at the lowest smoothed loss: too high for a whole run


def lr_range_test(
    model: nn.Module, train: ImageSet, recipe: Recipe, seed: int = 0, low: float = 1e-5, high: float = 10.0,
    steps: int = 100,
) -> LearningRates:  # fmt: skip
    """Raise the learning rate from step to step until the loss is far above its lowest value (Smith 2017).

    Works on a copy of the model. The loss is smoothed over about ten steps, and the test ends where the smoothed loss
    is four times its lowest, or at `high`. L. N. Smith, "Cyclical learning rates for training neural networks",
    arXiv:1506.01186.

    Args:
        model: As `fit` would take it.
        train: Split to learn from.
        recipe: Optimizer, batch size, augmentation and the rest; its `lr` and `schedule` are not used.
        seed: Key of batch order, augmentation and dropout.
        low: First learning rate.
        high: Last learning rate.
        steps: Steps from `low` to `high`, each by the same factor.

    Raises:
        ValueError: `low` is not below `high`, there are fewer than ten steps, or no full batch.
    """
    if not 0 < low < high or steps < 10:
        raise UserError(f"a range test needs 0 < low < high and at least 10 steps; got {low}, {high}, {steps}")
    configure_threads()
    device, probe = pick_device(), copy.deepcopy(model)
    initialize_from_data(probe, train.images)
    probe.to(device, memory_format=torch.channels_last).train()
    optimizer, loss = make_optimizer(probe, recipe), make_loss(recipe, train, device)
    recipe = replace(recipe, drop_last=True)
    world, rows, smoothed = Distributed(device), [], 0.0
    stream = (batch for epoch in itertools.count() for batch in train_batches(train, recipe, seed, epoch, 0, world))
    with fork_rng(device):
        for step, batch in enumerate(itertools.islice(stream, steps)):
            seed_device(device, seed, "model", "range test", step)
            lr = low * (high / low) ** (step / (steps - 1))
            set_lr(optimizer, lr)
            value = float(train_step(probe, optimizer, batch, loss, recipe).loss) / recipe.batch_size
            smoothed = 0.9 * smoothed + 0.1 * value
            rows.append({"lr": lr, "loss": value, "smoothed": smoothed / (1 - 0.9 ** (step + 1))})
            if not math.isfinite(value) or rows[-1]["smoothed"] > 4 * min(row["smoothed"] for row in rows):
                break
    table = pd.DataFrame(rows)
    finite = table[table["smoothed"].map(math.isfinite)]
    lowest = int(finite["smoothed"].argmin())
    first = SMOOTHED if lowest > SMOOTHED else 1  # averages of fewer steps differ by noise
    slope = finite["smoothed"].diff().iloc[first : lowest + 1]  # the rates rise by one factor: differences are slopes
    steepest = slope.idxmin() if len(slope) else 0
    return LearningRates(table, float(table["lr"][steepest]), float(finite["lr"].iloc[lowest]))
