import copy

import pytest
import torch
from torch import nn

from imgcls import explain, models
from imgcls.explain.activations import as_maps

pytestmark = pytest.mark.usefixtures("one_thread")


class TinyNet(nn.Module):
    """Two maps by a 1x1 convolution, a ReLU that overwrites them, their means, a linear layer."""

    def __init__(self, weight=((1.0, -2.0), (-1.0, 3.0))):
        super().__init__()
        self.normalize = models.Normalize(2)
        self.conv = nn.Conv2d(2, 2, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0.5], [-1.0, 1.0]])[:, :, None, None])
            self.conv.bias.copy_(torch.tensor([0.1, 0.2]))
            self.fc.weight.copy_(torch.tensor(weight))

    def forward(self, x):
        return self.fc(self.relu(self.conv(self.normalize(x))).mean((2, 3)))


def images(n=3, channels=2, height=6, width=8, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, height, width), generator=draws, dtype=torch.uint8)


def unit(cam):
    cam = cam.clamp(min=0)
    cam = cam - cam.amin((1, 2), keepdim=True)
    return cam / cam.amax((1, 2), keepdim=True).clamp(min=1e-12)


def by_hand(net, x, targets):
    """Selvaraju et al. 2017, equations 1 and 2: d score / d map is w / (H W) at every place."""
    maps = net.relu(net.conv(net.normalize(x))).detach()
    alpha = net.fc.weight[targets].detach() / maps[0, 0].numel()
    return unit((alpha[:, :, None, None] * maps).sum(1))


def test_grad_cam_agrees_with_the_closed_form():
    net, x, targets = TinyNet(), images(), [0, 1, 1]
    expected = by_hand(net, x, targets)
    cam = explain.grad_cam(net, x, targets, layer=net.relu)
    assert cam.dtype == torch.float32
    torch.testing.assert_close(cam, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(explain.grad_cam(net, x / 255, torch.tensor(targets), layer=net.relu), cam)
    torch.testing.assert_close(explain.grad_cam(net, x, targets, layer=net.relu, batch_size=2), cam)
    alone = torch.cat([explain.grad_cam(net, x[i : i + 1], targets[i], layer=net.relu) for i in range(3)])
    torch.testing.assert_close(alone, cam)
    predicted = net(x).argmax(1)
    torch.testing.assert_close(explain.grad_cam(net, x), by_hand(net, x, predicted), atol=1e-5, rtol=0)


def test_maps_are_taken_before_an_in_place_relu_overwrites_them():
    net, x = TinyNet(), images()
    maps = net.conv(net.normalize(x)).detach()
    alpha = (net.fc.weight[0].detach()[:, None, None] * (maps > 0)).mean((2, 3))  # gradient through the ReLU
    expected = unit((alpha[:, :, None, None] * maps).sum(1))
    torch.testing.assert_close(explain.grad_cam(net, x, 0, layer=net.conv), expected, atol=1e-5, rtol=0)


def test_layer_cam_and_hirescam_agree_with_their_closed_forms():
    net, x = TinyNet(), images()
    maps, weight = net.relu(net.conv(net.normalize(x))).detach(), net.fc.weight[0].detach()[:, None, None]
    layer_cam = explain.grad_cam(net, x, 0, method="layer_cam", layer=net.relu)
    torch.testing.assert_close(layer_cam, unit((weight.clamp(min=0) * maps).sum(1)), atol=1e-5, rtol=0)
    hirescam = explain.grad_cam(net, x, 0, method="hirescam", layer=net.relu)
    torch.testing.assert_close(hirescam, unit((weight * maps).sum(1)), atol=1e-5, rtol=0)


def test_nothing_speaks_for_the_class():
    net = TinyNet(weight=((-1.0, -1.0), (0.0, 0.0)))
    for target in (0, 1):
        for method in explain.METHODS:
            cam = explain.grad_cam(net, images(), target, method=method, layer=net.relu)
            assert cam.isfinite().all()
            if "eigen" not in method:
                assert not cam.any()


@pytest.mark.parametrize("method", explain.METHODS)
def test_every_method_gives_maps_of_the_image_s_size(method):
    model = models.create_model("cifar_batchnorm", 3)
    x = images(channels=3, height=32, width=40)
    cam = explain.grad_cam(model, x, method=method)
    assert cam.shape == (3, 32, 40)
    assert cam.isfinite().all()
    assert cam.min() >= 0
    assert cam.amax((1, 2)).max() == pytest.approx(1, abs=1e-5)


def state(model):
    return (
        {name: module.training for name, module in model.named_modules()},
        {name: p.requires_grad for name, p in model.named_parameters()},
        {name: (id(p.grad), None if p.grad is None else p.grad.clone()) for name, p in model.named_parameters()},
        {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in model.named_modules()},
    )


def same(a, b):
    grads = all(
        x[0] == y[0] and (x[1] is None or torch.equal(x[1], y[1]))
        for x, y in zip(a[2].values(), b[2].values(), strict=True)
    )
    return (a[0], a[1], a[3]) == (b[0], b[1], b[3]) and grads


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_the_model_s_state_is_restored(trainable):
    model = models.freeze(models.create_model("cifar_batchnorm", 3).train(), trainable)
    x = images(channels=3, height=32, width=32)
    model(x).sum().backward()
    before, buffers = state(model), copy.deepcopy(dict(model.named_buffers()))
    with torch.no_grad():
        assert explain.grad_cam(model, x, 1, method="layer_cam").any()
    explain.feature_maps(model, x[0])
    with pytest.raises(ValueError, match="no spatial positions to map"):
        explain.grad_cam(model, x, layer=models.head(model))
    with pytest.raises(IndexError):
        explain.grad_cam(model, x, 99)
    assert same(before, state(model))
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())


def test_frozen_and_free_models_have_the_same_maps():
    model = models.create_model("cifar_batchnorm", 3)
    x = images(channels=3, height=32, width=32)
    free = explain.grad_cam(model, x, 1, method="layer_cam")
    assert free.any()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(explain.grad_cam(model, x, 1, method="layer_cam"), free)


def test_a_map_points_at_what_the_class_depends_on():
    """A network that counts bright pixels, shown one bright corner."""
    model = models.create_model("simple_cnn", 2, blocks=1, filters=1, image_size=16).eval()
    with torch.no_grad():
        model.network.features.block1[0].weight.fill_(1.0)
        model.network.classifier[2].weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 64))
    x = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    x[..., :6, 10:] = 255
    cam = explain.grad_cam(model, x, 0)[0]
    assert cam[:6, 10:].sum() / cam.sum() > 0.7
    assert not explain.grad_cam(model, x, 1).any()


@pytest.mark.parametrize(
    ("name", "side", "options"),
    [
        ("timm:vit_tiny_patch16_224", 64, {"depth": 2}),
        ("timm:swin_tiny_patch4_window7_224", 112, {"depths": (1, 1, 1, 1)}),
    ],
)
def test_transformers_of_timm_are_rearranged(name, side, options):
    model = models.create_model(name, 3, image_size=side, **options)
    nn.init.normal_(models.head(model).weight)
    cam = explain.grad_cam(model, images(channels=3, height=side, width=side), method="layer_cam")
    assert cam.shape == (3, side, side)
    assert cam.any()


def test_layouts_are_distinguished_by_the_image_s_aspect():
    maps = torch.randn(2, 8, 4, 6)
    assert torch.equal(as_maps(maps, 1.5), maps)
    assert torch.equal(as_maps(maps.permute(0, 2, 3, 1), 1.5), maps)
    tokens = torch.cat([torch.zeros(2, 1, 8), maps.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(as_maps(tokens, 1.5), maps)
    registers = torch.cat([torch.zeros(2, 4, 8), tokens], dim=1)
    assert torch.equal(as_maps(registers, 1.5, prefix=5), maps)
    square = torch.randn(2, 8, 2, 2)
    assert torch.equal(as_maps(square.flatten(2).transpose(1, 2), 1.0, prefix=0), square)


def test_errors_name_value_and_choices():
    net, x = TinyNet(), images()
    with pytest.raises(ValueError, match=r"did you mean 'grad_cam\+\+'"):
        explain.grad_cam(net, x, method="gradcam++")
    with pytest.raises(ValueError, match="choose from grad_cam"):
        explain.grad_cam(net, x, method="zzz")
    with pytest.raises(ValueError, match="2 targets for 3 images"):
        explain.grad_cam(net, x, [0, 1])
    with pytest.raises(ValueError, match="not a part of the model"):
        explain.grad_cam(net, x, layer=nn.ReLU())
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        explain.grad_cam(net, x[0])
    with pytest.raises(ValueError, match="did you mean 'conv'"):
        explain.grad_cam(net, x, layer="cnov")
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        explain.feature_maps(net, x)
    with pytest.raises(ValueError, match="no convolution"):
        explain.first_filters(nn.Linear(2, 2))


def test_filters_of_every_layer_are_means_over_what_comes_in():
    model = models.create_model("configurable_cnn", 3, layers=3, filters=4, filter_multiplier=2.0, image_size=16)
    found = explain.layer_filters(model)
    names = [f"network.features.block{i}.0" for i in (1, 2, 3)]
    assert {name: tuple(filters.shape) for name, filters in found.items()} == dict(
        zip(names, [(4, 3, 3, 3), (8, 1, 3, 3), (16, 1, 3, 3)], strict=True)
    )
    assert torch.equal(found[names[0]], explain.first_filters(model))
    means = dict(model.named_modules())[names[1]].weight.detach().mean(1)
    low, high = means.amin((1, 2), keepdim=True), means.amax((1, 2), keepdim=True)
    torch.testing.assert_close(found[names[1]][:, 0], (means - low) / (high - low))
    with pytest.raises(ValueError, match="no convolution"):
        explain.layer_filters(nn.Linear(2, 2))


def test_first_filters_are_scaled_one_by_one():
    model = models.create_model("resnet18", 3, in_channels=1)
    filters = explain.first_filters(model)
    assert filters.shape == (64, 1, 7, 7)
    assert torch.equal(filters.amin((1, 2, 3)), torch.zeros(64))
    assert torch.equal(filters.amax((1, 2, 3)), torch.ones(64))
    weight = model.network.conv1.weight.detach()[5].flatten()
    assert torch.corrcoef(torch.stack([weight, filters[5].flatten()]))[0, 1] == pytest.approx(1)


def test_feature_maps_are_the_layers_outputs():
    net, x = TinyNet(), images()
    expected = net.conv(net.normalize(x[:1]))[0].detach()
    torch.testing.assert_close(explain.feature_maps(net, x[0]), {"conv": expected})  # before the ReLU overwrites it
    model = models.create_model("cifar_baseline", 3)
    maps = explain.feature_maps(model, images(1, 3, 32, 32)[0])
    assert [m.shape[0] for m in maps.values()] == [32, 32, 64, 64, 128, 128]
    assert next(iter(maps)) == "network.features.block1.0"


# ------------------------------------------------------------------ localisation scores
MAPS = torch.tensor([[[1.0, 0.6], [0.4, 0.0]], [[0.2, 0.2], [0.2, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
MASKS = torch.tensor([[[1, 1], [0, 0]], [[1, 1], [1, 0]], [[1, 0], [0, 0]]], dtype=torch.bool)


def test_localisation_scores_by_hand():
    """First map: points inside, 1.6 of 2.0 inside, its upper row is the subject. Second: points outside, 0.6 of 1.6
    inside, nothing of what reaches half its height is. Third: empty."""
    assert explain.pointing_game(MAPS, MASKS).tolist() == [True, False, False]
    assert explain.energy_inside(MAPS, MASKS).tolist() == pytest.approx([0.8, 0.375, 0.0])
    assert explain.mask_iou(MAPS, MASKS).tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert explain.mask_iou(MAPS, MASKS, threshold=0.2).tolist() == pytest.approx([2 / 3, 3 / 4, 0.0])


def test_a_perfect_map_beats_the_baselines_and_a_map_of_nothing_does_not():
    draws = torch.Generator().manual_seed(0)
    masks = torch.zeros(400, 20, 20, dtype=torch.bool)
    top, left = torch.randint(0, 12, (2, 400), generator=draws)  # squares of 8 pixels anywhere: 16 % of the image
    for mask, y, x in zip(masks, top, left, strict=True):
        mask[y : y + 8, x : x + 8] = True
    table = explain.localisation({"perfect": masks.float(), "level": torch.ones(400, 20, 20)}, masks)
    table = table.set_index("method")
    assert list(table.index) == ["perfect", "level", "centre", "random"]
    assert (table.loc["perfect", ["pointing", "energy", "iou"]] == 1).all()
    assert table.loc["level", "energy"] == pytest.approx(0.16)
    assert table.loc["level", "iou"] == pytest.approx(0.16)
    assert table.loc["random", "energy"] == pytest.approx(0.16, abs=0.02)
    assert table.loc["centre", "energy"] > table.loc["random", "energy"]  # subjects keep from the borders
    for name in ("centre", "random"):
        assert table.loc[name, "pointing_high"] < table.loc["perfect", "pointing_low"]
    again = explain.localisation({}, masks)
    assert again.equals(table.loc[["centre", "random"]].reset_index())


def test_subjects_in_the_middle_make_the_centre_hard_to_beat():
    masks = torch.zeros(50, 20, 20, dtype=torch.bool)
    masks[:, 6:14, 6:14] = True
    table = explain.localisation({}, masks).set_index("method")
    assert table.loc["centre", "pointing"] == 1
    assert table.loc["centre", "energy"] > 2 * 0.16


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (MAPS[:2], MASKS, r"maps \(2, 2, 2\) and masks \(3, 2, 2\) must both be"),
        (MAPS, MASKS.float(), "masks must be bool"),
        (MAPS, MASKS & False, "contain some of the subject in every image"),
        (-MAPS, MASKS, "maps must not be negative"),
    ],
)
def test_maps_and_masks_that_do_not_fit_are_refused(maps, masks, message):
    with pytest.raises(ValueError, match=message):
        explain.energy_inside(maps, masks)
    with pytest.raises(ValueError, match="above 0 and at most 1; got 0"):
        explain.mask_iou(MAPS, MASKS, threshold=0)


def test_maps_are_those_of_the_library_itself():
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(0)
    model = models.create_model("simple_cnn", 3, image_size=32)
    model.normalize.set_statistics((0.5,) * 3, (0.25,) * 3)
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    ours = explain.grad_cam(model, pictures, [0, 1, 2, 0])
    with GradCAM(model.eval(), [models.last_conv(model, 32)]) as library:
        theirs = library((pictures / 255).requires_grad_(), [ClassifierOutputTarget(t) for t in (0, 1, 2, 0)])
    assert torch.allclose(ours, torch.from_numpy(theirs), atol=1e-5)
    assert ours.amax() > 0.9
