"""Exclusive leases on the jobs of a study, in a table beside Optuna's own.

Optuna's hand-out of waiting trials is not exclusive on SQLite: two workers may get the same trial. Here a job belongs
to the worker that inserted its row. The worker increments the row's heartbeat; when that has not changed for
LEASE_SECONDS, another worker takes the row over by an update that only one of them can win. Each worker measures the
time by its own clock, so clocks need not agree.
"""

import os
import socket
import time
from typing import Any

import sqlalchemy
from sqlalchemy import exc

HEARTBEAT_SECONDS = 5.0  # between two heartbeats of a worker
LEASE_SECONDS = 30.0  # without a heartbeat, after which another worker may take the job over
LEASE_TABLE = sqlalchemy.Table(
    "leases",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("study", sqlalchemy.String(512), primary_key=True),
    sqlalchemy.Column("job", sqlalchemy.Integer, primary_key=True, autoincrement=False),
    sqlalchemy.Column("worker", sqlalchemy.String(256), nullable=False),
    sqlalchemy.Column("heartbeat", sqlalchemy.Integer, nullable=False),
)


class Leases:
    """The leases of one worker process; each method is a database transaction of its own."""

    def __init__(self, engine: sqlalchemy.Engine, study: str):
        self.engine, self.study = engine, study
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns()}"
        self.observed: dict[int, tuple] = {}  # job -> (worker, heartbeat, when that was first observed)
        LEASE_TABLE.metadata.create_all(engine)

    def take(self, job: int) -> bool:
        """Try to lease the job: True if it is this worker's now, False if a live worker has it."""
        here = (LEASE_TABLE.c.study == self.study) & (LEASE_TABLE.c.job == job)
        row = self._execute(sqlalchemy.select(LEASE_TABLE.c.worker, LEASE_TABLE.c.heartbeat).where(here))
        if not row:
            try:
                self._execute(LEASE_TABLE.insert().values(study=self.study, job=job, worker=self.worker, heartbeat=0))
            except exc.IntegrityError:  # another worker was faster
                return False
            return True
        worker, heartbeat = row[0]
        if worker == self.worker:
            return True
        if self.observed.get(job, ())[:2] != (worker, heartbeat):
            self.observed[job] = worker, heartbeat, time.monotonic()
        if time.monotonic() - self.observed[job][2] < LEASE_SECONDS:
            return False
        same = here & (LEASE_TABLE.c.worker == worker) & (LEASE_TABLE.c.heartbeat == heartbeat)
        return self._execute(LEASE_TABLE.update().where(same).values(worker=self.worker, heartbeat=0)) == 1

    def holds(self, job: int) -> bool:
        """Does this worker still have the lease?"""
        return bool(
            self._execute(sqlalchemy.select(LEASE_TABLE.c.heartbeat).where(self._own() & (LEASE_TABLE.c.job == job)))
        )

    def give_back(self, job: int) -> None:
        """End the lease of one job."""
        self._execute(LEASE_TABLE.delete().where(self._own() & (LEASE_TABLE.c.job == job)))

    def renew(self) -> None:
        """Renew all leases of this worker."""
        self._execute(LEASE_TABLE.update().where(self._own()).values(heartbeat=LEASE_TABLE.c.heartbeat + 1))

    def give_back_all(self) -> None:
        """End all leases of this worker, so that others need not wait until they expire."""
        self._execute(LEASE_TABLE.delete().where(self._own()))

    def _own(self) -> sqlalchemy.ColumnElement[bool]:
        return (LEASE_TABLE.c.study == self.study) & (LEASE_TABLE.c.worker == self.worker)

    def _execute(self, statement: sqlalchemy.Executable) -> Any:
        """Return the rows of a selection, or the number of rows that a change affected."""
        with self.engine.begin() as connection:
            result = connection.execute(statement)
            return result.all() if result.returns_rows else result.rowcount
