"""A training run that a script iterates over, epoch by epoch, and that can be resumed.

After each epoch, checkpoint.pt has all that is needed to resume. At the end, model.pt gets the weights of the epoch
with the lowest validation loss, label smoothing included. The test split is evaluated after each epoch for its curve,
and chooses nothing.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

import models
from pipeline import checkpoints, files, plots, runtime
from pipeline.datasets.datasets import Data
from pipeline.errors import Failure
from pipeline.evaluation.metrics import Score, evaluate
from pipeline.training import loop


@dataclass
class EpochResult:
    """The results of an epoch; as text, a line to print."""

    number: int  # from 1
    train_loss: float  # mean over the epoch, before each step
    train_accuracy: float  # percent, likewise
    valid: Score
    test: Score

    def __str__(self) -> str:
        return (
            f"loss {self.train_loss:.4f}, accuracy of train {self.train_accuracy:.2f} %, "
            f"valid {self.valid.accuracy:.2f} %, test {self.test.accuracy:.2f} %"
        )


class TrainingRun:
    """Iterate over this to train; then `finish` writes the results.

    for epoch in run:
        print(epoch.number, epoch.valid.accuracy)
    metrics = run.finish()
    """

    def __init__(self, config: Any, model: nn.Module, data: Data, folder: Path):
        """
        Args:
            config: the flags of a script that trains: a Recipe, the Common ones, `preset` and `resume`.
            model: on the device of the data.
            folder: for checkpoint.pt and the results.

        Raises:
            Failure: with --resume, the checkpoint has other flags or data, or is damaged.
        """
        self.config, self.model, self.data, self.folder = config, model, data, folder
        self.checkpoint = folder / "checkpoint.pt"
        if not config.resume:
            self.checkpoint.unlink(missing_ok=True)  # of an earlier run, which a later --resume must not continue
        fresh: dict[str, Any] = {"state": None, "best": None, "history": [], "losses": []}
        self.progress: dict[str, Any] = checkpoints.load_checkpoint(self.checkpoint, config, data.name) or fresh
        if self.progress.keys() != fresh.keys():
            raise Failure(f"{self.checkpoint} is from another version: run without --resume")
        self.untrained_loss = evaluate(model, data.test).loss

    def __iter__(self) -> Iterator[EpochResult]:
        """Train the remaining epochs; yield each after its checkpoint is written."""
        config, data, progress = self.config, self.data, self.progress
        start = time.perf_counter()
        for epoch in loop.fit(self.model, data.train, config, config.seed, progress["state"], config.quiet):
            valid = evaluate(epoch.model, data.valid, config.smoothing)
            test = evaluate(epoch.model, data.test)
            # the loss, since the accuracy of good epochs differs by a few examples only; smoothed as in training, since
            # the plain loss is lowest while a network trained on smoothed labels is still overconfident
            least = min((row["valid_smoothed_loss"] for row in progress["history"]), default=math.inf)
            if valid.smoothed_loss < least:
                progress["best"] = checkpoints.pack(epoch.model)
            row: dict[str, float] = {"epoch": epoch.number, "examples": epoch.examples}
            row |= {"train_loss": epoch.loss, "train_accuracy": epoch.accuracy}
            row |= {"valid_loss": valid.loss, "valid_accuracy": valid.accuracy}
            row |= {"valid_smoothed_loss": valid.smoothed_loss}
            row |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
            progress["history"].append(row | {"seconds": time.perf_counter() - start})
            progress["losses"] += epoch.batch_losses
            progress["state"] = epoch.state
            checkpoints.save_checkpoint(self.checkpoint, config, data.name, progress)
            yield EpochResult(epoch.number, epoch.loss, epoch.accuracy, valid, test)
            start = time.perf_counter()

    def best_model(self) -> nn.Module:
        """Return the network of the epoch with the lowest validation loss, on the data's device, in evaluation mode."""
        return checkpoints.unpack(self.progress["best"]).to(self.data.train.labels.device)

    def finish(self, **measured: float) -> dict:
        """Write model.pt, metrics.json, history.csv, losses.csv, losses.png and accuracies.png.

        Args:
            measured: further results of `best_model`, for metrics.json.

        Returns:
            the metrics of the best epoch.
        """
        config, data, folder = self.config, self.data, self.folder
        history = pd.DataFrame(self.progress["history"])
        batches = pd.DataFrame(self.progress["losses"], columns=["examples", "loss"])
        best = history.loc[history.valid_smoothed_loss.idxmin()]
        metrics = {name: best[name] for name in ("test_accuracy", "test_loss", "valid_accuracy", "valid_loss")}
        metrics |= {"best_epoch": int(best.epoch), "epochs": len(history), "train_seconds": history.seconds.sum()}
        metrics |= {"parameters": models.parameter_count(self.model), "dataset": data.name}
        metrics |= {"classes": self.model.class_names, "seed": config.seed}
        metrics |= {"device": str(data.train.labels.device), **runtime.versions(), **measured}
        checkpoints.save_file(folder / "model.pt", self.progress["best"])
        files.write_json(folder / "metrics.json", metrics)
        files.write_csv(folder / "history.csv", history)
        files.write_csv(folder / "losses.csv", batches)

        every = batches[:: min(50, 1 + len(batches) // 100)]  # 50 as in the report, or a short run has no curve
        test_curve = [0, *history.examples], [self.untrained_loss, *history.test_loss]
        title = f"Learning {data.name}: {config.preset} recipe"
        plots.save(plots.losses((every.examples, every.loss), test_curve, title), folder / "losses.png")
        percent = {split: history[f"{split}_accuracy"] for split in ("train", "valid", "test")}
        plots.save(plots.accuracies(history.epoch, percent, int(best.epoch), title), folder / "accuracies.png")
        return metrics
