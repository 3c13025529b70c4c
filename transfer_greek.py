"""Fine-tune the digit network on Greek letters: the convolutions are frozen, the last two layers are trained.

    python transfer_greek.py --read photo.jpg         only print the answer; needs no training
    python transfer_greek.py                          alpha, beta and gamma: less than a minute
    python transfer_greek.py --preset classic         the report's recipe: 27 letters without augmentation; overfits
    python transfer_greek.py --unfreeze 0             train only the new last layer, as in the report
    python transfer_greek.py --letters all            all 24 lower-case letters, synthetic ones
    python transfer_greek.py --greek-train my_letters a folder of images for each letter, or for any other sign

It starts from the weights of train_mnist.py, or from the pretrained ones. Writes to outputs/transfer_greek/:
training.png (examples of the training set), network.png, losses.png, accuracies.png, predictions.png, confusion.png,
mistakes.png, classes.csv, handwritten.png and handwritten.csv (each test image, the network's input and the
prediction), model.pt (the weights and the class names), checkpoint.pt (for --resume), config.json, history.csv,
losses.csv, metrics.json.
"""

import pipeline  # noqa: F401, first: it handles Ctrl-C while the libraries load

# isort: split
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

import models
from pipeline import checkpoints, cli, files, plots, runtime
from pipeline.cli import option, run_option
from pipeline.datasets import letters
from pipeline.datasets.datasets import Data
from pipeline.errors import WrongUsage
from pipeline.evaluation import answers, letter_test
from pipeline.evaluation.metrics import evaluate
from pipeline.training.loop import Recipe
from pipeline.training.resumable_run import TrainingRun


@dataclass(frozen=True, kw_only=True)
class TransferRecipe(letters.Mixture, Recipe):
    """The training recipe, the number of letters, and the number of layers that are fine-tuned."""

    unfreeze: int = option(0, "number of layers before the new one that are trained too", least=0, most=3)


PRESETS = {
    "best": TransferRecipe(
        epochs=10, batch_size=128, optimizer="muon", learning_rate=0.05, momentum=0.85, schedule="one-cycle",
        dropout=0.0, augment=1.0, average=0.5, decline=0.3, smoothing=0.02, drawn=2000, copies=40,
        wear=0.8, unfreeze=1,
    ),
    "classic": TransferRecipe(
        epochs=50, batch_size=16, optimizer="sgd", learning_rate=0.001, momentum=0.7, dropout=0.0
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Config(cli.Common, answers.ReadFlags, TransferRecipe):
    preset: str = run_option(
        "best", "set of values for the flags; the defaults shown are of best", choices=tuple(PRESETS)
    )
    letters: str = option(
        "three", "three: alpha, beta, gamma; all: all 24 lower-case letters", choices=("three", "all")
    )
    greek_train: Path = option(None, "training images, a folder per letter; default: data/greek_train, else synthetic")
    handwritten: Path = run_option(Path("handwritten/greek"), "test images; the folder names are the labels")
    digits: Path = option(Path("outputs/train_mnist/model.pt"), "weights of the digit network to transfer from")
    output_dir: Path = run_option(Path("outputs/transfer_greek"), "output folder")
    resume: bool = run_option(False, "resume a stopped run, with the same flags")
    skip_training: bool = run_option(False, "load the saved network and do everything after training")


def transfer(digits: Path, class_names: Sequence[str], unfreeze: int, dropout: float = 0.0) -> models.MnistNet:
    """Build the digit network with a new last layer; freeze all but that and the `unfreeze` layers before it.

    Raises:
        Failure: `digits` is missing, damaged, or not a digit network.
    """
    digit_network = checkpoints.load_or_pretrained(
        digits, Config.digits, "digits.pt", models.MnistNet, "train_mnist.py", models.DIGITS
    )
    model = models.replace_head(digit_network, class_names, dropout)
    for parameter in model.parameters():
        parameter.requires_grad = False
    layers = [model.conv1, model.conv2, model.fc1, model.fc2]  # fc2 is the new layer
    for layer in layers[-1 - unfreeze :]:
        for parameter in layer.parameters():
            parameter.requires_grad = True
    return model


def main(config: Config) -> dict:
    """Fine-tune the network, test it on handwritten letters, and return the metrics."""
    if answers.is_wanted(config):
        answers.print_answers(load_network, config)
        return {}
    device, folder = runtime.start(config)
    plots.select_backend(config.show)
    if config.batch_norm:
        raise WrongUsage("--batch-norm cannot be used here: batch normalization would change the frozen layers")

    # The network: the digit network's features, a new last layer.
    if config.skip_training:
        model = load_network(config)
        source = letters.Source(model.class_names)
    else:
        source = letters.find_source(config.greek_train, config.data_dir, config.letters == "all")
        model = transfer(config.digits, source.names, config.unfreeze, config.dropout)
        for name, parameter in model.named_parameters():
            print(f"{name:14}{parameter.numel():7,} parameters  {'trained' if parameter.requires_grad else 'frozen'}")
    plots.save(plots.network_diagram(model, "The digit network with a new last layer"), folder / "network.png")

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
    if config.skip_training:
        metrics = {"test_accuracy": evaluate(model, test.split.to(device)).accuracy if test.split else None}
    print(f"results are in {folder}/")
    if config.show:
        plots.show()
    return metrics


def load_network(config: Config) -> nn.Module:
    """Load the weights of this output folder, or the pretrained ones."""
    path, default = config.output_dir / "model.pt", Config.output_dir / "model.pt"
    pretrained = f"greek_transfer_{config.letters}.pt"
    return checkpoints.load_or_pretrained(path, default, pretrained, models.MnistNet, "transfer_greek.py")


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
