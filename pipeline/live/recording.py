"""Write frames to a video file that plays at the speed at which they arrived."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline import files, runtime
from pipeline.errors import Failure, WrongUsage

MAX_FRAME_REPEATS = 6  # per frame: a recording of fewer than five frames per second plays too fast
VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}


class Recording:
    """A video of a constant frame rate; a frame is repeated or dropped to match its time."""

    def __init__(self, path: Path, rate: float):
        self._path, self._rate = path, rate
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0

    def add(self, frame: np.ndarray, time: float) -> None:
        """Add a frame, (H, W, 3) uint8, and its time in seconds since the first.

        Raises:
            Failure: OpenCV cannot write this format.
        """
        if self._writer is None:
            self._size = frame.shape[1::-1]
            code = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, self._size)
            if not self._writer.isOpened():
                raise Failure(
                    f"this OpenCV cannot write {self._path.suffix} of size {self._size}: try the other of .mp4 and .avi"
                )
        if frame.shape[1::-1] != self._size:  # the images of a folder may differ in size
            frame = cv2.resize(frame, self._size)
        due = int(time * self._rate + 1e-6) + 1
        # without a limit, a computer too slow to write in real time would fall behind further with each frame
        for _ in range(min(due - self._written, MAX_FRAME_REPEATS)):
            self._writer.write(frame)
        self._written = max(self._written, due)

    def close(self) -> None:
        if self._writer:
            self._writer.release()


@contextlib.contextmanager
def record(path: Path, rate: float) -> Iterator[Recording]:
    """Open a recording; the file gets its name when it is complete.

    Raises:
        WrongUsage: the format is unknown, or the file exists: it may be the source, or an earlier recording.
        Failure: the folder is not writable.
    """
    if path.suffix.lower() not in VIDEO_CODECS:
        raise WrongUsage(f"cannot record to {path}: give a name that ends in {' or '.join(VIDEO_CODECS)}")
    if path.exists():
        raise WrongUsage(f"{path} exists: give --record another name")
    runtime.output_folder(path.parent, flag="--record")
    with files.atomic_write(path) as partial:
        recording = Recording(partial, rate)
        try:
            yield recording
        finally:
            recording.close()
