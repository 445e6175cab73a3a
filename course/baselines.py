"""Baselines for trained networks: simple features, a linear model on them, and a loss with a lower bound."""

import math
import warnings
from collections.abc import Callable, Mapping

import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from imgcls.data.batches import ImageSet
from imgcls.evaluation import Predictions

BINS = 4  # per channel of a colour histogram
SIDE = 32  # pixels
INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2)  # values of C that `linear` chooses from


def pixels(images: Tensor) -> Tensor:
    """Raw pixels at 32 px in [0, 1], float32 (N, C * 32 * 32), of images uint8 (N, C, H, W)."""
    return F.adaptive_avg_pool2d(images.float(), SIDE).flatten(1) / 255


def histograms(images: Tensor) -> Tensor:
    """Share of the pixels in each of 4³ colours, float32 (N, 64), of images uint8 (N, 3, H, W)."""
    weights = torch.tensor([BINS * BINS, BINS, 1]).view(3, 1, 1)
    codes = (images.long() * BINS // 256 * weights).sum(dim=1).flatten(1)  # (N, H * W)
    counts = torch.zeros(len(codes), BINS**3).scatter_add_(1, codes, torch.ones(codes.shape))
    return counts / codes.shape[1]


def linear(train: ImageSet, test: ImageSet, features: Callable[[Tensor], Tensor]) -> Predictions:
    """Predictions on the test images of a logistic regression on features of the training images.

    The penalty is chosen on the last fifth of train. A fit that has not converged after 200 steps is used anyway.

    Args:
        train: `.images`, `.labels` and `.classes`.
        test: likewise.
        features: images -> float (N, D), such as `pixels` or `histograms`.
    """
    x, y, cut = features(train.images).numpy(), train.labels.numpy(), len(train.labels) * 4 // 5
    models = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=200)) for c in INVERSE_PENALTIES]
    with threadpool_limits(1), warnings.catch_warnings():  # small steps are slower with several threads
        warnings.simplefilter("ignore", ConvergenceWarning)
        best = max(models, key=lambda model: model.fit(x[:cut], y[:cut]).score(x[cut:], y[cut:])).fit(x, y)
        found = torch.from_numpy(best.decision_function(features(test.images).numpy())).float()
    if found.dim() == 1:  # two classes: the logit of the second
        found = torch.stack([torch.zeros_like(found), found], dim=1)
    logits = torch.full((len(test.labels), len(train.classes)), float("-inf"))  # stays for classes that train lacks
    logits[:, torch.from_numpy(best.classes_)] = found
    return Predictions(logits, test.labels, train.classes, getattr(test, "names", ()))


def scores(predictions: Mapping[tuple[str, str, str], Predictions]) -> pd.DataFrame:
    """Accuracies as `course.plots.controls` draws them.

    Args:
        predictions: (control, setting, method) -> predictions on test images.

    Returns:
        One row per entry: control, setting, method, and value, low, high, n of the accuracy with its interval.
    """
    names = ("control", "setting", "method")
    return pd.DataFrame(
        [dict(zip(names, key, strict=True)) | vars(one.accuracy_interval) for key, one in predictions.items()]
    )


def sigmoid_before_loss(create: Callable[[], nn.Module]) -> nn.Module:
    """A deliberate mistake: a sigmoid between the logits and the cross-entropy, which expects logits.

    The loss then cannot fall below `sigmoid_floor`, and the gradient of a confident prediction vanishes.

    Args:
        create: makes the network, an nn.Sequential such as `create_model` returns.
    """
    model = create()
    model.add_module("sigmoid", nn.Sigmoid())
    return model


def sigmoid_floor(classes: int) -> float:
    """Lowest cross-entropy with logits in [0, 1], ln((e + K - 1) / e): 1 for the true class, 0 for all others."""
    return math.log((math.e + classes - 1) / math.e)
