"""A database may be away for a while: ask again until it answers; tell at once what no waiting will mend."""

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy import exc
from tqdm import tqdm

from experiment import Failure, first_line

AT_START, MEANWHILE = 20.0, 900.0  # seconds to wait
DAMAGED = "not a database", "malformed", "unsupported file format", "no such column"
HOPELESS = "readonly", "read-only", "unable to open", "authentication failed", "does not exist"
Result = TypeVar("Result")


def insist(action: Callable[[], Result], url: str, seconds: float) -> Result:
    """Do it, again and again while the database does not answer; so it must bear being done twice.

    Raises:
        Failure: the URL leads to no database of ours, or it did not answer for so many seconds.
    """
    start, tries = time.monotonic(), 0
    while True:
        try:
            result = action()
        except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as failure:
            remedy = "give sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE, with its driver installed"
            raise Failure(f"cannot use --storage ({first_line(failure)}): {remedy}") from None
        except (exc.SQLAlchemyError, StorageInternalError) as failure:
            cause = failure.__cause__ if isinstance(failure, StorageInternalError) else failure
            reason = first_line(getattr(cause, "orig", None) or cause or failure)
            if "disk is full" in reason:
                raise Failure(f"{shown(url)}: {reason}: make room, then give the same command, it goes on") from None
            if any(sign in reason for sign in DAMAGED):
                raise Failure(f"cannot use {shown(url)} ({reason}): {repair(url)}") from None
            if any(sign in reason for sign in HOPELESS):
                raise Failure(f"cannot use {shown(url)} ({reason}): choose another --storage") from None
            if time.monotonic() - start > seconds:
                advice = "see that it runs, then give the same command, it goes on"
                raise Failure(f"{shown(url)} did not answer for {seconds:.0f} s ({reason}): {advice}") from None
            tries += 1
            if tries == 2 or (tries == 1 and time.monotonic() - start > 1):  # two that create one table meet once
                tqdm.write(f"{shown(url)} does not answer ({reason}): trying again")
            time.sleep(min(0.2 * tries, 5))
        else:
            if tries > 1:
                tqdm.write(f"{shown(url)} answers again")
            return result


def repair(url: str) -> str:
    """What to do about a database whose content makes no sense."""
    if url.startswith("sqlite"):
        return "bring back a copy of it, or delete it: what was learned is still in families/"
    return "bring back a copy of it, or give another --storage"


def shown(url: str) -> str:
    """The URL without its password."""
    return sqlalchemy.make_url(url).render_as_string(hide_password=True)
