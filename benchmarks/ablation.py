"""Ablate the preprocessing: disable one rule at a time, classify all images.

    python -m benchmarks.ablation FOLDER outputs/benchmarks/best/*/model.pt

FOLDER is the same as for benchmarks.handwriting. Writes benchmarks/results/ablation.json and prints it as a table: for
each rule, how `correct` and `classified` change without it on each kind of digits and on the 300 simulated photographs
of benchmarks.photos (`drawn`), in percentage points, as the mean over all weights.
"""

import dataclasses
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch

import models
from benchmarks import photos, results
from benchmarks.handwriting import read_transcripts
from benchmarks.photos import classify_samples
from pipeline import checkpoints
from pipeline.datasets.handwriting_folder import one_character
from pipeline.evaluation import handwriting
from pipeline.preprocessing import binarization, mnist_format, photo, segmentation
from pipeline.preprocessing.image_files import list_images, read_image


def scale_fields(**fields):
    """Return the patches that replace fields of both scales for a single character."""
    return [
        (photo, name, dataclasses.replace(getattr(photo, name), **fields))
        for name in ("PHOTO_SCALE", "BROAD_PEN_SCALE")
    ]


def constants(module, **values):
    return [(module, name, value) for name, value in values.items()]


WHOLE_IMAGE = 2.0  # window size as a share of the image: every window contains the whole image
RULES = {
    "all rules": [],
    "the color that shows the ink best": constants(binarization, _color_mixture=lambda image: np.full((1, 3), 1 / 3)),
    "polarity by the local median": constants(photo, polarity=lambda gray, scale: 9.0),
    "contrast compared nearby, for the mask": scale_fields(window=WHOLE_IMAGE),
    "noise of paper": constants(binarization, NOISE_SPREAD=0),
    "faint parts left out": scale_fields(faint=0.0),
    "printed lines removed": constants(photo, without_rules=lambda mask, scale: mask),
    "what the border cuts weighs less": constants(segmentation, BORDER_WEIGHT=1, OPPOSITE_BORDERS_WEIGHT=1),
    "near strokes join": constants(segmentation, STROKE_REACH=((9.0, 0.0),)),
    "broken strokes join": constants(segmentation, MAX_STROKE_GAP=0, MAX_STROKE_GAP_PX=0),
    "a second character joins": constants(segmentation, COMPANION_REACH=0),
    "the edge of a thing is no ink": constants(segmentation, MAX_NARROW_WIDTH=0),
    "contrast compared nearby, for the stroke": constants(mnist_format, CONTRAST_WINDOW=WHOLE_IMAGE),
    "the stroke smoothed": constants(mnist_format, DRAWING_BLUR=0.1),
    "thin strokes widened": constants(mnist_format, MIN_STROKE_WIDTH=0),
    "solid things are no ink": constants(mnist_format, MAX_STROKE_WIDTH=99),
    "other readings where it is unsure": constants(photo.Photo, readings=lambda self: [self.character.image]),
}


def measure(
    images_by_kind: dict[str, tuple[list[np.ndarray], list[str]]], networks: list
) -> dict[str, tuple[float, float]]:
    """Return the percentages correct and classified by kind, means over networks."""
    shares = {}
    for kind, (images, labels) in images_by_kind.items():
        samples = [one_character(Path(), None, photo.Photo(pixels)) for pixels in images]
        correct, classified = [], []
        for network in networks:
            table = classify_samples(network, samples)
            correct.append(((table.prediction == labels) & (table.confidence > 0)).mean())
            classified.append((table.answer != handwriting.UNCLEAR).mean())
        shares[kind] = 100 * float(np.mean(correct)), 100 * float(np.mean(classified))
    return shares


def main(folder: Path, weights: list[Path]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    networks = [checkpoints.load(path, models.MnistNet, "train_mnist.py", models.DIGITS) for path in weights]
    images_by_kind = {"drawn": photos.simulated_photos()}
    pages = read_transcripts(folder)
    for file in list_images(folder):
        if file not in pages and file.parent.name in models.DIGITS:
            images, labels = images_by_kind.setdefault(file.parent.parent.name, ([], []))
            images.append(photo.as_uint8(read_image(file)))
            labels.append(file.parent.name)
    rows, base = [], None
    for rule, patches in RULES.items():
        with ExitStack() as stack:
            for module, name, value in patches:
                stack.enter_context(mock.patch.object(module, name, value))
            shares = measure(images_by_kind, networks)
        base = base or shares
        row = {"without": rule}
        for kind, (correct, classified) in shares.items():
            row[f"{kind}: correct"], row[f"{kind}: classified"] = correct - base[kind][0], classified - base[kind][1]
        rows.append(row)
        cells = [f"{row[f'{kind}: correct']:+.1f}, {row[f'{kind}: classified']:+.1f}" for kind in shares]
        print(" | ".join(["", rule, *cells, ""]).strip(), flush=True)
    summary = {
        f"{kind}: {name}": value
        for kind in base
        for name, value in zip(("correct", "classified"), base[kind], strict=True)
    }
    results.write("ablation", summary, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
