"""The network under examination and its outputs for the test images: the input of every analysis."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.datasets.datasets import Split
from pipeline.interpretability import activations


@dataclass
class Subject:
    """A network under examination, and its outputs for the test images."""

    model: nn.Module
    image: torch.Tensor  # (1, 1, 28, 28) normalized, whose forward pass is shown
    caption: str  # of the image
    test: Split
    dataset: str
    folder: Path  # for tables
    seed: int

    def __post_init__(self):
        self.network, self.names = type(self.model).__name__, self.model.class_names
        self.data = f"{len(self.test):,} test images of {self.dataset}"
        self.stages = activations.Stages(self.model)
        self.first = self.stages.convolutions[0]
        self.weight = self.model.get_submodule(self.first).weight.detach()
        self.filters = self.weight[:, 0].cpu().numpy()  # (N, size, size): images have one channel
        self.outputs = activations.compute_outputs(self.stages, self.test)

    def gray(self, i: int) -> np.ndarray:
        """Return a test image, (28, 28)."""
        return self.test.images[i, 0].cpu().numpy()

    def prediction(self, i: int) -> str:
        """Describe the prediction for a test image, and its label if that is another."""
        predicted, label = self.names[self.outputs.predicted[i]], self.names[self.outputs.labels[i]]
        separator = ", is " if len(predicted + label) < 12 else ",\nis "
        return predicted if predicted == label else f"{predicted}{separator}{label}"
