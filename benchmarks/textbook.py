"""How much sooner are the report's 75 trials done by fashion_grid_search.py than by the textbook's loop?

    DATA_DIR=... python -m benchmarks.textbook           some twenty minutes on two quiet cores
    DATA_DIR=... python -m benchmarks.textbook 1         the textbook's loop on one thread

Both sides are measured on a sample, in turns, and extrapolated to the 75 configurations of seed 0.

The sample: SHAPES of the shapes in the 75 (convolutions, linear layers, hidden units, batch size), evenly spaced in
their order. The textbook (torchvision, ToTensor, DataLoader, one configuration after the other, torch's default
threads) learns from PICTURES training pictures and evaluates as many of the test split. That gives an epoch:
50,000 to learn from, 10,000 of validation, and 10,000 of the test split every fifth epoch, as the search evaluates. The
search runs two processes of one thread each on the same shape at the same time; its rate is that of both together. The
best turn counts, since what disturbs only slows; a shape outside the sample counts as the nearest inside. Epochs: for
the textbook those of the 75, one by one; for the search those that are left where one run serves a family. Beside the
seconds on the clock stand those of the processors, which other programs on the machine change less. Writes
benchmarks/results/textbook.json, or textbook_1.json.
"""

import multiprocessing
import sys
import time

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from benchmarks import results
from pipeline import cli, runtime
from pipeline.datasets.datasets import Data, Split, fashion_mnist
from pipeline.evaluation import metrics
from pipeline.training import loop
from pipeline.tuning import search_space, trial
from pipeline.tuning.search_space import Configuration, Settings

TRIALS, SHAPES, PICTURES, TURNS, WORKERS = 75, 8, 1600, 3, 2
SIZE = ("conv_layers", "linear_layers", "hidden_units", "batch_size")
TRAIN, VALID, TEST_EVERY = 50_000, 10_000, search_space.EPOCH_STEP


def textbook(one: Configuration) -> tuple[float, float]:
    """Seconds of an epoch, on the clock and of the processors."""
    tensor = transforms.ToTensor()
    train = Subset(datasets.FashionMNIST(cli.DATA_DIR, train=True, transform=tensor), range(PICTURES))
    test = Subset(datasets.FashionMNIST(cli.DATA_DIR, train=False, transform=tensor), range(PICTURES))
    model = trial.build_network(one)
    optimizer = torch.optim.Adam(model.parameters(), lr=one["learning_rate"])
    start = now()
    model.train()
    for images, labels in DataLoader(train, batch_size=one["batch_size"], shuffle=True):
        optimizer.zero_grad()
        F.nll_loss(model(images), labels).backward()
        optimizer.step()
    learned = now()
    model.eval()
    with torch.no_grad():
        sum((model(images).argmax(1) == labels).sum().item() for images, labels in DataLoader(test, batch_size=64))
    return whole(start, learned, now())


def engine(one: Configuration, data: Data) -> tuple[float, float]:
    """The same in one worker."""
    settings = Settings()
    recipe = trial.recipe(one | {"epochs": 1}, settings, torch.device("cpu"))
    model = trial.build_network(one)
    start = now()
    (epoch,) = loop.fit(model, data.train, recipe, settings.seed, quiet=True)
    learned = now()
    metrics.evaluate(epoch.model, data.test)
    return whole(start, learned, now())


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def whole(start: tuple, learned: tuple, end: tuple) -> tuple[float, float]:
    """An epoch's seconds on both clocks, from those of PICTURES pictures learned from and evaluated."""
    evaluated = VALID + 10_000 / TEST_EVERY
    return tuple(
        ((b - a) * TRAIN + (c - b) * evaluated) / PICTURES for a, b, c in zip(start, learned, end, strict=True)
    )


def work(pipe) -> None:
    runtime.tune_process()
    torch.set_num_threads(1)
    data = fashion_mnist(cli.DATA_DIR)
    few = [Split(part.images[:PICTURES], part.labels[:PICTURES]) for part in (data.train, data.valid, data.test)]
    data = Data(data.name, *few)
    while one := pipe.recv():
        pipe.send(engine(one, data))


def main(threads: str = "") -> None:
    if threads:
        torch.set_num_threads(int(threads))
    chosen = search_space.plan(Settings(), TRIALS)
    shapes = sorted({tuple(one[name] for name in SIZE): one for one in chosen}.items())
    sample = [one for _, one in shapes[:: max(1, len(shapes) // SHAPES)]]
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(WORKERS):
        pipe, far = context.Pipe()
        context.Process(target=work, args=(far,), daemon=True).start()
        pipes.append(pipe)
    rows = []
    for turn in range(-1, TURNS):  # the first warms up
        for one in sample if turn >= 0 else sample[:1]:
            clock, processors = textbook(one)
            for pipe in pipes:
                pipe.send(one)
            answers = [pipe.recv() for pipe in pipes]
            row = {"turn": turn, **{name: one[name] for name in SIZE}, "textbook": clock, "textbook_cpu": processors}
            row["search"] = 1 / sum(1 / clock for clock, _ in answers)  # of an epoch, all at work
            row["search_cpu"] = sum(processors for _, processors in answers) / len(answers)
            rows += [results.say(row)] if turn >= 0 else []

    for pipe in pipes:
        pipe.send(None)

    longest = {}
    for one in chosen:
        key = search_space.family(one, Settings())
        longest[key] = max(longest.get(key, one), one, key=lambda each: each["epochs"])
    hours = {}
    for name in ("textbook", "search", "textbook_cpu", "search_cpu"):
        best = {}
        for row in rows:
            shape = tuple(row[key] for key in SIZE)
            best[shape] = min(row[name], best.get(shape, row[name]))
        runs = chosen if name.startswith("textbook") else longest.values()
        hours[name] = sum(one["epochs"] * nearest(best, one) for one in runs) / 3600
    results.write(
        "textbook" + (f"_{threads}" if threads else ""),
        {
            "times_faster": hours["textbook"] / hours["search"],
            "times_less_processor": hours["textbook_cpu"] / hours["search_cpu"],
            "textbook_epochs": sum(one["epochs"] for one in chosen),
            "search_epochs": sum(one["epochs"] for one in longest.values()),
            **{f"{name}_hours": value for name, value in hours.items()},
            "textbook_threads": torch.get_num_threads(),
            "workers": WORKERS,
        },
        rows,
    )


def nearest(measured: dict[tuple, float], one: Configuration) -> float:
    """The seconds of the shape that resembles most: first by convolutions, then by the others in order."""
    wanted = [one[name] for name in SIZE]
    return measured[min(measured, key=lambda shape: [abs(a - b) for a, b in zip(shape, wanted, strict=True)])]


if __name__ == "__main__":
    main(*sys.argv[1:])
