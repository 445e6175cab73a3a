"""The line that a person watches while something long runs."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from imgcls.messages import format_duration

MIRROR = "IMGCLS_PROGRESS"
"""Environment variable with a file that also gets the line, for a program that runs this one and draws by itself."""

APPEARS = 2.0  # seconds before a transient line


def cut(text: str, width: int) -> str:
    """At most so many characters; what is left out gives way to "…" before the last ` · ` part, the time left."""
    if len(text) <= width:
        return text
    head, dot, last = text.rpartition(" · ")
    kept = width - len(last) - 4
    return f"{head[:kept].rstrip(' ·')}…{dot}{last}" if dot and kept > 0 else text[: max(width - 1, 0)] + "…"


class Progress:
    """One line that is rewritten in place on a terminal and in Jupyter, where its last state stays in the report.

    A log, such as that of `nohup` or a CI job, gets a line a minute and the summary. As a context manager it leaves
    a terminal on a fresh line when an exception ends the run.
    """

    def __init__(self, total: int, every: float = 0.5, show: bool = True) -> None:
        self.total, self.every = total, every  # steps of the whole run, 0 if unknown; seconds between updates
        self._due = 0.0 if show else float("inf")
        self._show, self._open, self._shown = show, False, ""
        self._began = 0.0  # when the first step of this process was done
        self._seen: deque[tuple[float, int]] = deque()  # (time, steps done) of each update that was drawn
        self._next_line = time.perf_counter() + 60
        self._mirror = os.environ.get(MIRROR)
        self._handle = None
        if show and "ipykernel" in sys.modules:
            from IPython import get_ipython
            from IPython.display import display

            if hasattr(get_ipython(), "kernel"):  # ipykernel is imported in other programs too
                self._handle = display({"text/plain": " "}, raw=True, display_id=True)

    def update(self, done: int, text: str | Callable[[], str]) -> None:
        """Show the text and the time left, at most twice a second; a callable is called only then."""
        now = time.perf_counter()
        if now < self._due:
            return
        self._due = now + self.every
        left = self._left(now, done)
        text = text() if callable(text) else text
        self._draw(f"{text} · {format_duration(left)} left" if left is not None else text, now)

    def finish(self, text: str) -> None:
        """Replace the line with the run's summary; an empty one leaves nothing on a terminal."""
        if not self._show:
            return
        self._to_mirror(text)
        if self._handle:
            self._handle.update({"text/plain": text}, raw=True)
        elif sys.stderr.isatty():
            self._rewrite(text, end="\n" if text else "\r")
        else:
            print(text, file=sys.stderr, flush=True)
        self._open, self._shown = False, ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False

    def _left(self, now: float, done: int) -> float | None:
        """Seconds left at the pace of the recent half of this process; None while that says little."""
        seen = self._seen
        if not seen:
            self._began = now
        seen.append((now, done))
        # Half of the time so far holds whole epochs with their validation, and still follows a change of pace.
        while len(seen) > 2 and seen[1][0] <= (self._began + now) / 2:
            seen.popleft()
        (since, before), ran = seen[0], now - self._began
        steady = self.total and ran >= 3 and done - before >= 3
        return (now - since) * (self.total - done) / (done - before) if steady else None

    def _draw(self, text: str, now: float) -> None:
        self._to_mirror(text)
        if self._handle:
            self._handle.update({"text/plain": text}, raw=True)
        elif sys.stderr.isatty():
            self._rewrite(text, end="")
            self._open = True
        elif now >= self._next_line:
            self._next_line = now + 60
            print(text, file=sys.stderr, flush=True)

    def _rewrite(self, text: str, end: str) -> None:
        width = columns() - 1  # a full line would wrap, and rewriting starts at the last row only
        text = cut(text, width)
        sys.stderr.write(f"\r{text:<{min(len(self._shown), width)}}{end}")
        sys.stderr.flush()
        self._shown = text

    def _to_mirror(self, text: str) -> None:
        if self._mirror:
            try:
                Path(self._mirror).write_text(f"{text}\n", encoding="utf-8")
            except OSError:
                self._mirror = None  # whoever watched is gone


@contextmanager
def transient_progress(total: int, text: Callable[[int], str]) -> Iterator[Callable[[int], None]]:
    """A line for what usually takes less than APPEARS seconds: silent in logs, and gone when the block ends.

    Args:
        total: Steps of the whole; 0 if unknown.
        text: Maps the number of steps done to the line.

    Yields:
        A function that takes the number of steps done since its last call.
    """
    shown = sys.stderr.isatty() or "ipykernel" in sys.modules
    appears, done, line = time.perf_counter() + APPEARS, 0, None

    def advance(steps: int) -> None:
        nonlocal done, line
        done += steps
        if line is None and shown and time.perf_counter() >= appears:
            line = Progress(total)
        if line:
            line.update(done, lambda: text(done))

    try:
        yield advance
    finally:
        if line:
            line.finish("")


def columns() -> int:
    """Width of the terminal behind standard error; 80 where there is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):  # not a real terminal; io.UnsupportedOperation is both
        return 80
