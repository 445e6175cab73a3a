"""What the exercises of notebook 03 expect."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from course.exercises import Expected
from imgcls.evaluation import Predictions


class Pictures(Dataset):
    """Images with labels; `transform`, if there is one, is applied to each image when it is read."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor] | None = None) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        return (self.transform(image) if self.transform else image), self.labels[index]


def running_average(start_share: Any, start_share_fast: Any, batches_needed: Any) -> Iterator[Expected]:
    """Share of the initial value in a running average after some batches."""
    hint = "Each batch multiplies the share of the initial value by 1 − m."
    yield Expected(
        "start_share", 0.9**23, hint, "After the first epoch, more than a twelfth is still the initial value.", 1e-4
    )
    yield Expected("start_share_fast", 0.5**23, hint, "With m = 0.5, almost only the last few batches count.", 1e-9)
    remaining, count = 1.0, 0
    while remaining >= 0.01:
        remaining, count = 0.9 * remaining, count + 1
    yield Expected(
        "batches_needed",
        count,
        "Look for the smallest whole number k with 0.9 to the power of k below 0.01.",
        "That is almost two epochs of 23 batches, during which the weights keep changing.",
    )


def thresholds(fair_accuracy: Callable[[Tensor, Tensor, float], Any], best_fair: Any) -> Iterator[Expected]:
    """Balanced accuracy at a threshold, and the highest one on the given probabilities."""
    draws = torch.Generator().manual_seed(11)
    for count, cut in ((60, 0.5), (40, 0.2)):
        labels = (torch.arange(count) % 4 == 0).long()
        chance = torch.rand(count, generator=draws)
        predicted = Predictions(torch.stack([1 - chance, chance], dim=1).log(), labels, ("cat", "dog"))
        yield Expected(
            "fair_accuracy",
            predicted.with_threshold(cut).balanced_accuracy.value,
            "Balanced accuracy is the mean of two recalls: of the dogs, and of the cats. Divide each by its own count.",
            "Each class counts half, however rare it is.",
            1e-4,
            answer=float(fair_accuracy(chance, labels.bool(), cut)),
        )
    is_dog, chance = shy_network()
    shy = Predictions(torch.stack([1 - chance, chance], dim=1).log(), is_dog.long(), ("cat", "dog"))
    best = max(shy.with_threshold(float(cut) - 1e-6).balanced_accuracy.value for cut in chance)
    yield Expected(
        "best_fair",
        best,
        "Try every probability in dog_chance as the threshold, and keep the highest balanced accuracy.",
        "The ranking was good all along; only the threshold of 0.5 did not suit it.",
        1e-3,
    )


def shy_network() -> tuple[Tensor, Tensor]:
    """Ninety cats and ten dogs: whether each image is a dog, and a network's probabilities of a dog."""
    is_dog = torch.arange(100) >= 90
    noise = torch.randn(100, generator=torch.Generator().manual_seed(5))
    return is_dog, torch.sigmoid(noise + 1.8 * is_dog - 2)


def validation(validate: Callable[..., Any], make_splits: Callable[..., Sequence]) -> Iterator[Expected]:
    """A validation accuracy without augmentation and in order; two splits that do not share a transform."""
    images = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    labels = _brighter_side(images)
    labels[:16] = 1 - labels[:16]  # a quarter is wrong
    hint = "An accuracy needs each image unchanged, and beside the label of the same image."
    for _ in range(3):
        yield Expected(
            "validate", 0.75, hint, "The same weights now give the same accuracy each time.", 1e-6,
            answer=float(validate(_brighter_side, images, labels)),
        )  # fmt: skip
    train, val = make_splits(images, labels, torch.neg)
    read = {"train": [item[0] for item in train], "val": [item[0] for item in val]}
    hint = "random_split returns two views of one dataset: setting a transform on one sets it on both."
    for name, sign in (("train", -1), ("val", 1)):
        kind = "augmented" if name == "train" else "unchanged"
        found = all((sign * image >= 0).all() for image in read[name])
        wanted = f"{hint} The {name} images should be {kind}."
        yield Expected(
            "make_splits", True, wanted, f"The {name} images are {kind}.", answer=bool(found and len(read[name]))
        )
    together = torch.stack([image.abs() for part in read.values() for image in part])
    sums = [part.sum(dim=(1, 2, 3)).sort().values for part in (together, images)]
    complete = len(together) == len(images) and torch.equal(*sums)
    hint = "Each image belongs to exactly one of the two splits."
    yield Expected("make_splits", True, hint, "Each image is in exactly one split.", answer=complete)


def _brighter_side(images: Tensor) -> Tensor:
    """1 where the right half of an image is brighter: a classifier that a horizontal flip turns over."""
    left, right = images.flatten(1, 2)[..., :2].sum(dim=(1, 2)), images.flatten(1, 2)[..., 2:].sum(dim=(1, 2))
    return (right > left).long()


def claims(holds: Any) -> Iterator[Expected]:
    """Which statements about the report's numbers hold."""
    yield Expected(
        "holds",
        {"A": False, "B": False, "C": True, "D": False},
        "Sampling error is about the choice of the images, and every epoch has the same ones. The entropy bound needs "
        "constant probabilities, not a constant class. A smoothed line averages over the past.",
        "Only C follows: a loss below the entropy excludes constant probabilities, and nothing more.",
    )
