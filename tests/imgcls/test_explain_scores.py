"""Guided backpropagation and ROAD, against formulas, planted answers and the library."""

import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam.metrics.road import ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from torch import nn

from imgcls import explain, models
from imgcls.evaluation.statistics import over_seeds
from imgcls.explain import guided, scores
from imgcls.reproducibility import derive_seed

pytestmark = pytest.mark.usefixtures("one_thread")


def images(n=3, channels=3, height=32, width=32, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, height, width), generator=draws, dtype=torch.uint8)


# ------------------------------------------------------------------ guided backpropagation
class Dense(nn.Module):
    """Three linear layers with a ReLU before each but the first, called in a way of one's choice."""

    def __init__(self, rectify, pixels=12):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(pixels, 7), nn.Linear(7, 6), nn.Linear(6, 2)
        self.rectify = rectify

    def forward(self, x):
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        return self.last(self.rectify(self.second(self.rectify(self.first(x.flatten(1))))))


class AndForget(nn.Module):
    """Rectifies in place and passes on the tensor itself instead of the answer."""

    def forward(self, x):
        nn.functional.relu_(x)
        return x


RECTIFIERS = {
    "module": nn.ReLU(),  # one for both places, as in torchvision's blocks
    "module in place": nn.ReLU(inplace=True),
    "function": F.relu,
    "function in place": lambda x: F.relu(x, inplace=True),
    "positional": lambda x: F.relu(x, True),
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "answer left aside": AndForget(),
}


@pytest.mark.parametrize("rectify", RECTIFIERS.values(), ids=RECTIFIERS)
def test_guided_backprop_agrees_with_the_formula_by_hand(rectify):
    """Springenberg et al. 2015: at each ReLU the gradient is multiplied by (input > 0) (gradient > 0)."""
    net, x, targets = Dense(rectify), images(5, 3, 2, 2), [0, 1, 1, 0, 1]
    a = net.first(x.flatten(1) / 255)
    b = net.second(a.clamp(min=0))
    gradient = net.last.weight[targets]
    for place, layer in ((b, net.second), (a, net.first)):
        gradient = (gradient * (place > 0) * (gradient > 0)) @ layer.weight
    found = explain.guided_backprop(net, x, targets)
    torch.testing.assert_close(found, gradient.detach().view(5, 3, 2, 2))
    plain = torch.autograd.grad(net(y := (x / 255).requires_grad_())[range(5), targets].sum(), y)[0]
    assert not torch.allclose(found, plain)  # the rule makes a difference here
    torch.testing.assert_close(explain.guided_backprop(net, x, targets, batch_size=2), found)
    predicted = net(x).argmax(1)
    torch.testing.assert_close(explain.guided_backprop(net, x), explain.guided_backprop(net, x, predicted))


def test_relu6_stops_the_gradient_where_it_is_level():
    net, x = Dense(nn.ReLU6(inplace=True)), images(5, 3, 2, 2)
    with torch.no_grad():
        net.first.bias.copy_(torch.linspace(3, 9, 7))  # some of the units saturate, none is dead
        net.second.bias.copy_(torch.linspace(3, 9, 6))
        net.second.weight.mul_(0.1)
        net.last.weight.abs_()
    a = net.first(x.flatten(1) / 255)
    b = net.second(a.clamp(0, 6))

    def by_hand(top):
        gradient = net.last.weight[[1] * 5]
        for place, layer in ((b, net.second), (a, net.first)):
            gradient = (gradient * (place > 0) * (place < top) * (gradient > 0)) @ layer.weight
        return gradient

    gradient = by_hand(6)
    assert not torch.allclose(gradient, by_hand(1e9))  # saturation makes a difference here
    torch.testing.assert_close(explain.guided_backprop(net, x, 1), gradient.detach().view(5, 3, 2, 2))


def test_the_library_gives_the_same_on_a_network_of_modules():
    model = models.create_model("simple_cnn", 3, image_size=32)
    x = images(2)
    ours = explain.guided_backprop(model, x, [0, 2])
    for one, target, gradient in zip(x, (0, 2), ours, strict=True):
        theirs = guided.GuidedBackpropReLU  # the rule is theirs; this is their way to put it in
        for block in model.network.features:
            block[1].forward = theirs.apply
        leaf = (one[None] / 255).requires_grad_()
        expected = torch.autograd.grad(model.eval()(leaf)[0, target], leaf)[0][0]
        torch.testing.assert_close(gradient, expected)


def test_a_score_of_one_block_of_pixels_has_its_gradient_there_alone():
    model = models.create_model("simple_cnn", 2, blocks=1, filters=2, image_size=16)
    with torch.no_grad():
        model.network.features.block1[0].weight.abs_()
        model.network.features.block1[0].bias.fill_(1.0)
        weight = torch.zeros(2, 2, 8, 8)
        weight[0, :, 2:4, 5:7] = 1.0  # of the pooled map: pixels 4 to 7 and 10 to 13, and one more around by the 3 x 3
        model.network.classifier[2].weight.copy_(weight.flatten(1))
    found = explain.guided_backprop(model, images(1, 3, 16, 16), 0)[0].abs().sum(0)
    assert found[3:9, 9:15].any()
    found[3:9, 9:15] = 0
    assert not found.any()


def test_a_unit_is_explained_at_its_strongest_position():
    model = models.create_model("simple_cnn", 2, blocks=1, filters=4, image_size=16).eval()
    conv, x = model.network.features.block1[0], images(3, 3, 16, 16)
    found = explain.guided_backprop(model, x, layer=conv, unit=[2, 0, 3])
    for i, unit in enumerate((2, 0, 3)):
        place = int(conv(model.normalize(x[i : i + 1]))[0, unit].argmax())
        y, left = divmod(place, 16)
        padded = torch.zeros(3, 18, 18)
        padded[:, y : y + 3, left : left + 3] = conv.weight[unit].detach()
        torch.testing.assert_close(found[i], padded[:, 1:-1, 1:-1])
    same = explain.guided_backprop(model, x, layer="network.features.block1.0", unit=torch.tensor([2, 0, 3]))
    assert torch.equal(same, found)


def test_dense_units_are_neurons_too():
    net, x = Dense(F.relu), images(4, 3, 2, 2)
    found = explain.guided_backprop(net, x, layer="second", unit=4)
    a = net.first(x.flatten(1) / 255)
    row = net.second.weight[4]
    expected = ((row * (a > 0) * (row > 0)) @ net.first.weight).detach()
    torch.testing.assert_close(found.flatten(1), expected)


def test_guided_grad_cam_is_the_product():
    model = models.create_model("cifar_baseline", 3)
    x = images()
    product = explain.guided_backprop(model, x, 1) * explain.grad_cam(model, x, 1)[:, None]
    assert torch.equal(explain.guided_grad_cam(model, x, 1), product)
    assert product.any()


def state(model):
    return {
        name: (
            module.training,
            type(module),
            id(module.forward.__func__),
            [len(hooks) for key, hooks in sorted(vars(module).items()) if key.endswith("_hooks")],
        )
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("resnet18", 64, {}),
        ("vgg16", 32, {}),
        ("cifar_dropout", 32, {}),
        ("configurable_cnn", 64, {"activation": "relu", "filters": 16}),
        ("googlenet", 32, {}),  # calls F.relu
        ("mobilenet_v2", 32, {}),  # ReLU6
    ],
)
def test_the_model_s_state_is_restored(name, size, options):
    model = models.create_model(name, 3, image_size=size, **options)
    models.freeze(model, "head").train()
    x = images(2, 3, size, size)
    logits = model.eval()(x)
    model.train()
    with torch.no_grad(), guided.GuidedReLU(), models.eval_mode(model):
        torch.testing.assert_close(model(x), logits)
    sum(p.sum() for p in model.parameters() if p.requires_grad).backward()
    before = state(model)
    tensors = {k: v.clone() for k, v in model.state_dict(keep_vars=False).items()}
    grads = {
        k: (p.requires_grad, id(p.grad), None if p.grad is None else p.grad.clone())
        for k, p in model.named_parameters()
    }
    with torch.no_grad():
        found = explain.guided_backprop(model, x, 1)
    layer = next(k for k, m in model.named_modules() if isinstance(m, nn.Conv2d))
    explain.guided_backprop(model, x, layer=layer, unit=0)
    explain.road(model, x, found.abs().sum(1), percentiles=(80,))
    for fault in ({"layer": layer, "unit": 10**6}, {"targets": 10**6}):
        with pytest.raises(ValueError, match="there is no unit 1000000"):
            explain.guided_backprop(model, x, **fault)
    assert found.isfinite().all()
    assert found.any()
    assert state(model) == before
    assert all(torch.equal(v, tensors[k]) for k, v in model.state_dict().items())
    for k, p in model.named_parameters():
        flag, identity, gradient = grads[k]
        assert (p.requires_grad, id(p.grad)) == (flag, identity)
        assert gradient is None or torch.equal(p.grad, gradient)


def test_dropout_and_batch_statistics_change_nothing():
    model, x = models.create_model("cifar_dropout", 3).train(), images()
    buffers = [b.clone() for b in model.buffers()]
    found = explain.guided_backprop(model, x, 1), explain.road(model, x, torch.rand(3, 32, 32), 1, (80,))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), buffers, strict=True))
    model.eval()
    assert torch.equal(found[0], explain.guided_backprop(model, x, 1))
    assert found[1].isfinite().all()


@pytest.mark.parametrize("activation", ["gelu", "silu", "mish"])
def test_other_activations_are_refused_by_name(activation):
    model = models.create_model("configurable_cnn", 3, activation=activation, filters=8)
    with pytest.raises(ValueError, match=f"defined for ReLUs, but the network uses {activation}"):
        explain.guided_backprop(model, images(1, 3, 64, 64))


def test_a_few_relus_among_others_do_not_make_it_defined():
    model = models.create_model("mobilenet_v3_small", 3)  # ReLU and hard swish
    with pytest.raises(ValueError, match="the network uses hardswish"):
        explain.guided_backprop(model, images(1))


def test_impossible_arguments_are_refused():
    net, x = Dense(F.relu), images(2, 3, 2, 2)
    for arguments in ({"layer": "first"}, {"unit": 1}, {"targets": 1, "layer": "first", "unit": 1}):
        with pytest.raises(ValueError, match=r"either a class .* or one unit of a layer"):
            explain.guided_backprop(net, x, **arguments)
    with pytest.raises(ValueError, match="3 units for 2 images"):
        explain.guided_backprop(net, x, layer="first", unit=[1, 2, 3])
    with pytest.raises(ValueError, match="there is no unit 7; choose from 0 to 6"):
        explain.guided_backprop(net, x, layer="first", unit=[1, 7])
    with pytest.raises(ValueError, match="did you mean 'first'"):
        explain.guided_backprop(net, x, layer="fist", unit=1)
    with pytest.raises(ValueError, match="the network has none"):
        explain.guided_backprop(Dense(nn.Identity()), x)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        explain.guided_backprop(net, x[0])


# ------------------------------------------------------------------ class activation maps
@pytest.mark.parametrize("method", explain.METHODS)
def test_every_method_is_the_library_s_own(method):
    model = models.create_model("cifar_batchnorm", 3).eval()
    x = images(4)
    ours = explain.grad_cam(model, x, [0, 1, 2, 0], method)
    with explain.METHODS[method](model, [models.last_conv(model, 32, positions=16)]) as library:
        theirs = library((x / 255).requires_grad_(), [ClassifierOutputTarget(t) for t in (0, 1, 2, 0)])
    torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-5, rtol=0)
    assert ours.amax() > 0.9


# ------------------------------------------------------------------ ROAD
class CornerNet(nn.Module):
    """Its first class is as likely as the upper left corner is full of contrast."""

    def __init__(self):
        super().__init__()
        self.normalize = models.Normalize(1)

    def forward(self, x):
        corner = self.normalize(x)[:, 0, :8, :8]
        score = 40 * corner.var((1, 2))
        return torch.stack([score, torch.full_like(score, 2.0)], 1)


def test_road_is_the_library_s_where_maps_have_no_ties():
    model = models.create_model("simple_cnn", 3, image_size=16, blocks=2, filters=8).eval()
    with torch.no_grad():
        models.head(model).weight.mul_(20)
    x, maps = images(6, 3, 16, 16), torch.rand(6, 16, 16)
    targets = [0, 1, 2, 2, 1, 0]
    ours = explain.road(model, x, maps, targets, (30, 70), seed=3)
    outputs = [ClassifierOutputSoftmaxTarget(t) for t in targets]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(3, "road"))
        theirs = ROADCombined([30, 70])(x / 255, maps.numpy(), outputs, model)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-6, rtol=0)
    assert ours.abs().max() > 0.005
    torch.testing.assert_close(explain.road(model, x / 255, maps, targets, (30, 70), seed=3), ours)
    predicted = model(x).argmax(1)
    assert torch.equal(explain.road(model, x, maps), explain.road(model, x, maps, predicted))
    before = torch.random.get_rng_state()
    again = explain.road(model, x, maps, targets, (30, 70), seed=3)
    assert torch.equal(again, ours)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_road_distinguishes_a_true_map_from_a_false_one_and_gives_noise_zero():
    x, true = images(12, 1, 24, 24), torch.zeros(12, 24, 24)
    true[:, :8, :8] = 1.0  # level on 64 and on 512 pixels: all is ties
    scored = {
        name: over_seeds(explain.road(CornerNet(), x, maps, 0, (50, 80)).numpy())
        for name, maps in {"true": true, "false": 1 - true, "nothing": torch.zeros(12, 24, 24)}.items()
    }
    assert scored["true"].low > 0.2
    assert scored["false"].high < -0.2
    assert abs(scored["nothing"].value) < 0.1


def test_road_removes_the_given_share_of_a_constant_map():
    net, x, maps, changed = CornerNet(), images(2, 1, 20, 20), torch.zeros(2, 20, 20), []
    maps[:, :5] = torch.rand(2, 5, 20) + 0.1  # three quarters are level, as under a ReLU
    net.register_forward_pre_hook(lambda _, inputs: changed.append((inputs[0] - x / 255).abs().gt(1e-6).float().mean()))
    explain.road(net, x, maps, 0, (40, 90))
    assert [float(share) for share in changed] == pytest.approx([0.6, 0.1, 0.6, 0.1], abs=0.01)


def test_ties_are_broken_at_random_and_nothing_else_changes_its_place():
    maps = torch.zeros(2, 10, 10)
    maps[:, 5:] = torch.rand(2, 5, 10) + 0.1
    ranks = scores.break_ties(maps, seed=0)
    assert torch.equal(ranks.flatten(1).sort(1).values, torch.linspace(0, 1, 100).expand(2, -1))
    for one, rank in zip(maps, ranks, strict=True):
        order = rank.flatten().argsort()
        assert (one.flatten()[order].diff() >= 0).all()
    level = ranks[:, :5].flatten(1)
    assert not torch.equal(level[0], level[1])
    middle = (level < 0.25).float() @ torch.arange(50.0) / 25  # where the lower half of the ties lies; 24.5 by chance
    assert ((middle - 24.5).abs() < 7).all()
    assert torch.equal(ranks, scores.break_ties(maps, seed=0))
    assert not torch.equal(ranks, scores.break_ties(maps, seed=1))


def test_road_refuses_what_does_not_fit():
    x = images(2, 1, 24, 24)
    with pytest.raises(ValueError, match=r"maps \(2, 12, 12\) do not fit"):
        explain.road(CornerNet(), x, torch.rand(2, 12, 12))
    with pytest.raises(ValueError, match="numbers from 1 to 99"):
        explain.road(CornerNet(), x, torch.rand(2, 24, 24), percentiles=(0.5,))
    with pytest.raises(ValueError, match="3 targets for 2 images"):
        explain.road(CornerNet(), x, torch.rand(2, 24, 24), [0, 1, 1])
