"""Two processes as one: the same global batches, the same weights, and what a team says when it cannot."""

import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch
from conftest import colour_split

from imgcls import transforms as T
from imgcls.data.batches import batches
from imgcls.training import Distributed, Recipe
from imgcls.training.loop import _halved, steps_in_epoch

HERE = Path(__file__).parent
CPU = torch.device("cpu")
TRANSFORMS = (
    T.RandomCrop(2), T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(10),
    T.RandomResizedCrop(), T.ColorJitter(0.3, 0.3, 0.3, 0.1), T.TrivialAugment(),
)  # fmt: skip


def share(file: Path, *launcher: str) -> dict:
    command = [sys.executable, *launcher, str(HERE / "training_process.py"), "share", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(file) | {"said": done.stderr}


def test_two_processes_train_as_one(tmp_path):
    alone = share(tmp_path / "one.pt")
    distributed = share(tmp_path / "two.pt", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert (alone["size"], distributed["size"]) == (1, 2)
    assert len(alone["order"]) == 7  # 200 images in batches of 32, the last of 8
    for one, two in zip(alone["order"], distributed["order"], strict=True):  # images as augmented, and labels
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    for name, value in alone["weights"].items():
        assert torch.allclose(value, distributed["weights"][name], atol=1e-5), name
        assert not torch.equal(value, alone["start"][name]), f"{name} was never trained"
    for one, two in zip(alone["rows"], distributed["rows"], strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)
        assert (one["train_accuracy"], one["val_accuracy"]) == (two["train_accuracy"], two["val_accuracy"])
    assert distributed["said"].count("kept epoch") == 1  # one of them speaks


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("size", [2, 3])
def test_shares_put_together_are_the_whole_batch(transform, size):
    split = colour_split(52, seed=1, size=16)
    whole = list(batches(split, 16, seed=3, epoch=2, transforms=(transform, T.RandomHorizontalFlip())))
    train_batches = [
        list(batches(split, 16, seed=3, epoch=2, transforms=(transform, T.RandomHorizontalFlip()),
                     shard=Distributed(CPU, rank, size).shard if rank < size else None))
        for rank in range(size)
    ]  # fmt: skip
    for step, (images, labels) in enumerate(whole):
        parts = [one[step] for one in train_batches]
        assert torch.equal(torch.cat([y for _, y in parts]), labels)
        together = torch.cat([x for x, _ in parts])
        # resampling vectorises over the batch, so a level may be rounded the other way
        assert (together.int() - images.int()).abs().max() <= 1
        assert (together != images).float().mean() < 1e-3


def test_a_transform_without_parameters_cannot_be_shared():
    split = colour_split(50, seed=1)
    stream = batches(split, 16, seed=3, epoch=2, transforms=(lambda x, g: x,), shard=Distributed(CPU, 0, 2).shard)
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
        steps_in_epoch(26, Recipe(batch_size=8, drop_last=False), 3)
    assert steps_in_epoch(26, Recipe(batch_size=8), 3) == 3


def test_out_of_memory_in_a_team_names_the_setting():
    with pytest.raises(torch.OutOfMemoryError, match="one of 4 processes: set micro_batch=16"):
        _halved(32, Distributed(CPU, 0, 4), torch.OutOfMemoryError("CUDA out of memory"))
