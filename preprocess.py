"""From any picture to what the networks were trained on: MNIST's size, place and grey values.

MNIST's makers scaled each digit so that its longer side measures 20 pixels and laid it on 28x28 with its
centre of mass in the middle (LeCun et al., "Gradient-based learning applied to document recognition", 1998).
Everything that enters a network of this project has gone through the same two steps: `center_ink`. What comes from a
file, a sheet or a camera has first gone through `ink.ink_masks`, which finds the ink, and through `photo_to_mnist` or
`find_glyphs`, which choose what of it is meant.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from glyphs import all_glyphs, bluntness, main_glyph, rectangle
from ink import OF_SHEETS, ink_masks

MEAN, STD = 0.1307, 0.3081  # of all pixels of MNIST's 60,000 training digits, as a share of full white

SIDE = 28  # pixels, a picture's height and width
BOX = 20  # pixels, the longer side of the ink
CENTER = 14  # pixels from the top left: where MNIST keeps the centre of mass; 13.5 would move three digits of four

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
        if not best.picture.any() or (blunt < SHARPER * least and _is_as_central(box, best.box, picture)):
            best, least = Character(box, finished), blunt
        if least <= BLUNT:
            break  # otherwise it may be light between shadows
    return best


def _is_as_central(one: Box, other: Box, picture: np.ndarray) -> bool:
    """Does one box lie where the other does, the middle of either within the other, or nearer to the picture's?"""
    middles = np.array([(x + width / 2, y + height / 2) for x, y, width, height in (one, other)])
    apart = np.abs(middles[0] - middles[1])
    aside = np.hypot(*(middles - np.divide(picture.shape[1::-1], 2)).T)
    return any((apart <= np.divide(box[2:], 2)).all() for box in (one, other)) or bool(aside[0] < aside[1])


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
    glyph = np.pad(_scaled(255 * mask, DRAWING), DRAWING // 10)  # room for what is smoothed and widened
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
