"""Overhead of a training loop over its arithmetic: steps of about a millisecond on images in memory.

python -m benchmarks.loop_overhead [--runs 25] [--out FILE]     (about four minutes)

Every loop trains the same model on the same shuffled batches in the same precision. The rows `step_vs_…` compare a step
of imgcls with the same step without one of its optimisations.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks import loops
from benchmarks.measure import alternate, arguments, own_process
from benchmarks.record import Row, report, version, versus
from benchmarks.tasks import LR, MOMENTUM, WEIGHT_DECAY
from imgcls.models import create_model
from imgcls.reproducibility import configure_threads, generator
from imgcls.training import Recipe

BATCH, STEPS, SIZE, CLASSES = 32, 400, 16, 10
PEERS = ("lightning", "fastai", "accelerate")
WITHOUT = {  # optimisation left out -> network, batch size, what is patched, replacement
    "default_malloc": ("cifar_dropout", 128, "platform.libc_ver", lambda: ("", "")),
    "unfused": ("simple_cnn", 32, "imgcls.training.optimizers.FUSED", ()),
}


@dataclass(frozen=True)
class Images:
    """A split in memory."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = tuple("abcdefghij")


@cache
def images(count: int, size: int = SIZE) -> Images:
    """Random images, whose content does not change the time."""
    draws = generator(0, "images")
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draws)
    return Images(pixels, torch.randint(0, CLASSES, (count,), generator=draws))


class Shuffled:
    """Batches from memory, shuffled anew in each pass, so that a peer's loop needs no loader."""

    def __init__(self, split: Images) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split.labels) // BATCH

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.split.labels))
        for step in range(len(self)):
            index = order[step * BATCH : (step + 1) * BATCH]
            yield self.split.images.index_select(0, index), self.split.labels.index_select(0, index)


def network() -> nn.Module:
    """Build a small model with normalisation statistics."""
    torch.manual_seed(0)
    model = create_model("simple_cnn", CLASSES, image_size=SIZE, blocks=2, filters=8)
    model.normalize.set_statistics((0.5,) * 3, (0.25,) * 3)
    return model


def milliseconds(name: str, steps: int = STEPS) -> float:
    """Time of one step, the mean over `steps`."""
    configure_threads()
    train, val = images(steps * BATCH), images(4)
    if name == "ours":
        recipe = Recipe(
            epochs=1, batch_size=BATCH, lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, schedule="constant"
        )
        done = loops.ours(network(), train, val, recipe)
    elif name == "bare":
        done = loops.plain(network(), Shuffled(train), fast=True)
    elif name == "fastai":
        from fastai.data.core import DataLoaders
        from fastai.data.load import DataLoader

        done = loops.fastai(network(), DataLoaders(*(DataLoader(Shuffled(train)) for _ in range(2))), fast=True)
    else:
        done = loops.PEERS[name](network(), Shuffled(train), fast=True)
    if done.steps != steps:
        raise RuntimeError(f"{name} did {done.steps} steps instead of {steps}")
    return 1000 * done.seconds / done.steps


def step_milliseconds(name: str, patched: bool, steps: int = 20) -> float:
    """Mean time of one step on images of 32 px, with or without an optimisation."""
    architecture, batch, target, replacement = WITHOUT[name]
    with patch(target, replacement) if patched else nullcontext():
        configure_threads()  # once per process
        torch.manual_seed(0)
        model = create_model(architecture, CLASSES, image_size=32)
        recipe = Recipe(epochs=1, batch_size=batch, lr=0.01, schedule="constant")
        done = loops.ours(model, images(steps * batch, 32), images(4, 32), recipe)
    return 1000 * done.seconds / done.steps


def steps_without(runs: int) -> list[Row]:
    """Measure a row for each optimisation of a step."""
    rows = []
    for name, (architecture, batch, *_) in WITHOUT.items():
        with own_process() as a, own_process() as b:
            works = {
                key: partial(a if key == "ours" else b, step_milliseconds, name, key != "ours")
                for key in ("ours", name)
            }
            for work in works.values():
                work()
            found = alternate(works, runs, "ms")
        what, settings = "a training step", f"{architecture} at 32 px, batches of {batch}"
        peer = f"the same, {name.replace('_', ' ')}"
        rows.append(
            versus(f"step_vs_{name}", "ms", found["ours"], found[name], peer, "> 1", what=what, settings=settings)
        )
    return rows


def main() -> None:
    """Measure, print, record."""
    args = arguments(__doc__, runs=25)
    print(f"loop overhead, {STEPS} steps a run", flush=True)
    with own_process() as both, own_process() as a, own_process() as b, own_process() as c:
        works = {"bare": partial(both, milliseconds, "bare"), "ours": partial(both, milliseconds, "ours")}
        works |= {name: partial(process, milliseconds, name) for name, process in zip(PEERS, (a, b, c), strict=True)}
        for work in works.values():
            work()
        found = alternate(works, args.runs, "ms")
    rows = [
        versus(
            "loop_overhead",
            "ms",
            found["ours"],
            found["bare"],
            "bare PyTorch loop",
            "<= 1.05",
            what="one step",
            settings=f"batches of {BATCH} in memory",
            steps=STEPS,
        )
    ]
    for name in PEERS:
        cost = versus("", "ms", found[name], found["bare"], "", "<= 1.05")["ratio"]
        rows.append(
            versus(
                f"loop_overhead_{name}",
                "ms",
                found["ours"],
                found[name],
                f"{name} {version(name)}",
                "> 1",
                what="one step",
                settings="nothing logged or saved",
                steps=STEPS,
                peer_overhead=cost,
            )
        )
    report(rows + steps_without(args.runs), args.out)


if __name__ == "__main__":
    main()
