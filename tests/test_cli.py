"""The command line as a user meets it: what it prints, what it leaves, what it says when something is wrong."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import torch
from conftest import colour_split
from PIL import Image
from safetensors.torch import load_file

from imgcls import cli, datasets, models
from imgcls.evaluation import predict


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red, green and blue noise as files in train/class/image."""
    folder = tmp_path_factory.mktemp("photos")
    split = colour_split(240, seed=1, size=16, noise=90)
    for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        target = folder / split.classes[label]
        target.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(target / f"{i}.png")
    return folder


def imgcls(*arguments, **options):
    command = [sys.executable, "-m", "imgcls.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


SETTINGS = ("--model", "simple_cnn", "--size", 16, "--epochs", 3, "--batch-size", 32)


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
    splits = datasets.load(photos, image_size=16)
    assert card["data"] == {"name": photos.name, "kind": "real", "fingerprint": splits.fingerprint}
    assert (card["classes"], card["image_size"]) == (["blue", "green", "red"], 16)
    accuracy = predict(model, splits.val).accuracy
    assert accuracy == card["validation"]["accuracy"] == history["val_accuracy"].max()
    assert f"{100 * accuracy:.1f} %" in said
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-000000010.pt",
        "step-000000015.pt",
    ]


def test_two_processes_train_as_one_would_and_go_on_together(photos, tmp_path):
    alone = imgcls("train", photos, *SETTINGS, "--out", tmp_path / "one")
    team = imgcls("train", photos, *SETTINGS, "--out", tmp_path / "two", "--processes", 2)
    assert alone.returncode == team.returncode == 0, team.stderr
    assert "2 processes, each with" in team.stdout
    assert (team.stdout + team.stderr).count("kept epoch") == 1
    assert team.stdout.count("240 images of 3 classes") == 1
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    assert two["train_loss"].to_numpy() == pytest.approx(one["train_loss"].to_numpy(), rel=0.02)  # bfloat16
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=0.02), name
    refused = imgcls("train", photos, *SETTINGS, "--lr", 0.1, "--out", tmp_path / "two", "--processes", 2)
    assert refused.returncode == 2
    assert "lr was 0.05, now 0.1" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stderr.count("error:") == 1
    assert json.loads((tmp_path / "two" / "config.json").read_text())["lr"] == 0.05  # nothing was written over


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.zip",), "no folder or archive at"),
        (("menagerie/cat_dogs",), "menagerie/cats_dogs"),
        (("PHOTOS", "--model", "resnt18"), "did you mean 'resnet18'"),
        (("PHOTOS", "--optimizer", "sdg"), "optimizer 'sdg' is unknown; choose one of sgd"),
        (("PHOTOS", "--processes", "0"), "processes must be at least 1, got 0"),
        (("PHOTOS", "--tracker", "tensorbord", "--size", "16", "--model", "simple_cnn"), "tensorboard"),
        (("PHOTOS", "--batch-size", "500", "--size", "16", "--model", "simple_cnn"), "make no full batch of 500"),
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
