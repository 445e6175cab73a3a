"""A study in a journal file or a database: opening it, joining it, and taking back trials whose process is gone."""

import difflib
import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

BEAT = 30.0  # seconds between two signs of life of a trial
LOST = 300.0  # seconds without one after which a trial is done again
JOURNALS = (".journal", ".log")
DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "mysqldb": "mysqlclient"}  # of each driver
TRIES = 3  # to reach a database; two processes that create its tables at once get in each other's way
WORKER, SETTINGS = "worker", "settings"  # user attributes of a trial and of a study


# ------------------------------------------------------------------ where studies live
def open_storage(where: str | Path | None, must_exist: bool = False) -> BaseStorage:
    """The storage at a path or an address; made if it is not there, unless it must exist; in memory for None.

    Raises:
        ValueError: it is neither a journal's path nor a known database's address, or is none of Optuna's.
        FileNotFoundError: it must exist and does not.
        ImportError: the driver of the database is not installed.
        ConnectionError: the database cannot be reached.
    """
    if where is None:
        return InMemoryStorage()
    check_storage(where)
    if "://" in str(where):
        return _database(str(where), must_exist)
    return _journal(Path(where), must_exist)


def check_storage(where: str | Path) -> None:
    """Raise ValueError if this is neither a journal's path nor the address of a kind of database that is known."""
    kind, mark, _ = str(where).partition("://")
    kind, path = kind.partition("+")[0], Path(where)
    if mark and kind not in DATABASES:
        close = difflib.get_close_matches(kind, DATABASES, n=1)
        hint = f"did you mean {close[0]}://…? " if close else ""
        raise ValueError(f"storage {shown(where)!r}: {kind!r} is unknown; {hint}choose one of {', '.join(DATABASES)}")
    if not mark and path.suffix not in JOURNALS:
        stem = path.stem or "study"
        raise ValueError(
            f"storage {str(where)!r} is neither a journal, a file whose name ends in {' or '.join(JOURNALS)}, nor the "
            f"address of a database; write {stem}.journal, sqlite:///{stem}.db or "
            "postgresql://user:password@host/database"
        )


def shown(where: str | Path | None) -> str:
    """The storage as messages may name it: an address without its password."""
    if where is None:
        return "memory"
    head, mark, rest = str(where).partition("://")
    user, at, host = rest.rpartition("@")
    return f"{head}://{user.partition(':')[0]}:***@{host}" if mark and at and ":" in user else str(where)


def _journal(path: Path, must_exist: bool) -> JournalStorage:
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if must_exist:
        _must_exist(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileOpenLock(str(path)) if os.name == "nt" else None  # the usual one is a symbolic link
    try:
        return JournalStorage(JournalFileBackend(str(path), lock))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no journal of Optuna's, or a line of it is damaged ({error}); name another file"
        ) from error


def _must_exist(path: Path) -> None:
    if not path.is_file():
        beside = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob(f"*{path.suffix}")], n=1)
        hint = f"did you mean {str(path.with_name(beside[0]))!r}?" if beside else "search(…, storage=…) makes one"
        raise FileNotFoundError(f"there are no studies at {path}; {hint}")


def _database(where: str, must_exist: bool) -> RDBStorage:
    from sqlalchemy import exc
    from sqlalchemy.engine import make_url

    kind = where.partition("://")[0].partition("+")[0]
    try:
        address = make_url(where)
        driver = address.get_driver_name()
    except (exc.ArgumentError, ValueError) as error:  # which may repeat the address, and with it the password
        raise ValueError(
            f"storage {shown(where)!r} cannot be read as kind+driver://user:password@host:port/database; signs such as "
            "@ and / in a password are written %40 and %2F"
        ) from error
    if kind == "sqlite" and address.database:
        if must_exist:
            _must_exist(Path(address.database))
        else:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    # A trial may take hours, after which a server has often closed the connection.
    options = {"connect_args": {"timeout": 60}} if kind == "sqlite" else {"pool_pre_ping": True}
    for left in reversed(range(TRIES)):
        try:
            return RDBStorage(where, engine_kwargs=options, skip_table_creation=must_exist)
        except ImportError as error:
            package = PACKAGES.get(driver, driver)
            raise ImportError(
                f'{kind} needs the package {package}, which is not installed: pip install "{package}"'
            ) from error
        except exc.NoSuchModuleError as error:
            raise ValueError(f"storage {shown(where)!r}: the driver {driver!r} is unknown; leave it out") from error
        except exc.ArgumentError as error:
            raise ValueError(f"storage {shown(where)!r}: {error}; such as sqlite:///study.db") from error
        except (exc.DBAPIError, StorageInternalError) as error:
            if not left:
                reason = getattr(error.__cause__, "orig", None) or error.__cause__
                raise ConnectionError(
                    f"the database {shown(where)} did not answer as it should ({reason}); check that the server "
                    "runs, and the host, user, password and database in the address"
                ) from error
            time.sleep(1)
    raise AssertionError("the loop returns or raises")


# ------------------------------------------------------------------ one study
def join(
    storage: BaseStorage,
    where: str | Path | None,
    name: str,
    settings: Mapping[str, str],
    sampler: BaseSampler,
    pruner: BasePruner,
) -> optuna.Study:
    """The study of that name, started with these settings if it is not there yet.

    Raises:
        ValueError: it was started with other settings, which are named.
    """
    parts = {"study_name": name, "storage": storage, "sampler": sampler, "pruner": pruner}
    try:
        study = optuna.create_study(direction="maximize", **parts)  # succeeds for one of several processes
    except DuplicatedStudyError:
        study = optuna.load_study(**parts)
        theirs = _settings_of(study)
        if theirs is not None:
            _refuse_others(theirs, settings, name, where)
            return study
        if study.get_trials(deepcopy=False):
            raise ValueError(
                f"the study {name!r} in {shown(where)} was not started by search(): it does not say with which "
                "settings; choose another name"
            ) from None
    study.set_user_attr(SETTINGS, dict(settings))
    return study


def _settings_of(study: optuna.Study, patience: float = 5.0) -> dict[str, str] | None:
    """What the process that made the study writes down next; None where that one was stopped in between."""
    ends = time.monotonic() + patience
    while (settings := study.user_attrs.get(SETTINGS)) is None and time.monotonic() < ends:
        time.sleep(0.1)
    return settings


def _refuse_others(theirs: Mapping[str, str], ours: Mapping[str, str], name: str, where: str | Path | None) -> None:
    changed = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if changed:
        differences = "; ".join(f"{key} was {theirs.get(key, 'left out')}, now {ours.get(key, 'left out')}"
                                for key in changed)  # fmt: skip
        raise ValueError(
            f"the study {name!r} in {shown(where)} was started with other settings ({differences}): "
            "use its settings, or another name"
        )


def read_study(storage: str | Path, name: str | None = None) -> optuna.Study:
    """A study that was run elsewhere or before, for `table`, `importances` and the rest; nothing is written.

    Args:
        storage: As in `search`.
        name: Of the study; may be left out where there is only one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no study of that name, or several and none was named; those that are there are listed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    opened = open_storage(storage, must_exist=True)
    names = optuna.get_all_study_names(opened)
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        problem = f"there is no study {name!r}" if name is not None else "name one of the studies"
        raise ValueError(f"{problem} in {shown(storage)}; {hint}there {_listed(names)}")
    return optuna.load_study(study_name=name, storage=opened)


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return f"{'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else "is none yet"


# ------------------------------------------------------------------ whose trial it is
@contextmanager
def signs_of_life(trial: optuna.Trial, storage: BaseStorage) -> Iterator[None]:
    """Write down every half minute that this process still works on the trial; a study in memory needs none."""
    if isinstance(storage, InMemoryStorage):
        yield
        return
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            with suppress(Exception):  # a database out of reach for a moment must not end the training
                claim(trial)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def claim(trial: optuna.Trial) -> None:
    """Say that this process works on the trial now."""
    trial.set_user_attr(WORKER, {"machine": _machine(), "pid": os.getpid(), "seen": time.time()})


def put_back(study: optuna.Study, storage: BaseStorage, number: int) -> None:
    """Let the next process that asks have this trial, with what it has drawn; a finished one stays finished."""
    study_id = storage.get_study_id_from_name(study.study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    with suppress(UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial_id, WORKER, None)  # or the next owner would look as lost as the last one
        storage.set_trial_state_values(trial_id, TrialState.WAITING)


def take_back(study: optuna.Study, storage: BaseStorage) -> None:
    """Put back every trial whose process is gone.

    Two processes that do so in the same instant may both train the trial; the first result counts, and as both draw
    and train alike, it is the only one there could be.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_lost(trial):
            put_back(study, storage, trial.number)


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a running trial's process is known to be gone from this machine, or gave no sign of life for long."""
    worker = trial.user_attrs.get(WORKER)
    if not worker:  # taken, and not yet claimed
        return (datetime.now() - trial.datetime_start).total_seconds() > LOST
    if worker["machine"] == _machine() and not _runs(worker["pid"]):
        return True
    return time.time() - worker["seen"] > LOST


@cache
def _machine() -> str:
    """Two processes with the same text see the same process numbers: name, boot and container agree."""
    parts = [platform.node()]
    with suppress(OSError):  # Linux alone has these
        parts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return " ".join(parts)


def _runs(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def outcome(trial: optuna.Trial, storage: BaseStorage, state: TrialState, attributes: Mapping[str, Any]) -> None:
    """Finish a trial; `attributes` with a `reached` give its value.

    Raises:
        UpdateFinishedTrialError: another process took the trial for lost, and finished it first.
    """
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    study_id = storage.get_study_id_from_name(trial.study.study_name)
    values = [attributes["reached"]] if "reached" in attributes else None
    storage.set_trial_state_values(
        storage.get_trial_id_from_study_id_trial_number(study_id, trial.number), state, values
    )
