"""Measure how often the digit network classifies images that show no digit.

    DATA_DIR=... python -m benchmarks.decline outputs/benchmarks/best/*/model.pt

No kind or source of these images was used in training. Writes benchmarks/results/decline.json: for each set of weights
and each kind, the percentage classified, which means with a confidence above 80 %, and the percentage above the
confidence that 95 % of the validation digits exceed (FPR at 95 % recall). Letters are printed in matplotlib's own
fonts, rotated, sheared and warped; letters with the shape of a digit are left out.
"""

import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torchvision.datasets.mnist import read_image_file

import models
from benchmarks import results
from pipeline import checkpoints, cli
from pipeline.datasets import datasets
from pipeline.evaluation import handwriting, metrics
from pipeline.preprocessing.photo import photo_to_mnist

COUNT = 1000  # images of each kind
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
LATIN = "ACDEFGHJKLMNPQRTUVWXYadehkmnprtuvwx"
LATIN_FONTS = ["DejaVuSans", "DejaVuSerif-Italic", "DejaVuSansMono", "cmr10", "cmmi10", "cmtt10"]
# Hebrew, Armenian, Cyrillic, Georgian, Tifinagh, Canadian syllabics, Arabic, runes: those in DejaVu Sans
SCRIPTS = [(0x5D0, 0x5EB), (0x561, 0x587), (0x430, 0x450), (0x10D0, 0x10F1), (0x2D30, 0x2D68), (0x1401, 0x1440),
           (0x628, 0x64A), (0x16A0, 0x16EA)]  # fmt: skip
DIGIT_LOOKALIKES = "обОзЗгСієЧчօοסןוגջ"


def printed_letters(characters: list[str], fonts: list[str], rng: np.random.Generator) -> np.ndarray:
    """Draw warped letters, preprocessed as photos: (COUNT, 28, 28) uint8."""
    images = []
    while len(images) < COUNT:
        font = ImageFont.truetype(str(FONTS / f"{rng.choice(fonts)}.ttf"), 100)
        page = Image.new("L", (220, 220), 255)
        ImageDraw.Draw(page).text((60, 40), str(rng.choice(characters)), font=font, fill=0)
        affine = cv2.getRotationMatrix2D((110, 110), rng.normal(0, 5), 1)
        affine[0, 1] += rng.normal(0, 0.12)
        y, x = np.mgrid[:220, :220].astype(np.float32)
        displacements = [cv2.GaussianBlur(rng.normal(0, 1, x.shape).astype(np.float32), (0, 0), 22) for _ in range(2)]
        letter = cv2.warpAffine(np.array(page), affine, (220, 220), borderValue=255)
        coordinates = [
            grid + 5 * displacement / displacement.std()
            for grid, displacement in zip((x, y), displacements, strict=True)
        ]
        images.append(photo_to_mnist(cv2.remap(letter, *coordinates, cv2.INTER_LINEAR, borderValue=255)))
    return np.stack(images)


def images_of_no_digit() -> dict[str, np.ndarray]:
    """Return name -> (N, 28, 28) uint8, the network's input."""
    rng = np.random.default_rng(99)
    fashion = read_image_file(str(cli.DATA_DIR / "FashionMNIST/raw/t10k-images-idx3-ubyte"))[:COUNT].numpy()
    with Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as image:
        portrait = np.array(image.convert("L"))
    crops = []
    for _ in range(COUNT):
        side = int(rng.integers(28, 200))
        y, x = rng.integers(0, np.array(portrait.shape) - side)
        crops.append(cv2.resize(portrait[y : y + side, x : x + side], (64, 64), interpolation=cv2.INTER_AREA))
    available = FT2Font(str(FONTS / "DejaVuSans.ttf")).get_charmap()
    scripts = [chr(code) for low, high in SCRIPTS for code in range(low, high) if code in available]
    scripts = [character for character in scripts if character not in DIGIT_LOOKALIKES]
    noise = [rng.normal(rng.uniform(60, 230), rng.uniform(0, 30), (120, 120, 3)) for _ in range(COUNT // 2)]
    return {
        "Fashion-MNIST": fashion,
        "Fashion-MNIST, photographed": np.stack([photo_to_mnist(image) for image in fashion]),
        "blank paper and noise, photographed": np.stack(
            [photo_to_mnist(np.clip(image, 0, 255).astype(np.uint8)) for image in noise]
        ),
        "Gaussian noise": np.clip(rng.normal(33, 79, (COUNT, 28, 28)), 0, 255).astype(np.uint8),
        "Latin letters": printed_letters(list(LATIN), LATIN_FONTS, rng),
        "letters of eight other scripts": printed_letters(scripts, ["DejaVuSans"], rng),
        "pieces of a portrait": np.stack([cv2.resize(crop, (28, 28), interpolation=cv2.INTER_AREA) for crop in crops]),
        "pieces of a portrait, photographed": np.stack([photo_to_mnist(crop) for crop in crops]),
    }


def main(*weights: str) -> None:
    torch.set_num_threads(1)
    data = datasets.mnist(cli.DATA_DIR, "mnist")
    images = images_of_no_digit()
    rows = []
    for path in weights:
        model = checkpoints.load(Path(path), models.MnistNet, "train_mnist.py")
        threshold = metrics.predict(model, data.valid.images).exp().amax(1).quantile(0.05).item()
        confidence, predictions = metrics.predict(model, data.test.images).exp().max(1)
        confident = confidence > handwriting.MIN_CONFIDENCE
        correct = (predictions == data.test.labels)[confident].float().mean().item()
        row = {
            "weights": path,
            "digits_classified": 100 * confident.float().mean().item(),
            "correct_when_classified": 100 * correct,
        }
        for kind, kind_images in images.items():
            confidence = metrics.predict(model, datasets.normalize(kind_images)).exp().amax(1)
            row[f"{kind}: classified"] = 100 * (confidence > handwriting.MIN_CONFIDENCE).float().mean().item()
            row[f"{kind}: at 95 % recall"] = 100 * (confidence > threshold).float().mean().item()
        for rule in ("classified", "at 95 % recall"):
            row[f"mean: {rule}"] = sum(row[f"{kind}: {rule}"] for kind in images) / len(images)
        rows.append(results.print_row(row))
    results.write("decline", {name: sum(row[name] for row in rows) / len(rows) for name in list(rows[0])[1:]}, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
