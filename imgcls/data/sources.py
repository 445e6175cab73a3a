"""Folders and archives of images, listed and read in place.

An unusable file becomes a `SkippedFile`. Its reason is part of the fingerprint: another wording means a new cache.
"""

import hashlib
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".heic", ".avif",
)  # fmt: skip
ARCHIVES = {b"Rar!": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive"}
DAMAGED = "damaged in the archive"
LINK = "a link or device, not a file"
EMPTY = "an empty folder"
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # control characters, text direction
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
MAX_FILE_BYTES = 512 * 2**20  # no image of decoding.MAX_PIXELS needs more
LAYOUT = "class/image or split/class/image (split: train, val, valid, validation or test)"


class DataError(ValueError):
    """Data that cannot be used; the message says why and what to do next."""


@dataclass(frozen=True)
class SkippedFile:
    """A file that is not part of the data set, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Member:
    """One file of a source; the source reads the file again by its `handle`."""

    name: str  # below the source, with forward slashes
    size: int  # bytes
    crc: int
    handle: Any


@dataclass(frozen=True)
class Source:
    """The files of a folder or an archive in storage order; each file has been read once."""

    path: Path
    members: tuple[Member, ...]
    skipped: tuple[SkippedFile, ...]

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes, CRCs and skipped files: equal for the same files in a folder, zip or tar."""
        lines = [f"{member.name}\0{member.size}\0{member.crc:08x}\n" for member in self.members]
        lines += [f"{file.name}\0{file.reason}\n" for file in self.skipped]
        return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def read(self, members: Iterable[Member]) -> Iterator[bytes]:
        """Contents of some members, which must be in storage order: a compressed tar can only be read forwards.

        Raises:
            DataError: a file has changed since the source was opened.
        """
        with _reader(self.path) as (_, read):
            for member in members:
                data = read(member.handle)
                if isinstance(data, str) or zlib.crc32(data) != member.crc:
                    raise DataError(
                        f"{self.path}: {member.name} changed while it was read; try again when nobody writes to it"
                    )
                yield data


def open_source(path: Path) -> Source:
    """Read a folder, a zip or a tar, compressed or not, and list its files.

    Raises:
        DataError: for any other file and for an archive that is damaged as a whole.
    """
    members, skipped = [], []
    with _reader(path) as (entries, read):
        for name, handle, reason in entries:
            data = reason or read(handle)
            if isinstance(data, str):
                skipped.append(SkippedFile(name, data))
            else:
                members.append(Member(name, len(data), zlib.crc32(data), handle))
    return Source(path, tuple(members), tuple(skipped))


Entry = tuple[str, Any, str | None]  # name, argument of `read`, and the reason if the entry is skipped
Reader = tuple[Iterable[Entry], Callable[[Any], bytes | str]]  # entries, and `read`: the content or a reason


@contextmanager
def _reader(path: Path) -> Iterator[Reader]:
    if path.is_dir():
        yield _folder_entries(path), _read_regular
        return
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _zip_reader(archive)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                yield _tar_reader(archive)
        else:
            raise DataError(
                f"{path} is neither a folder nor a whole zip or tar archive{_other_type(path)}; a download cut short "
                f"looks like this too: compare its size with the original's, or unpack it and give the folder"
            )
    except (MemoryError, DataError):
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors may raise anything on malformed bytes
        raise DataError(f"{path} cannot be read: {error}; fetch or pack it again") from error


def _other_type(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return " but an HTML page, such as a server sends instead of a download"
    return next((f" but {name}" for magic, name in ARCHIVES.items() if head.startswith(magic)), "")


# ------------------------------------------------------------------ folders


def _folder_entries(path: Path) -> Iterator[Entry]:
    for name, file in sorted(_walk(path)):
        yield as_text(name), file, file if isinstance(file, str) else None


def _walk(path: Path) -> Iterator[tuple[str, Path | str]]:
    """(name, file) below a folder without junk; (name/, reason) for a folder that is empty or cannot be listed.

    Links are followed, but no folder is entered twice.
    """
    seen, unlisted = set(), []
    for folder, subfolders, files in os.walk(path, followlinks=True, onerror=unlisted.append):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not _is_junk(name))
        files = [name for name in files if not _is_junk(name)]
        if not subfolders and not files and Path(folder) != path:
            yield f"{Path(folder).relative_to(path).as_posix()}/", EMPTY
        for name in files:
            file = Path(folder, name)
            yield file.relative_to(path).as_posix(), file
    for error in unlisted:
        yield f"{Path(error.filename).relative_to(path).as_posix()}/", f"cannot be listed: {error.strerror}"


def _read_regular(file: Path) -> bytes | str:
    """Like `read_file`, but refuses pipes and devices, where reading may block forever."""
    with suppress(OSError):  # a missing file is reported by read_file
        if not stat.S_ISREG(file.stat().st_mode):
            return "a pipe or device, not a file"
    return read_file(file)


def read_file(file: Path) -> bytes | str:
    """Content of a file, or the reason why it cannot be read."""
    try:
        return _too_large(file.stat().st_size) or file.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def pictures(folder: Path) -> list[Path]:
    """Files below a folder with one of EXTENSIONS, in alphabetical order; hidden ones are skipped."""
    return [file for name, file in sorted(_walk(folder)) if isinstance(file, Path) and _has_image_name(name)]


def stat_hash(path: Path) -> str:
    """Hash of path, sizes and times: changes whenever the files of a source may have changed, without reading them."""
    digest = hashlib.sha256(os.fsencode(path.resolve()))
    for name, file in sorted(_walk(path)) if path.is_dir() else [("", path)]:
        if isinstance(file, str):
            continue
        digest.update(os.fsencode(f"{name}\0"))
        with suppress(OSError):  # reported when the file is read
            status = file.stat()
            # ctime too: a copy can have the mtime of the file that it overwrites.
            digest.update(f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\n".encode())
    return digest.hexdigest()[:32]


def as_text(name: str) -> str:
    r"""A file name that can be printed and stored: bytes that are not UTF-8 and control characters become \xe9."""
    if name.isascii() and name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


# ------------------------------------------------------------------ archives


def _zip_reader(archive: zipfile.ZipFile) -> Reader:
    def read(info: zipfile.ZipInfo) -> bytes | str:
        if info.flag_bits & 1:
            return "encrypted"
        if stat.S_ISLNK(info.external_attr >> 16):
            return LINK
        if reason := _too_large(info.file_size):
            return reason
        try:
            data = archive.read(info)
        except MemoryError:
            raise
        except Exception as error:  # decompressors may raise anything on malformed bytes
            return f"{DAMAGED}: {error}"
        wrong_size = f"{DAMAGED}: {len(data):,} bytes instead of {info.file_size:,}"
        return data if len(data) == info.file_size else wrong_size

    return _checked((info.filename, info, info.is_dir()) for info in archive.infolist()), read


def _tar_reader(archive: tarfile.TarFile) -> Reader:
    def entries() -> Iterator[tuple[str, tarfile.TarInfo, bool]]:
        end = -1
        for info in archive:
            if info.size < 0 or info.offset <= end:  # a negative size would cause an endless loop
                raise tarfile.ReadError(f"the entry {as_text(info.name)!r} states an impossible size")
            end = info.offset
            yield info.name, info, info.isdir()
        archive.fileobj.seek(archive.offset)
        if not archive.fileobj.read(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends without the empty block that closes a tar, so it was cut short")

    def read(info: tarfile.TarInfo) -> bytes | str:
        if not info.isfile():
            return LINK
        return _too_large(info.size) or archive.extractfile(info).read()

    return _checked(entries()), read


def _checked(entries: Iterable[tuple[str, Any, bool]]) -> Iterator[Entry]:
    """Files of an archive with normalized names, without junk, and at the end its empty folders.

    Args:
        entries: (name, handle, whether it is a folder) of everything in the archive.
    """
    seen, folders, parents = set(), set(), set()
    for raw, handle, is_folder in entries:
        slashed = raw.replace("\\", "/")
        parts = [part for part in slashed.split("/") if part not in ("", ".")]
        name, reason = as_text("/".join(parts)), None
        if slashed.startswith("/") or re.match(r"[A-Za-z]:", slashed):
            name, reason = as_text(raw), "absolute path in the archive"
        elif ".." in parts:
            name, reason = as_text(raw), "path leads out of the archive (..)"
        elif any(map(_is_junk, parts)):
            continue
        elif name in seen and not is_folder:
            reason = "name occurs twice in the archive; the first one counts"
        if is_folder and reason:
            continue
        parents.update(accumulate(name.split("/")[:-1], "{}/{}".format))
        if is_folder:
            folders.add(name)
        else:
            seen.add(name)
            yield name, handle, reason
    for name in sorted(folders - parents - {""}):
        yield f"{name}/", None, EMPTY


def _is_junk(part: str) -> bool:
    return part.startswith(".") or part.lower() in JUNK


def _too_large(size: int) -> str | None:
    if size > MAX_FILE_BYTES:
        return f"{size / 2**20:,.0f} MB are more than the {MAX_FILE_BYTES // 2**20} MB allowed for one file"
    return None


# ------------------------------------------------------------------ class folders


def find_class_folders(source: Source) -> tuple[list[tuple[str, Member]], list[SkippedFile]]:
    """Find the class folders below any single wrapper folder.

    Returns:
        (name, member) of every file in a class folder, with names such as class/image or split/class/image; and the
        files outside the class folders.

    Raises:
        DataError: if there are no class folders, a class has no readable file, or images are in deeper folders.
    """
    paths = [tuple(member.name.split("/")) for member in source.members]  # pathlib would take a second for 20,000
    images = [path for path in paths if _has_image_name(path[-1])] or paths
    wrapper = _wrapper(images)
    level = len(wrapper)
    splits = {path[level].lower() for path in images if len(path) > level + 1} & SPLITS.keys()
    depth = 3 if splits else 2
    found, skipped = [], []
    for path, member in zip(paths, source.members, strict=True):
        inner = path[level:]
        if path[:level] != wrapper or (splits and inner[0].lower() not in splits):
            expected = f"the split folders {', '.join(sorted(splits))}" if splits else f"{'/'.join(wrapper)}/"
            skipped.append(SkippedFile(member.name, f"outside {expected}"))
        elif len(inner) == depth:
            found.append(("/".join(inner), member))
        elif len(inner) < depth:
            skipped.append(SkippedFile(member.name, "in no class folder, so it has no label"))
        elif _has_image_name(path[-1]):
            raise DataError(
                f"{source.path}: '{member.name}' is {len(inner) - depth} level(s) deeper than expected; the layout "
                f"must be {LAYOUT}, below any single wrapper folder. Move the images up, or give the folder "
                f"that contains the class folders"
            )
        else:
            skipped.append(SkippedFile(member.name, "not a picture, and deeper than the class folders"))
    if not found:
        files = f"found only {', '.join(repr(m.name) for m in source.members[:3])} …" if paths else "found no file"
        if reasons := [f"{file.name}: {file.reason}" for file in source.skipped[:3]]:
            files += f"; skipped {len(source.skipped)}, such as {'; '.join(reasons)}"
        raise DataError(f"{source.path}: no pictures in class folders ({files}); the layout must be {LAYOUT}")
    classes = {name.split("/")[-2] for name, _ in found}
    for file in source.skipped:
        name = _class_of(file, wrapper, splits)
        if name is not None and name not in classes:
            raise DataError(
                f"{source.path}: no image of class {name!r} can be read ({file.name}: {file.reason}); repair its files "
                f"or remove its folder"
            )
    return found, skipped


def _has_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 - see find_class_folders


def _class_of(file: SkippedFile, wrapper: tuple[str, ...], splits: set[str]) -> str | None:
    """The class of a skipped file or of an empty class folder; None outside the class folders."""
    path = PurePosixPath(file.name).parts
    inner = path[len(wrapper) :]
    is_folder = file.name.endswith("/")
    if path[: len(wrapper)] != wrapper or ".." in path or len(inner) != (3 if splits else 2) - is_folder:
        return None
    if PurePosixPath(file.name).is_absolute() or (splits and inner[0].lower() not in splits):
        return None
    return inner[-1] if is_folder else inner[-2]


def _wrapper(images: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders above all splits and classes."""
    wrapper: tuple[str, ...] = ()
    while True:
        level = len(wrapper)
        tops = {path[level] for path in images if len(path) > level}
        if len(tops) != 1 or any(len(path) < level + 3 for path in images) or next(iter(tops)).lower() in SPLITS:
            return wrapper
        wrapper += (next(iter(tops)),)
