"""Whose job is whose, in a table beside Optuna's own, whose hand-out of trials is not exclusive on SQLite.

A job belongs to whoever inserted its row, who then counts up its beat; a row whose beat has stood still for STALE
seconds is taken over by an update that only one can win. Every clock is the observer's own, none are compared.
"""

import os
import socket
import time
from typing import Any

import sqlalchemy
from sqlalchemy import exc

BEAT, STALE = 5.0, 30.0  # seconds between signs of life; without one before others take over
CLAIMS = sqlalchemy.Table(
    "claims",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("study", sqlalchemy.String(512), primary_key=True),
    sqlalchemy.Column("job", sqlalchemy.Integer, primary_key=True, autoincrement=False),
    sqlalchemy.Column("worker", sqlalchemy.String(256), nullable=False),
    sqlalchemy.Column("beat", sqlalchemy.Integer, nullable=False),
)


class Claims:
    """One process's view of who is at which job of a study; each call is a transaction of its own."""

    def __init__(self, engine: sqlalchemy.Engine, study: str):
        self.engine, self.study = engine, study
        self.me = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns()}"
        self.seen: dict[int, tuple] = {}  # job -> (worker, beat, when I first saw that beat)
        CLAIMS.metadata.create_all(engine)

    def take(self, job: int) -> bool:
        """Make the job mine, unless somebody who gives signs of life has it."""
        here = (CLAIMS.c.study == self.study) & (CLAIMS.c.job == job)
        row = self._execute(sqlalchemy.select(CLAIMS.c.worker, CLAIMS.c.beat).where(here))
        if not row:
            try:
                self._execute(CLAIMS.insert().values(study=self.study, job=job, worker=self.me, beat=0))
            except exc.IntegrityError:  # somebody was faster
                return False
            return True
        worker, beat = row[0]
        if worker == self.me:
            return True
        if self.seen.get(job, ())[:2] != (worker, beat):
            self.seen[job] = worker, beat, time.monotonic()
        if time.monotonic() - self.seen[job][2] < STALE:
            return False
        same = here & (CLAIMS.c.worker == worker) & (CLAIMS.c.beat == beat)
        return self._execute(CLAIMS.update().where(same).values(worker=self.me, beat=0)) == 1

    def holds(self, job: int) -> bool:
        """Is it still mine?"""
        return bool(self._execute(sqlalchemy.select(CLAIMS.c.beat).where(self._mine() & (CLAIMS.c.job == job))))

    def free(self, job: int) -> None:
        self._execute(CLAIMS.delete().where(self._mine() & (CLAIMS.c.job == job)))

    def beat(self) -> None:
        """A sign of life, for all that is mine."""
        self._execute(CLAIMS.update().where(self._mine()).values(beat=CLAIMS.c.beat + 1))

    def release(self) -> None:
        """Let go of all that is mine, so that others need not wait until it is stale."""
        self._execute(CLAIMS.delete().where(self._mine()))

    def _mine(self) -> sqlalchemy.ColumnElement[bool]:
        return (CLAIMS.c.study == self.study) & (CLAIMS.c.worker == self.me)

    def _execute(self, statement: sqlalchemy.Executable) -> Any:
        """In a transaction of its own: the rows of a selection, the count of rows of a change."""
        with self.engine.begin() as connection:
            result = connection.execute(statement)
            return result.all() if result.returns_rows else result.rowcount
