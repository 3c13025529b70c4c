"""Remove frames, circles and underlines around characters from the ink: they are not strokes of these."""

import cv2
import numpy as np

from pipeline.preprocessing.mnist_format import components
from pipeline.preprocessing.ruled_lines import without_rules

MAX_FRAME_FILL = 0.4  # ink in a frame's bounding box
MIN_ENCLOSED_SIZE = 0.3  # of the frame's, or of a cell's: a smaller component is a speck, or the dot of a zero
MAX_ROWS = 40  # of a table
MAX_TESTED = 20  # enclosed components
MAX_NESTED_FRAMES = 3
DIRECTIONS = 36  # in which a frame is tested to lie outside what it encloses
MIN_CLOSED_SHARE = 0.85  # of the directions: circles drawn by hand have a gap
MIN_RECTANGULARITY = 0.9  # convex hull by smallest rectangle: an ellipse has 0.79
MAX_BAR_WIDTH = 0.45  # of its length; an ellipse around a bar is a theta or a zero, not a frame
MIN_BAR_FILL = 0.6  # ink in its smallest rectangle
MAX_LINE_HEIGHT = 0.2  # of an underline's length
MIN_HEIGHT_ABOVE = 3  # of the character above an underline, in heights of the line
LINE_GAP = 0.1, 0.8  # from the character to its underline, in heights of the character
MIN_SPACE_BELOW = 0.4  # likewise, below an underline: the bar of a 5 has its body there
MIN_TABLE_SIZE = 0.3  # of the image
MIN_SIDE_SHARE = 0.9  # of each side of a table's bounding box that has ink
TABLE_MARGIN = 0.03  # of the table, within which its outer lines lie: it may be rotated a little


def without_enclosures(mask: np.ndarray) -> np.ndarray:
    """Remove the connected components that enclose others with a gap all round, and those that underline others.

    Args:
        mask: (H, W) uint8, 1 where there is ink.
    """
    for _ in range(MAX_NESTED_FRAMES):
        _, names, boxes, _ = components(mask)
        boxes = boxes[1:]
        removed = _frames(names, boxes) | _underlines(boxes)
        if not removed.any():
            break
        mask = mask & np.append(1, ~removed).astype(np.uint8)[names]
    return mask


def _frames(names: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return (N,) bool, which components are frames, or tables whose cells each enclose a character."""
    x, y, width, height, area = boxes.T
    right, bottom, size = x + width, y + height, np.maximum(width, height)
    found = np.zeros(len(boxes), bool)
    for i in np.flatnonzero(area < MAX_FRAME_FILL * width * height):
        inside = np.flatnonzero((x > x[i]) & (y > y[i]) & (right < right[i]) & (bottom < bottom[i]))
        inside = inside[size[inside] >= 0.5 * size[inside].max(initial=0)][:MAX_TESTED]
        if not len(inside) or size[inside].max() < MIN_ENCLOSED_SIZE * min(width[i], height[i]) / MAX_ROWS:
            continue
        local = names[y[i] : bottom[i], x[i] : right[i]]
        frame = np.argwhere(local == i + 1)
        found[i] = np.mean([_encloses(frame, np.argwhere(local == j + 1)) for j in inside]) > 0.5
    return found


def _encloses(frame: np.ndarray, enclosed: np.ndarray) -> bool:
    """Return whether one component surrounds the other, seen from the other's center.

    Args:
        frame, enclosed: their pixels, (N, 2) row and column.
    """
    center = (enclosed.min(0) + enclosed.max(0)) / 2
    nearest, farthest = np.full(DIRECTIONS, np.inf), np.zeros(DIRECTIONS)
    for points, limit, reduce in ((frame, nearest, np.minimum), (enclosed, farthest, np.maximum)):
        offset = points - center
        direction = np.int64((np.arctan2(*offset.T) / (2 * np.pi) + 0.5) * DIRECTIONS) % DIRECTIONS
        reduce.at(limit, direction, np.hypot(*offset.T))
    is_closed = np.isfinite(nearest)
    if is_closed.mean() < MIN_CLOSED_SHARE or (farthest >= nearest).any():
        return False
    if farthest.max() < MIN_ENCLOSED_SIZE * np.median(nearest[is_closed]):
        return False
    sides = sorted(side + 1 for side in cv2.minAreaRect(enclosed.astype(np.float32))[1])
    is_large = sides[1] > MIN_ENCLOSED_SIZE * np.ptp(frame, axis=0).max()
    is_bar = sides[0] <= MAX_BAR_WIDTH * sides[1] and len(enclosed) > MIN_BAR_FILL * sides[0] * sides[1]
    if is_large and not is_bar:
        return True
    outline = cv2.convexHull(frame.astype(np.float32))
    rectangle = cv2.minAreaRect(outline)[1]
    return cv2.contourArea(outline) > MIN_RECTANGULARITY * rectangle[0] * rectangle[1]


def _underlines(boxes: np.ndarray) -> np.ndarray:
    """Return (N,) bool, which components are lines with a character above and space below."""
    x, y, width, height, _ = boxes.T.astype(float)
    right, bottom = x + width, y + height
    found = np.zeros(len(boxes), bool)
    for i in np.flatnonzero(height <= MAX_LINE_HEIGHT * width):
        shares_column = np.minimum(right, right[i]) - np.maximum(x, x[i]) > 0.5 * np.minimum(width, width[i])
        gap = (y[i] - bottom) / height
        is_above = shares_column & (gap >= LINE_GAP[0]) & (gap <= LINE_GAP[1]) & (width <= 1.25 * width[i])
        is_above &= height >= MIN_HEIGHT_ABOVE * height[i]
        if is_above.any():
            below = shares_column & (y >= y[i]) & (y - bottom[i] < MIN_SPACE_BELOW * height[is_above].max())
            below[i] = False
            found[i] = not below.any()
    return found


def without_tables(mask: np.ndarray, scale: float) -> np.ndarray:
    """Remove the lines of tables whose characters touch them.

    Args:
        mask: (H, W) uint8, 1 where there is ink.
        scale: pixels of the mask per pixel of the image.
    """
    _, names, boxes, _ = components(mask)
    rest = mask
    for i, (x, y, width, height, _) in enumerate(boxes[1:], start=1):
        if min(width, height) < MIN_TABLE_SIZE * max(mask.shape):
            continue
        inside = slice(y, y + height), slice(x, x + width)
        table = (names[inside] == i).astype(np.uint8)
        margin = int(TABLE_MARGIN * max(width, height)) + 1
        sides = table[:margin].any(0), table[-margin:].any(0), table[:, :margin].any(1), table[:, -margin:].any(1)
        if min(side.mean() for side in sides) < MIN_SIDE_SHARE:
            continue
        if rest is mask:
            rest = mask.copy()
        rest[inside] = (rest[inside] & ~table) | without_rules(table, scale, is_table=True)
    return rest
