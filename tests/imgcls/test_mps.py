"""What training calls on Apple's device, checked on a stand-in for it: no Apple machine was at hand."""

import pytest
import torch
from conftest import colour_split
from mps_stand_in import mps_device, without_kernel
from test_transforms import ALL, drawn

from imgcls.evaluation import extract_features, predict
from imgcls.explain import grad_cam
from imgcls.models import backbone, create_model
from imgcls.precision import pick_device
from imgcls.training import Recipe, fit, lr_range_test, sanity_checks
from imgcls.transforms import CutMix, RandomCrop

pytestmark = pytest.mark.usefixtures("one_thread")
TRAIN, VAL = colour_split(48, seed=1, size=10), colour_split(24, seed=2, size=10)


def network(name="cifar_fast"):
    torch.manual_seed(0)
    return create_model(name, 3, widths=(4, 8, 8), image_size=10)


def test_the_stand_in_refuses_what_the_device_refuses():
    with mps_device() as device:
        x = torch.ones(3).to("mps")
        assert x.device.type == "mps" == pick_device().type
        assert (2 * x + torch.tensor(1.0)).cpu().tolist() == [3, 3, 3]
        with pytest.raises(TypeError, match="no float64"):
            x.double()
        with pytest.raises(TypeError, match="no float64"):
            torch.ones(3, dtype=torch.float64).to("mps")
        with pytest.raises(RuntimeError, match="on mps and on the CPU"):
            x + torch.ones(3)
        assert without_kernel(device.calls) == []
        torch.linalg.eigh(torch.eye(4).to("mps"))
        assert without_kernel(device.calls) == ["_linalg_eigh.default"]


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "transforms": (RandomCrop(padding=1),), "alternating_flip": True},
        {"optimizer": "adamw", "ema_decay": 0.9, "max_grad_norm": 1.0, "label_smoothing": 0.1, "micro_batch_size": 7},
        {"optimizer": "muon", "schedule": "plateau", "unfreeze_schedule": ((1, "head"), (2, "all"))},
        {"batch_mix": CutMix(1.0, num_classes=3), "balanced_sampling": True, "class_weights": "balanced"},
    ],
    ids=str,
)
def test_a_run_calls_only_what_the_device_has_and_gives_the_weights_of_the_cpu(options, monkeypatch):
    monkeypatch.setenv("IMGCLS_PRECISION", "float32")
    recipe, found = Recipe(epochs=2, batch_size=16, lr=0.02, **options), []
    for there in (False, True):
        model = network()
        if there:
            with mps_device() as device:
                fit(model, TRAIN, VAL, recipe, seed=3, show=False)
                assert {parameter.device.type for parameter in model.parameters()} == {"mps"}
                found.append(predict(model, VAL).logits)
            assert len(device.calls) > 40
            assert without_kernel(device.calls) == []
        else:
            fit(model, TRAIN, VAL, recipe, seed=3, show=False)
            found.append(predict(model, VAL).logits)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_transforms_run_there(name):
    transform = ALL[name]
    images = colour_split(6, seed=3, size=16).images
    parameters = drawn(transform, images)
    with mps_device() as device:
        there = transform.apply(images.to("mps"), parameters).cpu()
    torch.testing.assert_close(there, transform.apply(images, parameters))
    assert without_kernel(device.calls) == []


def test_probes_features_and_maps_run_there():
    with mps_device() as device:
        sanity_checks(network, TRAIN)
        lr_range_test(network("cifar_dropout"), TRAIN, Recipe(batch_size=16), steps=10)
        model = network().to("mps")
        assert extract_features(backbone(model), VAL).images.shape == (24, 8)
        assert grad_cam(model, VAL.images[:2].to("mps")).shape[-2:] == (10, 10)
    assert without_kernel(device.calls) == []
