"""Read handwriting from image files; folders and file names give the labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.datasets.labels_from_names import class_in_file_name, find_class
from pipeline.errors import Failure
from pipeline.preprocessing.image_files import count_pages, list_files, read_image
from pipeline.preprocessing.photo import THUMBNAIL_PX, Character, Photo, thumbnail
from pipeline.preprocessing.segmentation import Box

MAX_SINGLE_CHARACTER_PX = 40  # an image of at most this width and height shows one character, not a page


@dataclass
class Sample:
    """One character from an image file."""

    file: Path
    label: str | None  # None if unknown
    box: Box | None  # on a page of several characters
    photo: np.ndarray  # uint8 RGB thumbnail of the photo of the character; small, so that thousands fit in memory
    picture: np.ndarray  # (28, 28) uint8, the network's input
    others: list[np.ndarray] = field(default_factory=list)  # alternative inputs, if the network does not know `picture`
    page: int = 0  # of the file
    is_folder_label: bool = False  # whether the label is a folder's name, not the file's

    @property
    def location(self) -> str:
        """The file, and for all but the first page of a file its number from 1."""
        return self.file.as_posix() + (f"#page={self.page + 1}" if self.page else "")


def read_folder(path: Path, names: Sequence[str]) -> tuple[list[Sample], list[str]]:
    """Read all handwriting in an image, a folder or nested folders; hidden files are ignored.

    Args:
        path, names: as for `read_pages`.

    Returns:
        the samples, sorted by file and in reading order; a line for each file that is not read.

    Raises:
        Failure: no such path, no images in it, or none that can be read.
    """
    samples, faults = [], []
    for page in read_pages(path, names):
        if isinstance(page, Failure):
            faults.append(str(page))
        else:
            samples += page
    if not samples:
        raise Failure(f"{faults[0]}: give images such as PNG or JPEG" if len(faults) == 1 else
                      f"none of the {len(faults)} files in {path} can be read ({faults[0]})")  # fmt: skip
    return samples, faults


def read_pages(path: Path, names: Sequence[str]) -> Iterator[list[Sample] | Failure]:
    """Read one image after the other, and one page after the other of a file with several.

    A label is the name of the nearest folder that is a class, within `path` or the one that contains it; else the
    class that the file's name states (`labels_from_names.class_in_file_name`). An image in a class folder shows one
    character. Any other image with two characters, or with three if its name states a class, is a page, whose
    characters have no label.

    Args:
        path: an image or a folder, which may be nested.
        names: the classes, such as "7" or "alpha".

    Yields:
        a page's samples in reading order, or why a file is not read.

    Raises:
        Failure: no such path, or no images in it.
    """
    images, others = list_files(path)
    for file in images:
        folders = [*file.parents][: len(file.parents) - len(path.parents)] or [file.absolute().parent]
        label = next(filter(None, (find_class(folder.name, names) for folder in folders)), None)
        for page in range(count_pages(file)):
            try:
                photo = Photo(read_image(file, page))
            except Failure as failure:
                yield failure
            else:
                yield _read_photo(file, page, label, photo, names)
    for file in others:
        yield Failure(f"{file} is not an image")


def _read_photo(file: Path, page: int, label: str | None, photo: Photo, names: Sequence[str]) -> list[Sample]:
    if label or max(photo.pixels.shape[:2]) <= MAX_SINGLE_CHARACTER_PX:
        return [one_character(file, label or class_in_file_name(file, names), photo, page, label is not None)]
    label = class_in_file_name(file, names)
    characters = photo.characters()
    if len(characters) < (3 if label else 2):
        return [one_character(file, label, photo, page)]
    return page_samples(file, photo.pixels, characters, page)


def one_character(file: Path, label: str | None, photo: Photo, page: int = 0, is_folder_label: bool = False) -> Sample:
    """Make a sample of a photo that shows one character."""
    picture, *others = photo.readings()
    return Sample(file, label, None, thumbnail(photo.pixels, THUMBNAIL_PX), picture, others, page, is_folder_label)


def page_samples(
    file: Path, photo: np.ndarray, characters: Sequence[Character], page: int = 0, turns: int = 0
) -> list[Sample]:
    """Make samples of a page's characters, with their bounding boxes in the file's own orientation.

    Args:
        photo: (H, W) or (H, W, 3), rotated counterclockwise by `turns` quarters, as by np.rot90.
    """
    samples = []
    for character in characters:
        x, y, width, height = character.box
        crop = thumbnail(photo[y : y + height, x : x + width], THUMBNAIL_PX)
        box = _rotate_box(character.box, photo.shape, turns)
        samples.append(Sample(file, None, box, crop, character.image, page=page))
    return samples


def _rotate_box(box: Box, shape: tuple[int, ...], turns: int) -> Box:
    """Rotate a bounding box on a photo of this shape clockwise by `turns` quarters."""
    x, y, width, height = box
    rows, columns = shape[:2]
    for _ in range(turns):
        x, y, width, height, rows, columns = rows - y - height, x, height, width, columns, rows
    return x, y, width, height
