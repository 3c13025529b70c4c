"""What a network takes for what: pictures and tables of its answers to examples whose classes are known."""

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
        title: what the examples are.
        shown: which of them, in this order, go into predictions.png; those that there are.

    Returns:
        accuracy in percent.
    """
    labels, answers = split.labels.cpu(), outputs.argmax(1)
    captions = [
        f"predicted {names[answer]}" + ("" if answer == label else f"\nis {names[label]}!")
        for answer, label in zip(answers.tolist(), labels.tolist(), strict=True)
    ]
    shown = [i for i in shown if i < len(labels)]
    columns = math.ceil(math.sqrt(len(shown)))
    predictions = plots.image_grid(split.images[shown], [captions[i] for i in shown], columns, f"Predictions: {title}")
    plots.save(predictions, folder / "predictions.png")

    counts = metrics.confusion(answers, labels, names)
    table = metrics.per_class(counts)
    print(f"\nPer class, {title}, in percent:\n{table.round(2).to_string(na_rep='-')}")
    files.write_csv(folder / "classes.csv", table)
    plots.save(plots.confusion(counts, title[:1].upper() + title[1:]), folder / "confusion.png")

    wrong = (answers != labels).nonzero().flatten()
    worst = wrong[outputs[wrong, labels[wrong]].argsort()[:25]]  # what left the truth the least probability
    heading = f"{len(wrong):,}" if len(wrong) else "No"
    if len(worst) < len(wrong):
        heading = f"The {len(worst)} worst of {heading}"
    heading += f" mistake{'s'[: len(wrong) != 1]} in {len(labels):,} {title}"
    plots.save(plots.image_grid(split.images[worst], [captions[i] for i in worst], 5, heading), folder / "mistakes.png")
    return 100 * (len(labels) - len(wrong)) / len(labels)


def mistakes_first(answers: torch.Tensor, labels: torch.Tensor, count: int) -> list[int]:
    """Which `count` examples to show where not all can be: of every class as many, and before all the mistakes.

    Args:
        answers, labels: (N,) numbers of classes, on the CPU.
    """
    is_right = (answers == labels.cpu()).tolist()
    by_class: dict[int, list[int]] = {}
    for i in sorted(range(len(labels)), key=is_right.__getitem__):
        by_class.setdefault(int(labels[i]), []).append(i)
    rounds = itertools.zip_longest(*(by_class[label] for label in sorted(by_class)))
    chosen = [i for examples in rounds for i in examples if i is not None][:count]
    return sorted(chosen, key=lambda i: (is_right[i], int(labels[i]), i))
