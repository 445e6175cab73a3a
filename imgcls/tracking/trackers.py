"""Tracking of training runs: always a CSV file, TensorBoard by default, other services by name."""

import contextlib
import csv
import importlib.util
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from imgcls.files import write
from imgcls.messages import UserError, describe_changes, did_you_mean

if TYPE_CHECKING:
    pass

TRACKERS = ("tensorboard", "wandb", "clearml", "mlflow")


class Tracker(Protocol):
    """Records one row of numbers per epoch."""

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Record the row."""


def start(
    folder: str | Path,
    to: str | Sequence[str] = ("tensorboard",),
    *,
    project: str = "imgcls",
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> "TrackedRun":
    """Record the rows of a run in `folder/history.csv` and in each named service.

    No data leaves the machine unless the user has set the service up: W&B by `WANDB_MODE`, an API key or
    `wandb login`, ClearML by `clearml.conf` or `CLEARML_API_…`, MLflow by `MLFLOW_TRACKING_URI`. Otherwise the service
    writes its files below `folder`, and its own tools can upload them later. A folder with a history is a resumed run:
    every service gets the earlier rows before the first new row; W&B, ClearML and MLflow start a new, complete run.

    Args:
        folder: Created if missing.
        to: Names from `TRACKERS`.
        project: Name of the project in the services.
        name: Name of the run; the folder's name if None.
        config: Hyperparameters, recorded by each service and in `folder/config.json`.

    Raises:
        ValueError: an unknown name, an invalid `history.csv`, or a folder whose run has other settings.
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
    settings = {key: "None" if value is None else value for key, value in settings.items()}
    if services:
        from imgcls.tracking.services import open_service  # imports torch and accelerate, which is slow
    try:
        for service in services:
            run.services[service] = open_service(service, folder, project, name or folder.name, settings)
    except BaseException:
        run.close(failed=True)
        raise
    return run


class TrackedRun:
    """A tracked run; as a context manager, it reports to the services whether the run failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: dict[str, Any] = {}
        self._rows = _read(folder / "history.csv")  # epoch -> row
        self._sent: dict[str, int] = {}  # service -> last epoch sent
        self._errors: dict[str, str] = {}  # service -> reason for missing rows

    def log(self, row: Mapping[str, float], epoch: int) -> None:
        """Write the row to disk, then send it; an epoch that is logged again replaces its row and all later rows.

        A service that fails causes a warning and does not stop the run: missed rows are sent again before the next.
        """
        row = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
        self._rows = {e: earlier for e, earlier in self._rows.items() if e < epoch} | {epoch: {"epoch": epoch} | row}
        self._sent = {service: min(sent, epoch - 1) for service, sent in self._sent.items()}
        write(self.folder / "history.csv", _csv(list(self._rows.values())))
        for service in self.services:
            self._send(service)

    def close(self, failed: bool = False) -> None:
        """Finish every service, and warn again about services with missing rows."""
        for service, tracker in self.services.items():
            self._send(service)
            try:
                tracker.finish(failed)
            except Exception as error:
                self._errors[service] = _reason(error)
        for service, reason in self._errors.items():
            warnings.warn(
                f"{service} does not have the whole run ({reason}); {self.folder / 'history.csv'} does",
                RuntimeWarning,
                stacklevel=2,
            )
        self.services, self._errors = {}, {}

    def _send(self, service: str) -> None:
        try:
            for epoch, row in self._rows.items():
                if epoch > self._sent.get(service, -1):
                    self.services[service].log(_scalars(row), epoch)
                    self._sent[service] = epoch
        except Exception as error:
            if service not in self._errors:
                warnings.warn(f"{service} failed and will be tried again: {_reason(error)}", RuntimeWarning, 3)
            self._errors[service] = _reason(error)
        else:
            self._errors.pop(service, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(failed=kind is not None)


def _check(service: str) -> None:
    """Raise unless the name is known and its package is installed."""
    if service not in TRACKERS:
        raise UserError(f"unknown tracker {service!r}; {did_you_mean(service, TRACKERS)}")
    if importlib.util.find_spec(service) is None:
        package = "mlflow-skinny" if service == "mlflow" else service
        raise ImportError(f"the tracker {service!r} needs a package that is not installed: pip install {package}")


def _record(path: Path, settings: dict[str, Any]) -> None:
    """Write the settings, or raise if the file contains other settings, except for fewer epochs."""
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error}): move it away or take another folder") from error
        if found.get("epochs", 0) < settings.get("epochs", 0):
            found["epochs"] = settings["epochs"]  # more epochs extend a run
        if changes := describe_changes(found, settings):
            raise UserError(f"{path.parent} contains another run ({changes}): use its settings, or another folder")
    write(path, json.dumps(settings, indent=2) + "\n")


def _scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by tag, the same in every service: `val_loss` becomes `loss/val`."""
    tags = {}
    for name, value in row.items():
        split, _, quantity = name.partition("_")
        if isinstance(value, Real) and name != "epoch":
            tags[f"{quantity}/{split}" if split in ("train", "val") and quantity else name] = float(value)
    return tags


def _plain(value: Any) -> str | int | float | bool | None:
    """The value if JSON can represent it, else its text."""
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
        raise UserError(
            f"{path} is not a history of a run ({_reason(error)}): move it away or take another folder"
        ) from None


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
