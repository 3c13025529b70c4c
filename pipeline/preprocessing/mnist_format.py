"""MNIST's format: 28x28 pixels, light strokes on black, the longer side 20 pixels, the center of mass in the middle.

The makers of MNIST scaled each digit so that its longer side measures 20 pixels and placed its center of mass in the
middle of 28x28 pixels (LeCun et al., "Gradient-based learning applied to document recognition", 1998). Every image
that enters a network of this project has gone through `center_ink`.
"""

import cv2
import numpy as np

MEAN, STD = 0.1307, 0.3081  # of all pixels of MNIST's 60,000 training images, as a share of full white

IMAGE_SIZE = 28  # pixels, height and width of an image
BOX_SIZE = 20  # pixels, the longer side of a character
CENTER = 14  # pixels from the top left: where MNIST keeps the center of mass; 13.5 would move three digits of four

DRAWING_SIZE = 120  # pixels, the longer side of a character while its stroke is measured: 6 for each of the finished
DRAWING_BLUR = 1.5  # pixels of the drawing, standard deviation: joins the dots of halftone, rounds off steps
HALF_PEAK = 0.5  # a stroke is as wide as its contrast exceeds this share of the highest nearby
CONTRAST_WINDOW = 0.1  # of the drawing's side: the window of "nearby", wider than most strokes
MIN_RELATIVE_INK = 0.2  # of a character's strongest stroke: what is paler around it is paper
MAX_SPECK_SIZE = 0.01  # of a character's ink: smaller parts are dirt
MIN_STROKE_WIDTH = 2.2  # pixels of the finished image: thinner strokes are widened to this
MAX_STROKE_WIDTH = 6.2  # pixels likewise: what is thicker on average was written by no pen


def center_ink(ink: np.ndarray) -> np.ndarray:
    """Scale and place one character as MNIST does.

    Args:
        ink: (H, W) uint8 of any size, 0 for paper and up to 255 for ink.

    Returns:
        (28, 28) uint8: the longer side of the ink 20 pixels, its center of mass at (14, 14), moved by whole pixels, so
        that real MNIST digits come out as they went in. An image without ink comes out black.
    """
    canvas = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    if not ink.any():
        return canvas
    x, y, width, height = cv2.boundingRect(ink)
    character = resize(ink[y : y + height, x : x + width], BOX_SIZE / max(width, height))
    height, width = character.shape
    moments = cv2.moments(character)
    mass = max(moments["m00"], 1e-9)  # a few gray specks can shrink to nothing
    top = round(CENTER - moments["m01"] / mass)
    left = round(CENTER - moments["m10"] / mass)
    # a very lopsided character would leave the image: its edge stops at the image's edge
    top, left = min(max(top, 0), IMAGE_SIZE - height), min(max(left, 0), IMAGE_SIZE - width)
    canvas[top : top + height, left : left + width] = character
    return canvas


def resize(image: np.ndarray, scale: float, enlarge: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Scale both sides of (H, W) or (H, W, channels); averaged where it is reduced, interpolated where enlarged."""
    if scale == 1:
        return image
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]  # width, height
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else enlarge)


def half_peak(contrast: np.ndarray, window: float, floor: float | np.ndarray) -> np.ndarray:
    """Where the contrast is at least half of the highest within a window around it, and at least the floor.

    A global threshold loses the faint part of a stroke, or the whole of a thin one: reduced, a hairline has a fraction
    of its contrast. Against its surroundings it is as strong as any other stroke.

    Args:
        contrast: (H, W) uint8.
        window: pixels, the side of the square.
        floor: at least 1, of the whole or (H, W) uint8 of each pixel.

    Returns:
        (H, W) uint8, 1 where it is.
    """
    peak = cv2.dilate(contrast, square(window))
    least = cv2.max(cv2.convertScaleAbs(peak, alpha=HALF_PEAK), floor)
    return cv2.compare(contrast, least, cv2.CMP_GE) & 1


def square(side: float) -> np.ndarray:
    """Return a square kernel for morphology, its side rounded up to an odd number of pixels."""
    return np.ones((int(side) | 1, int(side) | 1), np.uint8)


def character_to_mnist(contrast: np.ndarray, size: float) -> np.ndarray:
    """Convert one character to MNIST's format, for any pen; no stroke is lost or thinner than MNIST's.

    Args:
        contrast: (H, W) uint8, of one character alone, 0 where there is none of its ink.
        size: pixels, the longer side of the character.

    Returns:
        (28, 28) uint8; black where there is no ink, or no stroke but a solid thing.
    """
    black = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    drawing = resize(contrast.astype(np.float32), DRAWING_SIZE / size)
    drawing = np.pad(drawing, DRAWING_SIZE // 15)  # room for what is blurred and widened
    drawing = cv2.GaussianBlur(drawing, (0, 0), DRAWING_BLUR)
    # reduced, a hairline has a few hundredths of its contrast
    drawing = cv2.convertScaleAbs(drawing, alpha=255 / max(1e-6, float(drawing.max())))
    stroke = half_peak(drawing, CONTRAST_WINDOW * DRAWING_SIZE, MIN_RELATIVE_INK * 255)
    count, names, boxes, _ = components(stroke)
    if count > 2:
        is_kept = boxes[:, cv2.CC_STAT_AREA] >= MAX_SPECK_SIZE * stroke.sum(dtype=int)
        is_kept[0] = False
        stroke = is_kept[names].astype(np.uint8)
    if not stroke.any():
        return black
    pixel = DRAWING_SIZE / BOX_SIZE
    # across a straight stroke the distance to its edge is a quarter of its width, on average
    width = 4 * cv2.distanceTransform(stroke, cv2.DIST_L2, 5)[stroke > 0].mean() / pixel
    if width > MAX_STROKE_WIDTH:
        return black
    if width < MIN_STROKE_WIDTH:
        distance = cv2.distanceTransform(1 - stroke, cv2.DIST_L2, 5)
        stroke = (distance <= (MIN_STROKE_WIDTH - width) / 2 * pixel).astype(np.uint8)
    return center_ink(255 * stroke)


def components(mask: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """The connected parts of a mask, as from cv2.connectedComponentsWithStats, in a third of its default's time."""
    return cv2.connectedComponentsWithStatsWithAlgorithm(mask, 8, cv2.CV_32S, cv2.CCL_BBDT)
