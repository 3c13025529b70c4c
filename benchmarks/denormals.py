"""Measure the cost of denormal numbers in an optimizer step.

    python -m benchmarks.denormals

Denormals are too small for the processor's fast path. Muon orthogonalizes the momentum of a linear layer of which half
of the inputs died 500 to 600 steps ago: as it is, and with `runtime.flush_denormals`, alternately, on one thread.
Writes benchmarks/results/denormals.json.
"""

import statistics
import time

import torch

from benchmarks import results
from pipeline import runtime
from pipeline.training.muon import orthogonal

SHAPE = 128, 3136  # the first linear layer after two convolutions of FashionNet
MOMENTUM, DEAD = 0.85, 0.5  # momentum of --preset cheap; share of dead inputs
STEPS = 500, 600  # range of the number of steps since an input died
REPEATS = 5


def decaying_momentum(seed: int = 0) -> torch.Tensor:
    """Return a momentum (SHAPE); columns of dead inputs decay by MOMENTUM per step."""
    torch.manual_seed(seed)
    momentum = torch.randn(SHAPE, dtype=torch.double)
    dead = torch.rand(SHAPE[1]) < DEAD
    momentum[:, dead] *= MOMENTUM ** torch.randint(*STEPS, (int(dead.sum()),))
    return momentum.float()


def milliseconds(momentum: torch.Tensor) -> float:
    start = time.perf_counter()
    orthogonal(momentum)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    torch.set_num_threads(1)
    momentum = decaying_momentum()
    orthogonal(momentum.abs() + 1)  # warm-up
    rows = []
    for _ in range(REPEATS):
        torch.set_flush_denormal(False)
        row = {"as they are, ms": milliseconds(momentum)}
        runtime.flush_denormals()
        rows.append(results.print_row(row | {"flushed, ms": milliseconds(momentum)}))
    slow, fast = (statistics.median(row[name] for row in rows) for name in rows[0])
    results.write("denormals", {"as_they_are_over_flushed": slow / fast}, rows)


if __name__ == "__main__":
    main()
