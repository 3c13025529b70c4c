"""One frame of the live window: crop the box, classify it, draw the overlay, report what is wrong with the picture."""

import contextlib
import csv
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline import files
from pipeline.live import frame_sources, overlay
from pipeline.live.controls import Controls
from pipeline.live.frame_sources import Frame
from pipeline.live.reader import Reading, SmoothedReader

FPS_WINDOW_FRAMES = 30  # frames that the frame rate is taken of
CROP_MARGIN = 0.15  # of the box: by so much more is read, so that a character that fills the box is whole
MIN_DISPLAY_HEIGHT_PX = (
    600  # pixels: a less high picture is shown larger, by a whole factor, or what is written would hide the box
)
STATISTICS_FRAMES = 15  # frames after which the figures shown are taken anew, so that they can be read


class Session:
    """One frame after the other, read and drawn."""

    def __init__(self, controls: Controls, mirror: bool = False):
        self.controls, self.mirror = controls, mirror
        self.reader = SmoothedReader(controls.model)
        self.frames = 0
        self.crop = np.zeros((0, 0, 3), np.uint8)  # (S, S, 3), what was in the box; none before the first frame
        self.milliseconds = 0.0  # that the last frame took
        self._arrived: deque[float] = deque(maxlen=FPS_WINDOW_FRAMES)
        self._rate = ""
        self._trouble = ""
        self._black_since: float | None = None  # seconds

    def step(self, frame: Frame, trouble: str = "") -> tuple[np.ndarray, Reading]:
        """What to show for a frame, (H, W, 3) uint8, and what was read in its box.

        Args:
            trouble: why no frame comes; then this one, the last, is not read again.
        """
        start = time.perf_counter()
        if self.reader.model is not self.controls.model:
            self.reader = SmoothedReader(self.controls.model)
        box = overlay.box_of(frame.picture, self.controls.share)
        self.crop = frame.picture[box].copy()  # before anything is drawn on it
        view = frame.picture[overlay.box_of(frame.picture, min(1, (1 + CROP_MARGIN) * self.controls.share))]
        reading = self.reader.forget() if trouble else self.reader.read(view, frame.time)
        height, width = frame.picture.shape[:2]
        zoom = min(-(-MIN_DISPLAY_HEIGHT_PX // height), -(-2 * MIN_DISPLAY_HEIGHT_PX // width))
        shown = cv2.resize(frame.picture, None, fx=zoom, fy=zoom) if zoom > 1 else frame.picture.copy()
        shown = cv2.flip(shown, 1) if self.mirror else shown
        x, y, width, height = reading.box
        aside = (len(view) - len(self.crop)) // 2
        x = len(view) - x - width if self.mirror else x
        ink = tuple(zoom * length for length in (x - aside, y - aside, width, height))
        trouble = trouble or self._blackness(frame)
        self._say(trouble)
        message = trouble or self.controls.message(time.monotonic())
        rate = self._rate if self.controls.rate else ""
        over = overlay.View(self.controls.title, message, rate, self.controls.help)
        overlay.draw(shown, overlay.box_of(shown, self.controls.share), ink, reading, over)
        self.milliseconds = 1000 * (time.perf_counter() - start)
        self._count(frame)
        return shown, reading

    def _count(self, frame: Frame) -> None:
        now = time.monotonic()
        self._arrived.append(now)
        self.frames += 1
        if self.frames % STATISTICS_FRAMES == 0 and len(self._arrived) > 1:
            rate = (len(self._arrived) - 1) / max(now - self._arrived[0], 1e-6)
            latency = 1000 * (now - frame.arrived)
            self._rate = f"{rate:.0f} frames/s   {latency:.0f} ms late   {self.milliseconds:.1f} ms of work"

    def _blackness(self, frame: Frame) -> str:
        if not frame_sources.is_black(frame.picture):
            self._black_since = None
        elif self._black_since is None:
            self._black_since = frame.time  # the first frames of many cameras are black
        elif frame.time - self._black_since > frame_sources.SILENCE_SECONDS:
            return "the picture is black: is the lens covered, or the camera not allowed to this program?"
        return ""

    def _say(self, trouble: str) -> None:
        """On the terminal, once."""
        if trouble[:12] != self._trouble[:12]:  # the rest may count seconds
            print(trouble or "the camera works again", flush=True)
        self._trouble = trouble


class PredictionTable:
    """live.csv: a row for each frame; for each picture, where one is shown for many frames, as it is read at last."""

    COLUMNS = "frame", "time", "mode", "label", "confidence", "milliseconds", "picture"

    def __init__(self, file):
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(self.COLUMNS)
        self._row = None

    def add(self, frame: Frame, mode: str, reading: Reading, milliseconds: float) -> None:
        row = [frame.number, f"{frame.time:.3f}", mode, reading.label]
        row += [f"{reading.confidence:.3f}", f"{milliseconds:.2f}", frame.name]
        if self._row and self._row[0] != frame.number:
            self.finish()
        self._row = row

    def finish(self) -> None:
        """Write the row that waits."""
        if self._row:
            self._rows.writerow(self._row)
        self._row = None


@contextlib.contextmanager
def write_predictions(path: Path) -> Iterator[PredictionTable]:
    """A table on disk that takes its name when it is whole."""
    with files.atomic_write(path) as partial, open(partial, "w", newline="") as file:
        rows = PredictionTable(file)
        yield rows
        rows.finish()
