"""`make lab` in a real browser: notebook 00 opens beside its files, runs whole, and its output is clean."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time

import pytest
from browser import chromium, needs_browser, screen

from course.reports import parameters
from imgcls import paths

pytestmark = needs_browser
NOTEBOOK = "notebooks/00_start_here.ipynb"
PATIENCE = 600  # seconds for the notebook on a busy machine; a tenth of it on an idle one
STATUS = "document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with notebook 00 as a student has it, but with the parameters of the smoke profile as defaults.

    Its second cell of code also imports what warns in a notebook without widgets, as other notebooks do by Optuna.
    """
    root = tmp_path_factory.mktemp("project")
    for folder in ("reports", "build/exercises"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(paths.NOTEBOOKS, root / "notebooks")
    content = json.loads((root / NOTEBOOK).read_text())
    position = next(k for k, one in enumerate(content["cells"]) if "parameters" in one["metadata"].get("tags", ()))
    values = parameters.check("00", "smoke").overrides
    lines = "\n".join(["import tqdm.auto", *(f"{name} = {value!r}" for name, value in values.items())])
    small = {"cell_type": "code", "id": "smoke", "metadata": {}, "outputs": [], "execution_count": None}
    content["cells"].insert(position + 1, small | {"source": lines})
    (root / NOTEBOOK).write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    """The server that `make lab` starts, for this project, and a home folder of its own: the address."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    done = subprocess.run(["make", "-n", "lab"], cwd=paths.ROOT, env=alone, capture_output=True, text=True, check=True)
    command = shlex.split(done.stdout.replace("\\\n", " ").strip().splitlines()[-1])
    options = [
        word.replace("root_dir=" + str(paths.ROOT), "root_dir=" + str(project))
        for word in command[command.index("jupyterlab") + 1 :]
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    test_only = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--IdentityProvider.token="]
    variables = dict(word.split("=", 1) for word in command[: command.index("-m") - 1])
    environment = os.environ | variables | {"HOME": str(tmp_path_factory.mktemp("home")), "IMGCLS_ROOT": str(project)}
    with (project / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, *test_only],
            cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            wait(lambda: server.poll() is not None or can_connect(port), 120)
            assert server.poll() is None, (project / "lab.log").read_text()
            yield f"http://127.0.0.1:{port}/lab"
        finally:
            server.terminate()
            server.wait(30)


def wait(done, seconds):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not done after {seconds} s"
        time.sleep(0.3)


def can_connect(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def menu(page, *names):
    page.get_by_role("menuitem", name=names[0], exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(names[1], exact=True).click()


def code_cells(project):
    """Code cells of the notebook as it was saved, or none while it is being written."""
    try:
        content = json.loads((project / NOTEBOOK).read_text())
    except json.JSONDecodeError:
        return []
    return [one for one in content["cells"] if one["cell_type"] == "code"]


def is_clean(output):
    """No error, nothing on standard error, and nothing that shows an empty line."""
    if output["output_type"] == "stream":
        return output["name"] == "stdout" and "".join(output["text"]).strip() != ""
    return output["output_type"] != "error" and "".join(output["data"].get("text/plain", "x")).strip() != ""


def test_notebook_00_runs_in_jupyterlab_and_its_output_is_clean(project, lab):
    with chromium() as browser:
        page = browser.new_context(**screen(1280)).new_page()
        page.goto(f"{lab}/tree/{NOTEBOOK}")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
        page.locator(".jp-DirListing-item", has_text="01_arctic_fox").wait_for()
        page.locator(".jp-StatusBar-Widget").get_by_text("| Idle").wait_for(timeout=120_000)
        menu(page, "Run", "Run All Cells")
        page.wait_for_function(f"() => {STATUS} === 'busy'", timeout=60_000)
        page.wait_for_function(f"() => {STATUS} === 'idle'", timeout=1000 * PATIENCE)
        assert not page.locator(".jp-toast-message, .Toastify__toast-body, .jp-Dialog").count()
        menu(page, "File", "Save Notebook")
        wait(lambda: (cells := code_cells(project)) and all(one["execution_count"] for one in cells), 60)
        page.locator(".jp-BreadCrumbs-home").first.click()  # up to the project
        for folder in ("notebooks", "reports", "build"):
            page.locator(".jp-DirListing-item", has_text=folder).first.wait_for()
    cells = code_cells(project)
    assert cells
    assert [output for one in cells for output in one["outputs"] if not is_clean(output)] == []
