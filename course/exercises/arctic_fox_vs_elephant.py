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
    del accuracy_changes, auroc_changes
    draws = torch.Generator().manual_seed(1)
    positive = torch.arange(200) >= 100
    scores = torch.randn(200, generator=draws) + 1.5 * positive - 2.75
    order = scores.argsort().argsort().double() + 1  # ranks from 1; Mann and Whitney 1947
    area = float((order[positive].sum() - 100 * 101 / 2) / (100 * 100))
    accuracy = float(((scores > 0) == positive).float().mean())
    is_rounded = isinstance(auroc_by_code, float) and round(auroc_by_code, 2) == auroc_by_code
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
        area,
        "Keep three decimals, of all 100 × 100 pairs."
        if is_rounded
        else "Compare the score of each elephant with the score of each fox: 100 × 100 pairs.",
        f"The accuracy of the same scores is {100 * accuracy:.0f} %: a good ranking, but many elephants are below 0.",
        within=6e-4,
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
    yield Expected(
        "batches_published",
        math.ceil(COUNT / 64),
        "Divide the number of images that were really used by 64; the last batch is smaller and counts too.",
        "801 images are 13 batches; the report divided by 10, which is the number of batches of 640 images.",
    )
    parts = split_rows(COUNT, 3)
    yield Expected(
        "split_rows",
        "two parts",
        "Return two parts, separated by a comma: the rows for training and the rows for validation.",
        "No image is in both parts.",
        answer=_as_text(parts, "two parts"),
    )
    if not _is_pair(parts):
        return
    train, val = map(_rows, parts)
    yield Expected(
        "split_rows",
        "0 images in both parts",
        "Which line gives one part rows that the other part has, too?",
        "No image is in both parts.",
        answer=f"{len({*train} & {*val})} images in both parts",
    )
    sizes = [[len(_rows(part)) for part in split_rows(count, 3)] for count in (COUNT, 100)]
    yield Expected(
        "split_rows",
        f"{FOLD} and {COUNT - FOLD} of {COUNT} images, 80 and 20 of 100",
        "The first part is for training: four fifths of `count`, rounded down. The second part has all others.",
        "The parts have 640 and 161 images, as the report intended.",
        answer="{} and {} of {} images, {} and {} of 100".format(*sizes[0], COUNT, *sizes[1]),
    )
    yield Expected(
        "split_rows",
        list(range(COUNT)),
        "Every image belongs to one of the two parts.",
        "No image is lost.",
        answer=sorted({*train, *val}),
    )
    again, other = (set(_rows(split_rows(COUNT, seed)[0])) for seed in (3, 4))
    yield Expected(
        "split_rows",
        "same seed: same parts; other seed: other parts",
        "The seed decides which images are in which part: the rows are shuffled by it.",
        "The seed decides which images are held out.",
        answer=f"same seed: {'same' if again == {*train} else 'other'} parts; "
        f"other seed: {'same' if other == {*train} else 'other'} parts",
    )


def epoch_chosen_on_test(choose_epoch: Callable[[Tensor, Tensor], tuple[int, float]]) -> Iterator[Expected]:
    """The epoch is chosen on validation, and the accuracy is that of the test images in this epoch."""
    draws = torch.Generator().manual_seed(4)
    val, test = torch.rand(25, 161, generator=draws) < 0.8, torch.rand(25, 200, generator=draws) < 0.8
    val[7] = torch.arange(161) <= val.sum(dim=1).max()  # best on validation, by one image
    test[19] = True  # best on test
    chosen = choose_epoch(val, test)
    yield Expected(
        "choose_epoch",
        "two values",
        "Return two values: the epoch and the accuracy.",
        "The test images took no part in the choice.",
        answer=_as_text(chosen, "two values"),
    )
    if not _is_pair(chosen):
        return
    epoch, accuracy = chosen
    yield Expected(
        "choose_epoch", 7, _epoch_hint(epoch, accuracy), "The test images took no part in the choice.", answer=epoch
    )
    worse = test.clone()
    worse[7] = False
    yield Expected(
        "choose_epoch",
        7,
        "With other test images and the same validation images, the chosen epoch changes.",
        "The test images took no part in the choice.",
        answer=choose_epoch(val, worse)[0],
    )
    yield Expected(
        "choose_epoch",
        float(test[7].float().mean()),
        "Report the accuracy on the test images in the chosen epoch, not the accuracy that the choice was made by.",
        "The reported accuracy is from images that took no part in the choice.",
        within=1e-4,
        answer=accuracy,
    )


def _is_pair(answer: Any) -> bool:
    return isinstance(answer, tuple | list) and len(answer) == 2 and not any(part is ... for part in answer)


def _as_text(answer: Any, pair: str) -> Any:
    """What a function returned, for a comparison with `pair`; None and `...` as they are."""
    if _is_pair(answer):
        return pair
    unwritten = answer is None or answer is ... or (isinstance(answer, tuple | list) and ... in list(answer)[:2])
    return answer if unwritten else f"one {type(answer).__name__}"


def _rows(part: Any) -> list[int]:
    return torch.as_tensor(part).tolist()


def _epoch_hint(epoch: Any, accuracy: Any) -> str:
    """What is wrong if the first of two results is not epoch 7 of 25."""
    if float(accuracy) == 7:
        return "The epoch comes first, and the accuracy second."
    if not float(epoch).is_integer():
        return "The first value is the number of the epoch, an int."
    return {
        8: "Count the epochs from 0.",
        24: "This is the last epoch. Which one has the highest accuracy, and on which images?",
    }.get(int(epoch), "The choice must not depend on the test images: which argument is for choosing?")


def two_hundred_of_two_hundred(valid_objections: Any, enough_images: Any) -> Iterator[Expected]:
    """What a test accuracy of 100 % on 200 images shows."""
    del enough_images
    z = 1.959964  # 95 % of the normal distribution are within z deviations
    yield Expected(
        "valid_objections",
        "ac",
        "For each sentence: is it true, and does it make the 100 % less certain? Write the letters as text, such as "
        "'bd'.",
        "The choice on test and the small number of images weaken the claim. Augmented training images are harder than "
        "test images, so a lower training accuracy (b) is no contradiction, and pretraining (d) is no fault.",
        answer=_letters(valid_objections),
    )
    yield Expected(
        "enough_images",
        math.ceil(z**2 * 0.99 / 0.01),  # the lower limit of n of n is n / (n + z²)
        "Try one number after the other with `wilson(n, n).low`, or solve n / (n + z²) = 0.99 with z = 1.96.",
        "The lower limit of n of n is n / (n + z²), so it takes nearly twice the report's 200 images.",
    )


def _letters(answer: Any) -> Any:
    """Letters in any order, upper or lower case, as a text or a list, as one text in alphabetical order."""
    if isinstance(answer, list | tuple | set) and all(isinstance(part, str) for part in answer):
        answer = "".join(answer)
    return "".join(sorted(answer.lower().replace(",", "").replace(" ", ""))) if isinstance(answer, str) else answer
