"""The files around the code agree with each other: three lists of pins, and what must never be committed."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement

from imgcls import paths


def requirements(name: str = "requirements.txt") -> dict[str, list[str]]:
    """Each pin of a requirements file with its hashes."""
    pins, current = {}, None
    for line in (paths.ROOT / name).read_text().splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            current = line.rstrip(" \\")
            pins[current] = []
        elif "--hash=" in line:
            pins[current].append(line.strip(" \\"))
    return pins


def project() -> dict:
    return tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]


def wanted(extra: str) -> list[Requirement]:
    """What the project and one of its extras ask for, extras within it included."""
    found, extras = [*map(Requirement, project()["dependencies"])], [extra]
    while extras:
        for requirement in map(Requirement, project()["optional-dependencies"][extras.pop()]):
            if requirement.name == project()["name"]:
                extras += requirement.extras
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-bench.txt"])
def test_every_pin_is_exact_and_hashed(name):
    assert requirements(name)
    for pin, hashes in requirements(name).items():
        assert re.fullmatch(r"[a-z0-9.-]+==[^;=<>]+( ; .+)?", pin), pin
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes), pin


@pytest.mark.parametrize(("extra", "name"), [("dev", "requirements.txt"), ("bench", "requirements-bench.txt")])
def test_the_ranges_of_the_project_admit_the_pins(extra, name):
    pins = {}
    for pin in map(Requirement, requirements(name)):
        pins.setdefault(pin.name, []).append(str(pin.specifier).removeprefix("=="))
    for requirement in wanted(extra):
        versions = pins.get(requirement.name)
        assert versions, f"{requirement.name} is not pinned in {name}: run make lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement} against {versions}"


def test_the_benchmarks_run_on_the_same_pins_as_everything_else():
    pins, bench = ({Requirement(p).name: p.split(" ")[0] for p in requirements(name)} for name in
                   ("requirements.txt", "requirements-bench.txt"))  # fmt: skip
    assert {"kornia", "lightning", "fastai"} <= bench.keys() - pins.keys()
    assert {name: pin for name, pin in bench.items() if name in pins} == {n: p for n, p in pins.items() if n in bench}


def test_conda_gets_the_same_pins():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip[:-1] == list(requirements())
    assert pip[-1] == "--editable ."


def test_an_editable_install_puts_the_checkout_on_the_path(tmp_path):
    """With conda too: the notebooks import `course`, which is not part of the wheel."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(paths.ROOT / name, tmp_path)
    for package in ("imgcls", "menagerie", "course"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    build = "import setuptools.build_meta as backend; backend.build_editable('wheel')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    with zipfile.ZipFile(next((tmp_path / "wheel").glob("*.whl"))) as wheel:
        added = [wheel.read(name).decode().strip() for name in wheel.namelist() if name.endswith(".pth")]
    assert added == [str(tmp_path)]


def test_a_moved_or_copied_project_is_set_up_again(tmp_path):
    """The scripts of a virtual environment would run the code of the original."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(paths.ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    plans = []
    for made_in in (tmp_path.resolve(), "/elsewhere", ""):  # an empty file is of an earlier version
        (tmp_path / ".venv" / ".ready").write_text(f"{made_in}\n")
        plans.append(subprocess.run(["make", "-n", "env"], cwd=tmp_path, capture_output=True, text=True).stdout)
    assert "Nothing to be done" in plans[0]
    assert "venv --clear .venv" in plans[1]
    assert "copied from /elsewhere" in plans[1]
    assert "Nothing to be done" in plans[2]


def test_torch_and_torchvision_are_a_matching_pair():
    pins = {pin.name: str(pin.specifier) for pin in map(Requirement, requirements())}
    torch_minor = int(pins["torch"].split(".")[1])
    vision_minor = int(pins["torchvision"].split(".")[1])
    assert vision_minor == torch_minor + 15  # 2.11 goes with 0.26, 2.12 with 0.27, …
    assert pins["torch"] != "==2.13.0"  # has a CPU-only build that torchvision does not load beside


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=paths.ROOT, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.skipif(not tracked(), reason="not a git checkout")
def test_nothing_that_is_made_is_committed():
    for name in tracked():
        assert not name.startswith((".venv/", "build/", "reports/", "data/")), name
        assert (paths.ROOT / name).stat().st_size < 2_000_000, f"{name} is large for a repository"


def test_make_lab_opens_the_start_notebook():
    planned = subprocess.run(["make", "-n", "lab"], cwd=paths.ROOT, capture_output=True, text=True).stdout
    opened = planned.split("default_url=/lab/tree/")[-1].split()[0]
    assert (paths.ROOT / opened) == paths.NOTEBOOKS / "00_start_here.ipynb"
    assert (paths.ROOT / opened).exists()


@pytest.mark.skipif(not tracked(), reason="not a git checkout")
def test_no_index_address_is_committed():
    address = re.compile(r"(?<!no-emit-)index[-]url|find[-]links|https?://[^ ]*/simple[/\s]")
    for name in tracked():
        if name.endswith((".png", ".ipynb")):
            continue
        found = address.search((paths.ROOT / name).read_text(errors="replace"))
        assert not found, f"{name} holds {found.group() if found else ''}"


def test_the_tests_of_a_file_share_a_worker(request):
    """As `make test` asks for: without it, every worker makes a module's fixtures anew."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("the tests are not spread by groups")
    assert request.node.nodeid.endswith("@test_project.py")
