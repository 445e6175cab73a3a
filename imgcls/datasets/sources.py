"""Folders and archives of pictures, listed and read in place."""

import hashlib
import os
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
MAX_FILE_BYTES = 512 * 2**20  # no picture of decoding.MAX_PIXELS needs more
LAYOUT = "class/image or split/class/image (split: train, val, valid, validation or test)"


class DataError(ValueError):
    """Data that cannot be used as asked; the message says why and what to do next."""


@dataclass(frozen=True)
class LeftOut:
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
    left_out: tuple[LeftOut, ...]
    read: Callable[[Sequence[Member]], Iterator[bytes | str]]  # contents in turn, or the reason for none

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes and CRCs, and of what cannot be read: equal for the same files in folder, zip or tar."""
        lines = [f"{member.name}\0{member.size}\0{member.crc:08x}\n" for member in self.members]
        lines += [f"{entry.name}\0{entry.reason}\n" for entry in self.left_out]
        return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def stamp(path: Path) -> str:
    """Hash of what shows cheaply that a source has changed: where it is, sizes and modification times."""
    digest = hashlib.sha256(os.fsencode(path.resolve()))
    for name, file in sorted(_walk(path)) if path.is_dir() else [("", path)]:
        digest.update(os.fsencode(f"{name}\0"))
        with suppress(OSError):  # what cannot be looked at is reported when it is read
            status = file.stat()
            digest.update(f"{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def open_source(path: Path) -> Source:
    """List a folder, a zip or a tar, compressed or not.

    Raises:
        DataError: for any other file and for an archive that is damaged as a whole.
    """
    try:
        if path.is_dir():
            return _folder(path)
        if zipfile.is_zipfile(path):
            return _zip(path)
        if tarfile.is_tarfile(path):
            return _tar(path)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; fetch or pack it again") from error
    raise DataError(
        f"{path} is neither a folder nor a whole zip or tar archive; a download cut short looks like this too: "
        f"compare its size with the original's, or unpack it and give the folder"
    )


# ------------------------------------------------------------------ the three kinds


def _folder(path: Path) -> Source:
    members, left_out = [], []
    for name, file in sorted(_walk(path)):
        data = file_bytes(file)
        if isinstance(data, str):
            left_out.append(LeftOut(name, data))
        else:
            members.append(Member(name, len(data), zlib.crc32(data), file))
    return Source(tuple(members), tuple(left_out), lambda wanted: (file_bytes(m.handle) for m in wanted))


def _walk(path: Path) -> Iterator[tuple[str, Path]]:
    """Files below a folder, junk aside; links are followed, but no folder is entered twice."""
    seen = set()
    for folder, subfolders, files in os.walk(path, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not _is_junk(name))
        for file in files:
            if not _is_junk(file):
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
    members, left_out = [], []
    for name, info, reason in _checked((info.filename, info) for info in infos):
        if reason is None and info.flag_bits & 1:
            reason = "encrypted"
        if reason := reason or _too_large(info.file_size):
            left_out.append(LeftOut(name, reason))
        else:
            members.append(Member(name, info.file_size, info.CRC, info))

    def read(wanted: Sequence[Member]) -> Iterator[bytes | str]:
        with zipfile.ZipFile(path) as archive:
            for member in wanted:
                try:
                    yield archive.read(member.handle)
                except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
                    yield f"damaged in the archive: {error}"

    return Source(tuple(members), tuple(left_out), read)


def _tar(path: Path) -> Source:
    members, left_out = [], []
    with tarfile.open(path) as archive:
        infos = ((info.name, info) for info in archive if not info.isdir())
        for name, info, reason in _checked(infos):
            if reason is None and not info.isfile():
                reason = "a link or device, not a file"
            if reason := reason or _too_large(info.size):
                left_out.append(LeftOut(name, reason))
            else:
                data = archive.extractfile(info).read()
                members.append(Member(name, info.size, zlib.crc32(data), info))

    def read(wanted: Sequence[Member]) -> Iterator[bytes | str]:
        with tarfile.open(path) as archive:
            for member in wanted:  # in storage order, so that a compressed archive is read once and forwards
                yield archive.extractfile(member.handle).read()

    return Source(tuple(members), tuple(left_out), read)


def _checked(entries: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any, str | None]]:
    """Entries of an archive with tidy names, junk aside, and the reason where one cannot be accepted."""
    seen = set()
    for raw, info in entries:
        slashed = raw.replace("\\", "/")
        parts = [part for part in slashed.split("/") if part not in ("", ".")]
        name = "/".join(parts)
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


def arrange(source: Source, where: str) -> tuple[list[tuple[str, Member]], list[LeftOut]]:
    """Find the class folders below any single wrapper folder.

    Returns:
        (name, member) of every file in a class folder, the name being class/image or split/class/image; and the
        files that lie elsewhere.

    Raises:
        DataError: if there are no class folders, or pictures lie deeper than that.
    """
    paths = [PurePosixPath(member.name).parts for member in source.members]
    pictures = [path for path in paths if PurePosixPath(path[-1]).suffix.lower() in EXTENSIONS] or paths
    wrapper = _wrapper(pictures)
    skip = len(wrapper)
    tops = Counter(path[skip].lower() for path in pictures if len(path) > skip + 1)
    splits = {top for top in tops if top in SPLITS}
    depth = 3 if splits else 2
    kept, left_out = [], []
    for path, member in zip(paths, source.members, strict=True):
        inner = path[skip:]
        is_picture = PurePosixPath(path[-1]).suffix.lower() in EXTENSIONS
        if path[:skip] != wrapper or (splits and inner[0].lower() not in splits):
            where_to = f"the split folders {', '.join(sorted(splits))}" if splits else f"{'/'.join(wrapper)}/"
            left_out.append(LeftOut(member.name, f"lies outside {where_to}"))
        elif len(inner) == depth:
            kept.append(("/".join(inner), member))
        elif len(inner) < depth:
            left_out.append(LeftOut(member.name, "in no class folder, so it has no label"))
        elif is_picture:
            raise DataError(
                f"{where}: '{member.name}' lies {len(inner) - depth} level(s) deeper than expected; the layout "
                f"must be {LAYOUT}, below any single wrapper folder. Move the pictures up, or point at the folder "
                f"that holds the class folders"
            )
        else:
            left_out.append(LeftOut(member.name, "not a picture, and deeper than the class folders"))
    if not kept:
        found = f"found only {', '.join(repr(m.name) for m in source.members[:3])} …" if paths else "found no file"
        raise DataError(f"{where}: no pictures in class folders ({found}); the layout must be {LAYOUT}")
    return kept, left_out


def _wrapper(pictures: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that hold everything and mean nothing."""
    wrapper: tuple[str, ...] = ()
    while True:
        level = len(wrapper)
        tops = {path[level] for path in pictures if len(path) > level}
        if len(tops) != 1 or any(len(path) < level + 3 for path in pictures) or next(iter(tops)).lower() in SPLITS:
            return wrapper
        wrapper += (next(iter(tops)),)
