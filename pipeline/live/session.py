"""Process the frames of the live window: crop the box, classify it, draw the overlay, report a black image."""

import contextlib
import csv
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline import files
from pipeline.live import frame_sources, frames, overlay
from pipeline.live.controls import Controls
from pipeline.live.frames import Frame
from pipeline.live.reader import Reading, SmoothedReader

FPS_WINDOW_FRAMES = 30  # over which the frame rate is averaged
CROP_MARGIN = 0.15  # of the box's side, read in addition, so that a character that fills the box is not cut off
MIN_DISPLAY_HEIGHT_PX = 600  # smaller frames are enlarged by an integer factor, or the overlay would cover the box
STATISTICS_FRAMES = 15  # between two updates of the displayed frame rate, so that it is legible


class Session:
    """Read one frame after the other and draw the overlay on it."""

    def __init__(self, controls: Controls, mirror: bool = False):
        self.controls, self.mirror = controls, mirror
        self.reader = SmoothedReader(controls.model)
        self.frames = 0
        self.crop = np.zeros((0, 0, 3), np.uint8)  # (S, S, 3), the box of the last frame; empty before the first
        self.milliseconds = 0.0  # processing time of the last frame
        self._finished: deque[float] = deque(maxlen=FPS_WINDOW_FRAMES)  # seconds, when the last frames were done
        self._rate = ""
        self._problem = ""
        self._black_since: float | None = None  # seconds

    def step(self, frame: Frame, problem: str = "") -> tuple[np.ndarray, Reading]:
        """Classify what is in a frame's box and draw the overlay.

        Args:
            problem: why the source sends no frames; then `frame` is the last one and is not read again.

        Returns:
            the image to show, (H, W, 3) uint8, and the reading.
        """
        start = time.perf_counter()
        if self.reader.model is not self.controls.model:
            self.reader = SmoothedReader(self.controls.model)
        box = overlay.centered_box(frame.image, self.controls.box_size)
        self.crop = frame.image[box].copy()  # a copy without the overlay
        view = frame.image[overlay.centered_box(frame.image, min(1, (1 + CROP_MARGIN) * self.controls.box_size))]
        reading = self.reader.reset() if problem else self.reader.read(view, frame.time)
        height, width = frame.image.shape[:2]
        zoom = min(-(-MIN_DISPLAY_HEIGHT_PX // height), -(-2 * MIN_DISPLAY_HEIGHT_PX // width))
        shown = cv2.resize(frame.image, None, fx=zoom, fy=zoom) if zoom > 1 else frame.image.copy()
        shown = cv2.flip(shown, 1) if self.mirror else shown
        x, y, width, height = reading.box
        margin = (len(view) - len(self.crop)) // 2
        x = len(view) - x - width if self.mirror else x
        ink = tuple(zoom * length for length in (x - margin, y - margin, width, height))
        problem = problem or self._check_brightness(frame)
        self._print_once(problem)
        message = problem or self.controls.message(time.monotonic())
        rate = self._rate if self.controls.show_rate else ""
        texts = overlay.View(self.controls.title, message, rate, self.controls.show_help)
        overlay.draw(shown, overlay.centered_box(shown, self.controls.box_size), ink, reading, texts)
        self.milliseconds = 1000 * (time.perf_counter() - start)
        self._update_rate(frame)
        return shown, reading

    def _update_rate(self, frame: Frame) -> None:
        now = time.monotonic()
        self._finished.append(now)
        self.frames += 1
        if self.frames % STATISTICS_FRAMES == 0 and len(self._finished) > 1:
            rate = (len(self._finished) - 1) / max(now - self._finished[0], 1e-6)
            latency = 1000 * (now - frame.arrived)
            self._rate = f"{rate:.0f} frames/s   {latency:.0f} ms latency   {self.milliseconds:.1f} ms processing"

    def _check_brightness(self, frame: Frame) -> str:
        """Return a message if the frames have been black for FRAME_TIMEOUT_SECONDS seconds."""
        if not frames.is_black(frame.image):
            self._black_since = None
        elif self._black_since is None:
            self._black_since = frame.time  # not reported yet: the first frames of many cameras are black
        elif frame.time - self._black_since > frame_sources.FRAME_TIMEOUT_SECONDS:
            return "the image is black: is the lens covered, or does this program lack permission for the camera?"
        return ""

    def _print_once(self, problem: str) -> None:
        """Print a problem when it begins, and a line when it ends."""
        if problem[:12] != self._problem[:12]:  # the rest may contain a countdown
            print(problem or "the camera works again", flush=True)
        self._problem = problem


class PredictionTable:
    """live.csv: a row for each frame of a video or camera; for each image of a folder, that of its last frame."""

    COLUMNS = "frame", "time", "mode", "label", "confidence", "milliseconds", "picture"

    def __init__(self, file):
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(self.COLUMNS)
        self._row = None
        self.counts: Counter[str] = Counter()  # rows of each label

    def add(self, frame: Frame, mode: str, reading: Reading, milliseconds: float) -> None:
        row = [frame.number, f"{frame.time:.3f}", mode, reading.label]
        row += [f"{reading.confidence:.3f}", f"{milliseconds:.2f}", frame.name]
        if self._row and self._row[0] != frame.number:
            self.finish()
        self._row = row

    def finish(self) -> None:
        """Write the pending row."""
        if self._row:
            self._rows.writerow(self._row)
            self.counts[self._row[3] or "nothing"] += 1
        self._row = None


@contextlib.contextmanager
def write_predictions(path: Path) -> Iterator[PredictionTable]:
    """Open the table; the file gets its name when it is complete."""
    with (
        files.atomic_write(path) as partial,
        open(partial, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        rows = PredictionTable(file)
        yield rows
        rows.finish()
