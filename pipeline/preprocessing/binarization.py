"""Find the pixels of a photograph that are ink, for any pen, paper and light.

The background is the image after a morphological closing, which removes everything narrower than a pen. Dividing by it
removes light and shadow; the result is the contrast. Ink is where the contrast is well above the paper's noise and at
least half of the highest nearby, so that a faint stroke counts as a whole beside a strong one.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.preprocessing.mnist_format import components, half_peak, resize, square


@dataclass(frozen=True)
class Scale:
    """The size at which an image is processed, and how thick its strokes may be."""

    min_side: int  # pixels, the least longer side: smaller images are enlarged
    max_side: int  # pixels, about the greatest: larger ones are reduced
    # shares of the longer side
    max_pen_width: float  # what is wider is background
    window: float  # in which the contrast of strokes is compared: wider than most strokes
    surroundings: float  # the median of so wide a window is paper, since ink is the lesser part
    faint: float  # of the strongest ink's contrast: parts with less on average are shadows, or shine through the paper
    noise_is_local: bool  # a character fills its surroundings; on a sheet these are paper, or the table beside it


PHOTO_SCALE = Scale(200, 400, 0.2, 0.06, 0.35, 0.45, False)  # one character, which may fill the image
BROAD_PEN_SCALE = replace(PHOTO_SCALE, max_pen_width=0.4, faint=0.2)  # the same, by a very broad pen, or one that pales
SHEET_SCALE = Scale(800, 1800, 0.06, 0.018, 0.1, 0.45, True)  # many characters
REDUCED_WINDOW = 25  # pixels that the surroundings measure on the reduced image, which tells color and polarity of ink
MIN_CONTRAST = 20  # of 255: less is no ink
NOISE_SPREAD = 3  # times the difference between the 10th and 50th percentile of contrast, above the latter, is no ink
NOISE_FACTOR = 3  # times the median contrast nearby is no ink where noise is local
FULL_INK_QUANTILE = 0.95  # the twentieth part of the ink that is strongest is as strong as ink can be


@dataclass
class Ink:
    """The ink of an image, at the scale of processing."""

    mask: np.ndarray  # (H, W) uint8, 1 where there is ink
    contrast: np.ndarray  # (H, W) uint8, of each pixel to the background: 0 none to 255 black on white
    background: np.ndarray  # (H, W) uint8, the brightness of the paper, behind the ink too
    scale: float  # pixels of the mask for each of the image's


def to_gray(image: np.ndarray, scale: Scale) -> tuple[np.ndarray, float]:
    """(H, W) or (H, W, 3) uint8 -> (h, w) uint8, at the scale, in the color that shows the ink best; and its scale."""
    longer = max(image.shape[:2])
    # by a whole number, which is sharp, and fast
    factor = max(1, scale.min_side / longer) / max(1, round(longer / scale.max_side))
    image = resize(image, factor, cv2.INTER_CUBIC)
    if image.ndim == 3:
        image = cv2.transform(image, _color_mixture(_reduced(image, scale)))
    return image, factor


def _reduced(image: np.ndarray, scale: Scale) -> np.ndarray:
    """(H, W) or (H, W, 3), reduced to where the surroundings measure REDUCED_WINDOW pixels."""
    return resize(image, min(1, REDUCED_WINDOW / scale.surroundings / max(image.shape[:2])))


def _paper(reduced: np.ndarray) -> np.ndarray:
    """The local median of a reduced image."""
    return cv2.medianBlur(reduced, REDUCED_WINDOW)


def _color_mixture(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) -> (1, 4), for cv2.transform: the mixture of blue, green and red in which ink and paper differ most.

    That is the first principal component of how pixels differ from what is usual around them. For black on white it is
    about a third of each; for red on green it is red without green.
    """
    difference = image.reshape(-1, 3).astype(np.float32) - _paper(image).reshape(-1, 3)
    mixture = np.linalg.eigh(difference.T @ difference)[1][:, -1]
    mixture *= np.sign(mixture.sum()) or 1
    mixture /= np.abs(mixture).sum()
    offset = -255 * mixture[mixture < 0].sum()  # so that nothing is below 0
    return np.append(mixture, offset)[None]


def polarity(gray: np.ndarray, scale: Scale) -> float:
    """Return the log odds that ink is darker than paper; below 0 if it is probably lighter.

    Ink is the side of the local median that differs more, where there are sharp edges. What is in the middle counts
    most, what is at the border, such as the edge of the page, least.
    """
    small = _reduced(gray, scale)
    edges = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, square(3)).astype(np.float32)
    difference = _paper(small).astype(np.float32) - small
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1.0 for n in small.shape)
    evidence = np.abs(difference) * difference * edges
    darker, lighter = (rows @ np.maximum(side, 0) @ columns for side in (evidence, -evidence))
    return float(np.log(darker + 1) - np.log(lighter + 1))


def find_ink(gray: np.ndarray, is_dark: bool, factor: float, scale: Scale) -> Ink:
    """Separate ink from paper.

    Args:
        gray: (H, W) uint8, and `factor`, as from `to_gray`.
        is_dark: whether ink is darker than paper.
    """
    if not is_dark:
        gray = 255 - gray
    longer = max(gray.shape)
    smooth = cv2.medianBlur(gray, 3)  # or the sensor's noise would lift the background; edges stay where they are
    background = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, square(scale.max_pen_width * longer))
    contrast = 255 - cv2.divide(gray, cv2.max(background, 1), scale=255)

    counts = np.cumsum(cv2.calcHist([contrast], [0], None, [256], [0, 256]))
    low, middle = np.searchsorted(counts, (0.1 * contrast.size, 0.5 * contrast.size))
    floor = np.full_like(contrast, min(255, max(MIN_CONTRAST, middle + NOISE_SPREAD * (middle - low))))
    if scale.noise_is_local:
        noise = cv2.resize(_paper(_reduced(contrast, scale)), gray.shape[::-1])
        floor = cv2.max(floor, cv2.convertScaleAbs(noise, alpha=NOISE_FACTOR))
    mask = half_peak(contrast, scale.window * longer, floor)
    return Ink(_without_faint_parts(mask, contrast, scale.faint), contrast, background, factor)


def _without_faint_parts(mask: np.ndarray, contrast: np.ndarray, faint: float) -> np.ndarray:
    """Remove from the mask the parts of low contrast: shadows, and ink on the back of the paper."""
    counts = np.cumsum(cv2.calcHist([contrast], [0], mask, [256], [0, 256]))
    strength = np.searchsorted(counts, FULL_INK_QUANTILE * counts[-1])
    count, names, _, _ = components(mask)
    is_kept = mean_contrast(contrast, mask, names, count) >= faint * strength
    return mask if is_kept.all() else np.append(0, is_kept).astype(np.uint8)[names]


def mean_contrast(contrast: np.ndarray, mask: np.ndarray, names: np.ndarray, count: int) -> np.ndarray:
    """(count - 1,) float, of each connected part of the mask; `names` as from `components`."""
    there = np.flatnonzero(mask)  # a small part of all pixels
    inked = names.ravel()[there]
    total = np.bincount(inked, contrast.ravel()[there], minlength=count)
    return total[1:] / np.maximum(1, np.bincount(inked, minlength=count)[1:])
