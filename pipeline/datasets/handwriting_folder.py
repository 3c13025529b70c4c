"""Handwriting from files: an image, or folders of them, and the labels that their names carry."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.errors import Failure
from pipeline.preprocessing.image_files import list_images, read_image
from pipeline.preprocessing.photo import Character, Photo
from pipeline.preprocessing.segmentation import Box


@dataclass
class Sample:
    """One character of handwriting, from a file."""

    file: Path
    label: str | None  # where it is known
    box: Box | None  # on a sheet of several
    photo: np.ndarray  # uint8, the character alone, as it was photographed
    picture: np.ndarray  # (28, 28) uint8, what the network should see
    others: list[np.ndarray] = field(default_factory=list)  # what else it may show, where the network doubts that


def read_folder(path: Path, names: Sequence[str]) -> tuple[list[Sample], list[str]]:
    """The handwriting in a picture, a folder or nested folders; hidden files are passed over.

    The label is the name of the folder, the nearest within `path` or the one that holds it; or else the first digit
    that stands alone, or the first of the names, in the file's name. A picture in a folder of a name shows one
    character. Any other on which several are found, or three and more where its own name has a label, is a sheet,
    whose characters have none.

    Args:
        names: the classes, such as "7" or "alpha".

    Returns:
        the samples, by file and in reading order; a line for each file that could not be read.

    Raises:
        Failure: no such path, no pictures in it, or none that can be read.
    """
    files = list_images(path)
    samples, faults = [], []
    for file in files:
        try:
            photo = Photo(read_image(file))
        except Failure as failure:
            faults.append(str(failure))
        else:
            within = [*file.parents][: len(file.parents) - len(path.parents)] or [file.absolute().parent]
            samples += _samples(file, [folder.name.lower() for folder in within], photo, names)
    if not samples:
        raise Failure(f"{faults[0]}: give pictures such as PNG or JPEG" if len(faults) == 1 else
                      f"none of the {len(faults)} files in {path} can be read ({faults[0]})")  # fmt: skip
    return samples, faults


def _samples(file: Path, folders: Sequence[str], photo: Photo, names: Sequence[str]) -> list[Sample]:
    folder = next((name for name in folders if name in names), None)
    words = re.findall(r"(?<!\d)\d(?!\d)|[a-z]+", file.stem.lower())
    label = folder or next((word for word in words if word in names), None)
    characters = [] if folder else photo.characters()
    if len(characters) < (3 if label else 2):
        return [one_character(file, label, photo)]
    return page_samples(file, photo.pixels, characters)


def one_character(file: Path, label: str | None, photo: Photo) -> Sample:
    """The character that fills a photo."""
    picture, *others = photo.readings()
    return Sample(file, label, None, photo.pixels, picture, others)


def page_samples(file: Path, photo: np.ndarray, characters: Sequence[Character], turns: int = 0) -> list[Sample]:
    """The characters of a page; their boxes are where they are on the page as it was photographed.

    Args:
        photo: (H, W) or (H, W, 3), turned by so many quarters to the left, as np.rot90 does.
    """
    samples = []
    for character in characters:
        x, y, width, height = character.box
        crop = photo[y : y + height, x : x + width]
        samples.append(Sample(file, None, _turned_back(character.box, photo.shape, turns), crop, character.image))
    return samples


def _turned_back(box: Box, shape: tuple[int, ...], turns: int) -> Box:
    """A box on a photo of that shape, turned by so many quarters to the right."""
    x, y, width, height = box
    rows, columns = shape[:2]
    for _ in range(turns):
        x, y, width, height, rows, columns = rows - y - height, x, height, width, columns, rows
    return x, y, width, height
