"""The standard filters of image processing at every angle, and which of them a learned filter resembles most.

The measure is Pearson's correlation over the weights, as in `numpy.corrcoef`: brightness and contrast of a filter do
not count, only its pattern. Nor does the sign: a Sobel filter upside down is a Sobel filter. All kernels are centered;
an edge at the border of a learned filter is not looked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

KERNEL_ANGLES = range(
    0, 180, 15
)  # degrees along the edge, line or stripes: 0 lies flat, 90 stands, 45 rises to the right


@dataclass(frozen=True)
class Kernel:
    family: str
    angle: int | None  # None where it looks the same from all sides
    values: np.ndarray  # (size, size) float64

    def __str__(self) -> str:
        return self.family if self.angle is None else f"{self.family} {self.angle}°"


def standard(size: int) -> list[Kernel]:
    """Sobel, Prewitt, Laplacian, Gaussian, line and Gabor kernels, in several widths and at every angle."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    slope, curvature = (np.outer(*reversed(cv2.getDerivKernels(order, 0, size))) for order in (1, 2))
    bank = [Kernel("Laplacian", None, curvature + curvature.T)]
    for spread in (size / 6, size / 4):
        bank.append(Kernel("Gaussian", None, np.exp(-(x**2 + y**2) / (2 * spread**2))))
    for angle in KERNEL_ANGLES:
        sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        away = x * sine + y * cosine  # pixels from the line at that angle through the middle
        bank.append(Kernel("Sobel", angle, slope * sine + slope.T * cosine))
        bank.append(Kernel("Prewitt", angle, away))  # a tilted plane: Prewitt's own numbers in 3x3, upright and flat
        for width in (1, 1.5, 2):
            bank.append(Kernel("line", angle, np.maximum(0, 1 - np.abs(away) / width)))
        for wave in (size / 2, size * 3 / 4, size):
            for phase in (0, math.pi / 2):  # a stripe in the middle, an edge in the middle
                across = math.radians(90 - angle)
                gabor = cv2.getGaborKernel((size, size), size / 4, across, wave, 1, phase, cv2.CV_64F)
                bank.append(Kernel("Gabor", angle, gabor))
    return bank


def correlations(filters: np.ndarray, bank: Sequence[Kernel]) -> np.ndarray:
    """(N, size, size) filters -> (N, len(bank)), each -1 to 1; 0 for a filter without any pattern."""
    return _pattern(filters) @ _pattern(np.stack([kernel.values for kernel in bank])).T


def _pattern(filters: np.ndarray) -> np.ndarray:
    """(N, size, size) -> (N, size^2) of mean 0 and length 1."""
    flat = filters.reshape(len(filters), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def best_matches(filters: np.ndarray, bank: Sequence[Kernel]) -> tuple[list[Kernel], np.ndarray]:
    """For each filter the kernel of greatest correlation, whatever its sign, and that correlation with its sign."""
    every = correlations(filters, bank)
    at = np.abs(every).argmax(1)
    return [bank[i] for i in at], every[np.arange(len(filters)), at]


def by_family(filters: np.ndarray, bank: Sequence[Kernel]) -> pd.DataFrame:
    """Per filter (rows) the greatest correlation, without its sign, that each family (columns) reaches."""
    every = pd.DataFrame(np.abs(correlations(filters, bank)), columns=[kernel.family for kernel in bank])
    return every.T.groupby(level=0, sort=False).max().T.rename_axis("filter")


def untrained(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    """(count, size, size) filters as torch begins with, up to their scale, which correlation does not see."""
    return random.uniform(-1, 1, (count, size, size))


def as_smooth(filters: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """(count * N, size, size): each filter `count` times with the phases of its waves drawn anew.

    The waves keep their strengths, so these are as smooth as the filters and as coarse, but of no chosen pattern
    (the surrogates of Theiler et al., "Testing for nonlinearity in time series", 1992). Together with `untrained`
    they tell what of a match is pattern, and what only smoothness.
    """
    noise = random.normal(size=(count, *filters.shape))
    phases = np.angle(np.fft.fft2(noise))  # of real noise, so that the result is real
    return np.fft.ifft2(np.abs(np.fft.fft2(filters)) * np.exp(1j * phases)).real.reshape(-1, *filters.shape[1:])


def filtered(picture: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """What each filter makes of a (28, 28) picture: (N, 28, 28), by OpenCV, which goes on past the rim by mirroring."""
    return np.stack([cv2.filter2D(picture, -1, kernel) for kernel in filters])
