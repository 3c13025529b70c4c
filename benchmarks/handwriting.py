"""Measure the accuracy on real handwriting, for each kind of images and weights.

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
from benchmarks.photos import classify_samples, tutorial_preprocessing
from pipeline import checkpoints, plots
from pipeline.datasets import datasets
from pipeline.datasets.handwriting_folder import Sample
from pipeline.evaluation import handwriting, handwriting_figure
from pipeline.preprocessing.image_files import list_images, read_image
from pipeline.preprocessing.mnist_format import center_ink, components, square
from pipeline.preprocessing.photo import THUMBNAIL_PX, Photo, as_uint8, thumbnail

OUTPUT = Path("outputs/benchmarks/handwriting")
WORST = 30
LOOKALIKES = Path(__file__).parent / "digit_lookalikes.txt"
LETTERS_AS_DIGITS = str.maketrans("OoQDIl|iZzSsBGbqg", "00001111225586699")


def plain_preprocessing(photo: np.ndarray) -> np.ndarray:
    """Preprocess by closing, difference, Otsu, large components, stroke widening."""
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


PREPROCESSING = {  # photo -> alternative inputs, from which a network selects one
    "ours": lambda pixels: Photo(pixels).readings(),
    "plain": lambda pixels: [plain_preprocessing(pixels)],
    "tutorial": lambda pixels: [tutorial_preprocessing(pixels)],
}


@dataclass
class Kind:
    """Images of one kind and the networks' inputs made from them."""

    name: str
    files: list[Path] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))  # preprocessing -> one per file
    rapidocr: list[str] = field(default_factory=list)

    @property
    def labels(self) -> np.ndarray:
        return np.array([file.parent.name for file in self.files])

    @property
    def writers(self) -> np.ndarray:
        return np.array([file.stem.split("_")[0] for file in self.files])


def rapidocr():
    """Return a function from photo to RapidOCR's text; None if not installed."""
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


def read_transcripts(folder: Path) -> dict[Path, str]:
    """Return page -> transcript, for all pages at any depth of a folder."""
    pages = {}
    for table in sorted(folder.rglob("transcripts.csv")):
        with open(table, newline="", encoding="utf-8") as file:
            pages |= {table.parent / row["file"]: row["transcript"] for row in csv.DictReader(file)}
    return pages


def read_kinds(folder: Path, pages: dict[Path, str], ocr) -> list[Kind]:
    """Preprocess all images in class folders; the folder above names the kind."""
    kinds: dict[Path, Kind] = {}
    for file in list_images(folder):
        if file in pages:
            continue
        kind = kinds.setdefault(file.parent.parent, Kind(file.parent.parent.name))
        photo = as_uint8(read_image(file))
        kind.files.append(file)
        small = thumbnail(photo, THUMBNAIL_PX)
        for method, function in PREPROCESSING.items():
            image, *alternatives = function(photo)
            kind.samples[method].append(Sample(file, file.parent.name, None, small, image, alternatives))
        if ocr:
            kind.rapidocr.append(ocr(photo))
    return list(kinds.values())


def is_lookalike(kind: Kind) -> np.ndarray:
    """Return (N,) bool: which images of non-digits look like a handwritten digit."""
    lines = LOOKALIKES.read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    paths = [f"{kind.name}/{file.parent.name}/{file.name}" for file in kind.files]
    return np.array([any(fnmatch.fnmatch(path, pattern) for pattern in patterns) for path in paths])


def percentages(counts: dict[str, list[int]], total: int) -> dict:
    """Return mean percentages over weights; intervals of the nearest whole numbers."""
    correct, classified, both = (np.array(counts[name]) for name in ("correct", "classified", "both"))
    row = {"n": total, "correct": 100 * correct.mean() / total, "classified": 100 * classified.mean() / total}
    row["correct when classified"] = 100 * both.sum() / max(1, classified.sum())
    row["interval"] = results.interval(round(correct.mean()), total)
    row["interval when classified"] = results.interval(round(both.mean()), max(1, round(classified.mean())))
    return row


def measure_images(kind: Kind, networks: list, indices: np.ndarray) -> tuple[dict, np.ndarray]:
    """Measure the images at `indices`; also return each label's mean probability."""
    labels, writers = kind.labels[indices], kind.writers[indices]
    names = networks[0].class_names
    target = torch.tensor([names.index(label) for label in labels])
    row, mean_probability = {}, 0
    for method in PREPROCESSING:
        samples = [kind.samples[method][i] for i in indices]
        counts, by_writer = defaultdict(list), 0
        for network in networks:
            images = [sample.picture for sample in handwriting.choose_readings(network, samples)]
            table = handwriting.classify(network, images)
            correct = ((table.prediction == labels) & (table.confidence > 0)).to_numpy()
            classified = (table.answer != handwriting.UNCLEAR).to_numpy()
            for name, values in (("correct", correct), ("classified", classified), ("both", correct & classified)):
                counts[name].append(int(values.sum()))
            by_writer = by_writer + correct / len(networks)
            if method == "ours":
                probabilities = handwriting.predict_views(network, datasets.normalize(np.stack(images))).exp()
                mean_probability = mean_probability + probabilities[torch.arange(len(target)), target] / len(networks)
        if method == "ours":
            row = percentages(counts, len(indices))
            row["by writer"] = {
                writer: [int((writers == writer).sum()), 100 * by_writer[writers == writer].mean()]
                for writer in sorted(set(writers))
            }
        else:
            row[f"{method}: correct"] = 100 * np.mean(counts["correct"]) / len(indices)
    if kind.rapidocr and set(names) == set(models.DIGITS):
        row["RapidOCR: correct"] = 100 * np.mean([kind.rapidocr[i] == kind.labels[i] for i in indices])
    return row, mean_probability


def measure_page(photo: np.ndarray, transcript: str, networks: list) -> dict:
    """Return the share of networks with all digits correct, and the first one's text."""
    characters = Photo(photo).characters()
    expected = transcript.replace("/", "") if transcript.replace("/", "").isdigit() else transcript
    exact, first_text = 0, ""
    for network in networks:
        table = handwriting.classify(network, [character.image for character in characters]) if characters else None
        predicted = "" if table is None else "".join(table.prediction)
        classified = "" if table is None else "".join(table.answer.replace(handwriting.UNCLEAR, "?"))
        exact += (predicted if expected.isdigit() else classified.replace("?", "")) == "".join(
            filter(str.isdigit, expected)
        )
        first_text = first_text or classified
    return {"transcript": transcript, "read": first_text, "exact": exact / len(networks)}


def main(folder: Path, weights: list[Path]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pages = read_transcripts(folder)
    all_kinds = read_kinds(folder, pages, rapidocr())
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
            # folders of capital letters have the names of lower-case letters
            is_nondigit = kind.name.startswith("nondigit")
            indices = np.flatnonzero(np.isin(kind.labels, networks[0].class_names) & (not is_nondigit))
            row = {"network": group, "weights": len(networks), "kind": kind.name}
            if len(indices):
                figures, probability = measure_images(kind, networks, indices)
                row |= figures
                worst += [(float(p), kind, int(i)) for p, i in zip(probability, indices, strict=True)]
            elif is_nondigit and set(networks[0].class_names) == set(models.DIGITS):
                lookalike = is_lookalike(kind)
                tables = [classify_samples(network, kind.samples["ours"]) for network in networks]
                classified = [(table.answer != handwriting.UNCLEAR).to_numpy() for table in tables]
                row |= {
                    "n": int((~lookalike).sum()),
                    "classified": 100 * np.mean([a[~lookalike].mean() for a in classified]),
                }
                row |= {"lookalikes": int(lookalike.sum())}
                if lookalike.any():
                    row["lookalikes classified"] = 100 * np.mean([a[lookalike].mean() for a in classified])
            else:
                continue
            rows.append(row)
            results.print_row({name: value for name, value in row.items() if name != "by writer"})
            summary[f"{group}: {kind.name}"] = {name: row[name] for name in ("correct", "classified") if name in row}
        if set(networks[0].class_names) == set(models.DIGITS):
            for page, transcript in pages.items():
                row = {"network": group, "kind": page.parent.name, "file": page.name}
                row |= measure_page(as_uint8(read_image(page)), transcript, networks)
                rows.append(results.print_row(row))
        worst = sorted(worst, key=lambda item: item[0])[:WORST]
        samples = handwriting.choose_readings(networks[0], [kind.samples["ours"][i] for _, kind, i in worst])
        table = classify_samples(networks[0], samples)
        table["label"] = [sample.label for sample in samples]
        title = f"The {WORST} images whose label has the lowest probability"
        name = f"worst_{group.replace(' ', '_')}.png"
        OUTPUT.mkdir(parents=True, exist_ok=True)
        plots.save(handwriting_figure.handwriting(samples, table, title), OUTPUT / name)
    results.write("handwriting", summary, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
