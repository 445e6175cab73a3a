"""Mistakes of the published reports, repeated on purpose to measure what each costs."""

from collections.abc import Callable, Mapping

import optuna
import pandas as pd
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn

from imgcls.data import DataError, Split, Splits
from imgcls.data.splits import select_classes, shuffle_key
from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import mcnemar
from imgcls.models import head


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


def without_scaling(images: Tensor) -> Tensor:
    """A deliberate preprocessing mistake: pixels in 0..255 for a network that expects 0..1."""
    return images.float()


def without_normalization(model: nn.Module, missing: float = 1.0) -> Callable[[Tensor], Tensor]:
    """A deliberate preprocessing mistake, for `predict`: pixels from 0 to 1 that are not normalised.

    The model's first module normalises its input, so the input is transformed by the inverse. With `missing` below 1
    the network gets that share of the pixels from 0 to 1 and the rest of the normalised ones.
    """

    def transform(images: Tensor) -> Tensor:
        pixels = images.float() / 255
        return pixels if not missing else torch.lerp(pixels, model.normalize.inverse(pixels), missing)

    return transform


def overwritten_split(splits: Splits) -> Split:
    """A deliberate mistake: training and validation images as one training split, so that nothing is held out."""
    both = (splits.train, splits.val)
    return Split(
        images=torch.cat([torch.as_tensor(split.images) for split in both]),
        labels=torch.cat([split.labels for split in both]),
        masks=None,
        names=splits.train.names + splits.val.names,
        classes=splits.classes,
    )


def swapped_channels(images: Tensor) -> Tensor:
    """A deliberate preprocessing mistake: blue-green-red, the order of OpenCV, instead of red-green-blue."""
    return images.flip(1)


def unscaled_bgr(images: Tensor) -> Tensor:
    """Both mistakes together, as in the original report's `predict`."""
    return without_scaling(swapped_channels(images))


def random_split(train: Split, val: Split, seed: int = 0) -> tuple[Split, Split]:
    """The images of both splits divided anew at random, without regard to their classes, into splits of the same sizes.

    As `torch.utils.data.random_split` does it, and the report that called its split stratified.
    """
    pool = Split(
        torch.cat([train.images, val.images]),
        torch.cat([train.labels, val.labels]),
        None if train.masks is None else torch.cat([train.masks, val.masks]),
        train.names + val.names,
        train.classes,
        None if train.sizes is None else torch.cat([train.sizes, val.sizes]),
    )
    mixed = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return pool.subset(mixed[: len(train)]), pool.subset(mixed[len(train) :])


def freeze_weights_only(create: Callable[[], nn.Module]) -> nn.Module:
    """A network of which only the head trains, while its batch norms keep updating their running averages.

    `models.freeze` stops those too.
    """
    model = create().requires_grad_(False)
    head(model).requires_grad_(True)
    return model


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


def best_by_training_loss(study: optuna.Study) -> FrozenTrial:
    """The trial that a search selects by training loss instead of validation accuracy."""
    return min(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda t: t.user_attrs["train_loss"])


def choice_text(by_training: FrozenTrial, by_validation: FrozenTrial) -> str:
    """What it costs to choose a trial by training loss instead of validation accuracy, as a sentence."""
    if by_training.number == by_validation.number:
        return "Both choices are the same trial, so this search shows no damage by the training loss."
    cost = f"{100 * (by_validation.value - by_training.value):.1f}"
    if not float(cost):
        return (
            "The two choices are different trials with the same validation accuracy, so this search shows no damage by "
            "the training loss."
        )
    return f"The two choices are different trials: the training loss costs {cost} points of validation accuracy."
