"""Write files atomically: JSON, CSV, and any other with `atomic_write`."""

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
    """Give a temporary path to write to; rename it to `path` at the end, or delete it after an error.

    with atomic_write(Path("outputs/metrics.json")) as file:
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
    """Write a table, with its index if that has a name."""
    with atomic_write(path) as file:
        table.to_csv(file, index=table.index.name is not None, encoding="utf-8")


def printable(name: str) -> str:
    """Replace what cannot be written as UTF-8, such as the bytes of a file name in Latin-1, by an escape."""
    return name.encode("utf-8", "backslashreplace").decode()
