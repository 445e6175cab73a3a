"""Evaluation: predictions on a split, metrics with intervals, comparisons and test-time augmentation."""

from imgcls.evaluation.calibration import calibration_gap, fit_temperature, fit_threshold
from imgcls.evaluation.compare import compare, comparison_table
from imgcls.evaluation.predictions import (
    FeatureSplit,
    Predictions,
    extract_features,
    predict,
    predict_checked,
)
from imgcls.evaluation.tta import flip_shift_tta

__all__ = [
    "FeatureSplit",
    "Predictions",
    "calibration_gap",
    "compare",
    "comparison_table",
    "extract_features",
    "fit_temperature",
    "fit_threshold",
    "flip_shift_tta",
    "predict",
    "predict_checked",
]
