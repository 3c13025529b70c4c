"""Kill each script at every file operation and at random; resume and compare.

    python -m benchmarks.robustness.kills           at each file operation once, then at random, up to 1,000 kills
    python -m benchmarks.robustness.kills 100       fewer

A killed run is resumed to its end, and its files are compared with those of an uninterrupted run. A kill is SIGKILL,
which no program can handle; in the search it hits the script or its worker. The scripts are unchanged but run on little
data: one process imports the libraries and is forked for each run and each worker, and figures are blank to save time.
Writes benchmarks/results/kills.json.
"""

import builtins
import codecs
import contextlib
import functools
import hashlib
import inspect
import io
import itertools
import json
import mmap
import multiprocessing
import os
import random
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy
import torch
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import results
from pipeline import checkpoints, files, plots
from pipeline.datasets import datasets, letters
from pipeline.interpretability import drawing
from pipeline.tuning import charts, database, study, workers

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL
MAX_RANDOM_KILLS = 4  # random kills at most before a run may complete


SEED = 1
STARTED = rf"seed {1_000_003 * SEED // 100}(\d\d)\n"  # printed when loop.fit starts an epoch


@dataclass(frozen=True)
class Case:
    """A script, its arguments and what its output is checked for."""

    arguments: str  # {weights} stands for a digit network, {pictures} for a folder of handwriting
    resumes: bool = True  # otherwise it starts from the beginning
    resume: str = "--resume"  # the flag that resumes, if one is needed
    changes: tuple[str, ...] = ("model.pt", "history.csv")  # files that differ with another seed
    finished: str = r"epoch (\d+)/"  # pattern in the output: a finished epoch or trial, which no kill may undo
    started: str = STARTED  # pattern of a started one; empty if they have no order
    is_random: bool = True  # whether it has a seed


TRAINING = f"--seed {SEED} --threads 1 --device cpu --quiet --epochs 3 --handwritten {{pictures}}"
CASES = {
    "train_mnist.py": Case(f"{TRAINING} --dataset synthetic --batch-size 40 --outliers 20"),
    "transfer_greek.py": Case(f"{TRAINING} --drawn 6 --copies 1 --digits {{weights}}"),
    "greek_from_scratch.py": Case(f"{TRAINING} --drawn 6 --copies 1"),
    "examine_network.py": Case(
        "--device cpu --quiet --dataset synthetic --pictures 100 --weights {weights}",
        resumes=False,
        changes=("metrics.json",),
    ),
    "fashion_grid_search.py": Case(
        f"--seed {SEED} --device cpu --quiet --trials 3 --workers 1 --max-conv-layers 1 --max-linear-layers 2 "
        "--max-dropout 0.1 --max-batch-size 32 --max-epochs 10",
        resume="",
        changes=("results.csv",),
        finished=r"trial (\d+):",
        started="",
    ),
    "live_detect.py": Case("--headless --source {pictures} --digits {weights}", resumes=False, is_random=False),
}


# the process that is killed


def serve() -> None:
    """Import everything once; run a script in a fork for each JSON line on stdin."""
    for script in CASES:
        __import__(Path(script).stem)
    torch.set_num_threads(1)
    for module in (plots, drawing, charts):  # drawing would take most of the time of so short a run
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if inspect.signature(function).return_annotation is Figure:
                setattr(module, name, lambda *_, **__: Figure(figsize=(1, 1)))
    datasets.VALIDATION_SIZE, letters.VALIDATION_LETTERS_PER_CLASS = 40, 4
    datasets.synthetic_digits = functools.cache(functools.partial(datasets.synthetic_digits, train=160, test=100))
    datasets.fashion_mnist = lambda data_dir: datasets.synthetic_digits()
    database.HEARTBEAT_SECONDS, database.GRACE_SECONDS, workers.POLL_SECONDS = 1, 2, 0.05
    study.FIRST_EPOCH_SECONDS, study.MAX_ATTEMPTS = 5.0, 100  # the same trial is killed again and again
    datasets.synthetic_letters = functools.partial(datasets.synthetic_letters, count=100)
    datasets.synthetic_digits()
    for line in sys.stdin:
        job = json.loads(line)
        start = time.monotonic()
        child = os.fork()
        if not child:
            run(**job)
        if "delay" in job:
            time.sleep(job["delay"])
            os.kill(child, job.get("signal", signal.SIGKILL))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, time.monotonic() - start]), flush=True)


def run(
    script: str,
    arguments: list[str],
    log: str,
    event: int | None = None,
    user: int | None = None,
    in_place: bool = False,
    **_: Any,
) -> None:
    """Run a script as from the command line; get killed at the given event."""
    for name, number in ((log, 1), (f"{log}.err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = [script, *arguments]
    if user is not None:
        codecs.lookup("ascii")  # load it now: this user may not be allowed to read the library
        os.setuid(user)
    manual_seed = torch.manual_seed  # loop.fit calls it at the start of each epoch
    torch.manual_seed = lambda seed: (print(f"seed {seed}"), manual_seed(seed))[1]
    fork_workers()
    if in_place:
        files.atomic_write = contextlib.nullcontext
    count_events = kill_at_event(event)
    status = 0
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as exit:
        status = exit.code or 0
    except BaseException:
        traceback.print_exc()
        status = 70
    print(f"{count_events()} events")
    sys.stdout.flush()
    os._exit(status)


def fork_workers() -> None:
    """Fork workers instead of spawning; close pipe ends and connections that spawning drops."""
    context = multiprocessing.get_context("fork")
    original_pipe, ends = context.Pipe, []

    def pipe(duplex: bool = True) -> tuple:
        parent_end, child_end = original_pipe(duplex)
        ends.append(parent_end)
        return parent_end, child_end

    def close_ends() -> None:
        for end in ends:
            end.close()

    engines: weakref.WeakSet[sqlalchemy.Engine] = weakref.WeakSet()

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "engine_connect")
    def remember(connection: sqlalchemy.Connection) -> None:
        engines.add(connection.engine)

    def disconnect() -> None:  # SQLite must not be used on both sides of a fork
        for engine in engines:
            engine.dispose()

    context.Pipe = pipe
    multiprocessing.get_context = lambda _: context
    os.register_at_fork(before=disconnect, after_in_child=close_ends)


def kill_at_event(fatal_event: int | None) -> Callable[[], int]:
    """Kill the process at the given file event; return an event counter.

    A write is killed after half of its bytes. Workers share the counter with their parent; only one process is killed.
    """
    count, is_killed = np.frombuffer(mmap.mmap(-1, 16), np.int64).reshape(2, 1)  # in shared memory

    def count_event() -> bool:
        count[0] += 1
        is_fatal = count[0] == fatal_event and not is_killed[0]
        is_killed[0] |= is_fatal
        return is_fatal

    def kill_self() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class File(io.FileIO):
        def write(self, content) -> int:
            if count_event():
                super().write(bytes(content)[: len(content) // 2])
                kill_self()
            return super().write(content)

    original_open = builtins.open

    def open_counted(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if isinstance(file, int) or opener or not set(mode) & set("wax+"):
            return original_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = File(file, "".join(sorted(set(mode) - set("bt"), reverse=True)))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def with_events(call: Callable) -> Callable:
        def call_counted(*args, **kwargs):
            if count_event():
                kill_self()
            result = call(*args, **kwargs)
            if count_event():
                kill_self()
            return result

        return call_counted

    builtins.open = io.open = open_counted
    for module, name in ((os, "fsync"), (os, "replace"), (os, "unlink"), (tempfile, "mkstemp")):
        setattr(module, name, with_events(getattr(module, name)))
    return lambda: int(count[0])


# the process that kills


@dataclass
class Outcome:
    """Result of one run."""

    status: int  # negative for a signal
    printed: str
    error: str
    seconds: float


class ForkServer:
    """A process that has imported the libraries; each run is a fork of it."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.robustness.kills", "serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "DISPLAY": "", "WAYLAND_DISPLAY": ""},
        )  # fmt: skip

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def run(self, script: str, arguments: list[str], log: Path, **options: float) -> Outcome:
        """Run a script until it ends or is killed.

        Args:
            log: standard output is appended to this file, standard error to the one of the same name plus `.err`.
            options: the `event`, or `delay` in seconds, at which it is killed or gets another `signal`; `user`, the id
                of the user to run as; `in_place`, to write files non-atomically, which tests the tests.
        """
        before = [path.stat().st_size if path.exists() else 0 for path in (log, Path(f"{log}.err"))]
        job = {"script": script, "arguments": arguments, "log": str(log)} | options
        print(json.dumps(job), file=self.process.stdin, flush=True)
        status, seconds = json.loads(self.process.stdout.readline())
        texts = [path.read_text()[size:] for path, size in zip((log, Path(f"{log}.err")), before, strict=True)]
        return Outcome(status, *texts, seconds)


@dataclass
class Reference:
    """An uninterrupted run."""

    script: str
    arguments: list[str]
    folder: Path
    file_digests: dict[str, str]  # file -> SHA-256
    finished: list[str]  # epochs or trials
    events: int
    seconds: float


def run_reference(server: ForkServer, script: str, folder: Path) -> Reference:
    """Run a script without a kill, after training the digit network if it needs one."""
    case, weights, pictures = CASES[script], folder / "train_mnist.py" / "model.pt", folder / "pictures"
    if "{weights}" in case.arguments and not weights.exists():
        run_reference(server, "train_mnist.py", folder)
    if not pictures.exists():
        for name in ("3", "alpha"):
            (pictures / name).mkdir(parents=True)
            samples = ROOT / "handwritten" / ("digits" if name.isdigit() else "greek") / name
            sample = next(iter(sorted(samples.iterdir())))
            (pictures / name / sample.name).write_bytes(sample.read_bytes())
    arguments = case.arguments.format(weights=weights, pictures=pictures).split()
    output_dir, log = folder / script, folder / f"{script}.log"
    outcome = server.run(script, [*arguments, "--output-dir", str(output_dir)], log)
    assert outcome.status == 0, outcome
    events = int(re.search(r"(\d+) events", outcome.printed)[1])
    assert not case.resumes or not case.started or re.search(case.started, outcome.printed), outcome
    return Reference(
        script,
        arguments,
        output_dir,
        file_digests(output_dir),
        re.findall(case.finished, outcome.printed),
        events,
        outcome.seconds,
    )


def run_with_kills(server: ForkServer, reference: Reference, folder: Path, planned_kills: Iterator[dict]) -> dict:
    """Run a script, kill it as planned, resume after each kill, let it complete.

    Returns:
        the numbers of kills that hit, of times that an unfinished file was left, and of runs.

    Raises:
        AssertionError: something was lost, is unreadable, or differs from the uninterrupted run.
    """
    case = CASES[reference.script]
    output_dir = folder / "out"
    attempts: list[Outcome] = []
    unfinished = 0
    for kill in [*planned_kills, {}]:
        resume = case.resume.split() if case.resumes and attempts else []
        arguments = [*reference.arguments, "--output-dir", str(output_dir), *resume]
        attempts.append(server.run(reference.script, arguments, folder / "log", **kill))
        assert attempts[-1].status in (0, KILLED) and not attempts[-1].error, (kill, attempts[-1])
        if output_dir.exists():
            read_all(output_dir)
            unfinished += any(output_dir.rglob(files.PARTIAL_PREFIX + "*"))
        if attempts[-1].status == 0:
            break
    assert attempts[-1].status == 0 and not list(output_dir.glob(files.PARTIAL_PREFIX + "*"))
    assert file_digests(output_dir) == reference.file_digests
    if case.resumes and case.started:
        started = [[int(epoch) for epoch in re.findall(case.started, attempt.printed)] for attempt in attempts]
        started = [epochs for epochs in started if epochs]
        for before, after in itertools.pairwise(started):
            assert after[0] in (before[-1], before[-1] + 1), f"more than one epoch repeated: {started}"
    if case.resumes:
        finished = [piece for attempt in attempts for piece in re.findall(case.finished, attempt.printed)]
        assert len(finished) == len(set(finished)), f"finished twice, so the first result was lost: {finished}"
    kills = sum(attempt.status == KILLED or "a worker died" in attempt.printed for attempt in attempts)
    return {"kills": kills, "unfinished files": unfinished, "runs": len(attempts)}


SKIPPED_PREFIXES = "checkpoint.pt", "study.db", files.PARTIAL_PREFIX


def read_all(folder: Path) -> None:
    """Read every file completely, except partial files."""
    for path in folder.rglob("*"):
        if path.name.startswith((files.PARTIAL_PREFIX, "study.db")) or path.suffix == ".lock" or path.is_dir():
            continue  # the next start reads the database
        if path.suffix == ".pt":
            checkpoints.load_file(path, "")
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            assert len(pd.read_csv(path)) and path.read_bytes().endswith(b"\n")
        elif path.suffix == ".html":
            assert path.read_text().endswith("</html>\n")
        else:
            raise AssertionError(f"unexpected file {path}")


def file_digests(folder: Path) -> dict[str, str]:
    """Return file name -> SHA-256, without times, checkpoint and study.

    Checkpoint and study contain times throughout.
    """
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith(SKIPPED_PREFIXES) or path.suffix == ".lock":
            continue
        content = path.read_bytes()
        if path.parent.name == "families":
            rows = pd.DataFrame(checkpoints.load_file(path, "")["rows"])
            content = rows.drop(columns="seconds").to_csv().encode()
        elif path.name == "config.json":  # paths and --resume differ
            content = b""
        elif path.name == "metrics.json":
            metrics = json.loads(content)
            content = json.dumps({name: value for name, value in metrics.items() if "seconds" not in name}).encode()
        elif path.suffix == ".csv":
            table = pd.read_csv(path).drop(columns=["seconds", "milliseconds", "time_sec"], errors="ignore")
            if "trial" in table:  # one that was killed has a new number
                table = table.drop(columns="trial")
                table = table.sort_values(list(table.columns), ignore_index=True)
            content = table.to_csv().encode()
        digests[path.name] = hashlib.sha256(content).hexdigest()
    return digests


def kills_at_events(reference: Reference, every: int = 1) -> Iterator[list[dict]]:
    """Yield, for each `every`-th file event, the list of kills of one run."""
    for event in range(1, reference.events + 1, every):
        yield [{"event": event}]


def random_kills(reference: Reference, rng: random.Random) -> list[dict]:
    """Return one to MAX_RANDOM_KILLS kills of one run, at random times and events."""
    return [
        {"delay": rng.uniform(0, reference.seconds)} if rng.random() < 0.5 else
        {"event": rng.randint(1, reference.events)}
        for _ in range(rng.randint(1, MAX_RANDOM_KILLS))
    ]  # fmt: skip


def main(total_kills: int = 1000, only: str = "") -> None:
    rng, scripts = random.Random(0), [only] if only else list(CASES)
    rows = {script: {"kills": 0, "unfinished files": 0, "runs": 0} for script in scripts}
    with ForkServer() as server, tempfile.TemporaryDirectory() as base:

        def run_and_count(reference: Reference, planned_kills: list[dict]) -> None:
            with tempfile.TemporaryDirectory() as folder:
                outcome = run_with_kills(server, reference, Path(folder), planned_kills)
            for name, count in outcome.items():
                rows[reference.script][name] += count

        def save_results() -> int:
            """Save the results so far, in case of an interrupt; return the number of kills."""
            kills = sum(row["kills"] for row in rows.values())
            runs = [{"script": script, **row} for script, row in rows.items()]
            results.write("kills" + (f"_{Path(only).stem}" if only else ""), {"kills": kills, "lost": 0}, runs)
            return kills

        references = {script: run_reference(server, script, Path(base)) for script in scripts}
        for script, reference in references.items():
            stride = 1 if CASES[script].resumes else 5  # fewer kills where nothing can be lost
            for planned_kills in kills_at_events(reference, every=max(stride, 1000 * stride // total_kills)):
                run_and_count(reference, planned_kills)
            save_results()
        while save_results() < total_kills:
            for _ in range(20):
                reference = rng.choice(list(references.values()))
                run_and_count(reference, random_kills(reference, rng))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(*map(int, sys.argv[1:2]), *sys.argv[2:])
