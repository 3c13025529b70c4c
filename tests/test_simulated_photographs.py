from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import LIGHTS, PAPERS, PATTERNS, PENS, Conditions
from pipeline.datasets import synthetic

CLEAN = Conditions(size=(320, 240))
SHEET = ["127", "3045", "98"]


def middles(boxes):
    return np.array([[x + width / 2, y + height / 2] for x, y, width, height in boxes])


def darkness(picture):
    return 255 - picture.min(2).astype(float)


def changed(rows=("7",), clean=CLEAN, **conditions):
    """How much each pixel changes, as a mean over the colors, when one condition does."""
    before, after = (photograph(rows, 0, case)[0].astype(float) for case in (clean, replace(clean, **conditions)))
    return np.abs(after - before).mean(2)


def test_the_seed_decides_every_byte_and_box():
    for seed in range(3):
        conditions = Conditions.random(np.random.default_rng(seed), size=(160, 120))
        assert conditions == Conditions.random(np.random.default_rng(seed), size=(160, 120))
        (first, boxes), (second, again) = (photograph(["52"], 7, conditions) for _ in range(2))
        assert np.array_equal(first, second) and boxes == again
        assert not np.array_equal(first, photograph(["52"], 8, conditions)[0])


@pytest.mark.parametrize("size", [(64, 64), (101, 67), (240, 320)])
def test_the_image_has_the_given_size(size):
    picture, (box,) = photograph([["4"]], 0, Conditions.random(np.random.default_rng(0), size=size))
    assert picture.shape == (size[1], size[0], 3) and picture.dtype == np.uint8
    assert all(type(figure) is int for figure in box)


@pytest.mark.parametrize("pen", ["felt pen", "marker", "blue ballpoint"])
@pytest.mark.parametrize("turned", [{}, {"rotation": 9.0, "tilt": (0.1, -0.1), "curl": 0.01}])
def test_boxes_hold_the_ink_and_nothing_but_it(pen, turned):
    picture, boxes = photograph(SHEET, 1, replace(CLEAN, size=(900, 700), fill=0.9, pen=pen, **turned))
    dark = darkness(picture) > 110
    for x, y, width, height in boxes:
        rows = np.flatnonzero(dark[y : y + height, x : x + width].any(1))
        columns = np.flatnonzero(dark[y : y + height, x : x + width].any(0))
        # ink begins and ends on the box's four sides
        assert rows[0] <= 1 and columns[0] <= 1 and rows[-1] >= height - 2 and columns[-1] >= width - 2
        dark[max(0, y - 1) : y + height + 1, max(0, x - 1) : x + width + 1] = False
    assert not dark.any(), "ink outside of every box"


def test_boxes_stay_true_in_any_photograph():
    """On the same photograph without light, camera and dirt, whose boxes must be the same."""
    for seed in range(12):
        case = Conditions.random(np.random.default_rng(seed), size=(320, 240), pen="felt pen", paper="white", fill=0.5)
        _, boxes = photograph(["38"], seed, case)
        plain = {"pattern": "plain", "edge": False, "neighbors": False, "specks": 0, "light": "even", "tint": 0.0}
        bare, same = photograph(["38"], seed, replace(case, **plain, blur=0.0, noise=0.0, quality=100))
        assert boxes == same
        assert all(x >= 0 and y >= 0 and x + wide <= 320 and y + high <= 240 for x, y, wide, high in boxes)
        rows, columns = np.nonzero(darkness(bare) > 120)
        low, high = np.min([box[:2] for box in boxes], 0), np.max([np.add(box[:2], box[2:]) for box in boxes], 0)
        assert abs(np.array([columns.min(), rows.min()]) - low).max() <= 1
        assert abs(np.array([columns.max(), rows.max()]) + 1 - high).max() <= 1


def test_boxes_come_in_reading_order_and_apart():
    for seed in range(10):
        _, boxes = photograph(SHEET, seed, replace(CLEAN, size=(600, 400), fill=0.9))
        assert len(boxes) == 9
        places, rows = middles(boxes), np.split(np.arange(9), [3, 7])
        for row in rows:
            assert (np.diff(places[row, 0]) > 0).all()
        assert all(places[above, 1].max() < places[below, 1].min() for above, below in pairwise(rows))
        height = np.median([box[3] for box in boxes])
        for row in rows:
            gaps = [boxes[j][0] - boxes[i][0] - boxes[i][2] for i, j in pairwise(row)]
            assert min(gaps) > 0.2 * height


def test_tight_writing_is_tighter():
    loose, tight = (photograph(["123456"], 0, replace(CLEAN, gap=gap))[1] for gap in (0.25, 0.05))
    # as the longer side stays the same, tighter writing is higher
    assert middles(tight).shape == (6, 2) and tight[0][3] > 1.1 * loose[0][3]


def test_place_and_fill():
    for place in [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)]:
        _, ((x, y, width, height),) = photograph(["0"], 0, replace(CLEAN, fill=0.4, place=place))
        middle = (x + width / 2) / 320, (y + height / 2) / 240
        assert all((share > 0.5) == (corner > 0.5) for share, corner in zip(middle, place, strict=True))
        assert max(width / 320, height / 240) == pytest.approx(0.4, abs=0.08)
        assert x >= 0 and y >= 0 and x + width <= 320 and y + height <= 240


@pytest.mark.parametrize("pen", PENS)
def test_every_pen_shows(pen):
    case = replace(CLEAN, pen=pen, paper={"chalk": "board", "white pen": "black"}.get(pen, "white"))
    picture, ((x, y, width, height),) = photograph(["8"], 0, case)
    glyph = picture[y : y + height, x : x + width].reshape(-1, 3).astype(float)
    contrast = np.abs(glyph - np.array(PAPERS[case.paper])).max(1)
    assert np.percentile(contrast, 95) > 90, "ink as well as"
    assert np.percentile(contrast, 20) < 30, "paper"
    ink = glyph[contrast > 60].mean(0)
    assert np.abs(ink - PENS[pen].color).max() < 60


def test_every_paper_pattern_and_light_shows():
    looks = [photograph(["1"], 0, replace(CLEAN, paper=paper))[0][:40].mean((0, 1)) for paper in PAPERS]
    assert all(np.abs(one - other).max() > 8 for one, other in combinations(looks, 2))
    shares = [(changed(clean=replace(CLEAN, fill=0.2), pattern=pattern) > 12).mean() for pattern in PATTERNS]
    assert shares[0] == 0 and all(0.002 < share < 0.3 for share in shares[1:])
    assert all(changed(light=light).max() > 40 for light in LIGHTS[1:])


@pytest.mark.parametrize(
    ("conditions", "least"),
    [
        ({"blur": 3.0}, 2),
        ({"noise": 8.0}, 4),
        ({"quality": 20}, 1),
        ({"tint": 1.0}, 5),
        ({"tint": -1.0}, 5),
        ({"rotation": 8.0}, 2),
        ({"tilt": (0.2, 0.0)}, 1),
        ({"curl": 0.03}, 1),
        ({"gap": 0.1}, 2),
    ],
)
def test_every_condition_of_the_camera_shows(conditions, least):
    assert changed(["74"], **conditions).mean() > least


def test_rotation_is_clockwise():
    for rotation in (-8, 8):
        places = middles(photograph(["55555"], 0, replace(CLEAN, rotation=rotation))[1])
        slope = np.degrees(np.arctan2(*(places[-1] - places[0])[::-1]))
        assert slope == pytest.approx(rotation, abs=3)


def test_what_is_tilted_away_is_smaller():
    def narrowing(**tilted):
        widths = [box[2] for box in photograph(["0000000"], 0, replace(CLEAN, size=(900, 300), fill=0.9, **tilted))[1]]
        return widths[-1] / widths[0]

    assert narrowing(tilt=(0.2, 0.0)) < 0.8 * narrowing() and narrowing(tilt=(-0.2, 0.0)) > 1.25 * narrowing()


def test_the_page_ends_in_the_picture_but_never_through_ink():
    for seed in range(6):
        case = replace(CLEAN, fill=0.4, place=(0.2, 0.4), rotation=5.0)
        before, after = (photograph(["6"], seed, replace(case, edge=edge)) for edge in (False, True))
        moved = np.abs(after[0].astype(int) - before[0]).max(2) > 40
        x, y, width, height = after[1][0]
        assert 0.03 < moved.mean() < 0.6 and not moved[y : y + height, x : x + width].any()


def test_neighbors_hang_over_the_border_and_keep_off_the_ink():
    moved = changed(["6"], replace(CLEAN, fill=0.3), neighbors=True) > 60
    _, ((x, y, width, height),) = photograph(["6"], 0, replace(CLEAN, fill=0.3))
    border = np.concatenate([moved[0], moved[-1], moved[:, 0], moved[:, -1]])
    assert border.any() and not moved[y - 4 : y + height + 4, x - 4 : x + width + 4].any()


def test_nobody_writes_on_the_desk():
    case = replace(CLEAN, fill=0.3, place=(0.2, 0.5))
    desk = changed(["6"], case, edge=True) > 60
    letters = changed(["6"], replace(case, edge=True), neighbors=True) > 60
    assert desk.any() and letters.any() and not (desk & letters).any()


def test_specks_have_the_given_number():
    assert 0 < (changed(specks=3) > 30).sum() < (changed(specks=40) > 30).sum()


def test_the_pen_path_of_one_character_is_one_of_the_ways_it_is_written():
    rng = np.random.default_rng(0)
    path = synthetic.write_template("4", rng)
    assert all(stroke.shape[1] == 2 and 0.4 < np.ptp(np.concatenate(path)[:, 1]) < 2 for stroke in path)
    assert {len(synthetic.write_template("4", rng)) for _ in range(40)} == {1, 2}, "some lift the pen"
