"""Search over hyperparameters with Optuna: seeded, selected on validation, shared by processes with one storage."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from imgcls.batches import ImageSet
from imgcls.reproducibility import derive_seed
from imgcls.tracking import Progress, clock
from imgcls.training import History, Recipe, TrainingDiverged, fit, initialized

SAMPLERS = ("random", "tpe")
Value = str | int | float | bool


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included; `log` draws its logarithm evenly, whole numbers stay whole."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range needs low < high, and low > 0 on a log scale; got {self.low}, {self.high}")


Space = Mapping[str, Between | tuple[Value, ...]]


def search(
    create: Callable[..., nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    space: Space,
    trials: int = 24,
    sampler: str = "tpe",
    prune: bool = True,
    seed: int = 0,
    storage: str | Path | None = None,
    name: str = "search",
    **options: Any,
) -> optuna.Study:
    """Train one network per trial and keep score on validation; the test split has no place here.

    The same seed gives the same trials when they run one after the other. Processes that name one storage share the
    study: each takes the next free trial until there are `trials`. What trial k draws depends on the seed, on k, and
    for "tpe" on the trials that were finished when it began.

    Args:
        create: Makes a network; entries of `space` that are no field of `Recipe` are its keyword arguments.
        train: Split to learn from.
        val: Split to select by.
        recipe: What all trials share.
        space: Name -> `Between(low, high)` or a tuple of choices.
        trials: Of the whole study, those already in the storage included.
        sampler: "random" or "tpe".
        prune: Stop a trial whose best validation accuracy so far is below the median of the others at that epoch.
        seed: Of the draws, the first weights and the training.
        storage: None keeps the study in memory; a path is Optuna's journal file; an address such as
            "sqlite:///study.db" or "postgresql://…" any database that Optuna knows.
        name: Of the study in the storage.
        **options: Passed to `fit`.

    Returns:
        The study. Each trial's value is its best validation accuracy; its user attributes hold `reached` (the same,
        of pruned trials too), `epochs`, `train_loss`, `train_accuracy` of the last epoch, `seconds`.

    Raises:
        ValueError: an unknown sampler, or an empty space.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    if not space:
        raise ValueError("the space is empty: name at least one hyperparameter")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1) if prune else optuna.pruners.NopPruner()
    study = optuna.create_study(
        storage=_storage(storage), study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
    )
    began = time.perf_counter()
    with Progress(trials) as progress:
        while (taken := len(study.get_trials(deepcopy=False))) < trials:
            progress.update(taken, partial(_now, study, trials))
            trial = study.ask()
            if trial.number >= trials:  # another process took the last one in the meantime
                study.tell(trial, state=TrialState.FAIL)
                break
            study.sampler = _sampler(sampler, seed, trial.number)
            drawn = {key: _draw(trial, key, choices) for key, choices in space.items()}
            value, state = _train(trial, create, train, val, recipe, drawn, seed, options)
            study.tell(trial, value, state=state)
        progress.finish(f"{_now(study, trials)} · {clock(time.perf_counter() - began)}")
    return study


def table(study: optuna.Study) -> pd.DataFrame:
    """One row a trial that was trained: number, state ("complete" or "pruned"), value, its draws, its attributes."""
    rows = [
        {"number": t.number, "state": t.state.name.lower(), "value": t.value, **t.params, **t.user_attrs}
        for t in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    ]
    return pd.DataFrame(rows)


def best_by_training_loss(study: optuna.Study) -> FrozenTrial:
    """The trial that a search on training loss would have chosen: a mistake on purpose, to be shown beside the best."""
    return min(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda t: t.user_attrs["train_loss"])


def recipe_of(trial: FrozenTrial, recipe: Recipe) -> tuple[Recipe, dict[str, Value]]:
    """The recipe of a trial, and the keyword arguments of its network."""
    return _apart(trial.params, recipe)


def importances(study: optuna.Study, seed: int = 0) -> pd.Series:
    """Share of the value's variance that each hyperparameter explains, largest first (fANOVA, Hutter et al. 2014)."""
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=derive_seed(seed, "importances") % 2**32)
    return pd.Series(optuna.importance.get_param_importances(study, evaluator=evaluator), name="importance")


def _now(study: optuna.Study, trials: int) -> str:
    """What the progress line says: how far, how many of them ended early, the best so far."""
    ended = study.get_trials(deepcopy=False)
    pruned, diverged = sum(t.state is TrialState.PRUNED for t in ended), sum("diverged" in t.user_attrs for t in ended)
    values = [t.value for t in ended if t.value is not None]
    best = f" · best validation {100 * max(values):.1f} %" if values else ""
    return f"{len(ended)} of {trials} trials · {pruned} pruned · {diverged} diverged{best}"


def _train(
    trial: optuna.Trial,
    create: Callable[..., nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    drawn: dict[str, Value],
    seed: int,
    options: dict[str, Any],
) -> tuple[float | None, TrialState]:
    """Train one trial; its value and how it ended."""
    history = History()

    def report(_: nn.Module, row: dict) -> None:
        history.rows.append(row)
        trial.report(max(row["val_accuracy"] for row in history.rows), step=row["epoch"])
        if trial.should_prune():
            raise optuna.TrialPruned

    recipe, network = _apart(drawn, recipe)
    try:
        model = initialized(partial(create, **network), seed)
        fit(model, train, val, recipe, seed, on_epoch_end=report, **{"show": False, **options})
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except TrainingDiverged as error:
        trial.set_user_attr("diverged", str(error))
        return None, TrialState.FAIL
    except BaseException:
        trial.study.tell(trial, state=TrialState.FAIL)
        raise
    else:
        state = TrialState.COMPLETE
    last, reached = history.rows[-1], max(row["val_accuracy"] for row in history.rows)
    seen = {"reached": reached, "epochs": len(history.rows), "seconds": history.seconds}
    for name, number in {**seen, **{name: last[name] for name in ("train_loss", "train_accuracy")}}.items():
        trial.set_user_attr(name, number)
    return (None if state is TrialState.PRUNED else reached), state


def _apart(drawn: Mapping[str, Value], recipe: Recipe) -> tuple[Recipe, dict[str, Value]]:
    known = {field.name for field in fields(Recipe)}
    network = {name: value for name, value in drawn.items() if name not in known}
    return replace(recipe, **{name: value for name, value in drawn.items() if name in known}), network


def _draw(trial: optuna.Trial, name: str, choices: Between | tuple[Value, ...]) -> Value:
    if isinstance(choices, Between):
        whole = isinstance(choices.low, int) and isinstance(choices.high, int)
        suggest = trial.suggest_int if whole else trial.suggest_float
        return suggest(name, choices.low, choices.high, log=choices.log)
    return trial.suggest_categorical(name, list(choices))


def _sampler(name: str, seed: int, number: int) -> BaseSampler:
    """A sampler of its own for each trial, so that no process repeats another's draws."""
    key = derive_seed(seed, "search", number) % 2**32
    if name == "random":
        return RandomSampler(seed=key)
    return TPESampler(seed=key, n_startup_trials=10, multivariate=False)  # draws when asked, the number being known


def _storage(where: str | Path | None) -> optuna.storages.BaseStorage | str | None:
    if where is None or "://" in str(where):
        return None if where is None else str(where)
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    Path(where).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(where)))
