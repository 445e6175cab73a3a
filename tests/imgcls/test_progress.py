import contextlib
import io
import sys
import time

import pytest

from imgcls import progress
from imgcls.progress import Progress


class Terminal(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


@pytest.fixture
def times(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    return now


def terminal(monkeypatch):
    """Put a terminal in the place of standard error; from the test itself, as pytest replaces it after fixtures."""
    screen = Terminal(tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_time_left_is_extrapolated_from_the_steps_of_this_process(times, monkeypatch):
    screen = terminal(monkeypatch)
    line = Progress(total=100)
    line.update(60, "resumed at 60")  # a resumed run has seen nothing yet
    times[0] += 10
    line.update(70, "going")  # ten steps in ten seconds, thirty to go
    assert screen.getvalue().split("\r")[-1].startswith("going · 30 s left")


def test_time_left_waits_until_it_means_something(times, monkeypatch):
    screen = terminal(monkeypatch)
    line = Progress(total=10_000)
    for done in range(1, 30):  # ten steps a second
        line.update(done, "x")
        times[0] += 0.1
    assert "left" not in screen.getvalue()
    times[0] += 1
    line.update(40, "x")
    assert "left" in screen.getvalue()
    slow = Progress(total=100)
    slow.update(1, "y")
    times[0] += 60
    slow.update(2, "y")  # one step: its time says little
    assert "y ·" not in screen.getvalue()


def test_time_left_follows_a_change_of_pace_but_not_each_pause(times, monkeypatch):
    screen = terminal(monkeypatch)

    def left():
        words = screen.getvalue().rsplit("·", 1)[1].split()[:-1]  # such as "1 h 2 min left"
        seconds = {"h": 3600, "min": 60, "s": 1}
        return sum(int(count) * seconds[unit] for count, unit in zip(words[::2], words[1::2], strict=True))

    line, done = Progress(total=2000), 0
    for _ in range(200):  # 200 steps of 1 s, with a pause of 5 s after each twenty: 1.25 s a step
        done += 1
        times[0] += 1 + 5 * (done % 20 == 0)
        line.update(done, "x")
    assert left() == pytest.approx(1800 * 1.25, rel=0.05)
    for _ in range(200):  # then twice as slow, without pauses
        done += 1
        times[0] += 2.5
        line.update(done, "x")
    assert left() == pytest.approx(1600 * 2.5, rel=0.15)  # the mean of the whole run would say a quarter less


def test_the_text_is_made_only_when_it_is_drawn(times, monkeypatch):
    terminal(monkeypatch)
    made = []
    line = Progress(total=1000)
    for step in range(1, 1001):
        times[0] += 0.01
        line.update(step, lambda step=step: made.append(step) or f"step {step}")
    assert len(made) == pytest.approx(10 / 0.5, abs=1)


def test_a_call_that_draws_nothing_costs_next_to_nothing(monkeypatch):
    terminal(monkeypatch)
    line = Progress(total=10**9, every=1000)
    line.update(1, "first")
    calls = range(20_000)
    best = float("inf")
    for _ in range(5):  # the best of a few: others use the machine too
        began = time.perf_counter()
        for step in calls:
            line.update(step, "x")
        best = min(best, (time.perf_counter() - began) / len(calls))
    assert best < 2e-6


def test_only_who_shows_draws(times, monkeypatch, tmp_path):
    screen = terminal(monkeypatch)
    monkeypatch.setenv(progress.MIRROR, str(tmp_path / "line"))
    with Progress(total=2, show=False) as line:
        line.update(1, "never")
        times[0] += 100
        line.update(2, "never")
        line.finish("never")
    assert screen.getvalue() == ""
    assert not (tmp_path / "line").exists()


def test_a_log_gets_the_summary_and_a_line_a_minute(times, monkeypatch):
    log = Terminal(tty=False)
    monkeypatch.setattr(sys, "stderr", log)
    line = Progress(total=10)
    for step in range(1, 11):
        times[0] += 1
        line.update(step, f"step {step}")
    line.finish("done")
    assert log.getvalue() == "done\n"
    line = Progress(total=400)
    for step in range(1, 151):
        times[0] += 1
        line.update(step, f"step {step}")
    assert [row.split(" · ")[0] for row in log.getvalue().splitlines()] == ["done", "step 60", "step 120"]


def test_a_shorter_line_wipes_the_longer_one(times, monkeypatch):
    screen = terminal(monkeypatch)
    line = Progress(total=10)
    line.update(1, "a long line of text")
    line.finish("done")
    last = screen.getvalue().split("\r")[-1]
    assert last.rstrip() == "done"
    assert len(last.rstrip("\n")) >= len("a long line of text")


def test_a_long_line_never_wraps_and_keeps_the_time_left(times, monkeypatch):
    screen = terminal(monkeypatch)
    columns = 40
    monkeypatch.setattr(progress, "columns", lambda: columns)
    line = Progress(total=100)
    line.update(1, "epoch 1/20 · " + "x" * 100)
    times[0] += 10
    line.update(11, "epoch 2/20 · loss 1.234 · validation 51.2 % · 1,234 images/s")
    assert screen.getvalue().split("\r")[-1].rstrip() == "epoch 2/20 · loss 1.… · 1 min 29 s left"
    columns = 25  # the window was made smaller
    times[0] += 10
    line.update(21, "epoch 3/20 · loss 1.234")
    assert screen.getvalue().split("\r")[-1].rstrip() == "epoch… · 1 min 19 s left"


@pytest.mark.parametrize("width", range(0, 30))
def test_cutting_keeps_the_width(width):
    assert len(progress.cut("epoch 1/20 · loss 1.2 · 10 s left", width)) <= max(width, 1)


def test_an_exception_leaves_the_terminal_on_a_fresh_line(times, monkeypatch):
    screen = terminal(monkeypatch)
    with contextlib.suppress(ZeroDivisionError), Progress(total=10) as line:
        line.update(1, "half way")
        1 / 0
    assert screen.getvalue() == "\rhalf way\n"
    with Progress(total=10) as line:
        line.update(1, "x")
        line.finish("done")
    assert screen.getvalue().endswith("done\n")
    assert not screen.getvalue().endswith("\n\n")


def test_a_program_that_watches_gets_the_line_too(times, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", Terminal(tty=False))
    monkeypatch.setenv(progress.MIRROR, str(tmp_path / "line"))
    line = Progress(total=10)
    line.update(1, "epoch 1/10")
    assert (tmp_path / "line").read_text() == "epoch 1/10\n"
    monkeypatch.setenv(progress.MIRROR, str(tmp_path / "gone" / "line"))
    Progress(total=10).update(1, "no matter")
