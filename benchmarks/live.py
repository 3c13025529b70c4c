"""Measure live_detect.py on simulated videos: accuracy, false labels, speed.

    python -m benchmarks.live digits FOLDER     synthetic digits, and real ones from a folder of labeled images
    python -m benchmarks.live greek FOLDER      the same for Greek letters, with each network that exists
    python -m benchmarks.live speed             milliseconds per frame, compared with the original report; memory
    python -m benchmarks.live picture           docs/images/live.gif

Frames of 1280x720 pixels, 30 per second, are rendered one by one and passed to the program's own `Session.step`. A page
enters the box, is held at rest for 1.5 seconds (with tremor, rotation up to 10 degrees, perspective, changing light,
blur and noise) and leaves. `digits` and `greek` also run ten minutes of scenes without writing; FOLDER is optional.
Writes benchmarks/results/live_digits.json, live_greek.json or live_speed.json.
"""

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

import live_detect
from benchmarks import results
from benchmarks.photos import tutorial_preprocessing
from benchmarks.simulation import held_page, photographs, surroundings
from models import DIGITS
from pipeline import files
from pipeline.datasets.datasets import normalize
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.evaluation.handwriting import UNCLEAR
from pipeline.live import overlay
from pipeline.live.controls import Controls
from pipeline.live.frames import CAMERA_FPS, CAMERA_HEIGHT_PX, CAMERA_WIDTH_PX
from pipeline.live.session import Session
from pipeline.preprocessing.image_files import read_image

MAX_NAMING_SECONDS = 0.5  # of rest, within which the correct label should appear
SYNTHETIC_PAGES = 20  # per mode
SCENES, SCENE_SECONDS = 120, 5.0  # scenes without writing, and seconds of each: ten minutes
SEED = 2000  # the program was tuned with other seeds, among them 1000


def real_pages(folder: Path, names: list[str], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the label and the page (H, W, 3) uint8 of each labeled image in a folder."""
    samples, _ = read_folder(folder, names)
    for i, sample in enumerate(samples):
        yield sample.label, held_page.place_on_page(read_image(sample.file), np.random.default_rng([seed, i]))


def measure(pages: Iterator[tuple[str, np.ndarray]], sessions: dict[str, Session], seed: int) -> list[dict]:
    """Measure how many pages and frames are named correctly, in percent.

    That is pages within MAX_NAMING_SECONDS of rest, frames at rest after that, and all classified frames.
    """
    rows = {network: {"pages": 0, "named": 0, "resting": 0, "later": 0, "answers": 0, "correct": 0, "faults": []}
            for network in sessions}  # fmt: skip
    for i, (label, page) in enumerate(pages):
        rng = np.random.default_rng([seed, 7, i])
        named, incorrect = dict.fromkeys(sessions, False), {network: set() for network in sessions}
        for moment in held_page.video(page, held_page.Scene(rng), rng):
            for network, session in sessions.items():
                _, reading = session.step(replace(moment.frame, time=session.frames / CAMERA_FPS))
                row, is_correct = rows[network], reading.label == label
                named[network] |= is_correct and 0 <= moment.resting <= MAX_NAMING_SECONDS
                row["resting"] += moment.resting > MAX_NAMING_SECONDS
                row["later"] += is_correct and moment.resting > MAX_NAMING_SECONDS
                if reading.label not in ("", UNCLEAR):
                    row["answers"] += 1
                    row["correct"] += is_correct
                    incorrect[network] |= {reading.label} - {label}
        for network, row in rows.items():
            row["pages"] += 1
            row["named"] += named[network]
            if incorrect[network] or not named[network]:
                row["faults"].append(
                    f"{label}, page {i}: {' '.join(sorted(incorrect[network])) or 'not named in time'}"
                )
    return [
        {"network": network, "pages": row["pages"], "named_percent": 100 * row["named"] / row["pages"],
         "frames_named_later_percent": 100 * row["later"] / row["resting"], "frames_answered": row["answers"],
         "correct_when_classified_percent": 100 * row["correct"] / max(1, row["answers"]), "faults": row["faults"]}
        for network, row in rows.items()
    ]  # fmt: skip


def false_labels(sessions: dict[str, Session], seed: int, scenes: int) -> list[dict]:
    """Count the labels that appear in scenes without writing."""
    labels, last_label = {network: [] for network in sessions}, dict.fromkeys(sessions, "")
    for i in range(scenes):
        rng = np.random.default_rng([seed, 9, i])
        scene, hand, page = (
            held_page.Scene(rng),
            held_page.Hand(rng, rng.uniform(0.2, 3)),
            held_page.page_without_writing(rng),
        )
        scale = rng.uniform(0.4, 1.5)
        for j in range(round(SCENE_SECONDS * CAMERA_FPS)):
            offset = 0.35 * max(0, np.sin(2 * np.pi * j / CAMERA_FPS / SCENE_SECONDS + i)) ** 2  # the page drifts
            homography = None if page is None else hand.homography(page, scale, offset, j / CAMERA_FPS, scene.size)
            frame = scene.render(page, homography, 2)
            for network, session in sessions.items():
                _, reading = session.step(replace(frame, time=session.frames / CAMERA_FPS))
                if reading.label not in ("", UNCLEAR, last_label[network]):
                    labels[network].append(f"{reading.label} in scene {i}")
                last_label[network] = reading.label
    return [
        {
            "network": network,
            "minutes": scenes * SCENE_SECONDS / 60,
            "false_answers": len(labels[network]),
            "which": labels[network],
        }
        for network in sessions
    ]


def report_step(frame: np.ndarray, model: torch.nn.Module) -> np.ndarray:
    """Process a frame as the original report does: invert, resize, classify, draw."""
    crop = frame[overlay.centered_box(frame, 0.5)]
    with torch.no_grad():
        log_probabilities = model(normalize(tutorial_preprocessing(crop)[None]))
    confidence, digit = log_probabilities.exp().max(1)
    output = frame.copy()
    cv2.rectangle(output, (460, 180), (820, 540), (0, 255, 0), 2)
    if confidence > 0.9:
        cv2.putText(
            output, f"{digit.item()} {confidence.item():.2f}", (840, 360), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 255, 0), 3
        )
    return output


def speed(config: live_detect.Config, frames: int) -> None:
    """Measure both programs: wall and CPU time per frame in ms, resident memory."""
    session = create_session(config, "digits")
    pages = list(held_page.synthetic_pages(list(DIGITS), 10, SEED))
    video = []
    for i, (_, page) in enumerate(pages):
        rng = np.random.default_rng([SEED, i])
        video += [moment.frame for moment in held_page.video(page, held_page.Scene(rng), rng)][::3]
    programs = {
        "ours": lambda frame: session.step(frame),
        "report": lambda frame: report_step(frame.image, session.controls.model),
    }
    wall, cpu = ({name: [] for name in programs} for _ in range(2))
    memory = []
    for i in range(frames):
        frame = replace(video[i % len(video)], time=i / CAMERA_FPS)
        for name, step in programs.items():
            wall_start, cpu_start = time.perf_counter(), time.thread_time()
            step(frame)
            wall[name].append(1000 * (time.perf_counter() - wall_start))
            cpu[name].append(1000 * (time.thread_time() - cpu_start))
        if i % max(1, frames // 10) == 0 or i == frames - 1:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
            memory.append({"frames": i, "resident_MB": round(resident, 1)})
    summary = {"frames": frames}
    for name in programs:
        for kind, times in (("", wall), ("_processor", cpu)):
            p50, p99 = np.percentile(times[name], (50, 99))
            summary |= {f"{name}_ms_p50{kind}": round(p50, 2), f"{name}_ms_p99{kind}": round(p99, 2)}
    summary["ratio_processor_p50"] = round(summary["ours_ms_p50_processor"] / summary["report_ms_p50_processor"], 2)
    results.write("live_speed", summary, memory)


def create_session(config: live_detect.Config, mode: str, network: str = "") -> Session:
    """Create a session of live_detect.py without frame source, window and files."""
    controls = Controls(live_detect.find_networks(config), mode, config.output_dir, config.handwritten)
    if network:
        controls.variant[mode] = network
    return Session(controls)


def write_gif(config: live_detect.Config) -> None:
    """Write the README's animation: two digits, key g, two Greek letters."""
    session, output = create_session(config, "digits"), []
    scene = held_page.Scene(np.random.default_rng(4), (CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX))
    scene.noise_strength = scene.light_drift = 0.0  # noise and changing light make a GIF large
    scene.light[:] = 235
    for name in ("3", "8", "alpha", "beta"):
        if name == "alpha":
            session.controls.press(ord("g"), session.crop, 0.0)
        conditions = surroundings.Conditions(size=(400, 400), fill=0.6, pen="marker", paper="cream")
        page = held_page.place_on_page(photographs.photograph([[name]], 6, conditions)[0], np.random.default_rng(5))
        for moment in held_page.video(page, scene, np.random.default_rng(6)):
            frame, _ = session.step(moment.frame)
            if session.frames % 6 == 0:
                small = cv2.resize(frame[:, :, ::-1], (480, 270), interpolation=cv2.INTER_AREA)
                output.append(Image.fromarray(small))
    palette = output[8].quantize(32)  # of a frame with a label
    output = [small.quantize(palette=palette, dither=Image.Dither.NONE) for small in output]
    with files.atomic_write(Path("docs/images/live.gif")) as file:
        output[0].save(file, save_all=True, append_images=output[1:], duration=200, loop=0)


def main(command: str, *arguments: str) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = live_detect.Config()
    if command == "speed":
        return speed(config, int(arguments[0]) if arguments else 30_000)
    if command == "picture":
        return write_gif(config)
    names = {"digits": list(DIGITS), "greek": ["alpha", "beta", "gamma"]}[command]
    sessions = {
        network: create_session(config, command, network) for network in live_detect.find_networks(config)[command]
    }
    rows = []
    for folder in arguments:
        measured = measure(real_pages(Path(folder), names, SEED), sessions, SEED)
        rows += [results.print_row({"of": "real"} | row) for row in measured]
    rows += [
        results.print_row({"of": "drawn"} | row)
        for row in measure(held_page.synthetic_pages(names, SYNTHETIC_PAGES, SEED), sessions, SEED)
    ]
    rows += [results.print_row({"of": "nothing"} | row) for row in false_labels(sessions, SEED, SCENES)]
    results.write(f"live_{command}", {}, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
