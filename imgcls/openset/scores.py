"""Scores for detecting unknown classes, higher for known images, fitted on training features."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgcls.evaluation import FeatureSplit
from imgcls.messages import UserError

Detector = Callable[[Tensor], Tensor]  # features (N, D) -> scores float64 (N,)

BASELINE = "max softmax"  # every other score is compared with it (Hendrycks and Gimpel 2017)
NEIGHBOUR = 50  # the value of Sun et al. 2022 for small images
CHUNK = 1024  # number of images whose distances to all training features are in memory at once


def max_softmax(logits: Tensor) -> Tensor:
    """Probability of the predicted class, the baseline of Hendrycks and Gimpel 2017: (N, K) to float64 (N,)."""
    return as_matrix(logits, "logits").softmax(dim=1).amax(dim=1)


def max_logit(logits: Tensor) -> Tensor:
    """The largest logit (Hendrycks et al. 2022), not normalised by the other classes: (N, K) to (N,)."""
    return as_matrix(logits, "logits").amax(dim=1)


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Negative free energy, T · logsumexp(logits / T) (Liu et al. 2020): (N, K) to float64 (N,)."""
    if not temperature > 0:
        raise UserError(f"temperature {temperature!r} is not above 0; 1 is the paper's choice")
    return temperature * (as_matrix(logits, "logits") / temperature).logsumexp(dim=1)


def auxiliary_log_odds(logits: Tensor, known: int) -> Tensor:
    """Log odds of the known classes against the auxiliary classes, (N, K) to float64 (N,).

    Auxiliary classes are trained with outputs of their own beside the known ones, whose outputs come first. Outlier
    exposure (Hendrycks et al. 2019) is another method: it trains towards a uniform output.

    Raises:
        ValueError: no class is known, or no class is auxiliary.
    """
    z = as_matrix(logits, "logits")
    if not 0 < known < z.shape[1]:
        raise UserError(
            f"known = {known} of {z.shape[1]} classes; choose 1 to {z.shape[1] - 1}, so that auxiliary classes remain"
        )
    return z[:, :known].logsumexp(dim=1) - z[:, known:].logsumexp(dim=1)


def knn(train: Tensor, k: int = NEIGHBOUR) -> Detector:
    """Minus the distance to the k-th nearest training feature, all features at length 1 (Sun et al. 2022).

    Args:
        train: training features (N, D).
        k: rank of the neighbour; at most the number of training features.
    """
    bank = F.normalize(as_matrix(train, "training features"), dim=1)
    if not 1 <= k <= len(bank):
        raise UserError(f"k = {k} is impossible with {len(bank)} training features; choose 1 to {len(bank)}")

    def score(features: Tensor) -> Tensor:
        queries = F.normalize(as_matrix(features, "features", bank.shape[1]), dim=1)
        nearest = [(chunk @ bank.T).topk(k, dim=1).values[:, -1] for chunk in queries.split(CHUNK)]
        return -(2 - 2 * torch.cat(nearest)).clamp(min=0).sqrt()

    return score


def nearness(x: Tensor, points: Tensor) -> Tensor:
    """Minus the squared distance of each row (N, D) to each point (K, D): (N, K)."""
    exact = "donot_use_mm_for_euclid_dist"  # the matrix product would lose half of the digits
    return -torch.cdist(x, points, compute_mode=exact).square()


def mahalanobis(train: Tensor, labels: Tensor, shrinkage: float | None = None) -> Detector:
    """Minus the squared Mahalanobis distance to the nearest class mean, one covariance for all (Lee et al. 2018).

    Args:
        train: training features (N, D).
        labels: their classes, int64 (N,).
        shrinkage: weight of a multiple of the identity in the covariance, 0 in the paper; None estimates it (Ledoit
            and Wolf 2004), which gives almost 0 if images outnumber dimensions.

    Raises:
        ValueError: the covariance is singular, for instance without shrinkage on few images or constant features.
    """
    x = as_matrix(train, "training features")
    classes, y = labels.cpu().unique(return_inverse=True)
    means = torch.stack([x[y == c].mean(dim=0) for c in range(len(classes))])
    within = x - means[y]
    if shrinkage is None:
        from sklearn.covariance import ledoit_wolf  # slow to import, needed only here

        covariance = torch.from_numpy(ledoit_wolf(within.numpy(), assume_centered=True)[0])
    else:
        covariance = (1 - shrinkage) * within.T @ within / len(x)
        covariance += shrinkage * within.square().mean() * torch.eye(x.shape[1], dtype=x.dtype)
    root, failed = torch.linalg.cholesky_ex(covariance)
    if failed or root.diagonal().min() < 1e-7 * root.diagonal().max():
        raise UserError(
            f"the covariance of {len(x)} features of {x.shape[1]} dimensions has no inverse; "
            f"use a shrinkage between 0 and 1 instead of {shrinkage}, or None to have it chosen"
        )
    whitened = torch.linalg.solve_triangular(root, means.T, upper=False).T  # (K, D)

    def score(features: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(root, as_matrix(features, "features", len(root)).T, upper=False).T
        return nearness(z, whitened).amax(dim=1)

    return score


def vim(train: Tensor, weight: Tensor, bias: Tensor | None = None, dim: int | None = None) -> Detector:
    """Virtual-logit matching (Wang et al. 2022): energy minus the scaled residual outside the principal subspace.

    The score decreases as the paper's probability of the virtual logit increases. The origin is where all logits are
    0, and alpha makes the mean virtual logit of the training images equal to their mean largest logit.

    Args:
        train: training features (N, D).
        weight: of the classifier (K, D).
        bias: of the classifier (K,); None is 0.
        dim: dimension of the principal subspace; None is half of D, about the paper's share, or half of N if smaller.

    Raises:
        ValueError: `dim` is not between 0 and D, or the training features have no residual or no positive alpha.
    """
    x, w = as_matrix(train, "training features"), as_matrix(weight, "weight")
    b = torch.zeros(len(w), dtype=torch.float64) if bias is None else bias.detach().cpu().double()
    dim = min(x.shape) // 2 if dim is None else dim
    if not 0 < dim < x.shape[1]:
        raise UserError(f"dim = {dim} leaves no residual of {x.shape[1]} features; choose 1 to {x.shape[1] - 1}")
    # Trained rows nearly sum to 0: float32 rounding errors must not count as another direction.
    origin = -torch.linalg.pinv(w, rtol=max(w.shape) * torch.finfo(torch.float32).eps) @ b
    centred = x - origin
    off = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, : x.shape[1] - dim]  # ascending: the least first
    largest, residual = (x @ w.T + b).amax(dim=1).mean(), (centred @ off).norm(dim=1).mean()
    if residual <= 1e-7 * centred.norm(dim=1).mean() or largest <= 0:
        raise UserError(
            f"the training features have a mean residual of {residual:.3g} and a mean largest logit of {largest:.3g}, "
            "but both must be positive: lower dim for the first; for the second subtract their mean over the classes "
            "from weight and bias, which leaves the softmax unchanged"
        )
    alpha = largest / residual

    def score(features: Tensor) -> Tensor:
        f = as_matrix(features, "features", x.shape[1])
        return (f @ w.T + b).logsumexp(dim=1) - alpha * ((f - origin) @ off).norm(dim=1)

    return score


def fit_detectors(
    train: FeatureSplit, classifier: nn.Linear, k: int | None = None, known: int | None = None
) -> dict[str, Detector]:
    """Every score by name as a function of features, the baseline first.

    Args:
        train: training features of the known classes, from `evaluation.extract_features`.
        classifier: the linear layer that computes their logits, such as `models.head(model)`.
        k: neighbour of KNN; None is 50, or the size of the smallest class where that is less.
        known: number of outputs of known classes, which come first, where the network was also trained on
            auxiliary classes. It adds "auxiliary log odds"; all other scores then use the known classes only.
    """
    if not isinstance(classifier, nn.Linear) or classifier.in_features != train.images.shape[1]:
        raise UserError(
            f"classifier is {classifier}, but must be linear on {train.images.shape[1]} features: pass models.head of "
            "the model whose models.backbone computed the features, or call the scores one by one"
        )
    weights = classifier.weight.detach().cpu().double()
    biases = None if classifier.bias is None else classifier.bias.detach().cpu().double()
    weight, bias = weights[:known], biases if biases is None else biases[:known]
    smallest = int(train.labels.unique(return_counts=True)[1].min())

    def on_logits(score: Detector, weight: Tensor = weight, bias: Tensor | None = bias) -> Detector:
        return lambda features: score(F.linear(as_matrix(features, "features", weight.shape[1]), weight, bias))

    detectors = {
        BASELINE: on_logits(max_softmax),
        "max logit": on_logits(max_logit),
        "energy": on_logits(energy),
        "KNN": knn(train.images, min(NEIGHBOUR, smallest) if k is None else k),
        "Mahalanobis": mahalanobis(train.images, train.labels),
        "ViM": vim(train.images, weight, bias),
    }
    if known is not None:
        detectors["auxiliary log odds"] = on_logits(partial(auxiliary_log_odds, known=known), weights, biases)
    return detectors


def unknown_scores(detectors: Mapping[str, Detector], features: Tensor) -> dict[str, Tensor]:
    """Score of every detector on the same features (N, D): name -> float64 (N,)."""
    return {name: score(features) for name, score in detectors.items()}


def as_matrix(values: Tensor, what: str, width: int | None = None) -> Tensor:
    """Float64 on the CPU, checked to be (N, width) and finite."""
    x = values.detach().cpu().double()
    if x.ndim != 2 or not len(x) or (width is not None and x.shape[1] != width):
        raise UserError(f"{what} of shape {tuple(x.shape)}, expected (N, {width or 'D'}) with N at least 1")
    if not x.isfinite().all():
        raise UserError(f"{int((~x.isfinite().all(dim=1)).sum())} of {len(x)} rows of the {what} are not finite")
    return x
