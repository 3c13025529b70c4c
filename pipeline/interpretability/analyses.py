"""What is asked of a trained network. To ask more, add a function with the decorator `analysis` here.

The decorator holds the figure's name, its heading and how to read it; the function draws, finds, and returns the
numbers that are worth comparing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from pipeline import files
from pipeline.interpretability import activations, attribution, figures, filter_bank
from pipeline.interpretability.html_report import Report
from pipeline.interpretability.subject import Subject

RANDOM_FILTER_SETS = 1000  # networks with filters made by chance
PATCHES_PER_CHANNEL = 6  # for each channel
OCCLUDED_ANSWERS = 50  # right answers, and wrong ones at most, that the rubber is tried on
OCCLUSIONS_SHOWN = 6  # of each kind of these
MISTAKES_MARKED = 10  # mistakes beside the plane
NEGLIGIBLE_LOSS = 0.1  # percentage points of accuracy that are little to lose


AddFigure = Callable[..., None]  # (figure, finding, table="", layer=""): puts a figure and its finding into the report


@dataclass
class Analysis:
    """One question to a trained network: the name of its figure, its heading, how to read it, what finds the answer."""

    name: str
    title: str
    reading: str
    find: Callable[[Subject, AddFigure], dict | None]

    def run(self, subject: Subject, report: Report) -> dict:
        """Add its figures and findings to the report; returns the numbers worth comparing, for metrics.json."""

        def add(figure: Figure, finding: str, table: str = "", layer: str = "") -> None:
            name, title = (f"{self.name}_{layer}", f"{self.title}: {layer}") if layer else (self.name, self.title)
            report.add(name, title, self.reading, figure, finding, table)

        return self.find(subject, add) or {}


ANALYSES: list[Analysis] = []  # in the order of the report


def analysis(name: str, title: str, reading: str) -> Callable:
    """Put a function at the end of ANALYSES."""

    def register(find: Callable) -> Callable:
        ANALYSES.append(Analysis(name, title, reading, find))
        return find

    return register


@analysis(
    "filters",
    "The filters",
    "Each square is one weight. A filter answers most where the picture is bright under its yellow squares and "
    "dark under its blue ones.",
)
def first_layer_filters(subject: Subject, add: AddFigure) -> None:
    """The weights of the first convolution."""
    filters, layer = subject.filters, subject.first
    numbers = [
        f"filter {i}\n" + "\n".join(" ".join(f"{weight:6.3f}" for weight in row) for row in values)
        for i, values in enumerate(filters)
    ]
    finding = f"{layer}.weight has the shape {tuple(subject.weight.shape)}; "
    finding += f"its values go from {filters.min():.3f} to {filters.max():.3f}."
    figure = figures.filters(filters, f"{subject.network}: the {len(filters)} filters of {layer}")
    add(figure, finding, "\n".join(numbers))


@analysis(
    "filtered",
    "What the filters make of a picture",
    "Each filter is laid on every place of the picture. Red is where the picture is like the filter, blue where "
    "it is like the filter's negative, white where it is neither.",
)
def filter_responses(subject: Subject, add: AddFigure) -> None:
    """The picture through each filter by OpenCV, whose filtering and a network's convolution are the same sum."""
    picture, filters = subject.picture[0, 0].cpu().numpy(), subject.filters
    results = filter_bank.filtered(picture, filters)
    own = nn.functional.conv2d(subject.picture, subject.weight)[0].cpu().numpy()
    rim = filters.shape[1] // 2  # pixels, where cv2.filter2D mirrors the picture and the convolution has no values
    gap = np.abs(results[:, rim:-rim, rim:-rim] - own).max()
    finding = f"Away from the rim cv2.filter2D and {subject.first} without its bias differ by {gap:.0e} at most."
    title = f"{subject.network}: {subject.caption}, filtered by cv2.filter2D"
    add(figures.filtered(picture, filters, results, title), finding)


@analysis(
    "matches",
    "Are they standard filters?",
    "Beside each filter stands the one it resembles most among Sobel, Prewitt, Laplacian, Gaussian, line and "
    "Gabor kernels at every angle, light for dark where it has a minus; r is their correlation. With so many to "
    "choose from, anything resembles something. Right of the gray dotted line a filter resembles more than an "
    "untrained one would, right of the orange one more than its smoothness alone explains.",
)
def standard_filters(subject: Subject, add: AddFigure) -> dict:
    """The filters against every standard one; and filters made by chance, so that the number means something."""
    filters, random = subject.filters, np.random.default_rng(subject.seed)
    count, size, _ = filters.shape
    bank = filter_bank.standard(size)
    found, correlations = filter_bank.best_matches(filters, bank)
    table = filter_bank.by_family(filters, bank).assign(
        best=[str(kernel) for kernel in found], correlation=correlations
    )
    files.write_csv(subject.folder / "filters.csv", table)
    own = np.abs(correlations)
    finding = f"The {count} filters match at {own.mean():.2f} on average, from {own.min():.2f} to {own.max():.2f}."
    metrics, chance = {"match": own.mean()}, {}
    for key, name, made in (
        ("untrained", "untrained filters", filter_bank.untrained(RANDOM_FILTER_SETS * count, size, random)),
        ("smooth", "filters as smooth, but of no pattern", filter_bank.as_smooth(filters, RANDOM_FILTER_SETS, random)),
    ):
        chance[name] = np.abs(filter_bank.best_matches(made, bank)[1])
        means, high = chance[name].reshape(RANDOM_FILTER_SETS, count).mean(1), np.quantile(chance[name], 0.95)
        above = (own > high).sum().item()
        finding += (
            f"\nBy chance, {RANDOM_FILTER_SETS:,} sets of {count} {name}: {means.mean():.2f} ± {means.std():.2f}, "
            f"the best set {means.max():.2f}. 95 % of these filters lie below {high:.2f}, and {count - above} of the "
            "learned ones."
        )
        metrics |= {f"match_{key}": means.mean(), f"match_{key}_deviation": means.std(), f"above_{key}": above}
    title = f"{subject.network}: the filters of {subject.first}, and the standard filter each resembles most"
    add(figures.matches(filters, found, correlations, chance, title), finding, table.round(2).to_string())
    return metrics


@analysis(
    "way",
    "The way through",
    "From top to bottom the picture becomes an answer. Each tile is one channel, red above zero and blue below, "
    "on a scale of its stage's own; channel 0 is at the left. 'After' is what pooling and ReLU let through: "
    "smaller, and without blue.",
)
def forward_pass(subject: Subject, add: AddFigure) -> dict:
    """One picture's values at every stage, up to the answer."""
    values = {stage: value[0].cpu().numpy() for stage, value in subject.stages.values(subject.picture).items()}
    probabilities = np.exp(values.pop(subject.stages.end))
    steps = subject.stages.steps  # of a linear layer only what comes after it is shown
    shown = {stage: value for stage, value in values.items() if value.ndim == 3 or stage in steps}
    shown = {f"{stage}:\n{steps[stage]}" if steps.get(stage) else stage: value for stage, value in shown.items()}
    title = f"{subject.network}, stage by stage: {subject.caption}"
    figure = figures.forward_pass(subject.picture[0, 0].cpu().numpy(), shown, probabilities, subject.names, title)
    likely = probabilities.argsort()[::-1][:3]
    finding = f"The answer to {subject.caption}: "
    finding += ", ".join(f"{subject.names[i]} with {100 * probabilities[i]:.2f} %" for i in likely) + "."
    add(figure, finding)
    return {"image": subject.caption, "answer": subject.names[likely[0]], "confidence": probabilities.max().item()}


@analysis(
    "patches",
    "What excites a channel",
    "Below each channel's number and its greatest value lie the places on test pictures that excited it most, "
    "each from another picture. What they have in common is what the channel looks for.",
)
def exciting_patches(subject: Subject, add: AddFigure) -> None:
    """Of each channel of each convolution, the patches of test pictures on which it is greatest."""
    for layer in subject.stages.convolutions:
        peaks, pictures = subject.seen.peaks[layer].topk(PATCHES_PER_CHANNEL, dim=0)  # (PATCHES_PER_CHANNEL, channels)
        field = activations.receptive_field(subject.model, layer)
        patches = []
        for channel, chosen in enumerate(pictures.T):
            places = subject.seen.places[layer][chosen, channel]
            patches.append(activations.cut_patches(subject.test.images[chosen], places, field))
        patches = np.stack(patches)
        side = f"{patches.shape[-1]}×{patches.shape[-1]}"
        captions = [f"{channel}\n{peak:.2f}" for channel, peak in enumerate(peaks[0])]
        shown_in = [" ".join(subject.names[label] for label in subject.seen.labels[chosen]) for chosen in pictures.T]
        lines = [
            f"channel {c}, on pictures of {names}".replace("\n", ": ")
            for c, names in zip(captions, shown_in, strict=True)
        ]
        idle = (peaks[0] <= 0).sum()
        finding = f"{layer} sees {side} pixels at once; {idle} of its {len(patches)} channels never rise above zero."
        title = f"{subject.network}: the {side} patches that excite each channel of {layer} most, {subject.asked}"
        figure = figures.patches(patches, captions, subject.filters if layer == subject.first else None, title)
        add(figure, finding, "\n".join(lines), layer=layer)


@analysis(
    "switched_off",
    "Which channels matter",
    "Each bar is the accuracy lost when that one channel is held at zero and all else stays. A low bar need not "
    "mean an idle channel: others may see the same.",
)
def channel_ablation(subject: Subject, add: AddFigure) -> dict:
    """The accuracy that is left when one channel is held at zero."""
    full = subject.seen.accuracy
    left = {
        layer: attribution.accuracy_without_channels(subject.stages, layer, subject.test)
        for layer in subject.stages.convolutions
    }
    table = pd.DataFrame(
        [(layer, channel, value) for layer, values in left.items() for channel, value in enumerate(values)],
        columns=["layer", "channel", "accuracy"],
    )
    table["lost"] = full - table.accuracy
    files.write_csv(subject.folder / "channels.csv", table)
    most, cheap = table.loc[table.lost.idxmax()], (table.lost < NEGLIGIBLE_LOSS).sum().item()
    finding = (
        f"With all channels {full:.2f} %, without channel {most.channel} of {most.layer} {most.accuracy:.2f} %; "
        f"{cheap} of {len(table)} channels can go, one at a time, for less than {NEGLIGIBLE_LOSS} points."
    )
    figure = figures.channel_losses(
        {layer: full - values for layer, values in left.items()},
        f"{subject.network}: accuracy lost with each channel, {subject.asked}",
    )
    add(figure, finding, table.round(2).to_string(index=False))
    return {"least_accuracy_without_a_channel": most.accuracy, "cheap_channels": cheap}


@analysis(
    "occlusion",
    "What speaks for an answer",
    "A square of 5×5 pixels is rubbed out around each pixel in turn. Red is where the class loses by that, so "
    "that the ink there speaks for it; blue is where it gains. Log-odds are the logarithm of p / (1 - p). The "
    "outline is the ink's.",
)
def occlusion(subject: Subject, add: AddFigure) -> dict:
    """What a rubber changes, for right answers and for wrong ones."""
    seen = subject.seen
    groups: dict[str, list] = {}
    changed: dict[str, int] = {}
    for kind, pictures in (("right", seen.right[:OCCLUDED_ANSWERS]), ("wrong", seen.wrong[:OCCLUDED_ANSWERS])):
        changed[kind] = 0
        group = groups[f"{kind} answers"] = []
        for i in pictures.tolist():
            truth, answer = seen.labels[i].item(), seen.answers[i].item()
            rubbed = attribution.occlusion(subject.model, subject.test.images[i])
            changed[kind] += ((rubbed.argmax(2) == truth) != (answer == truth)).any().item()
            added = (attribution.log_odds(seen.outputs[i]) - attribution.log_odds(rubbed)).numpy()
            speaks = {f"for {subject.names[c]}": added[..., c] for c in (answer, truth)}
            group.append((subject.gray(i), subject.answer(i), speaks))
        del group[OCCLUSIONS_SHOWN:]
    side = attribution.OCCLUSION_SIZE_PX
    finding = (
        f"Occluding one {side}×{side} square at the right place corrects {changed['wrong']} of the worst "
        f"{len(seen.wrong[:OCCLUDED_ANSWERS])} wrong answers, and spoils {changed['right']} of the first "
        f"{len(seen.right[:OCCLUDED_ANSWERS])} right ones."
    )
    title = f"{subject.network}: ink that speaks for a class (red) and against it (blue)\n{subject.asked}"
    add(figures.occlusions(groups, title), finding)
    return {"mended": changed["wrong"], "spoiled": changed["right"]}


@analysis(
    "plane",
    "Where it decides",
    "Each dot is a test picture as the last layer sees it, laid flat along the two directions of greatest spread "
    "(PCA). Near dots look alike to the network, though two directions cannot show all that keeps classes "
    "apart. The worst mistakes are ringed, with what was answered and what it is.",
)
def decision_plane(subject: Subject, add: AddFigure) -> dict:
    """The last hidden layer in two dimensions, with the mistakes that left the truth the least probability."""
    seen = subject.seen
    points, share = attribution.pca_plane(seen.hidden)
    worst = seen.wrong[:MISTAKES_MARKED].tolist()
    size = seen.hidden.shape[1]
    finding = f"Two directions of {size} hold {100 * share:.1f} % of the variance; "
    finding += f"marked are the {len(worst)} worst of {len(seen.wrong)} mistakes."
    title = f"{subject.network}: its {size}-dimensional layer in two dimensions, {subject.asked}"
    marked = [(points[i], subject.gray(i), subject.answer(i)) for i in worst]
    add(figures.decision_plane(points, seen.labels.numpy(), subject.names, marked, title), finding)
    return {"variance_in_two_dimensions": share}
