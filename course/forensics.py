"""Confusion matrices and sample sizes that are consistent with the printed numbers of a report."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from imgcls.evaluation import Predictions
from imgcls.evaluation.statistics import Interval

EXACT = 0.005  # two recalls whose differences from the printed ones add up to less are the printed ones, rounded


def predictions_from_confusion(confusion: np.ndarray, classes: Sequence[str]) -> Predictions:
    """Predictions with a given confusion matrix: counts, rows true, columns predicted.

    Their confidences are all 1, so only metrics of counts are meaningful.
    """
    counts = torch.as_tensor(confusion, dtype=torch.int64)
    if counts.shape != (len(classes),) * 2 or (counts < 0).any():
        raise ValueError(f"a confusion matrix of {len(classes)} classes needs as many rows and columns of counts")
    cells = torch.cartesian_prod(*[torch.arange(len(classes))] * 2)  # (true, predicted), row by row
    labels, predicted = cells.repeat_interleave(counts.flatten(), dim=0).T
    return Predictions(100 * F.one_hot(predicted, len(classes)).float(), labels, tuple(classes))


def matching_confusions(accuracy: float, precision: float, recall: float, f1: float, each: int) -> np.ndarray:
    """Every confusion matrix of two classes with `each` images that is consistent with four printed scores.

    The scores are per cent, rounded to whole numbers; the last three are averages over the classes. Returns counts
    (tables, 2, 2), rows true, columns predicted; swapping the classes gives the same scores.
    """
    first, second = np.meshgrid(np.arange(each + 1), np.arange(each + 1), indexing="ij")  # correct, each class
    recalls = np.stack([first, second]) / each
    predicted = np.stack([first + each - second, second + each - first])
    precisions = np.stack([first, second]) / np.maximum(predicted, 1)
    f1s = 2 * precisions * recalls / np.maximum(precisions + recalls, 1e-12)
    found = np.stack([recalls.mean(0), precisions.mean(0), recalls.mean(0), f1s.mean(0)]) * 100
    printed = np.array([accuracy, precision, recall, f1])[:, None, None]
    fits = (np.abs(found - printed) <= 0.5 + 1e-9).all(axis=0)
    a, b = first[fits], second[fits]
    return np.stack([np.stack([a, each - a], 1), np.stack([each - b, b], 1)], axis=1)


def nearest_confusions(
    predictions: Mapping[tuple, Predictions], names: Sequence[str], recalls: Sequence[float]
) -> pd.DataFrame:
    """How near the predictions of many runs come to the recalls of a printed confusion matrix of two classes.

    Args:
        predictions: Key -> predictions of two classes.
        names: A column for each part of a key, such as ("run", "epoch").
        recalls: The two recalls of the printed matrix; which class comes first is unknown, so both orders count.

    Returns:
        One row per entry, nearest first: the parts of its key, `first` and `second` (recalls of the classes in their
        order), `distance` (the sum of the two differences, a share), and `exact` (whether it is below `EXACT`).
    """
    rows = []
    for key, one in predictions.items():
        reached = one.confusion(normalize=True).diagonal()
        distance = min(np.abs(reached - np.array(order)).sum() for order in (recalls, recalls[::-1]))
        found = {"first": reached[0], "second": reached[1], "distance": distance, "exact": distance < EXACT}
        rows.append(dict(zip(names, key, strict=True)) | found)
    return pd.DataFrame(rows).sort_values("distance", kind="stable").reset_index(drop=True)


def nearest_text(near: pd.DataFrame) -> str:
    """What the nearest setting shows about a missing normalisation, as sentences.

    Args:
        near: Result of `nearest_confusions` with the missing share of the normalisation as column `missing`.
    """
    exact, best = int(near["exact"].sum()), near.iloc[0]
    gives = f"{exact or 'None'} of {len(near)} settings (seed, epoch, missing share) {'give' if exact > 1 else 'gives'}"
    recalls = " and ".join(f"{100 * recall:.0f} %" for recall in sorted(best[["first", "second"]], reverse=True))
    follows = "So a missing normalisation, whole or in part, is possible, but not proven."
    if not best["missing"]:
        follows = "So the recalls are no sign of a missing normalisation."
    return (
        f"{gives} these two recalls. The {'first such' if exact else 'nearest'} setting has "
        f"{100 * best['missing']:.0f} % of the normalisation missing and recalls of {recalls}. {follows}"
    )


def possible_sample_sizes(shares: Sequence[str], most: int = 1000, batch_size: int | None = None) -> list[int]:
    """Sizes of a split for which every printed accuracy is possible.

    Args:
        shares: As printed, such as ".759" or "0.7589"; the number of digits sets the rounding error.
        most: The largest size to try.
        batch_size: None if each share is a count divided by the size; else each share is a mean over batches of this
            size, in which a smaller last batch has the weight of a full one.
    """
    printed = np.array([float(share) for share in shares])  # (S,)
    half = np.array([0.5 * 10.0 ** -len(share.partition(".")[2]) for share in shares]) + 1e-9
    return [size for size in range(1, most + 1) if _all_possible(printed, half, size, batch_size)]


def _all_possible(printed: np.ndarray, half: np.ndarray, size: int, batch_size: int | None) -> bool:
    """Whether each printed share, with its rounding error, is an accuracy that a split of this size can have."""
    full, last = divmod(size, batch_size or size)
    values = np.arange(full * (batch_size or size) + 1) / ((full + bool(last)) * (batch_size or size))
    if last:  # every sum of what the full batches and the last one contribute
        values = np.unique(values[:, None] + np.arange(last + 1) / last / (full + 1))
    return bool((np.abs(printed[:, None] - values) <= half[:, None]).any(axis=1).all())


def selection_optimism(correct: ArrayLike, draws: int = 1000, seed: int = 0) -> Interval:
    """Optimism of an accuracy that is reported on the images on which the best epoch was chosen.

    The images are split in halves at random, many times: the epoch is chosen on one half, and its accuracy there is
    compared with its accuracy on the other half.

    Args:
        correct: Whether each image is correct after each epoch, bool (epochs, N).
        draws: Number of random halvings.
        seed: Random seed of the halvings.

    Returns:
        Mean difference of the two accuracies, with the central 95 % of the halvings as its limits.
    """
    table = np.asarray(correct, dtype=bool)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"expected (epochs, images) with at least two images, got shape {table.shape}")
    rng, half = np.random.default_rng(seed), table.shape[1] // 2
    gaps = []
    for _ in range(draws):
        order = rng.permutation(table.shape[1])
        chosen_on, other_half = table[:, order[:half]].mean(axis=1), table[:, order[half : 2 * half]].mean(axis=1)
        best = chosen_on.argmax()
        gaps.append(chosen_on[best] - other_half[best])
    low, high = np.quantile(gaps, [0.025, 0.975])
    return Interval(float(np.mean(gaps)), float(low), float(high), table.shape[1])
