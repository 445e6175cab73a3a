"""Search over hyperparameters with Optuna: seeded, selected on validation, shared by processes with one storage."""

from imgcls.search.answers import apart, best_by_training_loss, best_so_far, importances, recipe_of, table
from imgcls.search.loop import search
from imgcls.search.selection import Selection, alternating_flips, forward_selection
from imgcls.search.sharing import read_study
from imgcls.search.space import SAMPLERS, Between, Space, Value

__all__ = [
    "SAMPLERS",
    "Between",
    "Selection",
    "Space",
    "Value",
    "alternating_flips",
    "apart",
    "best_by_training_loss",
    "best_so_far",
    "forward_selection",
    "importances",
    "read_study",
    "recipe_of",
    "search",
    "table",
]
