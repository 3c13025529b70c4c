"""The report's grid of networks for clothes, and how one of them is trained, epoch by epoch.

Configurations that differ in their epochs alone are a family: at a constant learning rate a run of 20 epochs passes
through those of 5, 10 and 15, to the bit, so one run answers for all. What databases, processes and pictures need
stands in ledger.py, crew.py and charts.py.
"""

import hashlib
import itertools
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

import disk
import experiment
import loaders
import models
import training
from experiment import Failure, option
from loaders import Data, Split
from training import Recipe

DIMENSIONS = ("conv_layers", "linear_layers", "dropout", "hidden_units", "batch_size", "epochs", "learning_rate")
EPOCHS = 5  # the grid's step
LEARNING_RATES = {"adam": [0.01, 0.001, 0.0001], "muon": [0.06, 0.03, 0.015]}
MOST = 1_000_000  # combinations of a grid
MOMENTUM = {"adam": 0.9, "muon": 0.85}

Configuration = dict[str, Any]  # a value for each of `dimensions`


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the results of a study depend on, and nothing else; every field is a flag."""

    max_conv_layers: int = option(3, "greatest number of convolutions; from 1", least=1, most=4)
    max_linear_layers: int = option(3, "greatest number of linear layers; from 1", least=1, most=10)
    max_dropout: float = option(0.3, "greatest share dropped; from 0.1 in steps of 0.1", least=0.1, most=0.9)
    max_hidden_units: int = option(
        128, "greatest width of the linear layers; from 64 in steps of 64", least=64, most=2**16
    )
    max_batch_size: int = option(64, "most examples per step; from 32 in steps of 32", least=32, most=50_000)
    max_epochs: int = option(20, "most passes over the training pictures; from 5 in steps of 5", least=5, most=10_000)
    sampler: str = option(
        "random", "random: without repetition; grid: all, in order; tpe: near what was good so far",
        choices=("grid", "random", "tpe"),
    )  # fmt: skip
    pruner: str = option("none", "hyperband ends trials that lag behind", choices=("none", "hyperband"))
    optimizer: str = option("adam", "the report's is adam; muon makes its steps orthogonal", choices=("adam", "muon"))
    schedule: str = option("constant", "of the learning rate, as in training", choices=("constant", "one-cycle"))
    batch_norm: int = option(
        0, "convolutions, from the last, that batch normalisation helps in training", least=0, most=4
    )
    precision: str = option(
        "auto", "of the arithmetic; auto: bfloat16 where the processor has it", choices=("auto", "float32", "bfloat16")
    )
    pictures: int = option(0, "learn from so many only, rank by a quarter of that; 0: all", least=0, most=50_000)
    seed: int = option(0, "decides the sample, the first weights and everything random", least=0, most=2**32 - 1)


def dimensions(settings: Settings) -> dict[str, list]:
    """The values of each dimension, in the report's order; a numeric one goes in steps of its least value."""
    return {
        "conv_layers": list(range(1, settings.max_conv_layers + 1)),
        "linear_layers": list(range(1, settings.max_linear_layers + 1)),
        "dropout": [step / 10 for step in range(1, math.floor(settings.max_dropout * 10 + 1e-6) + 1)],
        "hidden_units": list(range(64, settings.max_hidden_units + 1, 64)),
        "batch_size": list(range(32, settings.max_batch_size + 1, 32)),
        "epochs": list(range(EPOCHS, settings.max_epochs + 1, EPOCHS)),
        "learning_rate": LEARNING_RATES[settings.optimizer],
    }


def distributions(settings: Settings) -> dict[str, BaseDistribution]:
    """What each dimension is to Optuna; each but the learning rate goes in steps of its least value."""
    kinds = {}
    for name, values in dimensions(settings).items():
        if name == "learning_rate":
            kinds[name] = CategoricalDistribution(values)
        else:
            kind = FloatDistribution if isinstance(values[0], float) else IntDistribution
            kinds[name] = kind(values[0], values[-1], step=values[0])
    return kinds


def grid(settings: Settings) -> list[Configuration]:
    """Every combination, the last dimension fastest.

    Raises:
        Failure: there are so many that they would not fit into memory.
    """
    values = dimensions(settings)
    count = math.prod(map(len, values.values()))
    if count > MOST:
        raise Failure(f"{count:,} combinations are too many, {MOST:,} can be: lower one of the --max- flags")
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def plan(settings: Settings, trials: int) -> list[Configuration | None]:
    """The configuration of each trial; None where the sampler is to choose it when its turn comes.

    A greater `trials` continues a smaller one, so that a study can be prolonged.
    """
    if settings.sampler == "tpe":
        return [None] * trials
    combinations = grid(settings)
    if settings.sampler == "random":
        random.Random(settings.seed).shuffle(combinations)
        return combinations[:trials]
    return combinations


def family(configuration: Configuration, settings: Settings) -> tuple:
    """What two configurations have in common if one run can answer for both.

    With one linear layer there are no hidden units: those of 64 and 128 are one network.
    """
    ignored = {"epochs"} if settings.schedule == "constant" else set()
    if configuration["linear_layers"] == 1:
        ignored.add("hidden_units")
    return tuple((name, value) for name, value in configuration.items() if name not in ignored)


def network(configuration: Configuration) -> models.FashionNet:
    """As large as the configuration says, with random weights."""
    names = ("conv_layers", "linear_layers", "hidden_units", "dropout")
    return models.FashionNet(**{name: configuration[name] for name in names})


def recipe(configuration: Configuration, settings: Settings, device: torch.device) -> Recipe:
    """How it is trained: as in the report, unless the settings go beyond it."""
    return Recipe(
        **{name: configuration[name] for name in ("epochs", "batch_size", "learning_rate", "dropout")},
        optimizer=settings.optimizer,
        momentum=MOMENTUM[settings.optimizer],
        schedule=settings.schedule,
        batch_norm=settings.batch_norm,
        precision=precision(settings, device),
    )


def precision(settings: Settings, device: torch.device) -> str:
    """What `auto` means on this device."""
    if settings.precision != "auto":
        return settings.precision
    return "bfloat16" if training.has_bfloat16(device) else "float32"


def data(settings: Settings, data_dir: Path) -> Data:
    """Fashion-MNIST, or the first part of it, whose name says so."""
    whole = loaders.fashion(data_dir)
    if not settings.pictures:
        return whole
    train, valid = (
        Split(split.images[:count], split.labels[:count])
        for split, count in ((whole.train, settings.pictures), (whole.valid, max(1, settings.pictures // 4)))
    )
    return Data(f"{whole.name} ({len(train):,} to learn from)", train, valid, whole.test)


def learn(configuration: Configuration, settings: Settings, data: Data, folder: Path) -> Iterator[dict]:
    """Train one configuration and yield a row after each epoch, the first ones from its family's file if it has any.

    A row has epoch, valid_accuracy and test_accuracy in percent, and seconds since the first epoch began, breaks
    between runs left out. The test split is read only every EPOCHS epochs, where a configuration of the grid may end;
    elsewhere test_accuracy is None.

    Args:
        folder: for the families' files: rows, and the state to go on from, written after each epoch.

    Raises:
        Failure: the loss is infinite or NaN.
    """
    asked = recipe(configuration, settings, data.train.labels.device)
    made_with = {"family": family(configuration, settings), "seed": settings.seed, "data": data.name}
    made_with |= {"optimizer": asked.optimizer, "schedule": asked.schedule, "batch_norm": asked.batch_norm}
    made_with |= {"precision": asked.precision}
    path = folder / f"{hashlib.sha256(repr(made_with).encode()).hexdigest()[:20]}.pt"
    rows, state = _recall(path, made_with)
    if state is None and len(rows) < asked.epochs:
        rows = []  # the state was let go, nothing can go on from it
    yield from rows[: asked.epochs]
    if len(rows) >= asked.epochs:
        return
    torch.manual_seed(settings.seed)
    before, start = rows[-1]["seconds"] if rows else 0.0, time.perf_counter()
    for epoch in training.fit(network(configuration), data.train, asked, settings.seed, state, quiet=True):
        row = {"epoch": epoch.number, "valid_accuracy": training.evaluate(epoch.model, data.valid).accuracy}
        may_end = epoch.number % EPOCHS == 0
        row["test_accuracy"] = training.evaluate(epoch.model, data.test).accuracy if may_end else None
        before = row["seconds"] = before + time.perf_counter() - start
        rows = [*rows, row]
        go_on = settings.sampler == "tpe" or epoch.number < asked.epochs  # a plan trains the longest of a family
        state = epoch.state if go_on and epoch.number < settings.max_epochs else None  # it is up to 13 MB
        disk.save_file(path, {"made_with": made_with, "rows": rows, "state": state})
        yield row
        start = time.perf_counter()


def seconds_per_epoch(configuration: Configuration, settings: Settings, data: Data) -> float:
    """Measured on a few steps, and on 1,000 pictures for what is evaluated after each epoch, on this thread."""
    asked = recipe(configuration | {"epochs": 3}, settings, data.train.labels.device)
    few = Split(data.train.images[: 8 * asked.batch_size], data.train.labels[: 8 * asked.batch_size])
    times, start = [], time.perf_counter()
    model = network(configuration)
    for _ in training.fit(model, few, asked, settings.seed, quiet=True):
        times.append((time.perf_counter() - start) / len(few))
        start = time.perf_counter()
    training.evaluate(model.to(data.test.labels.device), Split(data.test.images[:1000], data.test.labels[:1000]))
    evaluated = (time.perf_counter() - start) / min(1000, len(data.test))
    return min(times) * len(data.train) + evaluated * (len(data.valid) + len(data.test) / EPOCHS)


def estimate(settings: Settings, trials: int, data: Data) -> tuple[int, int, float]:
    """Epochs of the plan one by one, epochs where one run serves a family, and the seconds of those on one thread.

    Where the sampler is to choose, the first configurations of the random order stand for what it will.
    """
    chosen = [one for one in plan(settings, trials) if one] or plan(replace(settings, sampler="random"), trials)
    longest, measured, total = {}, {}, 0.0
    for one in chosen:
        key = family(one, settings)
        longest[key] = max(longest.get(key, one), one, key=lambda each: each["epochs"])
    for one in longest.values():
        shape = tuple(one[name] for name in ("conv_layers", "linear_layers", "hidden_units", "batch_size"))
        if shape not in measured:
            measured[shape] = seconds_per_epoch(one, settings, data)
        total += one["epochs"] * measured[shape]
    epochs = [sum(one["epochs"] for one in group) for group in (chosen, longest.values())]
    return *epochs, total


def _recall(path: Path, made_with: dict) -> tuple[list[dict], dict | None]:
    """Rows and state in a family's file; nothing where it is absent, damaged, or of another family."""
    if not path.exists():
        return [], None
    try:
        content = disk.load_file(path, "it is made anew")
    except experiment.Failure:
        return [], None  # begun anew, it costs time and nothing else
    return (content["rows"], content["state"]) if content.get("made_with") == made_with else ([], None)
