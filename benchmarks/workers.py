"""How much do two workers on two cores do in the time of one?

    DATA_DIR=... python -m benchmarks.workers            some minutes on two quiet cores

The same small search by one worker and by two, in turns, each in a new folder: 3,000 pictures, five epochs, networks of
one shape. Counted is the time between the first epoch's end and the last, since starting a process is no work. Beside
it stands the load of the machine. Writes benchmarks/results/workers.json.
"""

import os
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import results
from pipeline import cli
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Study
from pipeline.tuning.workers import run_workers

TURNS, TRIALS = 3, 8
SETTINGS = Settings(
    max_conv_layers=1, max_linear_layers=1, max_dropout=0.9, max_hidden_units=64, max_batch_size=32, max_epochs=5,
    pictures=3000,
)  # fmt: skip


def pace(workers: int) -> dict:
    """Epochs a second, from the first epoch's end on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_study = Study(f"sqlite:///{folder / 'study.db'}", "workers", SETTINGS, TRIALS)
        ends = [
            time.perf_counter()
            for row, _ in run_workers(open_study, workers, SETTINGS, cli.DATA_DIR, folder, torch.device("cpu"))
            if row
        ]
    return {"workers": workers, "epochs": len(ends), "epochs_per_second": (len(ends) - 1) / (ends[-1] - ends[0])}


def main() -> None:
    rows = [results.say(pace(workers) | {"load": os.getloadavg()[0]}) for _ in range(TURNS) for workers in (1, 2)]
    best = {n: max(row["epochs_per_second"] for row in rows if row["workers"] == n) for n in (1, 2)}
    results.write("workers", {"two_over_one": best[2] / best[1]}, rows)


if __name__ == "__main__":
    main()
