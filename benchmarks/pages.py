"""What does it save to keep the memory that a training step frees, instead of giving it back to the system?

    python -m benchmarks.pages           two minutes of one core

STEPS steps of the search's own training, in fresh processes of one thread, by turns with and without
`runtime.keep_memory`; beside the milliseconds of a step stand the page faults of one, and the greatest memory of the
process in MB. Writes benchmarks/results/pages.json.
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

CONVOLUTIONS, BATCH, STEPS, TURNS = (1, 3), 64, 100, 5


def steps(kept: bool, convolutions: int) -> dict:
    torch.set_num_threads(1)
    if kept:
        runtime.keep_memory()
    train = Split(torch.randn(STEPS * BATCH, 1, 28, 28), torch.randint(0, 10, (STEPS * BATCH,)))
    one = {"conv_layers": convolutions, "linear_layers": 2, "hidden_units": 128, "dropout_rate": 0.2}
    one |= {"batch_size": BATCH, "epochs": 2, "learning_rate": 0.001}
    recipe = trial.recipe(one, Settings(), train.labels.device)
    epochs = loop.fit(trial.build_network(one), train, recipe, seed=0, quiet=True)
    next(epochs)  # warm
    faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    next(epochs)
    seconds, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    row = {"milliseconds": 1000 * seconds / STEPS, "page_faults": (usage.ru_minflt - faults) / STEPS}
    return {"convolutions": convolutions, "kept": kept, **row, "megabytes": usage.ru_maxrss / 1024}


def main() -> None:
    rows = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(TURNS):
            for convolutions in CONVOLUTIONS:
                for kept in (False, True):
                    rows.append(results.say(pool.apply(steps, (kept, convolutions))))
        pool.close()
        pool.join()
    summary = {}
    for convolutions in CONVOLUTIONS:
        medians = {}
        for name in ("milliseconds", "page_faults", "megabytes"):
            for kept, word in ((False, "given_back"), (True, "kept")):
                chosen = (row[name] for row in rows if row["convolutions"] == convolutions and row["kept"] == kept)
                medians[f"{name}_{word}_{convolutions}"] = statistics.median(chosen)
        given_back, kept = (medians[f"milliseconds_{word}_{convolutions}"] for word in ("given_back", "kept"))
        summary |= {f"times_faster_{convolutions}": given_back / kept} | medians
    results.write("pages", summary, rows)


if __name__ == "__main__":
    main()
