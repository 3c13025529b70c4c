"""Load the data sets as tensors: download missing files, verify them, split into train, valid and test.

The last 10,000 training images are the validation split, which chooses recipes and epochs; the test split is only
reported. Tensors instead of a DataLoader: MNIST takes 220 MB, and a batch is then one indexing operation.
"""

import gzip
import hashlib
import os
import socket
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

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
MAX_FILE_BYTES = 2**26  # more than any file of either set
DOWNLOAD_TIMEOUT_SECONDS = 15  # without data from the server
NPZ_ARRAYS = {  # Keras' names of the arrays in mnist.npz
    "train-images-idx3-ubyte": "x_train",
    "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test",
    "t10k-labels-idx1-ubyte": "y_test",
}


@dataclass
class Split:
    """Images and their labels."""

    images: torch.Tensor  # (N, 1, 28, 28) float32, normalized
    labels: torch.Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass
class Data:
    name: str  # in printed lines, titles and metrics.json
    train: Split
    valid: Split
    test: Split

    def to(self, device: torch.device) -> "Data":
        return Data(self.name, self.train.to(device), self.valid.to(device), self.test.to(device))


def normalize(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Scale (N, 28, 28) uint8 to (N, 1, 28, 28) float32, in which MNIST has mean 0 and standard deviation 1."""
    return torch.as_tensor(pictures).unsqueeze(1).float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


def to_uint8(split: Split) -> np.ndarray:
    """Invert `normalize`: return the split's images as (N, 28, 28) uint8."""
    return (split.images[:, 0] * STD).add_(MEAN).mul_(255).round_().clamp_(0, 255).byte().cpu().numpy()


def extend(split: Split, pictures: np.ndarray, labels: np.ndarray) -> Split:
    """Append images (N, 28, 28) uint8 and their labels (N,) to a split; outliers have the label -1."""
    device = split.labels.device
    images, labels = normalize(pictures).to(device), torch.from_numpy(labels).to(device)
    return Split(torch.cat([split.images, images]), torch.cat([split.labels, labels]))


def mnist(data_dir: Path, dataset: str = "auto") -> Data:
    """Load MNIST, or synthetic digits.

    Args:
        data_dir: contains `MNIST/raw` in torchvision's layout, other copies of the files (`_local_copies`), or neither:
            then the files are downloaded.
        dataset: 'mnist', 'synthetic', or 'auto': synthetic digits only if MNIST cannot be downloaded.

    Raises:
        Failure: the files are damaged, or MNIST is required but cannot be downloaded.
    """
    if dataset == "synthetic":
        return synthetic_digits()
    try:
        content = _fetch("MNIST", MNIST_FILES, data_dir)
    except _Unavailable:
        if dataset == "mnist":
            raise
        print(f"MNIST is not in {data_dir} and cannot be downloaded: using synthetic digits instead.")
        return synthetic_digits()
    return _split("MNIST", *_parse(content))


def fashion_mnist(data_dir: Path) -> Data:
    """Load Fashion-MNIST: 70,000 images of clothes in MNIST's layout (Xiao, Rasul and Vollgraf, 2017).

    They are normalized by MNIST's mean and standard deviation, as all images here.

    Raises:
        Failure: the files are damaged, or cannot be downloaded.
    """
    return _split("Fashion-MNIST", *_parse(_fetch("FashionMNIST", FASHION_FILES, data_dir)))


def synthetic_digits(train: int = 60_000, test: int = 10_000) -> Data:
    """Draw as many digits as MNIST has, always the same ones."""
    parts = []
    for seed, count in enumerate((train, test)):
        pictures, labels = draw_digits(count, seed)
        parts.append((normalize(pictures), torch.from_numpy(labels)))
    return _split("synthetic digits", *parts)


def synthetic_letters(names: Sequence[str], count: int = 3000) -> Data:
    """Draw `count` characters for each split, of any names in TEMPLATES."""
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
    """A data set is missing and cannot be downloaded."""


def _fetch(name: str, files: dict[str, str], data_dir: Path) -> dict[str, bytes]:
    """Return the content of the set's files, verified; download them if one is missing."""
    raw = data_dir / name / "raw"
    folders = raw, raw.parent, data_dir
    found = _find(files, folders)
    if found is None:
        try:
            _download(name, files, data_dir)
        except (RuntimeError, OSError) as failure:
            raise _Unavailable(
                f"cannot download {name} ({first_line(failure)}): put {', '.join(files)} into {raw}"
            ) from None
        found = _find(files, folders)  # the download is verified like any other copy
        assert found is not None
    return found


def _find(files: dict[str, str], folders: Sequence[Path]) -> dict[str, bytes] | None:
    """Return the content of each file, from any copy of it with the right MD5; None if one is missing.

    Raises:
        Failure: there are copies of a file, but all are damaged.
    """
    found = {}
    for file, md5 in files.items():
        damaged = None
        for path, content in _local_copies(file, folders):
            if hashlib.md5(content).hexdigest() == md5:
                found[file] = content
                break
            damaged = damaged or path
        else:
            # in a shared folder the files of the other data set have the same names
            if damaged and damaged.parent == folders[0]:
                raise Failure(f"{damaged} is damaged (wrong MD5): delete it and run again to download it")
            return None
    return found


def _local_copies(file: str, folders: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield the copies of an MNIST file: plain, as .gz, under Kaggle's name or in its folder, in Keras' mnist.npz."""
    for folder in folders:
        for name in (file, file.replace("-idx", ".idx")):
            for path in (folder / name, folder / f"{name}.gz", folder / name / name):
                if path.is_file():
                    yield path, _read_file(path)
        if (path := folder / "mnist.npz").is_file():
            yield path, _read_npz(path, NPZ_ARRAYS[file])


def _read_file(path: Path) -> bytes:
    """Return a file's content, decompressed; empty if it is no gzip file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""


def _read_npz(path: Path, name: str) -> bytes:
    """Return an array of a .npz file in MNIST's IDX format; empty if the file is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(f"{name}.npy").file_size > MAX_FILE_BYTES:
                return b""
        with np.load(path, allow_pickle=False) as arrays:
            array = arrays[name].astype(np.uint8)
    except (KeyError, ValueError, EOFError, zlib.error, zipfile.BadZipFile):
        return b""
    header = [0x0800 + array.ndim, *array.shape]
    return np.array(header, ">u4").tobytes() + array.tobytes()


def _parse(content: dict[str, bytes]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return normalized images and labels of the training set and of the test set, from verified IDX files."""
    parts = []
    for part in ("train", "t10k"):
        images = np.frombuffer(content[f"{part}-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 28, 28)
        labels = np.frombuffer(content[f"{part}-labels-idx1-ubyte"], np.uint8, offset=8)
        parts.append((normalize(torch.tensor(images)), torch.tensor(labels, dtype=torch.int64)))
    return parts


def _download(name: str, files: dict[str, str], data_dir: Path) -> None:
    """Let torchvision download into a temporary folder, and move the complete files into place."""
    from torchvision import datasets  # takes as long to import as torch, and is rarely needed

    data_dir.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="download-", dir=data_dir) as folder,
        _socket_timeout(DOWNLOAD_TIMEOUT_SECONDS),
    ):
        getattr(datasets, name)(folder, download=True)
        arrived, raw = Path(folder) / name / "raw", data_dir / name / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for file in files:
            os.replace(arrived / file, raw / file)


@contextmanager
def _socket_timeout(seconds: float):
    """Set the default timeout of sockets, which torchvision's downloads use and which is infinite."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
