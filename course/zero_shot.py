"""Zero-shot learning: classify images of classes without training images from the attributes of those classes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from torch import Tensor

from imgcls.evaluation import FeatureSplit, Predictions
from imgcls.evaluation.statistics import Interval, mcnemar
from imgcls.openset.scores import as_matrix, nearness
from imgcls.reproducibility import generator

ESZSL_PENALTIES = tuple(10.0**power for power in range(-4, 3))  # gamma for each image, lam for each class
KERNEL_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of the kernel ridge regression of exemplars
RIDGE_PENALTIES = tuple(10.0**power for power in (1, 1.5, 2, 2.5, 3, 3.5))  # of the ridge regression on mean features
MATRIX = "predicate-matrix-continuous.txt"
HELD_OUT = 0.2  # fraction of the images of each class on which the calibration is chosen

Fold = tuple[Tensor, Tensor]  # classes held out as pseudo-unseen; images held out of training, bool (N,)
Trial = tuple[Tensor, Tensor, int]  # scores (N, K), labels (N,), number of seen classes, which come first


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """Scores for seen classes and for unseen ones, of which only the attributes are given; seen classes come first."""

    classes: tuple[str, ...] = field(repr=False)  # seen, then unseen
    seen: int  # number of seen classes
    calibration: float  # subtracted from the scores of seen classes where all classes compete
    scores: Callable[[Tensor], Tensor] = field(repr=False)  # features (N, D) -> score of every class, float64
    fitted: Mapping[str, Any] = field(repr=False)  # what was fitted or chosen, by name

    def predict(self, split: FeatureSplit, among: str = "all", calibration: float | None = None) -> Predictions:
        """Predictions on a split whose classes are found by name.

        Args:
            split: Features of seen classes, of unseen ones, or of both.
            among: The classes that compete, "all" or "unseen".
            calibration: Subtracted from the scores of seen classes (Chao et al. 2016); None is the fitted one.
        """
        if among not in ("all", "unseen"):
            raise ValueError(f"among = {among!r}; choose 'all' or 'unseen'")
        if missing := [name for name in split.classes if name not in self.classes]:
            raise ValueError(f"no attributes of class {missing[0]!r}; add its row to the table of attributes")
        labels = torch.tensor([self.classes.index(name) for name in split.classes])[split.labels]
        scores = self.scores(split.images)
        scores[:, : self.seen] -= self.calibration if calibration is None else calibration
        if among == "all":
            return Predictions(scores, labels, self.classes)
        if labels.min() < self.seen:
            raise ValueError("the split has images of seen classes, which do not compete among='unseen'; drop them")
        return Predictions(scores[:, self.seen :], labels - self.seen, self.classes[self.seen :])


def eszsl(features: Tensor, labels: Tensor, attributes_seen: Tensor, gamma: float, lam: float) -> Tensor:
    """Closed form of "An embarrassingly simple approach to zero-shot learning" (Romera-Paredes and Torr 2015).

    The score of image x for class t is x · weights · t; its target is 1 for the true class and -1 for all others.

    Args:
        features: Of the training images (N, D).
        labels: Their classes, int64 (N,), rows of `attributes_seen`.
        attributes_seen: (K, A).
        gamma: Penalty on the side of the features, above 0.
        lam: Penalty on the side of the attributes, above 0.

    Returns:
        Weights float64 (D, A).
    """
    if not (gamma > 0 and lam > 0):
        raise ValueError(f"gamma = {gamma!r} and lam = {lam!r} must be above 0, or the closed form has no inverse")
    t = as_matrix(attributes_seen, "attributes")
    gram, cross = _moments(as_matrix(features, "features"), labels.cpu(), t)
    return _ridge(t.T @ t, lam, _ridge(gram, gamma, cross).T).T


def _moments(x: Tensor, labels: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
    """XᵀX (D, D) and XᵀYT (D, A), with Y 1 for the class of the image and -1 for the others."""
    return x.T @ x, x.T @ (2 * attributes[labels] - attributes.sum(dim=0))


def _ridge(gram: Tensor, strength: float, b: Tensor) -> Tensor:
    return torch.cholesky_solve(b, torch.linalg.cholesky(gram + strength * torch.eye(len(gram), dtype=gram.dtype)))


def fit_zero_shot(train: FeatureSplit, attributes: pd.DataFrame, seed: int = 0) -> ZeroShot:
    """ESZSL on the seen classes; cross-validation over seen classes chooses the penalties and the calibration.

    Each fold holds out some seen classes as pseudo-unseen, in about the true proportion. The penalties have the best
    mean class accuracy among held-out classes. The calibration has the best harmonic mean on held-out classes and on
    held-out images of the others. No image of an unseen class is used.

    Args:
        train: Features of the seen classes.
        attributes: (K, A), index = class, seen and unseen; columns = attribute.
        seed: Random seed of the folds and of the held-out images.

    Returns:
        Fitted are weights (D, A), attributes (classes, A), gamma and lam, and trials, a frame of gamma (for each
        image), lam (for each class) and accuracy on held-out classes.
    """
    seen = list(train.classes)
    unseen = _unseen_classes(attributes, seen)
    raw = torch.tensor(attributes.loc[[*seen, *unseen]].to_numpy(float))  # (K, A)
    x, labels = as_matrix(train.images, "features"), train.labels.cpu()
    folds = make_folds(labels, len(seen), len(unseen), seed)
    trials = pd.DataFrame(
        [
            {"fold": i, "gamma": gamma, "lam": lam, "accuracy": _class_accuracy(scores[:, cut:], y - cut, y >= cut)}
            for i, fold in enumerate(folds)
            for gamma, lam, (scores, y, cut) in eszsl_trials(
                x, labels, raw[: len(seen)], fold, ESZSL_PENALTIES, ESZSL_PENALTIES
            )
        ]
    )
    trials = trials.groupby(["gamma", "lam"], sort=False, as_index=False)["accuracy"].mean()
    gamma, lam = trials.loc[trials["accuracy"].idxmax(), ["gamma", "lam"]]  # of equals the weakest
    chosen = [next(eszsl_trials(x, labels, raw[: len(seen)], fold, (gamma,), (lam,)))[2] for fold in folds]
    t, centre, scale = unit_scores(raw, len(seen)), x.mean(dim=0), _scale(x)
    gamma, lam = gamma * len(x), lam * len(seen)
    weights = eszsl((x - centre) / scale, labels, t[: len(seen)], gamma, lam)

    def scores(features: Tensor) -> Tensor:
        return (as_matrix(features, "features", len(centre)) - centre) / scale @ weights @ t.T

    fitted = {"weights": weights, "attributes": t, "gamma": gamma, "lam": lam, "trials": trials}
    return ZeroShot((*seen, *unseen), len(seen), choose_calibration(chosen), scores, fitted)


def eszsl_trials(
    x: Tensor, labels: Tensor, attributes: Tensor, fold: Fold, gammas: Sequence[float], lams: Sequence[float]
) -> Iterator[tuple[float, float, Trial]]:
    """Fit without the held-out classes and images and score what was held out, for each gamma and lam."""
    held, aside = fold
    y, order, learn = _reorder(labels, len(attributes), held, aside)
    seen = len(order) - len(held)
    t = unit_scores(attributes[order], seen)
    centre, scale = x[learn].mean(dim=0), _scale(x[learn])
    known, others = (x[learn] - centre) / scale, (x[~learn] - centre) / scale
    gram, cross = _moments(known, y[learn], t[:seen])
    attribute_gram = t[:seen].T @ t[:seen]
    sides = {lam: _ridge(attribute_gram, lam * seen, t.T) for lam in lams}  # (A, K); the slow part with many attributes
    for gamma in gammas:
        projected = others @ _ridge(gram, gamma * len(known), cross)  # (N, A)
        for lam, side in sides.items():
            yield gamma, lam, (projected @ side, y[~learn], seen)


def fit_exemplars(
    train: FeatureSplit, attributes: pd.DataFrame, seen: Sequence[str] | None = None, seed: int = 0
) -> ZeroShot:
    """Visual exemplars (Changpinyo, Chao and Sha 2017, "Predicting visual exemplars of unseen classes").

    The exemplar of a class is its mean feature. A kernel ridge regression on the classes that have images maps
    attributes to such a mean and predicts the exemplars of the unseen classes; an image belongs to the nearest one.
    The kernel is Gaussian, with the median distance as its width. The penalty has the smallest leave-one-class-out
    error. The calibration is chosen as in `fit_zero_shot`. No image of an unseen class is used.

    Args:
        train: Features of all classes that have images.
        attributes: (K, A), index = class, with rows of those and of the unseen ones; columns = attribute.
        seen: The classes of `train` that compete with unseen ones for an image; all of them if None.
        seed: Random seed of the folds and of the held-out images.

    Returns:
        Scores are minus the squared distance to each class's point; fitted are points (classes, D) and penalty.

    Raises:
        ValueError: `attributes` lacks a row or a value, or `seen` is not at least 4 of the classes of `train`.
    """
    teachers, unseen = list(train.classes), _unseen_classes(attributes, train.classes)
    seen = teachers if seen is None else list(seen)
    if len(seen) < 4 or not set(seen) <= set(teachers):
        raise ValueError(f"seen = {seen}; choose at least 4 of the classes with images: {', '.join(teachers)}")
    order = list(dict.fromkeys([*seen, *teachers]))
    x = as_matrix(train.images, "features")
    labels = torch.tensor([order.index(name) for name in teachers])[train.labels.cpu()]
    table = torch.tensor(attributes.loc[[*order, *unseen]].to_numpy(float))
    means, predicted, penalty = _predict_means(x, labels, table)
    folds = make_folds(labels, len(seen), len(unseen), seed)
    trials = [exemplar_trial(x, labels, table[: len(order)], len(seen), fold) for fold in folds]
    points = torch.cat([means[: len(seen)], predicted])

    def scores(features: Tensor) -> Tensor:
        return nearness(as_matrix(features, "features", points.shape[1]), points)

    fitted = {"points": points, "penalty": penalty}
    return ZeroShot((*seen, *unseen), len(seen), choose_calibration(trials), scores, fitted)


def _predict_means(x: Tensor, labels: Tensor, table: Tensor) -> tuple[Tensor, Tensor, float]:
    """Means (K, D) of the classes with images, those predicted for the further rows of the table, and the penalty."""
    count = int(labels.max()) + 1
    means = torch.stack([x[labels == c].mean(dim=0) for c in range(count)])
    centre = means.mean(dim=0)
    standard = _standard_scores(table, count)
    distances = -nearness(standard, standard)
    positive = distances[:count, :count][distances[:count, :count] > 0]
    if not len(positive):
        raise ValueError(f"no attribute differs among the {count} classes that have images; add attributes that do")
    gram = torch.exp(-distances / positive.quantile(0.5))
    among, across = gram[:count, :count], gram[count:, :count]
    inverses = {p: torch.linalg.inv(among + p * torch.eye(count, dtype=x.dtype)) for p in KERNEL_PENALTIES}
    # The leave-one-out errors of a ridge regression need no second fit (Allen 1974, PRESS).
    errors = {p: (one @ (means - centre) / one.diagonal()[:, None]).square().sum() for p, one in inverses.items()}
    penalty = min(errors, key=errors.__getitem__)
    return means, centre + across @ inverses[penalty] @ (means - centre), penalty


def exemplar_trial(x: Tensor, labels: Tensor, table: Tensor, seen: int, fold: Fold) -> Trial:
    """Fit without the held-out classes and images and score what was held out; the first `seen` rows compete."""
    held, aside = fold
    y, order, learn = _reorder(labels, len(table), held, aside)
    rest = len(order) - len(held)
    means, predicted, _ = _predict_means(x[learn], y[learn], table[order])
    cut, tested = seen - len(held), y[~learn]
    scores = nearness(x[~learn], torch.cat([means[:cut], predicted]))
    return scores, torch.where(tested < rest, tested, tested - rest + cut), cut


def make_folds(labels: Tensor, seen: int, unseen: int, seed: int) -> list[Fold]:
    """Split seen classes into folds of pseudo-unseen ones, and hold out some images of each class."""
    draws = generator(seed, "zero-shot")
    aside = torch.zeros(len(labels), dtype=torch.bool)
    for c in range(seen):
        images = (labels == c).nonzero().flatten()
        aside[images[torch.randperm(len(images), generator=draws)[: math.ceil(HELD_OUT * len(images))]]] = True
    count = min(max(2, round((seen + unseen) / unseen)), seen // 2)  # at least two classes in a fold, or no choice
    return [(held, aside) for held in torch.randperm(seen, generator=draws).tensor_split(count)]


def _reorder(labels: Tensor, count: int, held: Tensor, aside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Labels with the held-out classes last, the classes in that order, and which images to learn from."""
    rest = torch.tensor([c for c in range(count) if c not in held.tolist()])
    order = torch.cat([rest, held])
    y = order.argsort()[labels]
    return y, order, (y < len(rest)) & ~aside


def choose_calibration(trials: Sequence[Trial]) -> float:
    """Calibration (Chao et al. 2016) with the best harmonic mean of seen and unseen accuracy, averaged over trials."""
    margins = torch.cat([scores[:, :cut].amax(dim=1) - scores[:, cut:].amax(dim=1) for scores, _, cut in trials])
    candidates = margins.quantile(torch.linspace(0, 1, 401, dtype=torch.float64))
    harmonic = torch.stack([_harmonic(*_trade_off(trial, candidates)) for trial in trials]).mean(dim=0)
    return float(candidates[harmonic.argmax()])


def _trade_off(trial: Trial, calibrations: Tensor) -> tuple[Tensor, Tensor]:
    """Mean class accuracy of seen and of unseen classes, all competing, at each calibration: (C,) twice."""
    scores, labels, cut = trial
    (best_seen, seen), (best_unseen, unseen) = scores[:, :cut].max(dim=1), scores[:, cut:].max(dim=1)
    to_seen = (best_seen - best_unseen)[:, None] >= calibrations  # (N, C)
    correct = torch.where(to_seen, (seen == labels)[:, None], (unseen + cut == labels)[:, None]).double()
    present = labels.unique()
    recalls = torch.stack([correct[labels == c].mean(dim=0) for c in present])  # (K, C)
    return recalls[present < cut].mean(dim=0), recalls[present >= cut].mean(dim=0)


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return 2 * a * b / (a + b).clamp(min=1e-12)


def _class_accuracy(scores: Tensor, labels: Tensor, where: Tensor) -> float:
    """Accuracy averaged over the classes, on the images selected by `where`, bool (N,)."""
    correct = (scores.argmax(dim=1) == labels)[where].double()
    return float(np.mean([correct[labels[where] == c].mean() for c in labels[where].unique()]))


def stacking_curve(model: ZeroShot, seen: FeatureSplit, unseen: FeatureSplit, points: int = 101) -> pd.DataFrame:
    """Accuracies at every calibration on these splits; for figures, not for choosing a calibration.

    Columns calibration (from minus to plus infinity), seen, unseen (mean class accuracies), harmonic, and area: the
    area under seen against unseen, AUSUC of Chao et al. (2016), constant over the rows.
    """
    parts = [model.predict(split, calibration=0.0) for split in (seen, unseen)]
    scores, labels = torch.cat([one.logits for one in parts]), torch.cat([one.labels for one in parts])
    margins = scores[:, : model.seen].amax(dim=1) - scores[:, model.seen :].amax(dim=1)
    inner = margins.quantile(torch.linspace(0, 1, points, dtype=torch.float64))
    calibrations = torch.cat([torch.tensor([-math.inf]), inner, torch.tensor([math.inf])])
    a, b = _trade_off((scores, labels, model.seen), calibrations)
    columns = {"calibration": calibrations, "seen": a, "unseen": b, "harmonic": _harmonic(a, b)}
    frame = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return frame.assign(area=float(np.trapezoid(frame["seen"], frame["unseen"])))


def zero_shot_table(model: ZeroShot, seen: FeatureSplit, unseen: FeatureSplit) -> pd.DataFrame:
    """Mean class accuracies on test images of seen and of unseen classes (Xian et al. 2018), with 95 % intervals.

    Returns:
        One row a number, with columns setting, measure, value, low, high, n. Settings: "unknown only" (only unseen
        classes compete), "all classes", and "all classes, calibrated"; measures: "known", "unknown" and "harmonic
        mean". The notebook calls seen classes known and unseen ones unknown.
    """
    rows = [("unknown only", "unknown", model.predict(unseen, among="unseen").balanced_accuracy)]
    for setting, calibration in (("all classes", 0.0), ("all classes, calibrated", None)):
        a, b = (model.predict(split, calibration=calibration).balanced_accuracy for split in (seen, unseen))
        rows += [(setting, "known", a), (setting, "unknown", b), (setting, "harmonic mean", harmonic_mean(a, b))]
    return pd.DataFrame([{"setting": setting, "measure": what, **vars(one)} for setting, what, one in rows])


def zero_shot_text(exemplars: Predictions, matrix: Predictions) -> str:
    """Accuracies of exemplars and of ESZSL among unseen classes, their difference, and species that are never named.

    Args:
        exemplars: Predictions of the former, `among="unseen"`.
        matrix: Those of the latter on the same images.
    """
    paired = mcnemar(matrix.correct, exemplars.correct)
    ranked = f"exemplars are {'better' if paired.difference > 0 else 'worse'} than ESZSL"
    ranked = ranked if paired.significant else "the difference between exemplars and ESZSL is inconclusive"
    missed, count = [len(never_named(one)) for one in (exemplars, matrix)], len(exemplars.labels.unique())
    return (
        f"From attributes alone, exemplars name {exemplars.balanced_accuracy} of the images of unknown species "
        f"correctly (mean over classes), and ESZSL {matrix.balanced_accuracy}: {ranked} ({paired}, McNemar's test). "
        f"Species of which no image is named correctly: {missed[0]} of {count} by exemplars, {missed[1]} of {count} by "
        "ESZSL."
    )


def never_named(predictions: Predictions) -> list[str]:
    """Classes with images of which no prediction is correct."""
    missed = set(predictions.labels.tolist()) - set(predictions.labels[predictions.correct].tolist())
    return [predictions.classes[label] for label in sorted(missed)]


def harmonic_mean(a: Interval, b: Interval) -> Interval:
    """Harmonic mean of two independent proportions; its limits combine theirs by the delta method."""
    total = a.value + b.value
    if total == 0:
        return Interval(0.0, 0.0, 2 * a.high * b.high / (a.high + b.high), a.n + b.n)
    slopes = 2 * (b.value / total) ** 2, 2 * (a.value / total) ** 2
    value = 2 * a.value * b.value / total
    low = value - math.hypot(slopes[0] * (a.value - a.low), slopes[1] * (b.value - b.low))
    high = value + math.hypot(slopes[0] * (a.high - a.value), slopes[1] * (b.high - b.value))
    return Interval(value, max(low, 0.0), min(high, 1.0), a.n + b.n)


def predictability(train: FeatureSplit, attributes: pd.DataFrame, folds: int = 10, seed: int = 0) -> pd.Series:
    """How well features predict each attribute of a held-out class: R², at most 1, by cross-validation over classes.

    A ridge regression maps the mean feature of a class to its standardised attributes, with the penalty of the best
    mean R². An attribute that no image shows has an R² of 0 or below.

    Args:
        train: Features of classes, each with some images; at least twice as many classes as folds.
        attributes: (K, A), with a row for each of these classes; other rows are ignored.
        folds: Number of folds of classes.
        seed: Random seed of the folds.

    Returns:
        R² by attribute, in the order of the columns; minus infinity where the classes do not differ.
    """
    if len(train.classes) < 2 * folds:
        raise ValueError(f"{len(train.classes)} classes in {folds} folds; take at most {len(train.classes) // 2} folds")
    x = F.normalize(as_matrix(train.images, "features"), dim=1)
    labels = train.labels.cpu()
    means = torch.stack([x[labels == c].mean(dim=0) for c in range(len(train.classes))])
    means = ((means - means.mean(dim=0)) / _scale(means)).numpy()
    table = attributes.loc[list(train.classes)]
    deviation = table.std(ddof=0)
    differs = deviation > 1e-9 * table.abs().max()
    targets = ((table - table.mean()) / deviation).loc[:, differs].to_numpy()
    parts = KFold(folds, shuffle=True, random_state=seed)
    predicted = (cross_val_predict(Ridge(penalty), means, targets, cv=parts) for penalty in RIDGE_PENALTIES)
    best = max((1 - np.square(p - targets).mean(axis=0) for p in predicted), key=lambda r2: r2.clip(min=0).mean())
    return pd.Series(best, table.columns[differs]).reindex(table.columns, fill_value=-math.inf)


def read_attributes(data: str | Path, classes: Sequence[str]) -> pd.DataFrame:
    """Attributes of classes from the tables of Animals with Attributes 2, in the data's folder or beside it.

    The tables are `classes.txt`, `predicates.txt` and `predicate-matrix-continuous.txt`; "grizzly+bear" there is
    "grizzly bear" here and may be either in `classes`. A missing value, -1 in the matrix, becomes the mean of its
    attribute.

    Args:
        data: Folder or archive of the images.
        classes: Classes to return, in this order.

    Returns:
        (K, A), index = `classes`, columns = attribute, as `fit_zero_shot` takes it.

    Raises:
        FileNotFoundError: the tables are missing; the message names them.
        ValueError: a class has no row, or the tables do not fit each other.
    """
    path = Path(data).expanduser()
    folder = next((one for one in (path, path.parent) if (one / MATRIX).is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"zero-shot learning needs attributes of every class: no {MATRIX} in {path} or beside it. Put there that "
            "of Animals with Attributes 2 with its classes.txt and predicates.txt, or tables of your own in its format"
        )
    named, attributes = (_read_names(folder / f"{kind}.txt") for kind in ("classes", "predicates"))
    matrix = np.loadtxt(folder / MATRIX, ndmin=2)
    if matrix.shape != (len(named), len(attributes)):
        raise ValueError(
            f"{folder / MATRIX} has the shape {matrix.shape}, but beside it are {len(named)} classes and "
            f"{len(attributes)} attributes; take the three files from one archive"
        )
    table = pd.DataFrame(matrix, index=named, columns=attributes).replace(-1.0, np.nan)
    wanted = [name.replace("+", " ") for name in classes]
    if missing := [name for name in wanted if name not in table.index]:
        raise ValueError(f"no attributes of {', '.join(missing)} in {folder / MATRIX}; add their rows")
    return table.fillna(table.mean()).loc[wanted].set_axis(list(classes))


def _read_names(path: Path) -> list[str]:
    """The name in each line, which follows a number."""
    lines = path.read_text("utf-8").splitlines()
    return [line.split(maxsplit=1)[-1].strip().replace("+", " ") for line in lines if line.strip()]


def _unseen_classes(attributes: pd.DataFrame, seen: Sequence[str]) -> list[str]:
    """The unseen classes of a table; raises ValueError if the table has missing rows or values."""
    unseen = [name for name in attributes.index if name not in seen]
    if missing := [name for name in seen if name not in attributes.index]:
        raise ValueError(f"attributes has no row of the seen class {missing[0]!r}; name its rows as the data do")
    if not unseen or len(seen) < 4 or not attributes.index.is_unique or attributes.isna().any(axis=None):
        raise ValueError(
            f"attributes with {len(seen)} seen and {len(unseen)} unseen classes; expected at least 4 and 1, each once, "
            "without missing values"
        )
    return unseen


def _standard_scores(attributes: Tensor, seen: int) -> Tensor:
    """Mean 0 and standard deviation 1 over the seen classes; an attribute that is constant over them becomes 0."""
    deviation = attributes[:seen].std(dim=0, correction=0)
    constant = deviation <= 1e-9 * attributes[:seen].abs().amax(dim=0)
    standard = (attributes - attributes[:seen].mean(dim=0)) / deviation.where(~constant, 1.0)
    return torch.where(constant, 0.0, standard)


def unit_scores(attributes: Tensor, seen: int) -> Tensor:
    """Standard scores, each class at length 1; otherwise classes with large attributes would win."""
    return F.normalize(_standard_scores(attributes, seen), dim=1)


def _scale(x: Tensor) -> float:
    return float((x - x.mean(dim=0)).square().mean().sqrt()) or 1.0
