"""The mistakes of the published reports, made on purpose, are those mistakes and no others."""

from collections import OrderedDict

import pytest
import torch
from conftest import MeanColour
from optuna.trial import create_trial
from torch import nn

from course.diagnostics import CorrectEachEpoch
from course.mistakes import (
    choice_text,
    freeze_weights_only,
    micro_average_at_threshold,
    random_split,
    swapped_channels,
    without_normalization,
    without_scaling,
)
from imgcls.data import Split
from imgcls.evaluation import Predictions, predict
from imgcls.models import Normalize


@pytest.fixture
def predictions():
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (300,), generator=draws)
    logits = torch.randn(300, 4, generator=draws) + 1.5 * torch.eye(4)[labels]
    return Predictions(logits, labels, ("ant", "bee", "cat", "dog"))


def test_a_threshold_makes_precision_exceed_recall(predictions):
    at_half, at_zero = (micro_average_at_threshold(predictions, threshold) for threshold in (0.5, 0.0))
    assert at_half["precision"] > predictions.accuracy > at_half["recall"]
    by_hand = (predictions.probabilities > 0.5) & nn.functional.one_hot(predictions.labels, 4).bool()
    assert at_half["recall"] == pytest.approx(by_hand.sum().item() / 300)
    assert at_zero == {"precision": 0.25, "recall": 1.0}  # every class is predicted for every image


def test_mistakes_on_purpose_are_those_mistakes(tiny):
    train, _ = tiny
    model = MeanColour()
    assert torch.allclose(predict(model, train, transform=without_scaling).logits, 255 * model(train.images), rtol=1e-5)
    swapped = predict(model, train, transform=swapped_channels)
    assert torch.equal(swapped.predicted, 2 - train.labels)  # red is read as blue


def test_skipping_the_normalization_is_the_bare_network(tiny):
    train, _ = tiny
    bare = MeanColour()
    model = nn.Sequential(OrderedDict(normalize=Normalize(3).fit(train.images), network=bare))
    skipped = predict(model, train, transform=without_normalization(model))
    assert torch.allclose(skipped.logits, bare(train.images), atol=2e-3)  # bare takes means of pixels from 0 to 1
    assert not torch.allclose(predict(model, train).logits, skipped.logits, atol=0.1)


def test_answers_each_epoch_keeps_one_row_an_epoch(tiny):
    train, _ = tiny
    keep = CorrectEachEpoch(train)
    model = MeanColour()
    assert keep(model, {}) is None
    with torch.no_grad():
        model.scale.copy_(torch.tensor([1.0, 0.0, 0.0]))
    keep(model, {})
    assert keep.correct.shape == (2, len(train))
    assert keep.correct[0].all()
    assert torch.equal(keep.correct[1], train.labels == 0)


def test_a_random_split_keeps_the_sizes_and_the_images(tiny):
    train, val = (
        Split(part.images, part.labels, None, tuple(f"{k}/{name}" for name in part.names), part.classes)
        for k, part in enumerate(tiny)
    )
    one, other = random_split(train, val, seed=1)
    assert (len(one), len(other)) == (len(train), len(val))
    assert sorted(one.names + other.names) == sorted(train.names + val.names)
    again, _ = random_split(train, val, seed=1)
    assert torch.equal(one.images, again.images)
    place = (train.names + val.names).index(other.names[0])
    assert torch.equal(other.images[0], torch.cat([train.images, val.images])[place])


def test_freezing_weights_only_lets_the_averages_of_batch_norm_move():
    def create():
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )

    model = freeze_weights_only(create)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["4.weight", "4.bias"]
    model.train()(torch.rand(8, 3, 6, 6) + 3)
    assert model[1].running_mean.abs().max() > 0


@pytest.mark.parametrize(
    ("number", "value", "text"),
    [
        (2, 0.9, "Both choices are the same trial"),
        (1, 0.9, "different trials with the same validation accuracy"),
        (1, 0.875, "costs 2.5 points of validation accuracy"),
    ],
)
def test_the_cost_of_a_choice_by_training_loss_is_said(number, value, text):
    chosen, best = create_trial(value=value), create_trial(value=0.9)
    chosen.number, best.number = number, 2
    assert text in choice_text(chosen, best)
