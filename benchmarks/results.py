"""Print a benchmark's figures and keep them, with the command and the machine, in benchmarks/results/."""

import os
import platform
import sys
from pathlib import Path

import disk
import experiment

FOLDER = Path(__file__).parent / "results"


def say(row: dict) -> dict:
    """Print one run's figures as they come, and hand them on."""
    print({name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}, flush=True)
    return row


def write(name: str, summary: dict, rows: list[dict]) -> None:
    """Write `results/<name>.json`: how it was measured, what came out, every run."""
    words = ["FOLDER" if Path(word).is_absolute() else word for word in sys.orig_argv[1:]]  # not this machine's paths
    content = {
        "command": " ".join(["python", *words]),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        **experiment.versions(),
        **say(summary),
        "runs": rows,
    }
    disk.write_json(FOLDER / f"{name}.json", content)
