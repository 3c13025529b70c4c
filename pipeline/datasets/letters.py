"""The letters to learn: folders of real ones, synthetic ones, or both, as training and validation splits.

A folder for each class holds images of it, and its name is the class: a new letter or any other sign needs only a
folder with a few images. Classes that have stroke templates are joined by as many synthetic letters as asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline.cli import option
from pipeline.datasets import degradation, outliers
from pipeline.datasets.datasets import Split, normalize
from pipeline.datasets.handwriting_folder import Sample, read_folder
from pipeline.datasets.stroke_templates import GREEK, TEMPLATES
from pipeline.datasets.synthetic import draw_characters
from pipeline.errors import Failure
from pipeline.preprocessing.image_files import IMAGE_SUFFIXES

FIRST_THREE = ["alpha", "beta", "gamma"]
CLASSIC_LETTERS_PER_CLASS = (
    9  # letters a class, as the report had, where there are neither real nor drawn ones asked for
)
VALIDATION_LETTERS_PER_CLASS = 100  # drawn letters a class that choose the epoch
OUTLIERS_PER_EXAMPLE = 0.3  # for each example to learn from


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """How many letters a network learns from; every field is a flag of the Greek scripts."""

    drawn: int = option(0, "synthetic training letters per class", least=0)
    copies: int = option(1, "copies of each real letter, each degraded differently", least=1)
    wear: float = option(0.0, "share of the letters that are degraded like rough scans", least=0, most=1)


@dataclass
class Source:
    """Real letters, and the classes to tell apart."""

    names: list[str]  # of the classes
    pictures: np.ndarray = field(default_factory=lambda: np.empty((0, 28, 28), np.uint8))  # (N, 28, 28) uint8
    labels: list[str] = field(default_factory=list)  # N names

    @property
    def drawable(self) -> bool:
        """Can `synthetic` draw any of the classes?"""
        return not TEMPLATES.keys().isdisjoint(self.names)

    def describe(self, drawn: int) -> str:
        """Name the letters for prints, titles and metrics.json, with `drawn` synthetic ones per class."""
        given = f"{len(self.labels)} given letters" if self.labels else ""
        synthetic = self.drawable and (drawn or set(self.names) > set(self.labels))
        return " and ".join(filter(None, [given, "synthetic letters" if synthetic else ""]))


def synthetic_source(every: bool) -> Source:
    """No real letters: three classes, or all 24."""
    return Source(list(GREEK) if every else FIRST_THREE)


def find_source(folder: Path | None, data_dir: Path, every: bool) -> Source:
    """The letters of a folder, else of `data/greek_train`, else none: then the drawn ones are all there is.

    Args:
        folder: one folder per class inside, any number of them.
        every: tell all 24 lower-case letters apart, and what else the folder holds; without a folder by drawn ones.

    Raises:
        Failure: no such folder, a class without a picture that can be read, fewer than two classes.
    """
    if folder is None and not every:
        usual = [place / "greek_train" for place in (data_dir, Path("data"))]
        folder = next((place for place in usual if place.is_dir()), None)
    if folder is None:
        return synthetic_source(every)
    if not folder.is_dir():
        raise Failure(f"{folder} is not a folder: give one that contains a folder of images for each letter")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    names = [path.name.lower() for path in classes]
    samples = [sample for path in classes for sample in _read_class(path, names)]
    known = set(names) | set(GREEK if every else ())
    names = [name for name in GREEK if name in known] + sorted(known - GREEK.keys())
    if len(names) < 2:
        raise Failure(f"at least two classes are needed, {folder} has {len(names)}: give a folder of images for each")
    return Source(names, np.stack([s.picture for s in samples]), [str(s.label) for s in samples])


def _read_class(path: Path, names: list[str]) -> list[Sample]:
    """One class. What cannot be read is said and left out."""
    if not any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.rglob("*")):
        raise Failure(f"{path} contains no images: add some, or remove the folder")
    if not any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir()):
        print(f"{path} contains folders: all images in them are labelled {path.name.lower()}")
    samples, faults = read_folder(path, names)
    faults += [f"{sample.file} shows no ink" for sample in samples if not sample.picture.any()]
    for fault in faults:
        print(f"skipped: {fault}")
    samples = [sample for sample in samples if sample.picture.any()]
    if not samples:
        raise Failure(f"no image in {path} shows any ink: add others, or remove the folder")
    return samples


def training_mixture(
    source: Source, mixture: Mixture, seed: int, with_outliers: bool, valid: int = VALIDATION_LETTERS_PER_CLASS
) -> tuple[Split, Split]:
    """What to train on, and what chooses the epoch: other drawn letters, or, of what cannot be drawn, copies.

    Args:
        mixture: with 0 drawn ones a few are drawn of the classes that have no real ones; there are more copies where
            a class that cannot be drawn would have too few.
        with_outliers: let outliers, of label -1, join the train split.
        valid: letters drawn per class for what chooses the epoch.
    """
    rng, wear = np.random.default_rng(seed), mixture.wear
    pictures, labels = _collect(source, mixture.drawn, mixture.copies, rng)
    images = degradation.degrade(pictures, wear, rng)
    if with_outliers:
        others = outliers.outliers(
            pictures, labels, round(OUTLIERS_PER_EXAMPLE * len(labels)), int(rng.integers(2**32))
        )
        images = np.concatenate([images, degradation.degrade(others, wear, rng)])
        labels = np.concatenate([labels, np.full(len(others), "")])
    return as_split(images, labels, source.names), _synthetic_split(source, valid, wear, rng)


def synthetic_test(source: Source, seed: int, wear: float) -> Split | None:
    """Synthetic letters to test on where there are no real ones; None where none of the classes can be drawn."""
    return (
        _synthetic_split(source, VALIDATION_LETTERS_PER_CLASS, wear, np.random.default_rng(seed))
        if source.drawable
        else None
    )


def _synthetic_split(source: Source, count: int, wear: float, rng: np.random.Generator) -> Split:
    pictures, labels = _collect(source, count, 0, rng)
    return as_split(degradation.degrade(pictures, wear, rng), labels, source.names)


def describe(train: Split, names: Sequence[str]) -> str:
    """How many pictures of classes there are, and of none."""
    known = (train.labels >= 0).sum().item()
    others = f" and {len(train) - known:,} of no class" if known < len(train) else ""
    return f"{known:,} pictures of {len(names)} classes{others}"


def _collect(source: Source, drawn: int, copies: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 28, 28) and names (N,): every real letter `copies` times, the drawn ones of each class."""
    real = np.array(source.labels, dtype=str)
    seen = set(real.tolist())
    names = [name for name in source.names if name in TEMPLATES and (drawn or name not in seen)]
    labels = np.repeat(names, drawn or CLASSIC_LETTERS_PER_CLASS) if names else np.empty(0, dtype=str)
    pictures = [draw_characters(labels, int(rng.integers(2**32)))]
    for name in sorted(seen):
        own = source.pictures[real == name]
        times = copies if name in TEMPLATES else max(copies, -(-drawn // len(own)), 1)
        pictures.append(np.tile(own, (times, 1, 1)))
        labels = np.concatenate([labels, np.full(times * len(own), name)])
    return np.concatenate(pictures), labels


def as_split(pictures: Sequence[np.ndarray], labels: Sequence[str], names: Sequence[str]) -> Split:
    """N pictures (28, 28) and their names as numbers; what is no class has the number -1."""
    numbers = {name: number for number, name in enumerate(names)}
    return Split(normalize(np.stack(pictures)), torch.tensor([numbers.get(str(label), -1) for label in labels]))
