"""Synthetic handwritten digits, Greek and Latin letters: training data where there is none to download.

A class is a list of templates (stroke_templates.json), a template one or more strokes, a stroke a short list of control
points. Each drawing picks a template, a writer with a slant, a stretch and a tremor, and a pen. A network of
train_mnist.py's kind that was trained on 60,000 drawings only classifies 98 % of MNIST's validation split correctly.

The templates were made and corrected by hand over that split's mistakes, the pen by comparing the amount of ink; no
image of MNIST was traced or fitted. The letters use the digits' pen and writers with less tremor. Real letters were at
hand for alpha, beta and gamma only; the other 21 and the Latin ones follow printed forms and common handwriting. The
Latin letters are there for a digit network to decline, and none is meant to look like a digit.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.datasets.stroke_templates import DIGITS, TEMPLATES
from pipeline.preprocessing.mnist_format import BOX_SIZE, IMAGE_SIZE, center_ink

RENDER_SCALE = 2.4  # pixels of the paper for each of MNIST's; a whole number would leave only a few gray values
CANVAS_SIZE_PX = 72  # pixels, the side of the sheet: the box and room for the widest pen around it
SUBPIXEL_BITS = 4  # bits: cv2.polylines takes coordinates in sixteenths of a pixel
DIGIT_TREMOR = 0.04  # of the glyph's size, the usual error of a control point; MNIST's writers filled in forms in haste
LETTER_TREMOR = 0.03  # the same for letters: they have more points to go wrong at and closer neighbours to be taken for
PEN_WIDTH_PX = 2.25  # of MNIST's pixels, the width of the usual line
PEN_WIDTH_SPREAD, RARE_PEN_WIDTH_SPREAD = (
    0.28,
    0.45,
)  # of the width's logarithm among MNIST's pens, and among fine and broad ones
CURVE_STEPS = np.linspace(0, 1, 6)[:, None]  # along the piece of curve that belongs to one control point


def spline(points: np.ndarray) -> np.ndarray:
    """Quadratic uniform B-splines, end to end, of N strokes of K control points: (N, K, 2) -> (N, 6K, 2)."""
    padded = np.concatenate([points[:, :1], points, points[:, -1:]], axis=1)
    before, here, after = padded[:, :-2, None], padded[:, 1:-1, None], padded[:, 2:, None]
    curve = (1 - CURVE_STEPS) ** 2 * before + (1 + 2 * CURVE_STEPS - 2 * CURVE_STEPS**2) * here + CURVE_STEPS**2 * after
    return (curve / 2).reshape(len(points), -1, 2)


def write_glyph(way: str, count: int, rng: np.random.Generator, tremor: float = DIGIT_TREMOR) -> list[np.ndarray]:
    """Write one way once by each of `count` writers, whose hands are more or less steady around `tremor`.

    Returns:
        per stroke (count, T, 2) float: the pen's path, x and y, in a glyph about 1 high around the origin.
    """

    def vary(spread: float, *shape: int) -> np.ndarray:
        return spread * rng.standard_normal((count, *shape))

    strokes = [np.array([[int(digit) for digit in point] for point in stroke.split()]) for stroke in way.split("/")]
    corners = np.concatenate(strokes)
    middle = (corners.min(0) + corners.max(0)) / 2
    trembling, haste = tremor * np.exp(vary(0.4, 1, 1)), 0.3 * rng.random((count, 1, 1))
    curves = []
    for stroke in strokes:
        points = (stroke - middle) / 9 + vary(0.03, 1, 2) + trembling * vary(1, *stroke.shape)
        points[:, [0, -1]] += trembling * vary(1, 2, 2)  # a pen lands and lifts less surely than it runs
        # haste rounds off what lies between two points
        shortcut = (points[:, :-2] + points[:, 2:]) / 2
        points[:, 1:-1] += haste * (shortcut - points[:, 1:-1])
        curves.append(spline(points))

    x, y = np.moveaxis(np.concatenate(curves, axis=1), 2, 0)  # (count, T) each
    # proportions: a wider or higher top, a fuller side
    x, y = x * (1 + vary(0.3, 1) * y) + vary(0.15, 1) * x**2, y + vary(0.25, 1) * (0.25 - y**2)
    # elastic drift: one slow wave along each axis
    phase = 2 * np.pi * rng.random((2, count, 1))
    x, y = x + vary(0.03, 1) * np.sin(6 * y + phase[0]), y + vary(0.03, 1) * np.sin(6 * x + phase[1])
    # width and slant, mostly to the right, then the turn of the paper
    x = x * np.exp(vary(0.24, 1)) - y * (0.14 + vary(0.26, 1))
    turn = vary(0.08, 1)
    path = np.stack([x - turn * y, y + turn * x], axis=2)
    return np.split(path, np.cumsum([curve.shape[1] for curve in curves])[:-1], axis=1)


def write_template(name: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Write a character in one of its ways: per stroke (T, 2) float, in a glyph about 1 high around the origin."""
    frequencies, ways = zip(*TEMPLATES[name], strict=True)
    pick = rng.choice(len(ways), p=np.array(frequencies) / sum(frequencies))
    return [stroke[0] for stroke in write_glyph(ways[pick], 1, rng)]


def render(strokes: list[np.ndarray], rng: np.random.Generator, spread: float = PEN_WIDTH_SPREAD) -> np.ndarray:
    """Ink the paths of N glyphs, each with its own pen: (N, T, 2) per stroke -> (N, 28, 28) uint8."""
    path = np.concatenate(strokes, axis=1)
    low, high = path.min(1), path.max(1)
    # the line's width in MNIST's pixels, and the pressure that lets it swell and thin across the paper
    width = np.clip(PEN_WIDTH_PX * np.exp(spread * rng.standard_normal(len(path))), 1.2, 6)
    pressure = np.exp(0.25 * rng.standard_normal((len(path), 4, 4)))
    radii = (RENDER_SCALE / 2 * width[:, None, None] * pressure).astype(np.float32)
    scale = RENDER_SCALE * (BOX_SIZE - width) / (high - low).max(1)
    shift = CANVAS_SIZE_PX / 2 - scale[:, None] * (low + high) / 2
    strokes = [scale[:, None, None] * stroke + shift[:, None] for stroke in strokes]
    strokes = [np.rint(stroke * 2**SUBPIXEL_BITS).astype(np.int32) for stroke in strokes]

    pictures = np.empty((len(path), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for i in range(len(path)):
        paper = np.full((CANVAS_SIZE_PX, CANVAS_SIZE_PX), 255, np.uint8)
        cv2.polylines(paper, [stroke[i] for stroke in strokes], isClosed=False, color=0, shift=SUBPIXEL_BITS)
        # inked is what lies within the pen's radius of the path; cv2 by itself draws only widths of 1, 3, 5
        distance = cv2.distanceTransform(paper, cv2.DIST_L2, 3)
        radius = cv2.resize(radii[i], (CANVAS_SIZE_PX, CANVAS_SIZE_PX))
        pictures[i] = center_ink(cv2.compare(distance, radius, cv2.CMP_LT))
    return pictures


def draw_characters(names: Sequence[str], seed: int, rare: bool = False) -> np.ndarray:
    """Draw one glyph per name, each by another writer.

    Args:
        names: N keys of TEMPLATES, such as "7" or "gamma".
        seed: the same names and seed give the same bytes.
        rare: every way of writing a character is as frequent as any other, and so are fine and broad pens.

    Returns:
        (N, 28, 28) uint8, white ink on black, in MNIST's size and place.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(names)
    pictures = np.empty((len(names), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for name in np.unique(names):
        frequencies, ways = zip(*TEMPLATES[name], strict=True)
        frequencies = np.ones(len(ways)) if rare else np.array(frequencies)
        places = np.flatnonzero(names == name)
        tremor = DIGIT_TREMOR if name in DIGITS else LETTER_TREMOR
        picks = rng.choice(len(ways), len(places), p=frequencies / frequencies.sum())
        for pick in np.unique(picks):
            picked = places[picks == pick]
            pictures[picked] = render(
                write_glyph(ways[pick], len(picked), rng, tremor),
                rng,
                RARE_PEN_WIDTH_SPREAD if rare else PEN_WIDTH_SPREAD,
            )
    return pictures


def draw_digits(count: int, seed: int, rare: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Draw balanced, shuffled classes: pictures (count, 28, 28) uint8, labels (count,) int64 from 0 to 9."""
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 10)
    return draw_characters([str(label) for label in labels], seed, rare), labels
