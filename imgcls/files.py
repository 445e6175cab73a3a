"""Atomic writes, and locks between processes."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomic(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` when the block ends; if the block raises, nothing changes.

    Args:
        path: Path of the file; its folder is created.
        sync: Wait until the content is on the disk, so that it survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # minus the user's umask
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:  # a full disk or Ctrl-C: the previous file stays
        temporary.unlink(missing_ok=True)
        cause = error.__context__ if isinstance(error, RuntimeError) else error  # torch.save raises one for a full disk
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) and not cause.filename:
            raise OSError(cause.errno, os.strerror(cause.errno), str(path)) from None
        raise


def write(path: Path, content: str | bytes) -> Path:
    """Write a file atomically, text as UTF-8 with unchanged line ends, and create its folder; returns the path."""
    with open_atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def lock(path: Path, on_wait: str | None = None, if_held: Exception | None = None) -> Iterator[None]:
    """Hold a lock that ends with this process, even if the process is killed.

    Args:
        path: Lock file; its folder is created.
        on_wait: Text printed while another process holds the lock.
        if_held: Exception raised in that case, instead of waiting.
    """
    from filelock import FileLock, Timeout  # `imgcls doctor` runs without it

    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
    try:
        held.acquire(timeout=0)
    except Timeout:
        if if_held:
            raise if_held from None
        if on_wait:
            print(on_wait, flush=True)
        held.acquire()
    try:
        yield
    finally:
        if if_held:  # nobody waits for this lock, so its file can go
            with suppress(OSError):  # Windows does not remove open files
                path.unlink()
        held.release()
