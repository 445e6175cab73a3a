"""What a study says: its trials as a table, its best, what mattered, and what its compute bought."""

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from imgcls.reproducibility import derive_seed
from imgcls.search.sharing import WORKER
from imgcls.search.space import Value
from imgcls.training import Recipe

SPENT = ("seconds", "epochs")
AUGMENT = "augment"  # a switch that a space may have: transforms themselves are nothing that a storage can hold


def table(study: optuna.Study) -> pd.DataFrame:
    """One row a trial that was trained: number, state ("complete" or "pruned"), value, its draws, its attributes."""
    rows = [
        {"number": t.number, "state": t.state.name.lower(), "value": t.value, **t.params, **_attributes(t)}
        for t in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    ]
    return pd.DataFrame(rows)


def best_so_far(study: optuna.Study, series: str = "", of: str = "seconds", panel: str = "search") -> pd.DataFrame:
    """Best validation accuracy against the compute of all trials until then, for `plots.curves`.

    Trials count in the order in which they ended, with the training of pruned and diverged ones; what was lost with
    a killed process does not. Frames of several studies can be concatenated, one series each.

    Args:
        study: From `search` or `read_study`.
        series: Name of the curve, such as the sampler; the study's name if empty.
        of: "seconds" of training, added up over all processes, or "epochs".
        panel: Of the figure.

    Returns:
        Columns panel, x, series, value (a share), low and high (NaN), one row a trial from the first with a value on.

    Raises:
        ValueError: `of` is neither.
    """
    if of not in SPENT:
        raise ValueError(f"compute is counted in {' or '.join(SPENT)}, not in {of!r}")
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = sorted(study.get_trials(deepcopy=False, states=states), key=lambda t: t.datetime_complete)
    elapsed = np.cumsum([t.user_attrs.get(of, 0) for t in trials])
    best = np.fmax.accumulate([t.user_attrs.get("reached", np.nan) for t in trials]) if trials else []
    frame = pd.DataFrame({
        "panel": panel, "x": elapsed, "series": series or study.study_name, "value": best,
        "low": np.nan, "high": np.nan,
    })  # fmt: skip
    return frame[frame["value"].notna()].reset_index(drop=True)


def best_by_training_loss(study: optuna.Study) -> FrozenTrial:
    """The trial that a search on training loss would have chosen: a mistake on purpose, to be shown beside the best."""
    return min(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda t: t.user_attrs["train_loss"])


def recipe_of(trial: FrozenTrial, recipe: Recipe) -> tuple[Recipe, dict[str, Value]]:
    """The recipe of a trial, and the keyword arguments of its network."""
    return apart(trial.params, recipe)


def apart(drawn: Mapping[str, Value], recipe: Recipe) -> tuple[Recipe, dict[str, Value]]:
    """What was drawn for the recipe, put into it, and the rest; `augment` false takes away its augmentation."""
    known = {field.name for field in fields(Recipe)}
    network = {name: value for name, value in drawn.items() if name not in {*known, AUGMENT}}
    if not drawn.get(AUGMENT, True):
        recipe = replace(recipe, transforms=(), batch_mix=None)
    return replace(recipe, **{name: value for name, value in drawn.items() if name in known}), network


def importances(study: optuna.Study, seed: int = 0) -> pd.Series:
    """Share of the value's variance that each hyperparameter explains, largest first (fANOVA, Hutter et al. 2014).

    NaN for all of them where the finished trials differ too little to tell, as two equal ones do.
    """
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=derive_seed(seed, "importances") % 2**32)
    try:
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except RuntimeError as error:
        if "zero total variance" not in str(error):
            raise
        shares = dict.fromkeys(study.best_trial.params, float("nan"))
    return pd.Series(shares, name="importance", dtype=float)


def _attributes(trial: FrozenTrial) -> dict[str, Value]:
    return {name: value for name, value in trial.user_attrs.items() if name != WORKER}
