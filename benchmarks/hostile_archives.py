"""Archives as strangers send them, each with what has to become of it. Beside the harm, all hold two sound classes."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.hostile import encode

PER_CLASS = 4
Writer = Callable[[Path], None]


@dataclass(frozen=True)
class HostileArchive:
    """One archive: what must be left out beside the sound pictures, or why it must be refused as a whole."""

    name: str
    write: Writer
    skipped: dict[str, str] = field(default_factory=dict)  # name -> part of the reason
    refused: str = ""  # part of the error
    pictures: int = 2 * PER_CLASS  # that are read


def archives() -> list[HostileArchive]:
    """All of them, in a fixed order, the same contents every time."""
    return [*_escaping(), *_hidden(), *_lying(), *_whole()]


def sound() -> dict[str, bytes]:
    """Pictures of cats and dogs by name, each different."""
    rng = np.random.default_rng(5)
    names = [f"{kind}/{k}.png" for kind in ("cat", "dog") for k in range(PER_CLASS)]
    return {name: encode(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for name in names}


def zipped(more: dict[str, bytes], after: Callable[[bytearray], None] | None = None, method: int = 0) -> Writer:
    """A zip of the sound pictures and of more, whose bytes are then spoilt."""

    def write(path: Path) -> None:
        path.write_bytes(_zip_bytes({**sound(), **more}, method, after))

    return write


def _zip_bytes(files: dict[str, bytes], method: int = 0, after: Callable[[bytearray], None] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)  # ZipInfo: no time of day
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
            for name, data in sound().items():
                archive.addfile(_info(name, len(data)), io.BytesIO(data))
            for info, data in entries:
                archive.addfile(info, io.BytesIO(data))

    return write


def _info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def _escaping() -> Iterator[HostileArchive]:
    data = sound()["cat/0.png"]
    outside = {
        "../escaped.png": "path leads out of the archive",
        "cat/../../escaped.png": "path leads out of the archive",
        "/tmp/escaped.png": "absolute path",
        "C:\\escaped.png": "absolute path",
        "..\\escaped.png": "path leads out of the archive",
    }
    yield HostileArchive("escaping.zip", zipped(dict.fromkeys(outside, data)), outside)
    entries = [(_info(name, len(data)), data) for name in outside]
    yield HostileArchive("escaping.tar", _tarred(entries), outside)
    links = {"cat/link.png": tarfile.SYMTYPE, "dog/hard.png": tarfile.LNKTYPE, "dog/pipe.png": tarfile.FIFOTYPE,
             "cat/disk.png": tarfile.CHRTYPE}  # fmt: skip
    entries = [(_info(name, 0, kind, "/etc/passwd"), b"") for name, kind in links.items()]
    yield HostileArchive("links.tar", _tarred(entries), dict.fromkeys(links, "a link or device"))
    # A linked folder, and a file that an unpacker would write through it.
    entries = [(_info("cat/sub", 0, tarfile.SYMTYPE, "/tmp"), b""), (_info("cat/sub/note.txt", 4), b"note")]
    yield HostileArchive("through-a-link.tar", _tarred(entries),
                         {"cat/sub": "a link or device", "cat/sub/note.txt": "deeper"})  # fmt: skip
    link = _in_directory(_set(*MODE, 0o120777 << 16), "cat/link.png")
    yield HostileArchive("link.zip", zipped({"cat/link.png": b"/etc/passwd"}, link),
                         {"cat/link.png": "a link or device"})  # fmt: skip


def _hidden() -> Iterator[HostileArchive]:
    junk = ("__MACOSX/cat/._0.png", "cat/.DS_Store", "dog/Thumbs.db", "dog/desktop.ini", ".git/config")
    yield HostileArchive("from-a-mac.zip", zipped(dict.fromkeys(junk, b"x")))
    nested = {"cat/more.zip": _zip_bytes(sound()), "dog/more.gz": b"\x1f\x8b\x08" + bytes(20)}
    yield HostileArchive("nested.zip", zipped(nested),
                         {"cat/more.zip": "a zip archive", "dog/more.gz": "a gzip archive"})  # fmt: skip
    yield HostileArchive("one-encrypted.zip", zipped({}, _in_directory(_set(*FLAGS, 1))),
                         {"cat/0.png": "encrypted"}, pictures=2 * PER_CLASS - 1)  # fmt: skip
    yield HostileArchive("encrypted.zip", zipped({}, _everywhere(_set(*FLAGS, 1))), refused="cat/0.png: encrypted")

    def one_class(data: bytearray) -> None:
        for k in range(PER_CLASS):
            _in_directory(_set(*FLAGS, 1), f"dog/{k}.png")(data)

    yield HostileArchive("one-class-encrypted.zip", zipped({}, one_class), refused="no image of class 'dog'")
    long = "cat/" + "a" * 5000 + ".png"
    data = sound()["cat/0.png"]
    yield HostileArchive("long-name.zip", zipped({long: data}), pictures=2 * PER_CLASS + 1)
    odd = "cat/caf\udce9.png"
    yield HostileArchive("latin-name.tar", _tarred([(_info(odd, len(data)), data)]), pictures=2 * PER_CLASS + 1)


def _lying() -> Iterator[HostileArchive]:
    damaged = {"cat/0.png": "damaged in the archive"}
    one_less = 2 * PER_CLASS - 1

    def flip(data: bytearray) -> None:
        data[data.index(b"IDAT") + 9] ^= 1

    yield HostileArchive("wrong-checksum.zip", zipped({}, flip), damaged, pictures=one_less)
    yield HostileArchive("smaller-than-stated.zip", zipped({}, _in_directory(_set(*SIZE, 9_999))), damaged,
                         pictures=one_less)  # fmt: skip
    # Ten bytes stated and the whole behind them: a bomb that hides its size.
    yield HostileArchive("larger-than-stated.zip", zipped({}, _in_directory(_set(*SIZE, 10))), damaged,
                         pictures=one_less)  # fmt: skip
    yield HostileArchive("huge.zip", zipped({}, _in_directory(_set(*SIZE, 2**32 - 2))),
                         {"cat/0.png": "MB allowed for one file"}, pictures=one_less)  # fmt: skip
    yield HostileArchive("unknown-method.zip", zipped({}, _in_directory(_set(*METHOD, 99))), damaged,
                         pictures=one_less)  # fmt: skip
    yield HostileArchive("not-really-lzma.zip", zipped({}, _in_directory(_set(*METHOD, 14))), damaged,
                         pictures=one_less)  # fmt: skip
    yield HostileArchive("not-really-bzip2.zip", zipped({}, _in_directory(_set(*METHOD, 12))), damaged,
                         pictures=one_less)  # fmt: skip
    yield HostileArchive("elsewhere.zip", zipped({}, _in_directory(_set(*START, 2**31))), damaged,
                         pictures=one_less)  # fmt: skip

    def overlap(data: bytearray) -> None:  # as the non-recursive bombs do: one body for many entries
        start = data.rindex(b"PK\x01\x02", 0, data.rindex(b"dog/1.png")) + START[0]
        _in_directory(_set(*START, struct.unpack_from("<I", data, start)[0]))(data)

    yield HostileArchive("overlapping.zip", zipped({}, overlap), damaged, pictures=one_less)

    def twice(path: Path) -> None:
        files = {**sound(), "cat/X.png": sound()["dog/0.png"]}
        path.write_bytes(_zip_bytes(files).replace(b"cat/X.png", b"cat/0.png"))

    yield HostileArchive("twice.zip", twice, {"cat/0.png": "name occurs twice"})


def _whole() -> Iterator[HostileArchive]:
    def torn(name: str, writer: Writer) -> HostileArchive:
        def write(path: Path) -> None:
            writer(path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

        end = "neither a folder nor a whole" if name.endswith(("zip", "bz2")) else "cannot be read"
        return HostileArchive(name, write, refused=end)

    yield torn("torn.zip", zipped({}))
    yield torn("torn.tar", _tarred([]))
    yield torn("torn.tar.gz", _tarred([], "w:gz"))
    yield torn("torn.tar.bz2", _tarred([], "w:bz2"))
    yield torn("torn.tar.xz", _tarred([], "w:xz"))

    def backwards(path: Path) -> None:
        """An entry that ends before it begins: a reader that trusts it reads the same entry for ever."""
        with path.open("wb") as file:
            for name, data in sound().items():
                file.write(_info(name, len(data)).tobuf() + data + bytes(-len(data) % 512))
            file.write(_info("dog/back.png", -512).tobuf(tarfile.GNU_FORMAT) + bytes(1024))

    yield HostileArchive("endless.tar", backwards, refused="cannot be read")
    yield HostileArchive("empty.zip", lambda path: path.write_bytes(_zip_bytes({})), refused="found no file")
    page = b"<!DOCTYPE html><html>Quota exceeded</html>"
    yield HostileArchive("page.zip", lambda path: path.write_bytes(page), refused="but an HTML page")
    yield HostileArchive("really.rar.zip", lambda path: path.write_bytes(b"Rar!\x1a\x07\x01\0" + bytes(600)),
                         refused="but a RAR archive")  # fmt: skip

    def broken_text(data: bytearray) -> None:
        at = data.rindex(b"cat/0.png")
        data[at + 4] = 0xE9
        data[data.rindex(b"PK\x01\x02", 0, at) + 9] |= 8  # says that the name is UTF-8

    yield HostileArchive("name-is-no-text.zip", zipped({}, broken_text), refused="cannot be read")

    def empty_class(path: Path) -> None:
        path.write_bytes(_zip_bytes({**sound(), "fox/": b""}))

    yield HostileArchive("empty-class.zip", empty_class, refused="no image of class 'fox'")
