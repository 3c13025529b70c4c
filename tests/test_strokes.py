import numpy as np
import pytest
import torch

import loaders
import models
import strokes
import training
from training import Recipe


def test_shapes_ranges_and_balance():
    pictures, labels = strokes.digits(1000, seed=0)
    assert pictures.shape == (1000, 28, 28) and pictures.dtype == np.uint8
    assert labels.dtype == np.int64 and np.bincount(labels).tolist() == [100] * 10
    assert not np.array_equal(labels, np.sort(labels)), "shuffled"
    assert pictures.max() == 255 and all(picture.any() for picture in pictures)


def test_the_seed_decides_every_byte():
    first, second, third = (strokes.digits(200, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, third)


def test_drawn_as_asked():
    pictures = strokes.draw(["7", "0", "7"], seed=0)
    assert pictures.shape == (3, 28, 28)
    assert not np.array_equal(pictures[0], pictures[2]), "another writer each time"


def test_size_and_place_are_mnist_s():
    pictures, _ = strokes.digits(300, seed=3)
    for picture in pictures:
        rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
        assert 19 <= max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 <= 20
        mass = picture.astype(float) / picture.sum()
        assert abs(mass.sum(1) @ np.arange(28) - 14) <= 0.6 and abs(mass.sum(0) @ np.arange(28) - 14) <= 0.6


@pytest.mark.slow
def test_a_network_that_saw_drawn_digits_only_reads_the_others(split):
    """The others are real where MNIST is at hand. The full figure, of 60,000, is in README."""
    pictures, labels = strokes.digits(6000, seed=0)
    drawn = loaders.Split(loaders.normalise(pictures), torch.from_numpy(labels))
    torch.manual_seed(0)
    recipe = Recipe(epochs=2, optimizer="muon", learning_rate=0.05, schedule="one-cycle", dropout=0.0, batch_norm=2)
    *_, last = training.fit(models.MnistNet(), drawn, recipe, seed=0, quiet=True)
    assert training.evaluate(last.model, split)[1] > 92
