"""Knowing what one does not know: scores that tell unknown classes, their measures, and zero-shot learning from traits.

Every score is higher for what looks more like something known, and an image counts as known where its score reaches
the threshold. Detectors are fitted on training features, thresholds on known images: no unknown image takes part.
"""

from imgcls.openset.exemplars import Exemplars, fit_exemplars
from imgcls.openset.measures import (
    AurocTest,
    auroc,
    compare_auroc,
    detection_curve,
    detection_table,
    fpr_at_tpr,
    open_set_accuracy,
    threshold_keeping,
)
from imgcls.openset.scores import (
    BASELINE,
    Detector,
    energy,
    fit_detectors,
    knn,
    mahalanobis,
    max_logit,
    max_softmax,
    outlier_log_odds,
    sum_standardized,
    unknown_scores,
    vim,
)
from imgcls.openset.traits import (
    Eszsl,
    ZeroShot,
    choose_calibration,
    eszsl,
    fit_zero_shot,
    harmonic_mean,
    predictability,
    read_traits,
    stacking_curve,
    zero_shot_table,
)

__all__ = [
    "BASELINE",
    "AurocTest",
    "Detector",
    "Eszsl",
    "Exemplars",
    "ZeroShot",
    "auroc",
    "choose_calibration",
    "compare_auroc",
    "detection_curve",
    "detection_table",
    "energy",
    "eszsl",
    "fit_detectors",
    "fit_exemplars",
    "fit_zero_shot",
    "fpr_at_tpr",
    "harmonic_mean",
    "knn",
    "mahalanobis",
    "max_logit",
    "max_softmax",
    "open_set_accuracy",
    "outlier_log_odds",
    "predictability",
    "read_traits",
    "stacking_curve",
    "sum_standardized",
    "threshold_keeping",
    "unknown_scores",
    "vim",
    "zero_shot_table",
]
