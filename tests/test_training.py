import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import models
from pipeline.datasets import augmentation
from pipeline.datasets.datasets import Split
from pipeline.evaluation import metrics
from pipeline.training import loop
from pipeline.training.loop import Recipe
from pipeline.training.muon import Muon, orthogonal

SMALL = Recipe(epochs=2, batch_size=100, dropout=0.0)
MODERN = Recipe(
    epochs=3, batch_size=64, optimizer="muon", learning_rate=0.05, momentum=0.6, weight_decay=0.1,
    schedule="one-cycle", dropout=0.2, batch_norm=2, augment=1.0, average=0.7,
)  # fmt: skip


def weights(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_takes_the_steps_of_a_plain_loop(split, kind):
    """With the whole split as one batch the order does not matter, so that a textbook loop is an oracle."""
    small = Split(split.images[:300], split.labels[:300])
    torch.manual_seed(0)
    model = models.MnistNet(dropout=0.0)
    expected = copy.deepcopy(model)
    plain = {
        "sgd": lambda: torch.optim.SGD(expected.parameters(), lr=0.05, momentum=0.9),
        "adam": lambda: torch.optim.Adam(expected.parameters(), lr=0.001),
    }[kind]()
    for _ in range(5):
        plain.zero_grad()
        F.nll_loss(expected(small.images), small.labels).backward()
        plain.step()
    rate = plain.param_groups[0]["lr"]
    recipe = Recipe(epochs=5, batch_size=300, optimizer=kind, momentum=0.9, learning_rate=rate, dropout=0.0)
    *_, last = loop.fit(model, small, recipe, seed=0, quiet=True)
    torch.testing.assert_close(
        weights(last.model), weights(expected), atol=2e-4, rtol=0
    )  # float32, added up in another order


def test_fit_learns_and_leaves_the_given_model_alone(split):
    torch.manual_seed(0)
    model = models.MnistNet()
    before = weights(model)
    epochs = list(loop.fit(model, split, dataclasses.replace(MODERN, augment=0.0, average=0.2), seed=0, quiet=True))
    assert torch.equal(weights(model), before)
    loss, accuracy, _ = metrics.evaluate(epochs[-1].model, split)
    assert accuracy > 90 and loss < 0.35
    assert not torch.equal(weights(epochs[0].model), weights(epochs[-1].model)), "the kept epochs are copies"


def test_evaluate_agrees_with_a_plain_loop(split):
    model = models.MnistNet().eval()
    part = Split(split.images[:777], split.labels[:777])  # no multiple of any batch size
    loss, right = 0.0, 0
    with torch.no_grad():
        for images, labels in DataLoader(TensorDataset(part.images, part.labels), batch_size=50):
            output = model(images)
            loss += F.nll_loss(output, labels, reduction="sum").item()
            right += sum(int(row.argmax()) == int(label) for row, label in zip(output, labels, strict=True))
    score = metrics.evaluate(model, part)
    assert score == (pytest.approx(loss / 777, rel=1e-5), 100 * right / 777, score.loss)


def test_the_smoothed_loss_is_what_torch_makes_of_smoothed_labels(split):
    torch.manual_seed(0)
    model = models.MnistNet().eval()
    score = metrics.evaluate(model, split, smoothing=0.3)
    with torch.no_grad():
        expected = F.cross_entropy(model(split.images), split.labels, label_smoothing=0.3)
    assert score.smoothed_loss == pytest.approx(expected.item(), rel=1e-4) != score.loss


def test_what_an_epoch_reports(split):
    first, second = loop.fit(models.MnistNet(), split, SMALL, seed=0, quiet=True)
    assert (first.number, second.number) == (1, 2)
    assert (first.examples, second.examples) == (2000, 4000)
    assert [at for at, _ in first.batch_losses] == list(range(100, 2001, 100))
    assert first.loss == pytest.approx(sum(loss for _, loss in first.batch_losses) / 20, rel=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_in_either_precision(split, precision):
    torch.manual_seed(0)  # for the first weights
    recipe = Recipe(epochs=2, optimizer="adam", learning_rate=0.003, dropout=0.0, precision=precision)
    *_, last = loop.fit(models.MnistNet(), split, recipe, seed=0, quiet=True)
    assert next(last.model.parameters()).dtype == torch.float32
    assert metrics.evaluate(last.model, split)[1] > 85


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [Recipe(epochs=3), MODERN, dataclasses.replace(MODERN, norm="all")],
    ids=["classic", "modern", "all normalized"],
)
def test_resumed_training_ends_with_the_same_bits(recipe, split, tmp_path):
    torch.manual_seed(0)
    model = models.MnistNet(dropout=recipe.dropout)
    *_, uninterrupted = loop.fit(model, split, recipe, seed=3, quiet=True)
    stopped = next(loop.fit(model, split, recipe, seed=3, quiet=True))
    torch.save(stopped.state, tmp_path / "state.pt")
    torch.manual_seed(999)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    *_, resumed = loop.fit(model, split, recipe, seed=3, state=state, quiet=True)
    assert torch.equal(weights(resumed.model), weights(uninterrupted.model))
    assert resumed.examples == uninterrupted.examples


def test_the_seed_decides(split):
    small = Split(split.images[:500], split.labels[:500])
    model = models.MnistNet()
    runs = [next(loop.fit(model, small, MODERN, seed=seed, quiet=True)) for seed in (1, 1, 2)]
    assert torch.equal(weights(runs[0].model), weights(runs[1].model))
    assert not torch.equal(weights(runs[0].model), weights(runs[2].model))


def test_one_cycle_rises_and_falls():
    recipe = Recipe(learning_rate=2.0, schedule="one-cycle")
    rates = [loop.learning_rate(recipe, step / 1000) for step in range(1000)]
    peak = rates.index(max(rates))
    assert 0 < rates[0] < 0.1 and 180 < peak < 220 and max(rates) == pytest.approx(2, rel=0.02) and rates[-1] < 0.01
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)


def test_averaged_weights_lie_between_those_of_the_steps(split):
    recipe = dataclasses.replace(SMALL, average=1.0, epochs=1)
    plain, averaged = (
        next(loop.fit(models.MnistNet(dropout=0.0), split, r, seed=0, quiet=True))
        for r in (dataclasses.replace(recipe, average=0.0), recipe)
    )
    assert metrics.evaluate(averaged.model, split)[0] > metrics.evaluate(plain.model, split)[0], "it lags behind"


@pytest.mark.parametrize("shape", [(10, 1, 5, 5), (20, 10, 5, 5), (50, 320), (320, 50)])
def test_orthogonal_against_the_singular_value_decomposition(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    result = orthogonal(matrix).reshape(len(matrix), -1)
    u, _, v = torch.linalg.svd(matrix.reshape(len(matrix), -1), full_matrices=False)
    singular = torch.diagonal(u.T @ result @ v.T)
    assert result.shape == u.shape[:1] + v.shape[1:] and singular.min() > 0.6 and singular.max() < 1.3
    torch.testing.assert_close(u @ torch.diag(singular) @ v, result, atol=2e-3, rtol=0)


def test_a_bias_takes_a_step_of_the_learning_rate_s_length():
    bias = torch.nn.Parameter(torch.zeros(10))
    bias.grad = torch.arange(10.0)
    Muon([bias], lr=0.5).step()
    assert bias.detach().norm().item() == pytest.approx(0.5, rel=1e-4)
    assert F.cosine_similarity(-bias.detach(), bias.grad, dim=0).item() == pytest.approx(1, abs=1e-5)


def test_weight_decay_pulls_matrices_and_spares_biases():
    matrix, bias = torch.nn.Parameter(torch.ones(3, 4)), torch.nn.Parameter(torch.ones(3))
    matrix.grad, bias.grad = torch.zeros(3, 4), torch.zeros(3)
    Muon([matrix, bias], lr=0.5, weight_decay=0.2).step()
    torch.testing.assert_close(matrix.detach(), torch.full((3, 4), 0.9))
    assert torch.equal(bias.detach(), torch.ones(3))


def test_warp_of_strength_0_is_the_identity(split):
    images = split.images[:20]
    torch.testing.assert_close(augmentation.warp(images, 0.0), images, atol=1e-4, rtol=0)


def test_warp_keeps_the_paper_and_most_of_the_ink(split):
    torch.manual_seed(0)
    images = split.images[:200]
    warped = augmentation.warp(images, 1.0)
    assert warped.min() >= augmentation.BACKGROUND - 1e-4 and warped[:, 0, 0, 0].max() < augmentation.BACKGROUND + 1e-4
    ink = [(batch - augmentation.BACKGROUND).sum((1, 2, 3)) for batch in (images, warped)]
    assert 0.9 < (ink[1] / ink[0]).mean() < 1.1
    assert (warped - images).abs().amax((1, 2, 3)).min() > 0.5, "every picture is changed"


def test_shift_moves_whole_pixels_and_mirrors_half(split):
    images = split.images[:200]
    torch.manual_seed(0)
    shifted = augmentation.shift(images, 2)
    padded = torch.nn.functional.pad(images, (2,) * 4, value=augmentation.BACKGROUND)
    ways = [
        mirrored[..., down : down + 28, right : right + 28]
        for mirrored in (padded, padded.flip(3))
        for down in range(5)
        for right in range(5)
    ]
    fits = torch.stack([(shifted == way).flatten(1).all(1) for way in ways])  # (50, 200)
    assert fits.any(0).all(), "each picture is one of its 50 variants"
    assert 60 < fits[:25].any(0).sum() < 140 and fits.any(1).sum() > 40


def test_confusion_and_per_class():
    counts = metrics.confusion(torch.tensor([0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 2, 2]), ["a", "b", "c"])
    assert counts.loc["a"].tolist() == [1, 1, 0] and counts.loc["c"].tolist() == [0, 0, 2]
    table = metrics.per_class(counts)
    assert table.examples.tolist() == [2, 1, 2]
    assert table.recall.tolist() == [50, 100, 100] and table.precision.tolist() == [100, 50, 100]


def test_a_rest_of_one_example_trains_with_batch_normalization(split):
    """Batch normalization needs two values per channel, and the last convolution of four gives one per example."""
    few = Split(split.images[:33], split.labels[:33])
    model = models.FashionNet(models.DIGITS, conv_layers=4)
    (epoch,) = loop.fit(model, few, Recipe(epochs=1, batch_size=32, batch_norm=4), seed=1, quiet=True)
    assert [seen for seen, _ in epoch.batch_losses] == [33]
