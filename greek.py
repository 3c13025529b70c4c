"""What the two Greek scripts have in common: their flags and recipes, the lesson, the test, and the comparison of both.

Each test letter is a person's, or a drawing that says so; the ones to learn from come from `letters`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import models
from pipeline import checkpoints, cli, files, plots
from pipeline.cli import option
from pipeline.datasets import letters
from pipeline.datasets.datasets import Data, Split
from pipeline.datasets.handwriting_folder import Sample, read_folder
from pipeline.datasets.letters import Source
from pipeline.datasets.stroke_templates import TEMPLATES
from pipeline.errors import Failure
from pipeline.evaluation import classification_report, handwriting
from pipeline.evaluation.metrics import evaluate
from pipeline.training import loop, run
from pipeline.training.loop import Recipe

GRID = 72  # test letters in predictions.png, at the most


@dataclass(frozen=True, kw_only=True)
class LetterRecipe(Recipe):
    """How to train, and on how many letters."""

    drawn: int = option(0, "letters drawn per class; they join the real ones", least=0)
    copies: int = option(1, "of each real letter, each spoiled in its own way", least=1)
    wear: float = option(0.0, "share of the letters that are spoiled as by a rough scan", least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class TransferRecipe(LetterRecipe):
    """And of the digit network, how much may change."""

    unfreeze: int = option(0, "layers before the new one that learn too, counted from it", least=0, most=3)


TRANSFER = {
    "best": TransferRecipe(
        epochs=10, batch_size=128, optimizer="muon", learning_rate=0.05, momentum=0.85, schedule="one-cycle",
        dropout=0.0, augment=1.0, average=0.5, decline=0.3, smoothing=0.02, drawn=2000, copies=40,
        wear=0.8, unfreeze=1,
    ),
    "classic": TransferRecipe(
        epochs=50, batch_size=16, optimizer="sgd", learning_rate=0.001, momentum=0.7, dropout=0.0
    ),
}  # fmt: skip
SCRATCH = {
    "best": LetterRecipe(
        epochs=10, batch_size=128, optimizer="muon", learning_rate=0.05, momentum=0.85, weight_decay=0.05,
        schedule="one-cycle", dropout=0.0, batch_norm=3, augment=1.0, average=0.5, decline=0.3, smoothing=0.02,
        drawn=2000, copies=40, wear=0.8,
    ),
    "classic": LetterRecipe(epochs=50, batch_size=16, optimizer="sgd", learning_rate=0.01, momentum=0.9, dropout=0.0),
}  # fmt: skip


@dataclass(frozen=True)
class Lesson(cli.Common, LetterRecipe):
    """The flags of both scripts, beside their recipe's."""

    preset: str = option("best", "a recipe; any flag overrides it; defaults shown are of best", choices=tuple(TRANSFER))
    letters: str = option("three", "alpha, beta, gamma, or all 24 lower-case letters", choices=("three", "all"))
    greek_train: Path = option(None, "a folder for each letter to learn; without it data/greek_train, else drawn ones")
    handwritten: Path = option(Path("handwritten/greek"), "the letters to test on; their folders are their labels")
    digits: Path = option(Path("outputs/train_mnist/model.pt"), "the digit network that transfer begins from")
    resume: bool = option(False, "go on with a run that was stopped, given the same flags")
    skip_training: bool = option(False, "load the saved network and do everything after training")
    compare: int = option(0, "seeds over which to train all four recipes and put them side by side", least=0)


@dataclass
class Test:
    """The letters that a network is tested on."""

    name: str
    samples: list[Sample]
    faults: list[str]  # a line for each file that could not be read
    split: Split | None  # those of a known class; drawn ones where there are none and they can be drawn


def transfer(digits: Path, names: list[str], unfreeze: int = 0, dropout: float = 0.0) -> nn.Module:
    """The digit network, frozen, with a new last layer for these classes."""
    network = checkpoints.load(digits, models.MnistNet, "train_mnist.py", models.DIGITS)
    return models.replace_head(network, names, unfreeze, dropout)


def read_test(path: Path, source: Source, valid: Split | None) -> Test:
    """The handwriting in a folder; pictures of letters that are no class here are there to be declined.

    Args:
        valid: what to test on where the folder has no letter of a class.

    Raises:
        Failure: the folder cannot be read, or there is none and nothing instead.
    """
    names = source.names
    instead = Test("synthetic letters" if source.drawable else "spoiled copies of what it learned from", [], [], valid)
    if path == Lesson.handwritten and not path.exists():
        if valid is None:
            raise Failure(f"nothing to read: give --handwritten with pictures of {', '.join(names)}")
        return instead
    instead.samples, instead.faults = samples, faults = read_folder(
        path, [*names, *sorted(TEMPLATES.keys() - {*models.DIGITS, *names})]
    )
    strangers = sorted({sample.label for sample in samples if sample.label} - set(names))
    if strangers:
        print(f"{path} has letters that are no class here ({', '.join(strangers)}): they should be declined")
    unknown = {sample.file.parent.name for sample in samples if not sample.label and sample.file.parent != path}
    if unknown:
        print(f"{path} has folders that name no class and no letter: {', '.join(sorted(unknown))}")
    known = [sample for sample in samples if sample.label in names and sample.picture.any()]
    if not known:
        print(f"{path} has no letter of a class" + ("" if valid is None else f": the test is on {instead.name}"))
        return instead
    split = letters.as_split([sample.picture for sample in known], [sample.label for sample in known], names)
    drawn = all(sample.file.stem.startswith("drawn_") for sample in known)  # the samples that come with the project
    return Test(f"{'synthetic ' if drawn else ''}letters of {path}", samples, faults, split)


def look(config: Lesson, source: Source, folder: Path) -> tuple[Split, Split]:
    """The letters to train on, and to choose the epoch by; training.png shows some of the first."""
    train, valid = letters.mix(source, config.seed, config.drawn, config.copies, config.wear, config.decline > 0)
    name = source.describe(config.drawn)
    known = (train.labels >= 0).sum().item()
    others = f" and {len(train) - known:,} of no class" if known < len(train) else ""
    print(f"{name}: {known:,} pictures of {len(source.names)} classes{others} to learn from")
    shown = torch.randperm(len(train))[:50]
    shown = shown[train.labels[shown].argsort()]
    captions = [source.names[n] if n >= 0 else "none" for n in train.labels[shown].tolist()]
    plots.save(plots.pictures(train.images[shown], captions, 10, f"To learn from: {name}"), folder / "training.png")
    return train, valid


def report(model: nn.Module, test: Test, folder: Path) -> float | None:
    """The test letters with their true and predicted names, per class, as confusion, and with what is unclear.

    Returns:
        accuracy in percent, each letter looked at as handwriting is; None where no letter's class is known.
    """
    accuracy = None
    if test.split is not None:
        outputs = handwriting.look(model, test.split.images)
        accuracy = classification_report.write(outputs, test.split, model.class_names, test.name, folder, first=GRID)
    if test.samples:
        handwriting.evaluate(model, test.samples, test.faults, folder)
    return accuracy


def lesson(
    config: Lesson,
    source: Source,
    network: type[nn.Module],
    model: nn.Module | None,
    device: torch.device,
    folder: Path,
) -> dict:
    """What both scripts do with their network, in order; returns the metrics.

    Args:
        network: the class of the model, untrained, which is not needed where training is skipped.
    """
    # the letters, and the lesson; the epoch of least validation loss is kept in model.pt
    weights, metrics = folder / "model.pt", {}
    if config.skip_training:
        source = letters.Source(checkpoints.load(weights, network, "this without --skip-training").class_names)
        valid = letters.mix(source, config.seed, 0, 1, config.wear, decline=False)[1] if source.drawable else None
    else:
        train, valid = look(config, source, folder)
    test = read_test(config.handwritten, source, valid)
    if test.split is not None:
        print(f"test: {test.name}, {len(test.split)}")
    if not config.skip_training:
        data = Data(source.describe(config.drawn), train, valid, test.split).to(device)
        metrics = run.take(config, model.to(device), data, folder)

    # what it answers to people's letters, and how the recipes compare
    accuracy = report(checkpoints.load(weights, network, "this again").to(device), test, folder)
    if accuracy is not None:
        compare(config, source, test, folder)
        print(f"{test.name}: {accuracy:.1f} % are right, looked at three times: straight and turned a little")
    print(f"everything is in {folder}/")
    if config.show:
        plots.show()
    return metrics


def contestants(digits: Path, names: list[str]) -> dict[str, tuple[LetterRecipe, Callable[[], nn.Module]]]:
    """The four recipes by name, each with what builds its network; without digit weights the two from scratch."""
    four = {
        f"{preset} transfer": (recipe, lambda layers=recipe.unfreeze: transfer(digits, names, layers))
        for preset, recipe in TRANSFER.items()
        if digits.is_file()
    }
    return four | {f"{preset} scratch": (recipe, lambda: models.GreekNet(names)) for preset, recipe in SCRATCH.items()}


def train_once(source: Source, recipe: LetterRecipe, build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """One network after the last epoch, in silence; the seed decides its letters, its first weights and its steps."""
    train, _ = letters.mix(source, seed, recipe.drawn, recipe.copies, recipe.wear, recipe.decline > 0)
    torch.manual_seed(seed)
    *_, last = loop.fit(build(), train, recipe, seed, quiet=True)
    return last.model


def compare(config: Lesson, source: Source, test: Test, folder: Path) -> None:
    """The four recipes on the same letters: mean and spread of the accuracy over seeds."""
    if not config.compare:
        return
    rows = []
    for name, (recipe, build) in contestants(config.digits, source.names).items():
        networks = [train_once(source, recipe, build, seed) for seed in range(config.compare)]
        accuracies = pd.Series([evaluate(network, test.split).accuracy for network in networks])
        learned = sum(p.numel() for p in networks[0].parameters() if p.requires_grad)
        row = {"recipe": name, "parameters learned": learned}
        rows.append(row | {"mean": accuracies.mean(), "deviation": accuracies.std(), "least": accuracies.min()})
    table = pd.DataFrame(rows).set_index("recipe")
    print(f"\nOver {config.compare} seeds, {test.name}, percent right:\n{table.round(1).to_string(na_rep='-')}")
    if not config.digits.is_file():
        print(f"transfer is left out: no weights at {config.digits}, run train_mnist.py first")
    files.write_csv(folder / "comparison.csv", table)
