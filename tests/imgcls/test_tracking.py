import csv
import json
import os
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path

import pytest

from course.diagnostics import read_tensorboard
from imgcls import tracking
from imgcls.tracking import services


def rows(*epochs, **more):
    return {e: {"epoch": e, "train_loss": 1 / (e + 2), "val_loss": 1 / e, "lr": 0.1, **more} for e in epochs}


def charts(*epochs):
    names = {"loss/train": "train_loss", "loss/val": "val_loss", "lr": "lr"}
    return {e: {tag: row[name] for tag, name in names.items()} for e, row in rows(*epochs).items()}


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def record(run, more):
    for epoch, row in more.items():
        run.log(row, epoch)


def test_the_history_is_complete_after_each_epoch_and_columns_may_come_later(tmp_path):
    with tracking.start(tmp_path / "run", to=()) as run:
        for epoch, row in (rows(1, 2) | rows(3, **{"grad/conv 1, first": 0.1 + 0.2})).items():
            run.log(row, epoch)
            assert history(tmp_path / "run")[-1] == row  # to the last bit
    assert history(tmp_path / "run") == list((rows(1, 2) | rows(3, **{"grad/conv 1, first": 0.1 + 0.2})).values())
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["history.csv"]


def test_numbers_of_other_libraries_are_numbers(tmp_path):
    import numpy as np
    import torch

    with tracking.start(tmp_path, to=()) as run:
        run.log({"a": np.float32(0.5), "b": torch.tensor(0.25), "c": 3}, 1)
    assert (tmp_path / "history.csv").read_text() == "epoch,a,b,c\n1,0.5,0.25,3\n"


def test_a_resumed_run_replaces_the_epochs_that_it_repeats(tmp_path):
    with tracking.start(tmp_path, to=()) as run:
        record(run, rows(1, 2, 3, 4, old=1))
    with tracking.start(tmp_path, to=()) as run:  # its checkpoint was of epoch 2
        record(run, rows(3, new=1))
        assert history(tmp_path) == list((rows(1, 2, old=1) | rows(3, new=1)).values())
        record(run, rows(4))
    assert [row["epoch"] for row in history(tmp_path)] == [1, 2, 3, 4]


def test_the_config_is_text_where_json_has_no_word(tmp_path):
    config = {"lr": 0.1, "epochs": 3, "mix": None, "betas": (0.9, 0.99), "limit": float("inf"), "flip": True}
    tracking.start(tmp_path, to=(), config=config).close()
    expected = {"lr": 0.1, "epochs": 3, "mix": None, "betas": "(0.9, 0.99)", "limit": "inf", "flip": True}
    assert json.loads((tmp_path / "config.json").read_text()) == expected


def test_errors_name_the_value_the_choices_and_the_next_step(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"unknown tracker 'wandbb'; did you mean 'wandb'\?"):
        tracking.start(tmp_path / "a", to=("wandbb",))
    monkeypatch.setitem(sys.modules, "clearml", None)
    with pytest.raises(ImportError, match=r"pip install clearml"):
        tracking.start(tmp_path / "a", to="clearml")
    assert not (tmp_path / "a").exists()
    (tmp_path / "history.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"history\.csv is not a history of a run"):
        tracking.start(tmp_path, to=())


class Flaky:
    """A service that fails at the given epochs."""

    failing: tuple[int, ...] = ()

    def __init__(self, *_):
        self.got, self.closed, self.tried = {}, None, []
        Flaky.last = self

    def log(self, row, epoch):
        self.tried.append(epoch)
        if (epoch in self.failing and self.tried.count(epoch) == 1) or 99 in self.failing:
            raise ConnectionError("no route")
        self.got[epoch] = row

    def finish(self, failed):
        self.closed = failed


def test_a_service_that_fails_once_gets_the_missed_row_later(tmp_path, monkeypatch):
    monkeypatch.setattr(services, "TensorBoard", Flaky)
    monkeypatch.setattr(Flaky, "failing", (2,))
    run = tracking.start(tmp_path)
    with pytest.warns(RuntimeWarning, match=r"tensorboard failed.*ConnectionError: no route"):
        run.log(rows(2)[2], 2)
    assert Flaky.last.got == {}
    with warnings.catch_warnings(action="error"):  # it is whole again: nothing more to say
        run.log(rows(3)[3], 3)
        run.close()
    assert Flaky.last.got == charts(2, 3)
    assert Flaky.last.closed is False


def test_a_service_that_fails_for_good_is_said_twice_and_loses_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(services, "TensorBoard", Flaky)
    monkeypatch.setattr(Flaky, "failing", (99,))
    run = tracking.start(tmp_path)
    run.services["other"] = healthy = Flaky()
    healthy.failing = ()
    with pytest.warns(RuntimeWarning, match="tensorboard failed"):
        record(run, rows(1, 2, 3))
    with pytest.warns(RuntimeWarning, match=r"does not have the whole run \(ConnectionError: no route\).*history.csv"):
        run.close()
    assert history(tmp_path) == list(rows(1, 2, 3).values())
    assert healthy.got == charts(1, 2, 3)


def test_services_learn_that_a_run_failed_and_are_closed_when_another_cannot_start(tmp_path, monkeypatch):
    monkeypatch.setattr(services, "TensorBoard", Flaky)
    with pytest.raises(ZeroDivisionError), tracking.start(tmp_path):
        1 / 0
    assert Flaky.last.closed is True

    def refuse(*_):
        raise ConnectionError("server down")

    monkeypatch.setattr(services, "MLflow", refuse)
    with pytest.raises(ConnectionError, match="server down"):
        tracking.start(tmp_path, to=("tensorboard", "mlflow"))
    assert Flaky.last.closed is True


def python(code, home, *arguments, **environment):
    """Run code in a process of its own that has nothing of this user and machine but the interpreter."""
    prefixes = ("WANDB", "CLEARML", "TRAINS", "MLFLOW", "DO_NOT_TRACK", "CI", "NETRC")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    home.mkdir(exist_ok=True)
    clean |= {"HOME": str(home), "TMPDIR": str(home), "MPLCONFIGDIR": str(home), "PYTHONHASHSEED": "0"} | environment
    clean["PYTHONPATH"] = str(Path(tracking.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=clean, timeout=120
    )


KILLED = """
import os, sys
from pathlib import Path
from imgcls import tracking
run = tracking.start(sys.argv[1])
for epoch in (1, 2, 3):
    if epoch == 3:
        Path.replace = lambda *_: os.kill(os.getpid(), 9)  # in the middle of writing the third row
    run.log({"epoch": epoch, "val_loss": 1 / epoch}, epoch)
"""


def scalars(folder):
    return {chart: values.dropna().to_dict() for chart, values in read_tensorboard(folder).items()}


def test_a_run_that_is_killed_leaves_every_finished_epoch(tmp_path):
    done = python(KILLED, tmp_path / "home", tmp_path / "run")
    assert done.returncode == -9, done.stderr
    assert history(tmp_path / "run") == [{"epoch": 1, "val_loss": 1}, {"epoch": 2, "val_loss": 0.5}]
    assert scalars(tmp_path / "run") == {"loss/val": {1: 1.0, 2: 0.5}}
    time.sleep(1)  # TensorBoard reads event files in the order of their names, which hold whole seconds
    with tracking.start(tmp_path / "run") as run:  # its checkpoint was of epoch 1
        record(run, {2: {"val_loss": 0.25}, 3: {"val_loss": 0.125}})
    assert scalars(tmp_path / "run") == {"loss/val": {1: 1.0, 2: 0.25, 3: 0.125}}
    assert [row["epoch"] for row in history(tmp_path / "run")] == [1, 2, 3]


SERVICES = """
import json, os, socket, sys
from pathlib import Path

asked = []  # hosts that anything in Python wants to reach, other than this machine
def refuse(host, *rest, ask=socket.getaddrinfo, **more):
    if host in ("localhost", "127.0.0.1", "::1", None):
        return ask(host, *rest, **more)
    asked.append(str(host))
    raise OSError("no network")
socket.getaddrinfo = refuse
try:
    socket.create_connection(("example.org", 80), 1)
except OSError:
    assert asked.pop() == "example.org"  # the trap works

from imgcls import tracking
from imgcls.tracking.services import wandb_is_set_up
folder, rows = sys.argv[1], {int(epoch): row for epoch, row in json.loads(sys.argv[2]).items()}
config = {"lr": 0.1, "betas": (0.9, 0.99), "mix": None}
def record(*epochs, name):
    with tracking.start(folder, tracking.TRACKERS, project="ours", name=name, config=config) as run:
        for epoch in epochs:
            run.log(rows[epoch], epoch)
record(1, 2, 3, name="first")
record(3, 4, name="resumed")
try:
    with tracking.start(Path(folder, "failed"), tracking.TRACKERS, project="ours"):
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
set_up = [wandb_is_set_up()]
Path("~/.netrc").expanduser().write_text("machine api.wandb.ai login user password " + 40 * "x")
set_up.append(wandb_is_set_up())
import threading
print(json.dumps({"asked": asked, "set_up": set_up, "threads": [t.name for t in threading.enumerate()]}))
"""
ROWS = rows(1, 2, 3, 4, **{"grad/conv 1": 2.5})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run of three epochs, resumed at the third, and one that failed; every service for real, without a network."""
    root = tmp_path_factory.mktemp("services")
    done = python(SERVICES, root / "home", root / "run", json.dumps(ROWS))
    assert done.returncode == 0, done.stderr
    return root / "run", done


def expected(*epochs):
    names = {"train_loss": "loss/train", "val_loss": "loss/val", "lr": "lr", "grad/conv 1": "grad/conv 1"}
    return {tag: {e: pytest.approx(ROWS[e][key], rel=1e-6) for e in epochs} for key, tag in names.items()}


def test_services_ask_nobody_and_say_nothing_by_default(recorded):
    _, done = recorded
    *noise, last = done.stdout.splitlines()
    assert noise == []
    assert "Warning" not in done.stderr
    answer = json.loads(last)
    assert answer["asked"] == []
    assert answer["set_up"] == [False, True]  # without and with what `wandb login` leaves


def test_tensorboard_has_one_curve(recorded):
    assert scalars(recorded[0]) == expected(1, 2, 3, 4)


def records(path):
    """Protocol buffers of an offline W&B run: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, part = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # the rest of a block holds no record
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last of several
            yield Record.FromString(part)
            part = b""


def test_wandb_has_the_whole_run_each_time(recorded):
    found = {}
    for path in recorded[0].glob("wandb/offline-run-*/run-*.wandb"):
        values, name, exit_code = {}, None, None
        for record in records(path):
            if record.HasField("run"):
                name = record.run.project, record.run.display_name
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.HasField("exit"):
                exit_code = record.exit.exit_code
            if record.HasField("history"):
                items = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                for tag in items.keys() - {"epoch"}:
                    if not tag.startswith("_"):
                        values.setdefault(tag, {})[items["epoch"]] = items[tag]
        assert {"lr": 0.1, "betas": "(0.9, 0.99)", "mix": "None"}.items() <= config.items()
        found[name] = values, exit_code
    assert found == {
        ("ours", "first"): (expected(1, 2, 3), 0),
        ("ours", "resumed"): (expected(1, 2, 3, 4), 0),
    }
    (failed,) = recorded[0].glob("failed/wandb/offline-run-*/run-*.wandb")
    assert [record.exit.exit_code for record in records(failed) if record.HasField("exit")] == [1]


def test_clearml_has_the_whole_run_each_time(recorded):
    found = {}
    for path in recorded[0].glob("clearml/offline/*/task.json"):
        task, values = json.loads(path.read_text()), {}
        assert path.parent.with_suffix(".zip").exists()  # what its own import takes
        for line in (path.parent / "metrics.jsonl").read_text().splitlines():
            for event in json.loads(line):
                tag = "/".join(dict.fromkeys((event["metric"], event["variant"])))
                values.setdefault(tag, {})[event["iter"]] = event["value"]
        settings = {key: item["value"] for key, item in task["hyperparams"]["config"].items()}
        assert settings == {"lr": "0.1", "betas": "(0.9, 0.99)", "mix": "None"}
        found[task["project_name"], task["name"]] = values
    assert found == {("ours", "first"): expected(1, 2, 3), ("ours", "resumed"): expected(1, 2, 3, 4)}
    (failed,) = recorded[0].glob("failed/clearml/offline/*/task.json")  # in its own folder
    assert failed.parent.with_suffix(".zip").exists()


def test_mlflow_has_the_whole_run_each_time(recorded, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    client, found = MlflowClient((recorded[0] / "mlruns").as_uri()), {}
    for run in client.search_runs([client.get_experiment_by_name("ours").experiment_id]):
        assert run.data.params == {"lr": "0.1", "betas": "(0.9, 0.99)", "mix": "None"}
        assert run.info.status == "FINISHED"
        found[run.info.run_name] = {
            tag: {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, tag)}
            for tag in run.data.metrics
        }
    assert found == {"first": expected(1, 2, 3), "resumed": expected(1, 2, 3, 4)}
    client = MlflowClient((recorded[0] / "failed/mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("ours").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FAILED", "failed")


def test_mlflow_runs_of_one_process_stay_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from mlflow import MlflowClient

    runs = {name: tracking.start(tmp_path / name, to="mlflow") for name in ("first", "second")}
    for name, run in runs.items():
        run.log({"val_loss": len(name)}, 1)
    for name, run in runs.items():
        run.close(failed=name == "first")
    for name, status in (("first", "FAILED"), ("second", "FINISHED")):
        client = MlflowClient((tmp_path / name / "mlruns").as_uri())
        (run,) = client.search_runs([client.get_experiment_by_name("imgcls").experiment_id])
        assert (run.info.status, run.data.metrics) == (status, {"loss/val": len(name)})


@pytest.mark.parametrize(
    ("environment", "set_up"),
    [
        ({}, False),
        ({"CLEARML_API_ACCESS_KEY": "k"}, True),
        ({"CLEARML_OFFLINE_MODE": "1", "CLEARML_API_ACCESS_KEY": "k"}, False),
    ],
)
def test_clearml_goes_online_only_for_who_has_set_it_up(environment, set_up, monkeypatch, tmp_path):
    for key in ("CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN", "CLEARML_CONFIG_FILE"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.delenv("CLEARML_OFFLINE_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert services.clearml_is_set_up() is set_up


def test_importing_the_module_imports_no_service():
    code = (
        "import sys, imgcls.tracking; print({'torch', 'wandb', 'clearml', 'mlflow', 'tensorboard'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_folder_of_another_run_is_refused_and_left_as_it_is(tmp_path):
    with tracking.start(tmp_path, to=(), config={"lr": 0.1, "transforms": ("flip",), "ema": None}) as run:
        run.log({"epoch": 1, "val_loss": 0.5}, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"contains another run \(lr was 0\.1, now 0\.2; seed was left out, now 3\)"):
        tracking.start(tmp_path, to=(), config={"lr": 0.2, "transforms": ("flip",), "ema": None, "seed": 3})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    tracking.start(tmp_path, to=(), config={"lr": 0.1, "transforms": ("flip",), "ema": None}).close()


def test_a_folder_without_a_tensorboard_log_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no TensorBoard log"):
        read_tensorboard(tmp_path)


def test_tensorboard_itself_serves_the_charts(tmp_path):
    """The program that a reader opens, asked over HTTP as its page asks it."""
    from tensorboard import program

    with tracking.start(tmp_path / "logs" / "run") as run:
        record(run, {1: {"val_loss": 0.5}, 2: {"val_loss": 0.25}})
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(tmp_path / "logs"), "--port", "0", "--load_fast", "false"])
    url = board.launch()
    deadline, tags = time.time() + 30, {}
    while "run" not in tags and time.time() < deadline:
        with urllib.request.urlopen(f"{url}data/plugin/scalars/tags") as answer:
            tags = json.load(answer)
    assert list(tags["run"]) == ["loss/val"]
    with urllib.request.urlopen(f"{url}data/plugin/scalars/scalars?run=run&tag=loss%2Fval") as answer:
        assert [(step, value) for _, step, value in json.load(answer)] == [(1, 0.5), (2, 0.25)]
