"""Remove the lines of ruled and squared paper from the ink.

A printed line is thin, nearly straight, and continues to the border of the image. Straight segments of the ink are
found by morphological opening with slanted segments; collinear ones are one line, which is classified by its length,
its thickness and where it ends. Gaps that removing a line leaves in crossing strokes are closed.
"""

from functools import cache

import cv2
import numpy as np

from pipeline.preprocessing.mnist_format import components, square

MIN_STRAIGHT_LENGTH = 0.15  # of the picture's side: over this length a printed line is straight
MIN_LINE_SPAN = 0.6  # of the picture's side: one line at least is as long
MAX_LINE_ANGLE_DEGREES = 11  # degrees, either way
MAX_LINE_WIDTH = 0.03  # of the longer side, at the most


def without_rules(mask: np.ndarray, scale: float, is_table: bool = False) -> np.ndarray:
    """Return the mask without the lines of ruled and squared paper; crossing strokes are joined again.

    Args:
        mask: (H, W) uint8, 1 where there is ink or a line.
        scale: pixels of the mask for each of the picture's; a line of one of these is thin, whatever the size.
        is_table: the lines separate cells, so that ink on both sides of one is not joined.
    """
    height, width = mask.shape
    if not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()):
        return mask  # printed lines run on beyond the picture
    _, _, boxes, _ = components(mask)
    x, y, wide, high = boxes[1:, :4].T
    across = (wide > MIN_STRAIGHT_LENGTH * width) & ((x == 0) | (x + wide == width))
    down = (high > MIN_STRAIGHT_LENGTH * height) & ((y == 0) | (y + high == height))
    if not (across | down).any():
        return mask
    rest = mask
    if across.any():
        rest = rest & ~_rules(mask, scale, alone=True, is_table=is_table)
    if down.any():
        rest = rest & ~np.ascontiguousarray(
            _rules(np.ascontiguousarray(mask.T), scale, alone=False, is_table=is_table).T
        )
    _, _, boxes, _ = components(rest)
    # a 1 that fills the picture is no printed line: something has to be left
    return rest if boxes[1:, 2:4].max(initial=0) >= 0.1 * max(height, width) else mask


def _rules(mask: np.ndarray, scale: float, alone: bool, is_table: bool) -> np.ndarray:
    """The pixels of lines, thin and straight, that run across the picture from left to right.

    Args:
        alone: take a line that is the only one too. Downwards that would be the 1 of a picture cut to its size.
    """
    width = mask.shape[1]
    thickest = max(MAX_LINE_WIDTH * max(mask.shape), 1.5 * scale)
    thick = cv2.morphologyEx(mask, cv2.MORPH_OPEN, square(thickest + 2))
    if (mask & ~thick).any(0).mean() < 0.3:  # a quick look: there is too little thin ink for a line across
        return np.zeros_like(mask)
    found = mask & _opened(mask)
    if not found.any():
        return found

    # pieces of one line are joined across the ink that interrupts them
    count, names, boxes, _ = components(cv2.dilate(found, np.ones((3, width // 10 | 1), np.uint8)))
    if boxes[1:, 2].max() < MIN_LINE_SPAN * width:
        return np.zeros_like(mask)
    length, thickness, ends = np.zeros((3, count))
    quantile = 10 if is_table else 25  # the characters in a table may cover most of a line
    for i, (x, y, w, h, _) in enumerate(boxes[1:], start=1):
        profile = (found[y : y + h, x : x + w] & (names[y : y + h, x : x + w] == i)).sum(0)
        columns = np.flatnonzero(profile)
        left, right = x + columns[0], x + columns[-1]
        ends[i] = sum([left <= 0.02 * width, right >= 0.98 * width - 1])  # how many of them lie on the border
        if ends[i]:  # or it is no line
            length[i], thickness[i] = right - left + 1, np.percentile(profile[columns], quantile)
    long = (length >= MIN_LINE_SPAN * width) & (thickness <= thickest) & (ends > 0)
    rules = long if long.sum() > 1 else long & (ends == 2) & alone
    if rules.sum() > 1 and not is_table:  # strokes in a table end at its lines
        rules |= (ends > 0) & (thickness <= 1.6 * np.median(thickness[rules]))
    if not rules.any():
        return np.zeros_like(mask)
    lines = found & rules[names]
    for i in np.flatnonzero(rules):
        x, y, w, h, _ = boxes[i]
        part = lines[y : y + h, x : x + w] & (names[y : y + h, x : x + w] == i)
        lines[y : y + h, x : x + w] &= (part == 0) | _is_level(part, thickness[i])
    rest = mask & ~lines
    if rules.sum() == 1 and _is_cut(rest):
        return np.zeros_like(mask)  # the bar of a 4 or a 7 that fills the picture
    if is_table:
        return lines
    across = int(0.02 * max(mask.shape)) + 5
    return lines & ~cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones((across | 1, 1), np.uint8))


def _opened(mask: np.ndarray) -> np.ndarray:
    """What holds a straight piece of line that is nearly level."""
    height, width = mask.shape
    pieces = _pieces(max(9, int(MIN_STRAIGHT_LENGTH * width)) // 2)
    room = max(map(len, pieces)) // 2  # above and below there is no ink; to OpenCV there may be
    fat = cv2.dilate(mask, np.ones((3, 1), np.uint8))  # slanting lines have steps
    fat = cv2.copyMakeBorder(fat, room, room, 0, 0, cv2.BORDER_CONSTANT, value=0)
    found = np.zeros_like(mask)
    for piece in pieces:
        found |= cv2.morphologyEx(fat, cv2.MORPH_OPEN, piece)[room : room + height]
    return found


@cache
def _pieces(half: int) -> list[np.ndarray]:
    """Straight pieces of line, 2 half + 1 pixels wide, of every slope that a printed line may have."""
    step = np.clip(np.degrees(1 / half), 1, 5)  # half of it moves the end of a piece by a pixel at the most
    along = np.arange(-half, half + 1)
    pieces = []
    for turn in np.linspace(
        -MAX_LINE_ANGLE_DEGREES, MAX_LINE_ANGLE_DEGREES, 2 * round(MAX_LINE_ANGLE_DEGREES / step) + 1
    ):
        rows = np.round(np.tan(np.radians(turn)) * along).astype(int)
        pieces.append((np.arange(rows.min(), rows.max() + 1)[:, None] == rows).astype(np.uint8))
    return pieces


def _is_level(part: np.ndarray, thickness: float) -> np.ndarray:
    """Where flat strokes of a letter join a line, only what is on a level with its thin places belongs to it."""
    profile = part.sum(0)
    columns = np.flatnonzero(profile)
    thin = columns[profile[columns] <= thickness]
    if len(thin) < 3:
        return np.ones(part.shape, bool)
    rows = np.arange(len(part))[:, None]
    level = np.polyval(np.polyfit(thin, (rows * part[:, thin]).sum(0) / profile[thin], 2), np.arange(part.shape[1]))
    return np.abs(rows - level) <= thickness / 2 + 1


def _is_cut(mask: np.ndarray) -> bool:
    """Does the largest part of the ink touch the border?"""
    height, width = mask.shape
    _, _, boxes, _ = components(mask)
    x, y, wide, high = max((box[:4] for box in boxes[1:]), key=lambda box: max(box[2:]), default=(0, 0, 0, 0))
    return bool(min(x, y) == 0 or x + wide == width or y + high == height)
