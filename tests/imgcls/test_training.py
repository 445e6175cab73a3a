import copy
import json
import math
from dataclasses import fields, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import colour_split
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from course.diagnostics import gradient_norms
from course.gradients import UpdateProbe
from imgcls import precision
from imgcls.data.batches import balanced_weights, weighted_order
from imgcls.evaluation import predict
from imgcls.models import create_model, freeze, head, stages
from imgcls.tracking import start
from imgcls.training import (
    Batch,
    Recipe,
    TrainingDiverged,
    compose_hooks,
    fit,
    lr_range_test,
    make_loss,
    make_optimizer,
    probes,
    sanity_checks,
    set_lr,
    train_step,
)
from imgcls.training.schedule import SCHEDULES
from imgcls.transforms import CutMix, MixUp, RandomCrop, RandomHorizontalFlip

RECIPE = Recipe(epochs=3, batch_size=32, lr=0.05, transforms=(RandomCrop(padding=1), RandomHorizontalFlip()))


def small_net(seed: int = 0) -> nn.Module:
    """The ladder's top network, narrow: batch norm and dropout included."""
    torch.manual_seed(seed)
    return create_model("cifar_dropout", num_classes=3, widths=(4, 8, 8))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy on the CPU: `fit` moves the model to its device."""
    return {name: value.to("cpu", copy=True) for name, value in model.state_dict().items()}


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


@pytest.fixture
def exact(monkeypatch):
    """Float32 arithmetic, so that an oracle can be met closely."""
    monkeypatch.setattr(precision, "pick_precision", lambda device=None: torch.float32)


CPU = torch.device("cpu")


class Dense(nn.Module):
    """Logits = W x + b of float images, with nothing around it."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(12, 3)

    def forward(self, images):
        return self.layer(images.flatten(1).float())


def test_a_step_is_sgd_with_nesterov_momentum_and_decay_on_weights_only(exact, tiny):
    model = Dense()
    by_hand = [p.detach().clone() for p in model.parameters()]
    velocity = [torch.zeros_like(p) for p in by_hand]
    recipe = Recipe(lr=0.1, momentum=0.9, weight_decay=0.01, label_smoothing=0.1)
    optimizer, loss = make_optimizer(model, recipe), make_loss(recipe, tiny[0], CPU)
    for step in range(3):
        x, y = torch.randn(8, 3, 2, 2), torch.randint(0, 3, (8,))
        leaves = [p.clone().requires_grad_() for p in by_hand]
        value = F.cross_entropy(x.flatten(1) @ leaves[0].T + leaves[1], y, label_smoothing=0.1)
        gradients = torch.autograd.grad(value, leaves)
        for i, decay in enumerate((0.01, 0.0)):
            g = gradients[i] + decay * by_hand[i]
            velocity[i] = g if step == 0 else 0.9 * velocity[i] + g
            by_hand[i] = by_hand[i] - 0.1 * (g + 0.9 * velocity[i])
        result = train_step(model, optimizer, Batch(x, y, y, 8), loss, recipe)
        assert float(result.loss) / 8 == pytest.approx(value.item(), rel=1e-5)
    for parameter, expected in zip(model.parameters(), by_hand, strict=True):
        assert torch.allclose(parameter, expected, atol=1e-6)


def a_step(recipe, batch, tiny):
    """The change of a dense layer's weight in one step of plain SGD with learning rate 1: minus the gradient."""
    model = Dense()
    before = model.layer.weight.detach().clone()
    loss = make_loss(recipe, tiny[0], CPU)
    optimizer = make_optimizer(model, replace(recipe, lr=1.0, momentum=0.0, weight_decay=0.0))
    result = train_step(model, optimizer, batch, loss, recipe)
    return before - model.layer.weight.detach(), result


def some_batch(n=12):
    draws = torch.Generator().manual_seed(3)
    x, y = torch.rand(n, 3, 2, 2, generator=draws), torch.randint(0, 3, (n,), generator=draws)
    return Batch(x, y, y, n)


def test_class_weights_scale_each_images_gradient(exact, tiny):
    x, y, *_ = batch = some_batch()
    factors = (0.5, 2.0, 0.0)
    change, _ = a_step(Recipe(class_weights=factors), batch, tiny)
    model = Dense()
    residual = model(x).softmax(1) - F.one_hot(y, 3)  # gradient of each image's cross-entropy at its logits
    expected = (torch.tensor(factors)[y][:, None] * residual).T @ x.flatten(1) / len(y)
    assert torch.allclose(change, expected, atol=1e-6)


def test_balanced_class_weights_are_scikit_learns(tiny):
    labels = torch.tensor([0] * 30 + [1] * 6 + [2] * 4)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    weights = Recipe(class_weights="balanced").loss_weights(labels, 3)
    assert torch.allclose(weights, torch.tensor(expected, dtype=torch.float32))
    missing = Recipe(class_weights="balanced").loss_weights(labels, 4)
    assert missing[3] == 0
    assert torch.equal(missing[:3], weights)


def test_clipping_bounds_the_norm_and_leaves_short_gradients_alone(exact, tiny):
    batch = some_batch()
    plain, _ = a_step(Recipe(), batch, tiny)
    model = Dense()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()
    clipped, _ = a_step(Recipe(max_grad_norm=norm / 4), batch, tiny)
    assert torch.allclose(clipped, plain / 4, rtol=1e-3)
    unclipped, _ = a_step(Recipe(max_grad_norm=norm * 4), batch, tiny)
    assert torch.equal(unclipped, plain)


@pytest.mark.parametrize("size", [1, 5, 12, 100])
def test_micro_batches_add_up_to_the_same_step(exact, tiny, size):
    batch = some_batch()
    whole, one = a_step(Recipe(), batch, tiny)
    parts, many = a_step(Recipe(micro_batch_size=size), batch, tiny)
    assert torch.allclose(whole, parts, atol=1e-6)
    assert int(one.correct) == int(many.correct)
    assert float(one.loss) == pytest.approx(float(many.loss))


class Narrow(Dense):
    """Runs out of memory as a GPU does where more than `room` images come at once."""

    def __init__(self, room):
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, images):
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(images)


def test_out_of_memory_halves_the_micro_batch_says_so_and_keeps_the_step(exact, tiny):
    narrow, roomy = Narrow(9), Narrow(1000)
    small = replace(tiny[0], images=tiny[0].images[:, :, :2, :2])
    images, labels = small.images[:32], small.labels[:32]
    recipe = Recipe(lr=1e-3)
    batch, loss = Batch(images, labels, labels, 32), make_loss(recipe, small, CPU)
    with pytest.warns(UserWarning, match="do not fit into memory") as warnings:
        result = train_step(narrow, make_optimizer(narrow, recipe), batch, loss, recipe)
    assert [str(warning.message)[:54] for warning in warnings] == [
        "32 images do not fit into memory: taking 16 at a time ",
        "16 images do not fit into memory: taking 8 at a time a",
    ]
    assert result.micro_batch_size == 8
    assert narrow.sizes == [32, 16, 8, 8, 8, 8]  # each failure costs one forward pass, then it fits
    train_step(roomy, make_optimizer(roomy, recipe), batch, loss, recipe)
    assert not torch.equal(roomy.layer.weight, Dense().layer.weight)
    assert torch.allclose(narrow.layer.weight, roomy.layer.weight, atol=1e-6)


def test_fit_remembers_what_fits_and_one_image_that_does_not_is_an_error(exact, tiny):
    train, _ = tiny
    small = replace(train, images=train.images[:, :, :2, :2])
    few = replace(small, images=small.images[:6], labels=small.labels[:6])  # validation fits at once
    model = Narrow(9)
    with pytest.warns(UserWarning, match="do not fit into memory"):
        fit(model, small, few, Recipe(epochs=2, batch_size=32, lr=1e-3))
    assert model.sizes.count(32) == model.sizes.count(16) == 1
    hopeless = Narrow(0)
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="do not fit into memory"):
        fit(hopeless, small, few, Recipe(epochs=1, batch_size=4))


def test_float16_gradients_are_scaled_and_an_overflowing_step_is_passed_over(monkeypatch, tiny):
    """The loss is scaled up, so that small gradients are above float16's least number, and the update scaled back."""
    monkeypatch.setenv("IMGCLS_PRECISION", "float16")
    small = replace(tiny[0], images=tiny[0].images[:, :, :2, :2])
    images, labels = small.images[:32], small.labels[:32]
    batch = Batch(images, labels, labels, 32)
    for optimizer in ("sgd", "adamw", "muon"):
        recipe = Recipe(lr=0.01, optimizer=optimizer, max_grad_norm=1.0)
        models = [Dense(), Dense()]
        models[1].load_state_dict(models[0].state_dict())
        before, loss = weights(models[0]), make_loss(recipe, small, CPU)
        train_step(models[0], make_optimizer(models[0], recipe), batch, loss, recipe)
        scaled = make_optimizer(models[1], recipe)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
        train_step(models[1], scaled, batch, loss, recipe, scaler=scaler)
        assert same(weights(models[1]), before), optimizer  # infinite gradients
        assert scaler.get_scale() == 2.0**99
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**5)
        train_step(models[1], scaled, batch, loss, recipe, scaler=scaler)
        for name, value in weights(models[0]).items():
            assert not torch.equal(value, before[name])
            assert torch.allclose(weights(models[1])[name], value, atol=1e-4), (optimizer, name)


def test_float16_training_learns_and_resumes_with_its_scale(monkeypatch, tiny, tmp_path):
    monkeypatch.setenv("IMGCLS_PRECISION", "float16")
    train, val = tiny
    recipe = Recipe(epochs=4, batch_size=32, lr=0.02, optimizer="muon")
    whole, resumed = (create_model("cifar_batchnorm", num_classes=3, widths=(4, 8, 8)) for _ in range(2))
    resumed.load_state_dict(whole.state_dict())
    history = fit(whole, train, val, recipe)
    assert history.best["val_accuracy"] > 0.8

    class Interrupted(Exception):
        pass

    def interrupt(model, row):
        if row["epoch"] == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(resumed, train, val, recipe, checkpoint=tmp_path, on_epoch_end=interrupt)
    saved = torch.load(max(tmp_path.glob("step-*.pt")), weights_only=True)
    assert saved["scaler"]["scale"] == 2.0**16
    assert saved["scaler"]["_growth_tracker"] == 12  # good steps of two epochs
    fit(resumed, train, val, recipe, checkpoint=tmp_path)
    assert same(weights(resumed), weights(whole))


def test_averaged_weights_follow_the_recurrence_and_are_the_ones_kept(tiny):
    train, val = tiny
    steps = []

    def record(optimizer, args, kwargs):
        steps.append({p: p.detach().clone() for group in optimizer.param_groups for p in group["params"]})

    model = create_model("cifar_baseline", num_classes=3, widths=(4, 4, 4))
    recipe = Recipe(epochs=1, batch_size=32, lr=0.02, schedule="constant", ema_decay=0.8, weight_decay=0.0)
    names = {p: name for name, p in model.named_parameters()}
    handle = register_optimizer_step_post_hook(record)
    fit(model, train, val, recipe)
    handle.remove()
    assert len(steps) == 6
    expected = steps[0]
    for step, current in enumerate(steps[1:], start=2):
        decay = min(0.8, 1 - step ** (-2 / 3))  # timm's warm-up
        expected = {p: decay * average + (1 - decay) * current[p] for p, average in expected.items()}
    assert set(expected) == set(names)
    for parameter, average in expected.items():
        assert torch.allclose(parameter, average, atol=1e-6), names[parameter]
    assert any((parameter - steps[-1][parameter]).abs().max() > 1e-3 for parameter in names)  # not the last weights


@pytest.mark.parametrize(("turns", "least"), [(5, 0.6), (3, 0.3)])
def test_muon_steps_are_orthogonal_and_the_head_goes_by_adamw(turns, least):
    """Muon's step of a hidden layer has singular values near one; its convolutions are matrices (filters, rest)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    recipe = Recipe(optimizer="muon", lr=1.0, momentum=0.9, nesterov=False, weight_decay=0.0, ns_steps=turns)
    optimizer = make_optimizer(model, recipe)
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    moved = {name: (old - new).detach() for (name, new), old in zip(model.named_parameters(), before, strict=True)}
    for name in ("0.weight", "2.weight"):
        matrix = moved[name].flatten(1)
        values = torch.linalg.svdvals(matrix / (0.2 * max(matrix.shape) ** 0.5))  # AdamW's size, Liu et al. 2025
        assert values.min() > least
        assert values.max() < 1.3
    for name in ("0.bias", "2.bias", "4.weight", "4.bias"):  # the first step of Adam is the gradient's sign
        assert torch.allclose(moved[name].abs(), torch.ones_like(moved[name]), atol=1e-3), name


def test_few_turns_of_muon_are_jordans_polynomial(monkeypatch):
    """Each turn sends a singular value s of the step, at Frobenius norm 1, to 3.4445 s - 4.775 s^3 + 2.0315 s^5."""
    monkeypatch.setenv("IMGCLS_PRECISION", "float32")
    gradient = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    wanted = torch.linalg.svdvals(gradient / gradient.norm())
    for _ in range(3):
        wanted = 3.4445 * wanted - 4.775 * wanted**3 + 2.0315 * wanted**5
    model = nn.Sequential(nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 4))
    before = model[0].weight.detach().clone()
    recipe = Recipe(optimizer="muon", lr=1.0, momentum=0.9, nesterov=False, weight_decay=0.0, ns_steps=3)
    optimizer = make_optimizer(model, recipe)
    model[0].weight.grad = gradient.clone()
    optimizer.step()
    found = torch.linalg.svdvals((before - model[0].weight.detach()) / (0.2 * 16**0.5))
    assert torch.allclose(found, wanted.sort(descending=True).values, atol=1e-5)


def test_layer_decay_lowers_the_rate_from_the_head_to_the_stem():
    model = create_model("resnet18", num_classes=5)
    optimizer = make_optimizer(model, Recipe(layer_decay=0.5, lr=0.08))
    scale = {p: group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    assert all(scale[p] == 1 for p in head(model).parameters())
    parts = stages(model)
    for i, (name, stage) in enumerate(parts):
        assert {scale[p] for p in stage.parameters()} == {0.5 ** (len(parts) - i)}, name
    assert set(scale) == set(model.parameters())
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    y = torch.tensor([0, 1])
    before = {p: p.detach().clone() for p in model.parameters()}
    set_lr(optimizer, 0.0)
    train_step(model, optimizer, Batch(x, y, y, 2), partial(F.cross_entropy, reduction="sum"), Recipe())
    assert all(torch.equal(p, before[p]) for p in model.parameters())  # a step is taken at the rate that was set
    set_lr(optimizer, 0.08)
    rates = sorted({group["lr"] for group in optimizer.param_groups})
    assert rates == pytest.approx([0.08 * 0.5**k for k in range(5, -1, -1)])


@pytest.mark.parametrize("name", ["vit_b_32", "vgg11", "cifar_dropout"])
def test_layer_decay_knows_every_parameter(name):
    with torch.device("meta"):
        model = create_model(name, num_classes=3)
    scales = [group["lr_scale"] for group in make_optimizer(model, Recipe(layer_decay=0.9)).param_groups]
    assert sum(len(g["params"]) for g in make_optimizer(model, Recipe(layer_decay=0.9)).param_groups) == len(
        list(model.parameters())
    )
    assert max(scales) == 1
    assert min(scales) == pytest.approx(0.9 ** len(stages(model)))


def test_gradual_unfreezing_moves_only_what_is_free(tiny):
    train, val = tiny
    model = small_net()
    first, last = stages(model)[0][1], stages(model)[-1][1]
    seen = [weights(model)]

    def remember(model, row):
        seen.append(weights(model))

    fit(
        model,
        train,
        val,
        replace(RECIPE, epochs=3, unfreeze_schedule=((1, "head"), (2, 1), (3, "all"))),
        on_epoch_end=remember,
    )

    def moved(module, epoch, ndim=1):
        inside = [p for p in module.parameters() if p.ndim >= ndim]
        names = [name for name, p in model.named_parameters() if any(p is q for q in inside)]
        return [not torch.equal(seen[epoch][name], seen[epoch - 1][name]) for name in names]

    assert all(moved(head(model), epoch) == [True, True] for epoch in (1, 2, 3))
    assert not any(moved(last, 1))
    assert all(moved(last, 2, ndim=2))  # a bias before batch norm has a gradient by rounding alone
    assert not any(moved(first, 1) + moved(first, 2))
    assert all(moved(first, 3, ndim=2))
    statistics = [name for name in seen[0] if "running" in name and name.startswith("network.features.block1")]
    assert statistics
    assert all(torch.equal(seen[0][name], seen[2][name]) for name in statistics)  # frozen batch norm learns nothing


def test_frozen_weights_stay_as_they_are(tiny):
    train, val = tiny
    model = freeze(small_net(), "head")
    before = weights(model)
    fit(model, train, val, replace(RECIPE, epochs=1))
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert {name for name in moved if "normalize" not in name} == {
        name for name, p in model.named_parameters() if p.requires_grad
    }


def test_balanced_sampling_is_what_the_loop_sees(tiny):
    train, val = tiny
    rare = replace(train, images=train.images, labels=(train.labels == 0).long() * (torch.arange(192) < 60))
    seen = []

    class Watching(Dense):
        def forward(self, images):
            if self.training:
                seen.append(images[:, 0, 0, 0].to("cpu", copy=True))
            return super().forward(images[:, :, :2, :2])

    fit(
        Watching(),
        rare,
        replace(val, labels=val.labels % 2),
        Recipe(epochs=1, batch_size=64, balanced_sampling=True),
        seed=3,
    )
    order = weighted_order(balanced_weights(rare.labels), 3, 0)
    assert torch.equal(torch.cat(seen), rare.images[order[:192], 0, 0, 0])
    assert rare.labels[order].float().mean().item() == pytest.approx(0.5, abs=0.15)
    assert rare.labels.float().mean() < 0.15


def test_sanity_checks_pass_for_a_sound_network_and_neither_use_nor_change_the_random_state(tiny):
    create = partial(create_model, "cifar_dropout", num_classes=3, image_size=8, dropout=0.5)
    torch.manual_seed(1)
    table = sanity_checks(create, tiny[0])
    after = torch.rand(1)
    torch.manual_seed(1)
    assert after == torch.rand(1)
    torch.manual_seed(2)
    assert sanity_checks(create, tiny[0]).equals(table)
    assert table["passed"].all()
    assert table["expected"].tolist() == ["1.10", "< 0.05"]  # ln 3


def test_sanity_checks_find_what_is_broken(tiny):
    class Sure(nn.Module):
        """Certain of the first class, whatever it is shown."""

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 3)

        def forward(self, images):
            nothing = 0 * images.float().mean((1, 2, 3))[:, None]
            return self.head(nothing) + torch.tensor([20.0, 0.0, 0.0], device=images.device)

    assert not sanity_checks(Sure, tiny[0])["passed"].any()


@pytest.mark.parametrize("batch_mix", [MixUp(0.4, num_classes=3), CutMix(1.0, num_classes=3)])
def test_mixing_trains_on_soft_targets(tiny, batch_mix):
    train, val = tiny
    model = small_net()
    history = fit(model, train, val, replace(RECIPE, epochs=10, batch_mix=batch_mix))
    plain = fit(small_net(), train, val, replace(RECIPE, epochs=10))
    assert predict(model, val).accuracy > 0.85
    assert history.rows[-1]["train_loss"] > plain.rows[-1]["train_loss"] + 0.1  # a mixture cannot be memorised


def test_the_range_test_finds_where_learning_is_fast_and_where_it_breaks(tiny):
    train, _ = tiny
    model = small_net()
    before, mode = weights(model), model.training
    found = lr_range_test(model, train, replace(RECIPE, schedule="constant"), low=1e-6, high=100.0, steps=80)
    assert same(before, weights(model))
    assert model.training == mode
    rates = found.table["lr"]
    assert rates[0] == pytest.approx(1e-6)
    assert (rates.diff()[1:] > 0).all()
    assert 1e-4 < found.steepest < found.lowest
    again = lr_range_test(model, train, replace(RECIPE, schedule="constant"), low=1e-6, high=100.0, steps=80)
    assert found.table.equals(again.table)
    # the recommended rate trains
    good = fit(small_net(), *tiny, replace(RECIPE, epochs=12, lr=found.steepest))
    assert good.best["val_accuracy"] > 0.6
    with pytest.raises(ValueError, match=r"at least 10 steps; got 1, 0\.1, 5"):
        lr_range_test(model, train, RECIPE, low=1, high=0.1, steps=5)


@pytest.mark.usefixtures("one_thread")
def test_the_range_test_does_not_take_the_noise_of_its_first_steps_for_learning(monkeypatch):
    """Planted losses: noisy and flat, then falling from the 40th rate on, then rising."""
    fall = [2.0 if step < 40 else max(0.5, 2 - 0.1 * (step - 40)) for step in range(70)]
    losses = iter([4.0, 0.0, *fall[2:], *[50.0] * 10])
    monkeypatch.setattr(probes, "train_step", lambda *_: SimpleNamespace(loss=2 * next(losses)))
    found = lr_range_test(Dense(), colour_split(4, 1, size=2), Recipe(batch_size=2), steps=80)
    assert 40 <= list(found.table["lr"]).index(found.steepest) < 60


def test_schedules_against_their_closed_forms():
    one_cycle = Recipe(lr=0.4, schedule="one_cycle", warmup_fraction=0.25)
    assert [one_cycle.lr_at(p) for p in (0, 0.125, 0.25, 0.625, 1)] == pytest.approx([0.016, 0.208, 0.4, 0.2, 0])
    cosine = Recipe(lr=0.4, schedule="cosine")
    assert [cosine.lr_at(p) for p in (0, 0.5, 1)] == pytest.approx([0.4, 0.2, 0])
    exponential = Recipe(lr=1.0, schedule="exponential", gamma=0.9, epochs=10)
    assert [exponential.lr_at(p) for p in (0, 0.15, 0.55)] == pytest.approx([1, 0.9, 0.9**5])
    assert Recipe(lr=0.3, schedule="constant").lr_at(0.7) == 0.3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_step_of_a_schedule_is_wasted(schedule):
    assert all(Recipe(schedule=schedule).lr_at(step / 100) > 0 for step in range(100))


def test_one_cycle_rises_as_in_pytorch():
    weight = [torch.zeros(1, requires_grad=True)]
    optimizer = torch.optim.SGD(weight, lr=0.4)
    oracle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, 41, pct_start=0.25, anneal_strategy="linear")
    recipe = Recipe(lr=0.4, schedule="one_cycle", warmup_fraction=9.25 / 40)  # PyTorch rises for 41 / 4 - 1 steps
    for step in range(10):
        assert recipe.lr_at(step / 40) == pytest.approx(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()


def test_plateau_lowers_the_rate_and_patience_stops(tiny):
    train, val = tiny
    recipe = Recipe(
        epochs=9, batch_size=32, lr=1e-9, schedule="plateau", gamma=0.1, plateau_epochs=2, early_stopping_patience=5
    )
    model = create_model("cifar_baseline", num_classes=3, widths=(4, 4, 4))
    history = fit(model, train, val, replace(recipe, weight_decay=0.0, momentum=0.0))
    assert history.best_epoch == 1  # nothing moves at such a rate
    assert [row["lr"] for row in history.rows] == pytest.approx([1e-9] * 3 + [1e-10] * 2 + [1e-11])


def test_a_recipe_goes_into_json_and_every_field_is_there():
    recipe = Recipe(transforms=(RandomHorizontalFlip(),), early_stopping_patience=3, balanced_sampling=True)
    written = json.loads(json.dumps(recipe.as_json()))
    assert written == recipe.as_json()
    assert set(written) == {field.name for field in fields(Recipe)}
    assert (written["early_stopping_patience"], written["balanced_sampling"], written["max_grad_norm"]) == (
        3,
        True,
        None,
    )
    assert written["transforms"] == "(RandomHorizontalFlip(p=0.5),)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sdg"}, "optimizer 'sdg' is unknown; did you mean 'sgd'"),
        ({"schedule": "step"}, "schedule 'step' is unknown"),
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"warmup_fraction": 1.5}, "warmup_fraction must be between 0 and 1"),
        ({"early_stopping_patience": 0}, "early_stopping_patience must be positive, got 0"),
        ({"max_grad_norm": -1.0}, r"max_grad_norm must be positive, got -1\.0"),
        ({"ns_steps": 0}, "ns_steps must be positive, got 0"),
        ({"ema_decay": 1.0}, r"ema_decay must be at least 0 and below 1, got 1\.0"),
        ({"layer_decay": 1.5}, "layer_decay must be above 0 and at most 1"),
        ({"class_weights": "balance"}, "class_weights 'balance' is unknown; choose 'balanced' or"),
        ({"class_weights": (1.0, -1.0)}, "class_weights must not be negative"),
        ({"unfreeze_schedule": ((3, "all"), (1, "head"))}, "unfreeze_schedule lists .* and rising"),
        ({"unfreeze_schedule": ((0, "head"),)}, "epochs counted from 1 and rising"),
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
    with pytest.raises(ValueError, match="192 images are fewer than one batch of 500"):
        fit(model, train, val, replace(RECIPE, batch_size=500))
    with pytest.raises(ValueError, match="class_weights gives 2 weights for 3 classes"):
        fit(model, train, val, replace(RECIPE, class_weights=(1, 2)))


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
    model.normalize.fit(train.images)
    before = weights(model)
    names = list(gradient_norms(model, train.images[:16], train.labels[:16]))
    assert names == [f"conv {i}" for i in range(1, 7)] + ["dense 1", "dense 2"]
    assert same(before, weights(model))
    assert all(p.grad is None for p in model.parameters())


def test_a_hook_adds_to_the_rows_and_the_tracker_gets_them(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train, val = tiny
    probe = UpdateProbe(val.images[:8], val.labels[:8])
    with start(tmp_path) as tracker:
        history = fit(small_net(), train, val, replace(RECIPE, epochs=2), on_epoch_end=probe, tracker=tracker)
    assert list(history.gradients().columns) == list(gradient_norms(small_net(), val.images[:2], val.labels[:2]))
    assert list(history.gradients().index) == [1, 2]
    events = EventAccumulator(str(tmp_path)).Reload()
    logged = [event.value for event in events.Scalars("loss/val")]
    assert logged == pytest.approx([row["val_loss"] for row in history.rows], rel=1e-6)


def test_hooks_together_share_one_row():
    seen = []

    def first(model, row):
        return {"a": row["epoch"] + 1}

    def second(model, row):
        seen.append(dict(row))

    assert compose_hooks(first, second, lambda model, row: {"b": 2 * row["a"]})(None, {"epoch": 3}) == {"a": 4, "b": 8}
    assert seen == [{"epoch": 3, "a": 4}]


def test_small_images_come_first(tiny):
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 3)

        def forward(self, x):
            seen.append((self.training, x.shape[-1]))
            return self.head(x.float().mean((2, 3)) / 255)

    recipe = Recipe(epochs=3, batch_size=96, resolution_schedule=((1, 4), (3, 8)))
    fit(Watched(), *tiny, recipe)
    assert [side for training, side in seen if training] == [4, 4, 4, 4, 8, 8]
    assert {side for training, side in seen if not training} == {8}  # validated at full size


@pytest.mark.parametrize("sizes", [((2, 8), (1, 4)), ((0, 8),), ((1, 0),)])
def test_image_sizes_out_of_order_are_refused(sizes):
    with pytest.raises(ValueError, match="resolution_schedule lists"):
        Recipe(resolution_schedule=sizes)
