"""Print a benchmark's figures; save them with the command and the machine."""

import os
import platform
import sys
from pathlib import Path

import torch

from pipeline import files, runtime

FOLDER = Path(__file__).parent / "results"


def print_row(row: dict) -> dict:
    """Print one run's figures, rounded to three decimals; return them unchanged."""
    print({name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}, flush=True)
    return row


def write(name: str, summary: dict, rows: list[dict]) -> None:
    """Write `results/<name>.json`: command, machine, versions, summary, every run."""
    # absolute paths differ from machine to machine
    arguments = ["FOLDER" if Path(word).is_absolute() else word for word in sys.orig_argv[1:]]
    content = {
        "command": " ".join(["python", *arguments]),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        **runtime.versions(),
        **print_row(summary),
        "runs": rows,
    }
    files.write_json(FOLDER / f"{name}.json", content)


def interval(correct: int, count: int) -> tuple[float, float]:
    """Return the 95 % Clopper-Pearson interval of a share, in percent.

    One-sided if all or none are correct. Source: C. Clopper, E. Pearson, "The use of confidence or fiducial limits",
    1934.
    """

    def tail_probability(share: float, minimum: int) -> float:
        """Return the probability of at least `minimum` correct."""
        draws = torch.distributions.Binomial(count, torch.tensor(share, dtype=torch.float64))
        return draws.log_prob(torch.arange(minimum, count + 1, dtype=torch.float64)).exp().sum().item()

    def solve(minimum: int, probability: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if tail_probability(middle, minimum) < probability else (low, middle)
        return 100 * low

    one_sided = 0.05 if correct in (0, count) else 0.025
    return (
        solve(correct, one_sided) if correct else 0.0,
        solve(correct + 1, 1 - one_sided) if correct < count else 100.0,
    )
