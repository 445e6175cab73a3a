"""Expected answers of the exercises of notebook 01: threshold and ranking, normalisation, splits, and a claim."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from course.exercises import Expected

COUNT, FOLD = 801, 640  # labelled images of the report, and those that it meant to train on


def shifted_boundary(accuracy_changes: Any, auroc_changes: Any, auroc_by_code: Any) -> Iterator[Expected]:
    """What a constant shift of all scores changes."""
    del accuracy_changes, auroc_changes, auroc_by_code
    draws = torch.Generator().manual_seed(1)
    positive = torch.arange(200) >= 100
    scores = torch.randn(200, generator=draws) + 1.5 * positive - 2.75
    order = scores.argsort().argsort().double() + 1  # ranks from 1; Mann and Whitney 1947
    area = (order[positive].sum() - 100 * 101 / 2) / (100 * 100)
    yield Expected(
        "accuracy_changes",
        True,
        "The boundary stays at 0. Which elephants are above it after the shift?",
        "The scores move and the boundary does not, so elephants fall on the side of the foxes.",
    )
    yield Expected(
        "auroc_changes",
        False,
        "Take one fox and one elephant. Can subtracting the same number from both scores change which is higher?",
        "A constant shift changes no comparison of two images, and the AUROC counts only such comparisons.",
    )
    yield Expected(
        "auroc_by_code",
        float(area),
        "Compare the score of each elephant with the score of each fox: 100 × 100 pairs.",
        "It is the share of the 10,000 pairs in which the elephant has the higher score.",
        within=1e-4,
    )


def missing_normalisation(to_network: Callable[[Tensor, bool], Tensor]) -> Iterator[Expected]:
    """The network gets the same pixels in training and in testing."""
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    mean = torch.tensor([0.5059, 0.5021, 0.5020])[:, None, None]
    std = torch.tensor([0.2108, 0.1982, 0.1949])[:, None, None]
    expected = (images / 255 - mean) / std
    yield Expected(
        "to_network",
        expected,
        "With training=True, subtract the mean of the training images and divide by their deviation, as before.",
        "Training keeps its normalisation.",
        within=1e-4,
        answer=to_network(images, training=True),
    )
    yield Expected(
        "to_network",
        expected,
        "A test image must reach the network as a training image does: with the same two constants.",
        "The statistics belong to the network and do not depend on whether it is trained or tested.",
        within=1e-4,
        answer=to_network(images, training=False),
    )


def overwritten_split(split_rows: Callable[[int, int], tuple], batches_published: Any) -> Iterator[Expected]:
    """Two parts without a common image, and the trace that the overwritten split left in the report's loss."""
    train, val = (sorted(torch.as_tensor(part).tolist()) for part in split_rows(COUNT, 3))
    yield Expected(
        "split_rows",
        0,
        "Some images are in both parts. Which line gives the training part all rows again?",
        "No image is in both parts.",
        answer=len(set(train) & set(val)),
    )
    yield Expected(
        "split_rows",
        [FOLD, COUNT - FOLD],
        "Four fifths of the images, rounded down, are for training, and all others for validation.",
        "The parts have 640 and 161 images, as the report intended.",
        answer=[len(train), len(val)],
    )
    yield Expected(
        "split_rows",
        list(range(COUNT)),
        "Every image belongs to one of the two parts.",
        "No image is lost.",
        answer=sorted({*train, *val}),
    )
    yield Expected(
        "batches_published",
        math.ceil(COUNT / 64),
        "Divide the number of images that were really used by 64; the last batch is smaller and counts too.",
        "801 images are 13 batches; the report divided by 10, which is the number of batches of 640 images.",
    )


def epoch_chosen_on_test(choose_epoch: Callable[[Tensor, Tensor], tuple[int, float]]) -> Iterator[Expected]:
    """The epoch is chosen on validation, and the accuracy is that of the test images in this epoch."""
    draws = torch.Generator().manual_seed(4)
    val, test = torch.rand(25, 161, generator=draws) < 0.8, torch.rand(25, 200, generator=draws) < 0.8
    val[7], test[19] = True, True  # best on validation, and best on test
    epoch, accuracy = choose_epoch(val, test)
    yield Expected(
        "choose_epoch",
        7,
        "The choice must not depend on the test images: which argument is for choosing?",
        "The test images took no part in the choice.",
        answer=epoch,
    )
    yield Expected(
        "choose_epoch",
        float(test[7].float().mean()),
        "Report the accuracy on the test images in the chosen epoch, not the accuracy that the choice was made by.",
        "The reported accuracy is from images that took no part in the choice.",
        within=1e-4,
        answer=accuracy,
    )


def two_hundred_of_two_hundred(valid_objections: Any, enough_images: Any) -> Iterator[Expected]:
    """What a test accuracy of 100 % on 200 images shows."""
    del valid_objections, enough_images
    z = 1.959964  # 95 % of the normal distribution are within z deviations
    yield Expected(
        "valid_objections",
        "ac",
        "For each sentence: is it true, and does it make the 100 % less certain? Write the letters in alphabetical "
        "order, such as 'bd'.",
        "The choice on test and the small number of images weaken the claim. Augmented training images are harder than "
        "test images, so a lower training accuracy (b) is no contradiction, and pretraining (d) is no fault.",
    )
    yield Expected(
        "enough_images",
        math.ceil(z**2 * 0.99 / 0.01),  # the lower limit of n of n is n / (n + z²)
        "Try one number after the other with `wilson(n, n).low`, or solve n / (n + z²) = 0.99 with z = 1.96.",
        "The lower limit of n of n is n / (n + z²), so it takes nearly twice the report's 200 images.",
    )
