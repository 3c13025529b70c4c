"""The figure of handwriting: each photo, what the network saw of it, and its answer."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pipeline.datasets.handwriting_folder import Sample
from pipeline.plots import TEST_COLOR, VALID_COLOR
from pipeline.preprocessing.photo import as_uint8


def handwriting(samples: Sequence[Sample], answers: pd.DataFrame, title: str) -> Figure:
    """Each photo, what the network saw of it, and its answer: green right, red wrong, gray unclear, black unlabelled.

    Args:
        samples: of which the first 400 are shown.
        answers: a row per sample, with label, prediction, confidence and answer.
    """
    samples = samples[:400]
    columns = min(8, len(samples))
    rows = math.ceil(len(samples) / columns)
    side, gap = 84, 8  # pixels of a picture, and between two
    field = np.full((rows * (side + 24), columns * (2 * side + 2 * gap), 3), 255, np.uint8)
    figure, axis = plt.subplots(figsize=(field.shape[1] / 130, field.shape[0] / 130 + 0.5), layout="constrained")
    for i, (sample, row) in enumerate(zip(samples, answers.itertuples(), strict=False)):
        top, left = i // columns * (side + 24), i % columns * (2 * side + 2 * gap)
        for picture, at in ((sample.photo, left), (sample.picture, left + side)):
            small = thumbnail(picture, side)
            field[top : top + small.shape[0], at : at + small.shape[1]] = small
        wrong = sample.label is not None and row.prediction != sample.label
        right = VALID_COLOR if sample.label else "black"
        color = "tab:gray" if row.answer != row.prediction else TEST_COLOR if wrong else right
        caption = f"{row.answer} {100 * row.confidence:.0f} %" + (f", is {sample.label}" if wrong else "")
        axis.text(left + side, top + side + 11, caption, ha="center", va="center", fontsize=8, color=color)
    axis.imshow(field)
    axis.axis("off")
    axis.set_title(title + ("" if len(samples) == len(answers) else f", the first {len(samples)}"))
    return figure


def thumbnail(picture: np.ndarray, side: int) -> np.ndarray:
    """Any picture, blue, green, red, as (at most side, at most side, 3) uint8 red, green, blue, for display."""
    picture = as_uint8(picture)
    scale = side / max(picture.shape[:2])
    size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)
