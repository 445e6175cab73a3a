"""Gain of two custom layers over PyTorch's plain modules: training steps of CIFAR networks on images in memory.

python -m benchmarks.layers [--runs 51] [--out FILE]     (about two minutes)

Both sides train the same network on the same batch, in the same precision; only the named layer differs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.measure import alternate, arguments, seconds_of
from benchmarks.record import report, versus
from imgcls.models import create_model
from imgcls.models.layers import Dropout
from imgcls.precision import autocast
from imgcls.reproducibility import configure_threads, generator

BATCH, STEPS, SIZE, CLASSES = 128, 2, 32, 10


def plain_dropout(network: nn.Module) -> None:
    """Replace the dropout of imgcls by PyTorch's."""
    for path, module in list(network.named_modules()):
        if isinstance(module, Dropout):
            network.set_submodule(path, nn.Dropout(module.p))


def relu_before_pool(network: nn.Module) -> None:
    """Swap pooling and ReLU at the end of each block, so that the ReLU comes first."""
    for block in network.features:
        pool = next(i for i, module in enumerate(block) if isinstance(module, nn.MaxPool2d))
        block[pool], block[pool + 1] = block[pool + 1], block[pool]


ROWS = {
    "dropout_vs_torch": ("cifar_dropout", plain_dropout, "nn.Dropout"),
    "pool_before_relu": ("cifar_batchnorm", relu_before_pool, "ReLU before pooling"),
}


def trainer(name: str, change: Callable[[nn.Module], None] | None = None) -> Callable[[], float]:
    """Build a function that trains for STEPS steps and returns the milliseconds per step."""
    torch.manual_seed(0)
    model = create_model(name, CLASSES, image_size=SIZE, statistics=(0.5, 0.25)).train()
    if change:
        change(model.network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    draws = generator(0, "images")
    images = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8, generator=draws)
    labels = torch.randint(0, CLASSES, (BATCH,), generator=draws)

    def steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            with autocast(torch.device("cpu")):
                loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()

    return lambda: 1000 * seconds_of(steps) / STEPS


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, runs=51)
    configure_threads()
    rows = []
    for row, (name, change, peer) in ROWS.items():
        print(row, flush=True)
        works = {"ours": trainer(name), "peer": trainer(name, change)}
        for work in works.values():
            work()
        found = alternate(works, args.runs, "ms")
        rows.append(
            versus(row, "ms", found["ours"], found["peer"], peer, "> 1", what=f"one step of {name}", steps=STEPS)
        )
    report(rows, args.out)


if __name__ == "__main__":
    main()
