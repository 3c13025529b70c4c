import cv2
import numpy as np
import pytest
import torch

from pipeline.interpretability import filter_bank

BANK = filter_bank.standard(5)


def kernel(family: str, angle: int | None = None, which: int = 0, size: int = 5) -> np.ndarray:
    bank = filter_bank.standard(size)
    return [each for each in bank if (each.family, each.angle) == (family, angle)][which].values


def test_the_bank_has_every_family_at_every_angle():
    families = {each.family for each in BANK}
    assert families == {"Sobel", "Prewitt", "Laplacian", "Gaussian", "line", "Gabor"}
    for family in families - {"Laplacian", "Gaussian"}:
        assert {each.angle for each in BANK if each.family == family} == set(range(0, 180, 15))
    assert all(each.values.shape == (5, 5) for each in BANK)


@pytest.mark.parametrize("size", [3, 5])
def test_textbook_kernels_against_opencv_s_own(size):
    """An impulse comes back as the filter, turned by half a turn."""
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    middle = slice(5 - size // 2, 6 + size // 2)
    for expected, mine in (
        (cv2.Sobel(impulse, cv2.CV_64F, 1, 0, ksize=size), kernel("Sobel", 90, size=size)),
        (cv2.Sobel(impulse, cv2.CV_64F, 0, 1, ksize=size), kernel("Sobel", 0, size=size)),
        (cv2.Laplacian(impulse, cv2.CV_64F, ksize=size), kernel("Laplacian", size=size)),
        (cv2.GaussianBlur(impulse, (size, size), size / 4), kernel("Gaussian", which=1, size=size)),
    ):
        expected = expected[middle, middle][::-1, ::-1]
        assert np.corrcoef(expected.ravel(), mine.ravel())[0, 1] == pytest.approx(1, abs=1e-6)


def test_prewitt_in_3x3_has_the_textbook_s_numbers():
    np.testing.assert_allclose(kernel("Prewitt", 90, size=3), [[-1, 0, 1]] * 3, atol=1e-12)


Y, X = np.mgrid[-2:3, -2:3]
LINES = {0: Y == 0, 45: X + Y == 0, 90: X == 0, 135: X == Y}  # rows are counted downwards, so that X + Y == 0 rises
EDGES = {0: np.sign(Y), 45: np.sign(X + Y), 90: np.sign(X), 135: np.sign(X - Y)}


@pytest.mark.parametrize(
    "family, drawings", [("line", LINES), ("Gabor", LINES), ("Gabor", EDGES), ("Sobel", EDGES), ("Prewitt", EDGES)]
)
def test_angles_mean_the_same_in_every_family(family, drawings):
    of_family = [each for each in BANK if each.family == family]
    for angle, drawing in drawings.items():
        assert filter_bank.best_matches(drawing[None], of_family)[0][0].angle == angle


def test_correlations_against_numpy():
    filters = np.random.default_rng(0).normal(size=(4, 5, 5))
    found = filter_bank.correlations(filters, BANK)
    for i, values in enumerate(filters):
        for j, each in enumerate(BANK):
            expected = np.corrcoef(values.ravel(), each.values.ravel())[0, 1]
            assert found[i, j] == pytest.approx(expected, abs=1e-12)


def test_brightness_contrast_and_sign_do_not_count():
    planted = [BANK[40], BANK[3], BANK[-1]]
    filters = np.stack(
        [scale * each.values + shift for each, scale, shift in zip(planted, (2, -0.1, 30), (0, 5, -9), strict=True)]
    )
    found, correlations = filter_bank.best_matches(filters, BANK)
    np.testing.assert_allclose(correlations, [1, -1, 1], atol=1e-9)
    for each, mine in zip(planted, found, strict=True):  # some angles of a family are equal to others
        assert abs(np.corrcoef(each.values.ravel(), mine.values.ravel())[0, 1]) == pytest.approx(1)


def test_a_filter_without_pattern_matches_nothing():
    assert np.array_equal(filter_bank.correlations(np.full((1, 5, 5), 3.0), BANK), np.zeros((1, len(BANK))))


def test_by_family_agrees_with_a_plain_loop():
    filters = np.random.default_rng(1).normal(size=(3, 5, 5))
    table = filter_bank.by_family(filters, BANK)
    for i, values in enumerate(filters):
        for family in table.columns:
            of_family = [each.values.ravel() for each in BANK if each.family == family]
            assert table.loc[i, family] == pytest.approx(
                max(abs(np.corrcoef(values.ravel(), k)[0, 1]) for k in of_family)
            )


def test_untrained_filters_match_as_those_of_a_new_network_do():
    mine = np.abs(filter_bank.best_matches(filter_bank.untrained(4000, 5, np.random.default_rng(0)), BANK)[1])
    torch.manual_seed(0)
    new = torch.nn.Conv2d(1, 4000, 5).weight.detach().numpy()[:, 0]
    torchs = np.abs(filter_bank.best_matches(new, BANK)[1])
    np.testing.assert_allclose(np.quantile(mine, [0.05, 0.5, 0.95]), np.quantile(torchs, [0.05, 0.5, 0.95]), atol=0.02)


def test_phase_randomized_keeps_the_waves_and_loses_the_pattern():
    filters = np.stack([kernel("line", 30), kernel("Gabor", 60)])
    made = filter_bank.phase_randomized(filters, 50, np.random.default_rng(0))
    assert made.shape == (100, 5, 5) and np.isrealobj(made)
    waves = np.abs(np.fft.fft2(made)).reshape(50, 2, 5, 5)
    np.testing.assert_allclose(waves, np.abs(np.fft.fft2(filters))[None].repeat(50, 0), atol=1e-9)
    own = [abs(np.corrcoef(values.ravel(), filters[0].ravel())[0, 1]) for values in made[::2]]
    assert np.mean(own) < 0.6


def test_filter2d_is_the_network_s_convolution(split):
    layer = torch.nn.Conv2d(1, 10, 5)
    picture = split.images[:1]
    expected = (layer(picture) - layer.bias[:, None, None])[0].detach().numpy()
    found = filter_bank.filtered(picture[0, 0].numpy(), layer.weight.detach().numpy()[:, 0])
    assert found.shape == (10, 28, 28)
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], expected, atol=1e-5)
