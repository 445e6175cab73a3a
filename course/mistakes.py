"""Mistakes of the published reports, made again on purpose to measure what each costs."""

import copy
from collections.abc import Callable, Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from imgcls.data import DataError, Split
from imgcls.data.splits import select_classes, shuffle_key
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


def imbalanced(split: Split, fractions: Mapping[str, float], seed: int = 0) -> Split:
    """The split with a random sample of the images of some classes: an imbalance made on purpose.

    Args:
        split: to sample from; its order stays.
        fractions: class -> fraction of its images to keep, above 0 and at most 1; other classes stay whole.
        seed: of the sample.

    Raises:
        DataError: an unknown class, or a fraction out of range.
    """
    keep = torch.ones(len(split), dtype=torch.bool)
    for name, fraction in fractions.items():
        label = split.classes.index(select_classes([name], split.classes, "the split")[0])
        if not 0 < fraction <= 1:
            raise DataError(f"the fraction of {name!r} must be above 0 and at most 1, not {fraction!r}")
        rows = (split.labels == label).nonzero().flatten().tolist()
        rows.sort(key=lambda i: shuffle_key(seed, split.names[i]))
        keep[rows[max(1, round(fraction * len(rows))) :]] = False
    return split.subset(keep)


def micro_average_at_threshold(predictions: Predictions, threshold: float = 0.5) -> dict[str, float]:
    """Micro-averaged precision and recall where a class counts as predicted above a probability, as in old Keras.

    An image whose probabilities are all below the threshold has no prediction, so precision exceeds recall. With one
    prediction for each image both are equal to the accuracy.
    """
    positive = predictions.probabilities > threshold
    correct = int(positive.gather(1, predictions.labels[:, None]).sum())
    return {"precision": correct / max(1, int(positive.sum())), "recall": correct / len(predictions)}
