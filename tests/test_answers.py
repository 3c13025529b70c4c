"""`--read` prints the answers for pictures and nothing else, with the pretrained weights in a fresh clone."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import greek_from_scratch
import transfer_greek
from benchmarks import pretrained, results
from pipeline import checkpoints
from pipeline.errors import Failure

ROOT = Path(__file__).parent.parent
SEVEN, ALPHA = (sorted((ROOT / "handwritten" / name).iterdir())[0] for name in ("digits/7", "greek/alpha"))


def read(folder: Path, *arguments: object, **options):
    """Run train_mnist.py in a folder without outputs/, as in a fresh clone."""
    command = [sys.executable, ROOT / "train_mnist.py", "--read", *arguments]
    options = {"capture_output": True, "cwd": folder, "timeout": 120} | options
    return subprocess.run([str(word) for word in command], **options)


def test_an_answer_a_line_and_nothing_else(tmp_path):
    shutil.copy(SEVEN, tmp_path / "my_seven.jpg")
    Image.fromarray(np.full((200, 200), 255, np.uint8)).save(tmp_path / "blank.png")
    before = sorted(tmp_path.iterdir())
    result = read(tmp_path, "my_seven.jpg", "blank.png")
    seven, blank = result.stdout.decode().splitlines()
    assert seven.startswith("my_seven.jpg  7  9") and seven.endswith(" %")
    assert blank == "blank.png  unclear  (no character found)"
    assert result.returncode == 0 and sorted(tmp_path.iterdir()) == before, "no data set, no figure, no folder"
    assert result.stderr.decode().count("\n") == 1 and "digits.pt (pretrained; train_mnist.py" in result.stderr.decode()


def test_json_from_standard_input(tmp_path):
    result = read(tmp_path, "-", "--json", input=SEVEN.read_bytes())
    answer = json.loads(result.stdout)
    assert (answer["file"], answer["answer"], answer["box"]) == ("standard input", "7", None)
    assert 0.8 < answer["confidence"] <= 1


def test_a_page_has_a_bounding_box_per_character_and_can_be_saved(tmp_path):
    result = read(tmp_path, ROOT / "handwritten" / "sheet.jpg", "--json", "--save", "saved")
    boxes = [json.loads(line)["box"] for line in result.stdout.splitlines()]
    assert len(boxes) > 10 and all(len(box) == 4 for box in boxes)
    table = (tmp_path / "saved" / "handwritten.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == len(boxes) + 1 and (tmp_path / "saved" / "handwritten.png").stat().st_size > 10_000


@pytest.mark.parametrize("script", [transfer_greek, greek_from_scratch])
@pytest.mark.parametrize("letters", ["three", "all"])
def test_letters(script, letters, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script.main(script.Config(read=(ALPHA,), letters=letters))
    output = capsys.readouterr()
    assert "  alpha  " in output.out and output.out.count("\n") == 1 and f"_{letters}.pt (pretrained" in output.err


def test_what_cannot_be_read_does_not_stop_the_others(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    result = read(tmp_path, "gone.png", "notes.txt", SEVEN)
    assert result.returncode == 1 and result.stdout.decode().count("\n") == 1
    *_, error = result.stderr.decode().splitlines()
    assert error.startswith("error: no answer for gone.png, notes.txt")


def test_json_without_read_is_wrong_usage(tmp_path):
    command = [sys.executable, str(ROOT / "train_mnist.py"), "--json"]
    result = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=120)
    assert result.returncode == 2 and result.stderr.decode() == "error: --json needs --read with pictures\n"


def test_torchvision_is_not_imported():
    code = "import sys, train_mnist; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


@pytest.mark.parametrize("how", ["missing", "changed", "no sums"])
def test_a_pretrained_file_that_is_not_the_published_one(how, tmp_path, monkeypatch):
    shutil.copytree(checkpoints.PRETRAINED, tmp_path / "pretrained")
    monkeypatch.setattr(checkpoints, "PRETRAINED", tmp_path / "pretrained")
    file = tmp_path / "pretrained" / ("SHA256SUMS" if how == "no sums" else "digits.pt")
    file.write_bytes(file.read_bytes() + b"x") if how == "changed" else file.unlink()
    with pytest.raises(Failure, match="is missing or is not the published file"):
        checkpoints.load_or_pretrained(Path("gone"), Path("gone"), "digits.pt", None, "train_mnist.py")


@pytest.mark.parametrize("file", [file for file in pretrained.NETWORKS if file != "fashion.pt"])
def test_the_cards_are_true_of_the_drawn_characters(file):
    """A change of the reading that changes these figures makes the cards untrue: run benchmarks.pretrained again."""
    rows = json.loads((results.FOLDER / "pretrained.json").read_text())["runs"]
    measured = pretrained.measure_drawn(checkpoints.load(checkpoints.PRETRAINED / file, None, "benchmarks.pretrained"))
    (row,) = [row for row in rows if row["file"] == file and row["set"] == measured["set"]]
    assert {name: row[name] for name in ("images", "correct", "classified")} == {
        name: measured[name] for name in ("images", "correct", "classified")
    }


def test_the_pretrained_files_are_those_of_the_cards():
    files = sorted(path.name for path in checkpoints.PRETRAINED.glob("*.pt"))
    assert files == sorted(pretrained.NETWORKS)
    assert sum(path.stat().st_size for path in checkpoints.PRETRAINED.iterdir()) < 1e6
    for file in files:
        card = (ROOT / "docs" / "model_cards" / f"{Path(file).stem}.md").read_text(encoding="utf-8")
        assert card == pretrained.card(file)
        assert hashlib.sha256((checkpoints.PRETRAINED / file).read_bytes()).hexdigest() in card
