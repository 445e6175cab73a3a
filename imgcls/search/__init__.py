"""Search over hyperparameters with Optuna: seeded, selected on validation, shared by processes with one storage."""

from imgcls.search.loop import search
from imgcls.search.results import best_so_far, importances, recipe_of, table
from imgcls.search.selection import Selection, alternating_flips, forward_selection
from imgcls.search.space import SAMPLERS, Space, Value, apply_params
from imgcls.search.storage import read_study
from imgcls.search.trials import counted_trials

__all__ = [
    "SAMPLERS",
    "Selection",
    "Space",
    "Value",
    "alternating_flips",
    "apply_params",
    "best_so_far",
    "counted_trials",
    "forward_selection",
    "importances",
    "read_study",
    "recipe_of",
    "search",
    "table",
]
