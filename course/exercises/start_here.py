"""What the exercises of notebook 00 expect: a convolution, the loss, a gradient step, a training step, a claim."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course.exercises import Expected
from imgcls.evaluation.statistics import wilson


def convolution(top_left: Any, rows_after: Any, learned: Any) -> Iterator[Expected]:
    """One output of a convolution, its number of rows, and the number of its weights."""
    image = torch.tensor([[1.0, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 0]])
    kernel = torch.tensor([[-1.0] * 3, [0.0] * 3, [1.0] * 3])
    yield Expected(
        "top_left", F.conv2d(image[None, None], kernel[None, None])[0, 0, 0, 0],
        "Multiply the kernel with the first three rows and columns of the image, and add up the nine products.",
        "The row below minus the row above: the image becomes brighter downwards, so the sum is positive.",
    )  # fmt: skip
    yield Expected(
        "rows_after", F.conv2d(torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 5, 5)).shape[2],
        "In how many rows of the image can the top row of the kernel be, if all its rows must be inside?",
        "Without padding, a kernel of size K shortens each side by K - 1. Padding adds rows of zeros to prevent that.",
    )  # fmt: skip
    yield Expected(
        "learned", sum(weights.numel() for weights in nn.Conv2d(3, 16, kernel_size=3).parameters()),
        "Each of 16 kernels covers all three channels of the input, and each has one bias.",
        "The number depends on channels and kernel alone. It is the same for an image of any size.",
    )  # fmt: skip


def loss(mean_cross_entropy: Callable[[Tensor, Tensor], Tensor], uniform_loss: Any) -> Iterator[Expected]:
    """Cross-entropy by hand, on logits that give probabilities of any size."""
    scores = 3 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([0, 1, 2, 3, 1, 1])
    yield Expected(
        "mean_cross_entropy", F.cross_entropy(scores, truth),
        "Take the softmax of each row, pick the probability of the true class, and average minus its logarithm.",
        "Only the probability of the true class counts; the softmax connects it with all other logits.",
        within=1e-4, answer=mean_cross_entropy(scores, truth),
    )  # fmt: skip
    yield Expected(
        "uniform_loss", F.cross_entropy(torch.zeros(1, 10), torch.tensor([0])),
        "Each of ten classes gets the probability 1/10. The logarithm is the natural one, and a loss is not negative.",
        "It is ln 10: the loss of a ten-class network before training should be near it.",
        within=5e-3,  # 2.3 is right
    )  # fmt: skip


def gradient_step(after_one_step: Any, too_long: Any) -> Iterator[Expected]:
    """A step on (w - 3)² from w = 0, and the smallest rate at which a step no longer brings w nearer to 3."""
    where = torch.tensor(0.0, requires_grad=True)
    ((where - 3) ** 2).backward()
    torch.optim.SGD([where], lr=0.1).step()
    yield Expected(
        "after_one_step", where.item(),
        "The derivative of the loss is 2 (w - 3). A step goes against it.",
        "The gradient at 0 is -6, so the weight grows by 0.1 times 6, towards the minimum at 3.",
        within=1e-4,
    )  # fmt: skip
    rates = torch.linspace(0.01, 2, 200)  # a step with rate r multiplies the distance to the minimum by |1 - 2 r|
    yield Expected(
        "too_long", rates[(1 - 2 * rates).abs() >= 1 - 1e-5].min(),
        "By what factor does one step multiply the distance to 3? Both signs count.",
        "The distance is multiplied by |1 - 2η|. At η = 1 the weight jumps from one side to the other for ever.",
        within=0.005,
    )  # fmt: skip


def repair_the_step(three_steps: Callable[[Tensor, Tensor, float, float], Tensor]) -> Iterator[Expected]:
    """Three steps of gradient descent with gradients that do not add up."""
    start, pixels = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 2.0, -1.0])
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        (((weight * pixels).sum() - 1.5) ** 2).backward()
        optimizer.step()
    try:
        result = three_steps(start, pixels, 1.5, 0.05)
    except (AttributeError, TypeError) as error:
        if "NoneType" not in str(error):
            raise
        reason = "a gradient is None before the first `backward()`, and after it is cleared"
        raise type(error)(f"{error} ({reason})") from error
    yield Expected(
        "three_steps", weight.detach(),
        "Print the gradient before each step. What does `backward()` do with the gradient that is already there?",
        "`backward()` adds to the gradient. A training loop clears it in each step: `optimizer.zero_grad()`.",
        within=1e-4, answer=result,
    )  # fmt: skip


def claim(lower_limit: Any, verdict: Any, chosen_on: Any) -> Iterator[Expected]:
    """92 of 100 against 88 of 100, with an epoch that was chosen on the test images."""
    yield Expected(
        "lower_limit", wilson(92, 100).low,
        "Use `wilson(92, 100)`; its limits are called low and high.",
        "The true accuracy may be several points below the measured one.",
        within=5e-4,
    )  # fmt: skip
    yield Expected(
        "verdict", "inconclusive",
        "Compare the intervals of both networks. Do they exclude that the older one is as accurate?",
        "The intervals overlap widely, and the images differ. Neither better nor worse is shown.",
    )  # fmt: skip
    yield Expected(
        "chosen_on", "validation",
        "Which split may influence choices, and which one only measures?",
        "The best of 20 test accuracies is too high by chance alone. Validation images choose.",
    )  # fmt: skip
