"""A network's predictions, its accuracy and its confusion matrix."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.datasets.datasets import Split
from pipeline.errors import Failure


@torch.inference_mode()
def predict(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Classify (N, 1, 28, 28) normalized images on the model's device; return (N, classes) log-probabilities."""
    model.eval()
    batch_size = 100 if images.device.type == "cpu" else 1000  # the activations of 100 images fit a core's cache
    return torch.cat([model(batch) for batch in images.split(batch_size)])


class Score(NamedTuple):
    """The result of `evaluate`."""

    loss: float  # mean negative log-likelihood
    accuracy: float  # percent
    smoothed_loss: float  # the loss with smoothed labels, which training with smoothed labels minimizes


def evaluate(model: nn.Module, split: Split, smoothing: float = 0.0) -> Score:
    """Score the network on all examples of the split.

    Args:
        smoothing: label smoothing of the smoothed loss, 0 to 1.

    Raises:
        Failure: the loss is infinite or NaN.
    """
    log_probabilities = predict(model, split.images)
    loss = F.nll_loss(log_probabilities, split.labels).item()
    if not math.isfinite(loss):
        raise Failure(f"training diverged (loss is {loss}): try a smaller --learning-rate")
    accuracy = 100 * (log_probabilities.argmax(1) == split.labels).sum().item() / len(split)
    return Score(loss, accuracy, (1 - smoothing) * loss - smoothing * log_probabilities.mean().item())


def confusion(predicted: torch.Tensor, labels: torch.Tensor, names: Sequence[str]) -> pd.DataFrame:
    """Count how often each class (rows) was predicted as each class (columns)."""
    counts = torch.bincount(labels * len(names) + predicted, minlength=len(names) ** 2).view(len(names), -1)
    return pd.DataFrame(counts.numpy(), pd.Index(names, name="class"), names)


def per_class(counts: pd.DataFrame) -> pd.DataFrame:
    """Derive each class's number of examples, recall and precision in percent from a confusion matrix."""
    correct = np.diag(counts)
    return pd.DataFrame(
        {
            "examples": counts.sum(axis=1),
            "recall": 100 * correct / counts.sum(axis=1),
            "precision": 100 * correct / counts.sum(axis=0),
        }
    )
