"""Find the most accurate network for images of clothes (Fashion-MNIST) among the report's 1,296 configurations.

    python fashion_grid_search.py                          the report's search: 75 of them at random, hours
    python fashion_grid_search.py --pictures 3000 --study look      a first try, on few of the training images
    python fashion_grid_search.py --dry-run                the grid, the sample, and how long it will take here
    python fashion_grid_search.py --preset cheap           beyond the report: pruned, normalized, one-cycle; minutes
    python fashion_grid_search.py --sampler tpe --pruner hyperband --study clever       what Optuna finds
    python fashion_grid_search.py --storage postgresql+psycopg://user@host/database     on each of several machines
    python fashion_grid_search.py --report --study look    write the table and the figures of a study again
    python fashion_grid_search.py --champion               train the best shape found by the best recipe

A trial trains one configuration of layers, dropout, batch size, epochs and learning rate on the training split, and is
ranked by its accuracy on the validation split; the test accuracy is reported beside it and chooses nothing. Trials run
in worker processes, each of one thread, here or on several machines. After any interruption run the same command to
continue. Watch with: optuna-dashboard sqlite:///outputs/fashion_grid_search/study.db

Writes to outputs/fashion_grid_search/: results.csv (a row per trial, the best on validation first), dimensions.png,
coordinates.png, importances.png, progress.png, times.png, config.json, study.db and families/ (needed to continue);
with --keep-weights, weights/.
With --champion model.pt, checkpoint.pt, config.json, history.csv, losses.csv, metrics.json, losses.png,
accuracies.png, predictions.png, confusion.png, mistakes.png, classes.csv.
"""

import pipeline  # noqa: F401, first: it handles Ctrl-C while the libraries load

# isort: split
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd
import torch
from optuna.trial import TrialState

from pipeline import cli, files, plots, runtime
from pipeline.cli import run_option
from pipeline.datasets import datasets
from pipeline.errors import Failure, WrongUsage
from pipeline.evaluation import classification_report
from pipeline.evaluation.metrics import predict
from pipeline.tuning import best_model, charts, database, results_table, search_space, study
from pipeline.tuning import trial as trial_module
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Study
from pipeline.tuning.trial import precision
from pipeline.tuning.workers import available_cores, watch_workers


@dataclass(frozen=True, kw_only=True)
class Config(Settings, cli.Common):
    preset: str = run_option(
        "report", "settings that flags override; defaults shown are of report", choices=("report", "cheap")
    )
    trials: int = run_option(
        75, "trials in all, over workers, machines and restarts; ignored by the grid sampler", least=1
    )
    study: str = run_option("fashion", "name of the study in the database")
    storage: str = run_option("", "database URL; default: study.db in the output folder")
    workers: int = run_option(0, "worker processes of one thread each; 0: one per core", least=0, most=1024)
    keep_weights: bool = run_option(False, "save the network of each complete trial: weights/trial_NUMBER.pt")
    report: bool = run_option(False, "write the table and the figures of --study again, whatever its settings")
    dry_run: bool = run_option(False, "print the grid and an estimate of the time, train nothing")
    champion: bool = run_option(False, "train the best architecture found, or the default one")
    output_dir: Path = run_option(Path("outputs/fashion_grid_search"), "output folder")


PRESETS = {
    "report": Config(),
    "cheap": Config(
        preset="cheap", study="cheap", trials=6, max_batch_size=128, max_epochs=5, pruner="hyperband",
        optimizer="muon", schedule="one-cycle", batch_norm=3,
    ),
}  # fmt: skip


def main(config: Config) -> pd.DataFrame | dict | None:
    """Task 4 of the report: search, or train the best network found; return the results, or its metrics."""
    if config.champion + config.dry_run + config.report > 1:
        raise WrongUsage("--dry-run, --champion and --report cannot be combined")
    if config.storage:
        config = replace(config, storage=database.checked_url(config.storage))
    device, folder = runtime.start(config)
    plots.select_backend(config.show)
    settings = Settings(**{field.name: getattr(config, field.name) for field in fields(Settings)})
    results = (train_best if config.champion else search)(config, settings, device, folder)
    if results is not None:
        files.write_json(folder / "config.json", replace(config, storage=database.without_password(config.storage)))
        print(f"\nresults are in {folder}/")
        if config.show:
            plots.show()
    return results


def train_best(config: Config, settings: Settings, device: torch.device, folder: Path) -> dict:
    """Train the architecture that was best in all studies of the database with as many training images."""
    url, data = database_url(config, folder), clothes(config, settings).to(device)
    searched = bool(config.storage) or (folder / "study.db").exists()
    best = study.best(url, settings.pictures) if searched else None
    run = best_model.prepare(config, precision(settings, device), best, data, folder)
    for epoch in run:
        print(f"{data.name}, epoch {epoch.number}/{run.config.epochs}: {epoch}")
    model = run.best_model()
    mirrored = best_model.mirrored_accuracy(model, data.test)
    metrics = run.finish(mirrored_test_accuracy=mirrored)
    outputs = predict(model, data.test.images).cpu()
    classification_report.write(outputs, data.test, model.class_names, f"test images of {data.name}", folder)
    print(f"{data.name}: {metrics['test_accuracy']:.2f} % correct, {mirrored:.2f} % with mirrored views averaged")
    return metrics


def search(config: Config, settings: Settings, device: torch.device, folder: Path) -> pd.DataFrame | None:
    """Run the unfinished trials of the study; write the table of results and the figures."""
    if config.report:
        if not config.storage and not (folder / "study.db").exists():
            raise Failure(f"no search has run in {folder}: leave out --report")
        open_study = study.load(database_url(config, folder), config.study)
        data = clothes(config, open_study.settings)
    else:
        # the grid, as the report prints it
        print("The grid:")
        for name, values in search_space.dimensions(settings).items():
            print(f"  {name:14} {', '.join(f'{value:g}' for value in values)}")
        grid, plan = search_space.grid(settings), search_space.plan(settings, config.trials)
        print(f"{len(grid):,} configurations, {len(plan):,} to try")
        data, workers = clothes(config, settings), config.workers or available_cores()
        if config.dry_run:
            print(trial_module.describe_estimate(settings, config.trials, workers, data.to(device)))
            return None

        # the study
        open_study = Study(database_url(config, folder), config.study, settings, config.trials)
        families = runtime.output_folder(folder / "families")
        weights = runtime.output_folder(folder / "weights") if config.keep_weights else None
        watch_workers(open_study, workers, config.quiet, config.data_dir, families, weights, device)

    # the results
    table = results_table.results(open_study.trials())
    files.write_csv(folder / "results.csv", table)
    print(f"\nThe best of {len(table)}, {data.name}:\n{table.head(10).round(4).to_string()}")
    failed = sum(trial.state == TrialState.FAIL for trial in open_study.trials())
    if failed and table.empty:
        raise Failure(f"all {failed} trials failed; the lines above say why")
    title = f"{len(table)} configurations on {data.name}, study {config.study}"
    title += f" ({failed} more failed)" if failed else ""
    charts.write(table, search_space.DIMENSIONS, open_study.importances(), title, folder)
    return table


def database_url(config: Config, folder: Path) -> str:
    return config.storage or database.sqlite_url(folder / "study.db")


def clothes(config: Config, settings: Settings) -> datasets.Data:
    data = trial_module.fashion_data(settings, config.data_dir)
    print(f"{data.name}: {len(data.train):,} training, {len(data.valid):,} validation, {len(data.test):,} test images")
    return data


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
