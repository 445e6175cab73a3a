"""`imgcls train` from one's own run, and with class weights."""

import re
import sys
from dataclasses import replace

import pytest
import torch
from conftest import colour_split, write_photos

from imgcls import cli, models, paths

FAST = ("--epochs", 1, "--batch-size", 16)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), colour_split(90, seed=1, size=16, noise=90))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path_factory.getbasetemp() / "train-options-cache")


@pytest.fixture
def own(tmp_path):
    """A run of two other classes, on gray images."""
    model = models.create_model("simple_cnn", 2, 1, image_size=16, statistics=(0.4, 0.3))
    return models.save(model, tmp_path / "own", ("cat", "dog"), resize="pad")


def train(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["imgcls", "train", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, *capsys.readouterr()


def test_a_run_of_ones_own_is_the_start_of_another(own, photos, tmp_path, monkeypatch, capsys):
    """Its features are frozen under a new head for the new classes; its size, channels and resize are kept."""
    out = tmp_path / "new"
    code, said, err = train(monkeypatch, capsys, photos, "--weights", own, "--no-finetune", "--out", out)
    assert (code, f"features at 16 px from {own} weights" in said) == (0, True), err
    before, after = models.load(own)[0], models.load(out)
    assert after[1]["classes"] == ["blue", "green", "red"]
    assert [after[1][key] for key in ("architecture", "image_size", "channels", "resize")] == [
        "simple_cnn",
        16,
        1,
        "pad",
    ]
    bodies = [models.backbone(model).state_dict() for model in (before, after[0])]
    assert all(torch.equal(value, bodies[1][key]) for key, value in bodies[0].items())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--model", "resnet18"), "--model resnet18: the run in .* has simple_cnn; leave the option out"),
        (("--resize", "squash"), "--resize squash: the run in .* has pad; leave the option out"),
        (("--from-scratch",), "--weights excludes --from-scratch"),
        (("--pretrained",), "--weights excludes --pretrained"),
    ],
)
def test_options_that_contradict_the_run_are_refused(own, photos, options, why, monkeypatch, capsys):
    code, _, err = train(monkeypatch, capsys, photos, "--weights", own, *options)
    assert code == 2
    assert re.search(why, err)


def test_weights_that_are_no_run_are_named(photos, tmp_path, monkeypatch, capsys):
    code, _, err = train(monkeypatch, capsys, photos, "--weights", tmp_path / "none")
    assert code == 2
    assert "no card.json in" in err


def test_class_weights_reach_the_loss_and_the_card(tmp_path, monkeypatch, capsys):
    split = colour_split(120, seed=3, size=16, noise=90)
    few = (split.labels != 0) | (torch.arange(len(split.labels)) % 4 == 0)  # about a quarter of one class
    rare = replace(split, images=split.images[few], labels=split.labels[few])
    folder, out = write_photos(tmp_path / "rare", rare), tmp_path / "out"
    code, _, err = train(
        monkeypatch, capsys, folder, "--model", "simple_cnn", "--image-size", 16, *FAST, "--class-weights", "--out", out
    )
    assert code == 0, err
    assert models.read_card(out)["recipe"]["class_weights"] == "balanced"


def test_a_class_without_validation_images_is_named(tmp_path, monkeypatch, capsys):
    split = colour_split(60, seed=3, size=16, noise=90)
    write_photos(tmp_path / "data" / "train", split)
    write_photos(tmp_path / "data" / "val", replace(split, labels=split.labels.clamp(min=1)))
    options = ("--model", "simple_cnn", "--image-size", 16, *FAST, "--out", tmp_path / "out")
    code, _, err = train(monkeypatch, capsys, tmp_path / "data", *options)
    assert code == 0
    assert f"note: no validation image of {split.classes[0]}: model selection ignores them" in err


def test_set_values_stay_and_the_other_defaults_still_fit_the_number_of_images(photos, tmp_path, monkeypatch, capsys):
    sets = [
        word for value in ("filters=8", "batch_size=8", "momentum=0.8", "augment=false") for word in ("--set", value)
    ]
    options = ("--model", "simple_cnn", "--image-size", 16, "--epochs", 1, "--out", tmp_path)
    assert train(monkeypatch, capsys, photos, *options, *sets)[0] == 0
    card = models.read_card(tmp_path)
    recipe = {key: card["recipe"][key] for key in ("batch_size", "momentum", "epochs", "lr", "transforms")}
    assert recipe == {"batch_size": 8, "momentum": 0.8, "epochs": 1, "lr": 0.05 * 8 / 64, "transforms": "()"}
    assert card["options"]["filters"] == 8
    assert train(monkeypatch, capsys, photos, *options[:-1], tmp_path / "b", "--set", "lr=0.01")[0] == 0
    assert models.read_card(tmp_path / "b")["recipe"]["lr"] == 0.01
