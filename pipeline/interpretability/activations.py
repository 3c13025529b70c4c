"""Compute a network's activations at every stage, and find the patches that excite each channel most.

This works for every network of the project: the stages are found by torch.fx tracing.
"""

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.fx import Interpreter, Node, symbolic_trace

from pipeline.datasets.augmentation import BACKGROUND
from pipeline.datasets.datasets import Split
from pipeline.preprocessing.mnist_format import IMAGE_SIZE

EXAMINATION_BATCH_SIZE = 250  # the activations of larger batches do not fit into the CPU's cache


class Stages:
    """The stages of a network.

    The stage `conv1` is the output of the layer of that name. `after conv1` is the input of the next layer: the output
    of `conv1` after pooling and ReLU.
    """

    def __init__(self, model: nn.Module):
        self.traced = symbolic_trace(model.eval())  # shares the weights
        values = self._run(next(model.parameters()).new_zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE))
        self.layers, self.convolutions = [], []  # names, in forward order
        self.steps = {}  # `after conv1` -> the operations between the layer and the next one: `max_pool2d, relu`
        self._nodes = {}
        for node in self.traced.graph.nodes:
            module = self.traced.get_submodule(node.target) if node.op == "call_module" else None
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                layer, after = node.target, f"after {node.target}"
                self.layers.append(layer)
                self._nodes[layer] = self._nodes[after] = node
                self.steps[after] = ""
                if isinstance(module, nn.Conv2d):
                    self.convolutions.append(layer)
            # the stage after a convolution ends before its maps are flattened
            elif self.layers and node.op != "output" and values[node].ndim == values[self._nodes[layer]].ndim:
                self._nodes[after] = node
                if not node.name.startswith("dropout"):  # which has no effect in evaluation mode
                    self.steps[after] += (self.steps[after] and ", ") + node.name.rstrip("_0123456789")
        self.hidden, self.output = (f"after {name}" for name in self.layers[-2:])  # the last layer's input and output

    def values(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the activations of every stage for (N, 1, 28, 28) normalized images."""
        values = self._run(images)
        return {name: values[node] for name, node in self._nodes.items()}

    @torch.no_grad()
    def _run(self, images: torch.Tensor) -> dict[Node, torch.Tensor]:
        interpreter = Interpreter(self.traced, garbage_collect_values=False)
        interpreter.run(images)
        return interpreter.env

    @torch.no_grad()
    def output_from(self, stage: str, values: torch.Tensor) -> torch.Tensor:
        """Return the network's log-probabilities if a stage has these activations."""
        start = self._nodes[stage]
        before = itertools.takewhile(lambda node: node is not start, self.traced.graph.nodes)
        return Interpreter(self.traced).run(initial_env={**dict.fromkeys(before), start: values})


@dataclass
class Outputs:
    """A network's outputs for all images of a split, on the CPU, and the maxima of each channel."""

    labels: torch.Tensor  # (N,)
    log_probabilities: torch.Tensor  # (N, classes)
    hidden: torch.Tensor  # (N, D), the last layer's input
    maxima: dict[str, torch.Tensor]  # of each convolution, (N, channels): the maximum of each channel's map
    positions: dict[str, torch.Tensor]  # (N, channels, 2): row and column of that maximum in the map

    def __post_init__(self):
        self.predicted = self.log_probabilities.argmax(1)
        is_correct = self.predicted == self.labels
        self.accuracy = 100 * is_correct.sum().item() / len(self.labels)  # percent
        self.correct, incorrect = is_correct.nonzero().flatten(), (~is_correct).nonzero().flatten()
        # by ascending probability of the label
        self.incorrect = incorrect[self.log_probabilities[incorrect, self.labels[incorrect]].argsort()]


@torch.inference_mode()
def compute_outputs(stages: Stages, split: Split) -> Outputs:
    """Run the network once on all images of a split."""
    log_probabilities, hidden = [], []
    maxima: dict[str, list] = {name: [] for name in stages.convolutions}
    positions: dict[str, list] = {name: [] for name in stages.convolutions}
    for batch in split.images.split(EXAMINATION_BATCH_SIZE):
        values = stages.values(batch)
        log_probabilities.append(values[stages.output].cpu())
        hidden.append(values[stages.hidden].flatten(1).cpu())
        for name in stages.convolutions:
            maximum, index = values[name].flatten(2).max(2)
            width = values[name].shape[3]
            maxima[name].append(maximum.cpu())
            positions[name].append(torch.stack([index // width, index % width], dim=2).cpu())
    joined = ({name: torch.cat(parts) for name, parts in by_name.items()} for by_name in (maxima, positions))
    return Outputs(split.labels.cpu(), torch.cat(log_probabilities), torch.cat(hidden), *joined)


@torch.inference_mode()
def receptive_field(model: nn.Module, layer: str) -> np.ndarray:
    """Return the receptive field of each row of a layer's maps; columns have the same.

    It is measured: a NaN in the image reaches every value that depends on it, through convolutions and pooling. This
    needs float64, as torch's fast float32 convolutions also read neighboring pixels.

    Returns:
        (rows of the map, 2), the first row of the image and the last + 1.
    """
    images = torch.zeros(IMAGE_SIZE, 1, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.float64)
    images[range(IMAGE_SIZE), :, range(IMAGE_SIZE)] = torch.nan  # a different row in each image
    values = Stages(copy.deepcopy(model).cpu().double()).values(images)[layer]
    depends = values.isnan().any(dim=(1, 3)).T.numpy()  # (rows of the map, rows of the image)
    return np.stack([depends.argmax(1), IMAGE_SIZE - depends[:, ::-1].argmax(1)], axis=1)


def cut_patches(images: torch.Tensor, positions: torch.Tensor, field: np.ndarray) -> np.ndarray:
    """Cut the receptive field of one map position out of each image.

    Args:
        images: (K, 1, 28, 28).
        positions: (K, 2) rows and columns of the map.
        field: of the map's layer, by `receptive_field`.

    Returns:
        (K, size, size); padding around the image has the background's value.
    """
    size = int((field[:, 1] - field[:, 0]).max())
    patches = np.full((len(images), size, size), BACKGROUND, np.float32)
    for patch, image, position in zip(patches, images.cpu().numpy(), positions.tolist(), strict=True):
        (top, bottom), (left, right) = field[position[0]], field[position[1]]
        y, x = (size - (last - first) if first == 0 else 0 for first, last in ((top, bottom), (left, right)))
        patch[y : y + bottom - top, x : x + right - left] = image[0, top:bottom, left:right]
    return patches
