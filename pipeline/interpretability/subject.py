"""The network under examination, and what it made of the test pictures: what every analysis asks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.datasets.datasets import Split
from pipeline.interpretability import activations


@dataclass
class Subject:
    """A network under examination, and what it made of the test pictures."""

    model: nn.Module
    picture: torch.Tensor  # (1, 1, 28, 28) normalized, which goes the way through
    caption: str  # what that is a picture of
    test: Split
    dataset: str
    folder: Path  # for tables
    seed: int

    def __post_init__(self):
        self.network, self.names = type(self.model).__name__, self.model.class_names
        self.asked = f"{len(self.test):,} test pictures of {self.dataset}"
        self.stages = activations.Stages(self.model)
        self.first = self.stages.convolutions[0]
        self.weight = self.model.get_submodule(self.first).weight.detach()
        self.filters = self.weight[:, 0].cpu().numpy()  # (N, size, size): a picture has one channel
        self.seen = activations.survey(self.stages, self.test)

    def gray(self, i: int) -> np.ndarray:
        """A test picture, (28, 28)."""
        return self.test.images[i, 0].cpu().numpy()

    def answer(self, i: int) -> str:
        """The answer to a test picture; a wrong one ends in '!', which figures show in red."""
        answer, truth = self.names[self.seen.answers[i]], self.names[self.seen.labels[i]]
        between = ", is " if len(answer + truth) < 12 else ",\nis "
        return answer if answer == truth else f"{answer}{between}{truth}!"
