"""Measure the accuracy on real handwriting: kinds of images, writers and weights, as many as given.

    python -m benchmarks.handwriting FOLDER outputs/benchmarks/best/*/model.pt

FOLDER contains, at any depth, kinds of images: a kind is a folder with a folder per class, whose files are named
<writer>_<n>. For each kind with the classes of the weights it measures, in percent and as the mean over all weights
with the same classes: `correct` (the most probable class is the label), `classified` (confidence above 80 %) and
`correct when classified`, with the 95 % Clopper-Pearson interval of the nearest whole number. For comparison, with the
same weights: `plain`, twenty lines of usual image processing, and `tutorial`, gray and resized; and RapidOCR, if it is
installed, without its detector, with look-alike letters counted as digits. For a kind whose name begins with nondigit
it measures `classified` only. A transcripts.csv (file, transcript) makes the images beside it pages, each of which is
correct if every digit is; `/` separates rows, and other characters should be unclear.

Writes benchmarks/results/handwriting.json and outputs/benchmarks/handwriting/worst_<network>.png: the thirty images
whose label has the lowest probability. Prints the table of the documentation.
"""

import csv
import fnmatch
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

import models
from benchmarks import results
from benchmarks.photos import answers, tutorial_way
from pipeline import checkpoints, plots
from pipeline.datasets import datasets
from pipeline.datasets.handwriting_folder import Sample
from pipeline.evaluation import handwriting, handwriting_figure
from pipeline.preprocessing.image_files import list_images, read_image
from pipeline.preprocessing.mnist_format import center_ink, components, resize, square
from pipeline.preprocessing.photo import Photo, as_uint8

OUTPUT = Path("outputs/benchmarks/handwriting")
WORST = 30
PHOTO_SIDE = 160  # pixels, to show
LOOKALIKES = Path(__file__).parent / "digit_lookalikes.txt"
LETTERS_AS_DIGITS = str.maketrans("OoQDIl|iZzSsBGbqg", "00001111225586699")


def plain_way(photo: np.ndarray) -> np.ndarray:
    """Usual image processing: closing, difference, Otsu's threshold, large parts, a stroke that can be seen."""
    gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY) if photo.ndim == 3 else photo
    scale = 400 / max(gray.shape)
    gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])) < 128:
        gray = 255 - gray
    difference = cv2.subtract(cv2.morphologyEx(gray, cv2.MORPH_CLOSE, square(81)), gray)
    _, mask = cv2.threshold(difference, 0, 1, cv2.THRESH_OTSU)
    count, names, boxes, _ = components(mask)
    if count < 2:
        return np.zeros((28, 28), np.uint8)
    is_large = boxes[:, cv2.CC_STAT_AREA] >= 0.08 * boxes[1:, cv2.CC_STAT_AREA].max()
    is_large[0] = False
    mask = is_large[names].astype(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    pixel = max(width, height) / 20
    mask = np.pad(mask[y : y + height, x : x + width], int(2 * pixel) + 1)
    stroke = 4 * cv2.distanceTransform(mask, cv2.DIST_L2, 5)[mask > 0].mean() / pixel
    if stroke < 1.9:
        mask = (cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) <= (1.9 - stroke) / 2 * pixel).astype(np.uint8)
    return center_ink(255 * mask)


WAYS = {  # the readings of a photo, of which a network chooses one
    "ours": lambda pixels: Photo(pixels).readings(),
    "plain": lambda pixels: [plain_way(pixels)],
    "tutorial": lambda pixels: [tutorial_way(pixels)],
}


@dataclass
class Kind:
    """Pictures of one kind, as the networks see them."""

    name: str
    files: list[Path] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))  # way -> of each file
    rapidocr: list[str] = field(default_factory=list)

    @property
    def labels(self) -> np.ndarray:
        return np.array([file.parent.name for file in self.files])

    @property
    def writers(self) -> np.ndarray:
        return np.array([file.stem.split("_")[0] for file in self.files])


def rapidocr():
    """A function from a photo to RapidOCR's text, or None where it is not installed."""
    try:
        from rapidocr import RapidOCR
    except ImportError:
        return None
    engine = RapidOCR()

    def read(photo: np.ndarray) -> str:
        photo = photo if photo.ndim == 3 else cv2.cvtColor(photo, cv2.COLOR_GRAY2BGR)
        texts = engine(photo, use_det=False, use_cls=False, use_rec=True).txts
        return (texts[0] if texts else "").translate(LETTERS_AS_DIGITS)

    return read


def transcripts(folder: Path) -> dict[Path, str]:
    """The sheets of a folder and its folders, and what is written on them."""
    sheets = {}
    for table in sorted(folder.rglob("transcripts.csv")):
        with open(table, newline="", encoding="utf-8") as file:
            sheets |= {table.parent / row["file"]: row["transcript"] for row in csv.DictReader(file)}
    return sheets


def read_kinds(folder: Path, sheets: dict[Path, str], other) -> list[Kind]:
    """Every picture whose folder names what it shows, read in every way; a kind is the folder above that."""
    found: dict[Path, Kind] = {}
    for file in list_images(folder):
        if file in sheets:
            continue
        kind = found.setdefault(file.parent.parent, Kind(file.parent.parent.name))
        photo = as_uint8(read_image(file))
        kind.files.append(file)
        shown = resize(photo, min(1, PHOTO_SIDE / max(photo.shape[:2])))
        for way, function in WAYS.items():
            picture, *others = function(photo)
            kind.samples[way].append(Sample(file, file.parent.name, None, shown, picture, others))
        if other:
            kind.rapidocr.append(other(photo))
    return list(found.values())


def is_lookalike(kind: Kind) -> np.ndarray:
    """(N,) bool: which pictures of something else are a digit in somebody's hand."""
    lines = LOOKALIKES.read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    paths = [f"{kind.name}/{file.parent.name}/{file.name}" for file in kind.files]
    return np.array([any(fnmatch.fnmatch(path, pattern) for pattern in patterns) for path in paths])


def shares(counts: dict[str, list[int]], of: int) -> dict:
    """Mean percentages over the weights, each of the same pictures, with the interval of the nearest whole number."""
    correct, classified, both = (np.array(counts[name]) for name in ("correct", "classified", "both"))
    row = {"n": of, "correct": 100 * correct.mean() / of, "classified": 100 * classified.mean() / of}
    row["correct when classified"] = 100 * both.sum() / max(1, classified.sum())
    row["interval"] = results.interval(round(correct.mean()), of)
    row["interval when classified"] = results.interval(round(both.mean()), max(1, round(classified.mean())))
    return row


def of_known(kind: Kind, networks: list, where: np.ndarray) -> tuple[dict, np.ndarray]:
    """The figures of pictures that show a class, at the places `where`; and the mean probability of the truth."""
    labels, writers = kind.labels[where], kind.writers[where]
    names = networks[0].class_names
    truth = torch.tensor([names.index(label) for label in labels])
    row, mean_probability = {}, 0
    for way in WAYS:
        samples = [kind.samples[way][i] for i in where]
        counts, by_writer = defaultdict(list), 0
        for network in networks:
            images = [sample.picture for sample in handwriting.choose_readings(network, samples)]
            table = handwriting.classify(network, images)
            correct = ((table.prediction == labels) & (table.confidence > 0)).to_numpy()
            classified = (table.answer != handwriting.UNCLEAR).to_numpy()
            for name, values in (("correct", correct), ("classified", classified), ("both", correct & classified)):
                counts[name].append(int(values.sum()))
            by_writer = by_writer + correct / len(networks)
            if way == "ours":
                probabilities = handwriting.predict_views(network, datasets.normalize(np.stack(images))).exp()
                mean_probability = mean_probability + probabilities[torch.arange(len(truth)), truth] / len(networks)
        if way == "ours":
            row = shares(counts, len(where))
            row["by writer"] = {
                writer: [int((writers == writer).sum()), 100 * by_writer[writers == writer].mean()]
                for writer in sorted(set(writers))
            }
        else:
            row[f"{way}: correct"] = 100 * np.mean(counts["correct"]) / len(where)
    if kind.rapidocr and set(names) == set(models.DIGITS):
        row["RapidOCR: correct"] = 100 * np.mean([kind.rapidocr[i] == kind.labels[i] for i in where])
    return row, mean_probability


def of_sheet(photo: np.ndarray, transcript: str, networks: list) -> dict:
    """How many of the networks read it to the last digit; what the first of them says."""
    characters = Photo(photo).characters()
    wanted = transcript.replace("/", "") if transcript.replace("/", "").isdigit() else transcript
    exact, first = 0, ""
    for network in networks:
        table = handwriting.classify(network, [character.image for character in characters]) if characters else None
        likeliest = "" if table is None else "".join(table.prediction)
        classified = "" if table is None else "".join(table.answer.replace(handwriting.UNCLEAR, "?"))
        exact += (likeliest if wanted.isdigit() else classified.replace("?", "")) == "".join(
            filter(str.isdigit, wanted)
        )
        first = first or classified
    return {"transcript": transcript, "read": first, "exact": exact / len(networks)}


def main(folder: Path, weights: list[Path]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sheets = transcripts(folder)
    all_kinds = read_kinds(folder, sheets, rapidocr())
    groups = defaultdict(list)
    for path in weights:
        network = checkpoints.load(path, None, "train_mnist.py")
        groups[f"{type(network).__name__} {len(network.class_names)} {path.parent.parent.name}"].append(network)
    rows, summary = [], {}
    for group, networks in groups.items():
        worst = []
        for kind in all_kinds:
            if kind.name.endswith("_train"):
                continue
            # capitals have the names of small letters
            is_other = kind.name.startswith("nondigit")
            where = np.flatnonzero(np.isin(kind.labels, networks[0].class_names) & (not is_other))
            row = {"network": group, "weights": len(networks), "kind": kind.name}
            if len(where):
                figures, probability = of_known(kind, networks, where)
                row |= figures
                worst += [(float(p), kind, int(i)) for p, i in zip(probability, where, strict=True)]
            elif is_other and set(networks[0].class_names) == set(models.DIGITS):
                alike = is_lookalike(kind)
                tables = [answers(network, kind.samples["ours"]) for network in networks]
                classified = [(table.answer != handwriting.UNCLEAR).to_numpy() for table in tables]
                row |= {"n": int((~alike).sum()), "classified": 100 * np.mean([a[~alike].mean() for a in classified])}
                row |= {"lookalikes": int(alike.sum())}
                if alike.any():
                    row["lookalikes classified"] = 100 * np.mean([a[alike].mean() for a in classified])
            else:
                continue
            rows.append(row)
            results.say({name: value for name, value in row.items() if name != "by writer"})
            summary[f"{group}: {kind.name}"] = {name: row[name] for name in ("correct", "classified") if name in row}
        if set(networks[0].class_names) == set(models.DIGITS):
            for sheet, transcript in sheets.items():
                row = {"network": group, "kind": sheet.parent.name, "file": sheet.name}
                row |= of_sheet(as_uint8(read_image(sheet)), transcript, networks)
                rows.append(results.say(row))
        worst = sorted(worst, key=lambda item: item[0])[:WORST]
        samples = handwriting.choose_readings(networks[0], [kind.samples["ours"][i] for _, kind, i in worst])
        table = answers(networks[0], samples)
        table["label"] = [sample.label for sample in samples]
        title = f"The {WORST} that left the truth the least probability"
        name = f"worst_{group.replace(' ', '_')}.png"
        OUTPUT.mkdir(parents=True, exist_ok=True)
        plots.save(handwriting_figure.handwriting(samples, table, title), OUTPUT / name)
    results.write("handwriting", summary, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
