"""Which pixels of a photograph are ink: whatever the pen, the paper, the light and the lines printed on it.

Ink is what is narrower than a certain reach and stands out from the paper around it with sharp edges. The paper is
what a morphological closing leaves when all that is narrower than the reach has been filled; dividing by it takes
light and shadow out of the picture. Whether ink is darker or lighter than paper, and the reach, are found first, on
a reduced picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from rules import square, without_rules

REDUCED = 0.25  # share of `most`: the longer side of the picture that reach and paper are found on
WINDOWS = 0.2, 0.35, 0.5  # of the longer side: where the median is paper, since ink is the lesser part
REACHES = 0.4, 0.15  # of the longer side: a marker that fills the picture, and any other pen
OF_SHEETS = *REACHES, 0.06  # and a pen on a sheet; elsewhere the cloth beside a page would ask for so narrow a one
FAINTEST = 24  # of 255: less contrast than this is no ink
SHADOW = 16  # of 255: light paper in deeper shadow than this is not made brighter any more


@dataclass
class Ink:
    """The ink of a picture, at the scale it was looked for."""

    mask: np.ndarray  # (H, W) uint8, 1 where there is ink
    picture: np.ndarray  # (H, W) uint8, in the one colour in which ink and paper differ most
    contrast: np.ndarray  # (H, W) uint8, of each pixel to the paper around it: 0 none to 255 black on white
    paper: np.ndarray  # (H, W) uint8, the brightness of the paper, behind the ink too
    scale: float  # pixels of the mask for each of the picture's

    @cached_property
    def rise(self) -> np.ndarray:
        """(H, W) uint8, by how much the contrast rises within what a sharp edge takes: a pixel of the picture, or a
        hundredth of its side."""
        reach = 2 * max(1.5 * self.scale, 0.01 * max(self.mask.shape))
        return cv2.morphologyEx(self.contrast, cv2.MORPH_GRADIENT, square(reach))


def ink_masks(picture: np.ndarray, least: int, most: int, reaches: tuple[float, ...] = REACHES) -> Iterator[Ink]:
    """Find the ink: first as it most likely is, darker or lighter than paper, then the other way round.

    Args:
        picture: (H, W) or (H, W, 3) uint8.
        least, most: pixels; the picture is brought to where its longer side lies between the two.
        reaches: as shares of the longer side, from wide to narrow; ink is narrower than the one that shows it best.
    """
    longer = max(picture.shape[:2])
    scale = min(max(longer, least), most) / longer
    picture = _resize(picture, scale)
    if picture.ndim == 3:
        picture = _in_one_colour(picture, min(1, REDUCED / 4 * most / max(picture.shape[:2])))
    if scale <= 0.5 or longer >= most / 2:
        picture = cv2.GaussianBlur(picture, (3, 3), 0)  # the sensor's noise, before thresholds see it
    reduced = _resize(picture, min(1, REDUCED * most / max(picture.shape)))
    if reduced.shape != picture.shape:
        reduced = cv2.medianBlur(reduced, 3)
    half = _resize(reduced, 0.5)
    likely = _is_darker(half)
    for dark in (likely, not likely):
        paper = _paper(reduced, dark, _reach(half, dark, reaches))
        paper = cv2.resize(paper, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        contrast = _contrast(picture, paper, dark)
        floor = _floor(contrast)
        ink = contrast >= floor
        sharp = ink & (_sharpness(contrast, _edges(contrast)) >= 0.5)  # a shadow is not, but may be large
        strength = max(_strength(contrast[ink]), _strength(contrast[sharp]))
        mask = (contrast >= max(floor, strength / 2)).astype(np.uint8)
        yield Ink(without_rules(mask, scale), picture, contrast, paper, scale)


def _resize(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _in_one_colour(picture: np.ndarray, scale: float) -> np.ndarray:
    """(H, W, 3) -> (H, W) uint8: the mixture of blue, green and red in which ink and paper differ most.

    That is the first principal component of how pixels of the picture, reduced by `scale`, differ from what is usual
    around them. For black on white it is about a third of each; for red on green it is red without green.
    """
    reduced = _resize(picture, scale)
    around = cv2.medianBlur(reduced, max(3, int(WINDOWS[1] * max(reduced.shape)) | 1))
    difference = reduced.reshape(-1, 3).astype(np.float32) - around.reshape(-1, 3)
    mixture = np.linalg.eigh(difference.T @ difference)[1][:, -1]
    mixture *= np.sign(mixture.sum()) or 1
    mixture /= np.abs(mixture).sum()
    against = 255 * mixture[mixture < 0].sum()  # so that nothing is below 0
    return cv2.transform(picture, np.append(mixture, -against)[None])


def _edges(picture: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, square(3)).astype(np.float32)


def _sharpness(contrast: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of its full height, 0 to 1, that an edge rises from pixel to pixel."""
    return np.minimum(1, edges / np.maximum(1, cv2.dilate(contrast, square(3))))


def _is_darker(picture: np.ndarray) -> bool:
    """Is ink darker than paper? It is the side of the median that differs more, where the picture has sharp edges."""
    edges = _edges(picture)
    vote = 0.0
    for window in WINDOWS:
        difference = cv2.medianBlur(picture, max(3, int(window * max(picture.shape)) | 1)).astype(np.float32) - picture
        evidence = np.abs(difference) * difference * edges
        vote += np.log(np.maximum(evidence, 0).sum() + 1) - np.log(np.maximum(-evidence, 0).sum() + 1)
    return bool(vote >= 0)


def _paper(picture: np.ndarray, dark: bool, reach: float) -> np.ndarray:
    """The picture with everything filled that is narrower than the reach, a share of the longer side."""
    side = max(3, reach * max(picture.shape[:2]))
    filled = cv2.morphologyEx(picture, cv2.MORPH_CLOSE if dark else cv2.MORPH_OPEN, square(side))
    return cv2.blur(filled, (5, 5))


def _contrast(picture: np.ndarray, paper: np.ndarray, dark: bool) -> np.ndarray:
    """How far each pixel is from paper to the strongest ink there could be: 0 to 255."""
    if dark:
        return 255 - cv2.divide(picture, cv2.max(paper, 1), scale=255)
    usual = np.float32(np.median(paper))
    gain = np.maximum(1, (usual + SHADOW) / (paper + np.float32(SHADOW))) * (255 / max(255 - usual, 32))
    return np.minimum(cv2.subtract(picture, paper) * gain, 255).astype(np.uint8)


def _floor(contrast: np.ndarray) -> float:
    """The contrast that noise does not reach, told from the lesser half of the pixels, which is paper."""
    counts = np.cumsum(np.bincount(contrast.ravel(), minlength=256))
    low, middle = np.searchsorted(counts, (0.1 * contrast.size, 0.5 * contrast.size))
    return max(FAINTEST, middle + 3 * (middle - low))


def _strength(contrast: np.ndarray) -> float:
    """Of the fullest ink among those pixels: their 95th percentile; 0 where there are next to none."""
    counts = np.cumsum(np.bincount(contrast, minlength=256))
    return float(np.searchsorted(counts, 0.95 * counts[-1])) if counts[-1] > 3 else 0


def _reach(picture: np.ndarray, dark: bool, reaches: tuple[float, ...]) -> float:
    """The widest reach, unless a narrower one finds clearly more ink with sharp edges and less of shadows."""
    contrasts = [_contrast(picture, _paper(picture, dark, reach), dark) for reach in reaches]
    edges = _edges(contrasts[0])
    sharp = [_sharpness(contrast, edges) for contrast in contrasts]
    floors = [_floor(contrast) for contrast in contrasts]
    pairs = zip(contrasts, sharp, floors, strict=True)
    inks = [contrast[(contrast >= floor) & (sharpness >= 0.5)] for contrast, sharpness, floor in pairs]
    strength = max((_strength(ink) for ink in inks if len(ink) > 3), default=0)
    best, most = reaches[0], -np.inf
    for reach, contrast, sharpness, floor in zip(reaches, contrasts, sharp, floors, strict=True):
        mask = (contrast >= max(floor, strength / 2)).astype(np.uint8)
        outline = mask > cv2.erode(mask, square(3))
        score = ((sharpness[outline] - 0.5) * contrast[outline]).sum()
        if score > 1.1 * most:
            best, most = reach, score
    return best
