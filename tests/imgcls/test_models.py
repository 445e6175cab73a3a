import copy
import io
import itertools
import time
import urllib.error
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import SqueezeExcitation

from imgcls import explain, models
from imgcls.models import create_model, layers
from imgcls.models.layers import Dropout, Whitening
from imgcls.models.normalize import initialize_from_data
from imgcls.models.pretrained import WHEELS

OWN = ("cifar_baseline", "cifar_batchnorm", "cifar_dropout", "cifar_fast", "simple_cnn", "configurable_cnn", "zfnet")
TORCHVISION = tuple(torchvision.models.list_models(module=torchvision.models))
# One of every family and all that are cheap run for real; the larger ones as shapes on the meta device.
FAMILIES = ("alexnet", "vgg11_bn", "vit_b_32", "wide_resnet50_2")  # no member of theirs is small
LARGEST = 30e6  # parameters; a larger sibling is built without memory for its weights, for shapes and gradients

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def on_meta():
    """Modules built inside hold shapes only. (A meta default device breaks regnet, which computes on tensors.)"""
    parameter, buffer = nn.Module.register_parameter, nn.Module.register_buffer

    def register_parameter(self, name, value):
        if value is not None:
            value = nn.Parameter(value.to("meta"), value.requires_grad)
        parameter(self, name, value)

    def register_buffer(self, name, value, persistent=True):
        buffer(self, name, value if value is None else value.to("meta"), persistent)

    with (
        mock.patch.object(nn.Module, "register_parameter", register_parameter),
        mock.patch.object(nn.Module, "register_buffer", register_buffer),
    ):
        yield


def noise(n, size, channels=3, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, size, size), generator=draws, dtype=torch.uint8)


def small(name):
    """The smallest handy image size and what create_model needs to hear about it."""
    if name.startswith("vit_"):
        side = 2 * int(name.rsplit("_", 1)[-1])
        return side, {"image_size": side}
    return max(32, models.minimum_size(name)), {}


def parameters_in(name):
    return torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]


def is_real(name):
    return name in OWN or name in FAMILIES or name in WHEELS or parameters_in(name) <= LARGEST


def check_anatomy(model, size):
    """Stages hold the backbone's parameters once, in order, and end before the head."""
    order = {p: i for i, p in enumerate(model.parameters())}
    staged = [order[p] for _, stage in models.stages(model) for p in stage.parameters()]
    assert staged == sorted(set(staged))
    inside = set(range(staged[0], staged[-1] + 1))
    tokens = {order[p] for k, p in model.named_parameters() if k.endswith(("class_token", "pos_embedding"))}
    assert inside - set(staged) <= tokens
    assert staged[-1] < min(order[p] for p in models.head(model).parameters())
    assert len(models.stages(model)) >= 3
    assert models.last_conv(model, size) in set(model.network.modules())


# ------------------------------------------------------------------ every registered model
@pytest.mark.parametrize("name", [name for name in models.list_models() if is_real(name)])
def test_every_affordable_model_trains_and_explains(name):
    size, options = small(name)
    images = noise(2, size)
    model = models.create_model(name, num_classes=3, **options)
    model.normalize.fit(images)
    nn.init.normal_(models.head(model).weight, std=0.1)  # vit starts with a head of zeros
    check_anatomy(model, size)

    logits = model(images)
    assert logits.shape == (2, 3)
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, f"no gradient for {key}"
        assert parameter.grad.isfinite().all(), f"infinite gradient for {key}"
    assert models.head(model).weight.grad.any()

    maps = explain.grad_cam(model, images)
    assert maps.shape == (2, size, size)
    assert maps.isfinite().all()
    assert 0 <= maps.min() <= maps.max() <= 1


@pytest.mark.parametrize("name", [name for name in TORCHVISION if not is_real(name)])
def test_every_large_model_has_the_right_shapes_and_gradients(name):
    size, options = small(name)
    with on_meta():
        model = models.create_model(name, num_classes=3, **options)
    check_anatomy(model, size)
    logits = model(torch.zeros(2, 3, size, size, device="meta"))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_every_torchvision_name_is_one_of_the_two():
    assert set(OWN) | set(WHEELS) | set(TORCHVISION) == set(models.list_models())
    assert sum(map(is_real, TORCHVISION)) > 30


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("timm:resnet18", 32, {}),
        ("timm:convnext_atto", 32, {}),
        ("timm:vit_tiny_patch16_224", 64, {"image_size": 64}),
        ("timm:mobilenetv3_small_050", 32, {}),
    ],
)
def test_timm_models_train_and_explain(name, size, options):
    images = noise(2, size, channels=1)
    model = models.create_model(name, 3, in_channels=1, **options)
    check = F.cross_entropy(model(images), torch.tensor([0, 1]))
    check.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert models.head(model).out_features == 3
    assert len(models.stages(model)) >= 5
    maps = explain.grad_cam(model, images)
    assert maps.shape == (2, size, size)
    assert maps.isfinite().all()


def test_inception_resnet_v2_of_case_05():
    with on_meta():
        model = models.create_model("timm:inception_resnet_v2", 10)
    assert model.eval()(torch.zeros(1, 3, 75, 75, device="meta")).shape == (1, 10)
    assert models.default_size("timm:inception_resnet_v2") == 299


# ------------------------------------------------------------------ our own networks
def test_batch_norm_rung_counts_what_the_report_prints():
    model = models.create_model("cifar_batchnorm", 10)
    dropout = models.create_model("cifar_dropout", 10)
    for network in (model, dropout):  # Keras counts running statistics among the parameters
        statistics = [
            b.numel() for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))
        ]
        assert models.parameter_count(network) + sum(statistics) == 552_874
    # Written out: weights and biases, then four numbers per normalised channel.
    convs = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
    plain = sum(9 * i * o + o for i, o in convs) + 128 * 16 * 128 + 128 + 128 * 10 + 10
    assert models.parameter_count(models.create_model("cifar_baseline", 10)) == plain
    assert plain + 4 * (sum(o for _, o in convs) + 128) == 552_874


def test_order_is_conv_norm_relu_and_dropout_closes_each_block():
    network = models.create_model("cifar_dropout", 10).network
    layers = [type(m).__name__ for m in network.features.block1]
    assert layers == [*["Conv2d", "BatchNorm2d", "ReLU"], *["Conv2d", "BatchNorm2d", "MaxPool2d", "ReLU"], "Dropout"]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.25] * 4


def test_pooling_before_the_relu_changes_no_bit():
    block = models.create_model("cifar_baseline", 10).network.features.block1
    conv1, relu1, conv2, pool, relu2 = block
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(pool(relu2(conv2(relu1(conv1(x))))), block(x))


@pytest.mark.parametrize("p", [0.25, 0.3, 0.999])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    dropout = Dropout(p)
    x = torch.ones(50, 8, 9, 11).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = dropout(x)
    n, share = x.numel(), min(round(256 * p), 255) / 256
    assert abs((y == 0).float().mean() - share) < 5 * (share * (1 - share) / n) ** 0.5
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # the gradient passes where the value passed
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_draws_are_independent_of_each_other_and_follow_the_seed():
    dropout = Dropout(0.25)
    torch.manual_seed(0)
    first = dropout(torch.ones(4096, 64)) == 0
    for shift in range(1, 17):  # bytes of one draw lie side by side
        both = (first[:, shift:] & first[:, :-shift]).float().mean().item()
        assert abs(both - 1 / 16) < 0.003
    torch.manual_seed(0)
    assert torch.equal(dropout(torch.ones(4096, 64)) == 0, first)


def test_configurable_cnn_follows_the_sweep():
    model = models.create_model(
        "configurable_cnn", 10, layers=4, filters=64, filter_multiplier=0.5, activation="mish", batch_norm=False
    )
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convs] == [64, 32, 16, 8]
    assert models.parameter_count(convs[0]) == 1_792
    assert sum(isinstance(m, nn.Mish) for m in model.modules()) == 5


# Weights of each layer by block: channels in and out of the convolution, 1x1 down to the squeeze and up again.
@pytest.mark.parametrize(("filters", "squeeze"), [(32, 4), (64, 8), (16, 4)])
def test_simple_cnn_with_batch_norm_and_attention_counts_as_written_out(filters, squeeze):
    f, s = filters, squeeze
    convs = [(3, f), (f, f), (f, f), (f, f)]
    plain = sum(9 * i * o + o for i, o in convs) + 16 * f * 10 + 10
    norm, squeeze_excitation = 4 * 2 * f, 4 * (f * s + s + s * f + f)

    def count(**options):
        return models.parameter_count(models.create_model("simple_cnn", 10, filters=f, **options))

    assert count() == plain
    assert count(batch_norm=True) == plain + norm
    assert count(squeeze_excitation=True) == plain + squeeze_excitation
    assert count(batch_norm=True, squeeze_excitation=True) == plain + norm + squeeze_excitation


def test_simple_cnn_of_the_report_is_what_it_was():
    network = models.create_model("simple_cnn", 3).network
    assert [type(m) for m in network.features.block1] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    both = models.create_model("simple_cnn", 3, batch_norm=True, squeeze_excitation=True).network
    layers = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, SqueezeExcitation, nn.MaxPool2d]
    assert all([type(m) for m in block] == layers for block in both.features)


def test_attention_weighs_channels_by_the_whole_map():
    block = models.create_model("simple_cnn", 3, squeeze_excitation=True, filters=8).network.features.block1
    conv, _, squeeze, _ = block
    x = torch.rand(2, 3, 8, 8)
    maps = F.relu(F.conv2d(x, conv.weight, conv.bias, padding=1))  # (N, 8, 8, 8)
    down, up = (layer.weight.flatten(1) for layer in (squeeze.fc1, squeeze.fc2))
    hidden = F.relu(maps.mean((2, 3)) @ down.T + squeeze.fc1.bias)
    gates = torch.sigmoid(hidden @ up.T + squeeze.fc2.bias)  # Hu et al. 2018, equations 2 to 4
    torch.testing.assert_close(block(x), F.max_pool2d(maps * gates[:, :, None, None], 2), atol=1e-6, rtol=1e-5)


def test_attention_leaves_the_anatomy_as_it_is():
    model = models.create_model("simple_cnn", 3, batch_norm=True, squeeze_excitation=True)
    assert models.head(model) is model.network.classifier[2]
    assert [name for name, _ in models.stages(model)] == ["stem", *(f"features.block{i}" for i in (2, 3, 4))]
    block = model.network.features.block4
    assert models.last_conv(model) is models.last_conv(model, 64) is block[3]  # all that the pooling gets to see
    table = models.summary(model, 64)
    rows = table.set_index("layer")
    assert rows.output_shape["network.features.block4.3.scale_activation"] == (32, 1, 1)
    assert rows.output_shape["network.features.block4.2"] == (32, 8, 8)
    assert table.parameters.sum() == models.parameter_count(model)
    convs = sum(side**2 * 9 * c * 32 for side, c in zip((64, 32, 16, 8), (3, 32, 32, 32), strict=True))
    assert table.multiply_adds.sum() == convs + 4 * 2 * 32 * 4 + 512 * 3

    seen = {}
    handles = [block[3].register_forward_hook(lambda m, args, out: seen.update(map=out))]
    handles.append(block[4].register_forward_pre_hook(lambda m, args: seen.update(pooled=args[0])))
    F.cross_entropy(model(noise(4, 64)), torch.tensor([0, 1, 2, 0])).backward()
    for handle in handles:
        handle.remove()
    assert seen["map"].shape == (4, 32, 8, 8)
    assert seen["map"] is seen["pooled"]
    assert all(p.grad is not None and p.grad.any() for p in model.network.features.parameters() if p.ndim > 1)
    with torch.no_grad():
        model.network.classifier[2].weight.fill_(0.1)  # every place speaks for every class
    assert explain.grad_cam(model, noise(4, 64)).amax((1, 2)).tolist() == pytest.approx([1.0] * 4)

    before = copy.deepcopy(model.state_dict())
    train_step(models.freeze(model, 1), noise(4, 64))
    moved = {".".join(key.split(".")[:3]) for key in changed(before, model)}
    assert moved == {"network.features.block4", "network.classifier.2"}


def test_zfnet_has_the_paper_s_map_sizes():
    with on_meta():
        model = models.create_model("zfnet", 1000)
    table = models.summary(model, 224).set_index("layer")["output_shape"]
    assert [table[f"network.features.block{i}.0"] for i in range(1, 6)] == [
        (96, 110, 110),
        (256, 26, 26),
        (384, 13, 13),
        (384, 13, 13),
        (256, 13, 13),
    ]
    assert table["network.features.block5.2"] == (256, 6, 6)


def test_init_schemes_have_their_variances():
    # Variance of a weight: 1 / (3 fan_in), 2 / (fan_in + fan_out), 2 / fan_in; the layer is 2048 -> 128.
    expected = {"default": 1 / (3 * 2048), "glorot": 2 / (2048 + 128), "he": 2 / 2048}
    for init, variance in expected.items():
        dense = models.create_model("cifar_baseline", 10, init=init).network.classifier[2]
        assert dense.weight.var().item() == pytest.approx(variance, rel=0.02)
        assert bool(dense.bias.any()) == (init == "default")


def test_own_networks_take_other_sizes_channels_and_widths():
    for name in OWN:
        model = models.create_model(name, 7, in_channels=5, image_size=48)
        assert model(noise(2, 40, channels=5)).shape == (2, 7)
    model = models.create_model("cifar_batchnorm", 10, widths=(8, 16))
    assert [name for name, _ in models.stages(model)] == ["stem", "features.block2"]


# ------------------------------------------------------------------ names, options, sizes
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnt18", {}, "did you mean 'resnet18'"),
        ("timm:resnt18", {}, "did you mean 'timm:resnet18'"),
        ("cifar_batchnorm", {"dropuot": 0.1}, "did you mean 'dropout'"),
        ("cifar_baseline", {"init": "golrot"}, "did you mean 'glorot'"),
        ("configurable_cnn", {"activation": "tanh"}, "relu, gelu, silu, mish"),
        ("resnet18", {"smal_stem": True}, "did you mean 'small_stem'"),
        ("alexnet", {"small_stem": True}, "unknown option 'small_stem'"),
        ("simple_cnn", {"filters": 0}, "filters of 'simple_cnn' must be at least 1, not 0"),
        ("swin_t", {"stochastic_depth_prob": 0.3}, "cannot be built with"),
        ("timm:resnet18", {"no_such_option": 1}, "no_such_option"),
        ("timm:resnet18", {"in_chans": 1}, "in_channels"),
        ("alexnet", {"image_size": 32}, "at least 63 px, not 32"),
        ("inception_v3", {"image_size": 64}, "at least 75 px"),
        ("vit_b_16", {"image_size": 100}, "choose image_size=96"),
        ("maxvit_t", {"image_size": 300}, "multiples of 224"),
        ("simple_cnn", {"image_size": 8}, "image_size >= 16"),
        ("resnet18", {"weights": "imagent"}, "choose None"),
        ("cifar_baseline", {"weights": "imagenet"}, "no ImageNet weights"),
        ("resnet18", {"in_channels": 0}, "in_channels must be"),
    ],
)
def test_errors_name_value_and_way_out(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create_model(name, 10, **options)


SMALLEST_OF = ("cifar_baseline", "zfnet", "alexnet", "convnext_tiny", "densenet121", "googlenet", "inception_v3")


@pytest.mark.parametrize("name", [*SMALLEST_OF, "squeezenet1_0", "squeezenet1_1", "swin_t", "vgg11"])
def test_minimum_sizes_are_what_the_networks_take(name):
    minimum = models.minimum_size(name)
    with on_meta():
        model = models.create_model(name, 3).eval()
    assert model(torch.zeros(1, 3, minimum, minimum, device="meta")).shape == (1, 3)
    with pytest.raises((RuntimeError, ValueError, IndexError, ZeroDivisionError)):
        model(torch.zeros(1, 3, minimum - 1, minimum - 1, device="meta"))


def test_small_stem_keeps_the_resolution():
    model = models.create_model("resnet18", 10, small_stem=True, in_channels=1)
    table = models.summary(model, 32).set_index("layer")["output_shape"]
    assert table["network.conv1"] == (64, 32, 32)
    assert table["network.layer4.1.conv2"] == (512, 4, 4)


# ------------------------------------------------------------------ normalisation
def test_fit_is_exact_also_on_a_memory_map_and_odd_sizes(tmp_path):
    for shape in [(2500, 3, 9, 16), (7, 1, 5, 3), (1, 2, 1, 1)]:  # more than one chunk, odd sizes, one pixel
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        np.save(tmp_path / "images.npy", images)
        norm = models.Normalize(shape[1]).fit(torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c")))
        np.testing.assert_allclose(norm.mean, images.mean((0, 2, 3)) / 255, rtol=1e-6)
        std = np.maximum(images.std((0, 2, 3)) / 255, 1 / 255)
        np.testing.assert_allclose(norm.std, std, rtol=1e-6)
        assert norm.fitted


def test_fit_is_fast():
    images = noise(1000, 32).repeat(45, 1, 1, 1)
    norm = models.Normalize(3)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        norm.fit(images)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


def test_normalize_takes_uint8_and_unit_floats_alike():
    images = noise(50, 16)
    norm = models.Normalize(3).fit(images)
    x = norm(images)
    assert x.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(norm(images / 255), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm.inverse(x), images / 255, atol=1e-6, rtol=0)
    unmeasured = models.Normalize(3)
    torch.testing.assert_close(unmeasured(images), images / 255)
    assert not unmeasured.fitted


def test_statistics_travel_in_the_state_dict():
    model = models.create_model("simple_cnn", 2)
    model.normalize.fit(noise(4, 8))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = models.create_model("simple_cnn", 2)
    other.load_state_dict(torch.load(file))
    assert other.normalize.fitted
    assert torch.equal(other(noise(2, 64)), model(noise(2, 64)))


def test_a_state_dict_of_an_earlier_version_is_refused_with_the_reason():
    model = models.create_model("simple_cnn", 2)
    old = {key.replace("fitted", "measured"): value for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"normalize\.measured, which an earlier version.*train the model again"):
        model.load_state_dict(old)


def test_normalize_refuses_what_it_cannot_mean():
    norm = models.Normalize(3)
    with pytest.raises(ValueError, match=r"create_model\(in_channels"):
        norm(noise(2, 8, channels=1))
    with pytest.raises(ValueError, match=r"images\[None\]"):
        norm(noise(2, 8)[0])
    with pytest.raises(TypeError, match="int64"):
        norm(noise(2, 8).long())
    with pytest.raises(ValueError, match="uint8"):
        norm.fit(noise(2, 8) / 255)
    assert norm.fit(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)).std.tolist() == pytest.approx([1 / 255] * 3)


# ------------------------------------------------------------------ head, stages, freezing
def train_step(model, images):
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    F.cross_entropy(model(images), torch.arange(len(images)) % 3).backward()
    optimizer.step()


def changed(before, model):
    return {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}


@pytest.mark.parametrize(("trainable", "frozen_stages"), [("head", 5), (1, 4), (2, 3), (4, 1), (5, 0), ("all", 0)])
def test_a_train_step_leaves_frozen_stages_bit_identical(trainable, frozen_stages):
    model = models.freeze(models.create_model("resnet18", 3, small_stem=True), trainable)
    model = copy.deepcopy(model)
    before = copy.deepcopy(model.state_dict())
    train_step(model, noise(4, 16))
    moved = {key.removeprefix("network.").split(".")[0] for key in changed(before, model)}
    order = [{"conv1", "bn1"}, {"layer1"}, {"layer2"}, {"layer3"}, {"layer4"}]
    assert moved == set().union(*order[frozen_stages:], {"fc"})
    weights = {key for key, p in model.named_parameters() if p.requires_grad}
    assert weights <= changed(before, model)
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == any(name.startswith(f"network.{part}") for part in moved)


def test_the_plain_way_of_freezing_moves_running_statistics():
    """The planted fault that `freeze` exists for."""
    model = models.create_model("resnet18", 3, small_stem=True)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    models.head(model).requires_grad_(True)
    before = copy.deepcopy(model.state_dict())
    train_step(model, noise(4, 16))
    assert any("running_mean" in key for key in changed(before, model))


def test_thawing_gives_batch_norm_back():
    model = models.create_model("cifar_batchnorm", 3)
    keys = set(model.state_dict())
    models.freeze(model.train(), "head")
    assert set(model.state_dict()) == keys
    assert not any(m.training for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    assert model.network.features.training
    models.freeze(model, "all")
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("trainable", ["body", 0, 6, -1, True, 1.5])
def test_freeze_names_its_choices(trainable):
    with pytest.raises(ValueError, match=r"from 1 to 5 .*stem, layer1, layer2, layer3, layer4"):
        models.freeze(models.create_model("resnet18", 3), trainable)


def test_partial_freezing_is_never_all_or_nothing():
    """The report's trap: for one backbone, one and two stages equalled none, and three were everything."""
    for name in ("vgg11", "googlenet", "efficientnet_v2_s", "vit_b_32", "inception_v3", "densenet121"):
        with on_meta():
            model = models.create_model(name, 3)
        counts = [
            sum(p.numel() for p in models.freeze(model, k).parameters() if p.requires_grad)
            for k in ("head", *range(1, len(models.stages(model)) + 1))
        ]
        assert all(a < b for a, b in itertools.pairwise(counts)), name
        assert counts[-1] == models.parameter_count(model)


def test_stages_of_the_families():
    names = {}
    for name in ("vgg11", "vit_b_32", "efficientnet_b0", "regnet_y_400mf"):
        with on_meta():
            names[name] = [stage for stage, _ in models.stages(models.create_model(name, 3))]
    assert names["vgg11"] == ["stem", "features.3", "features.6", "features.11", "features.16"]
    assert names["vit_b_32"] == ["stem", *(f"encoder.layers.encoder_layer_{i}" for i in range(12))]
    assert names["efficientnet_b0"] == ["stem", *(f"features.{i}" for i in range(1, 9))]
    assert names["regnet_y_400mf"] == ["stem", *(f"trunk_output.block{i}" for i in range(1, 5))]


@pytest.mark.parametrize("name", ["cifar_dropout", "resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_head_of_backbone_is_the_model(name):
    model = models.create_model(name, 3).eval()
    images = noise(2, 32)
    body = models.backbone(model)
    features = body(images)
    assert features.ndim == 2
    if name != "squeezenet1_1":  # its head is a convolution before the pooling
        torch.testing.assert_close(models.head(model)(features), model(images))
    assert {id(p) for p in body.parameters()} < {id(p) for p in model.parameters()}


def test_last_conv_still_has_a_place():
    model = models.create_model("resnet18", 3)
    assert models.last_conv(model) is model.network.layer4
    assert models.last_conv(model, 64) is model.network.layer4  # 2 x 2
    assert models.last_conv(model, 32) is model.network.layer3
    assert models.last_conv(model, 64, positions=16) is model.network.layer3  # 4 x 4
    assert models.last_conv(model, 64, positions=17) is model.network.layer2
    assert models.last_conv(model, 64, positions=10**6) is model.network.relu  # the stem has the most
    cifar = models.create_model("cifar_batchnorm", 3)
    assert models.last_conv(cifar) is cifar.network.features.block3[4]  # the norm before the pooling
    model.train()
    models.last_conv(model, 32)
    assert all(m.training for m in model.modules())
    assert model.network.bn1.num_batches_tracked == 0


# ------------------------------------------------------------------ costs
def test_summary_counts_the_layers_of_attention_once():
    model = models.create_model("timm:vit_tiny_patch16_224", 10)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, sdpa_kernel(SDPBackend.MATH):
        model.eval()(torch.zeros(1, 3, 224, 224))
    assert models.summary(model, 224)["multiply_adds"].sum() == counter.get_total_flops() // 2


def test_summary_agrees_with_closed_forms():
    model = models.create_model("cifar_batchnorm", 10)
    table = models.summary(model, 32)
    assert table.parameters.sum() == models.parameter_count(model)
    rows = table.set_index("layer")
    assert rows.loc["network.features.block1.3"].tolist() == ["Conv2d", (32, 32, 32), 9_248, 9_216 * 1_024]
    sides = [32, 32, 16, 16, 8, 8]
    widths = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
    convs = sum(s * s * 9 * i * o for s, (i, o) in zip(sides, widths, strict=True))
    assert table.multiply_adds.sum() == convs + 2_048 * 128 + 128 * 10
    assert table.layer.iloc[0] == "normalize"


def test_summary_counts_attention_and_loose_parameters():
    tokens, d, mlp = 17, 16, 32
    network = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=d, mlp_dim=mlp, num_classes=3
    )
    table = models.summary(network, 32)
    assert table.parameters.sum() == models.parameter_count(network)
    assert set(table.layer[table.type == "Parameter"]) == {"class_token", "encoder.pos_embedding"}
    layer = 4 * tokens * d * d + 2 * tokens**2 * d + 2 * tokens * d * mlp
    assert table.multiply_adds.sum() == 16 * (3 * 64) * d + 2 * layer + d * 3


@pytest.mark.parametrize(("name", "billions"), [("resnet50", 4.09), ("mobilenet_v2", 0.30), ("vgg16", 15.47)])
def test_summary_agrees_with_the_published_operations(name, billions):
    with on_meta():
        model = models.create_model(name, 1000)
    table = models.summary(model, 224)
    assert table.parameters.sum() == parameters_in(name)
    assert table.multiply_adds.sum() / 1e9 == pytest.approx(billions, abs=0.015)


# ------------------------------------------------------------------ pretrained weights
@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch hub cache on a machine without a network."""

    def refuse(url, *args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def plant(hub, name, **options):
    """Put locally made weights where a download would have left them."""
    reference = torchvision.models.get_model(name, weights=None, **options).eval()
    file = torchvision.models.get_model_weights(name).DEFAULT.url.rsplit("/", 1)[-1]
    torch.save(reference.state_dict(), hub / file)
    return reference


def test_missing_weights_say_what_and_where(hub):
    with pytest.raises(models.MissingWeights) as error:
        models.create_model("resnet18", 3, weights="imagenet")
    instead = "choose efficientnet_lite0, whose ImageNet weights are here without a network, weights=None, or a folder"
    for part in ("resnet18", str(hub / "resnet18-f37072fd.pth"), "no route to host", "https://", instead):
        assert part in str(error.value)


def test_pretrained_weights_are_used_with_their_statistics(hub):
    reference = plant(hub, "mobilenet_v3_small")
    model = models.create_model("mobilenet_v3_small", 1000, weights="imagenet").eval()
    images = noise(2, 32)
    preset = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.transforms()
    x = torchvision.transforms.functional.normalize(images / 255, preset.mean, preset.std)
    torch.testing.assert_close(model(images), reference(x), atol=1e-5, rtol=1e-4)
    assert model.normalize.fitted

    few = models.create_model("mobilenet_v3_small", 3, weights="imagenet").eval()
    assert few(images).shape == (2, 3)
    assert torch.equal(models.backbone(few)(images), models.backbone(model)(images))


def test_googlenet_keeps_its_own_statistics_and_drops_its_side_heads(hub):
    plant(hub, "googlenet", init_weights=False, aux_logits=True)
    reference = torchvision.models.googlenet(weights="DEFAULT").eval()  # converts its input itself
    model = models.create_model("googlenet", 1000, weights="imagenet").train()
    images = noise(2, 32)
    x = torchvision.transforms.functional.normalize(images / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(model.eval()(images), reference(x), atol=1e-4, rtol=1e-3)
    assert isinstance(model.train()(images), torch.Tensor)
    assert model.normalize.mean.tolist() == [0.5] * 3
    grey = models.create_model("googlenet", 3, in_channels=1, weights="imagenet").eval()
    assert grey(noise(2, 32, channels=1)).shape == (2, 3)


def test_pretrained_filters_answer_to_grey_as_to_its_rgb_copy(hub):
    plant(hub, "resnet18")
    rgb = models.create_model("resnet18", 3, weights="imagenet").network
    grey = models.create_model("resnet18", 3, in_channels=1, weights="imagenet")
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(grey.network.conv1(x), rgb.conv1(x.expand(-1, 3, -1, -1)), atol=1e-5, rtol=0)
    assert grey.normalize.mean.item() == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    six = models.create_model("resnet18", 3, in_channels=6, weights="imagenet").network
    six_x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(six.conv1(six_x.repeat(1, 2, 1, 1)), rgb.conv1(six_x), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="pretrained stem"):
        models.create_model("resnet18", 3, weights="imagenet", small_stem=True)


def test_random_stem_keeps_its_scale_for_any_channel_count():
    std = {
        c: models.create_model("resnet18", 3, in_channels=c).network.conv1(torch.randn(4, c, 32, 32)).std().item()
        for c in (1, 3, 8)
    }
    assert std[1] == pytest.approx(std[3], rel=0.1)
    assert std[8] == pytest.approx(std[3], rel=0.1)


def test_pretrained_vit_takes_other_sizes(hub, monkeypatch):
    for scheme in ("trunc_normal_", "xavier_uniform_", "kaiming_uniform_"):  # 88 M weights, three times
        monkeypatch.setattr(nn.init, scheme, lambda tensor, *args, **kwargs: nn.init.constant_(tensor, 0.01))
    plant(hub, "vit_b_32")
    model = models.create_model("vit_b_32", 3, weights="imagenet", image_size=96)
    assert model.network.encoder.pos_embedding.shape == (1, 10, 768)
    planted = torch.load(next(hub.iterdir()))
    assert torch.equal(model.network.conv_proj.weight, planted["conv_proj.weight"])
    token = planted["encoder.pos_embedding"][:, 0]
    assert torch.equal(model.network.encoder.pos_embedding[:, 0], token)


def test_timm_weights_missing_and_found(monkeypatch):
    name = "timm:mobilenetv3_small_050"

    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(models.MissingWeights, match=r"model\.safetensors of timm/mobilenetv3_small_050.*HF_HOME"):
        models.create_model(name, 3, weights="imagenet")

    reference = timm.create_model("mobilenetv3_small_050")
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *a, **k: reference.state_dict())
    model = models.create_model(name, 3, weights="imagenet")
    assert torch.equal(model.network.conv_stem.weight, reference.conv_stem.weight)
    config = timm.get_pretrained_cfg("mobilenetv3_small_050")
    assert model.normalize.mean.tolist() == pytest.approx(list(config.mean))
    with pytest.raises(models.MissingWeights, match="no pretrained weights for 'timm:botnet50ts_256'"):
        models.create_model("timm:botnet50ts_256", 3, weights="imagenet")


@pytest.mark.parametrize("name", ["simple_cnn", "resnet18", "vgg11"])
def test_a_sliced_model_gives_the_first_outputs_and_shares_all_other_weights(name):
    model = models.create_model(name, 7, image_size=32).eval()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    fewer = models.slice_head(model, 3)
    with torch.inference_mode():  # not bit for bit: a product of another shape may take another kernel
        torch.testing.assert_close(fewer(images), model(images)[:, :3])
    assert torch.equal(models.head(fewer).weight, models.head(model).weight[:3])
    assert models.head(model).out_features == 7
    own = {id(p) for p in fewer.parameters()} - {id(p) for p in model.parameters()}
    assert own == {id(p) for p in models.head(fewer).parameters()}
    for outputs in (0, 8):
        with pytest.raises(ValueError, match=f"cannot keep {outputs} of 7 outputs; choose 1 to 7"):
            models.slice_head(model, outputs)


def test_a_head_that_is_not_one_linear_layer_is_not_sliced():
    with pytest.raises(ValueError, match="only a single linear layer can be sliced"):
        models.slice_head(models.create_model("squeezenet1_1", 3, image_size=32), 2)


def test_whitened_patches_are_uncorrelated():
    """The oracle is the definition: over the images that it measured, the answers have the identity as covariance."""
    g = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 3, generator=g)
    smooth = F.avg_pool2d(torch.randn(200, 3, 14, 14, generator=g), 3, 1)
    images = torch.einsum("dc,nchw->ndhw", mixing, smooth)
    layer = Whitening(3, 2).fit(images, floor=0.0)
    answers = layer(images)
    assert layer.weight.shape == (24, 3, 2, 2)
    torch.testing.assert_close(answers[:, :12], -answers[:, 12:])
    rows = answers[:, :12].transpose(0, 1).flatten(1)
    torch.testing.assert_close(rows @ rows.T / rows.shape[1], torch.eye(12), atol=1e-3, rtol=0)
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert layer.fitted


def test_whitening_takes_a_regular_grid_of_many_patches(monkeypatch):
    images = F.avg_pool2d(torch.randn(20, 3, 42, 42, generator=torch.Generator().manual_seed(0)), 3, 1)
    whole = Whitening(3, 2).fit(images).weight
    seen, unfold = [], F.unfold

    def counted(*arguments, **options):
        patches = unfold(*arguments, **options)
        seen.append(patches.shape[0] * patches.shape[2])
        return patches

    monkeypatch.setattr(F, "unfold", counted)
    monkeypatch.setattr(layers, "PATCHES", 20 * 40**2)
    assert torch.equal(Whitening(3, 2).fit(images).weight, whole)  # no more than the limit: all of them
    monkeypatch.setattr(layers, "PATCHES", 20 * 40**2 / 9)
    some = Whitening(3, 2).fit(images).weight
    assert seen == [20 * 39**2, 20 * 13**2]
    assert F.cosine_similarity(some[0].flatten(), whole[0].flatten(), dim=0).abs() > 0.99


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_global_max_pooling_has_the_values_and_gradients_of_pytorch(dtype):
    """Also where several places have the maximum, as after a ReLU or in bfloat16."""
    images = torch.randn(8, 16, 5, 5, generator=torch.Generator().manual_seed(0)).relu().to(dtype)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        for pool in (nn.AdaptiveMaxPool2d(1), layers.GlobalMaxPool()):
            x = images.to(memory_format=layout, copy=True).requires_grad_()
            y = pool(x)
            (y * torch.arange(16).view(16, 1, 1)).sum().backward()
            found.append((y, x.grad))
    for y, gradient in found[1:]:
        assert torch.equal(y, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_whitening_travels_with_the_model(tmp_path):
    model = create_model("cifar_fast", 3, widths=(4, 4, 4), image_size=10)
    images = torch.randint(0, 256, (30, 3, 10, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    initialize_from_data(model, images)
    first = model.network.features.first[0]
    expected = model.normalize(images)
    patches = F.unfold(expected, 2).transpose(1, 2).flatten(0, 1)
    largest = torch.linalg.eigh(patches.T @ patches / len(patches)).eigenvectors[:, -1]
    assert abs(F.cosine_similarity(first.weight[0].flatten(), largest, dim=0)) > 0.999
    kept = first.weight.clone()
    initialize_from_data(model, images.flip(1))  # what is measured stays
    assert torch.equal(first.weight, kept)
    models.save(model, tmp_path / "m", ("a", "b", "c"))
    again, _ = models.load(tmp_path / "m")
    torch.testing.assert_close(again(images), model.eval()(images))


def test_a_residual_block_adds_to_its_input():
    model = create_model("cifar_fast", 3, widths=(4, 4, 4), image_size=10, residual=True).eval()
    block = model.network.features.block1
    inner = block[-1]
    for parameter in inner.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 24, 9, 9)
    torch.testing.assert_close(block(x), block[:-1](x))  # nothing is added: silu(0) is 0


def test_a_residual_block_that_widens_adds_to_its_first_maps():
    model = create_model("cifar_fast", 3, widths=(60, 4, 4), image_size=10, residual=True).eval()
    block = model.network.features.block1
    torch.nn.init.zeros_(block[-1][0].weight)
    x = torch.randn(2, 24, 9, 9)
    before, after = block[:-1](x), block(x)
    assert before.shape[1] == 48
    torch.testing.assert_close(after[:, :48], before)
    assert not after[:, 48:].any()


def test_no_convolution_before_a_pooling_more_than_doubles_the_filters():
    model = create_model("cifar_fast", 3, widths=(64, 256, 256), image_size=32)
    convolutions = [m for m in model.network.features.modules() if isinstance(m, torch.nn.Conv2d)][1:]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (24, 48), (48, 64), (64, 128), (128, 256), (256, 256), (256, 256),
    ]  # fmt: skip


def test_only_the_last_block_pools_before_its_first_convolution():
    model = create_model("cifar_fast", 3, widths=(4, 4, 4), image_size=32).eval()
    sides = []
    for module in model.network.features.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    model(torch.rand(1, 3, 32, 32))
    assert sides == [32, 31, 15, 15, 7, 3, 3]


def test_a_sliced_head_keeps_its_scale():
    model = create_model("cifar_fast", 5, widths=(4, 4, 4), image_size=10).eval()
    x = torch.rand(2, 3, 10, 10)
    torch.testing.assert_close(models.slice_head(model, 2)(x), model(x)[:, :2])
