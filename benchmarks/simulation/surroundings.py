"""Simulate paper with printed lines, the desk around it, light and camera.

Everything is drawn in image coordinates, so that nothing is resampled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Glyph = list[np.ndarray]  # a character's strokes, each (T, 2): the pen's path, x and y, in millimetres or pixels
Camera = Callable[[np.ndarray], np.ndarray]  # millimetres (N, 2) to pixels (N, 2)


@dataclass(frozen=True)
class Pen:
    """A pen and the handwriting made with it."""

    width: float  # mm
    letter_height: float  # mm, the usual height of letters written with it
    color: tuple[int, int, int]  # blue, green, red
    grain: float  # 0: the ink covers the paper evenly; 1: only the peaks of its texture


PENS = {
    "pencil": Pen(0.5, 5.5, (84, 80, 78), 0.75),
    "blue ballpoint": Pen(0.5, 5.5, (148, 58, 36), 0.3),
    "black ballpoint": Pen(0.5, 5.5, (52, 44, 42), 0.3),
    "red ballpoint": Pen(0.55, 5.5, (62, 48, 190), 0.3),
    "green ballpoint": Pen(0.55, 5.5, (76, 118, 32), 0.3),
    "felt pen": Pen(1.1, 9, (46, 36, 34), 0.05),
    "marker": Pen(4.0, 28, (40, 32, 30), 0.1),
    "chalk": Pen(7.0, 70, (226, 232, 232), 1.0),
    "white pen": Pen(0.9, 8, (232, 238, 238), 0.15),
}
PAPERS = {
    "white": (232, 235, 235),
    "cream": (202, 226, 236),
    "gray": (196, 196, 194),
    "recycled": (166, 184, 192),
    "board": (62, 74, 50),
    "black": (46, 42, 42),
}
PATTERNS = {"plain": 0, "ruled": 8, "squared": 5, "dotted": 5}  # mm from line to line
LIGHTS = ["even", "slanting", "vignette", "lamp", "shadow"]


@dataclass(frozen=True)
class Conditions:
    """The content and conditions of a photograph; the defaults resemble a scan."""

    size: tuple[int, int] = (640, 480)  # pixels, width and height
    pen: str = "felt pen"
    paper: str = "white"
    pattern: str = "plain"
    fill: float = 0.6  # the writing's longer side as a share of the image's
    place: tuple[float, float] = (0.5, 0.5)  # of the writing: (0, 0) is the top left corner, (1, 1) the bottom right
    gap: float = 0.25  # minimum between adjacent characters as a share of their height; at 0.05 they nearly touch
    rotation: float = 0.0  # degrees, clockwise
    tilt: tuple[float, float] = (0.0, 0.0)  # 0.2: the right (or lower) border is 20 % further away than the middle
    curl: float = 0.0  # curvature of the paper: amplitude as a share of the image
    light: str = "even"
    tint: float = 0.0  # -1 cold to 1 warm
    blur: float = 0.0  # pixels, the standard deviation
    noise: float = 0.0  # gray levels, the standard deviation
    quality: int = 100  # JPEG's
    edge: bool = False  # the paper ends within the image, so that the desk is visible
    neighbors: bool = False  # other characters, cut off by the image's border
    specks: int = 0  # crumbs and dirt

    @classmethod
    def random(cls, rng: np.random.Generator, **fixed: object) -> "Conditions":
        """Draw conditions except the `fixed`; fix a light pen with a dark paper."""
        side = int(64 * 2 ** rng.uniform(0, 6))  # pixels, up to 4096
        size = [(side, side), (side, side * 3 // 4), (side * 3 // 4, side)][rng.integers(3)]
        size = fixed.get("size", (max(64, size[0]), max(64, size[1])))
        pen = fixed.get("pen", rng.choice(list(PENS)))
        papers = {"chalk": ["board"], "white pen": ["black"]}.get(pen, ["white", "white", "cream", "gray", "recycled"])
        conditions = {
            "size": size,
            "pen": str(pen),
            "paper": str(rng.choice(papers)),
            "pattern": "plain" if pen == "chalk" else str(rng.choice(list(PATTERNS))),
            "fill": rng.uniform(max(0.2, 24 / min(size)), 0.9),
            "place": tuple(rng.uniform(0.04, 0.96, 2).tolist()),
            "rotation": float(np.clip(rng.normal(0, 4), -10, 10)),
            "tilt": tuple(rng.uniform(-0.12, 0.12, 2).tolist()),
            "curl": rng.uniform(0, 0.012),
            "light": str(rng.choice(LIGHTS[1:])),
            "tint": rng.uniform(-1, 1),
            "blur": 0.4 + min(rng.exponential(0.0005), 0.002) * max(size),
            "noise": 1 + min(rng.exponential(2.5), 9),
            "quality": int(rng.integers(45, 96)),
            "edge": rng.random() < 0.35,
            "neighbors": rng.random() < 0.25,
            "specks": int(rng.integers(0, 12)) * int(rng.random() < 0.5),
        }
        return cls(**(conditions | fixed))


def texture(shape: Sequence[int], grain: float | tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise (H, W) float32: deviation about 1, scale `grain` pixels."""
    coarse = [int(side / max(size, 1)) + 2 for side, size in zip(shape, np.broadcast_to(grain, 2), strict=True)]
    return cv2.resize(rng.standard_normal(coarse, dtype=np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)


def blend(image: np.ndarray, color: Sequence[float] | np.ndarray, opacity: np.ndarray) -> None:
    """Blend a color into an image (H, W, 3) in place; opacity (H, W), 0 to 1."""
    color = np.broadcast_to(np.asarray(color, np.float32), image.shape)
    for top in range(0, len(image), 32):  # strips fit the cache: three times faster on large images
        strip = slice(top, top + 32)
        if opacity[strip].any():
            image[strip] += opacity[strip, :, None] * (color[strip] - image[strip])


def sheet(
    glyphs: list[Glyph], camera: Camera, scale: float, conditions: Conditions, rng: np.random.Generator
) -> np.ndarray:
    """Render paper with printed lines and the desk around: (H, W, 3) float32."""
    width, height = conditions.size
    shape = (height, width)
    fibers = 0.006 * texture(shape, 1, rng) + 0.007 * texture(shape, 0.5 * scale, rng)
    fibers += 0.01 * texture(shape, 15 * scale, rng)
    image = (1 + fibers)[:, :, None] * np.array(PAPERS[conditions.paper], np.float32)
    if conditions.paper == "recycled":
        for color, level in [((70, 84, 96), 2.6), ((225, 228, 230), 2.4)]:
            blend(image, color, 0.8 * np.clip(texture(shape, 0.35 * scale, rng) - level, 0, 1))
    if conditions.paper == "board":  # chalk dust left by wiping
        dust = texture(shape, (20 * scale, 60 * scale), rng) + texture(shape, (60 * scale, 150 * scale), rng)
        blend(image, (190, 196, 190), np.clip(0.07 + 0.04 * dust, 0, 1))

    points = np.concatenate([stroke for glyph in glyphs for stroke in glyph])
    low, high = points.min(0), points.max(0)
    distance = 4 * (high - low).max() / conditions.fill  # mm, outside the image

    def project_line(axis: int, position: float) -> np.ndarray:
        """Project x = position (axis 0) or y = position (axis 1), in 1/16 pixels."""
        line = np.full((100, 2), position)
        line[:, 1 - axis] = np.linspace(-distance, distance, 100)
        return np.rint(16 * camera(line)).astype(np.int32)

    def draw_lines(lines: list[np.ndarray], width: float, color: tuple[int, int, int]) -> None:
        mask = np.zeros(shape, np.uint8)
        cv2.polylines(mask, lines, False, 255, max(1, round(width * scale)), cv2.LINE_AA, shift=4)
        blend(image, color, mask * np.float32(0.65 * min(1, width * scale) / 255))

    if pitch := PATTERNS[conditions.pattern]:
        ticks = pitch * np.arange(-(distance // pitch), distance // pitch)
        across, down = ([project_line(axis, tick) for tick in ticks] for axis in (1, 0))
    if conditions.pattern == "ruled":
        draw_lines(across, 0.25, (205, 165, 130))
        draw_lines([project_line(0, low[0] - rng.uniform(4, 12))], 0.3, (120, 110, 215))
    elif conditions.pattern == "squared":
        draw_lines(across + down, 0.2, [(205, 165, 130), (170, 165, 160)][rng.integers(2)])
    elif conditions.pattern == "dotted":
        dots = camera(np.stack(np.meshgrid(ticks, ticks), axis=2).reshape(-1, 2))
        dots = np.rint(16 * dots[((dots > 0) & (dots < conditions.size)).all(1)]).astype(np.int32)
        draw_lines([np.stack([dot, dot + 1]) for dot in dots], 0.45, (150, 145, 140))

    if conditions.edge:
        # on the side with the most space between the writing and the image's border
        projected = camera(points)
        space = np.concatenate([projected.min(0), conditions.size - projected.max(0)])  # left, top, right, bottom
        axis, sign = space.argmax() % 2, space.argmax() // 2 * 2 - 1
        end = (high if sign > 0 else low)[axis] + sign * rng.uniform(0.35, 0.7) * space.max() / scale
        desk_mask = np.zeros(shape, np.uint8)
        outline = np.concatenate([project_line(axis, end), project_line(axis, sign * distance)[::-1]])
        cv2.fillPoly(desk_mask, [outline], 255, cv2.LINE_AA, shift=4)
        if desk_mask.any():  # the edge of a rotated page may lie outside the image
            x, y, width, height = cv2.boundingRect(desk_mask)
            part = slice(y, y + height), slice(x, x + width)
            blend(image[part], desk(desk_mask[part], scale, rng), desk_mask[part] * np.float32(1 / 255))
    return image


def desk(desk_mask: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Render the desk (H, W, 3) float32 with the shadow of the paper.

    The paper lies where `desk_mask` is 0.
    """
    shape, kind = desk_mask.shape, rng.choice(["wood", "cloth", "steel"])
    shade, color = 0.97 + 0.03 * texture(shape, 1, rng), (106, 104, 98)
    if kind == "wood":
        color = (62, 98, 142)
        shade += 0.1 * (texture(shape, (0.8 * scale, 40 * scale), rng) + texture(shape, (4 * scale, 90 * scale), rng))
    if kind == "cloth":
        color = (118, 84, 70)
        shade += 0.08 * texture(shape, 0.5 * scale, rng)
        for axis in (0, 1):  # checks of 3 mm
            stripe = np.sin(np.arange(shape[axis]) / scale) > 0
            shade += np.expand_dims(0.25 * stripe.astype(np.float32) - 0.1, 1 - axis)
    # the shadow's edge is about 2 mm wide, so it is computed at low resolution
    zoom = min(1, 2.5 / scale)
    small = cv2.resize(desk_mask, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    lighting = cv2.resize(cv2.GaussianBlur(small, (0, 0), 2), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return (shade * (0.4 + 0.6 / 255 * lighting))[:, :, None] * np.array(color, np.float32)


def light(conditions: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Return the BGR illumination: (H, W, 3) float32, about 1 at its maximum."""
    y, x = np.mgrid[-1:1:120j, -1:1:160j]
    angle, (u, v) = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6, 2)
    field = np.ones_like(x)
    if conditions.light != "even":  # real light is never even
        field -= 0.06 * (1 + x * np.cos(angle) + y * np.sin(angle))
    if conditions.light == "slanting":
        field *= 0.75 + 0.25 * (x * np.cos(angle) + y * np.sin(angle))
    if conditions.light == "vignette":
        field /= (1 + 0.15 * (x**2 + y**2)) ** 2
    if conditions.light == "lamp":
        field *= 0.55 + 0.5 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 0.9)
    if conditions.light == "shadow":  # of a hand in front of the light
        shade, wrist = np.zeros(x.shape, np.uint8), np.array([80 + 60 * u, 60 + 60 * v])
        # degrees relative to the arm, length, thickness: the arm, the palm, four fingers and the thumb
        hand = [(180, 250, 34), (0, 20, 46), (-15, 66, 12), (-4, 74, 13), (8, 70, 12), (20, 58, 11), (-50, 50, 14)]
        for rotation, length, thickness in hand:
            direction = angle + np.radians(rotation)
            tip = wrist + length * np.array([np.cos(direction), np.sin(direction)])
            cv2.line(shade, wrist.astype(int).tolist(), tip.astype(int).tolist(), 255, thickness)
        field *= 1 - 0.42 * cv2.GaussianBlur(shade, (0, 0), rng.uniform(2, 6)) / 255
    tinted = field[:, :, None] * np.exp(conditions.tint * np.array([-0.1, -0.01, 0.05]))
    return cv2.resize(tinted.astype(np.float32), conditions.size, interpolation=cv2.INTER_LINEAR)


def expose(image: np.ndarray, conditions: Conditions, rng: np.random.Generator) -> np.ndarray:
    """Apply the camera's blur, noise and JPEG compression; return (H, W, 3) uint8."""
    if conditions.blur:
        image = cv2.GaussianBlur(image, (0, 0), conditions.blur)
    if conditions.noise:
        image += conditions.noise * rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
    np.clip(np.rint(image, out=image), 0, 255, out=image)
    encoded = cv2.imencode(".jpg", image.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, conditions.quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)
