"""Too few images, or one class: found at once, or trained with defaults that suit them, and evaluated aloud."""

import json
import math
import sys
from dataclasses import replace

import pytest
import torch
from conftest import colour_split, write_photos

from imgcls import cli, models, training
from imgcls.cli.common import class_notes, fit_to_size
from imgcls.cli.train import SCRATCH as SCRATCH_VALUES
from imgcls.data import load
from imgcls.training import Recipe, fit, steps_per_epoch
from imgcls.transfer import FINE_TUNE

SCRATCH = Recipe(**SCRATCH_VALUES)


def photos(folder, classes, each):
    """Folder of `each` images of every class."""
    split = colour_split(60 * len(classes), seed=1, size=16)
    labels = torch.arange(len(split)) % len(classes)
    kept = each * len(classes)
    return write_photos(folder, replace(split, images=split.images[:kept], labels=labels[:kept], classes=classes))


@pytest.fixture
def imgcls(own_folders, monkeypatch, capsys):
    """Runs a command and returns its exit status and what it prints."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["imgcls", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", ["train", "search"])
@pytest.mark.parametrize(
    ("classes", "each", "message"),
    [
        (("cat",), 12, "has only the class 'cat' (12 images); a classifier needs at least two"),
        (("cat",), 1, "has only the class 'cat' (1 image)"),
        (("cat", "dog"), 2, "too few images of each class to draw val and test from: no validation image is left; add"),
    ],
)
def test_data_that_train_nothing_are_refused_at_once(command, classes, each, message, imgcls, tmp_path):
    code, out, err = imgcls(command, photos(tmp_path / "photos", classes, each), "--image-size", 16)
    assert (code, out) == (2, "")  # no plan, no network
    assert message in err


@pytest.mark.parametrize("images", [2, 7, 22, 60, 88, 500, 512, 1_049, 45_000])
@pytest.mark.parametrize("base", [SCRATCH, FINE_TUNE])
def test_defaults_fit_the_number_of_images(images, base):
    recipe = fit_to_size(base, images, {})
    steps = steps_per_epoch(images, recipe)  # raises without a full batch
    assert recipe.batch_size <= base.batch_size
    assert recipe.lr == pytest.approx(base.lr * recipe.batch_size / base.batch_size)
    assert steps >= 8 or recipe.batch_size <= 8
    assert recipe.epochs >= base.epochs
    assert recipe.epochs == base.epochs or 0 <= recipe.epochs * steps - 20 * base.epochs < steps
    if images >= 2_000:
        assert recipe == base


def test_what_the_user_gives_stays():
    given = {"batch_size": 4, "lr": 0.3, "epochs": 1}
    assert fit_to_size(SCRATCH, 30, given) == replace(SCRATCH, **given)
    assert fit_to_size(SCRATCH, 30, {"batch_size": 8}).lr == pytest.approx(SCRATCH.lr / 8)
    with pytest.raises(ValueError, match="30 training images are fewer than one batch of 64: lower --batch-size"):
        fit_to_size(SCRATCH, 30, {"batch_size": 64})


def test_thirty_images_train_and_say_how_little_is_known(imgcls, tmp_path):
    data = photos(tmp_path / "photos", ("blue", "red"), 15)
    small = ("--model", "simple_cnn", "--image-size", 16, "--epochs", 2, "--out", tmp_path / "run")
    code, out, err = imgcls("train", data, *small)
    assert code == 0, err
    assert "30 images of 2 classes" in out
    assert "2 epochs of 2 steps of 8 images" in out
    card = models.read_card(tmp_path / "run")
    n = len(load(data, image_size=16).val)
    assert card["calibration"]["n"] == n
    assert card["calibration"]["low"] <= card["calibration"]["value"] <= card["calibration"]["high"]
    assert f"confidences are calibrated on {n} images only" in err
    assert math.isfinite(card["temperature"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["validation"]["n"] == n


def test_a_search_among_thirty_images_fits_them_and_says_if_no_trial_has_learnt(imgcls, tmp_path):
    data = photos(tmp_path / "photos", ("blue", "red"), 15)
    small = ("--model", "simple_cnn", "--image-size", 16, "--trials", 1, "--epochs", 1, "--space", "lr=1e-9,1e-8")
    code, out, err = imgcls("search", data, *small)
    assert code == 0, err
    assert "1 trial of 1 epoch;" in out
    assert "--batch-size 8" in out
    assert "warning: no trial is better than predicting the most frequent class (50.0 %)" in err


def test_a_collapse_and_a_network_at_chance_are_said_by_train(imgcls, tmp_path, monkeypatch):
    data = photos(tmp_path / "photos", ("blue", "red"), 15)

    def ruined(network, *arguments, **options):
        history = fit(network, *arguments, **options)
        with torch.no_grad():
            models.head(network).weight.zero_()
            models.head(network).bias.copy_(torch.tensor([9.0, 0.0]))
        return history

    monkeypatch.setattr(training, "fit", ruined)
    small = ("--model", "simple_cnn", "--image-size", 16, "--epochs", 1, "--out", tmp_path / "run")
    code, _, err = imgcls("train", data, *small)
    assert code == 0, err
    assert "warning: 100 % of the predictions but 50 % of the images are 'blue': the model collapsed" in err
    assert "warning: the confidences are no better than chance" in err
    assert models.read_card(tmp_path / "run")["temperature"] > 1_000


def test_classes_of_one_name_and_classes_without_validation_are_said(tmp_path):
    photos(tmp_path / "photos", ("Cat", "cat", "dog"), 10)
    for file in sorted((tmp_path / "photos" / "dog").iterdir())[1:]:
        file.unlink()
    splits = load(tmp_path / "photos", image_size=16, cache=tmp_path / "cache")
    one, other = class_notes(splits)
    assert one.startswith("the classes 'Cat' and 'cat' differ in form only")
    assert other.startswith("no validation image of dog")
