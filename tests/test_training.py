import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from imgcls.evaluation import predict
from imgcls.models import create_model
from imgcls.tracking import TensorBoard
from imgcls.training import GradientProbe, Recipe, TrainingDiverged, fit, gradient_norms, make_optimizer, train_step
from imgcls.transforms import RandomCrop, RandomHorizontalFlip

RECIPE = Recipe(epochs=3, batch_size=32, lr=0.05, transforms=(RandomCrop(padding=1), RandomHorizontalFlip()))


def small_net(seed: int = 0) -> nn.Module:
    """The ladder's top network, narrow: batch norm and dropout included."""
    torch.manual_seed(seed)
    return create_model("cifar_dropout", num_classes=3, widths=(4, 8, 8))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_twice_gives_the_same_bits(tiny):
    train, val = tiny
    first, second, other = small_net(), small_net(), small_net()
    one, two = fit(first, train, val, RECIPE, seed=5), fit(second, train, val, RECIPE, seed=5)
    fit(other, train, val, RECIPE, seed=6)
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(other))
    timings = ["seconds", "images_per_second"]
    assert one.frame().drop(columns=timings).equals(two.frame().drop(columns=timings))


class Interrupted(Exception):
    """Planted in the middle of a run."""


@pytest.mark.parametrize("stop_at", [1, 2, 8, 9, 15])  # six steps an epoch: first, mid and last steps
def test_a_run_stopped_anywhere_and_resumed_gives_the_same_bits(tiny, tmp_path, stop_at):
    train, val = tiny
    undisturbed = small_net()
    whole = fit(undisturbed, train, val, RECIPE, seed=5)

    calls = 0

    def interrupt(module, inputs):
        nonlocal calls
        calls += module.training
        if calls == stop_at + 1:
            raise Interrupted

    file = tmp_path / "run.pt"
    broken = small_net()
    hook = broken.register_forward_pre_hook(interrupt)
    with pytest.raises(Interrupted):
        fit(broken, train, val, RECIPE, seed=5, checkpoint=file, checkpoint_every=2)
    hook.remove()

    resumed = small_net(seed=99)  # whatever it holds is replaced
    torch.manual_seed(1234)  # and the global random state does not matter
    history = fit(resumed, train, val, RECIPE, seed=5, checkpoint=file, checkpoint_every=2)
    if stop_at == 1:  # nothing was saved yet: the run starts over from other weights
        assert not same(weights(resumed), weights(undisturbed))
    else:
        assert same(weights(resumed), weights(undisturbed))
        assert history.best_epoch == whole.best_epoch
        columns = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
        assert history.frame()[columns].equals(whole.frame()[columns])


def test_resuming_under_another_recipe_is_refused_and_named(tiny, tmp_path):
    train, val = tiny
    file = tmp_path / "run.pt"
    recipe = replace(RECIPE, epochs=1)
    fit(small_net(), train, val, recipe, checkpoint=file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"lr was 0\.05, now 0\.07"):
        fit(small_net(), train, val, replace(recipe, lr=0.07), checkpoint=file)
    with pytest.raises(ValueError, match="seed was 0, now 1"):
        fit(small_net(), train, val, recipe, seed=1, checkpoint=file)
    with pytest.raises(ValueError, match="training data was"):
        fit(small_net(), val, val, recipe, checkpoint=file)
    assert file.read_bytes() == before


def test_the_best_validation_weights_are_left_in_the_model(tiny):
    train, val = tiny
    seen = []

    def remember(model, row):
        seen.append((row["val_accuracy"], -row["val_loss"], weights(model)))

    model = small_net()
    history = fit(model, train, val, replace(RECIPE, epochs=6, schedule="constant", lr=0.3), on_epoch_end=remember)
    best = max(range(6), key=lambda i: seen[i][:2])
    assert history.best_epoch == best + 1
    assert same(weights(model), seen[best][2])
    assert predict(model, val).accuracy == history.best["val_accuracy"]


def test_validation_labels_never_reach_the_weights(tiny):
    """One epoch, so nothing is chosen: validation labels may not move a bit."""
    train, val = tiny
    shuffled = replace(val, labels=val.labels.flip(0))
    first, second = small_net(), small_net()
    fit(first, train, val, replace(RECIPE, epochs=1))
    fit(second, train, shuffled, replace(RECIPE, epochs=1))
    assert same(weights(first), weights(second))


def test_learning(tiny):
    train, val = tiny
    model = small_net()
    history = fit(model, train, val, replace(RECIPE, epochs=12))
    assert history.rows[0]["train_loss"] == pytest.approx(math.log(3), abs=0.5)
    assert predict(model, val).accuracy > 0.9


def test_global_random_state_is_left_alone(tiny):
    train, val = tiny
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    model = copy.deepcopy(FIXED)
    fit(model, train, val, replace(RECIPE, epochs=1))
    assert torch.equal(torch.rand(3), expected)


FIXED = small_net()


def test_a_step_is_sgd_with_nesterov_momentum_and_decay_on_weights_only():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    by_hand = [p.detach().clone() for p in model.parameters()]
    velocity = [torch.zeros_like(p) for p in by_hand]
    recipe = Recipe(lr=0.1, momentum=0.9, weight_decay=0.01, label_smoothing=0.1)
    optimizer = make_optimizer(model, recipe)
    for step in range(3):
        x, y = torch.randn(8, 3, 2, 2), torch.randint(0, 3, (8,))
        leaves = [p.clone().requires_grad_() for p in by_hand]
        # float32 oracle written out; the step under test may run the product in bfloat16
        loss = F.cross_entropy(x.flatten(1) @ leaves[0].T + leaves[1], y, label_smoothing=0.1)
        gradients = torch.autograd.grad(loss, leaves)
        for i, decay in enumerate((0.01, 0.0)):
            g = gradients[i] + decay * by_hand[i]
            velocity[i] = g if step == 0 else 0.9 * velocity[i] + g
            by_hand[i] = by_hand[i] - 0.1 * (g + 0.9 * velocity[i])
        train_step(model, optimizer, x, y, recipe, lr=0.1)
    for parameter, expected in zip(model.parameters(), by_hand, strict=True):
        assert torch.allclose(parameter, expected, atol=5e-3)


def test_schedules_against_their_closed_forms():
    one_cycle = Recipe(lr=0.4, schedule="one_cycle", warmup=0.25)
    assert [one_cycle.lr_at(p) for p in (0, 0.125, 0.25, 0.625, 1)] == pytest.approx([0, 0.2, 0.4, 0.2, 0])
    cosine = Recipe(lr=0.4, schedule="cosine")
    assert [cosine.lr_at(p) for p in (0, 0.5, 1)] == pytest.approx([0.4, 0.2, 0])
    exponential = Recipe(lr=1.0, schedule="exponential", gamma=0.9, epochs=10)
    assert [exponential.lr_at(p) for p in (0, 0.15, 0.55)] == pytest.approx([1, 0.9, 0.9**5])
    assert Recipe(lr=0.3, schedule="constant").lr_at(0.7) == 0.3


def test_plateau_lowers_the_rate_and_patience_stops(tiny):
    train, val = tiny
    recipe = Recipe(epochs=9, batch_size=32, lr=1e-9, schedule="plateau", gamma=0.1, plateau_epochs=2, patience=5)
    model = create_model("cifar_baseline", num_classes=3, widths=(4, 4, 4))
    history = fit(model, train, val, replace(recipe, weight_decay=0.0, momentum=0.0))
    assert history.best_epoch == 1  # nothing moves at such a rate
    assert [row["lr"] for row in history.rows] == pytest.approx([1e-9] * 3 + [1e-10] * 2 + [1e-11])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sdg"}, "optimizer 'sdg' is unknown; choose one of sgd"),
        ({"schedule": "step"}, "schedule 'step' is unknown"),
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"warmup": 1.5}, "warmup is a share"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


def test_divergence_and_too_large_a_batch_are_said(tiny):
    train, val = tiny
    model = create_model("cifar_baseline", num_classes=3, widths=(4, 4, 4))
    with pytest.raises(TrainingDiverged, match=r"epoch 1 .*ten times smaller"):
        fit(model, train, val, replace(RECIPE, lr=1e30, schedule="constant"))
    with pytest.raises(ValueError, match="192 images make no full batch of 500"):
        fit(model, train, val, replace(RECIPE, batch_size=500))


def test_gradient_norms_against_the_closed_form():
    """For logits = W x the gradient is the mean of (softmax - onehot) x^T."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    x, y = torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1])
    residual = (model(x).softmax(1) - F.one_hot(y, 3)).detach()
    expected = (residual.T @ x.flatten(1) / 5).norm()
    assert gradient_norms(model, x, y) == pytest.approx({"dense 1": expected.item()}, rel=1e-5)


def test_gradient_norms_leave_no_trace_and_name_layers_in_order(tiny):
    train, _ = tiny
    model = small_net()
    model.normalize.measure(train.images)
    before = weights(model)
    names = list(gradient_norms(model, train.images[:16], train.labels[:16]))
    assert names == [f"conv {i}" for i in range(1, 7)] + ["dense 1", "dense 2"]
    assert same(before, weights(model))
    assert all(p.grad is None for p in model.parameters())


def test_a_hook_adds_to_the_rows_and_the_tracker_gets_them(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train, val = tiny
    tracker = TensorBoard(tmp_path)
    probe = GradientProbe(val.images[:8], val.labels[:8])
    history = fit(small_net(), train, val, replace(RECIPE, epochs=2), on_epoch_end=probe, tracker=tracker)
    tracker.close()
    assert list(history.gradients().columns) == list(gradient_norms(small_net(), val.images[:2], val.labels[:2]))
    assert list(history.gradients().index) == [1, 2]
    events = EventAccumulator(str(tmp_path)).Reload()
    logged = [event.value for event in events.Scalars("loss/val")]
    assert logged == pytest.approx([row["val_loss"] for row in history.rows], rel=1e-6)
