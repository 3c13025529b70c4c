"""Compare the throughput of two search workers with that of one.

    DATA_DIR=... python -m benchmarks.workers            a few minutes on two idle cores

Runs the same small search with one and with two workers, alternately, each in a new folder: 3,000 images, five epochs,
networks of one shape. The time starts at the end of the first epoch, to exclude the start of the processes. Also
records the load of the machine. Writes benchmarks/results/workers.json.
"""

import os
import tempfile
from pathlib import Path

import torch
from optuna.trial import TrialState

from benchmarks import results
from pipeline import cli
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Study
from pipeline.tuning.workers import run_workers

REPEATS, TRIALS = 3, 8
SETTINGS = Settings(
    max_conv_layers=1, max_linear_layers=1, max_dropout=0.9, max_hidden_units=64, max_batch_size=32, max_epochs=5,
    pictures=3000,
)  # fmt: skip


def throughput(workers: int) -> dict:
    """Measure epochs per second, from the start of the first trial to the end of the last."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_study = Study(f"sqlite:///{folder / 'study.db'}", "workers", SETTINGS, TRIALS)
        for _ in run_workers(open_study, workers, cli.DATA_DIR, folder, None, torch.device("cpu")):
            pass
        finished = [trial for trial in open_study.trials() if trial.state == TrialState.COMPLETE]
        starts = sorted(trial.datetime_start.timestamp() for trial in finished)
        end = max(trial.datetime_complete.timestamp() for trial in finished)
    seconds = end - starts[0]
    epochs = sum(trial.last_step for trial in finished)
    return {"workers": workers, "epochs": epochs, "epochs_per_second": epochs / seconds}


def main() -> None:
    rows = [
        results.print_row(throughput(workers) | {"load": os.getloadavg()[0]})
        for _ in range(REPEATS)
        for workers in (1, 2)
    ]
    best = {n: max(row["epochs_per_second"] for row in rows if row["workers"] == n) for n in (1, 2)}
    results.write("workers", {"two_over_one": best[2] / best[1]}, rows)


if __name__ == "__main__":
    main()
