"""The data sets as tensors in memory: downloaded where absent, verified, split into train, valid and test.

The last 10,000 training pictures are the validation split, which picks recipes and epochs; the test split only
reports. Tensors instead of a DataLoader: MNIST fits into 220 MB, and a batch is then one indexing operation.
"""

import hashlib
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision import datasets
from torchvision.datasets.mnist import read_image_file, read_label_file

from pipeline.datasets.synthetic import draw_characters, draw_digits
from pipeline.errors import Failure, first_line
from pipeline.preprocessing.mnist_format import MEAN, STD

VALIDATION_SIZE = 10_000  # examples
MNIST_FILES = {  # name -> MD5
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FASHION_FILES = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
MAX_FILE_BYTES = 2**26  # bytes; no file of either set has as many
DOWNLOAD_TIMEOUT_SECONDS = 15  # seconds without an answer


@dataclass
class Split:
    """Pictures and their labels."""

    images: torch.Tensor  # (N, 1, 28, 28) float32, normalized
    labels: torch.Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass
class Data:
    name: str  # what prints, titles and metrics.json call it
    train: Split
    valid: Split
    test: Split

    def to(self, device: torch.device) -> "Data":
        return Data(self.name, self.train.to(device), self.valid.to(device), self.test.to(device))


def normalize(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(N, 28, 28) uint8 -> (N, 1, 28, 28) float32 with MNIST's mean 0 and standard deviation 1."""
    return torch.as_tensor(pictures).unsqueeze(1).float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


def to_uint8(split: Split) -> np.ndarray:
    """What `normalize` made the split's images of: (N, 28, 28) uint8."""
    return (split.images[:, 0] * STD).add_(MEAN).mul_(255).round_().clamp_(0, 255).byte().cpu().numpy()


def extend(split: Split, pictures: np.ndarray, labels: np.ndarray) -> Split:
    """The split and more examples: (N, 28, 28) uint8, and their labels (N,), -1 for a picture of no class."""
    device = split.labels.device
    images, labels = normalize(pictures).to(device), torch.from_numpy(labels).to(device)
    return Split(torch.cat([split.images, images]), torch.cat([split.labels, labels]))


def mnist(data_dir: Path, dataset: str = "auto") -> Data:
    """The digits.

    Args:
        data_dir: holds `MNIST/raw` in torchvision's layout, or will.
        dataset: 'mnist' insists on the real ones, 'synthetic' draws them, 'auto' draws them only where the real
            ones are absent and cannot be downloaded.

    Raises:
        Failure: the files are there but damaged, or cannot be had though insisted on.
    """
    if dataset == "synthetic":
        return synthetic_digits()
    try:
        raw = _fetch(datasets.MNIST, MNIST_FILES, data_dir)
    except _Unavailable:
        if dataset == "mnist":
            raise
        print(f"MNIST is not in {data_dir} and cannot be downloaded: using synthetic digits instead.")
        return synthetic_digits()
    return _split("MNIST", *_read(raw))


def fashion_mnist(data_dir: Path) -> Data:
    """Fashion-MNIST, Zalando's 70,000 pictures of clothes (Xiao, Rasul and Vollgraf, 2017), in MNIST's own layout.

    Normalized as every other picture of the project, by MNIST's mean and standard deviation.

    Raises:
        Failure: the files cannot be had, or are damaged; nothing can stand in for them.
    """
    return _split("Fashion-MNIST", *_read(_fetch(datasets.FashionMNIST, FASHION_FILES, data_dir)))


def synthetic_digits(train: int = 60_000, test: int = 10_000) -> Data:
    """As many digits as MNIST has, drawn from pen strokes; the same every time."""
    parts = []
    for seed, count in enumerate((train, test)):
        pictures, labels = draw_digits(count, seed)
        parts.append((normalize(pictures), torch.from_numpy(labels)))
    return _split("synthetic digits", *parts)


def synthetic_letters(names: Sequence[str], count: int = 3000) -> Data:
    """Characters of any TEMPLATES names, drawn from pen strokes: `count` of them for each split."""
    parts = []
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(np.arange(count) % len(names))
        pictures = draw_characters([names[label] for label in labels], seed)
        parts.append(Split(normalize(pictures), torch.from_numpy(labels)))
    return Data("synthetic letters", *parts)


def _split(name: str, train: tuple[torch.Tensor, torch.Tensor], test: tuple[torch.Tensor, torch.Tensor]) -> Data:
    images, labels = train
    return Data(
        name,
        Split(images[:-VALIDATION_SIZE], labels[:-VALIDATION_SIZE]),
        Split(images[-VALIDATION_SIZE:], labels[-VALIDATION_SIZE:]),
        Split(*test),
    )


class _Unavailable(Failure):
    """A data set that is neither here nor to be downloaded."""


def _fetch(torchvision_set: type, files: dict[str, str], data_dir: Path) -> Path:
    """The folder of the set's files, all of them there and whole; downloaded where one is absent."""
    name = torchvision_set.__name__
    raw = data_dir / name / "raw"
    if not all((raw / file).is_file() for file in files):
        try:
            _download(torchvision_set, files, data_dir)
        except (RuntimeError, OSError) as failure:
            raise _Unavailable(
                f"cannot download {name} ({first_line(failure)}): put {', '.join(files)} into {raw}"
            ) from None
    for file, md5 in files.items():
        with open(raw / file, "rb") as opened:
            content = opened.read(MAX_FILE_BYTES)
        if hashlib.md5(content).hexdigest() != md5:
            raise Failure(f"{raw / file} is damaged (wrong MD5): delete it and run again to download it")
    return raw


def _read(raw: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images and labels of the training and of the test set."""
    return [
        (normalize(read_image_file(str(raw / f"{part}-images-idx3-ubyte"))),
         read_label_file(str(raw / f"{part}-labels-idx1-ubyte")))
        for part in ("train", "t10k")
    ]  # fmt: skip


def _download(torchvision_set: type, files: dict[str, str], data_dir: Path) -> None:
    """Let torchvision download, from its mirrors, into a folder beside, and move what arrived whole into place."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="download-", dir=data_dir) as folder,
        _socket_timeout(DOWNLOAD_TIMEOUT_SECONDS),
    ):
        torchvision_set(folder, download=True)
        arrived = Path(folder) / torchvision_set.__name__ / "raw"
        raw = data_dir / torchvision_set.__name__ / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name in files:
            os.replace(arrived / name, raw / name)


@contextmanager
def _socket_timeout(seconds: float):
    """torchvision opens its URLs with the default timeout, which is none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
