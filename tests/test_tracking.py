import io
import sys

import pytest

from imgcls import tracking
from imgcls.tracking import Progress, clock


class Terminal(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.fixture
def times(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(tracking.time, "perf_counter", lambda: now[0])
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    return now


def test_clock():
    assert [clock(s) for s in (0, 59.6, 61, 3600, 3765)] == ["0:00", "1:00", "1:01", "1:00:00", "1:02:45"]


def test_time_left_is_extrapolated_from_the_steps_of_this_process(times, monkeypatch):
    screen = Terminal(tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress(total=100)
    progress.update(60, "resumed at 60")  # a resumed run has seen nothing yet
    times[0] += 10
    progress.update(70, "going")  # ten steps in ten seconds, thirty to go
    assert screen.getvalue().split("\r")[-1].startswith("going · 0:30 left")


def test_a_log_gets_the_summary_alone(times, monkeypatch):
    log = Terminal(tty=False)
    monkeypatch.setattr(sys, "stderr", log)
    progress = Progress(total=10)
    for step in range(1, 11):
        times[0] += 1
        progress.update(step, f"step {step}")
    progress.finish("done")
    assert log.getvalue() == "done\n"


def test_a_shorter_line_wipes_the_longer_one(times, monkeypatch):
    screen = Terminal(tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress(total=10)
    progress.update(1, "a long line of text")
    progress.finish("done")
    last = screen.getvalue().split("\r")[-1]
    assert last.rstrip() == "done"
    assert len(last.rstrip("\n")) >= len("a long line of text")
