"""Does a baseline learn, and if not, do its gradients vanish? A criterion from the steps that they allow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor, nn

from course.diagnostics import gradient_norms
from imgcls.data.batches import ImageSet
from imgcls.evaluation import predict
from imgcls.evaluation.statistics import over_seeds
from imgcls.training import Recipe, TrainingDiverged, fit_seeds

DEAD = 1e-6  # a possible change below which a layer receives no gradient
FROZEN = 0.01  # a layer that no run of such steps could change by more than this share of its weights


@dataclass(frozen=True)
class UpdateProbe:
    """An `on_epoch_end` hook that records gradient norms on fixed images, alone and divided by the weights' norms."""

    images: Tensor
    labels: Tensor

    def __call__(self, model: nn.Module, row: dict) -> dict[str, float]:
        """Columns `grad/<layer>` and `relative/<layer>` of the epoch's row."""
        norms = gradient_norms(model, self.images, self.labels)
        layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        sizes = dict(zip(norms, (float(layer.weight.detach().norm()) for layer in layers), strict=True))
        relative = {f"relative/{name}": norm / sizes[name] for name, norm in norms.items()}
        return {f"grad/{name}": norm for name, norm in norms.items()} | relative


def possible_change(rows: Sequence[Mapping[str, float]], recipe: Recipe, steps: int) -> pd.Series:
    """The most by which each layer's weights can change, as a share of their norm: first layer first.

    Momentum adds up the steps to η / (1 − μ) times the gradient. If all steps of the run pointed the same way, the
    weights W would move by T η / (1 − μ) ‖∇L‖. The median of ‖∇L‖ / ‖W‖ over the epochs is used.
    """
    relative = pd.DataFrame(rows).filter(regex="^relative/").rename(columns=lambda name: name.partition("/")[2])
    return steps * recipe.lr / (1 - recipe.momentum) * relative.median()


def try_baselines(
    variants: Mapping[str, Callable[[], nn.Module]],
    train: ImageSet,
    test: ImageSet,
    recipe: Recipe,
    seeds: Sequence[int],
    steps: int,
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Train each variant of a network once per seed, and say whether it learns and what its gradients allow.

    A network that learns nothing is called *vanishing* only if gradients reach its last layer and could not change its
    first layer by more than `FROZEN`. Where no gradient reaches any layer, its units are dead.

    Args:
        variants: Name -> function that makes the network.
        train: Split to learn from.
        test: Split for the accuracy.
        recipe: Of each run.
        seeds: One run each per variant.
        steps: Of the run that the question is about, which may be longer: the number of steps in `possible_change`.

    Returns:
        One row per variant: `variant`, `accuracy` (mean over seeds, with its interval), `first layer` and `last layer`
        (`possible_change`, median over seeds) and `verdict`; and the gradient norms of the first seed that trained.
    """
    rows, norms, chance = [], {}, 1 / len(test.classes)
    for name, create in variants.items():
        accuracies, changes = [], []
        for seed in seeds:
            probe = UpdateProbe(train.images[:256], train.labels[:256])
            try:
                run = fit_seeds(create, train, test, recipe, [seed], on_epoch_end=probe, show=False)[0]
            except TrainingDiverged:
                accuracies.append(chance)
                continue
            changes.append(possible_change(run.history.rows, recipe, steps))
            norms.setdefault(name, run.history.gradients())
            accuracies.append(predict(run.model, test).accuracy)
        mean = over_seeds(accuracies)
        first, last = (float(np.median([change.iloc[k] for change in changes])) if changes else np.nan for k in (0, -1))
        rows.append({
            "variant": name, "accuracy": mean.value, "low": mean.low, "high": mean.high, "first layer": first,
            "last layer": last, "verdict": _verdict(mean.value, chance, len(seeds) * len(test.labels), first, last),
        })  # fmt: skip
    return pd.DataFrame(rows), norms


def _verdict(accuracy: float, chance: float, n: int, first: float, last: float) -> str:
    """What happened to a baseline; it learns where its accuracy is three standard errors above chance."""
    if accuracy > chance + 3 * np.sqrt(chance * (1 - chance) / n):
        return "learns"
    if not np.isfinite(first):
        return "diverges"
    if last < DEAD:
        return "dead units: no gradient in any layer"
    if last < FROZEN:
        return "too few steps to change any layer"
    return "vanishing gradients" if first < FROZEN else "does not learn yet; its gradients do not vanish"


def gradients_table(table: pd.DataFrame) -> pd.DataFrame:
    """The result of `try_baselines` as text."""
    shares = [f"{100 * row['accuracy']:.1f} %" for row in table.to_dict("records")]
    change = {
        f"possible change, {layer}": ["–" if np.isnan(value) else f"{value:.2g}" for value in table[layer]]
        for layer in ("first layer", "last layer")
    }
    return pd.DataFrame({"": table["variant"], "accuracy": shares, **change, "verdict": table["verdict"]})
