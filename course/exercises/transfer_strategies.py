"""What is expected in the exercises of notebook 07."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises import Expected


def _nested() -> nn.Sequential:
    """A network like VGG: layers in containers, and a pooling between them."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


def last_layers(freeze_partial: Callable[[nn.Module, int], Any]) -> Iterator[Expected]:
    """Number of parameters that train for each k, in a network that trained fully before."""
    networks = [_nested() for _ in range(4)]
    for k, network in enumerate(networks, start=1):
        freeze_partial(network, k)
    counts = [sum(p.numel() for p in network.parameters() if p.requires_grad) for network in networks]
    yield Expected(
        "freeze_partial", [330, 330 + 544, 330 + 544 + 1168, 330 + 544 + 1168 + 224],
        "Count the layers that have weights, also inside containers: `network.modules()` finds nested ones, in order. "
        "All others must be frozen.",
        "Each k adds one layer: 330, 544, 1,168 and 224 parameters from the output layer backwards.",
        answer=counts,
    )  # fmt: skip


def drifting_mean(drifted_to: Any, half_way: Any) -> Iterator[Expected]:
    """The running mean of a batch norm in training mode, whose weights are frozen."""
    norm = nn.BatchNorm1d(1, momentum=0.1).requires_grad_(False).train()
    track = [float((norm(torch.tensor([[1.0], [3.0]])), norm.running_mean)[1]) for _ in range(20)]
    yield Expected(
        "drifted_to", track[-1],
        "What is left of the way is multiplied by 0.9 with each batch; subtract it from the whole way.",
        "After 20 batches almost 90 % of the way is done. `requires_grad` does not stop it.",
        within=1e-3,
    )  # fmt: skip
    yield Expected(
        "half_way", sum(mean < 1 for mean in track) + 1,
        "After how many multiplications by 0.9 is at most half of the way left?",
        "Seven batches are enough, although no weight may change.",
    )  # fmt: skip


def frozen_batch_norm(freeze_backbone: Callable[[nn.Module], Any]) -> Iterator[Expected]:
    """What trains and what moves in a network after two batches."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    freeze_backbone(network)
    before = network[1].running_mean.clone()
    for seed in (0, 1):
        network(torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) + 3)
    yield Expected(
        "freeze_backbone", [False, False, True],
        "Look at `requires_grad` of the convolution, of the batch norm and of the last layer.",
        "Only the last layer has trainable parameters.",
        answer=[all(p.requires_grad for p in network[k].parameters()) for k in (0, 1, 6)],
    )  # fmt: skip
    yield Expected(
        "freeze_backbone", [True, False],
        "The running averages still move, or the batch norm still normalises by the batch. Which mode prevents it, and "
        "does a later call undo it?",
        "The batch norm is in evaluation mode: its averages stay, and no image depends on the others of its batch.",
        answer=[torch.equal(before, network[1].running_mean), network[1].training],
    )  # fmt: skip
    yield Expected(
        "freeze_backbone", [True],
        "Dropout should still be in training mode: change the mode of the batch norms alone.",
        "Dropout still regularises the head.",
        answer=[network[3].training],
    )  # fmt: skip


def closed_form_probe(probe_classes: Callable[..., Tensor]) -> Iterator[Expected]:
    """Predictions of ridge regression on made-up features, weak and strong penalty."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    x, test = torch.randn(90, 5, generator=draw), torch.randn(200, 5, generator=draw)
    x[:, :3] += 1.5 * nn.functional.one_hot(labels).float()
    for strength, what in ((0.1, "weak"), (500.0, "strong")):
        targets = nn.functional.one_hot(labels).float()
        weights = torch.linalg.solve(x.T @ x + strength * torch.eye(5), x.T @ targets)
        yield Expected(
            "probe_classes", (test @ weights).argmax(dim=1),
            f"Wrong for a {what} penalty. Solve one system of equations for all classes, with λ on the diagonal, and "
            "take the largest column for each *test* row.",
            f"The same classes as the closed form, with a {what} penalty.",
            answer=probe_classes(x.clone(), labels.clone(), test.clone(), strength),
        )  # fmt: skip


def two_starting_points(confounded: Any, runs_needed: Any) -> Iterator[Expected]:
    """What differs between the two networks, and the runs of a crossed experiment."""
    yield Expected(
        "confounded", "abd",
        "Go through the list: what is different for the EfficientNet and for the small network, and what is the same?",
        "Architecture, number of pretraining images and image size all differ, so the claim names one of four causes.",
    )  # fmt: skip
    yield Expected(
        "runs_needed", 12,
        "Every kind of pretraining images meets every architecture, and each pair runs with every seed.",
        "Two kinds times two architectures times three seeds.",
    )  # fmt: skip
