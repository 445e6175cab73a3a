"""Expected answers of the exercises of notebook 06, and the scores that they use."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from scipy.stats import hmean
from torch import Tensor

from course.exercises import Expected
from imgcls import openset
from imgcls.reproducibility import generator


def example_scores() -> tuple[Tensor, Tensor, Tensor]:
    """Scores of known validation, known test and unknown test images, float32 (60,), (60,) and (40,), with ties."""
    draws = generator(1, "exercises of unknown species")
    scores = torch.randn(160, generator=draws)
    scores[:120] += 1.5
    return tuple((scores.round(decimals=1) + 0.0).split([60, 60, 40]))  # without −0.0


def energy_score(energy_of: Callable[[Tensor, float], Tensor]) -> Iterator[Expected]:
    """The energy score at two temperatures, also of logits whose exponentials overflow."""
    small, large = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([[500.0, 499.0, -3.0]])
    one_each = "ln Σ exp(z), one number for each row: the shape of the result is (rows,)."
    scaled = "With a temperature of 4: divide the logits by T first, and multiply the logarithm by T."
    overflow = (
        "exp(500) is infinite in float32. Subtract the largest logit of the row first and add it after the logarithm."
    )
    why = "The score is a soft maximum of the logits. `logsumexp` subtracts the largest logit, so nothing overflows."
    for logits, temperature, hint in ((small, 1.0, one_each), (small, 4.0, scaled), (large, 1.0, overflow)):
        found = energy_of(logits, temperature)
        yield Expected("energy_of", openset.energy(logits, temperature), hint, why, within=1e-3, answer=found)


def auroc_by_hand(area: float, passed: float) -> Iterator[Expected]:
    """AUROC over all pairs, and the share of unknown images that the threshold on known validation images accepts."""
    validation, known, unknown = example_scores()
    value = openset.auroc(known, unknown).value
    swapped = "The AUROC is of `known_scores`; `val_scores` only set the threshold."
    slips = {
        openset.auroc(validation, unknown).value: swapped,
        float((validation[:, None] > unknown).float().mean()): swapped,
        float((known[:, None] > unknown).float().mean()): "Some scores are equal: such a pair counts half.",
        float((known[:, None] >= unknown).float().mean()): "Some scores are equal: such a pair counts half, not whole.",
        1 - value: "A pair is in the right order if the *known* image has the higher score.",
    }
    hint = "There are 60 × 40 pairs of a known and an unknown image; `a[:, None] > b` compares them all."
    yield Expected(
        "area",
        value,
        _hint(area, value, slips, hint),
        "The share of pairs in the right order needs no threshold: it is the area under the ROC curve.",
        within=6e-4,
    )
    threshold = openset.threshold_at_tpr(validation, 0.95)
    accepted = float((unknown >= threshold).float().mean())
    slips = {
        1 - accepted: "This is the share that is rejected. Accepted are scores of at least the threshold.",
        float((unknown > threshold).float().mean()): "A score that equals the threshold is accepted, too.",
    }
    hint = "Sort the validation scores. Three of the 60 may be lower than the threshold."
    yield Expected(
        "passed",
        accepted,
        _hint(passed, accepted, slips, hint),
        "A good AUROC is no promise at one threshold, which depends on the known images with the lowest scores.",
        within=6e-4,
    )


def _hint(answer: float, value: float, slips: Mapping[float, str], otherwise: str) -> str:
    """The hint that fits a wrong number: of the slip that gives it, or that it is rounded too far."""
    number = _number(answer)
    for slip, hint in slips.items():
        if abs(number - slip) < 6e-4:
            return hint
    return "It is rounded too far: give at least three decimals." if abs(number - value) < 5e-3 else otherwise


def _number(answer: Any) -> float:
    """An answer as a number; NaN if it is none, so that no comparison holds."""
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def honest_threshold(choose_threshold: Callable[[Tensor, Tensor, Tensor], float]) -> Iterator[Expected]:
    """A threshold that depends on known validation images alone."""
    validation, known, unknown = example_scores()
    found = [choose_threshold(validation, *test) for test in ((known, unknown), (known - 2, unknown + 3))]
    why = "The threshold is the same whatever the test contains, so the test remains an evaluation."
    threshold, first = openset.threshold_at_tpr(validation, 0.95), _number(found[0])
    if math.isfinite(first):
        hint = "It changes with `known` or `unknown`: the result may depend on the first argument only."
        yield Expected("choose_threshold", first, hint, why, within=1e-4, answer=found[1])
    if not math.isfinite(first):
        hint = "Return one number: one of the validation scores."
    elif min(abs(first - float(score)) for score in validation) <= 1e-4:
        hint = "At least 95 % of the validation scores must be >= the threshold, but not >= a larger validation score."
    else:
        hint = "It must be one of the validation scores; `quantile` returns a value between two of them."
    yield Expected("choose_threshold", threshold, hint, why, within=1e-4, answer=found[0])
    longer = torch.randn(100, generator=generator(2, "exercises of unknown species"))
    hint = "With 100 scores, five may be lower: compute the position from `len(validation)`."
    found = choose_threshold(longer, known, unknown)
    yield Expected("choose_threshold", openset.threshold_at_tpr(longer, 0.95), hint, why, within=1e-4, answer=found)


def harmonic_means(lopsided: float, even: float) -> Iterator[Expected]:
    """Harmonic means of two pairs of accuracies with an equal arithmetic mean."""

    def hint(answer: Any) -> str:
        if _number(answer) > 1:
            return "Write accuracies as numbers from 0 to 1: 0.88, not 88."
        return "The harmonic mean of a and b is 2ab / (a + b)."

    yield Expected(
        "lopsided",
        hmean([0.88, 0.02]),
        hint(lopsided),
        "A harmonic mean is at most twice the smaller accuracy. So 88 % on known species cannot hide that unknown "
        "ones are almost never named.",
        within=1e-3,
    )
    yield Expected(
        "even",
        hmean([0.45, 0.45]),
        hint(even),
        "With equal accuracies, both means agree. Calibrated stacking gives up accuracy on known species for this.",
        within=1e-3,
    )


def claims(supported: Mapping[str, bool]) -> Iterator[Expected]:
    """Which of four sentences about unknown species follow from the evidence given with them."""
    yield Expected(
        "supported",
        {"A": False, "B": False, "C": True, "D": False},
        "For each sentence ask three questions. Which images chose the score and the threshold? How many choices were "
        "tried on those images? Which images does the sentence speak of?",
        "A chose the score on the test it reports, so the maximum is biased upwards. B: that a report left something "
        "out does not show that it is hard; one threshold on a score is enough. D speaks of all unknown animals but "
        "has seen ten species. C reports a score and a threshold that were fixed before its images were opened.",
    )
