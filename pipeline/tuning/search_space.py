"""The grid of configurations to search, the order in which they are tried, and which of them share one training run.

Configurations that differ only in their epochs are a family: at a constant learning rate a run of 20 epochs passes
through the results of 5, 10 and 15, to the bit, so one run serves all of them. trial.py trains a configuration,
study.py keeps the results in a database, workers.py runs the processes, charts.py draws the figures.
"""

import itertools
import math
import random
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.cli import option
from pipeline.errors import Failure

DIMENSIONS = ("conv_layers", "linear_layers", "dropout_rate", "hidden_units", "batch_size", "epochs", "learning_rate")
EPOCH_STEP = 5  # the grid's step
LEARNING_RATES = {"adam": [0.01, 0.001, 0.0001], "muon": [0.06, 0.03, 0.015]}
TPE_SEED_FACTOR = 1_000_003  # a prime, so that every (seed, trial) has its own sampler seed
MAX_GRID_SIZE = 1_000_000  # combinations of a grid

Configuration = dict[str, Any]  # a value for each of `dimensions`


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the results of a study depend on, and nothing else; every field is a flag."""

    max_conv_layers: int = option(3, "maximum number of convolutions; minimum 1", least=1, most=4)
    max_linear_layers: int = option(3, "maximum number of linear layers; minimum 1", least=1, most=10)
    max_dropout: float = option(0.3, "maximum dropout rate; from 0.1 in steps of 0.1", least=0.1, most=0.9)
    max_hidden_units: int = option(
        128, "maximum width of the linear layers; from 64 in steps of 64", least=64, most=2**16
    )
    max_batch_size: int = option(64, "maximum images per step; from 32 in steps of 32", least=32, most=50_000)
    max_epochs: int = option(20, "maximum epochs; from 5 in steps of 5", least=5, most=10_000)
    sampler: str = option(
        "random", "random: without repetition; grid: all, in order; tpe: Optuna's TPE",
        choices=("grid", "random", "tpe"),
    )  # fmt: skip
    pruner: str = option("none", "hyperband stops trials that fall behind", choices=("none", "hyperband"))
    optimizer: str = option(
        "adam", "adam as in the original report; muon orthogonalizes its steps", choices=("adam", "muon")
    )
    schedule: str = option("constant", "learning rate schedule", choices=("constant", "one-cycle"))
    batch_norm: int = option(
        0, "number of convolutions, from the last, with batch normalization in training", least=0, most=4
    )
    precision: str = option(
        "auto",
        "arithmetic in training; auto: bfloat16 where the processor supports it",
        choices=("auto", "float32", "bfloat16"),
    )
    pictures: int = option(0, "training images, with a quarter as many for validation; 0: all", least=0, most=50_000)
    seed: int = option(0, "random seed of the sample, the initial weights and everything else", least=0, most=2**32 - 1)


def dimensions(settings: Settings) -> dict[str, list]:
    """The values of each dimension, in the report's order; a numeric one goes in steps of its least value."""
    return {
        "conv_layers": list(range(1, settings.max_conv_layers + 1)),
        "linear_layers": list(range(1, settings.max_linear_layers + 1)),
        "dropout_rate": [step / 10 for step in range(1, math.floor(settings.max_dropout * 10 + 1e-6) + 1)],
        "hidden_units": list(range(64, settings.max_hidden_units + 1, 64)),
        "batch_size": list(range(32, settings.max_batch_size + 1, 32)),
        "epochs": list(range(EPOCH_STEP, settings.max_epochs + 1, EPOCH_STEP)),
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
    if count > MAX_GRID_SIZE:
        raise Failure(
            f"{count:,} combinations are more than the limit of {MAX_GRID_SIZE:,}: lower one of the --max- flags"
        )
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def plan(settings: Settings, trials: int) -> list[Configuration | None]:
    """The configuration of each trial; None where the sampler is to choose it when its turn comes.

    A greater `trials` continues a smaller one, so that a study can be prolonged.
    """
    if settings.sampler == "tpe":
        return [None] * trials
    combinations: list[Configuration | None] = [*grid(settings)]
    if settings.sampler == "random":
        random.Random(settings.seed).shuffle(combinations)
        return combinations[:trials]
    return combinations


def suggest(trial: optuna.Trial, settings: Settings) -> Configuration:
    """Return the trial's planned configuration, or let the study's sampler choose one."""
    chosen: Configuration = {}
    for name, kind in distributions(settings).items():
        if isinstance(kind, CategoricalDistribution):
            chosen[name] = trial.suggest_categorical(name, kind.choices)
        elif isinstance(kind, IntDistribution):
            chosen[name] = trial.suggest_int(name, kind.low, kind.high, step=kind.step)
        elif isinstance(kind, FloatDistribution):
            chosen[name] = trial.suggest_float(name, kind.low, kind.high, step=kind.step)
    return chosen


def tpe_sampler(settings: Settings, number: int) -> optuna.samplers.BaseSampler:
    """Return a sampler with its own random numbers for each trial; running trials count as bad ones."""
    seed = (TPE_SEED_FACTOR * settings.seed + number) % 2**32
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def family(configuration: Configuration, settings: Settings) -> tuple:
    """What two configurations have in common if one run can answer for both.

    With one linear layer there are no hidden units: those of 64 and 128 are one network.
    """
    ignored = {"epochs"} if settings.schedule == "constant" else set()
    if configuration["linear_layers"] == 1:
        ignored.add("hidden_units")
    return tuple((name, value) for name, value in configuration.items() if name not in ignored)
