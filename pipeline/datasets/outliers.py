"""Images of no class, on which a network learns to be unsure (outlier exposure).

Hendrycks, Mazeika and Dietterich, "Deep anomaly detection with outlier exposure", 2019, used natural images; with those
pen strokes of other scripts were still taken for digits. These are made of pen strokes: synthetic ones (scribbles,
letters) and the classes' own (cut, blended, rotated, two at a time), beside shapes, textures and noise.
"""

from collections.abc import Callable, Collection

import cv2
import numpy as np

from pipeline.datasets import synthetic
from pipeline.datasets.stroke_templates import DIGITS, TEMPLATES
from pipeline.preprocessing.mnist_format import IMAGE_SIZE, center_ink

# characters that look like the class in some handwriting; they are no outliers for a network with this class
LOOKALIKES = {
    "0": "omicron", "1": "iota lambda Lambda", "2": "zeta", "6": "delta sigma",
    "alpha": "a d x Q chi sigma ampersand", "beta": "8 R ampersand",
    "gamma": "4 J V X Y r v x y chi nu upsilon", "delta": "6 8 d",
    "epsilon": "C E c e", "zeta": "2 3 C xi", "eta": "h n", "theta": "0 8 Q e Theta", "iota": "1 J L t",
    "kappa": "H K R X h k x", "lambda": "A X x Lambda", "mu": "M U u w", "nu": "U V r u v y gamma upsilon check-mark",
    "xi": "3 E e Xi",
    "omicron": "0 C D Q c", "pi": "M T m n Pi", "rho": "9 D P p", "sigma": "0 5 6 9 Q a c", "tau": "7 J T r t",
    "upsilon": "U V u v", "phi": "9 Q d Phi", "chi": "X x y", "psi": "4 Y w y Psi", "omega": "M W m w Omega",
}  # fmt: skip
# halves that are not a character of any class: the top, bottom, left or right half
SAFE_CUTS = {
    "0": "tb", "2": "tblr", "3": "tbl", "4": "tl", "5": "tblr", "6": "tr", "7": "tl", "8": "l", "9": "l",
    "alpha": "tblr", "beta": "tbl", "gamma": "blr",
}  # fmt: skip
# rotations to the left or right, mirrored, upside down, after which the character is none of any class
SAFE_ROTATIONS = {
    "2": "lr", "3": "lrm", "4": "lrmu", "5": "lr", "6": "lrm", "7": "lrmu", "9": "lrm",
    "alpha": "lr", "beta": "lrm", "gamma": "lru",
}  # fmt: skip
MAX_CLASSES_FOR_PIECES = 10  # classes; among more of them a piece or a turn of one is soon another
ROTATIONS = {"l": np.rot90, "r": lambda picture: np.rot90(picture, 3), "m": np.fliplr, "u": np.flipud}


def scribbles(count: int, rng: np.random.Generator) -> np.ndarray:
    """One to five strokes through points anywhere: (count, 28, 28) uint8, as all of these."""
    pictures: list[np.ndarray] = []
    while len(pictures) < count:
        parts = 1 + rng.binomial(4, 0.35)
        # one short stroke alone could be a 1 or a 7
        lengths = (
            np.where(rng.random(parts) < 0.35, 2, rng.integers(3, 8, parts)) if parts > 1 else [rng.integers(5, 9)]
        )
        points = [np.repeat(rng.integers(0, 10, (n, 2)), rng.choice([1, 1, 1, 2], n), axis=0) for n in lengths]
        way = " / ".join(" ".join(f"{x}{y}" for x, y in stroke) for stroke in points)
        pictures.extend(synthetic.render(synthetic.write_glyph(way, 4, rng), rng))  # four hands write it
    return np.stack(pictures[:count])


def signs(count: int, rng: np.random.Generator) -> np.ndarray:
    """Three to five short strokes, most of them level or upright, as the characters of many scripts are built."""
    pictures: list[np.ndarray] = []
    while len(pictures) < count:
        parts = []
        for _ in range(rng.integers(3, 6)):
            x, y = rng.integers(0, 4, 2)
            points = [(x, y)]
            for _ in range(rng.choice([1, 1, 2])):
                level = rng.random()
                x = x if level < 0.4 else rng.integers(0, 4)
                y = y if level > 0.6 else rng.integers(0, 4)
                points.append((x, y))
            corner = 2 if rng.random() < 0.7 else 1
            parts.append(" ".join(f"{3 * x}{3 * y}" for x, y in [points[0], *points[1:-1] * corner, points[-1]]))
        pictures.extend(synthetic.render(synthetic.write_glyph(" / ".join(parts), 4, rng), rng))  # four hands write it
    return np.stack(pictures[:count])


def other_characters(classes: Collection[str] = DIGITS.keys()) -> list[str]:
    """The names of the characters that look like none of the classes."""
    alike = {name for known in classes for name in LOOKALIKES.get(known, "").split()}
    return sorted(TEMPLATES.keys() - set(classes) - alike)


def letters(count: int, rng: np.random.Generator, classes: Collection[str] = DIGITS.keys()) -> np.ndarray:
    """Characters that look like none of the classes."""
    return synthetic.draw_characters(
        [str(name) for name in rng.choice(other_characters(classes), count)], int(rng.integers(2**32))
    )


def cut_characters(characters: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Characters cut in two, half of them brought back to full size."""
    pictures, labels = [], labels.astype(str)
    for i in rng.choice(np.flatnonzero(np.isin(labels, list(SAFE_CUTS))), count):
        picture, part = characters[i].copy(), rng.choice(list(SAFE_CUTS[labels[i]]))
        ink = np.flatnonzero(picture.any(1 if part in "tb" else 0))
        cut = int(ink[0] + rng.uniform(0.4, 0.6) * len(ink))
        gone = slice(cut, None) if part in "tl" else slice(None, cut)
        picture[gone if part in "tb" else (slice(None), gone)] = 0
        pictures.append(center_ink(picture) if rng.random() < 0.5 else picture)
    return np.stack(pictures)


def rotated_characters(characters: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Characters on their side, on their head, in a mirror."""
    labels = labels.astype(str)
    chosen = rng.choice(np.flatnonzero(np.isin(labels, list(SAFE_ROTATIONS))), count)
    return np.stack([ROTATIONS[rng.choice(list(SAFE_ROTATIONS[labels[i]]))](characters[i]) for i in chosen])


def character_pairs(characters: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Two characters in one box, side by side or over each other."""
    pictures: list[np.ndarray] = []
    for two in characters[rng.integers(len(characters), size=(count, 2))]:
        first, second = (digit[np.ix_(digit.any(1), digit.any(0))] for digit in two)
        beside = rng.random() < 0.6
        height = max(first.shape[0], second.shape[0]) + int(rng.integers(0, 3 if beside else 12))
        least = max(first.shape[1], second.shape[1])
        width = max(least, first.shape[1] + second.shape[1] + int(rng.integers(-3, 8))) if beside else least + 6
        field = np.zeros((height, width), np.uint8)
        for digit, left in ((first, 0), (second, width - second.shape[1])):
            top = int(rng.integers(0, height - digit.shape[0] + 1))
            place = field[top : top + digit.shape[0], left : left + digit.shape[1]]
            np.maximum(place, digit, out=place)
        pictures.append(center_ink(field))
    return np.stack(pictures)


def blended_characters(characters: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Quarters of four characters, or halves of two, the second mirrored."""
    pictures: list[np.ndarray] = []
    for a, b, c, d in characters[rng.integers(len(characters), size=(count, 4))]:
        y, x = rng.integers(10, 19, 2)
        kind = rng.integers(4)
        if kind == 0:
            picture = np.vstack([a[:y], b[y:, ::-1]])
        elif kind == 1:
            picture = np.hstack([a[:, :x], b[::-1, x:]])
        else:
            picture = np.vstack([np.hstack([a[:y, :x], b[:y, x:]]), np.hstack([c[y:, :x], d[y:, x:]])])
        pictures.append(center_ink(picture) if rng.random() < 0.5 else picture)
    return np.stack(pictures)


def shapes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise, clouds, gratings, gradients, blank paper, and the outlines and silhouettes of things."""
    return np.stack([SHAPES[rng.integers(len(SHAPES))](rng) for _ in range(count)])


def _gray(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator) -> np.ndarray:
    kinds = (
        rng.random((IMAGE_SIZE, IMAGE_SIZE)),
        (rng.random((IMAGE_SIZE, IMAGE_SIZE)) < rng.uniform(0.02, 0.6)),
        rng.normal(0.4, 0.3, (IMAGE_SIZE, IMAGE_SIZE)),
    )
    return _gray(255 * kinds[rng.integers(3)])


def _cloud(rng: np.random.Generator) -> np.ndarray:
    cloud = cv2.GaussianBlur(rng.normal(0, 1, (IMAGE_SIZE, IMAGE_SIZE)), (0, 0), rng.uniform(0.6, 5))
    cloud /= cloud.std()
    return _gray(255 * (cloud > rng.uniform(-0.5, 1.5)) if rng.random() < 0.6 else 70 * cloud + rng.uniform(0, 128))


def _waves(rng: np.random.Generator) -> np.ndarray:
    """A grating; of long waves a gradient, of very long ones an even gray."""
    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    turn, pitch = rng.uniform(0, np.pi), np.exp(rng.uniform(-4, 0.5))
    waves = np.sin(pitch * (np.cos(turn) * x + np.sin(turn) * y) + rng.uniform(0, 2 * np.pi))
    return _gray(255 * (waves > rng.uniform(-0.6, 0.6)) if rng.random() < 0.5 else rng.uniform(0, 128) * (1 + waves))


def _random_object(rng: np.random.Generator) -> np.ndarray:
    """Polygons and ellipses, filled or in outline, some cut out of the others."""
    field = np.zeros((4 * IMAGE_SIZE, 4 * IMAGE_SIZE), np.uint8)
    for i in range(rng.integers(1, 6)):
        shade = 0 if i and rng.random() < 0.35 else int(rng.integers(80, 256))
        width = -1 if rng.random() < 0.75 else int(rng.integers(4, 16))
        middle, radii = rng.integers(30, 82, 2), rng.integers(6, 44, 2)
        if rng.random() < 0.4:
            cv2.ellipse(field, middle.tolist(), radii.tolist(), int(rng.integers(180)), 0, 360, shade, width)
        else:
            corners = (middle + radii * rng.uniform(-1, 1, (rng.integers(3, 8), 2))).astype(np.int32)
            corners = corners if rng.random() < 0.3 else cv2.convexHull(corners)[:, 0]
            (
                cv2.fillPoly(field, [corners], shade)
                if width < 0
                else cv2.polylines(field, [corners], True, shade, width)
            )
    return center_ink(field)


def _photographed(rng: np.random.Generator) -> np.ndarray:
    """What is left of a texture or a thing where only full ink counts."""
    return center_ink(255 * (SHAPES[rng.integers(len(SHAPES) - 1)](rng) > 127).astype(np.uint8))


SHAPES: list[Callable[[np.random.Generator], np.ndarray]] = [
    _noise, _cloud, _waves, _random_object, _random_object,
    lambda rng: np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8), _photographed,
]  # fmt: skip


def outliers(pictures: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A mixture of all kinds.

    Args:
        pictures: (N, 28, 28) uint8 characters of all classes, to be cut up, and `labels` (N,) their names, or digits.
        seed: the same arguments give the same bytes.

    Returns:
        (about count, 28, 28) uint8.
    """
    rng = np.random.default_rng(seed)
    classes = set(labels.astype(str).tolist())
    made = {character_pairs: 0.07, rotated_characters: 0.05, blended_characters: 0.05, cut_characters: 0.03}
    if len(classes) > MAX_CLASSES_FOR_PIECES or classes.isdisjoint(SAFE_ROTATIONS):
        made = {character_pairs: 0.12, blended_characters: 0.08}
    drawn = {scribbles: 0.2, signs: 0.15, shapes: 0.05}
    others = [letters(max(1, round(0.4 * count)), rng, classes)]
    others += [kind(max(1, round(share * count)), rng) for kind, share in drawn.items()]
    others += [kind(pictures, labels, max(1, round(share * count)), rng) for kind, share in made.items()]
    return np.concatenate(others)
