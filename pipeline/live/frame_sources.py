"""Frames from a camera, a video, a folder of images or a stream address.

Every frame of a file is read, and then it is over. Of a camera only the latest frame counts, and one that sends no more
is reopened for a while.
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

# Windows' own reader of cameras otherwise takes up to a minute to open one; read when OpenCV opens the first
os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said here, in one line

CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX, CAMERA_FPS = 1280, 720, 30  # asked of a camera; what it gives may differ
MIN_FRAME_HEIGHT_PX, MAX_FRAME_HEIGHT_PX = 480, 1080  # pixels, a frame's height; others are scaled to CAMERA_HEIGHT_PX
PICTURE_SECONDS = 1.0  # seconds that each picture of a folder is shown
BACKENDS = {
    "Windows": (cv2.CAP_DSHOW, cv2.CAP_MSMF),
    "Darwin": (cv2.CAP_AVFOUNDATION,),
    "Linux": (cv2.CAP_V4L2,),
}
MAX_CAMERAS = 10  # camera numbers that are looked at
SILENCE_SECONDS = 1.0  # seconds without a frame before it is said
RECONNECT_SECONDS = 20.0  # seconds that a silent camera is tried again
RETRY_SECONDS = 0.5  # seconds between two tries
MAX_BLACK_LEVEL = 8  # of 255: a frame that is no brighter on average shows nothing


@dataclass
class Frame:
    picture: np.ndarray  # (H, W, 3) uint8 blue, green, red
    number: int  # from 0; the same for as long as one picture of a folder is shown
    time: float  # seconds since the first frame
    arrived: float = field(default_factory=time.monotonic)  # type: ignore[attr-defined]
    name: str = ""  # of the file, where it is a picture's


def frame_source(source: str) -> "Camera | Video | Folder":
    """What the user means by it: a camera's number, an address, a folder, a picture or a video.

    Raises:
        Failure: it gives no frame; the line says what to do.
    """
    if source.isdigit():
        return Camera(int(source))
    if "://" in source:
        return Camera(source)
    path = Path(source)
    if not source or not (path.is_file() or path.is_dir()):
        what = f"{source or 'nothing'} is no file" if path.exists() else f"there is no {source}"
        raise Failure(f"{what}: give --source the number of a camera, a video, a folder or an address")
    return Folder(path) if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES else Video(path)


def capture(source: int | str, backend: int = cv2.CAP_ANY) -> cv2.VideoCapture:
    """OpenCV's reader of a camera or a file; the one place where it is opened, so that tests can put another there."""
    return cv2.VideoCapture(source, backend)


class Video:
    """Every frame of a file, in order."""

    is_live = False
    trouble = ""

    def __init__(self, path: Path):
        self._capture = capture(str(path))
        self._number = 0
        there, self._next = self._capture.read()
        if not there:
            raise Failure(f"{path} is not a readable video: give one such as MP4, or a folder of images")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= 240 else CAMERA_FPS

    def read(self) -> Frame | None:
        """The next frame; None when it is over."""
        if self._next is None:
            return None
        frame = Frame(scale_frame(self._next), self._number, self._number / self.rate)
        self._number += 1
        there, picture = self._capture.read()
        self._next = picture if there else None
        return frame

    def close(self) -> None:
        self._capture.release()


class Folder:
    """A slide show of pictures: each is PICTURE_SECONDS seconds of frames."""

    is_live = False
    trouble = ""
    rate = CAMERA_FPS

    def __init__(self, path: Path):
        self._frames = self._show(list_images(path))
        self._next = next(self._frames, None)
        if self._next is None:
            raise Failure(f"no readable image in {path}: give others, such as PNG or JPEG")

    def read(self) -> Frame | None:
        """The next frame; None when it is over."""
        frame, self._next = self._next, next(self._frames, None)
        return frame

    def _show(self, files: list[Path]) -> Generator[Frame]:
        count = 0
        for number, file in enumerate(files):
            try:
                picture = as_frame(as_uint8(read_image(file)))
            except Failure as failure:
                print(f"skipped: {failure}")
                continue
            for _ in range(round(PICTURE_SECONDS * CAMERA_FPS)):
                yield Frame(picture.copy(), number, count / CAMERA_FPS, name=file.name)
                count += 1

    def close(self) -> None:
        self._frames.close()


class Camera:
    """The latest frame of a camera or an address. Another thread waits for frames, so that the window never does."""

    is_live = True
    rate = CAMERA_FPS

    def __init__(self, source: int | str):
        """Opened here, in the main thread, because only there macOS asks for the permission."""
        self._source = source
        self._capture = open_camera(source)
        picture = _first_frame(self._capture) if self._capture else None
        if picture is None:
            raise no_camera(source, "try another number (--list-cameras), ")
        self._begin = self._heard = time.monotonic()
        self._number = 0
        self._latest = picture
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """What to show where the frames stay away; empty while they come."""
        silent = time.monotonic() - self._heard
        return (
            f"camera lost, trying again for {max(0, RECONNECT_SECONDS - silent):.0f} s"
            if silent > SILENCE_SECONDS
            else ""
        )

    def read(self) -> Frame | None:
        """The latest frame, if a new one comes within a tenth of a second, else None.

        Raises:
            Failure: there was none for RECONNECT_SECONDS seconds.
        """
        with self._news:
            if self._latest is None and not self._news.wait_for(lambda: self._latest is not None, 0.1):
                if time.monotonic() - self._heard > RECONNECT_SECONDS:
                    raise Failure(
                        f"{camera_name(self._source)} was lost and did not come back within {RECONNECT_SECONDS:.0f} "
                        "seconds: check its connection, then run again"
                    )
                return None
            picture, self._latest = self._latest, None
            frame = Frame(scale_frame(picture), self._number, self._heard - self._begin, self._heard)
            self._number += 1
            return frame

    def _follow(self) -> None:
        os.environ["OPENCV_AVFOUNDATION_SKIP_AUTH"] = "1"  # macOS cannot ask from here, and was asked before
        while not self._closed:
            there, picture = self._capture.read() if self._capture else (False, None)
            if there:
                with self._news:
                    self._latest, self._heard = picture, time.monotonic()
                    self._news.notify()
                continue
            if self._capture:
                self._capture.release()
            time.sleep(RETRY_SECONDS)
            self._capture = None if self._closed else open_camera(self._source)
        if self._capture:
            self._capture.release()

    def close(self) -> None:
        self._closed = True
        self._thread.join(1)  # unless it waits for a frame that does not come


def open_camera(source: int | str) -> cv2.VideoCapture | None:
    """A camera that says it is open, at the size and rate we like best; None where there is none."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    backends = BACKENDS.get(platform.system(), (cv2.CAP_ANY,)) if isinstance(source, int) else (cv2.CAP_ANY,)
    for backend in backends:
        opened = capture(source, backend)
        if opened.isOpened():
            if isinstance(source, int):
                # uncompressed, most cameras send 720 lines at 10 frames a second
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
    """The first frame of a camera, some of which need a few tries to wake up; None, and it is closed, if none comes."""
    for _ in range(5):
        there, picture = opened.read()
        if there:
            return picture
        time.sleep(0.1)
    opened.release()
    return None


def list_cameras() -> list[str]:
    """A line for each camera that gives a picture: its number, its name where the system tells, its size.

    Raises:
        Failure: there is none.
    """
    lines = []
    for number in range(MAX_CAMERAS):
        if platform.system() == "Linux" and not Path(f"/dev/video{number}").exists():
            continue  # to try would take a second each
        opened = open_camera(number)
        picture = _first_frame(opened) if opened else None
        if opened and picture is not None:
            opened.release()
            told = Path(f"/sys/class/video4linux/video{number}/name")
            name = told.read_text().strip() if told.is_file() else f"camera {number}"
            lines.append(f"--source {number}   {name}, {picture.shape[1]} x {picture.shape[0]}")
    if not lines:
        raise no_camera(0)
    return lines


def scale_frame(picture: np.ndarray) -> np.ndarray:
    """A frame at a height that can be drawn on, its proportions kept."""
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    height, width = picture.shape[:2]
    if MIN_FRAME_HEIGHT_PX <= height <= MAX_FRAME_HEIGHT_PX:
        return picture
    return cv2.resize(
        picture, (max(1, round(width * CAMERA_HEIGHT_PX / height)), CAMERA_HEIGHT_PX), interpolation=cv2.INTER_AREA
    )


def as_frame(picture: np.ndarray) -> np.ndarray:
    """A picture as a camera would show it: what is as wide as a camera's frame is one, any other is held in the box."""
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    height, width = picture.shape[:2]
    if width >= 640 and width >= 1.3 * height:
        return scale_frame(picture)
    scale = CAMERA_HEIGHT_PX / 2 / max(height, width)  # the box is half as high as the frame
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    down, right = CAMERA_HEIGHT_PX - size[1], CAMERA_WIDTH_PX - size[0]
    edges = down // 2, down - down // 2, right // 2, right - right // 2
    around = np.median(picture.reshape(-1, 3), axis=0).tolist()
    return cv2.copyMakeBorder(picture, *edges, cv2.BORDER_CONSTANT, value=around)


def is_black(picture: np.ndarray) -> bool:
    """Does the frame show nothing at all, as with a closed lid or without permission?"""
    return picture[::8, ::8].mean() < MAX_BLACK_LEVEL
