"""What only a CUDA device can show; skipped where there is none."""

from types import SimpleNamespace

import pytest
import torch
from conftest import colour_split
from test_resume import differences
from test_training import RECIPE, same, small_net, weights
from test_transforms import ALL

from imgcls.evaluation import predict
from imgcls.explain import grad_cam
from imgcls.models import create_model
from imgcls.precision import pick_device
from imgcls.reproducibility import generator
from imgcls.training import Recipe, fit, init_distributed, steps_per_epoch, train_batches, train_step
from imgcls.training.loop import make_loss
from imgcls.training.optimizers import make_optimizer
from imgcls.transforms import CutMix, MixUp, RandomCrop, RandomHorizontalFlip

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_cuda_is_chosen():
    assert pick_device().type == "cuda"


def test_training_learns_and_agrees_with_the_cpu(tiny):
    train, val = tiny
    on_gpu = small_net()
    history = fit(on_gpu, train, val, RECIPE, seed=5)
    assert next(on_gpu.parameters()).is_cuda
    assert history.best["val_accuracy"] > 0.8
    predictions = predict(on_gpu, val)
    assert predictions.logits.device.type == "cpu"
    assert predict(on_gpu.cpu(), val).logits == pytest.approx(predictions.logits, abs=0.1)


def test_an_interrupted_run_resumes_to_the_same_weights(tiny, tmp_path):
    """cuDNN may choose kernels that add in another order, so deterministic kernels are required."""
    train, val = tiny
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        whole, resumed = small_net(), small_net()
        fit(whole, train, val, RECIPE, seed=5)

        class Interrupted(Exception):
            pass

        def interrupt(model, row):
            if row["epoch"] == 2:
                raise Interrupted

        with pytest.raises(Interrupted):
            fit(small_net(), train, val, RECIPE, seed=5, checkpoint=tmp_path, on_epoch_end=interrupt)
        fit(resumed, train, val, RECIPE, seed=5, checkpoint=tmp_path)
    finally:
        torch.use_deterministic_algorithms(False)
    assert same(weights(whole), weights(resumed)), differences(weights(whole), weights(resumed))


def test_a_batch_larger_than_the_memory_is_trained_in_parts():
    """The device may use little of its memory; the step must be the same as with enough memory."""
    split = colour_split(4096, seed=1, size=32)
    recipe = Recipe(epochs=1, batch_size=4096, lr=0.01, drop_last=True)
    models = [create_model("cifar_baseline", num_classes=3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    fit(models[0], split, split, recipe, seed=1)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + (600 << 20)) / total)
    try:
        with pytest.warns(UserWarning, match="4096 images do not fit into memory: taking 2048 at a time"):
            fit(models[1], split, split, recipe, seed=1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    for name, value in weights(models[0]).items():
        assert torch.allclose(value.float(), weights(models[1])[name].float(), atol=2e-3), name


def test_a_split_on_the_device_trains_as_one_in_memory(tiny):
    """`fit` moves what fits; a caller may have moved it before."""
    train, val = tiny
    models = [small_net() for _ in range(2)]
    fit(models[0], train, val, RECIPE, seed=5)
    device = [SimpleNamespace(images=s.images.cuda(), labels=s.labels.cuda(), classes=s.classes) for s in (train, val)]
    fit(models[1], *device, RECIPE, seed=5)
    for name, value in weights(models[0]).items():
        assert torch.allclose(value.float(), weights(models[1])[name].float(), atol=2e-3), name
    predictions = predict(models[1], device[1])
    assert predictions.labels.device.type == predictions.logits.device.type == "cpu"


@pytest.mark.parametrize("transform", ALL.values(), ids=ALL)
def test_transforms_on_the_device_equal_those_on_the_cpu(transform):
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=generator(1), dtype=torch.uint8)
    expected = transform(images, generator(2)).float()
    found = transform(images.cuda(), generator(2)).cpu().float()
    assert (found - expected).abs().max() <= 1  # level of 255: bilinear sums may round the other way


@pytest.mark.parametrize("mix", [MixUp(num_classes=3), CutMix(num_classes=3)], ids=["MixUp", "CutMix"])
def test_mixing_on_the_device_equals_that_on_the_cpu(mix):
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=generator(1), dtype=torch.uint8)
    targets = torch.arange(64) % 3
    pairs = zip(mix(images.cuda(), targets.cuda(), generator(2)), mix(images, targets, generator(2)), strict=True)
    for found, expected in pairs:
        assert torch.allclose(found.cpu(), expected, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_no_step_of_an_epoch_waits_for_the_device(optimizer, tiny):
    train, _ = tiny
    resident = SimpleNamespace(images=train.images.cuda(), labels=train.labels.cuda(), classes=train.classes)
    recipe = Recipe(
        epochs=2, batch_size=32, lr=0.01, optimizer=optimizer, max_grad_norm=1.0, alternating_flip=True,
        transforms=(RandomCrop(padding=1), RandomHorizontalFlip()),
    )  # fmt: skip
    model = small_net().cuda()
    made, loss, world = (
        make_optimizer(model, recipe),
        make_loss(recipe, train, torch.device("cuda")),
        init_distributed(),
    )
    steps = 0
    for epoch in range(2):  # the first makes states and chooses kernels
        found = train_batches(resident, recipe, 0, epoch, 0, world)
        batch = next(found)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error" if epoch else "default")
        try:
            while batch:
                train_step(model, made, batch, loss, recipe, world)
                batch, steps = next(found, None), steps + 1
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert steps == 2 * steps_per_epoch(len(train), recipe)  # a step that waits raises


def test_predictions_that_do_not_fit_are_made_in_parts(tiny):
    split = colour_split(4096, seed=1, size=64)
    model = create_model("cifar_baseline", num_classes=3).cuda()
    expected = predict(model, split, batch_size=128)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + (300 << 20)) / total)
    try:
        with pytest.warns(UserWarning, match="4096 images do not fit into memory: taking 2048 at a time"):
            found = predict(model, split, batch_size=4096)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.allclose(found.logits, expected.logits, atol=0.1)


def test_grad_cam_on_the_device_equals_that_on_the_cpu(tiny, monkeypatch):
    monkeypatch.setenv("IMGCLS_PRECISION", "float32")
    model = small_net().eval()
    images = tiny[1].images[:8]
    expected = grad_cam(model, images).cpu()
    assert torch.allclose(grad_cam(model.cuda(), images.cuda()).cpu(), expected, atol=1e-2)
