"""Every network by name, with normalisation inside; heads, freezing, channels, the layer to explain."""

from imgcls.models.factory import MissingWeights, create_model, default_size, list_models, minimum_size
from imgcls.models.networks import cifar_cnn, configurable_cnn, simple_cnn, zfnet
from imgcls.models.normalize import Normalize, initialize_from_data
from imgcls.models.serialization import load, open_run, read_card, save, temperature_of
from imgcls.models.surgery import (
    backbone,
    eval_mode,
    freeze,
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
    "cifar_cnn",
    "configurable_cnn",
    "create_model",
    "default_size",
    "eval_mode",
    "freeze",
    "head",
    "initialize_from_data",
    "last_conv",
    "list_models",
    "load",
    "minimum_size",
    "open_run",
    "parameter_count",
    "read_card",
    "save",
    "simple_cnn",
    "slice_head",
    "stages",
    "summary",
    "temperature_of",
    "trainable_parts",
    "zfnet",
]
