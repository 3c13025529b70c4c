"""What numbers too small for the processor's fast path cost an optimizer step, and what flushing them to 0 saves.

    python -m benchmarks.denormals

The momentum of a linear layer a part of whose inputs died some hundred steps ago is made orthogonal by Muon, with and
without `runtime.flush_denormals`, in turns, on one thread. Writes benchmarks/results/denormals.json.
"""

import statistics
import time

import torch

from benchmarks import results
from pipeline import runtime
from pipeline.training.muon import orthogonal

SHAPE = 128, 3136  # the first linear layer after two convolutions of FashionNet
MOMENTUM, DEAD = 0.85, 0.5  # of --preset cheap; share of the inputs
STEPS = 500, 600  # since an input died
TURNS = 5


def fading(seed: int = 0) -> torch.Tensor:
    """A momentum of which a part has been shrinking by MOMENTUM in each of so many steps."""
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
    momentum = fading()
    orthogonal(momentum.abs() + 1)  # warm
    rows = []
    for _ in range(TURNS):
        torch.set_flush_denormal(False)
        row = {"as they are, ms": milliseconds(momentum)}
        runtime.flush_denormals()
        rows.append(results.say(row | {"flushed, ms": milliseconds(momentum)}))
    slow, fast = (statistics.median(row[name] for row in rows) for name in rows[0])
    results.write("denormals", {"as_they_are_over_flushed": slow / fast}, rows)


if __name__ == "__main__":
    main()
