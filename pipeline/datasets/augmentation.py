"""The same character by another hand, or out of a worse pen and scanner; the same garment, worn the other way round."""

import math
from functools import cache

import torch
import torch.nn.functional as F

from pipeline.preprocessing.mnist_format import IMAGE_SIZE, MEAN, STD

BACKGROUND = -MEAN / STD  # black in a normalized picture
MAX_ROTATION_RAD = 8 * math.pi / 180  # radians; these five are the greatest change at strength 1
MAX_STRETCH = 0.08  # share of the width, and of the height
MAX_SLANT = 0.12  # share of the height
MAX_SHIFT_PX = 1.2  # pixels
BEND_STD_PX = 0.32  # pixels, standard deviation of the smooth displacement, with no bound
BEND_COSINES = 5  # cosines along each side that the bending is made of


@cache
def _basis(device: torch.device) -> torch.Tensor:
    """(3 + BEND_COSINES^2, 784): the basis of a sampling grid: x, y, 1 (affine), then products of cosines."""
    at = (torch.arange(IMAGE_SIZE, device=device) + 0.5) / IMAGE_SIZE  # pixel centers, 0 to 1
    y, x = torch.meshgrid(2 * at - 1, 2 * at - 1, indexing="ij")
    cosines = torch.cos(math.pi * torch.arange(BEND_COSINES, device=device)[:, None] * at)  # (BEND_COSINES, 28)
    waves = torch.einsum("iy,jx->ijyx", cosines, cosines) / (BEND_COSINES / 2)  # so that the sum has variance 1
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]).flatten(1), waves.flatten(0, 1).flatten(1)])


def warp(images: torch.Tensor, strength: float) -> torch.Tensor:
    """Move every picture's ink by an affine map and a smooth bending of its own, drawn from torch's generator.

    Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", 2003, bend by smoothed noise;
    here the smooth field is a short cosine series, so that map and bending are one matrix product for a whole batch.

    Args:
        images: (N, 1, 28, 28) normalized.
        strength: scales all five changes; 0 leaves the pictures as they are.
    """
    count, device = len(images), images.device
    turn, slant, *stretch_and_shift = (torch.rand(6, count, device=device) * 2 - 1) * strength
    turn, slant = turn * MAX_ROTATION_RAD, slant * MAX_SLANT
    width, height = (1 + MAX_STRETCH * s for s in stretch_and_shift[:2])
    right, down = (2 * MAX_SHIFT_PX / IMAGE_SIZE * s for s in stretch_and_shift[2:])
    cos, sin = turn.cos(), turn.sin()
    affine = torch.stack(  # rows: what x and y of the sampling point take from x, y and 1
        [width * cos, width * (slant * cos - sin), right, height * sin, height * (slant * sin + cos), down], dim=1
    ).view(count, 2, 3)
    bend = torch.randn(count, 2, BEND_COSINES**2, device=device) * (strength * 2 * BEND_STD_PX / IMAGE_SIZE)
    grid = torch.cat([affine, bend], dim=2).view(2 * count, -1) @ _basis(device)
    grid = grid.view(count, 2, IMAGE_SIZE, IMAGE_SIZE).permute(0, 2, 3, 1)
    # grid_sample takes 0 for what lies outside, so paper has to be 0 for the moment
    return F.grid_sample(images - BACKGROUND, grid, align_corners=False) + BACKGROUND


def shift(images: torch.Tensor, most: float) -> torch.Tensor:
    """Move every picture by whole pixels, and mirror every other one, drawn from torch's generator.

    Args:
        images: (N, 1, 28, 28) normalized.
        most: pixels along each side, at most; its fraction is cut off.
    """
    count, device, most = len(images), images.device, int(most)
    padded = F.pad(images[:, 0], (most,) * 4, value=BACKGROUND)
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), device=device)
    across = torch.arange(IMAGE_SIZE, device=device).expand(count, IMAGE_SIZE)
    mirrored = torch.rand(count, 1, device=device) < 0.5
    columns = torch.where(mirrored, IMAGE_SIZE - 1 - across, across) + right
    return padded[torch.arange(count, device=device)[:, None, None], (across + down)[..., None], columns[:, None]][
        :, None
    ]


def rotate(images: torch.Tensor, degrees: float) -> torch.Tensor:
    """Every picture, (N, 1, 28, 28) normalized, turned about its middle, clockwise."""
    angle = math.radians(degrees)
    rotation = torch.tensor([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0]])
    grid = F.affine_grid(rotation.to(images).expand(len(images), 2, 3), images.shape, align_corners=False)
    return F.grid_sample(images - BACKGROUND, grid, align_corners=False) + BACKGROUND


AUGMENTATIONS = {"warp": warp, "shift": shift}  # what Recipe.augmentation may say
