"""Open-set recognition: scores that detect images of unknown classes, and measures of such scores.

Every score is higher for images of known classes, and an image counts as known where its score reaches the threshold.
Detectors are fitted on training features, thresholds on known validation images; neither uses an unknown image.
"""

from imgcls.openset.measures import (
    AurocTest,
    auroc,
    compare_auroc,
    detection_curve,
    detection_table,
    fpr_at_tpr,
    threshold_at_tpr,
)
from imgcls.openset.scores import (
    BASELINE,
    Detector,
    auxiliary_log_odds,
    energy,
    fit_detectors,
    knn,
    mahalanobis,
    max_logit,
    max_softmax,
    unknown_scores,
    vim,
)

__all__ = [
    "BASELINE",
    "AurocTest",
    "Detector",
    "auroc",
    "auxiliary_log_odds",
    "compare_auroc",
    "detection_curve",
    "detection_table",
    "energy",
    "fit_detectors",
    "fpr_at_tpr",
    "knn",
    "mahalanobis",
    "max_logit",
    "max_softmax",
    "threshold_at_tpr",
    "unknown_scores",
    "vim",
]
