"""Download of data sets, resumed after an interruption and verified; a file gets its name only when complete."""

import contextlib
import errno
import hashlib
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from imgcls import paths
from imgcls.data import catalogue
from imgcls.data.sources import DataError
from imgcls.files import lock, open_atomic
from imgcls.messages import did_you_mean
from imgcls.progress import transient_progress

NATURE_12K = "https://storage.googleapis.com/wandb_datasets/nature_12K.zip"
NATURE_12K_BYTES = 3_000_000_000  # minimum; the server states the exact size
TIMEOUT = 30.0  # seconds without a byte after which a connection is closed
ATTEMPTS = 5  # consecutive attempts that may download less than GAIN
GAIN = 2**20  # bytes
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
TEMPORARY = (408, 425, 429)  # HTTP 4xx status codes that may change by waiting


def download(name: str) -> Path:
    """Download a data set of the catalogue to `data/`, ready for `load`, unless it exists.

    Raises:
        DataError: an unknown name, a data set that needs a manual download (the message says how), or a failed
            download.
        OSError: the disk is full.
    """
    known = catalogue.key(name)
    if known is None:
        raise DataError(f"the catalogue has no {name!r}; {did_you_mean(name, catalogue.CATALOGUE)}")
    if found := catalogue.find(known):
        return found
    entry = catalogue.CATALOGUE[known]
    if known not in DOWNLOADS:
        raise DataError(f"{known} cannot be downloaded for you: {entry.steps}")
    target = paths.DATA / f"{entry.path}.zip"
    DOWNLOADS[known](target)
    return target


# ------------------------------------------------------------------ one file


class _Interrupted(Exception):
    """A transfer that stopped before its end."""


def fetch(url: str, target: Path, at_least: int = 0, md5: str | None = None) -> Path:
    """Download a file, which gets its name only when it is complete and verified.

    Until then its name is NAME.part, and a second call resumes the download if the server still has the same file.

    Args:
        url: http or https.
        target: path of the file; its folder is created.
        at_least: minimum size in bytes; a smaller file is something else, such as an error page.
        md5: checksum of the file; None is not checked.

    Raises:
        DataError: the download failed, or the file is not the expected one.
        OSError: the disk is full.
    """
    if md5 and target.exists() and _md5(target) == md5:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part, tag = (target.with_name(f"{target.name}.{suffix}") for suffix in ("part", "part.tag"))
    busy = DataError(f"{part} is being downloaded by another process; wait for it, or end it")
    with lock(part.with_name(f"{part.name}.lock"), if_held=busy), part.open("ab", buffering=0) as file:
        _receive_all(url, file, tag, at_least)
        size = file.tell()
        found = _md5(part) if md5 else None
        if size < at_least or found != md5:
            file.truncate(0)
            what = f"has the MD5 {found} instead of {md5}" if found != md5 else f"has {size:,} bytes only"
            raise DataError(f"{url} {what}, so it is not the expected file; try again, or download it with a browser")
        part.replace(target)
        tag.unlink(missing_ok=True)
    return target


def _receive_all(url: str, file: BinaryIO, tag: Path, at_least: int) -> None:
    """Repeat the request until the file is complete; each attempt resumes where the last one ended."""
    futile = 0
    while True:
        before = file.tell()
        try:
            _receive(url, file, tag, at_least)
            return
        except urllib.error.HTTPError as error:
            reason: object = f"the server returned {error.code} {error.reason}"
            if error.code < 500 and error.code not in TEMPORARY:
                raise DataError(f"{url} cannot be downloaded: {reason}") from error
        except (_Interrupted, HTTPException, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    error.errno, f"no space left for {url} in {tag.parent}; free some space, then try again"
                ) from error
            reason = getattr(error, "reason", None) or error or type(error).__name__
        futile = 0 if file.tell() - before >= GAIN else futile + 1
        if futile == ATTEMPTS:
            raise DataError(
                f"{url} cannot be downloaded: {reason}, {ATTEMPTS} times in a row; {file.tell():,} bytes are "
                f"downloaded, and the same command resumes from there"
            )
        time.sleep(PAUSE * 2 ** max(0, futile - 1))


def _receive(url: str, file: BinaryIO, tag: Path, at_least: int) -> None:
    """One connection, which requests the rest of the file if the server still has the same file.

    `tag` contains the ETag or Last-Modified time, by which the server identifies the file.
    """
    start = file.seek(0, 2)
    headers = {"User-Agent": "imgcls", "Accept-Encoding": "identity"}
    if start and tag.exists():
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text(encoding="latin-1")}
    try:
        reply = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # no bytes after the last one: the file is complete, or the server has another file
            total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range") or "")
            if total and int(total[1]) == start:
                return
            file.truncate(0)
            file.seek(0)
            raise _Interrupted("the file on the server has changed") from error
        raise
    with reply:
        start, total = _range(reply, start)
        file.truncate(start)
        file.seek(0, 2)
        if total is not None and total < at_least:
            raise DataError(
                f"{url} cannot be downloaded: the server sends {total:,} bytes, and it must be {at_least:,} at least"
            )
        if total is not None and total - start > shutil.disk_usage(tag.parent).free:
            raise OSError(errno.ENOSPC, "no space")
        validator = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        if validator and not validator.startswith("W/"):
            tag.write_text(validator, encoding="latin-1")
        else:  # a later request could not identify the file
            tag.unlink(missing_ok=True)
        name, of_total = url.rpartition("/")[2], f" of {total / 1e6:,.0f}" if total else ""
        with transient_progress(total or 0, lambda done: f"{name}: {done / 1e6:,.0f}{of_total} MB") as advance:
            advance(start)
            while block := reply.read1(2**16):
                rest = memoryview(block)
                while rest:  # an unbuffered file may write only a part
                    rest = rest[file.write(rest) :]
                advance(len(block))
    if total is not None and file.tell() < total:
        raise _Interrupted(f"the connection ended after {file.tell():,} of {total:,} bytes")


def _range(reply: HTTPResponse, start: int) -> tuple[int, int | None]:
    """First byte of the reply, and size of the whole file in bytes; None if the server does not state it."""
    if reply.status == 206:
        sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("Content-Range") or "")
        if sent and int(sent[1]) == start:
            return start, None if sent[2] == "*" else int(sent[2])
        raise _Interrupted("the server sent a different part from the one requested")
    length = reply.headers.get("Content-Length") or ""
    return 0, int(length) if length.isdigit() else None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


# ------------------------------------------------------------------ the sets


def _nature(target: Path) -> None:
    fetch(NATURE_12K, target, at_least=NATURE_12K_BYTES)
    if not zipfile.is_zipfile(target):
        target.unlink()
        raise DataError(
            f"{NATURE_12K} is not a complete zip, so it is not the expected file; download it with a browser"
        )


def _cifar(target: Path) -> None:
    from torchvision.datasets import CIFAR10

    def images() -> Iterator[tuple[str, bytes]]:
        for part, train in (("train", True), ("test", False)):
            found = CIFAR10(folder, train=train, download=True)  # finds the archive, verifies and unpacks it
            for index, (pixels, label) in enumerate(zip(found.data, found.targets, strict=True)):
                file = BytesIO()
                Image.fromarray(pixels).save(file, "PNG")
                yield f"{part}/{found.classes[label]}/{index:05d}.png", file.getvalue()

    with _download_folder("cifar10") as folder:
        fetch(CIFAR10.url, folder / CIFAR10.filename, md5=CIFAR10.tgz_md5)
        _pack(target, images())


def _pets(target: Path) -> None:
    from torchvision.datasets import OxfordIIITPet

    def images() -> Iterator[tuple[str, bytes]]:
        for part, split in (("train", "trainval"), ("test", "test")):
            found = OxfordIIITPet(folder, split, "binary-category", download=True)
            for path, label in zip(found._images, found._bin_labels, strict=True):
                yield f"{part}/{found.bin_classes[label].lower()}/{path.name}", path.read_bytes()

    with _download_folder("oxford_pets") as folder:
        for url, md5 in OxfordIIITPet._RESOURCES:  # torchvision has no public name for the archives
            fetch(url, folder / "oxford-iiit-pet" / url.rpartition("/")[2], md5=md5)
        _pack(target, images())


@contextlib.contextmanager
def _download_folder(name: str) -> Iterator[Path]:
    """A folder for intermediate files, removed after success; after a failure it still has the partial download."""
    folder = paths.DATA / ".downloads" / name
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(None):
        yield folder
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # another download is under way
        folder.parent.rmdir()


def _pack(target: Path, images: Iterable[tuple[str, bytes]]) -> None:
    """Write a zip atomically, without compressing the images again."""
    with open_atomic(target) as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in images:
            archive.writestr(zipfile.ZipInfo(name), data)


DOWNLOADS: dict[str, Callable[[Path], None]] = {"cifar10": _cifar, "oxford_pets": _pets, "nature_12k": _nature}
