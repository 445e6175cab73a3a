"""The results of a study: table of trials, best accuracy so far against compute, hyperparameter importances."""

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from imgcls.reproducibility import derive_seed
from imgcls.search.space import Value, apply_params
from imgcls.search.trials import OWNER, counted_trials, is_done
from imgcls.training import Recipe

COMPUTE = ("seconds", "epochs")


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


def best_so_far(study: optuna.Study, series: str = "", of: str = "seconds", panel: str = "search") -> pd.DataFrame:
    """Best validation accuracy against the compute of all trials until then, for `plots.curves`.

    Trials are sorted by their end, including pruned and diverged ones; attempts of a killed process do not count.
    Frames of several studies can be concatenated, one series each.

    Args:
        study: From `search` or `read_study`.
        series: Name of the curve, such as the sampler; the study's name if empty.
        of: "seconds" of training, added up over all processes, or "epochs".
        panel: Name of the panel in the figure.

    Returns:
        Columns panel, x, series, value (0 to 1), low and high (NaN), one row per trial from the first with a value on.

    Raises:
        ValueError: `of` is neither "seconds" nor "epochs".
    """
    if of not in COMPUTE:
        raise ValueError(f"compute is counted in {' or '.join(COMPUTE)}, not in {of!r}")
    trials = sorted(filter(is_done, counted_trials(study)), key=lambda t: t.datetime_complete)
    elapsed = np.cumsum([t.user_attrs.get(of, 0) for t in trials])
    best = np.fmax.accumulate([t.user_attrs.get("reached", np.nan) for t in trials]) if trials else []
    frame = pd.DataFrame({
        "panel": panel, "x": elapsed, "series": series or study.study_name, "value": best,
        "low": np.nan, "high": np.nan,
    })  # fmt: skip
    return frame[frame["value"].notna()].reset_index(drop=True)


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
