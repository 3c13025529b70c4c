"""Open the database of a study, retry while it does not respond, report what retrying cannot solve."""

import contextlib
import functools
import multiprocessing
import re
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import exc
from tqdm import tqdm

from pipeline import errors
from pipeline.errors import Failure, WrongUsage, first_line

SQLITE_TIMEOUT_SECONDS = 20  # for which SQLite waits for another writer
HEARTBEAT_SECONDS = 5  # between two heartbeats of a trial
GRACE_SECONDS = 30  # without a heartbeat, after which another process may continue the trial
URL_ADVICE = "give sqlite:///FILE, or postgresql+psycopg://USER@HOST/DATABASE after pip install psycopg[binary]"
# Optuna raises these for rows that it cannot interpret
ROW_ERRORS = ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError

warnings.filterwarnings("ignore", category=ExperimentalWarning)  # of heartbeats and retries


class DatabaseFailure(Failure):
    """The database cannot be used, or has not responded for long."""


def sqlite_url(file: Path) -> str:
    """Return the URL of an SQLite file; any path is possible, since special characters are quoted."""
    return sqlalchemy.URL.create("sqlite", database=str(file.absolute())).render_as_string()


def checked_url(url: str) -> str:
    """Check a database URL that a user gave, and return it with special characters quoted.

    Raises:
        WrongUsage: it is no URL, the password contains an unquoted special character, or the database is in memory.
            The message never contains the password.
    """
    scheme, separator, rest = url.partition("://")
    user, _, _ = rest.rpartition("@")
    password = user.partition(":")[2]
    if not scheme.startswith("sqlite") and re.search(r"[@:/]|%(?![0-9A-Fa-f]{2})", password):
        raise WrongUsage("--storage: in the password, write @ : / % as %40 %3A %2F %25")
    try:
        if not separator:
            raise ValueError
        parsed = sqlalchemy.make_url(url)
    except (exc.ArgumentError, ValueError):  # whose messages contain parts of the URL
        raise WrongUsage(f"--storage is not a database URL: {URL_ADVICE}") from None
    if "journal" in scheme or parsed.drivername.startswith("redis"):
        raise WrongUsage(f"--storage: in Optuna's journals the trials of stopped processes are not found: {URL_ADVICE}")
    if scheme.startswith("sqlite") and (
        not parsed.database or ":memory:" in parsed.database or parsed.query.get("mode") == "memory"
    ):
        raise WrongUsage("--storage: a database in memory cannot be resumed: give sqlite:///FILE")
    if scheme.startswith("sqlite") and not str(parsed.database).startswith("file:"):
        parsed = parsed.set(database=str(Path(str(parsed.database)).expanduser().absolute()))
    return parsed.render_as_string(hide_password=False)


def open_storage(url: str) -> RDBStorage:
    """Open a database for several writers, so that a connection is waited for while the database does not respond.

    The trials of a process that has died wait again after GRACE_SECONDS without a heartbeat.
    """
    connect = {"timeout": SQLITE_TIMEOUT_SECONDS} if url.startswith("sqlite") else {"connect_timeout": 10}
    storage = RDBStorage(
        url,
        engine_kwargs={"connect_args": connect, "pool_pre_ping": True},
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
    )
    storage.engine.update_execution_options(url=url)  # opened: from now on wait for long
    if url.startswith("sqlite"):
        sqlalchemy.event.listen(storage.engine, "connect", _speed_up_sqlite)
        storage.engine.dispose()  # close earlier connections
    else:
        sqlalchemy.event.listen(storage.engine, "do_connect", functools.partial(_connect, url))
    return storage


def _connect(url: str, dialect: Any, _: Any, arguments: list, keywords: dict) -> Any:
    """Connect, and again while the server does not respond."""

    def connect() -> Any:
        try:
            return dialect.connect(*arguments, **keywords)
        except dialect.loaded_dbapi.OperationalError as failure:
            raise exc.OperationalError(None, None, failure) from None

    start = time.monotonic()
    connection = retry(connect, url, RUN_TIMEOUT_SECONDS)
    if time.monotonic() - start > HEARTBEAT_SECONDS and threading.current_thread() is threading.main_thread():
        time.sleep(2)  # the heartbeats come first, or the trials of live processes would be given to others
    return connection


def _speed_up_sqlite(connection: Any, _: Any) -> None:
    """Let SQLite not wait for the disk at every step; what a power cut loses is still in families/."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _begin_nothing_by_itself(connection: Any, _: Any) -> None:
    """Keep sqlite3 from beginning transactions, which it does not do for every statement."""
    if isinstance(connection, sqlite3.Connection):
        connection.isolation_level = None


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "begin")
def _begin_exclusively(connection: sqlalchemy.Connection) -> None:
    """Let one process at a time use an SQLite file, so that a trial is handed out once.

    The method is "Serializable isolation" of SQLAlchemy's documentation of SQLite. The tables, too, are then created
    all or not at all.
    """
    if connection.dialect.name == "sqlite":
        url = connection.get_execution_options().get("url")
        if url:
            retry(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"), url, RUN_TIMEOUT_SECONDS)
        else:
            connection.exec_driver_sql("BEGIN")  # Optuna reads on a second connection while it creates the tables


@contextlib.contextmanager
def readable(url: str) -> Iterator[None]:
    """Turn exceptions about damaged rows into a Failure."""
    try:
        yield
    except ROW_ERRORS as failure:
        reason = errors.first_line(failure)
        raise Failure(
            f"{without_password(url)} contains a study that cannot be read ({reason}): {repair_advice(url)}"
        ) from None


START_TIMEOUT_SECONDS, RUN_TIMEOUT_SECONDS = 20.0, 900.0  # of retrying
DAMAGE_MESSAGES = "not a database", "malformed", "unsupported file format", "no such column"
PERMANENT_MESSAGES = "readonly", "read-only", "unable to open", "authentication failed", "does not exist"
UNAVAILABLE = exc.SQLAlchemyError, StorageInternalError  # what Optuna raises while the database does not respond
Result = TypeVar("Result")


def retry(action: Callable[[], Result], url: str, seconds: float) -> Result:
    """Call `action`, and again while the database does not respond; calling it twice must do no harm.

    Raises:
        DatabaseFailure: the database cannot be used, or did not respond for `seconds`.
    """
    start, tries = time.monotonic(), 0
    is_quiet = multiprocessing.parent_process() is not None  # the parent says it for its workers
    while True:
        try:
            result = action()
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as failure:
            raise DatabaseFailure(f"cannot use --storage ({first_line(failure)}): {URL_ADVICE}") from None
        except UNAVAILABLE as failure:
            cause = failure.__cause__ if isinstance(failure, StorageInternalError) else failure
            reason = first_line(getattr(cause, "orig", None) or cause or failure)
            if "disk is full" in reason:
                raise DatabaseFailure(
                    f"{without_password(url)}: {reason}: free some space, then run the same command to continue"
                ) from None
            if any(sign in reason for sign in DAMAGE_MESSAGES):
                raise DatabaseFailure(f"cannot use {without_password(url)} ({reason}): {repair_advice(url)}") from None
            if any(sign in reason for sign in PERMANENT_MESSAGES):
                raise DatabaseFailure(
                    f"cannot use {without_password(url)} ({reason}): choose another --storage"
                ) from None
            if time.monotonic() - start > seconds:
                advice = "check that it runs, then run the same command to continue"
                raise DatabaseFailure(
                    f"{without_password(url)} did not answer for {seconds:.0f} s ({reason}): {advice}"
                ) from None
            tries += 1
            is_slow = time.monotonic() - start > 1
            if not is_quiet and (tries == 2 or (tries == 1 and is_slow)):  # processes that create a table collide once
                tqdm.write(f"{without_password(url)} does not answer ({reason}): trying again")
            time.sleep(min(0.2 * tries, 5))
        else:
            if tries > 1 and not is_quiet:
                tqdm.write(f"{without_password(url)} answers again")
            return result


def repair_advice(url: str) -> str:
    """Return what to do about a damaged database."""
    if url.startswith("sqlite"):
        return "restore a backup, or delete it: the trained epochs are still in families/"
    return "restore a backup, or give another --storage"


def without_password(url: str) -> str:
    """Return the URL, which may be empty, with *** for its password."""
    return url and sqlalchemy.make_url(url).render_as_string(hide_password=True)
