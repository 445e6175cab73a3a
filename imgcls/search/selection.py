"""Ideas on trial: each is added to the best so far, and stays only where several seeds say that it is better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

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
TOGETHER = "the promising together"
NAMED = frozenset(one.name for one in fields(Recipe))
GAINS = {"gain": "value", "low": "low", "high": "high"}  # columns of the table, and what they are of an interval


@dataclass(frozen=True)
class Selection:
    """What `forward_selection` found: the best of its networks, how it is built and trained, and each trial."""

    table: pd.DataFrame  # one row a trial, the start first, as `forward_selection` describes it
    options: dict[str, Any]  # of the network
    recipe: Recipe
    runs: list[Run]  # of the best, one a seed
    correct: np.ndarray  # bool (seeds, N): where these were right on validation
    kept: list[str]  # names of the ideas that stayed, alone or together


def forward_selection(
    create: Callable[..., nn.Module],
    recipe: Recipe,
    ideas: Mapping[str, Idea],
    train: ImageSet,
    val: ImageSet,
    seeds: Sequence[int],
    options: Mapping[str, Any] | None = None,
) -> Selection:
    """Try the ideas one after the other, each on top of those that have stayed so far; then the promising together.

    An idea stays if the 95 % interval of its gain on the validation images (`paired_over_seeds`) lies above zero.
    Several gains that are each too small to be seen may be seen in their sum: ideas that gained something, yet not
    enough to stay, are trained anew, all at once, and stay on the same condition. Where nothing can be told from
    chance, a climb keeps nothing: it errs towards the simpler network.

    Args:
        create: Makes the untrained network from `options`, such as `partial(create_model, "cifar_fast", 10)`.
        recipe: That the start is trained by.
        ideas: For each what it changes: fields of the recipe, and options of the network; or a function that tells this
            from the best recipe so far, such as `alternating_flips`.
        train: As in `fit`.
        val: Split that decides.
        seeds: One run each of every trial; two at least.
        options: Of the network at the start.

    A line is printed after each trial.

    Returns:
        The climb. A row of its table has `name`, `accuracy` (mean over seeds), `gain` with `low` and `high` over the
        best before it, `kept`, and `seconds`, the mean of a run's.

    Raises:
        ValueError: there are fewer than two seeds.
    """
    if len(seeds) < 2:
        raise ValueError(f"an idea is judged over seeds: give at least two, not {list(seeds)}")
    best, rows = Trial("start", dict(options or {}), recipe), []
    for name, idea in {"start": {}, **ideas}.items():
        rows.append(_attempt(create, best if rows else None, best.with_(name, idea), train, val, seeds))
        best = rows[-1] if rows[-1].kept else best
    promising = {trial.name: ideas[trial.name] for trial in rows[1:] if trial.promising}
    if len(promising) > 1:
        trial = best.with_(TOGETHER, *promising.values(), parts=tuple(promising))
        rows.append(_attempt(create, best, trial, train, val, seeds))
        best = rows[-1] if rows[-1].kept else best
    kept = [part for trial in rows[1:] if trial.kept for part in trial.parts or [trial.name]]
    return Selection(
        pd.DataFrame([trial.row for trial in rows]), best.options, best.recipe, best.runs, best.correct, kept
    )


@dataclass
class Trial:
    """A network and a recipe on trial, and what came of it."""

    name: str
    options: dict[str, Any]
    recipe: Recipe
    parts: tuple[str, ...] = ()  # names of the ideas, where they are several
    runs: list[Run] = field(default_factory=list)
    correct: np.ndarray | None = None  # bool (seeds, N), on validation
    gain: Interval | None = None  # over the best before it; the start has none

    def with_(self, name: str, *ideas: Idea, parts: tuple[str, ...] = ()) -> "Trial":
        """The same with the changes of these ideas, one after the other, not yet tried."""
        options, recipe = dict(self.options), self.recipe
        for idea in ideas:
            changes = idea(recipe) if callable(idea) else idea
            options |= {key: value for key, value in changes.items() if key not in NAMED}
            recipe = replace(recipe, **{key: value for key, value in changes.items() if key in NAMED})
        return Trial(name, options, recipe, parts)

    def __str__(self) -> str:
        """What came of it, in a line without times."""
        gain = ""
        if self.gain is not None:
            points = [100 * limit for limit in (self.gain.value, self.gain.low, self.gain.high)]
            gain = ", {:+.1f} points [{:+.1f}, {:+.1f}]".format(*points) + (": stays" if self.kept else "")
        name = f"{self.name} ({', '.join(self.parts)})" if self.parts else self.name
        return f"{name}: {100 * self.correct.mean():.1f} % of validation, mean of {len(self.correct)} seeds{gain}"

    @property
    def kept(self) -> bool:
        """Whether it is better than the best before it, as far as can be told."""
        return self.gain is None or self.gain.low > 0

    @property
    def promising(self) -> bool:
        """Whether it gained something, which may be chance."""
        return self.gain is not None and self.gain.value > 0 and not self.kept

    @property
    def row(self) -> dict[str, Any]:
        """Its row in the table of `forward_selection`."""
        seconds = float(np.mean([run.history.seconds for run in self.runs]))
        gain = {key: getattr(self.gain, source, np.nan) for key, source in GAINS.items()}
        return {
            "name": self.name,
            "accuracy": float(self.correct.mean()),
            **gain,
            "kept": self.kept,
            "seconds": seconds,
        }


def _attempt(
    create: Callable[..., nn.Module],
    best: Trial | None,
    trial: Trial,
    train: ImageSet,
    val: ImageSet,
    seeds: Sequence[int],
) -> Trial:
    """Train and judge what is on trial."""
    trial.runs = fit_seeds(partial(create, **trial.options), train, val, trial.recipe, seeds, show=False)
    trial.correct = np.stack([predict(run.model, val).correct.numpy() for run in trial.runs])
    trial.gain = paired_over_seeds(best.correct, trial.correct) if best else None
    print(trial, flush=True)
    return trial


def alternating_flips(recipe: Recipe) -> Changes:
    """The idea of mirroring images in every other epoch, instead of by chance."""
    others = tuple(each for each in recipe.transforms if not isinstance(each, RandomHorizontalFlip))
    return {"alternating_flip": True, "transforms": others}
