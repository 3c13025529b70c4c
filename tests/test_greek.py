"""Both Greek scripts as a user runs them, on few letters, and what they promise."""

import json
import shutil
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

import greek_from_scratch
import models
import transfer_greek
from benchmarks.results import interval
from benchmarks.simulation import photographs
from pipeline import checkpoints, cli, plots
from pipeline.datasets import datasets, degradation, letters, outliers, synthetic
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.datasets.stroke_templates import GREEK, TEMPLATES
from pipeline.errors import Failure
from pipeline.evaluation import classification_report, handwriting_figure
from pipeline.evaluation.metrics import evaluate, predict
from pipeline.training import loop

SCRIPTS = {"transfer_greek.py": transfer_greek, "greek_from_scratch.py": greek_from_scratch}
FEW = ["--drawn", "12", "--copies", "2", "--epochs", "2", "--threads", "1", "--quiet"]
WHITE = np.full((50, 50), 255, np.uint8)
WRITTEN = {
    "training.png", "network.png", "losses.png", "accuracies.png", "predictions.png", "confusion.png", "mistakes.png",
    "classes.csv", "handwritten.png", "handwritten.csv", "model.pt", "checkpoint.pt", "config.json", "history.csv",
    "losses.csv", "metrics.json",
}  # fmt: skip


def write_photographs(folder: Path, names: list[str], count: int) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            picture, _ = photographs.photograph([[name]], 100 * n + len(name), photographs.Conditions((160, 160)))
            cv2.imwrite(str(folder / name / f"writer_{n}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """Four photographs of each of three letters."""
    return write_photographs(tmp_path_factory.mktemp("letters"), letters.FIRST_THREE, 4)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """Weights of the digit network's shape that know nothing."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("digits") / "model.pt"
    checkpoints.save(models.MnistNet(), path)
    return path


@pytest.fixture
def here(monkeypatch, capsys, real, digits):
    """The command line of a script in this process: exit status, what it printed, and its standard error."""

    def launch(script: str, *arguments: str, drawing: bool = False) -> tuple[int, str, str]:
        if not drawing:  # it takes most of the time
            for name in ("image_grid", "network_diagram", "confusion", "losses", "accuracies", "save"):
                monkeypatch.setattr(plots, name, lambda *_: None)
            monkeypatch.setattr(handwriting_figure, "handwriting", lambda *_: None)
        module = SCRIPTS[script]
        digit_weights = ["--digits", str(digits)] if script == "transfer_greek.py" else []
        usual = [*digit_weights, "--handwritten", str(real), *FEW]
        monkeypatch.setattr("sys.argv", [script, *usual, *arguments])
        code = 0
        try:
            cli.launch(module.main, module.Config, module.PRESETS)
        except SystemExit as exit:
            code = exit.code
        return code, *capsys.readouterr()

    return launch


@pytest.mark.parametrize("script", SCRIPTS)
def test_writes_everything_the_docstring_promises(script, here, real, tmp_path):
    code, out, error = here(script, "--greek-train", str(real), "--output-dir", str(tmp_path), drawing=True)
    assert code == 0 and error == ""
    written = WRITTEN | ({"augmentation.png", "comparison.csv"} if script == "greek_from_scratch.py" else set())
    assert {path.name for path in tmp_path.iterdir()} == written
    assert all(name in SCRIPTS[script].__doc__ for name in written)
    assert all(plt.imread(picture).std() > 0.01 for picture in tmp_path.glob("*.png"))
    answers = pd.read_csv(tmp_path / "handwritten.csv")
    assert answers.columns.tolist()[:5] == ["file", "label", "prediction", "confidence", "answer"]
    assert len(answers) == 12 and set(answers.label) == set(letters.FIRST_THREE)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["classes"] == letters.FIRST_THREE and metrics["dataset"] == "12 given letters and synthetic letters"
    assert {"test_accuracy", "test_loss", "valid_accuracy", "parameters", "train_seconds", "seed"} <= set(metrics)
    lines = [line for line in out.splitlines() if "epoch" in line]
    assert len(lines) == 2 and all("synthetic" in line for line in lines)


@pytest.mark.slow
def test_the_network_from_scratch_is_compared_with_the_transferred_one(here, real, tmp_path):
    transferred = tmp_path / "transfer" / "model.pt"
    flags = ["--output-dir", str(tmp_path / "scratch"), "--transferred", str(transferred)]
    code, out, _ = here("greek_from_scratch.py", *flags)
    assert code == 0 and f"no network to compare with at {transferred}: run transfer_greek.py first" in out
    assert here("transfer_greek.py", "--output-dir", str(transferred.parent))[0] == 0
    code, out, _ = here("greek_from_scratch.py", "--skip-training", *flags)
    table = pd.read_csv(tmp_path / "scratch" / "comparison.csv", index_col="network")
    assert code == 0 and table.parameters.to_dict() == {"from scratch": 27_363, "transfer": 21_483}
    assert (table.letters == 12).all()
    metrics = json.loads((transferred.parent / "metrics.json").read_text())
    assert table.test_acc["transfer"] == pytest.approx(metrics["test_accuracy"])
    code, out, _ = here("greek_from_scratch.py", "--letters", "all", *flags)
    assert code == 0 and "has other classes" in out


def test_predictions_show_every_class_and_mistakes_first():
    labels = torch.arange(24).repeat_interleave(10)
    answers = labels.clone()
    answers[[205, 31]] = 0
    shown = classification_report.mistakes_first(answers, labels, 72)
    assert len(set(shown)) == 72 and set(labels[shown].tolist()) == set(range(24))
    assert shown[:2] == [31, 205] and labels[shown[2:]].tolist() == sorted(labels[shown[2:]].tolist())
    assert classification_report.mistakes_first(answers[:5], labels[:5], 72) == [0, 1, 2, 3, 4]


def test_the_report_s_network_and_its_pictures_on_the_way():
    model = models.GreekNet(letters.FIRST_THREE)
    counts = {name: p.numel() for name, p in model.named_parameters() if name.endswith("weight")}
    assert counts == {
        "conv1.weight": 90, "conv2.weight": 1800, "conv3.weight": 7200, "fc1.weight": 18000, "fc2.weight": 150,
    }  # fmt: skip
    assert models.parameter_count(model) == 27_363
    torch.testing.assert_close(model(torch.randn(5, 1, 28, 28)).exp().sum(1), torch.ones(5))


@pytest.mark.parametrize("unfreeze, learned", [(0, {"fc2"}), (1, {"fc1", "fc2"}), (2, {"conv2", "fc1", "fc2"})])
def test_what_is_frozen_stays_as_it_was_to_the_bit(unfreeze, learned, here, digits, tmp_path):
    arguments = ["--unfreeze", str(unfreeze), "--output-dir", str(tmp_path)]
    code, out, _ = here("transfer_greek.py", *arguments)
    assert code == 0
    before = checkpoints.load(digits, models.MnistNet, "train_mnist.py").state_dict()
    after = checkpoints.load(tmp_path / "model.pt", models.MnistNet, "transfer_greek.py").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}  # so is what has another shape
    assert {name.split(".")[0] for name in changed} == learned
    printed = {line.split(".")[0] for line in out.splitlines() if line.endswith("parameters  trained")}
    assert printed == learned


def test_a_new_head_keeps_the_body_and_says_its_classes():
    digits = models.MnistNet(dropout=0.2)
    new = models.replace_head(digits, ["heart", "star"])
    assert new.class_names == ["heart", "star"] and new.fc2.out_features == 2
    assert digits.fc2.out_features == 10, "the old one is left alone"
    assert torch.equal(new.fc1.weight, digits.fc1.weight)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_new_class_is_one_folder(script, here, real, tmp_path):
    """A sign that nobody programmed, beside two letters: learned, saved, read again."""
    shutil.copytree(real, tmp_path / "train")
    (tmp_path / "train" / "house").mkdir()
    for n in range(3):
        picture = np.full((120, 120, 3), 255, np.uint8)
        roof = np.array([[20 + n, 60], [60, 20 + 3 * n], [100 - n, 60], [100 - n, 105], [20 + n, 105]], np.int32)
        cv2.polylines(picture, [roof], True, (0, 0, 0), 4)
        cv2.imwrite(str(tmp_path / "train" / "house" / f"{n}.png"), picture)
    folders = ["--greek-train", str(tmp_path / "train"), "--handwritten", str(tmp_path / "train")]
    free = ["--unfreeze", "3"] if script == "transfer_greek.py" else []  # the digit weights of this test know nothing
    lesson = ["--drawn", "150", "--epochs", "4", "--wear", "0", "--output-dir", str(tmp_path / "out")]
    code, _, error = here(script, *folders, *free, *lesson)
    assert code == 0, error
    network = {"transfer_greek.py": models.MnistNet, "greek_from_scratch.py": models.GreekNet}[script]
    model = checkpoints.load(tmp_path / "out" / "model.pt", network, script)
    assert model.class_names == ["alpha", "beta", "gamma", "house"]
    answers = pd.read_csv(tmp_path / "out" / "handwritten.csv")
    assert (answers[answers.label == "house"].prediction == "house").all()


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_all_letters_need_no_real_ones(script, here, tmp_path):
    code, out, _ = here(script, "--letters", "all", "--epochs", "1", "--output-dir", str(tmp_path))
    assert code == 0 and "synthetic letters: training on 288 " in out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics["classes"]) == 24 and metrics["dataset"] == "synthetic letters"
    assert len(torch.load(tmp_path / "model.pt", weights_only=True)["settings"]["class_names"]) == 24


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda folder: (folder / "delta").mkdir(), "delta contains no images"),
        (lambda folder: [shutil.rmtree(folder / name) for name in ("alpha", "beta")], "at least two classes"),
        (lambda folder: shutil.rmtree(folder), "is not a folder"),
        (lambda folder: [file.write_text("no picture") for file in (folder / "beta").iterdir()], "beta can be read"),
        (lambda folder: [cv2.imwrite(str(f), WHITE) for f in (folder / "beta").iterdir()], "shows any ink"),
    ],
)
def test_bad_folders_are_one_line(spoil, words, here, real, tmp_path):
    train = Path(shutil.copytree(real, tmp_path / "train"))
    spoil(train)
    code, _, error = here("greek_from_scratch.py", "--greek-train", str(train), "--output-dir", str(tmp_path / "out"))
    assert code == 1 and words in error and error.count("\n") == 1
    assert not (tmp_path / "out" / "model.pt").exists()


def test_one_bad_image_among_good_ones_is_reported_and_skipped(here, real, tmp_path):
    train = Path(shutil.copytree(real, tmp_path / "train"))
    (train / "beta" / "writer_0.png").write_text("no picture")
    code, out, _ = here("greek_from_scratch.py", "--greek-train", str(train), "--output-dir", str(tmp_path / "out"))
    assert code == 0 and "skipped:" in out and "writer_0.png" in out and "11 given letters" in out


def test_no_digit_weights_yet_name_the_command(here, tmp_path):
    missing = ["--digits", str(tmp_path / "model.pt"), "--output-dir", str(tmp_path / "out")]
    code, _, error = here("transfer_greek.py", *missing)
    assert code == 1 and "run train_mnist.py first" in error and error.count("\n") == 1


def test_letters_that_are_no_class_should_be_declined_and_are_counted(here, real, tmp_path):
    test = write_photographs(Path(shutil.copytree(real, tmp_path / "test")), ["omega"], 2)
    (test / "alpha" / "blank.png").write_bytes(cv2.imencode(".png", WHITE)[1].tobytes())
    code, out, _ = here("greek_from_scratch.py", "--handwritten", str(test), "--output-dir", str(tmp_path / "out"))
    assert code == 0 and "letters of other classes (omega)" in out
    answers = pd.read_csv(tmp_path / "out" / "handwritten.csv")
    others = answers[answers.file.str.contains("omega")]
    assert others.label.tolist() == ["omega", "omega"] and len(answers) == 15
    assert f"of 2 whose label is no class of the network, {(others.answer != 'unclear').sum()} were classified" in out
    assert "of 13 with a known label" in out and f"test: letters of {test}, 12" in out
    blank = answers[answers.file.str.contains("blank")].iloc[0]
    assert (blank.confidence, blank.answer) == (0, "unclear")


def test_signs_that_nothing_draws_are_tested_on_pictures_of_them_only(here, real, tmp_path):
    signs = tmp_path / "signs"
    for name, letter in (("7", "xi"), ("house", "psi")):
        shutil.copytree(write_photographs(tmp_path / "drawn", [letter], 3) / letter, signs / name)
    out_folder = ["--output-dir", str(tmp_path / "out")]
    code, out, _ = here("greek_from_scratch.py", "--greek-train", str(signs), "--handwritten", str(signs), *out_folder)
    assert code == 0 and f"test: letters of {signs}, 6" in out, "a digit may be a class"
    shutil.rmtree(signs / "7")
    shutil.copytree(signs / "house", signs / "heart")
    code, out, _ = here("greek_from_scratch.py", "--greek-train", str(signs), *out_folder)
    assert code == 0 and "testing on degraded copies of the training letters" in out
    assert "synthetic" not in out and json.loads((tmp_path / "out" / "metrics.json").read_text())["dataset"] == (
        "6 given letters"
    )
    again = ["greek_from_scratch.py", "--skip-training", *out_folder]
    code, out, _ = here(*again, "--handwritten", str(signs))
    assert code == 0 and f"test: letters of {signs}, 6" in out
    code, out, error = here(*again, "--handwritten", str(tmp_path / "drawn"))
    assert code == 0 and not error and "has no letter of a class" in out and "correct, by three views" not in out


@pytest.mark.parametrize("script", SCRIPTS)
def test_skip_training_tests_the_saved_network(script, here, real, tmp_path):
    arguments = ["--greek-train", str(real), "--output-dir", str(tmp_path / "out")]
    code, _, error = here(script, *arguments, "--skip-training")
    assert code == 1 and "no weights" in error and error.count("\n") == 1
    assert here(script, *arguments)[0] == 0
    weights = (tmp_path / "out" / "model.pt").read_bytes()
    first = (tmp_path / "out" / "handwritten.csv").read_text()
    code, out, _ = here(script, "--output-dir", str(tmp_path / "out"), "--skip-training")
    assert code == 0 and "epoch" not in out and (tmp_path / "out" / "handwritten.csv").read_text() == first
    assert (tmp_path / "out" / "model.pt").read_bytes() == weights


def test_an_empty_path_is_wrong_usage(here, tmp_path):
    code, _, error = here("greek_from_scratch.py", "--handwritten", "", "--output-dir", str(tmp_path))
    assert code == 2 and "--handwritten: is empty" in error


def test_without_any_handwriting_drawn_letters_test(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = here("greek_from_scratch.py", "--handwritten", "handwritten/greek", "--output-dir", "out")
    assert code == 0 and "test: synthetic letters, 300" in out
    assert not (tmp_path / "out" / "handwritten.csv").exists()
    code, _, error = here("greek_from_scratch.py", "--handwritten", "elsewhere", "--output-dir", "out")
    assert code == 1 and "elsewhere" in error and error.count("\n") == 1


def test_the_order_in_which_letters_are_looked_for(real, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert letters.find_source(None, tmp_path, every=False).labels == []
    shutil.copytree(real, tmp_path / "data" / "greek_train")
    assert len(letters.find_source(None, tmp_path / "elsewhere", every=False).labels) == 12
    write_photographs(tmp_path / "mine", ["psi", "alpha"], 1)
    assert letters.find_source(tmp_path / "mine", tmp_path, every=False).names == ["alpha", "psi"], (
        "in the alphabet's order"
    )
    assert letters.find_source(None, tmp_path, every=True).labels == [], "all 24 are drawn unless a folder is named"


def test_real_and_drawn_letters_are_joined(real):
    source = letters.find_source(real, Path(), every=False)
    train, valid = letters.training_mixture(source, letters.Mixture(drawn=20, copies=3, wear=0.5), 0, True)
    assert [(train.labels == n).sum().item() for n in range(3)] == [20 + 4 * 3] * 3
    assert abs((train.labels == -1).sum().item() - 0.3 * 96) < 3
    assert (valid.labels >= 0).all() and len(valid) == 3 * letters.VALIDATION_LETTERS_PER_CLASS
    again, _ = letters.training_mixture(source, letters.Mixture(drawn=20, copies=3, wear=0.5), 0, True)
    assert torch.equal(train.images, again.images), "the seed decides every letter"
    plain, _ = letters.training_mixture(source, letters.Mixture(drawn=0, copies=1, wear=0.0), 0, False)
    assert len(plain) == 12, "classic: the letters as they are"
    every = letters.find_source(None, Path("nowhere"), every=True)
    none, _ = letters.training_mixture(every, letters.Mixture(drawn=0, copies=1, wear=0.0), 0, False)
    assert len(none) == 24 * letters.CLASSIC_LETTERS_PER_CLASS


def test_the_presets_are_what_the_report_says():
    classic = transfer_greek.PRESETS["classic"]
    assert (classic.epochs, classic.batch_size, classic.learning_rate, classic.momentum) == (50, 16, 0.001, 0.7)
    scratch = greek_from_scratch.PRESETS["classic"]
    assert (scratch.epochs, scratch.learning_rate, scratch.momentum) == (50, 0.01, 0.9)
    for recipe in (classic, scratch):
        assert (recipe.optimizer, recipe.augment, recipe.drawn, recipe.decline, recipe.wear) == ("sgd", 0, 0, 0, 0)


def test_the_interval_is_clopper_s_and_pearson_s():
    """Figures of the usual tables: 27 of 27 proves no more than 89.5 %."""
    assert interval(27, 27) == pytest.approx((89.50, 100), abs=0.01)
    assert interval(25, 27) == pytest.approx((75.71, 99.09), abs=0.01)
    assert interval(5, 10) == pytest.approx((18.71, 81.29), abs=0.01)
    assert interval(0, 10) == pytest.approx((0, 25.89), abs=0.01)


@pytest.mark.slow
def test_a_few_drawn_letters_teach_to_read_the_samples():
    """The samples in handwritten/ are drawn as well, photographed in bad light; real ones are in README."""
    source = letters.find_source(None, Path("nowhere"), every=False)
    train, _ = letters.training_mixture(source, letters.Mixture(drawn=500, copies=1, wear=0.3), 0, True)
    torch.manual_seed(0)
    *_, last = loop.fit(models.GreekNet(source.names), train, greek_from_scratch.PRESETS["best"], seed=0, quiet=True)
    samples, _ = read_folder(Path(__file__).parent.parent / "handwritten" / "greek", source.names)
    known = [sample for sample in samples if sample.label]
    test = letters.as_split([s.picture for s in known], [s.label for s in known], source.names)
    assert evaluate(last.model, test)[1] > 85
    others = synthetic.draw_characters(["5", "psi", "F", "W"] * 50, 1)
    taken = predict(last.model, datasets.normalize(others)).amax(1).exp() > 0.9
    assert taken.float().mean() < 0.35, "what is no such letter is unclear"


@pytest.mark.parametrize("names", [letters.FIRST_THREE, list(GREEK), ["house", "alpha"], ["house", "heart"]])
def test_outliers_for_any_classes(names):
    pictures = synthetic.draw_characters(["psi"] * 40, 0)
    labels = np.array(names)[np.arange(40) % len(names)]
    first, second = (outliers.outliers(pictures, labels, 60, seed=1) for _ in range(2))
    assert first.shape[1:] == (28, 28) and abs(len(first) - 60) <= 3 and np.array_equal(first, second)
    for table in (outliers.SAFE_CUTS, outliers.SAFE_ROTATIONS, outliers.LOOKALIKES):
        assert table.keys() <= TEMPLATES.keys()
    assert all(set(alike.split()) <= TEMPLATES.keys() - {name} for name, alike in outliers.LOOKALIKES.items())


def test_worn_letters_are_letters_still():
    pictures = synthetic.draw_characters(letters.FIRST_THREE * 100, 0)
    assert np.array_equal(degradation.degrade(pictures, 0.0, np.random.default_rng(0)), pictures)
    worn = degradation.degrade(pictures, 0.5, np.random.default_rng(0))
    assert np.array_equal(worn, degradation.degrade(pictures, 0.5, np.random.default_rng(0)))
    changed = (worn != pictures).any((1, 2))
    assert 110 < changed.sum() < 190
    for picture in worn[changed]:
        sides = [np.ptp(np.flatnonzero(picture.any(axis))) + 1 for axis in (0, 1)]
        assert 19 <= max(sides) <= 20, "in MNIST's box"
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(worn[changed], pictures[changed], strict=True)]
    assert np.median(likeness) > 0.4


def test_names_of_folders_are_classes(tmp_path):
    """Capitals and any other sign are classes of their own; a Greek letter may be named by its sign."""
    folder = tmp_path / "letters"
    for name, shape in (("A", "alpha"), ("a", "beta"), ("α", "alpha"), ("e\u0301", "epsilon"), ("$", "psi")):
        write_photographs(tmp_path / name, [shape], 2)
        shutil.copytree(tmp_path / name / shape, folder / name)
    source = letters.find_source(folder, tmp_path, every=False)
    assert source.names == ["alpha", "$", "A", "a", "é"] and sorted(source.labels) == sorted(2 * source.names)
    train, _ = letters.training_mixture(source, letters.Mixture(drawn=20), 1, with_outliers=False)
    counts = [(train.labels == i).sum().item() for i in range(5)]
    assert letters.TEMPLATES.keys() & set(source.names) == {"alpha", "a", "A"}
    assert counts == [22, 20, 22, 22, 20], "drawn letters join only the class that they draw; others are copied"


def test_classes_in_train_and_test_are_one_line(tmp_path):
    for split in ("train", "test"):
        write_photographs(tmp_path / "all" / split, ["alpha", "beta"], 1)
    with pytest.raises(Failure, match=r"give --greek-train .*train --handwritten .*test$"):
        letters.find_source(tmp_path / "all", tmp_path, every=False)
