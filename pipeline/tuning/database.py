"""Open the database of a study, retry while it does not respond, report what retrying cannot solve."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import exc
from tqdm import tqdm

from pipeline import errors
from pipeline.errors import Failure, WrongUsage, first_line

SQLITE_TIMEOUT_SECONDS = 20  # for which SQLite waits for another writer
URL_ADVICE = "give sqlite:///FILE, or postgresql+psycopg://USER@HOST/DATABASE after pip install psycopg[binary]"
# Optuna raises these for rows that it cannot interpret
ROW_ERRORS = ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError


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
    if scheme.startswith("sqlite") and (
        not parsed.database or ":memory:" in parsed.database or parsed.query.get("mode") == "memory"
    ):
        raise WrongUsage("--storage: a database in memory cannot be resumed: give sqlite:///FILE")
    return parsed.render_as_string(hide_password=False)


def open_storage(url: str) -> RDBStorage:
    """Open a database with settings for several writers."""
    connect = {"timeout": SQLITE_TIMEOUT_SECONDS} if url.startswith("sqlite") else {"connect_timeout": 10}
    storage = RDBStorage(url, engine_kwargs={"connect_args": connect, "pool_pre_ping": True})
    if url.startswith("sqlite"):
        _speed_up_sqlite(storage.engine)
    return storage


def _speed_up_sqlite(engine: sqlalchemy.Engine) -> None:
    """Let SQLite not wait for the disk at every step; what a power cut loses is still in families/."""

    def begin(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    sqlalchemy.event.listen(engine, "connect", begin)
    engine.dispose()  # close earlier connections


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
Result = TypeVar("Result")


def retry(action: Callable[[], Result], url: str, seconds: float) -> Result:
    """Call `action`, and again while the database does not respond; calling it twice must do no harm.

    Raises:
        Failure: the database cannot be used, or did not respond for `seconds`.
    """
    start, tries = time.monotonic(), 0
    while True:
        try:
            result = action()
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as failure:
            raise Failure(f"cannot use --storage ({first_line(failure)}): {URL_ADVICE}") from None
        except (exc.SQLAlchemyError, StorageInternalError) as failure:
            cause = failure.__cause__ if isinstance(failure, StorageInternalError) else failure
            reason = first_line(getattr(cause, "orig", None) or cause or failure)
            if "disk is full" in reason:
                raise Failure(
                    f"{without_password(url)}: {reason}: free some space, then run the same command to continue"
                ) from None
            if any(sign in reason for sign in DAMAGE_MESSAGES):
                raise Failure(f"cannot use {without_password(url)} ({reason}): {repair_advice(url)}") from None
            if any(sign in reason for sign in PERMANENT_MESSAGES):
                raise Failure(f"cannot use {without_password(url)} ({reason}): choose another --storage") from None
            if time.monotonic() - start > seconds:
                advice = "check that it runs, then run the same command to continue"
                raise Failure(
                    f"{without_password(url)} did not answer for {seconds:.0f} s ({reason}): {advice}"
                ) from None
            tries += 1
            if tries == 2 or (
                tries == 1 and time.monotonic() - start > 1
            ):  # two processes that create a table collide once
                tqdm.write(f"{without_password(url)} does not answer ({reason}): trying again")
            time.sleep(min(0.2 * tries, 5))
        else:
            if tries > 1:
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
