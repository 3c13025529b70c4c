"""Measure preprocessing time and accuracy on real and simulated photographs.

    python -m benchmarks.photos FOLDER outputs/benchmarks/best/*/model.pt
    python -m benchmarks.photos               without a network

FOLDER contains labeled photographs (see handwritten/README.md). Writes benchmarks/results/sheets.json: milliseconds for
a 300x300 crop and a 12-megapixel page, on one thread; characters found, missed and falsely detected on 60 simulated
pages. With FOLDER it also writes photos.json: for each set of weights, on FOLDER and on 300 simulated photographs under
random conditions, `correct`, `classified` and `correct when classified` in percent, compared with the tutorials'
preprocessing (gray, inverted if dark on light, resized to 28x28).
"""

import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

import models
from benchmarks import results
from benchmarks.simulation import photographs
from pipeline import checkpoints
from pipeline.datasets.handwriting_folder import Sample, one_character, read_folder
from pipeline.evaluation import handwriting
from pipeline.preprocessing.image_files import read_image
from pipeline.preprocessing.photo import Photo, as_uint8, photo_to_mnist

PHOTOS, PAGES = 300, 60
PENS = ["pencil", "blue ballpoint", "black ballpoint", "red ballpoint", "felt pen", "marker"]


def milliseconds(action, repeats: int) -> float:
    """Return the median time of a call, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def tutorial_preprocessing(photo: np.ndarray) -> np.ndarray:
    """Preprocess (H, W) or (H, W, 3) uint8 as tutorials: (28, 28), light on dark."""
    gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY) if photo.ndim == 3 else photo
    gray = cv2.resize(gray, (28, 28), interpolation=cv2.INTER_AREA)
    return 255 - gray if np.median(gray) > 127 else gray


def simulated_photos() -> tuple[list[np.ndarray], list[str]]:
    """Simulate PHOTOS photographs of one digit, up to 1,000 pixels wide; and labels."""
    photos, labels = [], []
    for i in range(PHOTOS):
        rng = np.random.default_rng([7, i])
        side = int(64 * 2 ** rng.uniform(0, 4))
        conditions = photographs.Conditions.random(rng, size=(side, max(64, side * 3 // 4)))
        photos.append(photographs.photograph([[str(i % 10)]], 10_000 + i, conditions)[0])
        labels.append(str(i % 10))
    return photos, labels


def classify_samples(model: models.MnistNet, samples: list[Sample]) -> pd.DataFrame:
    """Classify each sample by the alternative input that the network selects."""
    return handwriting.classify(model, [sample.picture for sample in handwriting.choose_readings(model, samples)])


def percent(model: models.MnistNet, samples: list[Sample], labels: list[str], name: str) -> dict:
    """Return `correct`, `classified` and `correct when classified` in percent."""
    table = classify_samples(model, samples)
    correct, classified = table.prediction == labels, table.answer != handwriting.UNCLEAR
    kinds = {"correct": correct, "classified": classified, "correct when classified": correct[classified]}
    return {f"{name}: {kind}": 100 * values.mean() for kind, values in kinds.items()}


def overlap(first: photographs.Box, second: photographs.Box) -> float:
    """Return the intersection over union of two boxes (x, y, width, height)."""
    (x, y, w, h), (u, v, p, q) = first, second
    intersection = max(0, min(x + w, u + p) - max(x, u)) * max(0, min(y + h, v + q) - max(y, v))
    return intersection / (w * h + p * q - intersection)


def measure_pages() -> dict:
    """Detect characters on PAGES simulated pages of one to five rows.

    A character is found if a box overlaps it by more than 0.5.
    """
    characters = found = invented = exact = 0
    for i in range(PAGES):
        rng = np.random.default_rng([8, i])
        rows = ["".join(map(str, rng.integers(0, 10, rng.integers(2, 9)))) for _ in range(rng.integers(1, 6))]
        conditions = photographs.Conditions.random(
            rng, size=[(1200, 900), (900, 1200), (800, 800)][i % 3], fill=rng.uniform(0.5, 0.9), neighbors=False,
            pen=str(rng.choice(PENS)), gap=float(rng.choice([0.06, 0.15, 0.25])),
        )  # fmt: skip
        photo, boxes = photographs.photograph(rows, 20_000 + i, conditions)
        detected = [character.box for character in Photo(photo).characters()]
        hits = [[j for j, box in enumerate(detected) if overlap(box, truth) > 0.5] for truth in boxes]
        order = [hit[0] for hit in hits if hit]
        characters += len(boxes)
        found += len(order)
        invented += len(detected) - len(order)
        exact += order == list(range(len(boxes))) and len(detected) == len(boxes)
    return {"sheets": PAGES, "characters": characters, "found": found, "invented": invented, "faultless_sheets": exact}


def main(folder: str = "", *weights: str) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clean = photographs.Conditions(size=(300, 300), light="slanting", noise=3, blur=0.6, paper="cream")
    crop, _ = photographs.photograph([["3"]], 1, clean)
    large = photographs.Conditions(size=(4000, 3000), pen="blue ballpoint", pattern="squared", fill=0.9, noise=3)
    page, _ = photographs.photograph(["0123456789"] * 6, 2, large)
    summary = {
        "crop_300_ms": milliseconds(lambda: photo_to_mnist(crop), 200),
        "sheet_12_megapixels_ms": milliseconds(lambda: Photo(page).characters(), 7),
        "sheet_characters": len(Photo(page).characters()),
    }
    results.write("sheets", summary | measure_pages(), [])
    if not folder:
        return
    samples, _ = read_folder(Path(folder), models.DIGITS)
    real_labels = [sample.label for sample in samples]
    tutorial = [
        replace(sample, picture=tutorial_preprocessing(as_uint8(read_image(sample.file))), others=[])
        for sample in samples
    ]
    photos, labels = simulated_photos()
    simulated = [one_character(Path(), None, Photo(photo)) for photo in photos]
    simulated_tutorial = [
        replace(sample, picture=tutorial_preprocessing(photo), others=[])
        for sample, photo in zip(simulated, photos, strict=True)
    ]
    rows = []
    for path in weights:
        model = checkpoints.load(Path(path), models.MnistNet, "train_mnist.py")
        row = {"weights": path} | percent(model, samples, real_labels, "real")
        row |= percent(model, tutorial, real_labels, "real, tutorial's way")
        row |= percent(model, simulated, labels, "drawn")
        row |= percent(model, simulated_tutorial, labels, "drawn, tutorial's way")
        rows.append(results.print_row(row))
    means = {name: sum(row[name] for row in rows) / len(rows) for name in list(rows[0])[1:]}
    results.write("photos", {"photos": len(samples)} | means, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
