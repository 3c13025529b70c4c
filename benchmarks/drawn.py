"""Test networks trained only on synthetic digits on the real MNIST test split.

    DATA_DIR=... python -m benchmarks.drawn          about five minutes on two cores

Five epochs of the default recipe on 50,000 synthetic digits, three seeds; the synthetic validation split selects the
epoch.
Writes benchmarks/results/drawn.json.
"""

import dataclasses
import statistics
import time

import torch

import models
import train_mnist
from benchmarks import results
from pipeline import cli
from pipeline.datasets import datasets
from pipeline.evaluation import metrics
from pipeline.training import loop


def main() -> None:
    real = datasets.mnist(cli.DATA_DIR, "mnist").test
    start = time.perf_counter()
    synthetic = datasets.synthetic_digits()
    seconds = time.perf_counter() - start
    recipe = dataclasses.replace(train_mnist.PRESETS["best"], epochs=5)
    rows = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = models.MnistNet(dropout=recipe.dropout)
        best = max(
            loop.fit(model, synthetic.train, recipe, seed, quiet=True),
            key=lambda epoch: metrics.evaluate(epoch.model, synthetic.valid).accuracy,
        )
        row = {"seed": seed, "drawn_test_accuracy": metrics.evaluate(best.model, synthetic.test).accuracy}
        rows.append(results.print_row({**row, "real_test_accuracy": metrics.evaluate(best.model, real).accuracy}))
    accuracies = [row["real_test_accuracy"] for row in rows]
    summary = {
        "real_test_accuracy_mean": statistics.mean(accuracies),
        "real_test_accuracy_deviation": statistics.stdev(accuracies),
        "seconds_to_draw_70000": seconds,
    }
    results.write("drawn", summary, rows)


if __name__ == "__main__":
    main()
