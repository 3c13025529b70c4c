"""The database of a study: opened, asked again while it does not answer, and what to do where no waiting helps."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import exc
from tqdm import tqdm

from pipeline import errors
from pipeline.errors import Failure, first_line

SQLITE_TIMEOUT_SECONDS = 20  # seconds SQLite waits for another writer
# what Optuna says of rows that make no sense
ROW_ERRORS = ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError


def open_storage(url: str) -> RDBStorage:
    connect = {"timeout": SQLITE_TIMEOUT_SECONDS} if url.startswith("sqlite") else {"connect_timeout": 10}
    storage = RDBStorage(url, engine_kwargs={"connect_args": connect, "pool_pre_ping": True})
    if url.startswith("sqlite"):
        _speed_up_sqlite(storage.engine)
    return storage


def _speed_up_sqlite(engine: sqlalchemy.Engine) -> None:
    """Let SQLite not wait for the disk at every step; what a power cut takes from it is still in the families."""

    def begin(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    sqlalchemy.event.listen(engine, "connect", begin)
    engine.dispose()  # those made before


@contextlib.contextmanager
def readable(url: str) -> Iterator[None]:
    """Say in one line that what stands in the database makes no sense."""
    try:
        yield
    except ROW_ERRORS as failure:
        reason = errors.first_line(failure)
        raise Failure(
            f"{without_password(url)} contains a study that cannot be read ({reason}): {repair_advice(url)}"
        ) from None


START_TIMEOUT_SECONDS, RUN_TIMEOUT_SECONDS = 20.0, 900.0  # seconds to wait
DAMAGE_MESSAGES = "not a database", "malformed", "unsupported file format", "no such column"
PERMANENT_MESSAGES = "readonly", "read-only", "unable to open", "authentication failed", "does not exist"
Result = TypeVar("Result")


def retry(action: Callable[[], Result], url: str, seconds: float) -> Result:
    """Do it, again and again while the database does not answer; so it must bear being done twice.

    Raises:
        Failure: the URL leads to no database of ours, or it did not answer for so many seconds.
    """
    start, tries = time.monotonic(), 0
    while True:
        try:
            result = action()
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as failure:
            remedy = "give sqlite:///FILE, or postgresql+psycopg://USER@HOST/DATABASE after pip install psycopg[binary]"
            raise Failure(f"cannot use --storage ({first_line(failure)}): {remedy}") from None
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
            if tries == 2 or (tries == 1 and time.monotonic() - start > 1):  # two that create one table meet once
                tqdm.write(f"{without_password(url)} does not answer ({reason}): trying again")
            time.sleep(min(0.2 * tries, 5))
        else:
            if tries > 1:
                tqdm.write(f"{without_password(url)} answers again")
            return result


def repair_advice(url: str) -> str:
    """What to do about a database whose content makes no sense."""
    if url.startswith("sqlite"):
        return "restore a backup, or delete it: the trained epochs are still in families/"
    return "restore a backup, or give another --storage"


def without_password(url: str) -> str:
    """The URL without its password."""
    return sqlalchemy.make_url(url).render_as_string(hide_password=True)
