"""Show frames in an OpenCV window and read its keys."""

import ctypes
import os
import platform
import subprocess
import sys

import cv2
import numpy as np

from pipeline.errors import Failure
from pipeline.live.overlay import FONT_FOLDER, GTK_KEYS

WINDOW_TITLE = "live_detect"
MAX_SCREEN_SHARES = 0.95, 0.85  # of the screen's width and height, which leaves room for a panel and a title bar
SMALL_SCREEN_PX = 1366, 768  # of a small laptop; assumed if the system does not tell the size
QWERTY = "qwertyuiopasdfghjklzxcvbnm"
# the letters on the same keys of the Greek, Russian, Hebrew and Arabic layouts; a dot where there is none
OTHER_LAYOUTS = (
    ".ςερτυθιοπασδφγηξκλζχψωβνμ",
    "йцукенгшщзфывапролдячсмить",
    "..קראטוןםפשדגכעיחלךזסבהנמצ",
    "ضصثقفغعهخحشسيبلاتنمئءؤر.ىة",
)
LATIN_KEYS = {other: latin for layout in OTHER_LAYOUTS for other, latin in zip(layout, QWERTY, strict=True)}
KEYSYM_ENCODINGS = {0x5: "iso8859_6", 0x6: "koi8_u", 0x7: "iso8859_7", 0xC: "iso8859_8"}  # by the keysym's high byte


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
        """Show a frame and wait up to `wait` seconds for a key; return its `key_character`."""
        if not self._sized:
            height, width = frame.shape[:2]
            screen_width, screen_height = screen_size()
            limits = MAX_SCREEN_SHARES[0] * screen_width, MAX_SCREEN_SHARES[1] * screen_height
            scale = min(1, limits[0] / width, limits[1] / height)
            cv2.resizeWindow(WINDOW_TITLE, round(scale * width), round(scale * height))
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
    """Convert OpenCV's key code to a character code, or -1 for keys without a character, such as arrows.

    A letter of another alphabet becomes the Latin letter of the same key, if its layout is known.

    Args:
        key: an ASCII code; under Qt and GTK also an X11 keysym.
    """
    is_unicode = key > 0 and key & 0x01000000
    key = key & 0xFFFF if key > 0 else 0  # the higher bits are modifiers such as Shift
    key = GTK_KEYS.get(key, key)
    if key >= 0xE000:  # arrows, function keys, modifiers
        return -1
    if key >= 0x100:
        encoding = KEYSYM_ENCODINGS.get(key >> 8)
        character = chr(key) if is_unicode or not encoding else bytes([key & 0xFF]).decode(encoding, "replace")
        return ord(LATIN_KEYS.get(character.lower(), character))
    return key if key > 0 else -1


def screen_size() -> tuple[int, int]:
    """Return the screen's width and height in the units of a window's size; SMALL_SCREEN_PX if they are unknown."""
    try:
        if platform.system() == "Windows":
            metrics = ctypes.windll.user32.GetSystemMetrics  # type: ignore[attr-defined]
            return metrics(0), metrics(1)
        if platform.system() == "Darwin":
            graphics = ctypes.CDLL("/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics")
            screen = graphics.CGMainDisplayID()
            return graphics.CGDisplayPixelsWide(screen), graphics.CGDisplayPixelsHigh(screen)
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        display = ctypes.c_void_p(x11.XOpenDisplay(None))
        if not display:  # Wayland without X11
            return SMALL_SCREEN_PX
        scale = float(os.environ.get("QT_SCALE_FACTOR") or 1)  # of OpenCV's windows, which Qt draws
        size = x11.XDisplayWidth(display, 0) / scale, x11.XDisplayHeight(display, 0) / scale
        x11.XCloseDisplay(display)
        return round(size[0]), round(size[1])
    except (OSError, AttributeError, ValueError, ZeroDivisionError):
        return SMALL_SCREEN_PX


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
