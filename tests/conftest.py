"""What the tests share: a small set of digits, and a script run as a user runs it."""

import gzip
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import cli
from pipeline.datasets import datasets, synthetic

ROOT = Path(__file__).parent.parent
signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job it is ignored, and children inherit that
REAL = all((cli.DATA_DIR / "MNIST" / "raw" / name).is_file() for name in datasets.MNIST_FILES)


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors on many threads are slow, and a busy machine makes them slower still."""
    torch.set_num_threads(1)


@pytest.fixture
def monkeypatch(monkeypatch):
    """pytest's own, but a patch that misses a caller fails: whoever imported the name itself keeps the old value."""
    put = monkeypatch.setattr

    def setattr(target, name, *value, **options):
        if value and isinstance(target, types.ModuleType):
            before = getattr(target, name)
            for module in list(sys.modules.values()):
                file = getattr(module, "__file__", None) or ""
                is_ours = file.startswith(str(ROOT)) and ".venv" not in file and "tests" not in file
                if is_ours and module is not target and vars(module).get(name) is before:
                    raise AssertionError(f"{module.__name__} has imported {name}: patch it there, or import its module")
        put(target, name, *value, **options)

    monkeypatch.setattr = setattr
    yield monkeypatch
    monkeypatch.setattr = put


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(2000, 28, 28) uint8 pictures and labels: real training digits where they are, drawn ones elsewhere."""
    if REAL:
        return tuple(part[:2000] for part in read_idx(cli.DATA_DIR / "MNIST" / "raw", "train"))
    return synthetic.draw_digits(2000, seed=5)


@pytest.fixture(scope="session")
def split(digits) -> datasets.Split:
    pictures, labels = digits
    return datasets.Split(datasets.normalize(pictures), torch.from_numpy(labels.astype(np.int64)))


def read_idx(raw: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """An outside reader of the IDX format: 16 bytes of header before the pictures, 8 before the labels."""
    images = np.fromfile(raw / f"{part}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28)
    return images, np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8)[8:]


def write_idx(raw: Path, part: str, images: np.ndarray, labels: np.ndarray, compress: bool = False) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    big = lambda *numbers: np.array(numbers, ">i4").tobytes()  # noqa: E731
    for name, content in (
        (f"{part}-images-idx3-ubyte", big(2051, len(images), 28, 28) + images.astype(np.uint8).tobytes()),
        (f"{part}-labels-idx1-ubyte", big(2049, len(labels)) + labels.astype(np.uint8).tobytes()),
    ):
        (raw / f"{name}.gz").write_bytes(gzip.compress(content)) if compress else (raw / name).write_bytes(content)


def command(script: str, *arguments: str) -> list[str]:
    """The command line of a script on 2,000 drawn digits instead of 70,000."""
    return [sys.executable, str(ROOT / "tests" / "run_on_few_digits.py"), script, *arguments]


def run(script: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("environment", {})
    return subprocess.run(
        command(script, *arguments), capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT, **options
    )


@pytest.fixture(autouse=True)
def numbers_of_every_size():
    """A run flushes denormals for its whole process; Hypothesis, which draws them too, refuses to work then."""
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(False)
