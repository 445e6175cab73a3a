"""Searches on a tiny task: seeded, selected on validation, pruned."""

from collections import Counter
from dataclasses import replace
from functools import partial

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from course.mistakes import best_by_training_loss
from imgcls.models import create_model
from imgcls.search import importances, recipe_of, search, table
from imgcls.training import Recipe, build_seeded, fit

CREATE = partial(create_model, "simple_cnn", num_classes=3, image_size=8, blocks=2)
SPACE = {"lr": FloatDistribution(1e-4, 0.3, log=True), "filters": (2, 4, 8), "momentum": FloatDistribution(0.5, 0.95)}
RECIPE = Recipe(epochs=3, batch_size=32)


def draws(study):
    return [(t.params, t.value, t.state) for t in study.trials]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_gives_the_same_trials(tiny, sampler):
    run = partial(search, CREATE, *tiny, RECIPE, SPACE, trials=14, sampler=sampler)
    one, two, other = run(seed=1), run(seed=1), run(seed=2)
    assert draws(one) == draws(two)
    assert [t.params for t in one.trials] != [t.params for t in other.trials]
    assert len({tuple(t.params.values()) for t in one.trials}) == 14
    for trial in one.trials:
        assert 1e-4 <= trial.params["lr"] <= 0.3
        assert trial.params["filters"] in (2, 4, 8)


def test_the_draws_of_a_trial_are_independent(tiny):
    space = {"momentum": FloatDistribution(0.0, 0.9), "label_smoothing": FloatDistribution(0.0, 0.9)}
    study = search(CREATE, *tiny, Recipe(epochs=1, batch_size=96), space, trials=20, sampler="random")
    assert abs(table(study)[list(space)].corr().iloc[0, 1]) < 0.6  # beyond which 20 pairs come once in 200 times


def test_the_best_trial_is_the_best_on_validation_and_can_be_trained_again(tiny):
    train, val = tiny
    study = search(CREATE, train, val, RECIPE, SPACE, trials=8, prune=False, seed=3)
    rows = table(study)
    assert list(rows["number"]) == list(range(8))
    assert study.best_value == rows["value"].max()
    recipe, network = recipe_of(study.best_trial, RECIPE)
    assert network == {"filters": study.best_params["filters"]}
    history = fit(build_seeded(partial(CREATE, **network), 3), train, val, recipe, seed=3)
    assert history.best["val_accuracy"] == study.best_value
    assert best_by_training_loss(study).user_attrs["train_loss"] == rows["train_loss"].min()
    found = importances(study)
    assert set(found.index) == set(SPACE)
    assert found.sum() == pytest.approx(1)


def test_a_space_may_switch_the_augmentation_off(tiny):
    class Count:
        calls = 0

        def __call__(self, images, generator):
            type(self).calls += 1
            return images

    recipe = replace(RECIPE, epochs=1, transforms=(Count(),))
    study = search(CREATE, *tiny, recipe, {"augment": (True, False)}, trials=6, prune=False, sampler="random")
    switched = [t.params["augment"] for t in study.trials]
    assert set(switched) == {True, False}
    assert Count.calls == sum(switched) * (len(tiny[0]) // recipe.batch_size)
    for trial in study.trials:
        assert recipe_of(trial, recipe) == (recipe if trial.params["augment"] else replace(recipe, transforms=()), {})


def test_training_loss_chooses_another_when_the_labels_of_validation_disagree(tiny):
    """What fits the training labels best is worst on shifted labels."""
    train, val = tiny
    shifted = replace(val, labels=(val.labels + 1) % 3)
    study = search(CREATE, train, shifted, RECIPE, SPACE, trials=8, prune=False, seed=3)
    assert best_by_training_loss(study).value < study.best_value


def test_a_search_shows_one_line_and_its_trials_none(tiny, capsys):
    search(CREATE, *tiny, RECIPE, SPACE, trials=4, seed=3)
    shown = "".join(capsys.readouterr())
    assert "4 of 4 trials · " in shown
    assert "epoch" not in shown


def test_pruning_stops_hopeless_trials_early(tiny):
    space = {"lr": (0.05, 1e-9)}
    study = search(
        CREATE, *tiny, Recipe(epochs=6, batch_size=32, schedule="constant"), space, trials=16, sampler="random"
    )
    rows = table(study)
    pruned = rows[rows["state"] == "pruned"]
    assert len(pruned) > 0
    assert (pruned["lr"] == 1e-9).all()
    assert (pruned["epochs"] < 6).all()
    assert (rows["epochs"][rows["state"] == "complete"] == 6).all()


def test_a_trial_that_diverges_fails_alone(tiny):
    space = {"lr": (0.05, 1e30)}
    study = search(
        CREATE, *tiny, Recipe(epochs=1, batch_size=32, schedule="constant"), space, trials=6, sampler="random"
    )
    states = Counter(t.state.name for t in study.trials)
    assert states["FAIL"] > 0
    assert states["COMPLETE"] > 0
    assert all(("diverged" in t.user_attrs) == (t.params["lr"] == 1e30) for t in study.trials)
    assert study.best_params == {"lr": 0.05}


@pytest.mark.parametrize("address", ["{}/study.db", "{}/study.sqlite", "sqlite:///{}/study.db"])
def test_a_study_in_a_file_is_continued(tiny, tmp_path, address):
    address = address.format(tmp_path)
    run = partial(search, CREATE, *tiny, Recipe(epochs=1, batch_size=32), SPACE, seed=5, storage=address)
    run(trials=2)
    study = run(trials=3)
    assert [t.number for t in study.trials] == [0, 1, 2]
    assert {path.stem for path in tmp_path.iterdir()} == {"study"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "grid"}, "unknown sampler 'grid'; choose one of random, tpe"),
        ({"space": {}}, "the space is empty"),
    ],
)
def test_wrong_arguments_are_refused(tiny, arguments, message):
    with pytest.raises(ValueError, match=message):
        search(CREATE, *tiny, RECIPE, **{"space": SPACE} | arguments)


def test_importances_of_trials_that_do_not_differ_are_unknown():
    study = optuna.create_study(direction="maximize")
    space = {"lr": FloatDistribution(0, 1), "depth": IntDistribution(1, 3)}
    for lr, depth in ((0.1, 1), (0.9, 3)):
        study.add_trial(optuna.trial.create_trial(params={"lr": lr, "depth": depth}, distributions=space, value=0.5))
    found = importances(study)
    assert set(found.index) == set(space)
    assert found.isna().all()
