"""How live_detect.py does on videos of pages held by hand, and on ten minutes without writing; and how fast it is.

    python -m benchmarks.live digits FOLDER     drawn digits, and real ones from a folder of labelled pictures
    python -m benchmarks.live greek FOLDER      Greek letters likewise, by each network that is there
    python -m benchmarks.live speed             milliseconds a frame, beside the report's way; memory
    python -m benchmarks.live picture           docs/images/live.gif

Frames are made one by one, 1280x720, 30 a second, and go the program's own way: `Session.step`. A page comes into
the box, rests in the hand for 1.5 seconds (it trembles, is turned by up to 10 degrees, seen at an angle, in drifting
light, blurred, noisy) and goes. Without FOLDER drawn pages are all. Writes benchmarks/results/live_digits.json,
live_greek.json or live_speed.json.
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
from benchmarks.photos import tutorial_way
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

NAMED = 0.5  # seconds of rest within which a character is to be named
DRAWN = 20  # drawn pages of each mode
SCENES, SCENE = 120, 5.0  # without writing: how many, and seconds of each: ten minutes
SEED = 2000  # the others, and pages of 1000, were tuned with


def real_pages(folder: Path, names: list[str], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    samples, _ = read_folder(folder, names)
    for i, sample in enumerate(samples):
        yield sample.label, held_page.on_page(read_image(sample.file), np.random.default_rng([seed, i]))


def measure(pages: Iterator[tuple[str, np.ndarray]], lives: dict[str, Session], seed: int) -> list[dict]:
    """In percent: named within half a second of rest, frames classified later, correct of all frames classified."""
    rows = {made: {"pages": 0, "named": 0, "resting": 0, "later": 0, "answers": 0, "correct": 0, "faults": []}
            for made in lives}  # fmt: skip
    for i, (label, page) in enumerate(pages):
        rng = np.random.default_rng([seed, 7, i])
        seen, wrong = dict.fromkeys(lives, False), {made: set() for made in lives}
        for moment in held_page.held(page, held_page.Scene(rng), rng):
            for made, live in lives.items():
                _, reading = live.step(replace(moment.frame, time=live.frames / CAMERA_FPS))
                row, is_right = rows[made], reading.label == label
                seen[made] |= is_right and 0 <= moment.resting <= NAMED
                row["resting"] += moment.resting > NAMED
                row["later"] += is_right and moment.resting > NAMED
                if reading.label not in ("", UNCLEAR):
                    row["answers"] += 1
                    row["correct"] += is_right
                    wrong[made] |= {reading.label} - {label}
        for made, row in rows.items():
            row["pages"] += 1
            row["named"] += seen[made]
            if wrong[made] or not seen[made]:
                row["faults"].append(f"{label}, page {i}: {' '.join(sorted(wrong[made])) or 'not named in time'}")
    return [
        {"network": made, "pages": row["pages"], "named_percent": 100 * row["named"] / row["pages"],
         "frames_named_later_percent": 100 * row["later"] / row["resting"], "frames_answered": row["answers"],
         "correct_when_classified_percent": 100 * row["correct"] / max(1, row["answers"]), "faults": row["faults"]}
        for made, row in rows.items()
    ]  # fmt: skip


def false_answers(lives: dict[str, Session], seed: int, scenes: int) -> list[dict]:
    """How often something is named where no one wrote anything."""
    answers, before = {made: [] for made in lives}, dict.fromkeys(lives, "")
    for i in range(scenes):
        rng = np.random.default_rng([seed, 9, i])
        scene, hand, page = held_page.Scene(rng), held_page.Hand(rng, rng.uniform(0.2, 3)), held_page.no_writing(rng)
        scale = rng.uniform(0.4, 1.5)
        for j in range(round(SCENE * CAMERA_FPS)):
            away = 0.35 * max(0, np.sin(2 * np.pi * j / CAMERA_FPS / SCENE + i)) ** 2  # a page that wanders
            where = None if page is None else hand.map(page, scale, away, j / CAMERA_FPS, scene.size)
            frame = scene.shoot(page, where, 2)
            for made, live in lives.items():
                _, reading = live.step(replace(frame, time=live.frames / CAMERA_FPS))
                if reading.label not in ("", UNCLEAR, before[made]):
                    answers[made].append(f"{reading.label} in scene {i}")
                before[made] = reading.label
    return [
        {"network": made, "minutes": scenes * SCENE / 60, "false_answers": len(answers[made]), "which": answers[made]}
        for made in lives
    ]


def report_way(frame: np.ndarray, model: torch.nn.Module) -> np.ndarray:
    """As the report has it: invert, resize, the network, its answer beside the box."""
    crop = frame[overlay.centered_box(frame, 0.5)]
    with torch.no_grad():
        said = model(normalize(tutorial_way(crop)[None]))
    confidence, answer = said.exp().max(1)
    shown = frame.copy()
    cv2.rectangle(shown, (460, 180), (820, 540), (0, 255, 0), 2)
    if confidence > 0.9:
        cv2.putText(
            shown, f"{answer.item()} {confidence.item():.2f}", (840, 360), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 255, 0), 3
        )
    return shown


def speed(config: live_detect.Config, frames: int) -> None:
    """Milliseconds a frame by the clock and by this thread's share of the processor; resident memory on the way."""
    live = program(config, "digits")
    pages = list(held_page.drawn_pages(list(DIGITS), 10, SEED))
    moments = []
    for i, (_, page) in enumerate(pages):
        rng = np.random.default_rng([SEED, i])
        moments += [moment.frame for moment in held_page.held(page, held_page.Scene(rng), rng)][::3]
    ways = {
        "ours": lambda frame: live.step(frame),
        "report": lambda frame: report_way(frame.image, live.controls.model),
    }
    wall, busy = ({name: [] for name in ways} for _ in range(2))
    memory = []
    for i in range(frames):
        frame = replace(moments[i % len(moments)], time=i / CAMERA_FPS)
        for name, way in ways.items():
            begin, worked = time.perf_counter(), time.thread_time()
            way(frame)
            wall[name].append(1000 * (time.perf_counter() - begin))
            busy[name].append(1000 * (time.thread_time() - worked))
        if i % max(1, frames // 10) == 0 or i == frames - 1:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
            memory.append({"frames": i, "resident_MB": round(resident, 1)})
    summary = {"frames": frames}
    for name in ways:
        for kind, times in (("", wall), ("_processor", busy)):
            p50, p99 = np.percentile(times[name], (50, 99))
            summary |= {f"{name}_ms_p50{kind}": round(p50, 2), f"{name}_ms_p99{kind}": round(p99, 2)}
    summary["ratio_processor_p50"] = round(summary["ours_ms_p50_processor"] / summary["report_ms_p50_processor"], 2)
    results.write("live_speed", summary, memory)


def program(config: live_detect.Config, mode: str, made: str = "") -> Session:
    """The program's frame-by-frame part, without source, window and files."""
    keys = Controls(live_detect.find_networks(config), mode, config.output_dir, config.handwritten)
    if made:
        keys.variant[mode] = made
    return Session(keys)


def picture(config: live_detect.Config) -> None:
    """The animated picture in README: two digits, then g is pressed, then two letters."""
    live, shown = program(config, "digits"), []
    scene = held_page.Scene(np.random.default_rng(4), (CAMERA_WIDTH_PX, CAMERA_HEIGHT_PX))
    scene.loudness = scene.drift = 0.0  # what changes everywhere in every frame makes a GIF large
    scene.light[:] = 235
    for name in ("3", "8", "alpha", "beta"):
        if name == "alpha":
            live.controls.press(ord("g"), live.crop, 0.0)
        conditions = surroundings.Conditions(size=(400, 400), fill=0.6, pen="marker", paper="cream")
        page = held_page.on_page(photographs.photograph([[name]], 6, conditions)[0], np.random.default_rng(5))
        for moment in held_page.held(page, scene, np.random.default_rng(6)):
            frame, _ = live.step(moment.frame)
            if live.frames % 6 == 0:
                small = cv2.resize(frame[:, :, ::-1], (480, 270), interpolation=cv2.INTER_AREA)
                shown.append(Image.fromarray(small))
    palette = shown[8].quantize(32)  # of a frame with an answer
    shown = [small.quantize(palette=palette, dither=Image.Dither.NONE) for small in shown]
    with files.atomic_write(Path("docs/images/live.gif")) as file:
        shown[0].save(file, save_all=True, append_images=shown[1:], duration=200, loop=0)


def main(what: str, *rest: str) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = live_detect.Config()
    if what == "speed":
        return speed(config, int(rest[0]) if rest else 30_000)
    if what == "picture":
        return picture(config)
    names = {"digits": list(DIGITS), "greek": ["alpha", "beta", "gamma"]}[what]
    lives = {made: program(config, what, made) for made in live_detect.find_networks(config)[what]}
    rows = []
    for folder in rest:
        found = measure(real_pages(Path(folder), names, SEED), lives, SEED)
        rows += [results.say({"of": "real"} | row) for row in found]
    rows += [
        results.say({"of": "drawn"} | row) for row in measure(held_page.drawn_pages(names, DRAWN, SEED), lives, SEED)
    ]
    rows += [results.say({"of": "nothing"} | row) for row in false_answers(lives, SEED, SCENES)]
    results.write(f"live_{what}", {}, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
