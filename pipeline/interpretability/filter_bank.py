"""Compare learned filters with the standard filters of image processing at many angles.

The measure is Pearson's correlation over the weights, as in `numpy.corrcoef`: only the pattern counts, not a filter's
mean or scale. The sign is ignored: an inverted Sobel filter is a Sobel filter. All kernels are centered; a learned
filter with an edge at its border has no counterpart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

# degrees, the direction of the edge, line or stripes: 0 is horizontal, 90 vertical, 45 rises to the right
KERNEL_ANGLES = range(0, 180, 15)


@dataclass(frozen=True)
class Kernel:
    """A standard filter."""

    family: str
    angle: int | None  # degrees; None if it is isotropic
    values: np.ndarray  # (size, size) float64

    def __str__(self) -> str:
        return self.family if self.angle is None else f"{self.family} {self.angle}°"


def standard(size: int) -> list[Kernel]:
    """Build Sobel, Prewitt, Laplacian, Gaussian, line and Gabor kernels of several widths at all angles."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    slope, curvature = (np.outer(*reversed(cv2.getDerivKernels(order, 0, size))) for order in (1, 2))
    bank = [Kernel("Laplacian", None, curvature + curvature.T)]
    for spread in (size / 6, size / 4):
        bank.append(Kernel("Gaussian", None, np.exp(-(x**2 + y**2) / (2 * spread**2))))
    for angle in KERNEL_ANGLES:
        sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        distance = x * sine + y * cosine  # signed, in pixels, from the line at that angle through the center
        bank.append(Kernel("Sobel", angle, slope * sine + slope.T * cosine))
        bank.append(Kernel("Prewitt", angle, distance))  # equals the 3x3 Prewitt kernels at 0 and 90 degrees
        for width in (1, 1.5, 2):
            bank.append(Kernel("line", angle, np.maximum(0, 1 - np.abs(distance) / width)))
        for wavelength in (size / 2, size * 3 / 4, size):
            for phase in (0, math.pi / 2):  # a stripe or an edge in the center
                normal = math.radians(90 - angle)
                gabor = cv2.getGaborKernel((size, size), size / 4, normal, wavelength, 1, phase, cv2.CV_64F)
                bank.append(Kernel("Gabor", angle, gabor))
    return bank


def correlations(filters: np.ndarray, bank: Sequence[Kernel]) -> np.ndarray:
    """Correlate filters (N, size, size) with a bank: (N, len(bank)), -1 to 1; 0 for a constant filter."""
    return _standardized(filters) @ _standardized(np.stack([kernel.values for kernel in bank])).T


def _standardized(filters: np.ndarray) -> np.ndarray:
    """Flatten (N, size, size) to (N, size^2), each row of mean 0 and norm 1."""
    flat = filters.reshape(len(filters), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def best_matches(filters: np.ndarray, bank: Sequence[Kernel]) -> tuple[list[Kernel], np.ndarray]:
    """Return for each filter the kernel of greatest absolute correlation, and that correlation with its sign."""
    values = correlations(filters, bank)
    best = np.abs(values).argmax(1)
    return [bank[i] for i in best], values[np.arange(len(filters)), best]


def by_family(filters: np.ndarray, bank: Sequence[Kernel]) -> pd.DataFrame:
    """Return each filter's (rows) greatest absolute correlation with each family (columns)."""
    table = pd.DataFrame(np.abs(correlations(filters, bank)), columns=[kernel.family for kernel in bank])
    return table.T.groupby(level=0, sort=False).max().T.rename_axis("filter")


def untrained(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Draw (count, size, size) filters from torch's initialization, except for the scale, which has no effect here."""
    return random.uniform(-1, 1, (count, size, size))


def phase_randomized(filters: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` copies of each filter with random Fourier phases, (count * N, size, size).

    These have the amplitude spectra of the filters, thus their smoothness, but random patterns. Together with
    `untrained` they show how much of a match is due to smoothness alone. Method: the surrogates of Theiler et al.,
    "Testing for nonlinearity in time series", 1992.
    """
    noise = random.normal(size=(count, *filters.shape))
    phases = np.angle(np.fft.fft2(noise))  # phases of real noise, so that the result is real
    return np.fft.ifft2(np.abs(np.fft.fft2(filters)) * np.exp(1j * phases)).real.reshape(-1, *filters.shape[1:])


def filtered(image: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Apply each filter to a (28, 28) image with OpenCV, which mirrors the image at its border: (N, 28, 28)."""
    return np.stack([cv2.filter2D(image, -1, kernel) for kernel in filters])
