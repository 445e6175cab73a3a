"""What the exercises of notebook 05 expect."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from course.exercises import Expected


def vanishing_gradients(one_sigmoid: Any, ten_sigmoids: Any, ten_relus: Any) -> Iterator[Expected]:
    """Largest factor that a chain of activations leaves of a gradient."""
    inputs = torch.linspace(-6, 6, 1201, requires_grad=True)
    (slopes,) = torch.autograd.grad(torch.sigmoid(inputs).sum(), inputs)
    steepest = float(slopes.max())
    yield Expected(
        "one_sigmoid",
        steepest,
        "A sigmoid is steepest in the middle, at x = 0.",
        "Its slope is at most a quarter.",
        1e-4,
    )
    yield Expected(
        "ten_sigmoids",
        steepest**10,
        "Along a chain the slopes are multiplied.",
        "Less than a millionth remains: here gradients really vanish.",
        1e-9,
    )
    (straight,) = torch.autograd.grad(torch.relu(inputs).sum(), inputs)
    yield Expected(
        "ten_relus",
        float(straight[-1]) ** 10,
        "Above zero the slope of ReLU is 1.",
        "ReLU does not shrink the gradient of a positive input, however deep the network is.",
        1e-6,
    )


def preprocessing(preprocess: Callable[[Tensor], Tensor]) -> Iterator[Expected]:
    """A picture as OpenCV reads it, prepared as the training images were."""
    picture = torch.randint(0, 256, (5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    right = picture.flip(-1).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W), red first
    found = preprocess(picture)
    yield Expected(
        "preprocess",
        list(right.shape),
        "The network takes a batch: (1, 3, H, W), channels before rows and columns.",
        "The shape is that of a batch of one image.",
        answer=list(found.shape),
    )
    yield Expected(
        "preprocess",
        right,
        "Two steps of training are missing: pixels were divided by 255, and red was the first channel.",
        "Now the network receives the range and the order of channels that it was trained on.",
        1e-5,
        answer=found,
    )


def selection(choose_epoch: Callable[..., Any], micro_average: Callable[..., Any]) -> Iterator[Expected]:
    """The epoch is chosen on validation; each image gets exactly one prediction."""
    val, test = torch.tensor([0.50, 0.71, 0.69, 0.70]), torch.tensor([0.48, 0.66, 0.72, 0.67])
    epoch, accuracy = choose_epoch(val, test)
    hint = "The test set may be read once, at the epoch that validation has chosen."
    yield Expected("choose_epoch", 1, hint, "Validation chooses the second epoch.", answer=int(epoch))
    yield Expected(
        "choose_epoch",
        0.66,
        hint,
        "The reported accuracy took no part in the choice, so it is not flattered by it.",
        1e-4,
        answer=float(accuracy),
    )
    logits = 2 * torch.randn(200, 5, generator=torch.Generator().manual_seed(3))
    labels = torch.randint(0, 5, (200,), generator=torch.Generator().manual_seed(4))
    expected = float((logits.argmax(dim=1) == labels).float().mean())
    found = micro_average(logits.softmax(dim=1), labels)
    yield Expected(
        "micro_average",
        [expected, expected],
        "Predict the most probable class of every image, whatever its probability; then count.",
        "With one prediction for each image, micro precision, micro recall and accuracy are the same number.",
        1e-5,
        answer=[float(value) for value in found],
    )


def augmentation_at_test(predict_tta: Callable[..., Tensor]) -> Iterator[Expected]:
    """Test-time augmentation with an image and its mirror image."""
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    weights = torch.randn(3 * 64, 4, generator=torch.Generator().manual_seed(6))
    calls = []

    def model(batch: Tensor) -> Tensor:
        calls.append(batch.shape[0])
        return batch.flatten(1) @ weights

    found = predict_tta(model, images)
    yield Expected(
        "predict_tta",
        (model(images) + model(images.flip(-1))) / 2,
        "Average the logits of each image and of its mirror image. The last dimension is the width.",
        "The mean is the same for an image and its mirror image, as it should be for the classes of this notebook.",
        1e-4,
        answer=found,
    )
    yield Expected(
        "predict_tta",
        found,
        "The prediction for a mirrored image should be that for the image itself.",
        "A flip of the input no longer changes the output.",
        1e-4,
        answer=predict_tta(model, images.flip(-1)),
    )


def claims(holds: Mapping[str, bool]) -> Iterator[Expected]:
    """Which statements about the report's table hold."""
    yield Expected(
        "holds",
        {"A": False, "B": True, "C": False, "D": True},
        "Ask of each number: on which images was it chosen, how often was it repeated, and what was counted?",
        "A and C need repeated runs and a test set that took no part in any choice; the report has neither. B: with "
        "one prediction for each image, micro precision and recall equal the accuracy. D: the last row also has more "
        "epochs.",
    )
