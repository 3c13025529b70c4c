"""What does fashion_grid_search.py --preset cheap find, and what does it cost beside the report's 75 trials?

    DATA_DIR=... python -m benchmarks.cheap               three searches of one worker each: hours; it can be stopped

Each search's answer is its configuration of best validation accuracy; the test accuracy of that one counts. The cost is
epochs times seconds: of each search those it learned, of the report those of its 75 configurations one by one; the
seconds of an epoch of each shape are measured here, for all alike, on one thread, the best of TURNS. Writes
benchmarks/results/cheap.json and cheap_<seed>.csv; the studies stay in outputs/benchmarks/cheap/.
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

SEEDS = range(6, 9)  # 0 to 5 were looked at when the preset was chosen
TURNS = 3
SIZE = ("conv_layers", "linear_layers", "hidden_units", "batch_size")


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

    def seconds(one: Configuration, settings: Settings) -> float:
        key = (settings.optimizer, *(one[name] for name in SIZE))
        if key not in measured:
            measured[key] = min(trial.seconds_per_epoch(one, settings, data) for _ in range(TURNS))
        return measured[key]

    report = Settings()
    whole = sum(one["epochs"] * seconds(one, report) for one in search_space.plan(report, 75))
    rows = []
    for seed, table in tables.items():
        settings = settings_of(dataclasses.replace(PRESETS["cheap"], seed=seed))
        learned = {}
        for one in table[[*search_space.DIMENSIONS]].to_dict("records"):
            asked = one | {"epochs": settings.max_epochs}
            key = search_space.family(asked, settings)
            learned[key] = max(learned.get(key, one), one, key=lambda each: each["epochs"])
        cost = sum(one["epochs"] * seconds(one, settings) for one in learned.values())
        best = table[table.state == "complete"].iloc[0]
        row = {"seed": seed, "valid_accuracy": best.valid_acc, "test_accuracy": best.test_acc}
        row |= {"epochs": sum(int(one["epochs"]) for one in learned.values()), "share_of_the_report": cost / whole}
        rows.append(results.say(row))
    accuracies = [row["test_accuracy"] for row in rows]
    results.write(
        "cheap",
        {
            "test_accuracy_mean": statistics.mean(accuracies),
            "test_accuracy_deviation": statistics.stdev(accuracies),
            "times_cheaper": 1 / statistics.mean(row["share_of_the_report"] for row in rows),
            "report_hours_of_one_thread": whole / 3600,
        },
        rows,
    )


if __name__ == "__main__":
    main()
