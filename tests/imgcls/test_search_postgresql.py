"""A study in PostgreSQL: three processes share it, one is killed, and the server restarts while the others train."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import colour_split
from optuna.trial import TrialState
from test_search_shared import CREATE, RECIPE, SPACE, content, wait_for

from imgcls.search import counted_trials, read_study, search, table

SHARED = {"trials": 12, "sampler": "random", "seed": 5, "prune": False}
PROCESSES = ("victim", "second", "third")
# Each process meets the others in its first trial; the victim hangs in its second one, the others take half a second.
WORKER = """
import sys, time
from pathlib import Path
from conftest import colour_split
from imgcls.search import loop, search, trials
from test_search_postgresql import CREATE, PROCESSES, RECIPE, SHARED, SPACE

address, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
trials.HEARTBEAT, trials.GRACE, loop.PAUSE = 1, 6, 0.2

def create(**options):
    (folder / f"{name} has begun").touch()
    while not all((folder / f"{other} has begun").exists() for other in PROCESSES):
        time.sleep(0.02)
    if name == "victim" and create.calls == 1:
        (folder / "victim hangs").touch()
        time.sleep(600)
    create.calls += 1
    time.sleep(0.5)
    return CREATE(**options)

create.calls = 0
search(create, colour_split(64, seed=1), colour_split(48, seed=2), RECIPE, SPACE, storage=address, **SHARED)
"""


class Server:
    """A private PostgreSQL server on a Unix socket in a temporary folder, which runs as a user other than root."""

    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        self.user = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            account = names.get("postgres") or names["nobody"]
            os.chown(folder, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.run("initdb", "-A", "trust", "-U", "me", "--no-sync")
        self.control("start")

    def run(self, program, *arguments):
        command = [self.programs / program, "-D", self.folder / "data", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **self.user
        )
        assert done.returncode == 0, done.stderr

    def control(self, action):
        log = self.folder / "log"
        self.run("pg_ctl", action, "-w", "-m", "fast", "-l", log, "-o", f"-c listen_addresses='' -k {self.folder} -F")

    @property
    def address(self):
        return f"postgresql://me:secret@/postgres?host={self.folder}"


@pytest.fixture(scope="module")
def server():
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), shutil.which("initdb")]
    programs = [Path(path).parent for path in found if path and Path(path).with_name("pg_ctl").exists()]
    if not programs:
        pytest.skip("no PostgreSQL server on this machine (initdb, pg_ctl); Debian's package is postgresql")
    folder = Path(tempfile.mkdtemp(prefix="imgcls-postgresql-"))  # short, and open to another user, unlike tmp_path
    server = None
    try:
        server = Server(programs[-1], folder)
        yield server
    finally:
        if server:
            server.run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)


def test_three_processes_a_kill_and_a_restart_lose_and_repeat_nothing(server, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    children = {
        name: subprocess.Popen(
            [sys.executable, "-c", WORKER, server.address, str(tmp_path), name],
            env=environment, stderr=subprocess.PIPE, text=True,
        )
        for name in PROCESSES
    }  # fmt: skip
    victim = children.pop("victim")
    try:
        wait_for(tmp_path / "victim hangs", victim)
        victim.kill()
        victim.communicate()
        server.control("stop")
        time.sleep(1)  # the others end trials meanwhile, and have to wait
        server.control("start")
        before = read_study(server.address)
        assert sum(t.state is TrialState.COMPLETE for t in before.trials) < SHARED["trials"]  # in the middle
        for name, child in children.items():
            _, errors = child.communicate(timeout=100)
            assert child.returncode == 0, f"{name}: {errors[-3000:]}"
    finally:
        for child in children.values():
            child.kill()
    assert victim.returncode == -signal.SIGKILL

    study = read_study(server.address)
    counted = counted_trials(study)[: SHARED["trials"]]
    assert [t.state for t in counted] == [TrialState.COMPLETE] * SHARED["trials"]
    assert sum(t.state is TrialState.COMPLETE for t in study.trials) == SHARED["trials"]
    assert list(table(study)["number"]) == list(range(SHARED["trials"]))
    owners = [t.user_attrs["worker"]["pid"] for t in counted]
    assert set(owners) == {victim.pid, *(child.pid for child in children.values())}
    assert owners.count(victim.pid) == 1
    interrupted = [t for t in study.trials if t.user_attrs.get("worker", {}).get("pid") == victim.pid][1]
    again = next(t for t in counted if t.system_attrs.get("failed_trial") == interrupted.number)
    assert interrupted.state is TrialState.FAIL
    assert again.params == interrupted.params

    splits = colour_split(64, seed=1), colour_split(48, seed=2)
    alone = search(CREATE, *splits, RECIPE, SPACE, **SHARED)
    assert content(study)[: SHARED["trials"]] == content(alone)


def test_another_study_in_the_database_is_refused_without_the_password(server):
    splits = colour_split(64, seed=1), colour_split(48, seed=2)
    search(CREATE, *splits, RECIPE, SPACE, trials=1, storage=server.address, name="other")
    with pytest.raises(ValueError, match=r"seed was 0, now 1") as refused:
        search(CREATE, *splits, RECIPE, SPACE, trials=1, storage=server.address, name="other", seed=1)
    assert f"postgresql://me:***@/postgres?host={server.folder}" in str(refused.value)
    assert "secret" not in str(refused.value)
