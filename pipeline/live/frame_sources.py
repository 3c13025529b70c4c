"""Read frames from a camera, a video, a folder of images or a stream address.

A video or a folder gives every frame, then ends. A camera gives only its latest frame; if it stops sending frames, it
is reopened for RECONNECT_SECONDS seconds.
"""

import os
import platform
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import Failure
from pipeline.live.camera_diagnosis import camera_name, no_camera
from pipeline.preprocessing.image_files import IMAGE_SUFFIXES, list_images, read_image
from pipeline.preprocessing.photo import as_uint8

# OpenCV reads these variables when it opens the first camera or video. Without the first one, the Media Foundation
# backend of Windows takes up to a minute to open a camera.
os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # no messages of FFmpeg: errors are reported by Failure

CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX, CAMERA_FPS = 1280, 720, 30  # requested; a camera may send others
MIN_FRAME_HEIGHT_PX, MAX_FRAME_HEIGHT_PX = 480, 1080  # frames of other heights are scaled to CAMERA_HEIGHT_PX
IMAGE_SECONDS = 1.0  # for which each image of a folder is shown
BACKENDS = {
    "Windows": (cv2.CAP_DSHOW, cv2.CAP_MSMF),
    "Darwin": (cv2.CAP_AVFOUNDATION,),
    "Linux": (cv2.CAP_V4L2,),
}
MAX_CAMERAS = 10  # list_cameras tries the numbers below this
FRAME_TIMEOUT_SECONDS = 1.0  # without a frame, after which the camera is reported as disconnected
RECONNECT_SECONDS = 20.0  # without a frame, after which the program ends
RETRY_SECONDS = 0.5  # between two attempts to reopen a camera
MAX_BLACK_LEVEL = 8  # of 255: a frame with a lower mean is black


@dataclass
class Frame:
    image: np.ndarray  # (H, W, 3) uint8, BGR
    number: int  # from 0; the same for all frames that show one image of a folder
    time: float  # seconds since the first frame
    arrived: float = field(default_factory=time.monotonic)  # type: ignore[attr-defined]
    name: str = ""  # file name, if the source is a folder of images


def frame_source(source: str) -> "Camera | Video | Folder":
    """Open a source: a camera number, a stream address, a folder, an image or a video.

    Raises:
        Failure: the source gives no frame; the message says what to do.
    """
    if source.isdigit():
        return Camera(int(source))
    if "://" in source:
        return Camera(source)
    path = Path(source)
    if not source or not (path.is_file() or path.is_dir()):
        reason = f"'{source}' is not a file or a folder" if path.exists() else f"{source} does not exist"
        raise Failure(f"{reason}: give --source a camera number, a video, a folder or a stream address")
    return Folder(path) if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES else Video(path)


def capture(source: int | str, backend: int = cv2.CAP_ANY) -> cv2.VideoCapture:
    """Open a camera or a video with OpenCV. Tests replace this function."""
    return cv2.VideoCapture(source, backend)


class Video:
    """All frames of a video file, in order."""

    is_live = False
    problem = ""

    def __init__(self, path: Path):
        self._capture = capture(str(path))
        self._number = 0
        ok, self._next = self._capture.read()
        if not ok:
            raise Failure(f"{path} is not a readable video: give another format such as MP4, or a folder of images")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= 240 else CAMERA_FPS

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end."""
        if self._next is None:
            return None
        frame = Frame(scale_frame(self._next), self._number, self._number / self.rate)
        self._number += 1
        ok, image = self._capture.read()
        self._next = image if ok else None
        return frame

    def close(self) -> None:
        self._capture.release()


class Folder:
    """A slide show of a folder's images; each is shown for IMAGE_SECONDS seconds."""

    is_live = False
    problem = ""
    rate = CAMERA_FPS

    def __init__(self, path: Path):
        self._frames = self._generate(list_images(path))
        self._next = next(self._frames, None)
        if self._next is None:
            raise Failure(f"no readable image in {path}: give a folder of PNG or JPEG images")

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end."""
        frame, self._next = self._next, next(self._frames, None)
        return frame

    def _generate(self, files: list[Path]) -> Generator[Frame]:
        count = 0
        for number, file in enumerate(files):
            try:
                image = as_frame(as_uint8(read_image(file)))
            except Failure as failure:
                print(f"skipped: {failure}")
                continue
            for _ in range(round(IMAGE_SECONDS * CAMERA_FPS)):
                yield Frame(image.copy(), number, count / CAMERA_FPS, name=file.name)
                count += 1

    def close(self) -> None:
        self._frames.close()


class Camera:
    """The latest frame of a camera or a stream. A thread waits for frames, so that the window stays responsive."""

    is_live = True
    rate = CAMERA_FPS

    def __init__(self, source: int | str):
        self._source = source
        # in the main thread, the only one in which macOS asks for permission
        self._capture = open_camera(source)
        image = _first_frame(self._capture) if self._capture else None
        if image is None:
            raise no_camera(source, "try another number (--list-cameras), ")
        self._start = self._last_frame = time.monotonic()
        self._number = 0
        self._latest = image
        self._new_frame = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._read_frames, daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """The message to show while no frames arrive; empty otherwise."""
        waited = time.monotonic() - self._last_frame
        if waited <= FRAME_TIMEOUT_SECONDS:
            return ""
        return f"camera disconnected, retrying for {max(0, RECONNECT_SECONDS - waited):.0f} s"

    def read(self) -> Frame | None:
        """Return the latest frame, or None if no new one arrives within 0.1 seconds.

        Raises:
            Failure: no frame arrived for RECONNECT_SECONDS seconds.
        """
        with self._new_frame:
            if self._latest is None and not self._new_frame.wait_for(lambda: self._latest is not None, 0.1):
                if time.monotonic() - self._last_frame > RECONNECT_SECONDS:
                    raise Failure(
                        f"{camera_name(self._source)} was disconnected and sent no frame for {RECONNECT_SECONDS:.0f} "
                        "seconds: check its connection, then run again"
                    )
                return None
            image, self._latest = self._latest, None
            frame = Frame(scale_frame(image), self._number, self._last_frame - self._start, self._last_frame)
            self._number += 1
            return frame

    def _read_frames(self) -> None:
        # macOS cannot ask for permission in this thread; it asked in the main thread
        os.environ["OPENCV_AVFOUNDATION_SKIP_AUTH"] = "1"
        while not self._closed:
            ok, image = self._capture.read() if self._capture else (False, None)
            if ok:
                with self._new_frame:
                    self._latest, self._last_frame = image, time.monotonic()
                    self._new_frame.notify()
                continue
            if self._capture:
                self._capture.release()
            time.sleep(RETRY_SECONDS)
            self._capture = None if self._closed else open_camera(self._source)
        if self._capture:
            self._capture.release()

    def close(self) -> None:
        self._closed = True
        self._thread.join(1)  # a limit, since the thread may be blocked in a read


def open_camera(source: int | str) -> cv2.VideoCapture | None:
    """Open a camera and request the preferred size and rate; return None if it cannot be opened."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    backends = BACKENDS.get(platform.system(), (cv2.CAP_ANY,)) if isinstance(source, int) else (cv2.CAP_ANY,)
    for backend in backends:
        opened = capture(source, backend)
        if opened.isOpened():
            if isinstance(source, int):
                # without compression most cameras send only 10 frames per second at this size
                opened.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
                for setting, value in (
                    (cv2.CAP_PROP_FRAME_WIDTH, CAMERA_WIDTH_PX),
                    (cv2.CAP_PROP_FRAME_HEIGHT, CAMERA_HEIGHT_PX),
                    (cv2.CAP_PROP_FPS, CAMERA_FPS),
                ):
                    opened.set(setting, value)
            return opened
        opened.release()
    return None


def _first_frame(opened: cv2.VideoCapture) -> np.ndarray | None:
    """Return a camera's first frame; if five attempts give none, close the camera and return None."""
    for _ in range(5):
        ok, image = opened.read()
        if ok:
            return image
        time.sleep(0.1)
    opened.release()
    return None


def list_cameras() -> list[str]:
    """Describe each working camera in a line: its number, its name (on Linux) and its frame size.

    Raises:
        Failure: no camera works.
    """
    lines = []
    for number in range(MAX_CAMERAS):
        if platform.system() == "Linux" and not Path(f"/dev/video{number}").exists():
            continue  # opening a missing camera takes a second
        opened = open_camera(number)
        image = _first_frame(opened) if opened else None
        if opened and image is not None:
            opened.release()
            name_file = Path(f"/sys/class/video4linux/video{number}/name")
            name = name_file.read_text().strip() if name_file.is_file() else f"camera {number}"
            lines.append(f"--source {number}   {name}, {image.shape[1]} x {image.shape[0]}")
    if not lines:
        raise no_camera(0)
    return lines


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
