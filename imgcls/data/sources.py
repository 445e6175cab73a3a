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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from imgcls.data.decoding import looks_like_image
from imgcls.messages import UserError

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
OF_SPLITS = frozenset({"set", "data", "dataset", "image", "images", "img", "imgs", "photos", "pictures", "split"})
EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".heic", ".avif",
)  # fmt: skip
UNREAD_ARCHIVES = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard (`tar --zstd -xf` unpacks it)",
    b"\x04\x22\x4d\x18": "compressed with LZ4",
    b"\x1f\x8b": "a gzip file without a whole tar in it",
    b"BZh": "a bzip2 file without a whole tar in it",
    b"\xfd7zXZ\0": "an xz file without a whole tar in it",
}  # by how they start
PART = re.compile(r"\.(zip|7z|rar|tar|tgz|tar\.\w+)\.(\d{2,4}|a[a-z])$|\.z\d\d$|\.part\d+\.\w+$", re.IGNORECASE)
ARCHIVE = re.compile(r"(\.tar)?\.(zip|tar|tgz|gz|bz2|xz|zst|7z|rar)$", re.IGNORECASE)  # the end of a name
COMPRESSIONS = {
    9: "Deflate64",
    20: "Zstandard",
    93: "Zstandard",
    95: "XZ",
    96: "JPEG",
    98: "PPMd",
    99: "AES encryption",
}  # of zip entries
DAMAGED = "damaged in the archive"
LINK = "a link or device, not a file"
EMPTY = "an empty folder"
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # control characters, text direction
JUNK = frozenset({
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "lost+found", "$recycle.bin", "recycler",
    "system volume information", "@eadir", "@recycle", "#recycle", "#snapshot", "@tmp", "found.000", "__pycache__",
})  # fmt: skip
# Folders in which tools write, also pictures.
OUTPUTS = frozenset({
    "runs", "wandb", "mlruns", "lightning_logs", "tb_logs", "logs", "checkpoints", "output", "outputs", "results",
    "venv", "env", "node_modules", "site-packages",
})  # fmt: skip
MAX_FILE_BYTES = 512 * 2**20  # no image of decoding.MAX_PIXELS needs more
LAYOUT = "class/image or split/class/image (split: train, val, valid, validation or test)"


class DataError(UserError):
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
    picture: bool = False  # whether the content starts like an image


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
                members.append(Member(name, len(data), zlib.crc32(data), handle, looks_like_image(data)))
    files = defaultdict(list)
    for member in members:
        files[parent(member.name)].append(member.name.rpartition("/")[2])
    runs = tuple(f"{folder}/" for folder, names in files.items() if folder and _is_run(names))
    members = [member for member in members if not member.name.startswith(runs)]
    return Source(path, tuple(members), tuple(skipped))


Entry = tuple[str, Any, str | None]  # name, argument of `read`, and the reason if the entry is skipped
Reader = tuple[Iterable[Entry], Callable[[Any], bytes | str]]  # entries, and `read`: the content or a reason


@contextmanager
def _reader(path: Path) -> Iterator[Reader]:
    if path.is_dir():
        yield _folder_entries(path), _read_regular
        return
    if PART.search(path.name):
        raise DataError(
            f"{path} is one part of a split archive: join the parts, as in `cat photos.zip.0* > photos.zip` or "
            f"`zip -s 0 photos.zip --out whole.zip`, or unpack them and give the folder"
        )
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _zip_reader(archive)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                yield _tar_reader(archive)
        elif what := _other_archive(path):
            raise DataError(f"{path} is {what}: unpack it and give the folder; if that fails, fetch it again")
        elif what := _other_file(path):
            raise DataError(f"{path} is {what}; classes are folders: give the folder or archive with {LAYOUT}")
        else:
            raise DataError(
                f"{path} is neither a folder nor a whole zip or tar archive{_html(path)}; a download cut short "
                f"looks like this too: compare its size with the original's, or unpack it and give the folder"
            )
    except (MemoryError, DataError):
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors may raise anything on malformed bytes
        raise DataError(f"{path} cannot be read: {error}; fetch or pack it again") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _other_archive(path: Path) -> str:
    return next((what for magic, what in UNREAD_ARCHIVES.items() if _head(path).startswith(magic)), "")


def _other_file(path: Path) -> str:
    """What other tools take as a data set: a list of files or a description of folders; also one picture."""
    if not path.stat().st_size:
        return "an empty file"
    if looks_like_image(_head(path)):
        return "one picture (`imgcls predict` classifies it)"
    return "a text file" if path.suffix.lower() in (".yaml", ".yml", ".csv", ".json", ".jsonl", ".txt") else ""


def _html(path: Path) -> str:
    page = _head(path).lstrip().lower().startswith((b"<!doctype html", b"<html"))
    return " but an HTML page, such as a server sends instead of a download" if page else ""


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
        if Path(folder) != path and _is_run(files):
            subfolders.clear()
            continue
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


def files_below(folder: Path) -> list[Path]:
    """Files below a folder, in alphabetical order, without hidden files and those of systems and training."""
    return [file for _, file in sorted(_walk(folder)) if isinstance(file, Path)]


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
            return "encrypted: unpack the archive with its password and give the folder"
        if stat.S_ISLNK(info.external_attr >> 16):
            return LINK
        if reason := _too_large(info.file_size):
            return reason
        try:
            data = archive.read(info)
        except MemoryError:
            raise
        except NotImplementedError:
            method = COMPRESSIONS.get(info.compress_type, f"method {info.compress_type}")
            return f"compressed with {method}, which Python cannot read: unpack the archive and give the folder"
        except Exception as error:  # decompressors may raise anything on malformed bytes
            return f"{DAMAGED}: {error}"
        wrong_size = f"{DAMAGED}: {len(data):,} bytes instead of {info.file_size:,}"
        return data if len(data) == info.file_size else wrong_size

    entries = archive.infolist()
    if any(info.volume or info.header_offset < 0 for info in entries):
        raise DataError(
            f"{archive.filename} is the last part of a split archive: join the parts, as in `zip -s 0 photos.zip "
            f"--out whole.zip` or `cat photos.zip.0* > photos.zip`, or unpack them and give the folder"
        )
    return _checked((_zip_name(info, archive.filename), info, info.is_dir()) for info in entries), read


def _zip_name(info: zipfile.ZipInfo, where: str | None) -> str:
    """The name of an entry. Many programs write UTF-8 without the flag for it, and `zipfile` then assumes cp437.

    Raises:
        DataError: the name of a folder has frames, Greek or mathematical signs in cp437, so it is in neither encoding.
    """
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        if re.search("[\u0370-\u03ff\u2200-\u25ff]", parent(info.filename)):
            raise DataError(
                f"{where}: the folder {parent(info.filename)!r} has a name in an encoding that the archive does not "
                f"state, such as GBK or Shift-JIS: unpack it with `unzip -O gbk` (or the encoding of the machine that "
                f"packed it) and give the folder"
            ) from None
        return info.filename


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


def _is_run(files: Sequence[str]) -> bool:
    """Whether these are the files of a training run, whose figures are no data."""
    return {"card.json", "weights.safetensors"} <= set(files) or any(f.startswith("events.out.tfevents") for f in files)


def parent(name: str) -> str:
    """The folder of a name with forward slashes; empty for none."""
    return name.rstrip("/").rpartition("/")[0]


def _too_large(size: int) -> str | None:
    if size > MAX_FILE_BYTES:
        return f"{size / 2**20:,.0f} MB are more than the {MAX_FILE_BYTES // 2**20} MB allowed for one file"
    return None


# ------------------------------------------------------------------ class folders


def split_named(folder: str) -> str | None:
    """The split that a folder name such as Train, VALIDATION, test_set or images-train means; None for other names."""
    words = re.sub(r"set$", "", folder.strip().lower())
    words = [word for word in re.split(r"[\s_-]+", words) if word and word not in OF_SPLITS]
    return SPLITS.get(words[0]) if len(words) == 1 else None


def find_class_folders(
    source: Source,
) -> tuple[list[tuple[str, Member]], list[SkippedFile], list[SkippedFile]]:
    """Find the class folders below any single wrapper folder, and below one in each split.

    A folder is a split if it is called like one and has folders inside, else a class.

    Returns:
        (name, member) of every file in a class folder, with names such as class/image or split/class/image; the files
        outside the class folders; and the splits, and the classes of a split, of which no file can be read.

    Raises:
        DataError: if there are no class folders, a class has no readable file, or images are in deeper folders.
    """
    source = _with_plain_splits(source)
    paths = [tuple(member.name.split("/")) for member in source.members]  # pathlib would take a second for 20,000
    pictures = [_is_picture(member) for member in source.members]
    images = [path for path, picture in zip(paths, pictures, strict=True) if picture] or paths
    wrapper = _wrapper(images)
    level = len(wrapper)
    skipped_paths = [tuple(file.name.split("/")) for file in source.skipped]
    inside = [path[level:] for path in (*paths, *skipped_paths) if path[:level] == wrapper]
    splits = _split_folders([path[level:] for path in images], inside)
    # Beside val or test alone, folders with pictures are the classes of what is left to divide.
    beside = (
        set() if "train" in map(split_named, splits) else {path[level] for path in images if len(path) == level + 2}
    )
    found, elsewhere = [], []
    for path, member, picture in zip(paths, source.members, pictures, strict=True):
        inner = path[level:]
        is_class = not splits or (inner and inner[0] in beside - splits)
        depth = 2 if is_class else 3
        if path[:level] != wrapper or not (is_class or inner[0] in splits):
            expected = f"the split folders {', '.join(sorted(splits))}" if splits else f"{'/'.join(wrapper)}/"
            elsewhere.append(SkippedFile(member.name, f"outside {expected}"))
        elif len(inner) == depth:
            found.append(("/".join(inner), member))
        elif len(inner) < depth:
            elsewhere.append(SkippedFile(member.name, "in no class folder, so it has no label"))
        elif picture and inner[0].lower() not in OUTPUTS:
            raise DataError(
                f"{source.path}: '{member.name}' is {len(inner) - depth} level(s) deeper than expected; the layout "
                f"must be {LAYOUT}, below any single wrapper folder. Move the images up, or give the folder "
                f"that contains the class folders"
            )
        else:
            what = "not a picture" if not picture else "written by a tool"
            elsewhere.append(SkippedFile(member.name, f"{what}, and deeper than the class folders"))
    if not found:
        files = f"found only {', '.join(repr(m.name) for m in source.members[:3])} …" if paths else "found no file"
        if reasons := [f"{file.name}: {file.reason}" for file in source.skipped[:3]]:
            files += f"; skipped {len(source.skipped)}, such as {'; '.join(reasons)}"
        packed = [name for name in map("/".join, paths) if ARCHIVE.search(name)]
        advice = f"; unpack {', '.join(packed[:3])} first" if packed else ""
        raise DataError(f"{source.path}: no pictures in class folders ({files}){advice}; the layout must be {LAYOUT}")
    return found, elsewhere, _unread(source, wrapper, splits, found, elsewhere)


def _is_picture(member: Member) -> bool:
    return member.picture or os.path.splitext(member.name)[1].lower() in EXTENSIONS  # noqa: PTH122 - as above


def _with_plain_splits(source: Source) -> Source:
    """The source with splits as in train/class/image, where some have a wrapper or another word in their names.

    So it is in many archives: training_set/training_set/class/image, seg_train/seg_train/class/image.
    """
    pictures = [tuple(member.name.split("/")) for member in source.members if _is_picture(member)]
    wrapper = _wrapper(pictures)
    below = defaultdict(list)
    for path in pictures:
        inner = path[len(wrapper) :]
        if len(inner) > 1:
            below[inner[0]].append(inner[1:])
    splits = {folder: folder for folder in below if split_named(folder)} or _split_siblings(
        [folder for folder, inner in below.items() if all(len(path) > 1 for path in inner)]
    )
    moved = {}
    for folder, split in splits.items():
        second = {path[0] for path in below[folder]}
        wrapped = len(second) == 1 and all(len(path) > 2 for path in below[folder])
        old = "/".join((*wrapper, folder, *(second if wrapped else ()), ""))
        moved[old] = "/".join((*wrapper, split, ""))

    def plain(name: str) -> str:
        old = next((old for old in moved if name.startswith(old)), "")
        return moved[old] + name[len(old) :] if old else name

    if all(old == new for old, new in moved.items()):
        return source
    members = tuple(replace(member, name=plain(member.name)) for member in source.members)
    skipped = tuple(replace(file, name=plain(file.name)) for file in source.skipped)
    return replace(source, members=members, skipped=skipped)


def _split_siblings(folders: list[str]) -> dict[str, str]:
    """The split of each folder among some such as seg_train and seg_test, whose other words are the same."""
    groups: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for folder in folders:
        words = re.split(r"[\s_-]+", folder.lower())
        for i in {0, len(words) - 1} if len(words) > 1 else ():
            if words[i] in SPLITS:
                groups[(*words[:i], "", *words[i + 1 :])][folder] = SPLITS[words[i]]
    return next((found for found in groups.values() if len(found) > 1 and "train" in found.values()), {})


def _split_folders(images: list[tuple[str, ...]], inside: list[tuple[str, ...]]) -> set[str]:
    """The folders that are splits; none if the pictures of every folder that is called like one are right inside it.

    Args:
        images: paths of the pictures below the wrapper.
        inside: paths of all files and of empty folders below the wrapper.
    """
    named = {path[0] for path in inside if len(path) > 1 and split_named(path[0])}
    direct = Counter(path[0] for path in images if len(path) == 2)
    below = Counter(path[0] for path in images if len(path) > 2)
    nested = {path[0] for path in inside if len(path) > 2}
    return named if any(below[one] >= direct[one] for one in named & nested) else set()


def _unread(
    source: Source,
    wrapper: tuple[str, ...],
    splits: set[str],
    found: list[tuple[str, Member]],
    elsewhere: list[SkippedFile],
) -> list[SkippedFile]:
    """The splits, and the classes of a split, without a file in `found`; raises for a class without any.

    A split may be a broken link, or an archive that nobody has unpacked.
    """
    classes = {name.split("/")[-2] for name, _ in found}
    filled = {parent(name) for name, _ in found}
    filled |= {parent(folder) for folder in filled}
    unread: dict[str, str] = {}
    for file in (*source.skipped, *elsewhere):
        path = PurePosixPath(file.name).parts
        inner = path[len(wrapper) :]
        folders = inner if file.name.endswith("/") else inner[:-1]
        if splits and not folders and path[: len(wrapper)] == wrapper:
            stem = ARCHIVE.sub("", inner[0])
            if split_named(stem) and split_named(stem) not in map(split_named, splits):
                unread[stem] = (
                    f"{file.name}: {file.reason if stem == inner[0] else 'an archive in the folder; unpack it'}"
                )
        if path[: len(wrapper)] != wrapper or ".." in path or PurePosixPath(file.name).is_absolute() or not folders:
            continue
        reason = f"{file.name}: {file.reason}"
        in_split = folders[0] in splits
        if len(folders) == 1 + in_split and (in_split or not splits) and folders[-1] not in classes:
            raise DataError(
                f"{source.path}: no image of class {folders[-1]!r} can be read ({reason}); "
                f"repair its files or remove its folder"
            )
        if in_split:
            for folder in {folders[0], "/".join(folders[:2])} - filled:
                unread.setdefault(folder, reason)
    return [SkippedFile(folder, reason) for folder, reason in sorted(unread.items())]


def _wrapper(images: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders above all splits and classes."""
    wrapper: tuple[str, ...] = ()
    while True:
        level = len(wrapper)
        tops = {path[level] for path in images if len(path) > level}
        if len(tops) != 1 or any(len(path) < level + 3 for path in images):
            return wrapper
        # A folder such as train is a wrapper only if all below it is split once more.
        if split_named(next(iter(tops))) and not all(
            len(path) > level + 3 and split_named(path[level + 1]) for path in images
        ):
            return wrapper
        wrapper += (next(iter(tops)),)
