"""Malformed and malicious files and archives: each gives the expected pixels, or is skipped by name with a reason."""

import os
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import colour_split, write_photos
from typer.testing import CliRunner

from benchmarks import malformed, malformed_archives
from imgcls import paths
from imgcls.cli.data import application
from imgcls.data import DataError, Splits, load, workers
from imgcls.data.decoding import open_rgb
from imgcls.data.sources import open_source

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

FILES = malformed.files()
ARCHIVES = malformed_archives.archives()
CLASSES = ("ape", "bee")
WRITING = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "os.chmod"}
_watchers = []


@pytest.fixture(autouse=True)
def _own_folders(own_folders):
    return own_folders


def _on_event(event, arguments):
    """Runs for ever, as audit hooks do, and costs nothing while nobody watches."""
    if not _watchers:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event not in WRITING:
        return
    inside = arguments[-1] if event in ("os.remove", "os.rmdir") else -1  # a folder that is open, as rmtree has it
    base = Path(f"/proc/self/fd/{inside}").readlink() if inside >= 0 else Path.cwd()
    for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
        if isinstance(path, str | bytes | os.PathLike):
            _watchers[-1].append(Path(base, os.fsdecode(path)))


sys.addaudithook(_on_event)


@contextmanager
def only_the_cache_is_written(at_all: bool = True):
    """Every file that this process creates, writes, renames or removes is in the cache."""
    _watchers.append([])
    try:
        yield
    finally:
        touched = _watchers.pop()
    assert touched or not at_all, "the watcher saw nothing, not even the cache"
    assert [path for path in touched if not path.is_relative_to(paths.CACHE.absolute())] == []


def by_name(splits: Splits) -> dict[str, np.ndarray]:
    """Pixels (H, W, C) of every image that was kept."""
    return {
        name: image.permute(1, 2, 0).numpy()
        for _, split in splits.items()
        for name, image in zip(split.names, split.images, strict=True)
    }


def check(splits: Splits, laid: dict[str, malformed.MalformedFile]):
    """Every file of `laid` (name in the data set -> file) has had its outcome, and there is nothing else."""
    read, skipped = by_name(splits), {entry.name: entry.reason for entry in splits.skipped}
    assert read.keys() | skipped.keys() == laid.keys()
    assert not read.keys() & skipped.keys()
    for name, file in laid.items():
        if file.pixels is None:
            assert file.reason in skipped[name], name
        else:
            assert name in read, f"{name}: {skipped.get(name)}"
            assert np.abs(read[name].astype(int) - file.pixels).max() <= file.tolerance, name


def test_the_corpus_is_large_and_no_two_files_are_one():
    assert len(FILES) >= 40
    assert len(ARCHIVES) >= 10
    for names in ([file.name for file in FILES], [archive.name for archive in ARCHIVES]):
        assert len(set(names)) == len(names)
    for file in FILES:
        assert (file.pixels is None) == bool(file.reason), file.name
        assert file.tolerance <= 12, file.name


def test_a_folder_of_hostile_files_is_read_or_named_file_by_file(tmp_path):
    root, laid = tmp_path / "folder", {}
    for k, file in enumerate(FILES):
        folder = root / CLASSES[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Path(folder, file.name).write_bytes(file.data)
        laid[f"{CLASSES[k % 2]}/{file.listed_name or file.name}"] = file
    with only_the_cache_is_written():
        splits = load(root, image_size=malformed.SIDE)
    check(splits, laid)
    again = load(root, image_size=malformed.SIDE)  # from the cache, whose index holds every name
    assert again.skipped == splits.skipped
    assert again.train.names == splits.train.names


def test_the_same_files_in_a_zip_through_decoding_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "IN_PROCESS", 0)
    monkeypatch.setattr(workers, "CHUNK_FILES", (8, 40))
    laid = {}
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        for k, file in enumerate(FILES):
            if file.name.isascii() and "\\" not in file.name:  # a backslash separates folders in an archive
                archive.writestr(f"{CLASSES[k % 2]}/{file.name}", file.data)
                laid[f"{CLASSES[k % 2]}/{file.listed_name or file.name}"] = file
    assert len(laid) > 80
    check(load(tmp_path / "files.zip", image_size=malformed.SIDE), laid)


@pytest.mark.parametrize("file", [one for one in FILES if one.pixels is not None], ids=lambda file: ascii(file.name))
def test_one_file_alone_has_the_same_pixels(file):
    pixels = np.asarray(open_rgb(file.data)[0])
    assert pixels.shape == file.pixels.shape
    assert np.abs(pixels.astype(int) - file.pixels).max() <= file.tolerance


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name)
def test_an_archive_gives_its_valid_images_and_a_reason_for_each_skipped_entry(archive, tmp_path):
    path = tmp_path / "in" / archive.name
    path.parent.mkdir()
    archive.write(path)
    if archive.refused:
        with only_the_cache_is_written(at_all=False), pytest.raises(DataError) as caught:
            load(path, image_size=8)
        assert archive.refused in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    with only_the_cache_is_written():
        splits = load(path, image_size=8)
    read, skipped = by_name(splits), {entry.name: entry.reason for entry in splits.skipped}
    assert len(read) == archive.pictures
    assert skipped.keys() == archive.skipped.keys()
    for name, reason in archive.skipped.items():
        assert reason in skipped[name], name
    for name, data in malformed_archives.valid_images().items():
        if name in read:
            assert np.array_equal(read[name], np.asarray(open_rgb(data)[0])), name
        else:
            assert name in skipped


def test_a_damaged_and_a_whole_copy_are_kept_apart_in_either_order(tmp_path):
    """Both state the same names, sizes and checksums."""
    damaged = next(one for one in ARCHIVES if one.name == "wrong-checksum.zip")
    damaged.write(tmp_path / "a.zip")
    malformed_archives.zipped({})(tmp_path / "b.zip")
    found = [load(tmp_path / name, image_size=8) for name in ("a.zip", "b.zip", "a.zip", "b.zip")]
    assert [len(splits.skipped) for splits in found] == [1, 0, 1, 0]
    assert [len(by_name(splits)) for splits in found] == [2 * malformed_archives.PER_CLASS - k for k in (1, 0, 1, 0)]
    assert len({splits.fingerprint for splits in found}) == 2


def write_at(path, at, content):
    """Change bytes where they are, and set the time of the last change back as a copying program would."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_zip_that_is_damaged_after_it_was_read_is_looked_at_again(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    malformed_archives.zipped({})(path)
    before = load(path, image_size=8)
    at = path.read_bytes().index(b"IDAT") + 9
    sound = path.read_bytes()[at : at + 1]
    write_at(path, at, bytes([sound[0] ^ 1]))
    damaged = load(path, image_size=8)
    assert [entry.name for entry in damaged.skipped] == ["cat/0.png"]
    assert "damaged in the archive" in damaged.skipped[0].reason
    assert by_name(damaged).keys() == by_name(before).keys() - {"cat/0.png"}
    assert damaged.fingerprint != before.fingerprint
    write_at(path, at, sound)
    monkeypatch.setattr(workers, "decode_into", None)  # what was decoded at first still counts
    again = load(path, image_size=8)
    assert (again.skipped, again.fingerprint) == ((), before.fingerprint)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match="neither a folder nor a whole zip or tar archive"):
        load(path, image_size=8)


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(FILES[0].data), Path.unlink], ids=["other", "gone"])
def test_a_file_that_changes_between_two_looks_is_never_cached_as_what_it_was(change, photos, monkeypatch):
    """Else its new pixels would have the fingerprint of the old ones, and be found when these come back."""
    listed, file = open_source, min(photos.rglob("*.png"))
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["imgcls.data.load"], "open_source", lambda path: (listed(path), change(file))[0])
        with pytest.raises(DataError, match=rf"{file.name} changed while it was read; try again"):
            load(photos, image_size=8)
    assert list(paths.CACHE.iterdir()) == []
    assert len(by_name(load(photos, image_size=8))) == sum(1 for _ in photos.rglob("*.png"))


# ------------------------------------------------------------------ what only a folder can hold


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos", colour_split(24, seed=4))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(photos):
    os.mkfifo(photos / "red" / "pipe.png")
    assert {entry.name: entry.reason for entry in load(photos, image_size=8).skipped} == {
        "red/pipe.png": "a pipe or device, not a file"
    }


def test_a_link_without_an_end_and_a_folder_named_like_a_picture(photos):
    (photos / "red" / "lost.png").symlink_to(photos / "nowhere.png")
    (photos / "red" / "folder.png").mkdir()
    assert {entry.name: entry.reason for entry in load(photos, image_size=8).skipped} == {
        "red/lost.png": "cannot be read: No such file or directory",
        "red/folder.png/": "an empty folder",
    }


@pytest.mark.parametrize("content", [None, ".DS_Store", "Thumbs.db"])
def test_a_class_without_a_picture_stops_with_its_name(photos, content):
    (photos / "violet").mkdir()
    if content:
        (photos / "violet" / content).write_bytes(b"x")
    with pytest.raises(DataError, match=r"no image of class 'violet' can be read \(violet/: an empty folder\)"):
        load(photos, image_size=8)


def test_a_folder_that_may_not_be_listed_is_named(photos, monkeypatch):
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "green":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"class 'green' can be read \(green/: cannot be listed: Permission denied\)"):
        load(photos, image_size=8)


def test_a_terminal_gets_no_command_from_a_file_name(photos, monkeypatch):
    for name in ("\x1b[2Jclear.png", "caf\udce9.png"):
        (photos / "red" / name).write_bytes(b"")
    shown = CliRunner().invoke(application(), [str(photos), "--image-size", "8"])
    assert shown.exit_code == 0, shown.output
    assert "\x1b" not in shown.stdout
    assert r"red/\x1b[2Jclear.png: zero bytes" in shown.stdout
    assert r"red/caf\xe9.png: zero bytes" in shown.stdout
