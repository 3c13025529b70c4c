"""Classify people's own handwriting: the answers, the table, the printed summary.

An answer counts only where the network's confidence is above MIN_CONFIDENCE; otherwise it is `unclear`.
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

MIN_CONFIDENCE = 0.8  # confidence from which an answer counts: set on strangers' digits and on what is no digit
UNCLEAR = "unclear"
VIEW_ROTATION_DEGREES = 6  # degrees
MIN_ROTATED_SHARE, MIN_SHARE_GAIN = (
    0.8,
    0.2,
)  # shares of a page's characters that are answered: it may lie turned; it does
# quarter turns to the left that set a page upright, and how it lies then
PAGE_ROTATIONS = {1: "90 degrees clockwise", 2: "180 degrees", 3: "90 degrees counterclockwise"}


def predict_views(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(N, 1, 28, 28) normalized pictures -> (N, classes) log-probabilities, on the CPU.

    It looks at each three times, straight and turned a little either way, since no page is held quite straight.
    """
    images = images.to(next(model.parameters()).device)
    views = [images] + [
        augmentation.rotate(images, degrees) for degrees in (-VIEW_ROTATION_DEGREES, VIEW_ROTATION_DEGREES)
    ]
    return torch.stack([metrics.predict(model, view) for view in views]).mean(0).log_softmax(1).cpu()


def classify(model: nn.Module, pictures: Sequence[np.ndarray]) -> pd.DataFrame:
    """What the network says to N pictures of (28, 28) uint8: columns prediction, confidence 0 to 1, answer.

    Of a picture that shows nothing the confidence is 0.
    """
    confidence, classes = predict_views(model, datasets.normalize(np.stack(pictures))).exp().max(1)
    table = pd.DataFrame({"prediction": [model.class_names[i] for i in classes], "confidence": confidence.numpy()})
    table.loc[[not picture.any() for picture in pictures], "confidence"] = 0.0
    table["answer"] = table.prediction.where(table.confidence > MIN_CONFIDENCE, UNCLEAR)
    return table


def choose_readings(model: nn.Module, samples: Sequence[Sample]) -> list[Sample]:
    """The samples; where the network is unsure of one, with another reading that it is more sure of, if there is any.

    What is plain is never overruled: a reading that is answered stays.
    """
    sure = classify(model, [sample.picture for sample in samples]).confidence.tolist()
    chosen = list(samples)
    doubted = [(i, other) for i, sample in enumerate(samples) if sure[i] <= MIN_CONFIDENCE for other in sample.others]
    if doubted:
        confidence = classify(model, [other for _, other in doubted]).confidence
        for (i, other), other_sure in zip(doubted, confidence, strict=True):
            if other_sure > sure[i]:
                chosen[i], sure[i] = replace(chosen[i], picture=other), other_sure
    return chosen


def rotate_pages_upright(model: nn.Module, samples: Sequence[Sample]) -> tuple[list[Sample], list[str]]:
    """The samples, the pages among them read in the direction in which the network knows most of their characters.

    A page of which many are unclear is turned if clearly more of them are answered then.

    Returns:
        the samples; a line for each page that was turned.
    """
    turned, lines = [], []
    for file, group in itertools.groupby(samples, key=lambda sample: sample.file):
        page = list(group)
        if page[0].box is not None and (known := _share_answered(model, page)) < MIN_ROTATED_SHARE:
            photo = as_uint8(read_image(file))
            ways = {turns: np.ascontiguousarray(np.rot90(photo, turns)) for turns in PAGE_ROTATIONS}
            ways = {turns: page_samples(file, way, Photo(way).characters(), turns) for turns, way in ways.items()}
            best = max(ways, key=lambda turns: _share_answered(model, ways[turns]))
            if _share_answered(model, ways[best]) >= known + MIN_SHARE_GAIN:
                page = ways[best]
                lines.append(f"{file} is rotated by {PAGE_ROTATIONS[best]}: it was read upright")
        turned += page
    return turned, lines


def _share_answered(model: nn.Module, samples: Sequence[Sample]) -> float:
    if not samples:
        return 0.0
    return float((classify(model, [sample.picture for sample in samples]).answer != UNCLEAR).mean())


def evaluate_handwriting(
    model: nn.Module, samples: Sequence[Sample], faults: Sequence[str], folder: Path
) -> pd.DataFrame:
    """Answer the samples of `pictures.read_folder`; write handwritten.csv and handwritten.png, print what they say.

    Returns:
        file, label (missing where unknown), prediction, confidence, answer, and the box x, y, width, height, which is
        missing unless the file is a sheet.
    """
    samples, turned = rotate_pages_upright(model, choose_readings(model, samples))
    table = classify(model, [sample.picture for sample in samples])
    table.insert(0, "file", [sample.file.as_posix() for sample in samples])
    table.insert(1, "label", [sample.label for sample in samples])
    boxes = [sample.box or [None] * 4 for sample in samples]
    table[["x", "y", "width", "height"]] = pd.DataFrame(boxes, dtype="Int64")
    files.write_csv(folder / "handwritten.csv", table)

    print("\nHandwriting:")
    shown = table.dropna(axis=1, how="all").assign(confidence=table.confidence.map("{:.3f}".format))
    print(shown.astype(object).where(shown.notna(), "").to_string(index=False))
    for line in turned:
        print(line)
    for fault in faults:
        print(f"skipped: {fault}")
    unclear = table.answer == UNCLEAR
    counts = f"{len(table)} character{'s'[: len(table) > 1]}, {unclear.sum()} of them unclear"
    print(counts + (f"; {len(faults)} file{'s'[: len(faults) != 1]} skipped" if faults else ""))
    is_known = table.label.isin(model.class_names)
    strangers = table.label.notna() & ~is_known
    if strangers.any():
        print(
            f"of {strangers.sum()} that belong to no class of the network {(strangers & ~unclear).sum()} were answered"
        )
    known = table[is_known].copy()
    if len(known):
        known["writer"] = known.file.map(_writer)
        print(f"of {len(known)} with a known label, in percent:\n{_accuracy(known.assign(all='all'), 'all')}\n")
        for by in ("label", "writer"):
            if known[by].nunique() > 1:
                print(f"by {by}:\n{_accuracy(known, by)}\n")
    plots.save(handwriting_figure.handwriting(samples, table, f"Handwriting: {counts}"), folder / "handwritten.png")
    return table


def _writer(file: str) -> str:
    """'digits/3/anna_2.png' or 'anna 2.png' -> 'anna'; what stands before a last number, or all where there is none."""
    stem = Path(file).stem
    return re.sub(r"[_ -]*\d+$", "", stem) or stem


def _accuracy(known: pd.DataFrame, by: str) -> str:
    """Right: the likeliest class is the label. Answered, and of those right: with more than 80 % confidence."""
    right, sure = (known.prediction == known.label) & (known.confidence > 0), known.answer != UNCLEAR
    table = pd.DataFrame({by: known[by], "characters": 1, "right": right, "answered": sure, "both": right & sure})
    table = table.groupby(by).agg({"characters": "sum", "right": "mean", "answered": "mean", "both": "mean"})
    table["right when answered"] = table.pop("both") / table.answered
    percent = table.columns != "characters"
    table.loc[:, percent] = (100 * table.loc[:, percent]).round(1)
    return table.rename_axis(None).to_string(na_rep="-")
