"""Mistakes of the published reports, made again on purpose to measure what each costs."""

import copy
from collections.abc import Callable, Mapping

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn

from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import mcnemar


def mistake_costs(reference: Predictions, mistakes: Mapping[str, Predictions]) -> pd.DataFrame:
    """Accuracy under each mistake beside the accuracy without it.

    Returns:
        One row a mistake: `what`; `value`, `low`, `high` (Wilson); `reference`; `p_value` of the paired test.
    """
    rows = [
        {
            "what": what,
            **vars(answers.accuracy_interval),
            "reference": reference.accuracy,
            "p_value": mcnemar(reference.correct, answers.correct).p_value,
        }
        for what, answers in mistakes.items()
    ]
    return pd.DataFrame(rows)


def with_batch_statistics(model: nn.Module) -> nn.Module:
    """A copy whose batch norms use the statistics of the images they are asked about, not their running averages.

    Its answers about one image then depend on the others: good for finding out what the averages do, not for use.
    """
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return twin


def without_scaling(images: Tensor) -> Tensor:
    """A preprocessing mistake on purpose: pixels reach the network in 0..255 where it expects 0..1."""
    return images.float()


def without_normalization(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """A preprocessing mistake on purpose, for `predict`: the network meets pixels from 0 to 1 as they are.

    The model normalises by itself, so what it is given is prepared such that it comes out as if it had not.
    """
    return lambda images: model.normalize.inverse(images.float() / 255)


def swapped_channels(images: Tensor) -> Tensor:
    """A preprocessing mistake on purpose: blue-green-red, as OpenCV reads files, instead of red-green-blue."""
    return images.flip(1)


def unscaled_bgr(images: Tensor) -> Tensor:
    """Both mistakes at once, as the original report's `predict` made them."""
    return without_scaling(swapped_channels(images))


def best_by_training_loss(study: optuna.Study) -> FrozenTrial:
    """The trial that a search selects by training loss instead of validation accuracy."""
    return min(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda t: t.user_attrs["train_loss"])
