"""From ink on a picture to what the networks were trained on: MNIST's size, place and grey values.

MNIST's makers scaled each digit so that its longer side measures 20 pixels and laid it on 28x28 with its
centre of mass in the middle (LeCun et al., "Gradient-based learning applied to document recognition", 1998).
Everything that enters a network of this project has gone through the same two steps.
"""

import cv2
import numpy as np

MEAN, STD = 0.1307, 0.3081  # of all pixels of MNIST's 60,000 training digits, as a share of full white

SIDE = 28  # pixels, a picture's height and width
BOX = 20  # pixels, the longer side of the ink
CENTER = 14  # pixels from the top left: where MNIST keeps the centre of mass; 13.5 would move three digits of four


def center_ink(ink: np.ndarray) -> np.ndarray:
    """Scale and place one glyph as MNIST does.

    Args:
        ink: (H, W) uint8 of any size, 0 where there is paper and up to 255 where there is ink.

    Returns:
        (28, 28) uint8: the ink's longer side 20 pixels, its centre of mass on (14, 14), by whole pixels, so
        that real MNIST digits come out as they went in. A picture without ink comes out black.
    """
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if len(rows) == 0:
        return canvas
    glyph = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(glyph.shape)
    if scale != 1:
        size = [max(1, round(side * scale)) for side in reversed(glyph.shape)]  # width, height
        glyph = cv2.resize(glyph, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    height, width = glyph.shape
    moments = cv2.moments(glyph)
    mass = max(moments["m00"], 1e-9)  # a few grey specks can shrink to nothing
    top = round(CENTER - moments["m01"] / mass)
    left = round(CENTER - moments["m10"] / mass)
    # a very lopsided glyph would leave the picture: its edge stops at the picture's edge
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    canvas[top : top + height, left : left + width] = glyph
    return canvas
