"""Train a small network on Greek letters, mostly synthetic, with augmentation; compare it with the transferred one.

    python greek_from_scratch.py --read photo.jpg         only print the answer; needs no training
    python greek_from_scratch.py                          alpha, beta and gamma: less than a minute
    python greek_from_scratch.py --preset classic         the report's recipe: nine letters a class, no augmentation
    python greek_from_scratch.py --letters all            all 24 lower-case letters, synthetic ones
    python greek_from_scratch.py --greek-train my_letters a folder of images for each letter, or for any other sign

Writes to outputs/greek_from_scratch/: training.png (examples of the training set), augmentation.png (examples of
augmentation), network.png, losses.png, accuracies.png, predictions.png, confusion.png, mistakes.png, classes.csv,
handwritten.png and handwritten.csv (each test image, the network's input and the prediction), comparison.csv (the
accuracies of this network and of transfer_greek.py's), model.pt (the weights and the class names), checkpoint.pt (for
--resume), config.json, history.csv, losses.csv, metrics.json.
"""

import pipeline  # noqa: F401, first: it handles Ctrl-C while the libraries load

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
from pipeline.evaluation import answers, letter_test
from pipeline.evaluation.metrics import evaluate
from pipeline.training.loop import Recipe
from pipeline.training.resumable_run import TrainingRun


@dataclass(frozen=True, kw_only=True)
class LetterRecipe(letters.Mixture, Recipe):
    """The training recipe and the number of letters."""


PRESETS = {
    "best": LetterRecipe(
        epochs=10, batch_size=128, optimizer="muon", learning_rate=0.05, momentum=0.85, weight_decay=0.05,
        schedule="one-cycle", dropout=0.0, batch_norm=3, augment=1.0, average=0.5, decline=0.3, smoothing=0.02,
        drawn=2000, copies=40, wear=0.8,
    ),
    "classic": LetterRecipe(epochs=50, batch_size=16, optimizer="sgd", learning_rate=0.01, momentum=0.9, dropout=0.0),
}  # fmt: skip


@dataclass(frozen=True)
class Config(cli.Common, answers.ReadFlags, LetterRecipe):
    preset: str = run_option(
        "best", "set of values for the flags; the defaults shown are of best", choices=tuple(PRESETS)
    )
    letters: str = option(
        "three", "three: alpha, beta, gamma; all: all 24 lower-case letters", choices=("three", "all")
    )
    greek_train: Path = option(None, "training images, a folder per letter; default: data/greek_train, else synthetic")
    handwritten: Path = run_option(Path("handwritten/greek"), "test images; the folder names are the labels")
    transferred: Path = run_option(Path("outputs/transfer_greek/model.pt"), "network to compare with")
    output_dir: Path = run_option(Path("outputs/greek_from_scratch"), "output folder")
    resume: bool = run_option(False, "resume a stopped run, with the same flags")
    skip_training: bool = run_option(False, "load the saved network and do everything after training")


def main(config: Config) -> dict:
    """Train the network, test it on handwritten letters, compare it with the transferred one; return the metrics."""
    if answers.is_wanted(config):
        answers.print_answers(load_network, config)
        return {}
    device, folder = runtime.start(config)
    plots.select_backend(config.show)

    # The network: three convolutions, two linear layers.
    if config.skip_training:
        model = load_network(config)
        source = letters.Source(model.class_names)
    else:
        source = letters.find_source(config.greek_train, config.data_dir, config.letters == "all")
        model = models.GreekNet(source.names, config.dropout)
    plots.save(plots.network_diagram(model, "The Greek network"), folder / "network.png")

    # The training letters, and the test letters.
    name = source.describe(config.drawn)
    if config.skip_training:
        fallback = letters.synthetic_test(source, config.seed, config.wear)
    else:
        train, valid = letters.training_mixture(source, config, config.seed, with_outliers=config.decline > 0)
        fallback = valid
        print(f"{name}: training on {letters.describe(train, source.names)}")
        figure = plots.examples(train.images, train.labels, source.names, 50, f"Training examples: {name}")
        plots.save(figure, folder / "training.png")

        # In every epoch each letter gets a new random rotation, scale, shear, shift and elastic deformation.
        if config.augment:
            augment = augmentation.AUGMENTATIONS[config.augmentation]
            # evenly spaced, since the letters are grouped by class, with outliers last
            ten = train.images[torch.linspace(0, (train.labels >= 0).sum().item() - 1, 10).long()]
            images = torch.cat([ten, *(augment(ten, config.augment) for _ in range(4))])
            captions = ["original"] * 10 + ["augmented"] * 40
            figure = plots.image_grid(images, captions, 10, "Ten letters, and four augmentations of each")
            plots.save(figure, folder / "augmentation.png")
    test = letter_test.read(config.handwritten, Config.handwritten, source, fallback)

    # Train; model.pt has the weights of the epoch with the lowest validation loss.
    if not config.skip_training:
        run = TrainingRun(config, model.to(device), Data(name, train, valid, test.split or valid).to(device), folder)
        for epoch in run:
            print(f"{name}, epoch {epoch.number}/{config.epochs}: {epoch}")
        metrics = run.finish()
        files.write_json(folder / "config.json", config)
        model = run.best_model()

    # Test on handwritten letters.
    letter_test.report(model.to(device), test, folder)
    if test.split:
        table = compare(model, test.split.to(device), config.transferred, f"greek_transfer_{config.letters}.pt")
        print(f"\n{test.name}:\n{table.round(1).to_string()}")
        files.write_csv(folder / "comparison.csv", table)
    if config.skip_training:
        metrics = {"test_accuracy": evaluate(model, test.split.to(device)).accuracy if test.split else None}
    print(f"results are in {folder}/")
    if config.show:
        plots.show()
    return metrics


def compare(model: nn.Module, test: Split, transferred: Path, pretrained: str) -> pd.DataFrame:
    """Compare this network with transfer_greek.py's, or with the pretrained one, on the test letters.

    It is left out if it has other classes.
    """
    networks = {"from scratch": model}
    if transferred != Config.transferred and not transferred.is_file():
        print(f"no network to compare with at {transferred}: run transfer_greek.py first")
    else:
        other = checkpoints.load_or_pretrained(
            transferred, Config.transferred, pretrained, models.MnistNet, "transfer_greek.py"
        )
        if other.class_names == model.class_names:
            networks["transfer"] = other.to(test.labels.device)
        else:
            print("the transferred network has other classes: not compared")
    rows = [
        {"network": name, "parameters": models.parameter_count(network), "letters": len(test),
         "test_acc": evaluate(network, test).accuracy}
        for name, network in networks.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("network")


def load_network(config: Config) -> nn.Module:
    """Load the weights of this output folder, or the pretrained ones."""
    path, default = config.output_dir / "model.pt", Config.output_dir / "model.pt"
    pretrained = f"greek_scratch_{config.letters}.pt"
    return checkpoints.load_or_pretrained(path, default, pretrained, models.GreekNet, "greek_from_scratch.py")


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
