"""What is asked of a trained network. Each question adds a figure and a finding to the report.

Those that find numbers worth comparing return them, for metrics.json.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline import files
from pipeline.datasets.datasets import Split
from pipeline.interpretability import activations, attribution, figures, filter_bank
from pipeline.interpretability.html_report import Report

DRAWS = 1000  # networks with filters made by chance
PATCHES = 6  # for each channel
RUBBED = 50  # right answers, and wrong ones at most, that the rubber is tried on
SHOWN = 6  # of each kind of these
MARKED = 10  # mistakes beside the plane
CHEAP = 0.1  # percentage points of accuracy that are little to lose


@dataclass
class Subject:
    """A network under examination, and what it made of the test pictures."""

    model: nn.Module
    picture: torch.Tensor  # (1, 1, 28, 28) normalised, which goes the way through
    caption: str  # what that is a picture of
    test: Split
    dataset: str

    def __post_init__(self):
        self.network, self.names = type(self.model).__name__, self.model.class_names
        self.asked = f"{len(self.test):,} test pictures of {self.dataset}"
        self.stages = activations.Stages(self.model)
        self.first = self.stages.convolutions[0]
        self.weight = self.model.get_submodule(self.first).weight.detach()
        self.filters = self.weight[:, 0].cpu().numpy()  # (N, size, size): a picture has one channel
        self.seen = activations.survey(self.stages, self.test)

    def grey(self, i: int) -> np.ndarray:
        """A test picture, (28, 28)."""
        return self.test.images[i, 0].cpu().numpy()

    def answer(self, i: int) -> str:
        """The answer to a test picture; a wrong one ends in '!', which figures show in red."""
        answer, truth = self.names[self.seen.answers[i]], self.names[self.seen.labels[i]]
        between = ", is " if len(answer + truth) < 12 else ",\nis "
        return answer if answer == truth else f"{answer}{between}{truth}!"


def which_filters(subject: Subject, report: Report) -> None:
    """The weights of the first convolution."""
    filters, layer = subject.filters, subject.first
    numbers = [
        f"filter {i}\n" + "\n".join(" ".join(f"{weight:6.3f}" for weight in row) for row in values)
        for i, values in enumerate(filters)
    ]
    finding = f"{layer}.weight has the shape {tuple(subject.weight.shape)}; "
    finding += f"its values go from {filters.min():.3f} to {filters.max():.3f}."
    figure = figures.filters(filters, f"{subject.network}: the {len(filters)} filters of {layer}")
    report.add("filters", figure, finding, "\n".join(numbers))


def what_do_they_make(subject: Subject, report: Report) -> None:
    """The picture through each filter by OpenCV, whose filtering and a network's convolution are the same sum."""
    picture, filters = subject.picture[0, 0].cpu().numpy(), subject.filters
    results = filter_bank.filtered(picture, filters)
    own = nn.functional.conv2d(subject.picture, subject.weight)[0].cpu().numpy()
    rim = filters.shape[1] // 2  # pixels, where cv2.filter2D mirrors the picture and the convolution has no values
    gap = np.abs(results[:, rim:-rim, rim:-rim] - own).max()
    finding = f"Away from the rim cv2.filter2D and {subject.first} without its bias differ by {gap:.0e} at most."
    title = f"{subject.network}: {subject.caption}, filtered by cv2.filter2D"
    report.add("filtered", figures.filtered(picture, filters, results, title), finding)


def are_they_standard(subject: Subject, report: Report, seed: int) -> dict:
    """The filters against every standard one; and filters made by chance, so that the number means something."""
    filters, random = subject.filters, np.random.default_rng(seed)
    count, size, _ = filters.shape
    bank = filter_bank.standard(size)
    found, correlations = filter_bank.best(filters, bank)
    table = filter_bank.by_family(filters, bank).assign(
        best=[str(kernel) for kernel in found], correlation=correlations
    )
    files.write_csv(report.folder / "filters.csv", table)
    own = np.abs(correlations)
    finding = f"The {count} filters match at {own.mean():.2f} on average, from {own.min():.2f} to {own.max():.2f}."
    metrics, chance = {"match": own.mean()}, {}
    for key, name, made in (
        ("untrained", "untrained filters", filter_bank.untrained(DRAWS * count, size, random)),
        ("smooth", "filters as smooth, but of no pattern", filter_bank.as_smooth(filters, DRAWS, random)),
    ):
        chance[name] = np.abs(filter_bank.best(made, bank)[1])
        means, high = chance[name].reshape(DRAWS, count).mean(1), np.quantile(chance[name], 0.95)
        above = (own > high).sum().item()
        finding += (
            f"\nBy chance, {DRAWS:,} sets of {count} {name}: {means.mean():.2f} ± {means.std():.2f}, the best set "
            f"{means.max():.2f}. 95 % of these filters lie below {high:.2f}, and {count - above} of the learned ones."
        )
        metrics |= {f"match_{key}": means.mean(), f"match_{key}_deviation": means.std(), f"above_{key}": above}
    title = f"{subject.network}: the filters of {subject.first}, and the standard filter each resembles most"
    report.add(
        "matches", figures.matches(filters, found, correlations, chance, title), finding, table.round(2).to_string()
    )
    return metrics


def which_way(subject: Subject, report: Report) -> dict:
    """One picture's values at every stage, up to the answer."""
    values = {stage: value[0].cpu().numpy() for stage, value in subject.stages.values(subject.picture).items()}
    probabilities = np.exp(values.pop(subject.stages.end))
    steps = subject.stages.steps  # of a linear layer only what comes after it is shown
    shown = {stage: value for stage, value in values.items() if value.ndim == 3 or stage in steps}
    shown = {f"{stage}:\n{steps[stage]}" if steps.get(stage) else stage: value for stage, value in shown.items()}
    title = f"{subject.network}, stage by stage: {subject.caption}"
    figure = figures.way(subject.picture[0, 0].cpu().numpy(), shown, probabilities, subject.names, title)
    likely = probabilities.argsort()[::-1][:3]
    finding = f"The answer to {subject.caption}: "
    finding += ", ".join(f"{subject.names[i]} with {100 * probabilities[i]:.2f} %" for i in likely) + "."
    report.add("way", figure, finding)
    return {"image": subject.caption, "answer": subject.names[likely[0]], "confidence": probabilities.max().item()}


def what_excites(subject: Subject, report: Report) -> None:
    """Of each channel of each convolution, the patches of test pictures on which it is greatest."""
    for layer in subject.stages.convolutions:
        peaks, pictures = subject.seen.peaks[layer].topk(PATCHES, dim=0)  # (PATCHES, channels)
        field = activations.receptive_field(subject.model, layer)
        patches = []
        for channel, chosen in enumerate(pictures.T):
            places = subject.seen.places[layer][chosen, channel]
            patches.append(activations.patches(subject.test.images[chosen], places, field))
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
        report.add("patches", figure, finding, "\n".join(lines), of=layer)


def which_channels_matter(subject: Subject, report: Report) -> dict:
    """The accuracy that is left when one channel is held at zero."""
    full = subject.seen.accuracy
    left = {
        layer: attribution.switched_off(subject.stages, layer, subject.test) for layer in subject.stages.convolutions
    }
    table = pd.DataFrame(
        [(layer, channel, value) for layer, values in left.items() for channel, value in enumerate(values)],
        columns=["layer", "channel", "accuracy"],
    )
    table["lost"] = full - table.accuracy
    files.write_csv(report.folder / "channels.csv", table)
    most, cheap = table.loc[table.lost.idxmax()], (table.lost < CHEAP).sum().item()
    finding = (
        f"With all channels {full:.2f} %, without channel {most.channel} of {most.layer} {most.accuracy:.2f} %; "
        f"{cheap} of {len(table)} channels can go, one at a time, for less than {CHEAP} points."
    )
    figure = figures.switched_off(
        {layer: full - values for layer, values in left.items()},
        f"{subject.network}: accuracy lost with each channel, {subject.asked}",
    )
    report.add("switched_off", figure, finding, table.round(2).to_string(index=False))
    return {"least_accuracy_without_a_channel": most.accuracy, "cheap_channels": cheap}


def which_ink_speaks(subject: Subject, report: Report) -> dict:
    """What a rubber changes, for right answers and for wrong ones."""
    seen, groups, changed = subject.seen, {}, {}
    for kind, pictures in (("right", seen.right[:RUBBED]), ("wrong", seen.wrong[:RUBBED])):
        changed[kind] = 0
        group = groups[f"{kind} answers"] = []
        for i in pictures.tolist():
            truth, answer = seen.labels[i].item(), seen.answers[i].item()
            rubbed = attribution.occlusion(subject.model, subject.test.images[i])
            changed[kind] += ((rubbed.argmax(2) == truth) != (answer == truth)).any().item()
            added = (attribution.log_odds(seen.outputs[i]) - attribution.log_odds(rubbed)).numpy()
            speaks = {f"for {subject.names[c]}": added[..., c] for c in (answer, truth)}
            group.append((subject.grey(i), subject.answer(i), speaks))
        del group[SHOWN:]
    finding = (
        f"Rubbing out one {attribution.RUBBER}×{attribution.RUBBER} square at the right place mends {changed['wrong']} "
        f"of the worst {len(seen.wrong[:RUBBED])} wrong answers, and spoils {changed['right']} of the first "
        f"{len(seen.right[:RUBBED])} right ones."
    )
    title = f"{subject.network}: ink that speaks for a class (red) and against it (blue)\n{subject.asked}"
    report.add("occlusion", figures.occlusions(groups, title), finding)
    return {"mended": changed["wrong"], "spoiled": changed["right"]}


def where_does_it_decide(subject: Subject, report: Report) -> dict:
    """The last hidden layer in two dimensions, with the mistakes that left the truth the least probability."""
    seen = subject.seen
    points, share = attribution.plane(seen.hidden)
    worst = seen.wrong[:MARKED].tolist()
    size = seen.hidden.shape[1]
    finding = f"Two directions of {size} hold {100 * share:.1f} % of the variance; "
    finding += f"marked are the {len(worst)} worst of {len(seen.wrong)} mistakes."
    title = f"{subject.network}: its {size}-dimensional layer in two dimensions, {subject.asked}"
    marked = [(points[i], subject.grey(i), subject.answer(i)) for i in worst]
    report.add("plane", figures.plane(points, seen.labels.numpy(), subject.names, marked, title), finding)
    return {"variance_in_two_dimensions": share}
