"""Knowing what one does not know: scores that tell unknown classes, their measures, and zero-shot learning from traits.

Every score is higher for what looks more like something known, and an image counts as known where its score reaches
the threshold. Detectors are fitted on training features, thresholds on known images: no unknown image takes part.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import expit, logit
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_curve
from torch import Tensor, nn

from imgcls.evaluation import Features, Predictions
from imgcls.reproducibility import generator
from imgcls.statistics import Interval, PairedTest, mcnemar, wilson

Detector = Callable[[Tensor], Tensor]  # features (N, D) -> scores float64 (N,)

BASELINE = "max softmax"  # what every other score is measured against (Hendrycks and Gimpel 2017)
NEIGHBOUR = 50  # Sun et al. 2022 on small images
CHUNK = 1024  # images whose distances to all of training are in memory at once
STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # of ESZSL's penalties, for each image and each class
MATRIX = "predicate-matrix-continuous.txt"
KEPT_ASIDE = 0.2  # of the images of each class: the calibration is chosen on them


# ------------------------------------------------------------------ scores
def max_softmax(logits: Tensor) -> Tensor:
    """Probability of the predicted class, the baseline of Hendrycks and Gimpel 2017: (N, K) to float64 (N,)."""
    return _matrix(logits, "logits").softmax(dim=1).amax(dim=1)


def max_logit(logits: Tensor) -> Tensor:
    """The largest logit (Hendrycks et al. 2022), which the other classes do not normalise away: (N, K) to (N,)."""
    return _matrix(logits, "logits").amax(dim=1)


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Negative free energy, T · logsumexp(logits / T) (Liu et al. 2020): (N, K) to float64 (N,)."""
    if not temperature > 0:
        raise ValueError(f"temperature {temperature!r} is not above 0; 1 is the paper's choice")
    return temperature * (_matrix(logits, "logits") / temperature).logsumexp(dim=1)


def knn(train: Tensor, k: int = NEIGHBOUR) -> Detector:
    """Minus the distance to the k-th nearest training feature, all features at length 1 (Sun et al. 2022).

    Args:
        train: training features (N, D).
        k: which neighbour; at most the number of training features.
    """
    bank = F.normalize(_matrix(train, "training features"), dim=1)
    if not 1 <= k <= len(bank):
        raise ValueError(f"k = {k} is no neighbour among {len(bank)} training features; choose 1 to {len(bank)}")

    def score(features: Tensor) -> Tensor:
        queries = F.normalize(_matrix(features, "features", bank.shape[1]), dim=1)
        nearest = [(chunk @ bank.T).topk(k, dim=1).values[:, -1] for chunk in queries.split(CHUNK)]
        return -(2 - 2 * torch.cat(nearest)).clamp(min=0).sqrt()

    return score


def mahalanobis(train: Tensor, labels: Tensor, shrinkage: float | None = None) -> Detector:
    """Minus the squared Mahalanobis distance to the nearest class mean, one covariance for all (Lee et al. 2018).

    Args:
        train: training features (N, D).
        labels: their classes, int64 (N,).
        shrinkage: share of a multiple of the identity in the covariance; None lets Ledoit and Wolf (2004) choose,
            who choose next to none where images outnumber dimensions. 0 is the paper's.

    Raises:
        ValueError: the covariance cannot be inverted, as without shrinkage on few images or constant features.
    """
    x = _matrix(train, "training features")
    classes, y = labels.cpu().unique(return_inverse=True)
    means = torch.stack([x[y == c].mean(dim=0) for c in range(len(classes))])
    within = x - means[y]
    if shrinkage is None:
        covariance = torch.from_numpy(ledoit_wolf(within.numpy(), assume_centered=True)[0])
    else:
        covariance = (1 - shrinkage) * within.T @ within / len(x)
        covariance += shrinkage * within.square().mean() * torch.eye(x.shape[1], dtype=x.dtype)
    root, failed = torch.linalg.cholesky_ex(covariance)
    if failed or root.diagonal().min() < 1e-7 * root.diagonal().max():
        raise ValueError(
            f"the covariance of {len(x)} features of {x.shape[1]} dimensions has no inverse; "
            f"use a shrinkage between 0 and 1 instead of {shrinkage}, or None to have it chosen"
        )
    whitened = torch.linalg.solve_triangular(root, means.T, upper=False).T  # (K, D)

    def score(features: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(root, _matrix(features, "features", len(root)).T, upper=False).T
        exact = "donot_use_mm_for_euclid_dist"  # the other way loses half of the digits
        return -torch.cdist(z, whitened, compute_mode=exact).amin(dim=1).square()

    return score


def vim(train: Tensor, weight: Tensor, bias: Tensor | None = None, dim: int | None = None) -> Detector:
    """Virtual-logit matching (Wang et al. 2022): energy minus what of a feature lies off the principal space.

    The paper's probability of the virtual logit falls where this score rises. The origin is where all logits are 0,
    and alpha makes the virtual logit of the training images as large on average as their largest logit.

    Args:
        train: training features (N, D).
        weight: of the classifier (K, D).
        bias: of the classifier (K,); None is 0.
        dim: of the principal space; half of D without it, about the paper's share, or half of N where that is less.

    Raises:
        ValueError: the dimension is not between 0 and D, or training leaves no residual or no positive alpha.
    """
    x, w = _matrix(train, "training features"), _matrix(weight, "weight")
    b = torch.zeros(len(w), dtype=torch.float64) if bias is None else bias.detach().cpu().double()
    dim = min(x.shape) // 2 if dim is None else dim
    if not 0 < dim < x.shape[1]:
        raise ValueError(f"dim = {dim} leaves no residual of {x.shape[1]} features; choose 1 to {x.shape[1] - 1}")
    # Trained rows nearly add up to 0: rounding of float32 weights must not count as a direction of its own.
    origin = -torch.linalg.pinv(w, rtol=max(w.shape) * torch.finfo(torch.float32).eps) @ b
    centred = x - origin
    off = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, : x.shape[1] - dim]  # ascending: the least first
    largest, residual = (x @ w.T + b).amax(dim=1).mean(), (centred @ off).norm(dim=1).mean()
    if residual <= 1e-7 * centred.norm(dim=1).mean() or largest <= 0:
        raise ValueError(
            f"the training features have a mean residual of {residual:.3g} and a mean largest logit of {largest:.3g}, "
            "but both must be positive: lower dim for the first; for the second take the mean over the classes off "
            "weight and bias, which no softmax notices"
        )
    alpha = largest / residual

    def score(features: Tensor) -> Tensor:
        f = _matrix(features, "features", x.shape[1])
        return (f @ w.T + b).logsumexp(dim=1) - alpha * ((f - origin) @ off).norm(dim=1)

    return score


def fit_detectors(train: Features, classifier: nn.Linear, k: int | None = None) -> dict[str, Detector]:
    """Every score by name as a function of features, the baseline first.

    Args:
        train: training features of the known classes, from `evaluation.features`.
        classifier: the linear layer that gives their logits, such as `models.head(model)`.
        k: neighbour of KNN; None is 50, or the size of the smallest class where that is less.
    """
    if not isinstance(classifier, nn.Linear) or classifier.in_features != train.images.shape[1]:
        raise ValueError(
            f"classifier is {classifier}, but must be linear on {train.images.shape[1]} features: give models.head of "
            "the model whose models.backbone gave the features, or call the scores one by one"
        )
    weight = classifier.weight.detach().cpu().double()
    bias = None if classifier.bias is None else classifier.bias.detach().cpu().double()
    smallest = int(train.labels.unique(return_counts=True)[1].min())

    def on_logits(score: Detector) -> Detector:
        return lambda features: score(F.linear(_matrix(features, "features", weight.shape[1]), weight, bias))

    return {
        BASELINE: on_logits(max_softmax),
        "max logit": on_logits(max_logit),
        "energy": on_logits(energy),
        "KNN": knn(train.images, min(NEIGHBOUR, smallest) if k is None else k),
        "Mahalanobis": mahalanobis(train.images, train.labels),
        "ViM": vim(train.images, weight, bias),
    }


def unknown_scores(detectors: Mapping[str, Detector], features: Tensor) -> dict[str, Tensor]:
    """What every detector says about the same features (N, D): name -> float64 (N,)."""
    return {name: score(features) for name, score in detectors.items()}


def _matrix(values: Tensor, what: str, width: int | None = None) -> Tensor:
    """Float64 on the CPU, checked to be (N, width) and finite."""
    x = values.detach().cpu().double()
    if x.ndim != 2 or not len(x) or (width is not None and x.shape[1] != width):
        raise ValueError(f"{what} of shape {tuple(x.shape)}, expected (N, {width or 'D'}) with N at least 1")
    if not x.isfinite().all():
        raise ValueError(f"{int((~x.isfinite().all(dim=1)).sum())} of {len(x)} rows of the {what} are not finite")
    return x


# ------------------------------------------------------------------ measures
@dataclass(frozen=True)
class AurocTest:
    """AUROC of b minus AUROC of a on the same images, and how likely so large a gap is by chance."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int

    decided = PairedTest.decided
    __str__ = PairedTest.__str__


def auroc(known: ArrayLike, unknown: ArrayLike, confidence: float = 0.95) -> Interval:
    """How often a known image scores above an unknown one, ties counting half, with DeLong's interval.

    The interval is symmetric on the logit scale (DeLong et al. 1988; Pepe 2003), so it stays inside [0, 1]. Where the
    two are parted without a single error DeLong's variance is 0; the limit is then Wilson's for as many trials as
    there are images of the rarer kind, which is how many disjoint pairs there are. Classes count as given, images as
    drawn from them; `n` counts the images of both kinds.
    """
    known, unknown = _scores(known, "known"), _scores(unknown, "unknown")
    value, above, below = _placements(known, unknown)
    n, rarer = known.size + unknown.size, min(known.size, unknown.size)
    if value in (0.0, 1.0):
        limits = wilson(rarer if value else 0, rarer, confidence)
        return Interval(value, limits.low, limits.high, n)
    deviation = math.sqrt(above.var(ddof=1) / known.size + below.var(ddof=1) / unknown.size)
    half = stats.norm.ppf(0.5 + confidence / 2) * deviation / (value * (1 - value))
    return Interval(value, float(expit(logit(value) - half)), float(expit(logit(value) + half)), n)


def compare_auroc(
    known_a: ArrayLike, unknown_a: ArrayLike, known_b: ArrayLike, unknown_b: ArrayLike, confidence: float = 0.95
) -> AurocTest:
    """Two scores on the same images, in the same order: AUROC of b minus that of a (DeLong et al. 1988)."""
    a = [_scores(known_a, "known"), _scores(unknown_a, "unknown")]
    b = [_scores(known_b, "known"), _scores(unknown_b, "unknown")]
    sizes = [len(part) for part in a]
    if sizes != [len(part) for part in b]:
        raise ValueError(f"a paired test needs the same images twice, got {sizes} and {[len(part) for part in b]}")
    (first, *before), (second, *after) = _placements(*a), _placements(*b)
    gap = second - first
    gains = [new - old for old, new in zip(before, after, strict=True)]
    deviation = math.sqrt(sum(gain.var(ddof=1) / gain.size for gain in gains))
    if deviation == 0:
        return AurocTest(gap, gap, gap, 1.0 if gap == 0 else 0.0, sum(sizes))
    half = stats.norm.ppf(0.5 + confidence / 2) * deviation
    return AurocTest(gap, gap - half, gap + half, float(2 * stats.norm.sf(abs(gap) / deviation)), sum(sizes))


def fpr_at_tpr(known: ArrayLike, unknown: ArrayLike, tpr: float = 0.95, confidence: float = 0.95) -> Interval:
    """Share of the unknown images that pass for known at the threshold that keeps `tpr` of the known ones.

    The interval joins the doubt about the share with that about the threshold by the method of variance estimates
    recovery (Zou and Donner 2008): Wilson's for either, the threshold's read off at its limits.
    With fewer than a few hundred known images it covers a little less than it says. `n` counts unknowns.
    """
    known, unknown = _scores(known, "known"), _scores(unknown, "unknown")
    passed = int((unknown >= threshold_keeping(known, tpr)).sum())
    share = wilson(passed, unknown.size, confidence)
    kept = wilson(round(tpr * known.size), known.size, confidence)
    strict, lax = ((unknown >= threshold_keeping(known, keep)).mean() for keep in (kept.low, kept.high))
    low = share.value - math.hypot(share.value - share.low, max(share.value - strict, 0))
    high = share.value + math.hypot(share.high - share.value, max(lax - share.value, 0))
    return Interval(share.value, max(low, 0.0), min(high, 1.0), unknown.size)


def threshold_keeping(known: ArrayLike, keep: float = 0.95) -> float:
    """The highest threshold that at least `keep` of these scores reach; give it known validation images only."""
    known = np.sort(_scores(known, "known", 1))
    if not 0 < keep <= 1:
        raise ValueError(f"keep = {keep!r} is no share of the known images; choose above 0 and at most 1, such as 0.95")
    return float(known[known.size - math.ceil(keep * known.size - 1e-9)])


def detection_curve(known: ArrayLike, unknown: ArrayLike) -> pd.DataFrame:
    """ROC curve with known images as the positives: columns threshold (falling), known_kept, unknown_kept."""
    known, unknown = _scores(known, "known", 1), _scores(unknown, "unknown", 1)
    truth = np.repeat([1, 0], [known.size, unknown.size])
    passed, kept, thresholds = roc_curve(truth, np.concatenate([known, unknown]))
    return pd.DataFrame({"threshold": thresholds, "known_kept": kept, "unknown_kept": passed})


def detection_table(scores: Mapping[str, Tensor], is_unknown: Tensor, baseline: str = BASELINE) -> pd.DataFrame:
    """Every score on the same images, the baseline first and the others beside it.

    Args:
        scores: name -> (N,), from `unknown_scores`.
        is_unknown: whether each image is of an unknown class, bool (N,).
        baseline: the score that the others are compared with.

    Returns:
        One row a score: method; auroc, low, high; fpr95, fpr95_low, fpr95_high; gain over the baseline's AUROC with
        gain_low, gain_high and p_value (DeLong, not corrected for the number of scores; NaN for the baseline); n.
    """
    if baseline not in scores:
        raise ValueError(f"no score {baseline!r} to compare with; there are {', '.join(map(repr, scores))}")
    if wrong := {name: len(score) for name, score in scores.items() if len(score) != len(is_unknown)}:
        raise ValueError(f"is_unknown has {len(is_unknown)} images, but scores have other numbers of them: {wrong}")
    parts = {name: (score[~is_unknown], score[is_unknown]) for name, score in scores.items()}
    rows = []
    for name in [baseline, *(name for name in parts if name != baseline)]:
        area, passed = auroc(*parts[name]), fpr_at_tpr(*parts[name])
        row = {"method": name, "auroc": area.value, "low": area.low, "high": area.high}
        row |= {"fpr95": passed.value, "fpr95_low": passed.low, "fpr95_high": passed.high}
        if name != baseline:
            test = compare_auroc(*parts[baseline], *parts[name])
            row |= {"gain": test.difference, "gain_low": test.low, "gain_high": test.high, "p_value": test.p_value}
        rows.append(row | {"n": area.n})
    columns = ["method", "auroc", "low", "high", "fpr95", "fpr95_low", "fpr95_high"]
    return pd.DataFrame(rows, columns=[*columns, "gain", "gain_low", "gain_high", "p_value", "n"])


def open_set_accuracy(logits: Tensor, labels: Tensor, scores: Tensor, threshold: float) -> pd.DataFrame:
    """What it is worth to say "unknown" below a threshold, on a test that mixes known and unknown classes.

    Args:
        logits: (N, K) over the known classes.
        labels: int64 (N,); every label outside 0 to K - 1 is an unknown class.
        scores: (N,), higher for what looks known.
        threshold: chosen on known validation images by `threshold_keeping`.

    Returns:
        One row a number, with columns what, value, low, high (Wilson), n, p_value: accuracy over all images without
        and with "unknown" (exact McNemar test of the two), the ceiling of any model that never says it (a fact about
        this test, without interval), known images still right, and unknown images caught.
    """
    unknown = (labels < 0) | (labels >= logits.shape[1])
    closed, kept = logits.argmax(dim=1) == labels, scores >= threshold
    opened = torch.where(unknown, ~kept, closed & kept)
    n, known_n, unknown_n = len(labels), int((~unknown).sum()), int(unknown.sum())
    if not known_n or not unknown_n:
        raise ValueError(f"{known_n} known and {unknown_n} unknown images; the test must have both")
    ceiling = Interval(known_n / n, float("nan"), float("nan"), n)
    counted = {
        "closed set": wilson(int(closed.sum()), n),
        "ceiling of a closed set": ceiling,
        'with "unknown"': wilson(int(opened.sum()), n),
        "known, closed set": wilson(int(closed.sum()), known_n),
        'known, with "unknown"': wilson(int(opened[~unknown].sum()), known_n),
        "unknown caught": wilson(int(opened[unknown].sum()), unknown_n),
    }
    frame = pd.DataFrame([{"what": what, **vars(one)} for what, one in counted.items()])
    p_value = mcnemar(closed.numpy(), opened.numpy()).p_value
    return frame.assign(p_value=[p_value if what == 'with "unknown"' else float("nan") for what in frame["what"]])


def _scores(values: ArrayLike, what: str, least: int = 2) -> np.ndarray:
    found = torch.as_tensor(values).detach().cpu().double().numpy()
    if found.ndim != 1 or found.size < least:
        raise ValueError(f"{what} scores of shape {found.shape}; expected (N,) with N at least {least}")
    if missing := int(np.isnan(found).sum()):
        raise ValueError(f"{missing} of {found.size} {what} scores are not a number, so they have no rank")
    return found


def _placements(known: np.ndarray, unknown: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUROC, and for each image the share of the other kind on the right side of it: (N,) and (M,)."""
    ranks = stats.rankdata(np.concatenate([known, unknown]))
    above = (ranks[: known.size] - stats.rankdata(known)) / unknown.size
    below = 1 - (ranks[known.size :] - stats.rankdata(unknown)) / known.size
    return float(above.mean()), above, below


# ------------------------------------------------------------------ zero-shot from traits
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
    gram, cross = _moments(_matrix(features, "features"), labels.cpu(), _matrix(traits_seen, "traits"))
    t = traits_seen.detach().cpu().double()
    return _ridge(t.T @ t, lam, _ridge(gram, gamma, cross).T).T


def _moments(x: Tensor, labels: Tensor, traits: Tensor) -> tuple[Tensor, Tensor]:
    """XᵀX (D, D) and XᵀYT (D, A), with Y 1 for the class of the image and -1 for the others."""
    return x.T @ x, x.T @ (2 * traits[labels] - traits.sum(dim=0))


def _ridge(gram: Tensor, strength: float, b: Tensor) -> Tensor:
    return torch.cholesky_solve(b, torch.linalg.cholesky(gram + strength * torch.eye(len(gram), dtype=gram.dtype)))


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """Compatibility of images with classes of which only the traits are known; seen classes come first."""

    classes: tuple[str, ...] = field(repr=False)  # seen, then unseen
    seen: int  # how many are seen
    weights: Tensor = field(repr=False)  # float64 (D, A)
    traits: Tensor = field(repr=False)  # float64 (classes, A), standardised by the seen classes, each of length 1
    centre: Tensor = field(repr=False)  # mean training feature (D,)
    scale: float  # deviation of the training features, one for all dimensions
    gamma: float
    lam: float
    calibration: float  # taken off the scores of seen classes where all classes compete
    trials: pd.DataFrame = field(repr=False)  # gamma, lam (for each image, each class) and accuracy on held-out classes

    def scores(self, features: Tensor) -> Tensor:
        """Compatibility with every class: features (N, D) to float64 (N, classes)."""
        x = (_matrix(features, "features", len(self.centre)) - self.centre) / self.scale
        return x @ self.weights @ self.traits.T

    def answers(self, split: Features, among: str = "all", calibration: float | None = None) -> Predictions:
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


def fit_zero_shot(train: Features, traits: pd.DataFrame, seed: int = 0) -> ZeroShot:
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
    unseen = [name for name in traits.index if name not in seen]
    if missing := [name for name in seen if name not in traits.index]:
        raise ValueError(f"traits has no row of the seen class {missing[0]!r}; name its rows as the data do")
    if not unseen or len(seen) < 4 or not traits.index.is_unique or traits.isna().any(axis=None):
        raise ValueError(
            f"traits with {len(seen)} seen and {len(unseen)} unseen classes; expected at least 4 and 1, each once, "
            "without missing values"
        )
    raw = torch.tensor(traits.loc[[*seen, *unseen]].to_numpy(float))  # (K, A)
    x, labels = _matrix(train.images, "features"), train.labels.cpu()
    folds = _folds(labels, len(seen), len(unseen), seed)
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
    return ZeroShot(
        (*seen, *unseen), len(seen), weights, t, centre, scale, gamma, lam, choose_calibration(chosen), trials
    )


Fold = tuple[Tensor, Tensor]  # classes that play unseen; images kept aside from training, bool (N,)
Trial = tuple[Tensor, Tensor, int]  # compatibility (N, K), labels (N,), how many of the classes are seen; those first


def _folds(labels: Tensor, seen: int, unseen: int, seed: int) -> list[Fold]:
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
    for gamma in gammas:
        projected = others @ _ridge(gram, gamma * len(known), cross)  # (N, A)
        for lam in lams:
            yield gamma, lam, projected @ _ridge(traits_gram, lam * len(rest), t.T), y[~learn], len(rest)


def _standardized(traits: Tensor, seen: int) -> Tensor:
    """Mean 0 and deviation 1 over the seen classes, then each class at length 1, or those with large traits win.

    A trait that all seen classes share teaches nothing and becomes 0.
    """
    deviation = traits[:seen].std(dim=0, correction=0)
    constant = deviation <= 1e-9 * traits[:seen].abs().amax(dim=0)
    standard = (traits - traits[:seen].mean(dim=0)) / deviation.where(~constant, 1.0)
    return F.normalize(torch.where(constant, 0.0, standard), dim=1)


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


def stacking_curve(model: ZeroShot, seen: Features, unseen: Features, points: int = 101) -> pd.DataFrame:
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


def zero_shot_table(model: ZeroShot, seen: Features, unseen: Features) -> pd.DataFrame:
    """Mean class accuracies on test images of seen and of unseen classes (Xian et al. 2018), with 95 % intervals.

    Returns:
        One row a number, with columns setting, measure, value, low, high, n. Settings: "unseen only" (only unseen
        classes compete), "all classes", and "all classes, calibrated"; measures: "seen", "unseen", "harmonic mean".
    """
    rows = [("unseen only", "unseen", model.answers(unseen, among="unseen").balanced)]
    for setting, calibration in (("all classes", 0.0), ("all classes, calibrated", None)):
        a, b = (model.answers(split, calibration=calibration).balanced for split in (seen, unseen))
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
