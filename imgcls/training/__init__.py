"""Training: a Recipe of hyperparameters, the loop `fit`, exact resumption from any step, one process or many."""

from imgcls.training.batches import Batch, steps_per_epoch, train_batches
from imgcls.training.distributed import Distributed, destroy_process_group, init_distributed
from imgcls.training.history import History, Run
from imgcls.training.loop import (
    TrainingDiverged,
    build_seeded,
    compose_hooks,
    fit,
    fit_seeds,
    make_loss,
    train_step,
)
from imgcls.training.optimizers import make_optimizer, set_lr
from imgcls.training.probes import LearningRates, lr_range_test, sanity_checks
from imgcls.training.recipe import OPTIMIZERS, Recipe
from imgcls.training.schedule import SCHEDULES

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Batch",
    "Distributed",
    "History",
    "LearningRates",
    "Recipe",
    "Run",
    "TrainingDiverged",
    "build_seeded",
    "compose_hooks",
    "destroy_process_group",
    "fit",
    "fit_seeds",
    "init_distributed",
    "lr_range_test",
    "make_loss",
    "make_optimizer",
    "sanity_checks",
    "set_lr",
    "steps_per_epoch",
    "train_batches",
    "train_step",
]
