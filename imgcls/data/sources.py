"""Folders and archives of pictures, listed and read in place."""

import hashlib
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".heic",
    ".avif",
)
ARCHIVES = {b"Rar!": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive"}
DAMAGED = "damaged in the archive"
CHANGED = "changed while it was read"
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # control characters, other directions
LINK = "a link or device, not a file"
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
MAX_FILE_BYTES = 512 * 2**20  # no picture of decoding.MAX_PIXELS needs more
EMPTY = "an empty folder"
LAYOUT = "class/image or split/class/image (split: train, val, valid, validation or test)"


class DataError(ValueError):
    """Data that cannot be used as asked; the message says why and what to do next."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not part of the data set, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Member:
    """One file of a source; `handle` is what the source needs to read it again."""

    name: str  # below the source, with forward slashes
    size: int  # bytes
    crc: int
    handle: Any


@dataclass(frozen=True)
class Source:
    """The files of a folder or an archive, in storage order."""

    members: tuple[Member, ...]
    skipped: tuple[Skipped, ...]
    read: Callable[[Sequence[Member]], Iterator[bytes | str]]  # contents in turn, or the reason for none
    is_stated: bool = False  # sizes and CRCs are what the archive says of contents that nobody has read yet

    def verified(self) -> "Source":
        """The same with every content read once; what is not as stated is left out, which changes the fingerprint."""
        if not self.is_stated:
            return self
        found = list(zip(self.members, (_reason(data) for data in self.read(self.members)), strict=True))
        whole = tuple(member for member, reason in found if reason is None)
        damaged = tuple(Skipped(member.name, reason) for member, reason in found if reason is not None)
        return replace(self, members=whole, skipped=self.skipped + damaged, is_stated=False)

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes and CRCs, and of what cannot be read: equal for the same files in folder, zip or tar."""
        lines = [f"{member.name}\0{member.size}\0{member.crc:08x}\n" for member in self.members]
        lines += [f"{entry.name}\0{entry.reason}\n" for entry in self.skipped]
        return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _reason(data: bytes | str) -> str | None:
    return data if isinstance(data, str) else None


def stamp(path: Path) -> str:
    """Hash of what shows cheaply that a source may have changed: where it is, sizes and times."""
    digest = hashlib.sha256(os.fsencode(path.resolve()))
    for name, file in sorted(_walk(path)) if path.is_dir() else [("", path)]:
        digest.update(os.fsencode(f"{name}\0"))
        with suppress(OSError):  # what cannot be looked at is reported when it is read
            status = file.stat()
            # The last: a copy can have the time of the file that it overwrites, but not the time of the overwriting.
            digest.update(f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\n".encode())
    return digest.hexdigest()[:32]


def open_source(path: Path) -> Source:
    """List a folder, a zip or a tar, compressed or not.

    Raises:
        DataError: for any other file and for an archive that is damaged as a whole.
    """
    if path.is_dir():
        return _folder(path)
    try:
        if zipfile.is_zipfile(path):
            return _zip(path)
        if tarfile.is_tarfile(path):
            return _tar(path)
    except MemoryError:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise anything at hostile bytes
        raise DataError(f"{path} cannot be read: {error}; fetch or pack it again") from error
    raise DataError(
        f"{path} is neither a folder nor a whole zip or tar archive{_other_kind(path)}; a download cut short looks "
        f"like this too: compare its size with the original's, or unpack it and give the folder"
    )


def _other_kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return " but an HTML page, such as a server sends instead of a download"
    return next((f" but {kind}" for magic, kind in ARCHIVES.items() if head.startswith(magic)), "")


# ------------------------------------------------------------------ the three kinds


def _folder(path: Path) -> Source:
    members, skipped, closed = [], [], []
    for name, file in sorted(_walk(path, closed)):
        data = file_bytes(file) if _is_regular(file) else "a pipe or device, not a file"
        if isinstance(data, str):
            skipped.append(Skipped(as_text(name), data))
        else:
            members.append(Member(as_text(name), len(data), zlib.crc32(data), file))
    skipped += [Skipped(as_text(f"{name}/"), reason) for name, reason in closed]
    return Source(tuple(members), tuple(skipped), lambda wanted: (_as_listed(m, file_bytes(m.handle)) for m in wanted))


def _as_listed(member: Member, data: bytes | str) -> bytes | str:
    return data if not isinstance(data, str) and zlib.crc32(data) == member.crc else CHANGED


def as_text(name: str) -> str:
    r"""A file name as it can be shown and stored: bytes that are no UTF-8, and what moves a cursor, stand as \xe9."""
    if name.isascii() and name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def _is_regular(file: Path) -> bool:
    """False for a pipe, which would be read for ever; what is not there is reported when it is read."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode)


def _walk(path: Path, closed: list[tuple[str, str]] | None = None) -> Iterator[tuple[str, Path]]:
    """Files below a folder, junk aside; links are followed, but no folder is entered twice.

    Folders that are empty or cannot be listed are added to `closed` with the reason.
    """
    seen, closed = set(), [] if closed is None else closed

    def refused(error: OSError) -> None:
        closed.append((Path(error.filename).relative_to(path).as_posix(), f"cannot be listed: {error.strerror}"))

    for folder, subfolders, files in os.walk(path, followlinks=True, onerror=refused):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not _is_junk(name))
        files = [name for name in files if not _is_junk(name)]
        if not subfolders and not files and Path(folder) != path:
            closed.append((Path(folder).relative_to(path).as_posix(), EMPTY))
        for file in files:
            full = Path(folder, file)
            yield full.relative_to(path).as_posix(), full


def pictures(folder: Path) -> list[Path]:
    """Files below a folder whose names end as those of pictures do, in alphabetical order; hidden ones are skipped."""
    return [file for _, file in sorted(_walk(folder)) if file.suffix.lower() in EXTENSIONS]


def file_bytes(file: Path) -> bytes | str:
    """What is in a file, or the reason why that is not to be had."""
    try:
        if reason := _too_large(file.stat().st_size):
            return reason
        return file.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _zip(path: Path) -> Source:
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        folders = [info.filename for info in archive.infolist() if info.is_dir()]
    members, skipped = [], []
    for name, info, reason in _checked((info.filename, info) for info in infos):
        if reason is None and info.flag_bits & 1:
            reason = "encrypted"
        if reason is None and stat.S_ISLNK(info.external_attr >> 16):
            reason = LINK
        if reason := reason or _too_large(info.file_size):
            skipped.append(Skipped(name, reason))
        else:
            members.append(Member(name, info.file_size, info.CRC, info))

    def read(wanted: Sequence[Member]) -> Iterator[bytes | str]:
        with zipfile.ZipFile(path) as archive:
            for member in wanted:
                try:
                    data = archive.read(member.handle)
                    lies = f"{DAMAGED}: {len(data):,} bytes instead of {member.size:,}"
                    yield data if len(data) == member.size else lies
                except MemoryError:
                    raise
                except Exception as error:  # whichever decompressor it is, a member is as hostile as a picture
                    yield f"{DAMAGED}: {error}"

    return Source(tuple(members), (*skipped, *_empty(folders, members, skipped)), read, is_stated=True)


def _tar(path: Path) -> Source:
    members, skipped, folders = [], [], []
    with tarfile.open(path) as archive:
        for name, info, reason in _checked(_forwards(archive, folders)):
            if reason is None and not info.isfile():
                reason = LINK
            if reason := reason or _too_large(info.size):
                skipped.append(Skipped(name, reason))
            else:
                data = archive.extractfile(info).read()
                members.append(Member(name, info.size, zlib.crc32(data), info))

    def read(wanted: Sequence[Member]) -> Iterator[bytes | str]:
        with tarfile.open(path) as archive:
            for member in wanted:  # in storage order, so that a compressed archive is read once and forwards
                yield _as_listed(member, archive.extractfile(member.handle).read())

    return Source(tuple(members), (*skipped, *_empty(folders, members, skipped)), read)


def _empty(folders: Sequence[str], members: Sequence[Member], skipped: Sequence[Skipped]) -> Iterator[Skipped]:
    """Folders of an archive that hold nothing but junk, as far as the archive names them."""
    names = [entry.name for entry in (*members, *skipped)]
    tidy = {name for name, _, reason in _checked((name.rstrip("/\\"), None) for name in folders) if reason is None}
    used = {parent for name in {*names, *tidy} for parent in accumulate(name.split("/")[:-1], "{}/{}".format)}
    yield from (Skipped(f"{name}/", EMPTY) for name in sorted(tidy - used - {""}))


def _forwards(archive: tarfile.TarFile, folders: list[str]) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Files of a tar, each behind the one before it: a negative size would lead back, round and round.

    The names of its folders are added to `folders`.
    """
    end = -1
    for info in archive:
        if info.size < 0 or info.offset <= end:
            raise tarfile.ReadError(f"the entry {as_text(info.name)!r} states an impossible size")
        end = info.offset
        if info.isdir():
            folders.append(info.name)
        else:
            yield info.name, info
    archive.fileobj.seek(archive.offset)
    if not archive.fileobj.read(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends without the empty block that closes a tar, so it was cut short")


def _checked(entries: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any, str | None]]:
    """Entries of an archive with tidy names, junk aside, and the reason where one cannot be accepted."""
    seen = set()
    for raw, info in entries:
        slashed = raw.replace("\\", "/")
        parts = [part for part in slashed.split("/") if part not in ("", ".")]
        name, raw = as_text("/".join(parts)), as_text(raw)
        if slashed.startswith("/") or re.match(r"[A-Za-z]:", slashed):
            yield raw, info, "absolute path in the archive"
        elif ".." in parts:
            yield raw, info, "path leads out of the archive (..)"
        elif any(map(_is_junk, parts)):
            continue
        elif name in seen:
            yield name, info, "name occurs twice in the archive; the first one counts"
        else:
            seen.add(name)
            yield name, info, None


def _is_junk(part: str) -> bool:
    return part.startswith(".") or part.lower() in JUNK


def _too_large(size: int) -> str | None:
    if size > MAX_FILE_BYTES:
        return f"{size / 2**20:,.0f} MB are more than the {MAX_FILE_BYTES // 2**20} MB allowed for one file"
    return None


# ------------------------------------------------------------------ the layout


def find_class_folders(source: Source, where: str) -> tuple[list[tuple[str, Member]], list[Skipped]]:
    """Find the class folders below any single wrapper folder.

    Returns:
        (name, member) of every file in a class folder, the name being class/image or split/class/image; and the
        files that lie elsewhere.

    Raises:
        DataError: if there are no class folders, or pictures lie deeper than that.
    """
    paths = [tuple(member.name.split("/")) for member in source.members]  # pathlib would take a second for 20,000
    pictures = [path for path in paths if _is_picture(path[-1])] or paths
    wrapper = _wrapper(pictures)
    skip = len(wrapper)
    tops = Counter(path[skip].lower() for path in pictures if len(path) > skip + 1)
    splits = {top for top in tops if top in SPLITS}
    depth = 3 if splits else 2
    kept, skipped = [], []
    for path, member in zip(paths, source.members, strict=True):
        inner = path[skip:]
        if path[:skip] != wrapper or (splits and inner[0].lower() not in splits):
            where_to = f"the split folders {', '.join(sorted(splits))}" if splits else f"{'/'.join(wrapper)}/"
            skipped.append(Skipped(member.name, f"lies outside {where_to}"))
        elif len(inner) == depth:
            kept.append(("/".join(inner), member))
        elif len(inner) < depth:
            skipped.append(Skipped(member.name, "in no class folder, so it has no label"))
        elif _is_picture(path[-1]):
            raise DataError(
                f"{where}: '{member.name}' lies {len(inner) - depth} level(s) deeper than expected; the layout "
                f"must be {LAYOUT}, below any single wrapper folder. Move the pictures up, or point at the folder "
                f"that holds the class folders"
            )
        else:
            skipped.append(Skipped(member.name, "not a picture, and deeper than the class folders"))
    if not kept:
        found = f"found only {', '.join(repr(m.name) for m in source.members[:3])} …" if paths else "found no file"
        if refused := [f"{entry.name}: {entry.reason}" for entry in source.skipped[:3]]:
            found += f"; {len(source.skipped)} left out, such as {'; '.join(refused)}"
        raise DataError(f"{where}: no pictures in class folders ({found}); the layout must be {LAYOUT}")
    known = {name.split("/")[-2] for name, _ in kept}
    for entry in source.skipped:
        gone = _class_of(entry, wrapper, splits)
        if gone is not None and gone not in known:
            raise DataError(
                f"{where}: no image of class {gone!r} can be read ({entry.name}: {entry.reason}); repair its files "
                f"or remove its folder"
            )
    return kept, skipped


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 - see arrange


def _class_of(entry: Skipped, wrapper: tuple[str, ...], splits: set[str]) -> str | None:
    """The class that a file would have belonged to, or that an empty folder stands for; None if it is neither."""
    path = PurePosixPath(entry.name).parts
    inner = path[len(wrapper) :]
    is_folder = entry.name.endswith("/")
    if path[: len(wrapper)] != wrapper or ".." in path or len(inner) != (3 if splits else 2) - is_folder:
        return None
    if PurePosixPath(entry.name).is_absolute() or (splits and inner[0].lower() not in splits):
        return None
    return inner[-1] if is_folder else inner[-2]


def _wrapper(pictures: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that hold everything and mean nothing."""
    wrapper: tuple[str, ...] = ()
    while True:
        level = len(wrapper)
        tops = {path[level] for path in pictures if len(path) > level}
        if len(tops) != 1 or any(len(path) < level + 3 for path in pictures) or next(iter(tops)).lower() in SPLITS:
            return wrapper
        wrapper += (next(iter(tops)),)
