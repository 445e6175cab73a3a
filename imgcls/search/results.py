"""The results of a study: table of trials, best accuracy so far against compute, hyperparameter importances."""

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from imgcls.reproducibility import derive_seed
from imgcls.search.space import Value, apply_params
from imgcls.search.trials import OWNER, counted_trials
from imgcls.training import Recipe


def table(study: optuna.Study) -> pd.DataFrame:
    """One row per trained trial: number, state ("complete" or "pruned"), value, parameters, attributes.

    A repeated trial keeps its number here; Optuna's own `trial.number` changes.
    """
    rows = [
        {"number": number, "state": t.state.name.lower(), "value": t.value, **t.params, **t.user_attrs}
        for number, t in enumerate(counted_trials(study))
        if t.state in (TrialState.COMPLETE, TrialState.PRUNED)
    ]
    return pd.DataFrame(rows).drop(columns=OWNER, errors="ignore")


def recipe_of(trial: FrozenTrial, recipe: Recipe) -> tuple[Recipe, dict[str, Value]]:
    """The recipe of a trial, and the keyword arguments of its network."""
    return apply_params(trial.params, recipe)


def importances(study: optuna.Study, seed: int = 0) -> pd.Series:
    """Share of the value's variance that each hyperparameter explains, largest first (fANOVA, Hutter et al. 2014).

    All are NaN if the values of the finished trials do not differ.
    """
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=derive_seed(seed, "importances") % 2**32)
    try:
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except RuntimeError as error:
        if "zero total variance" not in str(error):
            raise
        shares = dict.fromkeys(study.best_trial.params, float("nan"))
    return pd.Series(shares, name="importance", dtype=float)
