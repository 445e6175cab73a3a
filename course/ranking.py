"""Threshold and ranking of two classes, kept apart: log-odds, AUROC, and the best that any threshold reaches."""

import numpy as np
from torch import Tensor

from imgcls.evaluation import Predictions, fit_threshold
from imgcls.messages import UserError


def log_odds(predictions: Predictions) -> Tensor:
    """Log-odds of the second of two classes, float32 (N,): positive where the network predicts that class.

    Raises:
        ValueError: there are not two classes.
    """
    if len(predictions.classes) != 2:
        raise UserError(f"log-odds and AUROC need two classes, not {len(predictions.classes)}")
    return predictions.logits[:, 1] - predictions.logits[:, 0]


def auroc(predictions: Predictions) -> float:
    """Share of pairs of one image of each class that the log-odds order correctly; ties count half.

    Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating characteristic curve".
    """
    from sklearn.metrics import roc_auc_score  # slow to import

    return float(roc_auc_score(predictions.labels.numpy(), log_odds(predictions).numpy()))


def best_threshold_accuracy(predictions: Predictions) -> float:
    """Highest balanced accuracy that any threshold reaches on these very images: a diagnosis, not a test score."""
    return predictions.with_threshold(fit_threshold(predictions)).balanced_accuracy.value


def roc_curve(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Share of the first class above each threshold, and of the second, from the highest threshold to the lowest."""
    from sklearn.metrics import roc_curve as curve  # slow to import

    false, true, _ = curve(predictions.labels.numpy(), log_odds(predictions).numpy(), drop_intermediate=False)
    return false, true
