"""Zero-shot learning by foretelling what the pictures of a class would look like to the network."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from imgcls.evaluation import FeatureSplit
from imgcls.openset.scores import as_matrix, nearness
from imgcls.openset.traits import Trial, ZeroShot, check_traits, choose_calibration, deal, standard_scores

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of the kernel ridge regression


@dataclass(frozen=True, eq=False)
class Exemplars(ZeroShot):
    """A point among the features for each class: measured where it has pictures, foretold from its traits elsewhere."""

    points: Tensor = field(repr=False)  # float64 (classes, D)
    penalty: float

    def scores(self, features: Tensor) -> Tensor:
        """Minus the squared distance to the point of every class: features (N, D) to float64 (N, classes)."""
        return nearness(as_matrix(features, "features", self.points.shape[1]), self.points)


def fit_exemplars(
    train: FeatureSplit, traits: pd.DataFrame, seen: Sequence[str] | None = None, seed: int = 0
) -> Exemplars:
    """Visual exemplars (Changpinyo, Chao and Sha 2017, "Predicting visual exemplars of unseen classes").

    The exemplar of a class is the mean of its features. A kernel ridge regression learns from the classes that have
    images how traits make such a mean, and foretells those of the unseen ones; an image belongs to the nearest. The
    penalty is the one that foretells the means of left-out classes best, the kernel Gaussian with the median distance
    as its width. The calibration is chosen as `fit_zero_shot` chooses it. No unseen image is needed.

    Args:
        train: features of all classes that teach.
        traits: (K, A), index = class, with rows of those and of the unseen ones; columns = trait.
        seen: the teachers that compete with unseen classes for an image; all of them if None.
        seed: of the folds and of the images kept aside.

    Raises:
        ValueError: `traits` lacks a row or a value, or `seen` is no choice of at least 4 of the teachers.
    """
    teachers, unseen = list(train.classes), check_traits(traits, train.classes)
    seen = teachers if seen is None else list(seen)
    if strangers := [name for name in seen if name not in teachers]:
        raise ValueError(f"the seen class {strangers[0]!r} has no images to learn from; choose among {teachers}")
    if len(seen) < 4:
        raise ValueError(f"{len(seen)} seen classes; take at least 4")
    order = [*seen, *(name for name in teachers if name not in seen)]
    x = as_matrix(train.images, "features")
    labels = torch.tensor([order.index(name) for name in teachers])[train.labels.cpu()]
    table = torch.tensor(traits.loc[[*order, *unseen]].to_numpy(float))
    means, foretold, penalty = _foretell(x, labels, table)
    folds = deal(labels, len(seen), len(unseen), seed)
    trials = [_trial(x, labels, table[: len(order)], len(seen), *fold) for fold in folds]
    points = torch.cat([means[: len(seen)], foretold])
    return Exemplars((*seen, *unseen), len(seen), choose_calibration(trials), points, penalty)


def _foretell(x: Tensor, labels: Tensor, table: Tensor) -> tuple[Tensor, Tensor, float]:
    """Means (K, D) of the classes with images, those foretold of the further rows of the table, and the penalty."""
    count = int(labels.max()) + 1
    means = torch.stack([x[labels == c].mean(dim=0) for c in range(count)])
    centre = means.mean(dim=0)
    gram = _kernel(table, count)
    known, asked = gram[:count, :count], gram[count:, :count]
    inverses = {p: torch.linalg.inv(known + p * torch.eye(count, dtype=x.dtype)) for p in PENALTIES}
    # What a ridge regression without a class would be wrong by on it needs no second fit (Allen 1974, PRESS).
    wrong = {p: (one @ (means - centre) / one.diagonal()[:, None]).square().sum() for p, one in inverses.items()}
    penalty = min(wrong, key=wrong.__getitem__)
    return means, centre + asked @ inverses[penalty] @ (means - centre), penalty


def _kernel(table: Tensor, count: int) -> Tensor:
    """Gaussian of the distances between rows, standardised by the first `count`, whose median is its width."""
    standard = standard_scores(table, count)
    apart = -nearness(standard, standard)
    among = apart[:count, :count]
    if not among.any():
        raise ValueError(f"no trait differs among the {count} classes that have images; bring traits that do")
    return torch.exp(-apart / among[among > 0].quantile(0.5))


def _trial(x: Tensor, labels: Tensor, table: Tensor, seen: int, held: Tensor, aside: Tensor) -> Trial:
    """Learn without the held-out classes and score what took no part."""
    rest = torch.tensor([c for c in range(len(table)) if c not in held.tolist()])
    order = torch.cat([rest, held])
    y = order.argsort()[labels]
    learn = (y < len(rest)) & ~aside
    means, foretold, _ = _foretell(x[learn], y[learn], table[order])
    cut, asked = seen - len(held), y[~learn]
    scores = nearness(x[~learn], torch.cat([means[:cut], foretold]))
    return scores, torch.where(asked < len(rest), asked, asked - len(rest) + cut), cut
