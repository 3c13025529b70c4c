"""Draw the figures of the examination.

Images are gray on black. Filters use viridis, yellow for the most positive weight. Other values are red above zero and
blue below.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from pipeline.interpretability.filter_bank import Kernel
from pipeline.plots import TEST_COLOR, TRAIN_COLOR

DIVERGING_COLORMAP = "RdBu_r"
SMALL_TEXT = {"fontsize": 9}


def _show(axis: Axes, values: np.ndarray, caption: str = "", limit: float | None = None, color: str = "black", **style):
    """Show an image without ticks below its caption.

    Args:
        limit: show values from -limit to limit in red and blue.
    """
    if limit is not None:
        style = {"cmap": DIVERGING_COLORMAP, "vmin": -limit, "vmax": limit, **style}
    axis.set_axis_off()
    axis.set_title(caption, **SMALL_TEXT, color=color)
    return axis.imshow(values, **{"cmap": "gray", "interpolation": "nearest", **style})


def _tiles(maps: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Arrange maps (N, H, W) in a grid, as one image; gaps are NaN, which is drawn white."""
    count, height, width = maps.shape
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for i, values in enumerate(maps):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = values
    return sheet


def filters(weights: np.ndarray, title: str) -> Figure:
    """Draw (N, size, size) weights on one color scale; ten filters in a 3x4 grid, as in the report."""
    columns = 4 if len(weights) <= 16 else 8
    rows = math.ceil(len(weights) / columns)
    height = rows * (6.2 / columns + 0.3) + 0.4
    figure, axes = plt.subplots(rows, columns, figsize=(7.4, height), layout="constrained", squeeze=False)
    figure.suptitle(title)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (axis, values) in enumerate(zip(axes.flat, weights, strict=False)):
        mappable = _show(axis, values, f"filter {i}", cmap="viridis", vmin=weights.min(), vmax=weights.max())
    figure.colorbar(mappable, ax=axes, label="weight", shrink=0.8)
    return figure


def filtered(image: np.ndarray, weights: np.ndarray, results: np.ndarray, title: str) -> Figure:
    """Draw the (28, 28) image, and beside it each filter above its response, of (N, 28, 28)."""
    columns = 5 if len(weights) <= 10 else 8
    rows = math.ceil(len(weights) / columns)
    figure = plt.figure(figsize=(10, rows * (10 / columns + 0.3) + 0.4), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.6))
    _show(left.subplots(), image, "image")
    axes = right.subplots(2 * rows, columns, height_ratios=(1, 2.2) * rows, squeeze=False)
    limit = np.abs(results).max()
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (kernel, result) in enumerate(zip(weights, results, strict=True)):
        row, column = 2 * (i // columns), i % columns
        _show(axes[row, column], kernel, f"filter {i}", cmap="viridis", vmin=weights.min(), vmax=weights.max())
        mappable = _show(axes[row + 1, column], result, limit=limit)
    right.colorbar(mappable, ax=axes, label="filter response", shrink=0.8, panchor=False)
    return figure


def matches(
    weights: np.ndarray,
    kernels: Sequence[Kernel],
    correlations: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    title: str,
) -> Figure:
    """Draw each filter beside the best matching standard one; below, histograms of the random baselines.

    Args:
        correlations: (N,), signed; a kernel of negative correlation is drawn inverted.
        baselines: absolute correlations of two kinds of random filters, by name.
    """
    columns = 5 if len(weights) <= 20 else 8
    rows = math.ceil(len(weights) / columns)
    figure = plt.figure(figsize=(2.2 * columns, 1.5 * rows + 3.2), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(
        rows + 1, 3 * columns, width_ratios=(1, 1, 0.12) * columns, height_ratios=[1.5] * rows + [2.5]
    )
    for i, (kernel, r) in enumerate(zip(kernels, correlations, strict=True)):
        row, column = i // columns, 3 * (i % columns)
        sign, name = (-1, f"−{kernel}") if r < 0 else (1, f"{kernel}")
        _show(figure.add_subplot(grid[row, column]), weights[i], f"filter {i}\n$r$ = {abs(r):.2f}", cmap="viridis")
        _show(figure.add_subplot(grid[row, column + 1]), sign * kernel.values, f"{name}\n", cmap="viridis")
    axis = figure.add_subplot(grid[rows, :])
    for (name, values), color in zip(baselines.items(), ("tab:gray", "tab:orange"), strict=True):
        axis.hist(values, np.linspace(0, 1, 51), density=True, color=color, alpha=0.5, label=name)
        axis.axvline(np.quantile(values, 0.95), color=color, linestyle=":", label="their 95th percentile")
    axis.plot(
        np.abs(correlations), np.full(len(weights), 0.25), "v", color=TRAIN_COLOR, markersize=9, label="learned filters"
    )
    axis.set(xlabel="absolute correlation with the best matching standard filter", xlim=(0, 1), yticks=[])
    axis.legend(loc="upper left", **SMALL_TEXT)
    return figure


def forward_pass(
    image: np.ndarray, stages: Mapping[str, np.ndarray], probabilities: np.ndarray, names: Sequence[str], title: str
) -> Figure:
    """Draw an image's activations at every stage, maps (C, H, W) or vectors (C,), and the class probabilities."""
    grids = []
    for name, values in stages.items():
        shape = "×".join(map(str, values.shape))
        if values.ndim == 1:
            grid = _tiles(values[:, None, None], min(len(values), 64), gap=0)
        else:
            grid = _tiles(values, 10 if len(values) <= 20 else 16)
        grids.append((f"{name}\n{shape}", grid, np.abs(values).max() or 1))
    heights = [1.6, *(max(0.35, 8.2 * grid.shape[0] / grid.shape[1]) for _, grid, _ in grids), 1.1]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(10, sum(heights) + 0.14 * len(heights) + 0.6), height_ratios=heights,
        layout="constrained",
    )  # fmt: skip
    figure.suptitle(title)
    axes[0].imshow(image, cmap="gray")
    axes[0].set_ylabel("image\n28×28")
    for axis, (name, grid, limit) in zip(axes[1:], grids, strict=False):
        axis.imshow(grid, cmap=DIVERGING_COLORMAP, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        axis.set_ylabel(name)
    axes[-1].bar(names, 100 * probabilities, color=TRAIN_COLOR)
    axes[-1].set(ylabel="probability\n%", ylim=(0, 119), yticks=[0, 100])
    axes[-1].margins(x=0.01)
    axes[-1].tick_params(axis="x", rotation=0 if len(" ".join(names)) < 90 else 40)
    for i, probability in enumerate(probabilities):
        axes[-1].text(i, 100 * probability + 3, f"{100 * probability:.1f}", ha="center", **SMALL_TEXT)
    for axis in axes:
        axis.yaxis.label.set(rotation=0, ha="right", va="center", size=9)
        axis.spines[:].set_visible(False)
    for axis in axes[:-1]:
        axis.set(xticks=[], yticks=[])
    return figure


def patches(cuts: np.ndarray, captions: Sequence[str], weights: np.ndarray | None, title: str) -> Figure:
    """Draw (C, K, size, size) patches: those of a channel in a column, below its filter if there are weights."""
    channels, count, size, _ = cuts.shape
    columns = 10 if channels <= 20 else 16
    rows = math.ceil(channels / columns)
    height = (count + (weights is not None)) * 9 / columns + 0.55
    figure, axes = plt.subplots(rows, columns, figsize=(10, height * rows + 0.5), squeeze=False, layout="constrained")
    figure.suptitle(title)
    for axis in axes.flat:
        axis.set_axis_off()
    gap, channel = max(1, size // 7), "channel " if columns == 10 else ""
    for i, (axis, column) in enumerate(zip(axes.flat, cuts, strict=False)):
        gray = _scaled(_tiles(column, 1, gap), cuts.min(), cuts.max(), "gray")
        if weights is not None:
            head = _scaled(weights[i], weights.min(), weights.max(), "viridis")
            gray = np.concatenate([head, np.ones((gap, size, 4)), gray])
        _show(axis, gray, channel + captions[i])
    return figure


def _scaled(values: np.ndarray, low: float, high: float, colors: str) -> np.ndarray:
    """Convert values (H, W) to RGBA colors (H, W, 4); NaN becomes white."""
    return np.where(np.isnan(values)[..., None], to_rgba("white"), plt.get_cmap(colors)((values - low) / (high - low)))


def channel_losses(lost: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draw a bar for each channel of each convolution: the percentage points of accuracy lost without it."""
    widths = [max(8, len(values)) for values in lost.values()]
    figure, axes = plt.subplots(
        1, len(lost), figsize=(11, 3.8), width_ratios=widths, sharey=True, squeeze=False, layout="constrained"
    )
    figure.suptitle(title)
    for axis, (layer, values) in zip(axes.flat, lost.items(), strict=True):
        axis.bar(range(len(values)), values, color=TRAIN_COLOR)
        for channel, value in enumerate(values):
            axis.text(channel, max(value, 0), f" {value:.2f}", ha="center", va="bottom", fontsize=7, rotation=90)
        axis.set(xlabel=f"ablated channel of {layer}", xlim=(-0.6, len(values) - 0.4))
        axis.set_xticks(range(0, len(values), 1 + len(values) // 24))
        axis.grid(alpha=0.3, axis="y")
    axes[0, 0].set(ylabel="accuracy lost (percentage points)")
    axes[0, 0].margins(y=0.18)
    return figure


def occlusions(groups: Mapping[str, Sequence[tuple[np.ndarray, str, Mapping[str, np.ndarray]]]], title: str) -> Figure:
    """Draw groups of (image, caption, maps by caption): each image above its maps of the evidence for a class."""
    columns = max(len(group) for group in groups.values())
    rows = [1 + max((len(maps) for *_, maps in group), default=0) for group in groups.values()]
    figure, axes = plt.subplots(
        sum(rows), columns, figsize=(1.55 * columns + 1, 1.75 * sum(rows) + 0.7), squeeze=False, layout="constrained"
    )
    figure.suptitle(title)
    for axis in axes.flat:
        axis.set_axis_off()
    all_maps = [values for group in groups.values() for *_, maps in group for values in maps.values()]
    limit = np.quantile(np.abs(all_maps), 0.995)
    for top, (name, group) in zip(np.cumsum([0, *rows]), groups.items(), strict=False):
        axes[top, 0].text(-0.08, 0.5, name, rotation=90, ha="right", va="center", transform=axes[top, 0].transAxes)
        for column, (image, caption, maps) in enumerate(group):
            is_wrong = len(maps) > 1  # then there is a map for the prediction and one for the label
            _show(axes[top, column], image, caption, color=TEST_COLOR if is_wrong else "black")
            for axis, (map_caption, values) in zip(axes[top + 1 :, column], maps.items(), strict=False):
                mappable = _show(axis, values, map_caption, limit)
                axis.contour(image, [image.mean() + image.std()], colors="black", linewidths=0.6)
    figure.colorbar(mappable, ax=axes, label="log-odds due to the ink there", shrink=0.5, panchor=False)
    return figure


def decision_plane(
    points: np.ndarray, labels: np.ndarray, names: Sequence[str], marked: Sequence[tuple[np.ndarray, np.ndarray, str]],
    title: str,
) -> Figure:  # fmt: skip
    """Draw (N, 2) points colored by class; connect each mistake (point, image, caption) to its image."""
    figure = plt.figure(figsize=(11, 7.5), layout="constrained")
    half = math.ceil(len(marked) / 2)
    grid = figure.add_gridspec(max(1, half), 3, width_ratios=(1, 7, 1))
    axis = figure.add_subplot(grid[:, 1], facecolor="none")  # transparent, as the lines to the images are below it
    colors = plt.get_cmap("tab10" if len(names) <= 10 else "tab20")
    axis.scatter(*points.T, c=[colors(label % colors.N) for label in labels], s=4, alpha=0.5, linewidths=0)
    for label, name in enumerate(names):
        if (labels == label).any():
            box = {
                "boxstyle": "circle,pad=0.25" if len(name) == 1 else "round",
                "facecolor": colors(label % colors.N),
                "edgecolor": "white",
            }
            center = np.median(points[labels == label], axis=0)
            axis.text(*center, name, ha="center", va="center", color="white", weight="bold", bbox=box)
    axis.set(title=title, xlabel="first principal component", xticks=[], yticks=[])
    axis.set_ylabel("second principal component", bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
    by_side = sorted(marked, key=lambda mark: mark[0][0])
    for side, marks in ((0, by_side[:half]), (2, by_side[half:])):
        for row, (point, image, caption) in enumerate(sorted(marks, key=lambda mark: -mark[0][1])):
            image_axis = figure.add_subplot(grid[row, side])
            _show(image_axis, image, caption, color=TEST_COLOR)
            axis.plot(*point, "o", markersize=8, markerfacecolor="none", color="black")
            edge = (1.02, 0.5) if side == 0 else (-0.02, 0.5)
            line = {"coordsA": "axes fraction", "axesA": image_axis, "coordsB": "data", "axesB": axis}
            figure.add_artist(ConnectionPatch(edge, tuple(point), **line, color="black", linewidth=0.6, zorder=-1))
    return figure
