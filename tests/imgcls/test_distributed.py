"""Two processes train as one: the same global batches, the same weights, and errors where they cannot."""

import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch
from conftest import colour_split
from torch import nn

from imgcls import transforms as T
from imgcls.training import (
    Batch,
    Distributed,
    Recipe,
    make_loss,
    make_optimizer,
    steps_per_epoch,
    train_batches,
    train_step,
)

HERE = Path(__file__).parent
CPU = torch.device("cpu")
TRANSFORMS = (
    T.RandomCrop(2), T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(10),
    T.RandomResizedCrop(), T.ColorJitter(0.3, 0.3, 0.3, 0.1), T.TrivialAugment(),
)  # fmt: skip


def run_shared(file: Path, *launcher: str) -> dict:
    command = [sys.executable, *launcher, str(HERE / "training_process.py"), "share", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(file) | {"stderr": done.stderr}


def test_two_processes_train_as_one(tmp_path):
    one = run_shared(tmp_path / "one.pt")
    two = run_shared(tmp_path / "two.pt", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert (one["size"], two["size"]) == (1, 2)
    assert len(one["order"]) == 7  # 200 images in batches of 32, the last of 8
    for batch, shared in zip(one["order"], two["order"], strict=True):  # images as augmented, and labels
        assert all(torch.equal(a, b) for a, b in zip(batch, shared, strict=True))
    for name, value in one["weights"].items():
        assert torch.allclose(value, two["weights"][name], atol=1e-5), name
        assert not torch.equal(value, one["start"][name]), f"{name} was never trained"
    for row, shared in zip(one["rows"], two["rows"], strict=True):
        assert row["train_loss"] == pytest.approx(shared["train_loss"], rel=1e-4)
        assert (row["train_accuracy"], row["val_accuracy"]) == (shared["train_accuracy"], shared["val_accuracy"])
    assert two["stderr"].count("best epoch") == 1  # one of them writes


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("size", [2, 3])
def test_shares_put_together_are_the_whole_batch(transform, size):
    split = colour_split(52, seed=1, size=16)
    recipe = Recipe(batch_size=16, transforms=(transform, T.RandomHorizontalFlip()), drop_last=False)
    whole = list(train_batches(split, recipe, seed=3, epoch=2))
    shards = [list(train_batches(split, recipe, 3, 2, world=Distributed(CPU, rank, size))) for rank in range(size)]
    for batch, parts in zip(whole, zip(*shards, strict=True), strict=True):
        assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
        assert {part.global_size for part in parts} == {len(batch.labels)}
        images = torch.cat([part.images for part in parts])
        # resampling vectorises over the batch, so a level may be rounded the other way
        assert (images.int() - batch.images.int()).abs().max() <= 1
        assert (images != batch.images).float().mean() < 1e-3


def test_a_transform_without_parameters_cannot_be_shared():
    recipe = Recipe(batch_size=16, transforms=(lambda x, g: x,))
    stream = train_batches(colour_split(50, seed=1), recipe, seed=3, epoch=2, world=Distributed(CPU, 0, 2))
    with pytest.raises(TypeError, match="cannot be applied to a part of a batch: it has no draw and apply"):
        next(stream)


@pytest.mark.parametrize("n", [7, 8, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_rows_cover_a_batch_once(n, size):
    rows = [list(range(n))[Distributed(CPU, rank, size).shard(n)] for rank in range(size)]
    assert list(chain(*rows)) == list(range(n))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_batch_too_small_to_share_is_refused():
    with pytest.raises(
        ValueError, match=r"3 processes cannot share a batch of 2: raise batch_size \(now 8\), or leave out"
    ):
        steps_per_epoch(26, Recipe(batch_size=8, drop_last=False), 3)
    assert steps_per_epoch(26, Recipe(batch_size=8), 3) == 3


def test_out_of_memory_in_one_of_several_processes_names_the_setting():
    class Full(nn.Linear):
        def forward(self, images):
            raise torch.OutOfMemoryError("CUDA out of memory")

    model, recipe, train = Full(3, 3), Recipe(batch_size=128), colour_split(32, seed=1)
    batch, loss = Batch(train.images, train.labels, train.labels, 128), make_loss(recipe, train, CPU)
    with pytest.raises(torch.OutOfMemoryError, match="one of 4 processes: set micro_batch_size=16"):
        train_step(model, make_optimizer(model, recipe), batch, loss, recipe, Distributed(CPU, 0, 4))
