"""Networks by name with normalisation inside; saving and loading; heads, stages, freezing and costs."""

from imgcls.models.create import create_model
from imgcls.models.factory import MissingWeights, default_size, list_models, minimum_size
from imgcls.models.normalize import Normalize, initialize_from_data
from imgcls.models.serialization import load, open_run, read_card, resize_of, save, temperature_of, threshold_of
from imgcls.models.surgery import (
    backbone,
    eval_mode,
    freeze,
    freeze_batch_norm,
    head,
    last_conv,
    parameter_count,
    slice_head,
    stages,
    summary,
    trainable_parts,
)

__all__ = [
    "MissingWeights",
    "Normalize",
    "backbone",
    "create_model",
    "default_size",
    "eval_mode",
    "freeze",
    "freeze_batch_norm",
    "head",
    "initialize_from_data",
    "last_conv",
    "list_models",
    "load",
    "minimum_size",
    "open_run",
    "parameter_count",
    "read_card",
    "resize_of",
    "save",
    "slice_head",
    "stages",
    "summary",
    "temperature_of",
    "threshold_of",
    "trainable_parts",
]
