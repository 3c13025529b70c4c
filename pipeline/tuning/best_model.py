"""The best model for Fashion-MNIST: the architecture that the search found, trained by a recipe of its own."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial
from torch import nn

import models
from pipeline import checkpoints, cli
from pipeline.datasets.datasets import Data, Split
from pipeline.errors import Failure
from pipeline.evaluation.metrics import predict
from pipeline.training.loop import Recipe
from pipeline.training.resumable_run import TrainingRun

BEST_RECIPE = Recipe(
    epochs=64, batch_size=128, optimizer="muon", learning_rate=0.01, momentum=0.85, weight_decay=0.05, smoothing=0.1,
    schedule="one-cycle", dropout=0.1, batch_norm=3, norm="all", augment=1, augmentation="shift", average=0.3,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BestModelSettings(cli.Common, Recipe):
    """All that shapes it: what TrainingRun needs to know whether a checkpoint is this one's."""

    conv_layers: int
    linear_layers: int
    hidden_units: int
    preset: str = cli.run_option("champion", "of the figures' titles")
    resume: bool = cli.run_option(False, "resume a stopped run")


def prepare(
    config: cli.Common, precision: str, best: tuple[str, FrozenTrial] | None, data: Data, folder: Path
) -> TrainingRun:
    """The run that trains the best configuration found, or the default one; it goes on where the same was stopped.

    Args:
        precision: of the arithmetic while learning, as in a Recipe.
        best: the study's name and the trial whose shape is taken; None if nothing was searched.
        data: on the device to learn on.
    """
    shape: dict[str, Any] = {"conv_layers": 3, "linear_layers": 2, "hidden_units": 128}
    source = "the default shape, since no search has a complete trial"
    if best is not None:
        study, trial = best
        shape = {name: trial.params[name] for name in shape}
        source = f"the shape of trial {trial.number} of study {study}, {trial.value:.2f} % on validation"
    common: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(cli.Common)}
    settings = BestModelSettings(**common, **asdict(replace(BEST_RECIPE, precision=precision)), **shape)
    try:
        stopped = checkpoints.load_checkpoint(folder / "checkpoint.pt", settings, data.name)
    except Failure:
        stopped = None  # of other settings
    settings = replace(settings, resume=stopped is not None)
    if stopped is not None:
        print(f"{len(stopped['history'])} of {settings.epochs} epochs are done")
    torch.manual_seed(config.seed)
    model = models.FashionNet(**shape, dropout=BEST_RECIPE.dropout).to(data.train.labels.device)
    described = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shape.items())
    print(f"the champion: {described}, {models.parameter_count(model):,} parameters ({source})")
    return TrainingRun(settings, model, data, folder)


def mirrored_accuracy(model: nn.Module, split: Split) -> float:
    """Percent right by the mean probability of two views, the second mirrored."""
    views = [predict(model, images) for images in (split.images, split.images.flip(3))]
    return 100 * (torch.logaddexp(*views).argmax(1) == split.labels).float().mean().item()
