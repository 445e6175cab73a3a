"""`imgcls data` and `imgcls models`: their numbers against hand-made files, closed forms and published counts."""

import importlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
import typer
from PIL import Image, ImageOps
from typer.testing import CliRunner

import menagerie
from imgcls.cli.data import application, check, describe
from imgcls.cli.models import SHOWN, build, imagenet_weights, models, options
from imgcls.data import Split, Splits, available, catalogue, load
from imgcls.data.decoding import RESIZES
from imgcls.models import create_model, list_models
from imgcls.models.networks import NETWORKS

models_module = importlib.import_module("imgcls.cli.models")  # the package may name the function so


def call(command, *arguments):
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def noise(path, seed, size=(16, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pets(own_folders):
    """Train (12 cats, 4 dogs) and test given, val to be drawn; a broken file, a leak, one picture of another size."""
    folder = own_folders / "pets"
    for i in range(12):
        noise(folder / f"train/cat/{i:02}.png", i)
    for i in range(4):
        noise(folder / f"train/dog/{i:02}.png", 100 + i)
    noise(folder / "test/cat/0.png", 200)
    noise(folder / "test/cat/1.png", 201, size=(40, 20))
    noise(folder / "test/dog/0.png", 202)
    (folder / "train/cat/broken.png").write_text("<html>not found</html>")
    in_train = next(name for name in load(folder, image_size=16).train.names if "cat" in name)
    shutil.copy(folder / in_train, folder / "test/dog/leak.png")
    return folder, in_train


def test_data_counts_measures_and_warns(pets):
    folder, in_train = pets
    shown = call(check, folder, "--image-size", 16, "--format", "json")
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    splits = facts["splits"]
    assert {name: split["per_class"] for name, split in splits.items()} == {
        "train": {"cat": 11, "dog": 3},
        "val": {"cat": 1, "dog": 1},
        "test": {"cat": 2, "dog": 2},
    }
    assert {name: split["given"] for name, split in splits.items()} == {"train": True, "val": False, "test": True}
    assert facts["kind"] == "real"
    assert [entry["name"] for entry in facts["skipped"]] == ["train/cat/broken.png"]
    assert facts["skipped"][0]["reason"]
    assert splits["test"]["sizes"] == {
        **{"width_min": 16, "width_median": 16, "width_max": 40},
        **{"height_min": 16, "height_median": 16, "height_max": 20},
    }
    names = load(folder, image_size=16).train.names
    pixels = np.stack([np.asarray(Image.open(folder / name)) for name in names]) / 255
    assert facts["mean"] == pytest.approx(pixels.mean(axis=(0, 1, 2)))
    assert facts["std"] == pytest.approx(pixels.std(axis=(0, 1, 2)))
    leak = next(row for row in facts["duplicates"] if (row["split"], row["also_in"]) == ("test", "train"))
    assert leak == {"split": "test", "also_in": "train", "images": 4, "exact": 1, "near": 0, "other_label": 1}
    assert (facts["pairs"][0]["first"], facts["pairs"][0]["second"]) == (in_train, "test/dog/leak.png")
    assert facts["imbalance"] == {"largest": "cat", "smallest": "dog", "ratio": round(11 / 3, 3)}
    notes = "\n".join(facts["notes"])
    assert "1 of 4 test images is also in train (1 exact, 0 near" in notes
    assert "1 image has another label than its duplicate" in notes
    assert "11 and 3" in notes
    assert "--balanced-sampling" in notes


def test_the_table_says_what_the_json_does_and_the_sheet_shows_each_class(pets, own_folders):
    folder, in_train = pets
    shown = call(check, folder, "--image-size", 32, "--contact-sheet", own_folders / "sheets" / "pets.png")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines()]
    for line in (["cat", "11", "1", "2"], ["(all)", "14", "2", "4"], ["(split)", "given", "drawn", "given"]):
        assert line in lines
    assert "1 file skipped\n  train/cat/broken.png: " in shown.stdout
    assert f"test/dog/leak.png = {in_train} (exact, another label)" in shown.stdout
    assert "20 of 20 images are smaller than 32 px" in shown.stdout
    assert Image.open(own_folders / "sheets" / "pets.png").format == "PNG"


def test_pictures_are_checked_as_they_will_be_loaded(pets):
    folder, _ = pets
    facts = json.loads(call(check, folder, "--image-size", 16, "--resize", "pad", "--format", "json").stdout)
    train = load(folder, image_size=16, resize="pad").train
    assert facts["resize"] == "pad"
    assert facts["mean"] == pytest.approx((train.images / 255).mean(dim=(0, 2, 3)).tolist(), abs=1e-5)
    shown = call(check, folder, "--image-size", 32, "--resize", "pad").stdout
    assert "read at 32 px (pad) in RGB" in shown
    assert "19 of 20 images are smaller than 32 px" in shown  # one has 40 × 20 pixels
    assert "the median of the longer sides is 16 px" in shown
    assert "unknown resize 'padd'; did you mean 'pad'?" in str(call(check, folder, "--resize", "padd").exception)


@pytest.mark.parametrize("command", ["data check", "search"])
def test_the_help_names_every_resize(command):
    text = subprocess.run([sys.executable, "-m", "imgcls.cli", *command.split(), "--help"], capture_output=True).stdout
    assert all(resize in text.decode().partition("--resize")[2].partition("--gray")[0] for resize in RESIZES)


def test_a_sound_set_gets_no_note_and_a_split_without_a_class_does(own_folders):
    folder = own_folders / "set"
    for i in range(24):
        noise(folder / f"{'train' if i < 16 else 'test'}/{'ab'[i % 2]}/{i}.png", i)
    assert json.loads(call(check, folder, "--image-size", 16, "--format", "json").stdout)["notes"] == []
    shutil.rmtree(folder / "test/b")
    notes = json.loads(call(check, folder, "--image-size", 16, "--format", "json").stdout)["notes"]
    assert len(notes) == 1
    assert notes[0].startswith("test has no image of b")


@pytest.mark.parametrize("split", ["test", "val"])
def test_data_to_evaluate_on_are_checked_too(split, own_folders):
    for i in range(9):
        noise(own_folders / f"set/{split}/{'aab'[i % 3]}/{i}.png", i)
    shown = call(check, own_folders / "set", "--image-size", 16)
    assert shown.exit_code == 0, shown.output
    assert f"{split} in units of [0, 1]: mean 0." in shown.stdout
    assert "note: there is no image to train on: a trained model can be evaluated on these data" in shown.stdout
    assert f"class 'a' has 2.0 times as many images as 'b' in {split} (6 and 3)" in shown.stdout
    facts = json.loads(call(check, own_folders / "set", "--image-size", 16, "--format", "json").stdout)
    assert {name: one["images"] for name, one in facts["splits"].items()} == {
        "train": 0, "val": 0, "test": 0, split: 9,
    }  # fmt: skip


def test_one_class_and_names_that_differ_in_form_are_noted(own_folders):
    for name, i in (("Cat", 0), ("cat", 1), ("dog", 2)):
        for k in range(4):
            noise(own_folders / f"two/{name}/{k}.png", 10 * i + k)
    notes = json.loads(call(check, own_folders / "two", "--image-size", 16, "--format", "json").stdout)["notes"]
    assert "the classes 'Cat' and 'cat' differ in form only: if they are one, merge their folders" in notes
    shutil.rmtree(own_folders / "two/Cat")
    shutil.rmtree(own_folders / "two/dog")
    shown = call(check, own_folders / "two", "--image-size", 16).stdout
    assert "real images of 1 class, fingerprint" in shown
    assert "'cat' is the only class; a classifier needs at least two" in shown


def test_groups_of_duplicates_are_counted_and_leave_no_leak(own_folders):
    folder = own_folders / "set"
    for i in range(24):
        noise(folder / f"{'ab'[i % 2]}/{i}.png", i, size=(32, 32))
    for i in range(6):
        ImageOps.mirror(Image.open(folder / f"{'ab'[i % 2]}/{i}.png")).save(folder / f"{'ab'[i % 2]}/{i}-mirrored.png")
    facts = json.loads(call(check, folder, "--image-size", 32, "--format", "json").stdout)
    assert facts["duplicate_groups"] == 6
    assert len(facts["pairs"]) == 6
    assert all(pair["mirrored"] and len(set(pair["splits"])) == 1 for pair in facts["pairs"])
    assert not [note for note in facts["notes"] if "also in" in note]
    shown = call(check, folder, "--image-size", 32).stdout
    assert "6 groups of duplicates among the images that were split; each is in one split" in shown
    assert "(near, mirrored)" in shown


def test_odd_images_are_counted_and_named(own_folders):
    folder = own_folders / "set"
    for i in range(24):
        noise(folder / f"{'ab'[i % 2]}/{i}.png", i)
    for i in range(10):
        Image.new("RGB", (16, 16), (20 * i, 90, 30)).save(folder / f"a/plain{i}.png")
    noise(folder / "b/long.png", 99, size=(90, 20))
    facts = json.loads(call(check, folder, "--image-size", 16, "--format", "json").stdout)
    assert {kind: len(names) for kind, names in facts["suspicious"].items() if names} == {
        "of one colour": 10,
        "very narrow": 1,
    }
    assert "1 image is very narrow: b/long.png" in facts["notes"]
    shown = call(check, folder, "--image-size", 16).stdout
    assert "10 images are of one colour: a/plain" in shown
    assert "and 2 more" in shown


def test_more_files_left_out_than_a_table_bears_are_counted(own_folders):
    folder = own_folders / "set"
    for i in range(8):
        noise(folder / f"{'ab'[i % 2]}/{i}.png", i)
    for i in range(23):
        (folder / f"a/broken{i:02}.png").write_bytes(b"")
    shown = call(check, folder, "--image-size", 16).stdout
    assert "23 files skipped" in shown
    assert "broken19.png" in shown
    assert "broken20.png" not in shown
    assert "… and 3 more" in shown
    assert len(json.loads(call(check, folder, "--image-size", 16, "--format", "json").stdout)["skipped"]) == 23


def test_generated_pictures_that_look_alike_are_no_leak():
    images = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[8] = images[1]
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 1])
    parts = {"train": slice(0, 4), "val": slice(4, 6), "test": slice(6, 9)}
    drawn = {
        name: Split(images[part], labels[part], None, tuple(f"{name}/{i}" for i in range(9))[part], ("a", "b"))
        for name, part in parts.items()
    }
    splits = Splits(**drawn, classes=("a", "b"), skipped=(), fingerprint="f", name="n", kind="generated")
    facts = describe(splits, "crop")
    assert [split["given"] for split in facts["splits"].values()] == [True] * 3
    assert [split["sizes"] for split in facts["splits"].values()] == [None] * 3
    assert len(facts["notes"]) == 1
    assert facts["notes"][0].startswith("1 of 3 test images looks like one of train at 8 px (1 exact")


def test_without_data_the_generated_sets_are_listed():
    shown = CliRunner().invoke(application(), ["--format", "json"])
    rows = {row["name"]: row for row in json.loads(shown.stdout)}
    assert set(rows) == set(available()) | set(catalogue.CATALOGUE)
    for subset, known in menagerie.subsets().items():
        row = rows[f"menagerie/{subset}"]
        assert (row["classes"], row["image_size"]) == (len(known.classes), known.image_size)
        assert {part: row[part] for part in ("train", "val", "test")} == menagerie.sizes(subset)
    assert "your own images" in CliRunner().invoke(application(), []).stdout


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (check, ("menagerie/cat_dogs",), "did you mean 'menagerie/cats_dogs'"),
        (check, ("nowhere.zip",), "no folder or archive at"),
        (check, ("menagerie/species", "--format", "jsno"), "did you mean 'json'"),
        (check, ("menagerie/species", "--out", "facts.txt"), "facts.json"),
        (check, ("menagerie/species", "--contact-sheet", "sheet.jpg"), "sheet.png"),
        (models, ("resnt18",), "did you mean 'resnet18'"),
        (models, ("vgg16", "--image-size", 16), "at least 32 px, not 16"),
        (models, ("vit_b_16", "--image-size", 50), "choose image_size=48"),
        (models, ("resnet18", "--all"), "leave out the name"),
        (models, ("--num-classes", 0), "at least 1, not 0"),
    ],
)
def test_mistakes_are_named_with_the_way_out(command, arguments, message, own_folders):
    failed = call(command, *arguments)
    assert isinstance(failed.exception, ValueError)
    assert message in str(failed.exception)


# ------------------------------------------------------------------ models


def test_an_image_size_of_zero_is_refused():
    assert "Invalid value for '--image-size'" in call(models, "--image-size", 0).stderr


def test_models_agrees_with_torchvisions_published_counts():
    rows = {
        row["name"]: row
        for row in json.loads(call(models, "--image-size", 224, "--num-classes", 1000, "--format", "json").stdout)
    }
    assert set(rows) == {*NETWORKS, *SHOWN}
    compared = 0
    for name in set(SHOWN) - {"inception_v3", "efficientnet_lite0"}:  # published with side heads; not in torchvision
        published = torchvision.models.get_model_weights(name).DEFAULT
        assert rows[name]["parameters"] == published.meta["num_params"], name
        if published.transforms().crop_size == [224]:
            assert rows[name]["multiply_adds"] / 1e9 == pytest.approx(published.meta["_ops"], rel=0.02), name
            compared += 1
    assert compared >= 8


def test_a_layer_table_adds_up_to_the_closed_form():
    facts = json.loads(call(models, "simple_cnn", "--image-size", 16, "--num-classes", 5, "--format", "json").stdout)
    assert facts["parameters"] == (27 * 32 + 32) + 3 * (288 * 32 + 32) + (32 * 5 + 5)
    assert facts["multiply_adds"] == 27 * 32 * 16**2 + 288 * 32 * (8**2 + 4**2 + 2**2) + 32 * 5
    for total in ("parameters", "multiply_adds"):
        assert sum(row[total] for row in facts["layers"]) == facts[total]
    assert facts["options"]["blocks"] == 4
    layers = pd.read_csv(io.StringIO(call(models, "simple_cnn", "--image-size", 16, "--format", "csv").stdout))
    assert len(layers) == len(facts["layers"])


def test_a_network_that_cannot_take_the_size_still_has_its_parameters(monkeypatch):
    monkeypatch.setattr(models_module, "SHOWN", ("resnet18", "inception_v3", "vit_b_16"))
    shown = call(models, "--image-size", 50)
    cells = {line.split()[0]: line.split()[1:] for line in shown.stdout.splitlines() if line}
    assert cells["vit_b_16"][1:3] == ["-", "16"]
    assert cells["inception_v3"][1:3] == ["-", "75"]
    assert cells["resnet18"][0] == "11,181,642"
    assert "299 px" in call(models, "inception_v3").stdout


def test_weights_are_looked_for_and_never_fetched(tmp_path, monkeypatch):
    def fetch(*arguments, **options):
        raise AssertionError("a download")

    monkeypatch.setattr(models_module, "SHOWN", ("efficientnet_lite0", "resnet18", "resnet34"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    file = tmp_path / "checkpoints" / torchvision.models.ResNet18_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    assert imagenet_weights("resnet18") == ("to download", str(file))
    file.parent.mkdir()
    file.touch()
    found = {row["name"]: row["imagenet_weights"] for row in json.loads(call(models, "--format", "json").stdout)}
    assert [name for name, weights in found.items() if weights == "here"] == ["efficientnet_lite0", "resnet18"]
    assert {found[name] for name in NETWORKS} == {"none exist"}


@pytest.mark.parametrize("name", [*NETWORKS, *SHOWN[1:]])  # all but the one from timm
def test_the_options_named_are_those_that_create_model_takes(name):
    with pytest.raises(ValueError, match="unknown option '0'") as refused:
        create_model(name, 2, **{"0": 0})  # too unlike any option to be a misspelling of one
    taken = str(refused.value).partition("choose from ")[2]
    assert list(options(name, build(name, 2))) == [option for option in taken.split(", ") if option]


def test_all_prints_every_name_and_nothing_else():
    names = call(models, "--all").stdout.splitlines()
    assert names == list(list_models(timm_too=True))
    assert "timm:resnet18" in names
    facts = json.loads(call(models, "timm:resnet18", "--image-size", 64, "--format", "json").stdout)
    assert facts["parameters"] == json.loads(call(models, "resnet18", "--format", "json").stdout)["parameters"]
    assert facts["min_image_size"] is None
