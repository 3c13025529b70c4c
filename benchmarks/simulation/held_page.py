"""Simulate webcam video of a page held by hand, and of scenes without writing."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

import pipeline.preprocessing.photo as photo_reading
from benchmarks.simulation import photographs, surroundings
from pipeline.live.frames import CAMERA_FPS, CAMERA_HEIGHT_PX, CAMERA_WIDTH_PX, Frame

STAGE_PX = 480  # simulated square in the middle of the frame, around the box
BOX_PX = 360
ARRIVAL_SECONDS, REST_SECONDS, DEPARTURE_SECONDS, ABSENCE_SECONDS = 0.5, 1.5, 0.4, 0.4


@dataclass
class Moment:
    """One frame and its ground truth."""

    frame: Frame
    resting: float  # seconds since the page came to rest; negative while it moves or is absent


class Hand:
    """The pose of a held page: smooth tremor in position, rotation and tilt."""

    def __init__(self, rng: np.random.Generator, strength: float = 1.0):
        self.center = rng.uniform(-25, 25, 2)  # pixels
        self.rotation, self.tilt = rng.uniform(-10, 10), rng.uniform(-0.1, 0.1, 2)
        self.amplitudes = rng.uniform(0.3, 1, (5, 3)) * np.array([[1.5, 1.5, 0.35, 0.004, 0.004]]).T * strength
        self.rates, self.phases = rng.uniform(0.5, 7, (5, 3)), rng.uniform(0, 2 * np.pi, (5, 3))
        angle = rng.uniform(0, 2 * np.pi)
        self.direction = np.array([np.cos(angle), np.sin(angle)])  # from which the page enters

    def homography(
        self, page: np.ndarray, scale: float, offset: float, time: float, size: tuple[int, int]
    ) -> np.ndarray:
        """Return the (3, 3) homography from page to frame pixels.

        Args:
            offset: 0 held in the box, 1 outside the frame.
        """
        x, y, rotation, *tilt = (self.amplitudes * np.sin(2 * np.pi * self.rates * time + self.phases)).sum(1)
        x, y = np.array([x, y]) + self.center + self.direction * offset * 900
        angle = np.radians(self.rotation + rotation + 15 * offset)
        tilt = (self.tilt + tilt) / BOX_PX
        height, width = page.shape[:2]
        to_origin = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        rotated = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        projection = np.eye(3)
        projection[:2, :2], projection[2, :2] = rotated, scale * tilt
        to_frame = np.array([[1, 0, size[0] / 2 + x], [0, 1, size[1] / 2 + y], [0, 0, 1]])
        return to_frame @ projection @ to_origin


class Scene:
    """A desk, its illumination and a camera."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int] = (STAGE_PX, STAGE_PX)):
        self.size, self.rng = size, rng
        self.desk = np.clip(surroundings.desk(np.full(size[::-1], 255, np.uint8), rng.uniform(4, 8), rng), 0, 255)
        self.desk = cv2.GaussianBlur(self.desk.astype(np.uint8), (0, 0), 2)
        lights = surroundings.Conditions(
            size=size, light=str(rng.choice(surroundings.LIGHTS)), tint=rng.uniform(-0.5, 0.5)
        )
        self.light = np.clip(255 * surroundings.light(lights, rng), 0, 255).astype(np.uint8)
        self.noise = [rng.normal(128, 40, (*size[::-1], 3)).clip(0, 255).astype(np.uint8) for _ in range(4)]
        self.noise_strength = rng.uniform(1, 6) / 40
        self.blur, self.light_drift = rng.uniform(0.4, 1.4), rng.uniform(0.05, 0.2)
        self.phase = rng.uniform(0, 2 * np.pi, 2)
        self.frame = np.full((CAMERA_HEIGHT_PX, CAMERA_WIDTH_PX, 3), 90, np.uint8)
        self.frame_number = 0

    def render(self, page: np.ndarray | None, homography: np.ndarray | None, speed: float) -> Frame:
        """Render the next frame, with a page (H, W, 3) uint8 or the bare desk.

        Args:
            speed: of the page in pixels per frame, for motion blur.
        """
        view = self.desk.copy()
        if page is not None:
            cv2.warpPerspective(page, homography, self.size, dst=view, borderMode=cv2.BORDER_TRANSPARENT)
        time = self.frame_number / CAMERA_FPS
        blur = self.blur * (1 + 0.4 * np.sin(2 * time + self.phase[0])) + 0.3 * speed
        view = cv2.GaussianBlur(view, (0, 0), min(blur, 8))
        gain = 1 + self.light_drift * np.sin(1.3 * time + self.phase[1])
        view = cv2.multiply(view, self.light, scale=gain / 255)
        noise = self.noise[self.frame_number % len(self.noise)]
        view = cv2.addWeighted(view, 1, noise, self.noise_strength, -128 * self.noise_strength)
        top, left = (CAMERA_HEIGHT_PX - self.size[1]) // 2, (CAMERA_WIDTH_PX - self.size[0]) // 2
        image = self.frame.copy()
        image[top : top + self.size[1], left : left + self.size[0]] = view
        self.frame_number += 1
        return Frame(image, self.frame_number - 1, time)


def video(page: np.ndarray, scene: Scene, rng: np.random.Generator) -> Iterator[Moment]:
    """Yield frames in which a page (H, W, 3) enters, rests, leaves and is absent."""
    hand = Hand(rng)
    scale = BOX_PX * rng.uniform(0.5, 0.95) / 400
    last_offset = 1.0
    for i in range(round((ARRIVAL_SECONDS + REST_SECONDS + DEPARTURE_SECONDS + ABSENCE_SECONDS) * CAMERA_FPS)):
        time = i / CAMERA_FPS
        since_rest = time - ARRIVAL_SECONDS
        offset = (
            max(0.0, 1 - time / ARRIVAL_SECONDS) ** 2
            if since_rest < 0
            else min(1.0, max(0.0, since_rest - REST_SECONDS) / DEPARTURE_SECONDS) ** 2
        )
        homography = hand.homography(page, scale, offset, scene.frame_number / CAMERA_FPS, scene.size)
        frame = scene.render(page if offset < 1 else None, homography, 900 * abs(offset - last_offset))
        last_offset = offset
        yield Moment(frame, since_rest if 0 <= since_rest < REST_SECONDS else -1.0)


def place_on_page(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crop the character of an image and pad it with the paper's color to a page.

    The longer side of the crop becomes 400 pixels.

    Returns:
        (H, W, 3) uint8.
    """
    image = photo_reading.as_uint8(image)
    x, y, width, height = photo_reading.Photo(image).character.box
    margin = round(0.2 * max(width, height))
    image = image[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    scale = 400 / max(image.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)
    paper_color = np.median(image.reshape(-1, 3), axis=0).tolist()
    pad_x, pad_y = rng.integers(20, 300, 2).tolist()
    return cv2.copyMakeBorder(image, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_CONSTANT, value=paper_color)


def synthetic_pages(names: list[str], count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield `count` labels and pages (H, W, 3) uint8, cycling through the names."""
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        conditions = photographs.Conditions.random(
            rng, size=(400, 400), fill=rng.uniform(0.45, 0.75), place=(0.5, 0.5), rotation=0, tilt=(0, 0), light="even",
            blur=0.0, noise=0.0, quality=100, edge=False, neighbors=False,
        )  # fmt: skip
        yield (
            names[i % len(names)],
            place_on_page(photographs.photograph([[names[i % len(names)]]], seed + i, conditions)[0], rng),
        )


def page_without_writing(rng: np.random.Generator) -> np.ndarray | None:
    """Return a page, wall or hand without writing, (H, W, 3) uint8; None: bare desk."""
    kind = rng.choice(["page", "ruled", "folded", "wall", "hand", "outline", "desk"])
    if kind == "desk":
        return None
    side = 900
    color = np.array(surroundings.PAPERS[str(rng.choice(list(surroundings.PAPERS)))], np.float32)
    image = np.ones((side, side, 1), np.float32) * color
    image *= 1 + 0.01 * surroundings.texture((side, side), 3, rng)[:, :, None]
    if kind == "ruled":
        step, width = int(rng.integers(30, 70)), int(rng.integers(1, 4))
        for position in range(0, side, step):
            image[position : position + width] = (205, 165, 130)
            if rng.random() < 0.5:
                image[:, position : position + width] = (205, 165, 130)
    if kind == "folded":
        shade = np.zeros((side, side), np.float32)
        for _ in range(rng.integers(1, 5)):
            angle, position = rng.uniform(0, np.pi), rng.uniform(-300, 300)
            y, x = np.mgrid[:side, :side] - side / 2
            distance = x * np.cos(angle) + y * np.sin(angle) - position
            shade += rng.uniform(-0.25, 0.25) * np.exp(-np.abs(distance) / rng.uniform(3, 60)) * np.sign(distance)
        image *= (1 + shade)[:, :, None]
    if kind == "wall":
        roughness = sum(surroundings.texture((side, side), float(grain), rng) for grain in rng.uniform(2, 60, 3))
        image *= (1 + rng.uniform(0.02, 0.15) * roughness)[:, :, None]
        if rng.random() < 0.5:  # bricks or boards
            for position in range(0, side, int(rng.integers(60, 200))):
                image[position : position + 5] *= 0.7
    if kind in ("hand", "outline"):
        mask = np.zeros((side, side), np.uint8)
        wrist, angle = np.array([450, 450]) + rng.uniform(-100, 100, 2), rng.uniform(0, 2 * np.pi)
        size = rng.uniform(1.2, 3)
        fingers = [(180, 250, 34), (0, 20, 46), (-15, 66, 12), (-4, 74, 13), (8, 70, 12), (20, 58, 11), (-50, 50, 14)]
        visible = [0, 1, *rng.permutation(np.arange(2, 7))[: rng.integers(1, 6)]]
        for degrees, length, thickness in (fingers[i] for i in visible):
            tip = wrist + size * length * np.array(
                [np.cos(angle + np.radians(degrees)), np.sin(angle + np.radians(degrees))]
            )
            cv2.line(
                mask, wrist.astype(int).tolist(), tip.astype(int).tolist(), 255, int(size * thickness), cv2.LINE_AA
            )
        if kind == "outline":
            mask = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
        skin = np.array([(110, 140, 200), (60, 90, 140), (40, 55, 80)][rng.integers(3)], np.float32)
        surroundings.blend(
            image, skin * (1 + 0.08 * surroundings.texture((side, side), 40, rng)[:, :, None]), mask / np.float32(255)
        )
    return np.clip(image, 0, 255).astype(np.uint8)
