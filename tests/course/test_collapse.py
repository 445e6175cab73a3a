"""A collapse is seen, and its batch-norm statistics are what was meant."""

import copy
from functools import partial

import pandas as pd
import pytest
import torch
from conftest import MeanColour
from torch import nn

from course.collapse import (
    CollapseWatch,
    at_thresholds,
    equal_counts,
    has_collapsed,
    lag_as_cause,
    recalibrate,
    use_second_average,
    with_second_average,
)
from imgcls.data import Split
from imgcls.evaluation import Predictions, predict
from imgcls.evaluation.statistics import Interval
from imgcls.models import Normalize, create_model
from imgcls.training import Recipe, fit_seeds

RECIPE = Recipe(epochs=2, batch_size=32, lr=1e-3, optimizer="adam", transforms=())


def normalised():
    return nn.Sequential(Normalize(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_one_bad_epoch_of_ten_is_no_collapse():
    assert not has_collapsed(pd.Series([0.99] + [0.55] * 9))
    assert has_collapsed(pd.Series([0.99] * 5 + [0.55] * 5))


def test_the_watch_follows_several_runs_and_ways(tiny):
    train, _ = tiny
    watch = CollapseWatch(train, {"plain": None, "red": lambda model: all_red})
    all_red, model = MeanColour(), MeanColour()
    with torch.no_grad():
        all_red.scale.copy_(torch.tensor([100.0, 0.0, 0.0]))
    for epoch in (1, 2, 1):  # two runs: of two epochs, and of one
        watch(model, {"epoch": epoch})
    assert [len(run["plain"]) for run in watch.runs] == [2, 1]
    frame = watch.frame().set_index(["way", "run", "epoch"])
    assert frame.loc[("red", 0, 2), "favourite"] == 1
    assert frame.loc[("plain", 1, 1), "accuracy"] == 1
    by_class = watch.by_class("red").set_index(["panel", "x", "series"])
    assert by_class.loc[("recall", 1, "green"), "value"] == 0
    assert by_class.loc[("share of the predictions", 1, "red"), "value"] == 1
    assert set(watch.favourites()["series"]) == {"plain", "red"}
    assert len(watch.last("plain")) == 2


def test_recalibration_gives_the_statistics_of_the_images_and_leaves_the_model(tiny):
    train, _ = tiny
    model = normalised()
    model[2].running_mean.fill_(7.0)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    fresh = recalibrate(model, train, batch_size=len(train))
    with torch.no_grad():
        expected = copy.deepcopy(model).train()(train.images)
    assert torch.allclose(predict(fresh, train, batch_size=len(train)).logits, expected, atol=0.05)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_recalibration_weighs_all_images_alike_whatever_the_batch_size(tiny):
    train, _ = tiny
    model, half = normalised(), len(train) // 2
    assert len(train) % 2 == 0
    means = [recalibrate(model, train, size)[2].running_mean for size in (len(train), half, len(train) - 1)]
    assert torch.allclose(means[0], means[1], atol=2e-3)
    assert torch.allclose(means[0], means[2], atol=2e-3)


def test_a_second_average_changes_no_weight_and_is_that_of_its_momentum(tiny):
    train, val = tiny
    create = partial(create_model, "cifar_batchnorm", 3, image_size=train.images.shape[-1], widths=[4, 4, 4])
    plain = fit_seeds(create, train, val, RECIPE, [0], show=False)[0].model
    both = fit_seeds(partial(with_second_average, create, momentum=0.1), train, val, RECIPE, [0], show=False)[0].model
    for name, value in plain.state_dict().items():
        assert torch.equal(value, both.state_dict()[name]), name
    second = use_second_average(both)  # with PyTorch's own momentum, both averages are the same
    assert torch.allclose(predict(second, val).logits, predict(both, val).logits, atol=0.05)


def test_equal_counts_and_confusion_at_thresholds():
    labels = torch.tensor([0, 0, 1, 0, 2, 2, 1, 0])
    split = Split(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), labels, None, tuple("abcdefgh"), ("x", "y", "z"))
    assert equal_counts(split).names == tuple("abcefg")  # two of each class, in their order
    chance = torch.tensor([0.1, 0.3, 0.6, 0.9])
    found = Predictions(torch.stack([1 - chance, chance], 1).log(), torch.tensor([0, 1, 0, 1]), ("cat", "dog"))
    table = at_thresholds(found, {"convention": 0.5, "low": 0.2})
    assert table["cat → dog"].tolist() == [1, 1]
    assert table["dog → dog"].tolist() == [1, 2]
    assert table["balanced accuracy"].iloc[1].startswith("75.0 %")
    with pytest.raises(ValueError, match="threshold"):
        at_thresholds(found, {"none": 1.0})


@pytest.mark.parametrize(
    ("low", "high", "conclusion"),
    [(-0.2, -0.1, "is part of the cause"), (0.1, 0.2, "does not cause"), (-0.1, 0.1, "inconclusive")],
)
def test_the_conclusion_on_the_lag_follows_the_interval(low, high, conclusion):
    assert conclusion in lag_as_cause(Interval((low + high) / 2, low, high, 3))
