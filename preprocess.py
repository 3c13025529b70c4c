"""From any picture to what the networks were trained on: MNIST's size, place and grey values.

MNIST's makers scaled each digit so that its longer side measures 20 pixels and laid it on 28x28 with its
centre of mass in the middle (LeCun et al., "Gradient-based learning applied to document recognition", 1998).
Everything that enters a network of this project has gone through the same two steps: `center_ink`. What comes from a
file, a sheet or a camera has first gone through `ink.ink_masks`, which finds the ink, and through `photo_to_mnist` or
`find_glyphs`, which choose what of it is meant.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from experiment import Failure
from glyphs import all_glyphs, bluntness, main_glyph, rectangle
from ink import OF_SHEETS, ink_masks

try:  # photographs of iPhones, where pillow-heif is installed
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

MEAN, STD = 0.1307, 0.3081  # of all pixels of MNIST's 60,000 training digits, as a share of full white

SIDE = 28  # pixels, a picture's height and width
BOX = 20  # pixels, the longer side of the ink
CENTER = 14  # pixels from the top left: where MNIST keeps the centre of mass; 13.5 would move three digits of four

PIXELS = 64e6  # of a picture, at the most: a phone's 48 megapixels pass, a bomb of 100 does not
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".heic", ".heif"}
PHOTO = 160, 640  # pixels, the longer side a picture of one character is brought to, at the least and the most
SHEET = 800, 1800  # the same for a sheet of many
DRAWING = 6 * BOX  # pixels, the longer side of the glyph whose strokes are measured and mended
THINNEST = 1.9  # pixels of stroke on the finished picture: thinner ones are widened to this
SOLID = 0.75  # of the rectangle around it, unless that is long and narrow: fuller things are no writing
BLUNT = 0.15  # of the outline: where more of it is no sharp edge, the other polarity may show what is meant
SHARPER = 0.25  # of that share: the most that what the other polarity shows may have, to be meant
THICKEST = 6.2  # pixels likewise: what is thicker was written by no pen, and is taken for no ink


def center_ink(ink: np.ndarray) -> np.ndarray:
    """Scale and place one glyph as MNIST does.

    Args:
        ink: (H, W) uint8 of any size, 0 where there is paper and up to 255 where there is ink.

    Returns:
        (28, 28) uint8: the ink's longer side 20 pixels, its centre of mass on (14, 14), by whole pixels, so
        that real MNIST digits come out as they went in. A picture without ink comes out black.
    """
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    if not ink.any():
        return canvas
    glyph = _scaled(ink, BOX)
    height, width = glyph.shape
    moments = cv2.moments(glyph)
    mass = max(moments["m00"], 1e-9)  # a few grey specks can shrink to nothing
    top = round(CENTER - moments["m01"] / mass)
    left = round(CENTER - moments["m10"] / mass)
    # a very lopsided glyph would leave the picture: its edge stops at the picture's edge
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    canvas[top : top + height, left : left + width] = glyph
    return canvas


def _scaled(ink: np.ndarray, side: int) -> np.ndarray:
    """What there is of ink, without the paper around it, its longer side brought to `side` pixels."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    glyph = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = side / max(glyph.shape)
    if scale == 1:
        return glyph
    size = [max(1, round(length * scale)) for length in reversed(glyph.shape)]  # width, height
    return cv2.resize(glyph, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def photo_to_mnist(picture: np.ndarray) -> np.ndarray:
    """What the network should see of a picture that shows one character.

    The character is the largest sharp-edged ink that the picture's border does not cut, with the strokes that
    belong to it; a second character of its size beside it stays in, so that the answer can be `unclear`.

    Args:
        picture: (H, W), (H, W, 1), (H, W, 3) blue, green, red, or (H, W, 4) with opacity; uint8, or any other type:
            uint16 and float are taken from their least to their greatest value.

    Returns:
        (28, 28) uint8, as MNIST has it: light ink on black, the longer side 20, the centre of mass on (14, 14), the
        stroke no thinner than MNIST's thin ones. A digit of MNIST comes out as it went in, but for three in ten
        thousand. Black where there is no writing.
    """
    return find_glyph(picture).picture


Box = tuple[int, int, int, int]  # x, y, width, height in pixels


@dataclass
class Character:
    """One character found on a picture."""

    box: Box  # of its ink; of width 0 where there is none
    picture: np.ndarray  # (28, 28) uint8, what the network should see, as from photo_to_mnist


def find_glyph(picture: np.ndarray) -> Character:
    """What photo_to_mnist finds, and where on the picture it is."""
    picture = plain(picture)
    if picture.shape[:2] == (SIDE, SIDE):
        grey = picture if picture.ndim == 2 else picture[:, :, 0]
        is_grey = picture.ndim == 2 or (picture == grey[:, :, None]).all()
        if is_grey and np.array_equal(center_ink(grey), grey):
            return Character(cv2.boundingRect(grey), grey.copy())  # it has been through all this before
    best, least = Character((0, 0, 0, 0), np.zeros((SIDE, SIDE), np.uint8)), np.inf
    for ink in ink_masks(picture, *PHOTO):
        mask = main_glyph(ink)
        finished = _finish(mask)
        if not finished.any():
            continue  # a dark page on a light desk looks like ink, and its light ink like paper
        box = tuple(round(side / ink.scale) for side in cv2.boundingRect(mask))
        blunt = bluntness(ink, mask)
        if not best.picture.any() or (blunt < SHARPER * least and _at_one_place(box, best.box)):
            best, least = Character(box, finished), blunt
        if least <= BLUNT:
            break  # otherwise it may be light between shadows
    return best


def _at_one_place(one: Box, other: Box) -> bool:
    """Does the middle of either box lie within the other?"""
    (x, y, width, height), (u, v, wide, high) = one, other
    across, along = abs(x + width / 2 - u - wide / 2), abs(y + height / 2 - v - high / 2)
    return any(across <= w / 2 and along <= h / 2 for w, h in ((width, height), (wide, high)))


def find_glyphs(picture: np.ndarray) -> list[Character]:
    """The characters on a photograph of a whole sheet, in reading order; what the border cuts is left out.

    Args:
        picture: as for photo_to_mnist.
    """
    ink = next(ink_masks(plain(picture), *SHEET, OF_SHEETS))
    characters = []
    for glyph in all_glyphs(ink):
        x, y, right, bottom = (
            round(side / ink.scale) for side in (glyph.x, glyph.y, glyph.x + glyph.width, glyph.y + glyph.height)
        )
        character = Character((x, y, max(1, right - x), max(1, bottom - y)), _finish(glyph.mask))
        if character.picture.any():  # what is solid or thick, such as a check of a table cloth, is no writing
            characters.append(character)
    return characters


def plain(picture: np.ndarray) -> np.ndarray:
    """Any array of pixels as (H, W) or (H, W, 3) uint8, what is transparent filled with paper."""
    if picture.ndim not in (2, 3) or not picture.size or (picture.ndim == 3 and picture.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"no picture: an array of shape {picture.shape}")
    if picture.dtype != np.uint8:
        finite = [np.nan_to_num(band, posinf=0, neginf=0) for band in _bands(picture)]
        low, high = min(float(band.min()) for band in finite), max(float(band.max()) for band in finite)
        scale = 255 / max(high - low, 1e-12)
        picture = np.concatenate([np.rint((band.astype(float) - low) * scale).astype(np.uint8) for band in finite])
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        layers = [(band[:, :, :-1], band[:, :, -1:].astype(np.float32) / 255) for band in _bands(picture)]
        weight = sum(float(opacity.sum()) for _, opacity in layers) * (picture.shape[2] - 1)
        seen = sum(float((color * opacity).sum()) for color, opacity in layers) / max(1, weight)
        paper = 255 if seen < 128 else 0  # ink was drawn to be seen
        blend = [np.rint(color * opacity + paper * (1 - opacity)).astype(np.uint8) for color, opacity in layers]
        picture = np.concatenate(blend)
    return np.ascontiguousarray(picture[:, :, 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)


def _bands(picture: np.ndarray) -> list[np.ndarray]:
    """Some rows at a time, so that a phone's largest picture fits into memory as floats."""
    return np.array_split(picture, min(len(picture), 1 + picture.size // 2**22))


def _finish(mask: np.ndarray) -> np.ndarray:
    """One glyph's mask as MNIST's makers would have it, with a stroke that can be seen."""
    if not mask.any() or _is_solid(mask):
        return np.zeros((SIDE, SIDE), np.uint8)
    glyph = np.pad(_scaled(255 * mask, DRAWING), DRAWING // 4)
    smooth = cv2.GaussianBlur(glyph, (0, 0), 1.5)
    drawing = (smooth >= min(128, smooth.max())).astype(np.uint8)
    # across a straight stroke the distance to its edge is a quarter of its width, on average
    pixel = DRAWING / BOX
    width = 4 * cv2.distanceTransform(drawing, cv2.DIST_L2, 5)[drawing > 0].mean() / pixel
    if width > THICKEST:
        return np.zeros((SIDE, SIDE), np.uint8)
    if width < THINNEST:
        drawing = cv2.distanceTransform(1 - drawing, cv2.DIST_L2, 5) <= (THINNEST - width) / 2 * pixel
    return center_ink(255 * drawing.astype(np.uint8))


def _is_solid(mask: np.ndarray) -> bool:
    """Does it fill the rectangle around it, as a card does that lies on a table?"""
    width, length = rectangle(mask)
    return width > 0.5 * length and mask.sum(dtype=int) > SOLID * width * length


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
