"""How well do the Greek recipes read letters of people they never saw? Five seeds each.

    DATA_DIR=... python -m benchmarks.greek          real and drawn letters to learn from
    DATA_DIR=... python -m benchmarks.greek drawn    drawn letters only
    DATA_DIR=... python -m benchmarks.greek all      drawn letters only, 1,000 of each of 24 classes, one seed
    DATA_DIR=... python -m benchmarks.greek one      each real letter by networks that learned from all the others,
                                                     and from 500 drawn ones a class, to save time

Needs the digit weights of train_mnist.py, and real letters in folders by their names: data/greek_train to learn from,
data/greek_test to test on. Writes benchmarks/results/greek.json, greek_drawn.json, greek_all.json, greek_one.json.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import greek_from_scratch
import models
import transfer_greek
from benchmarks import results
from pipeline import cli
from pipeline.datasets import datasets, letters, outliers
from pipeline.datasets.datasets import Split
from pipeline.datasets.letters import Source
from pipeline.evaluation import metrics
from pipeline.evaluation.handwriting import MIN_CONFIDENCE
from pipeline.training import loop
from pipeline.training.loop import Recipe

TRAIN, TEST = Path("data/greek_train"), Path("data/greek_test")
SEEDS = 5
DIGITS = Path("outputs/train_mnist/model.pt")


def contestants(digits: Path, names: list[str]) -> dict[str, tuple[Recipe, Callable[[], nn.Module]]]:
    """The four recipes by name, each with what builds its network."""
    transfers = {
        f"{preset} transfer": (recipe, lambda layers=recipe.unfreeze: transfer_greek.transfer(digits, names, layers))
        for preset, recipe in transfer_greek.PRESETS.items()
    }
    return transfers | {
        f"{preset} scratch": (recipe, lambda: models.GreekNet(names))
        for preset, recipe in greek_from_scratch.PRESETS.items()
    }


def train_once(source: Source, recipe: Recipe, build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """One network after the last epoch, in silence; the seed decides its letters, its first weights and its steps."""
    train, _ = letters.training_mixture(source, recipe, seed, with_outliers=recipe.decline > 0)
    torch.manual_seed(seed)
    *_, last = loop.fit(build(), train, recipe, seed, quiet=True)
    return last.model


def split(source: Source, names: list[str]) -> Split:
    return letters.as_split(source.pictures, source.labels, names)


def sure(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return metrics.predict(model, images).amax(1).exp() > MIN_CONFIDENCE


def measure(source: Source, recipes: dict, seeds: int) -> list[dict]:
    """Train each recipe; what it reads of the letters, and what it takes for a letter that is none."""
    tests = {
        "train letters": letters.find_source(TRAIN, Path(), False),
        "test letters": letters.find_source(TEST, Path(), False),
    }
    digits = datasets.mnist(cli.DATA_DIR, "mnist").test
    digits = digits.images[torch.isin(digits.labels, torch.tensor([0, 3, 5, 6, 7]))][:2000]
    others = datasets.normalize(outliers.letters(2000, np.random.default_rng(2026), source.names))
    rows = []
    for seed in range(seeds):
        for name, (recipe, build) in recipes.items():
            start = time.perf_counter()
            model = train_once(source, recipe, build, seed)
            row = {"recipe": name, "seed": seed, "seconds": time.perf_counter() - start}
            for test, letters_of in tests.items():
                examples = split(letters_of, source.names)
                row[f"{test} correct"] = metrics.evaluate(model, examples).accuracy
                row[f"{test} classified"] = 100 * sure(model, examples.images).float().mean().item()
            row["digits taken for letters"] = 100 * sure(model, digits).float().mean().item()
            row["other letters taken for these"] = 100 * sure(model, others).float().mean().item()
            rows.append(results.say(row))
    return rows


def summarise(rows: list[dict]) -> dict:
    """Mean and standard deviation over the seeds, per recipe."""
    summary = {}
    for name in dict.fromkeys(row["recipe"] for row in rows):
        runs = [row for row in rows if row["recipe"] == name]
        summary[name] = {}
        for key in [key for key in runs[0] if key not in ("recipe", "seed")]:
            values = [run[key] for run in runs]
            summary[name][key] = {"mean": statistics.mean(values), "least": min(values)}
            if len(values) > 1:
                summary[name][key]["deviation"] = statistics.stdev(values)
    return summary


def one_by_one(source: Source, recipes: dict) -> list[dict]:
    """Each real letter is read by a network that learned from the others, and from as many drawn ones as ever."""
    rows = []
    for i, label in enumerate(source.labels):
        rest = Source(source.names, np.delete(source.pictures, i, 0), source.labels[:i] + source.labels[i + 1 :])
        row = {"letter": i, "label": label}
        for name, (recipe, build) in recipes.items():
            model = train_once(rest, recipe, build, seed=i)
            left_out = letters.as_split(source.pictures[i : i + 1], [label], source.names)
            row[name] = metrics.evaluate(model, left_out).accuracy == 100
        rows.append(results.say(row))
    return rows


def main(part: str) -> None:
    source = letters.find_source(TRAIN, Path(), False)
    if part in ("drawn", "all"):
        source = letters.synthetic_source(part == "all")
    recipes = contestants(DIGITS, source.names)
    best = {name: recipe for name, recipe in recipes.items() if name.startswith("best")}
    if part == "one":
        best = {name: (dataclasses.replace(recipe, drawn=500), build) for name, (recipe, build) in best.items()}
        rows = one_by_one(source, best)
        correct = {name: sum(row[name] for row in rows) for name in best}
        summary = {
            name: {"correct": n, "of": len(rows), "interval": results.interval(n, len(rows))}
            for name, n in correct.items()
        }
        return results.write("greek_one", summary, rows)
    recipe, _ = best["best transfer"]
    for layers in (0, 2):
        recipes[f"best transfer, --unfreeze {layers}"] = (
            recipe, lambda layers=layers: transfer_greek.transfer(DIGITS, source.names, layers)
        )  # fmt: skip
    if part == "all":
        recipes = {name: (dataclasses.replace(r, drawn=1000), build) for name, (r, build) in best.items()}
    if part == "drawn":
        recipes = best
    rows = measure(source, recipes, 1 if part == "all" else SEEDS)
    results.write("greek" if part == "real" else f"greek_{part}", summarise(rows), rows)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "real")
