"""The best network for clothes: the shape that the search found, trained by the recipe that suits it best.

A larger network learns first; the champion then learns from its answers more than from the labels.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import course
import experiment
import models
import training
import verdict
from experiment import Failure
from loaders import Data, Split
from training import Recipe

TEACHER = Recipe(
    epochs=20, batch_size=128, optimizer="muon", learning_rate=0.05, momentum=0.85, weight_decay=0.05, smoothing=0.1,
    schedule="one-cycle", dropout=0.3, augment=1, augmentation="shift", average=0.3,
)  # fmt: skip
CHAMPION = replace(TEACHER, epochs=24, dropout=0.1, batch_norm=3, distillation=0.9)


@dataclass(frozen=True, kw_only=True)
class Settings(experiment.Common, Recipe):
    """All that shapes a network: what `course.take` needs to know whether a checkpoint is this one's."""

    shape: dict  # what it is built with
    preset: str
    resume: bool = False


def train(config: experiment.Common, precision: str, table: pd.DataFrame, data: Data, folder: Path) -> dict:
    """Train the table's best complete configuration, or the default one; go on where the same was stopped.

    Args:
        precision: of the arithmetic while learning, as in a Recipe.
        data: on the device to learn on.

    Returns:
        its metrics. `mirrored_test_accuracy` is of the mean of two looks, the second in a mirror.
    """
    complete = table[table.state == "complete"]
    shape = {"conv_layers": 3, "linear_layers": 2, "hidden_units": 128}
    if len(complete):
        shape = {name: int(complete.iloc[0][name]) for name in shape}
    common = {field.name: getattr(config, field.name) for field in fields(experiment.Common)}

    def learn(name: str, build: Callable[..., nn.Module], recipe: Recipe, folder: Path, **more) -> dict:
        torch.manual_seed(config.seed)
        model = build(dropout=recipe.dropout)
        recipe = replace(recipe, precision=precision)
        settings = Settings(**common, **asdict(recipe), shape=model.settings, preset=name)
        try:
            stopped = experiment.load_checkpoint(folder / "checkpoint.pt", settings, data.name)
        except Failure:
            stopped = None  # another's
        print(f"the {name}: {model.settings}, {models.parameter_count(model):,} parameters")
        settings = replace(settings, resume=stopped is not None)
        return course.take(settings, model.to(data.train.labels.device), data, folder, **more)

    # the teacher
    place = experiment.output_folder(folder / "teacher")
    learn("teacher", models.TeacherNet, TEACHER, place)
    teacher = models.load(place / "model.pt", models.TeacherNet, "this again").to(
        data.train.labels.device, memory_format=torch.channels_last
    )

    # the champion, and what it takes for what
    metrics = learn(
        "champion", lambda **more: models.FashionNet(**shape, **more), CHAMPION, folder, teacher=teacher,
        also=lambda model: {"mirrored_test_accuracy": mirrored_accuracy(model, data.test)},
    )  # fmt: skip
    model = models.load(folder / "model.pt", models.FashionNet, "this again").to(data.train.labels.device)
    outputs = training.predict(model, data.test.images).cpu()
    verdict.write(outputs, data.test, model.class_names, f"test pictures of {data.name}", folder)
    mirrored = metrics["mirrored_test_accuracy"]
    print(f"{data.name}: {metrics['test_accuracy']:.2f} % right, {mirrored:.2f} with a second look in a mirror")
    return metrics


def mirrored_accuracy(model: nn.Module, split: Split) -> float:
    """Percent right of the mean of two looks, the second in a mirror."""
    looks = [training.predict(model, images) for images in (split.images, split.images.flip(3))]
    return 100 * (torch.logaddexp(*looks).argmax(1) == split.labels).float().mean().item()
