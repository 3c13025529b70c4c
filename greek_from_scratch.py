"""Teach a small network Greek from scratch, mostly by letters that were drawn for it.

    python greek_from_scratch.py                          alpha, beta and gamma: less than a minute
    python greek_from_scratch.py --preset classic         the report's recipe: nine letters a class, as they are
    python greek_from_scratch.py --letters all            all 24 lower-case letters, from drawn ones
    python greek_from_scratch.py --greek-train my_letters a folder of pictures for each letter, or for any other sign

Writes to outputs/greek_from_scratch/: training.png (letters it learns from), network.png, losses.png, accuracies.png,
predictions.png, confusion.png, mistakes.png, classes.csv, handwritten.png and handwritten.csv (each letter, what the
network saw of it, its answer), model.pt (the weights and the names of the classes), checkpoint.pt (for --resume),
config.json, history.csv, losses.csv, metrics.json; comparison.csv with --compare 5.
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


@dataclass(frozen=True)
class Config(greek.Lesson):
    output_dir: Path = option(Path("outputs/greek_from_scratch"), "where the files go")


def main(config: Config) -> dict:
    """The report's first extension, in order; returns the metrics."""
    device, folder = runtime.begin(config)
    plots.begin(config.show)

    # three convolutions, two linear layers
    source = letters.find(config.greek_train, config.data_dir, config.letters == "all")
    model = models.GreekNet(source.names, config.dropout)
    plots.save(plots.network(model, "The Greek network"), folder / "network.png")
    return greek.lesson(config, source, models.GreekNet, model, device, folder)


if __name__ == "__main__":
    cli.launch(main, Config, greek.SCRATCH)
