"""Files that no reader meets half of: written whole or not at all, and by one process at a time."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout


@contextmanager
def open_atomic(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """A binary file that takes its place at `path` when the block ends, and leaves nothing when it fails.

    Args:
        path: Where the file goes; its folder is made.
        sync: Wait until the content is on the disk, so that it survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # less what the user's umask withholds
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # a full disk, Ctrl-C: the file that was there before stays
        temporary.unlink(missing_ok=True)
        raise


def write(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all, text as UTF-8 as it is, and make its folder; returns the path."""
    with open_atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def lock(path: Path, on_wait: str | None = None) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends; prints `on_wait` if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
    try:
        held.acquire(timeout=0)
    except Timeout:
        if on_wait:
            print(on_wait, flush=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()
