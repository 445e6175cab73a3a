"""Threshold and ranking of two classes, kept apart: log-odds, AUROC, and the best that any threshold reaches."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from course.seeds import verdict
from imgcls.evaluation import Predictions, fit_threshold
from imgcls.evaluation.statistics import over_seeds
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


def threshold_text(normalised: Sequence[Predictions], unnormalised: Sequence[Predictions]) -> str:
    """What the best threshold of each run would gain with normalisation and without, and what follows, as sentences.

    Args:
        normalised: Predictions of two classes, one entry per seed.
        unnormalised: Those of the same weights on images that are not normalised, seeds in the same order.
    """
    gained = [
        np.array([best_threshold_accuracy(one) - one.balanced_accuracy.value for one in runs])
        for runs in (normalised, unnormalised)
    ]
    usual, bare, more = over_seeds(gained[0]), over_seeds(gained[1]), over_seeds(gained[1] - gained[0])
    points = f"{100 * bare.value:.1f} points"
    follows = {
        "better": f"So a part of the {points} is due to the missing normalisation.",
        "worse": f"So the {points} are not due to the missing normalisation.",
        "inconclusive": f"So how much of the {points} is due to the missing normalisation is inconclusive.",
    }
    return (
        f"The best threshold of each network, chosen on the test images as a mere diagnosis, would give {points} "
        f"without normalisation. With normalisation it would also give {100 * usual.value:.1f} points: after few "
        f"epochs the scores need not be balanced around 0. The difference is {100 * more.value:+.1f} points "
        f"({100 * more.low:+.1f} to {100 * more.high:+.1f}, t interval). {follows[verdict(more)]}"
    )


def roc_curve(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Share of the first class above each threshold, and of the second, from the highest threshold to the lowest."""
    from sklearn.metrics import roc_curve as curve  # slow to import

    false, true, _ = curve(predictions.labels.numpy(), log_odds(predictions).numpy(), drop_intermediate=False)
    return false, true
