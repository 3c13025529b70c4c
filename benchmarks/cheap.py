"""Measure accuracy and cost of `fashion_grid_search.py --preset cheap`.

    DATA_DIR=... python -m benchmarks.cheap               three searches with one worker each; hours; resumable

The accuracy of a search is the test accuracy of the configuration with the best validation accuracy. The cost is
relative to the report's 75 configurations: epochs times seconds per epoch, over the epochs that a search trains, and
over those of the 75 trained one by one. The seconds per epoch of each network shape are measured here, on one thread,
as the minimum of REPEATS. Writes benchmarks/results/cheap.json and cheap_<seed>.csv; the studies stay in
outputs/benchmarks/cheap/.
"""

import dataclasses
import statistics
from pathlib import Path

import torch

import fashion_grid_search
from benchmarks import results
from fashion_grid_search import PRESETS
from pipeline import cli, files
from pipeline.tuning import search_space, trial
from pipeline.tuning.search_space import Configuration, Settings

SEEDS = range(6, 9)  # the preset was chosen with seeds 0 to 5
REPEATS = 3
SHAPE_KEYS = ("conv_layers", "linear_layers", "hidden_units", "batch_size")


def settings_of(config: fashion_grid_search.Config) -> Settings:
    return Settings(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Settings)})


def main() -> None:
    tables = {}
    for seed in SEEDS:
        folder = Path("outputs/benchmarks/cheap") / str(seed)
        config = dataclasses.replace(PRESETS["cheap"], seed=seed, workers=1, output_dir=folder)
        tables[seed] = fashion_grid_search.main(config)
        files.write_csv(results.FOLDER / f"cheap_{seed}.csv", tables[seed])

    torch.set_num_threads(1)
    data = trial.fashion_data(Settings(), cli.DATA_DIR)
    measured: dict[tuple, float] = {}

    def seconds(params: Configuration, settings: Settings) -> float:
        key = (settings.optimizer, *(params[name] for name in SHAPE_KEYS))
        if key not in measured:
            measured[key] = min(trial.seconds_per_epoch(params, settings, data) for _ in range(REPEATS))
        return measured[key]

    report = Settings()
    report_seconds = sum(params["epochs"] * seconds(params, report) for params in search_space.plan(report, 75))
    rows = []
    for seed, table in tables.items():
        settings = settings_of(dataclasses.replace(PRESETS["cheap"], seed=seed))
        trained = {}
        for params in table[[*search_space.DIMENSIONS]].to_dict("records"):
            requested = params | {"epochs": settings.max_epochs}
            key = search_space.family(requested, settings)
            trained[key] = max(trained.get(key, params), params, key=lambda candidate: candidate["epochs"])
        cost = sum(params["epochs"] * seconds(params, settings) for params in trained.values())
        best = table[table.state == "complete"].iloc[0]
        row = {"seed": seed, "valid_accuracy": best.valid_acc, "test_accuracy": best.test_acc}
        row |= {
            "epochs": sum(int(params["epochs"]) for params in trained.values()),
            "share_of_the_report": cost / report_seconds,
        }
        rows.append(results.print_row(row))
    accuracies = [row["test_accuracy"] for row in rows]
    results.write(
        "cheap",
        {
            "test_accuracy_mean": statistics.mean(accuracies),
            "test_accuracy_deviation": statistics.stdev(accuracies),
            "times_cheaper": 1 / statistics.mean(row["share_of_the_report"] for row in rows),
            "report_hours_of_one_thread": report_seconds / 3600,
        },
        rows,
    )


if __name__ == "__main__":
    main()
