"""Photographs of handwriting, drawn: a pen writes on paper, light falls on it, a camera looks at it.

They stand in for real photographs wherever the truth must be known: each comes with the boxes of its characters.
The paper is measured in millimetres. The camera maps it onto pixels, and everything is drawn right where it is
seen, lines and ink alike, so nothing is ever resampled and a box is as exact as the ink's outline.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.simulation.surroundings import (
    PATTERNS,
    PENS,
    Camera,
    Conditions,
    Glyph,
    Pen,
    blend,
    expose,
    light,
    sheet,
    texture,
)
from pipeline.datasets.stroke_templates import TEMPLATES
from pipeline.datasets.synthetic import write_template

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


def photograph(rows: Sequence[Sequence[str]], seed: int, conditions: Conditions) -> tuple[np.ndarray, list[Box]]:
    """Write rows of characters and take their picture.

    Args:
        rows: of names from TEMPLATES, such as [["7"]] or [["1", "2"], ["3"]].
        seed: the same arguments give the same bytes; the same seed under other conditions the same handwriting.

    Returns:
        (height, width, 3) uint8, blue, green, red; and the box of each character's ink, in reading order.
    """
    writer, scene, sensor = np.random.default_rng(seed).spawn(3)
    pen = PENS[conditions.pen]
    glyphs = lay_out(rows, conditions, writer)
    camera, scale = aim(glyphs, conditions, scene)

    picture = sheet(glyphs, camera, scale, conditions, scene)
    layer = np.zeros(picture.shape[:2], np.float32)
    radius = max(0.6, scale * pen.width / 2 * writer.uniform(0.85, 1.2))
    boxes = [ink(layer, [camera(stroke) for stroke in glyph], radius, pen, writer) for glyph in glyphs]
    if conditions.neighbours:
        for glyph in strangers(boxes, conditions, scale * pen.letter, writer):
            ink(layer, glyph, radius, pen, writer)
    # pencil and chalk catch on the peaks of the paper, the more so where they press less
    grain = sum(texture(layer.shape, size * scale * max(1, pen.width), scene) for size in (0, 0.06, 0.15)) / 1.7
    layer *= np.clip(layer + 0.4 - pen.grain * (0.45 + 0.3 * grain), 0, 0.95)
    blend(picture, pen.color, layer)
    for color in scene.choice([(40, 60, 80), (90, 120, 150), (60, 60, 60)], conditions.specks).tolist():
        spot, axes = scene.integers(conditions.size).tolist(), np.maximum(1, scale * scene.uniform(0.08, 0.3, 2))
        cv2.ellipse(picture, spot, axes.astype(int).tolist(), scene.uniform(0, 180), 0, 360, color, -1)
    picture *= light(conditions, scene)
    return expose(picture, conditions, sensor), boxes


def lay_out(rows: Sequence[Sequence[str]], conditions: Conditions, rng: np.random.Generator) -> list[Glyph]:
    """Write rows on the paper: per character, in reading order, its strokes in millimetres."""
    pen, pitch = PENS[conditions.pen], PATTERNS[conditions.pattern]
    step = 1.45 * pen.letter
    if pitch:
        step = pitch * np.ceil(step / pitch)  # who has lines keeps to them
    glyphs = []
    for number, row in enumerate(rows):
        x = 0.4 * pen.letter * rng.random()
        for name in row:
            path = write_template(name, rng)
            points = np.concatenate(path)
            low, high = points.min(0), points.max(0)
            size = pen.letter * min(np.exp(0.06 * rng.standard_normal()), 1.12 / (high - low)[1])
            y = number * step - pen.letter / 2 + 0.04 * pen.letter * rng.standard_normal()
            corner = np.array([x - size * low[0], y - size * (low + high)[1] / 2])
            glyphs.append([size * stroke + corner for stroke in path])
            # ink is wider than its path; gaps differ, and most are not the smallest
            ink_gap = pen.letter * conditions.gap * (1 + min(rng.exponential(0.8), 3))
            x += size * (high - low)[0] + 1.5 * pen.width + ink_gap
    return glyphs


def aim(glyphs: list[Glyph], conditions: Conditions, rng: np.random.Generator) -> tuple[Camera, float]:
    """Find where to stand: the map from the paper to the picture, and its pixels per millimetre."""
    points = np.concatenate([stroke for glyph in glyphs for stroke in glyph])
    points = np.concatenate([points - PENS[conditions.pen].width, points + PENS[conditions.pen].width])
    middle, reach = (points.min(0) + points.max(0)) / 2, np.ptp(points, axis=0).max() / 2 / conditions.fill
    cos, sin = np.cos(np.radians(conditions.turn)), np.sin(np.radians(conditions.turn))
    size, phase = np.array(conditions.size), rng.uniform(0, np.pi)

    def look(points: np.ndarray) -> np.ndarray:
        x, y = ((points - middle) / reach @ np.array([[cos, sin], [-sin, cos]])).T
        y = y + 2 * conditions.curl * np.sin(1.5 * x + phase)
        # what lies further away is smaller; nothing lies behind the camera
        return np.stack([x, y], axis=1) / np.maximum(1 + np.stack([x, y], axis=1) @ conditions.tilt, 0.15)[:, None]

    low, high = look(points).min(0), look(points).max(0)
    scale = conditions.fill * (size / (high - low)).min()
    corner = np.array(conditions.place) * (size - scale * (high - low)) - scale * low
    return lambda points: scale * look(points) + corner, scale / reach


def ink(layer: np.ndarray, strokes: Glyph, radius: float, pen: Pen, rng: np.random.Generator) -> Box:
    """Run a pen along paths in pixels: add its cover, 0 to 1, to the layer (H, W), and say where ink is."""
    path = np.concatenate(strokes)
    margin = int(2 * radius) + 2
    corner = np.floor(path.min(0)).astype(int) - margin
    width, height = np.ceil(path.max(0)).astype(int) + margin - corner
    zoom = int(np.ceil(6 / radius)) if radius < 6 else 1  # so that the path's own jagged line does not show
    paper = np.full((height * zoom, width * zoom), 255, np.uint8)
    lines = [np.rint(16 * (zoom * (stroke - corner) - 0.5)).astype(np.int32) for stroke in strokes]
    cv2.polylines(paper, lines, isClosed=False, color=0, shift=4)
    distance = cv2.distanceTransform(paper, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # the hand presses now more, now less
    pressure = np.exp(0.12 * rng.standard_normal((5, 5), dtype=np.float32)).clip(0.75, 1.4)
    reach = zoom * radius * cv2.resize(pressure, paper.shape[::-1], interpolation=cv2.INTER_LINEAR)
    soft = np.maximum(1, 0.6 * pen.grain * reach)
    cover = np.clip((reach - distance) / soft + 0.5, 0, 1)
    cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)

    rows, columns = np.flatnonzero((cover > 0.5).any(1)), np.flatnonzero((cover > 0.5).any(0))
    x, y = int(corner[0] + columns[0]), int(corner[1] + rows[0])
    box = x, y, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    left, top = np.maximum(corner, 0)  # a stranger's glyph hangs over the border
    place = layer[top : corner[1] + height, left : corner[0] + width]
    seen = cover[top - corner[1] :, left - corner[0] :][: place.shape[0], : place.shape[1]]
    np.maximum(place, seen, out=place)
    return box


def strangers(boxes: list[Box], conditions: Conditions, letter: float, rng: np.random.Generator) -> list[Glyph]:
    """What else was written, on each side with room for it, half cut off by the picture's border; in pixels."""
    corners = np.array([[x, y, x + width, y + height] for x, y, width, height in boxes])
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    rooms = np.concatenate([low, conditions.size - high])
    glyphs = []
    for side, room in enumerate(rooms):
        on_desk = conditions.edge and side == rooms.argmax()
        if room > letter and not on_desk:
            place = (low + high) / 2
            place[side % 2] = [0, conditions.size[side % 2]][side // 2]
            path = write_template(str(rng.choice(list(TEMPLATES))), rng)
            glyphs.append([letter * stroke + place for stroke in path])
    return glyphs
