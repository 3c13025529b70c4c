"""Run a preset of train_mnist.py with five seeds, each in its own process.

    DATA_DIR=... python -m benchmarks.best              the default preset; about ten minutes on two cores
    DATA_DIR=... python -m benchmarks.best classic      another preset

Writes benchmarks/results/<preset>.json: mean and standard deviation of the test accuracy, seconds, peak
memory. The weights stay in outputs/benchmarks/<preset>/ for the other benchmarks.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import results

SEEDS = 5


def run(preset: str, seed: int, folder: Path) -> dict:
    arguments = ["--preset", preset, "--seed", str(seed), "--dataset", "mnist", "--output-dir", str(folder), "--quiet"]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "train_mnist.py", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, f"train_mnist.py ended with {status}"
    metrics = json.loads((folder / "metrics.json").read_text())
    selected = {name: metrics[name] for name in ("test_accuracy", "valid_accuracy", "test_loss", "best_epoch")}
    return {"seed": seed, **selected, "seconds": seconds, "peak_mib": usage.ru_maxrss / 1024}


def main(preset: str = "best") -> None:
    folder = Path("outputs/benchmarks") / preset
    rows = [results.print_row(run(preset, seed, folder / str(seed))) for seed in range(SEEDS)]
    accuracies = [row["test_accuracy"] for row in rows]
    results.write(
        preset,
        {
            "test_accuracy_mean": statistics.mean(accuracies),
            "test_accuracy_deviation": statistics.stdev(accuracies),
            "valid_accuracy_mean": statistics.mean(row["valid_accuracy"] for row in rows),
            "seconds_median": statistics.median(row["seconds"] for row in rows),
            "peak_mib": max(row["peak_mib"] for row in rows),
        },
        rows,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
