"""Duplicates stay on one side of every split that is drawn: planted copies, against the audit at the size in use."""

import shutil
import sys
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from imgcls import paths
from imgcls.data import audit, class_counts, load, workers
from imgcls.data.groups import find_groups
from imgcls.data.splits import divide

COPIES = {
    "exact": lambda image: image,
    "resized": lambda image: image.resize((75, 75), Image.Resampling.BICUBIC),
    "mirrored": ImageOps.mirror,
    "encoded": lambda image: image,  # as a JPEG of quality 60
    "gray": lambda image: image.convert("L"),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


@cache
def structured(seed: int, size: int = 96) -> Image.Image:
    """A random image with structure at every scale and more light than colour, like a photograph."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for n in (2, 4, 8, 16, 32):
        light, colour = (torch.rand(1, channels, n, n, generator=generator) for channels in (1, 3))
        layers.append(torch.nn.functional.interpolate(0.75 * light + 0.25 * colour, size, mode="bilinear")[0])
    return Image.fromarray((torch.stack(layers).mean(dim=0) * 255).byte().permute(1, 2, 0).numpy())


def save(path, image, quality=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality) if quality else image.save(path)


def plant(folder, classes=("cat", "dog"), count=16, copied=3, prefix=""):
    """Class folders of different images; the first few of each also as one copy of every kind."""
    for k, name in enumerate(classes):
        for i in range(count):
            image = structured(1000 * k + i)
            save(folder / prefix / name / f"{i:02}.png", image)
            for kind, change in COPIES.items() if i < copied else ():
                ending, quality = ("jpg", 60) if kind == "encoded" else ("png", None)
                save(folder / prefix / name / f"{i:02}-{kind}.{ending}", change(image), quality)
    return folder


def picture_of(name: str) -> str:
    """What an image of `plant` shows, such as cat/03."""
    return name.rpartition(".")[0].partition("-")[0]


def names(splits):
    return [set(split.names) for _, split in splits.items()]


def test_planted_copies_are_on_one_side_at_every_size_and_seed(tmp_path):
    folder = plant(tmp_path / "set")
    for seed in range(4):
        divided = {size: load(folder, image_size=size, seed=seed) for size in (32, 64, 128)}
        for splits in divided.values():
            assert splits.duplicate_groups == 6
            assert audit(splits).across() == ()
            assert names(splits) == names(divided[32])  # the size has no influence
        assert names(load(folder, image_size=64, channels=1, seed=seed)) == names(divided[32])
        shown = [{picture_of(name) for name in part} for part in names(divided[32])]
        assert sum(map(len, shown)) == len(set.union(*shown)) == 32
    assert audit(load(folder, image_size=64, channels=1)).across() == ()


def test_the_audit_sees_the_planted_copies_where_they_are(tmp_path):
    """The measure is not blind to what the split keeps together."""
    folder = plant(tmp_path / "set")
    splits = load(folder, image_size=64)
    pairs = audit(splits).pairs
    assert {picture_of(pair.first) for pair in pairs} == {f"{name}/{i:02}" for name in ("cat", "dog") for i in range(3)}
    assert all(picture_of(pair.first) == picture_of(pair.second) for pair in pairs)
    for pair in pairs:
        assert pair.mirrored == (("mirrored" in pair.first) != ("mirrored" in pair.second))
    assert any(pair.mirrored for pair in pairs)


def test_a_given_test_split_keeps_its_files_and_its_leak_is_reported(tmp_path):
    folder = plant(tmp_path / "set", prefix="train")
    for k, name in enumerate(("cat", "dog")):
        save(folder / "test" / name / "copy.png", ImageOps.mirror(structured(1000 * k + 2)))
        save(folder / "test" / name / "twin.png", ImageOps.mirror(structured(1000 * k + 2)))
        save(folder / "test" / name / "own.png", structured(5000 + k))
    splits = load(folder, image_size=48)
    assert set(splits.test.names) == {
        f"test/{name}/{i}.png" for name in ("cat", "dog") for i in ("copy", "twin", "own")
    }
    assert splits.duplicate_groups == 6  # those of test are not divided
    found = {pair.splits for pair in audit(splits).across()}
    assert ("train", "val") not in found
    assert found


def test_nothing_is_compared_where_nothing_is_drawn(tmp_path):
    for part in ("train", "val", "test"):
        plant(tmp_path / "set", count=2, copied=1, prefix=part)
    assert load(tmp_path / "set", image_size=16).duplicate_groups == 0
    assert not list(paths.CACHE.glob("*-32-3"))


def test_without_duplicates_the_split_is_that_of_the_names_alone(tmp_path):
    """The names were recorded before duplicates were looked for."""
    for k, name in enumerate("abc"):
        for i in range(12):
            save(tmp_path / "set" / name / f"{i:03}.png", structured(100 * k + i, size=40))
    splits = load(tmp_path / "set", image_size=16, seed=3)
    assert splits.duplicate_groups == 0
    assert set(splits.val.names) == {"a/011.png", "b/010.png", "c/006.png"}
    assert set(splits.test.names) == {f"{name}.png" for name in ("a/000", "a/009", "b/001", "b/009", "c/000", "c/007")}


def test_the_groups_are_found_once(tmp_path, monkeypatch):
    folder = plant(tmp_path / "set", count=6, copied=2)
    first = load(folder, image_size=16)
    (file,) = paths.CACHE.glob("*-32-3/duplicates.json")

    def refuse(*_):
        raise AssertionError("compared again")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["imgcls.data.load"], "find_groups", refuse)
        patch.setattr(workers, "decode_into", refuse)
        assert names(load(folder, image_size=16)) == names(first)
        assert names(load(folder, image_size=16, seed=1)) != names(first)
        for damaged in ('{"format": 0, "groups": []}', '{"form', "[]"):
            file.write_text(damaged)
            with pytest.raises(AssertionError, match="compared again"):
                load(folder, image_size=16)
    shutil.rmtree(file.parent)
    assert names(load(folder, image_size=16)) == names(first)


def test_a_class_of_copies_of_one_picture_stays_whole(tmp_path):
    folder = plant(tmp_path / "set", copied=0)
    for i in range(10):
        save(folder / "fox" / f"{i}.png", structured(9000))
    counts = class_counts(load(folder, image_size=32)).loc["fox"]
    assert counts.to_dict() == {"train": 10, "val": 0, "test": 0}
    for i in range(10, 20):
        save(folder / "fox" / f"{i}.png", structured(9001))
    assert sorted(class_counts(load(folder, image_size=32)).loc["fox"]) == [0, 10, 10]
    for i in range(20, 30):
        save(folder / "fox" / f"{i}.png", structured(9002))
    assert sorted(class_counts(load(folder, image_size=32)).loc["fox"]) == [10, 10, 10]


def test_a_group_over_two_classes_stays_together_and_labels_conflict(tmp_path):
    folder = plant(tmp_path / "set", copied=0)
    for i in range(6):
        save(folder / "dog" / f"cat-{i}.jpg", structured(i), quality=60)
    for seed in range(4):
        splits = load(folder, image_size=32, seed=seed)
        assert splits.duplicate_groups == 6
        result = audit(splits)
        assert result.across() == ()
        assert sum(not pair.same_label for pair in result.pairs) == 6
    assert load(folder, image_size=32, classes=["dog"]).duplicate_groups == 0


def test_a_chain_of_duplicates_is_one_group():
    images = torch.stack([torch.from_numpy(np.asarray(structured(i, 32)).copy()).permute(2, 0, 1) for i in range(12)])
    far = images[3].float() * 0.7 + images[9].float() * 0.3  # between two pictures
    images[5] = far.byte()
    groups = find_groups(torch.cat([images, images[3:4].flip(3), images[5:6].flip(3)]))
    assert [3, 5, 12, 13] in groups


def test_thousands_of_copies_are_one_group_and_blocks_do_not_matter(monkeypatch):
    pictures = [torch.from_numpy(np.asarray(structured(i, 32)).copy()).permute(2, 0, 1) for i in range(40)]
    images = torch.stack(pictures)
    noise = torch.randint(-3, 4, (300, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    images = torch.cat([images, (images[7] + noise).clamp(0, 255).byte()])
    expected = [[7, *range(40, 340)]]
    assert find_groups(images) == expected
    monkeypatch.setattr("imgcls.data.similarity.BLOCK", 23)
    assert find_groups(images) == expected
    assert find_groups(images[:0]) == []


# ------------------------------------------------------------------ dividing


def share(counts: dict[str, list[int]], seed: int = 0, given: str | None = None) -> dict[str, dict[str, list[str]]]:
    """Divide classes whose groups have these numbers of images; returns the groups' names of each split and class."""
    prefix = "train/" if given else ""
    groups = [
        [f"{prefix}{name}/{g}-{i}.png" for i in range(size)]
        for name, sizes in counts.items()
        for g, size in enumerate(sizes)
    ]
    names = [name for group in groups for name in group]
    names += [f"{given}/{name}/x.png" for name in counts if given]
    parts = divide(names, tuple(counts), seed, 0.1, 0.15, "here", [group for group in groups if len(group) > 1])
    return {
        split: {name: sorted({names[i].rpartition("-")[0] for i in rows}) for name, rows in by_class.items()}
        for split, by_class in parts.items()
    }


@pytest.mark.parametrize("sizes", [[5, 5, 5], [1, 1, 11], [1, 5, 9], [2] * 10, [40, 1, 1, 1], [1] * 20 + [10] * 3])
def test_each_split_has_a_group_of_each_class_and_no_group_is_torn(sizes):
    for seed in range(10):
        parts = share({"a": sizes, "b": [1] * 30}, seed)
        groups = [set(by_class["a"]) for by_class in parts.values()]
        assert all(groups)
        assert sum(map(len, groups)) == len(set.union(*groups)) == len(sizes)
    parts = share({"a": sizes[:2], "b": [1] * 30}, given="test")
    assert parts["train"]["a"]
    assert parts["val"]["a"]


def test_a_large_group_does_not_fill_a_split():
    for seed in range(10):
        parts = share({"a": [12] + [1] * 88, "b": [1] * 100}, seed)
        assert "a/0" in parts["train"]["a"]
        assert [len(parts[split]["a"]) for split in ("val", "test")] == [10, 15]
