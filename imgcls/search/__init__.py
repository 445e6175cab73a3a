"""Search over hyperparameters with Optuna: seeded, selected on validation, shared by processes with one storage."""

from imgcls.search.loop import search
from imgcls.search.results import importances, recipe_of, table
from imgcls.search.space import SAMPLERS, Space, Value, apply_params
from imgcls.search.storage import read_study
from imgcls.search.trials import counted_trials

__all__ = [
    "SAMPLERS",
    "Space",
    "Value",
    "apply_params",
    "counted_trials",
    "importances",
    "read_study",
    "recipe_of",
    "search",
    "table",
]
