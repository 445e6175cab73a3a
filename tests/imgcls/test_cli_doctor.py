"""`imgcls doctor`: every check against a planted fault, and what it costs the exit status."""

import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections import namedtuple
from importlib import metadata

import pytest
import torch
import torchvision
import typer
from typer.testing import CliRunner

from imgcls import paths, precision, reproducibility

doctor = importlib.import_module("imgcls.cli.doctor")  # the package may name the function so
GB = 2**30


def call(*arguments):
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(doctor.doctor)
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def sound(monkeypatch):
    """A machine on which everything but the check under test is as it should be."""
    monkeypatch.setattr(doctor, "CHECKS", dict.fromkeys(doctor.CHECKS, lambda: doctor.Finding("ok", "sound")))
    return monkeypatch


def test_json_has_every_check_and_the_exit_status_follows(sound):
    shown = call("--format", "json")
    answer = json.loads(shown.stdout)
    assert shown.exit_code == 0
    assert answer["ok"] is True
    assert [row["check"] for row in answer["checks"]] == list(doctor.CHECKS)
    assert {tuple(row) for row in answer["checks"]} == {("check", "status", "found", "advice")}
    sound.setitem(doctor.CHECKS, "browser", lambda: doctor.Finding("note", "none"))
    assert call().exit_code == 0
    sound.setitem(doctor.CHECKS, "disk", lambda: doctor.Finding("problem", "full", "free some"))
    shown = call()
    assert shown.exit_code == 1
    assert "problems: disk" in shown.stdout
    assert "→ free some" in shown.stdout


def test_a_check_that_raises_is_a_problem_and_the_others_still_run(sound):
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    sound.setitem(doctor.CHECKS, "torch", broken)
    shown = call("--format", "json")
    rows = {row["check"]: row for row in json.loads(shown.stdout)["checks"]}
    assert shown.exit_code == 1
    assert rows["torch"]["status"] == "problem"
    assert "operator torchvision::nms does not exist" in rows["torch"]["found"]
    assert [name for name, row in rows.items() if row["status"] != "ok"] == ["torch"]


def test_this_environment_gets_real_answers():
    rows = {row["check"]: row for row in doctor.diagnose()}
    assert list(rows) == list(doctor.CHECKS)
    for check in ("Python", "torch"):  # these tests run, hence so far all is well
        assert rows[check]["status"] == "ok", rows[check]
    assert torch.__version__ in rows["torch"]["found"]
    assert torchvision.__version__ in rows["torch"]["found"]
    assert all(row["advice"] for row in rows.values() if row["status"] != "ok")


def test_an_unknown_format_is_refused():
    assert "choose from table, json" in str(call("--format", "xml").exception)


# ------------------------------------------------------------------ Python and packages


def test_the_oldest_python_is_that_of_the_project():
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=" + ".".join(map(str, doctor.PYTHON))


@pytest.mark.parametrize(
    ("version", "status"), [("3.9.18", "problem"), ("3.10.14", "problem"), ("3.11.0", "ok"), ("3.14.0", "ok")]
)
def test_python_is_compared_as_numbers(version, status, monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    assert doctor.check_python()[:2] == (status, version)


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """Write a requirements.txt, and a pyproject.toml that asks for some of it."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)

    def write(*pins, asked=()):
        hashed = (f"{pin} \\\n    --hash=sha256:00\n    # via imgcls\n" for pin in pins)
        (tmp_path / "requirements.txt").write_text("# comment\n" + "".join(hashed))
        (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'x'\ndependencies = {list(asked)}\n")
        return doctor.check_packages()

    return write


NUMPY = metadata.version("numpy")


def test_pins_that_fit_are_ok_and_markers_are_honoured(pinned):
    assert pinned(f"numpy=={NUMPY}", "nowhere==1 ; sys_platform == 'plan9'", asked=["numpy>=1"]) == (
        "ok",
        "all 1 as pinned",
        "",
    )


def test_another_version_than_the_pin_is_a_note_with_both(pinned):
    status, found, advice = pinned("numpy==0.1", f"torch=={torch.__version__.split('+')[0]}", asked=["numpy>=1"])
    assert (status, found) == ("note", f"1 of 2 differ from the pins: numpy is {NUMPY}, not ==0.1")
    assert advice


def test_what_the_library_needs_stops_it_where_missing_or_out_of_range(pinned):
    assert pinned(f"numpy=={NUMPY}", asked=["numpy<1"])[:2] == ("problem", f"numpy is {NUMPY}, not <1")
    assert pinned("no-such==1", asked=["no-such>=1"])[:2] == ("problem", "no-such is missing")
    assert pinned("no-such==1")[0] == "note"  # a tool that the library does without


def test_a_package_that_another_one_needs_stops_it_too(pinned, monkeypatch):
    version = metadata.version

    def without_dateutil(name):
        if name == "python-dateutil":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.metadata, "version", without_dateutil)
    assert pinned("python-dateutil==2.9", asked=["pandas"])[:2] == ("problem", "python-dateutil is missing")


def test_at_most_five_packages_are_named(pinned):
    found = pinned(*(f"no-such-{i}==1" for i in range(8))).found
    assert found.count("is missing") == 5
    assert found.endswith("and 3 more")


def test_outside_a_checkout_the_ranges_of_the_package_count(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    needs = ["numpy>=1", "no-such ; extra == 'wandb'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needs if name == "imgcls" else [])
    assert doctor.check_packages()[:2] == ("ok", "all 1 that imgcls needs; a checkout has exact pins")
    needs[0] = "numpy<1"
    assert doctor.check_packages()[:2] == ("problem", f"numpy is {NUMPY}, not <1")


def test_without_packaging_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    assert doctor.check_packages().status == "note"
    assert "packaging" in doctor.check_packages().found


def test_a_torchvision_that_answers_wrongly_is_found_out(monkeypatch):
    monkeypatch.setattr(torchvision.ops, "nms", lambda boxes, scores, threshold: torch.tensor([0, 1]))
    assert doctor.check_torch().status == "problem"


def test_without_a_working_torch_it_still_answers(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so: cannot open shared object file')")
    done = subprocess.run(
        [sys.executable, "-P", doctor.__file__, "--format", "json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(paths.ROOT)))},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    rows = {row["check"]: row for row in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1, done.stderr
    assert rows["torch"]["status"] == "problem"
    assert "libtorch.so" in rows["torch"]["found"]
    assert rows["Python"]["status"] == "ok"
    assert list(rows) == list(doctor.CHECKS)


# ------------------------------------------------------------------ the machine


@pytest.mark.parametrize(("free", "status"), [(3.9, "problem"), (4.1, "ok")])
def test_memory_is_held_against_four_gigabytes(free, status, monkeypatch):
    monkeypatch.setattr(doctor, "available_memory", lambda: int(free * GB))
    assert doctor.check_memory()[:2] == (status, f"{free} GB available")


@pytest.mark.parametrize(
    ("folder", "limit", "usage", "cached"),
    [
        (".", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_a_container_may_have_less_memory_than_its_machine(folder, limit, usage, cached, tmp_path):
    here = tmp_path / folder
    here.mkdir(exist_ok=True)
    (here / limit).write_text("3000\n")
    (here / usage).write_text("2500\n")
    (here / "memory.stat").write_text(f"anon 7\n{cached} 400\n")  # the kernel gives file pages back
    assert doctor.available_memory(tmp_path) == 900
    machine = doctor.available_memory(tmp_path / "nowhere")
    (here / limit).write_text("max\n")
    assert doctor.available_memory(tmp_path) == pytest.approx(machine, rel=0.2)


@pytest.mark.parametrize(("free", "status"), [(4.9, "problem"), (5.1, "ok")])
def test_disk_is_held_against_five_gigabytes_where_build_will_be(free, status, own_folders, monkeypatch):
    asked = []

    def usage(folder):
        asked.append(folder)
        return namedtuple("Usage", "free")(int(free * GB))

    monkeypatch.setattr(doctor.shutil, "disk_usage", usage)
    assert doctor.check_disk().status == status
    assert asked == [own_folders]  # build/ is not there yet


def test_precision_says_what_float32_means(monkeypatch):
    monkeypatch.setattr(precision, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(precision, "pick_precision", lambda: torch.float32)
    slow = doctor.check_precision()
    assert (slow.status, "AMX" in slow.found, "longer" in slow.advice) == ("note", True, True)
    monkeypatch.setattr(precision, "pick_precision", lambda: torch.bfloat16)
    assert doctor.check_precision().status == "ok"


def test_threads_that_leave_cores_idle_are_noted(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.setattr(reproducibility, "configure_threads", lambda: 1)
    assert doctor.check_cores()[:2] == ("note", "3 cores, 1 thread")
    monkeypatch.setattr(reproducibility, "configure_threads", lambda: 3)
    assert doctor.check_cores()[:2] == ("ok", "3 cores, 3 threads")


def test_a_driver_without_a_gpu_for_torch_is_noted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.check_gpu().status == "ok"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if name == "nvidia-smi" else None)
    assert doctor.check_gpu().status == "note"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert doctor.check_gpu()[:2] == ("ok", "a GPU")


# ------------------------------------------------------------------ folders and programs


def test_a_file_in_place_of_a_folder_is_found(own_folders):
    assert doctor.check_folders().status == "ok"
    assert list(own_folders.iterdir()) == []  # looking leaves nothing
    paths.REPORTS.write_text("no folder")
    refused = doctor.check_folders()
    assert refused.status == "problem"
    assert str(paths.REPORTS) in refused.found
    assert str(paths.BUILD) not in refused.found


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_the_right_to_write_is_found(own_folders):
    paths.BUILD.mkdir(mode=0o500)
    refused = doctor.check_folders()
    assert refused.status == "problem"
    assert str(paths.BUILD) in refused.found


def test_a_missing_browser_or_git_is_only_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert (doctor.check_browser().status, doctor.check_git().status) == ("note", "note")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"bin/{name}")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert doctor.check_browser()[:2] == ("ok", "bin/chromium")
    assert "no git checkout" in doctor.check_git().found
