"""Teach the digit network Greek: its convolutions are frozen, a new last layer and the one before it learn.

    python transfer_greek.py                          alpha, beta and gamma: less than a minute
    python transfer_greek.py --preset classic         the report's recipe: 27 letters as they are, and it overfits
    python transfer_greek.py --unfreeze 0             all is frozen but the new layer, as in the report
    python transfer_greek.py --letters all            all 24 lower-case letters, from drawn ones
    python transfer_greek.py --greek-train my_letters a folder of pictures for each letter, or for any other sign

It needs the weights that train_mnist.py leaves. Writes to outputs/transfer_greek/: training.png (letters it learns
from), network.png, losses.png, accuracies.png, predictions.png, confusion.png, mistakes.png, classes.csv,
handwritten.png and handwritten.csv (each letter, what the network saw of it, its answer), model.pt (the weights and the
names of the classes), checkpoint.pt (for --resume), config.json, history.csv, losses.csv, metrics.json; comparison.csv
with --compare 5.
"""

import pipeline  # noqa: F401, first: it answers Ctrl-C while the libraries load

# isort: split
from dataclasses import dataclass
from pathlib import Path

import greek
import models
from pipeline import cli, plots, runtime
from pipeline.cli import option
from pipeline.datasets import letters
from pipeline.errors import WrongUsage


@dataclass(frozen=True)
class Config(greek.Lesson, greek.TransferRecipe):
    output_dir: Path = option(Path("outputs/transfer_greek"), "where the files go")


def main(config: Config) -> dict:
    """The report's transfer, in order; returns the metrics."""
    device, folder = runtime.begin(config)
    plots.begin(config.show)
    if config.batch_norm:
        raise WrongUsage("batch normalisation would change what is frozen: leave out --batch-norm")

    # the digit network with another last layer
    source = letters.find(config.greek_train, config.data_dir, config.letters == "all")
    if config.skip_training:
        return greek.lesson(config, source, models.MnistNet, None, device, folder)
    model = greek.transfer(config.digits, source.names, config.unfreeze, config.dropout)
    for name, parameter in model.named_parameters():
        print(f"{name:14}{parameter.numel():7,} parameters  {'learn' if parameter.requires_grad else 'frozen'}")
    plots.save(plots.network(model, "The digit network, its last layer for Greek"), folder / "network.png")
    return greek.lesson(config, source, models.MnistNet, model, device, folder)


if __name__ == "__main__":
    cli.launch(main, Config, greek.TRANSFER)
