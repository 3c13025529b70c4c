"""Examine a trained network: what did it learn, and is it what we think?

    python examine_network.py                                     the digit network, asked with MNIST's test pictures
    python examine_network.py --image my_seven.jpg                your own handwriting goes the way through
    python examine_network.py --weights outputs/greek_from_scratch/model.pt    any network of this project

No training, and twenty seconds on one core. Expect filters that resemble lines, edges and stripes more than chance
would have it. Writes to outputs/examine_network/: report.html (all that follows, with a word on how to read it),
filters.png, filtered.png, matches.png, way.png, patches_conv1.png, patches_conv2.png (one for each convolution),
switched_off.png, occlusion.png, plane.png, filters.csv, channels.csv, metrics.json, config.json.
"""

import pipeline  # noqa: F401, first: it answers Ctrl-C while the libraries load

# isort: split
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import models
from pipeline import checkpoints, cli, errors, files, plots, runtime
from pipeline.cli import option
from pipeline.datasets import datasets
from pipeline.datasets.stroke_templates import TEMPLATES
from pipeline.interpretability import analyses
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
    """Ask one question after the other, each answered by a figure and a finding; returns the numbers."""
    device, folder = runtime.start(config)
    plots.select_backend(config.show)
    subject = prepare(config, device, folder)
    introduction = (
        f"{config.weights} holds a {subject.network} of {models.parameter_count(subject.model):,} parameters. "
        f"It answers {subject.seen.accuracy:.2f} % of {subject.asked} correctly."
    )
    print(introduction)
    metrics = {"weights": config.weights, "network": subject.network, "test_accuracy": subject.seen.accuracy}
    report = Report(folder)
    with tqdm(analyses.ANALYSES, unit=" analyses", leave=False, disable=config.quiet or None) as bar:
        for analysis in bar:
            metrics |= analysis.run(subject, report)

    report.write(f"What {subject.network} learned", introduction)
    metrics |= {"dataset": subject.dataset, "test_pictures": len(subject.test), "seed": config.seed}
    metrics |= {"device": str(device), **runtime.versions()}
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "config.json", config)
    print(f"\nResults are in {folder}/, on one page in {folder / 'report.html'}")
    if config.show:
        plots.show()
    return metrics


def pictures_of(names: tuple[str, ...], config: Config) -> datasets.Data:
    """The pictures that a network of such classes is asked with."""
    if names == models.DIGITS:
        return datasets.mnist(config.data_dir, config.dataset)
    if names == models.CLOTHES:
        return datasets.fashion_mnist(config.data_dir)
    if TEMPLATES.keys() >= set(names):
        return datasets.synthetic_letters(names)
    raise errors.Failure(f"no images of the classes {', '.join(names)}: give --weights of another network")


def prepare(config: Config, device: torch.device, folder: Path) -> Subject:
    """The network, the picture that goes the way through it, and the test pictures of the classes it knows."""
    model = checkpoints.load(config.weights, None, "train_mnist.py").to(device, memory_format=torch.channels_last)
    names = tuple(model.class_names)
    own = None if config.image is None else own_image(config.image)
    data = pictures_of(names, config)
    test = datasets.Split(data.test.images[: config.pictures], data.test.labels[: config.pictures])
    if own is None:
        picture, caption = data.train.images[:1], f"the first training picture of {data.name}"
    else:
        picture, caption = datasets.normalize(own[None]), f"your picture {config.image.name}"
    return Subject(model, picture.to(device), caption, test.to(device), data.name, folder, config.seed)


def own_image(path: Path) -> np.ndarray:
    """(28, 28) uint8: a picture of one's own as the network should see it."""
    try:
        picture = photo_to_mnist(read_image(path))
    except errors.Failure as failure:
        raise errors.Failure(f"{failure}: give --image a PNG or JPEG of one character") from None
    if not picture.any():
        raise errors.Failure(f"no ink found on {path}: give --image a dark character on light paper")
    return picture


if __name__ == "__main__":
    cli.launch(main, Config, {})
