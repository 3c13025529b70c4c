"""Figures from data. Only `save` writes image files, only `show` opens windows."""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import nn
from torch.fx import symbolic_trace
from torch.fx.passes.shape_prop import ShapeProp

from pipeline.files import atomic_write

TRAIN_COLOR, VALID_COLOR, TEST_COLOR = "tab:blue", "tab:green", "tab:red"
DPI = 130  # a 10 inch figure is 1300 pixels wide: sharp at README size, some 100 kB


def select_backend(show: bool) -> None:
    """Choose the back end: files only, or windows as well."""
    if not show:
        matplotlib.use("Agg")


def save(figure: Figure, path: Path) -> None:
    """Write the picture, whole or not at all."""
    with atomic_write(path) as file:
        figure.savefig(file, dpi=DPI, bbox_inches="tight")
    if not _has_windows():
        plt.close(figure)  # or pyplot would hold them all


def show() -> None:
    """Open a window for every figure drawn so far and wait until they are closed."""
    if not _has_windows():
        print("no display for --show: the figures are in the output folder")
    else:
        plt.show()


def _has_windows() -> bool:
    return plt.get_backend().lower() != "agg"


def image_grid(images: torch.Tensor, captions: Sequence[str], columns: int, title: str) -> Figure:
    """(N, 1, H, W) pictures in rows, each under its caption; a caption that ends in '!' is red."""
    rows = max(1, math.ceil(len(images) / columns))
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.6 * columns, 1.9 * rows + 0.5), squeeze=False, layout="constrained"
    )
    figure.suptitle(title)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, caption in zip(axes.flat, images, captions, strict=False):
        axis.imshow(image[0].cpu().numpy(), cmap="gray")
        axis.set_title(caption.rstrip("!"), fontsize=9, color=TEST_COLOR if caption.endswith("!") else "black")
    return figure


def examples(images: torch.Tensor, labels: torch.Tensor, names: Sequence[str], count: int, title: str) -> Figure:
    """Some of (N, 1, H, W) pictures, at random, sorted by class; a label of -1 is no class."""
    chosen = torch.randperm(len(images))[:count]
    chosen = chosen[labels[chosen].argsort()]
    captions = [names[label] if label >= 0 else "none" for label in labels[chosen].tolist()]
    return image_grid(images[chosen], captions, 10, title)


def losses(
    train: tuple[Sequence[float], Sequence[float]], test: tuple[Sequence[float], Sequence[float]], title: str
) -> Figure:
    """Train loss as a line, test loss as dots; each a pair (examples seen, losses)."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axis.plot(*train, color=TRAIN_COLOR, linewidth=1, label="train loss (of one batch, while it learned from it)")
    axis.scatter(*test, color=TEST_COLOR, zorder=3, label="test loss")
    axis.set(title=title, xlabel="training examples seen", ylabel="negative log-likelihood", ylim=(0, None))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.legend()
    axis.grid(alpha=0.3)
    return figure


def accuracies(epochs: Sequence[int], percent: Mapping[str, Sequence[float]], kept: int, title: str) -> Figure:
    """One line per split, by its name, train, valid and test; the epoch whose weights are kept is marked."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for (split, values), color in zip(percent.items(), (TRAIN_COLOR, VALID_COLOR, TEST_COLOR), strict=True):
        values = list(values)
        axis.plot(
            epochs, values, marker="o", markersize=4, color=color, label=f"{split} ({values[-1]:.2f} % at the end)"
        )
    axis.axvline(kept, color=VALID_COLOR, alpha=0.6, linestyle=":", label="least validation loss: kept")
    lowest = min(min(percent["valid"]), min(percent["test"]))
    axis.set(title=title, xlabel="epoch", ylabel="accuracy (%)")
    axis.set_ylim(lowest - 0.1 * (101 - lowest), 100)  # a first epoch's train accuracy may lie far below
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    axis.grid(alpha=0.3)
    return figure


def confusion(counts: pd.DataFrame, title: str) -> Figure:
    """Rows the truth, columns the answer; the shade shows the mistakes only, or the diagonal would drown them."""
    names = list(counts.columns)
    figure, axis = plt.subplots(figsize=(1.5 + 0.5 * len(names), 1.2 + 0.5 * len(names)), layout="constrained")
    right = np.eye(len(names), dtype=bool)
    mistakes = np.where(right, 0, counts)
    axis.imshow(mistakes, cmap="Reds", vmax=max(1, 2 * mistakes.max()))  # twice: figures on dark red cannot be read
    for (row, column), count in np.ndenumerate(counts):
        if count:
            weight = "bold" if right[row, column] else "normal"
            axis.text(column, row, f"{count}", ha="center", va="center", fontsize=8, weight=weight)
    axis.set(title=title, xlabel="predicted", ylabel="true")
    names = [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
    axis.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 7 else 0)
    axis.set_yticks(range(len(names)), names)
    return figure


def network_diagram(model: nn.Module, title: str) -> Figure:
    """The stages from picture to answer, each a block as tall as its picture and as wide as its channels are many.

    What learns is orange, what is frozen blue.
    """
    traced = symbolic_trace(copy.deepcopy(model).cpu().eval())
    ShapeProp(traced).propagate(torch.zeros(1, 1, 28, 28))
    stages = []
    for node in traced.graph.nodes:
        if node.op == "output":
            continue
        layer = traced.get_submodule(node.target) if node.op == "call_module" else None
        weights = list(layer.parameters()) if layer else []
        frozen = not any(p.requires_grad for p in weights)
        name = "input" if node.op == "placeholder" else node.name.rstrip("_0123456789") if layer is None else node.name
        stages.append((name, tuple(node.meta["tensor_meta"].shape[1:]), sum(p.numel() for p in weights), frozen))

    total = sum(parameters for *_, parameters, _ in stages)
    figure, axis = plt.subplots(figsize=(1.15 * len(stages), 4.2), layout="constrained")
    for at, (name, shape, parameters, frozen) in enumerate(stages):
        channels, height = (shape[0], shape[1]) if len(shape) == 3 else (2, max(1.5, 28 * shape[0] / 320))
        color = "tab:gray" if not parameters else "tab:blue" if frozen else "tab:orange"
        width = 0.12 + 0.55 * channels / 40
        tall = height / 28
        axis.add_patch(
            Rectangle((at - width / 2, -tall / 2), width, tall, facecolor=color, alpha=0.55, edgecolor="black")
        )
        axis.text(at, 0.62, name.replace("_", "\n"), ha="center", va="bottom", weight="bold", fontsize=10)
        axis.text(at, -0.62, "×".join(map(str, shape)), ha="center", va="top", fontsize=10)
        if parameters:
            axis.text(
                at,
                -0.75,
                f"{parameters:,}\n{'frozen' if frozen else 'parameters'}",
                ha="center",
                va="top",
                fontsize=9,
                color="tab:brown",
            )
        if at:
            axis.annotate("", (at - 0.36, 0), (at - 0.62, 0), arrowprops={"arrowstyle": "->", "color": "gray"})
    axis.set(xlim=(-0.7, len(stages) - 0.3), ylim=(-1.05, 1.0), title=f"{title}: {total:,} parameters")
    axis.axis("off")
    return figure
