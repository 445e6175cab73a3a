"""The search loop: sample, train and record trials until the study has the requested number of trials or epochs."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from torch import nn

from imgcls.data.batches import ImageSet
from imgcls.messages import UserError, format_duration
from imgcls.progress import Progress
from imgcls.search.space import SAMPLERS, Space, apply_params, make_sampler, suggest
from imgcls.search.storage import start_study
from imgcls.search.trials import OWNER, counted_trials, fail_lost_trials, is_done, is_interrupted, retry, this_process
from imgcls.training import History, Recipe, TrainingDiverged, build_seeded, fit
from imgcls.training.checkpoints import identity

TRIALS = 24  # default if neither trials nor epochs are limited
PAUSE = 1.0  # seconds between two checks of the trials of other processes


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
    """Train one network per trial and compare them on the validation split; the test split is not used.

    In one process the same seed gives the same study, trial by trial, even if it is killed and resumed on the same
    machine. Processes with the same storage share the study, and all return when its last trial has ended. With
    "random" they sample the same values as one process; "tpe" and pruning depend on the trials that have ended before.

    A trial counts when it is complete, pruned or failed (it diverged, or its network could not be made or trained). An
    interrupted trial is repeated from its first epoch with the same hyperparameters: at once if its process ran on
    this machine, else after five minutes without a heartbeat.

    Args:
        create: Makes a network; entries of `space` that are not fields of `Recipe` are its keyword arguments.
        train: Training split.
        val: Split for the selection.
        recipe: Hyperparameters that all trials share.
        space: Name -> `optuna.distributions.FloatDistribution(low, high, log=…)`, `IntDistribution(low, high)` or a
            tuple of choices; `augment` false removes the recipe's transforms and batch mix.
        trials: Number of trials of the study, including those in the storage; 24 if `max_epochs` is None too.
        sampler: "random" or "tpe".
        prune: Stop a trial whose best validation accuracy so far is below the median of the others at that epoch.
        seed: Random seed for sampling, initialisation and training.
        storage: None keeps the study in memory; a path that ends in .db or .sqlite, or "sqlite:///study.db", is a
            SQLite file; "postgresql://user:password@host/database" is a database for several machines.
        name: Name of the study in the storage.
        max_epochs: Total number of epochs, including pruned and diverged trials. A trial starts only if a full trial
            still fits, so two samplers with the same budget use the same compute to within one trial.
        **options: Passed to `fit`.

    Returns:
        The study. Each trial's value is its best validation accuracy; its user attributes hold `reached` (that
        accuracy, for pruned trials too), `epochs`, `train_loss` and `train_accuracy` of the last epoch, `seconds`.
        Interrupted attempts stay in the study as failed trials; `counted_trials` leaves them out.

    Raises:
        ValueError: an unknown sampler, an empty space, a limit below one trial, or a study that was
            started with other settings.
        ImportError: the driver of the database is not installed.
        ConnectionError: the database cannot be reached, or has not answered for a minute.
    """
    limits = Limits.check(trials, max_epochs, recipe, space)
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    if not space:
        raise UserError("the space is empty: name at least one hyperparameter")
    sizes = space.get("batch_size", (recipe.batch_size,))
    largest = max(sizes) if isinstance(sizes, tuple) else sizes.high
    if largest > len(train.labels):  # else found by a trial, in a study that then has these settings
        raise UserError(f"{len(train.labels)} images are fewer than one batch of {largest}: lower batch_size")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1) if prune else optuna.pruners.NopPruner()
    settings = {
        "network": _describe(create),
        **{f"space of {key}": repr(choices) for key, choices in space.items()},
        "sampler": sampler,
        "prune": repr(prune),
        **identity(nn.Identity(), recipe, seed, train, val, 1),
    }
    for free in ("model", "processes", "precision", *space):  # precision may differ from machine to machine
        settings.pop(free, None)
    study = start_study(storage, name, settings, sampler=make_sampler(sampler, seed), pruner=pruner)

    def objective(trial: optuna.Trial) -> float | None:
        known = counted_trials(study)
        number = next((n for n, other in enumerate(known) if other.number == trial.number), None)
        if number is None or not limits.allow(number, known):
            return None  # another process was faster; Optuna marks the attempt as failed
        try:
            trial.set_user_attr(OWNER, this_process())
            chosen, network = apply_params(suggest(trial, space, sampler, seed, number), recipe)
            run = partial(fit, train=train, val=val, recipe=chosen, seed=seed, **{"show": False, **options})
            return _train(trial, lambda: build_seeded(partial(create, **network), seed), run)
        except UpdateFinishedTrialError:
            raise TrialTaken from None
        except (OptunaError, ConnectionError):  # pruned, or the storage failed
            raise
        except Exception as error:
            trial.set_user_attr("error", str(error))
            raise

    began = time.perf_counter()
    with Progress(limits.trials or limits.epochs) as progress:
        while _find_trial(study, limits, progress):
            try:
                study.optimize(objective, n_trials=1)
            except TrialTaken:
                continue
            except Exception as error:
                raise _storage_error(error) from None
        progress.finish(f"{_status(study, limits)[1]} · {format_duration(time.perf_counter() - began)}")
    return study


def _storage_error(error: BaseException) -> BaseException:
    """The error of the storage that others followed, or the error itself.

    Optuna needs the storage to end a trial whose storage has failed, and then raises an error about a variable.
    """
    first: BaseException | None = error
    while first is not None and not isinstance(first, ConnectionError):
        first = first.__context__
    return first or error


class TrialTaken(BaseException):
    """Another process has taken over this process's trial, which had no heartbeat for a long time.

    Not an `Exception`, because `Study.optimize` would try to end the trial a second time and raise another error.
    """


@dataclass(frozen=True)
class Limits:
    """Maximum number of trials and of trained epochs of a study; the limit that is reached first ends it.

    Optuna's `MaxTrialsCallback` lets each further process train one trial too many, and cannot limit epochs.
    """

    trials: int | None
    epochs: int | None
    trial_epochs: int  # epochs of the longest trial without pruning

    @classmethod
    def check(cls, trials: int | None, epochs: int | None, recipe: Recipe, space: Space) -> "Limits":
        """The limits, if they leave room for one trial."""
        choices = space.get("epochs", (recipe.epochs,))
        longest = int(max(choices) if isinstance(choices, tuple) else choices.high)
        if trials is not None and trials < 1:
            raise UserError(f"trials must be at least 1, got {trials}")
        if epochs is not None and epochs < longest:
            raise UserError(f"max_epochs must be at least {longest}, the epochs of one trial; got {epochs}")
        return cls(TRIALS if trials is None and epochs is None else trials, epochs, longest)

    def allow(self, number: int, trials: Sequence[FrozenTrial]) -> bool:
        """Whether trial `number` may be trained; unfinished trials before it have their epochs reserved."""
        if self.trials is not None and number >= self.trials:
            return False
        if self.epochs is None:
            return True
        trained = sum(t.user_attrs.get("epochs", 0) for t in trials if is_done(t))
        reserved = self.trial_epochs * sum(not is_done(t) for t in trials[:number])
        return trained + reserved + self.trial_epochs <= self.epochs


def _find_trial(study: optuna.Study, limits: Limits, progress: Progress) -> bool:
    """Wait until a trial can start, and queue it if it was interrupted; false when the study is complete."""
    while True:
        fail_lost_trials(study)
        progress.update(*_status(study, limits))
        known = counted_trials(study)
        free = (n for n, t in enumerate(known) if t.state is TrialState.WAITING or is_interrupted(t))
        number = next(free, len(known))
        if limits.allow(number, known):
            if number < len(known) and is_interrupted(known[number]):
                retry(study, known[number])
            return True
        if not any(t.state is TrialState.RUNNING for t in known[: limits.trials]):
            return False
        time.sleep(PAUSE)


def _status(study: optuna.Study, limits: Limits) -> tuple[int, str]:
    """Number of finished trials (of epochs if only these are limited), and the progress line."""
    done = list(filter(is_done, counted_trials(study)))
    epochs = sum(t.user_attrs.get("epochs", 0) for t in done)
    pruned = sum(t.state is TrialState.PRUNED for t in done)
    diverged = sum("diverged" in t.user_attrs for t in done)
    values = [t.value for t in done if t.value is not None]
    line = f"{len(done)} trials" if limits.trials is None else f"{len(done)} of {limits.trials} trials"
    line += f" · {epochs} of {limits.epochs} epochs" if limits.epochs is not None else ""
    line += f" · {pruned} pruned · {diverged} diverged"
    line += f" · best validation {100 * max(values):.1f} %" if values else ""
    return epochs if limits.trials is None else len(done), line


def _train(trial: optuna.Trial, build: Callable[[], nn.Module], run: Callable[..., History]) -> float | None:
    """Train one trial and record its attributes; returns its best validation accuracy, or None if it diverged."""
    history, began, pruned = History(), time.perf_counter(), False

    def report(_: nn.Module, row: dict) -> None:
        history.rows.append(row)
        trial.report(max(row["val_accuracy"] for row in history.rows), step=row["epoch"])
        if trial.should_prune():
            raise optuna.TrialPruned

    found = {}
    try:
        run(build(), on_epoch_end=report)
    except optuna.TrialPruned:
        pruned = True
    except TrainingDiverged as error:
        seconds = time.perf_counter() - began
        found = {"epochs": len(history.rows) + 1, "seconds": seconds, "diverged": str(error)}
    if not found:
        last, reached = history.rows[-1], max(row["val_accuracy"] for row in history.rows)
        found = {"reached": reached, "epochs": len(history.rows), "seconds": history.seconds}
        found |= {key: last[key] for key in ("train_loss", "train_accuracy")}
    for name, value in found.items():
        trial.set_user_attr(name, value)
    if pruned:
        raise optuna.TrialPruned
    return found.get("reached")  # None, where it diverged, makes Optuna mark the trial as failed


def _describe(create: Callable[..., nn.Module]) -> str:
    """A function's name with its bound arguments, without memory addresses."""
    if not isinstance(create, partial):
        return getattr(create, "__qualname__", type(create).__qualname__)
    arguments = [*map(repr, create.args), *(f"{key}={value!r}" for key, value in sorted(create.keywords.items()))]
    return re.sub(r" at 0x[0-9a-f]+", "", f"{_describe(create.func)}({', '.join(arguments)})")
