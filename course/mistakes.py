"""Mistakes of the published reports, repeated on purpose to measure what each costs."""

import copy
from collections.abc import Callable, Mapping

import pandas as pd
from torch import Tensor, nn

from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import mcnemar


def mistake_costs(reference: Predictions, mistakes: Mapping[str, Predictions]) -> pd.DataFrame:
    """Accuracy with each mistake and without it.

    Returns:
        One row per mistake: `what`; `value`, `low`, `high` (Wilson); `reference`; `p_value` of the paired test.
    """
    rows = [
        {
            "what": what,
            **vars(predictions.accuracy_interval),
            "reference": reference.accuracy,
            "p_value": mcnemar(reference.correct, predictions.correct).p_value,
        }
        for what, predictions in mistakes.items()
    ]
    return pd.DataFrame(rows)


def with_batch_statistics(model: nn.Module) -> nn.Module:
    """A copy whose batch norms use the statistics of the current batch, not their running averages.

    Each prediction then depends on the other images of the batch: for diagnosis only.
    """
    duplicate = copy.deepcopy(model)
    for module in duplicate.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return duplicate


def without_scaling(images: Tensor) -> Tensor:
    """A deliberate preprocessing mistake: pixels in 0..255 for a network that expects 0..1."""
    return images.float()


def without_normalization(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """A deliberate preprocessing mistake, for `predict`: pixels from 0 to 1 that are not normalised.

    The model's first module normalises its input, so the input is transformed by the inverse.
    """
    return lambda images: model.normalize.inverse(images.float() / 255)


def swapped_channels(images: Tensor) -> Tensor:
    """A deliberate preprocessing mistake: blue-green-red, the order of OpenCV, instead of red-green-blue."""
    return images.flip(1)


def unscaled_bgr(images: Tensor) -> Tensor:
    """Both mistakes together, as in the original report's `predict`."""
    return without_scaling(swapped_channels(images))
