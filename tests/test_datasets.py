import functools
import gzip
import hashlib
import http.server
import shutil
import threading

import numpy as np
import pytest
import torch
import torchvision
from conftest import write_idx
from torchvision import transforms

from pipeline.datasets import datasets, synthetic
from pipeline.errors import Failure
from pipeline.preprocessing.mnist_format import MEAN, STD


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder in torchvision's layout, its four files verified like the real ones, with 300 + 60 digits."""
    monkeypatch.setattr(datasets, "VALIDATION_SIZE", 50)
    monkeypatch.setattr(datasets, "synthetic_digits", functools.partial(datasets.synthetic_digits, train=200, test=40))
    raw = tmp_path / "data" / "MNIST" / "raw"
    for part, count, seed in (("train", 300, 0), ("t10k", 60, 1)):
        write_idx(raw, part, *synthetic.draw_digits(count, seed))
    md5 = {name: hashlib.md5((raw / name).read_bytes()).hexdigest() for name in datasets.MNIST_FILES}
    monkeypatch.setattr(datasets, "MNIST_FILES", md5)
    return tmp_path / "data"


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there


@pytest.fixture
def mirror(folder, tmp_path, monkeypatch):
    """torchvision's mirrors point at a server on this machine, and the data folder is empty."""
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for name in datasets.MNIST_FILES:
        packed = gzip.compress((folder / "MNIST" / "raw" / name).read_bytes())
        (served / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    shutil.rmtree(folder)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    yield served
    server.shutdown()


def test_gives_what_torchvision_gives(folder):
    data = datasets.mnist(folder)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    expected = {train: torchvision.datasets.MNIST(folder, train=train, transform=transform) for train in (True, False)}
    train = torch.cat([data.train.images, data.valid.images])
    assert (len(data.train), len(data.valid), len(data.test)) == (250, 50, 60)
    for images, labels, source in (
        (train, torch.cat([data.train.labels, data.valid.labels]), expected[True]),
        (data.test.images, data.test.labels, expected[False]),
    ):
        torch.testing.assert_close(images, torch.stack([image for image, _ in source]), atol=1e-6, rtol=1e-6)
        assert labels.tolist() == [label for _, label in source]
    assert data.name == "MNIST"


def test_normalize_gives_mean_0_and_deviation_1(split):
    assert abs(split.images.mean()) < 0.1 and abs(split.images.std() - 1) < 0.1


@pytest.mark.parametrize("how", ["truncated", "one bit", "empty", "swapped"])
def test_damaged_files_are_named_and_left_alone(folder, how, no_network):
    path = folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    damaged = {
        "truncated": content[:-100],
        "one bit": content[:-1] + bytes([content[-1] ^ 1]),
        "empty": b"",
        "swapped": (folder / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes(),
    }[how]
    path.write_bytes(damaged)
    for dataset in ("auto", "mnist"):
        with pytest.raises(Failure, match="t10k-images-idx3-ubyte is damaged"):
            datasets.mnist(folder, dataset)
    assert path.read_bytes() == damaged


def test_without_network_auto_draws_and_says_so(tmp_path, folder, no_network, capsys):
    data = datasets.mnist(tmp_path / "nothing")
    assert data.name == "synthetic digits" and (len(data.train), len(data.valid), len(data.test)) == (150, 50, 40)
    assert "synthetic" in capsys.readouterr().out


def test_without_network_mnist_insists(tmp_path, no_network):
    with pytest.raises(Failure) as failure:
        datasets.mnist(tmp_path / "nothing", "mnist")
    message = str(failure.value)
    assert "\n" not in message and all(name in message for name in datasets.MNIST_FILES)
    assert str(tmp_path / "nothing" / "MNIST" / "raw") in message


@pytest.mark.parametrize("how", ["gz", "kaggle name", "kaggle folder", "npz", "beside"])
def test_files_put_there_by_hand_are_used(folder, no_network, how):
    """What a browser, Kaggle and Keras give, if the content is MNIST's."""
    raw, expected = folder / "MNIST" / "raw", datasets.mnist(folder, "mnist")
    content = {name: (raw / name).read_bytes() for name in datasets.MNIST_FILES}
    shutil.rmtree(raw)
    raw.mkdir()
    if how == "npz":
        arrays = {key: np.frombuffer(content[name], np.uint8, offset=16 if "images" in name else 8)
                  for name, key in datasets.NPZ_ARRAYS.items()}  # fmt: skip
        shaped = {key: a.reshape(-1, 28, 28) if key[0] == "x" else a for key, a in arrays.items()}
        np.savez(folder / "mnist.npz", **shaped)
    for name, data in content.items() if how != "npz" else ():
        if how == "gz":
            (raw / f"{name}.gz").write_bytes(gzip.compress(data))
        elif how == "kaggle name":
            (raw / name.replace("-idx", ".idx")).write_bytes(data)
        elif how == "kaggle folder":
            (raw / name).mkdir()
            (raw / name / name).write_bytes(data)
        else:
            (folder / name).write_bytes(data)
    data = datasets.mnist(folder, "mnist")
    assert torch.equal(data.test.images, expected.test.images)
    assert torch.equal(data.train.labels, expected.train.labels)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4 no archive", gzip.compress(b"other digits"), gzip.compress(b"x")[:9]],
    ids=["empty", "no archive", "other digits", "truncated"],  # gzip writes the time, which differs between processes
)
def test_files_with_another_content_are_not_used(tmp_path, no_network, content):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (tmp_path / "mnist.npz").write_bytes(content)
    for name in datasets.MNIST_FILES:
        (raw / f"{name}.gz").write_bytes(content)
    with pytest.raises(Failure, match=r"train-images-idx3-ubyte\.gz is damaged"):
        datasets.mnist(tmp_path, "mnist")


def test_downloads_what_is_missing(folder, mirror):
    data = datasets.mnist(folder, "mnist")
    assert data.name == "MNIST" and len(data.train) == 250
    assert sorted(path.name for path in folder.iterdir()) == ["MNIST"], "nothing else is left behind"


def test_a_missing_file_is_fetched_again(folder, mirror):
    datasets.mnist(folder)
    (folder / "MNIST" / "raw" / "train-labels-idx1-ubyte").unlink()
    assert len(datasets.mnist(folder, "mnist").train) == 250


@pytest.mark.parametrize("how", ["truncated", "another file", "gone"])
def test_a_bad_download_leaves_nothing(folder, mirror, how):
    path = mirror / "t10k-labels-idx1-ubyte.gz"
    {
        "truncated": lambda: path.write_bytes(path.read_bytes()[:-20]),
        "another file": lambda: path.write_bytes(gzip.compress(b"<html>log in to the hotel's network</html>")),
        "gone": path.unlink,
    }[how]()
    with pytest.raises(Failure, match="cannot download MNIST"):
        datasets.mnist(folder, "mnist")
    assert not list(folder.rglob("*ubyte*"))


def test_a_server_that_sends_nothing_times_out(folder, monkeypatch):
    server = http.server.socketserver.TCPServer(("127.0.0.1", 0), None, bind_and_activate=True)  # accepts, says nothing
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_address[1]}/"])
    monkeypatch.setattr(datasets, "DOWNLOAD_TIMEOUT_SECONDS", 0.5)
    shutil.rmtree(folder)
    with pytest.raises(Failure, match="cannot download MNIST"):
        datasets.mnist(folder, "mnist")
    server.server_close()


def test_synthetic_is_the_same_every_time(folder):
    first, second = datasets.mnist(folder, "synthetic"), datasets.mnist(folder, "synthetic")
    assert torch.equal(first.train.images, second.train.images)
    assert not np.array_equal(first.train.images[:40], first.test.images)


def test_letters_are_balanced_and_each_split_has_its_own():
    data = datasets.synthetic_letters(("alpha", "7"), count=40)
    assert [len(split) for split in (data.train, data.valid, data.test)] == [40, 40, 40]
    assert (data.test.labels == 0).sum() == 20 and data.test.images.shape == (40, 1, 28, 28)
    assert not torch.equal(data.train.images, data.test.images)
    means = [data.train.images[data.train.labels == label].mean(0) for label in (0, 1)]
    nearest = torch.stack([((data.test.images - mean) ** 2).sum((1, 2, 3)) for mean in means]).argmin(0)
    assert (nearest == data.test.labels).float().mean() > 0.85, "the labels fit the pictures"


def test_fashion_is_read_from_its_own_folder_and_has_no_substitute(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "FASHION_FILES", datasets.MNIST_FILES)
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(Failure, match=r"cannot download FashionMNIST .* put train-images.* into .*FashionMNIST"):
        datasets.fashion_mnist(folder)
    shutil.copytree(folder / "MNIST", folder / "FashionMNIST")
    data = datasets.fashion_mnist(folder)
    assert data.name == "Fashion-MNIST" and (len(data.train), len(data.valid), len(data.test)) == (250, 50, 60)
    assert torch.equal(data.test.images, datasets.mnist(folder).test.images)
