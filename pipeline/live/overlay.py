"""What is drawn over a frame: the box, the answer, the network's input, its likeliest classes, messages, the key help.

Text is rendered once by Pillow, since OpenCV's own fonts have no Greek before release 5, and cached: laying it over a
frame takes microseconds.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.datasets.stroke_templates import GREEK
from pipeline.evaluation.handwriting import UNCLEAR
from pipeline.live.reader import Reading
from pipeline.preprocessing.segmentation import Box

FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
GREEK_SIGNS = dict(zip(GREEK, "αβγδεζηθικλμνξοπρστυφχψω", strict=True))
WHITE, GRAY, GREEN, AMBER = (255, 255, 255), (170, 170, 170), (120, 220, 90), (60, 180, 250)  # blue, green, red
INPUT_SCALE = 5  # of the picture that the network sees
BAR_SIZE_PX = 150, 16  # pixels, a bar of probability 1
OVERLAY_MARGIN_PX = 16  # pixels
GTK_KEYS = {0xFF08: 8, 0xFF0D: 13, 0xFF8D: 13, 0xFF1B: 27}  # backspace, two enters and Esc, as GTK numbers them
KEY_HELP = [
    ("m", "digits"),
    ("g", "Greek letters"),
    ("t", "the other Greek network"),
    ("+  -", "size of the box"),
    ("space", "freeze, and go on"),
    ("s", "save the crop, and file it"),
    ("f", "frame rate and latency"),
    ("h", "these keys"),
    ("q  Esc", "quit"),
]


@dataclass
class View:
    """What is drawn over a frame, besides the reading."""

    title: str  # what is being read, and by which network
    message: str = ""  # at the foot
    rate: str = ""  # frame rate and latency, where asked for
    help: bool = False


def sign(label: str) -> str:
    """A class as it is written: α for alpha."""
    return GREEK_SIGNS.get(label, label)


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT_FOLDER / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size)


@lru_cache(maxsize=500)
def text(words: str, size: int, color: tuple[int, int, int] = WHITE, bold: bool = False) -> tuple:
    """Words as a sprite: the color times its cover, and 255 less the cover, each (H, W, 3) uint8."""
    _, _, right, bottom = _font(size, bold).getbbox(words)
    _, _, _, foot = _font(size, bold).getbbox("gΨ")  # lines of the same size share a base line
    mask = Image.new("L", (max(1, right + 2), max(bottom, foot) + 2))
    ImageDraw.Draw(mask).text((0, 0), words, font=_font(size, bold), fill=255)
    cover = cv2.merge([np.array(mask)] * 3)
    return cv2.multiply(cover, np.full_like(cover, color), scale=1 / 255), 255 - cover


def put_text(frame: np.ndarray, sprite: tuple, x: int, y: int) -> int:
    """Lay a sprite over the frame, in place, its top left corner at (x, y); what hangs over is cut off.

    Returns:
        the x where the next one can stand.
    """
    ink, rest = sprite
    height, width = ink.shape[:2]
    left, top = max(0, -x), max(0, -y)
    part = frame[y + top : max(0, y + height), x + left : max(0, x + width)]
    if part.size:
        shown = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        part[:] = cv2.add(cv2.multiply(part, rest[shown], scale=1 / 255), ink[shown])
    return x + width


def darken(frame: np.ndarray, x: int, y: int, width: int, height: int) -> None:
    """Darken a part of the frame, in place, so that words can be read on it."""
    part = frame[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    if part.size:
        part[:] = cv2.convertScaleAbs(part, alpha=0.3)


def box_of(frame: np.ndarray, share: float) -> tuple[slice, slice]:
    """Rows and columns of the square in the middle of the frame whose side is a share of its lesser side."""
    height, width = frame.shape[:2]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


def draw(frame: np.ndarray, box: tuple[slice, slice], ink: Box, reading: Reading, view: View) -> None:
    """Draw everything over the frame (H, W, 3) uint8, in place; `ink` is where the character is within the box."""
    height, width = frame.shape[:2]
    rows, columns = box
    color = {"": GRAY, UNCLEAR: AMBER}.get(reading.label, GREEN)
    _draw_corners(frame, columns.start, rows.start, columns.stop - 1, rows.stop - 1, color)
    x, y, wide, high = ink
    if wide and reading.label:
        corner = columns.start + x - 6, rows.start + y - 6
        cv2.rectangle(frame, corner, (corner[0] + wide + 12, corner[1] + high + 12), color, 1, cv2.LINE_AA)
    _draw_answer(
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
        words = text(view.message, 20)
        left = max(OVERLAY_MARGIN_PX, (width - words[0].shape[1]) // 2)
        darken(frame, left - OVERLAY_MARGIN_PX, height - 60, words[0].shape[1] + 2 * OVERLAY_MARGIN_PX, 44)
        put_text(frame, words, left, height - 52)


def _draw_corners(frame: np.ndarray, left: int, top: int, right: int, bottom: int, color: tuple) -> None:
    length = (right - left) // 6
    cv2.rectangle(frame, (left - 1, top - 1), (right + 1, bottom + 1), color, 1)
    for x, way in ((left - 3, 1), (right + 3, -1)):
        for y, down in ((top - 3, 1), (bottom + 3, -1)):
            cv2.line(frame, (x, y), (x + way * length, y), color, 5)
            cv2.line(frame, (x, y), (x, y + down * length), color, 5)


def _draw_answer(frame: np.ndarray, x: int, middle: int, reading: Reading, color: tuple) -> None:
    if not reading.label:
        return
    if reading.label == UNCLEAR:
        darken(frame, x - OVERLAY_MARGIN_PX, middle - 34, 180, 64)
        put_text(frame, text(UNCLEAR, 36, color, bold=True), x, middle - 26)
        return
    percent = f"{100 * min(reading.confidence, 0.999):.0f} %" if reading.confidence < 0.995 else "> 99 %"
    below = f"{reading.label}  {percent}" if sign(reading.label) != reading.label else percent
    words = text(below, 24)
    darken(frame, x - OVERLAY_MARGIN_PX, middle - 110, max(180, words[0].shape[1] + 2 * OVERLAY_MARGIN_PX), 220)
    put_text(frame, text(sign(reading.label), 130, color, bold=True), x, middle - 110)
    put_text(frame, words, x, middle + 62)


def _draw_input(frame: np.ndarray, reading: Reading, color: tuple) -> None:
    """In the lower left corner the picture that the network sees, and its three likeliest classes."""
    side = INPUT_SCALE * len(reading.picture)
    top = len(frame) - side - OVERLAY_MARGIN_PX
    if top < 0 or frame.shape[1] < side + BAR_SIZE_PX[0]:
        return
    darken(frame, 0, top - 40, side + BAR_SIZE_PX[0] + 140, side + 40 + OVERLAY_MARGIN_PX)
    put_text(frame, text("what the network sees", 14, GRAY), OVERLAY_MARGIN_PX, top - 30)
    sight = cv2.resize(reading.picture, None, fx=INPUT_SCALE, fy=INPUT_SCALE, interpolation=cv2.INTER_NEAREST)
    frame[top : top + side, OVERLAY_MARGIN_PX : OVERLAY_MARGIN_PX + side] = sight[:, :, None]
    cv2.rectangle(frame, (OVERLAY_MARGIN_PX - 1, top - 1), (OVERLAY_MARGIN_PX + side, top + side), GRAY, 1)
    left = 2 * OVERLAY_MARGIN_PX + side
    for i, (label, probability) in enumerate(reading.likeliest):
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
    for i, (key, does) in enumerate(KEY_HELP):
        put_text(frame, text(key, 18, GREEN, bold=True), x + OVERLAY_MARGIN_PX, y + 10 + 34 * i)
        put_text(frame, text(does, 18), x + 100, y + 10 + 34 * i)
