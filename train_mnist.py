"""Train the classic two-convolution network on handwritten digits, and look at its predictions, right and wrong.

    python train_mnist.py --read photo.jpg    only print the answer; needs no training and no data
    python train_mnist.py                     the most accurate recipe: about two minutes on two cores
    python train_mnist.py --preset quick      the fastest way to 99 %: seconds of training
    python train_mnist.py --preset classic    the textbook's recipe: ten epochs of SGD
    python train_mnist.py --skip-training     load the saved network: its predictions and errors
    python train_mnist.py --skip-training --handwritten my_digits/     your own: a picture, a folder, a whole sheet

Writes to outputs/train_mnist/: first_digits.png, network.png, losses.png, accuracies.png, predictions.png,
confusion.png, mistakes.png, handwritten.png and handwritten.csv (your own digits and their predictions),
model.pt (the weights), checkpoint.pt (for --resume), config.json, history.csv, losses.csv, classes.csv, metrics.json.
"""

import pipeline  # noqa: F401, first: it handles Ctrl-C while the libraries load

# isort: split
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torchinfo
from torch import nn

import models
from pipeline import checkpoints, cli, files, plots, runtime
from pipeline.cli import option, run_option
from pipeline.datasets import datasets, outliers, synthetic
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.evaluation import answers, classification_report, handwriting
from pipeline.evaluation.metrics import predict
from pipeline.training.loop import Recipe
from pipeline.training.resumable_run import TrainingRun

DRAWN = 0.7  # digits drawn in rare hands, for each outlier

PRESETS = {
    "best": Recipe(
        epochs=16, batch_size=256, optimizer="muon", learning_rate=0.05, momentum=0.85, weight_decay=0.05,
        schedule="one-cycle", dropout=0.0, batch_norm=2, augment=1.0, decline=0.4, smoothing=0.02, average=0.5,
    ),
    "quick": Recipe(
        epochs=1, batch_size=128, optimizer="muon", learning_rate=0.06, momentum=0.6,
        schedule="one-cycle", dropout=0.0, batch_norm=1,
    ),
    "classic": Recipe(epochs=10, batch_size=64, optimizer="sgd", learning_rate=0.01, momentum=0.9, dropout=0.2),
}  # fmt: skip


@dataclass(frozen=True)
class Config(cli.Common, answers.ReadFlags, Recipe):
    preset: str = run_option(
        "best", "set of values for the flags; the defaults shown are of best", choices=tuple(PRESETS)
    )
    dataset: str = option(
        "auto", "auto: synthetic digits if MNIST is not available", choices=("auto", "mnist", "synthetic")
    )
    handwritten: Path = run_option(Path("handwritten/digits"), "your own digits: an image, a folder, or a page of many")
    outliers: int = option(
        10_000, "number of outliers (images of no digit) in training, if --decline is above 0", least=0
    )
    output_dir: Path = run_option(Path("outputs/train_mnist"), "output folder")
    resume: bool = run_option(False, "resume a stopped run, with the same flags")
    skip_training: bool = run_option(False, "load the saved weights and do everything after training")


def main(config: Config) -> dict:
    """Tasks A to F of the report, in order; returns the metrics."""
    if answers.is_wanted(config):
        answers.print_answers(load_network, config)
        return {}
    device, folder = runtime.start(config)
    plots.select_backend(config.show)
    default_is_absent = config.handwritten == Config.handwritten and not config.handwritten.exists()
    photos = None if default_is_absent else read_folder(config.handwritten, models.DIGITS)

    # A: look at the data before anything else
    data = datasets.mnist(config.data_dir, config.dataset).to(device)
    name, test = data.name, data.test
    print(f"{name}: {len(data.train):,} training, {len(data.valid):,} validation, {len(test):,} test images")
    captions = [f"{label}" for label in test.labels[:6].tolist()]
    plots.save(plots.image_grid(test.images[:6], captions, 3, f"Six test images: {name}"), folder / "first_digits.png")

    # B: the network
    model = models.MnistNet(dropout=config.dropout)
    print(torchinfo.summary(model, (1, 1, 28, 28), row_settings=["var_names"], device="cpu", verbose=0))
    plots.save(plots.network_diagram(model, "The digit network"), folder / "network.png")

    # C and D: train; the epoch of least validation loss is kept in model.pt
    if not config.skip_training:
        add_outliers(config, data)
        run = TrainingRun(config, model.to(device), data, folder)
        for epoch in run:
            print(f"{name}, epoch {epoch.number}/{config.epochs}: {epoch}")
        metrics = run.finish()
        files.write_json(folder / "config.json", config)

    # E: the weights loaded afresh answer the test pictures, the first nine in full
    model = load_network(config).to(device)
    outputs = predict(model, test.images).cpu()
    print(f"\nThe first nine test images of {name}: ten log-probabilities, prediction, label")
    for row, label in zip(outputs[:9].tolist(), test.labels.tolist(), strict=False):
        print("  ".join(f"{value:6.2f}" for value in row), f"   {row.index(max(row))}   {label}")
    accuracy = classification_report.write(outputs, test, model.class_names, f"test images of {name}", folder)

    # F: people's own handwriting, read before any work so that what is wrong there is said at once
    if photos:
        handwriting.evaluate_handwriting(model, *photos, folder)
    if config.skip_training:
        metrics = {"test_accuracy": accuracy}
    print(f"\n{name}: {accuracy:.2f} % of the test images correct; results are in {folder}/")
    if config.show:
        plots.show()
    return metrics


def load_network(config: Config) -> nn.Module:
    """Load the weights of this output folder, or the pretrained ones."""
    path, default = config.output_dir / "model.pt", Config.output_dir / "model.pt"
    return checkpoints.load_or_pretrained(path, default, "digits.pt", models.MnistNet, "train_mnist.py", models.DIGITS)


def add_outliers(config: Config, data: datasets.Data) -> None:
    """Where the recipe declines, put drawn digits and outliers, which are of no class, among the training pictures.

    Most outliers are drawn: without drawn digits the network would learn that what is drawn is none.
    """
    if config.decline and config.outliers:
        digits, classes = datasets.to_uint8(data.train), data.train.labels.cpu().numpy()
        strange = outliers.outliers(digits, classes, config.outliers, config.seed)
        drawn, labels = synthetic.draw_digits(round(DRAWN * config.outliers), config.seed, rare=True)
        labels = np.concatenate([np.full(len(strange), -1), labels])
        data.train = datasets.extend(data.train, np.concatenate([strange, drawn]), labels)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
