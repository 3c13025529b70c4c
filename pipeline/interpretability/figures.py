"""The analyses of a trained network. To add one, write a function with the decorator `analysis` here.

The decorator has the figure's name, its heading and a text on how to read it. The function adds the figure and the
finding to the report, and returns the numbers for metrics.json.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from pipeline import files
from pipeline.interpretability import activations, attribution, drawing, filter_bank
from pipeline.interpretability.html_report import Report
from pipeline.interpretability.subject import Subject

RANDOM_FILTER_SETS = 1000  # sets of as many filters as the first layer has, for comparison
PATCHES_PER_CHANNEL = 6
OCCLUDED_PREDICTIONS = 50  # correct ones, and at most as many incorrect ones, that are analyzed by occlusion
OCCLUSIONS_SHOWN = 6  # of each group
MISTAKES_MARKED = 10  # in the decision plane
NEGLIGIBLE_LOSS = 0.1  # percentage points of accuracy


AddFigure = Callable[..., None]  # (figure, finding, table="", layer=""): adds a figure and its finding to the report


@dataclass
class Analysis:
    """One analysis: its figure's name, its heading, a text on how to read it, and the function that runs it."""

    name: str
    title: str
    reading: str
    function: Callable[[Subject, AddFigure], dict | None]

    def run(self, subject: Subject, report: Report) -> dict:
        """Add the figures and findings to the report; return the numbers for metrics.json."""

        def add(figure: Figure, finding: str, table: str = "", layer: str = "") -> None:
            name, title = (f"{self.name}_{layer}", f"{self.title}: {layer}") if layer else (self.name, self.title)
            report.add(name, title, self.reading, figure, finding, table)

        return self.function(subject, add) or {}


ANALYSES: list[Analysis] = []  # in the order of the report


def analysis(name: str, title: str, reading: str) -> Callable:
    """Append the decorated function to ANALYSES."""

    def register(function: Callable) -> Callable:
        ANALYSES.append(Analysis(name, title, reading, function))
        return function

    return register


@analysis(
    "filters",
    "Filters of the first convolution",
    "Each square is one weight. A filter responds most where the image is bright under its yellow squares and dark "
    "under its blue ones.",
)
def first_layer_filters(subject: Subject, add: AddFigure) -> None:
    """Show the weights of the first convolution."""
    filters, layer = subject.filters, subject.first
    numbers = [
        f"filter {i}\n" + "\n".join(" ".join(f"{weight:6.3f}" for weight in row) for row in values)
        for i, values in enumerate(filters)
    ]
    finding = f"{layer}.weight has the shape {tuple(subject.weight.shape)}; "
    finding += f"its values range from {filters.min():.3f} to {filters.max():.3f}."
    figure = drawing.filters(filters, f"{subject.network}: the {len(filters)} filters of {layer}")
    add(figure, finding, "\n".join(numbers))


@analysis(
    "filtered",
    "Filter responses",
    "Each filter is applied at every position of the image. Red: the image correlates with the filter there; blue: "
    "with the filter's negative; white: with neither.",
)
def filter_responses(subject: Subject, add: AddFigure) -> None:
    """Filter the image with OpenCV, and compare the result with the network's own convolution."""
    image, filters = subject.image[0, 0].cpu().numpy(), subject.filters
    results = filter_bank.filtered(image, filters)
    convolved = nn.functional.conv2d(subject.image, subject.weight)[0].cpu().numpy()
    border = filters.shape[1] // 2  # pixels, where cv2.filter2D mirrors the image and the convolution has no values
    difference = np.abs(results[:, border:-border, border:-border] - convolved).max()
    finding = f"Away from the border cv2.filter2D and {subject.first} without its bias differ by at most "
    finding += f"{difference:.0e}."
    title = f"{subject.network}: {subject.caption}, filtered by cv2.filter2D"
    add(drawing.filtered(image, filters, results, title), finding)


@analysis(
    "matches",
    "Comparison with standard filters",
    "Beside each filter is the one with the highest correlation r among Sobel, Prewitt, Laplacian, Gaussian, line and "
    "Gabor kernels at many angles, inverted where it has a minus sign. With so many candidates any filter correlates "
    "with one of them. A learned filter right of the gray dotted line matches better than 95 % of untrained filters, "
    "one right of the orange line better than 95 % of random filters with the same power spectrum, thus better than "
    "its smoothness alone explains.",
)
def standard_filters(subject: Subject, add: AddFigure) -> dict:
    """Compare the filters with standard ones, and random filters likewise as a baseline."""
    filters, random = subject.filters, np.random.default_rng(subject.seed)
    count, size, _ = filters.shape
    bank = filter_bank.standard(size)
    found, correlations = filter_bank.best_matches(filters, bank)
    table = filter_bank.by_family(filters, bank).assign(
        best=[str(kernel) for kernel in found], correlation=correlations
    )
    files.write_csv(subject.folder / "filters.csv", table)
    learned = np.abs(correlations)
    finding = f"The best matches of the {count} filters have a correlation of {learned.mean():.2f} on average, "
    finding += f"from {learned.min():.2f} to {learned.max():.2f}."
    metrics, baselines = {"match": learned.mean()}, {}
    for key, name, generated in (
        ("untrained", "untrained filters", filter_bank.untrained(RANDOM_FILTER_SETS * count, size, random)),
        (
            "smooth",
            "random filters with the same power spectrum",
            filter_bank.phase_randomized(filters, RANDOM_FILTER_SETS, random),
        ),
    ):
        values = baselines[name] = np.abs(filter_bank.best_matches(generated, bank)[1])
        means, high = values.reshape(RANDOM_FILTER_SETS, count).mean(1), np.quantile(values, 0.95)
        above = (learned > high).sum().item()
        finding += (
            f"\nBaseline, {RANDOM_FILTER_SETS:,} sets of {count} {name}: {means.mean():.2f} ± {means.std():.2f}, "
            f"the best set {means.max():.2f}. 95 % of these filters are below {high:.2f}, as are {count - above} of "
            "the learned ones."
        )
        metrics |= {f"match_{key}": means.mean(), f"match_{key}_deviation": means.std(), f"above_{key}": above}
    title = f"{subject.network}: the filters of {subject.first}, and the best matching standard filters"
    add(drawing.matches(filters, found, correlations, baselines, title), finding, table.round(2).to_string())
    return metrics


@analysis(
    "way",
    "Forward pass",
    "The stages of the network, from the image at the top to the class probabilities at the bottom. Each tile is one "
    "channel, channel 0 at the left; red is positive, blue negative, on a scale of each stage's own. 'After' is the "
    "output of pooling and ReLU.",
)
def forward_pass(subject: Subject, add: AddFigure) -> dict:
    """Show one image's activations at every stage, and the class probabilities."""
    values = {stage: value[0].cpu().numpy() for stage, value in subject.stages.values(subject.image).items()}
    probabilities = np.exp(values.pop(subject.stages.output))
    steps = subject.stages.steps  # linear layers are shown only after their activation function
    shown = {stage: value for stage, value in values.items() if value.ndim == 3 or stage in steps}
    shown = {f"{stage}:\n{steps[stage]}" if steps.get(stage) else stage: value for stage, value in shown.items()}
    title = f"{subject.network}, stage by stage: {subject.caption}"
    figure = drawing.forward_pass(subject.image[0, 0].cpu().numpy(), shown, probabilities, subject.names, title)
    top = probabilities.argsort()[::-1][:3]
    finding = f"The prediction for {subject.caption}: "
    finding += ", ".join(f"{subject.names[i]} with {100 * probabilities[i]:.2f} %" for i in top) + "."
    add(figure, finding)
    return {"image": subject.caption, "answer": subject.names[top[0]], "confidence": probabilities.max().item()}


@analysis(
    "patches",
    "Patches that excite each channel",
    "Below each channel's number and its greatest activation are the patches of test images with its greatest "
    "activations, each from a different image. What they have in common is what the channel detects.",
)
def exciting_patches(subject: Subject, add: AddFigure) -> None:
    """Show the patches of test images with the greatest activations, for each channel of each convolution."""
    for layer in subject.stages.convolutions:
        # (PATCHES_PER_CHANNEL, channels)
        maxima, images = subject.outputs.maxima[layer].topk(PATCHES_PER_CHANNEL, dim=0)
        field = activations.receptive_field(subject.model, layer)
        patches = []
        for channel, chosen in enumerate(images.T):
            positions = subject.outputs.positions[layer][chosen, channel]
            patches.append(activations.cut_patches(subject.test.images[chosen], positions, field))
        patches = np.stack(patches)
        size = f"{patches.shape[-1]}×{patches.shape[-1]}"
        captions = [f"{channel}\n{maximum:.2f}" for channel, maximum in enumerate(maxima[0])]
        labels = [" ".join(subject.names[label] for label in subject.outputs.labels[chosen]) for chosen in images.T]
        lines = [
            f"channel {caption}, on images of {names}".replace("\n", ": ")
            for caption, names in zip(captions, labels, strict=True)
        ]
        inactive = (maxima[0] <= 0).sum()
        finding = f"The receptive field of {layer} is {size} pixels; {inactive} of its {len(patches)} channels are "
        finding += "never positive."
        title = f"{subject.network}: the {size} patches that excite each channel of {layer} most, {subject.data}"
        figure = drawing.patches(patches, captions, subject.filters if layer == subject.first else None, title)
        add(figure, finding, "\n".join(lines), layer=layer)


@analysis(
    "switched_off",
    "Channel ablation",
    "Each bar is the accuracy lost when this channel alone is set to zero. A low bar does not prove that the channel "
    "is unused: others may detect the same.",
)
def channel_ablation(subject: Subject, add: AddFigure) -> dict:
    """Measure the accuracy without each channel."""
    full = subject.outputs.accuracy
    ablated = {
        layer: attribution.accuracy_without_channels(subject.stages, layer, subject.test)
        for layer in subject.stages.convolutions
    }
    table = pd.DataFrame(
        [(layer, channel, value) for layer, values in ablated.items() for channel, value in enumerate(values)],
        columns=["layer", "channel", "accuracy"],
    )
    table["lost"] = full - table.accuracy
    files.write_csv(subject.folder / "channels.csv", table)
    worst, negligible = table.loc[table.lost.idxmax()], (table.lost < NEGLIGIBLE_LOSS).sum().item()
    finding = (
        f"The accuracy is {full:.2f} % with all channels and {worst.accuracy:.2f} % without channel {worst.channel} of "
        f"{worst.layer}. For {negligible} of {len(table)} channels, each removed alone, the loss is less than "
        f"{NEGLIGIBLE_LOSS} percentage points."
    )
    figure = drawing.channel_losses(
        {layer: full - values for layer, values in ablated.items()},
        f"{subject.network}: accuracy lost without each channel, {subject.data}",
    )
    add(figure, finding, table.round(2).to_string(index=False))
    return {"least_accuracy_without_a_channel": worst.accuracy, "cheap_channels": negligible}


@analysis(
    "occlusion",
    "Occlusion",
    "A square of 5×5 pixels around each pixel in turn is replaced by background. Red: this lowers the log-odds of the "
    "class, so the ink there is evidence for it; blue: it raises them. Log-odds are the logarithm of p / (1 - p). The "
    "black line is the outline of the ink.",
)
def occlusion(subject: Subject, add: AddFigure) -> dict:
    """Measure how occlusion changes correct and incorrect predictions."""
    outputs = subject.outputs
    groups: dict[str, list] = {}
    changed: dict[str, int] = {}
    correct, incorrect = outputs.correct[:OCCLUDED_PREDICTIONS], outputs.incorrect[:OCCLUDED_PREDICTIONS]
    for kind, images in (("correct", correct), ("incorrect", incorrect)):
        changed[kind] = 0
        group = groups[kind] = []
        for i in images.tolist():
            label, predicted = outputs.labels[i].item(), outputs.predicted[i].item()
            occluded = attribution.occlusion(subject.model, subject.test.images[i])
            changed[kind] += ((occluded.argmax(2) == label) != (predicted == label)).any().item()
            log_odds = attribution.log_odds(outputs.log_probabilities[i])
            evidence = (log_odds - attribution.log_odds(occluded)).numpy()
            maps = {f"for {subject.names[c]}": evidence[..., c] for c in (predicted, label)}
            group.append((subject.gray(i), subject.prediction(i), maps))
        del group[OCCLUSIONS_SHOWN:]
    side = attribution.OCCLUSION_SIZE_PX
    finding = (
        f"Occluding one suitable {side}×{side} square corrects {changed['incorrect']} of the {len(incorrect)} worst "
        f"incorrect predictions, and makes {changed['correct']} of the first {len(correct)} correct ones incorrect."
    )
    title = f"{subject.network}: ink that is evidence for a class (red) or against it (blue)\n{subject.data}"
    add(drawing.occlusions(groups, title), finding)
    return {"corrected": changed["incorrect"], "made_incorrect": changed["correct"]}


@analysis(
    "plane",
    "Feature space",
    "Each dot is the last layer's input for a test image, projected onto its first two principal components (PCA). "
    "Images with near dots are similar to the network, though two components cannot show everything that separates "
    "the classes. The worst mistakes are circled, with the predicted and the true class.",
)
def decision_plane(subject: Subject, add: AddFigure) -> dict:
    """Show the last hidden layer in two dimensions, with the mistakes of lowest probability for the true class."""
    outputs = subject.outputs
    points, share = attribution.pca_plane(outputs.hidden)
    worst = outputs.incorrect[:MISTAKES_MARKED].tolist()
    size = outputs.hidden.shape[1]
    finding = f"Two of {size} principal components explain {100 * share:.1f} % of the variance; "
    finding += f"the {len(worst)} worst of {len(outputs.incorrect)} mistakes are marked."
    title = f"{subject.network}: its {size}-dimensional layer in two dimensions, {subject.data}"
    marked = [(points[i], subject.gray(i), subject.prediction(i)) for i in worst]
    add(drawing.decision_plane(points, outputs.labels.numpy(), subject.names, marked, title), finding)
    return {"variance_in_two_dimensions": share}
