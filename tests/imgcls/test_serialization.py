"""Models that leave the machine: what comes back, what is transferred, and what is refused."""

import copy
import functools
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from imgcls import models

CLASSES = ("cat", "dog", "fox")
SMALL = {"image_size": 16, "blocks": 2, "filters": 8}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def noise(n=4, size=16, channels=3):
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, size, size), generator=draws, dtype=torch.uint8)


def made(name="simple_cnn", **options):
    """A model whose every buffer has left its first value."""
    options = options or SMALL
    model = models.create_model(name, 3, **options)
    images = noise(size=options["image_size"], channels=options.get("in_channels", 3))
    model.normalize.fit(images)
    model.train()(images)  # moves the statistics of batch norm
    return model


def rewrite(folder, **changes):
    """Change keys of a card, or take away those set to ..."""
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps({k: v for k, v in card.items() if v is not ...}))


# ------------------------------------------------------------------ round trip
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("simple_cnn", {**SMALL, "batch_norm": True, "squeeze_excitation": True, "in_channels": 1}),
        ("cifar_dropout", {"image_size": 16, "widths": (4, 8), "hidden_features": 8}),  # a tuple becomes a list
        ("resnet18", {"image_size": 16, "small_stem": True}),
    ],
)
def test_a_loaded_model_predicts_bit_for_bit_the_same(name, options, tmp_path):
    model = made(name, **options)
    folder = models.save(model, tmp_path / "deep" / "model", CLASSES, seed=3, metrics={"accuracy": 0.5})
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]
    before = torch.get_rng_state()
    back, card = models.load(folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in back.modules())
    images = noise(channels=options.get("in_channels", 3))
    assert torch.equal(back(images), model.eval()(images))
    assert back.built_from == model.built_from
    assert back.state_dict().keys() == model.state_dict().keys()
    assert card == models.read_card(folder)
    expected = {"format": 2, "architecture": name, "classes": list(CLASSES), "seed": 3, "metrics": {"accuracy": 0.5}}
    assert expected.items() <= card.items()
    assert torch.equal(torch.tensor(card["normalisation"]["mean"]), model.normalize.mean)
    assert torch.equal(torch.tensor(card["normalisation"]["std"]), model.normalize.std)


def test_floats_stay_as_they_are(tmp_path):
    model = made().to(torch.bfloat16)
    back, _ = models.load(models.save(model, tmp_path, CLASSES))
    assert back.network.classifier[2].weight.dtype == torch.bfloat16
    assert torch.equal(back(noise()), model.eval()(noise()))
    assert all(parameter.requires_grad for parameter in back.parameters())


def test_how_a_model_was_built_is_kept_beside_its_state():
    model = models.create_model("cifar_baseline", 3, in_channels=1, image_size=24, widths=(4, 8))
    built = {
        "architecture": "cifar_baseline",
        "num_classes": 3,
        "channels": 1,
        "image_size": 24,
        "options": {"widths": [4, 8]},
    }
    assert model.built_from == copy.deepcopy(model).built_from == json.loads(json.dumps(model.built_from)) == built
    assert not any("built_from" in key for key in model.state_dict())
    again = models.create_model(
        built["architecture"], built["num_classes"], built["channels"], image_size=24, **built["options"]
    )
    again.load_state_dict(model.state_dict())
    assert models.create_model("simple_cnn", 3).built_from["image_size"] == 64  # its own dense layer's
    assert not hasattr(models.backbone(model), "built_from")


# ------------------------------------------------------------------ refused on writing
def test_a_model_that_no_card_could_describe_is_refused(tmp_path):
    model = made()
    with pytest.raises(ValueError, match="3 outputs and 2 classes"):
        models.save(model, tmp_path / "new", CLASSES[:2])
    with pytest.raises(ValueError, match="Sequential is not from create_model"):
        models.save(nn.Sequential(*model.children()), tmp_path / "new", CLASSES)
    any_size = models.create_model("resnet18", 3, small_stem=True)
    with pytest.raises(ValueError, match=r"image size of this 'resnet18' is unknown.*image_size=\.\.\."):
        models.save(any_size, tmp_path / "new", CLASSES)
    any_size.built_from["image_size"] = 16
    assert models.read_card(models.save(any_size, tmp_path / "old", CLASSES))["image_size"] == 16
    odd = models.create_model("resnet18", 3, image_size=16, norm_layer=functools.partial(nn.BatchNorm2d, eps=1e-3))
    with pytest.raises(ValueError, match="'options' cannot be written to a card"):
        models.save(odd, tmp_path / "new", CLASSES)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("value", [torch.zeros(2), {"accuracy": float("nan")}, {1, 2}, Path("x")])
def test_a_fact_must_be_json(value, tmp_path):
    with pytest.raises(ValueError, match="'metrics' cannot be written to a card"):
        models.save(made(), tmp_path / "new", CLASSES, seed=0, metrics=value)
    assert not (tmp_path / "new").exists()


def test_a_fact_cannot_take_the_place_of_what_the_model_says(tmp_path):
    with pytest.raises(ValueError, match="card's 'image_size' comes from the model"):
        models.save(made(), tmp_path / "new", CLASSES, image_size=32)


@pytest.mark.parametrize("over_an_older_one", [False, True])
def test_the_card_comes_last(over_an_older_one, tmp_path, monkeypatch):
    if over_an_older_one:
        models.save(made(), tmp_path, CLASSES)
    replace, moved = Path.replace, []

    def fail_at_the_card(self, target):
        moved.append(Path(target).name)
        if target.name == "card.json":
            raise OSError("disk gone")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_card)
    with pytest.raises(OSError, match="disk gone"):
        models.save(made(), tmp_path, CLASSES)
    assert moved == ["weights.safetensors", "card.json"]
    refused = (ValueError, "SHA-256 differs") if over_an_older_one else (models.MissingWeights, "no card.json in")
    with pytest.raises(refused[0], match=refused[1]):
        models.load(tmp_path)


@pytest.mark.parametrize("room", [0, 1])
def test_a_disk_that_fills_up_leaves_the_older_model_whole(room, tmp_path, monkeypatch):
    """There is room for none of the two files, or for one."""
    model, synced = made(), []
    models.save(model, tmp_path, CLASSES)

    def fsync(descriptor):
        synced.append(descriptor)
        if len(synced) > room:
            raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="no space left"):
        models.save(made(), tmp_path, CLASSES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.json", "weights.safetensors"]
    assert torch.equal(models.load(tmp_path)[0](noise()), model.eval()(noise()))


# ------------------------------------------------------------------ refused on reading
@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    torch.manual_seed(0)
    return models.save(made(), tmp_path_factory.mktemp("stored"), CLASSES)


@pytest.fixture
def folder(stored, tmp_path):
    """A copy to spoil."""
    for path in stored.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("spoil", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:-7], lambda b: b""])
def test_weights_other_than_the_card_s_are_refused(spoil, folder):
    weights = folder / "weights.safetensors"
    weights.write_bytes(spoil(weights.read_bytes()))
    for read in (models.load, lambda path: models.create_model("simple_cnn", 2, weights=path)):
        with pytest.raises(ValueError, match=r"weights\.safetensors is not the file that card\.json was written for"):
            read(folder)


def test_pickles_are_refused_unread(folder, tmp_path):
    pickled = tmp_path / "outside" / "model.pth"
    pickled.parent.mkdir()
    pickled.write_bytes(b"never read")
    for read in (models.load, models.read_card, lambda path: models.create_model("simple_cnn", 2, weights=path)):
        for path in (pickled, str(pickled), pickled.parent, tmp_path / "nowhere.pt"):
            with pytest.raises(ValueError, match=r"p(th|t) is a pickle, which can run any code.*models\.save"):
                read(path)
    (folder / "weights.safetensors").rename(folder / "weights.bin")
    with pytest.raises(ValueError, match=r"weights\.bin is a pickle"):
        models.load(folder)


def test_missing_files_are_named_with_where_they_come_from(folder, tmp_path):
    for path, what in ((tmp_path / "nowhere", "which does not exist"), (tmp_path / "empty", "no card.json in")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        for read in (models.load, models.read_card, lambda path: models.create_model("simple_cnn", 2, weights=path)):
            with pytest.raises(models.MissingWeights, match=rf"{what}.*`imgcls train`.*notebook 04.*build/backbones/"):
                read(path)
    with pytest.raises(ValueError, match="is a file; give the folder"):
        models.load(folder / "weights.safetensors")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(models.MissingWeights, match=r"no weights\.safetensors in"):
        models.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ..., "sha256": ...}, "lacks classes, sha256"),
        ({"format": 3}, "format 3, and this version of imgcls reads format 2: it was written by another version"),
        ({"format": 1}, "format 1.* was written by an earlier version; train the model again"),
        ({"classes": "cats"}, "'classes' in .* must be a list, not 'cats'"),
        ({"architecture": "simple_cn"}, "did you mean 'simple_cnn'"),
        ({"options": {"blocks": 2, "filters": 8, "weights": "imagenet"}}, "unknown option 'weights' for 'simple_cnn'"),
        ({"options": {"blocks": 3, "filters": 8}}, r"Missing key.*features\.block3\.0\.bias.*\[3, 128\]"),
        ({"options": {"blocks": 1, "filters": 8}}, r"Unexpected key.*network\.features\.block2"),
        ({"classes": ["a", "b"]}, r"'classes', .* size mismatch .*\[3, 128\].*\[2, 128\]"),
        ({"classes": ["a", "b", "c", "d"]}, r"'classes', .* size mismatch .*\[3, 128\].*\[4, 128\]"),
        ({"channels": 1}, r"'channels' .* size mismatch for normalize\.mean"),
        (
            {"normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}},
            r"'normalisation' is .*0\.5.*, and the weights contain",
        ),
        ({"normalisation": {}}, "'normalisation' is {}, and the weights contain"),
        ({"image_size": 64}, "by 'architecture', 'options', .* and 'image_size': .* size mismatch"),
        ({"image_size": 0}, "'image_size' in .* must be a positive int, not 0"),
        ({"architecture": "resnet18", "options": {}}, "by 'architecture', 'options', .*: .* Missing key"),
        ({"format": True}, "format True, and this version of imgcls reads format 2"),
    ],
)
def test_a_wrong_card_is_refused_with_the_reason(changes, message, folder):
    rewrite(folder, **changes)
    with pytest.raises(ValueError, match=message):
        models.load(folder)


@pytest.mark.parametrize(("text", "message"), [('{"format": 2', "is not JSON"), ("[]", "holds a list")])
def test_a_broken_card_is_named(text, message, folder):
    (folder / "card.json").write_text(text)
    with pytest.raises(ValueError, match=rf"card\.json {message}"):
        models.read_card(folder)


# ------------------------------------------------------------------ transfer
@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("simple_cnn", {**SMALL, "batch_norm": True, "squeeze_excitation": True, "init": "he"}, 16),
        ("resnet18", {"image_size": 16, "small_stem": True}, 24),  # any size will do
        ("squeezenet1_1", {"image_size": 32}, 40),  # its head is a convolution
    ],
)
def test_everything_but_the_head_is_transferred(name, options, size, tmp_path):
    source = made(name, **options)
    models.save(source, tmp_path, CLASSES)
    weights = load_file(tmp_path / "weights.safetensors")
    model = models.create_model(name, 5, weights=str(tmp_path), image_size=size)
    layer = models.head(model)
    heads = {key for key, value in model.named_parameters() if value is layer.weight or value is layer.bias}
    assert len(heads) == 2
    for key, value in model.state_dict().items():
        assert (key in heads) != torch.equal(value, weights[key]), key
    assert len(layer.weight) == len(layer.bias) == 5
    bound = layer.weight[0].numel() ** -0.5  # PyTorch's own: uniform within 1 / sqrt(fan_in), biases too
    assert 0.9 * bound < layer.weight.abs().max() <= bound
    assert 0 < layer.bias.abs().max() <= bound
    assert model.normalize.fitted
    assert model(noise(size=size)).shape == (4, 5)
    recorded = source.built_from | {"num_classes": 5, "image_size": size}
    assert model.built_from == recorded  # what was not given is as on the card

    given = models.create_model(name, 3, weights=tmp_path, statistics=((0.5,) * 3, (1.0,) * 3))
    assert given.normalize.mean.tolist() == [0.5] * 3
    assert given.built_from["image_size"] == options["image_size"]
    assert not torch.equal(models.head(given).weight, models.head(source).weight)  # new in the same width too


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar_baseline", {}, "holds a 'simple_cnn' for 3 channels, which does not fit 'cifar_baseline' for 3"),
        ("simple_cnn", {"in_channels": 1}, "'simple_cnn' for 1; create that network with in_channels=3"),
        ("simple_cnn", {"filters": 16}, r"block1\.0\.weight: .*\[8, 3, 3, 3\].*\[16, 3, 3, 3\]"),
        ("simple_cnn", {"batch_norm": True}, r"Missing key.*network\.features\.block1\.1\.bias"),
        ("simple_cnn", {"blocks": 1}, r"Unexpected .*block2.* of its card \(image_size=16, options .*'filters': 8"),
        ("simple_cnn", {"dropout": 0.5}, "unknown option 'dropout'"),
    ],
)
def test_weights_of_another_network_are_refused(name, options, message, folder):
    with pytest.raises(ValueError, match=message):
        models.create_model(name, 2, weights=folder, **options)


def test_own_dense_layers_hold_to_their_image_size(tmp_path):
    models.save(made("cifar_dropout", image_size=16, widths=(4, 8), hidden_features=8), tmp_path, CLASSES)
    with pytest.raises(ValueError, match=r"classifier\.2\.weight: .*\[8, 128\].*\[8, 288\].*=16"):
        models.create_model("cifar_dropout", 2, weights=tmp_path, image_size=24)
    other = models.create_model("cifar_dropout", 2, weights=tmp_path, dropout=0.5)  # an option without weights
    assert {m.p for m in other.modules() if isinstance(m, nn.Dropout)} == {0.5}
    assert other(noise(size=24)).shape == (4, 2)  # adapted, as in any of these networks


@pytest.mark.parametrize("weights", ["imgnet", "backbone", True])
def test_unknown_weights_name_every_choice(weights):
    choices = rf"unknown weights {weights!r}; choose None \(random\), 'imagenet' or a folder written by"
    with pytest.raises(ValueError, match=choices):
        models.create_model("resnet18", 3, weights=weights)
