"""Patches that activate a unit most: planted templates, receptive fields by arithmetic, and the model's state."""

import pytest
import torch

from course import patches
from imgcls import models
from imgcls.explain import guided_backprop

pytestmark = pytest.mark.usefixtures("one_thread")


def images(n=3, channels=3, height=32, width=32, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, height, width), generator=draws, dtype=torch.uint8)


def test_a_planted_template_is_found_where_it_was_planted():
    """Each filter is a pattern of mean zero; the pictures are grey but for one pattern each, of rising contrast."""
    model = models.create_model("simple_cnn", 2, blocks=1, filters=2, kernel_size=5, image_size=24, init="he")
    pattern = torch.sign(torch.randn(2, 3, 5, 5))
    pattern -= pattern.mean((1, 2, 3), keepdim=True)
    with torch.no_grad():
        model.network.features.block1[0].weight.copy_(pattern)
        model.network.features.block1[0].bias.zero_()
    x = torch.full((6, 3, 24, 24), 0.5)
    spots = [(2, 3), (10, 15), (19, 0), (0, 19), (7, 7), (12, 4)]
    for i, (top, left) in enumerate(spots):
        x[i, :, top : top + 5, left : left + 5] += (0.05 + 0.02 * i) * pattern[i % 2]
    table = patches.strongest_patches(model, x, "network.features.block1.0", [1, 0], k=2, batch_size=4)
    assert table["unit"].tolist() == [1, 1, 0, 0]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["image"].tolist() == [5, 3, 4, 2]
    for _, row in table.iterrows():
        top, left = spots[int(row["image"])]
        assert (row["top"], row["left"], row["bottom"], row["right"]) == (top, left, top + 5, left + 5)
        squares = float(pattern[int(row["unit"])].square().sum())
        assert row["activation"] == pytest.approx((0.05 + 0.02 * row["image"]) * squares, rel=1e-4)


def test_receptive_fields_follow_from_strides_and_paddings():
    """Arithmetic of Dumoulin & Visin 2016 for the stem and the first stages of a ResNet, cut at the border."""
    model = models.create_model("resnet18", 2)
    x = images(1, 3, 64, 48)
    for layer, size, step, first in (("conv1", 7, 2, -3), ("maxpool", 11, 4, -5), ("layer1", 43, 4, -21)):
        rows, columns = patches.receptive_fields(model, getattr(model.network, layer), x.shape[1:], 32)
        for fields, length in ((rows, 64), (columns, 48)):
            assert len(fields) == length // step
            assert fields == [
                (max(0, first + step * i), min(length, first + step * i + size)) for i in range(length // step)
            ]
    assert patches.strongest_patches(model, x, "network.avgpool", [3], 1)[
        ["top", "left", "bottom", "right"]
    ].to_numpy().tolist() == [[0, 0, 64, 48]]


def test_measuring_fields_restores_the_backends():
    before = torch.backends.mkldnn.set_flags(_fp32_precision=None)
    with patches.reference_convolutions():
        assert torch.backends.mkldnn.set_flags(_fp32_precision=None)[0] is False
    assert torch.backends.mkldnn.set_flags(_fp32_precision=None) == before


def test_a_unit_depends_on_no_pixel_outside_its_box():
    """What the exact box leaves out has no gradient, and somewhere its border has one."""
    model = models.create_model("configurable_cnn", 2, image_size=32, layers=3, filters=8)
    x = images(20)
    table = patches.strongest_patches(model, x, "network.features.block3.0", range(8), k=2)
    found = guided_backprop(model, x[table["image"]], layer="network.features.block3.0", unit=table["unit"].to_numpy())
    seen = found.abs().sum(1) > 0
    for one, row in zip(seen, table.itertuples(), strict=True):
        assert one.any()
        one[row.top : row.bottom, row.left : row.right] = False
        assert not one.any()


def test_impossible_patches_are_refused():
    model = models.create_model("cifar_baseline", 2)
    with pytest.raises(ValueError, match="k=4 images per unit, of 3; choose from 1 to 3"):
        patches.strongest_patches(model, images(), "network.features.block1.0", [0], k=4)
    with pytest.raises(ValueError, match="no unit 32; choose from 0 to 31"):
        patches.strongest_patches(model, images(), "network.features.block1.0", [0, 32])


@pytest.mark.parametrize("stopped", [False, True])
def test_the_model_s_state_is_restored(stopped):
    model, x = models.create_model("cifar_dropout", 3).train(), images()
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    if stopped:
        with pytest.raises(ValueError, match="no unit 99"):
            patches.strongest_patches(model, x, "network.features.block2.0", [99], 2)
    else:
        found = patches.strongest_patches(model, x, "network.features.block2.0", [0], 2)
        assert all(module.training for module in model.modules())
        assert found.equals(patches.strongest_patches(model.eval(), x, "network.features.block2.0", [0], 2))
        model.train()
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())
