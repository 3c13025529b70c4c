"""Print a benchmark's figures and keep them, with the command and the machine, in benchmarks/results/."""

import os
import platform
import sys
from pathlib import Path

import torch

from pipeline import files, runtime

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
        **runtime.versions(),
        **say(summary),
        "runs": rows,
    }
    files.write_json(FOLDER / f"{name}.json", content)


def interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of Clopper and Pearson, "The use of confidence or fiducial limits", 1934, in percent.

    One-sided where all or none are right, since there is nothing on the other side.
    """

    def tail(share: float, least: int) -> float:
        """The probability of at least so many right."""
        draws = torch.distributions.Binomial(count, torch.tensor(share, dtype=torch.float64))
        return draws.log_prob(torch.arange(least, count + 1, dtype=torch.float64)).exp().sum().item()

    def solve(least: int, probability: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, least) < probability else (low, middle)
        return 100 * low

    one_sided = 0.05 if right in (0, count) else 0.025
    return (solve(right, one_sided) if right else 0.0, solve(right + 1, 1 - one_sided) if right < count else 100.0)
