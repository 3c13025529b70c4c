"""OpenCV's window: its keys, its size, and whether it shows anything at all."""

import os
import platform
import subprocess
import sys

import cv2
import numpy as np

from pipeline.errors import Failure
from pipeline.live.overlay import FONT_FOLDER, GTK_KEYS

WINDOW_TITLE = "live_detect"


class Window:
    """A window on the screen. To open one where none can be would kill the process, so that is found out first."""

    def __init__(self):
        """Raises:
        Failure: there is no screen, or an OpenCV without windows.
        """
        check_display()
        os.environ["QT_QPA_FONTDIR"] = str(FONT_FOLDER)  # Qt complains of the one that OpenCV names, which is not there
        cv2.namedWindow(WINDOW_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._sized = False

    def show(self, frame: np.ndarray, wait: float) -> int:
        """Show the frame and wait, in seconds, for a key: the number of its character, or -1."""
        if not self._sized:
            cv2.resizeWindow(WINDOW_TITLE, frame.shape[1], frame.shape[0])
            self._sized = True
        cv2.imshow(WINDOW_TITLE, frame)
        return key_character(cv2.waitKeyEx(max(1, round(1000 * wait))))

    @property
    def is_open(self) -> bool:
        try:
            return cv2.getWindowProperty(WINDOW_TITLE, cv2.WND_PROP_VISIBLE) > 0
        except cv2.error:
            return False

    def close(self) -> None:
        cv2.destroyAllWindows()


def key_character(key: int) -> int:
    """The character of a key as OpenCV numbers it, or -1: an arrow's last byte alone would be a letter's."""
    key = key & 0xFFFF if key > 0 else 0  # above are Shift and the like
    key = GTK_KEYS.get(key, key)
    return key if 0 < key < 0x100 else -1


def check_display() -> None:
    """Raises:
    Failure: no window can be opened, and why.
    """
    without = "or run with --headless, which needs none"
    if not cv2.currentUIFramework():
        raise Failure(
            "this OpenCV was built without windows: pip uninstall opencv-python-headless, then "
            f"pip install --force-reinstall opencv-python, {without}"
        )
    if platform.system() != "Linux":
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        where = "WSL needs WSLg (wsl --update)" if "microsoft" in platform.release().lower() else "over ssh use ssh -X"
        raise Failure(f"there is no screen (DISPLAY is not set): run it on a desktop, {where}, {without}")
    # a screen that does not answer ends the process that asks, so another one asks
    asked = subprocess.run([sys.executable, "-c", "import cv2; cv2.namedWindow('live_detect')"], capture_output=True)
    if asked.returncode:
        display = os.environ.get("DISPLAY") or os.environ["WAYLAND_DISPLAY"]
        raise Failure(f"the screen {display} does not answer: see that DISPLAY is right, {without}")
