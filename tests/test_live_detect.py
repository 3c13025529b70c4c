"""The program without a window: what it reads, what it writes, and each line with which it gives up."""

import os
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, run
from test_frame_sources import GRAY, Fake

import live_detect
import models
from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import Conditions
from pipeline import checkpoints
from pipeline.datasets import synthetic
from pipeline.datasets.datasets import Split, normalize
from pipeline.errors import Failure, WrongUsage
from pipeline.live import frame_sources, frames, overlay, window
from pipeline.live.controls import Controls
from pipeline.live.reader import Reading
from pipeline.live.recording import record
from pipeline.live.session import Session
from pipeline.training import loop
from pipeline.training.loop import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Weights of a network that has learned for some seconds to read drawn digits; all it needs here."""
    torch.manual_seed(0)
    pictures, labels = synthetic.draw_digits(3000, seed=5)
    split = Split(normalize(pictures), torch.from_numpy(labels))
    model = models.MnistNet(dropout=0.0)
    recipe = Recipe(epochs=8, batch_size=64, optimizer="muon", learning_rate=0.05, momentum=0.6, schedule="one-cycle")
    for epoch in loop.fit(model, split, recipe, 0, quiet=True):
        model = epoch.model
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    checkpoints.save(model, path)
    return path


@pytest.fixture
def config(reader, tmp_path):
    def config(**changes) -> live_detect.Config:
        greek = {name: checkpoints.PRETRAINED / f"greek_{name}_three.pt" for name in ("transfer", "scratch")}
        given = {"digits": reader, **greek, "handwritten": tmp_path / "handwritten",
                 "output_dir": tmp_path / "out", "headless": True}  # fmt: skip
        return live_detect.Config(**given | changes)

    return config


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Three pictures of digits, and a film in which a 3 is held for a second after half a second of empty page."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "pictures").mkdir()
    for i, digit in enumerate("306"):
        picture, _ = photograph([[digit]], 1, Conditions(size=(300, 300), fill=0.5))
        cv2.imwrite(str(folder / f"pictures/{i}.png"), picture)
        if digit == "3":
            held = picture
    writer = cv2.VideoWriter(str(folder / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (1280, 720))
    for i in range(45):
        frame = np.full((720, 1280, 3), 220, np.uint8)
        if i >= 15:
            frame[210:510, 490:790] = held
        writer.write(frame)
    writer.release()
    return folder


def rows(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "live.csv", dtype={"label": str}, keep_default_na=False)


def test_a_film_is_read_to_its_end(config, pages, tmp_path, capsys):
    live_detect.main(config(source=str(pages / "film.avi"), record=tmp_path / "seen.mp4"))
    table = rows(tmp_path)
    assert list(table) == ["frame", "time", "mode", "label", "confidence", "milliseconds", "picture"]
    assert list(table.frame) == list(range(45)) and table.time[44] == pytest.approx(44 / 30, abs=1e-3)
    assert set(table.label[:16]) == {""} and set(table.label[30:]) == {"3"} and (table.confidence[30:] > 0.9).all()
    assert set(table["mode"]) == {"digits"} and set(table.picture) == {""} and (table.milliseconds > 0).all()
    seen = cv2.VideoCapture(str(tmp_path / "seen.mp4"))
    assert seen.get(cv2.CAP_PROP_FRAME_COUNT) == 45 and seen.get(cv2.CAP_PROP_FPS) == 30
    printed = capsys.readouterr().out
    counts = dict(re.findall(r"(\w+): (\d+)", printed))
    assert "45 frames" in printed and int(counts["nothing"]) >= 16 and int(counts["3"]) >= 15, printed
    for taken in (tmp_path / "seen.mp4", pages / "film.avi"):  # an earlier film, and the source itself
        before = taken.read_bytes()
        with pytest.raises(WrongUsage, match="another name"):
            live_detect.main(config(source=str(pages / "film.avi"), record=taken))
        assert taken.read_bytes() == before


def test_a_folder_has_a_row_for_each_picture(config, pages, tmp_path):
    live_detect.main(config(source=str(pages / "pictures")))
    assert list(rows(tmp_path).label) == ["3", "0", "6"]
    assert list(rows(tmp_path).picture) == sorted(path.name for path in (pages / "pictures").iterdir())


def test_a_mirror_shows_the_other_side_and_reads_the_same(config, pages):
    source = frame_sources.frame_source(str(pages / "film.avi"))
    frames = [source.read() for _ in range(45)]
    settings = config()
    plain, mirrored = (
        Session(
            Controls(live_detect.find_networks(settings), "digits", settings.output_dir, settings.handwritten), mirror
        )
        for mirror in (False, True)
    )
    for frame in frames:
        (one, printed), (other, also) = plain.step(frame), mirrored.step(frame)
    assert printed.label == also.label == "3" and printed.box == also.box
    inside = overlay.centered_box(one, 0.45)
    assert np.abs(one[inside].astype(int) - other[inside][:, ::-1]).mean() < 4  # but for the thin line around the ink


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("size, shown", [((640, 480), (960, 1280)), ((1280, 720), (720, 1280)), ((4000, 1), (1, 4000))])
def test_a_small_picture_is_shown_larger_so_that_panels_leave_the_box_free(config, size, shown, mirror):
    settings = config()
    live = Session(
        Controls(live_detect.find_networks(settings), "digits", settings.output_dir, settings.handwritten), mirror
    )
    picture = np.full((*size[::-1], 3), 200, np.uint8)
    if size == (640, 480):
        digit, _ = photograph([["3"]], 1, Conditions(size=(160, 160), fill=0.6))
        picture[160:320, 240:400] = digit
    for i in range(20):
        drawn, reading = live.step(frames.Frame(picture, i, i / 30))
    assert drawn.shape[:2] == shown and live.crop.shape[0] == max(1, round(0.5 * size[1]))
    if size == (640, 480):
        assert reading.label == "3"
        plain = np.repeat(np.repeat(picture, 2, 0), 2, 1)[:, :: -1 if mirror else 1]
        inside = overlay.centered_box(drawn, 0.45)
        assert np.abs(drawn[inside].astype(int) - plain[inside]).mean() < 6, "only the line around the ink is over it"


@pytest.mark.parametrize("flag, script", [
    ("--digits", "train_mnist.py"), ("--transfer", "transfer_greek.py"), ("--scratch", "greek_from_scratch.py"),
])  # fmt: skip
def test_weights_that_are_named_and_missing(flag, script, tmp_path):
    gone = str(tmp_path / "gone.pt")
    result = run("live_detect.py", flag, gone, "--output-dir", str(tmp_path), "--headless")
    assert (result.returncode, result.stderr) == (1, f"error: no weights at {gone}: run {script} first\n")


def test_damaged_weights(tmp_path):
    (tmp_path / "bad.pt").write_text("no weights")
    result = run("live_detect.py", "--digits", str(tmp_path / "bad.pt"), "--headless", "--output-dir", str(tmp_path))
    assert result.returncode == 1 and "run train_mnist.py again" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("flag", ["transfer", "scratch", "digits"])
def test_weights_of_another_network(flag, config, tmp_path):
    other = {
        "transfer": models.FashionNet(),
        "scratch": models.MnistNet(),
        "digits": models.MnistNet(["alpha", "beta"]),
    }
    checkpoints.save(other[flag], tmp_path / "other.pt")
    with pytest.raises(Failure, match=r"other\.pt (contains|has other classes)"):
        live_detect.find_networks(config(**{flag: tmp_path / "other.pt"}))


def test_keys_that_are_no_characters_do_nothing():
    """The last byte of an arrow to the left is that of Q; what stands above the last two is of Shift and the like."""
    for key, character in (
        (-1, -1), (ord("q"), ord("q")), (27, 27), (0xFF51, -1), (0xFF53, -1), (0x250000, -1), (63234, -1),
        (945, ord("a")), (0x100071, ord("q")), (0xFF08, 8), (0xFF0D, 13), (0x10FF1B, 27),
    ):  # fmt: skip
        assert window.key_character(key) == character, hex(key)


def test_letters_of_other_layouts_are_those_of_their_keys():
    """X11's keysyms of the keys of h and m; with Unicode's flag where X11 has none of its own."""
    for layout, h, m in (("gr", 0x7E7, 0x7EC), ("ru", 0x6D2, 0x6D8), ("il", 0xCE9, 0xCF6), ("ara", 0x5C7, 0x5C9)):
        assert (window.key_character(h), window.key_character(m)) == (ord("h"), ord("m")), layout
    assert window.key_character(0x1000000 | ord("η")) == ord("h")
    assert window.key_character(0x1000E01) == 0xE01  # Thai, which has no entry: `Controls` says so


def test_the_window_is_no_larger_than_the_screen(monkeypatch):
    sizes = []
    monkeypatch.setattr(window, "screen_size", lambda: (1366, 768))
    monkeypatch.setattr(window.cv2, "resizeWindow", lambda title, *size: sizes.append(size))
    monkeypatch.setattr(window.cv2, "imshow", lambda *arguments: None)
    monkeypatch.setattr(window.cv2, "waitKeyEx", lambda milliseconds: -1)
    for shape in ((960, 1280, 3), (720, 1280, 3), (480, 640, 3), (1280, 720, 3)):
        shown = window.Window.__new__(window.Window)
        shown._sized = False
        assert shown.show(np.zeros(shape, np.uint8), 0) == -1
        width, height = sizes[-1]
        assert width <= 0.95 * 1366 + 1 and height <= 0.85 * 768 + 1
        assert width / height == pytest.approx(shape[1] / shape[0], rel=0.01)
    assert sizes[2] == (640, 480)


def test_without_a_screen(reader, pages):
    flags = ["--source", str(pages / "film.avi"), "--digits", str(reader)]
    result = run("live_detect.py", *flags, environment={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: no display (DISPLAY is not set): run this on a desktop")
    assert "--headless" in result.stderr


@pytest.mark.parametrize("release, advice", [("6.1", "over ssh use ssh -X"), ("5-microsoft-WSL2", "WSL needs WSLg")])
def test_no_screen_has_its_advice(release, advice, monkeypatch):
    monkeypatch.setattr(window.platform, "system", lambda: "Linux")
    monkeypatch.setattr(window.platform, "release", lambda: release)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(Failure, match=advice):
        window.check_display()


def test_an_opencv_without_windows(config, monkeypatch):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    with pytest.raises(
        Failure, match=r"^this OpenCV was built without GUI support: pip uninstall opencv-python-headless"
    ):
        live_detect.main(config(headless=False))


def test_without_a_camera(config, monkeypatch):
    monkeypatch.setattr(frame_sources, "capture", lambda source, backend: Fake(opens=False))
    with pytest.raises(Failure, match="camera"):
        live_detect.main(config())


def test_a_camera_lost_on_the_way_leaves_the_table_whole(config, monkeypatch, tmp_path, capsys):
    left = [Fake(5)]
    monkeypatch.setattr(frame_sources, "capture", lambda source, backend: left.pop() if left else Fake(opens=False))
    for name, seconds in (("FRAME_TIMEOUT_SECONDS", 0.1), ("RECONNECT_SECONDS", 0.6), ("RETRY_SECONDS", 0.05)):
        monkeypatch.setattr(frame_sources, name, seconds)
    with pytest.raises(Failure, match="was disconnected and sent no frame"):
        live_detect.main(config())
    assert 1 <= len(rows(tmp_path)) <= 5 and "\ncamera disconnected, retrying" in capsys.readouterr().out


def test_black_frames_are_named_once_and_their_end_too(config, capsys):
    settings = config()
    live = Session(Controls(live_detect.find_networks(settings), "digits", settings.output_dir, settings.handwritten))
    capsys.readouterr()  # which weights are used
    for i in range(60):
        live.step(frames.Frame(np.zeros_like(GRAY), i, i / 30))
    live.step(frames.Frame(GRAY, 60, 2.0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("the image is black: is the lens covered") and "again" in lines[1]


def test_the_figures_of_speed(config):
    settings = config()
    live = Session(Controls(live_detect.find_networks(settings), "digits", settings.output_dir, settings.handwritten))
    live.controls.press(ord("f"), GRAY, 0.0)
    before = live.step(frames.Frame(GRAY, 0, 0.0))[0]
    for i in range(1, 40):
        after = live.step(frames.Frame(GRAY, i, i / 30))[0]
    assert re.fullmatch(r"\d+ frames/s   \d+ ms latency   \d+\.\d ms processing", live._rate)
    assert (before[:44] != after[:44]).any()


def test_ctrl_c_leaves_the_table_whole(reader, pages, tmp_path):
    (tmp_path / "many").mkdir()
    for i in range(100):
        os.link(pages / "pictures/0.png", tmp_path / f"many/{i:03d}.png")
    flags = ["--source", str(tmp_path / "many"), "--digits", str(reader), "--output-dir", str(tmp_path / "out")]
    program = subprocess.Popen(
        [sys.executable, str(ROOT / "live_detect.py"), "--headless", "--record", str(tmp_path / "a.avi"), *flags],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 90
    while time.monotonic() < end and not sum(path.stat().st_size for path in tmp_path.glob(".partial-*.avi")):
        time.sleep(0.2)
    time.sleep(1)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=90)
    assert program.returncode == 130 and "Traceback" not in err
    assert len(rows(tmp_path)) >= 1 and cv2.VideoCapture(str(tmp_path / "a.avi")).read()[0]


def test_a_film_plays_at_the_speed_at_which_its_frames_came(tmp_path):
    with record(tmp_path / "slow.avi", 30) as shown:
        for i in range(10):
            shown.add(np.full((480, 640, 3), 20 * i, np.uint8), i / 10)  # a camera of ten frames a second
    played = cv2.VideoCapture(str(tmp_path / "slow.avi"))
    assert played.get(cv2.CAP_PROP_FRAME_COUNT) == 28
    grays = [int(played.read()[1].mean()) for _ in range(28)]
    assert abs(grays[27] - 180) <= 3 and abs(grays[14] - 100) <= 3


def test_a_film_of_an_unknown_kind(config, pages, tmp_path):
    result = run("live_detect.py", "--headless", "--source", str(pages / "film.avi"), "--record", "a.gif",
                 "--digits", str(config().digits), "--output-dir", str(tmp_path / "out"))  # fmt: skip
    assert result.returncode == 2 and "a name that ends in .mp4 or .avi" in result.stderr


def test_help_names_every_key():
    out = run("live_detect.py", "--help").stdout
    for key in (
        "m digits",
        "g Greek",
        "t switches",
        "+ and -",
        "space freezes",
        "s saves",
        "f frame rate",
        "h all keys",
    ):
        assert key in " ".join(out.split()), key


def test_letters_are_drawn_as_such():
    alpha, beta = (overlay.text(overlay.sign(name), 100)[0] for name in ("alpha", "beta"))
    missing = overlay.text("\uffff", 100)[0]
    assert overlay.sign("alpha") == "α" and overlay.sign("7") == "7"
    assert alpha.any() and beta.any() and alpha.shape != beta.shape
    assert missing.shape != alpha.shape or not np.array_equal(alpha, missing)


def test_nothing_is_drawn_outside_a_frame_however_small():
    frame = np.full((480, 300, 3), 100, np.uint8)
    before = frame.copy()
    reading = Reading(np.zeros((28, 28), np.uint8), (5, 5, 200, 200), "7", 0.99, [("7", 0.99), ("1", 0.01)])
    overlay.draw(
        frame, overlay.centered_box(frame, 0.9), reading.box, reading, overlay.View("x" * 99, "y" * 200, help=True)
    )
    assert (frame != before).any()
