import cv2
import numpy as np
import pytest
from conftest import REAL

from pipeline.preprocessing.mnist_format import center_ink
from pipeline.preprocessing.photo import photo_to_mnist


def test_mnist_digits_stay_as_they_are(digits):
    """MNIST's own makers scaled and centered these, so the same two steps must find nothing left to do."""
    pictures = digits[0]
    unchanged = np.mean([np.array_equal(center_ink(picture), picture) for picture in pictures])
    assert unchanged >= (0.995 if REAL else 0.9)  # drawn digits are resampled once more where their side is not 20


def test_place_and_size_do_not_matter(digits):
    for picture in digits[0][:50]:
        field = np.zeros((90, 120), np.uint8)
        field[50:78, 70:98] = picture
        assert np.array_equal(center_ink(field), center_ink(picture))
        larger = np.kron(field, np.ones((4, 4), np.uint8))  # each pixel four times as wide and as high
        difference = np.abs(center_ink(larger).astype(int) - center_ink(picture).astype(int)).mean()
        assert difference < 3, "of 255, from rounding to whole pixels at the edges"


def test_the_longer_side_is_20_and_the_mass_lies_in_the_middle():
    bar = np.zeros((300, 200), np.uint8)
    bar[20:260, 30:60] = 200
    result = center_ink(bar)
    rows, columns = np.flatnonzero(result.any(1)), np.flatnonzero(result.any(0))
    assert len(rows) == 20 and len(columns) in (2, 3)
    mass = result.astype(float)
    assert mass.sum(1) @ np.arange(28) / mass.sum() == pytest.approx(14, abs=0.5)
    assert mass.sum(0) @ np.arange(28) / mass.sum() == pytest.approx(14, abs=0.5)


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (1000, 3)])
def test_no_ink_gives_a_black_picture(shape):
    assert not center_ink(np.zeros(shape, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (20, 20), (3, 2000)])
def test_any_shape_of_ink_fits(shape):
    result = center_ink(np.full(shape, 255, np.uint8))
    assert result.shape == (28, 28) and result.dtype == np.uint8 and result.any()


def test_lopsided_ink_stays_inside():
    """A long thin hair on a heavy blob has its center of mass far from its middle."""
    ink = np.zeros((200, 200), np.uint8)
    ink[150:200, 0:200] = 255
    ink[0:150, 199] = 1
    assert center_ink(ink).sum() > 0.9 * 255 * 20 * 5


@pytest.mark.parametrize("rows", [[39], [4, 39], [4, 36], [34]])
def test_a_printed_line_that_the_letter_stands_on_is_no_part_of_it(rows):
    """As in a scan of 44 pixels in black and white, whose lines are as dark as the letter."""
    scan = np.full((44, 44), 255, np.uint8)
    for points in ([(14, 8), (14, 36)], [(14, 9), (24, 9), (28, 14), (22, 20), (14, 21)]):  # a P
        cv2.polylines(scan, [np.array(points, np.int32)], False, 0, 1)
    expected = photo_to_mnist(scan).astype(float)
    scan[rows] = 0
    found = photo_to_mnist(scan).astype(float)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize(
    "strokes",
    [
        [[(0, 1), (60, 1), (20, 99)]],  # a 7
        [[(30, 0), (0, 60), (60, 60)], [(42, 20), (42, 99)]],  # a 4
        [[(2, 15), (20, 1), (58, 30), (0, 98), (60, 98)]],  # a 2
        [[(0, 20), (22, 1), (22, 99)]],  # a 1
    ],
)
def test_a_bar_that_fills_the_picture_is_no_printed_line(strokes, square):
    """Pictures cut to the size of a digit; those made square again keep its height only."""
    cut = np.full((100, 61 if len(strokes) > 1 or strokes[0][-1][0] != 22 else 24), 255, np.uint8)
    for points in strokes:
        cv2.polylines(cut, [np.array(points, np.int32)], False, 0, 2)
    wide = cv2.copyMakeBorder(cut, 30, 30, 30, 30, cv2.BORDER_CONSTANT, value=255)
    if square:
        cut = cv2.copyMakeBorder(cut, 0, 0, 20, 20, cv2.BORDER_CONSTANT, value=255)
    found, expected = (photo_to_mnist(picture).astype(float).ravel() for picture in (cut, wide))
    assert np.corrcoef(found, expected)[0, 1] > 0.7
