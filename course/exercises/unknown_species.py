"""Expected answers of the exercises of notebook 06, and the scores that they use."""

from collections.abc import Callable, Iterator, Mapping

import torch
from scipy.stats import hmean
from torch import Tensor

from course.exercises import Expected
from imgcls import openset
from imgcls.reproducibility import generator


def example_scores() -> tuple[Tensor, Tensor, Tensor]:
    """Scores of known validation, known test and unknown test images, float32 (60,), (60,) and (40,)."""
    draws = generator(0, "exercises of unknown species")
    return (
        torch.randn(60, generator=draws) + 1.5,
        torch.randn(60, generator=draws) + 1.5,
        torch.randn(40, generator=draws),
    )


def energy_score(energy_of: Callable[[Tensor, float], Tensor]) -> Iterator[Expected]:
    """The energy score at two temperatures, also of logits whose exponentials overflow."""
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [500.0, 499.0, -3.0]])
    found = [energy_of(logits, temperature) for temperature in (1.0, 4.0)]
    yield Expected(
        "energy_of",
        torch.stack([openset.energy(logits, 1.0), openset.energy(logits, 4.0)]),
        "T · ln Σ exp(z / T), one number for each row. `logsumexp` computes the sum without an overflow.",
        "The score is a soft maximum of the logits. `logsumexp` subtracts the largest logit, so nothing overflows.",
        within=1e-3,
        answer=... if any(scores is ... for scores in found) else torch.stack(found),
    )


def auroc_by_hand(area: float, passed: float) -> Iterator[Expected]:
    """AUROC over all pairs, and the share of unknown images that the threshold on known validation images accepts."""
    validation, known, unknown = example_scores()
    yield Expected(
        "area",
        openset.auroc(known, unknown).value,
        "There are 60 × 40 pairs of a known and an unknown image; `a[:, None] > b` compares them all.",
        "The share of pairs in the right order needs no threshold: it is the area under the ROC curve.",
        within=1e-4,
    )
    yield Expected(
        "passed",
        (unknown >= openset.threshold_at_tpr(validation, 0.95)).float().mean(),
        "Sort the validation scores. The threshold is the largest of them that 57 of the 60 reach.",
        "A good AUROC is no promise at one threshold: that depends on the lower tail of the known images.",
        within=1e-4,
    )


def honest_threshold(choose_threshold: Callable[[Tensor, Tensor, Tensor], float]) -> Iterator[Expected]:
    """A threshold that depends on known validation images alone."""
    validation, known, unknown = example_scores()
    yield Expected(
        "choose_threshold",
        [openset.threshold_at_tpr(validation, 0.95)] * 2,
        "The result may depend on the first argument only. Take the largest validation score that at least 95 % of the "
        "validation scores reach.",
        "The threshold is the same whatever the test contains, so the test remains an evaluation.",
        within=1e-4,
        answer=[choose_threshold(validation, known, unknown), choose_threshold(validation, known - 2, unknown + 3)],
    )


def harmonic_means(lopsided: float, even: float) -> Iterator[Expected]:
    """Harmonic means of two pairs of accuracies with an equal arithmetic mean."""
    hint = "The harmonic mean of a and b is 2ab / (a + b)."
    yield Expected(
        "lopsided", hmean([0.88, 0.02]), hint, "One accuracy near 0 makes the harmonic mean small.", within=1e-3
    )
    yield Expected(
        "even", hmean([0.45, 0.45]), hint, "With equal accuracies, harmonic and arithmetic mean agree.", within=1e-3
    )


def claims(supported: Mapping[str, bool]) -> Iterator[Expected]:
    """Which of four sentences about unknown species follow from the evidence given with them."""
    yield Expected(
        "supported",
        {"A": False, "B": False, "C": True, "D": False},
        "For each sentence ask three questions. Which images chose the score and the threshold? How many choices were "
        "tried on those images? Which images does the sentence speak of?",
        "A chose the score on the test it reports, so the maximum is biased upwards. B is refuted by a threshold on "
        "the largest logit, which is one line of code. D speaks of all unknown animals but has seen ten species. C "
        "reports a score and a threshold that were fixed before its images were opened.",
    )
