"""Which strokes of the ink are characters: the one a picture is of, or all of them on a sheet, in reading order.

The ink falls into connected parts. A part counts by its size, its place, the sharpness of its edges and its
contrast; a shadow, a fold or the desk beyond the page's edge has less of these. Parts that are close and of unequal
size are strokes of one character, such as the bar of a 5; equal neighbours are two characters.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ink import Ink
from rules import components

CUT, ACROSS = 0.12, 0.02  # how much a part counts that touches the border, and one that touches opposite borders
SIDEWAYS = 0.5  # how much less a part counts in the corner than in the middle, times its share of the way there
STROKES = (
    (0.3, 0.2),
    (0.1, 0.07),
    (0.04, 0.03),
)  # at least so large, and no further away: shares of the main part's size
SMALLEST = 0.009  # of the sheet's longer side: the usual letter at the least, 3 mm on A4
UNEVEN = 0.5  # the most that paper behind a character may vary: (lightest - darkest) / (lightest + darkest)
NARROW = 0.35  # of its length: what is less wide can be the rim of a thing as well as a 1
SEEN, BESIDE = 160, (2, 5)  # of a picture so large, in pixels: between these distances lies what a stroke stands on
RIM, FAINT = 0.9, 8  # by so much of its contrast, or of this many of 255, that differs left and right of a rim
COMPANION = (0.6, 1.6), 0.5  # a second character beside: its size and its distance, shares likewise


@dataclass
class Glyph:
    """One character of a sheet."""

    x: int  # of its ink, pixels of the mask
    y: int
    width: int
    height: int
    mask: np.ndarray  # (height, width) uint8, 1 where there is ink of this character


class Parts:
    """The connected parts of the ink; every attribute but `names` has one value or row for each of N parts."""

    def __init__(self, ink: Ink):
        count, self.names, boxes, centers = components(ink.mask)  # names: (H, W), 0 is paper
        self.x, self.y, self.width, self.height, self.area = boxes[1:].T
        self.right, self.bottom = self.x + self.width, self.y + self.height
        self.size = np.maximum(self.width, self.height)
        self.center = centers[1:]
        height, width = ink.mask.shape
        touches = np.array([self.x <= 0, self.right >= width, self.y <= 0, self.bottom >= height])
        self.cut = touches.any(0)
        self.across = touches[:2].all(0) | touches[2:].all(0)
        outline = _outline(ink.mask)
        named, inked = self.names[outline], self.names[ink.mask > 0]
        edges = np.bincount(named, ink.rise[outline], minlength=count)[1:]
        self.sharpness = edges / np.maximum(1, np.bincount(named, minlength=count)[1:])
        self.contrast = np.bincount(inked, ink.contrast[ink.mask > 0], minlength=count)[1:] / self.area

    def __len__(self) -> int:
        return len(self.area)


def _outline(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool, the pixels of the mask that have others beside them."""
    return mask > cv2.erode(mask, np.ones((3, 3), np.uint8))


def bluntness(ink: Ink, mask: np.ndarray) -> float:
    """Share of the mask's outline, 0 to 1, that is no edge: a stroke has none, a patch of light between shadows has."""
    rise = ink.rise[_outline(mask)]
    if not len(rise):
        return 1.0  # it covers all there is
    return float((rise < ink.contrast[mask > 0].mean() / 2).mean())


def rectangle(mask: np.ndarray) -> tuple[float, float]:
    """Width and length, in pixels, of the least rectangle, at any angle, around the mask, which is not empty."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    _, sides, _ = cv2.minAreaRect(np.concatenate(outlines))
    return min(sides) + 1, max(sides) + 1  # between the middles of pixels there is one less


def main_glyph(ink: Ink) -> np.ndarray:
    """The mask, of the ink's shape, of the character that the picture is of; empty where there is none."""
    parts = Parts(ink)
    if not len(parts):
        return np.zeros_like(ink.mask)
    chosen, box = _joined(parts, _main(parts, ink.mask.shape))
    mask = np.append(0, chosen).astype(np.uint8)[parts.names]
    wide, long = rectangle(mask)
    if not _on_paper(ink, *box) or (wide < NARROW * long and _is_rim(ink, mask)):
        return np.zeros_like(mask)
    return mask


def _main(parts: Parts, shape: tuple[int, int]) -> int:
    """The part that most looks like what the picture was taken for: large, strong, sharp, whole, in the middle."""
    height, width = shape
    aside = np.hypot(parts.center[:, 0] / width - 0.5, parts.center[:, 1] / height - 0.5)
    weight = np.where(parts.across, ACROSS, np.where(parts.cut, CUT, 1)) * (1 - SIDEWAYS * aside)
    sharp = np.clip(parts.sharpness / np.maximum(1, parts.contrast), 0.05, 1)
    return int(np.argmax(parts.size * np.sqrt(parts.area) * parts.contrast * sharp**2 * weight))


def _joined(parts: Parts, main: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Which parts make one character with the main one, and its box: left, top, right, bottom."""
    size = parts.size / parts.size[main]
    alike = (parts.sharpness > 0.5 * parts.sharpness[main]) & (parts.contrast > 0.55 * parts.contrast[main])
    open_ = alike & (parts.cut[main] | ~parts.cut)
    chosen = np.arange(len(parts)) == main
    left, top, right, bottom = parts.x[main], parts.y[main], parts.right[main], parts.bottom[main]
    while True:  # what joins may bring others within reach
        across = np.maximum(0, np.maximum(parts.x - right, left - parts.right))
        along = np.maximum(0, np.maximum(parts.y - bottom, top - parts.bottom))
        distance = np.hypot(across, along) / parts.size[main]
        near = np.any([(size >= least) & (distance <= most) for least, most in STROKES], axis=0)
        (least, most), reach = COMPANION
        near |= (size > least) & (size < most) & (distance < reach)
        joining = near & open_ & ~chosen
        if not joining.any():
            return chosen, (left, top, right, bottom)
        chosen |= joining
        left, top = parts.x[chosen].min(), parts.y[chosen].min()
        right, bottom = parts.right[chosen].max(), parts.bottom[chosen].max()


def _on_paper(ink: Ink, left: int, top: int, right: int, bottom: int) -> bool:
    """Is what lies behind and around the box one sheet of paper? With the folds and rims of things it is not."""
    margin = max(right - left, bottom - top) // 4
    paper = ink.paper[max(0, top - margin) : bottom + margin : 2, max(0, left - margin) : right + margin : 2]
    darkest, lightest = np.percentile(paper, (5, 95))
    return lightest - darkest <= UNEVEN * (lightest + darkest + 64)  # 64: black may vary a little


def _is_rim(ink: Ink, mask: np.ndarray) -> bool:
    """Is it a sliver between two surfaces, which differ from each other as much as it does from them?"""
    unit = max(mask.shape) / SEEN
    near, far = (np.ones((2 * round(reach * unit) + 1,) * 2, np.uint8) for reach in BESIDE)
    beside = ink.picture[(cv2.dilate(mask, far) > 0) & (cv2.dilate(mask, near) == 0)]
    if not len(beside):
        return False
    low, middle, high = np.percentile(beside, (25, 50, 75))
    return high - low > RIM * max(FAINT, abs(middle - np.median(ink.picture[mask > 0])))


def all_glyphs(ink: Ink) -> list[Glyph]:
    """Every character on a sheet, in reading order: rows from the top, each from the left."""
    parts = Parts(ink)
    if not len(parts):
        return []
    whole = ~parts.cut
    if not whole.any():
        return []
    # half of all ink is in parts of this size and more: a few characters outweigh any number of specks
    order = np.argsort(np.where(whole, parts.size, 0))
    weight = np.cumsum((parts.area * parts.contrast * whole)[order])
    letter = parts.size[order][np.searchsorted(weight, weight[-1] / 2)]
    if letter < SMALLEST * max(ink.mask.shape):
        return []  # the dots of dotted paper
    tall = whole & (parts.size > 0.5 * letter)
    solid = whole & (parts.contrast > 0.5 * np.median(parts.contrast[tall]))
    sharp = parts.sharpness > 0.5 * np.median(parts.sharpness[tall])
    kept = np.flatnonzero(solid & sharp & (parts.size > 0.12 * letter) & (parts.size < 4 * letter))
    groups = _join(parts, kept, letter)
    glyphs = []
    for group in groups:
        x, y = parts.x[group].min(), parts.y[group].min()
        right, bottom = parts.right[group].max(), parts.bottom[group].max()
        speck = max(right - x, bottom - y) < 0.4 * letter
        dash = bottom - y < 0.25 * letter  # what is left of a printed line
        if speck or dash or not _on_paper(ink, x, y, right, bottom):
            continue
        mask = np.isin(parts.names[y:bottom, x:right], 1 + group).astype(np.uint8)
        glyphs.append(Glyph(int(x), int(y), int(right - x), int(bottom - y), mask))
    return _in_reading_order(glyphs, letter)


def _join(parts: Parts, kept: np.ndarray, letter: float) -> list[np.ndarray]:
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
    inside = (shared > 0.75) & (below == 0)
    group = np.arange(len(kept))
    for i, j in np.argwhere(np.triu(stacked | touching | inside, 1)):
        group[group == group[j]] = group[i]
    return [kept[group == name] for name in np.unique(group)]


def _in_reading_order(glyphs: list[Glyph], letter: float) -> list[Glyph]:
    """Rows are told apart after the slope of the lines, taken from neighbours, has been levelled."""
    if not glyphs:
        return []
    x = np.array([glyph.x + glyph.width / 2 for glyph in glyphs])
    y = np.array([glyph.y + glyph.height / 2 for glyph in glyphs])
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
