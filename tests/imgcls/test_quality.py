"""Planted images that are of one colour, dark, bright, blurred or narrow, among ones that are none of these."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import gaussian_blur

from imgcls.data import Split
from imgcls.data.quality import suspicious_images

SIZE = 64
PLANTED = {
    "of one colour": [1, 2, 3],
    "very dark": [5],
    "very bright": [8],
    "blurred": [13],
    "very narrow": [20, 21],
}


def scenes(count: int, size: int = SIZE) -> torch.Tensor:
    """Float images in [0, 1] with structure at every scale."""
    generator = torch.Generator().manual_seed(0)
    layers = []
    for n in (2, 4, 8, 16, 32):
        light, colour = (torch.rand(count, channels, n, n, generator=generator) for channels in (1, 3))
        layers.append(F.interpolate(0.75 * light + 0.25 * colour, size, mode="bilinear"))
    return (0.5 + 2.5 * (torch.stack(layers).mean(dim=0) - 0.5)).clamp(0, 1)


def split_of(images: torch.Tensor, sizes: torch.Tensor | None) -> Split:
    names = tuple(str(i) for i in range(len(images)))
    pixels = (images * 255).round().clamp(0, 255).byte()
    return Split(pixels, torch.zeros(len(images), dtype=torch.int64), None, names, ("a",), sizes)


def planted() -> Split:
    images, sizes = scenes(30), torch.full((30, 2), 200)
    images[1], images[2] = 0.0, 1.0
    images[3] = torch.tensor([0.8, 0.2, 0.1]).view(3, 1, 1) + 0.01 * scenes(1)[0]
    images[5] *= 0.15
    images[8, :, 3:] = 0.97  # a strip on white paper
    images[13:15] = gaussian_blur(images[13:15], 15, 3.0)
    sizes[14] = 40  # enlarged, not blurred
    sizes[20], sizes[21] = torch.tensor([600, 150]), torch.tensor([150, 600])
    sizes[22] = torch.tensor([600, 300])
    return split_of(images, sizes)


@pytest.mark.parametrize("block", [1024, 7])
def test_planted_images_are_found_and_no_others(block, monkeypatch):
    monkeypatch.setattr("imgcls.data.similarity.BLOCK", block)
    split = planted()
    assert suspicious_images([split]) == {kind: [str(i) for i in rows] for kind, rows in PLANTED.items()}
    assert suspicious_images([split, split])["very dark"] == ["5", "5"]


def test_grayscale_has_the_same_kinds():
    split = planted()
    gray = split_of(split.images.float().mean(dim=1, keepdim=True) / 255, split.sizes)
    assert suspicious_images([gray]) == suspicious_images([split])


@pytest.mark.parametrize("size", [64, 96, 128, 224])
def test_blur_of_a_scene_is_found_at_every_size(size):
    images = scenes(8, size)
    images[:4] = gaussian_blur(images[:4], 2 * (size // 6) + 1, size / 16)
    found = suspicious_images([split_of(images, torch.full((8, 2), 300))])
    assert found["blurred"] == ["0", "1", "2", "3"]


def test_without_original_sizes_neither_blur_nor_shape_is_judged():
    split = planted()
    found = suspicious_images([split_of(split.images / 255, None)])
    assert found["blurred"] == found["very narrow"] == []
    assert found["of one colour"] == ["1", "2", "3"]
