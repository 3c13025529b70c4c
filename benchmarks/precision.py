"""Compare bfloat16 with float32 in speed and accuracy, on the search's training.

    DATA_DIR=... python -m benchmarks.precision           eight minutes on one core

Trains the first CONFIGURATIONS of the report's 75 on Fashion-MNIST for EPOCHS epochs, on one thread, each with its own
seed. float32 and bfloat16 alternate after every epoch, so that other load on the machine affects both. Writes
benchmarks/results/precision.json.
"""

import statistics
import time

import torch

from benchmarks import results
from pipeline import cli, runtime
from pipeline.evaluation import metrics
from pipeline.training import loop
from pipeline.tuning import search_space, trial
from pipeline.tuning.search_space import Settings

CONFIGURATIONS, EPOCHS = 8, 3


def main() -> None:
    torch.set_num_threads(1)
    runtime.flush_denormals()
    data = trial.fashion_data(Settings(), cli.DATA_DIR)
    rows = []
    for seed, params in enumerate(search_space.plan(Settings(), CONFIGURATIONS)):
        row = {**params, "epochs": EPOCHS, "seed": seed}
        runs = {}
        for precision in ("float32", "bfloat16"):
            recipe = trial.recipe(row, Settings(precision=precision), torch.device("cpu"))
            torch.manual_seed(seed)
            runs[precision] = loop.fit(trial.build_network(params), data.train, recipe, seed, quiet=True)
            row[f"{precision}_seconds"] = 0.0
        for _ in range(EPOCHS):
            for precision, epochs in runs.items():
                start = time.perf_counter()
                model = next(epochs).model
                row[f"{precision}_seconds"] += time.perf_counter() - start
                row[f"{precision}_valid_accuracy"] = metrics.evaluate(model, data.valid).accuracy
        rows.append(results.print_row(row))
    lost = [row["float32_valid_accuracy"] - row["bfloat16_valid_accuracy"] for row in rows]
    summary = {
        "times_faster": sum(row["float32_seconds"] for row in rows) / sum(row["bfloat16_seconds"] for row in rows),
        "points_lost_mean": statistics.mean(lost),
        "points_lost_standard_error": statistics.stdev(lost) / len(lost) ** 0.5,
    }
    results.write("precision", summary, rows)


if __name__ == "__main__":
    main()
