"""Zero-shot learning: classes that no training image shows, told by their traits."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from torch import Tensor

from imgcls.evaluation import FeatureSplit, Predictions
from imgcls.evaluation.statistics import Interval
from imgcls.openset.scores import as_matrix
from imgcls.reproducibility import generator

STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # of ESZSL's penalties, for each image and each class
PENALTIES = tuple(10.0**power for power in (1, 1.5, 2, 2.5, 3, 3.5))  # of a ridge regression on standardised features
MATRIX = "predicate-matrix-continuous.txt"
KEPT_ASIDE = 0.2  # of the images of each class: the calibration is chosen on them


def eszsl(features: Tensor, labels: Tensor, traits_seen: Tensor, gamma: float, lam: float) -> Tensor:
    """Closed form of "An embarrassingly simple approach to zero-shot learning" (Romera-Paredes and Torr 2015).

    Image x and class t are as compatible as x · weights · t; training asks for 1 with its class and -1 with others.

    Args:
        features: of training images (N, D).
        labels: their classes, int64 (N,), rows of `traits_seen`.
        traits_seen: (K, A).
        gamma: penalty on the features' side, above 0.
        lam: penalty on the traits' side, above 0.

    Returns:
        Weights float64 (D, A).
    """
    if not (gamma > 0 and lam > 0):
        raise ValueError(f"gamma = {gamma!r} and lam = {lam!r} must be above 0, or the closed form has no inverse")
    gram, cross = _moments(as_matrix(features, "features"), labels.cpu(), as_matrix(traits_seen, "traits"))
    t = traits_seen.detach().cpu().double()
    return _ridge(t.T @ t, lam, _ridge(gram, gamma, cross).T).T


def _moments(x: Tensor, labels: Tensor, traits: Tensor) -> tuple[Tensor, Tensor]:
    """XᵀX (D, D) and XᵀYT (D, A), with Y 1 for the class of the image and -1 for the others."""
    return x.T @ x, x.T @ (2 * traits[labels] - traits.sum(dim=0))


def _ridge(gram: Tensor, strength: float, b: Tensor) -> Tensor:
    return torch.cholesky_solve(b, torch.linalg.cholesky(gram + strength * torch.eye(len(gram), dtype=gram.dtype)))


@dataclass(frozen=True, eq=False)
class ZeroShot(ABC):
    """Compatibility of images with classes of which only the traits are known; seen classes come first."""

    classes: tuple[str, ...] = field(repr=False)  # seen, then unseen
    seen: int  # how many are seen
    calibration: float  # taken off the scores of seen classes where all classes compete

    @abstractmethod
    def scores(self, features: Tensor) -> Tensor:
        """Compatibility with every class: features (N, D) to float64 (N, classes)."""

    def answers(self, split: FeatureSplit, among: str = "all", calibration: float | None = None) -> Predictions:
        """Predictions on a split whose classes are found by name; the mean accuracy of a class is `.balanced`.

        Args:
            split: features of seen or unseen classes, or of both.
            among: the classes that compete, "all" or "unseen".
            calibration: taken off the scores of seen classes (Chao et al. 2016); None is the chosen one.
        """
        if among not in ("all", "unseen"):
            raise ValueError(f"among = {among!r}; choose 'all' or 'unseen'")
        if missing := [name for name in split.classes if name not in self.classes]:
            raise ValueError(f"no traits of class {missing[0]!r}, so nothing can be said of it; add its row to traits")
        labels = torch.tensor([self.classes.index(name) for name in split.classes])[split.labels]
        scores = self.scores(split.images)
        scores[:, : self.seen] -= self.calibration if calibration is None else calibration
        if among == "unseen":
            scores, labels = scores[:, self.seen :], labels - self.seen
            if labels.min() < 0:
                raise ValueError("the split shows seen classes, which do not compete among='unseen'; leave them out")
        return Predictions(scores, labels, self.classes[self.seen :] if among == "unseen" else self.classes)


@dataclass(frozen=True, eq=False)
class Eszsl(ZeroShot):
    """One matrix between features and traits, as `eszsl` learns it."""

    weights: Tensor = field(repr=False)  # float64 (D, A)
    traits: Tensor = field(repr=False)  # float64 (classes, A), standardised by the seen classes, each of length 1
    centre: Tensor = field(repr=False)  # mean training feature (D,)
    scale: float  # deviation of the training features, one for all dimensions
    gamma: float
    lam: float
    trials: pd.DataFrame = field(repr=False)  # gamma, lam (for each image, each class) and accuracy on held-out classes

    def scores(self, features: Tensor) -> Tensor:
        """Compatibility with every class: features (N, D) to float64 (N, classes)."""
        x = (as_matrix(features, "features", len(self.centre)) - self.centre) / self.scale
        return x @ self.weights @ self.traits.T


def fit_zero_shot(train: FeatureSplit, traits: pd.DataFrame, seed: int = 0) -> Eszsl:
    """ESZSL on the seen classes, its penalties and its calibration chosen by holding seen classes out.

    The seen classes are dealt into folds, in each of which some play unseen, in about the true proportion. Penalties
    with the best mean class accuracy among the held-out classes win. The calibration is the one with the best
    harmonic mean on held-out classes and on images of the others that were kept aside. No unseen image is needed.

    Args:
        train: features of the seen classes.
        traits: (K, A), index = class, seen and unseen; columns = trait.
        seed: of the folds and of the images kept aside.
    """
    seen = list(train.classes)
    unseen = check_traits(traits, seen)
    raw = torch.tensor(traits.loc[[*seen, *unseen]].to_numpy(float))  # (K, A)
    x, labels = as_matrix(train.images, "features"), train.labels.cpu()
    folds = deal(labels, len(seen), len(unseen), seed)
    trials = pd.DataFrame(
        [
            {"fold": i, "gamma": gamma, "lam": lam, "accuracy": _class_accuracy(scores[:, cut:], y - cut, y >= cut)}
            for i, fold in enumerate(folds)
            for gamma, lam, scores, y, cut in _trial(x, labels, raw[: len(seen)], *fold, STRENGTHS, STRENGTHS)
        ]
    )
    trials = trials.groupby(["gamma", "lam"], sort=False, as_index=False)["accuracy"].mean()
    gamma, lam = trials.loc[trials["accuracy"].idxmax(), ["gamma", "lam"]]  # of equals the weakest
    chosen = [next(_trial(x, labels, raw[: len(seen)], *fold, (gamma,), (lam,)))[2:] for fold in folds]
    t, centre, scale = _standardized(raw, len(seen)), x.mean(dim=0), _scale(x)
    gamma, lam = gamma * len(x), lam * len(seen)
    weights = eszsl((x - centre) / scale, labels, t[: len(seen)], gamma, lam)
    return Eszsl((*seen, *unseen), len(seen), choose_calibration(chosen), weights, t, centre, scale, gamma, lam, trials)


def check_traits(traits: pd.DataFrame, seen: Sequence[str]) -> list[str]:
    """The unseen classes of a table; raises ValueError if it cannot serve."""
    unseen = [name for name in traits.index if name not in seen]
    if missing := [name for name in seen if name not in traits.index]:
        raise ValueError(f"traits has no row of the seen class {missing[0]!r}; name its rows as the data do")
    if not unseen or len(seen) < 4 or not traits.index.is_unique or traits.isna().any(axis=None):
        raise ValueError(
            f"traits with {len(seen)} seen and {len(unseen)} unseen classes; expected at least 4 and 1, each once, "
            "without missing values"
        )
    return unseen


def predictability(train: FeatureSplit, traits: pd.DataFrame, folds: int = 10, seed: int = 0) -> pd.Series:
    """How well pictures tell each trait of a class that took no part in learning it: R², 1 at best.

    A ridge regression from the mean feature of a class to its standardised traits is asked about classes held out by
    turns. Its penalty is the one that tells most. A trait that no picture shows comes out at 0 or below.

    Args:
        train: features of classes, each with some images; at least twice as many classes as folds.
        traits: (K, A), with a row for each of these classes; other rows are not looked at.
        folds: into which the classes are dealt.
        seed: of the dealing.

    Returns:
        R² by trait, in the order of the columns; minus infinity where the classes do not differ.
    """
    if len(train.classes) < 2 * folds:
        raise ValueError(f"{len(train.classes)} classes in {folds} folds; take at most {len(train.classes) // 2} folds")
    x = F.normalize(as_matrix(train.images, "features"), dim=1)
    labels = train.labels.cpu()
    means = torch.stack([x[labels == c].mean(dim=0) for c in range(len(train.classes))])
    means = ((means - means.mean(dim=0)) / _scale(means)).numpy()
    table = traits.loc[list(train.classes)]
    deviation = table.std(ddof=0)
    differs = deviation > 1e-9 * table.abs().max()
    wanted = ((table - table.mean()) / deviation).loc[:, differs].to_numpy()
    parts = KFold(folds, shuffle=True, random_state=seed)
    guesses = (cross_val_predict(Ridge(penalty), means, wanted, cv=parts) for penalty in PENALTIES)
    best = max((1 - np.square(g - wanted).mean(axis=0) for g in guesses), key=lambda r2: r2.clip(min=0).mean())
    return pd.Series(best, table.columns[differs]).reindex(table.columns, fill_value=-math.inf)


Fold = tuple[Tensor, Tensor]  # classes that play unseen; images kept aside from training, bool (N,)
Trial = tuple[Tensor, Tensor, int]  # compatibility (N, K), labels (N,), how many of the classes are seen; those first


def deal(labels: Tensor, seen: int, unseen: int, seed: int) -> list[Fold]:
    """Seen classes dealt into folds, in each of which some play unseen, and of each class some images aside."""
    draws = generator(seed, "zero-shot")
    aside = torch.zeros(len(labels), dtype=torch.bool)
    for c in range(seen):
        images = (labels == c).nonzero().flatten()
        aside[images[torch.randperm(len(images), generator=draws)[: math.ceil(KEPT_ASIDE * len(images))]]] = True
    count = min(max(2, round((seen + unseen) / unseen)), seen // 2)  # two classes at least: one alone is no choice
    return [(held, aside) for held in torch.randperm(seen, generator=draws).tensor_split(count)]


def _trial(
    x: Tensor, labels: Tensor, traits: Tensor, held: Tensor, aside: Tensor,
    gammas: Sequence[float], lams: Sequence[float],
) -> Iterator[tuple[float, float, Tensor, Tensor, int]]:  # fmt: skip
    """Train without the held-out classes and score what took no part: gamma, lam, and a `Trial`."""
    rest = torch.tensor([c for c in range(len(traits)) if c not in held.tolist()])
    order = torch.cat([rest, held])
    y, t = order.argsort()[labels], _standardized(traits[order], len(rest))
    learn = (y < len(rest)) & ~aside
    centre, scale = x[learn].mean(dim=0), _scale(x[learn])
    known, others = (x[learn] - centre) / scale, (x[~learn] - centre) / scale
    gram, cross = _moments(known, y[learn], t[: len(rest)])
    traits_gram = t[: len(rest)].T @ t[: len(rest)]
    sides = {lam: _ridge(traits_gram, lam * len(rest), t.T) for lam in lams}  # (A, K); the dear part with many traits
    for gamma in gammas:
        projected = others @ _ridge(gram, gamma * len(known), cross)  # (N, A)
        for lam, side in sides.items():
            yield gamma, lam, projected @ side, y[~learn], len(rest)


def standard_scores(traits: Tensor, seen: int) -> Tensor:
    """Mean 0 and deviation 1 over the seen classes; a trait that all of them share teaches nothing and becomes 0."""
    deviation = traits[:seen].std(dim=0, correction=0)
    constant = deviation <= 1e-9 * traits[:seen].abs().amax(dim=0)
    standard = (traits - traits[:seen].mean(dim=0)) / deviation.where(~constant, 1.0)
    return torch.where(constant, 0.0, standard)


def _standardized(traits: Tensor, seen: int) -> Tensor:
    """Standard scores, each class at length 1, or those with large traits win."""
    return F.normalize(standard_scores(traits, seen), dim=1)


def _scale(x: Tensor) -> float:
    return float((x - x.mean(dim=0)).square().mean().sqrt()) or 1.0


def _class_accuracy(scores: Tensor, labels: Tensor, these: Tensor) -> float:
    """Mean over the classes of the share that is right, of the images asked for."""
    right = (scores.argmax(dim=1) == labels)[these].double()
    return float(np.mean([right[labels[these] == c].mean() for c in labels[these].unique()]))


def _trade_off(trial: Trial, calibrations: Tensor) -> tuple[Tensor, Tensor]:
    """Mean accuracy of the seen classes and of the unseen ones, all competing, at each calibration: (C,) twice."""
    scores, labels, cut = trial
    (best_seen, say_seen), (best_unseen, say_unseen) = scores[:, :cut].max(dim=1), scores[:, cut:].max(dim=1)
    to_seen = (best_seen - best_unseen)[:, None] >= calibrations  # (N, C)
    right = torch.where(to_seen, (say_seen == labels)[:, None], (say_unseen + cut == labels)[:, None]).double()
    present = labels.unique()
    recalls = torch.stack([right[labels == c].mean(dim=0) for c in present])  # (K, C)
    return recalls[present < cut].mean(dim=0), recalls[present >= cut].mean(dim=0)


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return 2 * a * b / (a + b).clamp(min=1e-12)


def choose_calibration(trials: Sequence[Trial]) -> float:
    """Calibration of stacking (Chao et al. 2016) with the best harmonic mean of seen and unseen, averaged over trials.

    Args:
        trials: for each fold (scores (N, K), labels (N,), S), the first S classes being seen and the others playing
            unseen, on images that took no part in training.
    """
    margins = torch.cat([scores[:, :cut].amax(dim=1) - scores[:, cut:].amax(dim=1) for scores, _, cut in trials])
    candidates = margins.quantile(torch.linspace(0, 1, 401, dtype=torch.float64))
    harmonic = torch.stack([_harmonic(*_trade_off(trial, candidates)) for trial in trials]).mean(dim=0)
    return float(candidates[harmonic.argmax()])


def stacking_curve(model: ZeroShot, seen: FeatureSplit, unseen: FeatureSplit, points: int = 101) -> pd.DataFrame:
    """What every calibration would have given on these splits; to look at, not to choose from.

    Columns calibration (from minus to plus infinity), seen, unseen (mean class accuracies), harmonic, and area: the
    area under seen against unseen, AUSUC of Chao et al. (2016), the same in every row.
    """
    answers = [model.answers(split, calibration=0.0) for split in (seen, unseen)]
    scores, labels = (torch.cat([getattr(one, what) for one in answers]) for what in ("logits", "labels"))
    margins = scores[:, : model.seen].amax(dim=1) - scores[:, model.seen :].amax(dim=1)
    inner = margins.quantile(torch.linspace(0, 1, points, dtype=torch.float64))
    calibrations = torch.cat([torch.tensor([-math.inf]), inner, torch.tensor([math.inf])])
    right_seen, right_unseen = _trade_off((scores, labels, model.seen), calibrations)
    columns = {"calibration": calibrations, "seen": right_seen, "unseen": right_unseen}
    frame = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    area = float(np.trapezoid(frame["seen"], frame["unseen"]))
    return frame.assign(harmonic=_harmonic(right_seen, right_unseen).numpy(), area=area)


def zero_shot_table(model: ZeroShot, seen: FeatureSplit, unseen: FeatureSplit) -> pd.DataFrame:
    """Mean class accuracies on test images of seen and of unseen classes (Xian et al. 2018), with 95 % intervals.

    Returns:
        One row a number, with columns setting, measure, value, low, high, n. Settings: "unseen only" (only unseen
        classes compete), "all classes", and "all classes, calibrated"; measures: "seen", "unseen", "harmonic mean".
    """
    rows = [("unseen only", "unseen", model.answers(unseen, among="unseen").balanced_accuracy)]
    for setting, calibration in (("all classes", 0.0), ("all classes, calibrated", None)):
        a, b = (model.answers(split, calibration=calibration).balanced_accuracy for split in (seen, unseen))
        rows += [(setting, "seen", a), (setting, "unseen", b), (setting, "harmonic mean", harmonic_mean(a, b))]
    return pd.DataFrame([{"setting": setting, "measure": what, **vars(one)} for setting, what, one in rows])


def read_traits(data: str | Path, classes: Sequence[str]) -> pd.DataFrame:
    """Attributes of classes from the tables of Animals with Attributes 2, which lie in the data's folder or beside it.

    The tables are `classes.txt`, `predicates.txt` and `predicate-matrix-continuous.txt`; "grizzly+bear" there is
    "grizzly bear" here and may be either in `classes`. A missing value, which the matrix writes as -1, becomes the mean
    of its attribute.

    Args:
        data: folder or archive of the images.
        classes: whose rows are wanted, in this order.

    Returns:
        (K, A), index = `classes`, columns = attribute, as `fit_zero_shot` takes it.

    Raises:
        FileNotFoundError: the tables are not there; the message says what they are.
        ValueError: a class has no row, or the tables do not fit each other.
    """
    path = Path(data).expanduser()
    folder = next((one for one in (path, path.parent) if (one / MATRIX).is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"zero-shot answers need traits of every class: no {MATRIX} in {path} or beside it. Put there that of "
            "Animals with Attributes 2 with its classes.txt and predicates.txt, or tables of your own in its format"
        )
    lines = {name: (folder / f"{name}.txt").read_text("utf-8").splitlines() for name in ("classes", "predicates")}
    names = {  # after its number
        kind: [line.split(maxsplit=1)[-1].strip().replace("+", " ") for line in rows if line.strip()]
        for kind, rows in lines.items()
    }
    matrix = np.loadtxt(folder / MATRIX, ndmin=2)
    if matrix.shape != (len(names["classes"]), len(names["predicates"])):
        raise ValueError(
            f"{folder / MATRIX} has the shape {matrix.shape}, but {len(names['classes'])} classes and "
            f"{len(names['predicates'])} attributes are named beside it; bring the three files from one archive"
        )
    table = pd.DataFrame(matrix, index=names["classes"], columns=names["predicates"]).replace(-1.0, np.nan)
    wanted = [name.replace("+", " ") for name in classes]
    if missing := [name for name in wanted if name not in table.index]:
        raise ValueError(f"no attributes of {', '.join(missing)} in {folder / MATRIX}; add their rows")
    return table.fillna(table.mean()).loc[wanted].set_axis(list(classes))


def harmonic_mean(a: Interval, b: Interval) -> Interval:
    """Harmonic mean of two independent shares; its limits join theirs, each weighted by its slope (delta method)."""
    total = a.value + b.value
    if total == 0:
        return Interval(0.0, 0.0, 2 * a.high * b.high / (a.high + b.high), a.n + b.n)
    slopes = 2 * (b.value / total) ** 2, 2 * (a.value / total) ** 2
    value = 2 * a.value * b.value / total
    low = value - math.hypot(slopes[0] * (a.value - a.low), slopes[1] * (b.value - b.low))
    high = value + math.hypot(slopes[0] * (a.high - a.value), slopes[1] * (b.high - b.value))
    return Interval(value, max(low, 0.0), min(high, 1.0), a.n + b.n)
