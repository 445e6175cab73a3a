"""Stopped anywhere, killed at random, damaged on disk: a run resumes to the same bits, or the error names why not."""

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import training_process
from test_training import RECIPE, same, small_net, weights

from imgcls.models import create_model
from imgcls.tracking import start
from imgcls.training import fit
from imgcls.training.checkpoints import Checkpoints

TIMES = ("seconds", "images_per_second")


class Interrupted(Exception):
    """Planted in the middle of a run."""


@pytest.mark.parametrize("stop_at", [1, 2, 8, 9, 15])  # six steps an epoch: first, mid and last steps
def test_a_run_stopped_anywhere_and_resumed_gives_the_same_bits(tiny, tmp_path, stop_at):
    train, val = tiny
    undisturbed = small_net()
    whole = fit(undisturbed, train, val, RECIPE, seed=5)

    calls = 0

    def interrupt(module, inputs):
        nonlocal calls
        calls += module.training
        if calls == stop_at + 1:
            raise Interrupted

    folder = tmp_path / "run"
    broken = small_net()
    hook = broken.register_forward_pre_hook(interrupt)
    with pytest.raises(Interrupted):
        fit(broken, train, val, RECIPE, seed=5, checkpoint=folder, checkpoint_every=2)
    hook.remove()

    resumed = small_net(seed=99)  # whatever it holds is replaced
    torch.manual_seed(1234)  # and the global random state does not matter
    history = fit(resumed, train, val, RECIPE, seed=5, checkpoint=folder, checkpoint_every=2)
    if stop_at == 1:  # nothing was saved yet: the run starts over from other weights
        assert not same(weights(resumed), weights(undisturbed))
    else:
        assert same(weights(resumed), weights(undisturbed))
        assert history.best_epoch == whole.best_epoch
        columns = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
        assert history.frame()[columns].equals(whole.frame()[columns])


def test_resuming_under_another_recipe_is_refused_and_named(tiny, tmp_path):
    train, val = tiny
    folder = tmp_path / "run"
    recipe = replace(RECIPE, epochs=1)
    fit(small_net(), train, val, recipe, checkpoint=folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"lr was 0\.05, now 0\.07"):
        fit(small_net(), train, val, replace(recipe, lr=0.07), checkpoint=folder)
    with pytest.raises(ValueError, match="seed was 0, now 1"):
        fit(small_net(), train, val, recipe, seed=1, checkpoint=folder)
    with pytest.raises(ValueError, match="training data was"):
        fit(small_net(), val, val, recipe, checkpoint=folder)
    with pytest.raises(ValueError, match=r"model was \d+ parameters \w+, now \d+ parameters"):
        fit(create_model("cifar_baseline", num_classes=3, widths=(4, 4, 4)), train, val, recipe, checkpoint=folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_more_epochs_extend_a_finished_run_and_fewer_are_refused(tiny, tmp_path):
    """With a constant learning rate, the extended run is that of as many epochs from the start, bit for bit."""
    train, val = tiny
    recipe = replace(RECIPE, epochs=1, schedule="constant")
    undisturbed, extended = small_net(), small_net()
    fit(undisturbed, train, val, replace(recipe, epochs=3), seed=5)
    fit(extended, train, val, recipe, seed=5, checkpoint=tmp_path)
    history = fit(extended, train, val, replace(recipe, epochs=3), seed=5, checkpoint=tmp_path)
    assert [row["epoch"] for row in history.rows] == [1, 2, 3]
    assert same(weights(extended), weights(undisturbed))
    with pytest.raises(ValueError, match="epochs was 3, now 2"):
        fit(small_net(), train, val, replace(recipe, epochs=2), seed=5, checkpoint=tmp_path)


def test_the_newest_two_are_kept_and_a_damaged_one_is_skipped(tiny, tmp_path):
    train, val = tiny
    undisturbed = small_net()
    fit(undisturbed, train, val, RECIPE, seed=5)
    folder = tmp_path / "run"
    fit(small_net(), train, val, RECIPE, seed=5, checkpoint=folder, checkpoint_every=4)  # six steps an epoch
    kept = sorted(folder.iterdir())
    assert [path.name for path in kept] == ["step-000000016.pt", "step-000000018.pt"]

    whole = kept[1].read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1  # one bit in the middle of the weights
    for damaged in (whole[: len(whole) // 3], whole[:-1], bytes(flipped), b""):
        kept[1].write_bytes(damaged)
        resumed = small_net(seed=99)
        with pytest.warns(UserWarning, match=r"step-000000018\.pt is damaged .*resuming from the checkpoint before"):
            fit(resumed, train, val, RECIPE, seed=5, checkpoint=folder)
        assert same(weights(resumed), weights(undisturbed))
        assert kept[1].with_suffix(".damaged").read_bytes() == damaged
        assert [path.name for path in sorted(folder.glob("*.pt"))] == [path.name for path in kept]


class Foreign:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_foreign_pickle_in_the_place_of_a_checkpoint_is_refused_unread(tiny, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    torch.save({"step": Foreign(tmp_path / "owned")}, folder / "step-000000012.pt")
    before = (folder / "step-000000012.pt").read_bytes()
    with pytest.raises(ValueError, match=r"step-000000012\.pt is a pickle of more than tensors.* is refused"):
        fit(small_net(), *tiny, RECIPE, checkpoint=folder)
    assert not (tmp_path / "owned").exists()
    assert (folder / "step-000000012.pt").read_bytes() == before


def test_what_a_killed_write_leaves_is_no_checkpoint(tiny, tmp_path):
    train, val = tiny
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".step-000000012.pt.1a2b3c4d").write_bytes(b"half of a checkpoint")
    model, plain = small_net(), small_net()
    fit(model, train, val, RECIPE, seed=5, checkpoint=folder)
    fit(plain, train, val, RECIPE, seed=5)
    assert same(weights(model), weights(plain))
    assert [path.name for path in sorted(folder.iterdir())] == ["step-000000012.pt", "step-000000018.pt"]  # it is gone


def test_a_finished_run_is_loaded_and_not_trained_again(tiny, tmp_path):
    """Also one that patience ended: it must not go on for another epoch each time it is called."""
    train, val = tiny
    recipe = replace(RECIPE, epochs=9, lr=1e-9, schedule="constant", early_stopping_patience=2)
    first, second = small_net(), small_net()
    whole = fit(first, train, val, recipe, checkpoint=tmp_path)
    assert len(whole.rows) < 9
    again = fit(second, train, val, recipe, checkpoint=tmp_path)
    assert again.rows == whole.rows
    assert same(weights(first), weights(second))


def test_a_run_killed_between_its_log_and_its_checkpoint_loses_no_row(tiny, tmp_path, monkeypatch):
    train, val = tiny
    folder, save = tmp_path / "checkpoints", Checkpoints.save

    def killed(self, step, state):
        if step == 12:  # the end of epoch 2
            raise KeyboardInterrupt
        save(self, step, state)

    monkeypatch.setattr(Checkpoints, "save", killed)
    with pytest.raises(KeyboardInterrupt), start(tmp_path, to=()) as tracker:
        fit(small_net(), train, val, RECIPE, checkpoint=folder, tracker=tracker)
    monkeypatch.undo()
    with start(tmp_path, to=()) as tracker:
        history = fit(small_net(), train, val, RECIPE, checkpoint=folder, tracker=tracker)
    logged = pd.read_csv(tmp_path / "history.csv")
    assert list(logged["epoch"]) == [1, 2, 3]
    assert list(logged["val_loss"]) == [row["val_loss"] for row in history.rows]


def killed_and_resumed(kind: str, folder: Path, kills: int, seed: int) -> None:
    """Start the training, send it SIGKILL at random steps and moments, start it again; let the last one end."""
    server = multiprocessing.get_context("forkserver")  # imports once, and forks a fresh process for each start
    server.set_forkserver_preload(["imgcls.models", "imgcls.training", "timm.utils", "torch._dynamo", "accelerate"])
    draws = random.Random(seed)
    moments = sorted(draws.sample(range(1, 110), kills))  # of 120 steps
    for step in [*moments, None]:
        process = server.Process(target=training_process.run, args=(kind, folder))
        process.start()
        while process.is_alive() and (step is None or newest(folder) < step):
            time.sleep(0.002)
        if step is not None:
            assert process.is_alive(), f"the training ended before step {step}"
            time.sleep(draws.uniform(0, 0.03))
            process.kill()
        process.join(timeout=120)
        assert process.exitcode == (0 if step is None else -signal.SIGKILL)


def newest(folder: Path) -> int:
    return max((int(path.name[5:14]) for path in folder.glob("step-*") if path.suffix in ("", ".pt")), default=0)


def flatten(value, path=""):
    """Every leaf of nested dicts and lists with its path."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {leaf: v for key, inner in items for leaf, v in flatten(inner, f"{path}/{key}").items()}
    return {path: value}


def differences(first: dict, second: dict) -> list[str]:
    first, second = flatten(first), flatten(second)
    assert first.keys() == second.keys()
    times = (*TIMES, "elapsed")
    return [
        name
        for name, value in first.items()
        if not name.endswith(times)
        and not (torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name])
    ]


def test_killed_five_times_and_resumed_gives_the_same_bits(tmp_path):
    """Weights, averaged weights, best weights, optimizer state and history."""
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    killed_and_resumed("fit", calm, kills=0, seed=0)
    killed_and_resumed("fit", killed, kills=5, seed=1)
    one, two = (torch.load(folder / "step-000000120.pt") for folder in (calm, killed))
    assert {"model", "optimizer", "ema", "state"} <= one.keys()
    assert len(one["history"]["rows"]) == 3
    assert differences(one, two) == []


def test_the_same_kills_defeat_the_usual_way_to_resume(tmp_path):
    """accelerate's save_state and skip_first_batches: the augmentation goes on from another random state."""
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for folder, kills in ((calm, 0), (killed, 5)):
        folder.mkdir()
        killed_and_resumed("accelerate", folder, kills, seed=1)
    one, two = (torch.load(folder / "step-000000120" / "pytorch_model.bin") for folder in (calm, killed))
    assert one.keys() == two.keys()
    assert any("network" in name for name in differences(one, two))
