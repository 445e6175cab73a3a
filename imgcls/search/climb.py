"""Ideas on trial: each is added to the best so far, and stays only where several seeds say that it is better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from imgcls.batches import ImageSet
from imgcls.evaluation import predict
from imgcls.statistics import paired_over_seeds
from imgcls.training import Recipe, Run, repeat
from imgcls.transforms import RandomHorizontalFlip, Transform

Changes = Mapping[str, Any]  # fields of the recipe, and options of the network
Idea = Changes | Callable[[Recipe], Changes]


@dataclass(frozen=True)
class Climb:
    """What `climb` found: the best of its networks, how it is built and trained, and the trial of each idea."""

    table: pd.DataFrame  # one row a trial, the start first, as `climb` describes it
    options: dict[str, Any]  # of the network
    recipe: Recipe
    runs: list[Run]  # of the best, one a seed

    @property
    def kept(self) -> list[str]:
        """Names of the ideas that stayed."""
        return self.table.loc[self.table["kept"], "name"].tolist()[1:]


def climb(
    create: Callable[..., nn.Module],
    recipe: Recipe,
    ideas: Mapping[str, Idea],
    train: ImageSet,
    val: ImageSet,
    seeds: Sequence[int],
    options: Mapping[str, Any] | None = None,
) -> Climb:
    """Try the ideas one after the other, each on top of those that have stayed so far.

    An idea stays if the 95 % interval of its gain on the validation images (`paired_over_seeds`) lies above zero.
    Where none can be told from chance, a climb keeps nothing: it errs towards the simpler network.

    Args:
        create: Makes the untrained network from `options`, such as `partial(create_model, "cifar_fast", 10)`.
        recipe: That the start is trained by.
        ideas: For each what it changes: fields of the recipe, and options of the network; or a function that tells this
            from the best recipe so far, such as `alternating_flips`.
        train: As in `fit`.
        val: Split that decides.
        seeds: One run each of every trial; two at least.
        options: Of the network at the start.

    Returns:
        The climb. A row of its table has `name`, `accuracy` (mean over seeds), `gain` with `low` and `high` over the
        best before it, `kept`, and `seconds`, the mean of a run's.

    Raises:
        ValueError: there are fewer than two seeds.
    """
    if len(seeds) < 2:
        raise ValueError(f"an idea is judged over seeds: give at least two, not {list(seeds)}")
    named = {field.name for field in fields(Recipe)}
    options, best, rows = dict(options or {}), None, []
    for name, idea in {"start": {}, **ideas}.items():
        changes = idea(recipe) if callable(idea) else idea
        tried_options = options | {key: value for key, value in changes.items() if key not in named}
        tried_recipe = replace(recipe, **{key: value for key, value in changes.items() if key in named})
        runs = repeat(partial(create, **tried_options), train, val, tried_recipe, seeds)
        right = np.stack([predict(run.model, val).correct.numpy() for run in runs])  # (seeds, N)
        row = {"name": name, "accuracy": float(right.mean()), "kept": best is None}
        if best is not None:
            gain = paired_over_seeds(best, right)
            row |= {"gain": gain.value, "low": gain.low, "high": gain.high, "kept": bool(gain.low > 0)}
        rows.append(row | {"seconds": float(np.mean([run.history.seconds for run in runs]))})
        if row["kept"]:
            options, recipe, best, kept_runs = tried_options, tried_recipe, right, runs
    return Climb(pd.DataFrame(rows), options, recipe, kept_runs)


def more_transforms(recipe: Recipe, added: Sequence[Transform]) -> Changes:
    """The idea of adding transforms to those that a recipe has; name them with `functools.partial`."""
    return {"transforms": (*recipe.transforms, *added)}


def alternating_flips(recipe: Recipe) -> Changes:
    """The idea of mirroring images in every other epoch, instead of by chance."""
    others = tuple(each for each in recipe.transforms if not isinstance(each, RandomHorizontalFlip))
    return {"alternating_flip": True, "transforms": others}
