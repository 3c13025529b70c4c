"""Compare the time to 99 %: `train_mnist.py --preset quick`, textbook loop.

    DATA_DIR=... python -m benchmarks.quick          about fifteen minutes on two cores

Both run alternately in one process, on two threads, with the same network. The time includes everything after the
imports: loading the data (our loader also verifies it), training, and every evaluation. The textbook loop (torchvision,
DataLoader, batches of 64, SGD with learning rate 0.01 and momentum 0.9) stops after the first epoch with 99.0 % on the
test split; ours always completes its recipe. Writes benchmarks/results/quick.json.
"""

import statistics
import time

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import datasets, transforms

import models
import train_mnist
from benchmarks import results
from pipeline import cli
from pipeline.datasets.datasets import mnist
from pipeline.evaluation import metrics
from pipeline.preprocessing.mnist_format import MEAN, STD
from pipeline.training import loop

SEEDS, TEXTBOOK_RUNS, THREADS, TARGET = 10, 3, 2, 99.0


def quick(seed: int) -> dict:
    """Train with the preset and evaluate as the script does."""
    start = time.perf_counter()
    data = mnist(cli.DATA_DIR, "mnist")
    recipe = train_mnist.PRESETS["quick"]
    torch.manual_seed(seed)
    data_loaded = time.perf_counter()
    for epoch in loop.fit(models.MnistNet(dropout=recipe.dropout), data.train, recipe, seed, quiet=True):
        valid_accuracy = metrics.evaluate(epoch.model, data.valid).accuracy
        test_accuracy = metrics.evaluate(epoch.model, data.test).accuracy
    end = time.perf_counter()
    return {
        "side": "quick",
        "seed": seed,
        "test_accuracy": test_accuracy,
        "valid_accuracy": valid_accuracy,
        "seconds": end - start,
        "fit_seconds": end - data_loaded,
        "examples": epoch.examples,
    }


def textbook(seed: int) -> dict:
    """Train with the usual tutorial loop until the test accuracy reaches TARGET."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    train = datasets.MNIST(cli.DATA_DIR, train=True, transform=transform)
    test = datasets.MNIST(cli.DATA_DIR, train=False, transform=transform)
    model = models.MnistNet(dropout=0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    accuracy, epochs = 0.0, 0
    while accuracy < TARGET and epochs < 20:
        epochs += 1
        model.train()
        for images, labels in DataLoader(train, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.nll_loss(model(images), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(test, batch_size=1000))
        accuracy = 100 * correct / len(test)
    seconds = time.perf_counter() - start
    return {"side": "textbook", "seed": seed, "test_accuracy": accuracy, "epochs": epochs, "seconds": seconds}


def matrix_rate() -> float:
    """Return the operations per second of a large float32 matrix product."""
    a, b, best = torch.randn(2048, 2048), torch.randn(2048, 2048), float("inf")
    for _ in range(10):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def operations_per_example() -> float:
    """Count multiplications and additions of a forward and backward pass."""
    model = models.MnistNet()
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(10, 1, 28, 28)).sum().backward()
    return counter.get_total_flops() / 10


def main() -> None:
    torch.set_num_threads(THREADS)
    rows, rates = [], []
    for seed in range(SEEDS):
        rates.append(matrix_rate())
        rows.append(results.print_row(quick(seed)))
        if seed % (SEEDS // TEXTBOOK_RUNS) == 0 and seed < SEEDS - 1:
            rows.append(results.print_row(textbook(seed)))
    ours, theirs = ([row for row in rows if row["side"] == side] for side in ("quick", "textbook"))
    median = {
        side: statistics.median(row["seconds"] for row in side_rows) for side, side_rows in (("o", ours), ("t", theirs))
    }
    operations = operations_per_example()
    rate = statistics.median(operations * row["examples"] / row["fit_seconds"] for row in ours)
    accuracies = [row["test_accuracy"] for row in ours]
    results.write(
        "quick",
        {
            "test_accuracy_mean": statistics.mean(accuracies),
            "test_accuracy_deviation": statistics.stdev(accuracies),
            "times_faster": median["t"] / median["o"],
            "share_of_matrix_rate": rate / statistics.median(rates),
            "gflop_per_second": rate / 1e9,
            "matrix_gflop_per_second": statistics.median(rates) / 1e9,
        },
        rows,
    )


if __name__ == "__main__":
    main()
