"""What a trained network computes at every stage, and which patches excite each channel.

It works on every network of the project: the stages are found by tracing an image through it.
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

EXAMINATION_BATCH_SIZE = 250  # pictures: larger ones leave the processor's cache


class Stages:
    """A network taken apart between its layers.

    A stage has its layer's name, `conv1`, for what the layer gives, and `after conv1` for what pooling and ReLU
    have made of that when the next layer takes it.
    """

    def __init__(self, model: nn.Module):
        self.traced = symbolic_trace(model.eval())  # shares the weights
        walk = self._walk(next(model.parameters()).new_zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE))
        self.layers, self.convolutions = [], []  # names, in the order of the way
        self.steps = {}  # `after conv1` -> what is done to the layer's values until then, as `max_pool2d, relu`
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
            # flattened maps are maps no more: what comes after a convolution ends before that
            elif self.layers and node.op != "output" and walk[node].ndim == walk[self._nodes[layer]].ndim:
                self._nodes[after] = node
                if not node.name.startswith("dropout"):  # which does nothing once the network is trained
                    self.steps[after] += (self.steps[after] and ", ") + node.name.rstrip("_0123456789")
        self.hidden, self.end = (f"after {name}" for name in self.layers[-2:])  # what decides, what was decided

    def values(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """What every stage makes of (N, 1, 28, 28) normalized pictures."""
        walk = self._walk(images)
        return {name: walk[node] for name, node in self._nodes.items()}

    @torch.no_grad()
    def _walk(self, images: torch.Tensor) -> dict[Node, torch.Tensor]:
        walk = Interpreter(self.traced, garbage_collect_values=False)
        walk.run(images)
        return walk.env

    @torch.no_grad()
    def onward(self, stage: str, values: torch.Tensor) -> torch.Tensor:
        """The log-probabilities that the rest of the network makes of a stage's values."""
        here = self._nodes[stage]
        before = itertools.takewhile(lambda node: node is not here, self.traced.graph.nodes)
        return Interpreter(self.traced).run(initial_env={**dict.fromkeys(before), here: values})


@dataclass
class Survey:
    """What one pass over many pictures saw, on the CPU."""

    labels: torch.Tensor  # (N,)
    outputs: torch.Tensor  # (N, classes) log-probabilities
    hidden: torch.Tensor  # (N, D), what the last layer decides upon
    peaks: dict[str, torch.Tensor]  # of each convolution (N, channels): the greatest value on the picture,
    places: dict[str, torch.Tensor]  # (N, channels, 2): and the row and column of its map where that is

    def __post_init__(self):
        self.answers = self.outputs.argmax(1)
        is_right = self.answers == self.labels
        self.accuracy = 100 * is_right.sum().item() / len(self.labels)  # percent
        self.right, wrong = is_right.nonzero().flatten(), (~is_right).nonzero().flatten()
        self.wrong = wrong[self.outputs[wrong, self.labels[wrong]].argsort()]  # least probability for the truth first


@torch.inference_mode()
def survey(stages: Stages, split: Split) -> Survey:
    """Follow all pictures through the network once."""
    outputs, hidden = [], []
    peaks: dict[str, list] = {name: [] for name in stages.convolutions}
    places: dict[str, list] = {name: [] for name in stages.convolutions}
    for batch in split.images.split(EXAMINATION_BATCH_SIZE):
        values = stages.values(batch)
        outputs.append(values[stages.end].cpu())
        hidden.append(values[stages.hidden].flatten(1).cpu())
        for name in stages.convolutions:
            peak, at = values[name].flatten(2).max(2)
            width = values[name].shape[3]
            peaks[name].append(peak.cpu())
            places[name].append(torch.stack([at // width, at % width], dim=2).cpu())
    joined = ({name: torch.cat(parts) for name, parts in by_name.items()} for by_name in (peaks, places))
    return Survey(split.labels.cpu(), torch.cat(outputs), torch.cat(hidden), *joined)


@torch.inference_mode()
def receptive_field(model: nn.Module, layer: str) -> np.ndarray:
    """Which rows of the picture each row of the layer's maps sees: (rows of the map, 2), first and last + 1.

    Found by experiment: a NaN reaches whatever looks at it, through any convolution and any pooling. In float64, for
    which torch has no fast algorithm that looks at neighbours too. Columns see as rows do.
    """
    lines = torch.zeros(IMAGE_SIZE, 1, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.float64)
    lines[range(IMAGE_SIZE), :, range(IMAGE_SIZE)] = torch.nan  # one row in each picture
    values = Stages(copy.deepcopy(model).cpu().double()).values(lines)[layer]
    seen = values.isnan().any(dim=(1, 3)).T.numpy()  # (rows of the map, rows of the picture)
    return np.stack([seen.argmax(1), IMAGE_SIZE - seen[:, ::-1].argmax(1)], axis=1)


def cut_patches(images: torch.Tensor, places: torch.Tensor, field: np.ndarray) -> np.ndarray:
    """(K, 1, 28, 28) pictures and (K, 2) places on a map -> (K, size, size), what the map saw there.

    Where it saw the padding around the picture there is paper.
    """
    size = int((field[:, 1] - field[:, 0]).max())
    cut = np.full((len(images), size, size), BACKGROUND, np.float32)
    for patch, image, place in zip(cut, images.cpu().numpy(), places.tolist(), strict=True):
        (top, bottom), (left, right) = field[place[0]], field[place[1]]
        y, x = (size - (last - first) if first == 0 else 0 for first, last in ((top, bottom), (left, right)))
        patch[y : y + bottom - top, x : x + right - left] = image[0, top:bottom, left:right]
    return cut
