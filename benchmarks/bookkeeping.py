"""Measure the overhead of a trial: starting it, reporting its epochs, ending it.

    python -m benchmarks.bookkeeping                                 on SQLite
    python -m benchmarks.bookkeeping postgresql+psycopg://...        on a server, in an empty database

Measures it in a study with 0 and with 500 finished trials. The trials train nothing. Writes
benchmarks/results/bookkeeping.json, or bookkeeping_postgresql.json.
"""

import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna

from benchmarks import results, untrained
from pipeline.tuning import search_space
from pipeline.tuning.search_space import Configuration, Settings
from pipeline.tuning.study import Study

FINISHED_TRIALS, MEASURED_TRIALS = 500, 20


def measure_trial(open_study: Study, folder: Path) -> dict:
    """Measure one trial's overhead in ms: `take`, `epoch`, and `trial` of 20 epochs."""
    starts: list[float] = []

    def train(configuration: Configuration) -> Iterator[dict]:
        for row in untrained.rows(configuration):
            starts.append(time.perf_counter())
            yield row

    start = time.perf_counter()
    untrained.run_next(open_study, folder, train)
    take, epoch = 1000 * (starts[0] - start), 1000 * (time.perf_counter() - starts[0]) / len(starts)
    return {"take": take, "epoch": epoch, "trial": take + 20 * epoch}


def create_study(url: str, name: str, settings: Settings, count: int) -> None:
    """Create a study with `count` finished trials."""
    study = optuna.create_study(storage=url, study_name=name, direction="maximize")
    study.set_user_attr("settings", dataclasses.asdict(settings))
    distributions = search_space.distributions(settings)
    for params in search_space.plan(settings, count):
        reports = {epoch: 80.0 + epoch / 10 for epoch in range(1, params["epochs"] + 1)}
        study.add_trial(
            optuna.trial.create_trial(
                value=90.0, params=params, distributions=distributions, intermediate_values=reports,
                user_attrs={"test_acc": 89.0, "time_sec": 20.0},
            )
        )  # fmt: skip


def main(url: str = "") -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = url or f"sqlite:///{folder}/study.db"
        rows = []
        for pruner in ("none", "hyperband"):
            for finished in (0, FINISHED_TRIALS):
                settings = Settings(schedule="one-cycle", max_batch_size=128, pruner=pruner)
                create_study(url, f"{pruner} {finished}", settings, finished)
                open_study = Study(url, f"{pruner} {finished}", settings, finished + MEASURED_TRIALS)
                while not open_study.is_finished():
                    measured = measure_trial(open_study, Path(folder))
                    rows.append(results.print_row({"pruner": pruner, "finished": finished, **measured}))
    summary = {
        f"{part}_ms_{pruner}_{finished}": statistics.median(
            row[part] for row in rows if row["pruner"] == pruner and row["finished"] == finished
        )
        for pruner in ("none", "hyperband")
        for finished in (0, FINISHED_TRIALS)
        for part in ("take", "epoch", "trial")
    }
    results.write("bookkeeping" + ("_postgresql" if url.startswith("postgresql") else ""), summary, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
