"""Fitting on validation what turns logits into decisions: the threshold of two classes, and the temperature."""

import numpy as np
import torch
from scipy.optimize import brentq

from imgcls.evaluation.predictions import Predictions
from imgcls.evaluation.statistics import Interval

UNIFORM = 1e-3  # largest difference of two logits after the highest temperature


def fit_threshold(predictions: Predictions) -> float:
    """Threshold with the best balanced accuracy on these predictions of two classes.

    Fit it on validation and apply it to test with `Predictions.with_threshold`. It is the midpoint between the two
    nearest probabilities.
    """
    from sklearn.metrics import roc_curve  # slow to import, needed only here

    score = predictions.probabilities[:, 1].double().numpy()
    false, true, cuts = roc_curve(predictions.labels.numpy(), score, drop_intermediate=False)
    best = int(np.argmax(true - false))
    below = cuts[best + 1] if best + 1 < len(cuts) else 0.0
    return float(np.clip((min(cuts[best], 1.0) + below) / 2, 1e-6, 1 - 1e-6))


def fit_temperature(predictions: Predictions) -> float:
    """Temperature that minimises the cross-entropy of these predictions (Guo et al. 2017).

    Fit it on validation and apply it to test with `Predictions.with_temperature`. The loss is convex in 1 / T, so its
    slope has one root, except in two cases. Without an error, T would be 0 and every confidence 1: the image of the
    lowest confidence then counts once more, with its second class as its label, as n correct of n + 1. If no
    confidence above 1 / K lowers the loss, T is so high that all are equal to UNIFORM.
    """
    logits, labels = predictions.logits.double(), predictions.labels
    if predictions.correct.all() and logits.shape[1] > 1:
        least = logits[predictions.confidence.argmin()]
        logits, labels = torch.cat([logits, least[None]]), torch.cat([labels, least.topk(2).indices[1:]])

    def slope(inverse: float) -> float:
        expected = (logits * (inverse * logits).softmax(dim=1)).sum(dim=1)
        return float((expected - logits.gather(1, labels[:, None])[:, 0]).mean())

    spread = float((logits.amax(dim=1) - logits.amin(dim=1)).max())
    if not spread:
        return 1.0
    low = high = UNIFORM / spread
    while slope(high) < 0 and high * spread < 1e6:  # of tied logits the slope may stay below 0
        high *= 2
    if high == low or slope(high) < 0:
        return 1 / high
    return 1 / brentq(slope, low, high)


def calibration_gap(predictions: Predictions) -> Interval:
    """Mean confidence minus accuracy; its limits are those of the accuracy's 95 % Wilson interval."""
    confidence, accuracy = float(predictions.confidence.double().mean()), predictions.accuracy_interval
    return Interval(
        confidence - accuracy.value, confidence - accuracy.high, confidence - accuracy.low, len(predictions)
    )
