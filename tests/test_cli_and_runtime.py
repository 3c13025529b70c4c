import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import ROOT

import train_mnist
from pipeline import checkpoints, cli, command, files, runtime
from pipeline.cli import option
from pipeline.errors import Failure, WrongUsage


@dataclass(frozen=True)
class Config:
    epochs: int = option(3, "passes", least=1)
    learning_rate: float = option(0.1, "100 % of it", least=0, most=5, alias="--lr")
    dataset: str = option("a", "which", choices=("a", "b"))
    preset: str = cli.run_option("slow", "recipe", choices=("slow", "fast"))
    show: bool = cli.run_option(False, "windows")
    output_dir: Path = cli.run_option(Path("outputs"), "where")
    resume: bool = cli.run_option(False, "go on")


@dataclass(frozen=True)
class Preset:
    epochs: int
    learning_rate: float = 0.5


PRESETS = {"slow": Preset(30), "fast": Preset(2)}


def parse(*argv) -> Config:
    return cli.parse(Config, PRESETS, "What it does.", list(argv))


def test_flags_override_the_preset_and_the_preset_the_defaults():
    assert parse() == Config(30, 0.5)
    assert parse("--preset", "fast") == Config(2, 0.5, preset="fast")
    assert parse("--epochs", "7", "--preset", "fast") == Config(7, 0.5, preset="fast")
    assert parse("--lr", "0.25", "--show", "--output-dir", "x y") == Config(30, 0.25, show=True, output_dir=Path("x y"))


@pytest.mark.parametrize(
    "argv",
    [
        "--epochs 0",
        "--epochs x",
        "--lr nan",
        "--lr inf",
        "--lr -1",
        "--lr 6",
        "--dataset c",
        "--preset best",
        "--epoch 3",
        "extra",
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_flag(argv, capsys):
    with pytest.raises(SystemExit) as exit:
        parse(*argv.split())
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert exit.value.code == 2 and (argv.split()[0] in last or "--learning-rate" in last)


def test_help_shows_what_the_script_does_and_every_default(capsys):
    with pytest.raises(SystemExit) as exit:
        parse("--help")
    text = capsys.readouterr().out
    assert exit.value.code == 0
    for part in ("What it does.", "--learning-rate", "--lr", "default: 0.5", "default: 30", "100 % of it"):
        assert part in text


@pytest.mark.parametrize(
    "failure, status, line",
    [
        (Failure("no weights: run a.py first"), 1, "error: no weights: run a.py first"),
        (WrongUsage("no such device"), 2, "error: no such device"),
        (OSError(28, "No space left on device", "/full/x"), 1, "error: No space left on device (/full/x)"),
    ],
)
def test_expected_failures_are_one_line_and_a_status(failure, status, line, capsys, monkeypatch):
    def main(config):
        raise failure

    monkeypatch.setattr("sys.argv", ["x.py"])
    with pytest.raises(SystemExit) as exit:
        cli.launch(main, Config, PRESETS)
    error = capsys.readouterr().err
    assert exit.value.code == status and error.startswith(line) and error.count("\n") == 1


def test_ctrl_c_names_the_line_that_goes_on(capsys, monkeypatch):
    def main(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["x.py", "--output-dir", "my runs"])
    with pytest.raises(SystemExit) as exit:
        cli.launch(main, Config, PRESETS)
    assert exit.value.code == 130
    assert " x.py --output-dir 'my runs' --resume" in capsys.readouterr().err


def test_ctrl_c_of_a_script_that_cannot_resume_names_the_line_that_begins_anew(capsys, monkeypatch):
    def main(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["x.py", "--seed", "3"])
    with pytest.raises(SystemExit) as exit:
        cli.launch(main, cli.Common, {})
    error = capsys.readouterr().err
    assert exit.value.code == 130 and error.endswith(" x.py --seed 3\n")


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), files.atomic_write(path) as file:
        file.write_text("half of wh")
        1 / 0  # noqa: B018
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    with files.atomic_write(path) as file:
        file.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after" and list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_leftovers_of_a_killed_run_are_swept(tmp_path):
    (tmp_path / ".partial-abc.pt").write_text("half")
    runtime.output_folder(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_output_folder_that_cannot_be_is_a_failure(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(Failure, match="--output-dir"):
            runtime.output_folder(path)


def test_devices():
    assert runtime.find_device("cpu") == torch.device("cpu")
    assert runtime.find_device("auto").type in ("cpu", "cuda", "mps")
    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(WrongUsage, match=absent):
        runtime.find_device(absent)


def test_json_of_a_config(tmp_path):
    files.write_json(tmp_path / "config.json", Config(output_dir=Path("outputs/ä")))
    assert json.loads((tmp_path / "config.json").read_text())["output_dir"] == "outputs/ä"


def test_a_checkpoint_fits_its_own_settings_only(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoints.save_checkpoint(path, Config(), "MNIST", {"state": torch.ones(2)})
    practical = Config(show=True, output_dir=Path("elsewhere"), preset="fast")
    assert torch.equal(checkpoints.load_checkpoint(path, practical, "MNIST")["state"], torch.ones(2))
    with pytest.raises(Failure, match=r"--learning-rate 0\.1"):
        checkpoints.load_checkpoint(path, Config(learning_rate=0.3), "MNIST")
    with pytest.raises(Failure, match="made with MNIST"):
        checkpoints.load_checkpoint(path, Config(), "synthetic digits")
    assert checkpoints.load_checkpoint(tmp_path / "none.pt", Config(), "MNIST") is None


def test_a_run_takes_denormals_for_nothing(tmp_path):
    """Or the momentum of what has died makes every step a hundred times slower."""
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    tiny = torch.full((8,), 1e-37)
    assert (tiny * 0.01).all()
    runtime.flush_denormals()
    assert not (tiny * 0.01).any()


@pytest.mark.slow
def test_a_run_keeps_the_memory_it_frees():
    """In a process of its own, where no other run has asked for it yet."""
    program = (
        "import resource, torch\nfrom pipeline import runtime\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    tensors = [torch.ones(2**22) for _ in range(4)]\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "given_back = faults() + faults()\n"
        "runtime.keep_memory()\n"
        "for _ in range(5):\n    faults()\n"
        "print(given_back, faults())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    given_back, kept = map(int, printed.split())
    if given_back < 1000:
        pytest.skip("this system gives no fresh pages, or large ones")
    assert kept < given_back / 10


def test_a_config_file_gives_the_settings_that_a_run_wrote(tmp_path):
    fields = [*dataclasses.fields(train_mnist.Config)]
    first = cli.parse(train_mnist.Config, train_mnist.PRESETS, "", ["--preset", "quick", "--lr", "0.02", "--seed", "4"])
    files.write_json(tmp_path / "config.json", first)
    again = cli.parse(train_mnist.Config, train_mnist.PRESETS, "", ["--config", str(tmp_path / "config.json")])
    assert again == first and all(type(getattr(again, f.name)) is type(getattr(first, f.name)) for f in fields)
    other = ["--config", str(tmp_path / "config.json"), "--seed", "5"]
    assert cli.parse(train_mnist.Config, train_mnist.PRESETS, "", other) == dataclasses.replace(first, seed=5)


@pytest.mark.parametrize(
    "content, words",
    [("", "not a readable config.json"), ("[1]", "not a readable config.json"), ("[" * 99999, "not a readable"),
     ('{"hidden_units": 3}', "no flags for hidden_units"), ('{"epochs": "3"}', "epochs must be int"),
     ('{"epochs": true}', "epochs must be int"), ('{"optimizer": "lbfgs"}', "one of sgd, adam, muon"),
     ('{"epochs": 0}', "--epochs must be at least 1"), ('{"learning_rate": NaN}', "--learning-rate must be"),
     ('{"output_dir": 7}', "output_dir must be Path")],
)  # fmt: skip
def test_a_config_file_of_something_else_is_refused(content, words, tmp_path, capsys):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(SystemExit) as exit:
        cli.parse(train_mnist.Config, train_mnist.PRESETS, "", ["--config", str(tmp_path / "config.json")])
    error = capsys.readouterr().err
    assert exit.value.code == 2 and words in error and error.count("\n") == 1


def test_a_preset_cannot_be_combined_with_a_config_file(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SystemExit):
        flags = ["--preset", "quick", "--config", str(tmp_path / "config.json")]
        cli.parse(train_mnist.Config, train_mnist.PRESETS, "", flags)
    assert "--preset cannot be combined with --config" in capsys.readouterr().err


def test_flags_state_what_a_result_depends_on():
    settings = cli.result_settings(train_mnist.Config())
    assert {"seed", "epochs", "dataset", "outliers"} <= settings.keys()
    assert not {"device", "threads", "data_dir", "output_dir", "show", "preset", "resume"} & settings.keys()


def test_a_command_line_is_printed_without_passwords():
    line = command(
        ["x.py", "--storage", "postgresql://me:p@ss:w/rd@host/db", "--source", "rtsp://u:secret@cam/1", "a@b"]
    )
    assert line.endswith("x.py --storage 'postgresql://me:***@host/db' --source 'rtsp://u:***@cam/1' a@b"), line
