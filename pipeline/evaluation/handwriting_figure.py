"""The figure of classified handwriting: each photo, the network's input and its prediction."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pipeline.datasets.handwriting_folder import Sample
from pipeline.plots import TEST_COLOR, VALID_COLOR
from pipeline.preprocessing.photo import THUMBNAIL_PX, thumbnail


def handwriting(samples: Sequence[Sample], table: pd.DataFrame, title: str) -> Figure:
    """Draw each photo beside the network's input and its prediction.

    Captions are green for correct, red for incorrect, gray for unclear, black for unlabeled.

    Args:
        samples: the first 400 are shown.
        table: a row per sample, with label, prediction, confidence and answer.
    """
    samples = samples[:400]
    columns = min(8, len(samples))
    rows = math.ceil(len(samples) / columns)
    side, gap = THUMBNAIL_PX, 8  # pixels
    canvas = np.full((rows * (side + 24), columns * (2 * side + 2 * gap), 3), 255, np.uint8)
    figure, axis = plt.subplots(figsize=(canvas.shape[1] / 130, canvas.shape[0] / 130 + 0.5), layout="constrained")
    for i, (sample, row) in enumerate(zip(samples, table.itertuples(), strict=False)):
        top, left = i // columns * (side + 24), i % columns * (2 * side + 2 * gap)
        for small, x in ((sample.photo, left), (thumbnail(sample.picture, side), left + side)):
            canvas[top : top + small.shape[0], x : x + small.shape[1]] = small
        wrong = sample.label is not None and row.prediction != sample.label
        correct = VALID_COLOR if sample.label else "black"
        color = "tab:gray" if row.answer != row.prediction else TEST_COLOR if wrong else correct
        caption = f"{row.answer} {100 * row.confidence:.0f} %" + (f", is {sample.label}" if wrong else "")
        axis.text(left + side, top + side + 11, caption, ha="center", va="center", fontsize=8, color=color)
    for top in range(0, len(canvas), side + 24):  # row by row, since matplotlib converts each image to float64
        strip = canvas[top : top + side + 24]
        axis.imshow(strip, extent=(-0.5, canvas.shape[1] - 0.5, top + len(strip) - 0.5, top - 0.5))
    axis.set(xlim=(-0.5, canvas.shape[1] - 0.5), ylim=(len(canvas) - 0.5, -0.5))
    axis.axis("off")
    axis.set_title(title + ("" if len(samples) == len(table) else f", the first {len(samples)}"))
    return figure
