"""Malformed and malicious archives, each with its expected outcome; most also hold two classes of valid images."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.malformed import encode

PER_CLASS = 4
Writer = Callable[[Path], None]


@dataclass(frozen=True)
class MalformedArchive:
    """One archive: the entries that must be skipped, or the reason why the whole archive must be refused."""

    name: str
    write: Writer
    skipped: dict[str, str] = field(default_factory=dict)  # name -> part of the reason
    refused: str = ""  # part of the error
    pictures: int = 2 * PER_CLASS  # expected number of images


def archives() -> list[MalformedArchive]:
    """All archives, in a fixed order; their contents never change."""
    return [*_escaping(), *_hidden(), *_inconsistent(), *_refused()]


def valid_images() -> dict[str, bytes]:
    """Valid images of the classes cat and dog by name, each different."""
    rng = np.random.default_rng(5)
    names = [f"{kind}/{k}.png" for kind in ("cat", "dog") for k in range(PER_CLASS)]
    return {name: encode(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for name in names}


def zipped(more: dict[str, bytes], after: Callable[[bytearray], None] | None = None, method: int = 0) -> Writer:
    """Writer of a zip of the valid images and `more` files, whose bytes `after` then changes."""

    def write(path: Path) -> None:
        path.write_bytes(_zip_bytes({**valid_images(), **more}, method, after))

    return write


def _zip_bytes(files: dict[str, bytes], method: int = 0, after: Callable[[bytearray], None] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)  # a ZipInfo has a fixed time
    packed = bytearray(file.getvalue())
    if after:
        after(packed)
    return bytes(packed)


def _in_directory(change: Callable[[bytearray, int], None], name: str = "cat/0.png") -> Callable[[bytearray], None]:
    """Change the entry of that name in the central directory."""

    def after(data: bytearray) -> None:
        change(data, data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode())))

    return after


def _everywhere(change: Callable[[bytearray, int], None]) -> Callable[[bytearray], None]:
    """Change every entry of the central directory."""

    def after(data: bytearray) -> None:
        at = -1
        while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
            change(data, at)

    return after


def _set(offset: int, form: str, value: int) -> Callable[[bytearray, int], None]:
    return lambda data, at: struct.pack_into(form, data, at + offset, value)


FLAGS, METHOD, SIZE, MODE, START = (8, "<H"), (10, "<H"), (24, "<I"), (38, "<I"), (42, "<I")  # of an entry


def _tarred(entries: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Writer:
    def write(path: Path) -> None:
        with tarfile.open(path, mode) as archive:
            for name, data in valid_images().items():
                archive.addfile(_info(name, len(data)), io.BytesIO(data))
            for info, data in entries:
                archive.addfile(info, io.BytesIO(data))

    return write


def _info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def _escaping() -> Iterator[MalformedArchive]:
    data = valid_images()["cat/0.png"]
    outside = {
        "../escaped.png": "path leads out of the archive",
        "cat/../../escaped.png": "path leads out of the archive",
        "/tmp/escaped.png": "absolute path",
        "C:\\escaped.png": "absolute path",
        "..\\escaped.png": "path leads out of the archive",
    }
    yield MalformedArchive("escaping.zip", zipped(dict.fromkeys(outside, data)), outside)
    entries = [(_info(name, len(data)), data) for name in outside]
    yield MalformedArchive("escaping.tar", _tarred(entries), outside)
    links = {"cat/link.png": tarfile.SYMTYPE, "dog/hard.png": tarfile.LNKTYPE, "dog/pipe.png": tarfile.FIFOTYPE,
             "cat/disk.png": tarfile.CHRTYPE}  # fmt: skip
    entries = [(_info(name, 0, kind, "/etc/passwd"), b"") for name, kind in links.items()]
    yield MalformedArchive("links.tar", _tarred(entries), dict.fromkeys(links, "a link or device"))
    # A symbolic link to a folder, and a file that unpacking would write through it.
    entries = [(_info("cat/sub", 0, tarfile.SYMTYPE, "/tmp"), b""), (_info("cat/sub/note.txt", 4), b"note")]
    yield MalformedArchive("through-a-link.tar", _tarred(entries),
                         {"cat/sub": "a link or device", "cat/sub/note.txt": "deeper"})  # fmt: skip
    link = _in_directory(_set(*MODE, 0o120777 << 16), "cat/link.png")
    yield MalformedArchive("link.zip", zipped({"cat/link.png": b"/etc/passwd"}, link),
                         {"cat/link.png": "a link or device"})  # fmt: skip


def _hidden() -> Iterator[MalformedArchive]:
    junk = ("__MACOSX/cat/._0.png", "cat/.DS_Store", "dog/Thumbs.db", "dog/desktop.ini", ".git/config")
    yield MalformedArchive("from-a-mac.zip", zipped(dict.fromkeys(junk, b"x")))
    nested = {"cat/more.zip": _zip_bytes(valid_images()), "dog/more.gz": b"\x1f\x8b\x08" + bytes(20)}
    yield MalformedArchive("nested.zip", zipped(nested),
                         {"cat/more.zip": "a zip archive", "dog/more.gz": "a gzip archive"})  # fmt: skip
    yield MalformedArchive("one-encrypted.zip", zipped({}, _in_directory(_set(*FLAGS, 1))),
                         {"cat/0.png": "encrypted"}, pictures=2 * PER_CLASS - 1)  # fmt: skip
    yield MalformedArchive("encrypted.zip", zipped({}, _everywhere(_set(*FLAGS, 1))), refused="cat/0.png: encrypted")

    def one_class(data: bytearray) -> None:
        for k in range(PER_CLASS):
            _in_directory(_set(*FLAGS, 1), f"dog/{k}.png")(data)

    yield MalformedArchive("one-class-encrypted.zip", zipped({}, one_class), refused="no image of class 'dog'")
    long = "cat/" + "a" * 5000 + ".png"
    data = valid_images()["cat/0.png"]
    yield MalformedArchive("long-name.zip", zipped({long: data}), pictures=2 * PER_CLASS + 1)
    odd = "cat/caf\udce9.png"
    yield MalformedArchive("latin-name.tar", _tarred([(_info(odd, len(data)), data)]), pictures=2 * PER_CLASS + 1)


def _inconsistent() -> Iterator[MalformedArchive]:
    damaged = {"cat/0.png": "damaged in the archive"}
    one_less = 2 * PER_CLASS - 1

    def flip(data: bytearray) -> None:
        data[data.index(b"IDAT") + 9] ^= 1

    def overlap(data: bytearray) -> None:  # as in non-recursive zip bombs: entries share one body
        start = data.rindex(b"PK\x01\x02", 0, data.rindex(b"dog/1.png")) + START[0]
        _in_directory(_set(*START, struct.unpack_from("<I", data, start)[0]))(data)

    changes = {
        "wrong-checksum": flip,
        "smaller-than-stated": _in_directory(_set(*SIZE, 9_999)),
        "larger-than-stated": _in_directory(_set(*SIZE, 10)),  # a bomb that hides its size
        "not-really-lzma": _in_directory(_set(*METHOD, 14)),
        "not-really-bzip2": _in_directory(_set(*METHOD, 12)),
        "elsewhere": _in_directory(_set(*START, 2**31)),
        "overlapping": overlap,
    }
    for name, change in changes.items():
        yield MalformedArchive(f"{name}.zip", zipped({}, change), damaged, pictures=one_less)
    yield MalformedArchive("unknown-method.zip", zipped({}, _in_directory(_set(*METHOD, 97))),
                           {"cat/0.png": "compressed with method 97, which Python cannot read"},
                           pictures=one_less)  # fmt: skip
    yield MalformedArchive("huge.zip", zipped({}, _in_directory(_set(*SIZE, 2**32 - 2))),
                           {"cat/0.png": "MB allowed for one file"}, pictures=one_less)  # fmt: skip

    def twice(path: Path) -> None:
        files = {**valid_images(), "cat/X.png": valid_images()["dog/0.png"]}
        path.write_bytes(_zip_bytes(files).replace(b"cat/X.png", b"cat/0.png"))

    yield MalformedArchive("twice.zip", twice, {"cat/0.png": "name occurs twice"})


def _refused() -> Iterator[MalformedArchive]:
    def incomplete(name: str, writer: Writer) -> MalformedArchive:
        def write(path: Path) -> None:
            writer(path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

        ends = {"zip": "neither a folder nor a whole", "bz2": "a bzip2 file without a whole tar"}
        end = ends.get(name.rpartition(".")[2], "cannot be read")
        return MalformedArchive(name, write, refused=end)

    yield incomplete("incomplete.zip", zipped({}))
    yield incomplete("incomplete.tar", _tarred([]))
    yield incomplete("incomplete.tar.gz", _tarred([], "w:gz"))
    yield incomplete("incomplete.tar.bz2", _tarred([], "w:bz2"))
    yield incomplete("incomplete.tar.xz", _tarred([], "w:xz"))

    def backwards(path: Path) -> None:
        """An entry of negative size; a reader that trusts it never gets past it."""
        with path.open("wb") as file:
            for name, data in valid_images().items():
                file.write(_info(name, len(data)).tobuf() + data + bytes(-len(data) % 512))
            file.write(_info("dog/back.png", -512).tobuf(tarfile.GNU_FORMAT) + bytes(1024))

    yield MalformedArchive("endless.tar", backwards, refused="cannot be read")
    yield MalformedArchive("empty.zip", lambda path: path.write_bytes(_zip_bytes({})), refused="found no file")
    page = b"<!DOCTYPE html><html>Quota exceeded</html>"
    yield MalformedArchive("page.zip", lambda path: path.write_bytes(page), refused="but an HTML page")
    yield MalformedArchive("really.rar.zip", lambda path: path.write_bytes(b"Rar!\x1a\x07\x01\0" + bytes(600)),
                         refused="is a RAR archive: unpack it")  # fmt: skip

    def broken_text(data: bytearray) -> None:
        at = data.rindex(b"cat/0.png")
        data[at + 4] = 0xE9
        data[data.rindex(b"PK\x01\x02", 0, at) + 9] |= 8  # flag: the name is UTF-8

    yield MalformedArchive("name-is-no-text.zip", zipped({}, broken_text), refused="cannot be read")

    def empty_class(path: Path) -> None:
        path.write_bytes(_zip_bytes({**valid_images(), "fox/": b""}))

    yield MalformedArchive("empty-class.zip", empty_class, refused="no image of class 'fox'")
