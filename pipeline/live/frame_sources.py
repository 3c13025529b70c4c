"""Read frames from a camera, a video, a folder of images or an address.

A video or a folder gives every frame, then ends; so does a video at an address. A camera or a stream gives only its
latest frame; if it stops sending frames, it is reopened for RECONNECT_SECONDS seconds.
"""

import os
import platform
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import Failure
from pipeline.live.camera_diagnosis import camera_name, no_camera
from pipeline.live.frames import CAMERA_FPS, CAMERA_HEIGHT_PX, CAMERA_WIDTH_PX, Frame, as_frame, scale_frame
from pipeline.preprocessing.image_files import IMAGE_SUFFIXES, list_images, read_image
from pipeline.preprocessing.photo import as_uint8

# OpenCV reads these variables when it opens the first camera or video. Without the first one, the Media Foundation
# backend of Windows takes up to a minute to open a camera.
os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # no messages of FFmpeg: errors are reported by Failure

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
MAX_FAILED_READS = 300  # successive frames of a video that cannot be decoded, after which it has ended
MAX_UNCERTAIN_FRAMES = 2  # by which the number of frames that a container states may be wrong


def frame_source(source: str) -> "Camera | Video | Folder":
    """Open a source: a camera number, the address of a stream or of a video, a folder, an image or a video.

    Raises:
        Failure: the source gives no frame; the message says what to do.
    """
    if source.isdigit():
        return Camera(int(source))
    address = urllib.parse.urlsplit(source) if "://" in source else None
    if address and address.scheme != "file":
        return Video(source) if _is_video_address(source) else Camera(source)
    path = Path(urllib.request.url2pathname(address.path) if address else source)
    if not source or not (path.is_file() or path.is_dir()):
        reason = f"'{source}' is not a file or a folder" if path.exists() else f"{source} does not exist"
        raise Failure(f"{reason}: give --source a camera number, a video, a folder or a stream address")
    return Folder(path) if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES else Video(str(path))


def _is_video_address(address: str) -> bool:
    """Return whether an address is that of a complete video, which has a length, and not of a stream."""
    if not address.startswith(("http://", "https://", "ftp://")):
        return False
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return "Content-Length" in response.headers
    except (OSError, ValueError):  # opening it as a stream reports the error
        return False


def capture(source: int | str, backend: int = cv2.CAP_ANY) -> cv2.VideoCapture:
    """Open a camera or a video with OpenCV. Tests replace this function."""
    return cv2.VideoCapture(source, backend)


class Video:
    """All frames of a video that can be decoded, in order, with the video's own times."""

    is_live = False
    problem = ""

    def __init__(self, path: str):
        self._capture = capture(path)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= 240 else CAMERA_FPS
        self._path = path
        self._number = self._failed = 0
        self._time, self._start = -1 / self.rate, 0.0  # of the last frame; of the first one in the video's clock
        self._next = self._decode()
        if self._next is None:
            raise Failure(f"{path} is not a readable video: give another format such as MP4, or a folder of images")

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. At the end, print how many frames could not be decoded."""
        frame, self._next = self._next, self._decode() if self._next else None
        if frame and not self._next:
            lost = max(self._failed, round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)) - self._number)
            if lost > (0 if self._failed else MAX_UNCERTAIN_FRAMES):
                print(f"{self._path} is damaged: {self._number} frames are read, {lost} cannot be decoded")
        return frame

    def _decode(self) -> Frame | None:
        """Decode the next frame that is not damaged."""
        for failed in range(MAX_FAILED_READS):
            ok, image = self._capture.read()
            if not ok:
                continue
            self._failed += failed
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if self._number == 0:
                self._start = seconds
            seconds -= self._start
            # some containers and backends have no times
            self._time = seconds if seconds > self._time else self._time + 1 / self.rate
            self._number += 1
            return Frame(scale_frame(image), self._number - 1, self._time)
        return None

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
