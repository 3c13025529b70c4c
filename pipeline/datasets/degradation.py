"""Degrade characters as poor scans do: thin, thick or broken strokes, a side cut off, ruled lines."""

import cv2
import numpy as np

from pipeline.preprocessing.mnist_format import center_ink

SCAN_SCALE = 3  # what wears a picture is drawn on one so many times as large
MIN_EDGE_SHIFT_PX, MAX_EDGE_SHIFT_PX = (
    -0.4,
    0.5,
)  # pixels that each edge of a worn stroke moves outwards, at the extremes


def degrade(pictures: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Degrade a share of the images as poor scans do: strokes thin, thick or broken, a side cut off, ruled lines.

    Args:
        pictures: (N, 28, 28) uint8, ink on black.

    Returns:
        the same number, each in MNIST's size and place again, whatever was added to the letter or taken from it.
    """
    worn = pictures.copy()
    for i in np.flatnonzero(rng.random(len(pictures)) < share):
        worn[i] = center_ink(_degrade_one(pictures[i], rng))
    return worn


def _degrade_one(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One glyph, larger, with what befell it: (H, W) uint8."""
    ink = (cv2.resize(picture, None, fx=SCAN_SCALE, fy=SCAN_SCALE, interpolation=cv2.INTER_LINEAR) > 110).astype(
        np.uint8
    )
    outwards = SCAN_SCALE * rng.uniform(MIN_EDGE_SHIFT_PX, MAX_EDGE_SHIFT_PX)
    if outwards < 0:
        ink = (cv2.distanceTransform(ink, cv2.DIST_L2, 3) > -outwards).astype(np.uint8)
    else:
        ink = (cv2.distanceTransform(1 - ink, cv2.DIST_L2, 3) <= outwards).astype(np.uint8)
    if rng.random() < 0.25:  # the pen skipped
        y, x = np.mgrid[: len(ink), : len(ink)]
        for _ in range(rng.integers(1, 4)):
            turn = rng.uniform(0, np.pi)
            across = (x - rng.uniform(20, 64)) * np.cos(turn) + (y - rng.uniform(20, 64)) * np.sin(turn)
            ink[np.abs(across) < SCAN_SCALE * rng.uniform(0.2, 0.7)] = 0
    if rng.random() < 0.15:  # or left grains of paper white
        grains = cv2.GaussianBlur(rng.standard_normal(ink.shape), (0, 0), rng.uniform(0.7, 1.5))
        ink[grains > rng.uniform(0.9, 2) * grains.std()] = 0
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return picture
    glyph = 255 * ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for _ in range(4):
        if rng.random() < 0.1:  # the frame was too small
            glyph = glyph[int(rng.uniform(0, 0.2) * len(glyph)) :]
        if rng.random() < 0.2:
            glyph = _underline(glyph, rng)
        glyph = np.rot90(glyph)  # each side in turn
    return np.ascontiguousarray(glyph)


def _underline(glyph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The glyph, a piece of a ruled or dotted line below or through its foot."""
    glyph = np.pad(glyph, ((0, rng.integers(0, 4 * SCAN_SCALE)), rng.integers(0, 3 * SCAN_SCALE, 2)))
    height, width = glyph.shape
    line = np.full(width, 255, np.uint8)
    if rng.random() < 0.5:  # a piece
        line[: int(rng.uniform(0, 0.7) * width)] = 0
        line = line if rng.random() < 0.5 else line[::-1].copy()
    if rng.random() < 0.5:  # dots or dashes
        pitch = rng.integers(5, 13)
        line[np.arange(width) % pitch < pitch / 2] = 0
    low, rise = height - 1 - rng.integers(0, 2 * SCAN_SCALE), rng.normal(0, 0.03)
    thickness = int(rng.integers(2, 6))
    for x in np.flatnonzero(line):
        y = int(np.clip(low + rise * (x - width / 2), 0, height - 1))
        glyph[max(0, y - thickness + 1) : y + 1, x] = 255
    return glyph
