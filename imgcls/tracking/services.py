"""accelerate's trackers, offline unless the user has set the service up.

The docstring of an overridden method names the problem of accelerate's version.
"""

import contextlib
import io
import netrc
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from accelerate import PartialState
from accelerate.tracking import ClearMLTracker, TensorBoardTracker, WandBTracker
from accelerate.utils import patch_environment

CLEARML_FRAMEWORKS = (
    "detect_repository", "matplotlib", "tensorflow", "tensorboard", "tfdefines", "pytorch", "xgboost", "scikit",
    "joblib", "fastai", "lightgbm", "catboost", "megengine", "hydra", "gradio",
)  # fmt: skip


class TensorBoard(TensorBoardTracker):
    """Event files in the run's folder; a resumed run hides the events of the interrupted run after its start."""

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        super().__init__("", folder)
        rows = {"project": project, "name": name, **config}.items()
        self.config = "| | |\n|---|---|\n" + "\n".join(f"| {key} | {value} |" for key, value in rows)
        self.writer = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each chart; the first call opens the file, since its epoch is the first of the run."""
        if self.writer is None:
            self.init_kwargs["purge_step"] = step
            self.start()
            super().log({"config": self.config}, 0)  # store_init_configuration adds a run to the charts per start
        super().log(values, step)

    def finish(self, failed: bool = False) -> None:
        """Close the event file."""
        if self.writer:
            super().finish()


class WandB(WandBTracker):
    """A Weights & Biases run, below `folder/wandb` when offline."""

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # no crash reports; read when its service starts
        import wandb

        mode = None if wandb_is_set_up() else "offline"  # None: as in the user's settings
        # Console capture would write every state of the progress line into the run's log.
        settings = wandb.Settings(console="off", silent=mode == "offline")
        super().__init__(
            project, dir=folder, name=name, config=dict(config), mode=mode, settings=settings, reinit="create_new"
        )
        self.start()
        self.run.define_metric("epoch")
        self.run.define_metric("*", step_metric="epoch")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values with `epoch` as their x axis."""
        super().log({"epoch": step, **values})

    def finish(self, failed: bool = False) -> None:
        """Mark the run as finished or failed; accelerate's `finish` cannot mark a failed run."""
        self.run.finish(exit_code=int(failed))


class ClearML(ClearMLTracker):
    """A ClearML task, below `folder/clearml` when offline."""

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        offline = not clearml_is_set_up()
        self.quiet = contextlib.redirect_stdout(io.StringIO()) if offline else contextlib.nullcontext()
        variables = {}
        if offline:
            home = folder / "clearml"
            home.mkdir(exist_ok=True)
            # A subprocess for the events would be a fork of this process and end many seconds after the run.
            (home / "clearml.conf").write_text("sdk.development.report_use_subprocess: false\n", encoding="utf-8")
            variables = {"CLEARML_CACHE_DIR": home, "CLEARML_CONFIG_FILE": home / "clearml.conf"}
        with patch_environment(**variables), self.quiet:
            from clearml import Task

            if offline:
                Task.set_offline(True)  # for the rest of the process: setting it to False needs a server
            # Frameworks are on by default; detect_repository also queries ClearML's server for updates, offline too.
            super().__init__(
                project_name=project, task_name=name, reuse_last_task_id=False, auto_connect_arg_parser=False,
                auto_connect_frameworks=dict.fromkeys(CLEARML_FRAMEWORKS, False), auto_connect_streams=False,
                auto_resource_monitoring=not offline,
            )  # fmt: skip
            self.start()
            self.task.connect(dict(config), name="config")  # ClearML compares these hyperparameters between runs

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Report `loss/val` as series `val` of chart `loss`; accelerate would report it as series `train`."""
        for tag, value in values.items():
            title, _, series = tag.partition("/")
            self.task.get_logger().report_scalar(title, series or title, value, step)
        self.task.flush()

    def finish(self, failed: bool = False) -> None:
        """Close the task as completed, or as failed if the run failed."""
        with self.quiet:
            super().finish()
            if failed:
                self.task.mark_failed(status_reason="the run ended with an exception", force=True)


class MLflow:
    """An MLflow run, in the store `folder/mlruns` unless MLFLOW_TRACKING_URI names another.

    accelerate's tracker is not used: it writes to the active run of the process, which would mix two runs, or this
    run with one that the user has open.
    """

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default delays an epoch by minutes
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # the only store that needs no other package
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").as_uri())
        found = self.client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self.client.create_experiment(project)
        self.run_id = self.client.create_run(experiment, run_name=name).info.run_id
        self.client.log_batch(
            self.run_id, params=[Param(_mlflow_name(key), str(value)) for key, value in config.items()]
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values in one request."""
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [Metric(_mlflow_name(tag), value, now, step) for tag, value in values.items()]
        self.client.log_batch(self.run_id, metrics)

    def finish(self, failed: bool = False) -> None:
        """Mark the run as finished or failed."""
        self.client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


def open_service(
    service: str, folder: Path, project: str, name: str, config: Mapping[str, Any]
) -> TensorBoard | WandB | ClearML | MLflow:
    """Start a run in the service."""
    PartialState()  # accelerate's trackers log through it
    kinds = {"tensorboard": TensorBoard, "wandb": WandB, "clearml": ClearML, "mlflow": MLflow}
    return kinds[service](folder, project, name, config)


def wandb_is_set_up() -> bool:
    """Whether W&B is set up, by an environment variable or by the key that `wandb login` stores."""
    if any(os.environ.get(key) for key in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    import wandb

    server = wandb.setup().settings.base_url
    hosts = {urlsplit(server).netloc}
    if server == wandb.Settings.model_fields["base_url"].default:
        hosts.add("api.wandb.ai")  # keys for this older address are valid at the newer default
    for file in [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if hosts & netrc.netrc(Path(file).expanduser()).hosts.keys():
                return True
    return False


def clearml_is_set_up() -> bool:
    """Whether the user has configured a server and has not chosen offline mode."""
    if os.environ.get("CLEARML_OFFLINE_MODE", "").lower() in ("1", "true", "yes", "on"):
        return False
    keys = ("CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN", "CLEARML_CONFIG_FILE")
    return any(os.environ.get(key) for key in keys) or Path("~/clearml.conf").expanduser().exists()


def _mlflow_name(name: str) -> str:
    return re.sub(r"[^/\w.\- ]", "_", name)  # MLflow rejects other characters
