"""The networks, and their files: weights, what the network was built with, and the names of its classes.

A file opens with `weights_only=True`, so that one from a stranger cannot run code.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class MnistNet(nn.Module):
    """The digit network of the report: two convolutions, two linear layers, 21,840 parameters.

    Pooling before ReLU is the same function as ReLU before pooling, with a quarter of the work in ReLU.
    """

    def __init__(self, class_names: Sequence[str] = DIGITS, dropout: float = 0.2):
        """dropout: the share of conv2's outputs set to zero while training."""
        super().__init__()
        self.settings: dict[str, Any] = {"class_names": list(class_names), "dropout": dropout}
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, len(class_names))
        self.norm1 = self.norm2 = None  # `add_norms` puts batch normalization here while training

    @property
    def class_names(self) -> list[str]:
        return self.settings["class_names"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) normalized pictures -> (N, classes) log-probabilities."""
        x = _pool(self.conv1(x), self.norm1)  # (N, 10, 12, 12)
        x = _pool(self.dropout(self.conv2(x)), self.norm2)  # (N, 20, 4, 4)
        x = F.relu(self.fc1(x.flatten(1)))  # (N, 50)
        return F.log_softmax(self.fc2(x), dim=1)


class GreekNet(nn.Module):
    """The report's network for Greek letters from scratch: three convolutions, two linear layers.

    With three classes it has 27,363 parameters.
    """

    def __init__(self, class_names: Sequence[str], dropout: float = 0.0):
        """dropout: the share of fc1's outputs set to zero while training."""
        super().__init__()
        self.settings: dict[str, Any] = {"class_names": list(class_names), "dropout": dropout}
        self.conv1 = nn.Conv2d(1, 10, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(20, 40, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(360, 50)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(50, len(class_names))
        self.norm1 = self.norm2 = self.norm3 = None  # `add_norms` puts batch normalization here while training

    @property
    def class_names(self) -> list[str]:
        return self.settings["class_names"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) normalized pictures -> (N, classes) log-probabilities."""
        x = _pool(self.conv1(x), self.norm1)  # (N, 10, 14, 14)
        x = _pool(self.conv2(x), self.norm2)  # (N, 20, 7, 7)
        x = _pool(self.conv3(x), self.norm3)  # (N, 40, 3, 3)
        x = self.dropout(F.relu(self.fc1(x.flatten(1))))  # (N, 50)
        return F.log_softmax(self.fc2(x), dim=1)


class FashionNet(nn.Module):
    """The report's family of networks for clothes: any number of convolutions, any number of linear layers.

    The i-th convolution has 32 i filters of 3x3 and is pooled; dropout stands before the linear layers.
    """

    def __init__(
        self,
        class_names: Sequence[str] = CLOTHES,
        conv_layers: int = 3,
        linear_layers: int = 2,
        hidden_units: int = 128,
        dropout: float = 0.1,
    ):
        """
        Args:
            conv_layers: 1 to 4, since each halves the picture's sides.
            linear_layers: all but the last have `hidden_units` outputs.
            dropout: the share of the last convolution's pooled outputs set to zero while training.
        """
        super().__init__()
        self.settings: dict[str, Any] = {"class_names": list(class_names)}
        self.settings |= {"conv_layers": conv_layers, "linear_layers": linear_layers}
        self.settings |= {"hidden_units": hidden_units, "dropout": dropout}
        widths = [1, *(32 * (i + 1) for i in range(conv_layers))]
        for i in range(conv_layers):
            setattr(self, f"conv{i + 1}", nn.Conv2d(widths[i], widths[i + 1], kernel_size=3, padding=1))
        self.dropout = nn.Dropout(dropout)
        features = widths[-1] * (28 >> conv_layers) ** 2
        sizes = [features, *[hidden_units] * (linear_layers - 1), len(class_names)]
        for i in range(linear_layers):
            setattr(self, f"fc{i + 1}", nn.Linear(sizes[i], sizes[i + 1]))
        for i in range(conv_layers):
            setattr(self, f"norm{i + 1}", None)  # `add_norms` puts batch normalization here while training

    @property
    def class_names(self) -> list[str]:
        return self.settings["class_names"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) normalized pictures -> (N, classes) log-probabilities."""
        for i in range(1, self.settings["conv_layers"] + 1):
            x = _pool(getattr(self, f"conv{i}")(x), getattr(self, f"norm{i}"))
        x = self.dropout(x).flatten(1)
        for i in range(1, self.settings["linear_layers"]):
            x = F.relu(getattr(self, f"fc{i}")(x))
        return F.log_softmax(getattr(self, f"fc{self.settings['linear_layers']}")(x), dim=1)


def _pool(x: torch.Tensor, norm: nn.Module | None) -> torch.Tensor:
    """Keep the greatest of each 2x2, normalize where there is a norm, cut off below zero."""
    x = F.max_pool2d(x, 2)
    return F.relu(x if norm is None else norm(x))


def replace_head(model: nn.Module, class_names: Sequence[str], dropout: float = 0.0) -> nn.Module:
    """The same network for other classes: a copy of its weights, but for the last layer, whose weights are random."""
    new = type(model)(**model.settings | {"class_names": list(class_names), "dropout": dropout})
    *_, head = (name for name, layer in new.named_children() if any(True for _ in layer.parameters()))
    known = {name: weight for name, weight in model.state_dict().items() if not name.startswith(f"{head}.")}
    new.load_state_dict(known, strict=False)
    return new


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
