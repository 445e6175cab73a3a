"""Where a study is stored: in memory, in a SQLite file, or in a PostgreSQL database that several machines share."""

import re
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from imgcls.messages import UserError, describe_changes, did_you_mean
from imgcls.search import trials

if TYPE_CHECKING:
    from sqlalchemy import URL

FILES, JOURNALS = (".db", ".sqlite"), (".journal", ".log")
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg"}
OPEN_PATIENCE = 2.0  # seconds: two processes that create the tables at the same time cause errors
PATIENCE = 60.0  # seconds for each operation: a server that restarts must not end a training run
SETTINGS = "settings"  # user attribute of a study
SETTINGS_PATIENCE = 5.0  # seconds to wait for the settings from the process that created the study


def parse_storage(where: str | Path) -> "URL":
    """The address of a SQLite file or of a PostgreSQL database.

    Raises:
        ValueError: it is neither.
    """
    from sqlalchemy import URL, exc, make_url

    driver, mark, _ = str(where).partition("://")
    if not mark:
        path = Path(where)
        if path.suffix in JOURNALS:
            raise UserError(
                f"storage {str(where)!r}: journal files are no longer read; export each study of it once: "
                "from optuna.storages import JournalStorage, journal; optuna.copy_study(from_study_name=NAME, "
                f"from_storage=JournalStorage(journal.JournalFileBackend({str(where)!r})), "
                f"to_storage={f'sqlite:///{path.stem}.db'!r})"
            )
        if path.suffix not in FILES:
            raise UserError(
                f"storage {str(where)!r} is neither a SQLite file, whose name ends in {' or '.join(FILES)}, nor the "
                f"address of a database; write {path.stem or 'study'}.db or postgresql://user:password@host/database"
            )
        return URL.create("sqlite", database=str(path))
    if driver not in DRIVERS:
        raise UserError(f"storage {shown(where)!r}: {driver!r} is unknown; {did_you_mean(driver, DRIVERS)}")
    try:
        url = make_url(str(where)).set(drivername=DRIVERS[driver])
    except (exc.ArgumentError, ValueError):  # the message of the error may contain the password
        raise UserError(
            f"storage {shown(where)!r} cannot be read as {driver}://user:password@host:port/database; signs such as "
            "@ and / in a password are written %40 and %2F"
        ) from None
    if driver == "sqlite" and (url.host or not url.database):
        raise UserError(f"storage {shown(where)!r} names no file; write sqlite:///study.db, with three slashes")
    return url


def shown(where: str | Path | None) -> str:
    """The storage without its password, for messages."""
    text = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", str(where or "memory"))
    return re.sub(r"(password=)[^&]*", r"\1***", text)


def open_storage(where: str | Path | None, must_exist: bool = False) -> BaseStorage:
    """The storage at a path or an address, created if it is missing and need not exist; None is a storage in memory.

    Raises:
        ValueError: it is neither a SQLite file nor the address of a PostgreSQL database.
        FileNotFoundError: it must exist and is missing.
        ImportError: the driver of the database is not installed.
        ConnectionError: the database cannot be reached.
    """
    from sqlalchemy import exc

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a warning for each diverged trial would bury the progress
    warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats
    if where is None:
        return InMemoryStorage()
    url = parse_storage(where)
    options = {"pool_pre_ping": True}  # a server may have closed the connection during a long trial
    if url.drivername == "sqlite":
        path = Path(url.database)
        if must_exist and not path.is_file():
            others = [other.name for other in path.parent.glob("*") if other.suffix in FILES]
            hint = did_you_mean(path.name, others) if others else "search(…, storage=…) creates one"
            raise FileNotFoundError(f"there are no studies at {path}; {hint}")
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"connect_args": {"timeout": PATIENCE}}
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")  # RDBStorage formats it
    try:
        storage = _patiently(RDBStorage, OPEN_PATIENCE)(
            text,
            engine_kwargs=options,
            heartbeat_interval=trials.HEARTBEAT,
            grace_period=trials.GRACE,
            skip_table_creation=must_exist,
        )
    except ImportError as error:
        raise ImportError('PostgreSQL needs a driver that is not installed: pip install "psycopg[binary]"') from error
    except (exc.DBAPIError, StorageInternalError) as error:
        advice = "the server runs, and the host, user, password and database in the address"
        if url.drivername == "sqlite":
            advice = "its disk has room, that you can write to its folder, and that the file is a study of Optuna"
        raise ConnectionError(
            f"the database {shown(where)} could not be opened ({_reason(error)}); check that {advice}"
        ) from error
    for name in dir(storage):
        if re.match(r"_?(create|get|set|record)_", name):
            setattr(storage, name, _answering(_patiently(getattr(storage, name), PATIENCE), shown(where)))
    storage.record_heartbeat = _forgiving(storage.record_heartbeat)
    return storage


def _patiently(operation: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """The operation, repeated each second while the database fails, but not longer than so many seconds."""
    from sqlalchemy import exc

    @wraps(operation)
    def patient(*args: Any, **options: Any) -> Any:
        ends = time.monotonic() + seconds
        while True:
            try:
                return operation(*args, **options)
            except (exc.DBAPIError, StorageInternalError):
                if time.monotonic() >= ends:
                    raise
            time.sleep(1)

    return patient


def _answering(operation: Callable[..., Any], where: str) -> Callable[..., Any]:
    """The operation, whose last error says what to do."""
    from sqlalchemy import exc

    @wraps(operation)
    def checked(*args: Any, **options: Any) -> Any:
        try:
            return operation(*args, **options)
        except (exc.DBAPIError, StorageInternalError) as error:
            raise ConnectionError(
                f"the database {where} does not answer ({_reason(error)}); check that its server runs and its disk has "
                "room, end or continue a process that was stopped (Ctrl-Z), and repeat the command to go on"
            ) from error

    return checked


def _forgiving(record_heartbeat: Callable[[int], None]) -> Callable[[int], None]:
    """The operation without its error, which would end the thread of heartbeats with a traceback: the next is soon.

    If the database stays out of reach, the trial itself says so at its next step.
    """

    @wraps(record_heartbeat)
    def tried(trial_id: int) -> None:
        with suppress(ConnectionError):
            record_heartbeat(trial_id)

    return tried


def _reason(error: Exception) -> Any:
    """What the driver of the database said."""
    return getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error.__cause__


def start_study(where: str | Path | None, name: str, settings: Mapping[str, str], **options: Any) -> optuna.Study:
    """The study of that name, created with these settings if it does not exist; options as in `create_study`.

    Raises:
        ValueError: the study was started with other settings.
    """
    options |= {"study_name": name, "storage": open_storage(where)}
    study_at, created = f"the study {name!r} in {shown(where)}", True
    try:
        study = optuna.create_study(direction="maximize", **options)  # succeeds for one of several processes
    except DuplicatedStudyError:
        study, created = optuna.load_study(**options), False
    ends = time.monotonic() + SETTINGS_PATIENCE
    while not created and SETTINGS not in study.user_attrs and time.monotonic() < ends:
        time.sleep(0.1)
    if SETTINGS not in study.user_attrs and study.get_trials(deepcopy=False):
        raise UserError(f"{study_at} was not started by search(), and its settings are unknown; choose another name")
    if SETTINGS not in study.user_attrs:
        study.set_user_attr(SETTINGS, dict(settings))
    if changes := describe_changes(study.user_attrs[SETTINGS], settings):
        raise UserError(f"{study_at} was started with other settings ({changes}): use its settings, or another name")
    return study


def read_study(storage: str | Path, name: str | None = None) -> optuna.Study:
    """A stored study, for `table` or `importances`; nothing is written.

    Args:
        storage: As in `search`.
        name: Name of the study; optional if there is only one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no study of that name, or `name` is missing and there are several studies.
    """
    opened = open_storage(storage, must_exist=True)
    names = sorted(optuna.get_all_study_names(opened))
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        wanted = "the study has to be named" if name is None else f"there is no study {name!r}"
        hint = did_you_mean(name, names) if names else "search(…, storage=…) starts one"
        raise UserError(f"{wanted} in {shown(storage)}; {hint}")
    return optuna.load_study(study_name=name, storage=opened)
