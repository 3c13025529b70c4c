"""Store trained networks as the pretrained weights of the project, and measure each as it is stored.

    DATA_DIR=... python -m benchmarks.pretrained TRAINED HANDWRITING

TRAINED contains the output folders of the six trainings in NETWORKS; the commands are on the model cards.
HANDWRITING contains the folders of people's handwriting in HANDWRITTEN, in folders named after the classes.
Weights are stored in half precision, which is exact enough and half the size. Writes pipeline/pretrained/*.pt,
their SHA-256 in pipeline/pretrained/SHA256SUMS, benchmarks/results/pretrained.json and docs/model_cards/*.md.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from torch import nn

import models
from benchmarks import results
from pipeline import checkpoints, cli
from pipeline.datasets import datasets, letters
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.evaluation import handwriting
from pipeline.evaluation.metrics import predict

# file -> the training's output folder, its command, what it is for
NETWORKS = {
    "digits.pt": ("digits", "train_mnist.py", "Handwritten digits"),
    "greek_transfer_three.pt": ("transfer_three", "transfer_greek.py", "Alpha, beta and gamma, by transfer"),
    "greek_transfer_all.pt": ("transfer_all", "transfer_greek.py --letters all", "24 Greek letters, by transfer"),
    "greek_scratch_three.pt": ("scratch_three", "greek_from_scratch.py", "Alpha, beta and gamma, from scratch"),
    "greek_scratch_all.pt": ("scratch_all", "greek_from_scratch.py --letters all", "24 Greek letters, from scratch"),
    "fashion.pt": ("fashion", "fashion_grid_search.py --champion", "Fashion-MNIST"),
}
DATA = {
    "digits.pt": "50,000 of MNIST's training images (CC BY-SA 3.0); drawn digits and outliers",
    "fashion.pt": "50,000 of Fashion-MNIST's training images (MIT license)",
}
LETTER_DATA = "synthetic letters of this project"
LIMITS = "characters must be upright, to about 10 degrees; a confidence up to 80 % means that the answer is unclear"
FASHION_LIMITS = "images in the format of Fashion-MNIST: 28x28, light on black"
LETTERS = {"greek": "15 letters each of alpha, beta and gamma by people"}
HANDWRITTEN = {  # file -> {folder: what it contains}
    "digits.pt": {
        "digits": "photographs and scans of digits, 8 writers",
        "more/digit-photo": "photographs of digits on paper, 9 writers",
        "more/digit-screen": "digits drawn with mouse, finger or pen, 14 writers",
        "more/digit-scan": "scanned digits, 11 writers",
    },
    **{f"greek_{how}_{which}.pt": LETTERS for how in ("transfer", "scratch") for which in ("three", "all")},
}
ROOT = Path(__file__).parent.parent
CARDS = ROOT / "docs" / "model_cards"
WEAR = 0.8  # of the synthetic test letters, as in the training recipes


def measure(file: str, handwritten: Path) -> list[dict]:
    """The figures of a stored network on each test set: the number of images, of correct and of classified ones."""
    model = checkpoints.load(checkpoints.PRETRAINED / file, None, "benchmarks.pretrained")
    if file in ("digits.pt", "fashion.pt"):
        data = datasets.mnist(cli.DATA_DIR, "mnist") if file == "digits.pt" else datasets.fashion_mnist(cli.DATA_DIR)
        outputs, test, name = predict(model, data.test.images), data.test, f"{data.name}, test images"
    else:
        test, name = letters.synthetic_test(letters.Source(model.class_names), 0, WEAR), "synthetic letters, degraded"
        outputs = handwriting.predict_views(model, test.images)
    confidence, predicted = outputs.exp().max(1)
    rows = [_row(name, (predicted == test.labels).numpy(), (confidence > handwriting.MIN_CONFIDENCE).numpy())]
    rows += [
        _row(name, *_handwriting(model, handwritten / folder)) for folder, name in HANDWRITTEN.get(file, {}).items()
    ]
    if file != "fashion.pt":
        rows.append(measure_drawn(model))
    return [{"file": file, "parameters": models.parameter_count(model), **row} for row in rows]


def measure_drawn(model: nn.Module) -> dict:
    """The figures on the drawn characters in handwritten/, which every clone has: a test measures them again."""
    folder = "digits" if tuple(model.class_names) == models.DIGITS else "greek"
    return _row(
        f"drawn characters of handwritten/{folder}", *_handwriting(model, ROOT / "handwritten" / folder, "drawn_")
    )


def _handwriting(model: nn.Module, folder: Path, prefix: str = "") -> tuple[Any, Any]:
    """Whether each character of the network's classes is correct, and whether it is classified."""
    samples, _ = read_folder(folder, model.class_names)
    known = [s for s in samples if s.label in model.class_names and s.file.name.startswith(prefix)]
    _, table, _ = handwriting.classify_samples(model, known)
    return table.prediction == table.label, table.answer != handwriting.UNCLEAR


def _row(name: str, correct: Any, classified: Any) -> dict:
    count = len(correct)
    low, high = results.interval(int(correct.sum()), count)
    row = {"set": name, "images": count, "correct": int(correct.sum()), "percent": 100 * float(correct.mean())}
    row |= {"low": low, "high": high, "classified": int(classified.sum())}
    return results.print_row(row | {"classified and correct": int((correct & classified).sum())})


def card(file: str) -> str:
    """The model card of a stored network, in Markdown, from benchmarks/results/pretrained.json."""
    _, command, title = NETWORKS[file]
    content = json.loads((results.FOLDER / "pretrained.json").read_text())
    rows = [row for row in content["runs"] if row["file"] == file]
    letter_data = LETTER_DATA + ("; the frozen convolutions of digits.pt" if "transfer" in file else "")
    data = DATA.get(file, letter_data)
    lines = [f"# {title}", "", f"`pipeline/pretrained/{file}`", ""]
    lines += [f"- **Training data**: {data}."]
    lines += [f"- **Command**: `python {command} --seed 0`, with torch {content['torch']}; stored in half precision."]
    lines += [f"- **Limits**: {FASHION_LIMITS if file == 'fashion.pt' else LIMITS}."]
    lines += [f"- **Parameters**: {rows[0]['parameters']:,}. **License**: MIT."]
    lines += [f"- **SHA-256**: `{checkpoints.published_sums()[file]}`", ""]
    lines += [
        "| test set | images | correct, % (95 % interval) | classified | of these correct |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['set']} | {row['images']:,} | {row['percent']:.2f} ({row['low']:.2f} to {row['high']:.2f}) "
        f"| {row['classified']:,} | {row['classified and correct']:,} |"
        for row in rows
    ]
    return "\n".join([*lines, "", "Measured by `python -m benchmarks.pretrained`.", ""])


if __name__ == "__main__":
    trained, handwritten = map(Path, sys.argv[1:])
    checkpoints.PRETRAINED.mkdir(exist_ok=True)
    sums = []
    for file, (folder, *_) in NETWORKS.items():
        path = checkpoints.PRETRAINED / file
        checkpoints.save(checkpoints.load(trained / folder / "model.pt", None, folder).half(), path)
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {file}\n")
    (checkpoints.PRETRAINED / "SHA256SUMS").write_text("".join(sums))
    results.write("pretrained", {}, [row for file in NETWORKS for row in measure(file, handwritten)])
    CARDS.mkdir(exist_ok=True)
    for file in NETWORKS:
        (CARDS / f"{Path(file).stem}.md").write_text(card(file), encoding="utf-8")
