"""What a network answers, and how often that is right."""

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
    """(N, 1, 28, 28) normalized pictures, on the model's device -> (N, classes) log-probabilities."""
    model.eval()
    batch_size = 100 if images.device.type == "cpu" else 1000  # what a layer makes of 100 stays in a core's cache
    return torch.cat([model(batch) for batch in images.split(batch_size)])


class Score(NamedTuple):
    """What `evaluate` measures."""

    loss: float  # mean negative log-likelihood
    accuracy: float  # percent
    smoothed_loss: float  # the loss with smoothed labels, which a recipe that smooths them makes small


def evaluate(model: nn.Module, split: Split, smoothing: float = 0.0) -> Score:
    """Score the network on all examples of the split.

    Args:
        smoothing: share of each label that is spread over all classes, as a recipe has it, for the smoothed loss.

    Raises:
        Failure: the loss is infinite or NaN, as after steps that were far too long.
    """
    log_probabilities = predict(model, split.images)
    loss = F.nll_loss(log_probabilities, split.labels).item()
    if not math.isfinite(loss):
        raise Failure(f"training diverged (loss is {loss}): try a smaller --learning-rate")
    accuracy = 100 * (log_probabilities.argmax(1) == split.labels).sum().item() / len(split)
    return Score(loss, accuracy, (1 - smoothing) * loss - smoothing * log_probabilities.mean().item())


def confusion(answers: torch.Tensor, labels: torch.Tensor, names: Sequence[str]) -> pd.DataFrame:
    """How often each class (rows) was taken for each (columns)."""
    counts = torch.bincount(labels * len(names) + answers, minlength=len(names) ** 2).view(len(names), -1)
    return pd.DataFrame(counts.numpy(), pd.Index(names, name="class"), names)


def per_class(counts: pd.DataFrame) -> pd.DataFrame:
    """Of a confusion table, per class: examples, recall (found) and precision (right when named), in percent."""
    right = np.diag(counts)
    return pd.DataFrame(
        {
            "examples": counts.sum(axis=1),
            "recall": 100 * right / counts.sum(axis=1),
            "precision": 100 * right / counts.sum(axis=0),
        }
    )
