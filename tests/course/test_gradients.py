"""The verdict on a baseline: it learns, its gradients vanish, its units are dead, or it diverges."""

from functools import partial

import pytest
import torch
from torch import nn

from course.gradients import UpdateProbe, gradients_table, possible_change, try_baselines
from imgcls.models import Normalize
from imgcls.training import Recipe, fit_seeds

RECIPE = Recipe(epochs=2, batch_size=32, lr=0.05, momentum=0.9, nesterov=False, weight_decay=0.0, schedule="constant")


def network(layers=0, activation=nn.ReLU, bias=0.0, scale=1.0):
    body = [nn.Flatten(), nn.Linear(3 * 8 * 8, 16), activation()]
    for _ in range(layers):
        body += [nn.Linear(16, 16), activation()]
    model = nn.Sequential(Normalize(3), *body, nn.Linear(16, 3))
    with torch.no_grad():
        model[2].bias.fill_(bias)
        model[2].weight.mul_(scale)
    return model


def test_verdicts_of_networks_whose_fate_is_known(tiny, one_thread):
    train, val = tiny
    side = train.images.shape[-1]
    assert side == 8
    variants = {
        "shallow": network,
        "thirty sigmoids": partial(network, layers=30, activation=nn.Sigmoid),
        "dead": partial(network, bias=-1e4),
        "exploding": partial(network, scale=1e30),
    }
    table, norms = try_baselines(variants, train, val, RECIPE, [0, 1], steps=1000)
    verdicts = dict(zip(table["variant"], table["verdict"], strict=True))
    assert verdicts == {
        "shallow": "learns",
        "thirty sigmoids": "vanishing gradients",
        "dead": "dead units: no gradient in any layer",
        "exploding": "diverges",
    }
    assert "exploding" not in norms
    assert gradients_table(table).shape == (4, 5)


def test_the_possible_change_follows_the_formula(tiny, one_thread):
    train, val = tiny
    probe = UpdateProbe(train.images[:64], train.labels[:64])
    rows = fit_seeds(network, train, val, RECIPE, [0], on_epoch_end=probe, show=False)[0].history.rows
    first = possible_change(rows, RECIPE, steps=12).iloc[0]
    relative = sum(row["relative/dense 1"] for row in rows) / 2  # the median of two epochs
    assert first == pytest.approx(12 * 0.05 / (1 - 0.9) * relative)
