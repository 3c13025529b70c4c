"""Handwritten digits drawn from pen strokes: what the scripts train on where MNIST cannot be downloaded.

A class is a table of the ways people write it, a way is one or more strokes, a stroke is a short list of
control points. Every drawing picks a way, a writer, who slants, stretches, hurries and trembles, and a pen.
A network of train_mnist.py's kind that saw only 60,000 drawings reads 98 % of the real digits in MNIST's
validation split. The ways were set down and mended by hand over that split's mistakes, the pen by comparing
the amount of ink; no picture of MNIST was traced or fitted.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from preprocess import BOX, SIDE, center_ink

# name: ways to write it, each with how often it is picked. A point is two figures: x from 0 (left), y from 0
# (top) to 9 (foot); a slash lifts the pen. The pen runs through the middles between neighbouring points, and
# through a point itself where it begins, ends, or where the point stands twice: a corner.
SKELETONS = {
    "0": [
        (4, "30 10 03 06 19 49 66 63 50 20"),
        (4, "40 10 03 06 19 69 86 83 60 20"),
        (4, "51 20 02 06 29 48 65 62 40 11"),
        (1, "12 04 07 39 59 65 62 40 30"),
        (2, "41 10 03 07 29 59 65 62 52"),
        (2, "52 20 02 07 39 68 63 40 23"),
        (2, "12 40 63 66 49 19 06 03 20 40"),
    ],
    "1": [
        (12, "30 39"),
        (2, "30 33 36 29"),
        (1, "30 24 39"),
        (3, "22 30 30 39"),
        (1, "12 30 30 39 / 19 49"),
        (1, "12 30 30 39 / 09 69"),
    ],
    "2": [
        (4, "02 10 50 63 36 09 09 79"),
        (3, "02 10 50 63 36 19 08 07 27 58 79"),
        (3, "02 20 60 63 46 29 09 06 36 68 88"),
        (3, "03 11 40 62 54 27 08 06 26 57 79"),
        (2, "02 10 50 63 37 09 09 48 78"),
        (2, "02 20 50 53 46 18 07 06 26 47 59"),
        (2, "11 30 42 25 08 08 59 88"),
        (2, "20 40 44 37 08 07 38 59"),
        (3, "02 20 60 64 48 19 07 05 35 67 77"),
        (1, "11 30 43 46 19 07 16 47 69"),
        (2, "00 70 60 09 09 79"),
        (2, "03 20 51 53 27 08 08 48 87"),
        (2, "12 20 40 43 26 09 09 49"),
    ],
    "3": [
        (4, "01 20 50 63 24 24 64 68 39 19 07"),
        (2, "00 60 60 24 24 54 67 49 19 08"),
        (2, "01 20 60 63 34 24 35 54 67 49 09 07"),
        (3, "02 20 60 63 24 64 68 39 07"),
        (3, "01 20 50 43 24 24 65 68 29 08"),
        (1, "12 01 20 50 62 34 24 64 68 39 08 17"),
        (2, "02 20 50 53 24 24 54 57 49 28"),
        (2, "01 30 60 43 24 24 54 77 49 08"),
        (1, "02 20 50 52 34 24 55 68 49 18 07 27"),
        (3, "01 30 50 52 34 34 55 57 39 18"),
    ],
    "4": [
        (4, "10 05 05 65 / 50 49"),
        (4, "10 04 25 54 60 60 39"),
        (2, "40 05 05 65 / 40 49"),
        (3, "20 05 05 66 / 52 49"),
        (1, "49 40 40 05 05 75"),
        (2, "30 04 15 54 / 60 49"),
        (1, "10 13 34 53 / 60 29"),
    ],
    "5": [
        (4, "10 04 04 33 65 48 29 07 / 10 60"),
        (3, "60 10 10 04 04 44 66 48 09 07"),
        (3, "60 20 12 24 55 68 29 08"),
        (2, "20 14 14 55 48 19 07 / 20 80"),
        (2, "70 30 24 44 66 39 08"),
        (2, "80 30 13 04 34 55 47 18"),
        (2, "70 10 10 03 03 53 75 69 29 08"),
        (2, "60 20 13 03 54 67 49 19 07 16"),
        (1, "50 20 02 04 53 76 59 19 07"),
        (1, "70 40 34 45 47 29 06"),
    ],
    "6": [
        (3, "40 12 05 09 39 68 65 35 07"),
        (3, "20 04 09 49 68 65 35 08"),
        (3, "40 12 06 09 39 59 56 36 08"),
        (2, "30 02 06 09 49 67 55 25 08"),
        (2, "30 13 07 19 59 77 55 35 27"),
        (2, "10 06 09 59 67 45 26 38"),
        (2, "20 05 19 69 87 75 45 38"),
        (1, "60 20 13 08 39 58 56 36 18"),
    ],
    "7": [
        (5, "00 60 60 29"),
        (2, "02 00 00 60 60 29"),
        (2, "00 60 60 29 / 15 65"),
        (2, "01 12 41 60 60 34 29"),
        (2, "01 20 60 63 45 39"),
        (2, "03 11 60 60 29"),
        (1, "02 00 00 60 60 44 49"),
        (1, "04 01 10 60 60 29"),
        (1, "02 10 60 50 29 / 05 75"),
    ],
    "8": [
        (3, "61 30 01 03 65 68 39 09 06 54 61 40"),
        (1, "20 11 12 34 56 58 39 19 17 35 62 51 30"),
        (2, "70 40 12 23 45 57 39 18 16 35 52 61"),
        (3, "52 40 20 12 23 55 58 39 18 16 44 52 41"),
        (2, "40 20 02 14 44 52 50 30 / 34 14 06 09 59 66 54 34"),
        (3, "60 30 12 24 65 68 29 07 45 61"),
        (3, "60 30 02 14 45 58 39 28 36 62 70"),
        (2, "40 10 02 14 45 58 39 28 26 43 61 50"),
        (2, "20 50 63 34 06 09 49 66 34 02 30"),
    ],
    "9": [
        (3, "51 40 10 03 15 34 51 50 48 39"),
        (3, "51 30 02 05 35 52 51 57 39 08"),
        (1, "41 20 03 04 35 60 60 49"),
        (4, "40 10 03 05 35 51 50 39"),
        (2, "50 20 02 04 34 51 40 / 51 49"),
        (3, "50 20 13 25 42 60 60 39"),
        (2, "40 20 02 14 34 61 50 39"),
        (1, "60 30 02 04 34 53 53 58 39"),
        (1, "40 20 13 14 34 41 40 39"),
        (1, "50 20 02 06 36 61 60 69"),
    ],
}

ZOOM = 2.4  # pixels of the paper for each of MNIST's; a whole number would leave only a few grey values
PAPER = 72  # pixels, the side of the sheet: the box and room for the widest pen around it
SUBPIXEL = 4  # bits: cv2.polylines takes coordinates in sixteenths of a pixel
STEPS = np.linspace(0, 1, 6)[:, None]  # along the piece of curve that belongs to one control point


def spline(points: np.ndarray) -> np.ndarray:
    """Quadratic uniform B-splines, end to end, of N strokes of K control points: (N, K, 2) -> (N, 6K, 2)."""
    padded = np.concatenate([points[:, :1], points, points[:, -1:]], axis=1)
    before, here, after = padded[:, :-2, None], padded[:, 1:-1, None], padded[:, 2:, None]
    curve = (1 - STEPS) ** 2 * before + (1 + 2 * STEPS - 2 * STEPS**2) * here + STEPS**2 * after
    return (curve / 2).reshape(len(points), -1, 2)


def write(way: str, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Write one way once by each of `count` writers.

    Returns:
        per stroke (count, T, 2) float: the pen's path, x and y, in a glyph about 1 high around the origin.
    """

    def vary(spread: float, *shape: int) -> np.ndarray:
        return spread * rng.standard_normal((count, *shape))

    strokes = [np.array([[int(x), int(y)] for x, y in stroke.split()]) for stroke in way.split("/")]
    corners = np.concatenate(strokes)
    middle = (corners.min(0) + corners.max(0)) / 2
    tremor, haste = 0.04 * np.exp(vary(0.4, 1, 1)), 0.3 * rng.random((count, 1, 1))
    curves = []
    for stroke in strokes:
        points = (stroke - middle) / 9 + vary(0.03, 1, 2) + tremor * vary(1, *stroke.shape)
        points[:, [0, -1]] += tremor * vary(1, 2, 2)  # a pen lands and lifts less surely than it runs
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


def ink(strokes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Ink the paths of N glyphs, each with its own pen: (N, T, 2) per stroke -> (N, 28, 28) uint8."""
    path = np.concatenate(strokes, axis=1)
    low, high = path.min(1), path.max(1)
    # the line's width in MNIST's pixels, and the pressure that lets it swell and thin across the paper
    width = np.clip(2.25 * np.exp(0.28 * rng.standard_normal(len(path))), 1.2, 6)
    pressure = np.exp(0.25 * rng.standard_normal((len(path), 4, 4)))
    radii = (ZOOM / 2 * width[:, None, None] * pressure).astype(np.float32)
    scale = ZOOM * (BOX - width) / (high - low).max(1)
    shift = PAPER / 2 - scale[:, None] * (low + high) / 2
    strokes = [scale[:, None, None] * stroke + shift[:, None] for stroke in strokes]
    strokes = [np.rint(stroke * 2**SUBPIXEL).astype(np.int32) for stroke in strokes]

    pictures = np.empty((len(path), SIDE, SIDE), np.uint8)
    for i in range(len(path)):
        paper = np.full((PAPER, PAPER), 255, np.uint8)
        cv2.polylines(paper, [stroke[i] for stroke in strokes], isClosed=False, color=0, shift=SUBPIXEL)
        # inked is what lies within the pen's radius of the path; cv2 by itself draws only widths of 1, 3, 5
        distance = cv2.distanceTransform(paper, cv2.DIST_L2, 3)
        radius = cv2.resize(radii[i], (PAPER, PAPER))
        pictures[i] = center_ink(cv2.compare(distance, radius, cv2.CMP_LT))
    return pictures


def draw(names: Sequence[str], seed: int) -> np.ndarray:
    """Draw one glyph per name, each by another writer.

    Args:
        names: N keys of SKELETONS.
        seed: the same names and seed give the same bytes.

    Returns:
        (N, 28, 28) uint8, white ink on black, in MNIST's size and place.
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(names)
    pictures = np.empty((len(names), SIDE, SIDE), np.uint8)
    for name in np.unique(names):
        frequencies, ways = zip(*SKELETONS[name], strict=True)
        places = np.flatnonzero(names == name)
        picks = rng.choice(len(ways), len(places), p=np.array(frequencies) / sum(frequencies))
        for pick in np.unique(picks):
            picked = places[picks == pick]
            pictures[picked] = ink(write(ways[pick], len(picked), rng), rng)
    return pictures


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw balanced, shuffled classes: pictures (count, 28, 28) uint8, labels (count,) int64 from 0 to 9."""
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 10)
    return draw([str(label) for label in labels], seed), labels
