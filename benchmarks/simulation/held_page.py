"""Videos of a page held by hand in front of a webcam, and of scenes without writing, made frame by frame."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

import pipeline.preprocessing.photo as photo_reading
from benchmarks.simulation import photographs, surroundings
from pipeline.live.frames import CAMERA_FPS, CAMERA_HEIGHT_PX, CAMERA_WIDTH_PX, Frame

STAGE_PX = 480  # pixels: the part of the frame, around the box, in which things happen
BOX_PX = 360  # pixels
ARRIVAL_SECONDS, REST_SECONDS, DEPARTURE_SECONDS, ABSENCE_SECONDS = 0.5, 1.5, 0.4, 0.4  # seconds


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
        tilt = (self.tilt + tilt) / BOX_PX
        height, width = page.shape[:2]
        to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        seen = np.eye(3)
        seen[:2, :2], seen[2, :2] = turned, scale * tilt
        to_place = np.array([[1, 0, size[0] / 2 + x], [0, 1, size[1] / 2 + y], [0, 0, 1]])
        return to_place @ seen @ to_middle


class Scene:
    """A desk, its light and a camera."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int] = (STAGE_PX, STAGE_PX)):
        self.size, self.rng = size, rng
        self.desk = np.clip(surroundings.desk(np.full(size[::-1], 255, np.uint8), rng.uniform(4, 8), rng), 0, 255)
        self.desk = cv2.GaussianBlur(self.desk.astype(np.uint8), (0, 0), 2)
        lights = surroundings.Conditions(
            size=size, light=str(rng.choice(surroundings.LIGHTS)), tint=rng.uniform(-0.5, 0.5)
        )
        self.light = np.clip(255 * surroundings.light(lights, rng), 0, 255).astype(np.uint8)
        self.noise = [rng.normal(128, 40, (*size[::-1], 3)).clip(0, 255).astype(np.uint8) for _ in range(4)]
        self.loudness = rng.uniform(1, 6) / 40
        self.blur, self.drift = rng.uniform(0.4, 1.4), rng.uniform(0.05, 0.2)
        self.phase = rng.uniform(0, 2 * np.pi, 2)
        self.frame = np.full((CAMERA_HEIGHT_PX, CAMERA_WIDTH_PX, 3), 90, np.uint8)
        self.number = 0

    def shoot(self, page: np.ndarray | None, where: np.ndarray | None, speed: float) -> Frame:
        """The next frame, of a page (H, W, 3) uint8 laid by a (3, 3) map, moving by `speed` pixels in a frame."""
        seen = self.desk.copy()
        if page is not None:
            cv2.warpPerspective(page, where, self.size, dst=seen, borderMode=cv2.BORDER_TRANSPARENT)
        at = self.number / CAMERA_FPS
        blur = self.blur * (1 + 0.4 * np.sin(2 * at + self.phase[0])) + 0.3 * speed
        seen = cv2.GaussianBlur(seen, (0, 0), min(blur, 8))
        gain = 1 + self.drift * np.sin(1.3 * at + self.phase[1])
        seen = cv2.multiply(seen, self.light, scale=gain / 255)
        noise = self.noise[self.number % len(self.noise)]
        seen = cv2.addWeighted(seen, 1, noise, self.loudness, -128 * self.loudness)
        top, left = (CAMERA_HEIGHT_PX - self.size[1]) // 2, (CAMERA_WIDTH_PX - self.size[0]) // 2
        picture = self.frame.copy()
        picture[top : top + self.size[1], left : left + self.size[0]] = seen
        self.number += 1
        return Frame(picture, self.number - 1, at)


def held(page: np.ndarray, scene: Scene, rng: np.random.Generator) -> Iterator[Moment]:
    """A page comes, rests, goes and stays away for a moment."""
    hand = Hand(rng)
    scale = BOX_PX * rng.uniform(0.5, 0.95) / 400
    before = 1.0
    for i in range(round((ARRIVAL_SECONDS + REST_SECONDS + DEPARTURE_SECONDS + ABSENCE_SECONDS) * CAMERA_FPS)):
        at = i / CAMERA_FPS
        rest = at - ARRIVAL_SECONDS
        away = (
            max(0.0, 1 - at / ARRIVAL_SECONDS) ** 2
            if rest < 0
            else min(1.0, max(0.0, rest - REST_SECONDS) / DEPARTURE_SECONDS) ** 2
        )
        where = hand.map(page, scale, away, scene.number / CAMERA_FPS, scene.size)
        frame = scene.shoot(page if away < 1 else None, where, 900 * abs(away - before))
        before = away
        yield Moment(frame, rest if 0 <= rest < REST_SECONDS else -1.0)


def on_page(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The character of a picture, cut out of it and at most 400 pixels long, in the middle of a page of its color."""
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
        conditions = photographs.Conditions.random(
            rng, size=(400, 400), fill=rng.uniform(0.45, 0.75), place=(0.5, 0.5), turn=0, tilt=(0, 0), light="even",
            blur=0.0, noise=0.0, quality=100, edge=False, neighbours=False,
        )  # fmt: skip
        yield (
            names[i % len(names)],
            on_page(photographs.photograph([[names[i % len(names)]]], seed + i, conditions)[0], rng),
        )


def no_writing(rng: np.random.Generator) -> np.ndarray | None:
    """A page, a wall, a hand: (H, W, 3) uint8 without writing; None: the desk alone."""
    kind = rng.choice(["page", "ruled", "folded", "wall", "hand", "outline", "desk"])
    if kind == "desk":
        return None
    side = 900
    tone = np.array(surroundings.PAPERS[str(rng.choice(list(surroundings.PAPERS)))], np.float32)
    picture = np.ones((side, side, 1), np.float32) * tone
    picture *= 1 + 0.01 * surroundings.texture((side, side), 3, rng)[:, :, None]
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
        rough = sum(surroundings.texture((side, side), float(grain), rng) for grain in rng.uniform(2, 60, 3))
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
        surroundings.blend(
            picture, skin * (1 + 0.08 * surroundings.texture((side, side), 40, rng)[:, :, None]), mask / np.float32(255)
        )
    return np.clip(picture, 0, 255).astype(np.uint8)
