"""The mistakes of the published reports, made on purpose, are those mistakes and no others."""

from collections import OrderedDict

import pytest
import torch
from conftest import MeanColour
from torch import nn

from course.diagnostics import CorrectEachEpoch
from course.mistakes import (
    micro_average_at_threshold,
    swapped_channels,
    without_normalization,
    without_scaling,
)
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
