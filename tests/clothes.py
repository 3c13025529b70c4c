"""Run the search on clothes drawn for a test, in its workers too: `python clothes.py --trials 4 ...`.

A worker begins by importing the file its parent was started with, under another name than `__main__`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

root = Path(__file__).parent.parent
sys.path.insert(0, str(root))

import claims  # noqa: E402
import ledger  # noqa: E402
import loaders  # noqa: E402
import patience  # noqa: E402
import search  # noqa: E402


def fashion(data_dir: Path) -> loaders.Data:
    """Eight hundred drawn digits in the place of clothes."""
    data = loaders.synthetic(train=600, test=200)
    data.name = "Fashion-MNIST"
    return data


def pretend(put: Callable[[object, str, object], None]) -> None:
    """Little data and little patience, put in place by `setattr`, or by a test's own that takes it back."""
    put(claims, "BEAT", 0.2)
    put(claims, "STALE", 1.5)
    put(ledger, "LOCK_WAIT", 1)
    put(patience, "AT_START", 3.0)
    put(patience, "MEANWHILE", 60.0)
    put(loaders, "VALID", 200)
    put(loaders, "fashion", fashion)


if __name__ != "clothes":  # not where a test imports it
    pretend(setattr)
    if "LOST" in os.environ:
        search.LEARNING_RATES["adam"] = [1e30, 0.001]
if __name__ == "__main__":
    import experiment
    import fashion_grid_search as script

    experiment.launch(script.main, script.Config, script.PRESETS)
