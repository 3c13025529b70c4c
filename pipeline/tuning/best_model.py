"""The best network for clothes: the shape that the search found, trained by the recipe that suits it best."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from optuna.trial import FrozenTrial
from torch import nn

import models
from pipeline import checkpoints, cli
from pipeline.datasets.datasets import Data, Split
from pipeline.errors import Failure
from pipeline.evaluation import classification_report
from pipeline.evaluation.metrics import predict
from pipeline.training import run
from pipeline.training.loop import Recipe

CHAMPION = Recipe(
    epochs=64, batch_size=128, optimizer="muon", learning_rate=0.01, momentum=0.85, weight_decay=0.05, smoothing=0.1,
    schedule="one-cycle", dropout=0.1, batch_norm=3, norm="all", augment=1, augmentation="shift", average=0.3,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Champion(cli.Common, Recipe):
    """All that shapes it: what `course.take` needs to know whether a checkpoint is this one's."""

    conv_layers: int
    linear_layers: int
    hidden_units: int
    preset: str = "champion"
    resume: bool = False


def train(config: cli.Common, precision: str, best: tuple[str, FrozenTrial] | None, data: Data, folder: Path) -> dict:
    """Train the best configuration found, or the default one; go on where the same was stopped.

    Args:
        precision: of the arithmetic while learning, as in a Recipe.
        best: the trial whose shape it takes, and the name of the study it is from; None if nothing was searched.
        data: on the device to learn on.

    Returns:
        its metrics. `mirrored_test_accuracy` is of the mean of two looks, the second in a mirror.
    """
    shape = {"conv_layers": 3, "linear_layers": 2, "hidden_units": 128}
    whence = "the default shape, since no search has a complete trial"
    if best is not None:
        study, trial = best
        shape = {name: trial.params[name] for name in shape}
        whence = f"the shape of trial {trial.number} of study {study}, {trial.value:.2f} % on validation"
    common = {field.name: getattr(config, field.name) for field in fields(cli.Common)}
    settings = Champion(**common, **asdict(replace(CHAMPION, precision=precision)), **shape)
    try:
        stopped = checkpoints.load_checkpoint(folder / "checkpoint.pt", settings, data.name)
    except Failure:
        stopped = None  # another champion's
    settings = replace(settings, resume=stopped is not None)
    if stopped is not None:
        print(f"{len(stopped['history'])} of {settings.epochs} epochs are done")
    device = data.train.labels.device
    torch.manual_seed(config.seed)
    model = models.FashionNet(**shape, dropout=CHAMPION.dropout).to(device)
    described = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shape.items())
    print(f"the champion: {described}, {models.parameter_count(model):,} parameters ({whence})")
    metrics = run.take(
        settings, model, data, folder,
        also=lambda kept: {"mirrored_test_accuracy": mirrored_accuracy(kept, data.test)},
    )  # fmt: skip

    model = checkpoints.load(folder / "model.pt", models.FashionNet, "this again").to(device)
    outputs = predict(model, data.test.images).cpu()
    classification_report.write(outputs, data.test, model.class_names, f"test pictures of {data.name}", folder)
    mirrored = metrics["mirrored_test_accuracy"]
    print(f"{data.name}: {metrics['test_accuracy']:.2f} % right, {mirrored:.2f} with a second look in a mirror")
    return metrics


def mirrored_accuracy(model: nn.Module, split: Split) -> float:
    """Percent right of the mean of two looks, the second in a mirror."""
    looks = [predict(model, images) for images in (split.images, split.images.flip(3))]
    return 100 * (torch.logaddexp(*looks).argmax(1) == split.labels).float().mean().item()
