"""Hold a digit or a Greek letter in front of the camera and it is named at once.

    python live_detect.py                          the first camera, digits; g changes to Greek letters
    python live_detect.py --list-cameras           which cameras there are
    python live_detect.py --source 1 --mirror      another camera, as in a mirror
    python live_detect.py --source film.mp4        a video; a folder of pictures or an address works too
    python live_detect.py --source film.mp4 --headless     no window: what was read goes into live.csv
    python live_detect.py --record me.mp4          what the window shows, as a video

Write large and dark on plain paper and hold it still in the box. The answer appears above 80 % confidence, else
`unclear`; over an empty box nothing. Keys: m digits, g Greek letters, t the other Greek network, + and - the size of
the box, space freezes, s saves the crop and asks for its name, f frame rate and latency, h all keys, q or Esc quits.

It needs the weights that train_mnist.py leaves and, for Greek letters, those of transfer_greek.py or
greek_from_scratch.py. Writes to outputs/live_detect/: with --headless live.csv (a row for each frame: frame, time in
seconds, mode, label, confidence, milliseconds, and the name of a folder's picture), and crops that are saved and not
filed. Filed ones go to handwritten/<mode>/<label>/, where the other scripts find them.
"""

import pipeline  # noqa: F401, first: it answers Ctrl-C while the libraries load

# isort: split
import contextlib
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

import models
from pipeline import checkpoints, cli, runtime
from pipeline.cli import option
from pipeline.errors import Failure
from pipeline.live import frame_sources, recording
from pipeline.live.controls import Controls
from pipeline.live.frame_sources import Camera, Folder, Video
from pipeline.live.recording import Recording
from pipeline.live.session import PredictionTable, Session, write_predictions
from pipeline.live.window import Window

PAUSE = 1 / 30  # seconds between two looks at a picture that stands


@dataclass(frozen=True)
class Config:
    source: str = option("0", "camera number, video, folder of images, or stream address")
    mode: str = option("digits", "initial mode", choices=("digits", "greek"))
    list_cameras: bool = option(False, "list the cameras and exit")
    mirror: bool = option(False, "mirror the display; characters are read unmirrored")
    headless: bool = option(False, "no window; write live.csv")
    record: Path = option(None, "record the window to this video, .mp4 or .avi")
    digits: Path = option(Path("outputs/train_mnist/model.pt"), "the digit network")
    transfer: Path = option(Path("outputs/transfer_greek/model.pt"), "the transferred Greek network")
    scratch: Path = option(Path("outputs/greek_from_scratch/model.pt"), "the Greek network trained from scratch")
    handwritten: Path = option(Path("handwritten"), "folder for labelled crops")
    threads: int = option(1, "CPU threads; more than 1 does not help for single images", least=1, most=1024)
    output_dir: Path = option(Path("outputs/live_detect"), "output folder for live.csv and unlabelled crops")


def main(config: Config) -> None:
    """Everything that can be missing is looked for first; then frame by frame: take, read, draw, show, obey."""
    if config.list_cameras:
        print("\n".join(frame_sources.list_cameras()))
        return
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    folder = runtime.output_folder(config.output_dir)
    live = Session(Controls(find_networks(config), config.mode, folder, config.handwritten), config.mirror)
    window = None if config.headless else Window()
    source = frame_sources.frame_source(config.source)

    ending = None
    with contextlib.ExitStack() as files:
        log = files.enter_context(write_predictions(folder / "live.csv")) if config.headless else None
        record = files.enter_context(recording.record(config.record, source.rate)) if config.record else None
        try:
            watch(live, source, window, log, record)
        except (KeyboardInterrupt, Failure) as failure:
            ending = failure  # the files are finished first
    source.close()
    if window:
        window.close()
    written = [*([folder / "live.csv"] if log else []), *([config.record] if record else [])]
    print(f"{live.frames} frames" + "".join(f"; {path} is written" for path in written))
    if ending:
        raise ending


def find_networks(config: Config) -> dict[str, dict[str, torch.nn.Module]]:
    """The networks that are there, by mode and by how they were made.

    Raises:
        Failure: a file holds another network than it should, or is damaged.
    """
    found: dict[str, dict[str, torch.nn.Module]] = {"digits": {}, "greek": {}}
    for mode, made, path, network, made_by, class_names in (
        ("digits", "trained", config.digits, models.MnistNet, "train_mnist.py", models.DIGITS),
        ("greek", "transferred", config.transfer, models.MnistNet, "transfer_greek.py", None),
        ("greek", "from scratch", config.scratch, models.GreekNet, "greek_from_scratch.py", None),
    ):
        if path.is_file():
            found[mode][made] = checkpoints.load(path, network, made_by, class_names)
    return {mode: known for mode, known in found.items() if known}


def watch(
    live: Session,
    source: Camera | Video | Folder,
    window: Window | None,
    log: PredictionTable | None,
    record: Recording | None,
) -> None:
    """Until a key ends it, the window is closed, or, without a window, the source is at its end."""
    begin = due = time.monotonic()
    while not live.controls.over:
        fresh = None if live.controls.frozen else source.read()
        if fresh:
            frame = fresh
        elif window or source.is_live:
            now = time.monotonic()
            frame = dataclasses.replace(frame, time=frame.time + PAUSE, arrived=now)  # the last one stands
            if not (source.is_live or live.controls.frozen):
                live.controls.standing = "this is the end; q quits"
        else:
            return
        shown, reading = live.step(frame, source.trouble)
        if log and fresh:
            log.add(frame, live.controls.mode, reading, live.milliseconds)
        if record:
            record.add(shown, time.monotonic() - begin if window else frame.time)
        if window:
            now = time.monotonic()
            due = now if source.is_live and fresh else max(now, due + 1 / source.rate)
            key = window.show(shown, due - now)
            live.controls.press(key, live.crop if reading.box[2] else None, time.monotonic())
            if not window.is_open:
                return


if __name__ == "__main__":
    cli.launch(main, Config, {})
