"""Convert any image to what the networks were trained on, the same way for a file, a page and a camera frame.

image -> gray -> ink -> without printed lines -> the character, or all of them -> 28x28 images as MNIST has them
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from pipeline.preprocessing.binarization import (
    BROAD_PEN_SCALE,
    PHOTO_SCALE,
    SHEET_SCALE,
    Ink,
    Scale,
    find_ink,
    polarity,
    to_gray,
)
from pipeline.preprocessing.enclosures import without_enclosures, without_tables
from pipeline.preprocessing.mnist_format import IMAGE_SIZE, center_ink, character_to_mnist
from pipeline.preprocessing.ruled_lines import without_rules
from pipeline.preprocessing.segmentation import Box, Glyph, all_characters, is_single, isolate, main_character

MIN_LARGE_CHARACTER_PX = 60  # at PHOTO_SCALE: a page of such characters is read at this scale
THUMBNAIL_PX = 84  # longer side of the thumbnails in figures
UNCLEAR_POLARITY_LOG_ODDS = 1  # log odds: below, ink may as well be lighter than paper
CLEAR_POLARITY_LOG_ODDS = 3  # likewise: below, what is taken for one large character can be the paper between many


@dataclass
class Character:
    """One character found on an image."""

    box: Box  # of its ink, in pixels of the image; of width 0 where there is none
    image: np.ndarray  # (28, 28) uint8, the network's input


def photo_to_mnist(pixels: np.ndarray) -> np.ndarray:
    """Convert an image of one character to the network's input.

    Args:
        pixels: as for Photo.

    Returns:
        (28, 28) uint8, as MNIST has it: light ink on black, the longer side 20, the center of mass on (14, 14), the
        stroke no thinner than MNIST's thin ones. An image that is like this already, such as a digit of MNIST, comes
        out as it went in. Black where there is no ink.
    """
    return Photo(pixels).character.image


class Photo:
    """An image of one character or of a page of them; intermediate results are computed once."""

    def __init__(self, pixels: np.ndarray):
        """
        Args:
            pixels: (H, W), (H, W, 1), (H, W, 3) blue, green, red, or (H, W, 4) with opacity; uint8, or any other
                type: uint16 and float are taken from their least to their greatest value.

        Raises:
            ValueError: an array of another shape.
        """
        self.pixels = as_uint8(pixels)

    @cached_property
    def character(self) -> Character:
        """The one character of the image, and where it is."""
        if self.pixels.shape[:2] == (IMAGE_SIZE, IMAGE_SIZE):
            gray = self.pixels if self.pixels.ndim == 2 else self.pixels[:, :, 0]
            is_gray = self.pixels.ndim == 2 or (self.pixels == gray[:, :, None]).all()
            if is_gray and np.array_equal(center_ink(gray), gray):
                return Character(cv2.boundingRect(gray), gray.copy())  # it has been preprocessed before
        return _main(self._ink)

    def readings(self) -> list[np.ndarray]:
        """What the image may show, (28, 28) uint8 each: first `character`, then what else, if that is of no class.

        That is the character with all of its pale strokes, or by a pen so broad that it was taken for a thing; and
        where nothing says whether ink is darker than paper, the other of the two. With them may come a shadow, so it
        is for a network to choose.
        """
        is_dark = self._polarity >= 0
        polarities = [is_dark] if abs(self._polarity) >= UNCLEAR_POLARITY_LOG_ODDS else [is_dark, not is_dark]
        first = self.character.image
        others = [_main(_ink(*self._gray, is_dark, BROAD_PEN_SCALE)).image for is_dark in polarities]
        return [first] + [image for image in others if image.any() and not np.array_equal(image, first)]

    def characters(self) -> list[Character]:
        """The characters of a whole sheet, in reading order; what the border cuts is left out.

        Slashes and parentheses among them have a black image, so that they are unclear: alone they are 1s.
        """
        is_clear = abs(self._polarity) >= CLEAR_POLARITY_LOG_ODDS
        if is_clear and is_single(self._ink):
            return [self.character] if self.character.image.any() else []
        ink, glyphs = self._ink, all_characters(self._ink) if is_clear else []
        if not glyphs or np.median([max(glyph.box[2:]) for glyph in glyphs]) < MIN_LARGE_CHARACTER_PX:
            gray, factor = to_gray(self.pixels, SHEET_SCALE)
            ink = _ink(gray, factor, polarity(gray, SHEET_SCALE) >= 0, SHEET_SCALE)
            glyphs = all_characters(ink)
        found = [(glyph, _character(ink, glyph)) for glyph in glyphs]
        for glyph, character in found:
            if glyph.is_sign:
                character.image = np.zeros_like(character.image)
        return [character for glyph, character in found if glyph.is_sign or character.image.any()]

    @cached_property
    def _gray(self) -> tuple[np.ndarray, float]:
        return to_gray(self.pixels, PHOTO_SCALE)

    @cached_property
    def _polarity(self) -> float:
        return polarity(self._gray[0], PHOTO_SCALE)

    @cached_property
    def _ink(self) -> Ink:
        return _ink(*self._gray, self._polarity >= 0, PHOTO_SCALE)


def _main(ink: Ink) -> Character:
    glyph = main_character(ink)
    return _character(ink, glyph) if glyph else Character((0, 0, 0, 0), np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8))


def _ink(gray: np.ndarray, factor: float, is_dark: bool, scale: Scale) -> Ink:
    """The ink as from find_ink, printed lines removed."""
    ink = find_ink(gray, is_dark, factor, scale)
    ink.mask = without_enclosures(without_tables(without_rules(ink.mask, factor), factor))
    return ink


def _character(ink: Ink, glyph: Glyph) -> Character:
    x, y, width, height = glyph.box
    image = character_to_mnist(isolate(ink, glyph), max(width, height))
    left, top, right, bottom = (round(side / ink.scale) for side in (x, y, x + width, y + height))
    return Character((left, top, max(1, right - left), max(1, bottom - top)), image)


def as_uint8(photo: np.ndarray) -> np.ndarray:
    """Any array of pixels as (H, W) or (H, W, 3) uint8, what is transparent filled with paper."""
    if photo.ndim not in (2, 3) or not photo.size or (photo.ndim == 3 and photo.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"not an image: an array of shape {photo.shape}")
    if photo.dtype != np.uint8:
        finite = [np.nan_to_num(band, posinf=0, neginf=0) for band in _bands(photo)]
        low, high = min(float(band.min()) for band in finite), max(float(band.max()) for band in finite)
        scale = 255 / max(high - low, 1e-12)
        photo = np.concatenate([np.rint((band.astype(float) - low) * scale).astype(np.uint8) for band in finite])
    if photo.ndim == 3 and photo.shape[2] in (2, 4):
        layers = [(band[:, :, :-1], band[:, :, -1:].astype(np.float32) / 255) for band in _bands(photo)]
        weight = sum(float(opacity.sum()) for _, opacity in layers) * (photo.shape[2] - 1)
        seen = sum(float((color * opacity).sum()) for color, opacity in layers) / max(1, weight)
        paper = 255 if seen < 128 else 0  # ink was drawn to be seen
        blend = [np.rint(color * opacity + paper * (1 - opacity)).astype(np.uint8) for color, opacity in layers]
        photo = np.concatenate(blend)
    return np.ascontiguousarray(photo[:, :, 0] if photo.ndim == 3 and photo.shape[2] == 1 else photo)


def _bands(photo: np.ndarray) -> list[np.ndarray]:
    """Some rows at a time, so that a phone's largest photo fits into memory as floats."""
    return np.array_split(photo, min(len(photo), 1 + photo.size // 2**22))


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Resize a gray or BGR image of any type to uint8 RGB, at most (side, side, 3), keeping its aspect ratio."""
    image = as_uint8(image)
    scale = side / max(image.shape[:2])
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
