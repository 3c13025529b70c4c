"""Handwritten digits drawn from pen strokes: what the scripts train on where MNIST cannot be downloaded.

A class is a table of the ways people write it, a way is one or more strokes, a stroke is a short list of control
points. Every drawing picks one way and one writer, who slants, stretches, hurries and trembles, and a pen.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from preprocess import BOX, SIDE, center_ink

# name: ways to write it, each with how often it is picked. A point is two figures: x from 0 (left), y from 0 (top)
# to 9 (foot); a slash lifts the pen. The pen runs through the middles between neighbouring points, and through
# a point itself where it begins, ends, or where the point stands twice: a corner.
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

ZOOM = 2  # pixels of the drawing for each of MNIST's
PAPER = 64
SUBPIXEL = 4  # bits: cv2.polylines takes coordinates in sixteenths of a pixel
STEPS = np.linspace(0, 1, 6)[:, None]  # along the piece of curve that belongs to one control point


def spline(points: np.ndarray) -> np.ndarray:
    """Quadratic uniform B-spline of N strokes with K control points each, (N, K, 2) -> (N, 6K, 2)."""
    padded = np.concatenate([points[:, :1], points, points[:, -1:]], axis=1)
    before, here, after = padded[:, :-2, None], padded[:, 1:-1, None], padded[:, 2:, None]
    curve = (1 - STEPS) ** 2 * before + (1 + 2 * STEPS - 2 * STEPS**2) * here + STEPS**2 * after
    return (curve / 2).reshape(len(points), len(STEPS) * points.shape[1], 2)


def write(way: str, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Write one way `count` times, each time by another hand: per stroke (count, T, 2), in units of one height."""
    normal = rng.standard_normal
    strokes = [np.array([[int(x), int(y)] for x, y in stroke.split()]) for stroke in way.split("/")]
    corners = np.concatenate(strokes)
    middle = (corners.min(0) + corners.max(0)) / 2
    tremor, haste = 0.04 * np.exp(0.4 * normal((count, 1, 1))), 0.3 * rng.random((count, 1, 1))
    curves = []
    for stroke in strokes:
        points = (stroke - middle) / 9 + tremor * normal((count, *stroke.shape)) + 0.03 * normal((count, 1, 2))
        points[:, [0, -1]] += tremor * normal((count, 2, 2))  # a pen lands and lifts less surely than it runs
        cut = (points[:, :-2] + points[:, 2:]) / 2  # a hurried pen cuts the corners
        points[:, 1:-1] += haste * (cut - points[:, 1:-1])
        curves.append(spline(points))

    slant, turn = 0.14 + 0.26 * normal((count, 1)), 0.08 * normal((count, 1))
    width = np.exp(0.24 * normal((count, 1)))
    taper, sag, lean = 0.3 * normal((count, 1)), 0.25 * normal((count, 1)), 0.15 * normal((count, 1))
    phase, drift = 2 * np.pi * rng.random((2, count, 1)), 0.03 * normal((2, count, 1))
    hands = []
    for curve in curves:
        x, y = curve[..., 0], curve[..., 1]
        x, y = x * (1 + taper * y) + lean * x * x, y + sag * (0.25 - y * y)
        x, y = x + drift[0] * np.sin(6 * y + phase[0]), y + drift[1] * np.sin(6 * x + phase[1])
        x = width * x - slant * y
        hands.append(np.stack([x - turn * y, y + turn * x], axis=-1))
    return hands


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
    pictures = np.zeros((len(names), SIDE, SIDE), np.uint8)
    for name in np.unique(names):
        frequencies, ways = zip(*SKELETONS[name], strict=True)
        wanted = np.flatnonzero(names == name)
        picks = rng.choice(len(ways), len(wanted), p=np.array(frequencies) / sum(frequencies))
        for pick, way in enumerate(ways):
            places = wanted[picks == pick]
            hands = write(way, len(places), rng)
            pens = np.clip(2.25 * np.exp(0.28 * rng.standard_normal(len(places))), 1.2, 6)
            pictures[places] = ink(hands, pens)
    return pictures


def ink(hands: list[np.ndarray], pens: np.ndarray) -> np.ndarray:
    """Rasterise."""
    every = np.concatenate(hands, axis=1)
    low, high = every.min(1), every.max(1)
    scale = (BOX - pens) * ZOOM / (high - low).max(1)
    center = (low + high)[:, None] / 2
    fixed = [
        np.rint(((hand - center) * scale[:, None, None] + PAPER / 2) * 2**SUBPIXEL).astype(np.int32) for hand in hands
    ]
    pictures = np.empty((len(pens), SIDE, SIDE), np.uint8)
    radii = pens * ZOOM / 2
    for i in range(len(pens)):
        sheet = np.full((PAPER, PAPER), 255, np.uint8)
        cv2.polylines(sheet, [stroke[i] for stroke in fixed], False, 0, shift=SUBPIXEL)
        reach = cv2.distanceTransform(sheet, cv2.DIST_L2, 3)
        pictures[i] = center_ink(cv2.compare(reach, radii[i], cv2.CMP_LT))
    return pictures


def digits(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a training set: pictures (count, 28, 28) uint8 and labels (count,) int64, classes balanced, shuffled."""
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 10)
    return draw([str(label) for label in labels], seed), labels
