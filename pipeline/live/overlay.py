"""Draw over a frame: the box, the label, the network's input, the most likely classes, messages and the key help.

Pillow renders the text, since OpenCV's own fonts have no Greek letters before release 5. Rendered text is cached, so
that drawing it takes microseconds.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.datasets.labels_from_names import GREEK_SIGNS
from pipeline.evaluation.handwriting import UNCLEAR
from pipeline.live.reader import Reading
from pipeline.plots import displayable
from pipeline.preprocessing.segmentation import Box

FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
WHITE, GRAY, GREEN, AMBER = (255, 255, 255), (170, 170, 170), (120, 220, 90), (60, 180, 250)  # BGR
INPUT_SCALE = 5  # magnification of the network's input
BAR_SIZE_PX = 150, 16  # width and height of the bar of probability 1
OVERLAY_MARGIN_PX = 16
GTK_KEYS = {0xFF08: 8, 0xFF0D: 13, 0xFF8D: 13, 0xFF1B: 27}  # GTK's codes of backspace, both Enter keys and Esc
KEY_HELP = [
    ("m", "digits"),
    ("g", "Greek letters"),
    ("t", "switch Greek network"),
    ("+  -", "size of the box"),
    ("space", "freeze or resume"),
    ("s", "save and label the crop"),
    ("f", "frame rate and latency"),
    ("h", "these keys"),
    ("q  Esc", "quit"),
]


@dataclass
class View:
    """The texts to draw over a frame, besides the reading."""

    title: str  # the mode and the network
    message: str = ""  # at the bottom
    rate: str = ""  # frame rate and latency; empty: not shown
    help: bool = False  # whether the key help is shown


def sign(label: str) -> str:
    """Return the character of a class: α for alpha, 7 for 7."""
    return displayable(GREEK_SIGNS.get(label, label))


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT_FOLDER / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


@lru_cache(maxsize=500)
def text(string: str, size: int, color: tuple[int, int, int] = WHITE, bold: bool = False) -> tuple:
    """Render a string as a sprite for `put_text`.

    Returns:
        the color times alpha, and 255 - alpha, each (H, W, 3) uint8.
    """
    _, _, right, bottom = _font(size, bold).getbbox(string)
    # the bottom of a letter with a descender, so that sprites of one size have the same height
    _, _, _, line_bottom = _font(size, bold).getbbox("gΨ")
    mask = Image.new("L", (max(1, right + 2), max(bottom, line_bottom) + 2))
    ImageDraw.Draw(mask).text((0, 0), string, font=_font(size, bold), fill=255)
    alpha = cv2.merge([np.array(mask)] * 3)
    return cv2.multiply(alpha, np.full_like(alpha, color), scale=1 / 255), 255 - alpha


def put_text(frame: np.ndarray, sprite: tuple, x: int, y: int) -> int:
    """Draw a sprite on the frame, in place, clipped, with its top left corner at (x, y).

    Returns:
        the x coordinate of its right end.
    """
    color, transparency = sprite
    height, width = color.shape[:2]
    left, top = max(0, -x), max(0, -y)
    part = frame[y + top : max(0, y + height), x + left : max(0, x + width)]
    if part.size:
        shown = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        part[:] = cv2.add(cv2.multiply(part, transparency[shown], scale=1 / 255), color[shown])
    return x + width


def darken(frame: np.ndarray, x: int, y: int, width: int, height: int) -> None:
    """Darken a part of the frame, in place, so that text on it is legible."""
    part = frame[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    if part.size:
        part[:] = cv2.convertScaleAbs(part, alpha=0.3)


def centered_box(frame: np.ndarray, size: float) -> tuple[slice, slice]:
    """Return rows and columns of a centered square; its side is `size` times the frame's shorter side."""
    height, width = frame.shape[:2]
    side = max(1, round(size * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


def draw(frame: np.ndarray, box: tuple[slice, slice], ink: Box, reading: Reading, view: View) -> None:
    """Draw the whole overlay on the frame (H, W, 3) uint8, in place.

    Args:
        box: rows and columns of the box.
        ink: the character's bounding box, relative to the box; of width 0 if there is none.
    """
    height, width = frame.shape[:2]
    rows, columns = box
    color = {"": GRAY, UNCLEAR: AMBER}.get(reading.label, GREEN)
    _draw_corners(frame, columns.start, rows.start, columns.stop - 1, rows.stop - 1, color)
    x, y, ink_width, ink_height = ink
    if ink_width and reading.label:
        corner = columns.start + x - 6, rows.start + y - 6
        opposite = corner[0] + ink_width + 12, corner[1] + ink_height + 12
        cv2.rectangle(frame, corner, opposite, color, 1, cv2.LINE_AA)
    _draw_label(
        frame, min(columns.stop + 2 * OVERLAY_MARGIN_PX, width - 190), (rows.start + rows.stop) // 2, reading, color
    )
    _draw_input(frame, reading, color)

    darken(frame, 0, 0, width, 44)
    put_text(frame, text(view.title, 22, bold=True), OVERLAY_MARGIN_PX, 8)
    hint = text(view.rate or "h  keys", 18, GRAY)
    put_text(frame, hint, width - hint[0].shape[1] - OVERLAY_MARGIN_PX, 10)
    if view.help:
        _draw_key_help(frame)
    if view.message:
        message = text(view.message, 20)
        left = max(OVERLAY_MARGIN_PX, (width - message[0].shape[1]) // 2)
        darken(frame, left - OVERLAY_MARGIN_PX, height - 60, message[0].shape[1] + 2 * OVERLAY_MARGIN_PX, 44)
        put_text(frame, message, left, height - 52)


def _draw_corners(frame: np.ndarray, left: int, top: int, right: int, bottom: int, color: tuple) -> None:
    length = (right - left) // 6
    cv2.rectangle(frame, (left - 1, top - 1), (right + 1, bottom + 1), color, 1)
    for x, x_sign in ((left - 3, 1), (right + 3, -1)):
        for y, y_sign in ((top - 3, 1), (bottom + 3, -1)):
            cv2.line(frame, (x, y), (x + x_sign * length, y), color, 5)
            cv2.line(frame, (x, y), (x, y + y_sign * length), color, 5)


def _draw_label(frame: np.ndarray, x: int, middle: int, reading: Reading, color: tuple) -> None:
    if not reading.label:
        return
    if reading.label == UNCLEAR:
        darken(frame, x - OVERLAY_MARGIN_PX, middle - 34, 180, 64)
        put_text(frame, text(UNCLEAR, 36, color, bold=True), x, middle - 26)
        return
    percent = f"{100 * min(reading.confidence, 0.999):.0f} %" if reading.confidence < 0.995 else "> 99 %"
    below = f"{reading.label}  {percent}" if sign(reading.label) != reading.label else percent
    caption = text(below, 24)
    darken(frame, x - OVERLAY_MARGIN_PX, middle - 110, max(180, caption[0].shape[1] + 2 * OVERLAY_MARGIN_PX), 220)
    put_text(frame, text(sign(reading.label), 130, color, bold=True), x, middle - 110)
    put_text(frame, caption, x, middle + 62)


def _draw_input(frame: np.ndarray, reading: Reading, color: tuple) -> None:
    """Draw the network's input and the three most likely classes in the lower left corner."""
    side = INPUT_SCALE * len(reading.image)
    top = len(frame) - side - OVERLAY_MARGIN_PX
    if top < 0 or frame.shape[1] < side + BAR_SIZE_PX[0]:
        return
    darken(frame, 0, top - 40, side + BAR_SIZE_PX[0] + 140, side + 40 + OVERLAY_MARGIN_PX)
    put_text(frame, text("the network's input", 14, GRAY), OVERLAY_MARGIN_PX, top - 30)
    enlarged = cv2.resize(reading.image, None, fx=INPUT_SCALE, fy=INPUT_SCALE, interpolation=cv2.INTER_NEAREST)
    frame[top : top + side, OVERLAY_MARGIN_PX : OVERLAY_MARGIN_PX + side] = enlarged[:, :, None]
    cv2.rectangle(frame, (OVERLAY_MARGIN_PX - 1, top - 1), (OVERLAY_MARGIN_PX + side, top + side), GRAY, 1)
    left = 2 * OVERLAY_MARGIN_PX + side
    for i, (label, probability) in enumerate(reading.top_classes):
        y = top + 6 + 46 * i
        put_text(frame, text(sign(label), 26, bold=True), left, y)
        start = left + 34
        cv2.rectangle(frame, (start, y + 10), (start + BAR_SIZE_PX[0], y + 10 + BAR_SIZE_PX[1]), (90, 90, 90), -1)
        length = round(BAR_SIZE_PX[0] * probability)
        if length:
            cv2.rectangle(frame, (start, y + 10), (start + length, y + 10 + BAR_SIZE_PX[1]), WHITE if i else color, -1)
        put_text(frame, text(f"{100 * probability:.0f} %", 16, GRAY), start + BAR_SIZE_PX[0] + 8, y + 7)


def _draw_key_help(frame: np.ndarray) -> None:
    x, y = frame.shape[1] - 340, 60
    darken(frame, x, y, 340, 34 * len(KEY_HELP) + OVERLAY_MARGIN_PX)
    for i, (key, action) in enumerate(KEY_HELP):
        put_text(frame, text(key, 18, GREEN, bold=True), x + OVERLAY_MARGIN_PX, y + 10 + 34 * i)
        put_text(frame, text(action, 18), x + 100, y + 10 + 34 * i)
