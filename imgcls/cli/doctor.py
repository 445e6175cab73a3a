"""`imgcls doctor`: what would stop the course on this machine, and what to do about it."""

import json
import os
import platform
import shutil
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls import paths

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Nothing heavier is imported up here: a broken torch must become a row of the answer, not the end of it. Where torch
# does not load, neither does the rest of the command line; this file then runs alone: python -P imgcls/cli/doctor.py

FORMATS = ("table", "json")
PYTHON = (3, 11)
MEMORY = 4 * 2**30  # bytes that the notebooks need at once
DISK = 5 * 2**30  # bytes of environment, caches and reports
NAMED = 5  # packages that a row names
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "firefox"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Firefox.app/Contents/MacOS/firefox",
)


class Finding(NamedTuple):
    """What one check found: status "ok", "note" (goes on, but worth knowing) or "problem" (stops the course)."""

    status: str
    found: str
    advice: str = ""


def doctor(
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "table",
) -> None:
    """Check whether the course can run on this machine; the exit status is 1 if something stops it."""
    if format not in FORMATS:
        raise ValueError(f"format {format!r} is unknown; choose one of {', '.join(FORMATS)}")
    rows = diagnose()
    problems = [row["check"] for row in rows if row["status"] == "problem"]
    if format == "json":
        typer.echo(json.dumps({"ok": not problems, "checks": rows}, indent=2))
    else:
        width = max(len(row["check"]) for row in rows)
        for row in rows:
            typer.echo(f"{row['status']:7}  {row['check']:{width}}  {row['found']}")
            if row["advice"]:
                typer.echo(f"{'':7}  {'':{width}}  → {row['advice']}")
        typer.echo(f"\nin the way: {', '.join(problems)}" if problems else "\nnothing stops the course on this machine")
    if problems:
        raise typer.Exit(1)


def diagnose() -> list[dict[str, str]]:
    """Run every check; one that raises becomes a problem with the exception's text.

    Returns:
        One {check, status, found, advice} a check, in the order of CHECKS.
    """
    rows = []
    for name, check in CHECKS.items():
        try:
            finding = check()
        except Exception as error:  # whatever a broken installation throws
            finding = Finding("problem", f"{type(error).__name__}: {error}", "mend this first, then run doctor again")
        rows.append({"check": name, **finding._asdict()})
    return rows


# ------------------------------------------------------------------ Python and packages


def check_python() -> Finding:
    """The interpreter against the oldest that the library runs on."""
    version = platform.python_version()
    wanted = ".".join(map(str, PYTHON))
    if tuple(map(int, version.split(".")[:2])) < PYTHON:
        return Finding("problem", version, f"install Python {wanted} or newer and set the environment up again")
    return Finding("ok", version)


def check_packages() -> Finding:
    """Installed packages: those that pyproject.toml asks for must be there and fit, others should be as pinned.

    What the library needs, directly or through another package, is a problem if it is missing or out of range;
    any other difference from the pins of requirements.txt is a note, since the numbers may then differ.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return Finding("note", "not compared, as the package `packaging` is missing", "pip install packaging")

    file, project = paths.ROOT / "requirements.txt", paths.ROOT / "pyproject.toml"
    if not file.is_file():
        return Finding("note", f"not compared: there is no {file}", "set IMGCLS_ROOT to the checkout")
    pins = [Requirement(line) for line in _pin_lines(file.read_text(encoding="utf-8"))]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    asked = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"] if project.is_file() else []
    asked = [Requirement(line) for line in asked]
    needed = _closure([one.name for one in asked])
    stops = [said for said in map(_difference, asked) if said]
    stops += [f"{pin.name} is missing" for pin in pins if _plain(pin.name) in needed and not _version(pin.name)]
    differs = [said for said in map(_difference, pins) if said]
    if stops:
        return Finding("problem", _some(list(dict.fromkeys(stops))), "make env, or pip install -r requirements.txt")
    if differs:
        advice = "works, but numbers may differ from those of the pins; make env sets them up"
        return Finding("note", f"{len(differs)} of {len(pins)} differ from the pins: {_some(differs)}", advice)
    return Finding("ok", f"all {len(pins)} as pinned")


def _pin_lines(text: str) -> list[str]:
    """The requirements of a pip file, without hashes, options and comments."""
    lines = (line.split(" --hash")[0].split(" #")[0].rstrip(" \\") for line in text.splitlines())
    return [line for line in lines if line and not line.startswith((" ", "#", "-", "\t"))]


def _closure(names: list[str]) -> set[str]:
    """Packages and all that they need in turn, without extras; those that are not installed need nothing."""
    from packaging.requirements import Requirement

    found, waiting = set(), [_plain(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needs = map(Requirement, metadata.requires(name) or ()) if _version(name) else ()
        waiting += [_plain(one.name) for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def _plain(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _difference(wanted: "Requirement") -> str:
    """How an installed package differs from a requirement, empty if it fits."""
    version = _version(wanted.name)
    if version is None:
        return f"{wanted.name} is missing"
    fits = wanted.specifier.contains(version, prereleases=True)
    return "" if fits else f"{wanted.name} is {version}, not {wanted.specifier}"


def _some(said: list[str]) -> str:
    more = len(said) - NAMED
    return ", ".join(said[:NAMED]) + (f" and {more} more" if more > 0 else "")


def check_torch() -> Finding:
    """Whether torch and torchvision load and fit together: one compiled operator of torchvision has to run."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist()
    found = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    if kept != [0]:
        return Finding("problem", f"{found}, whose nms keeps boxes {kept} instead of [0]", "install a matching pair")
    return Finding("ok", found)


# ------------------------------------------------------------------ the machine


def check_cores() -> Finding:
    """Cores that this process may use, and the threads that will."""
    from imgcls.reproducibility import configure_threads

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = configure_threads()
    found = f"{cores} core{'s' * (cores > 1)}, {threads} thread{'s' * (threads > 1)}"
    if threads != cores:
        return Finding("note", found, f"OMP_NUM_THREADS sets the threads; without it all {cores} cores work")
    if cores < 2:
        return Finding("note", found, "the course is made for two cores and takes longer on one")
    return Finding("ok", found)


def check_memory() -> Finding:
    """Memory that is free to be taken against what the notebooks need at once."""
    free = available_memory()
    found = f"{free / 2**30:.1f} GB available"
    if free < MEMORY:
        return Finding("problem", found, f"close other programs until {MEMORY / 2**30:.0f} GB are available")
    return Finding("ok", found)


def available_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take: what the machine has left, or its container where that is less."""
    import psutil

    free = psutil.virtual_memory().available
    for folder, limit, usage, cached in (
        (groups, "memory.max", "memory.current", "inactive_file"),
        (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = int((folder / limit).read_text())
            taken = int((folder / usage).read_text())
            given_back = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no container, or "max"
            continue
        free = min(free, most - taken + int(given_back.get(cached, 0)))
    return max(0, free)


def check_disk() -> Finding:
    """Free space where caches and runs are written."""
    folder = _nearest(paths.BUILD)
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GB free for {paths.BUILD}"
    if free < DISK:
        advice = f"free {DISK / 2**30:.0f} GB: `make clean`, or remove {paths.CACHE}, which is made again when needed"
        return Finding("problem", found, advice)
    return Finding("ok", found)


def check_precision() -> Finding:
    """What training computes in."""
    from imgcls.reproducibility import pick_device, pick_precision

    device, precision = pick_device().type, str(pick_precision()).removeprefix("torch.")
    if precision == "bfloat16":
        return Finding("ok", f"bfloat16 on {device}: the quick way to train here")
    why = "it has neither AMX nor AVX512-bf16" if device == "cpu" else "it has no fast bfloat16"
    return Finding("note", f"float32 on {device}, as {why}", "training takes longer than in bfloat16; nothing to mend")


def check_gpu() -> Finding:
    """The accelerator that would train, none being fine."""
    import torch

    if torch.cuda.is_available():
        return Finding("ok", torch.cuda.get_device_name())
    if torch.backends.mps.is_available():
        return Finding("ok", "Apple GPU (MPS)")
    if shutil.which("nvidia-smi"):
        advice = "this torch may be built for the CPU only: install one for CUDA, see pytorch.org"
        return Finding("note", "an NVIDIA driver, but no GPU that torch can use", advice)
    return Finding("ok", "none; the course is made to run without")


# ------------------------------------------------------------------ folders and programs


def check_folders() -> Finding:
    """Whether caches, runs and reports can be written."""
    refused = []
    for folder in (paths.BUILD, paths.REPORTS):
        try:
            with tempfile.TemporaryFile(dir=_nearest(folder)):
                pass
        except OSError as error:
            refused.append(f"{folder} ({error.strerror})")
    if refused:
        return Finding("problem", f"cannot write to {', '.join(refused)}", "change its owner or rights, or IMGCLS_ROOT")
    return Finding("ok", f"{paths.BUILD} and {paths.REPORTS} can be written to")


def _nearest(folder: Path) -> Path:
    """The folder, or the part of its path that exists: what is missing is made there."""
    return next(part for part in (folder, *folder.parents) if part.exists())


def check_browser() -> Finding:
    """A browser to look at reports with."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        return Finding("note", "no Chromium, Chrome or Firefox", "any browser opens the reports; copy them if need be")
    return Finding("ok", found)


def check_git() -> Finding:
    """Whether reports can name the commit that made them."""
    from imgcls.reproducibility import provenance

    if shutil.which("git") is None:
        return Finding("note", "no git", "reports cannot name the commit they come from; install git")
    made = provenance()
    if made["commit"] is None:
        return Finding("note", f"{paths.ROOT} is no git checkout", "reports cannot name the commit they come from")
    return Finding("ok", f"commit {made['commit']}{', changed since' if made['dirty'] else ''}")


CHECKS = {
    "Python": check_python,
    "packages": check_packages,
    "torch": check_torch,
    "cores": check_cores,
    "memory": check_memory,
    "disk": check_disk,
    "precision": check_precision,
    "GPU": check_gpu,
    "folders": check_folders,
    "browser": check_browser,
    "git": check_git,
}


if __name__ == "__main__":
    typer.run(doctor)
