"""Measure the accuracy on letters in rough binary scans of 44 pixels.

    python -m benchmarks.scans FOLDER outputs/transfer_greek/model.pt outputs/greek_from_scratch/model.pt

FOLDER contains photographs of letters in one folder per class; the scans are simulated from these, with ruled and
dotted lines as dark as the ink. Writes benchmarks/results/scans.json: `correct` and `classified` in percent for each
set of weights and each kind of scan.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import pipeline.preprocessing.photo as photo_reading
from benchmarks import results
from pipeline import checkpoints
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.evaluation import handwriting

SIDE = 44  # pixels
KINDS = {
    "plain": [],
    "ruled": ["line"],
    "dotted": ["dots"],
    "neighbours": ["neighbours"],
    "all": ["line", "dots", "neighbours"],
}


def scan(glyph: np.ndarray, neighbor: np.ndarray, disturbances: list[str], rng: np.random.Generator) -> np.ndarray:
    """Simulate a scan from a letter and its neighbor.

    Args:
        glyph, neighbor: (28, 28) uint8, light on dark.
        disturbances: those to add, of "line", "dots" and "neighbours".

    Returns:
        (44, 44) uint8, ink 0 and paper 255.
    """
    page = np.zeros((SIDE, SIDE), bool)
    ink = glyph > 110
    margin = (SIDE - len(ink)) // 2
    page[margin:-margin, margin:-margin] = ink
    if "line" in disturbances:  # on the lowest pixel of the letter, or up to 3 pixels below
        page[min(np.flatnonzero(page.any(1))[-1] + rng.integers(0, 4), SIDE - 2)] = True
    if "dots" in disturbances:
        page[3, ::2] = page[::2, 2] = page[::2, -3] = True
    if "neighbours" in disturbances:  # cut off by the left and right border
        page[margin:-margin, :4] |= neighbor[:, -12:-8] > 110
        page[margin:-margin, -4:] |= neighbor[:, 8:12] > 110
    return np.where(page, 0, 255).astype(np.uint8)


def main(folder: Path, weights: list[Path]) -> None:
    torch.set_num_threads(1)
    rows = []
    for path in weights:
        model = checkpoints.load(path, None, "transfer_greek.py")
        samples, _ = read_folder(folder, model.class_names)
        samples = [sample for sample in samples if sample.label]
        for kind, disturbances in KINDS.items():
            rng = np.random.default_rng(0)
            images = [
                photo_reading.photo_to_mnist(scan(sample.picture, rng.choice(samples).picture, disturbances, rng))
                for sample in samples
            ]
            table = handwriting.classify(model, images)
            correct = table.prediction == [sample.label for sample in samples]
            row = {"weights": path.parent.name, "kind": kind, "letters": len(samples)}
            row |= {"correct": 100 * correct.mean(), "classified": 100 * (table.answer != handwriting.UNCLEAR).mean()}
            rows.append(results.print_row(row))
    results.write("scans", {"least correct": min(row["correct"] for row in rows)}, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
