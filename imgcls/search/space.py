"""The search space, and sampling from it as a function of seed, trial and hyperparameter alone."""

from collections.abc import Mapping
from dataclasses import fields, replace

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from imgcls.reproducibility import derive_seed
from imgcls.training import Recipe

SAMPLERS = ("random", "tpe")
AUGMENT = "augment"  # switch for augmentation, because a storage cannot hold transforms
Value = str | int | float | bool
Choices = FloatDistribution | IntDistribution | tuple[Value, ...]
Space = Mapping[str, Choices]


def suggest(trial: optuna.Trial, space: Space, sampler: str, seed: int, number: int) -> dict[str, Value]:
    """The hyperparameters of a trial; a repeated trial gets those of its first attempt.

    Each hyperparameter has its own sampler, seeded by (seed, number, name): no process repeats the samples of another
    process, and no sample depends on the number of samples before it.
    """
    params = {}
    for name, choices in space.items():
        trial.study.sampler = make_sampler(sampler, seed, number, name)
        if isinstance(choices, tuple):
            params[name] = trial.suggest_categorical(name, choices)
        else:
            draw = trial.suggest_int if isinstance(choices, IntDistribution) else trial.suggest_float
            params[name] = draw(name, choices.low, choices.high, step=choices.step, log=choices.log)
    return params


def make_sampler(name: str, *key: int | str) -> BaseSampler:
    """A sampler that depends on the key, and for "tpe" on the trials so far."""
    seed = derive_seed(key[0], "search", *key[1:]) % 2**32
    if name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=10, multivariate=False)  # univariate: one draw at a time


def apply_params(params: Mapping[str, Value], recipe: Recipe) -> tuple[Recipe, dict[str, Value]]:
    """The recipe with the parameters that are its fields, and the rest, which are keyword arguments of the network.

    `augment` false removes the recipe's transforms and batch mix.
    """
    if not params.get(AUGMENT, True):
        recipe = replace(recipe, transforms=(), batch_mix=None)
    known = {field.name for field in fields(Recipe)}
    recipe = replace(recipe, **{name: value for name, value in params.items() if name in known})
    return recipe, {name: value for name, value in params.items() if name not in {*known, AUGMENT}}
