"""Classify a digit or a Greek letter held in front of the camera, live.

    python live_detect.py                          the first camera, digits; g changes to Greek letters
    python live_detect.py --list-cameras           list the cameras
    python live_detect.py --source 1 --mirror      another camera, mirrored
    python live_detect.py --source film.mp4        a video; a folder of images or an address works too
    python live_detect.py --source film.mp4 --headless     no window: write the predictions to live.csv
    python live_detect.py --record me.mp4          record what the window shows

Write large and dark on plain paper and hold it still in the box. Above 80 % confidence the prediction appears, below it
`unclear`, and nothing while the box is empty. Keys: m digits, g Greek letters, t switches the Greek network, + and -
resize the box, space freezes, s saves the crop and asks for its label, f frame rate and latency, h all keys, q or Esc
quits.

It uses the weights of train_mnist.py, transfer_greek.py and greek_from_scratch.py, or the pretrained ones. Writes to
outputs/live_detect/: with --headless live.csv (a row for each frame: frame, time in seconds, mode, label, confidence,
milliseconds, and for a folder the file name of the picture), and saved crops without a label. Labeled crops go to
handwritten/<mode>/<label>/, where the other scripts find them.
"""

import pipeline  # noqa: F401, first: it handles Ctrl-C while the libraries load

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

STILL_FRAME_SECONDS = 1 / 30  # between two repetitions of the last frame


@dataclass(frozen=True)
class Config:
    source: str = option("0", "camera number, video, folder of images, or address of a stream or video")
    mode: str = option("digits", "initial mode", choices=("digits", "greek"))
    list_cameras: bool = option(False, "list the cameras and exit")
    mirror: bool = option(False, "mirror the display; characters are read unmirrored")
    headless: bool = option(False, "no window; write live.csv")
    record: Path = option(None, "record the window to this video, .mp4 or .avi")
    digits: Path = option(Path("outputs/train_mnist/model.pt"), "the digit network")
    transfer: Path = option(Path("outputs/transfer_greek/model.pt"), "the transferred Greek network")
    scratch: Path = option(Path("outputs/greek_from_scratch/model.pt"), "the Greek network trained from scratch")
    handwritten: Path = option(Path("handwritten"), "folder for labeled crops")
    threads: int = option(1, "CPU threads; more than 1 does not help for single images", least=1, most=1024)
    output_dir: Path = option(Path("outputs/live_detect"), "output folder for live.csv and unlabeled crops")


def main(config: Config) -> None:
    """Find the networks, open the window and the source, then process frame by frame."""
    if config.list_cameras:
        print("\n".join(frame_sources.list_cameras()))
        return
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    folder = runtime.output_folder(config.output_dir)
    session = Session(Controls(find_networks(config), config.mode, folder, config.handwritten), config.mirror)
    window = None if config.headless else Window()
    source = frame_sources.frame_source(config.source)

    stopped_by = None
    with contextlib.ExitStack() as files:
        table = files.enter_context(write_predictions(folder / "live.csv")) if config.headless else None
        record = files.enter_context(recording.record(config.record, source.rate)) if config.record else None
        try:
            process_frames(session, source, window, table, record)
        except (KeyboardInterrupt, Failure) as failure:
            stopped_by = failure  # raised again after the files are complete
    source.close()
    if window:
        window.close()
    written = [*([folder / "live.csv"] if table else []), *([config.record] if record else [])]
    if table:
        print(", ".join(f"{label}: {count}" for label, count in table.counts.most_common()))
    is_folder = isinstance(source, Folder)
    print(
        (f"{table.counts.total()} images" if table and is_folder else f"{session.frames} frames")
        + "".join(f"; wrote {path}" for path in written)
    )
    if stopped_by:
        raise stopped_by


def find_networks(config: Config) -> dict[str, dict[str, torch.nn.Module]]:
    """Load the trained networks, or the pretrained ones.

    Returns:
        mode -> variant, such as "transferred" -> network.

    Raises:
        Failure: a file is missing, contains another network than expected, or is damaged.
    """
    load = checkpoints.load_or_pretrained
    digits = load(config.digits, Config.digits, "digits.pt", models.MnistNet, "train_mnist.py", models.DIGITS)
    transferred = load(
        config.transfer, Config.transfer, "greek_transfer_three.pt", models.MnistNet, "transfer_greek.py"
    )
    scratch = load(config.scratch, Config.scratch, "greek_scratch_three.pt", models.GreekNet, "greek_from_scratch.py")
    return {"digits": {"trained": digits}, "greek": {"transferred": transferred, "from scratch": scratch}}


def process_frames(
    session: Session,
    source: Camera | Video | Folder,
    window: Window | None,
    table: PredictionTable | None,
    record: Recording | None,
) -> None:
    """Run until a key or the closed window ends it; without a window until the end of the source."""
    begin = due = time.monotonic()
    last_time = 0.0
    while not session.controls.quit:
        new = None if session.controls.frozen else source.read()
        if new:
            frame = new
        elif window or source.is_live:
            now = time.monotonic()
            frame = dataclasses.replace(frame, time=frame.time + STILL_FRAME_SECONDS, arrived=now)  # the last one again
            if not (source.is_live or session.controls.frozen):
                session.controls.idle_message = "end of the source; Esc quits"
        else:
            return
        shown, reading = session.step(frame, source.problem)
        if table and new:
            table.add(frame, session.controls.mode, reading, session.milliseconds)
        if record:
            record.add(shown, time.monotonic() - begin if window else frame.time)
        if window:
            now = time.monotonic()
            # a frame is shown as long after the last one as it was filmed; after a pause, one frame later
            elapsed = frame.time - last_time if frame.time > last_time else 1 / source.rate
            due, last_time = now if source.is_live and new else max(now, due + elapsed), frame.time
            key = window.show(shown, due - now)
            session.controls.press(key, session.crop if reading.box[2] else None, time.monotonic())
            if not window.is_open:
                return


if __name__ == "__main__":
    cli.launch(main, Config, {})
