"""Where the rows of a training run go while it runs: TensorBoard, and the progress line a person watches."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Tracker(Protocol):
    """Takes one row of numbers an epoch."""

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Record the row."""

    def close(self) -> None:
        """Flush and release."""


class TensorBoard:
    """Scalars of each epoch as a TensorBoard event file; names such as `val_loss` become the chart `loss/val`."""

    def __init__(self, folder: str | Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, needed only here

        self._writer = SummaryWriter(str(folder))

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Record the numbers of a row; the step is the epoch."""
        for name, value in row.items():
            split, _, quantity = name.partition("_")
            tag = f"{quantity}/{split}" if split in ("train", "val") else name
            if isinstance(value, (int, float)) and name != "epoch":
                self._writer.add_scalar(tag, value, epoch)

    def close(self) -> None:
        """Flush the event file."""
        self._writer.close()


def clock(seconds: float) -> str:
    """`3:07`, or `1:02:45` from an hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """One line that is rewritten in place: on a terminal, in JupyterLab, and once, at its end, in a report or log."""

    def __init__(self, total: int, every: float = 0.5) -> None:
        self.total, self.every = total, every  # steps of the whole run; seconds between updates
        self.started, self.shown = time.perf_counter(), 0.0
        self.first: int | None = None
        self.last = ""
        self.handle = None
        if "ipykernel" in sys.modules:
            from IPython.display import display

            self.handle = display({"text/plain": " "}, raw=True, display_id=True)

    def update(self, done: int, text: str) -> None:
        """Show the text with the time left, at most twice a second."""
        now = time.perf_counter()
        if self.first is None:
            self.first, self.started = done, now
        if now - self.shown < self.every:
            return
        self.shown = now
        ran = done - self.first
        left = (now - self.started) * (self.total - done) / ran if ran else None
        self._write(f"{text} · {clock(left)} left" if left is not None else text, end="")

    def finish(self, text: str) -> None:
        """Replace the line with the run's summary."""
        self._write(text, end="\n")

    def _write(self, text: str, end: str) -> None:
        if self.handle:
            self.handle.update({"text/plain": text}, raw=True)
        elif sys.stderr.isatty():
            sys.stderr.write(f"\r{text:<{len(self.last)}}{end}")
            sys.stderr.flush()
            self.last = text
        elif end:  # a log gets the summary alone
            sys.stderr.write(text + end)
