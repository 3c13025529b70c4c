import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import models
from pipeline.datasets import augmentation
from pipeline.datasets.datasets import Split
from pipeline.interpretability import activations, attribution


class Padded(nn.Module):
    """Another shape of network: three padded convolutions, ReLU before pooling, both as modules."""

    def __init__(self, class_names=("a", "b", "c"), hidden: int = 2):
        super().__init__()
        self.settings = {"class_names": list(class_names), "hidden": hidden}
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 3, padding=1), nn.Conv2d(10, 20, 3, padding=1)
        self.conv3 = nn.Conv2d(20, 40, 3)
        self.pool, self.relu = nn.MaxPool2d(2), nn.ReLU()
        self.linear = nn.Sequential()
        sizes = [40 * 5 * 5, *[30] * hidden]
        for wide, narrow in itertools.pairwise(sizes):
            self.linear.append(nn.Linear(wide, narrow)).append(nn.ReLU())
        self.last = nn.Linear(sizes[-1], len(class_names))

    @property
    def class_names(self):
        return self.settings["class_names"]

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.relu(self.conv3(x))
        return F.log_softmax(self.last(self.linear(x.flatten(1))), dim=1)


@pytest.fixture(params=["MnistNet", "Padded", "Padded, one linear layer"])
def model(request):
    torch.manual_seed(0)
    made = {"MnistNet": models.MnistNet, "Padded": Padded, "Padded, one linear layer": lambda: Padded(hidden=0)}
    return made[request.param]().eval()


@pytest.fixture
def small(split) -> Split:
    return Split(split.images[:300], split.labels[:300] % 3)


def hooked(model, layer: str, images: torch.Tensor) -> torch.Tensor:
    """What a layer gives, caught on its way."""
    caught = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *parts: caught.append(parts[2].detach()))
    model(images)
    handle.remove()
    return caught[0]


def test_stages_are_the_layers_and_what_comes_after_them(model, small):
    stages = activations.Stages(model)
    images = small.images[:20]
    values = stages.values(images)
    assert stages.convolutions == [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    for layer in stages.layers:
        torch.testing.assert_close(values[layer], hooked(model, layer, images))
    expected = model(images)
    torch.testing.assert_close(values[stages.output], expected)
    for stage in values:
        torch.testing.assert_close(stages.output_from(stage, values[stage]), expected)
    last = model.get_submodule(stages.layers[-1])
    torch.testing.assert_close(F.log_softmax(last(values[stages.hidden].flatten(1)), 1), expected)


def test_the_steps_after_a_layer_are_named():
    steps = activations.Stages(models.MnistNet()).steps
    assert steps == {
        "after conv1": "max_pool2d, relu", "after conv2": "max_pool2d, relu", "after fc1": "relu",
        "after fc2": "log_softmax",
    }  # fmt: skip
    assert activations.Stages(Padded()).steps["after conv1"] == "relu, pool"


@pytest.mark.parametrize("made, expected", [(models.MnistNet, [(5, 1), (14, 2)]), (Padded, [(3, 1), (8, 2), (18, 4)])])
def test_receptive_fields_against_the_arithmetic(made, expected):
    """A convolution adds (size - 1) jumps to what is seen, a pooling too, and doubles the jump."""
    model = made().eval()
    for layer, (size, jump) in zip(activations.Stages(model).convolutions, expected, strict=True):
        field = activations.receptive_field(model, layer)
        inside = (field[:, 0] > 0) & (field[:, 1] < 28)
        assert (np.diff(field[inside], axis=1) == size).all() and (np.diff(field[inside, 0]) == jump).all()
        assert (field[:, 1] - field[:, 0] <= size).all() and field.min() == 0 and field.max() <= 28


def test_a_unit_sees_its_field_and_nothing_else(model, small):
    image = small.images[:1]
    for layer in activations.Stages(model).convolutions:
        field = activations.receptive_field(model, layer)
        maps = hooked(model, layer, image)
        y, x = 0, maps.shape[3] // 2
        (top, bottom), (left, right) = field[y], field[x]
        noise = torch.rand(image.shape) * 5
        inside = torch.zeros(image.shape, dtype=torch.bool)
        inside[..., top:bottom, left:right] = True
        same = hooked(model, layer, torch.where(inside, image, noise))[..., y, x]
        torch.testing.assert_close(same, maps[..., y, x])
        for edge in ((top, left), (bottom - 1, right - 1)):  # each corner counts: a large value there shows
            changed = image.clone()
            changed[..., edge[0], edge[1]] = 1e4
            assert not torch.allclose(hooked(model, layer, changed)[..., y, x], maps[..., y, x])


def test_peaks_and_patches_are_the_maxima(model, small):
    """Against a plain loop; and a patch on paper, seen alone, gives the very value again."""
    stages = activations.Stages(model)
    seen = activations.compute_outputs(stages, small)
    for layer in stages.convolutions:
        maps = hooked(model, layer, small.images)
        field = activations.receptive_field(model, layer)
        for channel in range(0, maps.shape[1], 7):
            peak, i = seen.maxima[layer][:, channel].max(0)
            assert peak.item() == pytest.approx(max(each[channel].max().item() for each in maps), abs=1e-5)
            position = seen.positions[layer][i : i + 1, channel]
            y, x = position[0].tolist()
            assert maps[i, channel, y, x].item() == pytest.approx(peak.item(), abs=1e-5)
            patch = activations.cut_patches(small.images[i : i + 1], position, field)[0]
            rows, columns = field[y], field[x]
            alone = torch.full((1, 1, 28, 28), augmentation.BACKGROUND)
            height, width = rows[1] - rows[0], columns[1] - columns[0]
            y0, x0 = (len(patch) - extent if at[0] == 0 else 0 for at, extent in ((rows, height), (columns, width)))
            alone[0, 0, rows[0] : rows[1], columns[0] : columns[1]] = torch.from_numpy(
                patch[y0 : y0 + height, x0 : x0 + width]
            )
            assert hooked(model, layer, alone)[0, channel, y, x].item() == pytest.approx(peak.item(), abs=1e-4)


def test_the_survey_s_accuracy_and_order_of_mistakes(model, small):
    seen = activations.compute_outputs(activations.Stages(model), small)
    outputs = model(small.images).detach()
    torch.testing.assert_close(seen.log_probabilities, outputs)
    right = [row.argmax() == label for row, label in zip(outputs, small.labels, strict=True)]
    assert seen.accuracy == pytest.approx(100 * sum(right).item() / 300)
    assert seen.correct.tolist() == [i for i, each in enumerate(right) if each]
    truths = [outputs[i, small.labels[i]].item() for i in seen.incorrect]
    assert len(truths) == 300 - sum(right) and truths == sorted(truths)


def test_switched_off_against_a_plain_loop(model, small):
    stages = activations.Stages(model)
    few = Split(small.images[:60], small.labels[:60])
    for layer in stages.convolutions:
        channels = model.get_submodule(layer).out_channels
        found = attribution.accuracy_without_channels(stages, layer, few)
        assert len(found) == channels
        for channel in range(0, channels, 4):
            keep = torch.ones(channels, 1, 1)
            keep[channel] = 0
            handle = model.get_submodule(layer).register_forward_hook(lambda _, __, maps, keep=keep: maps * keep)
            right = sum(
                int(model(image[None]).argmax() == label) for image, label in zip(few.images, few.labels, strict=True)
            )
            handle.remove()
            assert found[channel] == pytest.approx(100 * right / len(few))


def test_occlusion_against_a_plain_loop(model, small):
    image = small.images[3]
    found = attribution.occlusion(model, image)
    for y, x in [(0, 0), (14, 13), (10, 16), (27, 27), (5, 20)]:
        rubbed = image.clone()
        rubbed[:, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = augmentation.BACKGROUND
        torch.testing.assert_close(found[y, x], model(rubbed[None])[0].detach(), atol=1e-5, rtol=1e-5)
    assert found.shape == (28, 28, len(model.class_names))


def test_log_odds():
    p = torch.tensor([[0.5, 0.2, 0.3], [0.98, 0.01, 0.01]])
    torch.testing.assert_close(attribution.log_odds(p.log()), (p / (1 - p)).log())
    nearly = F.log_softmax(torch.tensor([40.0, 0.0]), 0)  # 1 - p is 0 in float32
    assert attribution.log_odds(nearly)[0].item() == pytest.approx(40)


@pytest.mark.parametrize("dimensions", [2, 7, 300])
def test_the_plane_against_the_singular_value_decomposition(dimensions):
    torch.manual_seed(0)
    spreads = torch.linspace(1, 0, dimensions + 1)[:-1] ** 2 * 10
    points = torch.randn(200, dimensions) * spreads @ torch.linalg.qr(torch.randn(dimensions, dimensions))[0] + 5
    found, share = attribution.pca_plane(points)
    u, s, _ = np.linalg.svd((points - points.mean(0)).double().numpy(), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :2] * s[:2]), atol=2e-3 * s[0])
    assert share == pytest.approx((s[:2] ** 2).sum() / (s**2).sum(), rel=1e-4)
