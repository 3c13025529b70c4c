"""Write the figures and tables of a network's predictions for labeled examples."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline import files, plots
from pipeline.datasets.datasets import Split
from pipeline.evaluation import metrics


def write(
    outputs: torch.Tensor, split: Split, names: Sequence[str], title: str, folder: Path, shown: Sequence[int] = range(9)
) -> float:
    """Write predictions.png, confusion.png, mistakes.png and classes.csv; print the table.

    Args:
        outputs: (N, classes) log-probabilities, on the CPU, for the split's N examples.
        title: a name of the examples, for the figures' titles.
        shown: indices of the examples in predictions.png, in this order; indices beyond the last are ignored.

    Returns:
        accuracy in percent.
    """
    labels, predicted = split.labels.cpu(), outputs.argmax(1)
    captions = [
        f"predicted {names[prediction]}" + ("" if prediction == label else f"\nis {names[label]}")
        for prediction, label in zip(predicted.tolist(), labels.tolist(), strict=True)
    ]
    shown = [i for i in shown if i < len(labels)]
    columns = math.ceil(math.sqrt(len(shown)))
    is_wrong = predicted != labels
    figure = plots.image_grid(
        split.images[shown],
        [captions[i] for i in shown],
        columns,
        f"Predictions: {title}",
        is_wrong[shown].tolist(),
    )
    plots.save(figure, folder / "predictions.png")

    counts = metrics.confusion(predicted, labels, names)
    table = metrics.per_class(counts)
    print(f"\nPer class, {title}, in percent:\n{table.round(2).to_string(na_rep='-')}")
    files.write_csv(folder / "classes.csv", table)
    plots.save(plots.confusion(counts, title[:1].upper() + title[1:]), folder / "confusion.png")

    wrong = is_wrong.nonzero().flatten()
    worst = wrong[outputs[wrong, labels[wrong]].argsort()[:25]]  # by ascending probability of the label
    heading = f"{len(wrong):,}" if len(wrong) else "No"
    if len(worst) < len(wrong):
        heading = f"The {len(worst)} worst of {heading}"
    heading += f" mistake{'s'[: len(wrong) != 1]} in {len(labels):,} {title}"
    figure = plots.image_grid(split.images[worst], [captions[i] for i in worst], 5, heading, [True] * len(worst))
    plots.save(figure, folder / "mistakes.png")
    return 100 * (len(labels) - len(wrong)) / len(labels)


def mistakes_first(predicted: torch.Tensor, labels: torch.Tensor, count: int) -> list[int]:
    """Choose up to `count` examples, equally many of each class, misclassified ones first.

    Args:
        predicted, labels: (N,) class indices; `predicted` on the CPU.

    Returns:
        their indices, the misclassified ones first, then by class.
    """
    is_correct = (predicted == labels.cpu()).tolist()
    by_class: dict[int, list[int]] = {}
    for i in sorted(range(len(labels)), key=is_correct.__getitem__):
        by_class.setdefault(int(labels[i]), []).append(i)
    rounds = itertools.zip_longest(*(by_class[label] for label in sorted(by_class)))
    chosen = [i for examples in rounds for i in examples if i is not None][:count]
    return sorted(chosen, key=lambda i: (is_correct[i], int(labels[i]), i))
