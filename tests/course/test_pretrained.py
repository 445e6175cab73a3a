"""The first pretrained network whose weights are available is taken, and the reason for each other is printed."""

from dataclasses import asdict

import pytest
import torch
from torch import nn

from course.pretrained import all_available, first_available, untrained
from imgcls import models, transfer
from imgcls.evaluation.statistics import wilson


def test_the_first_available_network_is_taken(tmp_path, capsys, monkeypatch):
    folder = models.save(models.create_model("simple_cnn", 2, image_size=16), tmp_path / "saved", ("a", "b"))
    available, missing = f"{folder}/simple_cnn@16", f"{tmp_path / 'nothing'}/simple_cnn@16"
    found = first_available([missing, available])
    assert (found.origin, found.name, found.image_size, found.weights) == (str(folder), "simple_cnn", 16, str(folder))
    assert "takes its place" in capsys.readouterr().out  # the substitute is named
    calls = []
    monkeypatch.setattr(transfer, "source_backbone", lambda *args, **settings: calls.append((args, settings)) or folder)
    own = first_available(["source/simple_cnn@16", missing], train_count=106)
    assert own.weights == folder
    assert calls == [(("simple_cnn",), {"image_size": 16, "train_count": 106})]
    assert capsys.readouterr().out == ""
    with pytest.raises(models.MissingWeights, match="nothing"):
        first_available([missing])
    for wrong in ([], ["simple_cnn"], ["source/simple_cnn@0"]):
        with pytest.raises(ValueError, match="origin/name@pixels"):
            first_available(wrong)


def test_all_available_networks_are_taken_and_the_others_are_named(tmp_path, capsys):
    folder = models.save(models.create_model("simple_cnn", 2, image_size=16), tmp_path / "saved", ("a", "b"))
    choices = [f"{tmp_path / 'nothing'}/simple_cnn@16", f"{folder}/simple_cnn@16", "imagenet/efficientnet_lite0@32"]
    assert [net.origin for net in all_available(choices)] == [str(folder), "imagenet"]
    assert "left out: " + choices[0] in capsys.readouterr().out
    with pytest.raises(models.MissingWeights, match="nothing"):
        all_available(choices[:1])
    with pytest.raises(ValueError, match="origin/name@pixels"):
        all_available([])


def test_a_report_names_the_images_that_the_weights_were_trained_on(tmp_path):
    assert first_available(["imagenet/efficientnet_lite0@64"]).trained_on == "the photographs of ImageNet"
    model = models.create_model("simple_cnn", 2, image_size=16)
    plain = models.save(model, tmp_path / "plain", ("a", "b"))
    assert first_available([f"{plain}/simple_cnn@16"]).trained_on == "images of 2 classes"
    facts = {"data": {"train": 1200, "kind": "generated"}, "metrics": {"test accuracy": asdict(wilson(45, 50))}}
    full = models.save(model, tmp_path / "full", ("a", "b"), **facts)
    expected = f"1,200 generated images of 2 classes (test accuracy {wilson(45, 50)})"
    assert first_available([f"{full}/simple_cnn@16"]).trained_on == expected


def test_an_untrained_network_normalises_its_images_although_its_weights_are_small(tiny):
    train, _ = tiny

    def create(weights=None):
        assert weights is None  # the pretrained weights of a partial are not kept
        layers = [nn.Conv2d(train.images.shape[1], 4, 3), nn.BatchNorm2d(4), nn.Flatten()]
        layers[0].weight.data.mul_(0.1)
        return nn.Sequential(*layers)

    model = untrained(lambda **options: nn.Sequential(ToFloat(), create(**options)), train)
    with torch.no_grad():
        values = model(train.images).unflatten(1, (4, -1))
    assert torch.allclose(values.mean((0, 2)), torch.zeros(4), atol=0.2)  # bfloat16
    assert torch.allclose(values.std((0, 2)), torch.ones(4), atol=0.1)
    assert not model.training


class ToFloat(nn.Module):
    """uint8 images as numbers from 0 to 1."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float() / 255
