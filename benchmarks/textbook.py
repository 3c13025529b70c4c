"""Time the report's 75 trials with fashion_grid_search.py and a textbook loop.

    DATA_DIR=... python -m benchmarks.textbook           about twenty minutes on two idle cores
    DATA_DIR=... python -m benchmarks.textbook 1         the textbook loop on one thread

Both are measured alternately on a sample of network shapes and extrapolated to the 75 configurations of seed 0.

The sample is SHAPES of the shapes in the 75 (convolutions, linear layers, hidden units, batch size), evenly spaced in
sorted order. The textbook loop (torchvision, ToTensor, DataLoader, one configuration after the other, torch's default
threads) trains on SAMPLE_IMAGES training images and evaluates as many test images. This is scaled to an epoch of 50,000
training images, 10,000 validation images and, every fifth epoch, 10,000 test images, as the search evaluates. The
search runs two processes with one thread each on the same shape at the same time, and their rates are added. The
fastest repeat counts, since other load only slows; a shape outside the sample takes the time of the nearest inside.
The textbook loop trains all epochs of the 75; the search trains once for all configurations of a family. CPU seconds
are reported besides wall-clock seconds, since other load changes them less. Writes benchmarks/results/textbook.json,
or textbook_1.json.
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

TRIALS, SHAPES, SAMPLE_IMAGES, REPEATS, WORKERS = 75, 8, 1600, 3, 2
SHAPE_KEYS = ("conv_layers", "linear_layers", "hidden_units", "batch_size")
TRAIN, VALID, TEST_EVERY = 50_000, 10_000, search_space.EPOCH_STEP


def textbook(params: Configuration) -> tuple[float, float]:
    """Return the wall-clock and CPU seconds of an epoch of the textbook loop."""
    tensor = transforms.ToTensor()
    train = Subset(datasets.FashionMNIST(cli.DATA_DIR, train=True, transform=tensor), range(SAMPLE_IMAGES))
    test = Subset(datasets.FashionMNIST(cli.DATA_DIR, train=False, transform=tensor), range(SAMPLE_IMAGES))
    model = trial.build_network(params)
    optimizer = torch.optim.Adam(model.parameters(), lr=params["learning_rate"])
    start = now()
    model.train()
    for images, labels in DataLoader(train, batch_size=params["batch_size"], shuffle=True):
        optimizer.zero_grad()
        F.nll_loss(model(images), labels).backward()
        optimizer.step()
    train_end = now()
    model.eval()
    with torch.no_grad():
        sum((model(images).argmax(1) == labels).sum().item() for images, labels in DataLoader(test, batch_size=64))
    return scale_to_epoch(start, train_end, now())


def search(params: Configuration, data: Data) -> tuple[float, float]:
    """Return the wall-clock and CPU seconds of an epoch in one search worker."""
    settings = Settings()
    recipe = trial.recipe(params | {"epochs": 1}, settings, torch.device("cpu"))
    model = trial.build_network(params)
    start = now()
    (epoch,) = loop.fit(model, data.train, recipe, settings.seed, quiet=True)
    train_end = now()
    metrics.evaluate(epoch.model, data.test)
    return scale_to_epoch(start, train_end, now())


def now() -> tuple[float, float]:
    """Return the wall-clock and CPU time in seconds."""
    return time.perf_counter(), time.process_time()


def scale_to_epoch(start: tuple, train_end: tuple, end: tuple) -> tuple[float, float]:
    """Scale the wall-clock and CPU times of SAMPLE_IMAGES images to an epoch."""
    evaluated_images = VALID + 10_000 / TEST_EVERY
    return tuple(
        ((b - a) * TRAIN + (c - b) * evaluated_images) / SAMPLE_IMAGES
        for a, b, c in zip(start, train_end, end, strict=True)
    )


def work(pipe) -> None:
    """Measure the configurations received from a pipe until None arrives."""
    runtime.tune_process()
    torch.set_num_threads(1)
    data = fashion_mnist(cli.DATA_DIR)
    subsets = [
        Split(part.images[:SAMPLE_IMAGES], part.labels[:SAMPLE_IMAGES]) for part in (data.train, data.valid, data.test)
    ]
    data = Data(data.name, *subsets)
    while params := pipe.recv():
        pipe.send(search(params, data))


def main(threads: str = "") -> None:
    if threads:
        torch.set_num_threads(int(threads))
    plan = search_space.plan(Settings(), TRIALS)
    shapes = sorted({tuple(params[name] for name in SHAPE_KEYS): params for params in plan}.items())
    sample = [params for _, params in shapes[:: max(1, len(shapes) // SHAPES)]]
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(WORKERS):
        pipe, child_pipe = context.Pipe()
        context.Process(target=work, args=(child_pipe,), daemon=True).start()
        pipes.append(pipe)
    rows = []
    for repeat in range(-1, REPEATS):  # the first is a warm-up
        for params in sample if repeat >= 0 else sample[:1]:
            wall, cpu = textbook(params)
            for pipe in pipes:
                pipe.send(params)
            times = [pipe.recv() for pipe in pipes]
            row = {"turn": repeat, **{name: params[name] for name in SHAPE_KEYS}, "textbook": wall, "textbook_cpu": cpu}
            row["search"] = 1 / sum(1 / wall for wall, _ in times)  # seconds per epoch of all workers together
            row["search_cpu"] = sum(cpu for _, cpu in times) / len(times)
            rows += [results.print_row(row)] if repeat >= 0 else []

    for pipe in pipes:
        pipe.send(None)

    family_runs = {}
    for params in plan:
        key = search_space.family(params, Settings())
        family_runs[key] = max(family_runs.get(key, params), params, key=lambda candidate: candidate["epochs"])
    hours = {}
    for name in ("textbook", "search", "textbook_cpu", "search_cpu"):
        best = {}
        for row in rows:
            shape = tuple(row[key] for key in SHAPE_KEYS)
            best[shape] = min(row[name], best.get(shape, row[name]))
        runs = plan if name.startswith("textbook") else family_runs.values()
        hours[name] = sum(params["epochs"] * nearest(best, params) for params in runs) / 3600
    results.write(
        "textbook" + (f"_{threads}" if threads else ""),
        {
            "times_faster": hours["textbook"] / hours["search"],
            "times_less_processor": hours["textbook_cpu"] / hours["search_cpu"],
            "textbook_epochs": sum(params["epochs"] for params in plan),
            "search_epochs": sum(params["epochs"] for params in family_runs.values()),
            **{f"{name}_hours": value for name, value in hours.items()},
            "textbook_threads": torch.get_num_threads(),
            "workers": WORKERS,
        },
        rows,
    )


def nearest(measured: dict[tuple, float], params: Configuration) -> float:
    """Return the seconds of the nearest shape, comparing SHAPE_KEYS in order."""
    shape_wanted = [params[name] for name in SHAPE_KEYS]
    return measured[min(measured, key=lambda shape: [abs(a - b) for a, b in zip(shape, shape_wanted, strict=True)])]


if __name__ == "__main__":
    main(*sys.argv[1:])
