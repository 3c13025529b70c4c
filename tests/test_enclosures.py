"""Frames, circles, underlines and tables are not strokes of the characters in them."""

import cv2
import numpy as np
import pytest

from pipeline.datasets.synthetic import draw_digits
from pipeline.preprocessing.enclosures import without_enclosures
from pipeline.preprocessing.photo import Photo, photo_to_mnist

PAPER, INK = 235, 50
TURNED = np.array([[50, 30], [270, 52], [252, 272], [30, 250]])
IMAGES, LABELS = draw_digits(400, seed=3)


def digit(label: int, height: int, seed: int = 0) -> np.ndarray:
    """A drawn digit, (height, width) uint8, dark on light."""
    image = IMAGES[np.flatnonzero(label == LABELS)[seed]]
    x, y, w, h = cv2.boundingRect((image > 60).astype(np.uint8))
    size = min(height - 5, max(1, round(w * height / h))), height
    return PAPER - (cv2.resize(image[y : y + h, x : x + w], size, interpolation=cv2.INTER_CUBIC) * 0.7).astype(np.uint8)


def put(page: np.ndarray, character: np.ndarray, center: tuple[int, int]) -> None:
    height, width = character.shape
    x, y = center[0] - width // 2, center[1] - height // 2
    region = page[y : y + height, x : x + width]
    np.minimum(region, character, out=region)


def circle(page):
    cv2.ellipse(page, (150, 150), (120, 112), 5, 10, 355, INK, 4)  # with a gap


FRAMES = {
    "box": lambda page: cv2.rectangle(page, (40, 45), (260, 255), INK, 4),
    "turned box": lambda page: cv2.polylines(page, [TURNED], True, INK, 4),
    "double box": lambda page: [cv2.rectangle(page, (30 + d, 30 + d), (270 - d, 270 - d), INK, 3) for d in (0, 14)],
    "circle": circle,
    "underline": lambda page: cv2.line(page, (85, 240), (220, 236), INK, 5),
    "dark box": lambda page: cv2.rectangle(page, (40, 45), (260, 255), 0, 7),
}  # fmt: skip


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("label", range(10))
def test_a_character_is_read_as_without_its_frame(label, frame):
    page = np.full((300, 300), PAPER, np.uint8)
    put(page, digit(label, 110), (150, 150))
    plain = photo_to_mnist(page)
    FRAMES[frame](page)
    if label == 1 and frame == "circle":
        return  # a bar in an ellipse may be a theta, or a zero with its stroke
    framed = photo_to_mnist(page)
    assert np.corrcoef(plain.ravel(), framed.ravel())[0, 1] > 0.97


def test_what_belongs_to_a_character_stays():
    """The bar of a theta, the dot of a zero, the bar of a 5 below another digit, the strokes of an equals sign."""
    theta, zero, fives, equals = np.zeros((4, 200, 200), np.uint8)
    for image in (theta, zero):
        cv2.ellipse(image, (100, 100), (60, 85), 0, 0, 360, 1, 6)
    cv2.line(theta, (65, 100), (135, 100), 1, 6)
    cv2.circle(zero, (100, 100), 8, 1, -1)
    cv2.line(fives, (100, 20), (100, 90), 1, 6)  # a 1
    cv2.line(fives, (75, 110), (130, 110), 1, 6)  # the bar of the 5 below it
    cv2.ellipse(fives, (100, 150), (28, 32), 0, -90, 150, 1, 6)
    cv2.line(equals, (50, 80), (150, 80), 1, 8)
    cv2.line(equals, (50, 120), (150, 120), 1, 8)
    for image in (theta, zero, fives, equals):
        assert np.array_equal(without_enclosures(image), image)


@pytest.mark.parametrize("way", ["boxes apart", "shared sides"])
def test_digits_in_a_row_of_boxes(way):
    page = np.full((200, 820), PAPER, np.uint8)
    for i, label in enumerate((9, 0, 2, 1, 8, 4)):
        left = 60 + (120 if way == "boxes apart" else 104) * i
        cv2.rectangle(page, (left, 48), (left + 104, 152), 120, 2)
        put(page, digit(label, 68), (left + 52, 100))
    characters = Photo(page).characters()
    assert len(characters) == 6
    assert all(60 < character.box[3] < 76 for character in characters)


def test_digits_that_reach_the_lines_of_a_table():
    page = np.full((440, 440), PAPER, np.uint8)
    for n in range(4):
        cv2.line(page, (40 + 120 * n, 40), (40 + 120 * n, 400), INK, 3)
        cv2.line(page, (40, 40 + 120 * n), (400, 40 + 120 * n), INK, 3)
    labels = (3, 1, 4, 5, 9, 2, 6, 7, 8)
    for i, label in enumerate(labels):
        put(page, digit(label, 121), (100 + 120 * (i % 3), 100 + 120 * (i // 3)))
    characters = Photo(page).characters()
    assert len(characters) == 9
    for label, character in zip(labels, characters, strict=True):
        alone = np.full((160, 160), PAPER, np.uint8)
        put(alone, digit(label, 121), (80, 80))
        assert np.corrcoef(photo_to_mnist(alone).ravel(), character.image.ravel())[0, 1] > 0.65, label  # cut off
