import io
import json
import os
import stat
import sys
import tarfile
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import imgcls.data
import menagerie
from course.datasets import concat_classes, export, generated_checks
from course.mistakes import imbalanced
from imgcls import paths, progress
from imgcls.data import DataError, Split, Splits, UnknownDataset, generated, load, similarity, sources, workers
from imgcls.data import cache as decoded
from imgcls.data.decoding import RESIZE, RESIZES, Undecodable
from imgcls.data.generated import grayscale


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


def picture(key: str, size=(20, 16)) -> bytes:
    """A lossless picture that depends on the key alone."""
    rng = np.random.default_rng(list(key.encode()))
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def pictures(*folders: str, count=6, **options) -> dict[str, bytes]:
    return {f"{folder}/{i:03d}.png": picture(f"{folder}/{i}", **options) for folder in folders for i in range(count)}


def as_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def as_zip(path: Path, files: dict[str, bytes], compression=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def as_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def skipped(splits: Splits) -> dict[str, str]:
    return {entry.name: entry.reason for entry in splits.skipped}


def names(splits: Splits) -> list[set[str]]:
    return [set(split.names) for _, split in splits.items()]


# ------------------------------------------------------------------ reading in place


def test_folder_zip_and_tar_give_the_same_data_set(tmp_path):
    files = pictures("pets/train/cat", "pets/train/dog", "pets/test/cat", "pets/test/dog")
    loaded = [
        load(as_folder(tmp_path / "folder", files), image_size=12),
        load(as_zip(tmp_path / "a.zip", files), image_size=12, cache=tmp_path / "other"),
        load(as_zip(tmp_path / "b.zip", dict(reversed(files.items())), zipfile.ZIP_STORED), image_size=12),
        load(as_tar(tmp_path / "a.tar", files), image_size=12, cache=tmp_path / "third"),
        load(as_tar(tmp_path / "a.tar.gz", files), image_size=12, cache=tmp_path / "fourth"),
    ]
    assert len({splits.fingerprint for splits in loaded}) == 1
    for splits in loaded:
        assert (splits.kind, splits.classes, splits.skipped) == ("real", ("cat", "dog"), ())
        for (_, one), (_, other) in zip(splits.items(), loaded[0].items(), strict=True):
            assert one.names == other.names
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
    assert str(paths.CACHE / loaded[0].fingerprint) + "-12-3" in {str(path) for path in paths.CACHE.iterdir()}


def test_images_are_the_centre_squares_with_their_labels_and_sizes(tmp_path):
    files = pictures("cat", "dog", size=(24, 18))
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=9)
    for _, split in splits.items():
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert split.masks is None
        for image, label, name, size in zip(split.images, split.labels, split.names, split.sizes, strict=True):
            oracle = ImageOps.fit(Image.open(io.BytesIO(files[name])), (9, 9), Image.Resampling.BICUBIC)
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(oracle))
            assert splits.classes[label] == name.split("/")[0]
            assert size.tolist() == [24, 18]


def test_grey_is_what_pillow_makes_of_it(tmp_path):
    files = pictures("cat", "dog", size=(8, 8))
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=8, channels=1)
    assert splits.train.images.shape[1:] == (1, 8, 8)
    for image, name in zip(splits.train.images, splits.train.names, strict=True):
        assert np.array_equal(image[0].numpy(), np.asarray(Image.open(io.BytesIO(files[name])).convert("L")))


def test_generated_grayscale_has_the_same_weights():
    colours = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    oracle = Image.fromarray(colours[0].permute(1, 2, 0).numpy()).convert("L")
    assert np.array_equal(grayscale(colours)[0, 0].numpy(), np.asarray(oracle))


@pytest.mark.parametrize("wrapper", ["", "data/", "a/b/c/", "./", "data\\"])
def test_any_single_wrapper_folder_is_stripped(tmp_path, wrapper):
    files = {wrapper + name: data for name, data in pictures("cat", "dog").items()}
    files[f"{wrapper}README.txt"] = b"about"
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=8)
    assert splits.classes == ("cat", "dog")
    assert all(name.split("/")[0] in splits.classes for name in splits.train.names)
    (reason,) = skipped(splits).values()
    assert reason == "in no class folder, so it has no label"


def test_several_processes_give_what_one_gives(tmp_path, monkeypatch):
    files = pictures("cat", "dog", count=200) | {"cat/broken.jpg": b"\xff\xd8\xff"}
    path = as_zip(tmp_path / "a.zip", files)
    one = load(path, image_size=8)
    monkeypatch.setattr(workers, "IN_PROCESS", 0)
    monkeypatch.setattr(workers, "CHUNK_FILES", (3, 3))
    many = load(path, image_size=8, cache=tmp_path / "other")
    assert torch.equal(one.train.images, many.train.images)
    assert skipped(many) == skipped(one) == {"cat/broken.jpg": "damaged or truncated JPEG header"}


def test_a_decoding_process_that_dies_stops_the_load_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "decoding.py").write_text("import sys; sys.exit('no memory')")
    monkeypatch.setattr(workers, "IN_PROCESS", 0)
    monkeypatch.setattr(workers, "CHUNK_FILES", (1, 1))  # or this process would have them all
    monkeypatch.setattr(workers.decoding, "__file__", str(tmp_path / "decoding.py"))
    with pytest.raises(RuntimeError, match="ended with code 1: no memory"):
        load(as_zip(tmp_path / "a.zip", pictures("cat", "dog", count=300)), image_size=8)
    assert list(paths.CACHE.iterdir()) == []


# ------------------------------------------------------------------ what is left out


def test_junk_is_ignored_and_every_other_stranger_is_named(tmp_path):
    files = pictures("set/train/cat", "set/train/dog") | {
        "__MACOSX/set/train/cat/._000.png": b"x",
        "set/train/.DS_Store": b"x",
        "set/train/cat/Thumbs.db": b"x",
        "set/labels.csv": b"name,class",
        "set/train/cat/notes.txt": b"a note",
        "set/train/cat/page.jpg": b"<html></html>",
        "set/train/dog/empty.png": b"",
        "set/train/unlabelled.png": picture("u"),
        "set/train/cat/boxes/000.xml": b"<?xml",
    }
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=8)
    assert skipped(splits) == {
        "set/labels.csv": "outside the split folders train",
        "set/train/cat/notes.txt": "not an image but text",
        "set/train/cat/page.jpg": "not an image but an HTML page",
        "set/train/dog/empty.png": "zero bytes",
        "set/train/unlabelled.png": "in no class folder, so it has no label",
        "set/train/cat/boxes/000.xml": "not a picture, and deeper than the class folders",
    }
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 12


def test_unsafe_and_odd_archive_members_are_left_out(tmp_path):
    files = pictures("cat", "dog")
    files |= {"/etc/cat/1.png": picture("1"), "../cat/2.png": picture("2"), "C:\\cat\\3.png": picture("3")}
    path = as_zip(tmp_path / "a.zip", files)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("cat/000.png", picture("again"))
    splits = load(path, image_size=8)
    assert skipped(splits) == {
        "/etc/cat/1.png": "absolute path in the archive",
        "../cat/2.png": "path leads out of the archive (..)",
        "C:\\cat\\3.png": "absolute path in the archive",
        "cat/000.png": "name occurs twice in the archive; the first one counts",
    }
    tar = as_tar(tmp_path / "a.tar", pictures("cat", "dog") | {"../../cat/2.png": picture("2")})
    with tarfile.open(tar, "a") as archive:
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert skipped(load(tar, image_size=8)) == {
        "../../cat/2.png": "path leads out of the archive (..)",
        "cat/link.png": "a link or device, not a file",
    }


def test_a_member_with_a_wrong_checksum_is_left_out(tmp_path):
    path = as_zip(tmp_path / "a.zip", pictures("cat", "dog"), zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 10] ^= 1
    path.write_bytes(data)
    ((name, reason),) = skipped(load(path, image_size=8)).items()
    assert (name, reason[:22]) == ("cat/000.png", "damaged in the archive")


def test_files_too_large_and_unreadable_are_left_out(tmp_path, monkeypatch):
    root = as_folder(tmp_path / "set", pictures("cat", "dog") | {"cat/large.png": bytes(3000)})
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 2000)
    assert "MB allowed for one file" in skipped(load(root, image_size=8))["cat/large.png"]
    (root / "cat/dangling.png").symlink_to(root / "nowhere")
    assert skipped(load(root, image_size=8))["cat/dangling.png"] == "cannot be read: No such file or directory"


def test_links_in_a_folder_are_followed_and_loops_are_not(tmp_path):
    elsewhere = as_folder(tmp_path / "elsewhere", pictures("dog"))
    root = as_folder(tmp_path / "set", pictures("cat"))
    (root / "dog").symlink_to(elsewhere / "dog")
    (root / "cat/loop").symlink_to(root)
    assert load(root, image_size=8).classes == ("cat", "dog")


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (pictures("a/x/cat", "b/x/cat"), "2 level.s. deeper than expected; the layout must be class/image or split"),
        (pictures("train/x/cat", "train/y/dog", "test/x/dog"), "'train/x/cat/000.png' is 1 level"),
        ({"1.png": picture("1"), "2.png": picture("2")}, "no pictures in class folders .found only '1.png', '2.png'"),
        ({}, "found no file"),
        (pictures("cat", "dog") | {"fox/1.jpg": b""}, "no image of class 'fox' can be decoded .fox/1.jpg: zero bytes"),
        (pictures("train/cat", "test/cat", "test/fox"), "class 'fox' has no image to train on"),
    ],
)
def test_unusable_layouts_stop_with_the_reason(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        load(as_zip(tmp_path / "a.zip", files), image_size=8)


def test_files_that_are_no_archive_and_torn_archives(tmp_path):
    for name, content, what in [
        ("a.jpg", picture("a"), "one picture .*; classes are folders: give the folder or archive"),
        ("data.yaml", b"path: photos\n", "a text file; classes are folders"),
        ("none.zip", b"", "an empty file"),
        ("a.bin", b"abc", "neither a folder nor a whole zip or tar"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is {what}"):
            load(tmp_path / name)
    torn = as_zip(tmp_path / "a.zip", pictures("cat", "dog"))
    torn.write_bytes(torn.read_bytes()[:-200])
    with pytest.raises(DataError, match="download cut short"):
        load(torn)
    torn = as_tar(tmp_path / "a.tar.gz", pictures("cat", "dog"))
    torn.write_bytes(torn.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"cannot be read: .*fetch or pack it again"):
        load(torn)


def test_unknown_names_say_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownDataset, match="'menagerie/cifar_tem'; did you mean 'menagerie/cifar_ten'"):
        load("menagerie/cifar_tem")
    with pytest.raises(
        UnknownDataset,
        match=r"unknown data set 'cifra10'; did you mean 'cifar10'\?\n.*class/image.*\n.*imgcls data list",
    ):
        load("cifra10")
    with pytest.raises(UnknownDataset, match=r"unknown data set 'xyz'; choose from menagerie/.*, cifar10\n"):
        load("xyz")
    with pytest.raises(UnknownDataset, match=f"no folder or archive at {tmp_path}/pets.zip"):
        load("pets.zip")
    (tmp_path / "holiday").mkdir()
    for name in ("holyday", f"{tmp_path}/holidays"):
        with pytest.raises(UnknownDataset, match=r"; did you mean 'holiday'\?"):
            load(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "image_size must be a positive whole number"),
        ({"image_size": 32.0}, "image_size must be a positive whole number"),
        ({"channels": 2}, "channels must be 3 .RGB. or 1"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "sum below 1"),
        ({"train_count": 0}, r"train_count \(--max-train-images\) must be at least 1"),
        ({"train_count": 1}, "fewer than the 2 classes"),
        ({"classes": ["cta"]}, "no class 'cta'; did you mean 'cat'"),
        ({"classes": ["doog"]}, "no class 'doog'; did you mean 'dog'"),
        ({"classes": ["xyz"]}, "no class 'xyz'; choose from cat, dog"),
        ({"classes": []}, "at least one class"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, message):
    path = as_zip(tmp_path / "a.zip", pictures("cat", "dog"))
    with pytest.raises(DataError, match=message):
        load(path, **{"image_size": 8, **arguments})


# ------------------------------------------------------------------ splits


def test_a_given_test_split_is_never_touched(tmp_path):
    files = pictures("Train/Arctic Fox", "Train/Elephant", count=20) | pictures("Test/Arctic Fox", "Test/Elephant")
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=8)
    train, val, test = names(splits)
    assert test == {name for name in files if name.startswith("Test/")}
    assert train | val == {name for name in files if name.startswith("Train/")}
    assert not train & val
    assert torch.bincount(splits.val.labels).tolist() == [2, 2]


@pytest.mark.parametrize("word", ["val", "valid", "validation", "VALID"])
def test_given_validation_images_stay_so_and_test_comes_from_train(tmp_path, word):
    files = pictures("train/a", "train/b", count=20) | pictures(f"{word}/a", f"{word}/b")
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=8)
    train, val, test = names(splits)
    assert val == {name for name in files if name.startswith(word)}
    assert torch.bincount(splits.test.labels).tolist() == [3, 3]
    assert train | test == {name for name in files if name.startswith("train/")}
    assert not train & test


def test_no_split_at_all_is_divided_in_three_stratified(tmp_path):
    files = pictures("a", count=40) | pictures("b", count=80)
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=8, val_fraction=0.1, test_fraction=0.2)
    assert imgcls.data.class_counts(splits).to_dict("index") == {
        "a": {"train": 28, "val": 4, "test": 8},
        "b": {"train": 56, "val": 8, "test": 16},
    }
    assert set.union(*names(splits)) == set(files)


def test_the_split_depends_on_seed_and_names_alone(tmp_path):
    files = pictures("a", "b", "c", count=20)
    first = load(as_zip(tmp_path / "a.zip", files), image_size=8, seed=3)
    shuffled = load(as_folder(tmp_path / "f", dict(reversed(files.items()))), image_size=8, seed=3)
    other = load(tmp_path / "a.zip", image_size=8, seed=4)
    assert names(first) == names(shuffled)
    assert names(first) != names(other)
    fewer = load(tmp_path / "a.zip", image_size=8, seed=3, classes=["c", "a"])
    assert fewer.classes == ("c", "a")
    for part, kept in zip(names(first), names(fewer), strict=True):
        assert kept == {name for name in part if name[0] != "b"}
    for _, split in fewer.items():
        assert all("ca".index(name[0]) == label for name, label in zip(split.names, split.labels, strict=True))


def test_small_classes_keep_an_image_to_train_on(tmp_path):
    files = pictures("a", count=1) | pictures("b", count=2) | pictures("c", count=3)
    counts = imgcls.data.class_counts(load(as_zip(tmp_path / "a.zip", files), image_size=8))
    assert counts.to_numpy().tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 1]]


def test_caps_are_stratified_exact_and_nested(tmp_path):
    files = pictures("a", count=50) | pictures("b", count=25) | pictures("c", count=4)
    path = as_zip(tmp_path / "a.zip", files)
    caps = {count: load(path, image_size=8, train_count=count, test_count=4) for count in (3, 10, 30)}
    for count, splits in caps.items():
        assert len(splits.train) == count
        assert len(splits.test) == 4
        assert len(splits.val) == len(load(path, image_size=8).val)
    assert torch.bincount(caps[30].train.labels).tolist() == [19, 10, 1]
    assert torch.bincount(caps[3].train.labels).tolist() == [1, 1, 1]
    assert set(caps[3].train.names) < set(caps[10].train.names) < set(caps[30].train.names)
    whole = load(path, image_size=8, train_count=10**6)
    assert set(whole.train.names) == set(load(path, image_size=8).train.names)


# ------------------------------------------------------------------ the cache


def refuse(*_, **__):
    raise AssertionError("decoded again")


def test_the_second_load_maps_the_cache(tmp_path, monkeypatch):
    path = as_zip(tmp_path / "a.zip", pictures("train/a", "train/b", "test/a", "test/b"))
    first = load(path, image_size=8)
    monkeypatch.setattr(workers, "decode_into", refuse)
    monkeypatch.setattr(sys.modules["imgcls.data.load"], "open_source", refuse)
    second = load(path, image_size=8)
    assert torch.equal(first.train.images, second.train.images)
    before = second.test.images.clone()
    second.test.images.zero_()  # copy-on-write: spoils this tensor, not the cache
    assert torch.equal(load(path, image_size=8).test.images, before)


def test_left_out_files_are_remembered(tmp_path, monkeypatch):
    path = as_zip(tmp_path / "a.zip", pictures("a", "b") | {"a/000.png": b"", "extra.md": b"x"})
    first = load(path, image_size=8)
    monkeypatch.setattr(workers, "decode_into", refuse)
    assert load(path, image_size=8).skipped == first.skipped
    assert len(first.skipped) == 2
    assert "a/000.png" not in set.union(*names(first))


def cache_folder(image_size=8) -> Path:
    (folder,) = paths.CACHE.glob(f"*-{image_size}-3")
    return folder


def test_the_cache_keeps_the_three_ways_to_a_square_apart(tmp_path, monkeypatch):
    files = pictures("a", "b", size=(40, 16)) | {"a/none.png": b""}
    path = as_zip(tmp_path / "a.zip", files)
    loaded = {resize: load(path, image_size=8, resize=resize) for resize in RESIZES}
    (key,) = {splits.fingerprint for splits in loaded.values()}
    folders = {folder.name for folder in paths.CACHE.iterdir() if folder.name != "sources"}
    ways = {f"{key}-8-3", f"{key}-squash-8-3", f"{key}-pad-8-3"}  # that of crop as it always was
    assert folders == ways | {f"{key}-32-3"}  # that of the duplicates
    assert len({splits.train.images.numpy().tobytes() for splits in loaded.values()}) == 3
    assert len({(splits.train.names, splits.val.names, splits.skipped) for splits in loaded.values()}) == 1
    monkeypatch.setattr(workers, "decode_into", refuse)
    for resize, splits in loaded.items():
        assert torch.equal(load(path, image_size=8, resize=resize).train.images, splits.train.images)
    assert torch.equal(load(path, image_size=8).train.images, loaded[RESIZE].train.images)
    with pytest.raises(AssertionError, match="decoded again"):
        load(path, image_size=9, resize="squash")


@pytest.mark.parametrize("resize", RESIZES)
def test_decoding_processes_make_the_same_squares(tmp_path, monkeypatch, resize):
    path = as_zip(tmp_path / "a.zip", pictures("a", "b", size=(40, 16), count=40))
    alone = load(path, image_size=8, resize=resize)
    monkeypatch.setattr(workers, "IN_PROCESS", 0)
    monkeypatch.setattr(workers, "cpu_count", lambda: 2)
    together = load(path, image_size=8, resize=resize, cache=tmp_path / "other")
    for (_, one), (_, other) in zip(alone.items(), together.items(), strict=True):
        assert torch.equal(one.images, other.images)


def test_generated_sets_are_square_whatever_the_resize():
    one, *others = (load("menagerie/cats_dogs", 16, resize=resize, train_count=8, val_count=2, test_count=2)
                    for resize in RESIZES)  # fmt: skip
    for other in others:
        assert torch.equal(one.train.images, other.train.images)
        assert one.fingerprint == other.fingerprint


def truncate_pixels(folder):
    with (folder / "images.npy").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 10)


def zero_pixels(folder):
    with (folder / "images.npy").open("r+b") as file:
        file.seek(-500, os.SEEK_END)
        file.write(bytes(500))


def change_index(**values):
    def change(folder):
        index = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps({**index, **values}))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        truncate_pixels,
        zero_pixels,
        lambda folder: (folder / "index.json").write_text('{"format": 1, "na'),
        lambda folder: (folder / "index.json").unlink(),
        lambda folder: (folder / "images.npy").unlink(),
        change_index(fingerprint="another"),
        change_index(format=0),
        change_index(image_size=9),
        change_index(names=["a/000.png"]),
    ],
)
def test_a_torn_or_foreign_cache_is_rebuilt(tmp_path, damage, monkeypatch):
    path = as_zip(tmp_path / "a.zip", pictures("a", "b"))
    good = load(path, image_size=8)
    expected = good.train.images.clone()
    damage(cache_folder())
    decode_into, decoded_again = workers.decode_into, []
    monkeypatch.setattr(workers, "decode_into", lambda *a: (decoded_again.append(1), decode_into(*a))[1])
    again = load(path, image_size=8)
    assert decoded_again
    assert torch.equal(again.train.images, expected)
    assert again.train.names == good.train.names
    assert again.fingerprint == good.fingerprint


def test_a_load_that_fails_leaves_no_cache(tmp_path, monkeypatch):
    path = as_zip(tmp_path / "a.zip", pictures("a", "b"))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workers.decoding, "try_decode_square", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(path, image_size=8)
    assert list(paths.CACHE.iterdir()) == []
    assert len(load(path, image_size=8).classes) == 2


def test_changed_files_are_noticed(tmp_path):
    root = as_folder(tmp_path / "set", pictures("a", "b"))
    first = load(root, image_size=8)
    (root / "a/000.png").write_bytes(picture("something else"))
    second = load(root, image_size=8)
    assert second.fingerprint != first.fingerprint
    (root / "a/new.png").write_bytes(picture("new"))
    assert "a/new.png" in set.union(*names(load(root, image_size=8)))
    moved = root.rename(tmp_path / "moved")
    assert load(moved, image_size=8).fingerprint == load(moved, image_size=8).fingerprint != second.fingerprint


def test_selections_too_large_for_memory_are_mapped(tmp_path, monkeypatch):
    path = as_zip(tmp_path / "a.zip", pictures("a", "b", count=20))
    expected = load(path, image_size=8)
    monkeypatch.setattr(decoded, "GATHER_IN_MEMORY", 0)
    for _ in range(2):  # written, then found
        mapped = load(path, image_size=8)
        for (_, one), (_, other) in zip(expected.items(), mapped.items(), strict=True):
            assert torch.equal(one.images, other.images)
    assert len(list(cache_folder().glob("selection-*.npy"))) >= 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    paths.CACHE.mkdir()
    paths.CACHE.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError):
        load(as_zip(tmp_path / "a.zip", pictures("a", "b")), image_size=8)


def test_progress_is_silent_in_logs(tmp_path, capfd, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    load(as_zip(tmp_path / "a.zip", pictures("a", "b")), image_size=8)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "APPEARS", 0)
    load(as_zip(tmp_path / "b.zip", pictures("a", "c")), image_size=8)
    shown = capfd.readouterr().err
    assert "decoding: 12 of 12 images" in shown
    assert shown.endswith("\r")  # the line is gone
    assert "\n" not in shown


# ------------------------------------------------------------------ generated sets


def test_generated_sets_load_with_masks_and_from_the_cache(monkeypatch):
    arguments = {"image_size": 16, "train_count": 30, "val_count": 10, "test_count": 20, "seed": 5}
    splits = load("menagerie/cifar_ten", **arguments)
    assert (splits.kind, splits.name, splits.skipped) == ("generated", "menagerie/cifar_ten", ())
    assert [len(split) for _, split in splits.items()] == [30, 10, 20]
    oracle = menagerie.generate("cifar_ten", "test", 0, 20, 16, seed=5)
    assert torch.equal(splits.test.images, oracle.images)
    assert torch.equal(splits.test.masks, oracle.masks)
    assert torch.equal(splits.test.labels, oracle.labels)
    monkeypatch.setattr(generated, "render_into", refuse)
    again = load("menagerie/cifar_ten", **arguments)
    assert torch.equal(again.train.images, splits.train.images)
    assert again.fingerprint == splits.fingerprint
    with pytest.raises(AssertionError, match="decoded again"):
        load("menagerie/cifar_ten", **{**arguments, "seed": 6})


def test_classes_of_a_generated_set():
    arguments = {"image_size": 8, "train_count": 15, "val_count": 2, "test_count": 2}
    splits = load("menagerie/cifar_ten", classes=["ship", "cat"], channels=1, **arguments)
    assert [len(split) for _, split in splits.items()] == [15, 2, 2]
    assert splits.train.images.shape[1:] == (1, 8, 8)
    assert {name.split("/")[1] for name in splits.train.names} == {"ship", "cat"}
    assert all((label == 0) == ("ship/" in name) for name, label in zip(*_columns(splits.train), strict=True))
    with pytest.raises(DataError, match="did you mean 'ship'"):
        load("menagerie/cifar_ten", classes=["ships"])


def _columns(split: Split):
    return split.names, split.labels.tolist()


def test_generated_sets_take_both_controls():
    counts = {"train_count": 2, "val_count": 12, "test_count": 2}
    split = load("menagerie/cifar_ten", image_size=8, habitat_bias=1.0, clutter=0.0, **counts).val
    oracle = menagerie.generate("cifar_ten", "val", 0, 12, 8, habitat_bias=1.0, clutter=0.0)
    assert torch.equal(split.images, oracle.images)
    assert split.names[3] == "val/cat/000003"


def test_sets_of_other_clutter_are_cached_apart(tmp_path):
    counts = {"image_size": 8, "train_count": 4, "val_count": 2, "test_count": 2, "cache": tmp_path}
    plain, cluttered = (load("menagerie/fox_elephant", clutter=clutter, **counts) for clutter in (0.0, 1.0))
    assert plain.fingerprint != cluttered.fingerprint
    assert torch.equal(
        plain.train.images, menagerie.generate("fox_elephant", count=4, image_size=8, clutter=0.0).images
    )
    assert not torch.equal(plain.train.images, cluttered.train.images)


def test_generated_sets_keep_their_promises():
    checks = generated_checks("cifar_ten", image_size=16)
    assert list(checks.columns) == ["check", "expected", "measured", "passed"]
    assert checks["passed"].all(), checks


# ------------------------------------------------------------------ questions to the data


def split_of(images: torch.Tensor, prefix: str, labels=None) -> Split:
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    return Split(images, labels, None, tuple(f"{prefix}/{i}" for i in range(len(images))), ("a", "b"))


def random_images(count, seed, size=32) -> torch.Tensor:
    """Structured at every scale, like pictures."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(
        torch.nn.functional.interpolate(torch.rand(count, 3, n, n, generator=generator), size, mode="bilinear")
        for n in (2, 4, 8, 16)
    )
    return (total / 4 * 255).to(torch.uint8)


def test_statistics_against_numpy(tmp_path):
    images = random_images(3000, 0, size=8)
    labels = torch.arange(3000) % 2
    result = imgcls.data.statistics(split_of(images, "x", labels))
    array = images.numpy() / 255
    assert np.allclose(result["mean"], array.mean(axis=(0, 2, 3)), atol=1e-12)
    assert np.allclose(result["std"], array.std(axis=(0, 2, 3)), atol=1e-12)
    assert (result["count"], result["per_class"]) == (3000, {"a": 1500, "b": 1500})


def test_sizes_are_those_of_the_files(tmp_path):
    sizes = [(20, 30), (40, 10), (24, 24), (64, 48), (9, 70)]
    files = {f"train/a/{i}.png": picture(str(i), size) for i, size in enumerate(sizes)}
    files |= pictures("val/a", "test/a", size=(7, 5))
    splits = load(as_zip(tmp_path / "a.zip", files), image_size=8)
    assert splits.sizes.loc["train"].tolist() == [9, 24, 64, 10, 30, 70]
    assert splits.sizes.loc["test", "height_max"] == 5


def test_subset_by_index_mask_and_slice():
    split = split_of(random_images(6, 0, size=8), "x", torch.arange(6) % 2)
    mask = torch.tensor([False, True, False, False, True, False])
    for indices in ([1, 4], torch.tensor([1, 4]), np.array([1, 4]), mask, slice(1, 5, 3)):
        part = split.subset(indices)
        assert part.names == ("x/1", "x/4")
        assert torch.equal(part.images, split.images[[1, 4]])
        assert part.labels.tolist() == [1, 0]
        assert part.classes == split.classes
    assert len(split.subset([])) == 0


def three(train, val, test, test_labels=None) -> Splits:
    labels = {"test": test_labels}
    parts = {name: split_of(images, name, labels.get(name)) for name, images in
             (("train", train), ("val", val), ("test", test))}  # fmt: skip
    return Splits(**parts, classes=("a", "b"), skipped=(), fingerprint="", name="planted", kind="real")


def test_planted_duplicates_are_found_within_and_across_splits():
    train, val, test = random_images(40, 1), random_images(20, 2), random_images(30, 3)
    train[7] = train[3]  # a copy within train
    test[5] = train[11]  # a leak
    brighter = (train[20].float() * 0.8 + 40).to(torch.uint8)
    test[6] = brighter  # a leak in disguise
    noise = torch.randint(-6, 7, val[4].shape, generator=torch.Generator().manual_seed(0))
    val[9] = (val[4].int() + noise).clamp(0, 255).to(torch.uint8)
    labels = torch.zeros(30, dtype=torch.int64)
    labels[6] = 1
    result = imgcls.data.audit(three(train, val, test, test_labels=labels))
    found = {(pair.first, pair.second, pair.kind) for pair in result.pairs}
    assert found == {
        ("train/3", "train/7", "exact"),
        ("train/11", "test/5", "exact"),
        ("train/20", "test/6", "near"),
        ("val/4", "val/9", "near"),
    }
    assert [pair.second for pair in result.across()] == ["test/5", "test/6"]
    assert result.pairs[: len(result.across())] == result.across()
    counts = result.frame().set_index(["split", "also_in"])
    assert counts.loc[("test", "train")].tolist() == [30, 1, 1, 1]
    assert counts.loc[("val", "val")].tolist() == [20, 0, 1, 0]
    assert counts.loc[("val", "train")].tolist() == [20, 0, 0, 0]


def test_many_copies_of_one_image_are_counted_once_each():
    images = random_images(30, 1)
    images[10:] = images[0]
    counts = imgcls.data.audit(three(images, random_images(5, 2), images[:20])).frame().set_index(["split", "also_in"])
    assert counts.loc[("train", "train"), "exact"] == 20
    assert counts.loc[("test", "train"), "exact"] == 20
    assert counts.near.sum() == 0


def test_flat_images_and_mere_horizons_are_no_near_duplicates():
    generator = torch.Generator().manual_seed(0)
    flat = torch.full((20, 3, 32, 32), 120) + torch.randint(-2, 3, (20, 3, 32, 32), generator=generator)
    ramp = torch.linspace(60, 200, 32).view(1, 1, 32, 1)
    skies = ramp + torch.randn(20, 3, 32, 32, generator=generator) * 8
    images = torch.cat([flat, skies.clamp(0, 255)]).to(torch.uint8)
    result = imgcls.data.audit(three(images, random_images(3, 2), random_images(3, 3)))
    assert result.pairs == ()


def test_audit_looks_beyond_one_block(monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", 7)
    train, test = random_images(50, 1), random_images(40, 2)
    for i, j in ((0, 0), (49, 39), (20, 33)):
        test[j] = (train[i].float() * 0.9).to(torch.uint8)
    result = imgcls.data.audit(three(train, random_images(10, 3), test))
    assert {(pair.indices, pair.kind) for pair in result.pairs} == {((i, j), "near") for i, j in
                                                                   ((0, 0), (49, 39), (20, 33))}  # fmt: skip


def test_audit_refuses_a_threshold_that_is_no_correlation():
    images = random_images(3, 0)
    with pytest.raises(ValueError, match=r"between 0\.5 and 1, not 5"):
        imgcls.data.audit(three(images, images, images), threshold=5)


# ------------------------------------------------------------------ one picture at a time


def odd_pictures() -> dict[str, bytes]:
    """A file of every kind that decoding treats in a way of its own."""
    rng = np.random.default_rng(5)
    rgb = Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8))
    smooth = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((270, 180))
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(rng.integers(0, 256, (23, 31), dtype=np.uint8)))
    sideways = Image.Exif()
    sideways[0x0112] = 6
    saved = {
        "rgb.png": (rgb, {}),
        "exact.png": (rgb.resize((16, 16)), {}),
        "grey.png": (rgb.convert("L"), {}),
        "palette.gif": (rgb.convert("P", palette=Image.Palette.ADAPTIVE), {"transparency": 3}),
        "rgba.webp": (rgba, {"lossless": True}),
        "cmyk.jpg": (smooth.convert("CMYK"), {}),
        "deep.png": (Image.fromarray(rng.integers(0, 65536, (23, 31), dtype=np.uint16)), {}),
        "turned.jpg": (smooth, {"exif": sideways}),
        "large.jpg": (smooth, {}),  # decoded at a reduced scale
    }
    files = {}
    for name, (image, options) in saved.items():
        file = io.BytesIO()
        image.save(file, {"jpg": "JPEG"}.get(name[-3:]) or name.partition(".")[2].upper(), **options)
        files[name] = file.getvalue()
    return files


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("channels", [3, 1])
def test_one_picture_is_prepared_bit_for_bit_as_in_a_data_set(tmp_path, channels, resize):
    files = {f"{name.split('.')[0]}/{i}-{name}": data for name, data in odd_pictures().items() for i in range(3)}
    folder = as_folder(tmp_path / "odd", files)
    seen = 0
    for _, split in load(folder, image_size=16, channels=channels, resize=resize).items():
        for name, image in zip(split.names, split.images, strict=True):
            for source in (folder / name, str(folder / name), files[name]):
                alone = imgcls.data.load_image(source, 16, channels, resize)
                assert alone.dtype == torch.uint8
                assert torch.equal(alone, image), name
            seen += 1
    assert seen == len(files)


def test_one_picture_is_refused_for_the_reason_that_a_data_set_gives(tmp_path, monkeypatch):
    files = pictures("a", "b", count=3)
    files |= {"a/cut.png": files["a/000.png"][:-200], "a/page.jpg": b"<html>", "b/large.png": files["b/000.png"] * 3}
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", len(files["b/large.png"]) - 1)
    folder = as_folder(tmp_path / "data", files)
    reasons = skipped(load(folder, image_size=8))
    assert reasons.keys() == {"a/cut.png", "a/page.jpg", "b/large.png"}
    for name, reason in reasons.items():
        with pytest.raises(Undecodable) as refused:
            imgcls.data.load_image(folder / name, 8, 3, "crop")
        assert refused.value.reason == reason
        assert str(folder / name) in str(refused.value)
    with pytest.raises(DataError, match="channels must be 3"):
        imgcls.data.load_image(folder / "a/000.png", 8, 4, "crop")
    with pytest.raises(DataError, match="image_size must be"):
        imgcls.data.load_image(folder / "a/000.png", 0, 3, "crop")
    for refused_by in (partial(load, folder), partial(imgcls.data.load_image, folder / "a/000.png", 8, 3)):
        with pytest.raises(DataError, match="unknown resize 'squish'; did you mean 'squash'"):
            refused_by(resize="squish")
        with pytest.raises(DataError, match="unknown resize None; choose from crop, squash, pad"):
            refused_by(resize=None)


def test_files_of_a_folder_are_sorted_and_hidden_ones_are_skipped(tmp_path):
    names = ["b/2.png", "b/1.JPG", "a.webp", "b/c/d.tiff", ".hidden/e.png", "b/.f.png", "notes.txt", "__MACOSX/g.png"]
    folder = as_folder(tmp_path / "data", dict.fromkeys(names, b"x"))
    assert imgcls.data.files_below(folder) == [
        folder / name for name in ("a.webp", "b/1.JPG", "b/2.png", "b/c/d.tiff", "notes.txt")
    ]


def test_an_imbalance_made_on_purpose_keeps_the_share_and_the_rest(tmp_path):
    splits = load("menagerie/cats_dogs", image_size=8, train_count=100, val_count=20, test_count=20, cache=tmp_path)
    cat, dog = splits.classes
    before = splits.train.labels.bincount()
    few = imbalanced(splits.train, {dog: 0.2}, seed=1)
    assert few.labels.bincount().tolist() == [int(before[0]), round(0.2 * int(before[1]))]
    assert set(few.names) < set(splits.train.names)
    assert few.names == tuple(name for name in splits.train.names if name in few.names)  # the order stays
    assert few.names == imbalanced(splits.train, {dog: 0.2}, seed=1).names
    assert few.names != imbalanced(splits.train, {dog: 0.2}, seed=2).names
    with pytest.raises(DataError, match="has no class"):
        imbalanced(splits.train, {"bird": 0.2})
    with pytest.raises(DataError, match="above 0 and at most 1, not 0"):
        imbalanced(splits.train, {cat: 0})


@pytest.mark.parametrize("channels", [1, 3])
def test_exported_pictures_are_read_back_pixel_for_pixel(channels, tmp_path):
    split = imgcls.data.load("menagerie/cats_dogs", 16, channels, test_count=8, train_count=2, val_count=2).test
    written = export(split, tmp_path / "made")
    assert written[0] == tmp_path / "made" / split.classes[split.labels[0]] / f"{split.names[0].replace('/', '-')}.png"
    for path, image, label in zip(written, split.images, split.labels, strict=True):
        assert torch.equal(imgcls.data.load_image(path, 16, channels, "crop"), image)
        assert path.parent.name == split.classes[label]
    with pytest.raises(FileExistsError):
        export(split.subset([3]), tmp_path / "made")


def test_joined_splits_keep_their_order_and_move_the_second_labels_on():
    pair, other = (imgcls.data.load(name, image_size=16, train_count=12) for name in
                   ("menagerie/fox_elephant", "menagerie/cifar_ten"))  # fmt: skip
    both = concat_classes(pair.train, other.train)
    assert both.classes == pair.classes + other.classes
    assert both.names == pair.train.names + other.train.names
    n = len(pair.train)
    assert torch.equal(both.images[:n], pair.train.images)
    assert torch.equal(both.images[n:], other.train.images)
    assert torch.equal(both.masks[n:], other.train.masks)
    labels = [both.classes[label] for label in both.labels]
    assert labels == [one.classes[label] for one in (pair.train, other.train) for label in one.labels]
    assert both.sizes is None
    assert concat_classes(pair.train, replace(other.train, masks=None)).masks is None


def test_splits_that_share_a_class_or_differ_in_size_are_not_joined():
    small, large = (
        imgcls.data.load("menagerie/fox_elephant", image_size=size, train_count=4).train for size in (16, 24)
    )
    with pytest.raises(imgcls.data.DataError, match="'arctic fox' is a class of both splits"):
        concat_classes(small, small)
    with pytest.raises(imgcls.data.DataError, match=r"images of \(3, 16, 16\) and of \(3, 24, 24\)"):
        concat_classes(small, replace(large, classes=("a", "b")))
