import functools
import http.server
import socketserver
import threading

import cv2
import numpy as np
import pytest

from pipeline.errors import Failure
from pipeline.live import frame_sources, frames

GRAY = np.full((720, 1280, 3), 120, np.uint8)


class Fake:
    """A camera: gives `frames` pictures, then none; None for ever. `opens`: does it say it is open?"""

    def __init__(self, frames: int | None = None, opens: bool = True, picture: np.ndarray = GRAY):
        self.left, self.opens, self.picture = frames, opens, picture
        self.asked, self.released = {}, False

    def isOpened(self):
        return self.opens

    def set(self, setting, value):
        self.asked[setting] = value

    def read(self):
        if not self.opens or self.left == 0:
            return False, None
        if self.left:
            self.left -= 1
        return True, self.picture.copy()

    def release(self):
        self.released = True


@pytest.fixture
def plug(monkeypatch):
    """plug(a, b): the first camera that is opened is a, every later one b."""

    def plug(*cameras):
        left = list(cameras)
        monkeypatch.setattr(frame_sources, "capture", lambda source, backend: left.pop(0) if len(left) > 1 else left[0])
        return cameras[0]

    monkeypatch.setattr(frame_sources, "RETRY_SECONDS", 0.01)
    return plug


@pytest.fixture
def system(monkeypatch):
    """system("Linux", device=True, release="6.1"): what the machine is taken for, and whether it has a /dev/video."""

    def system(name: str, device: bool = False, allowed: bool = True, release: str = "6.1"):
        monkeypatch.setattr(frame_sources.platform, "system", lambda: name)
        monkeypatch.setattr(frame_sources.platform, "release", lambda: release)
        monkeypatch.setattr(frame_sources.Path, "exists", lambda path: device)
        monkeypatch.setattr(frame_sources.os, "access", lambda path, mode: allowed)

    return system


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (640, 480))
    for i in range(10):
        writer.write(np.full((480, 640, 3), 20 * i, np.uint8))
    writer.release()
    return path


def all_frames(source) -> list[frames.Frame]:
    shown = []
    while frame := source.read():
        shown.append(frame)
    source.close()
    return shown


def test_a_video_gives_every_frame_with_its_time(film):
    shown = all_frames(frame_sources.frame_source(str(film)))
    assert [frame.number for frame in shown] == list(range(10))
    assert shown[5].time == pytest.approx(5 / 25) and shown[5].image.mean() == pytest.approx(100, abs=3)


class FakeFilm:
    """A capture with a time in milliseconds for each frame, and frames that cannot be decoded."""

    def __init__(self, milliseconds, damaged=(), claimed=None):
        self.frames = list(milliseconds)
        self.damaged, self.claimed, self.position, self.now = set(damaged), claimed or len(self.frames), -1, 0.0

    def get(self, what):
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_POS_MSEC: self.now, cv2.CAP_PROP_FRAME_COUNT: self.claimed}[what]

    def read(self):
        self.position += 1
        if self.position >= len(self.frames) or self.position in self.damaged:
            self.now = 0.0
            return False, None
        self.now = self.frames[self.position]
        return True, np.full((480, 640, 3), self.position, np.uint8)

    def release(self):
        pass


def test_a_film_of_varying_rate_has_its_own_times(film, monkeypatch):
    own = [100.0, 133.0, 166.0, 366.0, 1366.0]
    monkeypatch.setattr(frame_sources, "capture", lambda path: FakeFilm(own))
    shown = all_frames(frame_sources.frame_source(str(film)))
    assert [frame.time for frame in shown] == pytest.approx([0, 0.033, 0.066, 0.266, 1.266])


def test_a_film_without_times_has_those_of_its_rate(film, monkeypatch):
    monkeypatch.setattr(frame_sources, "capture", lambda path: FakeFilm([0.0] * 4))
    assert [frame.time for frame in all_frames(frame_sources.frame_source(str(film)))] == pytest.approx(
        [0, 1 / 30, 2 / 30, 3 / 30]
    )


@pytest.mark.parametrize(
    "damaged, claimed, line",
    [
        ({3, 4, 5}, 10, "is damaged: 7 frames are read, 3 cannot be decoded"),
        ({0, 7}, 10, "is damaged: 8 frames are read, 2 cannot be decoded"),
        ((), 20, "is damaged: 10 frames are read, 10 cannot be decoded"),  # cut off
        ((), 11, ""),  # the number in a container is often rounded
        ((), -9223372036854775808, ""),
    ],
)
def test_a_damaged_film_goes_on_after_the_damage(film, monkeypatch, capsys, damaged, claimed, line):
    own = [1000 / 30 * i for i in range(10)]
    monkeypatch.setattr(frame_sources, "capture", lambda path: FakeFilm(own, damaged, claimed))
    shown = all_frames(frame_sources.frame_source(str(film)))
    assert [int(frame.image[0, 0, 0]) for frame in shown] == [i for i in range(10) if i not in damaged]
    assert [frame.number for frame in shown] == list(range(len(shown)))
    printed = capsys.readouterr().out
    assert line in printed and bool(line) == bool(printed)


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_film_at_an_address_ends(film, scheme):
    handler = functools.partial(QuietHandler, directory=film.parent)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{film.name}" if scheme == "http" else film.as_uri()
        source = frame_sources.frame_source(address)
        assert not source.is_live and len(all_frames(source)) == 10
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_a_folder_shows_each_picture_for_a_second_and_passes_over_what_is_none(tmp_path, capsys):
    for name, gray in (("b/2.png", 200), ("a.png", 100)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((300, 200, 3), gray, np.uint8))
    (tmp_path / "aa.png").write_text("no picture")
    shown = all_frames(frame_sources.frame_source(str(tmp_path)))
    assert len(shown) == 60 and [frame.number for frame in shown[::30]] == [0, 2]
    assert [int(frame.image.mean()) for frame in shown[::30]] == [100, 200]
    assert shown[-1].time == pytest.approx(59 / 30) and shown[0].image.shape == (720, 1280, 3)
    assert "aa.png" in capsys.readouterr().out


def test_a_small_picture_fills_the_box_and_a_wide_one_is_a_frame():
    small = np.zeros((100, 100, 3), np.uint8)
    small[40:60, 40:60] = 255
    frame = frames.as_frame(small)
    assert frame.shape == (720, 1280, 3)
    rows, columns, _ = np.nonzero(frame > 128)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (324, 395, 604, 675)
    assert frames.as_frame(np.zeros((960, 1280), np.uint8)).shape == (960, 1280, 3)
    assert frames.as_frame(np.zeros((3000, 4000, 3), np.uint8)).shape == (720, 960, 3)


@pytest.mark.parametrize("shape, expected", [((240, 320), (720, 960)), ((2160, 3840), (720, 1280)), ((480, 640), None)])
def test_frames_too_small_or_too_large_to_draw_on_are_scaled(shape, expected):
    assert frames.scale_frame(np.zeros((*shape, 3), np.uint8)).shape[:2] == (expected or shape)


def test_a_camera_gets_the_preferred_settings_and_gives_its_latest_frame(plug):
    fake = plug(Fake())
    source = frame_sources.frame_source("0")
    frame = source.read()
    assert frame.image.shape == (720, 1280, 3) and source.problem == ""
    assert (fake.asked[cv2.CAP_PROP_FRAME_WIDTH], fake.asked[cv2.CAP_PROP_FRAME_HEIGHT]) == (1280, 720)
    source.close()
    assert fake.released


def test_an_address_is_opened_as_it_is(plug):
    fake = plug(Fake())
    source = frame_sources.frame_source("rtsp://door.example/1")
    assert source.read() is not None and fake.asked == {}
    source.close()


def test_a_disconnected_camera_is_reported_and_reopened(plug, monkeypatch):
    monkeypatch.setattr(frame_sources, "FRAME_TIMEOUT_SECONDS", 0.0)
    first, back = Fake(3), Fake()
    back.opens = False
    plug(first, back)
    source = frame_sources.frame_source("0")
    troubles = [source.problem for _ in range(8) if source.read() is None]
    assert troubles and all(trouble.startswith("camera disconnected, retrying for") for trouble in troubles)
    back.opens = True
    assert any(source.read() for _ in range(20)) and first.released
    source.close()


def test_a_camera_that_stays_away_ends_it_in_one_line(plug, monkeypatch):
    monkeypatch.setattr(frame_sources, "RECONNECT_SECONDS", 0.2)
    plug(Fake(2), Fake(opens=False))
    source = frame_sources.frame_source("0")
    with pytest.raises(
        Failure, match=r"^camera 0 was disconnected and sent no frame for 0 seconds: check its connection"
    ):
        for _ in range(50):
            source.read()
    source.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "machine, line",
    [
        (("Linux",), "camera 0 not found, /dev/video0 does not exist: connect a camera"),
        (
            ("Linux", False, True, "5.15-microsoft-standard-WSL2"),
            "WSL has no access to cameras: run this with Python on Windows",
        ),
        (("Linux", True, False), 'no permission to open /dev/video0: run sudo usermod -aG video "$USER"'),
        (("Linux", True), "camera 0 (/dev/video0) sends no frames: close other programs that use it"),
        (
            ("Darwin",),
            "camera 0 cannot be opened: allow your terminal under System Settings > Privacy & Security > Camera",
        ),
        (("Windows",), "camera 0 cannot be opened: close other programs that use it, allow desktop apps"),
    ],
)
@pytest.mark.parametrize("opens", [True, False])
def test_no_picture_has_a_line_for_each_reason(machine, line, opens, plug, system):
    system(*machine)
    plug(Fake(0, opens))
    with pytest.raises(Failure) as failure:
        frame_sources.frame_source("0")
    assert str(failure.value).startswith(line) and "\n" not in str(failure.value)


def test_an_address_without_picture(plug):
    plug(Fake(opens=False))
    with pytest.raises(Failure, match=r"^rtsp://door sends no frames: check in a browser"):
        frame_sources.frame_source("rtsp://door")


def test_windows_takes_the_quick_way_first(plug, system, monkeypatch):
    system("Windows")
    tried = []
    monkeypatch.setattr(
        frame_sources, "capture", lambda source, backend: tried.append(backend) or Fake(opens=len(tried) > 1)
    )
    frame_sources.open_camera(0)
    assert tried == [cv2.CAP_DSHOW, cv2.CAP_MSMF]
    assert frame_sources.os.environ["OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS"] == "0"


def test_cameras_are_listed(plug, system):
    system("Windows")
    plug(Fake(opens=False), Fake(opens=False), Fake(picture=np.zeros((480, 640, 3), np.uint8)))
    lines = frame_sources.list_cameras()
    assert len(lines) == 9 and lines[0] == "--source 1   camera 1, 640 x 480"


def test_no_camera_to_list(system):
    system("Linux")
    with pytest.raises(Failure, match=r"^camera 0 not found") as failure:
        frame_sources.list_cameras()
    assert "--list-cameras" not in str(failure.value), "which has just been tried"


@pytest.mark.parametrize(
    "name, content, line",
    [
        ("gone.mp4", None, ".*gone.mp4 does not exist: give --source a camera number"),
        ("text.mp4", "no video", ".*text.mp4 is not a readable video"),
        ("empty.mp4", "", ".*empty.mp4 is not a readable video"),
    ],
)
def test_files_that_are_no_video(name, content, line, tmp_path, capfd):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(Failure, match=line):
        frame_sources.frame_source(str(tmp_path / name))
    assert capfd.readouterr().err == ""  # FFmpeg's own words would only confuse


def test_no_source_at_all():
    with pytest.raises(Failure, match=r"^'' is not a file or a folder: give --source a camera number"):
        frame_sources.frame_source("")


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(Failure, match="contains no images"):
        frame_sources.frame_source(str(tmp_path))


def test_a_folder_of_pictures_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(Failure, match=r"no readable image in .*: give a folder"):
        frame_sources.frame_source(str(tmp_path))


def test_black_frames():
    noise = np.random.default_rng(1).integers(0, 9, (720, 1280, 3), dtype=np.uint8)
    assert frames.is_black(noise) and not frames.is_black(noise + 60)
