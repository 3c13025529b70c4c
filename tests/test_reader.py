import numpy as np
import pytest
import torch
from torch import nn

import pipeline.preprocessing.photo as photo_reading
from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import Conditions
from pipeline.evaluation.handwriting import MIN_CONFIDENCE, UNCLEAR
from pipeline.live.reader import EMPTY_READING, EXIT_CONFIDENCE, SMOOTHING_SECONDS, Reading, SmoothedReader
from pipeline.preprocessing.photo import photo_to_mnist

RATE = 30
EMPTY = np.full((360, 360, 3), 200, np.uint8)


class Sayer(nn.Module):
    """Predict `a` with the given confidence for any image; keep the images."""

    class_names = ("a", "b", "c")

    def __init__(self, confidence: float = 0.99):
        super().__init__()
        self.confidence, self.seen = confidence, []

    def forward(self, x):
        self.seen.append(x)
        rest = (1 - self.confidence) / 2
        return torch.tensor([[self.confidence, rest, rest]]).log()


def page(right: int = 0, size: int = 360, **conditions) -> np.ndarray:
    """A page with a 3, moved to the right."""
    picture, _ = photograph([["3"]], 5, Conditions(size=(360, 360), fill=0.5, **conditions))
    moved = np.full_like(picture, picture[0, 0])
    moved[:, max(0, right) : 360 + right] = picture[:, max(0, -right) : 360 - right] if right else picture
    return moved[:size, :size]


def read(reader: SmoothedReader, crops, begin: float = 0.0) -> list[Reading]:
    return [reader.read(crop, begin + i / RATE) for i, crop in enumerate(crops)]


def test_a_page_that_lies_still_is_named_within_half_a_second_and_not_at_once():
    labels = [reading.label for reading in read(SmoothedReader(Sayer()), [page()] * 20)]
    assert labels[0] == "" and labels[RATE // 2] == "a" and labels[-1] == "a"
    first = labels.index("a")
    assert 3 <= first <= 12 and labels[first:] == ["a"] * (20 - first)


def test_what_the_network_sees_is_what_a_file_gives():
    crop, _ = photograph([["3"]], 5, Conditions(size=(160, 160), fill=0.5))  # small enough to be read as it is
    reading = read(SmoothedReader(Sayer()), [crop, crop])[-1]
    assert np.array_equal(reading.image, photo_to_mnist(crop)) and reading.image.any()


def test_an_empty_box_has_nothing_to_say():
    for reading in read(SmoothedReader(Sayer()), [EMPTY] * 20):
        assert reading == EMPTY_READING or (reading.label, reading.confidence, reading.top_classes) == ("", 0.0, [])


def test_what_is_no_character_is_unclear_and_stays_so():
    labels = [reading.label for reading in read(SmoothedReader(Sayer(0.5)), [page()] * 30)]
    assert labels[-15:] == [UNCLEAR] * 15


def test_the_answer_goes_when_the_page_moves_and_when_it_is_gone():
    reader = SmoothedReader(Sayer())
    assert read(reader, [page()] * 15)[-1].label == "a"
    moving = read(reader, [page(step) for step in range(24, 174, 18)], 1)
    assert [reading.label for reading in moving[2:]] == [""] * 7
    assert read(reader, [EMPTY], 2)[0].label == ""


def test_a_trembling_hand_and_noise_do_not_move_it():
    rng = np.random.default_rng(1)
    crops = [page(int(rng.integers(-2, 3)), noise=4, blur=1) for _ in range(40)]
    assert {reading.label for reading in read(SmoothedReader(Sayer()), crops)[15:]} == {"a"}


def test_what_the_boxs_edge_cuts_is_still_coming_in():
    assert {reading.label for reading in read(SmoothedReader(Sayer()), [page(140)] * 20)} == {""}


def test_a_single_frame_that_is_read_otherwise_does_not_flicker():
    model, labels = Sayer(), []
    reader = SmoothedReader(model)
    for i in range(40):
        model.confidence = 0.4 if i == 25 else 0.999
        labels.append(reader.read(page(), i / RATE).label)
    assert set(labels[15:]) == {"a"}


@pytest.mark.parametrize("before, now, label", [(0.99, 0.75, "a"), (0.5, 0.75, UNCLEAR), (0.99, 0.6, UNCLEAR)])
def test_an_answer_stays_where_it_would_not_appear(before, now, label):
    model = Sayer(before)
    reader = SmoothedReader(model)
    read(reader, [page()] * 20)
    model.confidence = now
    assert EXIT_CONFIDENCE < 0.75 < MIN_CONFIDENCE and read(reader, [page()] * 20, 20 / RATE)[-1].label == label


def test_a_slow_camera_is_classified_too():
    reader = SmoothedReader(Sayer())
    labels = [reader.read(page(), i / 8).label for i in range(8)]
    assert labels[4] == "a"


def test_what_moves_is_not_read():
    model = Sayer()
    moving = read(SmoothedReader(model), [page(noise=20), 255 - page()] * 4)
    assert not any(reading.image.any() for reading in moving) and not model.seen
    reader = SmoothedReader(model)
    assert [reading.top_classes == [] for reading in read(reader, [page()] * 3)] == [True, False, False]


@pytest.mark.parametrize("faint, label", [(8, "a"), (20, "")])
def test_a_strokes_end_may_come_and_go_but_not_half_a_stroke(faint, label, monkeypatch):
    """The upper side of the ink jumps by so many pixels of 160 from frame to frame, the others stay."""
    character = photo_reading.Photo(page()).character
    heights = iter(range(1000))

    def found(photo):
        lost = faint if next(heights) % 2 else 0
        return photo_reading.Character((60, 50 + lost, 40, 60 - lost), character.image)

    monkeypatch.setattr(photo_reading.Photo, "character", property(found))
    assert read(SmoothedReader(Sayer()), [page()] * 20)[-1].label == label


def test_the_views_alternate():
    model = Sayer()
    read(SmoothedReader(model), [page()] * 7)  # the first is not looked at
    looks = [image.numpy() for image in model.seen]
    assert len(looks) == 6 and np.array_equal(looks[0], looks[5])
    assert not any(np.array_equal(looks[i], looks[j]) for i in range(5) for j in range(i))


@pytest.mark.parametrize("sure_of, label", [((-12, -6, 0), "a"), ((0, 6, 12), "a"), ((-12, 12), UNCLEAR)])
def test_a_rotated_page_is_classified_by_three_adjacent_views(sure_of, label, monkeypatch):
    reader = SmoothedReader(Sayer())

    def predict(image, degrees):
        reader.frames += 1
        return np.log([0.98, 0.01, 0.01] if degrees in sure_of else [0.4, 0.3, 0.3])

    monkeypatch.setattr(reader, "_predict", predict)
    assert read(reader, [page()] * 20)[-1].label == label


def test_three_likeliest_and_the_box_of_the_ink():
    reading = read(SmoothedReader(Sayer(0.8)), [page()] * 3)[-1]
    assert reading.top_classes[0][0] == "a" and len(reading.top_classes) == 3
    assert sum(probability for _, probability in reading.top_classes) == pytest.approx(1)
    _, [box] = photograph([["3"]], 5, Conditions(size=(360, 360), fill=0.5))
    assert np.abs(np.subtract(reading.box, box)).max() <= 6


def test_memory_stays_flat():
    reader = SmoothedReader(Sayer())
    read(reader, [page(size=160)] * 100)
    assert len(reader.recent) <= SMOOTHING_SECONDS * RATE + 1
