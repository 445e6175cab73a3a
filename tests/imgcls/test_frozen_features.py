"""Frozen features, the logistic head on them, fine-tuning from it, and `imgcls train` with ImageNet weights."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import colour_split, write_photos
from sklearn.linear_model import LogisticRegression

from imgcls import cli, models, paths, transfer
from imgcls.cli.train import _photo_size
from imgcls.data import load, typical_side
from imgcls.evaluation import FeatureSplit, predict
from imgcls.models import create_model
from imgcls.training import Recipe, build_seeded


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red, green and blue noise."""
    return write_photos(tmp_path_factory.mktemp("photos"), colour_split(90, seed=1, size=40, noise=200))


@pytest.fixture(scope="module")
def splits(photos):
    return load(photos, image_size=32)


def lite(classes=3):
    return build_seeded(lambda: create_model("efficientnet_lite0", classes, weights="imagenet", image_size=32), 0)


def vectors(n, classes=("a", "b"), seed=0, noise=0.5):
    """Features (n, 6) of which one column for each class is one higher."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(classes)
    features = noise * torch.randn(n, 6, generator=draws)
    features[torch.arange(n), labels] += 1
    return FeatureSplit(features, labels, classes)


class Linear(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(6, outputs)

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "simple_cnn", "mobilenet_v3_small", "cifar_fast"])
def test_onnx_runtime_gives_the_features_of_pytorch(name):
    weights = "imagenet" if name == "efficientnet_lite0" else None
    model = build_seeded(lambda: create_model(name, 3, weights=weights, image_size=32), 0).eval()
    split = colour_split(70, seed=2, size=32, noise=90)  # more than one batch, the last one smaller
    (found,) = transfer.frozen_features(model, split)
    with torch.inference_mode():
        expected = models.backbone(model)(split.images)
    assert found.images.dtype == torch.float32
    assert (found.images - expected).abs().max() <= 1e-4 * max(1, expected.abs().max())
    assert torch.equal(found.labels, split.labels)


def test_without_onnx_runtime_pytorch_computes_them(monkeypatch):
    split = colour_split(10, seed=2, size=32, noise=90)
    (quick,) = transfer.frozen_features(lite(), split)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setenv("IMGCLS_PRECISION", "float32")
    (plain,) = transfer.frozen_features(lite(), split)
    torch.testing.assert_close(quick.images, plain.images, atol=1e-4, rtol=1e-4)


def test_features_are_kept_and_found_for_the_same_images_and_weights_alone(tmp_path, monkeypatch):
    model, split = lite(), colour_split(10, seed=2, size=32, noise=90)
    (first,) = transfer.frozen_features(model, split, cache=tmp_path)
    other = colour_split(10, seed=3, size=32, noise=90)
    transfer.frozen_features(model, other, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(transfer, "feature_extractor", lambda *_: pytest.fail("computed again"))
    (again,) = transfer.frozen_features(lite(classes=9), split, cache=tmp_path)  # the head is no part of it
    assert torch.equal(first.images, again.images)
    with torch.no_grad():
        model.network.conv_stem.weight[0, 0, 0, 0] += 1
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        transfer.frozen_features(model, split, cache=tmp_path)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_the_head_is_the_regression_of_the_best_penalty(classes):
    train, val = vectors(120, classes), vectors(60, classes, seed=1)
    model = Linear(len(classes))
    table = transfer.fit_logistic_head(model, train, val)
    assert table["chosen"].sum() == 1
    chosen = table[table["chosen"]].iloc[0]
    assert chosen["val_loss"] == table["val_loss"].min()
    x = train.images.numpy().astype(float)
    mean, std = x.mean(axis=0), x.std(axis=0)
    oracle = LogisticRegression(C=1 / (chosen["penalty"] * len(x)), tol=1e-8, max_iter=1000)
    oracle.fit((x - mean) / std, train.labels.numpy())
    expected = oracle.predict_proba((val.images.numpy() - mean) / std)
    found = model(val.images).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    predictions = predict(model, val)
    assert predictions.accuracy == pytest.approx(chosen["val_accuracy"])


def test_a_class_without_a_training_image_is_never_predicted():
    train = vectors(40)
    train, val = replace(train, classes=("a", "b", "c")), replace(vectors(20, seed=1), classes=("a", "b", "c"))
    model = Linear(3)
    transfer.fit_logistic_head(model, train, val)
    assert set(predict(model, val).predicted.tolist()) == {0, 1}


def test_balanced_counts_every_class_equally():
    """Features that tell nothing: the head can only say how frequent the classes are."""
    labels = (torch.arange(400) % 10 == 0).long()
    split = FeatureSplit(torch.randn(400, 6, generator=torch.Generator().manual_seed(0)), labels, ("a", "b"))
    shares = {}
    for balanced in (False, True):
        model = Linear(2)
        transfer.fit_logistic_head(model, split, split, balanced=balanced)
        shares[balanced] = model(split.images).softmax(dim=1)[:, 1].mean().item()
    assert shares[False] == pytest.approx(0.1, abs=0.02)
    assert shares[True] == pytest.approx(0.5, abs=0.05)


def test_one_class_is_refused():
    train = vectors(10)
    with pytest.raises(ValueError, match="10 images of one class; training needs at least two classes"):
        transfer.fit_logistic_head(Linear(2), replace(train, labels=torch.zeros(10, dtype=torch.int64)), train)


def test_fine_tuning_leaves_batch_norm_alone_and_a_loss_keeps_the_weights_before(splits):
    model = lite()
    transfer.fit_logistic_head(model, *transfer.frozen_features(model, splits.train, splits.val))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wild = Recipe(epochs=1, batch_size=16, lr=5.0, optimizer="sgd")
    history, gained = transfer.fine_tune(model, splits.train, splits.val, wild, seed=0)
    assert len(history.rows) == 1
    assert not gained
    assert history.best_epoch == 0
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    _, gained = transfer.fine_tune(model, splits.train, splits.val, replace(wild, lr=1e-3, epochs=2), seed=0)
    after = model.state_dict()
    assert gained
    assert not torch.equal(after["network.conv_stem.weight"], before["network.conv_stem.weight"])
    norms = [key for key in before if "bn" in key]
    assert len(norms) > 100
    assert all(torch.equal(after[key], before[key]) for key in norms)


# ------------------------------------------------------------------ the command
def train(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["imgcls", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_train_fits_a_head_by_default(photos, splits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("imgcls.cli.train.FINE_TUNE_SECONDS", 0.0)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("IMGCLS_PRECISION", "float32")  # that of the features
    run = tmp_path / "run"
    code, out, err = train(monkeypatch, capsys, "train", photos, "--image-size", 32, "--out", run)
    assert code == 0
    assert "features at 32 px from ImageNet weights, about" in out
    assert "--finetune may raise the accuracy, in about" in err
    assert not (run / "history.csv").exists()
    model, card = models.load(run)
    assert card["architecture"] == "efficientnet_lite0"
    assert card["recipe"] is None
    assert card["head"]["val_accuracy"] == card["validation"]["accuracy"]
    assert predict(model, splits.val).accuracy == card["validation"]["accuracy"]
    assert predict(model, splits.test).accuracy >= 0.9
    whole = create_model("efficientnet_lite0", 2, weights="imagenet", image_size=32)
    for (key, mine), (_, theirs) in zip(model.network.named_buffers(), whole.network.named_buffers(), strict=True):
        assert torch.equal(mine, theirs), key
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2

    shutil.copytree(photos, tmp_path / "others")
    for command in (("train", tmp_path / "others"), ("train", photos, "--model", "simple_cnn")):
        code, _, err = train(monkeypatch, capsys, *command, "--image-size", 32, "--out", run)
        assert code == 2
        assert f"{run} contains another run (" in err
        assert models.read_card(run) == card

    code, out, _ = train(monkeypatch, capsys, "evaluate", run, photos, "--format", "json")
    assert code == 0
    assert json.loads(out)["accuracy"]["value"] == predict(model, splits.test).accuracy
    picture = next(photos.rglob("*.png"), None) or next(photos.rglob("*.jpg"))
    code, out, _ = train(monkeypatch, capsys, "predict", run, picture, "--cam-dir", tmp_path / "cam", "--format", "csv")
    assert code == 0
    assert out.startswith("image,class,confidence")
    assert len(list((tmp_path / "cam").iterdir())) == 1


def test_epochs_mean_fine_tuning(photos, tmp_path, monkeypatch, capsys):
    code, out, _ = train(
        monkeypatch, capsys, "train", photos, "--image-size", 32, "--epochs", 1, "--batch-size", 16, "--out", tmp_path
    )
    assert code == 0
    assert "head: validation accuracy" in out
    card = models.read_card(tmp_path)
    assert (card["recipe"]["epochs"], card["recipe"]["optimizer"], card["recipe"]["lr"]) == (1, "adamw", 1e-4)
    assert (tmp_path / "history.csv").exists()
    assert (tmp_path / "learning_curves.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from-scratch", "--finetune"), "--from-scratch excludes --finetune: leave one out"),
        (("--from-scratch", "--pretrained"), "--from-scratch excludes --pretrained: leave one out"),
        (("--model", "simple_cnn", "--finetune"), "'simple_cnn' has no ImageNet weights here to fine-tune"),
        (("--processes", "2"), "one process computes the features: leave out --processes, or add --finetune"),
    ],
)
def test_options_that_exclude_each_other(options, message, photos, tmp_path, monkeypatch, capsys):
    code, _, err = train(monkeypatch, capsys, "train", photos, *options, "--out", tmp_path)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_from_scratch_starts_from_random_weights(photos, tmp_path, monkeypatch, capsys):
    code, _, _ = train(
        monkeypatch, capsys, "train", photos, "--from-scratch", "--image-size", 32, "--epochs", 1, "--batch-size", 16,
        "--out", tmp_path,
    )  # fmt: skip
    assert code == 0
    card = models.read_card(tmp_path)
    assert "head" not in card
    assert card["recipe"]["optimizer"] == "sgd"
    assert card["normalisation"]["mean"] != pytest.approx([0.485, 0.456, 0.406], abs=1e-3)  # measured on train


def test_the_size_of_the_pictures_is_read_from_their_headers(photos):
    assert typical_side(photos) == 40
    assert typical_side("menagerie/fox_elephant") is None
    assert _photo_size(str(photos)) == 128
    assert _photo_size("menagerie/fox_elephant") == 160
