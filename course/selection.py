"""Forward selection: ideas are added one at a time, and each is kept only where several seeds show that it helps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from imgcls.data.batches import ImageSet
from imgcls.evaluation import predict
from imgcls.evaluation.statistics import Interval, paired_over_seeds
from imgcls.training import Recipe, Run, fit_seeds
from imgcls.transforms import RandomHorizontalFlip

Changes = Mapping[str, Any]  # fields of the recipe, and options of the network
Idea = Changes | Callable[[Recipe], Changes]
COMBINED = "the promising together"  # row of the table that combines ideas


@dataclass(frozen=True)
class Selection:
    """What `forward_selection` found: the best network, how it is built and trained, and all trials."""

    table: pd.DataFrame  # one row per trial, the start first, as `forward_selection` describes it
    options: dict[str, Any]  # of the network
    recipe: Recipe
    runs: list[Run]  # of the best, one per seed
    correct: np.ndarray  # bool (seeds, N): which validation images they classify correctly
    kept: list[str]  # names of the ideas that were kept, alone or combined


def forward_selection(
    create: Callable[..., nn.Module],
    recipe: Recipe,
    ideas: Mapping[str, Idea],
    train: ImageSet,
    val: ImageSet,
    seeds: Sequence[int],
    options: Mapping[str, Any] | None = None,
) -> Selection:
    """Try the ideas one after the other, each on top of those kept so far; then combine the promising ones.

    An idea is kept if the 95 % interval of its gain on the validation images (`paired_over_seeds`) lies above zero.
    Several gains that are each inconclusive may be significant together: ideas with a positive but inconclusive gain
    are trained once more, all at once, under the same condition. Where every gain is inconclusive, nothing is kept.
    A line is printed after each trial.

    Args:
        create: Makes the untrained network from `options`, such as `partial(create_model, "cifar_fast", 10)`.
        recipe: Of the start.
        ideas: For each its changes: fields of the recipe, and options of the network; or a function that returns them
            for the best recipe so far, such as `alternating_flips`.
        train: As in `fit`.
        val: Split to compare on.
        seeds: One run each of every trial; two at least.
        options: Of the network at the start.

    Returns:
        The selection. A row of its table has `name`, `accuracy` (mean over seeds), `gain` with `low` and `high` over
        the best before it, `kept`, and `seconds`, the mean of a run's.

    Raises:
        ValueError: there are fewer than two seeds.
    """
    if len(seeds) < 2:
        raise ValueError(f"an idea is compared over seeds: give at least two, not {list(seeds)}")
    best = _train(create, dict(options or {}), recipe, train, val, seeds)
    rows, kept = [_row("start", best, None)], []
    print(_line("start", best, None), flush=True)

    def is_promising(name: str, parts: Sequence[str]) -> bool:
        """Train the best so far with these ideas; whether it gained something, but not enough to be kept."""
        nonlocal best
        changed = _change(best.options, best.recipe, [ideas[part] for part in parts])
        trial = _train(create, *changed, train, val, seeds)
        gain = paired_over_seeds(best.correct, trial.correct)
        rows.append(_row(name, trial, gain))
        print(_line(f"{name} ({', '.join(parts)})" if len(parts) > 1 else name, trial, gain), flush=True)
        if gain.low > 0:
            best = trial
            kept.extend(parts)
        return gain.low <= 0 < gain.value

    promising = [name for name in ideas if is_promising(name, [name])]
    if len(promising) > 1:
        is_promising(COMBINED, promising)
    return Selection(pd.DataFrame(rows), best.options, best.recipe, best.runs, best.correct, kept)


class _Trial(NamedTuple):
    options: dict[str, Any]
    recipe: Recipe
    runs: list[Run]
    correct: np.ndarray  # bool (seeds, N), on validation


def _change(options: dict[str, Any], recipe: Recipe, ideas: Sequence[Idea]) -> tuple[dict[str, Any], Recipe]:
    """Options and recipe with the changes of the ideas, one after the other."""
    known = {field.name for field in fields(Recipe)}
    for idea in ideas:
        changes = idea(recipe) if callable(idea) else idea
        options = options | {key: value for key, value in changes.items() if key not in known}
        recipe = replace(recipe, **{key: value for key, value in changes.items() if key in known})
    return options, recipe


def _train(
    create: Callable[..., nn.Module],
    options: dict[str, Any],
    recipe: Recipe,
    train: ImageSet,
    val: ImageSet,
    seeds: Sequence[int],
) -> _Trial:
    runs = fit_seeds(partial(create, **options), train, val, recipe, seeds, show=False)
    correct = np.stack([predict(run.model, val).correct.numpy() for run in runs])
    return _Trial(options, recipe, runs, correct)


def _row(name: str, trial: _Trial, gain: Interval | None) -> dict[str, Any]:
    value, low, high = (gain.value, gain.low, gain.high) if gain else (np.nan, np.nan, np.nan)
    return {
        "name": name,
        "accuracy": float(trial.correct.mean()),
        "gain": value,
        "low": low,
        "high": high,
        "kept": gain is None or gain.low > 0,
        "seconds": float(np.mean([run.history.seconds for run in trial.runs])),
    }


def _line(name: str, trial: _Trial, gain: Interval | None) -> str:
    """The result of a trial, without times."""
    text = f"{name}: {100 * trial.correct.mean():.1f} % of validation, mean of {len(trial.correct)} seeds"
    if gain is None:
        return text
    value, low, high = (100 * number for number in (gain.value, gain.low, gain.high))
    return f"{text}, {value:+.1f} points [{low:+.1f}, {high:+.1f}]{': stays' * (gain.low > 0)}"


def alternating_flips(recipe: Recipe) -> Changes:
    """The idea of mirroring images in every second epoch, instead of at random."""
    others = tuple(each for each in recipe.transforms if not isinstance(each, RandomHorizontalFlip))
    return {"alternating_flip": True, "transforms": others}
