"""Files that are written whole or not at all: JSON, CSV, and whatever `atomic_write` is used for."""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

PARTIAL_PREFIX = ".partial-"  # begins the name of a file that is still being written


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write to the path this gives; the file then takes its real name at once, or, after an error, never.

    with writing(Path("outputs/metrics.json")) as file:
        file.write_text("{}")
    """
    handle, name = tempfile.mkstemp(prefix=PARTIAL_PREFIX, suffix=path.suffix, dir=path.parent)
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
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        content = dataclasses.asdict(content)
    with atomic_write(path) as file:
        file.write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, with its index where that has a name."""
    with atomic_write(path) as file:
        table.to_csv(file, index=table.index.name is not None)
