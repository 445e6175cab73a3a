from dataclasses import asdict, replace
from functools import partial

import pytest
import torch

import menagerie
from imgcls import models, transfer
from imgcls.data import load
from imgcls.evaluation import predict
from imgcls.models import create_model
from imgcls.training import Recipe, build_seeded

REST = ("recipe", "train_count", "folder")
SHORT = replace(transfer.RECIPE, epochs=1, batch_size=32, transforms=())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbones")
    settings = {"name": "simple_cnn", "recipe": SHORT, "train_count": 106, "image_size": 16, "folder": folder}
    return settings, transfer.source_backbone(**settings)


def test_the_card_says_what_was_learnt_from_what(made):
    _, place = made
    model, card = models.load(place)
    splits = load("menagerie/source", image_size=16, train_count=106)
    assert tuple(card["classes"]) == menagerie.subsets()["source"].classes
    assert card["data"] == {"name": splits.name, "kind": "generated", "fingerprint": splits.fingerprint, "train": 106}
    assert (card["seed"], card["recipe"]["epochs"], card["recipe"]["transforms"]) == (0, 1, "()")
    assert card["metrics"]["test accuracy"] == pytest.approx(asdict(predict(model, splits.test).accuracy_interval))


def test_it_is_trained_once_and_again_for_anything_else(made, monkeypatch):
    settings, place = made
    trained = []
    fit_seeds = transfer.fit_seeds
    monkeypatch.setattr(transfer, "fit_seeds", lambda *args: trained.append(args) or fit_seeds(*args))
    assert transfer.source_backbone(**settings) == place
    assert not trained
    others = [{"seed": 1}, {"recipe": replace(SHORT, lr=1e-3)}, {"train_count": 107}]
    places = {transfer.source_backbone(**settings | other) for other in others}
    assert len(places) == len(trained) == len(others)
    assert place not in places


def test_half_the_epochs_at_64_pixels_see_small_images():
    full = transfer.source_recipe()
    assert full.resolution_schedule == ((1, 32), (3, 64))
    assert full.epochs == 4
    assert transfer.source_recipe(224) == full  # the source set is drawn at 64 pixels at most
    assert transfer.source_recipe(epochs=3).resolution_schedule == ((1, 32), (2, 64))
    assert transfer.source_recipe(epochs=1).resolution_schedule == ()
    assert transfer.source_recipe(32) == transfer.RECIPE


def test_notebooks_that_name_the_recipe_and_those_that_do_not_share_one_backbone(made):
    settings = made[0]
    place = transfer.source_backbone(**settings | {"recipe": None})
    assert transfer.source_backbone(**settings | {"recipe": transfer.source_recipe(16, 3)}) == place
    assert models.read_card(place)["recipe"]["epochs"] == 3


def test_it_has_seen_no_animal_of_any_task(made):
    """Kinds of the source set are in no other set, so that transfer is transfer."""
    known = set(models.read_card(made[1])["classes"])
    for name, subset in menagerie.subsets().items():
        if name != "source":
            assert known.isdisjoint(kind for kinds in subset.kinds for kind in kinds), name


def test_its_features_go_on_to_a_new_task(made):
    _, place = made
    model, source = create_model("simple_cnn", 2, weights=place, image_size=16), models.load(place)[0]
    assert torch.equal(model.network.features[0][0].weight, source.network.features[0][0].weight)
    assert torch.equal(model.normalize.mean, source.normalize.mean)
    assert models.head(model).out_features == 2


def test_a_probe_trains_nothing_but_the_head(made):
    _, place = made
    splits = load("menagerie/fox_elephant", image_size=16, train_count=80, val_count=40, test_count=20)
    create = partial(create_model, "simple_cnn", 2, weights=place, image_size=16)
    recipe = Recipe(epochs=15, batch_size=16, lr=0.01, optimizer="adamw")
    run, other = transfer.linear_probe(create, splits.train, splits.val, recipe, [0, 1])
    before = build_seeded(create, 0)
    for (name, new), old in zip(run.model.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(new.cpu(), old) == (not name.startswith("network.classifier.2")), name
    answers = predict(run.model, splits.val)
    assert answers.accuracy == pytest.approx(run.history.best["val_accuracy"], abs=1 / 40)  # bfloat16 in between
    assert run.history.rows[-1]["train_loss"] < run.history.rows[0]["train_loss"]
    assert not torch.equal(models.head(run.model).weight, models.head(other.model).weight)


def test_a_probe_cannot_augment(made):
    with pytest.raises(ValueError, match="leave transforms and batch_mix out"):
        transfer.linear_probe(None, None, None, transfer.RECIPE, [0])


def test_missing_weights_are_known_early_with_the_other_ways(made, tmp_path):
    settings, place = made
    assert transfer.pretrained("source", "simple_cnn", 16, **{k: settings[k] for k in REST}) == place
    assert transfer.pretrained(str(place), "simple_cnn", 16) == str(place)
    with pytest.raises(models.MissingWeights, match="'source' trains a backbone on generated images"):
        transfer.pretrained(str(tmp_path / "nothing"), "simple_cnn", 16)
    with pytest.raises(ValueError, match="holds a 'simple_cnn'"):
        transfer.pretrained(str(place), "resnet18")
