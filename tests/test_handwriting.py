import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import run
from matplotlib import pyplot as plt

import models
from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import Conditions
from pipeline.datasets import augmentation
from pipeline.datasets.datasets import Split
from pipeline.datasets.handwriting_folder import Sample, read_folder
from pipeline.evaluation import classification_report, handwriting


class Sayer(models.MnistNet):
    """Predict the given classes, by the number of images."""

    def __init__(self, answers: list[int], confidences: list[float]):
        super().__init__()
        self.printed = torch.full((len(answers), 10), 0.0)
        for row, answer, confidence in zip(self.printed, answers, confidences, strict=True):
            row[:] = (1 - confidence) / 9
            row[answer] = confidence
        self.next = 0

    def forward(self, x):
        first = self.next % len(self.printed)  # pictures come some at a time, all of them at each look
        self.next += len(x)
        return self.printed[first : first + len(x)].log()


@pytest.fixture
def folder(tmp_path):
    for name in ("3/anna_1", "3/ben_1", "5/anna_1", "unknown"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        cv2.imwrite(str(path), photograph([["3"]], 1, Conditions(size=(100, 80)))[0])
    (tmp_path / "photos" / "bad.png").write_text("no picture")
    return tmp_path


def test_a_turned_picture_is_turned_clockwise_and_whole(split):
    images = split.images[:20]
    assert torch.allclose(augmentation.rotate(images, 0), images, atol=1e-5)
    quarter = augmentation.rotate(images, 90)
    assert torch.allclose(quarter, images.rot90(-1, (2, 3)), atol=1e-4)
    assert torch.allclose(
        augmentation.rotate(augmentation.rotate(images, 6), -6).mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.02
    )


def test_table_picture_and_prints(folder, capsys):
    samples, faults = read_folder(folder / "photos", models.DIGITS)
    samples = [dataclasses.replace(sample, others=[]) for sample in samples]
    table = handwriting.evaluate_handwriting(Sayer([3, 3, 3, 8], [0.99, 0.6, 0.95, 0.901]), samples, faults, folder)
    written = pd.read_csv(folder / "handwritten.csv", dtype=str)
    assert list(written) == ["file", "label", "prediction", "confidence", "answer", "x", "y", "width", "height"]
    assert list(written.answer) == ["3", "unclear", "3", "8"] == list(table.answer)
    assert list(written.prediction) == ["3", "3", "3", "8"]
    assert written.label.tolist()[:3] == ["3", "3", "5"] and written.label.isna()[3]
    assert written.x.isna().all() and written.file[0].endswith("photos/3/anna_1.png")
    out = capsys.readouterr().out
    assert "bad.png" in out and "1 file skipped" in out and "4 characters, 1 of them unclear" in out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line[:4] in ("all ", "anna", "ben ")}
    assert lines["all"] == ["3", "66.7", "66.7", "50.0"]  # characters, correct, classified, correct when classified
    assert lines["anna"] == ["2", "50.0", "100.0", "50.0"] and lines["ben"] == ["1", "100.0", "0.0", "-"]
    assert plt.imread(folder / "handwritten.png").std() > 0.01


def test_an_alternative_input_is_used_only_if_the_first_is_unclear(monkeypatch):
    """Of three samples the first is sure, the others are not; of the second the other reading is no surer."""
    image = np.full((28, 28), 9, np.uint8)
    samples = [Sample(Path("a.png"), None, None, image, image, [image + 1]) for _ in range(3)]
    confidences = iter([[0.85, 0.5, 0.5], [0.45, 0.7]])  # three plain readings, then the two others that are looked at
    monkeypatch.setattr(handwriting, "classify", lambda _, images: pd.DataFrame({"confidence": next(confidences)}))
    chosen = handwriting.choose_readings(None, samples)
    assert next(confidences, None) is None
    assert [int(sample.picture[0, 0]) for sample in chosen] == [9, 9, 10]


def test_a_sheet_has_a_row_for_each_character_with_its_box(tmp_path):
    picture, boxes = photograph(["315"], 2, Conditions(size=(600, 300), fill=0.8))
    cv2.imwrite(str(tmp_path / "page.png"), picture)
    samples, _ = read_folder(tmp_path / "page.png", models.DIGITS)
    table = handwriting.evaluate_handwriting(Sayer([3, 1, 5], [0.99] * 3), samples, [], tmp_path)
    assert len(table) == 3 and table.label.isna().all()
    for row, box in zip(table[["x", "y", "width", "height"]].to_numpy(float), boxes, strict=True):
        assert np.abs(row - box).max() <= 4


@pytest.mark.slow
def test_more_samples_than_fit_on_a_figure(folder):
    samples, _ = read_folder(folder / "photos" / "3", models.DIGITS)
    table = handwriting.evaluate_handwriting(Sayer([3] * 500, [0.99] * 500), samples * 250, [], folder)
    assert len(table) == 500


@pytest.mark.slow
def test_the_script_classifies_the_given_images(folder):
    small = ["--dataset", "synthetic", "--epochs", "1", "--threads", "1", "--outliers", "100"]
    output = folder / "out"
    result = run("train_mnist.py", *small, "--handwritten", str(folder / "photos"), "--output-dir", str(output))
    assert result.returncode == 0, result.stderr
    assert len(pd.read_csv(output / "handwritten.csv")) == 4 and "bad.png" in result.stdout
    assert json.loads((output / "config.json").read_text())["handwritten"] == str(folder / "photos")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nothing here", "photos/bad.png", "empty"])
def test_nothing_to_read_is_reported_before_training(name, folder):
    (folder / "empty").mkdir()
    arguments = ["--dataset", "synthetic", "--handwritten", str(folder / name), "--output-dir", str(folder / "out")]
    result = run("train_mnist.py", *arguments)
    assert result.returncode == 1 and "epoch" not in result.stdout
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ") and name in result.stderr


def test_the_report_counts_the_mistakes(tmp_path, split, capsys):
    few = Split(split.images[:50], split.labels[:50])
    outputs = torch.full((50, 10), -9.0)
    outputs[range(50), few.labels] = 0.0
    outputs[0] = outputs[0].roll(1)  # one mistake
    accuracy = classification_report.write(outputs, few, models.DIGITS, "test pictures", tmp_path)
    assert accuracy == 98 and {path.name for path in tmp_path.iterdir()} == {
        "predictions.png", "confusion.png", "mistakes.png", "classes.csv"
    }  # fmt: skip
    assert "recall" in capsys.readouterr().out
