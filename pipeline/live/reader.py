"""Temporal smoothing: derive a stable prediction from many frames of the box.

A page held by hand trembles, and a page brought into the box moves. Nothing is classified while the ink moves or is cut
off by the edge of the box. While it lies still, the log-probabilities of the last frames are averaged. Each frame adds
one of five views, rotated by -12 to 12 degrees. Of the averages of three neighboring views the most confident one is
used, so that the page may be held at an angle. A label appears when the confidence exceeds MIN_CONFIDENCE and stays
while it exceeds EXIT_CONFIDENCE.
"""

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from pipeline.datasets import augmentation, datasets
from pipeline.evaluation.handwriting import MIN_CONFIDENCE, UNCLEAR, VIEW_ROTATION_DEGREES
from pipeline.preprocessing.mnist_format import IMAGE_SIZE
from pipeline.preprocessing.photo import Photo
from pipeline.preprocessing.segmentation import Box

EXIT_CONFIDENCE = 0.7  # a label is shown until its confidence falls below this
SMOOTHING_SECONDS = 0.3  # duration of the averaged frames
MIN_FRAMES = 8  # frames averaged before a label appears; a slow camera needs fewer, those of SMOOTHING_SECONDS
VIEW_ROTATIONS_DEGREES = (
    0,
    -VIEW_ROTATION_DEGREES,
    VIEW_ROTATION_DEGREES,
    -2 * VIEW_ROTATION_DEGREES,
    2 * VIEW_ROTATION_DEGREES,
)  # used in turn, one per frame
# the following five are shares of the box's side
MIN_INK_SIZE = 0.1  # ink that is neither higher nor wider is ignored as dirt
BORDER_SHARE = 0.015  # ink closer to the edge may be cut off by it
CENTER_TOLERANCE = 0.25  # largest distance between the centers of the character and of the box
MAX_BOX_JUMP = 0.04  # the ink has moved if two sides of its bounding box move more than this between frames,
MAX_SIDE_JUMP = 0.1  # or one side more than this: the faint end of a stroke may be missing in one frame
CROP_SIZE_PX = 160  # larger crops are reduced to this: full size is three times as slow and no more accurate
MOTION_SCALE = 5  # the image is reduced by this factor to detect motion
MAX_STILL_CHANGE = 0.06  # of the image's contrast: largest mean change of the reduced image between still frames


@dataclass
class Reading:
    """The result for one frame."""

    image: np.ndarray  # (28, 28) uint8, the network's input; black if there is no ink
    box: Box  # the ink's bounding box within the crop; of width 0 if there is no ink
    label: str  # a class name, UNCLEAR, or "" if there is no prediction
    confidence: float  # smoothed probability of the most likely class, 0 to 1; 0 if there is no ink
    top_classes: list[tuple[str, float]]  # the three most likely classes and their smoothed probabilities


EMPTY_READING = Reading(np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8), (0, 0, 0, 0), "", 0.0, [])


class SmoothedReader:
    """Classify one crop after the other with one network, smoothed over the last frames."""

    def __init__(self, model: nn.Module):
        self.model = model.eval()
        self.recent: deque = deque()  # (seconds, degrees, log-probabilities (classes,)) of the last frames
        self.still_since = 0.0  # seconds, the time of the last motion
        self.label = ""
        self.thumbnail = None  # (H, W) float32, the last crop reduced to detect motion
        self.sides = None  # (4,) left, top, right and bottom of the last frame's ink, if it had any
        self.frames = 0

    def read(self, crop: np.ndarray, time: float) -> Reading:
        """Classify what is in the box.

        Args:
            crop: (S, S, 3) uint8.
            time: seconds, increasing from frame to frame.
        """
        image = _reduced(crop)
        if self._has_changed(image):
            self.still_since = time
            return self.reset()
        character = Photo(image).character
        x, y, width, height = character.box
        side = len(image)
        if max(width, height) <= MIN_INK_SIZE * side:
            return self.reset()
        is_whole = min(x, y) >= BORDER_SHARE * side and max(x + width, y + height) <= (1 - BORDER_SHARE) * side
        offset = max(abs(x + width / 2 - side / 2), abs(y + height / 2 - side / 2))
        is_inside = is_whole and offset <= CENTER_TOLERANCE * side
        if self._has_moved(character.box, side) or not is_inside:
            self.recent.clear()
            self.still_since, self.label = time, ""
        degrees = VIEW_ROTATIONS_DEGREES[self.frames % len(VIEW_ROTATIONS_DEGREES)]
        self.recent.append((time, degrees, self._predict(character.image, degrees)))
        while abs(time - self.recent[0][0]) > SMOOTHING_SECONDS:  # abs: time steps back when a frozen video resumes
            self.recent.popleft()
        probabilities = self._smoothed()
        order = probabilities.argsort()[::-1][:3]
        top_classes = [(self.model.class_names[i], float(probabilities[i])) for i in order]
        name, confidence = top_classes[0]
        if is_inside and (len(self.recent) >= MIN_FRAMES or time - self.still_since >= SMOOTHING_SECONDS):
            threshold = EXIT_CONFIDENCE if name == self.label else MIN_CONFIDENCE
            self.label = name if confidence > threshold else UNCLEAR
        x, y, width, height = (round(length * len(crop) / side) for length in character.box)
        return Reading(character.image, (x, y, width, height), self.label, confidence, top_classes)

    def reset(self) -> Reading:
        """Discard the last frames and the label; return the reading of an empty box."""
        self.recent.clear()
        self.label, self.sides = "", None
        return EMPTY_READING

    def _smoothed(self) -> np.ndarray:
        """Return (classes,) probabilities, the most confident average of three neighboring views."""
        by_view = {
            view: [outputs for _, degrees, outputs in self.recent if degrees == view]
            for view in sorted(VIEW_ROTATIONS_DEGREES)
        }
        means = [np.mean(outputs, axis=0) if outputs else None for outputs in by_view.values()]
        neighbors = [[mean for mean in means[i : i + 3] if mean is not None] for i in range(len(means) - 2)]
        averages = [np.exp(np.mean(group, axis=0)) for group in neighbors if group]
        return max((average / average.sum() for average in averages), key=np.max)

    @torch.inference_mode()
    def _predict(self, image: np.ndarray, degrees: float) -> np.ndarray:
        """Return (classes,) log-probabilities of a (28, 28) uint8 image, rotated."""
        self.frames += 1
        images = datasets.normalize(image[None])
        return self.model(augmentation.rotate(images, degrees) if degrees else images)[0].numpy()

    def _has_changed(self, image: np.ndarray) -> bool:
        """Return whether the image differs from the last one by more than a trembling hand explains."""
        side = max(1, len(image) // MOTION_SCALE)
        thumbnail = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32).mean(2)
        before, self.thumbnail = self.thumbnail, thumbnail
        if before is None or before.shape != thumbnail.shape:
            return True
        return np.abs(thumbnail - before).mean() > MAX_STILL_CHANGE * max(np.ptp(thumbnail), 1)

    def _has_moved(self, box: Box, side: int) -> bool:
        """Return whether the ink's bounding box has moved or changed its size since the last frame."""
        x, y, width, height = box
        sides = np.array([x, y, x + width, y + height])
        before, self.sides = self.sides, sides
        if before is None:
            return True
        *_, second, first = sorted(np.abs(sides - before))
        return second > MAX_BOX_JUMP * side or first > MAX_SIDE_JUMP * side


def _reduced(crop: np.ndarray) -> np.ndarray:
    """Reduce a crop to CROP_SIZE_PX; first by an integer factor, which OpenCV does ten times as fast."""
    factor = len(crop) // CROP_SIZE_PX
    if factor > 1:
        side = len(crop) // factor
        crop = cv2.resize(crop[: side * factor, : side * factor], (side, side), interpolation=cv2.INTER_AREA)
    return (
        cv2.resize(crop, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=cv2.INTER_LINEAR)
        if len(crop) > CROP_SIZE_PX
        else crop
    )
