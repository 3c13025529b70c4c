"""The figures of a search: accuracy against each dimension, importances, progress, and training times."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline import plots

ACCURACY_LABEL = "accuracy on validation (%)"
CHART_FILES = "dimensions", "coordinates", "importances", "progress", "times"


def write(table: pd.DataFrame, names: Sequence[str], shares: Mapping[str, float], title: str, folder: Path) -> None:
    """Draw all five once two trials are complete; until then remove another study's, which would seem this one's.

    Args:
        table: as `results_table.results` makes it.
        names: of the dimensions.
        shares: of each that was varied, its importance.
    """
    paths = [folder / f"{name}.png" for name in CHART_FILES]
    if sum(table.state == "complete") < 2:
        print("figures are drawn once two trials are complete")
        for path in paths:
            path.unlink(missing_ok=True)
        return
    figures = (
        dimensions(table, names, title),
        coordinates(table, [name for name in names if table[name].nunique() > 1], title),
        importances(shares, f"What decides: {title}"),
        progress(table, title),
        times(table, title),
    )
    for path, figure in zip(paths, figures, strict=True):
        plots.save(figure, path)


def dimensions(table: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """Validation accuracy against each dimension: a dot per trial, and a line through the medians."""
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.6), sharey=True, layout="constrained")
    figure.suptitle(title)
    for axis, name in zip(axes.flat, names, strict=False):
        values = sorted(table[name].unique())
        places = table[name].map(values.index)
        scatter = np.random.default_rng(0).uniform(-0.15, 0.15, len(table))  # so that equal ones do not hide each other
        axis.scatter(places + scatter, table.valid_acc, s=14, alpha=0.5, color=plots.TRAIN_COLOR)
        medians = table.groupby(name).valid_acc.median()
        axis.plot(range(len(values)), medians[values], color=plots.TEST_COLOR, marker="o", markersize=4, label="median")
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.set_xlim(-0.5, len(values) - 0.5)
        axis.set_xlabel(name.replace("_", " "))
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    for axis in axes[:, 0]:
        axis.set_ylabel(ACCURACY_LABEL)
    _set_accuracy_limits(axes[0, 0], table.valid_acc)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    return figure


def coordinates(table: pd.DataFrame, names: Sequence[str], title: str) -> Figure:
    """Parallel coordinates: a line per trial through its value on every axis; the brighter, the better."""
    figure, axis = plt.subplots(figsize=(11, 4.8), layout="constrained")
    ranks = table.valid_acc.rank(pct=True)
    colors = matplotlib.colormaps["viridis"]
    levels = {name: sorted(table[name].unique()) for name in names}
    random = np.random.default_rng(0)
    for trial in ranks.sort_values().index:  # the best on top
        heights = [
            (levels[name].index(table[name][trial]) + 0.5 + random.uniform(-0.12, 0.12)) / len(levels[name])
            for name in names
        ]
        axis.plot([*heights, ranks[trial]], color=colors(ranks[trial]), alpha=0.7, linewidth=1)
    for place, name in enumerate(names):
        for level, value in enumerate(levels[name]):
            box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
            axis.text(place, (level + 0.5) / len(levels[name]), f"{value:g}", ha="center", va="center", bbox=box)
    last = len(names)
    for share in (0, 0.5, 1):
        axis.text(last + 0.08, 0.02 + 0.98 * share, f"{table.valid_acc.quantile(share):.1f} %", va="center")
    axis.set_xticks(range(last + 1), [*(name.replace("_", "\n") for name in names), "rank by\nvalidation"])
    axis.set(title=title, xlim=(-0.3, last + 0.6), ylim=(-0.02, 1.04), yticks=[])
    for place in range(last + 1):
        axis.axvline(place, color="gray", linewidth=0.8, zorder=0)
    return figure


def importances(shares: Mapping[str, float], title: str) -> Figure:
    """A bar per dimension: how far its choice alone decides whether a trial is among the best."""
    shares = dict(sorted(shares.items(), key=lambda item: item[1]))
    figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
    bars = axis.barh([name.replace("_", " ") for name in shares], list(shares.values()), color=plots.TRAIN_COLOR)
    axis.bar_label(bars, [f"{share:.2f}" for share in shares.values()], padding=3)
    axis.set(title=title, xlabel="importance (their sum is 1)", xlim=(0, 1.12 * max([*shares.values(), 0.01])))
    return figure


def progress(table: pd.DataFrame, title: str) -> Figure:
    """Validation accuracy of each trial in the order of their numbers, and the best so far."""
    table = table.sort_index()
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for state, color in (("complete", plots.TRAIN_COLOR), ("pruned", "tab:gray")):
        part = table[table.state == state]
        if len(part):
            axis.scatter(part.index, part.valid_acc, s=18, color=color, label=f"{state} ({len(part)})")
    axis.step(table.index, table.valid_acc.cummax(), where="post", color=plots.TEST_COLOR, label="best so far")
    axis.set(title=title, xlabel="trial", ylabel=ACCURACY_LABEL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _set_accuracy_limits(axis, table.valid_acc)
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
    return figure


def times(table: pd.DataFrame, title: str) -> Figure:
    """Validation accuracy against the seconds of training, by the number of convolutions; the front is drawn."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for count, part in table.groupby("conv_layers"):
        axis.scatter(part.time_sec, part.valid_acc, s=18, label=f"{count} convolution{'s' if count > 1 else ''}")
    ordered = table.sort_values(["time_sec", "valid_acc"], ascending=[True, False])
    front = ordered[ordered.valid_acc > ordered.valid_acc.cummax().shift(fill_value=-1)]
    axis.step(front.time_sec, front.valid_acc, where="post", color="black", linewidth=1, label="the front")
    axis.set(title=title, xlabel="seconds of training, on one thread", ylabel=ACCURACY_LABEL, xscale="log")
    for which in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        which("{x:g}")
    _set_accuracy_limits(axis, table.valid_acc)
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
    return figure


def _set_accuracy_limits(axis: Axes, accuracies: pd.Series) -> None:
    """Show the better nine tenths, and say how many lie below: networks that learned nothing would flatten the rest."""
    low, high = accuracies.quantile(0.1), accuracies.max()
    bottom = low - 0.15 * (high - low) - 0.1
    axis.set_ylim(bottom, high + 0.1 * (high - low) + 0.1)
    if hidden := (accuracies < bottom).sum():
        note = f"{hidden} of {len(accuracies)} lie below, not shown"
        axis.text(0.01, 0.01, note, transform=axis.transAxes, color="gray", va="bottom", fontsize=8)
