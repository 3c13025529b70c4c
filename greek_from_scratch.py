"""Teach a small network Greek from scratch, mostly by synthetic letters, augmented; then compare it with the transfer.

    python greek_from_scratch.py                          alpha, beta and gamma: less than a minute
    python greek_from_scratch.py --preset classic         the report's recipe: nine letters a class, as they are
    python greek_from_scratch.py --letters all            all 24 lower-case letters, from drawn ones
    python greek_from_scratch.py --greek-train my_letters a folder of pictures for each letter, or for any other sign

Writes to outputs/greek_from_scratch/: training.png (letters it learns from), augmentation.png (what becomes of some),
network.png, losses.png, accuracies.png, predictions.png, confusion.png, mistakes.png, classes.csv, handwritten.png and
handwritten.csv (each letter, what the network saw of it, its answer), comparison.csv (beside the network that
transfer_greek.py left), model.pt (the weights and the names of the classes), checkpoint.pt (for --resume), config.json,
history.csv, losses.csv, metrics.json.
"""

import pipeline  # noqa: F401, first: it answers Ctrl-C while the libraries load

# isort: split
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import models
from pipeline import checkpoints, cli, files, plots, runtime
from pipeline.cli import option, run_option
from pipeline.datasets import augmentation, letters
from pipeline.datasets.datasets import Data, Split
from pipeline.evaluation import letter_test
from pipeline.evaluation.metrics import evaluate
from pipeline.training.loop import Recipe
from pipeline.training.run import TrainingRun


@dataclass(frozen=True, kw_only=True)
class LetterRecipe(letters.Mixture, Recipe):
    """How to train, and on how many letters."""


PRESETS = {
    "best": LetterRecipe(
        epochs=10, batch_size=128, optimizer="muon", learning_rate=0.05, momentum=0.85, weight_decay=0.05,
        schedule="one-cycle", dropout=0.0, batch_norm=3, augment=1.0, average=0.5, decline=0.3, smoothing=0.02,
        drawn=2000, copies=40, wear=0.8,
    ),
    "classic": LetterRecipe(epochs=50, batch_size=16, optimizer="sgd", learning_rate=0.01, momentum=0.9, dropout=0.0),
}  # fmt: skip


@dataclass(frozen=True)
class Config(cli.Common, LetterRecipe):
    preset: str = run_option("best", "recipe, which flags override; defaults shown are of best", choices=tuple(PRESETS))
    letters: str = option(
        "three", "three: alpha, beta, gamma; all: all 24 lower-case letters", choices=("three", "all")
    )
    greek_train: Path = option(None, "training images, a folder per letter; default: data/greek_train, else synthetic")
    handwritten: Path = run_option(Path("handwritten/greek"), "test images; the folder names are the labels")
    transferred: Path = run_option(
        Path("outputs/transfer_greek/model.pt"), "network to compare with, if the file exists"
    )
    output_dir: Path = run_option(Path("outputs/greek_from_scratch"), "output folder")
    resume: bool = run_option(False, "resume a stopped run, with the same flags")
    skip_training: bool = run_option(False, "load the saved network and do everything after training")


def main(config: Config) -> dict:
    """The report's first extension, in order; returns the metrics."""
    device, folder = runtime.start(config)
    plots.select_backend(config.show)

    # The network: three convolutions, two linear layers.
    if config.skip_training:
        model = checkpoints.load(folder / "model.pt", models.GreekNet, "greek_from_scratch.py")
        source = letters.Source(model.class_names)
    else:
        source = letters.find_source(config.greek_train, config.data_dir, config.letters == "all")
        model = models.GreekNet(source.names, config.dropout)
    plots.save(plots.network_diagram(model, "The Greek network"), folder / "network.png")

    # The letters to learn, and others to be tested on.
    name = source.describe(config.drawn)
    if config.skip_training:
        instead = letters.synthetic_test(source, config.seed, config.wear)
    else:
        train, valid = letters.training_mixture(source, config, config.seed, with_outliers=config.decline > 0)
        instead = valid
        print(f"{name}: {letters.describe(train, source.names)} to learn from")
        picture = plots.examples(train.images, train.labels, source.names, 50, f"To learn from: {name}")
        plots.save(picture, folder / "training.png")

        # What training makes of them: in every epoch each is turned, stretched, slanted, shifted and bent anew.
        if config.augment:
            augment = augmentation.AUGMENTATIONS[config.augmentation]
            ten = train.images[torch.linspace(0, (train.labels >= 0).sum().item() - 1, 10).long()]  # of every class
            images = torch.cat([ten, *(augment(ten, config.augment) for _ in range(4))])
            captions = ["as given"] * 10 + ["augmented"] * 40
            picture = plots.image_grid(images, captions, 10, "Ten letters, and four augmentations of each")
            plots.save(picture, folder / "augmentation.png")
    test = letter_test.read(config.handwritten, Config.handwritten, source, instead)

    # Train; the epoch of least validation loss is kept in model.pt.
    if not config.skip_training:
        run = TrainingRun(config, model.to(device), Data(name, train, valid, test.split or valid).to(device), folder)
        for epoch in run:
            print(f"{name}, epoch {epoch.number}/{config.epochs}: {epoch}")
        metrics = run.finish()
        files.write_json(folder / "config.json", config)
        model = run.best_model()

    # What it answers to people's letters.
    letter_test.report(model.to(device), test, folder)
    if test.split:
        table = compare(model, test.split.to(device), config.transferred)
        print(f"\n{test.name}:\n{table.round(1).to_string()}")
        files.write_csv(folder / "comparison.csv", table)
    if config.skip_training:
        metrics = {"test_accuracy": evaluate(model, test.split.to(device)).accuracy if test.split else None}
    print(f"results are in {folder}/")
    if config.show:
        plots.show()
    return metrics


def compare(model: nn.Module, test: Split, transferred: Path) -> pd.DataFrame:
    """This network and the one that transfer_greek.py left, if it has left one, on the same letters."""
    networks = {"from scratch": model}
    if not transferred.is_file():
        print(f"there is no {transferred} to compare with: run transfer_greek.py first")
    else:
        other = checkpoints.load(transferred, models.MnistNet, "transfer_greek.py").to(test.labels.device)
        if other.class_names == model.class_names:
            networks["transfer"] = other
        else:
            print(f"{transferred} has other classes: no comparison")
    rows = [
        {"network": name, "parameters": models.parameter_count(network), "letters": len(test),
         "test_acc": evaluate(network, test).accuracy}
        for name, network in networks.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("network")


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
