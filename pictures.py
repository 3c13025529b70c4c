"""Handwriting from files: a picture of any format, or folders of them, and the labels that their names carry."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from experiment import Failure
from preprocess import Box, find_glyphs, photo_to_mnist, plain

try:  # photographs of iPhones, where pillow-heif is installed
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

PIXELS = 64e6  # of a picture, at the most: a phone's 48 megapixels pass, a bomb of 100 does not
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".heic", ".heif"}


def read_picture(path: Path) -> np.ndarray:
    """The pixels of a file, upright, with the colours in OpenCV's order, as a camera would give them.

    Returns:
        (H, W), (H, W, 3) blue, green, red, or (H, W, 4) with opacity; uint8, or what the file has:
        uint16 of 16 bits in grey, float32.

    Raises:
        Failure: no file, no picture, a damaged one, or one of more than 64 megapixels.
    """
    try:
        if path.exists() and not path.is_file():
            raise Failure(f"{path} is no file")  # a pipe would be waited for
        # a bomb is refused before a pixel is unpacked; what Pillow warns of is either read or not
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_formats()) as image:
            if image.width * image.height > PIXELS:
                raise Failure(f"{path} has {image.width} x {image.height} pixels, too many: make it smaller")
            image = ImageOps.exif_transpose(image)
            if image.mode in ("1", "CMYK", "YCbCr", "LAB", "HSV"):
                image = image.convert("L" if image.mode == "1" else "RGB")
            elif image.mode in ("P", "PA"):
                image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
            pixels = np.array(image)
    except FileNotFoundError:
        raise Failure(f"there is no {path}") from None
    except PermissionError:
        raise Failure(f"no permission to read {path}") from None
    except Failure:
        raise
    except Exception:  # what a damaged file makes Pillow's decoders raise is in no list
        raise Failure(f"{path} is no picture that can be read") from None
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return pixels[:, :, order[pixels.shape[2]]] if pixels.ndim == 3 and pixels.shape[2] in order else pixels


def _formats() -> list[str]:
    """Pillow's names of what SUFFIXES promise: it knows others, of which one starts a program."""
    Image.init()
    wanted = {*(Image.EXTENSION[suffix] for suffix in SUFFIXES if suffix in Image.EXTENSION), "MPO"}  # phones' JPEG
    return sorted(wanted & Image.OPEN.keys())


@dataclass
class Sample:
    """One character of handwriting, from a file."""

    file: Path
    label: str | None  # where it is known
    box: Box | None  # on a sheet of several
    photo: np.ndarray  # uint8, the character alone, as it was photographed
    picture: np.ndarray  # (28, 28) uint8, what the network should see


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
    files = pictures_in(path)
    samples, faults = [], []
    for file in files:
        try:
            photo = plain(read_picture(file))
        except Failure as failure:
            faults.append(str(failure))
        else:
            within = [*file.parents][: len(file.parents) - len(path.parents)] or [file.absolute().parent]
            samples += _samples(file, [folder.name.lower() for folder in within], photo, names)
    if not samples:
        raise Failure(f"{faults[0]}: give pictures such as PNG or JPEG" if len(faults) == 1 else
                      f"none of the {len(faults)} files in {path} can be read ({faults[0]})")  # fmt: skip
    return samples, faults


def pictures_in(path: Path) -> list[Path]:
    """The pictures of a folder and its folders, by name, or the one file that it is; hidden ones are passed over.

    Raises:
        Failure: no such path, or no pictures in it.
    """
    try:
        files = [path] if path.stat() and not path.is_dir() else sorted(filter(_is_picture, path.rglob("*")))
    except FileNotFoundError:
        raise Failure(f"there is no {path}: give a picture or a folder of pictures") from None
    except OSError as failure:
        raise Failure(f"cannot read {path} ({failure.strerror}): give a picture or a folder of pictures") from None
    if not files:
        raise Failure(
            f"{path} holds no pictures ({' '.join(sorted(SUFFIXES))}): put some there, or name another folder"
        )
    return files


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _samples(file: Path, folders: Sequence[str], photo: np.ndarray, names: Sequence[str]) -> list[Sample]:
    folder = next((name for name in folders if name in names), None)
    words = re.findall(r"(?<!\d)\d(?!\d)|[a-z]+", file.stem.lower())
    label = folder or next((word for word in words if word in names), None)
    characters = [] if folder else find_glyphs(photo)
    if len(characters) < (3 if label else 2):
        return [Sample(file, label, None, photo, photo_to_mnist(photo))]
    crops = [photo[y : y + height, x : x + width] for x, y, width, height in (c.box for c in characters)]
    return [Sample(file, None, c.box, crop, c.picture) for c, crop in zip(characters, crops, strict=True)]
