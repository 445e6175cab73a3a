import ast
import hashlib
import math
import os
import platform
import subprocess
import sys
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import menagerie
from menagerie import __main__ as contact_sheet
from menagerie import anatomy, draws, kinds, picture, raster
from menagerie.anatomy import Body, vector
from menagerie.draws import Draws

SIZE = 32
SUBSETS = ("fox_elephant", "species", "species_unseen", "species_mixed", "cats_dogs", "inaturalist_ten", "cifar_ten",
           "source")  # fmt: skip
SEEN = [
    "antelope", "bat", "beaver", "blue whale", "bobcat", "buffalo", "chihuahua", "cow", "dalmatian", "deer",
    "dolphin", "elephant", "german shepherd", "giant panda", "giraffe", "grizzly bear", "hamster", "hippopotamus",
    "humpback whale", "killer whale", "leopard", "lion", "mole", "mouse", "otter", "ox", "persian cat", "pig",
    "polar bear", "raccoon", "rat", "seal", "siamese cat", "skunk", "spider monkey", "tiger", "walrus", "weasel",
    "wolf", "zebra",
]  # fmt: skip
UNSEEN = [
    "chimpanzee", "collie", "fox", "gorilla", "horse", "moose", "rabbit", "rhinoceros", "sheep", "squirrel",
]  # fmt: skip
FIELDS = ("images", "masks", "parts", "labels", "traits")


@pytest.fixture(scope="module")
def batch():
    return menagerie.generate("inaturalist_ten", "train", 0, 120, SIZE, seed=0)


def same(a, b, rows=slice(None)) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)[rows]) for name in FIELDS)


# ------------------------------------------------------------------ what is generated


def test_types_and_shapes(batch):
    assert batch.images.shape == (120, 3, SIZE, SIZE)
    assert batch.images.dtype == batch.parts.dtype == torch.uint8
    assert batch.masks.shape == batch.parts.shape == batch.depth.shape == (120, SIZE, SIZE)
    assert (batch.masks.dtype, batch.labels.dtype) == (torch.bool, torch.int64)
    assert batch.classes == menagerie.subsets()["inaturalist_ten"].classes
    assert torch.bincount(batch.labels).tolist() == [12] * 10
    assert set(menagerie.subsets()) == set(SUBSETS)
    assert menagerie.sizes("fox_elephant") == {"train": 640, "val": 161, "test": 200}
    assert batch.traits.shape == (120, len(menagerie.attribute_names()))


@pytest.mark.parametrize("count", [1, 7, 64])
def test_bytes_do_not_depend_on_the_batch(batch, count, monkeypatch):
    monkeypatch.setattr(picture, "CHUNK", 5 * SIZE**2)  # other chunks inside, too
    part = menagerie.generate("inaturalist_ten", "train", 23, count, SIZE, seed=0)
    assert same(part, batch, slice(23, 23 + count))


def test_bytes_do_not_depend_on_the_threads(batch):
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert same(menagerie.generate("inaturalist_ten", "train", 0, 120, SIZE), batch)
    finally:
        torch.set_num_threads(threads)


def test_any_images_in_any_order(batch):
    index = torch.tensor([77, 3, 3, 50])
    assert same(menagerie.render("inaturalist_ten", "train", index, SIZE), batch, index)


def test_split_seed_and_index_each_give_other_images(batch):
    one = menagerie.generate("inaturalist_ten", "train", 0, 10, SIZE)
    for other in (
        menagerie.generate("inaturalist_ten", "test", 0, 10, SIZE),
        menagerie.generate("inaturalist_ten", "train", 0, 10, SIZE, seed=1),
        menagerie.generate("inaturalist_ten", "train", 10, 10, SIZE),
    ):
        assert (one.images != other.images).flatten(1).any(dim=1).all()
    assert len({image.numpy().tobytes() for image in batch.images}) == 120


def test_another_size_shows_the_same_scene(batch):
    large = menagerie.generate("inaturalist_ten", "train", 0, 60, 3 * SIZE)
    coarse = torch.nn.functional.avg_pool2d(large.masks.float()[:, None], 3)[:, 0]
    difference = (coarse - batch.masks[:60].float()).abs().mean(dim=(1, 2))
    assert difference.max() < 0.10
    assert difference.mean() < 0.03
    shrunk = torch.nn.functional.avg_pool2d(large.images.float(), 3)
    assert (shrunk - batch.images[:60].float()).abs().mean() < 16  # of 255: fine structure and the sensor's noise


def test_a_count_of_zero_gives_empty_tensors():
    empty = menagerie.generate("fox_elephant", count=0)
    assert empty.images.shape == (0, 3, 64, 64)
    assert empty.traits.shape == (0, len(menagerie.attribute_names()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset": "specis"}, "unknown subset 'specis'; did you mean 'species'?"),
        ({"subset": "zzz"}, "choose one of: fox_elephant"),
        ({"split": "dev"}, "unknown split 'dev'; choose one of: train, val, test"),
        ({"start": -1}, "must not be negative"),
        ({"count": -1}, "must not be negative"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"habitat_bias": 1.5}, "probability from 0 to 1, or below zero to -1 to swap, not 1.5"),
        ({"habitat_bias": -1.1}, "not -1.1"),
        ({"clutter": -0.5}, "share from 0 to 1, not -0.5"),
    ],
)
def test_errors_name_the_value_and_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        menagerie.generate(**{"subset": "fox_elephant", **arguments})


def test_without_clutter_subjects_are_whole_large_and_in_the_middle(batch):
    tidy = menagerie.generate("inaturalist_ten", "train", 0, 120, SIZE, clutter=0.0)
    assert torch.equal(tidy.traits, batch.traits)
    assert tidy.habitats == batch.habitats

    def off_centre(masks: torch.Tensor) -> torch.Tensor:
        """Distance of the middle of each subject's box from the middle of the image, in pixels."""
        middles = []
        for axis in (1, 2):
            lines = masks.any(dim=axis).float()
            first, last = lines.argmax(dim=1), SIZE - 1 - lines.flip(1).argmax(dim=1)
            middles.append((first + last) / 2 - (SIZE - 1) / 2)
        return torch.stack(middles).norm(dim=0)

    assert off_centre(tidy.masks).max() <= 5  # thin tails may be too thin for the mask
    assert off_centre(tidy.masks).mean() < 1
    assert off_centre(batch.masks).mean() > 2
    assert tidy.masks.float().mean() > 1.1 * batch.masks.float().mean()


def test_portraits_and_their_errors():
    turned = menagerie.portraits(["zebra"] * 2, "snow", yaw=[0.0, math.pi], same=True, image_size=96)
    assert torch.equal(turned.traits[0], turned.traits[1])
    head, leg = (turned.parts == menagerie.PARTS.index(name) + 1 for name in ("head", "leg"))
    columns = torch.arange(96.0)
    ahead = [(columns * one).sum() / one.sum() for one in (head.float().sum(1)[0], leg.float().sum(1)[0])]
    behind = [(columns * one).sum() / one.sum() for one in (head.float().sum(1)[1], leg.float().sum(1)[1])]
    assert ahead[0] > ahead[1] + 10  # the head to the right of the legs, then to their left
    assert behind[0] < behind[1] - 10
    with pytest.raises(ValueError, match="did you mean 'zebra'"):
        menagerie.portraits(["zebr"])
    with pytest.raises(ValueError, match="unknown habitat 'moon'; choose one of: snow"):
        menagerie.portraits(["zebra"], "moon")


def test_the_steps_of_a_picture_fit_together():
    steps = menagerie.steps("zebra", image_size=64, seed=1, habitat="meadow")
    assert all(one.shape == (64, 64, 3) and one.dtype == torch.uint8 for one in steps.values())
    mask, paper = steps["mask"][..., 0] > 0, steps["parts"][0, 0]
    assert torch.equal(mask, (steps["parts"] != paper).any(dim=2))
    assert 0.05 < mask.float().mean() < 0.6
    assert (steps["shadow"] <= steps["place"]).all()
    assert (steps["shadow"] < steps["place"]).any()
    off_the_body = (steps["light"] == steps["light"][0, 0]).all(dim=2)
    assert (off_the_body & mask).sum() == 0


# ------------------------------------------------------------------ masks, parts, depth


def test_parts_and_depth_cover_the_mask_and_nothing_else(batch):
    assert torch.equal(batch.masks, batch.parts > 0)
    assert torch.equal(batch.masks, ~batch.depth.isnan())
    assert batch.parts.max() <= len(menagerie.PARTS)
    share = batch.masks.float().mean(dim=(1, 2))
    assert share.min() > 0.004
    assert 0.08 < share.mean() < 0.45


def blank(scene, size, light):
    return torch.full((len(scene.habitat), 3, size, size), light)


def test_masks_agree_with_the_coverage_of_each_pixel(monkeypatch):
    """Two uniform backdrops: their difference in a pixel is the share that the subject does not cover."""
    monkeypatch.setattr(picture, "shade", lambda subject, view, scene, size: torch.ones(len(subject), size, size))
    monkeypatch.setattr(picture.scenes, "occluders", lambda scene, draws: torch.zeros(len(scene.habitat), 0, 28))
    seen = []
    monkeypatch.setattr(picture.scenes, "develop", lambda scene, image, draws: seen.append(image) or image.byte())
    for light in (0.0, 1.0):
        monkeypatch.setattr(picture.scenes, "backdrop", partial(blank, light=light))
        batch = menagerie.generate("inaturalist_ten", "val", 0, 30, 48)
    half = len(seen) // 2
    dark, bright = torch.cat(seen[:half]), torch.cat(seen[half:])
    cover = 1 - (bright - dark)
    order = cover[:, 0].flatten(1).sum(1).argsort(), batch.masks.flatten(1).sum(1).argsort()
    assert len(order[0]) == 30
    # chunks may finish in any order: match each cover to the mask that it agrees with best
    for alpha in cover[:, 0]:
        agree = ((alpha >= 0.5) == batch.masks).flatten(1).float().mean(dim=1)
        assert agree.max() > 0.9999
    assert ((cover > 0.02) & (cover < 0.98)).float().mean() < 0.12  # edges only


def test_the_subject_is_all_that_differs_without_it():
    index = torch.arange(20)
    with_it = menagerie.render("fox_elephant", "val", index, 48)
    without = menagerie.render("fox_elephant", "val", index, 48, subject=False)
    assert not without.masks.any()
    changed = (with_it.images.int() - without.images.int()).abs().amax(dim=1) > 12
    assert changed[with_it.masks].float().mean() > 0.8
    assert changed[~with_it.masks].float().mean() < 0.25  # its shadow and its edges


def test_parts_agree_with_the_traits_of_the_row():
    horned, bare = ["buffalo", "antelope", "rhinoceros", "moose"], ["horse", "wolf", "tiger", "zebra"]
    horn = menagerie.PARTS.index("horn") + 1
    seen = menagerie.portraits((horned + bare) * 4, image_size=96)
    has = (seen.parts == horn).flatten(1).any(dim=1)
    should = torch.tensor([kind in horned for kind in seen.kinds])
    assert has[~should].sum() == 0
    assert has[should].float().mean() > 0.8  # now and then something hides them


# ------------------------------------------------------------------ the table


def test_classes_of_the_subsets():
    found = menagerie.subsets()
    assert list(found["species"].classes) == SEEN
    assert list(found["species_unseen"].classes) == UNSEEN
    assert found["species_mixed"].classes == (*SEEN, "unknown")
    assert set(found["species_mixed"].kinds[-1]) == set(UNSEEN)
    assert found["cats_dogs"].classes == ("cat", "dog")
    assert found["inaturalist_ten"].classes == (
        "Amphibia", "Animalia", "Arachnida", "Aves", "Fungi", "Insecta", "Mammalia", "Mollusca", "Plantae", "Reptilia",
    )  # fmt: skip
    assert found["cifar_ten"].classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    assert all(len(one) >= 3 for one in found["inaturalist_ten"].kinds)


def test_the_source_set_shares_no_kind_with_any_task():
    found = menagerie.subsets()
    source = {kind for one in found["source"].kinds for kind in one}
    tasks = {kind for name, subset in found.items() if name != "source" for one in subset.kinds for kind in one}
    assert not source & tasks
    assert len(source) >= 20
    assert source | tasks <= set(menagerie.table())


def test_no_two_rows_are_alike():
    rows = [tuple(sorted((k, v) for k, v in row.items() if k != "kind")) for row in menagerie.table().values()]
    assert len(set(rows)) == len(rows)


def test_each_pair_of_species_differs_in_two_visible_traits():
    few = [(a, b) for a, b in combinations(SEEN + UNSEEN, 2) if len(menagerie.differences(a, b)) < 2]
    assert not few


def test_differences_by_hand(monkeypatch):
    rows = {
        "a": {"kind": "a", "pattern": "plain", "mark": "#000000", "coat": "#808080", "ear": 1.0, "size": 1.0},
        "b": {"kind": "b", "pattern": "plain", "mark": "#ffffff", "coat": "#858080", "ear": 0.9, "size": 9.0},
        "c": {
            "kind": "c",
            "pattern": "spots",
            "mark": "#ffffff",
            "coat": "#e08080",
            "ear": 0.8,
            "size": 1.0,
            "fin": 1.0,
        },
    }
    monkeypatch.setattr(kinds, "table", lambda: rows)
    assert kinds.differences("a", "b") == []
    assert kinds.differences("a", "c") == ["pattern", "mark", "coat", "ear", "fin"]


def test_traits_vary_about_their_row():
    seen = menagerie.generate("species", "train", 0, 400, 8)
    rows = menagerie.attributes(seen.kinds)
    names = menagerie.attribute_names()
    words = torch.tensor(["=" in name for name in names])
    colours = torch.tensor([name.endswith((".r", ".g", ".b")) for name in names])
    assert torch.equal(seen.traits[:, words], rows[:, words])
    spread = torch.tensor(
        [[menagerie.row(kind)["spread"], menagerie.row(kind)["colour_spread"]] for kind in seen.kinds]
    )
    limit = kinds.REACH * spread[:, :1] * rows.abs() + 1e-5
    numbers = ~words & ~colours
    assert ((seen.traits - rows).abs() <= limit)[:, numbers].all()
    drift = (seen.traits - rows).abs()[:, colours].amax(dim=1)
    assert (drift <= kinds.REACH * 1.5 * spread[:, 1] + 1e-3).all()
    leg = names.index("leg_length")
    assert (seen.traits[:, leg] != rows[:, leg]).float().mean() > 0.5


def test_attributes_of_a_row_by_hand():
    names, values = menagerie.attribute_names(), menagerie.attributes(["zebra"])[0]
    row = menagerie.row("zebra")
    assert values[names.index("pattern=stripes")] == 1
    assert values[names.index("pattern=spots")] == 0
    assert values[names.index("coat.r")].item() == pytest.approx(int(str(row["coat"])[1:3], 16) / 255, abs=1e-6)
    most = max(one["leg_length"] for one in menagerie.table().values() if "leg_length" in one)
    assert values[names.index("leg_length")].item() == pytest.approx(row["leg_length"] / most)


def test_unknown_kinds_and_traits_are_named():
    with pytest.raises(ValueError, match="unknown kind 'zebar'; did you mean 'zebra'"):
        menagerie.row("zebar")
    traits = kinds.Traits(["zebra"], Draws("key", torch.zeros(1, dtype=torch.int64)))
    with pytest.raises(AttributeError, match="no number or colour 'wheels' in the table; it has: "):
        _ = traits.wheels


def test_classes_are_balanced_or_imbalanced_as_in_the_table():
    species = menagerie.labels("species", "train", torch.arange(len(menagerie.subsets()["species"].orders[0])))
    counts = torch.bincount(species, minlength=40)
    assert counts.min() >= 150
    assert counts.max() <= 250
    assert counts.max() > 1.4 * counts.min()
    # Any stretch holds the classes in about these proportions.
    part = torch.bincount(species[:2000], minlength=40)
    assert (part - counts * (2000 / len(species))).abs().max() <= 2
    assert torch.bincount(menagerie.labels("species", "test", torch.arange(1200))).tolist() == [30] * 40
    mixed = menagerie.labels("species_mixed", "test", torch.arange(500))
    assert (mixed == 40).float().mean().item() == pytest.approx(10 / 50, abs=0.01)
    frogs = menagerie.generate("inaturalist_ten", "train", 0, 1500, 1)
    for label, known in enumerate(menagerie.subsets()["inaturalist_ten"].kinds):
        seen = [kind for kind, one in zip(frogs.kinds, frogs.labels.tolist(), strict=True) if one == label]
        shares = [seen.count(kind) / len(seen) for kind in known]
        assert min(shares) > 0.3 / len(known)


# ------------------------------------------------------------------ habitats


def test_habitats_do_not_depend_on_the_class_without_bias():
    n = 600
    free = menagerie.generate("fox_elephant", "train", 0, n, 4)
    table = torch.zeros(2, len(menagerie.habitats()))
    for label, habitat in zip(free.labels.tolist(), free.habitats, strict=True):
        table[label, menagerie.habitats().index(habitat)] += 1
    expected = table.sum(1, keepdim=True) * table.sum(0) / n
    assert ((table - expected) ** 2 / expected).sum() < 27.9  # 99.9 % point of chi-squared, 9 degrees of freedom
    own = [str(menagerie.row(kind)["habitat"]) for kind in free.kinds]
    for bias in (0.0, 0.5, 1.0):
        biased = menagerie.generate("fox_elephant", "train", 0, n, 4, habitat_bias=bias)
        share = np.mean([a == b for a, b in zip(biased.habitats, own, strict=True)])
        assert share == pytest.approx(bias + (1 - bias) / len(menagerie.habitats()), abs=0.06)


def test_negative_bias_gives_the_habitat_of_another_class():
    swapped = menagerie.generate("fox_elephant", "test", 0, 100, 4, habitat_bias=-1.0)
    home = {kind: str(menagerie.row(kind)["habitat"]) for kind in ("arctic fox", "elephant")}
    other = {"arctic fox": home["elephant"], "elephant": home["arctic fox"]}
    assert home["elephant"] != home["arctic fox"]
    assert all(place == other[kind] for place, kind in zip(swapped.habitats, swapped.kinds, strict=True))
    half = menagerie.generate("fox_elephant", "test", 0, 600, 4, habitat_bias=-0.5)
    share = np.mean([place == other[kind] for place, kind in zip(half.habitats, half.kinds, strict=True)])
    assert share == pytest.approx(0.5 + 0.5 / len(menagerie.habitats()), abs=0.06)
    ten = menagerie.generate("inaturalist_ten", "test", 0, 100, 4, habitat_bias=-1.0)
    groups = menagerie.subsets()["inaturalist_ten"].kinds
    strangers = [[str(menagerie.row(k)["habitat"]) for c, kinds in enumerate(groups) if c != label for k in kinds]
                 for label in ten.labels.tolist()]  # fmt: skip
    assert all(place in places for place, places in zip(ten.habitats, strangers, strict=True))


def test_a_swap_moves_the_same_subjects():
    kept = menagerie.generate("fox_elephant", "test", 0, 8, SIZE, habitat_bias=1.0)
    swapped = menagerie.generate("fox_elephant", "test", 0, 8, SIZE, habitat_bias=-1.0)
    assert torch.equal(kept.parts, swapped.parts)
    assert (kept.images != swapped.images).flatten(1).any(1).all()


def test_the_habitat_changes_neither_masks_nor_parts(batch):
    biased = menagerie.generate("inaturalist_ten", "train", 0, 60, SIZE, habitat_bias=1.0)
    assert torch.equal(biased.parts, batch.parts[:60])
    moved = torch.tensor([a != b for a, b in zip(biased.habitats, batch.habitats, strict=False)])
    assert moved.sum() > 40
    assert (biased.images[moved] != batch.images[:60][moved]).flatten(1).any(dim=1).all()
    assert torch.equal(biased.images[~moved], batch.images[:60][~moved])


def test_every_habitat_differs_from_every_other():
    empty = menagerie.render("fox_elephant", "train", torch.arange(400), 16, subject=False)
    mean = torch.stack(
        [
            empty.images[[h == habitat for h in empty.habitats]].float().mean(dim=0).flatten()
            for habitat in menagerie.habitats()
        ]
    )
    distance = torch.cdist(mean, mean) / math.sqrt(mean.shape[1]) + 1e3 * torch.eye(len(mean))
    assert distance.min() > 8  # of 255


# ------------------------------------------------------------------ geometry against brute force


def rays(body: Body, size: int = 24):
    """Depth and coverage maps of a single body from the rasterizer, NaN and 0 off the body."""
    primitives = body.stack()[0]
    surface = raster.rasterize(primitives, torch.zeros(len(primitives), dtype=torch.int64), 1, size)
    depth = torch.full((size * size,), float("nan"))
    inside = surface.edge <= 0
    depth[surface.pixel[inside]] = surface.depth[inside]
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    return depth.view(size, size), axis.view(1, -1), -axis.view(-1, 1), surface


GREY = torch.full((1, 3), 0.5)


def one(*xs: float) -> torch.Tensor:
    return torch.tensor([xs])


@pytest.mark.parametrize(
    ("a", "b", "ra", "rb"),
    [
        ((-0.5, -0.2, 0.0), (0.4, 0.3, 0.0), 0.2, 0.2),
        ((-0.5, -0.2, 0.3), (0.4, 0.3, -0.4), 0.3, 0.1),
        ((0.0, 0.0, -0.6), (0.1, 0.05, 0.6), 0.25, 0.15),  # nearly along the line of sight
        ((0.0, 0.0, -0.3), (0.02, 0.0, 0.3), 0.1, 0.5),  # one end hides the other
        ((0.0, 0.0, 0.4), (0.05, 0.0, -0.5), 0.2, 0.6),  # or stands before it
    ],
)
def test_capsules_are_spheres_swept_along_a_line(a, b, ra, rb):
    body = Body(1)
    body.bone(one(*a), one(*b), ra, rb, part="trunk", colour=GREY)
    depth, x, y, _ = rays(body)
    best = torch.full((24, 24), -9.0)
    for t in torch.linspace(0, 1, 4001):
        centre = [p + (q - p) * t for p, q in zip(a, b, strict=True)]
        height = (ra + (rb - ra) * t) ** 2 - (x - centre[0]) ** 2 - (y - centre[1]) ** 2
        best = torch.where(height >= 0, torch.maximum(best, centre[2] + height.clamp(min=0).sqrt()), best)
    inside = best > -9
    disagree = inside != ~depth.isnan()
    assert disagree.sum() <= 2  # pixels through whose centre the outline passes
    both = inside & ~depth.isnan()
    assert both.sum() > 20
    assert (best - depth)[both].abs().max() < 0.02


@pytest.mark.parametrize("shape", ["ball", "slab"])
def test_ellipsoids_and_slabs_against_marching_along_the_line_of_sight(shape):
    body = Body(1)
    forward, up = one(0.8, 0.3, 0.5), one(-0.2, 1.0, 0.3)
    getattr(body, shape)(one(0.1, -0.05, 0.2), (0.6, 0.35, 0.2), forward, up, part="trunk", colour=GREY)
    depth, x, y, surface = rays(body)
    axes = torch.stack(anatomy.frame(forward, up))[:, 0] / torch.tensor([0.6, 0.35, 0.2])[:, None]
    z = torch.linspace(-1.2, 1.6, 5601).view(-1, 1, 1)
    local = [axes[i, 0] * (x - 0.1) + axes[i, 1] * (y + 0.05) + axes[i, 2] * (z - 0.2) for i in range(3)]
    local = torch.stack(torch.broadcast_tensors(*local))
    solid = (local**2).sum(0) <= 1 if shape == "ball" else local.abs().amax(0) <= 1
    best = torch.where(solid, z, -9.0).amax(0)
    inside = best > -9
    assert (inside != ~depth.isnan()).sum() <= 2
    both = inside & ~depth.isnan()
    assert both.sum() > 40
    assert (best - depth)[both].abs().max() < 0.01
    # Normals are the gradient of the surface: unit length, facing the eye.
    assert (surface.normal[2] > -1e-4).all()
    assert torch.allclose((surface.normal**2).sum(0), torch.ones(()), atol=1e-4)


def test_nearer_surfaces_hide_farther_ones_and_soft_ones_blend():
    def two(soft: float):
        body = Body(1, soft=soft)
        red, blue = one(1.0, 0.0, 0.0), one(0.0, 0.0, 1.0)
        body.ball(one(-0.1, 0.0, 0.0), (0.5, 0.5, 0.5), part="trunk", colour=red)
        body.ball(one(0.1, 0.0, 0.2), (0.5, 0.5, 0.5), part="head", colour=blue)
        return rays(body, 40)[3]

    hard, melted = two(0.0), two(0.3)
    assert torch.equal(hard.part, melted.part)
    inside = hard.edge <= 0
    assert set(hard.part[inside].tolist()) == {menagerie.PARTS.index("trunk") + 1, menagerie.PARTS.index("head") + 1}
    assert ((hard.colour[0] == 1) ^ (hard.colour[2] == 1))[inside].all()
    between = (melted.colour[0] > 0.05) & (melted.colour[2] > 0.05)
    assert between[inside].float().mean() > 0.1
    assert torch.allclose(melted.colour.sum(0)[inside], torch.ones(()), atol=1e-4)


def test_absent_primitives_are_not_rendered():
    body = Body(1)
    body.ball(one(0.0, 0.0, 0.0), (0.4, 0.4, 0.4), part="trunk", colour=GREY)
    body.bone(one(0.5, 0.5, 0.0), one(0.7, 0.7, 0.0), -1.0, 0.2, part="horn", colour=GREY)
    body.ball(one(-0.6, 0.0, 0.0), (0.0, 0.0, 0.0), part="ear", colour=GREY)
    assert raster.present(body.stack())[0].tolist() == [True, False, False]


def test_headings_are_unit_vectors_where_they_should_point():
    like = torch.zeros(3)
    for azimuth, elevation, expected in [(0, 0, (1, 0, 0)), (math.pi / 2, 0, (0, 0, 1)), (0.3, math.pi / 2, (0, 1, 0))]:
        got = anatomy.heading(like, azimuth, elevation)
        assert got.shape == (3, 3)
        assert (got - torch.tensor(expected)).abs().max() < 2e-3
    assert torch.equal(vector(torch.ones(2), 2.0, 3.0), torch.tensor([[1.0, 2.0, 3.0]] * 2))


def test_no_kind_has_detached_limbs():
    """Every primitive touches another, and separate groups (several mushrooms) stand on the ground."""
    for kind, row in menagerie.table().items():
        model = picture.build([kind] * 3, "limbs", torch.arange(3))
        for primitives in model.primitives:
            lowest = _lowest_of_pieces(primitives[raster.present(primitives)])
            assert max(lowest) < 0.08, f"{kind} ({row['plan']}) has a loose piece; lowest points {lowest}"


def _lowest_of_pieces(primitives: torch.Tensor) -> list[float]:
    """How far above the ground the groups of primitives that touch each other begin, in body sizes."""
    points = _samples(primitives)  # (M, S, 3)
    count = len(primitives)
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    reach = _size(primitives)
    for i in range(count):
        gap = _outside(points, primitives[i]).amin(dim=1) - 0.03 * reach
        for j in (gap <= 0).nonzero().flatten().tolist():
            parent[root(i)] = root(j)
    low = raster.extent(primitives)[0][:, 1]
    groups = {root(i) for i in range(count)}
    return [float(min(low[i] for i in range(count) if root(i) == g) - low.min()) / reach for g in groups]


def _size(primitives: torch.Tensor) -> float:
    low, high = raster.extent(primitives)
    return float((high.amax(0) - low.amin(0)).max())


def _samples(primitives: torch.Tensor) -> torch.Tensor:
    """Points on and in primitives, (M, 27, 3)."""
    p, u, v, w = (primitives[:, None, axis] for axis in (anatomy.P, anatomy.U, anatomy.V, anatomy.W))
    grid = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)
    ball = grid / grid.norm(dim=1, keepdim=True).clamp(min=1)
    a, b, c = (
        torch.where((primitives[:, anatomy.SHAPE] == anatomy.SLAB)[:, None], grid[:, i], ball[:, i]) for i in range(3)
    )
    solid = p + u * a[..., None] + v * b[..., None] + w * c[..., None]
    line = p + u * torch.linspace(0, 1, len(grid))[:, None]
    return torch.where((primitives[:, anatomy.SHAPE] == anatomy.CAPSULE)[:, None, None], line, solid)


def _outside(points: torch.Tensor, primitive: torch.Tensor) -> torch.Tensor:
    """About how far points (M, S, 3) lie outside a primitive, negative inside."""
    delta = points - primitive[anatomy.P]
    u, v, w = (primitive[axis] for axis in (anatomy.U, anatomy.V, anatomy.W))
    if primitive[anatomy.SHAPE] == anatomy.CAPSULE:
        t = ((delta @ u) / (u @ u).clamp(min=1e-9)).clamp(0, 1)
        radius = primitive[anatomy.RA] + t * (primitive[anatomy.RB] - primitive[anatomy.RA])
        return (delta - t[..., None] * u).norm(dim=-1) - radius
    axes = torch.stack([u, v, w])
    local = delta @ torch.linalg.pinv(axes)
    if primitive[anatomy.SHAPE] == anatomy.SLAB:
        return ((local - local.clamp(-1, 1)) @ axes).norm(dim=-1)
    far = local.norm(dim=-1)
    inward = local / far.clamp(min=1)[..., None]  # the ball's nearest point is at most as far as this one
    flat = torch.where(local.abs() > 1, local.sign(), local)
    flat = flat / flat.norm(dim=-1, keepdim=True).clamp(min=1)
    return torch.minimum(((local - inward) @ axes).norm(dim=-1), ((local - flat) @ axes).norm(dim=-1))


# ------------------------------------------------------------------ draws


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
    assert Draws("key", torch.arange(100_000)).chance(0.3).float().mean() == pytest.approx(0.3, abs=0.01)


def test_bell_and_pick_have_the_documented_moments():
    stream = Draws("key", torch.arange(20_000))
    bell = stream.bell()
    assert bell.mean().abs() < 0.03
    assert bell.std().item() == pytest.approx(1, abs=0.02)
    assert bell.abs().max() < 3.5
    shares = torch.bincount(stream.pick(1, 3, 6), minlength=3) / 20_000
    assert shares.tolist() == pytest.approx([0.1, 0.3, 0.6], abs=0.015)


def test_noise_has_unit_deviation_and_uncorrelated_channels():
    noise = Draws("key", torch.arange(64)).noise(32)
    assert noise.mean().abs() < 0.01
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(noise.transpose(0, 1).flatten(1)).fill_diagonal_(0).abs().max() < 0.02


def test_no_two_of_a_hundred_thousand_images_share_a_stream():
    stream = Draws("key", torch.arange(100_000))
    keys = stream.origin * 2**31 + (stream.twist >> 1)
    assert len(keys.unique()) == 100_000


def test_angles_come_from_a_full_turn():
    angle = torch.linspace(-7, 7, 999)
    cosine, sine = draws.cos_sin(angle)
    assert (cosine - angle.cos()).abs().max() < 2 * math.pi / draws.ANGLES
    assert (sine - angle.sin()).abs().max() < 2 * math.pi / draws.ANGLES


def test_square_roots_are_rounded_as_ieee_754_says():
    x = torch.rand(200_000, generator=torch.Generator().manual_seed(0)) * 10
    exact = np.sqrt(x.numpy().astype(np.float64)).astype(np.float32)  # rounding twice is harmless for square roots
    assert np.array_equal(draws.square_root(x).numpy(), exact)
    assert np.array_equal(draws.square_root(x[::3]).numpy(), exact[::3])
    assert draws.square_root(torch.tensor(9.0)) == 3


def test_no_function_is_used_that_differs_between_processors():
    """PyTorch computes these with MKL, where the last bit depends on the processor."""
    unsafe = {"sqrt", "rsqrt", "exp", "log", "sin", "cos", "tan", "tanh", "pow", "sigmoid", "norm"}
    for path in Path(menagerie.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in unsafe:
                assert ast.unparse(node.value) in ("math", "np"), f"{path.name}:{node.lineno} {ast.unparse(node)}"


# ------------------------------------------------------------------ the same bytes for ever

# Images and parts of the first 24 test images of each set at 32 px, their mean brightness and their share of subject.
# A change of how things look changes these on purpose: print `summary` of each set, put it here, raise
# menagerie.VERSION and put the digest of the new table into VERSIONS.
STORED = {
    "fox_elephant": ("ae1e0d60ddba938a", "ce8e9fd13ecdbc75", 143.64, 0.1791),
    "species": ("38d4371646223825", "5308f7fa9a8d3f4c", 150.66, 0.1352),
    "species_unseen": ("734806109bbcd83d", "f1b3fd3afd94aadc", 141.87, 0.1908),
    "cats_dogs": ("0c2305e0930c3df6", "2bcc5a76db24999e", 154.47, 0.1228),
    "inaturalist_ten": ("3f6993adca24bb9c", "77858062746482ab", 147.14, 0.1550),
    "cifar_ten": ("c6915075d563255a", "7077d979b0de30ec", 153.33, 0.1398),
    "source": ("22befd7f779d629e", "415ab88753d22ee0", 139.62, 0.1326),
    "species_mixed": ("55f8cbb183dc0774", "e669443820964f2a", 147.82, 0.1427),
}


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def summary(subset: str) -> tuple[str, str, float, float]:
    shown = menagerie.generate(subset, "test", 0, 24, SIZE, seed=0)
    brightness, share = shown.images.float().mean().item(), shown.masks.float().mean().item()
    return digest(shown.images), digest(shown.parts), round(brightness, 2), round(share, 4)


@pytest.mark.parametrize("subset", SUBSETS)
def test_images_are_those_that_they_always_were(subset):
    """To the bit on x86-64, whatever its vector units; elsewhere to half a level of brightness, 0.2 % of the area."""
    images, parts, brightness, share = summary(subset)
    assert brightness == pytest.approx(STORED[subset][2], abs=0.5)
    assert share == pytest.approx(STORED[subset][3], abs=0.002)
    if platform.machine().lower() in ("x86_64", "amd64"):
        assert (images, parts) == STORED[subset][:2]


VERSIONS = {1: "386685a49944bd6d"}  # of STORED


def test_changed_images_have_a_new_version():
    """Caches are keyed by the version: images that change without a new one would be read from an old cache."""
    table = hashlib.sha256(repr(sorted(STORED.items())).encode()).hexdigest()[:16]
    assert VERSIONS.get(menagerie.VERSION) == table, "raise menagerie.VERSION and add the digest of the new STORED"


def test_bytes_do_not_depend_on_the_vector_units_of_the_processor():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_menagerie as t; print(t.summary('inaturalist_ten'))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    plain = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(summary("inaturalist_ten"))


# ------------------------------------------------------------------ contact sheets


def test_a_contact_sheet_shows_every_kind_and_refuses_others(tmp_path, monkeypatch, capsys):
    target = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["menagerie", str(target), "zebra", "fox", "--each", "3", "--size", "32"])
    with pytest.raises(SystemExit) as done:
        contact_sheet.main()
    assert not done.value.code
    shown = menagerie.portraits(["zebra"] * 3 + ["fox"] * 3, image_size=32)
    paper = np.asarray(Image.open(target))
    assert paper.shape == (48, 2 * 104, 3)
    assert np.array_equal(paper[14:46, 104:136], shown.images[3].permute(1, 2, 0).numpy())
    monkeypatch.setattr(sys, "argv", ["menagerie", str(target), "zebar"])
    with pytest.raises(SystemExit) as done:
        contact_sheet.main()
    assert done.value.code == 2
    assert "unknown kind 'zebar'; did you mean 'zebra'?" in capsys.readouterr().err
