"""Nothing lost, whatever happens: a sample of `make crash`, and every expected failure of every script.

Another script joins with an entry in `benchmarks.robustness.kills.CASES` and one in FAILURES.
"""

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from test_models import spoil

import models
from benchmarks.robustness import kills
from benchmarks.robustness.kills import CASES, ForkServer, Outcome
from pipeline import checkpoints, errors, files, runtime
from pipeline.datasets import datasets

pytestmark = pytest.mark.slow
ABSENT = "cuda" if not torch.cuda.is_available() else "mps"
NOBODY = 65534  # a user without rights, where the tests run as root, whom no permission stops
SAMPLE = 5  # kills at an event, of each script


@pytest.fixture(scope="module")
def warm():
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="module")
def reference(warm, tmp_path_factory):
    """Of a script, a run that nobody killed."""
    place = tmp_path_factory.mktemp("references")
    return functools.cache(lambda script: kills.run_reference(warm, script, place))


@pytest.fixture
def run(warm, reference, tmp_path):
    """A script with its usual small flags and others after them."""

    def run(script: str, *arguments: object, **how: float) -> Outcome:
        usual = reference(script).arguments
        return warm.run(script, [*usual, *map(str, arguments)], tmp_path / "log", **how)

    return run


def is_one_line(outcome: Outcome, status: int, *words: str) -> None:
    """One line on standard error that holds the words, and the status."""
    lines = outcome.error.strip().splitlines()
    assert len(lines) == 1 and outcome.status == status, outcome.error
    assert "Traceback" not in outcome.printed and all(word in lines[0] for word in words), outcome


# killed


@pytest.mark.parametrize("script", CASES)
def test_killed_anywhere_it_ends_with_the_same_bits(script, warm, reference, tmp_path):
    """The whole of it is `make crash`."""
    rng = random.Random(script)
    known = reference(script)
    sample = SAMPLE if CASES[script].resumes else 2
    lives = [[{"event": event}] for event in rng.sample(range(1, known.events + 1), sample)]
    outcomes = []
    for number, deaths in enumerate([*lives, kills.random_kills(known, rng)]):
        (tmp_path / str(number)).mkdir()
        outcomes.append(kills.run_with_kills(warm, known, tmp_path / str(number), deaths))
    assert sum(outcome["kills"] for outcome in outcomes) >= sample


def test_a_script_that_writes_in_place_is_caught(warm, reference, tmp_path):
    """The test's test: killed in the middle of a file that was written in place."""
    known = reference("train_mnist.py")
    with pytest.raises((errors.Failure, AssertionError, json.JSONDecodeError)):
        for event in range(20, known.events, 3):  # the first images are behind it
            (tmp_path / str(event)).mkdir()
            kills.run_with_kills(warm, known, tmp_path / str(event), [{"event": event, "in_place": True}])


@pytest.mark.parametrize("script", CASES)
def test_the_same_seed_gives_the_same_bits(script, run, reference, tmp_path):
    assert run(script, "--output-dir", tmp_path / "again").status == 0
    assert kills.file_digests(tmp_path / "again") == reference(script).file_digests
    if not CASES[script].is_random:
        return
    assert run(script, "--output-dir", tmp_path / "other", "--seed", "2").status == 0
    other = kills.file_digests(tmp_path / "other")
    changed = {name for name in other if other[name] != reference(script).file_digests.get(name)}
    assert changed >= set(CASES[script].changes)


# two at once, odd places, no room, no permission


@pytest.mark.parametrize("script", CASES)
def test_a_second_run_in_a_folder_is_refused_until_the_first_ends(script, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    first = os.fork()
    if not first:
        runtime.output_folder(out)
        (out / f"{files.PARTIAL_PREFIX}of the first").write_text("half of")
        (out / "ready").touch()
        time.sleep(100)
        os._exit(1)
    while not (out / "ready").exists():
        time.sleep(0.01)
    (out / "ready").unlink()
    is_one_line(run(script, "--output-dir", out), 1, "another run", str(out), "--output-dir")
    assert [path.name for path in out.iterdir()] == [f"{files.PARTIAL_PREFIX}of the first"]
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert run(script, "--output-dir", out).status == 0
    assert not list(out.glob(f"{files.PARTIAL_PREFIX}*"))


def test_workers_share_a_folder_and_sweep_nothing(tmp_path):
    partial = tmp_path / f"{files.PARTIAL_PREFIX}of a worker"
    partial.touch()
    first = os.fork()
    if not first:
        runtime.output_folder(tmp_path, alone=False)
        os._exit(0)
    runtime.output_folder(tmp_path, alone=False)
    assert os.waitpid(first, 0)[1] == 0
    assert partial.exists()


@pytest.mark.parametrize("script", CASES)
def test_spaces_unicode_and_links_in_paths(script, run, reference, tmp_path):
    place = tmp_path / "mein Ordner, «ψηφία» 数字"
    place.mkdir()
    (tmp_path / "a link").symlink_to(place)
    outcome = run(script, "--output-dir", tmp_path / "a link" / "out put")
    assert outcome.status == 0 and not outcome.error, outcome
    assert kills.file_digests(place / "out put") == reference(script).file_digests


@pytest.fixture
def open_place():
    """A folder that every user can enter."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("script", CASES)
def test_a_folder_without_permission(script, run, reference, open_place):
    (open_place / "out").mkdir()
    (open_place / "out").chmod(0o555)
    rights = {"user": NOBODY} if os.geteuid() == 0 else {}
    log = open_place / "log"
    log.touch()
    for name in (log, open_place / "log.err"):
        name.touch()
        name.chmod(0o666)
    is_one_line(run(script, "--output-dir", open_place / "out", **rights), 1, "Permission denied", "--output-dir")
    assert not list((open_place / "out").iterdir())


@contextlib.contextmanager
def small_disk(place: Path, size: str):
    """A disk of its own, where the system lets us; None elsewhere."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    try:
        yield place if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", place], check=True)


DRAW = [script for script in CASES if script != "live_detect.py"]  # whose table would fit on any disk
DISKS = [(script, "16k") for script in DRAW] + [(script, "256k") for script in DRAW if CASES[script].resumes]
SCRIPTS = sorted(path.name for path in ROOT.glob("*_*.py"))


@pytest.mark.parametrize("script, size", DISKS)
def test_a_full_disk_leaves_whole_files_and_goes_on_with_more_room(script, size, run, reference, tmp_path):
    with small_disk(tmp_path / "disk", size) as folder:
        if folder is None:
            pytest.skip("to make a small disk takes rights that are missing here; see test_train_mnist for a stand-in")
        outcome = run(script, "--output-dir", folder)
        is_one_line(outcome, 1, "free some space")
        said_by_sqlite = script == "fashion_grid_search.py" and "disk is full" in outcome.error
        assert "No space left on device" in outcome.error or said_by_sqlite
        kills.read_all(folder)
        assert not list(folder.glob(f"{files.PARTIAL_PREFIX}*"))
        subprocess.run(["mount", "-o", "remount,size=100m", folder], check=True)
        resume = CASES[script].resume.split() if CASES[script].resumes else []
        assert run(script, "--output-dir", folder, *resume).status == 0
        assert kills.file_digests(folder) == reference(script).file_digests


# Ctrl-C


@pytest.mark.parametrize("script", CASES)
def test_ctrl_c_while_it_works_names_the_line_that_goes_on(script, run, reference, tmp_path):
    for share in (2, 4, 8, 16):  # a reference that ran on a busier machine took longer than this will
        delay, folder = reference(script).seconds / share, tmp_path / f"out {share}"
        outcome = run(script, "--output-dir", folder, delay=delay, signal=int(signal.SIGINT))
        if outcome.status:
            break
    is_one_line(outcome, 130, "stopped", script, *(CASES[script].resume.split() if CASES[script].resumes else []))


@pytest.mark.parametrize("script", SCRIPTS)
def test_ctrl_c_while_the_libraries_load_is_one_line(script):
    """`-X importtime` says on standard error what has just been loaded."""
    command = [sys.executable, "-X", "importtime", script, "--help"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stderr:
            if line.split("|")[-1].strip() == "torch.types":
                process.send_signal(signal.SIGINT)
                break
        rest = [line for line in process.stderr if not line.startswith("import time:") and line.strip()]
    assert process.returncode == 130 and len(rest) == 1 and script in rest[0], rest


# every expected failure


@pytest.fixture(scope="module")
def bad(tmp_path_factory, reference):
    """A folder of what the failures below are made of."""
    place = tmp_path_factory.mktemp("bad files")
    (place / "file").write_text("mine")
    (place / "text.png").write_text("no picture")
    os.mkfifo(place / "pipe")
    for name in ("empty folder", "one class/alpha", "damaged", "hostile", "listed", "nan", "letters", "other"):
        (place / name).mkdir(parents=True)
    shutil.copy(next((ROOT / "handwritten" / "greek" / "alpha").iterdir()), place / "one class" / "alpha")
    for name, how in (("damaged", "truncated"), ("hostile", "malicious in torch's format"), ("listed", "a tensor")):
        spoil(place / name / "model.pt", how)
        shutil.copy(place / name / "model.pt", place / name / "checkpoint.pt")
    packed = checkpoints.pack(models.MnistNet())
    weights = {name: weight * float("nan") for name, weight in packed["weights"].items()}
    checkpoints.save_file(place / "nan" / "model.pt", packed | {"weights": weights})
    checkpoints.save(models.MnistNet(["alpha", "beta", "gamma"]), place / "letters" / "model.pt")
    checkpoints.save(models.GreekNet(["alpha", "beta"]), place / "other" / "model.pt")
    shutil.copy(place / "other" / "model.pt", place / "other" / "checkpoint.pt")
    raw = place / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.MNIST_FILES:
        (raw / name).write_bytes(b"\0\0\x08\x03\x7f\xff\xff\xff")
    for script in CASES:
        shutil.copytree(reference(script).folder, place / script)
    return place


# flags ({} is the folder of bad files), exit status, words in the line
EVERY = [
    ("--no-such-flag", 2, "--no-such-flag"),
    ("more", 2, "more"),
    ("--seed x", 2, "--seed"),
    ("--seed -1", 2, "--seed"),
    ("--threads -1", 2, "--threads"),
    ("--device tpu", 2, "--device"),
    (f"--device {ABSENT}", 2, "--device"),
    ("--output-dir {}/file", 1, "--output-dir"),
    ("--output-dir {}/file/below", 1, "--output-dir"),
    ("--output-dir /proc/nowhere", 1, "--output-dir"),
]
TRAINS = [
    ("--epochs 0", 2, "--epochs"),
    ("--lr nan", 2, "--learning-rate"),
    ("--preset better", 2, "--preset"),
    ("--lr 1e30 --optimizer sgd", 1, "--learning-rate"),
    ("--resume --output-dir {}/{script} --epochs 4", 1, "--epochs 3"),
    ("--resume --output-dir {}/damaged", 1, "run without --resume"),
    ("--resume --output-dir {}/hostile", 1, "could run code"),
    ("--resume --output-dir {}/listed", 1, "run without --resume"),
    ("--resume --output-dir {}/other", 1, "run without --resume"),
    ("--handwritten {}/nothing", 1, "there is no"),
    ("--handwritten {}/text.png", 1, "not a readable image"),
    ("--handwritten {}/pipe", 1, "is not a file"),
    ("--handwritten {}/empty folder", 1, "no images"),
]
LETTERS = [
    ("--letters some", 2, "--letters"),
    ("--greek-train {}/nothing", 1, "is not a folder"),
    ("--greek-train {}/one class", 1, "at least two classes"),
    ("--greek-train {}/file", 1, "is not a folder"),
]
WEIGHTS = [("none", "run train_mnist.py first"), ("damaged", "damaged"), ("hostile", "could run code")]
WEIGHTS += [("listed", "run train_mnist.py again"), ("nan", "NaN")]
FAILURES = {
    "train_mnist.py": [
        *EVERY,
        *TRAINS,
        *((f"--skip-training --output-dir {{}}/{name}", 1, words) for name, words in WEIGHTS),
        ("--skip-training --output-dir {}/letters", 1, "other classes"),
        ("--skip-training --output-dir {}/other", 1, "contains GreekNet"),
        ("--dataset auto --data-dir {}/data", 1, "is damaged"),
        ("--dataset fashion", 2, "--dataset"),
    ],
    "transfer_greek.py": [
        *EVERY,
        *TRAINS,
        *LETTERS,
        *((f"--digits {{}}/{name}/model.pt", 1, words) for name, words in WEIGHTS),
        ("--digits {}/other/model.pt", 1, "contains GreekNet"),
        ("--batch-norm 1", 2, "--batch-norm"),
        ("--unfreeze 9", 2, "--unfreeze"),
    ],
    "greek_from_scratch.py": [*EVERY, *TRAINS, *LETTERS],
    "examine_network.py": [
        *EVERY,
        *((f"--weights {{}}/{name}/model.pt", 1, words) for name, words in WEIGHTS),
        ("--image {}/nothing", 1, "--image"),
        ("--image {}/text.png", 1, "--image"),
        ("--image {}/pipe", 1, "--image"),
        ("--pictures 5", 2, "--pictures"),
        ("--dataset auto --data-dir {}/data", 1, "is damaged"),
    ],
    "live_detect.py": [
        *EVERY,
        *((f"--digits {{}}/{name}/model.pt", 1, words) for name, words in WEIGHTS[1:]),
        ("--digits {}/none/model.pt", 1, "train_mnist.py"),
        ("--mode letters", 2, "--mode"),
        ("--source {}/nothing", 1, "nothing"),
        ("--source {}/text.png", 1, "text.png"),
        ("--source {}/pipe", 1, "pipe"),
        ("--source {}/empty folder", 1, "no images"),
        ("--source 99", 1, "camera 99"),
        ("--record {}/film.txt", 2, "film.txt"),
        ("--record /proc/film.mp4", 1, "choose another --record"),
        ("--no-headless", 1, "--headless"),
    ],
}  # the search's are in tests/test_fashion_grid_search.py and test_study.py


@pytest.mark.parametrize("script", FAILURES)
def test_every_expected_failure_is_one_line_and_its_status(script, run, bad, tmp_path):
    for number, (flags, status, words) in enumerate(FAILURES[script]):
        arguments = [flag.replace("{}", str(bad)).replace("{script}", script) for flag in split(flags)]
        is_one_line(run(script, "--output-dir", tmp_path / str(number), *arguments), status, words)
    assert (bad / "file").read_text() == "mine"


def split(flags: str) -> list[str]:
    """At the spaces before a flag, and after its name."""
    words = []
    for part in flags.split(" --"):
        name, *value = part.split(" ", 1)
        words += [name if name.startswith("--") or not words else f"--{name}", *value]
    return words


def test_all_scripts_are_here():
    assert CASES.keys() == set(SCRIPTS) == {*FAILURES, "fashion_grid_search.py"}


# bad files


def test_bad_files_give_a_clear_error_or_a_right_answer(tmp_path):
    """A sample of `make crash`, in a process of its own, whose memory can be seen."""
    code = """
import json, sys
from pathlib import Path
from benchmarks import results
from benchmarks.robustness import mutants
results.write = lambda name, summary, rows: print(json.dumps(summary))
mutants.main(600)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["inputs"] >= 600 and summary["memory, GB"] < 2
