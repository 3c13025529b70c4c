"""Muon: momentum SGD whose steps are made orthogonal, so that every direction of a filter bank moves alike."""

from collections.abc import Iterable

import torch
from torch.optim import Optimizer

NEWTON_SCHULZ_COEFFICIENTS = (
    3.4445,
    -4.7750,
    2.0315,
)  # an odd quintic whose iterates pull singular values towards 1 fast


class Muon(Optimizer):
    """Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.

    torch's own takes matrices only; this one takes filters as matrices of one row per filter, and a bias as a matrix
    of one column, for which to be orthogonal means to have length 1. Weight decay is decoupled from the gradient and
    spares the biases: with steps of spectral norm 1 it keeps every matrix's spectral norm below about 1 / weight_decay.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.6, weight_decay: float = 0.0
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["velocity"] = torch.zeros_like(parameter)
                velocity = state["velocity"].mul_(group["momentum"]).add_(parameter.grad)
                nesterov = parameter.grad.add(velocity, alpha=group["momentum"])
                if parameter.ndim > 1:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(orthogonal(nesterov), alpha=group["lr"])


def orthogonal(tensor: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Near the orthogonal matrix nearest to `tensor`, seen as rows: singular values between about 0.7 and 1.2.

    Args:
        tensor: (rows, ...) of any shape; a vector counts as one column.
    """
    matrix = tensor.reshape(len(tensor), -1)
    matrix = matrix / (matrix.norm() + 1e-7)
    if matrix.shape[1] == 1:
        return matrix.view_as(tensor)
    tall = matrix.shape[0] > matrix.shape[1]
    matrix = matrix.T if tall else matrix  # the iteration squares the shorter side
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    for _ in range(iterations):
        square = matrix @ matrix.T
        polynomial = torch.addmm(square, square, square, beta=b, alpha=c)
        matrix = torch.addmm(matrix, polynomial, matrix, beta=a)
    return (matrix.T if tall else matrix).reshape(tensor.shape)
