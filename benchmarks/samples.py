"""Draw the sample images in handwritten/: simulated photographs of handwriting.

    python -m benchmarks.samples

Writes three images of each digit, handwritten/digits/<digit>/drawn_<n>.jpg, a page, handwritten/sheet.jpg, and three
images of each Greek letter, handwritten/greek/<letter>/drawn_<n>.jpg.
"""

from pathlib import Path

import cv2
import numpy as np

from benchmarks.simulation import photographs
from pipeline import files
from pipeline.datasets.stroke_templates import GREEK

FOLDER = Path(__file__).parent.parent / "handwritten"
IMAGES_PER_CLASS = 3


def write(path: Path, photo: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as file:
        cv2.imwrite(str(file), photo, [cv2.IMWRITE_JPEG_QUALITY, 80])


def draw(name: str, side: int, rng: np.random.Generator, folder: Path) -> None:
    for n in range(1, 1 + IMAGES_PER_CLASS):
        conditions = photographs.Conditions.random(rng, size=(side, side), fill=rng.uniform(0.35, 0.8))
        photo, _ = photographs.photograph([[name]], int(rng.integers(2**31)), conditions)
        write(folder / name / f"drawn_{n}.jpg", photo)


def main() -> None:
    rng = np.random.default_rng(2026)
    for digit in range(10):
        draw(str(digit), 320, rng, FOLDER / "digits")
    conditions = photographs.Conditions(
        (1200, 900), "blue ballpoint", "white", "squared", 0.9, rotation=-3, tilt=(0.05, -0.04), curl=0.01,
        light="slanting", tint=0.4, blur=0.7, noise=3, quality=85,
    )  # fmt: skip
    photo, _ = photographs.photograph(["0123456789", "31415926", "27182818"], 8, conditions)
    write(FOLDER / "sheet.jpg", photo)
    for letter in GREEK:
        draw(letter, 200, rng, FOLDER / "greek")


if __name__ == "__main__":
    main()
