"""What a trial may draw, and how it draws: a function of the seed, the trial and the hyperparameter alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from imgcls.reproducibility import derive_seed

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


def draw(trial: optuna.Trial, space: Space, sampler: str, seed: int) -> dict[str, Value]:
    """What the trial draws, or has drawn before it was interrupted."""
    drawn = {}
    for name, choices in space.items():
        # One sampler for each draw: no process repeats another's, and none depends on how many came before it.
        trial.study.sampler = make_sampler(sampler, seed, trial.number, name)
        drawn[name] = _draw(trial, name, choices)
    return drawn


def make_sampler(name: str, *key: int | str) -> BaseSampler:
    """A sampler whose draws depend on the key, and for "tpe" on the trials so far."""
    seed = derive_seed(key[0], "search", *key[1:]) % 2**32
    if name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=10, multivariate=False)  # draws when asked, the number being known


def _draw(trial: optuna.Trial, name: str, choices: Between | tuple[Value, ...]) -> Value:
    if isinstance(choices, Between):
        whole = isinstance(choices.low, int) and isinstance(choices.high, int)
        suggest = trial.suggest_int if whole else trial.suggest_float
        return suggest(name, choices.low, choices.high, log=choices.log)
    return trial.suggest_categorical(name, list(choices))
