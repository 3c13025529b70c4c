"""Run the search on clothes drawn for a test, in its workers too: `python fashion_on_digits.py --trials 4 ...`.

A worker begins by importing the file its parent was started with, under another name than `__main__`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

root = Path(__file__).parent.parent
sys.path.insert(0, str(root))

from pipeline import cli  # noqa: E402
from pipeline.datasets import datasets  # noqa: E402
from pipeline.tuning import database, search_space, workers  # noqa: E402


def fashion(data_dir: Path) -> datasets.Data:
    """Eight hundred drawn digits in the place of clothes."""
    data = datasets.synthetic_digits(train=600, test=200)
    data.name = "Fashion-MNIST"
    return data


def pretend(put: Callable[[object, str, object], None]) -> None:
    """Little data and short timeouts, put in place by `setattr`, or by a test's own that takes it back."""
    put(database, "HEARTBEAT_SECONDS", 1)
    put(database, "GRACE_SECONDS", 3)
    put(workers, "POLL_SECONDS", 0.2)
    put(database, "SQLITE_TIMEOUT_SECONDS", 1)
    put(database, "START_TIMEOUT_SECONDS", 3.0)
    put(database, "RUN_TIMEOUT_SECONDS", 120.0)
    put(datasets, "VALIDATION_SIZE", 200)
    put(datasets, "fashion_mnist", fashion)


if __name__ != "fashion_on_digits":  # not where a test imports it
    pretend(setattr)
    if "LOST" in os.environ:
        search_space.LEARNING_RATES["adam"] = [1e30, 0.001]
if __name__ == "__main__":
    import fashion_grid_search as script

    cli.launch(script.main, script.Config, script.PRESETS)
