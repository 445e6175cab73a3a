"""The search itself: take the next free trial, draw, train, write down, until there are as many as asked for."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from imgcls.data.batches import ImageSet
from imgcls.messages import format_duration
from imgcls.progress import Progress
from imgcls.search.answers import apart
from imgcls.search.sharing import claim, join, open_storage, outcome, put_back, signs_of_life, take_back
from imgcls.search.space import SAMPLERS, Between, Space, Value, draw, make_sampler
from imgcls.training import History, Recipe, TrainingDiverged, build_seeded, fit
from imgcls.training.checkpoints import identity

TRIALS = 24  # where neither these nor epochs are limited
PAUSE = 1.0  # seconds between two looks at the trials of other processes


@dataclass(frozen=True)
class Limits:
    """How far a study goes: so many trials, so many trained epochs, or whichever comes first."""

    trials: int | None
    epochs: int | None
    longest: int  # epochs of a trial that is not cut short

    def allow(self, number: int, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the trial of that number may be trained; those before it are owed their epochs until they end."""
        if self.trials is not None and number >= self.trials:
            return False
        if self.epochs is None:
            return True
        others = [t for t in trials if t.number != number]
        ended = sum(t.user_attrs.get("epochs", 0) for t in others if t.state.is_finished())
        owed = sum(self.longest for t in others if not t.state.is_finished() and t.number < number)
        return ended + owed + self.longest <= self.epochs

    def wait_for(self, trial: FrozenTrial) -> bool:
        """Whether the study is not done before this trial is."""
        return trial.state is TrialState.RUNNING and (self.trials is None or trial.number < self.trials)


def search(
    create: Callable[..., nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    space: Space,
    trials: int | None = None,
    sampler: str = "tpe",
    prune: bool = True,
    seed: int = 0,
    storage: str | Path | None = None,
    name: str = "search",
    max_epochs: int | None = None,
    **options: Any,
) -> optuna.Study:
    """Train one network per trial and keep score on validation; the test split has no place here.

    In one process the same seed gives the same study, trial by trial, also when it was stopped or killed and resumed
    on one machine. Processes that name one storage share the study: each takes the next free trial, and all return
    when the last trial has ended. With "random" they draw what one process would; "tpe" and pruning look at the trials
    that are known at that moment, and so depend on who was faster.

    A trial counts when it is complete, pruned or failed (it diverged, or its network could not be made or trained). A
    trial that was interrupted or whose process is gone is done again from its first epoch, with what it had drawn: at
    once if the process was one of this machine, else after five minutes without a sign of life, by clocks that have to
    agree to a minute or so.

    Args:
        create: Makes a network; entries of `space` that are no field of `Recipe` are its keyword arguments.
        train: Split to learn from.
        val: Split to select by.
        recipe: What all trials share.
        space: Name -> `Between(low, high)` or a tuple of choices; `augment` is a switch, false takes away the
            recipe's transforms and mix.
        trials: Of the whole study, those already in the storage included; 24 if there is no `max_epochs` either.
        sampler: "random" or "tpe".
        prune: Stop a trial whose best validation accuracy so far is below the median of the others at that epoch.
        seed: Of the draws, the first weights and the training.
        storage: None keeps the study in memory; a path that ends in .journal or .log is Optuna's journal file; an
            address such as "sqlite:///study.db" or "postgresql://user:password@host/database" a database.
        name: Of the study in the storage.
        max_epochs: Of all trials together, those of pruned and diverged ones included. A trial begins only if a whole
            one still fits, so that two samplers with the same number have had the same compute to less than a trial.
        **options: Passed to `fit`.

    Returns:
        The study. Each trial's value is its best validation accuracy; its user attributes hold `reached` (the same,
        of pruned trials too), `epochs`, `train_loss`, `train_accuracy` of the last epoch, `seconds`.

    Raises:
        ValueError: an unknown sampler, an empty space, a limit below one trial, or a study that was
            started with other settings.
        ImportError: the package of the database is not installed.
        ConnectionError: the database cannot be reached.
    """
    limits = _limits(trials, max_epochs, recipe, space)
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    if not space:
        raise ValueError("the space is empty: name at least one hyperparameter")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1) if prune else optuna.pruners.NopPruner()
    settings = _settings(create, train, val, recipe, space, sampler, prune, seed)
    opened = open_storage(storage)
    study = join(opened, storage, name, settings, make_sampler(sampler, seed), pruner)
    began = time.perf_counter()
    with Progress(limits.trials or limits.epochs) as progress:
        while True:
            take_back(study, opened)
            known = study.get_trials(deepcopy=False)
            progress.update(_done(known, limits.trials), partial(_now, known, limits))
            free = next((t.number for t in known if t.state is TrialState.WAITING), len(known))
            if not limits.allow(free, known):
                if not any(map(limits.wait_for, known)):
                    break
                time.sleep(PAUSE)
                continue
            trial = study.ask()
            claim(trial)
            if not limits.allow(trial.number, study.get_trials(deepcopy=False)):  # another process was faster
                put_back(study, opened, trial.number)
                time.sleep(PAUSE)
                continue
            try:
                drawn = draw(trial, space, sampler, seed)
                with signs_of_life(trial, opened):
                    state, found = _train(trial, create, train, val, recipe, drawn, seed, options)
                outcome(trial, opened, state, found)
            except UpdateFinishedTrialError:  # this process was taken for lost: another one did the trial
                continue
            except Exception as error:
                outcome(trial, opened, TrialState.FAIL, {"error": str(error)})
                raise
            except BaseException:
                put_back(study, opened, trial.number)
                raise
        progress.finish(f"{_now(known, limits)} · {format_duration(time.perf_counter() - began)}")
    return study


def _limits(trials: int | None, max_epochs: int | None, recipe: Recipe, space: Space) -> Limits:
    if trials is None and max_epochs is None:
        trials = TRIALS
    epochs = space.get("epochs", (recipe.epochs,))
    longest = int(epochs.high if isinstance(epochs, Between) else max(epochs))
    for what, number, least in (("trials", trials, 1), ("max_epochs", max_epochs, longest)):
        if number is not None and number < least:
            each = f", the epochs of one trial; got {number}" if least > 1 else f", got {number}"
            raise ValueError(f"{what} must be at least {least}{each}")
    return Limits(trials, max_epochs, longest)


def _settings(
    create: Callable[..., nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    space: Space,
    sampler: str,
    prune: bool,
    seed: int,
) -> dict[str, str]:
    """What all processes of a study have to agree on, each as text; precision may differ from machine to machine."""
    shared = identity(nn.Identity(), recipe, seed, train, val, 1)
    free = {"model", "processes", "precision", *space}
    return {
        "network": _described(create),
        **{f"space of {key}": repr(choices) for key, choices in space.items()},
        "sampler": sampler,
        "prune": repr(prune),
        **{key: text for key, text in shared.items() if key not in free},
    }


def _described(create: Callable[..., nn.Module]) -> str:
    """A function's name with the arguments that are bound to it; addresses in memory left out."""
    if not isinstance(create, partial):
        return getattr(create, "__qualname__", type(create).__qualname__)
    arguments = [*map(repr, create.args), *(f"{key}={value!r}" for key, value in sorted(create.keywords.items()))]
    return re.sub(r" at 0x[0-9a-f]+", "", f"{_described(create.func)}({', '.join(arguments)})")


def _done(trials: Sequence[FrozenTrial], limit: int | None) -> int:
    """How much of the limit that the progress line counts: trials, or else epochs."""
    ended = [t for t in trials if t.state.is_finished()]
    return len(ended) if limit is not None else sum(t.user_attrs.get("epochs", 0) for t in ended)


def _now(trials: Sequence[FrozenTrial], limits: Limits) -> str:
    """What the progress line says: how far, how many of them ended early, the best so far."""
    ended = [t for t in trials if t.state.is_finished()]
    pruned, diverged = sum(t.state is TrialState.PRUNED for t in ended), sum("diverged" in t.user_attrs for t in ended)
    values = [t.value for t in ended if t.value is not None]
    of = f"{len(ended)} trials" if limits.trials is None else f"{len(ended)} of {limits.trials} trials"
    if limits.epochs is not None:
        of += f" · {_done(trials, None)} of {limits.epochs} epochs"
    best = f" · best validation {100 * max(values):.1f} %" if values else ""
    return f"{of} · {pruned} pruned · {diverged} diverged{best}"


def _train(
    trial: optuna.Trial,
    create: Callable[..., nn.Module],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    drawn: dict[str, Value],
    seed: int,
    options: dict[str, Any],
) -> tuple[TrialState, dict[str, Any]]:
    """Train one trial; how it ended, and its attributes."""
    history, began = History(), time.perf_counter()
    before = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    told = max(before, default=0)  # epochs that an interrupted attempt reported, and none of which was its last

    def report(_: nn.Module, row: dict) -> None:
        history.rows.append(row)
        if row["epoch"] > told:
            trial.report(max(row["val_accuracy"] for row in history.rows), step=row["epoch"])
        if row["epoch"] >= told and trial.should_prune():
            raise optuna.TrialPruned

    recipe, network = apart(drawn, recipe)
    state = TrialState.COMPLETE
    try:
        model = build_seeded(partial(create, **network), seed)
        fit(model, train, val, recipe, seed, on_epoch_end=report, **{"show": False, **options})
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except TrainingDiverged as error:
        elapsed = {"epochs": len(history.rows) + 1, "seconds": time.perf_counter() - began}
        return TrialState.FAIL, {"diverged": str(error), **elapsed}
    last, reached = history.rows[-1], max(row["val_accuracy"] for row in history.rows)
    found = {"reached": reached, "epochs": len(history.rows), "seconds": history.seconds}
    return state, found | {key: last[key] for key in ("train_loss", "train_accuracy")}
