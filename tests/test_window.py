"""The program itself in a real window, on a screen without a monitor (Xvfb): keys by xdotool, screenshots compared."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import ImageGrab

import models
from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import Conditions
from pipeline import checkpoints
from pipeline.live import overlay
from pipeline.live.window import WINDOW_TITLE

WAIT = 90  # seconds for what has to appear on a slow machine
REMAP = 8  # seconds that a window may be black
CI = "CI" in os.environ
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is for Linux"),
    pytest.mark.skipif(
        not CI and not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs the packages xvfb and xdotool"
    ),
]


@pytest.fixture(scope="module")
def display():
    """A screen of its own; its name."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait()


def sayer(network: type, names: tuple[str, ...], answer: str, path: Path) -> Path:
    """Weights that take everything for `answer`: what is tested here is the program around them."""
    model = network(names)
    model.fc2.weight.data.zero_()
    model.fc2.bias.data.zero_()
    model.fc2.bias.data[names.index(answer)] = 9
    path.parent.mkdir(exist_ok=True, parents=True)
    checkpoints.save(model, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> list[str]:
    folder, letters = tmp_path_factory.mktemp("weights"), ("alpha", "beta", "gamma")
    return [
        *("--digits", str(sayer(models.MnistNet, models.DIGITS, "3", folder / "digits.pt"))),
        *("--transfer", str(sayer(models.MnistNet, letters, "beta", folder / "transfer.pt"))),
        *("--scratch", str(sayer(models.GreekNet, letters, "gamma", folder / "scratch.pt"))),
    ]


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """A page with a 3, held still for two seconds."""
    path = tmp_path_factory.mktemp("film") / "three.avi"
    page, _ = photograph([["3"]], 1, Conditions(size=(400, 400), fill=0.5))
    frame = np.full((720, 1280, 3), 150, np.uint8)
    frame[160:560, 440:840] = page
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (1280, 720))
    for _ in range(60):
        writer.write(frame)
    writer.release()
    return path


class Message(ctypes.Structure):
    """Xlib's XClientMessageEvent, as long as its XEvent."""

    _fields_ = [
        ("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int), ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong), ("message_type", ctypes.c_ulong), ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5), ("rest", ctypes.c_long * 12),
    ]  # fmt: skip


class Program:
    """live_detect.py in a window, and what can be seen of it."""

    def __init__(self, display: str, folder: Path, *flags: str):
        self.display, self.folder = display, folder
        self.environment = os.environ | {"DISPLAY": display, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "live_detect.py"), *flags, "--output-dir", str(folder / "out"),
             "--handwritten", str(folder / "handwritten")],
            env=self.environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def shot(self) -> np.ndarray:
        """(900, 1400, 3) uint8, blue, green, red."""
        return np.array(ImageGrab.grab(xdisplay=self.display))[:, :, ::-1]

    def until(self, seen: Callable[[np.ndarray], bool], what: str) -> np.ndarray:
        """The first shot on which it is seen."""
        end = time.monotonic() + WAIT
        again = time.monotonic() + REMAP
        while time.monotonic() < end:
            shot = self.shot()
            if seen(shot):
                return shot
            assert self.process.poll() is None, self.process.communicate()[1]
            if not shot.any() and time.monotonic() > again:
                again = time.monotonic() + REMAP
                self.remap()
            time.sleep(0.1)
        cv2.imwrite(str(self.folder / "shot.png"), shot)
        self.process.send_signal(signal.SIGABRT)  # where it hangs is then on standard error
        where = self.process.communicate()[1]
        raise AssertionError(f"{what} did not appear; see {self.folder / 'shot.png'}; {where}")

    def remap(self) -> None:
        """Where no window manager is, OpenCV's Qt misses in one start of ten that its window is shown, and stays black.

        Under a window manager it never did, in 120 starts.
        """
        found = ["search", "--onlyvisible", "--name", WINDOW_TITLE]
        subprocess.run(["xdotool", *found, "windowunmap", "--sync", "windowmap"],
                       env=self.environment, check=False, capture_output=True)  # fmt: skip

    def key(self, *names: str) -> None:
        """Press keys, as a user does who looks at the window."""
        subprocess.run(["xdotool", "search", "--onlyvisible", "--name", WINDOW_TITLE, "windowfocus", "--sync"],
                       env=self.environment, check=True, capture_output=True)  # fmt: skip
        for name in names:
            subprocess.run(["xdotool", "key", name], env=self.environment, check=True)
            time.sleep(0.15)  # OpenCV keeps one key, that of the frame

    def close(self) -> None:
        """What the cross in a window's corner does: the message WM_DELETE_WINDOW, as no window manager is here."""
        found = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", WINDOW_TITLE], env=self.environment,
                               capture_output=True, text=True, check=True)  # fmt: skip
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        server = ctypes.c_void_p(x11.XOpenDisplay(self.display.encode()))
        protocols, delete = (x11.XInternAtom(server, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        for window in map(int, found.stdout.split()):
            event = Message(33, 0, 1, None, window, protocols, 32, (ctypes.c_long * 5)(delete, 0, 0, 0, 0))
            x11.XSendEvent(server, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
        x11.XCloseDisplay(server)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=WAIT)
        return self.process.returncode, out, err


@pytest.fixture
def start(display, tmp_path):
    started = []

    def start(*flags) -> Program:
        started.append(Program(display, tmp_path, *map(str, flags)))
        return started[-1]

    yield start
    for program in started:
        program.process.kill()
        program.process.communicate()


def shows(words: str, size: int, color: tuple = overlay.WHITE, bold: bool = False) -> Callable[[np.ndarray], bool]:
    """Are these words, drawn so, on the shot? Their ink has to be where it is, and no ink beside it."""
    ink, rest = overlay.text(words, size, color, bold)
    sprite = cv2.add(ink, cv2.multiply(rest, np.full_like(rest, 40), scale=1 / 255))
    return lambda shot: float(cv2.matchTemplate(shot, sprite, cv2.TM_CCOEFF_NORMED).max()) > 0.85


def title(words: str) -> Callable[[np.ndarray], bool]:
    return shows(words, 22, bold=True)


def label(sign: str) -> Callable[[np.ndarray], bool]:
    return shows(sign, 130, overlay.GREEN, bold=True)


def box_side(shot: np.ndarray) -> int:
    """The side of the green box: between its left and its right edge, outside of which no green is this tall."""
    green = (np.abs(shot.astype(int) - overlay.GREEN).max(2) < 12).sum(0)
    edges = np.flatnonzero(green > 200)
    return int(np.ptp(edges)) if len(edges) else 0


def has_box(share: float) -> Callable[[np.ndarray], bool]:
    return lambda shot: abs(box_side(shot) - share * 720) <= 14


def test_what_is_seen_of_mode_label_and_box(start, weights, film):
    program = start("--source", film, *weights)
    program.until(label("3"), "the digit")
    shot = program.until(title("digits"), "the mode")
    assert has_box(0.5)(shot) and not title("Greek letters, transferred")(shot) and not label("8")(shot)
    # a picture of it: the middle of the window is the page, with its 3
    assert shot[160:180, 500:780].std() < 40 < shot[250:450, 540:740].std()

    program.key("g")
    shot = program.until(label("β"), "the letter")
    assert title("Greek letters, transferred")(shot) and not label("3")(shot)
    program.key("t")
    shot = program.until(label("γ"), "the other network's letter")
    assert title("Greek letters, from scratch")(shot)
    program.key("plus", "plus")
    program.until(has_box(0.6), "the larger box")
    program.key("minus", "minus", "minus", "minus")
    program.until(has_box(0.4), "the smaller box")
    program.key("m")
    program.until(title("digits"), "digits again")

    program.key("Left", "Right", "Down", "h")  # what is no key of the program does nothing
    program.until(shows("save and label the crop", 18), "the keys")
    program.key("h")
    program.until(lambda shot: not shows("save and label the crop", 18)(shot), "no keys any more")
    program.key("f")
    program.until(lambda shot: not shows("h  keys", 18, overlay.GRAY)(shot), "the frame rate")
    program.key("space")
    program.until(title("digits   frozen"), "frozen")
    program.key("s")
    program.until(shows("crop saved; type its digit: 0 to 9   Esc: no label", 20), "the question")
    program.key("3")
    end = time.monotonic() + WAIT
    filed = program.folder / "handwritten/digits/3/live_1.png"
    while not filed.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert cv2.imread(str(filed)).shape == (288, 288, 3)
    program.key("space", "q")
    status, out, err = program.end()
    assert (status, err) == (0, "") and "frames" in out


@pytest.mark.parametrize("way", ["Escape", "closed", "interrupted"])
def test_ways_to_leave(start, weights, film, way):
    program = start("--source", film, *weights, "--record", film.parent / f"{way}.mp4")
    program.until(label("3"), "the digit")
    if way == "interrupted":
        program.process.send_signal(signal.SIGINT)
    elif way == "closed":
        program.close()
    else:
        program.key(way)
    status, _, err = program.end()
    assert status == (130 if way == "interrupted" else 0) and "Traceback" not in err
    recorded = cv2.VideoCapture(str(film.parent / f"{way}.mp4"))
    assert recorded.get(cv2.CAP_PROP_FRAME_COUNT) >= 5 and recorded.read()[1].shape == (720, 1280, 3)


def test_a_mirror(start, weights, tmp_path):
    frame = np.full((720, 1280, 3), 150, np.uint8)
    frame[100:200, 100:200] = (0, 0, 255)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures/left.png"), frame)
    program = start("--source", tmp_path / "pictures", "--mirror", *weights)
    red = lambda shot: np.flatnonzero((shot[150] == (0, 0, 255)).all(1))  # noqa: E731
    shot = program.until(lambda shot: len(red(shot)) > 50, "the red square")
    assert 1060 < np.median(red(shot)) < 1160
    program.key("q")
    assert program.end()[0] == 0


def test_a_screen_that_does_not_answer(weights, film):
    environment = os.environ | {"DISPLAY": ":9876"}
    command = [sys.executable, str(ROOT / "live_detect.py"), "--source", str(film), *weights]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=WAIT)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: cannot open display :9876: check that DISPLAY is correct")
