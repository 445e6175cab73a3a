"""What is expected in the exercises of notebook 04."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from course.exercises import Expected
from imgcls.models import create_model, summary


class _Numbers:
    """A tiny data set of the numbers 0 to 9 with a transform, as those of torchvision have one."""

    def __init__(self, transform: Callable[[int], int] | None = None) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        return index if self.transform is None else self.transform(index)


def layer_cost(first_parameters: Any, busiest_layer: Any, busiest_work: Any) -> Iterator[Expected]:
    """Costs of a network of five layers, counted by `models.summary`."""
    network = create_model("configurable_cnn", 10, image_size=32, layers=5, filters=64)
    table = summary(network, (3, 32, 32))
    layers = table[table["type"] == "Conv2d"].reset_index(drop=True)
    work = layers["multiply_adds"]
    yield Expected(
        "first_parameters", int(layers["parameters"][0]),
        "Each filter has $k^2 C$ weights, where $C$ is the number of colours, and one bias.",
        "64 filters with 27 weights and a bias each: the number in the report's summary.",
    )  # fmt: skip
    yield Expected(
        "busiest_layer", int(work.argmax()) + 1,
        "Compare $k^2 C F$ times the number of positions: what changes from the first layer to the second, and from "
        "there to the third?",
        "The first layer sees only 3 channels; from the second on, pooling divides the positions by 4 in each layer.",
    )  # fmt: skip
    yield Expected(
        "busiest_work", int(work.max()),
        "Multiply-adds are $k^2 C F$ at every position of the output; a bias multiplies nothing.",
        "576 products for each of 64 filters at 256 positions.",
    )  # fmt: skip


def shared_transform(with_transforms: Callable[..., Any]) -> Iterator[Expected]:
    """The two parts of a tiny data set, and its own transform afterwards."""
    own = _Numbers(lambda number: number + 1000)
    train, val = with_transforms(own, [0, 1, 2], [7, 8], lambda number: number + 100)
    yield Expected(
        "with_transforms", [100, 101, 102],
        "The training part does not go through the augmentation. A `Subset` holds a reference to the data set: how "
        "many data sets are there, and which line writes to it last?",
        "The training part has the augmentation.",
        answer=[train[k] for k in range(len(train))],
    )  # fmt: skip
    yield Expected(
        "with_transforms", [7, 8],
        "The validation part should show the images without any transform.",
        "The validation part has none, because each part has a data set of its own.",
        answer=[val[k] for k in range(len(val))],
    )  # fmt: skip
    yield Expected(
        "with_transforms", [1000, 1001],
        "The data set that was passed in has lost its own transform: change copies of it.",
        "The data set of the caller is unchanged.",
        answer=[own[0], own[1]],
    )  # fmt: skip


def stratified_split(stratified: Callable[..., Any]) -> Iterator[Expected]:
    """Images held out of each of three unequal classes, and whether another seed holds out others."""
    labels = torch.cat([torch.full((100,), 0), torch.full((50,), 1), torch.full((20,), 2)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    one, other, again = (np.asarray(stratified(labels, 0.2, seed), dtype=bool) for seed in (0, 1, 0))
    yield Expected(
        "stratified", [20, 10, 4],
        "The classes have 100, 50 and 20 images. Hold out the same *share* of each: select the rows of one class "
        "first, then take a fifth of them.",
        "A fifth of every class is held out.",
        answer=np.bincount(labels.numpy()[one], minlength=3),
    )  # fmt: skip
    yield Expected(
        "stratified", [True, True],
        "The choice within a class must be random: another seed should hold out other images, the same seed the same.",
        "The choice within each class is random, and the seed repeats it.",
        answer=[bool((one != other).any()), bool((one == again).all())],
    )  # fmt: skip


def best_of_twenty(half_width: Any, optimism: Any, objection: Any) -> Iterator[Expected]:
    """Noise of one accuracy and of the best of twenty, in points."""
    deviation = 100 * (0.43 * 0.57 / 2400) ** 0.5
    yield Expected(
        "half_width", 1.96 * deviation,
        "Use p = 0.43 and n = 2400, and multiply by 100 for percentage points.",
        "Both accuracies of the claim are inside this interval.",
        within=0.02,
    )  # fmt: skip
    yield Expected(
        "optimism", 1.87 * deviation,
        "The standard deviation of one accuracy is $\\sqrt{p (1-p) / n}$; the best of twenty is 1.87 of them too high.",
        "The best of twenty equal configurations looks better by more than the whole difference in the claim.",
        within=0.02,
    )  # fmt: skip
    yield Expected(
        "objection", "b",
        "Compare the difference of 1.27 points with your second answer. What could a repetition show that one run "
        "cannot?",
        "A choice among many noisy runs is optimistic, and runs that differ in several settings test none of them.",
    )  # fmt: skip
