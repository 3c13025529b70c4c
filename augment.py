"""The same character by another hand, or out of a worse pen and scanner; the same garment, worn the other way round."""

import math
from functools import cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from pipeline.preprocessing.mnist_format import IMAGE_SIZE, MEAN, STD, center_ink

PAPER = -MEAN / STD  # black in a normalised picture
ROTATION = 8 * math.pi / 180  # radians; these five are the greatest change at strength 1
STRETCH = 0.08  # share of the width, and of the height
SLANT = 0.12  # share of the height
SHIFT = 1.2  # pixels
BEND = 0.32  # pixels, standard deviation of the smooth displacement, with no bound
WAVES = 5  # cosines along each side that the bending is made of

ZOOM = 3  # what wears a picture is drawn on one so many times as large
THINNEST, THICKEST = -0.4, 0.5  # pixels that each edge of a worn stroke moves outwards, at the extremes


@cache
def _basis(device: torch.device) -> torch.Tensor:
    """(3 + WAVES^2, 784): what a sampling grid is a sum of. x, y, 1 for the affine part, then products of cosines."""
    at = (torch.arange(IMAGE_SIZE, device=device) + 0.5) / IMAGE_SIZE  # pixel centres, 0 to 1
    y, x = torch.meshgrid(2 * at - 1, 2 * at - 1, indexing="ij")
    cosines = torch.cos(math.pi * torch.arange(WAVES, device=device)[:, None] * at)  # (WAVES, 28)
    waves = torch.einsum("iy,jx->ijyx", cosines, cosines) / (WAVES / 2)  # so that the sum has variance 1
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]).flatten(1), waves.flatten(0, 1).flatten(1)])


def warp(images: torch.Tensor, strength: float) -> torch.Tensor:
    """Move every picture's ink by an affine map and a smooth bending of its own, drawn from torch's generator.

    Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", 2003, bend by smoothed noise;
    here the smooth field is a short cosine series, so that map and bending are one matrix product for a whole batch.

    Args:
        images: (N, 1, 28, 28) normalised.
        strength: scales all five changes; 0 leaves the pictures as they are.
    """
    count, device = len(images), images.device
    turn, slant, *stretch_and_shift = (torch.rand(6, count, device=device) * 2 - 1) * strength
    turn, slant = turn * ROTATION, slant * SLANT
    width, height = (1 + STRETCH * s for s in stretch_and_shift[:2])
    right, down = (2 * SHIFT / IMAGE_SIZE * s for s in stretch_and_shift[2:])
    cos, sin = turn.cos(), turn.sin()
    affine = torch.stack(  # rows: what x and y of the sampling point take from x, y and 1
        [width * cos, width * (slant * cos - sin), right, height * sin, height * (slant * sin + cos), down], dim=1
    ).view(count, 2, 3)
    bend = torch.randn(count, 2, WAVES**2, device=device) * (strength * 2 * BEND / IMAGE_SIZE)
    grid = torch.cat([affine, bend], dim=2).view(2 * count, -1) @ _basis(device)
    grid = grid.view(count, 2, IMAGE_SIZE, IMAGE_SIZE).permute(0, 2, 3, 1)
    # grid_sample takes 0 for what lies outside, so paper has to be 0 for the moment
    return F.grid_sample(images - PAPER, grid, align_corners=False) + PAPER


def shift(images: torch.Tensor, most: float) -> torch.Tensor:
    """Move every picture by whole pixels, and mirror every other one, drawn from torch's generator.

    Args:
        images: (N, 1, 28, 28) normalised.
        most: pixels along each side, at most; its fraction is cut off.
    """
    count, device, most = len(images), images.device, int(most)
    padded = F.pad(images[:, 0], (most,) * 4, value=PAPER)
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), device=device)
    across = torch.arange(IMAGE_SIZE, device=device).expand(count, IMAGE_SIZE)
    mirrored = torch.rand(count, 1, device=device) < 0.5
    columns = torch.where(mirrored, IMAGE_SIZE - 1 - across, across) + right
    return padded[torch.arange(count, device=device)[:, None, None], (across + down)[..., None], columns[:, None]][
        :, None
    ]


def turn(images: torch.Tensor, degrees: float) -> torch.Tensor:
    """Every picture, (N, 1, 28, 28) normalised, turned about its middle, clockwise."""
    angle = math.radians(degrees)
    rotation = torch.tensor([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0]])
    grid = F.affine_grid(rotation.to(images).expand(len(images), 2, 3), images.shape, align_corners=False)
    return F.grid_sample(images - PAPER, grid, align_corners=False) + PAPER


KINDS = {"warp": warp, "shift": shift}  # what Recipe.augmentation may say


def wear(pictures: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Spoil a share of the pictures as rough scans are: strokes thin, thick or broken, a side cut off, ruled lines.

    Args:
        pictures: (N, 28, 28) uint8, ink on black.

    Returns:
        the same number, each in MNIST's size and place again, whatever was added to the letter or taken from it.
    """
    worn = pictures.copy()
    for i in np.flatnonzero(rng.random(len(pictures)) < share):
        worn[i] = center_ink(_spoil(pictures[i], rng))
    return worn


def _spoil(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One glyph, larger, with what befell it: (H, W) uint8."""
    ink = (cv2.resize(picture, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_LINEAR) > 110).astype(np.uint8)
    outwards = ZOOM * rng.uniform(THINNEST, THICKEST)
    if outwards < 0:
        ink = (cv2.distanceTransform(ink, cv2.DIST_L2, 3) > -outwards).astype(np.uint8)
    else:
        ink = (cv2.distanceTransform(1 - ink, cv2.DIST_L2, 3) <= outwards).astype(np.uint8)
    if rng.random() < 0.25:  # the pen skipped
        y, x = np.mgrid[: len(ink), : len(ink)]
        for _ in range(rng.integers(1, 4)):
            turn = rng.uniform(0, np.pi)
            across = (x - rng.uniform(20, 64)) * np.cos(turn) + (y - rng.uniform(20, 64)) * np.sin(turn)
            ink[np.abs(across) < ZOOM * rng.uniform(0.2, 0.7)] = 0
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
    glyph = np.pad(glyph, ((0, rng.integers(0, 4 * ZOOM)), rng.integers(0, 3 * ZOOM, 2)))
    height, width = glyph.shape
    line = np.full(width, 255, np.uint8)
    if rng.random() < 0.5:  # a piece
        line[: int(rng.uniform(0, 0.7) * width)] = 0
        line = line if rng.random() < 0.5 else line[::-1].copy()
    if rng.random() < 0.5:  # dots or dashes
        pitch = rng.integers(5, 13)
        line[np.arange(width) % pitch < pitch / 2] = 0
    low, rise = height - 1 - rng.integers(0, 2 * ZOOM), rng.normal(0, 0.03)
    thickness = int(rng.integers(2, 6))
    for x in np.flatnonzero(line):
        y = int(np.clip(low + rise * (x - width / 2), 0, height - 1))
        glyph[max(0, y - thickness + 1) : y + 1, x] = 255
    return glyph
