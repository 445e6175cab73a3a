"""Expected answers of the exercises of notebook 02."""

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from course.exercises import Expected

BASE, PEAK, HALF_CYCLE = 1e-3, 5e-3, 4  # learning rates, and the steps from one to the other
STEPS = 12


def floors(tanh_floor: float, binary_floor: float) -> Iterator[Expected]:
    """Lowest losses with forty classes: cross-entropy after a tanh, and binary cross-entropy after two sigmoids."""
    eye = torch.eye(40, dtype=torch.float64)
    yield Expected(
        "tanh_floor",
        F.cross_entropy(2 * eye - 1, torch.arange(40)),
        "At best the true class has the output 1 and each of the 39 other classes has the output −1.",
        "The range of a tanh is twice that of a sigmoid. The floor is lower, and it is still far above 0.",
        within=1e-3,
    )
    yield Expected(
        "binary_floor",
        F.binary_cross_entropy_with_logits(eye, eye),
        "The loss applies its own sigmoid to outputs that are at best 1 (true class) and 0 (39 other classes). "
        "Average −ln of the 40 resulting probabilities.",
        "A class that is absent gets a probability of at least σ(0) = 0.5, so each of the 39 costs at least ln 2.",
        within=1e-3,
    )


def sigmoid_before_loss(training_loss: Callable[[Tensor, Tensor], Tensor]) -> Iterator[Expected]:
    """A loss without a floor: the cross-entropy of the outputs themselves."""
    outputs = torch.tensor([[8.0, -2.0, 0.5], [0.3, 3.0, -1.0], [-1.0, 0.0, 20.0], [5.0, 1.0, 2.0]])
    labels = torch.tensor([0, 1, 2, 1])
    yield Expected(
        "training_loss",
        F.cross_entropy(outputs, labels),
        "`cross_entropy` applies log-softmax itself, so it takes outputs of any size. What has to go?",
        "The outputs reach the loss as logits. Its lowest value is 0 again, and large outputs have a gradient.",
        within=1e-4,
        answer=training_loss(outputs, labels),
    )


def stepped_schedule(learning_rates: Callable[[int], list[float]]) -> Iterator[Expected]:
    """The rate of each step of a triangular cycle that starts at its lowest rate."""
    rising = [BASE + (PEAK - BASE) * step / HALF_CYCLE for step in range(HALF_CYCLE)]
    falling = [PEAK - (PEAK - BASE) * step / HALF_CYCLE for step in range(HALF_CYCLE)]
    cycle = rising + falling
    yield Expected(
        "learning_rates",
        [cycle[step % len(cycle)] for step in range(STEPS)],
        "The schedule changes the rate only when its `step()` is called: once a batch, after `optimizer.step()`. "
        "The first batch uses the lowest rate.",
        "The rate of the first step is the lowest, and the schedule moves after the optimizer has used the rate.",
        within=1e-9,
        answer=learning_rates(STEPS),
    )


def sampling_weights(weights_of: Callable[[Tensor], Tensor]) -> Iterator[Expected]:
    """Probability of each image when every class is drawn equally often."""
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 2, 0])
    counts = labels.bincount()
    yield Expected(
        "weights_of",
        1 / (len(counts) * counts[labels]),
        "Each of the classes gets the same total probability, and its images share that probability equally. "
        "`labels.bincount()` counts the images of each class.",
        "Every class has the same total probability, so an image of a rare class is drawn more often.",
        within=1e-5,
        answer=weights_of(labels),
    )


def claims(supported: Mapping[str, bool]) -> Iterator[Expected]:
    """Which conclusions follow from the report's own numbers."""
    yield Expected(
        "supported",
        {"A": False, "B": True, "C": False, "D": False},
        "Compare each sentence with the limits: uniform prediction ln 40, floor ln((e + 39)/e), ceiling 80 %. "
        "Then ask what a comparison at equal epochs holds constant.",
        "Only B follows: 56 % over all fifty species and 56 % / 80 % = 70 % over the forty known species are the same "
        "number of correct images. A: the last loss is near the middle of its possible range, so the network has "
        "learned something. C: the epochs were equal, not the compute. D: the sigmoid keeps the loss above its floor, "
        "however long the training.",
    )
