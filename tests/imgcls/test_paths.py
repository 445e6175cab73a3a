"""Where files are written: in a checkout, as an installed package, without a home, and in folders of other users."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from imgcls import cli, paths

LISTED = "from imgcls import paths as p; print(p.ROOT, p.BUILD, p.CACHE, p.BACKBONES, p.DATA, sep='\\n')"


@pytest.fixture
def installed(tmp_path):
    """The library as a wheel unpacks it, and an environment that finds it there."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "imgcls", tmp_path / "site" / "imgcls", ignore=ignored)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "IMGCLS_"))}
    return kept | {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path / "home")}


def python(code, environment, *before):
    command = [*before, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="the folders of Linux")
def test_an_installed_package_writes_to_the_folders_of_the_user(installed, tmp_path):
    data, cache = tmp_path / "home" / ".local" / "share" / "imgcls", tmp_path / "home" / ".cache" / "imgcls"
    (tmp_path / "home").mkdir()
    found = python(LISTED, installed)
    build = data / "build"
    assert found == [str(data), str(build), str(cache / "cache"), str(cache / "backbones"), str(data / "data")]
    assert python(LISTED, installed | {"IMGCLS_ROOT": "/x"})[:2] == ["/x", "/x/build"]
    (tmp_path / "site" / "Makefile").touch()  # a checkout
    site = tmp_path / "site"
    assert python(LISTED, installed)[:3] == [str(site), str(site / "build"), str(site / "build" / "cache")]


def test_a_cache_that_cannot_be_written_is_passed_over(own_folders, monkeypatch):
    (paths.BUILD / "cache").mkdir(parents=True)
    assert paths._rebuilt() == paths.BUILD
    monkeypatch.setattr(os, "access", lambda path, mode: path != paths.BUILD / "cache")
    assert paths._rebuilt() == paths.platformdirs.user_cache_path("imgcls")
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert paths._rebuilt() == paths.BUILD


def test_without_a_home_there_is_no_folder_called_tilde(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert paths._homeless().parent == Path(paths.tempfile.gettempdir())
    folder = tmp_path / "mine"
    monkeypatch.setattr(paths, "_homeless", lambda: folder)
    monkeypatch.setenv("HOME", "~")
    paths.complete_environment()
    assert os.environ["HOME"] == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_written_to_is_none(tmp_path, monkeypatch):
    """As `HOME=/` or `HOME=/nonexistent` in containers: other libraries then complain, or write where they can."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert paths._homeless() is None  # can be made
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert paths._homeless() == Path(paths.tempfile.gettempdir(), f"imgcls-{os.getuid()}")


def test_a_user_without_a_passwd_entry_gets_a_name(installed, tmp_path):
    """As in containers that run under any user id: importing torchvision calls `getuser`."""
    unshare = ("unshare", "-U", "--map-user=12345")
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    nameless = {k: v for k, v in installed.items() if k not in ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME")}
    code = (
        "from imgcls import paths; paths.complete_environment()\n"
        "import getpass, os; print(getpass.getuser(), os.path.expanduser('~'))"
    )
    assert python(code, nameless, *unshare) == [f"user-12345 {paths.tempfile.gettempdir()}/imgcls-12345"]


@pytest.mark.parametrize(("number", "advice"), [(30, True), (13, True), (28, False), (2, False)])
def test_a_read_only_folder_of_the_project_names_imgcls_root(number, advice, own_folders, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", own_folders)
    error = OSError(number, os.strerror(number), str(own_folders / "build" / "runs" / "x"))
    assert ("IMGCLS_ROOT" in cli._advice(error)) == advice
    assert ("free some space" in cli._advice(error)) == (number == 28)
    assert "IMGCLS_ROOT" not in cli._advice(OSError(number, "elsewhere", "/elsewhere/x"))
    assert ("IMGCLS_ROOT" in cli._advice(OSError(number, "x", str(own_folders)))) == (number != 28)  # cannot be made
    assert not cli._advice(ValueError("x"))
