"""Temporal smoothing: one stable answer from many frames of a box.

A page held by hand trembles, and one that is brought into the box moves. Nothing is classified while the ink moves or
is cut by the box's edge. While it lies still the log-probabilities of the last frames are averaged. Each frame adds one
of five views, rotated either way; of three neighbouring views the most confident count, so the page may be held at an
angle. The answer appears above MIN_CONFIDENCE and stays until the confidence falls below EXIT_CONFIDENCE.
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

EXIT_CONFIDENCE = 0.7  # confidence down to which an answer that was given stays
SMOOTHING_SECONDS = 0.3  # seconds of frames that are averaged
MIN_FRAMES = 8  # frames before anything is said; of a slow camera those of a moment
VIEW_ROTATIONS_DEGREES = (
    0,
    -VIEW_ROTATION_DEGREES,
    VIEW_ROTATION_DEGREES,
    -2 * VIEW_ROTATION_DEGREES,
    2 * VIEW_ROTATION_DEGREES,
)  # degrees, one after the other
MIN_INK_SIZE = 0.1  # of the box: ink that is less high and wide is dirt
BORDER_SHARE = 0.015  # of the box: ink that is closer to its edge is still coming in
CENTER_TOLERANCE = 0.25  # of the box: a character is held in its middle, give or take this
MAX_BOX_JUMP = 0.04  # of the box: the most that the ink's sides move from frame to frame while it lies still
MAX_SIDE_JUMP = 0.1  # of the box: the same of one side alone, which may be a stroke's faint end, seen in one frame only
CROP_SIZE_PX = (
    160  # pixels: a larger crop is reduced to this; to read it whole finds no more and takes three times as long
)
MOTION_SCALE = 5  # pixels of what is read that are one pixel of the picture on which movement is looked for
MAX_STILL_CHANGE = 0.06  # of the ink's contrast: the most that the reduced picture changes from frame to frame


@dataclass
class Reading:
    """What is said of one frame."""

    picture: np.ndarray  # (28, 28) uint8, what the network sees; black where there is no writing
    box: Box  # of the ink, within the crop; of width 0 where there is none
    label: str  # a class name, UNCLEAR, or "" where there is nothing to say
    confidence: float  # of the likeliest class, 0 to 1, averaged over the moment; 0 where there is nothing
    likeliest: list[tuple[str, float]]  # the three likeliest classes and their probabilities, averaged likewise


EMPTY_READING = Reading(np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8), (0, 0, 0, 0), "", 0.0, [])


class SmoothedReader:
    """Reads one crop after the other with one network and remembers a moment of them."""

    def __init__(self, model: nn.Module):
        self.model = model.eval()
        self.said: deque = deque()  # (seconds, degrees, log-probabilities (classes,)) of the frames of a moment
        self.since = 0.0  # seconds, when what is in the box came to lie still
        self.label = ""
        self.thumb = None  # (H, W) float32, the last frame reduced
        self.sides = None  # (4,) of the ink of the last frame, if it had any that lay still
        self.frames = 0

    def read(self, crop: np.ndarray, time: float) -> Reading:
        """Args:
        crop: (S, S, 3) uint8, what is in the box.
        time: seconds, rising from frame to frame.
        """
        sight = _reduced(crop)
        if self._changed(sight):
            self.since = time
            return self.forget()
        character = Photo(sight).character
        x, y, width, height = character.box
        side = len(sight)
        if max(width, height) <= MIN_INK_SIZE * side:
            return self.forget()
        whole = min(x, y) >= BORDER_SHARE * side and max(x + width, y + height) <= (1 - BORDER_SHARE) * side
        aside = max(abs(x + width / 2 - side / 2), abs(y + height / 2 - side / 2))
        inside = whole and aside <= CENTER_TOLERANCE * side
        if self._slid(character.box, side) or not inside:
            self.said.clear()
            self.since, self.label = time, ""
        turn = VIEW_ROTATIONS_DEGREES[self.frames % len(VIEW_ROTATIONS_DEGREES)]
        self.said.append((time, turn, self._look(character.image, turn)))
        while abs(time - self.said[0][0]) > SMOOTHING_SECONDS:  # a video that was frozen goes back a little
            self.said.popleft()
        probabilities = self._averaged()
        order = probabilities.argsort()[::-1][:3]
        likeliest = [(self.model.class_names[i], float(probabilities[i])) for i in order]
        name, confidence = likeliest[0]
        if inside and (len(self.said) >= MIN_FRAMES or time - self.since >= SMOOTHING_SECONDS):
            sure = confidence > (EXIT_CONFIDENCE if name == self.label else MIN_CONFIDENCE)
            self.label = name if sure else UNCLEAR
        x, y, width, height = (round(length * len(crop) / side) for length in character.box)
        return Reading(character.image, (x, y, width, height), self.label, confidence, likeliest)

    def forget(self) -> Reading:
        """There is nothing to read for now, and what was is over."""
        self.said.clear()
        self.label, self.sides = "", None
        return EMPTY_READING

    def _averaged(self) -> np.ndarray:
        """(classes,) probabilities, of the three neighbouring looks that are most sure."""
        looks = {turn: [said for _, then, said in self.said if then == turn] for turn in sorted(VIEW_ROTATIONS_DEGREES)}
        means = [np.mean(said, axis=0) if said else None for said in looks.values()]
        sides = [[mean for mean in means[i : i + 3] if mean is not None] for i in range(len(means) - 2)]
        answers = [np.exp(np.mean(side, axis=0)) for side in sides if side]
        return max((answer / answer.sum() for answer in answers), key=np.max)

    @torch.inference_mode()
    def _look(self, picture: np.ndarray, turn: float) -> np.ndarray:
        """(28, 28) uint8 -> (classes,) log-probabilities, of the picture turned by so many degrees."""
        self.frames += 1
        images = datasets.normalize(picture[None])
        return self.model(augmentation.rotate(images, turn) if turn else images)[0].numpy()

    def _changed(self, sight: np.ndarray) -> bool:
        """Is it another picture than the last, more than a hand's tremor makes it?"""
        side = max(1, len(sight) // MOTION_SCALE)
        thumb = cv2.resize(sight, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32).mean(2)
        before, self.thumb = self.thumb, thumb
        if before is None or before.shape != thumb.shape:
            return True
        return np.abs(thumb - before).mean() > MAX_STILL_CHANGE * max(np.ptp(thumb), 1)

    def _slid(self, box: Box, side: int) -> bool:
        """Has the ink moved since the last frame, or does another part of the picture look like ink now?"""
        x, y, width, height = box
        sides = np.array([x, y, x + width, y + height])
        before, self.sides = self.sides, sides
        if before is None:
            return True
        *_, second, first = sorted(np.abs(sides - before))
        return second > MAX_BOX_JUMP * side or first > MAX_SIDE_JUMP * side


def _reduced(crop: np.ndarray) -> np.ndarray:
    """The crop at the size at which it is read; first by a whole factor, which OpenCV does ten times faster."""
    factor = len(crop) // CROP_SIZE_PX
    if factor > 1:
        side = len(crop) // factor
        crop = cv2.resize(crop[: side * factor, : side * factor], (side, side), interpolation=cv2.INTER_AREA)
    return (
        cv2.resize(crop, (CROP_SIZE_PX, CROP_SIZE_PX), interpolation=cv2.INTER_LINEAR)
        if len(crop) > CROP_SIZE_PX
        else crop
    )
