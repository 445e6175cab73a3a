"""Forward selection on a task where it is known which ideas help."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from conftest import colour_split

from course import selection
from course.selection import alternating_flips, forward_selection
from imgcls import paths
from imgcls.evaluation import predict
from imgcls.models import create_model
from imgcls.training import History, Recipe, Run, build_seeded, fit, recipes
from imgcls.transforms import ColorJitter, RandomCrop, RandomHorizontalFlip

pytestmark = pytest.mark.usefixtures("one_thread")

CREATE = partial(create_model, "simple_cnn", num_classes=3, image_size=8, blocks=2, filters=4)
SLOW = Recipe(epochs=2, batch_size=16, lr=1e-4)  # learns next to nothing
IDEAS = {
    "no effect": {"label_smoothing": 1e-6},
    "a useful learning rate": {"lr": 0.1},
    "wider, but worse": {"filters": 5, "lr": 1e-6},
}


def test_only_the_idea_that_helps_is_kept(tiny):
    found = forward_selection(CREATE, SLOW, IDEAS, *tiny, seeds=(0, 1, 2))
    assert found.kept == ["a useful learning rate"]
    assert found.recipe == Recipe(epochs=2, batch_size=16, lr=0.1)
    assert found.options == {}
    table = found.table.set_index("name")
    assert table.loc["a useful learning rate", "low"] > 0
    assert table.loc["no effect", "low"] <= 0
    assert table.loc["wider, but worse", "gain"] < 0  # measured against the best so far, not against the start
    assert [run.seed for run in found.runs] == [0, 1, 2]
    assert found.correct.tolist() == [predict(run.model, tiny[1]).correct.tolist() for run in found.runs]
    mean = sum(predict(run.model, tiny[1]).accuracy for run in found.runs) / 3
    assert mean == pytest.approx(found.table["accuracy"].max())


def test_an_option_of_the_network_reaches_it(tiny):
    found = forward_selection(
        CREATE, SLOW, {"wider": {"filters": 6, "lr": 0.1}}, *tiny, seeds=(0, 1), options={"batch_norm": True}
    )
    assert found.options == {"batch_norm": True, "filters": 6}
    assert found.runs[0].model.built_from["options"]["filters"] == 6


def test_inconclusive_gains_are_combined(monkeypatch, capsys):
    """Planted predictions: two ideas gain one image each and many together; the third loses one, the last many."""
    images = 100
    correct = {"": 50, "a": 51, "b": 51, "c": 49, "d": 20, "ab": 70}

    def planted_runs(create, train, val, recipe, seeds, show):
        return [Run(create(), History([{"seconds": 1.0}], 1), seed) for seed in seeds]

    def planted_predictions(model, val):
        return SimpleNamespace(correct=torch.arange(images) < correct["".join(sorted(model))])

    monkeypatch.setattr(selection, "fit_seeds", planted_runs)
    monkeypatch.setattr(selection, "predict", planted_predictions)
    ideas = {name: {name: True} for name in "abcd"}
    found = forward_selection(lambda **options: tuple(options), SLOW, ideas, None, None, seeds=(0, 1))
    assert found.table["name"].tolist() == ["start", "a", "b", "c", "d", "the promising together"]
    assert found.kept == ["a", "b"]
    assert found.options == {"a": True, "b": True}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[-1].startswith("the promising together (a, b): 70.0 % of validation, mean of 2 seeds, +20.0 points [")
    assert lines[-1].endswith("stays")
    assert found.table["gain"].tolist()[1:] == pytest.approx([0.01, 0.01, -0.01, -0.3, 0.2])


def test_one_seed_is_refused(tiny):
    with pytest.raises(ValueError, match="at least two"):
        forward_selection(CREATE, SLOW, IDEAS, *tiny, seeds=(0,))


def test_an_idea_may_depend_on_the_best_recipe():
    best = Recipe(transforms=(RandomCrop(2), RandomHorizontalFlip(), ColorJitter(0.3)))
    assert alternating_flips(best) == {"alternating_flip": True, "transforms": (RandomCrop(2), ColorJitter(0.3))}


def test_the_fast_recipe_runs_on_its_network():
    train, val = colour_split(64, seed=1, size=12), colour_split(32, seed=2, size=12)
    short = replace(recipes.FAST, epochs=2, batch_size=16, resolution_schedule=((1, 9), (2, 12)))
    model = build_seeded(partial(create_model, "cifar_fast", num_classes=3, image_size=9, widths=(8, 8, 8)), 0)
    before = model.network.features.first[0].weight.clone()
    history = fit(model, train, val, short)
    first = model.network.features.first[0]
    assert first.fitted
    assert not torch.equal(first.weight, before)
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]


def test_the_fast_recipe_agrees_with_the_ideas_tried_on_real_images():
    result = json.loads((paths.FIGURES / "results.json").read_text(encoding="utf-8"))["real"]["05_cifar_ten"]
    tried = {row["name"]: row for row in result["tables"]["candidate ideas"]}
    assert tried.pop("start")["gain"] is None
    together = tried.pop(selection.COMBINED, None)
    has = {
        "whitening": bool(recipes.FAST.unfreeze_schedule),
        "label smoothing": recipes.FAST.label_smoothing > 0,
        "alternating flips": recipes.FAST.alternating_flip,
        "residual connections": False,
        "small images first": bool(recipes.FAST.resolution_schedule),
    }
    assert set(tried) == set(has)
    assert not together or together["high"] > 0
    for name, row in tried.items():
        assert row["high"] > 0 if has[name] else not row["kept"], f"{name}: {row}"
