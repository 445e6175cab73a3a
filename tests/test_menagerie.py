import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline

from imgcls import menagerie
from imgcls.menagerie import draws, shapes
from imgcls.menagerie.draws import Draws

SIZE = 32


@pytest.fixture(scope="module")
def batch():
    return menagerie.generate("shapes", "train", 0, 400, SIZE, seed=0)


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("images", "masks", "parts", "labels"))


def test_types_and_shapes(batch):
    assert batch.images.shape == (400, 3, SIZE, SIZE)
    assert batch.images.dtype == batch.parts.dtype == torch.uint8
    assert batch.masks.shape == batch.parts.shape == (400, SIZE, SIZE)
    assert (batch.masks.dtype, batch.labels.dtype) == (torch.bool, torch.int64)
    assert batch.classes == menagerie.SUBSETS["shapes"].classes == tuple(sorted(batch.classes))
    assert torch.bincount(batch.labels).tolist() == [40] * 10
    assert menagerie.sizes("shapes") == {"train": 4000, "val": 500, "test": 1000}


@pytest.mark.parametrize("count", [1, 7, 64])
def test_bytes_do_not_depend_on_the_batch(batch, count, monkeypatch):
    monkeypatch.setattr(menagerie, "CHUNK", 5 * SIZE**2)  # other chunks inside, too
    part = menagerie.generate("shapes", "train", 123, count, SIZE, seed=0)
    assert torch.equal(part.images, batch.images[123 : 123 + count])
    assert torch.equal(part.parts, batch.parts[123 : 123 + count])


def test_bytes_do_not_depend_on_the_threads(batch):
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert same(menagerie.generate("shapes", "train", 0, 400, SIZE), batch)
    finally:
        torch.set_num_threads(threads)


def test_split_seed_and_index_each_give_other_images(batch):
    one = menagerie.generate("shapes", "train", 0, 10, SIZE)
    for other in (
        menagerie.generate("shapes", "test", 0, 10, SIZE),
        menagerie.generate("shapes", "train", 0, 10, SIZE, seed=1),
        menagerie.generate("shapes", "train", 10, 10, SIZE),
    ):
        assert (one.images != other.images).flatten(1).any(dim=1).all()
    assert len({image.numpy().tobytes() for image in batch.images}) == 400


def test_parts_make_up_the_mask_and_the_rim_is_its_outside(batch):
    assert torch.equal(batch.masks, batch.parts > 0)
    assert batch.parts.unique().tolist() == [0, 1, 2]
    large = menagerie.generate("shapes", "train", 0, 60, 128)  # there a rim is at least two pixels wide
    body = (large.parts == 1).float()
    reached = torch.nn.functional.max_pool2d(body[:, None], 3, 1, 1)[:, 0] > 0
    touching = (reached & ~large.masks).flatten(1).float().mean(dim=1)
    assert touching.median() == 0  # only where something stands in front does the body meet the background
    share = batch.masks.float().mean(dim=(1, 2))
    assert share.min() > 0.005
    assert 0.05 < share.mean() < 0.4


def test_another_size_shows_the_same_scene(batch):
    large = menagerie.generate("shapes", "train", 0, 200, 3 * SIZE)
    coarse = torch.nn.functional.avg_pool2d(large.masks.float()[:, None], 3)[:, 0]
    difference = (coarse - batch.masks[:200].float()).abs().mean(dim=(1, 2))
    assert difference.max() < 0.08
    assert difference.mean() < 0.02


def grid(n=160, extent=1.3):
    axis = torch.linspace(-extent, extent, n)
    return torch.meshgrid(axis, axis, indexing="xy")


CORNERS = {  # written out in full, where the library folds them along their axes
    "arrow": [(1, 0), (0.1, 0.65), (0.1, 0.22), (-1, 0.22), (-1, -0.22), (0.1, -0.22), (0.1, -0.65)],
    "cross": [(a, b) for s in (1, -1) for a, b in [(0.95 * s, -0.3 * s), (0.95 * s, 0.3 * s), (0.3 * s, 0.3 * s),
                                                  (0.3 * s, 0.95 * s), (-0.3 * s, 0.95 * s), (-0.3 * s, 0.3 * s)]],
    "hexagon": [(0.92 * math.cos(k * math.pi / 3), 0.92 * math.sin(k * math.pi / 3)) for k in range(6)],
    "square": [(1, 0), (0, 1), (-1, 0), (0, -1)],
    "star": [((1.1, 0.46)[k % 2] * math.cos(k * math.pi / 5), (1.1, 0.46)[k % 2] * math.sin(k * math.pi / 5))
             for k in range(10)],
    "triangle": [(1.05 * math.cos(k * 2 * math.pi / 3), 1.05 * math.sin(k * 2 * math.pi / 3)) for k in range(3)],
}  # fmt: skip


@pytest.mark.parametrize("name", CORNERS)
def test_polygons_against_point_in_polygon_and_distance_to_a_sampled_outline(name):
    x, y = grid()
    ours = shapes.DISTANCES[name](x, y)
    corners = np.array(CORNERS[name])
    inside = Outline(corners).contains_points(np.stack([x.flatten(), y.flatten()], 1)).reshape(x.shape)
    clear = ours.abs() > 1e-4
    assert np.array_equal((ours < 0).numpy()[clear], inside[clear])
    following = np.roll(corners, -1, axis=0)
    steps = np.linspace(0, 1, 200)[:, None, None]
    outline = torch.from_numpy((corners + steps * (following - corners)).reshape(-1, 2)).float()
    nearest = torch.cdist(torch.stack([x.flatten(), y.flatten()], 1), outline).amin(dim=1).view_as(x)
    assert (ours.abs() - nearest).abs().max() < 0.01


def test_round_subjects_against_their_definitions():
    x, y = grid()
    r = (x**2 + y**2).sqrt()
    heart_lobes = ((x.abs() - 0.375) ** 2 + (y - 0.275) ** 2).sqrt() < 0.375 * math.sqrt(2)
    inside = {
        "disc": r < 0.85,
        "ring": (r > 0.44) & (r < 0.92),
        "crescent": (r < 0.95) & (((x - 0.48) ** 2 + y**2).sqrt() > 0.8),
        "heart": heart_lobes | (x.abs() + (y + 0.1).abs() < 0.75),
    }
    assert set(inside) | set(CORNERS) == set(shapes.CLASSES)
    for name, expected in inside.items():
        ours = shapes.DISTANCES[name](x, y)
        clear = ours.abs() > 1e-4
        assert torch.equal((ours < 0)[clear], expected[clear]), name


def test_images_show_what_the_masks_say(batch):
    """Averaged over images, pixels differ across the edge of the mask and hardly within it."""
    images = batch.images.float() / 255
    inner = torch.nn.functional.max_pool2d((~batch.masks).float()[:, None], 3, 1, 1)[:, 0] == 0
    step = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean(dim=1)
    edge = batch.masks[:, :, 1:] != batch.masks[:, :, :-1]
    within = inner[:, :, 1:] & inner[:, :, :-1]
    assert step[edge].mean() > 2 * step[within].mean()


def hue(images):
    """Hue in [0, 1) of the mean colour of the border of each image."""
    frame = torch.ones(SIZE, SIZE, dtype=torch.bool)
    frame[3:-3, 3:-3] = False
    rgb = images[:, :, frame].float().mean(dim=2)
    angle = torch.atan2(math.sqrt(3) * (rgb[:, 1] - rgb[:, 2]), 2 * rgb[:, 0] - rgb[:, 1] - rgb[:, 2])
    return (angle / (2 * math.pi)) % 1


def agreement(generated):
    """Share of images whose background has the hue of their class, within a twentieth of the circle."""
    distance = (hue(generated.images) - (generated.labels + 0.5) / 10).abs()
    return (torch.minimum(distance, 1 - distance) < 0.1).float().mean().item()


def test_habitat_bias_is_the_share_of_class_hued_backgrounds_and_changes_nothing_else(batch):
    shares = {0.0: agreement(batch)}
    for bias in (0.5, 1.0):
        biased = menagerie.generate("shapes", "train", 0, 400, SIZE, habitat_bias=bias)
        assert torch.equal(biased.parts, batch.parts)
        shares[bias] = agreement(biased)
    assert shares[0.0] == pytest.approx(0.2, abs=0.08)
    assert shares[1.0] > 0.85
    assert shares[0.5] == pytest.approx((shares[0.0] + shares[1.0]) / 2, abs=0.08)


def test_colours_alone_do_not_tell_the_class(batch):
    """The nearest of all other images by colour histogram is of the same class about one time in ten."""
    codes = (batch.images.long() >> 6) * torch.tensor([16, 4, 1]).view(3, 1, 1)
    histograms = torch.nn.functional.one_hot(codes.sum(dim=1), 64).float().mean(dim=(1, 2))
    distance = torch.cdist(histograms, histograms, p=1).fill_diagonal_(math.inf)
    hits = (batch.labels[distance.argmin(dim=1)] == batch.labels).sum().item()
    assert hits < 40 + 4 * math.sqrt(36)  # four deviations above chance


def test_draws_are_uniform_and_unrelated():
    stream = Draws("key", torch.arange(2000))
    values = stream.uniform(shape=(8,))
    assert values.min() >= 0
    assert values.max() < 1
    counts = torch.histc(values, 20, 0, 1)
    chi2 = ((counts - 800) ** 2 / 800).sum().item()
    assert chi2 < 43.8  # 99.9 % point with 19 degrees of freedom
    table = torch.cat([values, stream.uniform(shape=(8,))], dim=1)
    correlation = torch.corrcoef(table.T).fill_diagonal_(0)
    assert correlation.abs().max() < 0.11
    assert torch.corrcoef(torch.stack([table[:-1, 0], table[1:, 0]]))[0, 1].abs() < 0.09
    assert stream.chance(0.3, (50,)).float().mean() == pytest.approx(0.3, abs=0.01)
    cosine, sine = stream.direction((4,))
    assert (cosine**2 + sine**2 - 1).abs().max() < 1e-6
    assert cosine.mean().abs() < 0.04


def test_noise_has_unit_deviation_and_uncorrelated_channels():
    noise = Draws("key", torch.arange(64)).noise(32)
    assert noise.mean().abs() < 0.01
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(noise.transpose(0, 1).flatten(1)).fill_diagonal_(0).abs().max() < 0.02


def test_no_two_of_a_hundred_thousand_images_share_a_stream():
    stream = Draws("key", torch.arange(100_000))
    keys = stream.origin * 2**31 + (stream.twist >> 1)
    assert len(keys.unique()) == 100_000


def test_texture_passes_through_its_grid():
    stream = Draws("key", torch.arange(3))
    expected = Draws("key", torch.arange(3)).uniform(shape=(5, 5))
    texture = stream.texture(4 * 101, 4)  # the middle pixel of a cell of 101 lies at its centre
    middle = texture[:, 50::101, 50::101]
    corners = (expected[:, :-1, :-1] + expected[:, 1:, :-1] + expected[:, :-1, 1:] + expected[:, 1:, 1:]) / 4
    assert (middle - corners).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset": "shape"}, "unknown subset 'shape'; did you mean 'shapes'?"),
        ({"subset": "zzz"}, "choose one of: shapes"),
        ({"split": "dev"}, "unknown split 'dev'; choose one of: train, val, test"),
        ({"start": -1}, "must not be negative"),
        ({"count": -1}, "must not be negative"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"habitat_bias": 1.5}, "probability from 0 to 1, not 1.5"),
    ],
)
def test_errors_name_the_value_and_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        menagerie.generate(**{"subset": "shapes", **arguments})


def test_nothing_is_generated_when_nothing_is_asked():
    empty = menagerie.generate("shapes", count=0)
    assert empty.images.shape == (0, 3, 64, 64)


def test_source_hash_follows_the_code(monkeypatch, tmp_path):
    before = menagerie.source_hash()
    (tmp_path / "other.py").write_text("x = 1")
    menagerie.source_hash.cache_clear()
    monkeypatch.setattr(menagerie, "__file__", str(tmp_path / "__init__.py"))
    assert menagerie.source_hash() != before
    menagerie.source_hash.cache_clear()


def test_angle_table_is_a_full_turn():
    cosine, sine = draws._circle()
    assert len(cosine) == draws.ANGLES
    assert abs(cosine.sum()) < 1e-3
    assert abs(sine.sum()) < 1e-3
