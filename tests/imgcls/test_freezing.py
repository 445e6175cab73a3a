"""Case 04's six backbones: each way of freezing trains the layers that are named by hand, and nothing else."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from imgcls import models

pytestmark = pytest.mark.usefixtures("one_thread")

# What is the head, and what the last stage and the last two add to it, by torchvision's names.
PARTS = {
    "resnet50": ("fc.", ("layer4.",), ("layer3.", "layer4.")),
    "vgg16": (
        "classifier.6.",
        ("features.24.", "features.26.", "features.28.", "classifier."),
        ("features.17.", "features.19.", "features.21.", "features.24.", "features.26.", "features.28.", "classifier."),
    ),
    "inception_v3": ("fc.", ("Mixed_7c.",), ("Mixed_7b.", "Mixed_7c.")),
    "efficientnet_v2_s": ("classifier.1.", ("features.7.",), ("features.6.", "features.7.")),
    "googlenet": ("fc.", ("inception5b.",), ("inception5a.", "inception5b.")),
    "vit_b_16": (
        "heads.head.",
        ("encoder.layers.encoder_layer_11.", "encoder.ln."),
        ("encoder.layers.encoder_layer_10.", "encoder.layers.encoder_layer_11.", "encoder.ln."),
    ),
}
# Inputs and outputs of the head; the weights of the whole network as torchvision's table has them, for 1000 classes.
FEATURES = {
    "resnet50": 2048, "vgg16": 4096, "inception_v3": 2048, "efficientnet_v2_s": 1280, "googlenet": 1024,
    "vit_b_16": 768,
}  # fmt: skip
WITHOUT_AUXILIARY = {"inception_v3": 23_834_568, "googlenet": 6_624_904}  # which training from scratch leaves out
CLASSES = 10
WAYS = {"head": 0, 1: 1, 2: 2}


def shapes_only(name):
    with torch.device("meta"):
        return models.create_model(name, CLASSES)


def expected(name, way):
    head, *parts = PARTS[name]
    return (head, *(() if way == "head" else parts[way - 1]))


def names_that(model, say):
    return {key for key, p in model.network.named_parameters() if say(key, p)}


@pytest.mark.parametrize("name", PARTS)
def test_the_freezing_table_counts_what_is_named_by_hand(name):
    model = shapes_only(name)
    table = models.trainable_parts(model).set_index("trainable")
    sizes = {key: p.numel() for key, p in model.network.named_parameters()}
    for way in WAYS:
        by_hand = sum(count for key, count in sizes.items() if key.startswith(expected(name, way)))
        assert table.loc[way, "parameters"] == by_hand, way
    assert table.loc["head", "parameters"] == FEATURES[name] * CLASSES + CLASSES
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    whole = WITHOUT_AUXILIARY.get(name, published) - FEATURES[name] * 1000 - 1000 + FEATURES[name] * CLASSES + CLASSES
    assert table.loc["all", "parameters"] == whole
    assert table["parameters"].is_monotonic_increasing
    assert table["parameters"].is_unique
    assert table["batch_norms"].is_monotonic_decreasing
    assert table.loc["all", "batch_norms"] == 0
    assert [name for name, _ in models.stages(model)][::-1] == table["first"].tolist()[1:]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PARTS)
def test_gradients_reach_what_trains_and_nothing_else(name, way):
    model = models.freeze(shapes_only(name), way).train()
    side = 224 if name == "vit_b_16" else 96
    logits = model(torch.zeros(2, 3, side, side, device="meta"))
    F.cross_entropy(logits, torch.zeros(2, dtype=torch.int64, device="meta")).backward()
    trains = names_that(model, lambda key, p: key.startswith(expected(name, way)))
    assert names_that(model, lambda key, p: p.grad is not None) == trains
    assert names_that(model, lambda key, p: p.requires_grad) == trains
    table = models.trainable_parts(model).set_index("trainable")
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert sum(not norm.training for norm in norms) == table.loc[way, "batch_norms"]


def test_counting_leaves_the_model_as_it_is():
    model = models.freeze(models.create_model("cifar_batchnorm", 3), 1)
    before = [(key, p.requires_grad) for key, p in model.named_parameters()]
    modes = [m.training for m in model.train().modules()]
    models.trainable_parts(model)
    assert [(key, p.requires_grad) for key, p in model.named_parameters()] == before
    assert [m.training for m in model.modules()] == modes
