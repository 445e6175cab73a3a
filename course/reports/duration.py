"""How long the notebooks of a profile will take on this machine: a second of training against recorded runs."""

import json
import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from course.reports import pages, parameters
from course.reports.errors import ReportError, RequestError
from course.reports.files import Files
from imgcls import paths
from imgcls.files import write
from imgcls.messages import format_duration

BUSY = 25  # per cent of the processor that other programs use, from which the estimate is too high
LESS = """
  less: make reports PROFILE=smoke tries everything in minutes, make report-{0} runs one notebook, and
  make report-{0} ARGS='-p NAME=VALUE' lowers epochs, seeds or images (python -m course.reports check {0} lists them)"""


def record_file() -> Path:
    """JSON: profile -> notebook -> its `seconds`, and `images_per_second` of `measure_speed` on that `machine`."""
    return paths.NOTEBOOKS / "profiles" / "durations.json"


def read_record() -> dict[str, dict[str, dict[str, Any]]]:
    """The recorded runs of every profile; empty if there are none."""
    return json.loads(record_file().read_text()) if record_file().exists() else {}


def measure_speed(seconds: float = 1.0) -> float:
    """Median images a second of a small network in training, at the precision and on the device of `fit`."""
    import torch

    from imgcls.models import create_model
    from imgcls.training import Recipe, fit

    images = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = SimpleNamespace(images=images, labels=torch.arange(128) % 10, classes=tuple("abcdefghij"), names=())
    model, speeds, end = create_model("cifar_batchnorm", 10), [], None
    while len(speeds) < 2 or time.perf_counter() < end:
        speed = fit(model, split, split, Recipe(epochs=1, batch_size=64), show=False).rows[0]["images_per_second"]
        if end is None:  # the first epoch warms up, and does not count
            end = time.perf_counter() + seconds
        else:
            speeds.append(speed)
    return statistics.median(speeds)


def write_record(profile: str) -> Path:
    """Record the finished runs of a profile beside this machine's speed; returns the file.

    Raises:
        ReportError: no report was finished on this device, with this number of threads and precision.
    """
    from imgcls.reproducibility import provenance

    speed = measure_speed()
    here, recorded = provenance(), read_record()
    measured = {"images_per_second": round(speed), "machine": pages.computer(here)}
    files = [file for name in parameters.notebooks() if (file := Files(name, profile).json).exists()]
    results = {file.stem: json.loads(file.read_text()) for file in files}
    runs = {
        name: {"seconds": round(result["seconds"])} | measured
        for name, result in results.items()
        if pages.computer(result["environment"]) == measured["machine"]
    }
    if not runs:
        raise ReportError(f"no report of profile {profile!r} was made here ({measured['machine']}); run make reports")
    recorded[profile] = recorded.get(profile, {}) | runs
    write(record_file(), json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    return record_file()


def stale(profile: str, assignments: Iterable[str] = ()) -> list[str]:
    """Notebooks that `make reports` would run: changed since their last run, or never run."""
    found = []
    for name in parameters.notebooks():
        try:
            request = parameters.check(name, profile, None, assignments)
        except RequestError:
            continue  # make stops there and says why
        request.stamp()
        files = request.files
        newest = max(path.stat().st_mtime for path in (files.notebook, files.inputs))
        if not files.executed.exists() or files.executed.stat().st_mtime < newest:
            found.append(name)
    return found


def estimate(profile: str, assignments: Iterable[str] = ()) -> str:
    """How long the notebooks that are not up to date will take here, on which device, and what shortens that."""
    names, recorded = stale(profile, assignments), read_record().get(profile, {})
    known = [name for name in names if name in recorded]
    if not known:
        return ""
    from imgcls.reproducibility import provenance

    busy = psutil.cpu_percent(interval=0.2)
    speed = measure_speed()
    times = {name: recorded[name]["seconds"] * recorded[name]["images_per_second"] / speed for name in known}
    total, longest = sum(times.values()), max(known, key=times.__getitem__)
    here = provenance()
    count = f"{len(names)} notebook{'s' if len(names) > 1 else ''}"
    text = (
        f"{count} to run: about {_about(total)} on this machine, {_about(times[longest])} of them for {longest}\n"
        f"  {pages.computer(here)}; {speed:,.0f} images/s in training"
    )
    if busy > BUSY:
        text += f"\n  other programs use {busy:.0f} % of the processor: without them, it takes less"
    if len(known) < len(names):
        text += f"\n  without {', '.join(name for name in names if name not in known)}: no recorded time"
    if here["device"] == "cpu" and here["precision"] == "float32":
        forced = "IMGCLS_PRECISION is set to it" if os.environ.get("IMGCLS_PRECISION") else "no bfloat16 units here"
        text += f"\n  float32 ({forced}) takes up to twice as long as bfloat16"
    return text + LESS.format(longest[:2]) if total > 60 else text


def _about(seconds: float) -> str:
    """Whole minutes from one minute on."""
    return format_duration(max(1, round(seconds)) if seconds < 60 else 60 * round(seconds / 60))
