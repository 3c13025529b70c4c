"""Classify people's own handwriting; write the table and the figure, print the summary.

A prediction with a confidence of at most MIN_CONFIDENCE is reported as `unclear`.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline import files, plots
from pipeline.datasets import augmentation, datasets
from pipeline.datasets.handwriting_folder import Sample, page_samples
from pipeline.evaluation import handwriting_figure, metrics
from pipeline.preprocessing.image_files import read_image
from pipeline.preprocessing.photo import Photo, as_uint8

MIN_CONFIDENCE = 0.8  # above it a prediction is reported; set where 5 % of characters that are no digit exceed it
UNCLEAR = "unclear"
VIEW_ROTATION_DEGREES = 6
MIN_CLASSIFIED_SHARE = 0.8  # of the characters of a page; below it the other three orientations are tried
MIN_SHARE_GAIN = 0.2  # another orientation is taken only if this much more of the page is classified
# counterclockwise quarter turns that set a page upright, and how the page is rotated before
PAGE_ROTATIONS = {1: "90 degrees clockwise", 2: "180 degrees", 3: "90 degrees counterclockwise"}


def predict_views(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Average the network's predictions over three views: rotated by -6, 0 and 6 degrees.

    Handwriting is rarely quite upright, and a confident prediction should not depend on a few degrees.

    Args:
        images: (N, 1, 28, 28), normalized.

    Returns:
        (N, classes) log-probabilities, on the CPU.
    """
    images = images.to(next(model.parameters()).device)
    views = [images] + [
        augmentation.rotate(images, degrees) for degrees in (-VIEW_ROTATION_DEGREES, VIEW_ROTATION_DEGREES)
    ]
    return torch.stack([metrics.predict(model, view) for view in views]).mean(0).log_softmax(1).cpu()


def classify(model: nn.Module, images: Sequence[np.ndarray]) -> pd.DataFrame:
    """Classify N images of (28, 28) uint8.

    Returns:
        N rows of prediction, confidence (0 to 1; 0 for an empty image) and answer (the prediction, or `unclear`).
    """
    confidence, classes = predict_views(model, datasets.normalize(np.stack(images))).exp().max(1)
    table = pd.DataFrame({"prediction": [model.class_names[i] for i in classes], "confidence": confidence.numpy()})
    table.loc[[not image.any() for image in images], "confidence"] = 0.0
    table["answer"] = table.prediction.where(table.confidence > MIN_CONFIDENCE, UNCLEAR)
    return table


def choose_readings(model: nn.Module, samples: Sequence[Sample]) -> list[Sample]:
    """Replace the image of each unclear sample by the alternative preprocessing that is classified most confidently.

    A sample whose first image is classified keeps it.
    """
    confidence = classify(model, [sample.picture for sample in samples]).confidence.tolist()
    chosen = list(samples)
    unclear = [
        (i, other) for i, sample in enumerate(samples) if confidence[i] <= MIN_CONFIDENCE for other in sample.others
    ]
    if unclear:
        others = classify(model, [other for _, other in unclear])
        for (i, other), other_confidence in zip(unclear, others.confidence, strict=True):
            if other_confidence > confidence[i]:
                chosen[i], confidence[i] = replace(chosen[i], picture=other), other_confidence
    return chosen


def rotate_pages_upright(model: nn.Module, samples: Sequence[Sample]) -> tuple[list[Sample], list[str]]:
    """Rotate each page of which many characters are unclear, if clearly more of them are classified then.

    Returns:
        the samples; a line for each page that was rotated.
    """
    upright, lines = [], []
    for (file, number), group in itertools.groupby(samples, key=lambda sample: (sample.file, sample.page)):
        page = list(group)
        if page[0].box is not None and (share := _classified_share(model, page)) < MIN_CLASSIFIED_SHARE:
            photo = as_uint8(read_image(file, number))
            rotated = {turns: np.ascontiguousarray(np.rot90(photo, turns)) for turns in PAGE_ROTATIONS}
            pages = {turns: page_samples(file, p, Photo(p).characters(), number, turns) for turns, p in rotated.items()}
            best = max(pages, key=lambda turns: _classified_share(model, pages[turns]))
            if _classified_share(model, pages[best]) >= share + MIN_SHARE_GAIN:
                page = pages[best]
                lines.append(f"{page[0].location} is rotated by {PAGE_ROTATIONS[best]}: it was read upright")
        upright += page
    return upright, lines


def _classified_share(model: nn.Module, samples: Sequence[Sample]) -> float:
    if not samples:
        return 0.0
    return float((classify(model, [sample.picture for sample in samples]).answer != UNCLEAR).mean())


def classify_samples(model: nn.Module, samples: Sequence[Sample]) -> tuple[list[Sample], pd.DataFrame, list[str]]:
    """Classify the samples, each by its best alternative image and each page in its best orientation.

    Returns:
        the samples with the images that were classified; a row per sample: file, label (missing if unknown),
        prediction, confidence, answer, and the bounding box x, y, width, height in pixels (missing unless the file is a
        page of several characters); a line for each page that was rotated.
    """
    samples, rotated = rotate_pages_upright(model, choose_readings(model, samples))
    table = classify(model, [sample.picture for sample in samples])
    table.insert(0, "file", [files.printable(sample.location) for sample in samples])
    table.insert(1, "label", [sample.label for sample in samples])
    boxes = [sample.box or [None] * 4 for sample in samples]
    table[["x", "y", "width", "height"]] = pd.DataFrame(boxes, dtype="Int64")
    return samples, table, rotated


def save(samples: Sequence[Sample], table: pd.DataFrame, folder: Path) -> None:
    """Write handwritten.csv and handwritten.png of what `classify_samples` returned."""
    files.write_csv(folder / "handwritten.csv", table)
    title = f"Handwriting: {_counts(table)}"
    plots.save(handwriting_figure.handwriting(samples, table, title), folder / "handwritten.png")


def _counts(table: pd.DataFrame) -> str:
    return f"{len(table)} character{'s'[: len(table) > 1]}, {(table.answer == UNCLEAR).sum()} of them unclear"


def evaluate_handwriting(
    model: nn.Module, samples: Sequence[Sample], faults: Sequence[str], folder: Path
) -> pd.DataFrame:
    """Classify the samples; write handwritten.csv and handwritten.png, print the table and its summary.

    Args:
        samples, faults: as `handwriting_folder.read_folder` returns them.

    Returns:
        the table, as `classify_samples` returns it.
    """
    samples, table, rotated = classify_samples(model, samples)
    save(samples, table, folder)
    from_folders = sum(sample.is_folder_label for sample in samples)
    from_names = sum(sample.label is not None for sample in samples) - from_folders
    count = "1 character" if len(samples) == 1 else f"{len(samples)} characters"
    print(f"\nHandwriting: {count}; labels: {from_folders} from folders, {from_names} from file names")
    shown = table.dropna(axis=1, how="all").assign(confidence=table.confidence.map("{:.3f}".format))
    print(shown.astype(object).where(shown.notna(), "").to_string(index=False))
    for line in rotated:
        print(line)
    for fault in faults:
        print(f"skipped: {fault}")
    unclear = table.answer == UNCLEAR
    print(_counts(table) + (f"; {len(faults)} file{'s'[: len(faults) != 1]} skipped" if faults else ""))
    is_known = table.label.isin(model.class_names)
    other = table.label.notna() & ~is_known
    if other.any():
        print(f"of {other.sum()} whose label is no class of the network, {(other & ~unclear).sum()} were classified")
    known = table[is_known].copy()
    if len(known):
        known["writer"] = known.file.map(_writer)
        print(f"of {len(known)} with a known label, in percent:\n{_accuracy(known.assign(all='all'), 'all')}\n")
        for by in ("label", "writer"):
            if known[by].nunique() > 1:
                print(f"by {by}:\n{_accuracy(known, by)}\n")
    return table


def _writer(file: str) -> str:
    """Return the name of a file without its final number: 'digits/3/anna_2.png' or 'anna 2.png' -> 'anna'."""
    stem = Path(file).stem
    return re.sub(r"[_ -]*\d+$", "", stem) or stem


def _accuracy(known: pd.DataFrame, by: str) -> str:
    """Format the accuracy of each group in percent, over all its characters and over those that are not unclear."""
    correct, classified = (known.prediction == known.label) & (known.confidence > 0), known.answer != UNCLEAR
    table = pd.DataFrame({by: known[by], "characters": 1, "correct": correct, "classified": classified})
    table = table.assign(both=correct & classified).groupby(by).agg(["sum", "mean"])
    table = pd.DataFrame(
        {
            "characters": table["characters", "sum"],
            "correct": table["correct", "mean"],
            "classified": table["classified", "mean"],
            "correct when classified": table["both", "mean"] / table["classified", "mean"],
        }
    )
    percent = table.columns != "characters"
    table.loc[:, percent] = (100 * table.loc[:, percent]).round(1)
    return table.rename_axis(None).to_string(na_rep="-")
