"""Write frames to a video file that plays at the speed at which they came."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline import files, runtime
from pipeline.errors import Failure, WrongUsage

MAX_FRAME_REPEATS = 6  # times that one frame is written: below five frames a second a film plays too fast
VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


class Recording:
    """A video of a steady rate. A frame is written as often as its time asks for, which may be never."""

    def __init__(self, path: Path, rate: float):
        self._path, self._rate = path, rate
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0

    def add(self, frame: np.ndarray, time: float) -> None:
        """A frame (H, W, 3) uint8 and its time in seconds since the first."""
        if self._writer is None:
            self._size = frame.shape[1::-1]
            code = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, self._size)
            if not self._writer.isOpened():
                raise Failure(
                    f"this OpenCV cannot write {self._path.suffix} of size {self._size}: try the other of .mp4, .avi"
                )
        if frame.shape[1::-1] != self._size:  # a folder's pictures need not be alike
            frame = cv2.resize(frame, self._size)
        due = int(time * self._rate + 1e-6) + 1
        # who writes more slowly than frames come would fall behind further and further
        for _ in range(min(due - self._written, MAX_FRAME_REPEATS)):
            self._writer.write(frame)
        self._written = max(self._written, due)

    def close(self) -> None:
        if self._writer:
            self._writer.release()


@contextlib.contextmanager
def record(path: Path, rate: float) -> Iterator[Recording]:
    """A film that takes its name when it is whole.

    Raises:
        WrongUsage: a kind of file that it cannot be, or a file that is there: it may be the source, or an earlier film.
        Failure: it cannot be written there.
    """
    if path.suffix.lower() not in VIDEO_CODECS:
        raise WrongUsage(f"cannot record to {path}: give a name that ends in {' or '.join(VIDEO_CODECS)}")
    if path.exists():
        raise WrongUsage(f"{path} exists: give --record another name")
    runtime.output_folder(path.parent, flag="--record")
    with files.atomic_write(path) as partial:
        shown = Recording(partial, rate)
        try:
            yield shown
        finally:
            shown.close()
