"""Measure the Greek recipes on letters of writers outside the training set.

    DATA_DIR=... python -m benchmarks.greek          train on real and synthetic letters, five seeds
    DATA_DIR=... python -m benchmarks.greek drawn    train on synthetic letters only, five seeds
    DATA_DIR=... python -m benchmarks.greek all      train on 1,000 synthetic letters of each of 24 classes, one seed
    DATA_DIR=... python -m benchmarks.greek one      leave one out: classify each real letter by networks trained on
                                                     all others and on only 500 synthetic ones per class, to save time

Needs the digit weights of train_mnist.py and real letters in one folder per class: data/greek_train for training,
data/greek_test for the test. Writes benchmarks/results/greek.json, greek_drawn.json, greek_all.json or greek_one.json.
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


def all_recipes(digits: Path, names: list[str]) -> dict[str, tuple[Recipe, Callable[[], nn.Module]]]:
    """Return name -> recipe and a function that builds its network, for four recipes."""
    transfers = {
        f"{preset} transfer": (recipe, lambda layers=recipe.unfreeze: transfer_greek.transfer(digits, names, layers))
        for preset, recipe in transfer_greek.PRESETS.items()
    }
    return transfers | {
        f"{preset} scratch": (recipe, lambda: models.GreekNet(names))
        for preset, recipe in greek_from_scratch.PRESETS.items()
    }


def train_once(source: Source, recipe: Recipe, build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Train one network; the seed sets its synthetic letters, weights and batches."""
    train, _ = letters.training_mixture(source, recipe, seed, with_outliers=recipe.decline > 0)
    torch.manual_seed(seed)
    *_, last = loop.fit(build(), train, recipe, seed, quiet=True)
    return last.model


def split(source: Source, names: list[str]) -> Split:
    return letters.as_split(source.pictures, source.labels, names)


def confident(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return (N,) bool: whether the confidence exceeds MIN_CONFIDENCE."""
    return metrics.predict(model, images).amax(1).exp() > MIN_CONFIDENCE


def measure(source: Source, recipes: dict, seeds: int) -> list[dict]:
    """Train each recipe; measure accuracy and how often it classifies non-letters."""
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
            for test, test_source in tests.items():
                examples = split(test_source, source.names)
                row[f"{test} correct"] = metrics.evaluate(model, examples).accuracy
                row[f"{test} classified"] = 100 * confident(model, examples.images).float().mean().item()
            row["digits taken for letters"] = 100 * confident(model, digits).float().mean().item()
            row["other letters taken for these"] = 100 * confident(model, others).float().mean().item()
            rows.append(results.print_row(row))
    return rows


def summarize(rows: list[dict]) -> dict:
    """Return the mean, minimum and standard deviation over the seeds for each recipe."""
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


def leave_one_out(source: Source, recipes: dict) -> list[dict]:
    """Classify each real letter after training on the others and synthetic ones."""
    rows = []
    for i, label in enumerate(source.labels):
        remaining = Source(source.names, np.delete(source.pictures, i, 0), source.labels[:i] + source.labels[i + 1 :])
        row = {"letter": i, "label": label}
        for name, (recipe, build) in recipes.items():
            model = train_once(remaining, recipe, build, seed=i)
            left_out = letters.as_split(source.pictures[i : i + 1], [label], source.names)
            row[name] = metrics.evaluate(model, left_out).accuracy == 100
        rows.append(results.print_row(row))
    return rows


def main(part: str) -> None:
    source = letters.find_source(TRAIN, Path(), False)
    if part in ("drawn", "all"):
        source = letters.synthetic_source(part == "all")
    recipes = all_recipes(DIGITS, source.names)
    best = {name: recipe for name, recipe in recipes.items() if name.startswith("best")}
    if part == "one":
        best = {name: (dataclasses.replace(recipe, drawn=500), build) for name, (recipe, build) in best.items()}
        rows = leave_one_out(source, best)
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
    results.write("greek" if part == "real" else f"greek_{part}", summarize(rows), rows)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "real")
