"""Measure which pixels and channels a prediction depends on, by occlusion and ablation."""

import numpy as np
import torch
from torch import nn

from pipeline.datasets.augmentation import BACKGROUND
from pipeline.datasets.datasets import Split
from pipeline.evaluation import metrics
from pipeline.interpretability.activations import EXAMINATION_BATCH_SIZE, Stages
from pipeline.preprocessing.mnist_format import IMAGE_SIZE

OCCLUSION_SIZE_PX = 5  # side of the occluding square


@torch.inference_mode()
def accuracy_without_channels(stages: Stages, layer: str, split: Split) -> np.ndarray:
    """Return the accuracy in percent without each channel of a convolution: its map is set to zero."""
    stage = f"after {layer}"
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for images, labels in zip(
        split.images.split(EXAMINATION_BATCH_SIZE), split.labels.split(EXAMINATION_BATCH_SIZE), strict=True
    ):
        maps = stages.values(images)[stage]
        predicted = []
        for channel in range(maps.shape[1]):
            ablated = maps.clone()
            ablated[:, channel] = 0
            predicted.append(stages.output_from(stage, ablated).argmax(1))
        correct = correct + (torch.stack(predicted) == labels).sum(1)  # (channels,)
    return 100 * correct.cpu().numpy() / len(split)


def occluded(image: torch.Tensor) -> torch.Tensor:
    """Occlude a square around each pixel in turn with the background's value: (1, 28, 28) -> (784, 1, 28, 28)."""
    rows = torch.arange(IMAGE_SIZE, device=image.device)
    is_near = (rows[:, None] - rows).abs() <= OCCLUSION_SIZE_PX // 2  # (28, 28): row of the center, row of the pixel
    square = is_near[:, None, :, None] & is_near[None, :, None, :]  # (28, 28, 28, 28): center, then pixel
    return torch.where(square.view(IMAGE_SIZE**2, 1, IMAGE_SIZE, IMAGE_SIZE), BACKGROUND, image)


def occlusion(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Compute the log-probabilities with a square around each pixel occluded.

    Method: Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.

    Args:
        image: (1, 28, 28), normalized.

    Returns:
        (28, 28, classes), by the center of the square, on the CPU.
    """
    images = occluded(image)
    has_changed = (images != image).flatten(1).any(1)  # the others occlude background only
    outputs = metrics.predict(model, image[None]).repeat(len(images), 1)
    outputs[has_changed] = metrics.predict(model, images[has_changed])
    return outputs.view(IMAGE_SIZE, IMAGE_SIZE, -1).cpu()


def log_odds(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return log(p / (1 - p)) of log-probabilities (..., classes), which does not saturate as p approaches 1."""
    diagonal = torch.eye(log_probabilities.shape[-1], dtype=torch.bool, device=log_probabilities.device)
    others = log_probabilities[..., None, :].masked_fill(diagonal, -torch.inf).logsumexp(-1)
    return log_probabilities - others


def pca_plane(points: torch.Tensor) -> tuple[np.ndarray, float]:
    """Project (N, D) points onto their first two principal components.

    Returns:
        (N, 2) coordinates, and the share of the variance that they explain, 0 to 1.
    """
    centered = points - points.mean(0)
    # an iterative method: the full decomposition of 5,000 dimensions takes minutes
    _, singular_values, directions = torch.svd_lowrank(centered, q=min(20, *points.shape), niter=10)
    share = (singular_values[:2] ** 2).sum() / (centered**2).sum()
    return (centered @ directions[:, :2]).numpy(), share.item()
