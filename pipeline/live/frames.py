"""A frame of the live window: its image, number and time; images of any size as frames."""

import time
from dataclasses import dataclass, field

import cv2
import numpy as np

CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX, CAMERA_FPS = 1280, 720, 30  # requested; a camera may send others
MIN_FRAME_HEIGHT_PX, MAX_FRAME_HEIGHT_PX = 480, 1080  # frames of other heights are scaled to CAMERA_HEIGHT_PX
MAX_BLACK_LEVEL = 8  # of 255: a frame with a lower mean is black


@dataclass
class Frame:
    image: np.ndarray  # (H, W, 3) uint8, BGR
    number: int  # from 0; the same for all frames that show one image of a folder
    time: float  # seconds since the first frame
    arrived: float = field(default_factory=time.monotonic)  # type: ignore[attr-defined]
    name: str = ""  # file name, if the source is a folder of images


def scale_frame(image: np.ndarray) -> np.ndarray:
    """Convert to BGR, and scale to CAMERA_HEIGHT_PX unless the height is suitable for the overlay."""
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    height, width = image.shape[:2]
    if MIN_FRAME_HEIGHT_PX <= height <= MAX_FRAME_HEIGHT_PX:
        return image
    return cv2.resize(
        image, (max(1, round(width * CAMERA_HEIGHT_PX / height)), CAMERA_HEIGHT_PX), interpolation=cv2.INTER_AREA
    )


def as_frame(image: np.ndarray) -> np.ndarray:
    """Convert an image of any size to a frame.

    An image at least 640 pixels wide, and 1.3 times as wide as high, becomes the whole frame. Any other is scaled to
    fit the default box and surrounded by its median color.
    """
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    height, width = image.shape[:2]
    if width >= 640 and width >= 1.3 * height:
        return scale_frame(image)
    scale = CAMERA_HEIGHT_PX / 2 / max(height, width)  # the default box is half as high as the frame
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    vertical, horizontal = CAMERA_HEIGHT_PX - size[1], CAMERA_WIDTH_PX - size[0]
    borders = vertical // 2, vertical - vertical // 2, horizontal // 2, horizontal - horizontal // 2
    color = np.median(image.reshape(-1, 3), axis=0).tolist()
    return cv2.copyMakeBorder(image, *borders, cv2.BORDER_CONSTANT, value=color)


def is_black(image: np.ndarray) -> bool:
    """Return whether a frame is black, as with a covered lens or without permission."""
    return image[::8, ::8].mean() < MAX_BLACK_LEVEL
