"""Measure training steps with and without `runtime.keep_memory`.

    python -m benchmarks.pages           two minutes on one core

`keep_memory` makes the process keep the memory that a training step frees, instead of returning it to the system. Each
run is STEPS steps of the search's training in a new process with one thread; runs with and without alternate. Measures
milliseconds and page faults per step and the peak memory of the process in MB. Writes benchmarks/results/pages.json.
"""

import multiprocessing
import resource
import statistics
import time

import torch

from benchmarks import results
from pipeline import runtime
from pipeline.datasets.datasets import Split
from pipeline.training import loop
from pipeline.tuning import trial
from pipeline.tuning.search_space import Settings

CONVOLUTIONS, BATCH, STEPS, REPEATS = (1, 3), 64, 100, 5


def measure(keep: bool, convolutions: int) -> dict:
    """Train for two epochs and measure the second."""
    torch.set_num_threads(1)
    if keep:
        runtime.keep_memory()
    train = Split(torch.randn(STEPS * BATCH, 1, 28, 28), torch.randint(0, 10, (STEPS * BATCH,)))
    params = {"conv_layers": convolutions, "linear_layers": 2, "hidden_units": 128, "dropout_rate": 0.2}
    params |= {"batch_size": BATCH, "epochs": 2, "learning_rate": 0.001}
    recipe = trial.recipe(params, Settings(), train.labels.device)
    epochs = loop.fit(trial.build_network(params), train, recipe, seed=0, quiet=True)
    next(epochs)  # warm-up
    faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    next(epochs)
    seconds, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    row = {"milliseconds": 1000 * seconds / STEPS, "page_faults": (usage.ru_minflt - faults) / STEPS}
    return {"convolutions": convolutions, "kept": keep, **row, "megabytes": usage.ru_maxrss / 1024}


def main() -> None:
    rows = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(REPEATS):
            for convolutions in CONVOLUTIONS:
                for keep in (False, True):
                    rows.append(results.print_row(pool.apply(measure, (keep, convolutions))))
        pool.close()
        pool.join()
    summary = {}
    for convolutions in CONVOLUTIONS:
        medians = {}
        for name in ("milliseconds", "page_faults", "megabytes"):
            for keep, suffix in ((False, "given_back"), (True, "kept")):
                values = (row[name] for row in rows if row["convolutions"] == convolutions and row["kept"] == keep)
                medians[f"{name}_{suffix}_{convolutions}"] = statistics.median(values)
        without, keep = (medians[f"milliseconds_{suffix}_{convolutions}"] for suffix in ("given_back", "kept"))
        summary |= {f"times_faster_{convolutions}": without / keep} | medians
    results.write("pages", summary, rows)


if __name__ == "__main__":
    main()
