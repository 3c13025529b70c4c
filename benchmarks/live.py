"""How live_detect.py does on videos of pages held by hand, and on ten minutes without writing; and how fast it is.

    python -m benchmarks.live digits FOLDER     drawn digits, and real ones from a folder of labelled pictures
    python -m benchmarks.live greek FOLDER      Greek letters likewise, by each network that is there
    python -m benchmarks.live speed             milliseconds a frame, beside the report's way; memory
    python -m benchmarks.live picture           docs/live.gif

Frames are made one by one, 1280x720, 30 a second, and go the program's own way: `live.Live.step`. A page comes into
the box, rests in the hand for 1.5 seconds (it trembles, is turned by up to 10 degrees, seen at an angle, in drifting
light, blurred, noisy) and goes. Without FOLDER drawn pages are all. Writes benchmarks/results/live_digits.json,
live_greek.json or live_speed.json.
"""

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

import disk
import live_detect
import paper
import pipeline.preprocessing.photo as photo_reading
import scenery
import screen
from benchmarks import results
from benchmarks.photos import tutorial_way
from camera import HEIGHT, RATE, WIDTH, Frame
from handwriting import UNCLEAR
from keys import Keys
from live import Live
from loaders import normalise
from models import DIGITS
from pictures import read_folder
from pipeline.preprocessing.image_files import read_image

STAGE = 480  # pixels: the part of the frame, around the box, in which things happen
BOX = 360  # pixels
COME, REST, GO, AWAY = 0.5, 1.5, 0.4, 0.4  # seconds
NAMED = 0.5  # seconds of rest within which a character is to be named
DRAWN = 20  # drawn pages of each mode
SCENES, SCENE = 120, 5.0  # without writing: how many, and seconds of each: ten minutes
SEED = 2000  # the others, and pages of 1000, were tuned with


@dataclass
class Moment:
    """One frame and the truth about it."""

    frame: Frame
    resting: float  # seconds for which the page has been at rest; negative while it is not


class Hand:
    """How a page is held: a smooth tremor of two shifts, a turn and two tilts."""

    def __init__(self, rng: np.random.Generator, strength: float = 1.0):
        self.middle = rng.uniform(-25, 25, 2)  # pixels
        self.turn, self.tilt = rng.uniform(-10, 10), rng.uniform(-0.1, 0.1, 2)
        self.waves = rng.uniform(0.3, 1, (5, 3)) * np.array([[1.5, 1.5, 0.35, 0.004, 0.004]]).T * strength
        self.rates, self.phases = rng.uniform(0.5, 7, (5, 3)), rng.uniform(0, 2 * np.pi, (5, 3))
        angle = rng.uniform(0, 2 * np.pi)
        self.way = np.array([np.cos(angle), np.sin(angle)])  # from where it comes

    def map(self, page: np.ndarray, scale: float, away: float, at: float, size: tuple[int, int]) -> np.ndarray:
        """(3, 3) page pixels to frame pixels; away: 0 held in the box, 1 out of sight."""
        x, y, turn, *tilt = (self.waves * np.sin(2 * np.pi * self.rates * at + self.phases)).sum(1)
        x, y = np.array([x, y]) + self.middle + self.way * away * 900
        angle = np.radians(self.turn + turn + 15 * away)
        tilt = (self.tilt + tilt) / BOX
        height, width = page.shape[:2]
        to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        seen = np.eye(3)
        seen[:2, :2], seen[2, :2] = turned, scale * tilt
        to_place = np.array([[1, 0, size[0] / 2 + x], [0, 1, size[1] / 2 + y], [0, 0, 1]])
        return to_place @ seen @ to_middle


class Scene:
    """A desk, its light and a camera."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int] = (STAGE, STAGE)):
        self.size, self.rng = size, rng
        self.desk = np.clip(scenery.desk(np.full(size[::-1], 255, np.uint8), rng.uniform(4, 8), rng), 0, 255)
        self.desk = cv2.GaussianBlur(self.desk.astype(np.uint8), (0, 0), 2)
        lights = scenery.Conditions(size=size, light=str(rng.choice(scenery.LIGHTS)), tint=rng.uniform(-0.5, 0.5))
        self.light = np.clip(255 * scenery.light(lights, rng), 0, 255).astype(np.uint8)
        self.noise = [rng.normal(128, 40, (*size[::-1], 3)).clip(0, 255).astype(np.uint8) for _ in range(4)]
        self.loudness = rng.uniform(1, 6) / 40
        self.blur, self.drift = rng.uniform(0.4, 1.4), rng.uniform(0.05, 0.2)
        self.phase = rng.uniform(0, 2 * np.pi, 2)
        self.frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        self.number = 0

    def shoot(self, page: np.ndarray | None, where: np.ndarray | None, speed: float) -> Frame:
        """The next frame, of a page (H, W, 3) uint8 laid by a (3, 3) map, moving by `speed` pixels in a frame."""
        seen = self.desk.copy()
        if page is not None:
            cv2.warpPerspective(page, where, self.size, dst=seen, borderMode=cv2.BORDER_TRANSPARENT)
        at = self.number / RATE
        blur = self.blur * (1 + 0.4 * np.sin(2 * at + self.phase[0])) + 0.3 * speed
        seen = cv2.GaussianBlur(seen, (0, 0), min(blur, 8))
        gain = 1 + self.drift * np.sin(1.3 * at + self.phase[1])
        seen = cv2.multiply(seen, self.light, scale=gain / 255)
        noise = self.noise[self.number % len(self.noise)]
        seen = cv2.addWeighted(seen, 1, noise, self.loudness, -128 * self.loudness)
        top, left = (HEIGHT - self.size[1]) // 2, (WIDTH - self.size[0]) // 2
        picture = self.frame.copy()
        picture[top : top + self.size[1], left : left + self.size[0]] = seen
        self.number += 1
        return Frame(picture, self.number - 1, at)


def held(page: np.ndarray, scene: Scene, rng: np.random.Generator) -> Iterator[Moment]:
    """A page comes, rests, goes and stays away for a moment."""
    hand = Hand(rng)
    scale = BOX * rng.uniform(0.5, 0.95) / 400
    before = 1.0
    for i in range(round((COME + REST + GO + AWAY) * RATE)):
        at = i / RATE
        rest = at - COME
        away = max(0.0, 1 - at / COME) ** 2 if rest < 0 else min(1.0, max(0.0, rest - REST) / GO) ** 2
        where = hand.map(page, scale, away, scene.number / RATE, scene.size)
        frame = scene.shoot(page if away < 1 else None, where, 900 * abs(away - before))
        before = away
        yield Moment(frame, rest if 0 <= rest < REST else -1.0)


def on_page(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The character of a picture, cut out of it and at most 400 pixels long, in the middle of a page of its colour."""
    picture = photo_reading.as_uint8(picture)
    x, y, width, height = photo_reading.Photo(picture).character.box
    room = round(0.2 * max(width, height))
    picture = picture[max(0, y - room) : y + height + room, max(0, x - room) : x + width + room]
    picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture
    scale = 400 / max(picture.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way)
    around = np.median(picture.reshape(-1, 3), axis=0).tolist()
    across, along = rng.integers(20, 300, 2).tolist()
    return cv2.copyMakeBorder(picture, along, along, across, across, cv2.BORDER_CONSTANT, value=around)


def drawn_pages(names: list[str], count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        conditions = paper.Conditions.random(
            rng, size=(400, 400), fill=rng.uniform(0.45, 0.75), place=(0.5, 0.5), turn=0, tilt=(0, 0), light="even",
            blur=0.0, noise=0.0, quality=100, edge=False, neighbours=False,
        )  # fmt: skip
        yield names[i % len(names)], on_page(paper.photograph([[names[i % len(names)]]], seed + i, conditions)[0], rng)


def real_pages(folder: Path, names: list[str], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    samples, _ = read_folder(folder, names)
    for i, sample in enumerate(samples):
        yield sample.label, on_page(read_image(sample.file), np.random.default_rng([seed, i]))


def measure(pages: Iterator[tuple[str, np.ndarray]], lives: dict[str, Live], seed: int) -> list[dict]:
    """In percent: named within half a second of rest, frames answered later, right of all frames answered."""
    rows = {made: {"pages": 0, "named": 0, "resting": 0, "later": 0, "answers": 0, "right": 0, "faults": []}
            for made in lives}  # fmt: skip
    for i, (label, page) in enumerate(pages):
        rng = np.random.default_rng([seed, 7, i])
        seen, wrong = dict.fromkeys(lives, False), {made: set() for made in lives}
        for moment in held(page, Scene(rng), rng):
            for made, live in lives.items():
                _, reading = live.step(replace(moment.frame, time=live.frames / RATE))
                row, is_right = rows[made], reading.label == label
                seen[made] |= is_right and 0 <= moment.resting <= NAMED
                row["resting"] += moment.resting > NAMED
                row["later"] += is_right and moment.resting > NAMED
                if reading.label not in ("", UNCLEAR):
                    row["answers"] += 1
                    row["right"] += is_right
                    wrong[made] |= {reading.label} - {label}
        for made, row in rows.items():
            row["pages"] += 1
            row["named"] += seen[made]
            if wrong[made] or not seen[made]:
                row["faults"].append(f"{label}, page {i}: {' '.join(sorted(wrong[made])) or 'not named in time'}")
    return [
        {"network": made, "pages": row["pages"], "named_percent": 100 * row["named"] / row["pages"],
         "frames_named_later_percent": 100 * row["later"] / row["resting"], "frames_answered": row["answers"],
         "right_when_answered_percent": 100 * row["right"] / max(1, row["answers"]), "faults": row["faults"]}
        for made, row in rows.items()
    ]  # fmt: skip


def no_writing(rng: np.random.Generator) -> np.ndarray | None:
    """A page, a wall, a hand: (H, W, 3) uint8 without writing; None: the desk alone."""
    kind = rng.choice(["page", "ruled", "folded", "wall", "hand", "outline", "desk"])
    if kind == "desk":
        return None
    side = 900
    tone = np.array(scenery.PAPERS[str(rng.choice(list(scenery.PAPERS)))], np.float32)
    picture = np.ones((side, side, 1), np.float32) * tone
    picture *= 1 + 0.01 * scenery.texture((side, side), 3, rng)[:, :, None]
    if kind == "ruled":
        step, width = int(rng.integers(30, 70)), int(rng.integers(1, 4))
        for at in range(0, side, step):
            picture[at : at + width] = (205, 165, 130)
            if rng.random() < 0.5:
                picture[:, at : at + width] = (205, 165, 130)
    if kind == "folded":
        shade = np.zeros((side, side), np.float32)
        for _ in range(rng.integers(1, 5)):
            angle, at = rng.uniform(0, np.pi), rng.uniform(-300, 300)
            y, x = np.mgrid[:side, :side] - side / 2
            far = x * np.cos(angle) + y * np.sin(angle) - at
            shade += rng.uniform(-0.25, 0.25) * np.exp(-np.abs(far) / rng.uniform(3, 60)) * np.sign(far)
        picture *= (1 + shade)[:, :, None]
    if kind == "wall":
        rough = sum(scenery.texture((side, side), float(grain), rng) for grain in rng.uniform(2, 60, 3))
        picture *= (1 + rng.uniform(0.02, 0.15) * rough)[:, :, None]
        if rng.random() < 0.5:  # bricks or boards
            for at in range(0, side, int(rng.integers(60, 200))):
                picture[at : at + 5] *= 0.7
    if kind in ("hand", "outline"):
        mask = np.zeros((side, side), np.uint8)
        wrist, angle = np.array([450, 450]) + rng.uniform(-100, 100, 2), rng.uniform(0, 2 * np.pi)
        size = rng.uniform(1.2, 3)
        fingers = [(180, 250, 34), (0, 20, 46), (-15, 66, 12), (-4, 74, 13), (8, 70, 12), (20, 58, 11), (-50, 50, 14)]
        shown = [0, 1, *rng.permutation(np.arange(2, 7))[: rng.integers(1, 6)]]
        for turn, length, thick in (fingers[i] for i in shown):
            tip = wrist + size * length * np.array([np.cos(angle + np.radians(turn)), np.sin(angle + np.radians(turn))])
            cv2.line(mask, wrist.astype(int).tolist(), tip.astype(int).tolist(), 255, int(size * thick), cv2.LINE_AA)
        if kind == "outline":
            mask = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
        skin = np.array([(110, 140, 200), (60, 90, 140), (40, 55, 80)][rng.integers(3)], np.float32)
        scenery.blend(
            picture, skin * (1 + 0.08 * scenery.texture((side, side), 40, rng)[:, :, None]), mask / np.float32(255)
        )
    return np.clip(picture, 0, 255).astype(np.uint8)


def false_answers(lives: dict[str, Live], seed: int, scenes: int) -> list[dict]:
    """How often something is named where no one wrote anything."""
    answers, before = {made: [] for made in lives}, dict.fromkeys(lives, "")
    for i in range(scenes):
        rng = np.random.default_rng([seed, 9, i])
        scene, hand, page = Scene(rng), Hand(rng, rng.uniform(0.2, 3)), no_writing(rng)
        scale = rng.uniform(0.4, 1.5)
        for j in range(round(SCENE * RATE)):
            away = 0.35 * max(0, np.sin(2 * np.pi * j / RATE / SCENE + i)) ** 2  # a page that wanders
            where = None if page is None else hand.map(page, scale, away, j / RATE, scene.size)
            frame = scene.shoot(page, where, 2)
            for made, live in lives.items():
                _, reading = live.step(replace(frame, time=live.frames / RATE))
                if reading.label not in ("", UNCLEAR, before[made]):
                    answers[made].append(f"{reading.label} in scene {i}")
                before[made] = reading.label
    return [
        {"network": made, "minutes": scenes * SCENE / 60, "false_answers": len(answers[made]), "which": answers[made]}
        for made in lives
    ]


def report_way(frame: np.ndarray, model: torch.nn.Module) -> np.ndarray:
    """As the report has it: invert, resize, the network, its answer beside the box."""
    crop = frame[screen.box_of(frame, 0.5)]
    with torch.no_grad():
        said = model(normalise(tutorial_way(crop)[None]))
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
    pages = list(drawn_pages(list(DIGITS), 10, SEED))
    moments = []
    for i, (_, page) in enumerate(pages):
        rng = np.random.default_rng([SEED, i])
        moments += [moment.frame for moment in held(page, Scene(rng), rng)][::3]
    ways = {"ours": lambda frame: live.step(frame), "report": lambda frame: report_way(frame.picture, live.keys.model)}
    wall, busy = ({name: [] for name in ways} for _ in range(2))
    memory = []
    for i in range(frames):
        frame = replace(moments[i % len(moments)], time=i / RATE)
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


def program(config: live_detect.Config, mode: str, made: str = "") -> Live:
    """The program's frame-by-frame part, without source, window and files."""
    keys = Keys(live_detect.find_networks(config), mode, config.output_dir, config.handwritten)
    if made:
        keys.made[mode] = made
    return Live(keys)


def picture(config: live_detect.Config) -> None:
    """The animated picture in README: two digits, then g is pressed, then two letters."""
    live, shown = program(config, "digits"), []
    scene = Scene(np.random.default_rng(4), (WIDTH, HEIGHT))
    scene.loudness = scene.drift = 0.0  # what changes everywhere in every frame makes a GIF large
    scene.light[:] = 235
    for name in ("3", "8", "alpha", "beta"):
        if name == "alpha":
            live.keys.press(ord("g"), live.crop, 0.0)
        conditions = scenery.Conditions(size=(400, 400), fill=0.6, pen="marker", paper="cream")
        page = on_page(paper.photograph([[name]], 6, conditions)[0], np.random.default_rng(5))
        for moment in held(page, scene, np.random.default_rng(6)):
            frame, _ = live.step(moment.frame)
            if live.frames % 6 == 0:
                small = cv2.resize(frame[:, :, ::-1], (480, 270), interpolation=cv2.INTER_AREA)
                shown.append(Image.fromarray(small))
    palette = shown[8].quantize(32)  # of a frame with an answer
    shown = [small.quantize(palette=palette, dither=Image.Dither.NONE) for small in shown]
    with disk.writing(Path("docs/live.gif")) as file:
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
    rows += [results.say({"of": "drawn"} | row) for row in measure(drawn_pages(names, DRAWN, SEED), lives, SEED)]
    rows += [results.say({"of": "nothing"} | row) for row in false_answers(lives, SEED, SCENES)]
    results.write(f"live_{what}", {}, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
