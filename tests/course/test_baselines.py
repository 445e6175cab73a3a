"""Baselines see what they should, and no more."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course import baselines
from imgcls.data import Split
from imgcls.evaluation import predict
from imgcls.models import create_model, head
from imgcls.training import Recipe, fit_seeds


def split(images, labels, classes=("dark", "light")):
    return Split(images, torch.as_tensor(labels), None, tuple(map(str, range(len(images)))), classes)


def shades(n, seed):
    """Dark and light noise by turns."""
    noise = torch.randint(0, 120, (n, 3, 40, 40), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    labels = torch.arange(n) % 2
    return split(noise + 120 * labels.view(-1, 1, 1, 1).to(torch.uint8), labels)


def test_histograms_count_each_pixel_once_and_forget_where_it_was():
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    images[0, 0, :2] = 255  # half of the pixels are red
    found = baselines.histograms(images)
    assert found.shape == (1, 64)
    assert found[0, 0] == found[0, 3 * 16] == 0.5
    assert found.sum() == 1
    assert torch.equal(found, baselines.histograms(images.flip(2)))


def test_pixels_are_averaged_to_32_and_lie_between_0_and_1():
    found = baselines.pixels(torch.full((2, 3, 64, 64), 255, dtype=torch.uint8))
    assert found.shape == (2, 3 * 32 * 32)
    assert (found == 1).all()


@pytest.mark.parametrize("features", [baselines.pixels, baselines.histograms])
def test_a_linear_model_learns_what_colours_tell(features):
    answers = baselines.linear(shades(60, 0), shades(20, 1), features)
    assert answers.accuracy == 1
    assert torch.allclose(answers.probabilities.sum(dim=1), torch.ones(20))


def test_a_class_without_training_images_is_never_the_answer():
    train, test = shades(40, 0), shades(10, 1)
    three = ("dark", "never seen", "light")
    answers = baselines.linear(
        split(train.images, train.labels * 2, three), split(test.images, test.labels * 2, three), baselines.histograms
    )
    assert answers.accuracy == 1
    assert (answers.logits[:, 1] == -math.inf).all()


def test_scores_are_one_row_an_answer_with_its_interval():
    answers = baselines.linear(shades(40, 0), shades(10, 1), baselines.histograms)
    table = baselines.scores({("clutter", "0", "colours"): answers, ("clutter", "1", "colours"): answers})
    assert list(table.columns) == ["control", "setting", "method", "value", "low", "high", "n"]
    assert table["setting"].tolist() == ["0", "1"]
    assert (table["low"] < table["value"]).all()
    assert table["n"].tolist() == [10, 10]


def test_no_output_under_the_sigmoid_costs_less_than_its_floor():
    head = nn.Sequential(nn.Flatten(), nn.Linear(3, 40))
    flawed = baselines.sigmoid_before_loss(lambda: head)
    x = torch.randn(50, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(flawed(x), head[1](x.flatten(1)).sigmoid())
    perfect = 1000 * torch.eye(40) - 500  # full confidence, and correct
    labels = torch.arange(40)
    assert F.cross_entropy(perfect, labels) == 0
    assert F.cross_entropy(perfect.sigmoid(), labels).item() == pytest.approx(baselines.sigmoid_floor(40), abs=1e-6)
    assert baselines.sigmoid_floor(40) == pytest.approx(2.731, abs=5e-4)  # as the case's published loss has it
    noise = torch.rand(2000, 40, generator=torch.Generator().manual_seed(1))
    assert F.cross_entropy(noise, torch.arange(2000) % 40, reduction="none").min() > baselines.sigmoid_floor(40)


def test_a_network_with_the_sigmoid_trains_and_answers_like_any_other():
    train = shades(64, 0)
    create = partial(baselines.sigmoid_before_loss, partial(create_model, "simple_cnn", 2, image_size=40))
    run = fit_seeds(create, train, train, Recipe(epochs=3, batch_size=16, lr=1e-2, optimizer="adamw"), [0])[0]
    answers = predict(run.model, train)
    assert ((answers.logits >= 0) & (answers.logits <= 1)).all()
    assert answers.loss >= baselines.sigmoid_floor(2) - 1e-6  # of rounding
    assert answers.accuracy > 0.9
    assert head(run.model).out_features == 2
