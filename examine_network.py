"""Examine a trained network: what has it learned?

    python examine_network.py                                     the digit network, on MNIST's test images
    python examine_network.py --image my_seven.jpg                show the forward pass of your own handwriting
    python examine_network.py --weights outputs/greek_from_scratch/model.pt    any network of this project

No training; twenty seconds on one core. Expect filters that match lines, edges and stripes better than untrained ones
do. Writes to outputs/examine_network/: report.html (all figures, with a text on how to read them), filters.png,
filtered.png, matches.png, way.png, patches_conv1.png, patches_conv2.png (one for each convolution), switched_off.png,
occlusion.png, plane.png, filters.csv, channels.csv, metrics.json, config.json.
"""

import pipeline  # noqa: F401, first: it handles Ctrl-C while the libraries load

# isort: split
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import models
from pipeline import checkpoints, cli, errors, files, plots, runtime
from pipeline.cli import option
from pipeline.datasets import datasets
from pipeline.datasets.stroke_templates import TEMPLATES
from pipeline.interpretability import figures
from pipeline.interpretability.html_report import Report
from pipeline.interpretability.subject import Subject
from pipeline.preprocessing.image_files import read_image
from pipeline.preprocessing.photo import photo_to_mnist


@dataclass(frozen=True)
class Config(cli.Common):
    weights: Path = option(Path("outputs/train_mnist/model.pt"), "model.pt of a script of this project")
    image: Path = option(None, "your own image, in place of the first training image")
    dataset: str = option(
        "auto", "auto: synthetic digits if MNIST is not available", choices=("auto", "mnist", "synthetic")
    )
    pictures: int = option(10_000, "number of test images to use; fewer are quicker", least=100)
    output_dir: Path = option(Path("outputs/examine_network"), "output folder")
    threads: int = option(1, "CPU threads; more than 1 is slower here", least=0, most=1024)


def main(config: Config) -> dict:
    """Run all analyses, write the report, and return the numbers of metrics.json."""
    device, folder = runtime.start(config)
    plots.select_backend(config.show)
    config = replace(config, weights=checkpoints.own_or_pretrained(config.weights, Config.weights, "digits.pt"))
    subject = prepare(config, device, folder)
    introduction = (
        f"{config.weights} contains a {subject.network} with {models.parameter_count(subject.model):,} parameters. "
        f"Its accuracy is {subject.outputs.accuracy:.2f} % on {subject.data}."
    )
    print(introduction)
    metrics = {"weights": config.weights, "network": subject.network, "test_accuracy": subject.outputs.accuracy}
    report = Report(folder)
    with tqdm(figures.ANALYSES, unit=" analyses", leave=False, disable=config.quiet or None) as bar:
        for analysis in bar:
            metrics |= analysis.run(subject, report)

    report.write(f"What {subject.network} learned", introduction)
    metrics |= {"dataset": subject.dataset, "test_pictures": len(subject.test), "seed": config.seed}
    metrics |= {"device": str(device), **runtime.versions()}
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "config.json", config)
    print(f"\nresults are in {folder}/; all figures are in {folder / 'report.html'}")
    if config.show:
        plots.show()
    return metrics


def load_data(names: tuple[str, ...], config: Config) -> datasets.Data:
    """Load the dataset with these classes.

    Raises:
        Failure: there is none.
    """
    if names == models.DIGITS:
        return datasets.mnist(config.data_dir, config.dataset)
    if names == models.CLOTHES:
        return datasets.fashion_mnist(config.data_dir)
    if TEMPLATES.keys() >= set(names):
        return datasets.synthetic_letters(names)
    raise errors.Failure(f"no images of the classes {', '.join(names)}: give --weights of another network")


def prepare(config: Config, device: torch.device, folder: Path) -> Subject:
    """Load the network, the image whose forward pass is shown, and the test images of the network's classes."""
    model = checkpoints.load(config.weights, None, "train_mnist.py").to(device, memory_format=torch.channels_last)
    names = tuple(model.class_names)
    own = None if config.image is None else own_image(config.image)
    data = load_data(names, config)
    test = datasets.Split(data.test.images[: config.pictures], data.test.labels[: config.pictures])
    if own is None:
        image, caption = data.train.images[:1], f"the first training image of {data.name}"
    else:
        image, caption = datasets.normalize(own[None]), f"your image {config.image.name}"
    return Subject(model, image.to(device), caption, test.to(device), data.name, folder, config.seed)


def own_image(path: Path) -> np.ndarray:
    """Read the user's image and preprocess it to (28, 28) uint8.

    Raises:
        Failure: the image cannot be read, or no ink is found.
    """
    try:
        image = photo_to_mnist(read_image(path))
    except errors.Failure as failure:
        raise errors.Failure(f"{failure}: give --image a PNG or JPEG of one character") from None
    if not image.any():
        raise errors.Failure(f"no ink found in {path}: give --image a dark character on light paper")
    return image


if __name__ == "__main__":
    cli.launch(main, Config, {})
