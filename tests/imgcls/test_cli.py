"""The command line as a user meets it: what it prints, what it leaves, and its messages when something is wrong."""

import copy
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import typer
from conftest import colour_split, write_photos
from PIL import Image
from safetensors.torch import load_file

from course.diagnostics import read_tensorboard
from imgcls import cli, models, openset
from imgcls.cli.common import RENAMED_OPTIONS
from imgcls.cli.train import expected_seconds
from imgcls.data import load
from imgcls.evaluation import fit_temperature, predict
from imgcls.training import Recipe, build_seeded, fit


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red, green and blue noise."""
    return write_photos(tmp_path_factory.mktemp("photos"), colour_split(240, seed=1, size=16, noise=90))


def imgcls(*arguments, **options):
    command = [sys.executable, "-m", "imgcls.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


SETTINGS = ("--model", "simple_cnn", "--image-size", 16, "--epochs", 3, "--batch-size", 32)


def test_train_leaves_weights_card_history_and_log(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["imgcls", "train", str(photos), *map(str, SETTINGS), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "240 images of 3 classes (blue, green, red)" in said
    history = pd.read_csv(tmp_path / "history.csv")
    assert list(history["epoch"]) == [1, 2, 3]
    model, card = models.load(tmp_path)
    splits = load(photos, image_size=16)
    assert card["data"] == {"name": photos.name, "kind": "real", "fingerprint": splits.fingerprint}
    assert (card["classes"], card["image_size"]) == (["blue", "green", "red"], 16)
    accuracy = predict(model, splits.val).accuracy
    assert accuracy == card["validation"]["accuracy"] == history["val_accuracy"].max()
    assert f"{100 * accuracy:.1f} %" in said
    charts = read_tensorboard(tmp_path)
    assert list(charts.index) == [1, 2, 3]
    for chart, column in (("loss/train", "train_loss"), ("accuracy/val", "val_accuracy"), ("lr", "lr")):
        assert charts[chart].tolist() == pytest.approx(history[column].tolist(), rel=1e-6), chart
    assert (card["seed"], card["recipe"]["epochs"], card["recipe"]["optimizer"]) == (0, 3, "sgd")
    assert "RandomCrop(padding=2" in card["recipe"]["transforms"]
    with Image.open(tmp_path / "learning_curves.png") as curves:
        assert curves.width > 400
    known = openset.energy(predict(model, splits.val).logits) >= card["known"]["threshold"]
    assert known.float().mean() >= 0.95 > known.float().mean() - 2 / len(known)
    metrics, answers = json.loads((tmp_path / "metrics.json").read_text()), predict(model, splits.val)
    assert metrics["validation"]["accuracy"] == {"value": accuracy} | {
        k: card["validation"][k] for k in ("low", "high", "n")
    }
    assert metrics["validation"]["temperature"] == card["temperature"] == fit_temperature(answers)
    assert metrics["validation"]["ece_at_temperature"] == answers.with_temperature(card["temperature"]).ece
    assert metrics["validation"]["loss"] == answers.loss == history["val_loss"][metrics["best_epoch"] - 1]
    assert metrics["seconds"] == pytest.approx(history["seconds"].sum())
    assert re.search(r"3 epochs of 5 steps of 32 images, about [\d.]+ s\n", said)
    assert f"imgcls evaluate {tmp_path} {photos}\n" in said
    assert f"imgcls predict {tmp_path} picture.jpg\n" in said
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000015.pt"]


def test_a_run_is_repeated_extended_and_used_unfinished(photos, tmp_path, monkeypatch, capsys):
    def ask(command, *arguments):
        monkeypatch.setattr(sys, "argv", ["imgcls", command, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr()

    settings = ("--model", "simple_cnn", "--image-size", 16, "--batch-size", 32, "--out", tmp_path, "--epochs")
    assert not re.search("is complete|continuing", ask("train", photos, *settings, 1)[1].err)
    again = ask("train", photos, *settings, 1)[1].err
    assert f"note: {tmp_path} is complete with 1 epoch: nothing is trained; a larger --epochs extends it\n" in again
    code, said = ask("train", photos, *settings, 2)
    assert code == 0
    assert "note: continuing after 1 epoch of 1, now 2 by the schedule of 2\n" in said.err
    assert list(pd.read_csv(tmp_path / "history.csv")["epoch"]) == [1, 2]
    assert (
        models.read_card(tmp_path)["recipe"]["epochs"] == json.loads((tmp_path / "config.json").read_text())["epochs"]
    )
    (tmp_path / "card.json").unlink()  # as where training was interrupted
    for asked in (("predict", tmp_path, photos), ("export", tmp_path), ("train", photos, "--weights", tmp_path)):
        code, said = ask(*asked)
        assert (code, "has not finished: the same `imgcls train` command continues it" in said.err) == (2, True)
    (tmp_path / "history.csv").write_text("epoch,val_loss\n1,0.5\n")
    assert "note: continuing after 1 epoch of 2\n" in ask("train", photos, *settings, 2)[1].err


def test_the_estimate_touches_neither_network_nor_random_state_nor_result(photos, tmp_path, monkeypatch):
    """Dropout draws from the global state: the weights must be those of `fit` alone, bit for bit."""
    splits = load(photos, image_size=16, train_count=96)
    recipe = Recipe(epochs=1, batch_size=32, lr=0.025, weight_decay=0.3)
    network = build_seeded(lambda: models.create_model("cifar_dropout", 3, image_size=16), seed=0)
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert 0 < expected_seconds(network, splits, recipe, seed=0) < 60
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.normalize.fitted
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    fit(network, splits.train, splits.val, recipe, seed=0)

    settings = ("--model", "cifar_dropout", "--image-size", "16", "--epochs", "1", "--batch-size", "32", "--no-augment")
    settings += ("--max-train-images", "96", "--weight-decay", "0.3")
    monkeypatch.setattr(sys, "argv", ["imgcls", "train", str(photos), *settings, "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    for name, value in load_file(tmp_path / "weights.safetensors").items():
        assert torch.equal(value, network.state_dict()[name].cpu()), name


@pytest.mark.parametrize(("limit", "clock", "step"), [(8.0, [0, 9], 9.0), (99.0, [0, 9, 11, 13], 2.0)])
def test_the_estimate_adds_up(limit, clock, step, photos, monkeypatch):
    """By a clock on which the first step takes 9 s and others 2 s; a first one beyond the limit is the only one."""
    splits = load(photos, image_size=16)
    network = models.create_model("simple_cnn", 3, image_size=16)
    module, ticks = sys.modules["imgcls.cli.train"], iter(clock)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setattr(module, "TIMED_SECONDS", limit)
    expected = 4 * step * (len(splits.train) // 32 + len(splits.val) / 32 / 3)
    assert expected_seconds(network, splits, Recipe(epochs=4, batch_size=32), 0) == pytest.approx(expected)


def test_an_unknown_model_is_refused_before_any_image_is_decoded(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("imgcls.data.load", lambda *_, **__: pytest.fail("the data were loaded"))
    monkeypatch.setattr(sys, "argv", ["imgcls", "train", str(photos), "--model", "resnt18"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "did you mean 'resnet18'" in capsys.readouterr().err


def test_two_processes_train_as_one_would_and_go_on_together(photos, tmp_path):
    alone = imgcls("train", photos, *SETTINGS, "--out", tmp_path / "one")
    distributed = imgcls("train", photos, *SETTINGS, "--out", tmp_path / "two", "--processes", 2)
    assert alone.returncode == distributed.returncode == 0, distributed.stderr
    assert "2 processes, each with" in distributed.stdout
    assert (distributed.stdout + distributed.stderr).count("best epoch") == 1
    assert distributed.stdout.count("240 images of 3 classes") == 1
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    assert two["train_loss"].to_numpy() == pytest.approx(one["train_loss"].to_numpy(), rel=0.02)  # bfloat16
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=0.02), name
    assert "imgcls predict" in distributed.stdout
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["validation"]["n"] == models.read_card(tmp_path / "two")["validation"]["n"] == 24
    refused = imgcls("train", photos, *SETTINGS, "--lr", 0.1, "--out", tmp_path / "two", "--processes", 2)
    assert refused.returncode == 2
    assert "lr was 0.025, now 0.1" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stderr.count("error:") == 1
    assert json.loads((tmp_path / "two" / "config.json").read_text())["lr"] == 0.025  # nothing was written over


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.zip",), "no folder or archive at"),
        (("menagerie/cat_dogs",), "menagerie/cats_dogs"),
        (("PHOTOS", "--model", "resnt18"), "did you mean 'resnet18'"),
        (("PHOTOS", "--optimizer", "sdg"), "optimizer 'sdg' is unknown; did you mean 'sgd'"),
        (("PHOTOS", "--size", "96"), "error: the option --size is now --image-size\n"),
        (("PHOTOS", "--ema=0.9"), "the option --ema is now --ema-decay"),
        (("PHOTOS", "--processes", "0"), "Invalid value for '--processes'"),
        (("PHOTOS", "--tracker", "tensorbord", "--image-size", "16", "--model", "simple_cnn"), "tensorboard"),
        (
            ("PHOTOS", "--batch-size", "500", "--image-size", "16", "--model", "simple_cnn"),
            "are fewer than one batch of 500",
        ),
    ],
)
def test_what_the_user_can_mend_is_said_in_a_line(arguments, message, photos, tmp_path, monkeypatch, capsys):
    arguments = [str(photos) if argument == "PHOTOS" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["imgcls", "train", *arguments, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))


def test_old_options_name_the_new_ones_in_every_command(monkeypatch, capsys):
    """Each new name is an option of some command, and no old name is one any more."""
    group = typer.main.get_command(cli.application())
    commands = [*group.commands.values(), *group.commands["data"].commands.values()]
    options = {option for command in commands for one in command.params for option in one.opts}
    assert set(RENAMED_OPTIONS.values()) <= options
    assert not set(RENAMED_OPTIONS) & options
    for old, new in RENAMED_OPTIONS.items():
        for command in ("train", "search", "evaluate", "predict", "models", "data"):
            monkeypatch.setattr(sys, "argv", ["imgcls", command, "photos", old, "8"])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert ended.value.code == 2
            assert capsys.readouterr().err == f"error: the option {old} is now {new}\n"
