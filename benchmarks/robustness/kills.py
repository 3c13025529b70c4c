"""Kill each script at every write, flush and rename, and at random moments, go on, and compare with a run left alone.

    python -m benchmarks.robustness.kills           each file operation once, then random moments: 1,000
    python -m benchmarks.robustness.kills 100       fewer

A kill is SIGKILL, which no program can answer; of the search it meets the script or its worker. The scripts run as they
are, on data small enough to be killed often: one process imports the libraries and is copied for each run and each
worker, and its pictures are blank. Writes benchmarks/results/kills.json.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import results
from pipeline import checkpoints, files, plots
from pipeline.datasets import datasets, letters
from pipeline.interpretability import figures
from pipeline.tuning import charts, leases

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL
EACH_LIFE = 4  # random kills of one run before it may end


SEED = 1
BEGUN = rf"seed {1_000_003 * SEED // 100}(\d\d)\n"  # the epoch that loop.fit begins


@dataclass(frozen=True)
class Case:
    """A script, and how it is to be killed."""

    arguments: str  # small; {weights} stands for a digit network, {pictures} for a folder of handwriting
    resumes: bool = True  # otherwise it begins anew
    resume: str = "--resume"  # the flag that goes on, where one is needed
    changes: tuple[str, ...] = ("model.pt", "history.csv")  # with another seed
    finished: str = r"epoch (\d+)/"  # in what it prints: a piece of work that no kill may undo
    begun: str = BEGUN  # likewise one that is begun; empty where pieces have no order
    is_random: bool = True  # and so has a seed


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
        begun="",
    ),
    "live_detect.py": Case("--headless --source {pictures} --digits {weights}", resumes=False, is_random=False),
}


# the process that is killed


def serve() -> None:
    """Import everything once; then for each line of JSON on standard input run a script in a copy of this process."""

    for script in CASES:
        __import__(Path(script).stem)
    torch.set_num_threads(1)
    for module in (plots, figures, charts):  # to draw takes most of the time of so small a run
        for name, maker in inspect.getmembers(module, inspect.isfunction):
            if inspect.signature(maker).return_annotation is Figure:
                setattr(module, name, lambda *_, **__: Figure(figsize=(1, 1)))
    datasets.VALIDATION_SIZE, letters.VALIDATION_LETTERS_PER_CLASS = 40, 4
    datasets.synthetic_digits = functools.cache(functools.partial(datasets.synthetic_digits, train=160, test=100))
    datasets.fashion_mnist = lambda data_dir: datasets.synthetic_digits()
    leases.HEARTBEAT_SECONDS, leases.LEASE_SECONDS = 0.1, 0.5
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
    careless: bool = False,
    **_: Any,
) -> None:
    """What the copy does: the script as from the command line, dead at the given event."""
    for name, number in ((log, 1), (f"{log}.err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = [script, *arguments]
    if user is not None:
        codecs.lookup("ascii")  # the library itself may be closed to this user
        os.setuid(user)
    seeded = torch.manual_seed
    torch.manual_seed = lambda seed: (print(f"seed {seed}"), seeded(seed))[1]  # fit does so as each epoch begins
    fork_workers()
    if careless:
        files.atomic_write = contextlib.nullcontext
    happened = arm(event)
    status = 0
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as exit:
        status = exit.code or 0
    except BaseException:
        traceback.print_exc()
        status = 70
    print(f"{happened()} events")
    sys.stdout.flush()
    os._exit(status)


def fork_workers() -> None:
    """Copy this process for each worker too; a copy gives up what a new process would not have had."""
    context = multiprocessing.get_context("fork")
    really_pipe, ends = context.Pipe, []

    def pipe() -> tuple:
        near, far = really_pipe()
        ends.append(near)
        return near, far

    def give_up() -> None:
        for end in ends:
            end.close()

    context.Pipe = pipe
    multiprocessing.get_context = lambda _: context
    os.register_at_fork(after_in_child=give_up)


def arm(fatal: int | None) -> Callable[[], int]:
    """Die at the fatal one of all events that touch files; a write dies half done. Returns what counts them.

    Workers count on where their parent is, and one process dies.
    """
    counted, is_over = np.frombuffer(mmap.mmap(-1, 16), np.int64).reshape(2, 1)  # in memory that they share

    def happens() -> bool:
        counted[0] += 1
        strikes = counted[0] == fatal and not is_over[0]
        is_over[0] |= strikes
        return strikes

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class File(io.FileIO):
        def write(self, content) -> int:
            if happens():
                super().write(bytes(content)[: len(content) // 2])
                die()
            return super().write(content)

    really_open = builtins.open

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if isinstance(file, int) or opener or not set(mode) & set("wax+"):
            return really_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = File(file, "".join(sorted(set(mode) - set("bt"), reverse=True)))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def fatal_at(call: Callable) -> Callable:
        def called(*args, **kwargs):
            if happens():
                die()
            result = call(*args, **kwargs)
            if happens():
                die()
            return result

        return called

    builtins.open = io.open = opened
    for module, name in ((os, "fsync"), (os, "replace"), (os, "unlink"), (tempfile, "mkstemp")):
        setattr(module, name, fatal_at(getattr(module, name)))
    return lambda: int(counted[0])


# the process that kills


@dataclass
class Outcome:
    status: int  # negative for a signal
    printed: str
    error: str
    seconds: float


class Warm:
    """The server: starts in seconds, then each run is a fork of it."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.robustness.kills", "serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "DISPLAY": "", "WAYLAND_DISPLAY": ""},
        )  # fmt: skip

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def run(self, script: str, arguments: list[str], log: Path, **how: float) -> Outcome:
        """One run to its end.

        Args:
            log: what it prints is added to this file and what it complains of to the one of the same name and `.err`.
            how: `event`, or `delay` in seconds, at which it is killed or gets another `signal`; `user`, whose rights it
                has; `careless`, to write files in place, as a test of the tests.
        """
        before = [path.stat().st_size if path.exists() else 0 for path in (log, Path(f"{log}.err"))]
        job = {"script": script, "arguments": arguments, "log": str(log)} | how
        print(json.dumps(job), file=self.process.stdin, flush=True)
        status, seconds = json.loads(self.process.stdout.readline())
        texts = [path.read_text()[size:] for path, size in zip((log, Path(f"{log}.err")), before, strict=True)]
        return Outcome(status, *texts, seconds)


@dataclass
class Reference:
    """A run that nobody killed."""

    script: str
    arguments: list[str]
    folder: Path
    bits: dict[str, str]  # file -> SHA-256
    finished: list[str]  # pieces of work
    events: int
    seconds: float


def prepare(warm: Warm, script: str, folder: Path) -> Reference:
    """Run it once without a kill, after the digit network where it needs one."""
    case, weights, pictures = CASES[script], folder / "train_mnist.py" / "model.pt", folder / "pictures"
    if "{weights}" in case.arguments and not weights.exists():
        prepare(warm, "train_mnist.py", folder)
    if not pictures.exists():
        for name in ("3", "alpha"):
            (pictures / name).mkdir(parents=True)
            samples = ROOT / "handwritten" / ("digits" if name.isdigit() else "greek") / name
            sample = next(iter(sorted(samples.iterdir())))
            (pictures / name / sample.name).write_bytes(sample.read_bytes())
    arguments = case.arguments.format(weights=weights, pictures=pictures).split()
    out, log = folder / script, folder / f"{script}.log"
    outcome = warm.run(script, [*arguments, "--output-dir", str(out)], log)
    assert outcome.status == 0, outcome
    events = int(re.search(r"(\d+) events", outcome.printed)[1])
    assert not case.resumes or not case.begun or re.search(case.begun, outcome.printed), outcome
    return Reference(
        script, arguments, out, bits(out), re.findall(case.finished, outcome.printed), events, outcome.seconds
    )


def life(warm: Warm, reference: Reference, folder: Path, deaths: Iterator[dict]) -> dict:
    """A run killed again and again, each time resumed, until the deaths are used up and it may end.

    Returns:
        the kills that hit, those that left an unfinished file behind, and how many pieces of work were done in all.

    Raises:
        AssertionError: something was lost, unreadable, or other than in the run that nobody killed.
    """
    case = CASES[reference.script]
    out = folder / "out"
    attempts: list[Outcome] = []
    unfinished = 0
    for death in [*deaths, {}]:
        resume = case.resume.split() if case.resumes and attempts else []
        arguments = [*reference.arguments, "--output-dir", str(out), *resume]
        attempts.append(warm.run(reference.script, arguments, folder / "log", **death))
        assert attempts[-1].status in (0, KILLED) and not attempts[-1].error, (death, attempts[-1])
        if out.exists():
            read_all(out)
            unfinished += any(out.rglob(files.PARTIAL_PREFIX + "*"))
        if attempts[-1].status == 0:
            break
    assert attempts[-1].status == 0 and not list(out.glob(files.PARTIAL_PREFIX + "*"))
    assert bits(out) == reference.bits
    if case.resumes and case.begun:
        begun = [[int(epoch) for epoch in re.findall(case.begun, attempt.printed)] for attempt in attempts]
        begun = [epochs for epochs in begun if epochs]
        for before, after in itertools.pairwise(begun):
            assert after[0] in (before[-1], before[-1] + 1), f"more than one epoch redone: {begun}"
    if case.resumes:
        finished = [piece for attempt in attempts for piece in re.findall(case.finished, attempt.printed)]
        assert len(finished) == len(set(finished)), f"done twice, so lost once: {finished}"
    kills = sum(attempt.status == KILLED or "a worker died" in attempt.printed for attempt in attempts)
    return {"kills": kills, "unfinished files": unfinished, "runs": len(attempts)}


def read_all(folder: Path) -> None:
    """Open every file to its end; those still being written, which no one takes for another, are left out."""
    for path in folder.rglob("*"):
        if path.name.startswith((files.PARTIAL_PREFIX, "study.db")) or path.is_dir():
            continue  # that the database can be read the next start shows
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
            raise AssertionError(f"what is {path}?")


def bits(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, times left out; of the checkpoint and the study, which hold them throughout, nothing."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith(("checkpoint.pt", "study.db", files.PARTIAL_PREFIX)):
            continue
        content = path.read_bytes()
        if path.parent.name == "families":
            rows = pd.DataFrame(checkpoints.load_file(path, "")["rows"])
            content = rows.drop(columns="seconds").to_csv().encode()
        elif path.name == "config.json":  # its paths and --resume differ
            content = b""
        elif path.name == "metrics.json":
            metrics = json.loads(content)
            content = json.dumps({name: value for name, value in metrics.items() if "seconds" not in name}).encode()
        elif path.suffix == ".csv":
            table = pd.read_csv(path).drop(columns=["seconds", "milliseconds", "time_sec"], errors="ignore")
            content = table.to_csv().encode()
        digests[path.name] = hashlib.sha256(content).hexdigest()
    return digests


def everywhere(reference: Reference, every: int = 1) -> Iterator[list[dict]]:
    """A life for each event that touches a file (or every so many), killed there and then resumed."""
    for event in range(1, reference.events + 1, every):
        yield [{"event": event}]


def at_random(reference: Reference, rng: random.Random) -> list[dict]:
    """A life of several kills, at random moments and random events."""
    return [
        {"delay": rng.uniform(0, reference.seconds)} if rng.random() < 0.5 else
        {"event": rng.randint(1, reference.events)}
        for _ in range(rng.randint(1, EACH_LIFE))
    ]  # fmt: skip


def main(goal: int) -> None:
    rng = random.Random(0)
    rows = {script: {"kills": 0, "unfinished files": 0, "runs": 0} for script in CASES}
    with Warm() as warm, tempfile.TemporaryDirectory() as place:

        def live(known: Reference, deaths: list[dict]) -> None:
            with tempfile.TemporaryDirectory() as folder:
                outcome = life(warm, known, Path(folder), deaths)
            for name, count in outcome.items():
                rows[known.script][name] += count

        def killed() -> int:
            """So far; a longer run than one has patience for leaves what it found."""
            kills = sum(row["kills"] for row in rows.values())
            runs = [{"script": script, **row} for script, row in rows.items()]
            results.write("kills", {"kills": kills, "lost": 0}, runs)
            return kills

        references = {script: prepare(warm, script, Path(place)) for script in CASES}
        for script, known in references.items():
            few = 1 if CASES[script].resumes else 5  # where nothing can be lost
            for deaths in everywhere(known, every=max(few, 1000 * few // goal)):
                live(known, deaths)
            killed()
        while killed() < goal:
            for _ in range(20):
                known = rng.choice(list(references.values()))
                live(known, at_random(known, rng))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 1000)
