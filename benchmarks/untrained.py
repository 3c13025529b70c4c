"""Run the trials of a study without training, to measure and test what is done around the training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline.tuning import trial
from pipeline.tuning.search_space import Configuration
from pipeline.tuning.study import Study
from pipeline.tuning.workers import Objective


def rows(configuration: Configuration, accuracy: float = 80.0) -> Iterator[dict[str, Any]]:
    """Yield a row for each epoch, as `trial.train` does: 2 seconds each, the test split every five epochs."""
    for epoch in range(1, configuration["epochs"] + 1):
        test = accuracy - 1 if epoch % 5 == 0 else None
        yield {"epoch": epoch, "valid_accuracy": accuracy, "test_accuracy": test, "seconds": 2.0 * epoch}


def run_next(open_study: Study, families: Path, train: Callable[[Configuration], Iterator[dict]] = rows) -> bool:
    """Run a waiting trial, whose epochs are those that `train` yields; False if none waits."""
    fake = {"cache_file": lambda *_: families / "untrained.pt", "train": lambda configuration, *_: train(configuration)}
    with mock.patch.multiple(trial, **fake):
        return Objective(open_study, None, families).run_next()
