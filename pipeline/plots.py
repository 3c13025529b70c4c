"""Draw figures. Only `save` writes image files, only `show` opens windows."""

import copy
import math
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import matplotlib.font_manager
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from torch import nn
from torch.fx import symbolic_trace
from torch.fx.passes.shape_prop import ShapeProp

from pipeline.files import atomic_write, printable

TRAIN_COLOR, VALID_COLOR, TEST_COLOR = "tab:blue", "tab:green", "tab:red"
DPI = 130  # a figure of 10 inches is 1300 pixels wide, sharp in the documentation, at 100 kB
# matplotlib's own font, then those with other scripts that systems bring along
FONTS = "DejaVu Sans", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Microsoft YaHei", "Arial Unicode MS"
matplotlib.rcParams["text.parse_math"] = False  # a class may be named $


def select_backend(show: bool) -> None:
    """Choose the back end: files only, or windows as well."""
    if not show:
        matplotlib.use("Agg")


def save(figure: Figure, path: Path) -> None:
    """Write the figure atomically; characters that no font has become their code points, such as U+6F22."""
    for text in figure.findobj(Text):
        if (string := displayable(text.get_text())) != text.get_text():
            text.set_text(string)
    with atomic_write(path) as file:
        figure.savefig(file, dpi=DPI, bbox_inches="tight")
    if not _has_windows():
        plt.close(figure)  # or pyplot would hold them all


@cache
def _glyphs() -> frozenset[int]:
    """Choose the installed fonts among FONTS for all figures; return the code points that they can draw."""
    manager = matplotlib.font_manager
    installed = [name for name in FONTS if name in manager.get_font_names()]
    matplotlib.rcParams["font.family"] = installed
    return frozenset().union(*(FT2Font(manager.findfont(name)).get_charmap() for name in installed))


def displayable(string: str) -> str:
    """Replace the characters that no font of the figures has by their code points; print each string once."""
    if string.isascii():
        return string
    string = unicodedata.normalize("NFC", string)
    missing = {character for character in string if ord(character) not in _glyphs() and not character.isspace()}
    if missing:
        _print_missing("".join(sorted(missing)))
    return "".join(f"U+{ord(character):04X}" if character in missing else character for character in string)


@cache
def _print_missing(characters: str) -> None:
    codes = ", ".join(f"{printable(character)} as U+{ord(character):04X}" for character in characters)
    print(f"no installed font has these characters, which figures show by their code points: {codes}")


def show() -> None:
    """Open a window for every figure drawn so far and wait until they are closed."""
    if not _has_windows():
        print("no display for --show: the figures are in the output folder")
    else:
        plt.show()


def _has_windows() -> bool:
    return plt.get_backend().lower() != "agg"


def image_grid(
    images: torch.Tensor, captions: Sequence[str], columns: int, title: str, is_wrong: Sequence[bool] = ()
) -> Figure:
    """Draw (N, 1, H, W) images in rows, each under its caption, which is red if `is_wrong`."""
    rows = max(1, math.ceil(len(images) / columns))
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.6 * columns, 1.9 * rows + 0.5), squeeze=False, layout="constrained"
    )
    figure.suptitle(title)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, caption, wrong in zip(
        axes.flat, images, captions, is_wrong or [False] * len(captions), strict=False
    ):
        axis.imshow(image[0].cpu().numpy(), cmap="gray")
        axis.set_title(caption, fontsize=9, color=TEST_COLOR if wrong else "black")
    return figure


def examples(images: torch.Tensor, labels: torch.Tensor, names: Sequence[str], count: int, title: str) -> Figure:
    """Draw `count` of (N, 1, H, W) images, chosen at random and sorted by class; the label -1 is no class."""
    chosen = torch.randperm(len(images))[:count]
    chosen = chosen[labels[chosen].argsort()]
    captions = [names[label] if label >= 0 else "none" for label in labels[chosen].tolist()]
    return image_grid(images[chosen], captions, 10, title)


def losses(
    train: tuple[Sequence[float], Sequence[float]], test: tuple[Sequence[float], Sequence[float]], title: str
) -> Figure:
    """Plot the training loss as a line and the test loss as dots; each is a pair (examples seen, losses)."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axis.plot(*train, color=TRAIN_COLOR, linewidth=1, label="train loss (of one batch, before its step)")
    axis.scatter(*test, color=TEST_COLOR, zorder=3, label="test loss")
    axis.set(title=title, xlabel="training examples seen", ylabel="negative log-likelihood", ylim=(0, None))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.legend()
    axis.grid(alpha=0.3)
    return figure


def accuracies(epochs: Sequence[int], percent: Mapping[str, Sequence[float]], best_epoch: int, title: str) -> Figure:
    """Plot the accuracy of the splits train, valid and test over the epochs; mark the epoch whose weights are saved."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for (split, values), color in zip(percent.items(), (TRAIN_COLOR, VALID_COLOR, TEST_COLOR), strict=True):
        values = list(values)
        axis.plot(
            epochs, values, marker="o", markersize=4, color=color, label=f"{split} ({values[-1]:.2f} % at the end)"
        )
    axis.axvline(best_epoch, color=VALID_COLOR, alpha=0.6, linestyle=":", label="lowest validation loss: saved")
    lowest = min(min(percent["valid"]), min(percent["test"]))
    axis.set(title=title, xlabel="epoch", ylabel="accuracy (%)")
    axis.set_ylim(lowest - 0.1 * (101 - lowest), 100)  # the first epoch's train accuracy may be far lower
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    axis.grid(alpha=0.3)
    return figure


def confusion(counts: pd.DataFrame, title: str) -> Figure:
    """Draw a confusion matrix, rows true, columns predicted; only mistakes are shaded: the diagonal is far larger."""
    names = [displayable(name) for name in counts.columns]
    figure, axis = plt.subplots(figsize=(1.5 + 0.5 * len(names), 1.2 + 0.5 * len(names)), layout="constrained")
    is_correct = np.eye(len(names), dtype=bool)
    mistakes = np.where(is_correct, 0, counts)
    axis.imshow(
        mistakes, cmap="Reds", vmax=max(1, 2 * mistakes.max())
    )  # twice, since numbers on dark red are illegible
    for (row, column), count in np.ndenumerate(counts):
        if count:
            weight = "bold" if is_correct[row, column] else "normal"
            axis.text(column, row, f"{count}", ha="center", va="center", fontsize=8, weight=weight)
    axis.set(title=title, xlabel="predicted", ylabel="true")
    names = [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
    axis.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 7 else 0)
    axis.set_yticks(range(len(names)), names)
    return figure


def network_diagram(model: nn.Module, title: str) -> Figure:
    """Draw the layers as blocks, as high as their feature maps and as wide as their number of channels.

    Layers that are trained are orange, frozen ones blue.
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
