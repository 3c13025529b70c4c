"""Worker processes of one thread each, which train the jobs of a study; only the parent process uses the database.

A worker receives a job, sends a row after each epoch, and is told whether to continue. A worker that dies is replaced,
and its job continues from the family's file; a worker whose parent dies ends at its next row.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import connection
from pathlib import Path

import torch
from optuna.trial import FrozenTrial
from tqdm import tqdm

from pipeline import errors, runtime
from pipeline.errors import Failure, first_line
from pipeline.tuning import leases, results_table, study, trial
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Job, Study

MAX_WORKER_DEATHS = 3  # of workers at one job, after which the job is to blame


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """A worker process and its job."""

    def __init__(self, *task):
        context = multiprocessing.get_context("spawn")
        self.job, self.is_free = None, False  # not free before it has said so
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=work, args=(far, *task), daemon=True)
        self.process.start()
        far.close()  # or the death of the process would not end the pipe

    def give(self, job: Job) -> None:
        self.job, self.is_free = job, False
        with contextlib.suppress(ConnectionError):  # it died; the next listening says so
            self.pipe.send(job.configuration)

    def answer(self, go_on: bool) -> None:
        with contextlib.suppress(ConnectionError):  # it died; the next listening says so
            self.pipe.send(go_on)

    def listen(self) -> tuple:
        """(kind, content) of what the worker says; 'died' if it can say nothing any more."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return "died", self.process.exitcode

    def end(self) -> None:
        self.pipe.close()  # which ends one that listens
        if not self.is_free:
            self.process.terminate()
        self.process.join()


def work(pipe: connection.Connection, settings: Settings, data_dir: Path, folder: Path, device: torch.device) -> None:
    """Train the configurations received from the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too, but the parent decides
    runtime.tune_process()
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its default is a semaphore, which a process that is ended leaves behind
    try:
        data = trial.fashion_data(settings, data_dir).to(device)
        while True:
            pipe.send(("free", None))
            configuration = pipe.recv()
            try:
                for row in trial.train(configuration, settings, data, folder):
                    pipe.send(("row", row))
                    if not pipe.recv():
                        break
            except (OSError, EOFError):
                raise  # not the configuration's fault
            except (Failure, torch.OutOfMemoryError) as failure:
                pipe.send(("failed", first_line(failure)))
            except Exception as failure:
                pipe.send(("failed", f"{type(failure).__name__}: {first_line(failure)}"))
    except (ConnectionError, EOFError):
        pass  # the parent has ended
    except Failure as failure:
        pipe.send(("broken", str(failure)))
    except OSError as failure:
        pipe.send(("broken", errors.disk_trouble(failure)))


def run_workers(open_study: Study, count: int, *task) -> Iterator[tuple[dict | None, list[FrozenTrial]]]:
    """Let `count` workers do what is left of the study, other machines' share excepted.

    Yields:
        after each epoch, and after a failure, the epoch's row or None, and the trials that ended with it.

    Raises:
        Failure: a worker cannot do its work, whatever the configuration.
    """
    jobs = sum(any(map(study.is_unfinished, members)) for members in open_study.families())
    workers = [Worker(*task) for _ in range(min(count, jobs))]
    deaths: dict[str, int] = {}
    beaten = time.monotonic()
    try:
        while True:
            for worker in workers:
                if worker.is_free and (job := worker.job or open_study.take()):
                    worker.give(job)
            busy = {worker.pipe: worker for worker in workers if not worker.is_free}
            if not busy:
                if not any(map(study.is_unfinished, open_study.trials())):
                    return
                time.sleep(leases.HEARTBEAT_SECONDS)  # what is left is at work elsewhere
                continue
            for pipe in connection.wait(list(busy), timeout=leases.HEARTBEAT_SECONDS):
                worker = busy[pipe]
                kind, content = worker.listen()
                if kind == "row":
                    ended = open_study.record(worker.job, content)
                    yield content, ended
                    go_on = bool(worker.job.trials)
                    worker.answer(go_on)
                    worker.job = worker.job if go_on else None
                elif kind == "free":
                    worker.is_free = True
                elif kind == "failed":
                    yield None, open_study.fail(worker.job, content)
                    worker.job = None
                elif kind == "broken":
                    raise Failure(content)
                else:
                    job = worker.job
                    what = f"trial {job.number}" if job else "the search"
                    deaths[what] = deaths.get(what, 0) + 1
                    workers[workers.index(worker)] = worker = Worker(*task)
                    worker.job = job
                    if deaths[what] < MAX_WORKER_DEATHS:
                        tqdm.write(f"a worker died (exit code {content}): another one continues {what}")
                        continue
                    reason = f"its worker died {MAX_WORKER_DEATHS} times (exit code {content}): too little memory?"
                    if job is None:
                        raise Failure(f"{reason} use fewer --workers")
                    yield None, open_study.fail(job, reason)
                    worker.job = None
            if time.monotonic() - beaten > leases.HEARTBEAT_SECONDS:
                open_study.beat()
                beaten = time.monotonic()
    finally:
        for worker in workers:
            worker.end()
        open_study.release()


def watch_workers(open_study: Study, count: int, quiet: bool, *task) -> None:
    """Run the workers under a progress bar: epochs, trials, the best so far, the time left over all trials."""
    (learned, total), open_ones = open_study.progress(), sum(map(study.is_unfinished, open_study.trials()))
    best = results_table.results(open_study.trials()).valid_acc.max() if open_ones < len(open_study.plan) else 0
    print(
        f"{len(open_study.plan) - open_ones} of {len(open_study.plan)} trials are done, {total - learned} epochs remain"
    )
    with tqdm(total=total, initial=learned, unit=" epochs", disable=quiet or None) as bar:
        for _, ended in run_workers(open_study, count, *task):
            for trial in ended:
                tqdm.write(results_table.describe(trial))
                best = max(best, trial.value or 0)
            bar.update()
            if ended:  # here; others may have ended elsewhere
                bar.n, bar.total = open_study.progress()
                open_ones = sum(map(study.is_unfinished, open_study.trials()))
            bar.set_postfix_str(f"{len(open_study.plan) - open_ones}/{len(open_study.plan)} trials, best {best:.2f} %")
