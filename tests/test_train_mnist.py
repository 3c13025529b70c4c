"""The script as a user runs it, on 1,600 drawn digits."""

import functools
import hashlib
import json
import resource
import signal
import subprocess
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from conftest import ROOT, command, run
from test_models import spoil

import models
import train_mnist
from pipeline import checkpoints, cli, files
from pipeline.datasets import datasets

pytestmark = pytest.mark.slow

SMALL = ["--dataset", "synthetic", "--epochs", "3", "--threads", "1", "--outliers", "300"]
WRITTEN = {
    "first_digits.png", "network.png", "losses.png", "accuracies.png", "predictions.png", "confusion.png",
    "mistakes.png", "model.pt", "checkpoint.pt", "config.json", "history.csv", "losses.csv", "classes.csv",
    "metrics.json", "handwritten.csv", "handwritten.png",
}  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def here(monkeypatch, capsys):
    """The command line of the script in this process: the same way in and out, without the seconds of an import."""
    monkeypatch.setattr(datasets, "VALIDATION_SIZE", 400)
    monkeypatch.setattr(
        datasets, "synthetic_digits", functools.partial(datasets.synthetic_digits, train=1600, test=400)
    )

    def launch(*arguments: str) -> tuple[int, str]:
        """Exit status and what went to standard error."""
        monkeypatch.setattr("sys.argv", ["train_mnist.py", "--dataset", "synthetic", *arguments])
        with pytest.raises(SystemExit) as exit:
            cli.launch(train_mnist.main, train_mnist.Config, train_mnist.PRESETS)
        return exit.value.code, capsys.readouterr().err

    return launch


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nobody stopped: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("finished") / "out put ä"
    result = run("train_mnist.py", *SMALL, "--output-dir", str(folder))
    assert result.returncode == 0, result.stderr
    return folder, result


def test_writes_everything_the_docstring_promises(finished):
    folder, result = finished
    assert {path.name for path in folder.iterdir()} == WRITTEN
    assert all(name in train_mnist.__doc__ for name in WRITTEN)
    for picture in folder.glob("*.png"):
        assert plt.imread(picture).std() > 0.01, picture.name
    assert result.stderr == "", "no progress bar where the output is no terminal"


def test_says_synthetic_wherever_it_speaks_of_data(finished):
    _, result = finished
    lines = [line for line in result.stdout.splitlines() if "images" in line or "epoch" in line or "%" in line]
    assert len(lines) >= 6 and all("synthetic" in line for line in lines if "percent" not in line)


def test_metrics_history_and_config(finished):
    folder, result = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    config = json.loads((folder / "config.json").read_text())
    # 1,200 digits, 300 outliers and 210 drawn digits
    assert history.epoch.tolist() == [1, 2, 3] and history.examples.tolist() == [1710, 3420, 5130]
    best = history.loc[history.valid_smoothed_loss.idxmin()]
    assert metrics["test_accuracy"] == best.test_accuracy and metrics["valid_accuracy"] == best.valid_accuracy
    assert metrics["parameters"] == 21_840 and metrics["epochs"] == 3 and metrics["dataset"] == "synthetic digits"
    assert metrics["torch"] == torch.__version__ and metrics["train_seconds"] > 0
    assert config["epochs"] == 3 and config["preset"] == "best" and config["batch_norm"] == 2
    assert f"{metrics['test_accuracy']:.2f} %" in result.stdout.splitlines()[-1]


def test_the_first_nine_are_printed_as_the_saved_network_sees_them(finished):
    folder, result = finished
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("The first nine")) + 1
    rows = [line.split() for line in lines[start : start + 9]]
    assert all(len(row) == 12 for row in rows)
    for *values, answer, label in rows:
        values = [float(value) for value in values]
        assert values[int(answer)] == max(values) and 0 <= int(label) <= 9  # two may round to the same
        assert sum(10 ** (value * 0.4342945) for value in values) == pytest.approx(1, abs=0.06), "log-probabilities"
    assert checkpoints.load(folder / "model.pt", models.MnistNet, "train_mnist.py").class_names == list("0123456789")


def test_skip_training_predicts_alike_and_keeps_the_weights(finished):
    folder, first = finished
    before = digests(folder)
    again = run("train_mnist.py", "--dataset", "synthetic", "--skip-training", "--output-dir", str(folder))
    assert again.returncode == 0
    assert first.stdout.split("The first nine")[1] == again.stdout.split("The first nine")[1]
    after = digests(folder)
    assert all(before[name] == after[name] for name in ("model.pt", "metrics.json", "history.csv", "checkpoint.pt"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_and_ends_with_the_same_weights(finished, tmp_path, how):
    with subprocess.Popen(
        command("train_mnist.py", *SMALL, "--output-dir", str(tmp_path)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 100
        while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(how)
        _, error = process.communicate()
    if how == signal.SIGINT:
        assert process.returncode == 130 and "--resume" in error and "Traceback" not in error
    assert not (tmp_path / "model.pt").exists(), "stopped before the end"
    resumed = run("train_mnist.py", *SMALL, "--output-dir", str(tmp_path), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1/3" not in resumed.stdout and "epoch 3/3" in resumed.stdout
    assert digests(tmp_path)["model.pt"] == digests(finished[0])["model.pt"]


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (["--epochs", "0"], 2, "--epochs"),
        (["--device", "tpu"], 2, "--device"),
        (["--device", "mps" if not torch.backends.mps.is_available() else "cuda"], 2, "--device"),
        (["--dataset", "mnist", "--data-dir", "{folder}/empty"], 1, "train-images-idx3-ubyte"),
        (["--skip-training", "--output-dir", "{folder}/new"], 1, "run train_mnist.py first"),
        (["--resume", "--epochs", "4", "--output-dir", "{finished}"], 1, "--epochs 3"),
        (["--output-dir", "{folder}/file"], 1, "--output-dir"),
        (["--output-dir", "{folder}/new", "--lr", "1e30", "--optimizer", "sgd"], 1, "--learning-rate"),
        (["--output-dir", "{folder}/new", "--preset", "quick", "--lr", "1e20"], 1, "--learning-rate"),
        (["--output-dir", "/proc/nowhere"], 1, "--output-dir"),
    ],
)
def test_what_can_go_wrong_is_one_line_and_a_status(arguments, status, words, finished, tmp_path, here):
    (tmp_path / "file").write_text("mine")
    before = digests(finished[0])
    code, error = here(*[argument.format(folder=tmp_path, finished=finished[0]) for argument in arguments])
    assert code == status and words in error.splitlines()[-1]
    assert status == 2 or error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine" and digests(finished[0])["model.pt"] == before["model.pt"]


@pytest.mark.parametrize("how", ["truncated", "malicious in torch's format", "another network"])
@pytest.mark.parametrize("name, flag", [("model.pt", "--skip-training"), ("checkpoint.pt", "--resume")])
def test_bad_weights_and_checkpoints(how, name, flag, tmp_path, monkeypatch, here):
    monkeypatch.chdir(tmp_path)
    spoil(tmp_path / name, how)
    before = digests(tmp_path)[name]
    code, error = here("--epochs", "3", flag, "--output-dir", str(tmp_path))
    assert code == 1 and error.count("\n") == 1 and name in error
    assert digests(tmp_path)[name] == before and not (tmp_path / "pwned").exists()


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path):
    """No file may grow over 60 kB here, so that the checkpoint cannot be written."""
    (tmp_path / "model.pt").write_text("before")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    result = run("train_mnist.py", *SMALL, "--output-dir", str(tmp_path), preexec_fn=limit)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    assert (tmp_path / "model.pt").read_text() == "before"
    assert not list(tmp_path.glob(files.PARTIAL_PREFIX + "*")) and not (tmp_path / "checkpoint.pt").exists()


def test_the_presets_are_what_the_report_and_readme_say():
    classic = train_mnist.PRESETS["classic"]
    assert (classic.epochs, classic.batch_size, classic.learning_rate, classic.momentum, classic.dropout) == (
        10, 64, 0.01, 0.9, 0.2,
    )  # fmt: skip
    assert (classic.optimizer, classic.schedule, classic.augment, classic.batch_norm) == ("sgd", "constant", 0, 0)
