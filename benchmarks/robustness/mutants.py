"""Fuzz every file reader: expect a clear error or a correct result.

    python -m benchmarks.robustness.mutants           100,000 files
    python -m benchmarks.robustness.mutants 500       fewer

Hypothesis mutates, truncates and joins valid files, some with repaired checksums; malicious files made by hand are
added. Each must end in a Failure of one line or in a correct result, within 10 s of CPU time, and all of them within
2 GB of memory. Writes benchmarks/results/mutants.json.
"""

import collections
import functools
import hashlib
import io
import pickle
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from optuna.exceptions import ExperimentalWarning
from PIL import Image

import models
from benchmarks import results, untrained
from pipeline import checkpoints, cli
from pipeline.datasets import datasets, synthetic
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.errors import Failure
from pipeline.tuning import database, results_table
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Study

SECONDS, MEMORY = 10, 2e9  # limits: CPU time of a file, peak memory in bytes
BATCH = 2000  # inputs per Hypothesis test, which remembers all of its inputs
NUMBERS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\1\x86\xa0", b"\xa0\x86\1\0", b"\0\0\xff\xff"]


# valid files


def images() -> dict[str, bytes]:
    """Return name -> image of one character in each supported format."""
    gray = np.kron(255 - synthetic.draw_characters(["3"], 0)[0], np.ones((2, 2), np.uint8))
    image = Image.fromarray(np.stack([gray, gray, np.minimum(gray + 40, 255).astype(np.uint8)], 2))
    transparent = image.copy()
    transparent.putalpha(Image.fromarray(255 - gray))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    formats = {
        "rgb.png": image, "alpha.png": transparent, "gray.png": image.convert("L"), "palette.png": image.convert("P"),
        "16.png": Image.fromarray(gray.astype(np.uint16) * 200), "1.png": image.convert("1"), "a.jpg": image,
        "a.bmp": image, "a.webp": image, "a.tif": image, "a.gif": image.convert("P"),
        "float.tif": Image.fromarray(gray.astype(np.float32)),
    }  # fmt: skip
    options = {"a.jpg": {"exif": rotated}, "rgb.png": {"exif": rotated}, "a.tif": {"compression": "tiff_lzw"}}
    files = {}
    Image.init()
    for name, kind in formats.items():
        buffer = io.BytesIO()
        kind.save(buffer, Image.EXTENSION["." + name.split(".")[1]], **options.get(name, {}))
        files[name] = buffer.getvalue()
    return files


def weight_files(folder: Path) -> dict[str, bytes]:
    """Return name -> weights of a digit and a letter network, and a checkpoint."""
    torch.manual_seed(0)
    checkpoints.save(models.MnistNet(), folder / "digits.pt")
    checkpoints.save(models.GreekNet(["alpha", "beta", "gamma"]), folder / "greek.pt")
    checkpoints.save_checkpoint(folder / "checkpoint.pt", cli.Common(), "digits", RUN)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.pt"))}


RUN = {"state": {"epoch": 1, "model": {"weight": torch.arange(6.0)}}, "best": None, "history": [{"loss": 0.5}]}


def idx_files() -> dict[str, bytes]:
    """Return name -> each of the four files of a small MNIST."""
    files = {}
    for name in datasets.MNIST_FILES:
        count = 12 if name.startswith("train") else 5
        images, labels = synthetic.draw_digits(count, 0)
        header = struct.pack(">4i", 2051, count, 28, 28) if "images" in name else struct.pack(">2i", 2049, count)
        files[name] = header + (images if "images" in name else labels.astype(np.uint8)).tobytes()
    return files


STUDY = Settings(max_conv_layers=1, max_linear_layers=1, max_dropout=0.1, max_hidden_units=64), 3  # number of trials


def study_files(folder: Path) -> dict[str, bytes]:
    """Return name -> a study of three trials, two of them finished."""
    path = folder / "good.db"
    open_study = Study(f"sqlite:///{path}", "s", *STUDY)
    for _ in range(2):
        untrained.run_next(open_study, folder)
    open_study.storage.engine.dispose()  # writes the log into the database file
    return {path.name: path.read_bytes()}


# mutated and malicious files


@st.composite
def damaged(draw, valid_files: list[bytes]) -> bytes:
    """Draw a file with one to four mutations, more near the header."""
    content = draw(st.sampled_from(valid_files))
    for _ in range(draw(st.integers(1, 4))):
        is_near_start = draw(st.booleans())
        position = draw(st.integers(0, min(len(content), 64 if is_near_start else len(content))))
        mutation = draw(st.sampled_from(["flip", "number", "write", "insert", "delete", "truncate", "repeat", "join"]))
        if mutation == "flip" and position < len(content):
            bit = 1 << draw(st.integers(0, 7))
            content = content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]
        elif mutation == "number":
            content = content[:position] + draw(st.sampled_from(NUMBERS)) + content[position + 4 :]
        elif mutation == "write":
            new = draw(st.binary(min_size=1, max_size=8))
            content = content[:position] + new + content[position + len(new) :]
        elif mutation == "insert":
            content = content[:position] + draw(st.binary(min_size=1, max_size=8)) + content[position:]
        elif mutation == "delete":
            content = content[:position] + content[position + draw(st.integers(1, 64)) :]
        elif mutation == "truncate":
            content = content[:position]
        elif mutation == "repeat":
            content = content[:position] + content[max(0, position - 32) :]
        else:
            content = content[:position] + draw(st.sampled_from(valid_files))[position:]
    return content


@st.composite
def repaired(draw, valid_files: list[bytes]) -> bytes:
    """Draw a mutated PNG or archive with valid checksums, to pass the first check."""
    content = draw(st.sampled_from(valid_files))
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        selected = draw(st.sampled_from(sorted(members)))
        members[selected] = draw(damaged([members[selected]]))
        return archived(members)
    if content.startswith(b"\x89PNG"):
        chunks, position = [], 8
        while position < len(content):
            length = struct.unpack(">I", content[position : position + 4])[0]
            chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + length]))
            position += 12 + length
        selected = draw(st.integers(0, len(chunks) - 1))
        chunks[selected] = chunks[selected][0], draw(damaged([chunks[selected][1]]))
        return content[:8] + b"".join(chunk(*part) for part in chunks)
    return draw(damaged([content]))


def archived(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


class Malicious:
    """An object whose unpickling runs code."""

    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


def malicious_files(valid_files: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """Return kind -> name -> a malicious file made by hand."""

    def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

    def blank(count: int) -> bytes:
        compressor = zlib.compressobj(9)
        return b"".join(compressor.compress(bytes(2**20)) for _ in range(count // 2**20 + 1)) + compressor.flush()

    def saved(content: object) -> bytes:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    digits, study = valid_files["weights"]["digits.pt"], valid_files["studies"]["good.db"]
    content = torch.load(io.BytesIO(digits), weights_only=True)
    with zipfile.ZipFile(io.BytesIO(digits)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    prefix = next(iter(members)).split("/")[0]
    huge_allocation = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + (6 * 10**9).to_bytes(5, "little") + b"\x85R."
    nan_weights = {name: weight * float("nan") for name, weight in content["weights"].items()}
    other_settings = {"class_names": ["a"] * 9, "dropout": 0.2}
    return {
        "pictures": {
            "100,000 x 100,000.png": png(100_000, 100_000, 8, 2, blank(2**20)),
            "64 megapixels with opacity.png": png(8000, 8000, 8, 6, blank(8000 * 32_001)),
            "64 megapixels of 16 bits.png": png(8000, 8000, 16, 0, blank(8000 * 16_001)),
            "one row.png": png(60_000_000, 1, 8, 0, blank(60_000_001)),
            "a text bomb.png": png(8, 8, 8, 0, blank(72))[:-12]
            + chunk(b"zTXt", b"a\0\0" + blank(2**27))
            + chunk(b"IEND", b""),
            "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch pwned) (w) file\n",
            "weights.png": digits,
            "empty.png": b"",
        },
        "weights": {
            "a bomb.pt": archived({**members, f"{prefix}/data/9": bytes(2**28)}, zipfile.ZIP_DEFLATED),
            "greedy.pt": archived({**members, f"{prefix}/data.pkl": huge_allocation}),
            "code.pt": saved({"network": "MnistNet", "settings": Malicious()}),
            "plain pickle.pt": pickle.dumps(Malicious()),
            "not numbers.pt": saved(content | {"weights": nan_weights}),
            "other shapes.pt": saved(content | {"settings": other_settings}),
            "names that are none.pt": saved(content | {"settings": {"class_names": [1] * 10, "dropout": 0.2}}),
            "dropout of 7.pt": saved(content | {"settings": content["settings"] | {"dropout": 7.0}}),
            "a list.pt": saved([1, 2, 3]),
            "a picture.pt": valid_files["pictures"]["rgb.png"],
            "empty.pt": b"",
            "half.pt": digits[: len(digits) // 2],
            "a flipped bit.pt": digits[:3000] + bytes([digits[3000] ^ 4]) + digits[3001:],
        },
        "idx": {
            "train-images-idx3-ubyte": struct.pack(">4i", 2051, 2**31 - 1, 2**15, 2**15),
            "t10k-labels-idx1-ubyte": struct.pack(">2i", 2049, 2**31 - 1),
        },
        "studies": {"weights.db": digits, "half.db": study[: len(study) // 2], "empty.db": b""},
    }


# readers


def read_image(path: Path, valid_files: dict[str, bytes], labels: tuple[str, ...] = ("3",)) -> None:
    """Read an image of one character, or, without `labels`, possibly a page."""
    samples, faults = read_folder(path, labels)
    assert all(sample.picture.shape == (28, 28) and sample.picture.dtype == np.uint8 for sample in samples)
    assert all("\n" not in fault for fault in faults)


def read_weights(path: Path, valid_files: dict[str, bytes]) -> None:
    model = checkpoints.load(path, None, "train_mnist.py")
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, len(model.class_names))
    assert ", ".join(model.class_names)


def read_checkpoint(path: Path, valid_files: dict[str, bytes]) -> None:
    assert isinstance(checkpoints.load_checkpoint(path, cli.Common(), "digits"), dict)


def read_study(path: Path, valid_files: dict[str, bytes]) -> None:
    """Read a study; changed numbers cannot be recognized, so they are not checked."""
    try:
        open_study = Study(f"sqlite:///{path}", "s", *STUDY)
        assert (
            list(results_table.results(open_study.trials()).columns)[-1] == "state"
            and len(open_study.families()) <= STUDY[1]
        )
        open_study.storage.engine.dispose()
    finally:
        for log in path.parent.glob(f"{path.name}-*"):
            log.unlink()


def read_idx(path: Path, valid_files: dict[str, bytes]) -> None:
    """Read one of the four files of MNIST; only unchanged content may pass."""
    content = path.read_bytes()
    name = path.name if path.name in valid_files else sorted(valid_files)[sum(content) % 4]
    folder = path.parent / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for other in valid_files:
        (folder / other).write_bytes(content if other == name else valid_files[other])
    data = datasets.mnist(path.parent / "data", "mnist")
    assert content == valid_files[name] and len(data.train) == 8


READERS: dict[str, tuple[str, float, Callable]] = {  # name -> kind of valid files, share of the inputs, function
    "pictures": ("pictures", 0.27, read_image),
    "pages": ("pictures", 0.02, functools.partial(read_image, labels=())),
    "weights": ("weights", 0.25, read_weights),
    "checkpoints": ("weights", 0.2, read_checkpoint),
    "idx": ("idx", 0.25, read_idx),
    "studies": ("studies", 0.01, read_study),
}


def check_one_line(failure: Failure) -> None:
    """Check that the message is one line."""
    assert str(failure) and "\n" not in str(failure)


class Fuzzer:
    """Runs the readers; counts results and records the slowest input."""

    def __init__(self, folder: Path):
        self.folder, self.counts, self.slowest = folder, collections.Counter(), (0.0, "")
        self.valid_files = {"pictures": images(), "weights": weight_files(folder), "idx": idx_files()}
        self.valid_files["studies"] = study_files(folder)
        database.START_TIMEOUT_SECONDS = 1.0
        datasets.VALIDATION_SIZE = 4
        datasets.MNIST_FILES = {
            name: hashlib.md5(content).hexdigest() for name, content in self.valid_files["idx"].items()
        }

    def feed(self, reader: str, content: bytes, name: str = "input.png") -> None:
        """Read one file; check errors, warnings, time, memory, and that no code ran."""
        path = self.folder / name
        path.write_bytes(content)
        files, _, read = READERS[reader]
        start = time.process_time()
        with warnings.catch_warnings(action="error"):  # library warnings would confuse users
            warnings.filterwarnings("ignore", category=ExperimentalWarning)  # as in the search
            try:
                read(path, self.valid_files[files])
            except Failure as failure:
                check_one_line(failure)
                self.counts[f"{reader}: clear errors"] += 1
            else:
                self.counts[f"{reader}: answers"] += 1
        seconds = time.process_time() - start
        self.slowest = max(self.slowest, (seconds, f"{reader}: {name}"))
        assert seconds < SECONDS, f"{name} took {seconds:.0f} s"
        assert memory() < MEMORY, f"{name} took {memory() / 1e9:.1f} GB"
        assert not Path("pwned").exists(), f"{name} ran code"
        path.unlink()

    def batch(self, reader: str, inputs: int, number: int) -> None:
        """Run a reader on `inputs` mutated files; `number` is the seed."""
        valid_files = list(self.valid_files[READERS[reader][0]].values())

        @seed(number)
        @settings(
            max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(damaged(valid_files) | repaired(valid_files))
        def test(content: bytes) -> None:
            self.feed(reader, content)

        test()


def memory() -> float:
    """Return the peak memory of this process in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(inputs: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder))
        malicious = malicious_files(fuzzer.valid_files)
        for reader, (files, _, _) in READERS.items():
            for name, content in malicious[files].items():
                fuzzer.feed(reader, content, name)
        by_hand = fuzzer.counts.total()
        for number in range(max(1, inputs // BATCH)):
            for reader, (_, share, _) in READERS.items():
                fuzzer.batch(reader, round(share * min(BATCH, inputs)), number)
            print(f"{fuzzer.counts.total():,} of {inputs:,}", flush=True)
    summary = {"inputs": fuzzer.counts.total(), "by hand": by_hand, "faults": 0}
    summary |= {"slowest, seconds": fuzzer.slowest[0], "slowest": fuzzer.slowest[1], "memory, GB": memory() / 1e9}
    results.write("mutants", summary, [dict(sorted(fuzzer.counts.items()))])


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000)
