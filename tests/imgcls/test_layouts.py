"""What folders and archives of other people look like: splits, classes and archives that are not what they seem."""

import gzip
import re
import zipfile

import pytest
from test_data import as_folder, as_zip, picture, pictures

import imgcls.data
from imgcls import paths
from imgcls.data import DataError, load


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


HEIC, LFS = b"\0\0\0\x18ftypheic" + bytes(99), b"version https://git-lfs.github.com/spec/v1\n"


@pytest.mark.parametrize(
    ("given", "unread", "message"),
    [
        ({"test/a/1.heic": HEIC, "test/b/1.heic": HEIC}, "test", "test/a/1.heic: not an image but a HEIC photograph"),
        ({"test/a/1.jpg": LFS, "test/b/1.jpg": LFS}, "test", "test/a/1.jpg: not an image but a Git LFS pointer"),
        ({"test/a/1.jp2": b"\0\0\0\x0cjP  "}, "test", "test/a/1.jp2: not an image in a known format"),
        ({"Validation/a/1.png": picture("x")[:-99]}, "Validation", "Validation/a/1.png: truncated PNG"),
        ({"test/1.png": picture("x")}, "test", "test/1.png: in no class folder, so it has no label"),
        (pictures("test/a") | {"test/b/1.png": b""}, "test/b", "test/b/1.png: zero bytes"),
    ],
)
def test_a_given_split_without_a_readable_picture_stops_unless_splits_are_drawn_again(given, unread, message, tmp_path):
    path = as_zip(tmp_path / "a.zip", pictures("train/a", "train/b", count=20) | given)
    for _ in range(2):  # the second time with what the first has stored
        with pytest.raises(DataError, match=re.escape(f"no image can be read of\n  {unread}: {message}")):
            load(path, image_size=8)
    again = load(path, image_size=8, split_again=True)
    assert again.given == ()
    assert sum(len(split) for _, split in again.items()) == 40 + 6 * (unread == "test/b")
    with pytest.raises(DataError, match="add --split-again"):
        load(path, image_size=8)


@pytest.mark.parametrize("empty", ["valid", "valid/a"])
def test_an_empty_given_split_stops(empty, tmp_path):
    root = as_folder(tmp_path / "set", pictures("train/a", "train/b"))
    (root / empty).mkdir(parents=True)
    with pytest.raises(DataError, match=f"no image can be read of\n  valid: {empty}/: an empty folder"):
        load(root, image_size=8)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("test.zip", "an archive in the folder; unpack it"), ("val.tar.gz", "an archive in the folder; unpack it"),
     ("test", "cannot be read: No such file or directory"), ("test.csv", ""), ("train.zip", "")],
)  # fmt: skip
def test_a_split_that_is_an_archive_or_a_broken_link_stops(name, reason, tmp_path):
    root = as_folder(tmp_path / "set", pictures("train/a", "train/b"))
    (root / name).write_bytes(b"x") if "." in name else (root / name).symlink_to(tmp_path / "nowhere")
    if reason:
        with pytest.raises(DataError, match=re.escape(f"can be read of\n  {name.split('.')[0]}: {name}: {reason}")):
            load(root, image_size=8)
    assert len(load(root, image_size=8, split_again=bool(reason)).train)


def test_a_given_split_without_extensions_is_found(tmp_path):
    files = pictures("train/a", "train/b") | {f"test/{name}/1": picture(name) for name in "ab"}
    assert load(as_zip(tmp_path / "a.zip", files), image_size=8).test.names == ("test/a/1", "test/b/1")


def test_a_picture_is_known_by_its_content_where_the_class_folders_are_looked_for(tmp_path):
    files = {f"photos/{name}/{i}": picture(f"{name}{i}") for name in ("cat", "dog") for i in range(6)}
    splits = load(as_zip(tmp_path / "a.zip", files | {"photos/readme.txt": b"a note"}), image_size=8)
    assert splits.classes == ("cat", "dog")
    assert [file.name for file in splits.skipped] == ["photos/readme.txt"]


def test_splits_drawn_again_keep_duplicates_together(tmp_path):
    files = pictures("train/a", "train/b", "test/a", "test/b", size=(32, 32), count=12)
    copies = {name.replace("train", "test").replace(".png", "c.png"): files[name] for name in files if "train" in name}
    splits = load(as_zip(tmp_path / "a.zip", files | copies), image_size=32, split_again=True)
    assert splits.duplicate_groups == 24
    assert imgcls.data.audit(splits).across() == ()
    assert {name.split("/")[0] for name in splits.train.names} == {"train", "test"}


@pytest.mark.parametrize(
    ("folders", "classes", "given"),
    [
        (("bus", "car", "train"), ("bus", "car", "train"), ()),
        (("control", "test"), ("control", "test"), ()),
        (("valid", "invalid"), ("invalid", "valid"), ()),
        (("x/train", "x/test", "x/val"), ("test", "train", "val"), ()),
        (("train/bus", "train/train", "test/bus", "test/train"), ("bus", "train"), ("train", "test")),
        (("train/train/a", "train/train/b", "train/test/a", "train/test/b"), ("a", "b"), ("train", "test")),
        (("a", "b", "test/a", "test/b"), ("a", "b"), ("test",)),
        (
            ("Training/a", "Training/b", "VALIDATION/a", "VALIDATION/b", "Testing/a"),
            ("a", "b"),
            ("train", "val", "test"),
        ),
        (("training_set/a", "training_set/b", "test-set/a"), ("a", "b"), ("train", "test")),
        (("train_images/a", "train_images/b", "val data/a"), ("a", "b"), ("train", "val")),
        (("dataset", "images", "train set"), ("dataset", "images", "train set"), ()),
    ],
)
def test_what_is_called_like_a_split_is_one_only_with_classes_inside(folders, classes, given, tmp_path):
    splits = load(as_zip(tmp_path / "a.zip", pictures(*folders)), image_size=8)
    assert (splits.classes, splits.given) == (classes, given)
    assert sum(len(split) for _, split in splits.items()) == 6 * len(folders)


NFC, NFD = "Bl\u00e9", "Ble\u0301"


@pytest.mark.parametrize("wrapper", ["", "archive/"])
@pytest.mark.parametrize(
    "splits",
    [
        {"train": "training_set/training_set", "test": "test_set/test_set"},
        {"train": "training/training", "val": "validation/validation"},
        {"train": "seg_train/seg_train", "test": "seg_test/seg_test"},
        {"train": "train_faces", "val": "valid_faces", "test": "test_faces"},
        {"train": "train/photos", "test": "test"},
    ],
)
def test_a_wrapper_or_another_word_in_each_split_is_passed_over(splits, wrapper, tmp_path):
    content = pictures(*(f"{wrapper}{folder}/{name}" for folder in splits.values() for name in "ab"), count=8)
    content[f"{wrapper}{splits['train']}/notes.txt"] = b"text"
    content |= pictures(f"{wrapper}seg_pred/seg_pred") if "seg_train" in splits["train"] else {}
    for path in (as_folder(tmp_path / "set", content), as_zip(tmp_path / "set.zip", content)):
        found = load(path, image_size=8)
        assert found.classes == ("a", "b")
        assert set(found.given) == set(splits)
        assert all(len(getattr(found, split)) == 16 for split in set(splits) - {"train"})


def test_folders_that_share_words_are_classes_with_pictures_inside(tmp_path):
    for name in ("model_train/model_test", "cats_train/dogs_test", "toy_train/toy_bus"):
        path = as_folder(tmp_path / name.replace("/", "-"), pictures(*name.split("/"), count=8))
        assert load(path, image_size=8).classes == tuple(sorted(name.split("/")))


@pytest.mark.parametrize(("train", "test"), [("Cat", "cat"), (NFC, NFD), ("cat ", "cat"), ("big_cat", "Big Cat")])
def test_names_of_classes_that_differ_in_form_are_one_where_only_one_can_be_meant(train, test, tmp_path):
    files = pictures(f"train/{train}", "train/dog", f"test/{test}", "test/dog")
    splits = load(as_folder(tmp_path / "set", files), image_size=8)
    assert splits.classes == tuple(sorted((train, "dog")))
    assert splits.test.labels.bincount().tolist() == [6, 6]
    assert load(tmp_path / "set", image_size=8, classes=[test]).classes == (train,)


def test_names_of_classes_side_by_side_are_two_classes(tmp_path):
    path = as_zip(tmp_path / "a.zip", pictures("train/Cat", "train/cat", "test/cat"))
    assert load(path, image_size=8).classes == ("Cat", "cat")
    path = as_zip(tmp_path / "b.zip", pictures("train/Cat", "train/cat", "test/CAT"))
    with pytest.raises(DataError, match="class 'CAT' has no image to train on"):
        load(path, image_size=8)


@pytest.mark.parametrize(
    "folder",
    [
        "@eaDir/x",
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
        "cat/@eaDir/000.png",
        "runs/exp/images",
        "@tmp",
        "results/plots",
        "venv/lib/x/images",
        "node_modules/y/z",
    ],
)
def test_folders_of_systems_and_tools_are_no_classes(folder, tmp_path):
    files = pictures("cat", "dog") | {f"{folder}/SYNO.png": picture("s")}
    for path in (as_folder(tmp_path / "set", files), as_zip(tmp_path / "a.zip", files)):
        splits = load(path, image_size=8)
        assert splits.classes == ("cat", "dog")
        assert sum(len(split) for _, split in splits.items()) == 12


@pytest.mark.parametrize("marks", [("card.json", "weights.safetensors"), ("events.out.tfevents.17.host",)])
def test_a_run_beside_the_classes_is_no_class_and_leaves_the_fingerprint(marks, tmp_path):
    before = load(as_folder(tmp_path / "set", pictures("cat", "dog")), image_size=8)
    files = {f"run/{name}": b"x" for name in marks} | {"run/learning_curves.png": picture("c")}
    after = load(as_folder(tmp_path / "set", files), image_size=8)
    packed = load(as_zip(tmp_path / "a.zip", pictures("cat", "dog") | files), image_size=8)
    assert before.fingerprint == after.fingerprint == packed.fingerprint
    assert after.skipped == packed.skipped == ()


class RawName(zipfile.ZipInfo):
    """An entry whose name is written in an encoding, without the flag for UTF-8."""

    def _encodeFilenameFlags(self):
        return self.filename.encode(self.comment.decode()), self.flag_bits


def as_raw_zip(path, names, encoding):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = RawName(name)
            info.comment = encoding.encode()
            archive.writestr(info, picture(name))
    return path


def test_names_in_a_zip_are_utf8_or_cp437_or_refused_with_the_way_out(tmp_path):
    files = pictures("\u732b", "\u72d7")
    utf8 = load(as_raw_zip(tmp_path / "a.zip", files, "utf-8"), image_size=8)
    assert utf8.classes == ("\u72d7", "\u732b")
    assert load(as_raw_zip(tmp_path / "b.zip", pictures("Bl\u00e9", "b"), "cp437"), image_size=8).classes == (
        "Bl\u00e9",
        "b",
    )
    for encoding, names in {
        "gbk": files,
        "cp1251": pictures("\u043a\u043e\u0442", "b"),
        "cp1252": pictures("\u00e9t\u00e9", "b"),
    }.items():
        with pytest.raises(DataError, match="encoding that the archive does not state, such as GBK"):
            load(as_raw_zip(tmp_path / f"{encoding}.zip", names, encoding), image_size=8)


@pytest.mark.parametrize(
    ("name", "head", "message"),
    [
        (
            "a.tar.zst",
            b"\x28\xb5\x2f\xfd",
            "compressed with Zstandard .`tar --zstd -xf` unpacks it.: unpack it and give",
        ),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it and give the folder"),
        (
            "a.png.gz",
            gzip.compress(picture("a"), mtime=0),
            "is a gzip file without a whole tar in it: unpack it and give the folder",
        ),
        ("a.zip.001", b"PK\x03\x04", "is one part of a split archive: join the parts"),
        ("a.z01", b"PK\x07\x08", "is one part of a split archive: join the parts"),
        ("a.part2.rar", b"Rar!", "is one part of a split archive: join the parts"),
        ("a.tar.gz.ab", b"xyz", "is one part of a split archive: join the parts"),
    ],
)
def test_an_archive_that_is_not_read_gets_the_true_reason(name, head, message, tmp_path):
    (tmp_path / name).write_bytes(head + bytes(600))
    with pytest.raises(DataError, match=message):
        load(tmp_path / name, image_size=8)


def test_the_last_part_of_a_split_zip_is_no_data_set(tmp_path):
    whole = as_zip(tmp_path / "whole.zip", pictures("a", "b"), zipfile.ZIP_STORED).read_bytes()
    (tmp_path / "part.zip").write_bytes(whole[len(whole) // 3 :])
    with pytest.raises(DataError, match="is the last part of a split archive"):
        load(tmp_path / "part.zip", image_size=8)


def test_archives_inside_an_archive_are_named(tmp_path):
    with pytest.raises(DataError, match=r"; unpack train\.zip, test\.tar first; the layout"):
        load(as_zip(tmp_path / "a.zip", {"train.zip": b"PK", "test.tar": b"x"}), image_size=8)
