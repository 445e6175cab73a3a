"""Fitting on validation what turns logits into decisions: the threshold of two classes, and the temperature."""

import numpy as np
from scipy.optimize import minimize_scalar

from imgcls.evaluation.predictions import Predictions


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

    Fit it on validation and apply it to test with `Predictions.with_temperature`.
    """
    found = minimize_scalar(
        lambda log_t: predictions.with_temperature(float(np.exp(log_t))).loss, bounds=(-3, 3), method="bounded"
    )
    return float(np.exp(found.x))
