"""What only a CUDA device can show; skipped where there is none."""

import pytest
import torch
from conftest import colour_split
from test_resume import differences
from test_training import RECIPE, same, small_net, weights

from imgcls.evaluation import predict
from imgcls.models import create_model
from imgcls.precision import pick_device
from imgcls.training import Recipe, fit

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
