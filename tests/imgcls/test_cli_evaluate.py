"""`imgcls evaluate` against sklearn, closed forms and planted faults."""

import json
import os
import shutil
import sys
import unicodedata
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from conftest import colour_split, write_photos
from PIL import Image
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)
from torch import nn

from imgcls import models, paths
from imgcls.cli.common import collapse_warnings
from imgcls.cli.evaluate import evaluate
from imgcls.data import load
from imgcls.data.decoding import RESIZES
from imgcls.evaluation import Predictions, predict, predict_checked
from imgcls.evaluation.statistics import wilson

CLASSES = ("blue", "green", "red")
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(evaluate)


def write_pictures(folder, classes=CLASSES, count=60):
    """Noise whose strongest channel is blue, green or red, in folders of these names."""
    return write_photos(folder, replace(colour_split(count, seed=1, size=16, noise=90), classes=classes[::-1]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = write_pictures(tmp_path_factory.mktemp("photos"))
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path_factory.getbasetemp() / "evaluate-cache")


@pytest.fixture
def a_run(tmp_path):
    """Makes a run folder whose network has random weights and predicts every class, or one that a bias decides."""

    def make(classes=CLASSES, bias=None, **facts):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = models.create_model("simple_cnn", len(classes), image_size=16, statistics=(0.5, 0.25))
        with torch.no_grad():
            head = models.head(model)
            head.weight.mul_(20)
            head.bias.sub_(model.eval()(colour_split(100, seed=2, noise=90, size=16).images).mean(dim=0))
            if bias is not None:
                head.bias[bias] = 1000.0
        return models.save(model, tmp_path / "run", classes, **facts)

    return make


def call(monkeypatch, capsys, *arguments):
    """What the command prints on stdout and stderr; its errors come through."""
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    app(standalone_mode=False)
    return capsys.readouterr()


def test_json_agrees_with_sklearn_on_the_split_of_the_runs_seed(photos, a_run, tmp_path, monkeypatch, capsys):
    splits = load(photos, image_size=16, seed=5)
    run = a_run(seed=5, temperature=2.0, data={"name": "photos", "fingerprint": splits.fingerprint})
    out = tmp_path / "new" / "e.json"
    said = call(monkeypatch, capsys, run, photos, "--split", "val", "--format", "json", "--out", out)
    found = json.loads(said.out)
    assert json.loads(out.read_text()) == found
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["e.json"]

    predictions = predict(models.load(run)[0], splits.val)
    truth, guess = predictions.labels, predictions.predicted
    assert len(guess.unique()) > 1
    assert 0 < predictions.accuracy < 1
    assert found["n"] == len(splits.val)
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(truth, guess))
    limits = wilson(int((truth == guess).sum()), len(truth))
    assert predict(models.load(run)[0], load(photos, image_size=16).val).loss != predictions.loss  # another seed
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == (limits.low, limits.high)
    assert found["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert found["loss"] == pytest.approx(float(nn.functional.cross_entropy(predictions.logits, truth)), rel=1e-5)
    halved = float(nn.functional.cross_entropy(predictions.logits / 2, truth))
    assert found["loss_at_temperature"] == pytest.approx(halved, rel=1e-5)
    assert found["ece_at_temperature"] == predictions.with_temperature(2.0).ece != found["ece"] == predictions.ece
    for name, score in {"precision": precision_score, "recall": recall_score, "f1": f1_score}.items():
        ours = [row[name] or 0.0 for row in found["per_class"]]
        assert ours == pytest.approx(score(truth, guess, average=None, labels=range(3), zero_division=0))
    counts = np.array(found["confusion"]["counts"])
    assert counts.sum(axis=1).tolist() == truth.bincount(minlength=3).tolist()  # rows are true classes
    assert counts.sum(axis=0).tolist() == guess.bincount(minlength=3).tolist()
    assert sum(row["count"] for row in found["most_confused"]) == int((truth != guess).sum())
    assert [file["name"] for file in found["skipped"]] == ["red/broken.png"]
    assert "chosen on these images" in said.err


def test_the_table_says_the_same_and_all_means_all(photos, a_run, monkeypatch, capsys):
    fingerprint = load(photos, image_size=16).fingerprint
    run = a_run(seed=0, temperature=3.0, data={"name": "photos", "fingerprint": fingerprint})
    said = call(monkeypatch, capsys, run, photos, "--split", "all")
    found = json.loads(call(monkeypatch, capsys, run, photos, "--split", "all", "--format", "json").out)
    assert said.out.startswith(f"{photos.name}, all: 60 images\n")
    assert f"{100 * found['accuracy']['value']:.1f} % [" in said.out
    first = found["confusion"]["counts"][0]
    assert any(line.split() == ["blue", *map(str, first)] for line in said.out.splitlines())
    assert "red/broken.png" in said.out
    assert f"loss               {found['loss']:.3f} ({found['loss_at_temperature']:.3f} at temperature 3)" in said.out
    assert "trained on some of these images" in said.err
    quiet = call(monkeypatch, capsys, run, photos)
    assert quiet.out.startswith(f"{photos.name}, test: ")
    assert quiet.err == ""


@pytest.mark.parametrize("resize", RESIZES)
def test_pictures_become_square_as_the_card_says(resize, a_run, tmp_path, monkeypatch, capsys):
    wide = colour_split(60, seed=3, size=48, noise=90)
    photos = write_photos(tmp_path / "wide", replace(wide, images=wide.images[:, :, :16], classes=CLASSES[::-1]))
    run = a_run(resize=resize)
    found = json.loads(call(monkeypatch, capsys, run, photos, "--split", "all", "--format", "json").out)
    loaded = {way: [split for _, split in load(photos, image_size=16, resize=way).items()] for way in RESIZES}
    loss = {way: predict_checked(models.load(run)[0], *splits).loss for way, splits in loaded.items()}
    assert len({round(value, 3) for value in loss.values()}) == 3
    assert found["loss"] == pytest.approx(loss[resize], rel=1e-5)


def test_other_data_are_evaluated_whole_and_changed_ones_as_they_were_split(photos, a_run, monkeypatch, capsys):
    said = call(monkeypatch, capsys, a_run(data={"name": "elsewhere", "fingerprint": "0"}), photos)
    assert said.out.startswith(f"{photos.name}, all: 60 images\n")
    assert "not the training data, elsewhere" in said.err
    with pytest.raises(ValueError, match="has no val split: it is not split; leave out --split"):
        call(monkeypatch, capsys, a_run(data={"name": "elsewhere", "fingerprint": "0"}), photos, "--split", "val")
    changed = call(monkeypatch, capsys, a_run(data={"name": photos.name, "fingerprint": "0"}), photos)
    assert changed.out.startswith(f"{photos.name}, test: 9 images\n")
    assert "--split all evaluates all 60 images" in changed.err


@pytest.mark.parametrize("split", ["test", "val", "Testing", "train"])
@pytest.mark.parametrize("packed", [False, True])
def test_data_with_one_split_are_evaluated_whole(split, packed, a_run, tmp_path, monkeypatch, capsys):
    data = write_pictures(tmp_path / "new" / split, count=30).parent
    if packed:
        data = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", data))
    run = a_run(data={"name": "photos", "fingerprint": "0"})
    found = json.loads(call(monkeypatch, capsys, run, data, "--format", "json").out)
    assert found["n"] == 30
    inside = json.loads(call(monkeypatch, capsys, run, tmp_path / "new" / split, "--format", "json").out)
    assert (inside["accuracy"], inside["loss"]) == (found["accuracy"], found["loss"])


def test_a_class_may_be_absent_or_spelled_otherwise(a_run, tmp_path, monkeypatch, capsys):
    data = write_pictures(tmp_path / "new", ("BLUE", "dropped", "red "), count=30)
    shutil.rmtree(data / "dropped")
    said = call(monkeypatch, capsys, a_run(bias=2), data, "--split", "all", "--format", "json")
    found = json.loads(said.out)
    assert found["confusion"]["classes"] == list(CLASSES)
    recalls = {row["class"]: row["recall"] for row in found["per_class"]}
    assert recalls == {"blue": 0.0, "green": None, "red": 1.0}
    assert found["balanced_accuracy"]["value"] == 0.5
    assert "note: no image of green: balanced accuracy is the mean recall of the other classes" in said.err
    assert "note: the class 'BLUE' is treated as 'blue'" in said.err


def test_a_test_split_that_cannot_be_read_is_not_replaced(a_run, tmp_path, monkeypatch, capsys):
    data = write_pictures(tmp_path / "photos" / "train").parent
    for name in CLASSES:
        (data / "test" / name).mkdir(parents=True)
        (data / "test" / name / "1.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(
        ValueError, match=r"no image can be read of\n  test: test/blue/1.heic: not an image but a HEIC photo"
    ):
        call(monkeypatch, capsys, a_run(), data)
    drawn = load(data, image_size=16, split_again=True)
    facts = {"name": "photos", "fingerprint": drawn.fingerprint}
    run = a_run(data=facts, split_again=True, seed=0)
    found = json.loads(call(monkeypatch, capsys, run, data, "--format", "json").out)
    assert (found["split"], found["n"]) == ("test", len(drawn.test))
    assert found["loss"] == pytest.approx(predict(models.load(run)[0], drawn.test).loss, rel=1e-5)


def test_classes_follow_the_card(photos, a_run, monkeypatch, capsys):
    """A bias towards the card's first class must count as predictions of "red", whatever the folder's order."""
    found = json.loads(
        call(monkeypatch, capsys, a_run(("red", "blue", "green"), bias=0), photos, "--format", "json").out
    )
    assert found["confusion"]["classes"] == ["red", "blue", "green"]
    recalls = {row["class"]: row["recall"] for row in found["per_class"]}
    assert recalls == {"red": 1.0, "blue": 0.0, "green": 0.0}
    assert [row["precision"] for row in found["per_class"]][1:] == [None, None]


def test_a_collapsed_model_is_named_and_a_sound_one_is_not(photos, a_run, monkeypatch, capsys):
    said = call(monkeypatch, capsys, a_run(bias=1), photos)
    assert "warning: 100 % of the predictions but 22 % of the images are 'green'" in said.err
    assert "warning" not in said.out
    one_class = Predictions(torch.eye(3)[[0] * 40], torch.zeros(40, dtype=torch.int64), CLASSES)
    assert collapse_warnings(one_class) == []  # all predictions are one class because all images are


def test_classes_unknown_to_the_model_are_refused(a_run, tmp_path, monkeypatch, capsys):
    accented = unicodedata.normalize("NFD", "Bl\u00e9u_bird")
    data = write_pictures(tmp_path / "other", (accented, "pink", "red"), count=30)
    with pytest.raises(
        ValueError, match=r"has classes unknown to the model in .*: pink; leave .* \(bl\u00e9u bird, green"
    ):
        call(monkeypatch, capsys, a_run(("bl\u00e9u bird", "green", "red")), data)
    ambiguous = write_pictures(tmp_path / "two", ("Red", "red", "green"), count=30)
    with pytest.raises(ValueError, match=r"unknown to the model in .*: Red;"):
        call(monkeypatch, capsys, a_run(("blue", "green", "red")), ambiguous)


@pytest.mark.parametrize(
    ("arguments", "facts", "message"),
    [
        (("--split", "tset"), {}, "split 'tset' is unknown; did you mean 'test'"),
        (("--format", "jsn"), {}, "format 'jsn' is unknown; did you mean 'json'"),
        (("--out", "."), {}, "is a folder; name a file in it"),
        ((), {"temperature": 0}, "temperature must be a positive number, not 0"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, facts, message, photos, a_run, monkeypatch, capsys):
    with pytest.raises(ValueError, match=message):
        call(monkeypatch, capsys, a_run(**facts), photos, *arguments)
    assert capsys.readouterr().out == ""


def test_a_mistyped_run_gets_a_suggestion(photos, a_run, monkeypatch, capsys):
    run = a_run()
    with pytest.raises(models.MissingWeights, match=r"did you mean '.*run'[?]"):
        call(monkeypatch, capsys, run.with_name("rum"), photos)


def test_logits_that_are_not_finite_are_refused(a_run):
    model = models.load(a_run())[0]
    with torch.no_grad():
        models.head(model).bias[0] = float("nan")
    with pytest.raises(ValueError, match="logits of 9 of 9 images are not finite"):
        predict_checked(model, colour_split(9, seed=0, size=16))


def test_predictions_on_several_splits_are_those_on_each(a_run):
    model, parts = models.load(a_run())[0], [colour_split(n, seed=n, size=16) for n in (7, 5)]
    joined = predict_checked(model, *parts)
    assert torch.equal(joined.logits, torch.cat([predict(model, part).logits for part in parts]))
    assert joined.labels.tolist() == [*parts[0].labels.tolist(), *parts[1].labels.tolist()]
    assert joined.names == (*parts[0].names, *parts[1].names)


def predictions_with(correct, support):
    """Predictions with this many correct ones of each class; the others are the next class."""
    labels = torch.arange(len(support)).repeat_interleave(torch.tensor(support))
    hit = torch.cat([torch.arange(n) < k for k, n in zip(correct, support, strict=True)])
    said = torch.where(hit, labels, (labels + 1) % len(support))
    return Predictions(torch.eye(len(support))[said], labels, tuple("abcdefgh"[: len(support)]))


def test_balanced_accuracy_in_closed_form():
    assert predictions_with([7, 0], [10, 0]).balanced_accuracy == wilson(7, 10)  # one class: its recall alone
    found = predictions_with([90, 90], [100, 100]).balanced_accuracy
    recall = wilson(90, 100)
    assert found.value == pytest.approx(0.9)
    assert found.value - found.low == pytest.approx((recall.value - recall.low) / np.sqrt(2))
    assert found.high - found.value == pytest.approx((recall.high - recall.value) / np.sqrt(2))


def test_the_interval_of_balanced_accuracy_covers_the_truth_as_often_as_it_says():
    """Exact coverage: every outcome of three classes, weighted by its binomial probability."""
    rates, support = (0.95, 0.8, 0.6), (12, 10, 8)
    covered = 0.0
    recalls = [[wilson(k, n) for k in range(n + 1)] for n in support]
    chances = [stats.binom.pmf(np.arange(n + 1), n, rate) for n, rate in zip(support, rates, strict=True)]
    values, lows, highs = (
        [np.array([getattr(recall, name) for recall in row]) for row in recalls] for name in ("value", "low", "high")
    )
    mean = sum(np.meshgrid(*values, indexing="ij")) / 3
    below = np.sqrt(sum(np.meshgrid(*[(v - low) ** 2 for v, low in zip(values, lows, strict=True)], indexing="ij"))) / 3
    above = np.sqrt(sum(np.meshgrid(*[(h - v) ** 2 for v, h in zip(values, highs, strict=True)], indexing="ij"))) / 3
    inside = (mean - below <= np.mean(rates)) & (np.mean(rates) <= mean + above)
    covered = float((inside * np.einsum("i,j,k->ijk", *chances)).sum())
    assert 0.93 < covered < 0.98
    outcome = (11, 8, 5)
    ours = predictions_with(outcome, support).balanced_accuracy
    assert (ours.low, ours.high) == pytest.approx((mean[outcome] - below[outcome], mean[outcome] + above[outcome]))


# ------------------------------------------------------------------ what else it writes
def test_pictures_rows_and_top_k(photos, a_run, tmp_path, monkeypatch, capsys):
    run, rows, picture = a_run(temperature=2.0), tmp_path / "new" / "rows.csv", tmp_path / "new" / "confusion.png"
    said = call(
        monkeypatch, capsys, run, photos, "--format", "json", "--top-k", 2, "--per-image", rows, "--confusion", picture
    )
    found, table = json.loads(said.out), pd.read_csv(rows)
    test = load(photos, image_size=16).test
    logits = predict(models.load(run)[0], test).with_temperature(2.0).logits.numpy()
    top = top_k_accuracy_score(test.labels, logits, k=2, labels=range(3))
    assert found["top_k_accuracy"] == {"k": 2, **asdict(wilson(round(top * len(test)), len(test)))}
    assert sorted(table["image"]) == sorted(test.names)
    assert table["correct"].mean() == pytest.approx(found["accuracy"]["value"])
    assert (table["true"] == table["image"].str.partition("/")[0]).all()
    assert (table["correct"] == (table["true"] == table["predicted"])).all()
    assert table["loss"].is_monotonic_decreasing
    assert table["loss"].mean() == pytest.approx(found["loss_at_temperature"], abs=1e-5)
    assert np.exp(-table["loss"]).sub(table["p_true"]).abs().max() < 1e-5
    with Image.open(picture) as image:
        assert min(image.size) > 300
    assert "top-2 accuracy" in call(monkeypatch, capsys, run, photos, "--top-k", 2).out
    assert "top-3 accuracy" in call(monkeypatch, capsys, run, photos, "--top-k", 9).out  # of three classes


def test_top_1_is_the_accuracy_also_of_a_constant_model():
    split = colour_split(30, seed=0, size=8)
    for logits in (torch.zeros(30, 3), torch.randn(30, 3, generator=torch.manual_seed(0))):
        predictions = Predictions(logits, split.labels, split.classes)
        assert predictions.top_k_accuracy(1) == predictions.accuracy_interval
        assert predictions.top_k_accuracy(3).value == predictions.top_k_accuracy(9).value == 1


def test_names_that_are_no_text_reach_terminal_and_file_escaped(tmp_path, a_run, monkeypatch, capsys):
    folder = write_pictures(tmp_path / "odd", classes=("a\x1b[31m", "b\nb", "c"), count=30)
    next((folder / "c").iterdir()).rename(folder / "c" / os.fsdecode(b"caf\xe9.png"))
    run, rows = a_run(classes=load(folder, image_size=16).classes), tmp_path / "rows.csv"
    said = call(monkeypatch, capsys, run, folder, "--split", "all", "--per-image", rows)
    assert r"a\x1b[31m" in said.out
    assert "\x1b" not in said.out + said.err
    assert pd.read_csv(rows)["image"].str.startswith("c/caf").sum() == 1


@pytest.mark.parametrize(("option", "ending"), [("--confusion", "png"), ("--per-image", "csv")])
def test_files_with_another_ending_are_refused_at_once(option, ending, tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match=rf"{option} .*x\.pdf: name a file that ends in \.{ending}"):
        call(monkeypatch, capsys, tmp_path / "none", "none", option, tmp_path / "x.pdf")
