import copy
import os
import pickle

import pytest
import torch
from torch import nn

import models
from pipeline import checkpoints, errors
from pipeline.training import batch_norm


def test_the_report_s_network_has_21840_parameters():
    model = models.MnistNet()
    counts = {name: p.numel() for name, p in model.named_parameters() if name.endswith("weight")}
    assert counts == {"conv1.weight": 250, "conv2.weight": 5000, "fc1.weight": 16000, "fc2.weight": 500}
    assert models.parameter_count(model) == 21_840


def test_same_function_as_the_textbook_s_sequence(split):
    model = models.MnistNet().eval()
    textbook = nn.Sequential(  # ReLU before pooling, dropout a no-op in evaluation
        model.conv1, nn.ReLU(), nn.MaxPool2d(2), model.conv2, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        model.fc1, nn.ReLU(), model.fc2, nn.LogSoftmax(dim=1),
    )  # fmt: skip
    images = split.images[:50]
    torch.testing.assert_close(model(images), textbook(images))
    torch.testing.assert_close(model(images).exp().sum(1), torch.ones(50))


def test_dropout_acts_in_training_only(split):
    model = models.MnistNet(dropout=0.9)
    images = split.images[:5]
    assert not torch.equal(model.train()(images), model.train()(images))
    assert torch.equal(model.eval()(images), model.eval()(images))


@pytest.mark.parametrize("of", ["pooled", "all"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_folding_the_norms_changes_nothing_but_the_parameters(count, of, split):
    torch.manual_seed(1)
    model = models.MnistNet()
    batch_norm.add_norms(model, count, of)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [10, 20][2 - count :]
    for start in range(0, 500, 100):  # so that the running statistics are not those of a new norm
        model.train()(split.images[start : start + 100])
    for norm in norms:
        for learned in (parameter for parameter in norm.parameters() if parameter.requires_grad):
            nn.init.normal_(learned)  # scales below 0 too
    expected = model.eval()(split.images[:50])
    batch_norm.fold_norms(model)
    torch.testing.assert_close(model(split.images[:50]), expected, atol=1e-5, rtol=1e-4)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in models.MnistNet().named_parameters()]


def test_save_and_load_give_equal_outputs_and_names(tmp_path, split):
    model = models.MnistNet(class_names=["alpha", "beta"], dropout=0.3).eval()
    checkpoints.save(model, tmp_path / "model.pt")
    loaded = checkpoints.load(tmp_path / "model.pt", models.MnistNet, "train_mnist.py")
    assert torch.equal(loaded(split.images[:20]), model(split.images[:20]))
    assert loaded.class_names == ["alpha", "beta"] and not loaded.training
    assert type(checkpoints.load(tmp_path / "model.pt", None, "train_mnist.py")) is models.MnistNet, "whichever it is"


def test_packed_weights_are_copies():
    model = models.MnistNet()
    packed = checkpoints.pack(model)
    before = copy.deepcopy(packed["weights"])
    with torch.no_grad():
        model.conv1.weight += 1
    assert torch.equal(packed["weights"]["conv1.weight"], before["conv1.weight"])


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def spoil(path, how):
    good = checkpoints.pack(models.MnistNet())
    if how == "truncated":
        checkpoints.save(models.MnistNet(), path)
        path.write_bytes(path.read_bytes()[:-5000])
    elif how == "half":
        checkpoints.save(models.MnistNet(), path)
        path.write_bytes(path.read_bytes()[:40_000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("these are no weights")
    elif how == "malicious":
        path.write_bytes(pickle.dumps(Malicious()))
    elif how == "malicious in torch's format":
        torch.save({"network": Malicious()}, path)
    elif how == "another network":
        checkpoints.save_file(path, {**good, "network": "GreekNet"})
    elif how == "another shape":
        checkpoints.save_file(path, {**good, "settings": {"class_names": ["a", "b"], "dropout": 0.2}})
    elif how == "no settings":
        checkpoints.save_file(path, {"network": "MnistNet"})
    elif how == "a tensor":
        torch.save(torch.ones(3), path)


@pytest.mark.parametrize(
    "how",
    ["missing", "truncated", "half", "empty", "text", "malicious", "malicious in torch's format", "another network",
     "another shape", "no settings", "a tensor"],
)  # fmt: skip
def test_bad_weights_are_named_in_one_line(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    spoil(path, how)
    with pytest.raises(errors.Failure) as failure:
        checkpoints.load(path, models.MnistNet, "train_mnist.py")
    message = str(failure.value)
    assert str(path) in message and "train_mnist.py" in message and "\n" not in message
    assert not (tmp_path / "pwned").exists()


def test_the_family_of_fashion_networks_has_the_report_s_sizes(split):
    """32 i filters of 3x3 with padding 1, each pooled: 28, 14, 7, 3 pixels a side."""
    for conv_layers, linear_layers, count in (
        (1, 1, 320 + 32 * 14 * 14 * 10 + 10),
        (2, 2, 320 + 32 * 9 * 64 + 64 + 64 * 49 * 64 + 64 + 64 * 10 + 10),
        (3, 3, 320 + 18_496 + 64 * 9 * 96 + 96 + 96 * 9 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10),
    ):
        model = models.FashionNet(conv_layers=conv_layers, linear_layers=linear_layers, hidden_units=64)
        assert models.parameter_count(model) == count
        assert model(split.images[:5]).exp().sum(1).allclose(torch.ones(5))


@pytest.mark.parametrize("of", ["pooled", "all"])
def test_fashion_networks_are_saved_with_their_shape_and_fold_their_norms(tmp_path, split, of):
    model = models.FashionNet(conv_layers=2, linear_layers=1)
    batch_norm.add_norms(model, 2, of)
    model.train()(split.images[:100])
    expected = model.eval()(split.images[:20])
    batch_norm.fold_norms(model)
    checkpoints.save(model, tmp_path / "model.pt")
    loaded = checkpoints.load(tmp_path / "model.pt", models.FashionNet, "fashion_grid_search.py")
    torch.testing.assert_close(loaded(split.images[:20]), expected, atol=1e-5, rtol=1e-4)
    assert loaded.class_names == list(models.CLOTHES)
