"""Files that no reader meets half of: written whole or not at all, and by one process at a time."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no advisory locks; two runs at once are then the user's to avoid
    fcntl = None


def write(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all, text as UTF-8 as it stands, and make its folder; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)  # less what the user's umask withholds
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except BaseException:  # a full disk, Ctrl-C: what stood there before still does
        temporary.unlink(missing_ok=True)
        raise
    return path


@contextlib.contextmanager
def lock(path: Path, on_wait: str | None = None) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends; says `on_wait` if another holds it."""
    if fcntl is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if on_wait:
                print(on_wait, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
