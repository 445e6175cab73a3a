"""Ctrl-C, SIGKILL, a full disk, and two at once: no kernel stays, nothing is torn, and what is said is one line."""

import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, colour_split, copy_builder, write_photos
from matplotlib.figure import Figure
from test_reports import NAME, cell, good, text, write_notebook

from course.reports import index
from imgcls import files, models, plots
from imgcls.data import cache as decoded
from imgcls.data import load
from imgcls.training import Recipe, fit

LONG = "import os, time; print('kernel', os.getpid(), flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_builder(tmp_path_factory.mktemp("checkout"))


def start(root, *command):
    """A command in a session of its own, as a terminal starts it, to which Ctrl-C can be sent."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("IMGCLS", "MAKE", "MFLAGS"))}
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore Ctrl-C
    return subprocess.Popen(
        command, cwd=root, env=environment | {"IMGCLS_ROOT": str(root)}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hears,
    )  # fmt: skip


def make(root, *arguments):
    return start(root, "make", *arguments, f"RUN={sys.executable}", "READY=")


def kernel_of(root, process):
    """Number of the kernel's process, once its long cell runs."""
    log = root / "build/executed/default" / f"{NAME}.log"
    while process.poll() is None:
        if log.exists() and (found := re.search(r"^kernel (\d+)$", log.read_text(), re.MULTILINE)):
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(process.communicate())


def ends(pid, seconds=10):
    """Whether a process is gone, or a zombie that nobody has waited for, before so many seconds are over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            with suppress(OSError):
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    return True
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def readers_see(root):
    return sorted(path.name for path in (root / "reports").glob("*.*"))


# ------------------------------------------------------------------ Ctrl-C and SIGKILL


@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_an_interrupted_make_leaves_no_kernel_and_no_half_report(how, checkout, tmp_path):
    root = shutil.copytree(checkout, tmp_path / "root")
    write_notebook(root, NAME, [text("## Part"), cell(LONG), *good(NAME)])
    (root / "reports").mkdir()
    for old in (f"{NAME}.html", f"{NAME}.json"):
        (root / "reports" / old).write_text("an older, good one")
    process = make(root, "report-05")
    kernel = kernel_of(root, process)
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)  # make, Python and the kernel, as a terminal does
    else:
        runner = int(Path(f"/proc/{kernel}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(runner, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert ends(kernel)
    assert "Traceback (most recent" not in errors
    assert readers_see(root) == [f"{NAME}.failed.html", "index.html"]
    why = "interrupted" if how == "ctrl-c" else index.UNFINISHED
    assert why.split(":")[0] in (root / "reports" / f"{NAME}.failed.html").read_text()
    assert not (root / "build/executed/default" / f"{NAME}.ipynb").exists()


def test_two_makes_at_once_share_one_run_and_both_succeed(checkout, tmp_path):
    root = shutil.copytree(checkout, tmp_path / "root")
    slow = cell("import time; open('runs', 'a').write('run\\n'); time.sleep(1)")
    write_notebook(root, NAME, good(NAME, slow))
    both = [make(root, "report-05") for _ in range(2)]
    said = [process.communicate(timeout=90) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (root / "notebooks/runs").read_text() == "run\n"
    assert "executed meanwhile by another process" in "".join(errors for _, errors in said)
    assert readers_see(root) == [f"{NAME}.html", f"{NAME}.json", "index.html"]
    assert json.loads((root / "reports" / f"{NAME}.json").read_text())["case"] == NAME
    assert (root / "reports" / f"{NAME}.html").read_text().rstrip().endswith("</html>")


def test_what_a_killed_process_was_building_is_swept_away_in_time(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", colour_split(24, seed=4))
    cache = tmp_path / "cache"
    for name, age in (("old", decoded.ABANDONED + 60), ("new", 60)):
        (cache / f".building-{name}" / "x").mkdir(parents=True)
        os.utime(cache / f".building-{name}", (time.time() - age,) * 2)
    load(photos, image_size=8, cache=cache)
    assert [path.name for path in cache.glob(".building-*")] == [".building-new"]


def test_a_killed_load_leaves_nothing_that_is_used(tmp_path):
    """SIGKILL in the middle of decoding: the next load starts anew and gives all pictures."""
    photos = write_photos(tmp_path / "photos", colour_split(24, seed=4))
    program = (
        "import os, sys; from imgcls.data import decoding, load\n"
        "count, real = [], decoding.try_decode_square\n"
        "def dies(*a):\n    count.append(1)\n    len(count) == 9 and os.kill(os.getpid(), 9)\n    return real(*a)\n"
        "decoding.try_decode_square = dies\n"
        "load(sys.argv[1], image_size=8, cache=sys.argv[2])"
    )
    done = subprocess.run([sys.executable, "-c", program, photos, tmp_path / "cache"], cwd=REPOSITORY)
    assert done.returncode == -signal.SIGKILL
    assert [path.name[:10] for path in (tmp_path / "cache").iterdir()] == [".building-"]
    splits = load(photos, image_size=8, cache=tmp_path / "cache")
    assert sum(len(split) for _, split in splits.items()) == 24


# ------------------------------------------------------------------ a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A disk of eight megabytes, where one may be mounted; it is taken away again."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk, leave=0):
    """Take all space but so many bytes."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    size = (disk / "filler").stat().st_size
    os.truncate(disk / "filler", max(0, size - leave))


def test_a_cache_that_does_not_fit_says_what_it_needs(small_disk, tmp_path):
    photos = write_photos(tmp_path / "photos", colour_split(24, seed=4))
    with pytest.raises(OSError, match=r"no space for 14 MB of images in .*cache; free some space") as caught:
        load(photos, image_size=450, cache=small_disk / "cache")
    assert caught.value.errno == errno.ENOSPC
    assert "\n" not in str(caught.value)
    assert list((small_disk / "cache").iterdir()) == []
    assert len(load(photos, image_size=8, cache=small_disk / "cache").train) > 0


def test_a_model_that_does_not_fit_leaves_the_older_one_whole(small_disk):
    torch.manual_seed(0)
    network = partial(models.create_model, "simple_cnn", 3, image_size=16, blocks=2)
    older = network(filters=8)
    models.save(older, small_disk / "run", ("a", "b", "c"))
    fill(small_disk, leave=8192)
    with pytest.raises(OSError, match="No space left"):
        models.save(network(filters=64), small_disk / "run", ("a", "b", "c"))
    assert sorted(path.name for path in (small_disk / "run").iterdir()) == ["card.json", "weights.safetensors"]
    back, _ = models.load(small_disk / "run")
    assert all(torch.equal(a, b) for a, b in zip(older.state_dict().values(), back.state_dict().values(), strict=True))


def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint_is_named_too(small_disk):
    """Within a large tensor, torch.save raises a RuntimeError of its own."""
    full = pytest.raises(OSError, match=r"No space left on device: '.*step\.pt'")
    with full as caught, files.open_atomic(small_disk / "step.pt") as file:
        torch.save({str(i): torch.zeros(500_000) for i in range(8)}, file)
    assert caught.value.errno == errno.ENOSPC
    assert not list(small_disk.iterdir())


def test_a_checkpoint_that_does_not_fit_is_one_line_and_the_older_ones_stay(small_disk, tiny):
    train, val = tiny
    network = partial(models.create_model, "simple_cnn", 3, image_size=8, blocks=1, filters=4)
    fit(network(), train, val, Recipe(epochs=1, batch_size=32), checkpoint=small_disk / "run")
    before = {path: path.read_bytes() for path in (small_disk / "run").iterdir()}
    fill(small_disk, leave=4096)
    with pytest.raises(OSError, match="No space left") as caught:
        fit(models.create_model("simple_cnn", 3, image_size=8, blocks=1, filters=64), train, val,
            Recipe(epochs=1, batch_size=32), checkpoint=small_disk / "other")  # fmt: skip
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in (small_disk / "run").iterdir()} == before
    assert list((small_disk / "other").iterdir()) == []


def test_a_report_on_a_full_disk_is_one_line_and_no_torn_page(checkout, small_disk):
    root = shutil.copytree(checkout, small_disk / "root")
    eats = """try:
    with open("filler", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
except OSError:
    pass"""
    write_notebook(root, NAME, [text("## Part"), cell(eats), *good(NAME)])
    process = start(root, sys.executable, "-m", "course.reports", "run", "05")
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 1, errors
    assert "Traceback (most recent" not in errors
    assert "No space left on device" in errors
    for name in readers_see(root):
        assert name.endswith((".failed.html", "index.html")), name
        assert (root / "reports" / name).read_text().rstrip().endswith("</html>"), name
    assert not list((root / "reports").glob(".*"))  # no half of a file either


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_has_the_permissions_that_the_user_gives_new_files(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        written = files.write(tmp_path / "page.html", "a page")
    finally:
        os.umask(before)
    assert stat.S_IMODE(written.stat().st_mode) == mode


def drawing() -> Figure:
    """A figure with something on it."""
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, 1])
    return figure


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("page.html", lambda path: files.write(path, "a newer one")),
        ("weights.bin", lambda path: files.write(path, b"a newer one")),
        ("figure.png", lambda path: plots.save(drawing(), path)),
    ],
)
def test_a_file_that_does_not_fit_leaves_the_older_one(name, write, tmp_path, monkeypatch):
    older = files.write(tmp_path / name, "an older one")
    opened = os.fdopen

    class Full:
        def __init__(self, handle, *_, **__):
            self.file = opened(handle, "wb")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:3])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fdopen", Full)
    with pytest.raises(OSError, match="No space left"):
        write(older)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert older.read_text() == "an older one"
    monkeypatch.undo()
    write(older)
    assert older.read_bytes() != b"an older one"
