"""Which strokes of the ink are characters: the one that an image shows, or all of a sheet, in reading order.

The ink falls into connected parts. A part weighs by its size and its contrast; one that the border cuts
weighs less. Parts that are close and of unequal size are strokes of one character, such as the bar of a 5; equal
neighbors are two characters.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.preprocessing.binarization import Ink, mean_contrast
from pipeline.preprocessing.mnist_format import components, square

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

BORDER_WEIGHT, OPPOSITE_BORDERS_WEIGHT = (
    0.12,
    0.02,
)  # of a part that touches the border, and of one that touches opposite borders
MIN_CHARACTER_SIZE = 0.03  # of the image's longer side: what is smaller is dirt, or the grain of paper
# parts of at least such a size, no further away than this, are strokes of the main one; both are shares of its size
STROKE_REACH = (0.3, 0.2), (0.1, 0.07)
MAX_STROKE_GAP = 0.04  # of the main part's size: what is as near, from ink to ink, is a piece of the same stroke
MAX_STROKE_GAP_PX = 3  # of the image, likewise: scanned in black and white a thin stroke breaks
COMPANION_SIZE, COMPANION_REACH = (0.6, 1.6), 0.5  # of a second character beside, likewise
MAX_NARROW_WIDTH = 0.35  # of its length: what is less wide can be the edge of a thing as well as a 1
MIN_EDGE_STEP = 0.9  # of the ink's depth: the edge of a thing has two surfaces beside it that differ by as much
CHARACTER_MARGIN = 1 / 12  # of the character: the faint edge around its mask that belongs to it

MAX_SIGN_WIDTH = 0.22  # of its length, as standard deviations of ink: a slash or a parenthesis is no wider
MIN_SIGN_HEIGHT, MIN_SIGN_LEAN_DEGREES = (
    (1.45, 1.2),
    15,
)  # of the usual height: so tall it is one, or less tall leaning by 15 degrees
MIN_SINGLE_SIZE = 0.15  # of the image: what is smaller and alone is one character of a sheet
SINGLE_CHARACTER_PARTS = (0.4, 1), (0.2, 3)  # of its size at least, so many parts at the most, itself among them
MIN_LETTER_SIZE = 0.009  # of the sheet's longer side: the usual letter at the least, 3 mm on A4


class Components:
    """The connected parts of the ink; every attribute but `names` has one value or row for each of N parts."""

    def __init__(self, ink: Ink):
        count, self.names, boxes, _ = components(ink.mask)  # names: (H, W), 0 is paper
        boxes = boxes[1:]
        self.contrast = mean_contrast(ink.contrast, ink.mask, self.names, count)
        self.x, self.y, self.width, self.height, self.area = boxes.T
        self.right, self.bottom = self.x + self.width, self.y + self.height
        self.size = np.maximum(self.width, self.height)
        height, width = ink.mask.shape
        touches = np.array([self.x <= 0, self.right >= width, self.y <= 0, self.bottom >= height])
        self.is_cut = touches.any(0)
        self.is_across = touches[:2].all(0) | touches[2:].all(0)
        self.scale = ink.scale

    def __len__(self) -> int:
        return len(self.area)

    def mask(self, chosen: np.ndarray) -> np.ndarray:
        """(H, W) uint8, 1 where the chosen parts, (N,) bool, have ink."""
        return np.append(0, chosen).astype(np.uint8)[self.names]


@dataclass
class Glyph:
    """The ink of one character."""

    box: Box  # in pixels of the ink's mask
    mask: np.ndarray  # (height, width) uint8, 1 where there is ink of this character
    is_sign: bool = False  # a slash or a parenthesis, by its height beside the others


def main_character(ink: Ink) -> Glyph | None:
    """The character that the image shows; None where there is no ink but dirt and the edges of things."""
    parts = Components(ink)
    if not len(parts):
        return None
    mask = parts.mask(_joined(parts, _main_part(parts)))
    x, y, width, height = box = cv2.boundingRect(mask)
    if max(width, height) < MIN_CHARACTER_SIZE * max(mask.shape):
        return None
    mask = mask[y : y + height, x : x + width]
    return None if _is_narrow(mask) and _is_edge_of_thing(ink, mask, box) else Glyph(box, mask)


def is_single(ink: Ink) -> bool:
    """Does one part of the ink, which is not tiny, stand alone, the few others being much smaller or cut off?"""
    parts = Components(ink)
    if not len(parts):
        return False
    main = _main_part(parts)
    size = parts.size[~parts.is_cut] / parts.size[main]
    is_alone = not parts.is_cut[main] and all((size >= least).sum() <= most for least, most in SINGLE_CHARACTER_PARTS)
    return bool(is_alone and parts.size[main] >= MIN_SINGLE_SIZE * max(ink.mask.shape))


def _main_part(parts: Components) -> int:
    """The part that most looks like what the image was taken for: large, strong, whole."""
    weight = np.where(parts.is_across, OPPOSITE_BORDERS_WEIGHT, np.where(parts.is_cut, BORDER_WEIGHT, 1))
    return int(np.argmax(parts.size * np.sqrt(parts.area) * parts.contrast * weight))


def _joined(parts: Components, main: int) -> np.ndarray:
    """(N,) bool: the parts that make one character with the main one."""
    size = parts.size / parts.size[main]
    may_join = parts.is_across[main] | ~parts.is_across
    may_come_near = may_join & (parts.is_cut[main] | ~parts.is_cut)  # what the border cuts is a neighbor
    gap = max(MAX_STROKE_GAP * parts.size[main], MAX_STROKE_GAP_PX * parts.scale)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(gap) + 3,) * 2)
    chosen = np.arange(len(parts)) == main
    while True:  # what joins may bring others within reach
        x, y, right, bottom = parts.x[chosen], parts.y[chosen], parts.right[chosen], parts.bottom[chosen]
        across = np.maximum(0, np.maximum(parts.x - right.max(), x.min() - parts.right))
        along = np.maximum(0, np.maximum(parts.y - bottom.max(), y.min() - parts.bottom))
        distance = np.hypot(across, along) / parts.size[main]
        is_near = np.any([(size >= least) & (distance <= most) for least, most in STROKE_REACH], axis=0)
        (least, most), reach = COMPANION_SIZE, COMPANION_REACH
        is_near |= (size > least) & (size < most) & (distance < reach)
        joining = is_near & may_come_near & ~chosen
        undecided = may_join & ~chosen & ~joining & (distance * parts.size[main] <= gap)
        if undecided.any():  # their boxes are as near; is the ink?
            touched = parts.names[cv2.dilate(parts.mask(chosen), ellipse) > 0]
            joining |= undecided & (np.bincount(touched, minlength=len(parts) + 1)[1:] > 0)
        if not joining.any():
            return chosen
        chosen |= joining


def _is_edge_of_thing(ink: Ink, mask: np.ndarray, box: Box) -> bool:
    """Does it lie between two surfaces that differ from each other as much as it does from them?

    Args:
        mask: (height, width) uint8 within the box.
    """
    x, y, width, height = box
    margin = max(width, height) // 4
    around = ink.background[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
    low, high = np.percentile(around[::2, ::2], (25, 75))
    inside = slice(y, y + height), slice(x, x + width)
    # of the deepest ink, since a shadow may lie on a part of the stroke
    depth = np.percentile((ink.contrast[inside] / np.float32(255) * ink.background[inside])[mask > 0], 90)
    return bool(high - low > MIN_EDGE_STEP * depth)


def _is_narrow(mask: np.ndarray) -> bool:
    """Is the least rectangle around the mask, at any angle, narrow enough for the edge of a thing?"""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    _, sides, _ = cv2.minAreaRect(np.concatenate(outlines))
    return min(sides) + 1 <= MAX_NARROW_WIDTH * (max(sides) + 1)  # between the middles of pixels there is one less


def isolate(ink: Ink, glyph: Glyph) -> np.ndarray:
    """The contrast of one character alone, with the faint edges of its strokes and without its neighbors.

    Returns:
        (height + 2 margin, width + 2 margin) uint8.
    """
    x, y, width, height = glyph.box
    margin = max(2, int(CHARACTER_MARGIN * max(width, height)))
    mask = np.pad(glyph.mask, margin)
    around = slice(max(0, y - margin), y + height + margin), slice(max(0, x - margin), x + width + margin)
    contrast, all_ink = ink.contrast[around], ink.mask[around]
    top, left = max(0, margin - y), max(0, margin - x)
    inside = slice(top, top + contrast.shape[0]), slice(left, left + contrast.shape[1])
    others = cv2.dilate(all_ink & ~mask[inside], square(3))
    belongs = cv2.dilate(mask, square(margin))[inside] & ~others
    alone = np.zeros(mask.shape, np.uint8)
    alone[inside] = contrast * (belongs & 1)
    return alone


def all_characters(ink: Ink) -> list[Glyph]:
    """Every character on a sheet, in reading order: rows from the top, each from the left."""
    parts = Components(ink)
    whole = ~parts.is_cut
    if not whole.any():
        return []
    # half of all ink is in parts of this size and more: a few characters outweigh any number of specks
    order = np.argsort(np.where(whole, parts.size, 0))
    weight = np.cumsum((parts.area * parts.contrast * whole)[order])
    letter = parts.size[order][np.searchsorted(weight, weight[-1] / 2)]
    if letter < MIN_LETTER_SIZE * max(ink.mask.shape):
        return []  # the dots of dotted paper
    tall = whole & (parts.size > 0.5 * letter)
    solid = whole & (parts.contrast > 0.5 * np.median(parts.contrast[tall]))
    kept = np.flatnonzero(solid & (parts.size > 0.12 * letter) & (parts.size < 4 * letter))
    glyphs = []
    for group in _grouped(parts, kept, letter):
        x, y = parts.x[group].min(), parts.y[group].min()
        right, bottom = parts.right[group].max(), parts.bottom[group].max()
        is_speck = max(right - x, bottom - y) < 0.4 * letter
        is_dash = bottom - y < 0.25 * letter  # what is left of a printed line
        if is_speck or is_dash:
            continue
        mask = np.isin(parts.names[y:bottom, x:right], 1 + group).astype(np.uint8)
        box = int(x), int(y), int(right - x), int(bottom - y)
        if not (_is_narrow(mask) and _is_edge_of_thing(ink, mask, box)):
            glyphs.append(Glyph(box, mask))
    _mark_signs(glyphs)
    return _in_reading_order(glyphs, letter)


def _mark_signs(glyphs: list[Glyph]) -> None:
    """Alone a slash or a parenthesis is a 1; among characters it is taller than these, or it leans and is a bit."""
    heights = np.array([glyph.box[3] for glyph in glyphs])
    if len(glyphs) < 3:
        return
    usual = np.median(heights[heights >= np.quantile(heights, 0.75) / 2])  # + and - are lower
    for glyph, height in zip(glyphs, heights / usual, strict=True):
        moments = cv2.moments(glyph.mask, binaryImage=True)
        across, shear, along = moments["mu20"], moments["mu11"], moments["mu02"]
        lean = -np.degrees(np.arctan2(2 * shear, along - across)) / 2  # of the long axis, to the right
        spread = np.hypot(along - across, 2 * shear)
        is_stroke = across + along - spread < MAX_SIGN_WIDTH**2 * (across + along + spread)
        is_tall = height >= MIN_SIGN_HEIGHT[0] or (height >= MIN_SIGN_HEIGHT[1] and lean >= MIN_SIGN_LEAN_DEGREES)
        glyph.is_sign = bool(is_stroke and is_tall and abs(lean) < 45)


def _grouped(parts: Components, kept: np.ndarray, letter: float) -> list[np.ndarray]:
    """The kept parts, those together that are strokes of one character."""
    x, y, right, bottom = (values[kept].astype(float) for values in (parts.x, parts.y, parts.right, parts.bottom))
    overlap = np.minimum.outer(right, right) - np.maximum.outer(x, x)  # negative: the gap
    shared = overlap / np.minimum.outer(right - x, right - x)
    below = np.maximum(0, np.maximum.outer(y, y) - np.minimum.outer(bottom, bottom))
    together = np.maximum.outer(bottom, bottom) - np.minimum.outer(y, y)
    distance = np.hypot(np.maximum(0, -overlap), below)
    lesser = np.minimum.outer(parts.size[kept], parts.size[kept])
    stacked = (shared > 0.4) & (below <= 0.25 * letter) & (together <= 1.5 * letter) & (lesser < 0.8 * letter)
    touching = (distance <= 0.08 * letter) & (lesser < 0.65 * letter)
    # boxes that overlap hold two strokes of a 4, or a 5 and its bar, but two slanted digits as well
    wide = np.maximum.outer(right, right) - np.minimum.outer(x, x)
    is_flat = bottom - y < 0.3 * letter
    touching |= (distance == 0) & ((wide <= 0.8 * letter) | np.logical_xor.outer(is_flat, is_flat))
    inside = (shared > 0.75) & (below == 0)
    group = np.arange(len(kept))
    for i, j in np.argwhere(np.triu(stacked | touching | inside, 1)):
        group[group == group[j]] = group[i]
    return [kept[group == name] for name in np.unique(group)]


def _in_reading_order(glyphs: list[Glyph], letter: float) -> list[Glyph]:
    """Rows are told apart after the slope of the lines, taken from neighbors, has been leveled."""
    if not glyphs:
        return []
    x, y = (np.array([glyph.box[i] + glyph.box[i + 2] / 2 for glyph in glyphs]) for i in (0, 1))
    right, down = x[None] - x[:, None], y[None] - y[:, None]
    follows = (right > 0.2 * letter) & (right < 3 * letter) & (np.abs(down) < 0.35 * right + 0.15 * letter)
    slopes = [down[i][follows[i]][right[i][follows[i]].argmin()] / right[i][follows[i]].min()
              for i in range(len(glyphs)) if follows[i].any()]  # fmt: skip
    level = y - (np.median(slopes) if slopes else 0) * x
    order = np.argsort(level)
    rows = np.cumsum(np.diff(level[order], prepend=level[order[0]]) > 0.45 * letter)
    row = np.empty(len(glyphs), int)
    row[order] = rows
    return [glyphs[i] for i in np.lexsort((x, row))]
