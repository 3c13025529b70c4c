"""One course of training, from the first epoch or from the one that a stopped run had finished, to files and curves.

The epoch of least validation loss, smoothed as in training, goes to model.pt, all that was measured beside it, and
after every epoch what is needed to go on to checkpoint.pt. The test split is read after each epoch to draw its curve,
and chooses nothing.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

import models
from pipeline import checkpoints, errors, files, plots, runtime
from pipeline.datasets.datasets import Data
from pipeline.evaluation.metrics import evaluate
from pipeline.training import loop


def take(
    config: Any,
    model: nn.Module,
    data: Data,
    folder: Path,
    also: Callable[[nn.Module], dict] = lambda model: {},
) -> dict:
    """Fit the network and write checkpoint.pt, model.pt, config.json, metrics.json, history.csv, losses.csv and two
    pictures, losses.png and accuracies.png.

    Args:
        config: the flags of a script that trains: a Recipe, the Common ones, `preset` and `resume`.
        model: on the device of the data.
        also: what else is to be measured of the network that is kept, for metrics.json.

    Returns:
        the metrics of the epoch that is kept.

    Raises:
        Failure: --resume, and the checkpoint is of other flags, other data, or damaged.
    """
    checkpoint = folder / "checkpoint.pt"
    if not config.resume:
        checkpoint.unlink(missing_ok=True)  # another run's, which --resume would take for this one's
    fresh = {"state": None, "best": None, "history": [], "losses": []}
    run = checkpoints.load_checkpoint(checkpoint, config, data.name) or fresh
    if run.keys() != fresh.keys():
        raise errors.Failure(f"{checkpoint} is another version's: run without --resume")
    untrained_loss = evaluate(model, data.test).loss
    start = time.perf_counter()
    for epoch in loop.fit(model, data.train, config, config.seed, run["state"], config.quiet):
        row = {"epoch": epoch.number, "examples": epoch.examples}
        row |= {"train_loss": epoch.loss, "train_accuracy": epoch.accuracy}
        valid = evaluate(epoch.model, data.valid, config.smoothing)
        test = evaluate(epoch.model, data.test)
        row |= {"valid_loss": valid.loss, "valid_accuracy": valid.accuracy, "valid_smoothed_loss": valid.smoothed_loss}
        row |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
        # By the loss, which moves with every example: a count of right answers cannot tell good epochs apart. Smoothed
        # as in training: the plain loss is least while a network that learns smoothed labels is still too sure.
        if row["valid_smoothed_loss"] < min((past["valid_smoothed_loss"] for past in run["history"]), default=math.inf):
            run["best"] = checkpoints.pack(epoch.model)
        run["history"].append(row | {"seconds": time.perf_counter() - start})
        run["losses"] += epoch.batch_losses
        run["state"] = epoch.state
        checkpoints.save_checkpoint(checkpoint, config, data.name, run)
        print(
            f"{data.name}, epoch {epoch.number}/{config.epochs}: loss {epoch.loss:.4f}, accuracy of train "
            f"{epoch.accuracy:.2f} %, valid {valid.accuracy:.2f} %, test {test.accuracy:.2f} %"
        )
        start = time.perf_counter()

    history = pd.DataFrame(run["history"])
    batches = pd.DataFrame(run["losses"], columns=["examples", "loss"])
    kept = history.loc[history.valid_smoothed_loss.idxmin()]
    metrics = {name: kept[name] for name in ("test_accuracy", "test_loss", "valid_accuracy", "valid_loss")}
    metrics |= {"best_epoch": int(kept.epoch), "epochs": len(history), "train_seconds": history.seconds.sum()}
    metrics |= {"parameters": models.parameter_count(model), "dataset": data.name, "classes": model.class_names}
    metrics |= {"seed": config.seed, "device": str(data.train.labels.device), **runtime.versions()}
    metrics |= also(checkpoints.unpack(run["best"]).to(data.train.labels.device))
    checkpoints.save_file(folder / "model.pt", run["best"])
    files.write_json(folder / "config.json", config)
    files.write_json(folder / "metrics.json", metrics)
    files.write_csv(folder / "history.csv", history)
    files.write_csv(folder / "losses.csv", batches)
    every = batches[:: min(50, 1 + len(batches) // 100)]  # 50 as in the report, or a short run has no curve
    test_curve = [0, *history.examples], [untrained_loss, *history.test_loss]
    title = f"Learning {data.name}: {config.preset} recipe"
    plots.save(plots.losses((every.examples, every.loss), test_curve, title), folder / "losses.png")
    percent = {split: history[f"{split}_accuracy"] for split in ("train", "valid", "test")}
    plots.save(plots.accuracies(history.epoch, percent, int(kept.epoch), title), folder / "accuracies.png")
    return metrics
