"""Evaluation: predict once, then ask many questions of the predictions."""

from imgcls.evaluation.compare import compare, comparison_table
from imgcls.evaluation.predictions import (
    Features,
    Predictions,
    features,
    fit_temperature,
    fit_threshold,
    predict,
    predict_checked,
)
from imgcls.evaluation.tta import flips_and_shifts

__all__ = [
    "Features",
    "Predictions",
    "compare",
    "comparison_table",
    "features",
    "fit_temperature",
    "fit_threshold",
    "flips_and_shifts",
    "predict",
    "predict_checked",
]
