"""Files that are whole or absent: tables, settings, weights, and the checkpoints that a stopped run goes on from."""

import contextlib
import dataclasses
import io
import json
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import experiment
import weights
from experiment import PARTIAL, Failure

PRACTICAL = {
    "preset",
    "device",
    "threads",
    "data_dir",
    "output_dir",
    "resume",
    "skip_training",
    "handwritten",
    "compare",
    "show",
    "quiet",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Write to the path this gives; the file then takes its real name at once, or, after an error, never.

    with writing(Path("outputs/metrics.json")) as file:
        file.write_text("{}")
    """
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        partial.chmod(0o644)  # mkstemp lets only the owner read
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a dataclass or a mapping as JSON, paths as text."""
    content = dataclasses.asdict(content) if dataclasses.is_dataclass(content) else content
    with writing(path) as file:
        file.write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, with its index where that has a name."""
    with writing(path) as file:
        table.to_csv(file, index=table.index.name is not None)


def save_file(path: Path, content: dict) -> None:
    """`torch.save` that leaves the whole file, or the one that was there before."""
    buffer = io.BytesIO()  # torch's own writer reports a full disk as a RuntimeError without a name
    torch.save(content, buffer)
    with writing(path) as file:
        file.write_bytes(buffer.getvalue())


def load_file(path: Path, remedy: str) -> dict:
    """`torch.load` of tensors and plain values, nothing that could run code, every byte as it was written.

    Raises:
        Failure: whatever is wrong with the file, in one line that ends in the remedy.
    """
    try:
        weights.inspect(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Failure(
            f"{path} holds more than plain weights, which could run code, so it stays closed: {remedy}"
        ) from None
    except Exception:  # what a damaged file makes torch raise is in no list
        raise Failure(f"{path} is damaged or no file of weights: {remedy}") from None
    if not isinstance(content, dict):
        raise Failure(f"{path} is no file of this project: {remedy}")
    return content


def save_checkpoint(path: Path, config: Any, dataset: str, run: dict) -> None:
    """Everything a stopped run needs to go on, and the settings and data it was made with."""
    save_file(path, {"config": _shaping(config), "dataset": dataset, "run": run})


def load_checkpoint(path: Path, config: Any, dataset: str) -> dict | None:
    """The run in a checkpoint made with the same settings and data; None where there is no checkpoint yet.

    Raises:
        Failure: it cannot be read, or other settings made it: going on would mix two recipes.
    """
    if not path.exists():
        return None  # stopped before the first epoch ended
    content = load_file(path, "run without --resume")
    if not isinstance(content.get("config"), dict) or not isinstance(content.get("run"), dict):
        raise Failure(f"{path} is no checkpoint: run without --resume")
    if changed := experiment.changed(_shaping(config), content["config"]):
        raise Failure(f"{path} was made with other flags: give {changed}, or leave out --resume")
    if content.get("dataset") != dataset:
        raise Failure(f"{path} was made with {content.get('dataset')}, this is {dataset}: give the same --data-dir")
    return content["run"]


def _shaping(config: Any) -> dict[str, Any]:
    """The settings that shape the result, as plain values."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in PRACTICAL}
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
