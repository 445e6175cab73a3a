"""Studies that live in files: shared by processes, killed, resumed, read again, refused."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import optuna
import pytest
from conftest import colour_split
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from course.diagnostics import best_so_far
from imgcls.models import create_model
from imgcls.search import counted_trials, importances, loop, read_study, search, storage, table, trials
from imgcls.training import Recipe

RECIPE = Recipe(epochs=2, batch_size=32)
CREATE = partial(create_model, "simple_cnn", num_classes=3, image_size=8, blocks=2)
SPACE = {"lr": FloatDistribution(1e-4, 0.3, log=True), "filters": (2, 4, 8), "momentum": FloatDistribution(0.5, 0.95)}


@pytest.fixture
def tiny():
    return colour_split(64, seed=1), colour_split(48, seed=2)


def content(study):
    """All trials without their times and processes."""
    return [
        (number, t.state, t.params, t.value, t.intermediate_values, t.user_attrs.get("epochs"))
        for number, t in enumerate(counted_trials(study))
    ]


class Stopping:
    """Makes networks, and does something else at the given call."""

    def __init__(self, at, what):
        self.left, self.what = at, what

    def __call__(self, **options):
        self.left -= 1
        if self.left == -1:
            self.what()
        return CREATE(**options)

    __qualname__ = "create"


def interrupt():
    raise KeyboardInterrupt


# ------------------------------------------------------------------ several processes
# A child waits for this process in the first trial of each, so that both take part; or it hangs or pauses in trial AT.
WORKER = """
import sys, time
from pathlib import Path
from test_search_shared import CREATE, RECIPE, SHARED, SPACE, Stopping, meet, search
from conftest import colour_split

storage, folder, what, at, sampler, trials = sys.argv[1:]

def hang():
    Path(folder, "hangs").touch()
    time.sleep(600)

def pause():
    Path(folder, "hangs").touch()
    while not Path(folder, "goes on").exists():
        time.sleep(0.02)

create = Stopping(int(at), {"train": lambda: meet(Path(folder), "child"), "hang": hang, "pause": pause}[what])
shared = SHARED | {"sampler": sampler, "trials": int(trials)}
search(create, colour_split(64, seed=1), colour_split(48, seed=2), RECIPE, SPACE, storage=storage, **shared)
"""
SHARED = {"trials": 7, "sampler": "random", "seed": 5, "prune": False}


def start(where, folder, what, at=3, sampler="random", trials=7):
    command = [sys.executable, "-c", WORKER, str(where), str(folder), what, str(at), sampler, str(trials)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(file, child):
    while not file.exists():
        assert child.poll() is None, child.stderr.read()[-2000:]
        time.sleep(0.02)


def freeze(child, where):
    """Stop a process, but not while its heartbeat holds the lock of the database, which then nobody could open."""
    for _ in range(100):
        child.send_signal(signal.SIGSTOP)
        database = sqlite3.connect(where, timeout=1)
        try:
            database.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError:
            child.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        finally:
            database.close()
    raise AssertionError("the process held the lock each time")


def meet(folder, me):
    (folder / me).touch()
    ends = time.monotonic() + 100
    while not ((folder / "parent").exists() and (folder / "child").exists()):
        assert time.monotonic() < ends, "the other process did not come"
        time.sleep(0.01)


def alone(tiny, **options):
    return search(Stopping(99, interrupt), *tiny, RECIPE, SPACE, **SHARED | options)


def test_two_processes_share_the_trials(tiny, tmp_path):
    where = tmp_path / "study.db"
    child = start(where, tmp_path, "train", at=0)
    run = partial(search, train=tiny[0], val=tiny[1], recipe=RECIPE, space=SPACE, storage=where, **SHARED)
    returned = run(Stopping(0, lambda: meet(tmp_path, "parent")))
    assert content(returned)[:7] == content(alone(tiny))  # with the trials of the child
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors[-2000:]
    study = read_study(where)
    assert {t.user_attrs["worker"]["pid"] for t in counted_trials(study)[:7]} == {os.getpid(), child.pid}
    assert sum(t.state is TrialState.COMPLETE for t in study.trials) == 7
    assert list(table(study)["number"]) == list(range(7))
    assert content(run(Stopping(0, interrupt))) == content(study)  # nothing is left to train
    assert "worker" not in table(study)


def test_a_killed_process_does_not_stop_the_study(tiny, tmp_path):
    where = f"sqlite:///{tmp_path / 'study.db'}"
    victim = start(where, tmp_path, "hang")
    wait_for(tmp_path / "hangs", victim)

    def kill():
        assert [t.state.name for t in read_study(where).trials] == ["COMPLETE"] * 3 + ["RUNNING"] * 2
        victim.kill()
        victim.communicate()

    study = search(Stopping(0, kill), *tiny, RECIPE, SPACE, storage=where, **SHARED)
    assert victim.returncode == -signal.SIGKILL
    assert content(study) == content(alone(tiny))
    assert [t.user_attrs["worker"]["pid"] for t in counted_trials(study)] == [victim.pid] * 3 + [os.getpid()] * 4
    assert sum(t.state is TrialState.COMPLETE for t in study.trials) == 7


def test_a_process_without_heartbeats_loses_its_trial_and_drops_its_result(tiny, tmp_path, monkeypatch):
    """It is stopped during its fourth trial, and wakes up after this process has done the rest."""
    monkeypatch.setattr(trials, "GRACE", 2)
    monkeypatch.setattr(loop, "PAUSE", 0.1)
    where = tmp_path / "study.db"
    sleeper = start(where, tmp_path, "pause")
    wait_for(tmp_path / "hangs", sleeper)
    freeze(sleeper, where)
    (tmp_path / "goes on").touch()
    study = search(Stopping(99, interrupt), *tiny, RECIPE, SPACE, storage=where, **SHARED)
    assert content(study) == content(alone(tiny))
    before = study.trials
    sleeper.send_signal(signal.SIGCONT)
    _, errors = sleeper.communicate(timeout=120)
    assert sleeper.returncode == 0, errors[-2000:]
    assert read_study(where).trials == before


def test_a_database_that_stays_locked_ends_the_search_with_a_way_on(tiny, tmp_path, monkeypatch):
    """By a process that was stopped during its heartbeat; what was trained stays."""
    monkeypatch.setattr(storage, "PATIENCE", 0.5)
    where = tmp_path / "study.db"
    database = sqlite3.connect(where, isolation_level=None)
    search_on = partial(search, train=tiny[0], val=tiny[1], recipe=RECIPE, space=SPACE, storage=where, **SHARED)
    with pytest.raises(ConnectionError, match=r"study\.db does not answer \(database is locked\); .*Ctrl-Z"):
        search_on(Stopping(2, lambda: database.execute("BEGIN EXCLUSIVE")))
    database.close()
    monkeypatch.setattr(trials.psutil, "pid_exists", lambda _: False)  # the process would have ended with the error
    monkeypatch.setattr(trials, "GRACE", 1)  # whether the trial has an owner yet or not
    assert content(search_on(Stopping(99, interrupt))) == content(alone(tiny))


@pytest.mark.filterwarnings("ignore:Heartbeat")  # of a trial that is asked for
def test_a_heartbeat_that_finds_the_database_locked_leaves_the_word_to_the_trial(tmp_path, monkeypatch):
    """An error would end the thread of the heartbeats with a traceback, and the trial would be taken for lost."""
    monkeypatch.setattr(storage, "PATIENCE", 0.1)
    opened = storage.open_storage(tmp_path / "study.db")
    study = optuna.create_study(storage=opened)
    trial = study.ask()
    database = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    opened.record_heartbeat(trial._trial_id)
    with pytest.raises(ConnectionError, match="database is locked"):
        trial.set_user_attr("a", 1)
    database.close()
    opened.record_heartbeat(trial._trial_id)
    rows = sqlite3.connect(tmp_path / "study.db").execute("SELECT trial_id FROM trial_heartbeats").fetchall()
    assert rows == [(trial._trial_id,)]


def test_a_batch_larger_than_the_data_is_refused_before_the_study_is_stored(tiny, tmp_path):
    sizes = {"batch_size": (32, 128)}
    with pytest.raises(ValueError, match="64 images are fewer than one batch of 128: lower batch_size"):
        search(CREATE, *tiny, RECIPE, sizes, storage=tmp_path / "study.db", trials=1)
    assert not (tmp_path / "study.db").exists()


# ------------------------------------------------------------------ stop and resume
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_study_that_was_killed_and_resumed_is_the_uninterrupted_one(tiny, tmp_path, monkeypatch, sampler):
    where = tmp_path / "study.db"
    victim = start(where, tmp_path, "hang", at=11, sampler=sampler, trials=14)  # TPE no longer draws at random
    wait_for(tmp_path / "hangs", victim)
    victim.kill()
    victim.communicate()
    monkeypatch.setattr(loop.time, "sleep", lambda _: pytest.fail("the resumed process waited"))
    study = alone(tiny, sampler=sampler, trials=14, storage=where)
    assert content(study) == content(alone(tiny, sampler=sampler, trials=14))
    assert [t.state.name for t in study.trials if t.number == 11] == ["FAIL"]  # done again as Optuna's number 12


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_resumed_study_is_the_uninterrupted_one(tiny, tmp_path, sampler):
    run = partial(search, train=tiny[0], val=tiny[1], recipe=replace(RECIPE, epochs=3), space=SPACE, sampler=sampler)
    whole = run(Stopping(99, interrupt), trials=16, seed=2)
    assert {t.state.name for t in whole.trials} == {"COMPLETE", "PRUNED"}
    run = partial(run, seed=2, storage=tmp_path / "study.db")
    run(Stopping(99, interrupt), trials=4)
    for at in (3, 6):  # twice in the middle of a trial: 7, then 13, when TPE no longer draws at random
        with pytest.raises(KeyboardInterrupt):
            run(Stopping(at, interrupt), trials=16)
    assert [t.state.name for t in read_study(tmp_path / "study.db").trials[-1:]] == ["FAIL"]
    assert content(run(Stopping(99, interrupt), trials=16)) == content(whole)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_trial_that_is_done_again_ends_where_it_would_have_ended(tiny, tmp_path, monkeypatch, epoch):
    """Trial 1 is pruned in epoch 3, and the process is stopped right after it reported `epoch`."""
    run = partial(search, CREATE, *tiny, replace(RECIPE, epochs=4), SPACE, trials=3, seed=1)

    def last_epoch(trial):
        """Of trial 1; 0 for another trial."""
        known = counted_trials(trial.study)
        return max(known[1].intermediate_values) if len(known) == 2 else 0

    def hopeless(trial):
        return last_epoch(trial) == 3

    def killed(trial):
        if last_epoch(trial) == epoch:
            raise KeyboardInterrupt
        return hopeless(trial)

    monkeypatch.setattr(optuna.Trial, "should_prune", hopeless)
    whole = run()
    assert [t.user_attrs["epochs"] for t in whole.trials] == [4, 3, 4]
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "should_prune", killed)
        with pytest.raises(KeyboardInterrupt):
            run(storage=tmp_path / "study.db")
    assert content(run(storage=tmp_path / "study.db")) == content(whole)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_trial_that_was_stopped_while_it_drew_draws_the_same(tiny, tmp_path, monkeypatch, sampler):
    run = partial(search, CREATE, *tiny, replace(RECIPE, epochs=1), SPACE, trials=12, sampler=sampler, seed=1)
    suggest = optuna.Trial.suggest_categorical

    def killed(trial, *arguments):  # the second of three draws
        if trial.number == 11:
            raise KeyboardInterrupt
        return suggest(trial, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "suggest_categorical", killed)
        with pytest.raises(KeyboardInterrupt):
            run(storage=tmp_path / "study.db")
    assert list(read_study(tmp_path / "study.db").trials[11].params) == ["lr"]
    assert content(run(storage=tmp_path / "study.db")) == content(run())


def test_an_error_is_a_failed_trial_that_counts_and_stops_the_search(tiny, tmp_path):
    def broken():
        raise RuntimeError("no such layer")

    run = partial(search, train=tiny[0], val=tiny[1], recipe=RECIPE, space=SPACE, trials=4, storage=tmp_path / "s.db")
    with pytest.raises(RuntimeError, match="no such layer"):
        run(Stopping(1, broken))
    study = run(Stopping(99, broken))
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs["error"] == "no such layer"


# ------------------------------------------------------------------ the owner of a trial
def lost(machine=None, pid=None, age=0, owned=True):
    owner = trials.this_process() | ({"machine": machine} if machine else {}) | ({"pid": pid} if pid else {})
    study = optuna.create_study()
    trial = study.ask()
    if owned:
        trial.set_user_attr("worker", owner)
    frozen = study.trials[0]
    frozen.datetime_start -= trials.timedelta(seconds=age)
    return trials.is_lost(frozen)


def test_a_trial_is_lost_when_its_process_is_gone():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not lost()
    assert lost(pid=ended.pid)
    assert not lost(pid=ended.pid, machine="another")  # whose process ids mean nothing here
    assert not lost(owned=False, age=trials.GRACE - 10)
    assert lost(owned=False, age=trials.GRACE + 10)  # killed before it wrote down its owner


def test_an_interrupted_trial_is_done_by_one_process(tiny, tmp_path):
    """Two processes queue it again at the same moment; the second attempt is dropped."""
    run = partial(search, train=tiny[0], val=tiny[1], recipe=RECIPE, space=SPACE, storage=tmp_path / "s.db", trials=3)
    with pytest.raises(KeyboardInterrupt):
        run(Stopping(1, interrupt))
    study = read_study(tmp_path / "s.db")
    for _ in range(2):
        trials.retry(study, study.trials[1])
    study = run(Stopping(99, interrupt))
    assert [t.state.name for t in counted_trials(study)] == ["COMPLETE"] * 3
    assert sum(t.state is TrialState.COMPLETE for t in study.trials) == 3
    assert counted_trials(study)[1].params == study.trials[1].params


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # a trial that another process only asked for
def test_the_last_trials_of_others_are_awaited(tiny, tmp_path, monkeypatch):
    where = tmp_path / "study.db"
    run = partial(search, CREATE, *tiny, RECIPE, SPACE, storage=where)
    run(trials=2).ask().set_user_attr("worker", trials.this_process())
    looks = []

    def finish(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            read_study(where).tell(2, 0.5)

    monkeypatch.setattr(loop.time, "sleep", finish)
    assert [t.state.name for t in run(trials=3).trials] == ["COMPLETE"] * 3
    assert len(looks) == 3


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # a trial that another process only asked for
def test_a_trial_too_many_is_left_to_a_longer_search(tiny, tmp_path, monkeypatch):
    """Both processes see one trial left and ask for it: the second gets one more than requested."""
    where = tmp_path / "study.db"
    run = partial(search, CREATE, *tiny, RECIPE, SPACE, storage=where, seed=3)
    run(trials=1)
    ask = optuna.Study.ask

    def beaten(study, *arguments):
        other = ask(read_study(where))
        other.study.tell(other, 0.5)
        return ask(study, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", beaten)
        study = run(trials=2)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert list(table(study)["number"]) == [0, 1]
    longer = counted_trials(run(trials=4))
    assert [t.state.name for t in longer] == ["COMPLETE"] * 4
    uninterrupted = search(CREATE, *tiny, RECIPE, SPACE, trials=4, seed=3)
    assert [t.params for t in longer[2:]] == [t.params for t in uninterrupted.trials[2:]]


# ------------------------------------------------------------------ equal compute
def test_a_budget_of_epochs_is_never_passed_and_the_same_every_time(tiny):
    space = {"lr": (0.05, 1e-9, 1e30)}
    recipe = Recipe(epochs=4, batch_size=32, schedule="constant")
    run = partial(search, CREATE, *tiny, recipe, space, sampler="random", max_epochs=50, seed=1)
    study = run()
    epochs = [t.user_attrs["epochs"] for t in study.trials]
    assert 50 - recipe.epochs < sum(epochs) <= 50
    assert {t.state.name for t in study.trials} == {"COMPLETE", "PRUNED", "FAIL"}
    assert content(run()) == content(study)
    longer = run(max_epochs=60)
    assert content(longer)[: len(epochs)] == content(study)
    assert len(longer.trials) > len(epochs)
    assert len(run(trials=5).trials) == 5


def test_a_budget_reserves_whole_trials_for_those_that_run():
    known = [
        optuna.trial.create_trial(value=0.5, user_attrs={"epochs": 2}),
        optuna.trial.create_trial(state=TrialState.RUNNING),
        optuna.trial.create_trial(state=TrialState.RUNNING),
    ]
    assert loop.Limits(None, 14, 4).allow(3, known)  # 2 + 4 + 4 + 4
    assert not loop.Limits(None, 13, 4).allow(3, known)
    assert loop.Limits(None, 10, 4).allow(2, known)  # later trials have nothing reserved
    assert not loop.Limits(3, None, 4).allow(3, known)


def test_best_so_far_adds_up_the_compute_of_every_trial():
    from imgcls import plots  # not needed by the other processes of this file

    study = optuna.create_study(study_name="tpe", direction="maximize")
    rows = [(1.0, 2, None, "FAIL"), (4.0, 3, 0.5, "COMPLETE"), (2.0, 1, 0.3, "PRUNED"), (4.0, 3, 0.75, "COMPLETE")]
    for seconds, epochs, reached, state in rows:
        trial = study.ask()
        diverged = "epoch 2" if state == "FAIL" else None
        for name, value in zip(
            ("seconds", "epochs", "reached", "diverged"), (seconds, epochs, reached, diverged), strict=True
        ):
            if value is not None:
                trial.set_user_attr(name, value)
        study.tell(trial, reached if state == "COMPLETE" else None, state=TrialState[state])
    frame = best_so_far(study)
    assert list(frame["x"]) == [5, 7, 11]
    assert list(frame["value"]) == [0.5, 0.5, 0.75]
    assert set(frame["series"]) == {"tpe"}
    assert list(best_so_far(study, of="epochs")["x"]) == [5, 6, 9]
    figure = plots.curves(frame, "training time in s", {"search": "best validation accuracy"})
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.5, 0.5, 0.75]
    with pytest.raises(ValueError, match="seconds or epochs, not in 'minutes'"):
        best_so_far(study, of="minutes")
    assert best_so_far(optuna.create_study(study_name="new")).empty


# ------------------------------------------------------------------ reading and refusing
def test_a_finished_study_is_read_back(tiny, tmp_path):
    where = tmp_path / "study.db"
    study = search(CREATE, *tiny, RECIPE, SPACE, trials=4, prune=False, storage=where, name="random")
    before = where.read_bytes()
    for name in ("random", None):
        read = read_study(where, name)
        assert content(read) == content(study)
        assert table(read).equals(table(study))
        assert read.best_value == study.best_value
        assert importances(read).equals(importances(study))
    assert where.read_bytes() == before
    search(CREATE, *tiny, RECIPE, SPACE, trials=1, storage=where, name="tpe")
    with pytest.raises(ValueError, match=r"there is no study 'rndom' in .*did you mean 'random'\?"):
        read_study(where, "rndom")
    with pytest.raises(ValueError, match=r"has to be named in .*choose from random, tpe"):
        read_study(where)


@pytest.mark.parametrize("address", ["{}/stdy.sqlite", "sqlite:///{}/stdy.db"])
def test_reading_makes_no_file(tmp_path, address):
    (tmp_path / "study.sqlite").touch()
    (tmp_path / "study.db").touch()
    with pytest.raises(FileNotFoundError, match=r"did you mean .*study"):
        read_study(address.format(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db", "study.sqlite"]


OTHERS = {
    f"space of lr was {SPACE['lr']!r}, now (0.1, 0.2)": {"space": SPACE | {"lr": (0.1, 0.2)}},
    "space of hidden_features was left out, now (1, 2)": {"space": SPACE | {"hidden_features": (1, 2)}},
    "epochs was 2, now 3": {"recipe": replace(RECIPE, epochs=3)},
    "training data was": {"train": colour_split(64, seed=9)},
    "validation data was": {"val": colour_split(48, seed=9)},
    "num_classes=3), now create_model('zfnet')": {"create": partial(create_model, "zfnet")},
    "sampler was tpe, now random": {"sampler": "random"},
    "prune was True, now False": {"prune": False},
    "seed was 0, now 1": {"seed": 1},
}


def test_a_study_with_other_settings_is_not_joined(tiny, tmp_path):
    given = {"create": CREATE, "train": tiny[0], "val": tiny[1], "recipe": RECIPE, "space": SPACE, "trials": 1}
    where = tmp_path / "study.db"
    search(**given, storage=where)
    for message, change in OTHERS.items():
        with pytest.raises(ValueError, match="was started with other settings") as refused:
            search(**given | change, storage=where)
        assert message in str(refused.value)
        assert str(refused.value).count(" was ") == 2  # nothing else is named
    search(**given | {"recipe": replace(RECIPE, lr=0.123)}, storage=where)  # drawn, whatever the recipe says
    assert len(read_study(where).trials) == 1


def test_a_study_of_another_program_is_not_joined(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SETTINGS_PATIENCE", 0.0)
    where = tmp_path / "study.db"
    other = optuna.create_study(storage=storage.open_storage(where), study_name="search")
    search(CREATE, *tiny, RECIPE, SPACE, trials=1, storage=where)  # empty: as if its maker had been killed
    other = optuna.create_study(storage=storage.open_storage(where), study_name="other")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ValueError, match=r"not started by search\(\).*choose another name"):
        search(CREATE, *tiny, RECIPE, SPACE, trials=2, storage=where, name="other")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("study.json", r"neither a SQLite file.*\.db or \.sqlite.*write study\.db or postgresql://user"),
        ("postgres://me@host/studies", r"'postgres' is unknown; did you mean 'postgresql'"),
        ("redis://host", "choose from sqlite, postgresql"),
        ("sqlite://study.db", "sqlite:///study.db"),
        ("sqlite://", "names no file"),
        ("postgresql+psycop://me:secret@host/studies", r"'postgresql\+psycop' is unknown"),
        ("postgresql://me:secret@host:port/studies", r"me:\*\*\*@host:port/studies' cannot be read as postgresql://"),
        ("postgresql://me:secret@127.0.0.1:1/studies", r"me:\*\*\*@127.0.0.1:1/studies could not be opened"),
        ("postgresql://127.0.0.1:1/studies?user=me&password=secret&x=1", r"password=\*\*\*&x=1 could not be opened"),
        ("postgresql://me:sec@ret@127.0.0.1:1/studies", r"me:\*\*\*@127.0.0.1:1/studies could not be opened"),
    ],
)
def test_an_unusable_storage_is_refused_without_its_password(tmp_path, monkeypatch, where, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(storage.time, "sleep", lambda _: None)
    with pytest.raises((ValueError, ConnectionError), match=message) as refused:
        read_study(where)
    assert "sec" not in str(refused.value).replace("second", "")
    assert not list(tmp_path.iterdir())


def test_a_journal_is_refused_and_can_be_exported(tmp_path, monkeypatch):
    from optuna.storages import JournalStorage, journal

    monkeypatch.chdir(tmp_path)
    old = optuna.create_study(
        study_name="old", storage=JournalStorage(journal.JournalFileBackend("study.journal")), direction="maximize"
    )
    old.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    with pytest.raises(ValueError, match="journal files are no longer read") as refused:
        read_study("study.journal")
    code = str(refused.value).partition("once: ")[2]
    exec(code, {"optuna": optuna, "NAME": "old"})
    assert [t.params for t in read_study("study.db").trials] == [t.params for t in old.trials]


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r'pip install "psycopg\[binary\]"'):
        read_study("postgresql://me:secret@host/studies")


def test_a_damaged_database_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.time, "sleep", lambda _: None)
    (tmp_path / "study.db").write_text("this is no database, and long enough for SQLite to look at it" * 20)
    with pytest.raises(ConnectionError, match=r"study\.db could not be opened \(file is not a database\); .*its disk"):
        read_study(tmp_path / "study.db")


def test_a_limit_below_one_trial_is_refused(tiny):
    for limits, message in (
        ({"trials": 0}, "trials must be at least 1"),
        ({"max_epochs": 1}, "max_epochs must be at least 2, the epochs of one trial; got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            search(CREATE, *tiny, RECIPE, SPACE, **limits)
