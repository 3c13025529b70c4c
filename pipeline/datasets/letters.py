"""The letters to train on: folders of real ones, synthetic ones, or both, as training and validation splits.

Each class has a folder of images, and the folder's name is the class: a new letter or any other sign needs only a
folder with a few images. For classes that have stroke templates, synthetic letters can be added.
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
from pipeline.datasets.labels_from_names import class_name
from pipeline.datasets.stroke_templates import GREEK, TEMPLATES
from pipeline.datasets.synthetic import draw_characters
from pipeline.errors import Failure
from pipeline.preprocessing.image_files import is_image

FIRST_THREE = ["alpha", "beta", "gamma"]
CLASSIC_LETTERS_PER_CLASS = 9  # as in the report; synthetic, if there are no real ones and --drawn is 0
VALIDATION_LETTERS_PER_CLASS = 100  # synthetic letters that choose the epoch
OUTLIERS_PER_EXAMPLE = 0.3
SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation", "eval"}


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The composition of the training letters; every field is a flag of the Greek scripts."""

    drawn: int = option(0, "synthetic training letters per class", least=0)
    copies: int = option(1, "copies of each real letter, each degraded differently", least=1)
    wear: float = option(0.0, "share of the letters that are degraded like rough scans", least=0, most=1)


@dataclass
class Source:
    """The classes, and their real letters."""

    names: list[str]  # the classes
    pictures: np.ndarray = field(default_factory=lambda: np.empty((0, 28, 28), np.uint8))  # (N, 28, 28) uint8
    labels: list[str] = field(default_factory=list)  # N class names

    @property
    def drawable(self) -> bool:
        """Whether any of the classes has stroke templates."""
        return not TEMPLATES.keys().isdisjoint(self.names)

    def describe(self, drawn: int) -> str:
        """Name the letters for prints, titles and metrics.json, with `drawn` synthetic ones per class."""
        given = f"{len(self.labels)} given letters" if self.labels else ""
        synthetic = self.drawable and (drawn or set(self.names) > set(self.labels))
        return " and ".join(filter(None, [given, "synthetic letters" if synthetic else ""]))


def synthetic_source(every: bool) -> Source:
    """Return a source without real letters, of three classes or of all 24."""
    return Source(list(GREEK) if every else FIRST_THREE)


def find_source(folder: Path | None, data_dir: Path, every: bool) -> Source:
    """Read the letters of a folder, by default `data/greek_train`; without one all letters are synthetic.

    Args:
        folder: contains a folder per class.
        every: whether all 24 lower-case letters are classes, in addition to those of the folder.

    Raises:
        Failure: no such folder, a class without a readable image, fewer than two classes, or the classes are in
            folders such as train and test.
    """
    if folder is None and not every:
        usual = [place / "greek_train" for place in (data_dir, Path("data"))]
        folder = next((place for place in usual if place.is_dir()), None)
    if folder is None:
        return synthetic_source(every)
    if not folder.is_dir():
        raise Failure(f"{folder} is not a folder: give one that contains a folder of images for each letter")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    _check_level(folder, classes)
    names = [class_name(path.name) for path in classes]
    samples = [sample for path in classes for sample in _read_class(path, names)]
    known = set(names) | set(GREEK if every else ())
    names = [name for name in GREEK if name in known] + sorted(known - GREEK.keys())
    if len(names) < 2:
        advice = "give the folder that contains a folder of images for each class"
        raise Failure(f"at least two classes are needed, {folder} has {len(names)}: {advice}")
    return Source(names, np.stack([s.picture for s in samples]), [str(s.label) for s in samples])


def _check_level(folder: Path, classes: list[Path]) -> None:
    """Raise Failure if the class folders are one level deeper, in folders such as train and test."""
    splits = {path.name.lower(): path for path in classes if path.name.lower() in SPLIT_NAMES}
    if not splits or any(is_image(file) for path in splits.values() for file in path.iterdir()):
        return
    train = next((path for name, path in splits.items() if name.startswith("train")), next(iter(splits.values())))
    test = next((path for name, path in splits.items() if name.startswith("test")), None)
    advice = f"--greek-train {train}" + (f" --handwritten {test}" if test else "")
    raise Failure(f"the folders in {folder} are not classes, but contain them: give {advice}")


def _read_class(path: Path, names: list[str]) -> list[Sample]:
    """Read the images of a class; print a line for each file that is not read."""
    if not any(is_image(file) for file in path.rglob("*")):
        raise Failure(f"{path} contains no images: add some, or remove the folder")
    if not any(is_image(file) for file in path.iterdir()):
        print(f"{path} contains folders: all images in them are labeled {class_name(path.name)}")
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
    """Make the training split and the validation split, of other synthetic letters or of degraded copies.

    Args:
        mixture: even with drawn=0, classes without real letters get a few synthetic ones; a class without stroke
            templates gets more copies if it would have too few letters.
        with_outliers: whether outliers, labeled -1, join the training split.
        valid: synthetic letters per class in the validation split.
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
    """Draw synthetic letters to test on, if there are no real ones; None if no class has stroke templates."""
    return (
        _synthetic_split(source, VALIDATION_LETTERS_PER_CLASS, wear, np.random.default_rng(seed))
        if source.drawable
        else None
    )


def _synthetic_split(source: Source, count: int, wear: float, rng: np.random.Generator) -> Split:
    pictures, labels = _collect(source, count, 0, rng)
    return as_split(degradation.degrade(pictures, wear, rng), labels, source.names)


def describe(train: Split, names: Sequence[str]) -> str:
    """Describe the size of a training split."""
    known = (train.labels >= 0).sum().item()
    others = f" and {len(train) - known:,} outliers" if known < len(train) else ""
    return f"{known:,} images of {len(names)} classes{others}"


def _collect(source: Source, drawn: int, copies: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 28, 28) and class names (N,): `copies` of every real letter, `drawn` of each class."""
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
    """Make a split of N images (28, 28) and their class names; a name that is no class becomes the label -1."""
    numbers = {name: number for number, name in enumerate(names)}
    return Split(normalize(np.stack(pictures)), torch.tensor([numbers.get(str(label), -1) for label in labels]))
