"""Studies that live in files: shared by processes, killed, resumed, read again, refused."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from conftest import colour_split
from optuna.trial import TrialState

from imgcls.models import create_model
from imgcls.search import Between, best_so_far, importances, loop, read_study, search, sharing, table
from imgcls.training import Recipe

RECIPE = Recipe(epochs=2, batch_size=32)
CREATE = partial(create_model, "simple_cnn", num_classes=3, image_size=8, blocks=2)
SPACE = {"lr": Between(1e-4, 0.3, log=True), "filters": (2, 4, 8), "momentum": Between(0.5, 0.95)}


@pytest.fixture
def tiny():
    return colour_split(64, seed=1), colour_split(48, seed=2)


def seen(study):
    """All that a trial is, but its times and its owner."""
    return [
        (t.number, t.state, t.params, t.value, t.intermediate_values, t.user_attrs.get("epochs")) for t in study.trials
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
# A child meets this process in the first trial of each, so that both take part, or hangs in its fourth.
WORKER = """
import sys, time
from pathlib import Path
from test_search_shared import CREATE, RECIPE, SHARED, SPACE, Stopping, meet, search
from conftest import colour_split

def hang():
    Path(sys.argv[2], "hangs").touch()
    time.sleep(600)

create = Stopping(3, hang) if sys.argv[3] == "hang" else Stopping(0, lambda: meet(Path(sys.argv[2]), "child"))
search(create, colour_split(64, seed=1), colour_split(48, seed=2), RECIPE, SPACE, storage=sys.argv[1], **SHARED)
"""
SHARED = {"trials": 7, "sampler": "random", "seed": 5, "prune": False}


def start(storage, folder, what):
    command = [sys.executable, "-c", WORKER, str(storage), str(folder), what]
    return subprocess.Popen(command, cwd=Path(__file__).parent, stderr=subprocess.PIPE, text=True)


def meet(folder, me):
    (folder / me).touch()
    ends = time.monotonic() + 100
    while not ((folder / "parent").exists() and (folder / "child").exists()):
        assert time.monotonic() < ends, "the other process did not come"
        time.sleep(0.01)


def alone(tiny):
    return search(Stopping(99, interrupt), *tiny, RECIPE, SPACE, **SHARED)


def test_two_processes_share_the_trials(tiny, tmp_path):
    storage = tmp_path / "study.journal"
    child = start(storage, tmp_path, "train")
    run = partial(search, train=tiny[0], val=tiny[1], recipe=RECIPE, space=SPACE, storage=storage, **SHARED)
    returned = run(Stopping(0, lambda: meet(tmp_path, "parent")))
    assert all(t.state is TrialState.COMPLETE for t in returned.trials[:7])  # those of the child too
    _, said = child.communicate(timeout=120)
    assert child.returncode == 0, said[-2000:]
    study = read_study(storage)
    finished = [t for t in study.trials if t.state is not TrialState.WAITING]  # one may have asked in vain
    assert [t.number for t in finished] == list(range(7))
    assert {t.user_attrs["worker"]["pid"] for t in finished} == {os.getpid(), child.pid}
    assert seen(study)[:7] == seen(alone(tiny))
    assert seen(run(Stopping(0, interrupt))) == seen(study)  # there is nothing left to train
    assert "worker" not in table(study)


def test_a_killed_process_does_not_stop_the_study(tiny, tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    victim = start(storage, tmp_path, "hang")
    while not (tmp_path / "hangs").exists():
        assert victim.poll() is None, victim.stderr.read()[-2000:]
        time.sleep(0.02)

    def kill():
        assert [t.state.name for t in read_study(storage).trials] == ["COMPLETE"] * 3 + ["RUNNING"] * 2
        victim.kill()
        victim.communicate()

    study = search(Stopping(0, kill), *tiny, RECIPE, SPACE, storage=storage, **SHARED)
    assert victim.returncode == -signal.SIGKILL
    assert seen(study) == seen(alone(tiny))
    assert [t.user_attrs["worker"]["pid"] for t in study.trials] == [victim.pid] * 3 + [os.getpid()] * 4


# ------------------------------------------------------------------ stop and resume
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_resumed_study_is_the_uninterrupted_one(tiny, tmp_path, sampler):
    run = partial(search, train=tiny[0], val=tiny[1], recipe=replace(RECIPE, epochs=3), space=SPACE, sampler=sampler)
    whole = run(Stopping(99, interrupt), trials=16, seed=2)
    assert {t.state.name for t in whole.trials} == {"COMPLETE", "PRUNED"}
    run = partial(run, seed=2, storage=tmp_path / "study.log")
    run(Stopping(99, interrupt), trials=4)
    for at in (3, 6):  # twice in the middle of a trial: 7, then 13, when TPE no longer draws at random
        with pytest.raises(KeyboardInterrupt):
            run(Stopping(at, interrupt), trials=16)
    assert [t.state.name for t in read_study(tmp_path / "study.log").trials[-1:]] == ["WAITING"]
    assert seen(run(Stopping(99, interrupt), trials=16)) == seen(whole)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_trial_that_is_done_again_ends_where_it_would_have_ended(tiny, tmp_path, monkeypatch, epoch):
    """A pruner judges by the latest epoch that the storage knows: here it prunes trial 1 in epoch 3, and the process
    is stopped right after it reported `epoch`."""
    run = partial(search, CREATE, *tiny, replace(RECIPE, epochs=4), SPACE, trials=3, seed=1)

    def last_epoch(trial):
        return max(trial.study.trials[trial.number].intermediate_values)

    def hopeless(trial):
        return trial.number == 1 and last_epoch(trial) == 3

    def killed(trial):
        if trial.number == 1 and last_epoch(trial) == epoch:
            raise KeyboardInterrupt
        return hopeless(trial)

    monkeypatch.setattr(optuna.Trial, "should_prune", hopeless)
    whole = run()
    assert [t.user_attrs["epochs"] for t in whole.trials] == [4, 3, 4]
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Trial, "should_prune", killed)
        with pytest.raises(KeyboardInterrupt):
            run(storage=tmp_path / "study.log")
    assert seen(run(storage=tmp_path / "study.log")) == seen(whole)


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
            run(storage=tmp_path / "study.log")
    assert list(read_study(tmp_path / "study.log").trials[11].params) == ["lr"]
    assert seen(run(storage=tmp_path / "study.log")) == seen(run())


def test_an_error_is_a_failed_trial_that_counts_and_stops_the_search(tiny, tmp_path):
    def broken():
        raise RuntimeError("no such layer")

    run = partial(search, train=tiny[0], val=tiny[1], recipe=RECIPE, space=SPACE, trials=4, storage=tmp_path / "s.log")
    with pytest.raises(RuntimeError, match="no such layer"):
        run(Stopping(1, broken))
    study = run(Stopping(99, broken))
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs["error"] == "no such layer"


# ------------------------------------------------------------------ whose trial it is
def lost(age, machine=None, pid=None):
    here = sharing._machine()
    owner = {"machine": machine or here, "pid": pid or os.getpid(), "seen": time.time() - age}
    return sharing.is_lost(optuna.trial.create_trial(value=0, user_attrs={"worker": owner}))


def test_a_trial_is_lost_when_its_process_is_gone_or_silent():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not lost(age=0)
    assert not lost(age=sharing.LOST - 10)
    assert lost(age=sharing.LOST + 10)
    assert lost(age=0, pid=ended.pid)
    assert not lost(age=0, pid=ended.pid, machine="another")  # whose numbers say nothing here
    assert lost(age=sharing.LOST + 10, pid=ended.pid, machine="another")


def test_a_lost_trial_goes_to_one_other_process(tmp_path, monkeypatch):
    storage = sharing.open_storage(tmp_path / "study.journal")
    study = optuna.create_study(storage=storage)
    study.ask().set_user_attr("worker", {"machine": "another", "pid": 1, "seen": time.time() - 2 * sharing.LOST})
    assert sharing.is_lost(study.trials[0])
    sharing.take_back(study, storage)
    assert study.ask().number == 0
    assert not sharing.is_lost(study.trials[0])  # before its new owner has said a word
    sharing.take_back(study, storage)
    assert study.ask().number == 1


def test_a_process_that_trains_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "BEAT", 0.02)
    storage = sharing.open_storage(tmp_path / "study.journal")
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    sharing.claim(trial)
    first = study.trials[0].user_attrs["worker"]["seen"]
    with sharing.signs_of_life(trial, storage):
        ends = time.monotonic() + 10
        while study.trials[0].user_attrs["worker"]["seen"] == first and time.monotonic() < ends:
            time.sleep(0.02)
    last = study.trials[0].user_attrs["worker"]["seen"]
    assert first < last
    time.sleep(0.1)
    assert study.trials[0].user_attrs["worker"]["seen"] == last


def test_a_process_that_was_taken_for_lost_drops_its_result(tiny, tmp_path):
    """It wakes up after another one has finished its trial: the study keeps the other's result, and goes on."""
    storage = tmp_path / "study.journal"

    def finished_elsewhere():
        other = read_study(storage)
        other.tell(1, 0.125)

    run = partial(search, train=tiny[0], val=tiny[1], recipe=RECIPE, space=SPACE, trials=3, storage=storage)
    study = run(Stopping(1, finished_elsewhere))
    values = [t.value for t in study.trials]
    assert values[1] == 0.125
    assert len(values) == 3
    assert all(t.state is TrialState.COMPLETE for t in study.trials)


def test_the_last_trials_of_others_are_waited_for(tiny, tmp_path, monkeypatch):
    storage = tmp_path / "study.journal"
    run = partial(search, CREATE, *tiny, RECIPE, SPACE, storage=storage)
    running = run(trials=2).ask()
    sharing.claim(running)
    looks = []

    def finish(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            read_study(storage).tell(2, 0.5)

    monkeypatch.setattr(loop.time, "sleep", finish)
    assert [t.state.name for t in run(trials=3).trials] == ["COMPLETE"] * 3
    assert len(looks) == 3


def test_a_trial_taken_too_much_is_kept_for_a_longer_search(tiny, tmp_path, monkeypatch):
    """Both processes see one trial left and ask for it: the second gets one more than wanted."""
    storage = tmp_path / "study.journal"
    run = partial(search, CREATE, *tiny, RECIPE, SPACE, storage=storage, seed=3)
    run(trials=1)
    ask = optuna.Study.ask

    def beaten(study):
        other = ask(read_study(storage))
        other.study.tell(other, 0.5)
        return ask(study)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", beaten)
        patch.setattr(loop, "PAUSE", 0)
        study = run(trials=2)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "WAITING"]
    longer = run(trials=4)
    assert [t.state.name for t in longer.trials] == ["COMPLETE"] * 4
    alone = search(CREATE, *tiny, RECIPE, SPACE, trials=4, seed=3)
    assert [t.params for t in longer.trials[2:]] == [t.params for t in alone.trials[2:]]


# ------------------------------------------------------------------ equal compute
def test_a_budget_of_epochs_is_never_passed_and_the_same_every_time(tiny):
    space = {"lr": (0.05, 1e-9, 1e30)}
    recipe = Recipe(epochs=4, batch_size=32, schedule="constant")
    run = partial(search, CREATE, *tiny, recipe, space, sampler="random", max_epochs=50, seed=1)
    study = run()
    epochs = [t.user_attrs["epochs"] for t in study.trials]
    assert 50 - recipe.epochs < sum(epochs) <= 50
    assert {t.state.name for t in study.trials} == {"COMPLETE", "PRUNED", "FAIL"}
    assert seen(run()) == seen(study)
    longer = run(max_epochs=60)
    assert seen(longer)[: len(epochs)] == seen(study)
    assert len(longer.trials) > len(epochs)
    assert len(run(trials=5).trials) == 5


def test_a_budget_owes_whole_trials_to_those_that_run():
    trials = [
        optuna.trial.create_trial(value=0.5, user_attrs={"epochs": 2}),
        optuna.trial.create_trial(state=TrialState.RUNNING),
        optuna.trial.create_trial(state=TrialState.RUNNING),
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    assert loop.Limits(None, 14, 4).allow(3, trials)  # 2 + 4 + 4 + 4
    assert not loop.Limits(None, 13, 4).allow(3, trials)
    assert loop.Limits(None, 10, 4).allow(2, trials)  # owes nothing to those that came later
    assert not loop.Limits(3, None, 4).allow(3, trials)


def test_best_so_far_adds_up_the_compute_of_every_trial():
    from imgcls import plots  # which the other processes of this file need not load

    study = optuna.create_study(study_name="tpe", direction="maximize")
    rows = [(1.0, 2, None, "FAIL"), (4.0, 3, 0.5, "COMPLETE"), (2.0, 1, 0.3, "PRUNED"), (4.0, 3, 0.75, "COMPLETE")]
    for seconds, epochs, reached, state in rows:
        trial = study.ask()
        for name, value in {"seconds": seconds, "epochs": epochs, "reached": reached}.items():
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
    storage = tmp_path / "study.journal"
    study = search(CREATE, *tiny, RECIPE, SPACE, trials=4, prune=False, storage=storage, name="random")
    before = storage.read_bytes()
    for name in ("random", None):
        read = read_study(storage, name)
        assert seen(read) == seen(study)
        assert table(read).equals(table(study))
        assert read.best_value == study.best_value
        assert importances(read).equals(importances(study))
    assert storage.read_bytes() == before
    search(CREATE, *tiny, RECIPE, SPACE, trials=1, storage=storage, name="tpe")
    with pytest.raises(
        ValueError, match=r"there is no study 'rndom' in .*did you mean 'random'\? there are random, tpe"
    ):
        read_study(storage, "rndom")
    with pytest.raises(ValueError, match=r"name one of the studies in .*there are random, tpe"):
        read_study(storage)


@pytest.mark.parametrize("address", ["{}/stdy.journal", "sqlite:///{}/stdy.db"])
def test_reading_makes_no_file(tmp_path, address):
    (tmp_path / "study.journal").touch()
    (tmp_path / "study.db").touch()
    with pytest.raises(FileNotFoundError, match=r"did you mean .*study"):
        read_study(address.format(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db", "study.journal"]


OTHERS = {
    "space of lr was Between(low=0.0001, high=0.3, log=True), now (0.1, 0.2)": {"space": SPACE | {"lr": (0.1, 0.2)}},
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
    storage = tmp_path / "study.journal"
    search(**given, storage=storage)
    for message, change in OTHERS.items():
        with pytest.raises(ValueError, match="was started with other settings") as refused:
            search(**given | change, storage=storage)
        assert message in str(refused.value)
        assert str(refused.value).count(" was ") == 2  # nothing else is named
    search(**given | {"recipe": replace(RECIPE, lr=0.123)}, storage=storage)  # drawn, whatever the recipe says
    assert len(read_study(storage).trials) == 1


def test_a_study_of_another_program_is_not_joined(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sharing._settings_of, "__defaults__", (0.0,))
    storage = tmp_path / "study.journal"
    other = optuna.create_study(storage=sharing.open_storage(storage), study_name="search")
    search(CREATE, *tiny, RECIPE, SPACE, trials=1, storage=storage)  # empty: as if its maker had been killed
    other = optuna.create_study(storage=sharing.open_storage(storage), study_name="other")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ValueError, match=r"not started by search\(\).*choose another name"):
        search(CREATE, *tiny, RECIPE, SPACE, trials=2, storage=storage, name="other")


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("study.db", r"neither a journal.*\.journal or \.log.*sqlite:///study\.db"),
        ("postgres://me@host/studies", r"'postgres' is unknown; did you mean postgresql"),
        ("redis://host", "choose one of sqlite, postgresql"),
        ("sqlite://study.db", "sqlite:///study.db"),
        ("postgresql+psycop://me:secret@host/studies", r"me:\*\*\*@host/studies': the driver 'psycop' is unknown"),
        ("postgresql://me:secret@host:port/studies", r"me:\*\*\*@host:port/studies' cannot be read as kind\+driver"),
    ],
)
def test_what_is_no_storage_is_refused(tmp_path, monkeypatch, storage, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message) as refused:
        read_study(storage)
    assert "secret" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tiny, tmp_path):
    notes = tmp_path / "notes.log"
    notes.write_text("epoch 1\nepoch 2\n")
    with pytest.raises(ValueError, match=r"no journal of Optuna's"):
        search(CREATE, *tiny, RECIPE, SPACE, storage=notes)
    assert notes.read_text() == "epoch 1\nepoch 2\n"


def test_a_limit_below_one_trial_is_refused(tiny):
    for limits, message in (
        ({"trials": 0}, "trials must be at least 1"),
        ({"max_epochs": 1}, "max_epochs must be at least 2, the epochs of one trial; got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            search(CREATE, *tiny, RECIPE, SPACE, **limits)


# ------------------------------------------------------------------ PostgreSQL, which the tests do not have
POSTGRES = "postgresql://me:secret@host/studies"


def test_an_address_reaches_the_database(tiny, tmp_path, monkeypatch):
    given = {}

    def rdb(address, **options):
        given[address] = options
        return optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'stands-in.db'}")

    monkeypatch.setattr(sharing, "RDBStorage", rdb)
    study = search(CREATE, *tiny, RECIPE, SPACE, trials=2, storage=POSTGRES)
    assert given == {POSTGRES: {"engine_kwargs": {"pool_pre_ping": True}, "skip_table_creation": False}}
    assert seen(read_study(POSTGRES)) == seen(study)
    with pytest.raises(ValueError, match="other settings") as refused:
        search(CREATE, *tiny, RECIPE, SPACE, trials=2, storage=POSTGRES, seed=1)
    assert "postgresql://me:***@host/studies" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "package"),
    [
        (POSTGRES, r"psycopg\[binary\]"),
        ("postgresql+psycopg2://me@host/studies", "psycopg2-binary"),
        ("mysql://me@host/studies", "mysqlclient"),
        ("mysql+pymysql://me@host/studies", "pymysql"),
    ],
)
def test_a_missing_driver_is_named(monkeypatch, address, package):
    for module in ("psycopg", "psycopg2", "MySQLdb", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f'not installed: pip install "{package}"'):
        read_study(address)


def test_a_database_that_cannot_be_opened_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing.time, "sleep", lambda _: None)
    (tmp_path / "study.db").write_text("this is no database, and long enough for SQLite to look at it" * 20)
    with pytest.raises(ConnectionError, match=r"study\.db did not answer as it should \(file is not a database\)"):
        read_study(f"sqlite:///{tmp_path / 'study.db'}")
