import ctypes
import platform
import re
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from imgcls import transforms as T
from imgcls.data.batches import balanced_weights, batches, order, weighted_order
from imgcls.models import Normalize
from imgcls.reproducibility import generator
from imgcls.training import Distributed, Recipe, steps_per_epoch, train_batches

AUGMENT = (T.RandomCrop(2), T.RandomHorizontalFlip(), T.ColorJitter(0.3))


def stream(split, seed=3, epoch=2, start=0, world=None, **recipe):
    """(images, labels) of an epoch; every image, in batches of 16, unless the recipe has it otherwise."""
    recipe = Recipe(**{"batch_size": 16, "drop_last": False} | recipe)
    return ((x, y) for x, y, *_ in train_batches(split, recipe, seed, epoch, start, world))


def numbered(n=50, size=8, dtype=torch.int64):
    """Image i is filled with the level i, so that an image tells which row it came from."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, size, size).contiguous()
    return SimpleNamespace(images=images, labels=(torch.arange(n) * 3 % 7).to(dtype))


def noisy(n=50):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 8, 8), generator=g, dtype=torch.uint8)
    return SimpleNamespace(images=images, labels=torch.arange(n))


def rows(stream):
    return [images[:, 0, 0, 0].tolist() for images, _ in stream]


def same(first, second):
    pairs = list(zip(first, second, strict=True))
    return all(torch.equal(a, b) for left, right in pairs for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_visits_every_image_once_with_its_own_label(drop_last):
    epoch = list(stream(numbered(), seed=1, epoch=0, drop_last=drop_last))
    assert [len(images) for images, _ in epoch] == [16, 16, 16] + [2] * (not drop_last)
    assert len(epoch) == steps_per_epoch(50, Recipe(batch_size=16, drop_last=drop_last))
    seen = list(chain.from_iterable(rows(epoch)))
    assert len(set(seen)) == len(seen)
    assert seen == order(50, 1, 0)[: len(seen)].tolist()
    for images, labels in epoch:
        assert torch.equal(labels, images[:, 0, 0, 0].long() * 3 % 7)


def test_order_is_a_permutation_that_changes_with_seed_and_epoch():
    orders = [order(1000, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(torch.equal(o.sort().values, torch.arange(1000)) for o in orders)
    # two independent permutations agree in about one place
    for i, first in enumerate(orders):
        for second in orders[i + 1 :]:
            assert (first == second).sum() < 10
    assert torch.equal(orders[0], order(1000, 0, 0))


def test_same_key_same_bytes_whatever_was_drawn_elsewhere():
    torch.manual_seed(1)
    first = list(stream(noisy(), transforms=AUGMENT))
    torch.manual_seed(2)
    torch.rand(100)
    second = list(stream(noisy(), transforms=AUGMENT))
    assert same(first, second)
    state = torch.get_rng_state()
    list(stream(noisy(), transforms=AUGMENT))
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"


@pytest.mark.parametrize("options", [{}, {"balanced_sampling": True}, {"batch_mix": T.CutMix(1.0, num_classes=50)}])
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_resuming_at_a_step_gives_exactly_the_remaining_batches(start, options):
    whole = list(stream(noisy(), transforms=AUGMENT, **options))
    rest = list(stream(noisy(), start=start, transforms=AUGMENT, **options))
    assert len(rest) == 4 - start
    assert same(rest, whole[start:])


def test_a_generator_shared_by_all_steps_would_be_caught():
    """The fault that resume tests are for: draws that follow from the steps before."""

    def faulty(start):
        g = torch.Generator().manual_seed(0)
        return [(T.apply(AUGMENT, images, g), labels) for images, labels in stream(noisy(), start=start)]

    assert not same(faulty(1), faulty(0)[1:])


def test_steps_epochs_and_seeds_augment_differently():
    split = SimpleNamespace(images=noisy(1).images.repeat(64, 1, 1, 1), labels=torch.zeros(64))
    crops = [
        images
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
        for images, _ in stream(split, seed, epoch, batch_size=32, transforms=(T.RandomCrop(4),))
    ]
    assert not any(torch.equal(a, b) for i, a in enumerate(crops) for b in crops[i + 1 :])


def test_seeds_of_mixing_do_not_change_with_a_name():
    """Renaming a field of the recipe once changed the key of these draws, and with it every result."""
    split = noisy(16)
    mixup = T.MixUp(1.0, num_classes=16)
    images, labels, targets, _ = next(train_batches(split, Recipe(batch_size=16, batch_mix=mixup), seed=3, epoch=2))
    plain = split.images[order(16, 3, 2)]
    expected = mixup(plain, labels, generator(3, "mix", 2, 0))
    assert torch.equal(images, expected[0])
    assert torch.equal(targets, expected[1])


def test_batches_are_views_in_order_with_labels_as_int64():
    split = numbered()
    found = list(batches(split, 16))
    assert list(chain.from_iterable(rows(found))) == list(range(50))
    for step, (images, labels) in enumerate(found):
        assert images.data_ptr() == split.images[step * 16].data_ptr()
        assert labels.data_ptr() == split.labels[step * 16 :].data_ptr()
    small = numbered(dtype=torch.uint8)
    assert {labels.dtype for _, labels in (*batches(small, 16), *stream(small))} == {torch.int64}
    assert {images.device.type for images, _ in batches(split, 16, "meta")} == {"meta"}


class Watched:
    """A tensor that counts the rows taken from it."""

    def __init__(self, tensor):
        self.tensor, self.taken = tensor, []
        self.shape, self.device = tensor.shape, tensor.device

    def __len__(self):
        return len(self.tensor)

    def index_select(self, dim, index):
        self.taken.append(len(index))
        return self.tensor.index_select(dim, index)


def test_a_memory_map_is_read_one_batch_at_a_time(tmp_path):
    split = numbered()
    np.save(tmp_path / "images.npy", split.images.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    key = {"seed": 0, "epoch": 0, "transforms": AUGMENT}
    assert same(stream(SimpleNamespace(images=mapped, labels=split.labels), **key), stream(split, **key))

    watched = Watched(mapped)
    rest = stream(SimpleNamespace(images=watched, labels=split.labels), start=1, **key)
    next(rest)
    assert watched.taken == [16]  # neither the skipped step nor the next one
    next(rest)
    assert watched.taken == [16, 16]


def anonymous_memory():
    """Bytes of this process that no file stands behind; what is read through a memory map does not count."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux what the memory is used for")
def test_data_larger_than_the_room_for_it_stream_through_the_memory_map(tmp_path):
    """A gigabyte is measured, shuffled and augmented in less than a tenth of that; reading it whole is caught."""
    n = (1 << 30) // (3 * 64 * 64)
    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (n, 3, 64, 64))  # sparse: all zeros
    images[-1] = 255
    del images
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    split = SimpleNamespace(images=mapped, labels=torch.zeros(n, dtype=torch.int64))
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)  # else what earlier tests have freed would be taken again unseen
    epoch = partial(stream, batch_size=512, transforms=(T.RandomHorizontalFlip(),))
    few = SimpleNamespace(images=mapped[:4096], labels=split.labels[:4096])
    assert len(list(epoch(few))) == 8  # what this kind of work takes and keeps at any size
    before = most = anonymous_memory()
    normalize = Normalize().fit(mapped)
    assert normalize.mean.tolist() == pytest.approx([1 / n] * 3)
    for i, _ in enumerate(epoch(split)):
        most = max(most, anonymous_memory()) if i % 10 == 0 else most
    assert i == n // 512
    assert most - before < 100 << 20
    kept = mapped.clone()  # the fault: everything in memory at once
    assert anonymous_memory() - before > len(kept) * 3 * 64 * 64 // 2


def test_images_are_moved_before_they_are_augmented():
    seen = []

    def spy(images, generator):
        seen.append((images.device.type, generator.device.type))
        return images

    images, labels = next(stream(numbered(), world=Distributed(torch.device("meta")), transforms=(spy,)))
    assert seen == [("meta", "cpu")]
    assert images.device.type == labels.device.type == "meta"


def test_balanced_weights_make_rare_classes_as_frequent_as_common_ones():
    labels = torch.cat([torch.zeros(3600), torch.ones(360), torch.full((40,), 3)]).long()
    weights = balanced_weights(labels)
    assert weights.sum().item() == pytest.approx(1)
    split = SimpleNamespace(images=torch.zeros(4000, 1, 1, 1, dtype=torch.uint8), labels=labels)
    drawn = torch.cat([y for _, y in stream(split, 0, 0, batch_size=100, balanced_sampling=True)])
    counts = drawn.bincount()
    assert counts[2] == 0
    assert stats.chisquare(counts[[0, 1, 3]].numpy()).pvalue > 1e-6
    plain = torch.cat([y for _, y in stream(split, 0, 0, batch_size=100)]).bincount()
    assert stats.chisquare(plain[[0, 1, 3]].numpy()).pvalue < 1e-6  # the test can tell


def test_weighted_order_follows_the_weights_and_never_draws_a_zero():
    weights = torch.tensor([0, 1, 2, 3, 0, 4.0]).repeat(1000)
    counts = (weighted_order(weights, 0, 0) % 6).bincount(minlength=6)
    assert counts[0] == counts[4] == 0
    expected = torch.tensor([600, 1200, 1800, 2400])
    assert stats.chisquare(counts[[1, 2, 3, 5]].numpy(), expected.numpy()).pvalue > 1e-6
    assert not torch.equal(weighted_order(weights, 0, 0), weighted_order(weights, 0, 1))


def test_an_epoch_without_a_batch_or_with_missing_labels_is_refused():
    with pytest.raises(ValueError, match="50 images are fewer than one batch of 51: lower batch_size"):
        steps_per_epoch(50, Recipe(batch_size=51))
    split = SimpleNamespace(images=numbered().images, labels=torch.zeros(49))
    with pytest.raises(ValueError, match="50 images but 49 labels"):
        next(stream(split))


def test_alternating_flips_show_every_image_both_ways_in_two_epochs():
    split = noisy(40)

    def shown(epoch):
        found = stream(split, epoch=epoch, alternating_flip=True)
        return {int(label): image for images, labels in found for image, label in zip(images, labels, strict=True)}

    first, second, third = (shown(epoch) for epoch in range(3))
    flipped = [not torch.equal(first[i], split.images[i]) for i in range(40)]
    assert 8 < sum(flipped) < 32
    for i in range(40):
        assert torch.equal(second[i], first[i].flip(2))
        assert torch.equal(third[i], first[i])


def test_a_shard_is_flipped_resized_and_mixed_as_the_whole_batch_is():
    split, options = noisy(32), {"alternating_flip": True, "resolution_schedule": ((1, 5),)}
    for batch_mix in (None, T.MixUp(0.4, num_classes=32)):
        options["batch_mix"] = batch_mix
        whole = torch.cat([images for images, _ in stream(split, **options)])
        halves = [stream(split, world=Distributed(torch.device("cpu"), rank, 2), **options) for rank in range(2)]
        shared = torch.cat([torch.cat([a[0], b[0]]) for a, b in zip(*halves, strict=True)])
        assert whole.shape == (32, 3, 5, 5)
        assert torch.equal(whole, shared)
