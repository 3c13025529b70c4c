"""Feed every reader of files with damaged and hostile ones: a clear error or a right answer, and nothing else.

    python -m benchmarks.robustness.mutants           100,000 files
    python -m benchmarks.robustness.mutants 500       fewer

Hypothesis mutates, truncates, joins and repairs good files; some more are made by hand, to be as nasty as they can.
Each must end in a Failure of one line or in what the file said before, within 10 s of computing, and all of them within
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
from PIL import Image

import models
from benchmarks import results
from pipeline import checkpoints, cli
from pipeline.datasets import datasets, synthetic
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.errors import Failure
from pipeline.tuning import storage
from pipeline.tuning import study as study_module
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Study

SECONDS, MEMORY = 10, 2e9  # bytes; at the most
BATCH = 2000  # inputs, after which Hypothesis forgets what it has tried
NUMBERS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\1\x86\xa0", b"\xa0\x86\1\0", b"\0\0\xff\xff"]


# good files


def pictures() -> dict[str, bytes]:
    """One character in each format that is read."""
    gray = np.kron(255 - synthetic.draw_characters(["3"], 0)[0], np.ones((2, 2), np.uint8))
    image = Image.fromarray(np.stack([gray, gray, np.minimum(gray + 40, 255).astype(np.uint8)], 2))
    clear = image.copy()
    clear.putalpha(Image.fromarray(255 - gray))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = {
        "rgb.png": image, "alpha.png": clear, "gray.png": image.convert("L"), "palette.png": image.convert("P"),
        "16.png": Image.fromarray(gray.astype(np.uint16) * 200), "1.png": image.convert("1"), "a.jpg": image,
        "a.bmp": image, "a.webp": image, "a.tif": image, "a.gif": image.convert("P"),
        "float.tif": Image.fromarray(gray.astype(np.float32)),
    }  # fmt: skip
    options = {"a.jpg": {"exif": turned}, "rgb.png": {"exif": turned}, "a.tif": {"compression": "tiff_lzw"}}
    files = {}
    Image.init()
    for name, kind in kinds.items():
        buffer = io.BytesIO()
        kind.save(buffer, Image.EXTENSION["." + name.split(".")[1]], **options.get(name, {}))
        files[name] = buffer.getvalue()
    return files


def weight_files(folder: Path) -> dict[str, bytes]:
    """A digit network, one for letters, and a checkpoint."""
    torch.manual_seed(0)
    checkpoints.save(models.MnistNet(), folder / "digits.pt")
    checkpoints.save(models.GreekNet(["alpha", "beta", "gamma"]), folder / "greek.pt")
    checkpoints.save_checkpoint(folder / "checkpoint.pt", cli.Common(), "digits", RUN)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.pt"))}


RUN = {"state": {"epoch": 1, "model": {"weight": torch.arange(6.0)}}, "best": None, "history": [{"loss": 0.5}]}


def idx_files() -> dict[str, bytes]:
    """The four files of a small MNIST."""
    files = {}
    for name in datasets.MNIST_FILES:
        count = 12 if name.startswith("train") else 5
        images, labels = synthetic.draw_digits(count, 0)
        header = struct.pack(">4i", 2051, count, 28, 28) if "images" in name else struct.pack(">2i", 2049, count)
        files[name] = header + (images if "images" in name else labels.astype(np.uint8)).tobytes()
    return files


STUDY = Settings(max_conv_layers=1, max_linear_layers=1, max_dropout=0.1, max_hidden_units=64), 3  # and its trials


def study_files(folder: Path) -> dict[str, bytes]:
    """A study of three trials, two of them finished."""
    path = folder / "good.db"
    open_study = Study(f"sqlite:///{path}", "s", *STUDY)
    for _ in range(2):
        job = open_study.take()
        for epoch in range(1, max(job.trials.values()) + 1):
            open_study.record(
                job, {"epoch": epoch, "valid_accuracy": 80.0, "test_accuracy": 79.5, "seconds": 2.0 * epoch}
            )
    open_study.release()
    open_study.storage.engine.dispose()  # which brings the log beside it into the file
    return {path.name: path.read_bytes()}


# bad ones made of them


@st.composite
def damaged(draw, good: list[bytes]) -> bytes:
    """Up to four wounds; more of them near the beginning, where headers are."""
    content = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(1, 4))):
        near = draw(st.booleans())
        at = draw(st.integers(0, min(len(content), 64 if near else len(content))))
        wound = draw(st.sampled_from(["flip", "number", "write", "insert", "delete", "truncate", "repeat", "join"]))
        if wound == "flip" and at < len(content):
            bit = 1 << draw(st.integers(0, 7))
            content = content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
        elif wound == "number":
            content = content[:at] + draw(st.sampled_from(NUMBERS)) + content[at + 4 :]
        elif wound == "write":
            new = draw(st.binary(min_size=1, max_size=8))
            content = content[:at] + new + content[at + len(new) :]
        elif wound == "insert":
            content = content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:]
        elif wound == "delete":
            content = content[:at] + content[at + draw(st.integers(1, 64)) :]
        elif wound == "truncate":
            content = content[:at]
        elif wound == "repeat":
            content = content[:at] + content[max(0, at - 32) :]
        else:
            content = content[:at] + draw(st.sampled_from(good))[at:]
    return content


@st.composite
def repaired(draw, good: list[bytes]) -> bytes:
    """A wound inside a PNG or an archive, with the checksums made right again, so that it is not seen at the door."""
    content = draw(st.sampled_from(good))
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        chosen = draw(st.sampled_from(sorted(members)))
        members[chosen] = draw(damaged([members[chosen]]))
        return archived(members)
    if content.startswith(b"\x89PNG"):
        parts, at = [], 8
        while at < len(content):
            length = struct.unpack(">I", content[at : at + 4])[0]
            parts.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
            at += 12 + length
        chosen = draw(st.integers(0, len(parts) - 1))
        parts[chosen] = parts[chosen][0], draw(damaged([parts[chosen][1]]))
        return content[:8] + b"".join(chunk(*part) for part in parts)
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
    """Code that a careless reader of pickles would run."""

    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


def nasty(good: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """Reader -> name -> a file made by hand to do harm."""

    def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

    def blank(count: int) -> bytes:
        packer = zlib.compressobj(9)
        return b"".join(packer.compress(bytes(2**20)) for _ in range(count // 2**20 + 1)) + packer.flush()

    def saved(content: object) -> bytes:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    digits, study = good["weights"]["digits.pt"], good["studies"]["good.db"]
    content = torch.load(io.BytesIO(digits), weights_only=True)
    with zipfile.ZipFile(io.BytesIO(digits)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    prefix = next(iter(members)).split("/")[0]
    greedy = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05" + (6 * 10**9).to_bytes(5, "little") + b"\x85R."
    not_a_number = {name: weight * float("nan") for name, weight in content["weights"].items()}
    names = {"class_names": ["a"] * 9, "dropout": 0.2}
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
            "greedy.pt": archived({**members, f"{prefix}/data.pkl": greedy}),
            "code.pt": saved({"network": "MnistNet", "settings": Malicious()}),
            "plain pickle.pt": pickle.dumps(Malicious()),
            "not numbers.pt": saved(content | {"weights": not_a_number}),
            "other shapes.pt": saved(content | {"settings": names}),
            "names that are none.pt": saved(content | {"settings": {"class_names": [1] * 10, "dropout": 0.2}}),
            "dropout of 7.pt": saved(content | {"settings": content["settings"] | {"dropout": 7.0}}),
            "a list.pt": saved([1, 2, 3]),
            "a picture.pt": good["pictures"]["rgb.png"],
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


# what reads them


def read_image(path: Path, good: dict[str, bytes], labels: tuple[str, ...] = ("3",)) -> None:
    """A picture of one character, or, where nothing says so, a page of many."""
    samples, faults = read_folder(path, labels)
    assert all(sample.picture.shape == (28, 28) and sample.picture.dtype == np.uint8 for sample in samples)
    assert all("\n" not in fault for fault in faults)


def read_weights(path: Path, good: dict[str, bytes]) -> None:
    model = checkpoints.load(path, None, "train_mnist.py")
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, len(model.class_names))
    assert ", ".join(model.class_names)


def read_checkpoint(path: Path, good: dict[str, bytes]) -> None:
    assert isinstance(checkpoints.load_checkpoint(path, cli.Common(), "digits"), dict)


def read_study(path: Path, good: dict[str, bytes]) -> None:
    """Numbers that a wound has changed are nowhere marked as wrong; that they can be read is all that can be asked."""
    try:
        open_study = Study(f"sqlite:///{path}", "s", *STUDY)
        assert (
            list(study_module.results(open_study.trials()).columns)[-1] == "state"
            and len(open_study.families()) <= STUDY[1]
        )
        open_study.storage.engine.dispose()
    finally:
        for log in path.parent.glob(f"{path.name}-*"):
            log.unlink()


def read_idx(path: Path, good: dict[str, bytes]) -> None:
    """As one of the four files of MNIST; only bits that are all right may pass."""
    content = path.read_bytes()
    name = path.name if path.name in good else sorted(good)[sum(content) % 4]
    folder = path.parent / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for other in good:
        (folder / other).write_bytes(content if other == name else good[other])
    data = datasets.mnist(path.parent / "data", "mnist")
    assert content == good[name] and len(data.train) == 8


READERS: dict[str, tuple[str, float, Callable]] = {  # -> the good files they read, their share of the bad ones, how
    "pictures": ("pictures", 0.27, read_image),
    "pages": ("pictures", 0.02, functools.partial(read_image, labels=())),
    "weights": ("weights", 0.25, read_weights),
    "checkpoints": ("weights", 0.2, read_checkpoint),
    "idx": ("idx", 0.25, read_idx),
    "studies": ("studies", 0.01, read_study),
}


def one_line(failure: Failure) -> None:
    assert str(failure) and "\n" not in str(failure)


class Fuzz:
    """Counts, and knows the slowest."""

    def __init__(self, folder: Path):
        self.folder, self.counts, self.slowest = folder, collections.Counter(), (0.0, "")
        self.good = {"pictures": pictures(), "weights": weight_files(folder), "idx": idx_files()}
        self.good["studies"] = study_files(folder)
        storage.START_TIMEOUT_SECONDS = 1.0
        datasets.VALIDATION_SIZE = 4
        datasets.MNIST_FILES = {name: hashlib.md5(content).hexdigest() for name, content in self.good["idx"].items()}

    def feed(self, reader: str, content: bytes, name: str = "input.png") -> None:
        """One file to one reader."""
        path = self.folder / name
        path.write_bytes(content)
        files, _, read = READERS[reader]
        start = time.process_time()
        with warnings.catch_warnings(action="error"):  # a warning is a line that nobody understands
            try:
                read(path, self.good[files])
            except Failure as failure:
                one_line(failure)
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
        good = list(self.good[READERS[reader][0]].values())

        @seed(number)
        @settings(
            max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(damaged(good) | repaired(good))
        def test(content: bytes) -> None:
            self.feed(reader, content)

        test()


def memory() -> float:
    """Bytes, the most that this process has ever held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(inputs: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        bad = nasty(fuzz.good)
        for reader, (files, _, _) in READERS.items():
            for name, content in bad[files].items():
                fuzz.feed(reader, content, name)
        by_hand = fuzz.counts.total()
        for number in range(max(1, inputs // BATCH)):
            for reader, (_, share, _) in READERS.items():
                fuzz.batch(reader, round(share * min(BATCH, inputs)), number)
            print(f"{fuzz.counts.total():,} of {inputs:,}", flush=True)
    summary = {"inputs": fuzz.counts.total(), "by hand": by_hand, "faults": 0}
    summary |= {"slowest, seconds": fuzz.slowest[0], "slowest": fuzz.slowest[1], "memory, GB": memory() / 1e9}
    results.write("mutants", summary, [dict(sorted(fuzz.counts.items()))])


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000)
