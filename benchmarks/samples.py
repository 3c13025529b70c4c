"""Draw the sample pictures in handwritten/: photographs that no camera took, of writing that no hand wrote.

    python -m benchmarks.samples

Writes handwritten/digits/<digit>/drawn_<n>.jpg, three of each, handwritten/sheet.jpg,
and three of each Greek letter in handwritten/greek/<letter>/.
"""

from pathlib import Path

import cv2
import numpy as np

from benchmarks.simulation import photographs
from pipeline import files
from pipeline.datasets.stroke_templates import GREEK

FOLDER = Path(__file__).parent.parent / "handwritten"
EACH = 3


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as file:
        cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])


def draw(name: str, side: int, rng: np.random.Generator, folder: Path) -> None:
    for n in range(1, 1 + EACH):
        conditions = photographs.Conditions.random(rng, size=(side, side), fill=rng.uniform(0.35, 0.8))
        picture, _ = photographs.photograph([[name]], int(rng.integers(2**31)), conditions)
        write(folder / name / f"drawn_{n}.jpg", picture)


def main() -> None:
    rng = np.random.default_rng(2026)
    for digit in range(10):
        draw(str(digit), 320, rng, FOLDER / "digits")
    conditions = photographs.Conditions(
        (1200, 900), "blue ballpoint", "white", "squared", 0.9, turn=-3, tilt=(0.05, -0.04), curl=0.01,
        light="slanting", tint=0.4, blur=0.7, noise=3, quality=85,
    )  # fmt: skip
    picture, _ = photographs.photograph(["0123456789", "31415926", "27182818"], 8, conditions)
    write(FOLDER / "sheet.jpg", picture)
    for letter in GREEK:
        draw(letter, 200, rng, FOLDER / "greek")


if __name__ == "__main__":
    main()
