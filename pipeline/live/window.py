"""Show frames in an OpenCV window and read its keys."""

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
    """A window on the screen."""

    def __init__(self):
        """Open the window, after a check of the display, as OpenCV ends the process if there is none.

        Raises:
            Failure: there is no display, or OpenCV has no GUI support.
        """
        check_display()
        os.environ["QT_QPA_FONTDIR"] = str(FONT_FOLDER)  # OpenCV sets a missing folder, of which Qt warns
        cv2.namedWindow(WINDOW_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._sized = False

    def show(self, frame: np.ndarray, wait: float) -> int:
        """Show a frame and wait up to `wait` seconds for a key; return its character code, or -1."""
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
    """Convert OpenCV's key code to a character code, or -1 for other keys.

    Two bytes are compared, since the last byte of an arrow key's code equals a letter.
    """
    key = key & 0xFFFF if key > 0 else 0  # the higher bits are modifiers such as Shift
    key = GTK_KEYS.get(key, key)
    return key if 0 < key < 0x100 else -1


def check_display() -> None:
    """Check that a window can be opened.

    Raises:
        Failure: it cannot; the message says why.
    """
    alternative = "or run with --headless"
    if not cv2.currentUIFramework():
        raise Failure(
            "this OpenCV was built without GUI support: pip uninstall opencv-python-headless, then "
            f"pip install --force-reinstall opencv-python, {alternative}"
        )
    if platform.system() != "Linux":
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        advice = "WSL needs WSLg (wsl --update)" if "microsoft" in platform.release().lower() else "over ssh use ssh -X"
        raise Failure(f"no display (DISPLAY is not set): run this on a desktop, {advice}, {alternative}")
    # in a subprocess, since OpenCV ends the process if the display cannot be opened
    test = subprocess.run([sys.executable, "-c", "import cv2; cv2.namedWindow('live_detect')"], capture_output=True)
    if test.returncode:
        display = os.environ.get("DISPLAY") or os.environ["WAYLAND_DISPLAY"]
        raise Failure(f"cannot open display {display}: check that DISPLAY is correct, {alternative}")
