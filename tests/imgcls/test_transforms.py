import itertools
import json
import math
from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from imgcls import transforms as T
from imgcls.transforms import trivial_augment

BILINEAR = InterpolationMode.BILINEAR
HEIGHT, WIDTH = 26, 20


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Batches this small gain nothing from a second thread and wait for it when the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(n=48, channels=3, height=HEIGHT, width=WIDTH, dtype=torch.uint8, seed=0):
    """Noise over a colour gradient, with one flat and one two-level image."""
    g = seeded(seed)
    ramp = torch.linspace(0, 150, width) + torch.linspace(0, 50, height)[:, None]
    images = ramp * torch.rand(n, channels, 1, 1, generator=g)
    images = images + 55 * torch.rand(n, channels, height, width, generator=g)
    images = images.round().to(torch.uint8)
    images[0] = 77
    images[1, :, :5] = 200
    images[1, :, 5:] = 30
    return images if dtype == torch.uint8 else (images.float() / 255).to(dtype)


# The oracles: what torchvision or Pillow does to one image, given the parameters drawn for it.


def crop_oracle(t):
    def oracle(image, p):
        padded = np.pad(
            image.numpy(), [(0, 0)] + 2 * [(t.padding, t.padding)], mode=t.mode
        )  # torchvision has no reflect for uint8
        top, left = p["top"] + t.padding, p["left"] + t.padding
        return TF.crop(torch.from_numpy(padded), top, left, *image.shape[1:])

    return oracle


def affine_oracle(image, p):
    return TF.affine(
        image,
        angle=p["angle"],
        translate=[p["right"], p["down"]],
        scale=p["scale"],
        shear=[p["shear_x"], p["shear_y"]],
        interpolation=BILINEAR,
    )


def padded_rotation_oracle(mode):
    def oracle(image, p, margin=30):
        padded = torch.from_numpy(np.pad(image.numpy(), [(0, 0)] + 2 * [(margin, margin)], mode=mode))
        turned = TF.rotate(padded, -p["angle"], interpolation=BILINEAR)
        return TF.center_crop(turned, list(image.shape[1:]))

    return oracle


def resized_crop_oracle(image, p):
    box = [p["top"], p["left"], p["height"], p["width"]]
    return TF.resized_crop(image, *box, size=list(image.shape[1:]), antialias=True)


def jitter_oracle(t):
    adjust = {
        "brightness": TF.adjust_brightness,
        "contrast": TF.adjust_contrast,
        "saturation": TF.adjust_saturation,
        "hue": TF.adjust_hue,
    }

    def oracle(image, p):
        values = image if image.is_floating_point() else image.float() / 255
        for k in p["order"]:
            values = adjust[t.changes[k]](values, p[t.changes[k]])
        return values if image.is_floating_point() else (values * 255).round().to(torch.uint8)

    return oracle


def pillow(function):
    def on_tensor(image, *args):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        return torch.from_numpy(np.array(function(picture, *args))).permute(2, 0, 1)

    return on_tensor


def trivial_oracle(image, p):
    name, m = list(T.TRIVIAL_OPERATIONS)[p["operation"]], p["magnitude"]
    degrees = math.degrees(math.atan(m))
    geometry = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "interpolation": BILINEAR}
    if name == "shear_x":
        return TF.affine(image, **geometry, shear=[degrees, 0.0], center=[0, 0])
    if name == "shear_y":
        return TF.affine(image, **geometry, shear=[0.0, degrees], center=[0, 0])
    if name == "translate_x":
        return TF.affine(image, **geometry | {"translate": [int(m), 0]}, shear=[0.0, 0.0])
    if name == "translate_y":
        return TF.affine(image, **geometry | {"translate": [0, int(m)]}, shear=[0.0, 0.0])

    def enhanced(enhancer):
        return pillow(lambda picture: enhancer(picture).enhance(m))(image)

    functions = {
        "rotate": lambda: TF.rotate(image, m, interpolation=BILINEAR),
        "identity": lambda: image,
        "brightness": lambda: enhanced(ImageEnhance.Brightness),
        "color": lambda: enhanced(ImageEnhance.Color),
        "contrast": lambda: enhanced(ImageEnhance.Contrast),
        "sharpness": lambda: enhanced(ImageEnhance.Sharpness),
        "posterize": lambda: pillow(ImageOps.posterize)(image, int(m)),
        "solarize": lambda: pillow(ImageOps.solarize)(image, m),
        "autocontrast": lambda: pillow(ImageOps.autocontrast)(image),
        "equalize": lambda: pillow(ImageOps.equalize)(image),
    }
    return functions[name]()


JITTER = T.ColorJitter(0.6, 0.6, 0.8, 0.3)

# name -> transform, oracle, tolerance on uint8 in levels, tolerance on floats
ORACLES = {
    "crop": (T.RandomCrop(4), crop_oracle(T.RandomCrop(4)), 0, 0),
    "crop constant": (T.RandomCrop(6, "constant"), crop_oracle(T.RandomCrop(6, "constant")), 0, 0),
    "crop edge": (T.RandomCrop(30, "edge"), crop_oracle(T.RandomCrop(30, "edge")), 0, 0),
    "horizontal flip": (T.RandomHorizontalFlip(), lambda x, p: x.flip(2) if p["flip"] else x, 0, 0),
    "vertical flip": (T.RandomVerticalFlip(), lambda x, p: x.flip(1) if p["flip"] else x, 0, 0),
    "rotation": (
        T.RandomRotation(180),
        lambda x, p: TF.rotate(x, -p["angle"], interpolation=BILINEAR),
        1,
        1e-4,
    ),
    "rotation reflect": (T.RandomRotation(70, "reflect"), padded_rotation_oracle("reflect"), 1, 1e-4),
    "rotation edge": (T.RandomRotation(70, "edge"), padded_rotation_oracle("edge"), 1, 1e-4),
    "affine": (T.RandomAffine(45, (0.2, 0.1), (0.6, 1.5), (20, 30)), affine_oracle, 1, 1e-4),
    "resized crop": (T.RandomResizedCrop((0.05, 1)), resized_crop_oracle, 1, 1e-4),
    "resized crop fallback": (
        T.RandomResizedCrop((0.3, 1), (1.2, 1.5)),
        resized_crop_oracle,
        1,
        1e-4,
    ),
    "jitter": (JITTER, jitter_oracle(JITTER), 1, 2e-5),
}
ALL = {name: row[0] for name, row in ORACLES.items()} | {"trivial": T.TrivialAugment()}


def drawn(transform, images, seed=1):
    return transform.draw(len(images), *images.shape[-2:], seeded(seed))


def of_image(parameters, i):
    return {name: values[i].tolist() for name, values in parameters.items()}


def worst(result, expected):
    return (result.double() - expected.double()).abs().max().item()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", ORACLES)
def test_each_image_is_what_the_oracle_makes_of_it(name, dtype):
    transform, oracle, levels, tolerance = ORACLES[name]
    images = sample(dtype=dtype)
    parameters = drawn(transform, images)
    result = transform.apply(images, parameters)
    expected = torch.stack([oracle(image, of_image(parameters, i)) for i, image in enumerate(images)])
    assert worst(result, expected) <= (levels if dtype == torch.uint8 else tolerance)
    assert worst(result, images) > 0.1, "the parameters drawn do nothing: the comparison says nothing"


def magnitudes(k):
    """Those of operation k for both signs of the 31 strengths."""
    strength = torch.arange(31).repeat(2)
    sign = torch.tensor([-1, 1]).repeat_interleave(31)
    return trivial_augment.magnitudes(torch.full((62,), k), strength, sign)


@pytest.mark.parametrize("k", range(14), ids=list(T.TRIVIAL_OPERATIONS))
def test_every_operation_and_strength_of_trivial_augment_matches_its_oracle(k):
    images = sample(62)
    parameters = {"operation": torch.full((62,), k), "magnitude": magnitudes(k)}
    result = T.TrivialAugment().apply(images, parameters)
    expected = torch.stack([trivial_oracle(image, of_image(parameters, i)) for i, image in enumerate(images)])
    exact = list(T.TRIVIAL_OPERATIONS)[k] in ("identity", "posterize", "solarize", "equalize")
    assert worst(result, expected) <= (0 if exact else 1)


def test_trivial_augment_has_the_magnitudes_of_the_paper():
    lowest_next_highest = {
        "shear_x": (-0.99, -0.957, 0.99),
        "shear_y": (-0.99, -0.957, 0.99),
        "translate_x": (-32, -30, 32),
        "translate_y": (-32, -30, 32),
        "rotate": (-135, -130, 135),
        "brightness": (0.01, 0.01 + 1.99 / 30, 2),
        "color": (0.01, 0.01 + 1.99 / 30, 2),
        "contrast": (0.01, 0.01 + 1.99 / 30, 2),
        "sharpness": (0.01, 0.01 + 1.99 / 30, 2),
        "posterize": (2, 3, 8),
        "solarize": (0, 9, 256),
    } | dict.fromkeys(("identity", "autocontrast", "equalize"), (0, 0, 0))
    for k, name in enumerate(T.TRIVIAL_OPERATIONS):
        found = magnitudes(k).unique()
        assert (found[0], found[min(1, len(found) - 1)], found[-1]) == pytest.approx(
            lowest_next_highest.pop(name), abs=1e-6
        )
    assert not lowest_next_highest


def test_trivial_augment_quantises_floats_to_the_uint8_result():
    images = sample(200)
    parameters = drawn(T.TrivialAugment(), images)
    as_uint8 = T.TrivialAugment().apply(images, parameters)
    as_float = T.TrivialAugment().apply(images.float() / 255, parameters)
    assert worst(as_float * 255, as_uint8) < 1e-4


# What holds for all of them.


@pytest.mark.parametrize("name", ALL)
def test_same_seed_gives_the_same_bytes_at_any_thread_count(name):
    images = sample(120, dtype=torch.float32)
    first = ALL[name](images, seeded(3))
    torch.set_num_threads(2)
    second = ALL[name](images, seeded(3))
    torch.set_num_threads(1)
    assert torch.equal(first, second)
    assert not torch.equal(ALL[name](images, seeded(4)), first)


@pytest.mark.parametrize("name", ALL)
def test_an_image_does_not_depend_on_the_rest_of_its_batch(name):
    images = sample(40)
    parameters = drawn(ALL[name], images)
    whole = ALL[name].apply(images, parameters)
    for rows in (slice(0, 1), slice(7, 20)):
        part = ALL[name].apply(images[rows], {key: values[rows] for key, values in parameters.items()})
        assert torch.equal(part, whole[rows])


@dataclass(frozen=True)
class OneDrawPerBatch:
    """The fault that batched augmentation invites: every image gets the first one's parameters."""

    transform: object

    def __call__(self, images, generator):
        parameters = drawn(self.transform, images, seed=generator.initial_seed())
        first = {name: values[:1].expand_as(values) for name, values in parameters.items()}
        return self.transform.apply(images, first)


def distinct_results(transform, n=64):
    """How many different pictures a batch of one repeated image becomes; the median of five seeds."""
    images = sample(8)[5:6].repeat(n, 1, 1, 1)
    counts = [len(transform(images, seeded(seed)).flatten(1).unique(dim=0)) for seed in range(5)]
    return sorted(counts)[2]


@pytest.mark.parametrize("name", ALL)
def test_each_image_has_a_draw_of_its_own(name):
    assert distinct_results(ALL[name]) >= (2 if name.endswith("flip") else 25)
    assert distinct_results(OneDrawPerBatch(ALL[name])) == 1  # the planted fault would be caught


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ALL)
def test_dtype_memory_format_and_input_are_preserved(name, dtype, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = sample(16, dtype=dtype).contiguous(memory_format=layout)
    before = images.clone()
    result = ALL[name](images, seeded())
    assert result.dtype == dtype
    assert result.shape == images.shape
    assert result.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)
    assert 0 <= result.min() <= result.max() <= (255 if dtype == torch.uint8 else 1)
    assert torch.equal(result, ALL[name](images.contiguous(), seeded()))


@pytest.mark.parametrize("name", ALL)
def test_one_channel_equals_the_same_in_three(name):
    grey = sample(32, channels=1)
    parameters = drawn(ALL[name], grey)
    one = ALL[name].apply(grey, parameters)
    three = ALL[name].apply(grey.expand(-1, 3, -1, -1).contiguous(), parameters)
    assert worst(one.expand_as(three), three) <= 1  # luma weights sum to 0.9999


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3)])
@pytest.mark.parametrize("name", ALL)
def test_tiny_images(name, shape):
    if name == "crop":
        with pytest.raises(ValueError, match="cannot reflect"):
            ALL[name](sample(4, height=shape[0], width=shape[1]), seeded())
        return
    result = ALL[name](sample(4, height=shape[0], width=shape[1]), seeded())
    assert result.shape == (4, 3, *shape)


@pytest.mark.parametrize("transform", [*ALL.values(), T.MixUp(0.3, 10), T.CutMix()], ids=repr)
def test_transforms_are_plain_data(transform):
    copy = type(transform)(**json.loads(json.dumps(asdict(transform))))
    assert copy == transform
    assert hash(copy) == hash(transform)
    assert repr(copy) == repr(transform)


# Distributions. Bounds are five standard errors, or p > 1e-6 with a fixed seed.


def test_flip_rate():
    n, p = 20_000, 0.3
    flips = T.RandomHorizontalFlip(p).draw(n, 8, 8, seeded())["flip"].sum().item()
    assert abs(flips - n * p) < 5 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("p", [0, 1])
def test_flip_probabilities_zero_and_one(p):
    images = sample()
    assert torch.equal(T.RandomHorizontalFlip(p)(images, seeded()), images.flip(3) if p else images)


def test_crop_corners_and_trivial_operations_and_jitter_orders_are_uniform():
    crop = T.RandomCrop(4).draw(20_000, 32, 32, seeded())
    cells = (crop["top"] + 4) * 9 + crop["left"] + 4
    trivial = T.TrivialAugment().draw(20_000, 32, 32, seeded())["operation"]
    order = JITTER.draw(20_000, 8, 8, seeded())["order"]
    orders = (order * torch.tensor([64, 16, 4, 1])).sum(1).unique(return_inverse=True)[1]
    for cell, count in ((cells, 81), (trivial, 14), (orders, 24)):
        counts = cell.bincount()
        assert len(counts) == count
        assert stats.chisquare(counts.numpy()).pvalue > 1e-6


def test_neighbours_in_a_batch_are_uncorrelated():
    angle = T.RandomAffine(30).draw(20_000, 32, 32, seeded())["angle"]
    correlation = torch.corrcoef(torch.stack([angle[:-1], angle[1:]]))[0, 1].abs().item()
    assert correlation < 5 / math.sqrt(20_000)


def test_affine_parameters_are_uniform_in_their_ranges():
    t = T.RandomAffine((-10, 30), (0.1, 0.25), (0.8, 1.1), (5, 7))
    drawn = t.draw(5_000, 40, 20, seeded())
    ranges = {
        "angle": (-10, 30),
        "right": (-2, 2),
        "down": (-10, 10),
        "scale": (0.8, 1.1),
        "shear_x": (-5, 5),
        "shear_y": (-7, 7),
    }
    for name, (low, high) in ranges.items():
        assert stats.kstest(drawn[name], "uniform", (low, high - low)).pvalue > 1e-6, name


def test_resized_crop_boxes_lie_inside_with_the_given_area_and_ratio():
    box = T.RandomResizedCrop((0.3, 0.6), (0.5, 2)).draw(5_000, 100, 80, seeded())
    assert (box["top"] >= 0).all()
    assert (box["left"] >= 0).all()
    assert (box["top"] + box["height"] <= 100).all()
    assert (box["left"] + box["width"] <= 80).all()
    area = box["height"] * box["width"] / 8_000
    ratio = box["width"] / box["height"]
    assert 0.29 < area.min() < 0.32
    assert 0.58 < area.max() < 0.61
    assert 0.48 < ratio.min() < 0.55
    assert 1.8 < ratio.max() < 2.05


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixing_weights_follow_the_beta_distribution(alpha):
    weight = T.MixUp(alpha).draw(5_000, 8, 8, seeded())["weight"]
    assert stats.kstest(weight, "beta", (alpha, alpha)).pvalue > 1e-6


# MixUp and CutMix.


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_mixup_is_the_weighted_sum_of_two_images_and_targets(dtype):
    images, labels = sample(dtype=dtype), torch.arange(48) % 7
    mix = T.MixUp(0.8, num_classes=7)
    p = mix.draw(48, HEIGHT, WIDTH, seeded())
    mixed, targets = mix.apply(images, labels, p)
    values = images.double() / (255 if dtype == torch.uint8 else 1)
    for i in range(48):
        w, j = p["weight"][i].item(), p["partner"][i].item()
        assert worst(mixed[i], w * values[i] + (1 - w) * values[j]) < 1e-6
        expected = torch.zeros(7)
        expected[labels[i]] += w
        expected[labels[j]] += 1 - w
        assert worst(targets[i], expected) < 1e-6
    assert mixed.dtype == targets.dtype == torch.float32
    assert p["weight"].unique().numel() > 40
    again = mix(images, labels, seeded())
    assert torch.equal(again[0], mixed)
    assert torch.equal(again[1], targets)


def test_cutmix_pastes_the_partners_part_and_counts_its_pixels():
    images, labels = sample(), torch.arange(48) % 7
    mix = T.CutMix(num_classes=7)
    p = mix.draw(48, HEIGHT, WIDTH, seeded())
    mixed, targets = mix.apply(images, labels, p)
    for i in range(48):
        j, top, left = (p[name][i].item() for name in ("partner", "top", "left"))
        bottom, right = top + p["height"][i].item(), left + p["width"][i].item()
        expected = images[i].clone()
        expected[:, top:bottom, left:right] = images[j, :, top:bottom, left:right]
        assert worst(mixed[i] * 255, expected) < 1e-4
        share = torch.zeros(HEIGHT, WIDTH)
        share[top:bottom, left:right] = 1
        target = torch.zeros(7)
        target[labels[i]] += 1 - share.mean()
        target[labels[j]] += share.mean()
        assert worst(targets[i], target) < 1e-6
    assert (p["height"] > 0).float().mean() > 0.8


def test_mixed_targets_mix_again():
    images, labels = sample(), torch.arange(48) % 7
    images, targets = T.MixUp(0.8, 7)(images, labels, seeded(1))
    images, targets = T.CutMix()(images, targets, seeded(2))
    assert worst(targets.sum(1), torch.ones(48)) < 1e-5


# apply and preview.


def test_apply_draws_for_one_transform_after_the_other():
    images, g = sample(), seeded(9)
    crop, flip = T.RandomCrop(4), T.RandomHorizontalFlip()
    expected = flip(crop(images, g), g)
    assert torch.equal(T.apply([crop, flip], images, seeded(9)), expected)
    assert T.apply([], images, seeded()) is images


def test_preview_shows_different_versions_of_one_image_and_repeats():
    image = sample()[3]
    shown = T.preview([T.RandomCrop(4), T.RandomHorizontalFlip()], image, count=9, seed=5)
    assert shown.shape == (9, 3, HEIGHT, WIDTH)
    assert len(shown.flatten(1).unique(dim=0)) > 6
    assert torch.equal(shown, T.preview([T.RandomCrop(4), T.RandomHorizontalFlip()], image, 9, 5))
    with pytest.raises(ValueError, match="one image of shape"):
        T.preview([], sample())


# Errors name the value and the choices.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.RandomCrop(-1), "padding must be a whole number of at least 0; got -1"),
        (lambda: T.RandomCrop(2.5), "padding must be a whole number"),
        (lambda: T.RandomCrop(4, "mirror"), "unknown mode 'mirror'; choose from constant, reflect, edge"),
        (lambda: T.RandomHorizontalFlip(1.5), "p must be a number between 0 and 1; got 1.5"),
        (lambda: T.RandomHorizontalFlip("half"), "got 'half'"),
        (lambda: T.RandomRotation((20, 10)), r"degrees must be \(low, high\)"),
        (lambda: T.RandomAffine(translate=1.2), "translate must be a number between 0 and 1; got 1.2"),
        (lambda: T.RandomAffine(shear=(1, 2, 3)), "shear must be one number or a pair"),
        (lambda: T.RandomAffine(scale=(0, 1)), "scale must be a number between 0.001"),
        (lambda: T.RandomResizedCrop(ratio=1.0), r"ratio must be a pair \(low, high\); got 1.0"),
        (lambda: T.RandomAffine(scale="big"), r"scale must be a pair \(low, high\); got 'big'"),
        (lambda: T.RandomResizedCrop(scale=(0.5, 1.5)), "scale must be a number between 1e-06 and 1; got 1.5"),
        (lambda: T.ColorJitter(hue=0.7), "hue must be a number between -0.5 and 0.5"),
        (lambda: T.ColorJitter(brightness=(0.5, 1, 2)), "brightness must be one number or a pair"),
        (lambda: T.MixUp(0), "alpha must be a number of at least 0.001; got 0"),
        (lambda: T.TrivialAugment("nearest"), "unknown mode 'nearest'"),
        (lambda: T.RandomCrop(8)(sample(height=8), seeded()), "cannot reflect 8 pixels of a 8 x 20 image"),
        (lambda: T.RandomCrop()(sample()[0], seeded()), r"add the batch axis with images\[None\]"),
        (lambda: T.ColorJitter(0, 0.5)(sample(channels=4), seeded()), "need 1 or 3 channels; the images have 4"),
        (lambda: T.MixUp()(sample(), torch.arange(48), seeded()), "give num_classes"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_whole_numbers_other_than_uint8_are_refused():
    with pytest.raises(TypeError, match=r"must be uint8, or float in \[0, 1\]; got torch.int64"):
        T.RandomCrop()(sample().long(), seeded())


def test_all_modes_are_listed_once():
    combinations = itertools.product((T.RandomCrop, T.RandomRotation), ("constant", "reflect", "edge"))
    assert all(make(3, mode=mode).mode == mode for make, mode in combinations)


@pytest.mark.parametrize("side", [5, 24, 40])
def test_resize_agrees_with_torchvision(side):
    from torchvision.transforms.v2 import functional as peer

    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ours, theirs = T.resize(images, side), peer.resize(images.float(), [side, side], antialias=True)
    assert ours.dtype == torch.uint8
    assert (ours.float() - theirs).abs().max() <= 0.5 + 1e-3  # rounded once
    torch.testing.assert_close(T.resize(images.float() / 255, side), theirs / 255)
    assert T.resize(images, 32) is images
