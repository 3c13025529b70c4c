"""Simulate photographs of handwriting: pen, paper, light and camera.

They replace real photographs where the ground truth must be known: each comes with the bounding boxes of its
characters. The paper is measured in millimeters. The camera maps it to pixels, and everything is drawn in image
coordinates, so that nothing is resampled and a box is as exact as the ink's outline.
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
    """Simulate a photograph of rows of characters.

    Args:
        rows: names from TEMPLATES, such as [["7"]] or [["1", "2"], ["3"]].
        seed: the same arguments give the same bytes; the same seed under other conditions the same handwriting.

    Returns:
        (height, width, 3) uint8, blue, green, red; and the box of each character's ink, in reading order.
    """
    writer, scene, sensor = np.random.default_rng(seed).spawn(3)
    pen = PENS[conditions.pen]
    glyphs = lay_out(rows, conditions, writer)
    camera, scale = place_camera(glyphs, conditions, scene)

    image = sheet(glyphs, camera, scale, conditions, scene)
    layer = np.zeros(image.shape[:2], np.float32)
    radius = max(0.6, scale * pen.width / 2 * writer.uniform(0.85, 1.2))
    boxes = [draw_ink(layer, [camera(stroke) for stroke in glyph], radius, pen, writer) for glyph in glyphs]
    if conditions.neighbors:
        for glyph in neighboring_characters(boxes, conditions, scale * pen.letter_height, writer):
            draw_ink(layer, glyph, radius, pen, writer)
    # pencil and chalk mark mainly the peaks of the paper's texture, above all at low pressure
    grain = sum(texture(layer.shape, size * scale * max(1, pen.width), scene) for size in (0, 0.06, 0.15)) / 1.7
    layer *= np.clip(layer + 0.4 - pen.grain * (0.45 + 0.3 * grain), 0, 0.95)
    blend(image, pen.color, layer)
    for color in scene.choice([(40, 60, 80), (90, 120, 150), (60, 60, 60)], conditions.specks).tolist():
        spot, axes = scene.integers(conditions.size).tolist(), np.maximum(1, scale * scene.uniform(0.08, 0.3, 2))
        cv2.ellipse(image, spot, axes.astype(int).tolist(), scene.uniform(0, 180), 0, 360, color, -1)
    image *= light(conditions, scene)
    return expose(image, conditions, sensor), boxes


def lay_out(rows: Sequence[Sequence[str]], conditions: Conditions, rng: np.random.Generator) -> list[Glyph]:
    """Lay out the rows; return each character's strokes in mm, in reading order."""
    pen, pitch = PENS[conditions.pen], PATTERNS[conditions.pattern]
    step = 1.45 * pen.letter_height
    if pitch:
        step = pitch * np.ceil(step / pitch)  # people write on the printed lines
    glyphs = []
    for number, row in enumerate(rows):
        x = 0.4 * pen.letter_height * rng.random()
        for name in row:
            path = write_template(name, rng)
            points = np.concatenate(path)
            low, high = points.min(0), points.max(0)
            size = pen.letter_height * min(np.exp(0.06 * rng.standard_normal()), 1.12 / (high - low)[1])
            y = number * step - pen.letter_height / 2 + 0.04 * pen.letter_height * rng.standard_normal()
            corner = np.array([x - size * low[0], y - size * (low + high)[1] / 2])
            glyphs.append([size * stroke + corner for stroke in path])
            # ink is wider than its path; most gaps exceed the minimum
            ink_gap = pen.letter_height * conditions.gap * (1 + min(rng.exponential(0.8), 3))
            x += size * (high - low)[0] + 1.5 * pen.width + ink_gap
    return glyphs


def place_camera(glyphs: list[Glyph], conditions: Conditions, rng: np.random.Generator) -> tuple[Camera, float]:
    """Place the camera; return the map from paper to image and its pixels per mm."""
    points = np.concatenate([stroke for glyph in glyphs for stroke in glyph])
    points = np.concatenate([points - PENS[conditions.pen].width, points + PENS[conditions.pen].width])
    center, half_extent = (points.min(0) + points.max(0)) / 2, np.ptp(points, axis=0).max() / 2 / conditions.fill
    cos, sin = np.cos(np.radians(conditions.rotation)), np.sin(np.radians(conditions.rotation))
    size, phase = np.array(conditions.size), rng.uniform(0, np.pi)

    def project(points: np.ndarray) -> np.ndarray:
        x, y = ((points - center) / half_extent @ np.array([[cos, sin], [-sin, cos]])).T
        y = y + 2 * conditions.curl * np.sin(1.5 * x + phase)
        # perspective; the lower bound keeps all points in front of the camera
        return np.stack([x, y], axis=1) / np.maximum(1 + np.stack([x, y], axis=1) @ conditions.tilt, 0.15)[:, None]

    low, high = project(points).min(0), project(points).max(0)
    scale = conditions.fill * (size / (high - low)).min()
    corner = np.array(conditions.place) * (size - scale * (high - low)) - scale * low
    return lambda points: scale * project(points) + corner, scale / half_extent


def draw_ink(layer: np.ndarray, strokes: Glyph, radius: float, pen: Pen, rng: np.random.Generator) -> Box:
    """Draw strokes in pixels into a layer of opacity (H, W), 0 to 1; return the box."""
    path = np.concatenate(strokes)
    margin = int(2 * radius) + 2
    corner = np.floor(path.min(0)).astype(int) - margin
    width, height = np.ceil(path.max(0)).astype(int) + margin - corner
    zoom = int(np.ceil(6 / radius)) if radius < 6 else 1  # oversampling hides the aliasing of the path
    paper = np.full((height * zoom, width * zoom), 255, np.uint8)
    lines = [np.rint(16 * (zoom * (stroke - corner) - 0.5)).astype(np.int32) for stroke in strokes]
    cv2.polylines(paper, lines, isClosed=False, color=0, shift=4)
    distance = cv2.distanceTransform(paper, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # the pressure of the hand varies
    pressure = np.exp(0.12 * rng.standard_normal((5, 5), dtype=np.float32)).clip(0.75, 1.4)
    half_width = zoom * radius * cv2.resize(pressure, paper.shape[::-1], interpolation=cv2.INTER_LINEAR)
    soft = np.maximum(1, 0.6 * pen.grain * half_width)
    opacity = np.clip((half_width - distance) / soft + 0.5, 0, 1)
    opacity = cv2.resize(opacity, (width, height), interpolation=cv2.INTER_AREA)

    rows, columns = np.flatnonzero((opacity > 0.5).any(1)), np.flatnonzero((opacity > 0.5).any(0))
    x, y = int(corner[0] + columns[0]), int(corner[1] + rows[0])
    box = x, y, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    left, top = np.maximum(corner, 0)  # a neighbor's glyph may extend over the border
    place = layer[top : corner[1] + height, left : corner[0] + width]
    visible = opacity[top - corner[1] :, left - corner[0] :][: place.shape[0], : place.shape[1]]
    np.maximum(place, visible, out=place)
    return box


def neighboring_characters(
    boxes: list[Box], conditions: Conditions, letter_height: float, rng: np.random.Generator
) -> list[Glyph]:
    """Return characters half cut off by the image's border, in pixels.

    One on each side with enough space, except on the desk.
    """
    corners = np.array([[x, y, x + width, y + height] for x, y, width, height in boxes])
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    spaces = np.concatenate([low, conditions.size - high])
    glyphs = []
    for side, space in enumerate(spaces):
        on_desk = conditions.edge and side == spaces.argmax()
        if space > letter_height and not on_desk:
            place = (low + high) / 2
            place[side % 2] = [0, conditions.size[side % 2]][side // 2]
            path = write_template(str(rng.choice(list(TEMPLATES))), rng)
            glyphs.append([letter_height * stroke + place for stroke in path])
    return glyphs
