"""Worker processes of one thread each, which run the waiting trials of a study with `Study.optimize`.

Every worker uses the database itself, so it does not matter on which machine it is; the parent starts them, replaces
those that die and prints the progress of the whole study.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import connection
from pathlib import Path

import optuna
import torch
from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from tqdm import tqdm

from pipeline import errors, runtime
from pipeline.errors import Failure, first_line
from pipeline.tuning import database, results_table, search_space, study, trial
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Study

MAX_WORKER_DEATHS = 20  # of one run, after which more memory or fewer workers are needed
POLL_SECONDS = 1.0  # between two looks at the database, of the parent and of workers without a trial


class TrialFailed(Exception):
    """A configuration cannot be trained; the trial's user attribute `reason` says why."""


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Objective:
    """What Optuna maximizes: the validation accuracy of a trial's configuration after its last epoch."""

    def __init__(self, open_study: Study, data: trial.Data, families: Path, weights: Path | None = None):
        """
        Args:
            families: folder of the cached training runs.
            weights: folder for the networks of complete trials, or None.
        """
        self.open_study, self.data, self.families, self.weights = open_study, data, families, weights
        # one worker of the machine asks for a trial at a time: Optuna would make one up for the others if one is left
        self.queue = FileLock(families / "queue.lock")

    def run_next(self) -> bool:
        """Run a waiting trial to its end; False if none waits."""
        try:
            self.queue.acquire()
            if not self.open_study.has_waiting():
                return False
            # another process has the trial now; or the database failed while Optuna recorded its end, so that its
            # heartbeat ends and it is run again
            with contextlib.suppress(UpdateFinishedTrialError, UnboundLocalError):
                self.open_study.study.optimize(self, n_trials=1, catch=TrialFailed)
            return True
        finally:
            self.queue.release()

    def __call__(self, optuna_trial: optuna.Trial) -> float:
        self.queue.release()
        try:
            return self._train(optuna_trial)
        except (optuna.TrialPruned, UpdateFinishedTrialError, OSError, database.DatabaseFailure, *database.UNAVAILABLE):
            raise  # not the configuration's fault
        except (Failure, torch.OutOfMemoryError) as failure:
            reason = first_line(failure)
        except Exception as failure:
            reason = f"{type(failure).__name__}: {first_line(failure)}"
        optuna_trial.set_user_attr("reason", reason)
        raise TrialFailed

    def _train(self, optuna_trial: optuna.Trial) -> float:
        settings = self.open_study.settings
        if reason := self.open_study.why_not(optuna_trial):
            raise Failure(reason)
        if settings.sampler == "tpe":  # each trial has its own random numbers, whoever runs it
            self.open_study.study.sampler = search_space.tpe_sampler(settings, optuna_trial.number)
        configuration = search_space.suggest(optuna_trial, settings)
        family = search_space.family(configuration, settings)
        path = trial.cache_file(configuration, settings, self.data, self.families)
        longest, keep_weights = self.open_study.longest(family), self.weights is not None
        with FileLock(path.with_suffix(".lock")):  # a family is trained by one process at a time
            for row in trial.train(configuration, settings, self.data, self.families, longest, keep_weights):
                if _parent_has_died():
                    raise KeyboardInterrupt  # Optuna fails the trial, to be run again
                optuna_trial.report(row["valid_accuracy"], row["epoch"])
                is_last = row["epoch"] == configuration["epochs"]
                if is_last or (settings.pruner != "none" and optuna_trial.should_prune()):
                    optuna_trial.set_user_attr("test_acc", row["test_accuracy"])
                    optuna_trial.set_user_attr("time_sec", row["seconds"])
                    if is_last and self.weights:
                        network = trial.weights_file(path, row["epoch"])
                        shutil.copyfile(network, self.weights / f"trial_{optuna_trial.number}.pt")
                    if is_last:
                        return row["valid_accuracy"]
                    raise optuna.TrialPruned
        raise AssertionError("a configuration has at least one epoch")


def _parent_has_died() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _ignore_unavailable(failure: threading.ExceptHookArgs) -> None:
    """Let a heartbeat end without a message when the database fails; the trial is then run again."""
    if not isinstance(failure.exc_value, (*database.UNAVAILABLE, Failure)):
        threading.__excepthook__(failure)


def work(
    pipe: connection.Connection,
    url: str,
    name: str,
    settings: Settings,
    trials: int,
    data_dir: Path,
    families: Path,
    weights: Path | None,
    device: torch.device,
) -> None:
    """Run trials until none is left, other machines' included; send what stops this to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too, but the parent decides
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as KeyboardInterrupt, so that the trial is failed
    runtime.tune_process()
    torch.set_num_threads(1)
    threading.excepthook = _ignore_unavailable
    tqdm.set_lock(threading.RLock())  # its default is a semaphore, which a process that is ended leaves behind
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):  # the parent stops, or has died
        try:
            data = trial.fashion_data(settings, data_dir).to(device)
            objective = Objective(Study(url, name, settings, trials), data, families, weights)
            with database.readable(url):
                while not objective.open_study.is_finished() and not _parent_has_died():
                    if not database.retry(objective.run_next, url, database.RUN_TIMEOUT_SECONDS):
                        time.sleep(POLL_SECONDS)  # the others are run elsewhere
        except Failure as failure:
            pipe.send(str(failure))
        except OSError as failure:
            pipe.send(errors.disk_trouble(failure))


def run_workers(open_study: Study, count: int, *task) -> Iterator[None]:
    """Let `count` workers run what is left of the study, and yield about once a second.

    Args:
        task: what `work` takes after `trials`.

    Raises:
        Failure: a worker cannot do its work, whatever the configuration.
    """
    context = multiprocessing.get_context("spawn")

    def start() -> tuple[multiprocessing.process.BaseProcess, connection.Connection]:
        pipe, end = context.Pipe(duplex=False)
        arguments = open_study.url, open_study.name, open_study.settings, len(open_study.plan), *task
        process = context.Process(target=work, args=(end, *arguments), daemon=True)
        process.start()
        end.close()
        return process, pipe

    jobs = sum(any(map(study.is_unfinished, members)) for members in open_study.families())
    workers = [start() for _ in range(min(count, jobs))]
    deaths = 0
    try:
        while workers:
            connection.wait([process.sentinel for process, _ in workers], timeout=POLL_SECONDS)
            for worker in [worker for worker in workers if not worker[0].is_alive()]:
                process, pipe = worker
                workers.remove(worker)
                with contextlib.suppress(EOFError):
                    if pipe.poll():
                        raise Failure(pipe.recv())
                if process.exitcode:
                    deaths += 1
                    if deaths == MAX_WORKER_DEATHS:
                        raise Failure(f"{deaths} workers died (exit code {process.exitcode}): use fewer --workers")
                    tqdm.write(f"a worker died (exit code {process.exitcode}): another one takes its place")
                    workers.append(start())
            yield
    finally:
        for process, _ in workers:
            process.terminate()
        for process, _ in workers:
            process.join()


def watch_workers(open_study: Study, count: int, quiet: bool, *task) -> None:
    """Run the workers under a progress bar: epochs, trials, the best so far, the time left over all trials."""
    trials = open_study.trials()
    described = {trial.number for trial in trials if not study.is_unfinished(trial)}
    trained, total = open_study.progress()
    print(f"{len(described)} of {len(open_study.plan)} trials are done, {total - trained} epochs remain")
    with tqdm(total=total, initial=trained, unit=" epochs", disable=quiet or None) as bar:
        for _ in run_workers(open_study, count, *task):
            trials = open_study.trials()
            finished = [trial for trial in trials if not study.is_unfinished(trial)]
            for trial in finished:
                if trial.number not in described:
                    tqdm.write(results_table.describe(trial))
            described |= {trial.number for trial in finished}
            bar.n, bar.total = open_study.progress()
            best = max((trial.value or 0 for trial in finished if trial.state != TrialState.FAIL), default=0)
            bar.set_postfix_str(f"{len(finished)}/{len(open_study.plan)} trials, best {best:.2f} %")
