"""The attempts at each trial of a study: which attempt counts, lost processes, and repetition after an interruption."""

import copy
import os
import platform
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

HEARTBEAT = 30  # seconds between two heartbeats of a running trial
GRACE = 300  # seconds without a heartbeat after which the trial is repeated
OWNER = "worker"  # user attribute: the process that runs the trial
OUTCOMES = ("diverged", "error")  # user attributes of a failed trial that counts


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The attempt that counts for each trial; the index in the list is the trial's number.

    Optuna gives a repeated trial a new number, and a process that was too late for the last trial leaves a failed one.
    This index ignores both, so that trial n has the same samples with and without interruptions.
    """
    counted, index = [], {}
    for trial in study.get_trials(deepcopy=False):
        first = trial.system_attrs.get("failed_trial")  # written by RetryHeartbeatStaleTrialCallback
        if first is None:
            index[trial.number] = len(counted)
            counted.append(trial)
        elif is_interrupted(counted[index[first]]):
            counted[index[first]] = trial
    return counted


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether the attempt ended without a result, so that the trial has to be repeated."""
    return trial.state is TrialState.FAIL and not any(name in trial.user_attrs for name in OUTCOMES)


def is_done(trial: FrozenTrial) -> bool:
    """Whether the attempt has a result: complete, pruned, diverged or failed with an error."""
    return trial.state.is_finished() and not is_interrupted(trial)


def fail_lost_trials(study: optuna.Study) -> None:
    """End the attempts of processes that no longer exist.

    Missing heartbeats reveal a dead process only after minutes. Until then, a study that was killed and resumed would
    train other trials than an uninterrupted study. A process of this machine is therefore looked up by its id.
    """
    optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_lost(trial):
            with suppress(UpdateFinishedTrialError, ValueError):  # another process was faster
                study.tell(trial.number, state=TrialState.FAIL)


def is_lost(trial: FrozenTrial) -> bool:
    """Whether the process of a running trial no longer exists, without waiting for heartbeats."""
    owner = trial.user_attrs.get(OWNER)
    if owner is None:  # killed before its first heartbeat: Optuna never marks such a trial as stale
        return datetime.now() - trial.datetime_start > timedelta(seconds=GRACE)
    return owner["machine"] == this_process()["machine"] and not psutil.pid_exists(owner["pid"])


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue another attempt at an interrupted trial, with the same hyperparameters.

    `search` calls this function instead of the storage, because a process that is killed between failing a stale trial
    and its callback would lose the trial.
    """
    trial = copy.deepcopy(trial)
    trial.user_attrs = {}  # else the new attempt would have the old owner and count as lost
    RetryHeartbeatStaleTrialCallback()(study, trial)


def this_process() -> dict[str, str | int]:
    """This process; processes with the same `machine` (host name, boot and container) see the same process ids."""
    parts = [platform.node()]
    with suppress(OSError):  # only Linux has these files
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return {"machine": " ".join(parts), "pid": os.getpid()}
