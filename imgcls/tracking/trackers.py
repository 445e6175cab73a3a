"""Where the rows of a training run go: a CSV file always, TensorBoard by default, other services by name."""

import contextlib
import csv
import importlib.util
import io
import json
import math
import netrc
import os
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

from imgcls.files import write

if TYPE_CHECKING:
    import pandas as pd

TRACKERS = ("tensorboard", "wandb", "clearml", "mlflow")


class Tracker(Protocol):
    """Takes one row of numbers an epoch."""

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Record the row."""

    def close(self) -> None:
        """Flush and release."""


def start(
    folder: str | Path,
    to: str | Sequence[str] = ("tensorboard",),
    *,
    project: str = "imgcls",
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> "TrackedRun":
    """Keep the rows of a run in `folder/history.csv`, and hand each to every named service.

    Nothing leaves the machine unless the user has set the service up: W&B by `WANDB_MODE`, an API key or
    `wandb login`, ClearML by `clearml.conf` or `CLEARML_API_…`, MLflow by `MLFLOW_TRACKING_URI`. Otherwise it keeps
    its files below `folder`, and its own tools can send them later. A folder with a history is a run that goes on:
    every service gets the rows before the first new one too, W&B, ClearML and MLflow as a new run that is whole.

    Args:
        folder: Made if it is not there.
        to: Names from `TRACKERS`.
        project: What the services file the run under.
        name: Name of the run; the folder's name if None.
        config: Hyperparameters, recorded by each service and in `folder/config.json`.

    Raises:
        ValueError: an unknown name, a `history.csv` that is none, or a folder whose run has other settings.
        ImportError: the package of a service is not installed.
    """
    services = dict.fromkeys([to] if isinstance(to, str) else to)
    for service in services:
        _check(service)
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: _plain(value) for key, value in (config or {}).items()}
    if config is not None:
        _record(folder / "config.json", settings)
    run = TrackedRun(folder)
    opens = {"tensorboard": TensorBoard, "wandb": _Wandb, "clearml": _ClearML, "mlflow": _MLflow}
    told = {key: "None" if value is None else value for key, value in settings.items()}
    try:
        for service in services:
            run.services[service] = opens[service](folder, project, name or folder.name, told)
    except BaseException:
        run.close(failed=True)
        raise
    return run


def _record(path: Path, settings: dict[str, Any]) -> None:
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        names = [name for name in {**theirs, **settings} if theirs.get(name) != settings.get(name)]
        if names:
            differences = "; ".join(f"{name} was {theirs.get(name)}, now {settings.get(name)}" for name in names)
            raise ValueError(f"{path.parent} holds another run ({differences}): use its settings, or another folder")
    write(path, json.dumps(settings, indent=2) + "\n")


class TrackedRun:
    """A run that is recorded; as a context manager it tells the services whether the run failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: dict[str, Any] = {}
        self._rows = _read(folder / "history.csv")  # epoch -> row
        self._sent: dict[str, int] = {}  # service -> last epoch that it has
        self._missing: dict[str, str] = {}  # service -> why it lacks rows

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Write the row to disk, then hand it on; an epoch logged again replaces itself and all after it.

        A service that fails costs a warning, not the run: it is tried again with the next row, missed rows first.
        """
        row = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
        self._rows = {e: kept for e, kept in self._rows.items() if e < epoch} | {epoch: {"epoch": epoch} | row}
        self._sent = {service: min(sent, epoch - 1) for service, sent in self._sent.items()}
        write(self.folder / "history.csv", _csv(list(self._rows.values())))
        for service in self.services:
            self._send(service)

    def close(self, failed: bool = False) -> None:
        """Flush every service, and say once more which of them lack rows."""
        for service, opened in self.services.items():
            self._send(service)
            try:
                opened.close(failed)
            except Exception as error:
                self._missing[service] = _reason(error)
        for service, reason in self._missing.items():
            warnings.warn(
                f"{service} does not have the whole run ({reason}); {self.folder / 'history.csv'} does",
                RuntimeWarning,
                stacklevel=2,
            )
        self.services, self._missing = {}, {}

    def _send(self, service: str) -> None:
        try:
            for epoch, row in self._rows.items():
                if epoch > self._sent.get(service, -1):
                    self.services[service].log(row, epoch)
                    self._sent[service] = epoch
        except Exception as error:
            if service not in self._missing:
                warnings.warn(f"{service} failed and will be tried again: {_reason(error)}", RuntimeWarning, 3)
            self._missing[service] = _reason(error)
        else:
            self._missing.pop(service, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(failed=kind is not None)


class TensorBoard:
    """Scalars of each epoch as a TensorBoard event file; names such as `val_loss` become the chart `loss/val`."""

    def __init__(
        self, folder: str | Path, project: str = "", name: str = "", config: Mapping[str, Any] | None = None
    ) -> None:
        self._folder, self._writer = str(folder), None
        self._about = {"project": project, "name": name} | dict(config or {}) if config is not None else {}

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Record the numbers of a row; the step is the epoch."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, needed only here

            # What an interrupted run wrote from this epoch on is hidden; its file stays as it is until then.
            self._writer = SummaryWriter(self._folder, purge_step=epoch)
            if self._about:
                table = "\n".join(f"| {key} | {value} |" for key, value in self._about.items())
                self._writer.add_text("config", f"| | |\n|---|---|\n{table}", 0)
        for tag, value in _scalars(row).items():
            self._writer.add_scalar(tag, value, epoch)
        self._writer.flush()

    def close(self, failed: bool = False) -> None:
        """Flush the event file."""
        if self._writer:
            self._writer.close()


def read_tensorboard(folder: str | Path) -> "pd.DataFrame":
    """The scalars of a run's event files, as TensorBoard would draw them: one row a step, one column a chart.

    Raises:
        FileNotFoundError: the folder has no event file.
    """
    import pandas as pd
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    if not list(Path(folder).glob("events.out.tfevents.*")):
        raise FileNotFoundError(f"{folder} has no TensorBoard log: name the folder of a run that was tracked there")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()  # 0: every event, not a sample
    charts = {
        tag: pd.Series({event.step: event.value for event in events.Scalars(tag)}) for tag in events.Tags()["scalars"]
    }
    return pd.DataFrame(charts).rename_axis("step")


class _Wandb:
    """A Weights & Biases run, below `folder/wandb` when offline."""

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its crash reports, read when its service starts
        import wandb

        offline = "offline" if not _wandb_is_set_up() else None  # None leaves it to the user's settings
        # The console stays alone: its capture would redraw the progress line into the run's log.
        settings = wandb.Settings(console="off", silent=offline is not None)
        self._run = wandb.init(
            dir=folder, project=project, name=name, config=dict(config), mode=offline, settings=settings,
            reinit="create_new",
        )  # fmt: skip
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        self._run.log({"epoch": epoch} | _scalars(row))

    def close(self, failed: bool = False) -> None:
        self._run.finish(exit_code=int(failed))


class _ClearML:
    """A ClearML task, below `folder/clearml` when offline."""

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        offline = not _clearml_is_set_up()
        self._quiet = contextlib.redirect_stdout(io.StringIO()) if offline else contextlib.nullcontext()
        # Each is on unless named; detect_repository also asks the maker's server for updates, offline too.
        off = dict.fromkeys(_CLEARML_PATCHES, False)
        with contextlib.ExitStack() as undo, self._quiet:
            if offline:
                home = folder / "clearml"
                home.mkdir(exist_ok=True)
                # A second process that writes the events would fork this one and end many seconds after the run.
                write(home / "clearml.conf", "sdk.development.report_use_subprocess: false\n")
                undo.enter_context(_environment(CLEARML_CACHE_DIR=home, CLEARML_CONFIG_FILE=home / "clearml.conf"))
            from clearml import Task

            if offline:
                Task.set_offline(True)  # for the rest of the process: the way back asks for a server
            self._task = Task.init(
                project, name, reuse_last_task_id=False, auto_connect_frameworks=off, auto_connect_arg_parser=False,
                auto_connect_streams=False, auto_resource_monitoring=not offline,
            )  # fmt: skip
            self._task.connect(dict(config), name="config")
            self._undo = undo.pop_all()

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        logger = self._task.get_logger()
        for tag, value in _scalars(row).items():
            title, _, series = tag.partition("/")
            logger.report_scalar(title, series or title, value, epoch)
        self._task.flush()

    def close(self, failed: bool = False) -> None:
        with self._undo, self._quiet:
            self._task.close()  # also marks it completed
            if failed:
                self._task.mark_failed(status_reason="the run ended with an exception", force=True)


class _MLflow:
    """An MLflow run, in the store `folder/mlruns` unless MLFLOW_TRACKING_URI names another."""

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its default holds an epoch up for minutes
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # the one store that needs no further package
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").as_uri())
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        self._id = self._client.create_run(experiment, run_name=name).info.run_id
        self._client.log_batch(self._id, params=[Param(_allowed(key), str(value)) for key, value in config.items()])

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [Metric(_allowed(tag), value, now, epoch) for tag, value in _scalars(row).items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, failed: bool = False) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")


_CLEARML_PATCHES = (
    "detect_repository", "matplotlib", "tensorflow", "tensorboard", "tfdefines", "pytorch", "xgboost", "scikit",
    "joblib", "fastai", "lightgbm", "catboost", "megengine", "hydra", "gradio",
)  # fmt: skip


def _check(service: str) -> None:
    """Raise unless the name is known and its package is there."""
    if service not in TRACKERS:
        close = get_close_matches(str(service), TRACKERS, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown tracker {service!r}; {hint}there are {', '.join(TRACKERS)}")
    if importlib.util.find_spec(service) is None:
        package = service if service == "tensorboard" else f'"imgcls[{service}]"'
        raise ImportError(f"the tracker {service!r} needs a package that is not installed: pip install {package}")


def _wandb_is_set_up() -> bool:
    """Whether the user has said where runs go: an environment variable, or the key that `wandb login` leaves."""
    if any(os.environ.get(key) for key in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    import wandb

    server = wandb.setup().settings.base_url
    hosts = {urlsplit(server).netloc}
    if server == wandb.Settings.model_fields["base_url"].default:
        hosts.add("api.wandb.ai")  # its keys stay good at the address that later versions have
    files = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for file in files:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if hosts & netrc.netrc(Path(file).expanduser()).hosts.keys():
                return True
    return False


def _clearml_is_set_up() -> bool:
    """Whether the user has given a server, and not asked for offline mode."""
    if os.environ.get("CLEARML_OFFLINE_MODE", "").lower() in ("1", "true", "yes", "on"):
        return False
    keys = ("CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN", "CLEARML_CONFIG_FILE")
    return any(os.environ.get(key) for key in keys) or Path("~/clearml.conf").expanduser().exists()


@contextlib.contextmanager
def _environment(**values: str | Path) -> Any:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update({key: str(value) for key, value in values.items()})
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by their tag, the same in every service."""
    tags = {}
    for name, value in row.items():
        split, _, quantity = name.partition("_")
        if isinstance(value, Real) and name != "epoch":
            tags[f"{quantity}/{split}" if split in ("train", "val") and quantity else name] = float(value)
    return tags


def _allowed(name: str) -> str:
    """The name with what MLflow refuses replaced."""
    return re.sub(r"[^/\w.\- ]", "_", name)


def _plain(value: Any) -> str | int | float | bool | None:
    value = value.item() if hasattr(value, "item") else value
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) and finite else repr(value)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the union of their columns, in order of appearance."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read(path: Path) -> dict[int, dict[str, Any]]:
    """Rows of a history by epoch; empty if there is none."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: _number(text) for key, text in row.items() if text} for row in csv.DictReader(file)]
        return {int(row["epoch"]): row for row in rows}
    except (KeyError, ValueError, AttributeError, csv.Error) as error:
        raise ValueError(
            f"{path} is no history of a run ({_reason(error)}): move it away or take another folder"
        ) from None


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
