"""Progress lines of long computations."""

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
"""Environment variable with the path of a file to which the line is copied, for a program that runs this process."""

APPEARS = 2.0  # seconds before a transient line is shown


def cut(text: str, width: int) -> str:
    """At most `width` characters; the text before the last ` · ` part (the time left) is shortened with "…"."""
    if len(text) <= width:
        return text
    head, dot, last = text.rpartition(" · ")
    room = width - len(last) - 4
    return f"{head[:room].rstrip(' ·')}…{dot}{last}" if dot and room > 0 else text[: max(width - 1, 0)] + "…"


class Progress:
    """One line that is rewritten in place on a terminal and in Jupyter, where its last state stays in the report.

    A log, such as the output of `nohup` or of a CI job, gets one line a minute and the summary. As a context manager,
    it starts a new terminal line when an exception ends the run. tqdm writes no line a minute to logs, and needs
    widgets for an output that stays in Jupyter.

    Args:
        total: Steps of the whole run; 0 if unknown.
        every: Seconds between updates.
        show: Whether to draw the line.
    """

    def __init__(self, total: int, every: float = 0.5, show: bool = True) -> None:
        self.total, self.every, self.show = total, every, show
        self._due = 0.0 if show else float("inf")  # when the next update is drawn
        self._due_in_log = time.perf_counter() + 60
        self._drawn = ""  # text on the open line of the terminal
        self._began = 0.0  # time of the first step of this process
        self._recent: deque[tuple[float, int]] = deque()  # (time, steps done) of each drawn update
        self._mirror = os.environ.get(MIRROR)
        self._handle = None
        if show and "ipykernel" in sys.modules:
            from IPython import get_ipython
            from IPython.display import display

            if hasattr(get_ipython(), "kernel"):  # programs other than Jupyter import ipykernel too
                self._handle = display({"text/plain": " "}, raw=True, display_id=True)

    def update(self, done: int, text: str | Callable[[], str]) -> None:
        """Show the text and the time left, if `every` seconds have passed; a callable is called only then."""
        now = time.perf_counter()
        if now < self._due:
            return
        self._due = now + self.every
        left = self._seconds_left(now, done)
        text = text() if callable(text) else text
        in_log = now >= self._due_in_log
        if in_log:
            self._due_in_log = now + 60
        self._draw(f"{text} · {format_duration(round(left))} left" if left is not None else text, in_log)

    def finish(self, text: str) -> None:
        """Replace the line with the run's summary; an empty text clears the line on a terminal."""
        if self.show:
            self._draw(text, in_log=True)
            self.__exit__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            sys.stderr.write("\n")
            self._drawn = ""

    def _seconds_left(self, now: float, done: int) -> float | None:
        """Time left at the speed of the recent half of this process; None before three seconds and three steps."""
        recent = self._recent
        if not recent:
            self._began = now
        recent.append((now, done))
        # Half of the elapsed time includes whole epochs with validation, and still follows a change of speed.
        while len(recent) > 2 and recent[1][0] <= (self._began + now) / 2:
            recent.popleft()
        since, before = recent[0]
        if not self.total or now - self._began < 3 or done - before < 3:
            return None
        return (now - since) * (self.total - done) / (done - before)

    def _draw(self, text: str, in_log: bool) -> None:
        if self._mirror:
            try:
                Path(self._mirror).write_text(f"{text}\n", encoding="utf-8")
            except OSError:
                self._mirror = None  # the program that read the file has ended
        if self._handle:
            self._handle.update({"text/plain": text}, raw=True)
        elif sys.stderr.isatty():
            width = columns() - 1  # a full line would wrap, and rewriting starts at the last row only
            text = cut(text, width)
            sys.stderr.write(f"\r{text:<{min(len(self._drawn), width)}}" + ("" if text else "\r"))
            sys.stderr.flush()
            self._drawn = text
        elif in_log:
            print(text, file=sys.stderr, flush=True)


@contextmanager
def transient_progress(total: int, text: Callable[[int], str]) -> Iterator[Callable[[int], None]]:
    """A line that appears after APPEARS seconds, never in logs, and is cleared when the block ends.

    An open notebook keeps its last state, as Jupyter cannot remove an output without an empty line in its place.

    Args:
        total: Number of steps; 0 if unknown.
        text: Maps the number of finished steps to the line.

    Yields:
        A function that takes the number of steps since its last call.
    """
    shown = sys.stderr.isatty() or ("ipykernel" in sys.modules and MIRROR not in os.environ)
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
            line.finish("" if sys.stderr.isatty() else text(done))


def columns() -> int:
    """Width of the terminal of standard error; 80 if it is not a terminal."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):  # not a real terminal; io.UnsupportedOperation is both
        return 80
