import numpy as np
import pytest
import torch

import models
from pipeline.datasets import datasets, outliers
from pipeline.evaluation import metrics
from pipeline.training import loop
from pipeline.training.loop import Recipe

KINDS = [outliers.scribbles, outliers.letters, outliers.signs, outliers.shapes]
MADE = [outliers.cut_characters, outliers.rotated_characters, outliers.character_pairs, outliers.blended_characters]


def of(kind, digits, count, seed):
    rng = np.random.default_rng(seed)
    return kind(*digits, count, rng) if kind in MADE else kind(count, rng)


@pytest.mark.parametrize("kind", KINDS + MADE)
def test_each_kind_is_drawn_by_seed_and_varies(kind, digits):
    pictures = of(kind, digits, 40, 1)
    assert pictures.shape == (40, 28, 28) and pictures.dtype == np.uint8
    assert np.array_equal(pictures, of(kind, digits, 40, 1))
    assert not np.array_equal(pictures, of(kind, digits, 40, 2))
    assert len(np.unique(pictures.reshape(40, -1), axis=0)) > 25


def test_half_a_digit_is_half_of_that_digit(digits):
    pictures, labels = digits
    whole = pictures[labels == 5][:1]
    rng = np.random.default_rng(0)
    for half in outliers.cut_characters(whole, np.array([5]), 20, rng):
        assert 0.15 < (half > 0).sum() / (whole > 0).sum() < 1.8  # brought back to size, a half has more ink


def test_a_turned_digit_has_the_same_ink(digits):
    pictures, labels = digits
    ink = {int(picture.sum()) for picture in pictures}
    assert all(
        int(picture.sum()) in ink
        for picture in outliers.rotated_characters(pictures, labels, 30, np.random.default_rng(3))
    )


def test_letters_like_digits_are_left_out():
    names = outliers.other_characters()
    assert "omicron" not in names and "7" not in names and len(names) > 40


@pytest.mark.slow
def test_a_network_learns_to_be_sure_of_nothing_there(digits, split):
    """Trained with scribbles, it is less sure of letters, which it has never seen, and as sure of digits."""
    train = datasets.Split(split.images[:1600], split.labels[:1600])
    pictures = outliers.scribbles(500, np.random.default_rng(0))
    letters = datasets.normalize(outliers.letters(200, np.random.default_rng(1)))
    recipe = Recipe(epochs=5, batch_size=64, optimizer="muon", learning_rate=0.05, momentum=0.6, decline=0.5)
    sure = {}
    for name, examples in (("without", train), ("with", datasets.extend(train, pictures, np.full(500, -1)))):
        torch.manual_seed(0)
        *_, last = loop.fit(models.MnistNet(), examples, recipe, seed=0, quiet=True)
        confidence = metrics.predict(last.model, letters).exp().amax(1)
        assert metrics.evaluate(last.model, datasets.Split(split.images[1600:], split.labels[1600:]))[1] > 80
        sure[name] = (confidence > 0.9).float().mean().item()
    assert sure["with"] < 0.6 * sure["without"]


def test_the_loss_of_outliers_is_by_the_likeliest_class():
    log_probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]).log()
    loss, outlier_loss = loop._losses(log_probabilities, torch.tensor([0, -1, -1]))
    assert loss.item() == pytest.approx(-np.log(0.9), rel=1e-5)
    assert outlier_loss.item() == pytest.approx(-np.log(0.2) - np.log(0.5), rel=1e-5)
    none_known = loop._losses(log_probabilities, torch.tensor([-1, -1, -1]))
    assert all(torch.isfinite(value) for value in none_known)


def test_pictures_and_tensors_are_the_same(digits):
    pictures, labels = digits
    split = datasets.Split(datasets.normalize(pictures), torch.from_numpy(labels.astype(np.int64)))
    assert np.array_equal(datasets.to_uint8(split), pictures)
    more = datasets.extend(split, pictures[:7], np.arange(7) - 1)
    assert len(more) == len(split) + 7 and more.labels[-7:].tolist() == [-1, 0, 1, 2, 3, 4, 5]
    assert np.array_equal(datasets.to_uint8(more)[-7:], pictures[:7])
