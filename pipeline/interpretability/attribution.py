"""Which pixels and which channels an answer depends on, measured by taking them away."""

import numpy as np
import torch
from torch import nn

from pipeline.datasets.augmentation import BACKGROUND
from pipeline.datasets.datasets import Split
from pipeline.evaluation import metrics
from pipeline.interpretability.activations import EXAMINATION_BATCH_SIZE, Stages
from pipeline.preprocessing.mnist_format import IMAGE_SIZE

OCCLUSION_SIZE_PX = 5  # pixels, the side of the square that occlusion rubs out


@torch.inference_mode()
def accuracy_without_channels(stages: Stages, layer: str, split: Split) -> np.ndarray:
    """Accuracy in percent when one channel of a convolution is held at zero, for each of its channels."""
    stage = f"after {layer}"
    right = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for images, labels in zip(
        split.images.split(EXAMINATION_BATCH_SIZE), split.labels.split(EXAMINATION_BATCH_SIZE), strict=True
    ):
        maps = stages.values(images)[stage]
        answers = []
        for channel in range(maps.shape[1]):
            without = maps.clone()
            without[:, channel] = 0
            answers.append(stages.onward(stage, without).argmax(1))
        right = right + (torch.stack(answers) == labels).sum(1)  # (channels,)
    return 100 * right.cpu().numpy() / len(split)


def occluded(image: torch.Tensor) -> torch.Tensor:
    """(1, 28, 28) -> (784, 1, 28, 28): a square of paper around each pixel in turn, as if with a rubber."""
    at = torch.arange(IMAGE_SIZE, device=image.device)
    near = (at[:, None] - at).abs() <= OCCLUSION_SIZE_PX // 2  # (28, 28): is a row within the square around another
    square = near[:, None, :, None] & near[None, :, None, :]  # (28, 28, 28, 28): center, then pixel
    return torch.where(square.view(IMAGE_SIZE**2, 1, IMAGE_SIZE, IMAGE_SIZE), BACKGROUND, image)


def occlusion(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """(28, 28, classes): each class's log-probability with a square around that pixel rubbed out.

    After Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
    """
    rubbed = occluded(image)
    touched = (rubbed != image).flatten(1).any(1)  # the rest is paper on paper
    outputs = metrics.predict(model, image[None]).repeat(len(rubbed), 1)
    outputs[touched] = metrics.predict(model, rubbed[touched])
    return outputs.view(IMAGE_SIZE, IMAGE_SIZE, -1).cpu()


def log_odds(log_probabilities: torch.Tensor) -> torch.Tensor:
    """(..., classes) -> (..., classes): log(p / (1 - p)), which still moves where a probability is next to 1."""
    itself = torch.eye(log_probabilities.shape[-1], dtype=torch.bool, device=log_probabilities.device)
    others = log_probabilities[..., None, :].masked_fill(itself, -torch.inf).logsumexp(-1)
    return log_probabilities - others


def pca_plane(points: torch.Tensor) -> tuple[np.ndarray, float]:
    """The two directions in which points of many dimensions spread most (PCA).

    Returns:
        (N, 2), the points seen along them, and the share of the variance they hold, 0 to 1.
    """
    centered = points - points.mean(0)
    # by iteration: to find all directions of 5,000 dimensions would take minutes
    _, spreads, directions = torch.svd_lowrank(centered, q=min(20, *points.shape), niter=10)
    share = (spreads[:2] ** 2).sum() / (centered**2).sum()
    return (centered @ directions[:, :2]).numpy(), share.item()
