"""Build, train and time the network of one configuration of the search."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import models
from pipeline import checkpoints, cli, errors
from pipeline.datasets import datasets
from pipeline.datasets.datasets import Data, Split
from pipeline.evaluation import metrics
from pipeline.training import loop
from pipeline.training.loop import Recipe
from pipeline.tuning.search_space import EPOCH_STEP, Configuration, Settings, family, plan

MOMENTUM = {"adam": 0.9, "muon": 0.85}


def build_network(configuration: Configuration) -> models.FashionNet:
    """Build the configuration's network with random weights."""
    names = ("conv_layers", "linear_layers", "hidden_units")
    return models.FashionNet(**{name: configuration[name] for name in names}, dropout=configuration["dropout_rate"])


def recipe(configuration: Configuration, settings: Settings, device: torch.device) -> Recipe:
    """Return the training recipe: the report's, with what the settings change."""
    return Recipe(
        **{name: configuration[name] for name in ("epochs", "batch_size", "learning_rate")},
        dropout=configuration["dropout_rate"],
        optimizer=settings.optimizer,
        momentum=MOMENTUM[settings.optimizer],
        schedule=settings.schedule,
        batch_norm=settings.batch_norm,
        precision=precision(settings, device),
    )


def precision(settings: Settings, device: torch.device) -> str:
    """Resolve the precision `auto` for this device."""
    if settings.precision != "auto":
        return settings.precision
    return "bfloat16" if loop.has_bfloat16(device) else "float32"


def fashion_data(settings: Settings, data_dir: Path) -> Data:
    """Load Fashion-MNIST, or its first `settings.pictures` training images and a quarter as many for validation."""
    whole = datasets.fashion_mnist(data_dir)
    if not settings.pictures:
        return whole
    train, valid = (
        Split(split.images[:count], split.labels[:count])
        for split, count in ((whole.train, settings.pictures), (whole.valid, max(1, settings.pictures // 4)))
    )
    return Data(f"{whole.name} ({len(train):,} to learn from)", train, valid, whole.test)


def cache_file(configuration: Configuration, settings: Settings, data: Data, folder: Path) -> Path:
    """Return the file of the configuration's family."""
    return folder / f"{hashlib.sha256(repr(_made_with(configuration, settings, data)).encode()).hexdigest()[:20]}.pt"


def weights_file(path: Path, epochs: int) -> Path:
    """Return the file of a family's network after so many epochs."""
    return path.with_name(f"{path.stem}_{epochs}_epochs.pt")


def train(
    configuration: Configuration,
    settings: Settings,
    data: Data,
    folder: Path,
    longest: int = 0,
    keep_weights: bool = False,
) -> Iterator[dict]:
    """Train one configuration and yield a row after each epoch; epochs in its family's file are not trained again.

    A row has epoch, valid_accuracy and test_accuracy in percent, and seconds since the start of the first epoch,
    without interruptions. The test split is evaluated only every EPOCH_STEP epochs, where a configuration of the grid
    may end; elsewhere test_accuracy is None.

    Args:
        folder: of the families' files, which have the rows and the state for resuming, written after each epoch.
        longest: the most epochs that a configuration of the family will be trained.
        keep_weights: write `weights_file` after each epoch with which a configuration of the grid may end.

    Raises:
        Failure: the loss is infinite or NaN.
    """
    planned = recipe(configuration, settings, data.train.labels.device)
    path, made_with = cache_file(configuration, settings, data, folder), _made_with(configuration, settings, data)
    rows, state = _read_cache(path, made_with)
    is_missing = len(rows) < planned.epochs or (keep_weights and not weights_file(path, planned.epochs).exists())
    if is_missing and (state is None or len(rows) >= planned.epochs):
        rows, state = [], None  # the file has no state from which to reach what is missing
    yield from rows[: planned.epochs]
    if len(rows) >= planned.epochs:
        return
    torch.manual_seed(settings.seed)
    before, start = rows[-1]["seconds"] if rows else 0.0, time.perf_counter()
    for epoch in loop.fit(build_network(configuration), data.train, planned, settings.seed, state, quiet=True):
        row: dict[str, Any] = {"epoch": epoch.number}
        row["valid_accuracy"] = metrics.evaluate(epoch.model, data.valid).accuracy
        may_end = epoch.number % EPOCH_STEP == 0
        if keep_weights and may_end:
            checkpoints.save(epoch.model, weights_file(path, epoch.number))
        row["test_accuracy"] = metrics.evaluate(epoch.model, data.test).accuracy if may_end else None
        before = row["seconds"] = before + time.perf_counter() - start
        rows = [*rows, row]
        # a state, of up to 13 MB, is kept while a trial may continue it; nobody knows what TPE will choose
        last = settings.max_epochs if settings.sampler == "tpe" else max(longest, planned.epochs)
        state = epoch.state if epoch.number < last else None
        checkpoints.save_file(path, {"made_with": made_with, "rows": rows, "state": state})
        yield row
        start = time.perf_counter()


def seconds_per_epoch(configuration: Configuration, settings: Settings, data: Data) -> float:
    """Measure a few training steps and the evaluation of 1,000 images, on one thread; scale them to an epoch."""
    short = recipe(configuration | {"epochs": 3}, settings, data.train.labels.device)
    few = Split(data.train.images[: 8 * short.batch_size], data.train.labels[: 8 * short.batch_size])
    times, start = [], time.perf_counter()
    model = build_network(configuration)
    for _ in loop.fit(model, few, short, settings.seed, quiet=True):
        times.append((time.perf_counter() - start) / len(few))
        start = time.perf_counter()
    metrics.evaluate(model.to(data.test.labels.device), Split(data.test.images[:1000], data.test.labels[:1000]))
    evaluated = (time.perf_counter() - start) / min(1000, len(data.test))
    return min(times) * len(data.train) + evaluated * (len(data.valid) + len(data.test) / EPOCH_STEP)


def estimate(settings: Settings, trials: int, data: Data) -> tuple[int, int, float]:
    """Estimate the plan's epochs without sharing, its epochs with one run per family, and the seconds of these.

    For a sampler that chooses configurations later, those of the random order are counted instead.
    """
    chosen = [one for one in plan(settings, trials) if one]
    chosen = chosen or [one for one in plan(replace(settings, sampler="random"), trials) if one]
    longest: dict[tuple, Configuration] = {}
    measured: dict[tuple, float] = {}
    total = 0.0
    for one in chosen:
        key = family(one, settings)
        longest[key] = max(longest.get(key, one), one, key=lambda each: each["epochs"])
    for one in longest.values():
        shape = tuple(one[name] for name in ("conv_layers", "linear_layers", "hidden_units", "batch_size"))
        if shape not in measured:
            measured[shape] = seconds_per_epoch(one, settings, data)
        total += one["epochs"] * measured[shape]
    separate, together = (sum(one["epochs"] for one in group) for group in (chosen, longest.values()))
    return separate, together, total


def describe_estimate(settings: Settings, trials: int, workers: int, data: Data) -> str:
    """Estimate the time of the search on this machine, in two lines."""
    torch.set_num_threads(1)
    separate, together, seconds = estimate(settings, trials, data)
    return (
        f"{separate:,} epochs one by one, {together:,} when one run serves a family of configurations, before pruning\n"
        f"about {seconds / 60:.1f} minutes of one thread, {seconds / 60 / workers:.1f} with {workers} of them"
    )


def _made_with(configuration: Configuration, settings: Settings, data: Data) -> dict[str, Any]:
    """Return what a family's rows depend on."""
    made_with = {"family": family(configuration, settings), "seed": settings.seed, "data": data.name}
    varied = {*configuration, "dropout"}  # part of the family
    planned = cli.result_settings(recipe(configuration, settings, data.train.labels.device))
    return made_with | {name: value for name, value in planned.items() if name not in varied}


def _read_cache(path: Path, made_with: dict) -> tuple[list[dict], dict | None]:
    """Read the rows and the state of a family's file; empty if it is missing, damaged, or of another family."""
    if not path.exists():
        return [], None
    try:
        content = checkpoints.load_file(path, "it is made anew")
    except errors.Failure:
        return [], None  # training again costs only time
    return (content["rows"], content["state"]) if content.get("made_with") == made_with else ([], None)
