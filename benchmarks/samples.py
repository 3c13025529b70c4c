"""Draw the sample pictures in handwritten/: photographs that no camera took, of writing that no hand wrote.

    python -m benchmarks.samples

Writes handwritten/digits/<digit>/drawn_<n>.jpg, three of each, and handwritten/sheet.jpg.
"""

from pathlib import Path

import cv2
import numpy as np

import experiment
import paper

FOLDER = Path(__file__).parent.parent / "handwritten"
EACH = 3


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with experiment.writing(path) as file:
        cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])


def main() -> None:
    rng = np.random.default_rng(2026)
    for digit in range(10):
        for n in range(1, 1 + EACH):
            conditions = paper.Conditions.random(rng, size=(320, 320), fill=rng.uniform(0.35, 0.8))
            picture, _ = paper.photograph([[str(digit)]], int(rng.integers(2**31)), conditions)
            write(FOLDER / "digits" / str(digit) / f"drawn_{n}.jpg", picture)
    conditions = paper.Conditions(
        (1200, 900), "blue ballpoint", "white", "squared", 0.9, turn=-3, tilt=(0.05, -0.04), curl=0.01,
        light="slanting", tint=0.4, blur=0.7, noise=3, quality=85,
    )  # fmt: skip
    picture, _ = paper.photograph(["0123456789", "31415926", "27182818"], 8, conditions)
    write(FOLDER / "sheet.jpg", picture)


if __name__ == "__main__":
    main()
