"""Training: a Recipe of plain data, `fit` on one screen, exact resume from any step, one process or many."""

from imgcls.training.distributed import Team, join, leave
from imgcls.training.history import History, Run
from imgcls.training.loop import (
    TrainingDiverged,
    fit,
    initialized,
    make_loss,
    measure_normalization,
    repeat,
    together,
    train_step,
)
from imgcls.training.optimizers import make_optimizer
from imgcls.training.probes import (
    GradientProbe,
    LearningRates,
    gradient_norms,
    lr_range_test,
    sanity_checks,
)
from imgcls.training.recipe import OPTIMIZERS, SCHEDULES, Recipe

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "GradientProbe",
    "History",
    "LearningRates",
    "Recipe",
    "Run",
    "Team",
    "TrainingDiverged",
    "fit",
    "gradient_norms",
    "initialized",
    "join",
    "leave",
    "lr_range_test",
    "make_loss",
    "make_optimizer",
    "measure_normalization",
    "repeat",
    "sanity_checks",
    "together",
    "train_step",
]
