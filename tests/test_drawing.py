import matplotlib.pyplot as plt
import numpy as np
import pytest

from pipeline import plots
from pipeline.interpretability import drawing, filter_bank

RANDOM = np.random.default_rng(0)
TEN = RANDOM.normal(size=(10, 5, 5))
DIGIT = RANDOM.random((28, 28))


@pytest.fixture(autouse=True)
def files_only():
    plots.select_backend(show=False)
    yield
    plt.close("all")


def drawn(figure) -> list[np.ndarray]:
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def titles(figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def test_ten_filters_lie_in_3x4_on_one_color_scale():
    figure = drawing.filters(TEN, "ten")
    *cells, bar = figure.axes
    assert len(cells) == 12 and sum(bool(cell.images) for cell in cells) == 10
    assert not any(cell.axison for cell in cells), "the two empty cells are hidden"
    images = [cell.images[0] for cell in cells if cell.images]
    assert {image.get_clim() for image in images} == {(TEN.min(), TEN.max())}
    assert {image.get_cmap().name for image in images} == {"viridis"} and bar.get_ylabel() == "weight"
    for image, values in zip(images, TEN, strict=True):
        assert np.array_equal(image.get_array(), values)


def test_filtered_shows_the_picture_each_filter_and_each_result():
    results = RANDOM.normal(size=(10, 28, 28))
    shown = drawn(drawing.filtered(DIGIT, TEN, results, "x"))
    for values in (DIGIT, *TEN, *results):
        assert any(image.shape == values.shape and np.array_equal(image, values) for image in shown)


def test_a_match_is_drawn_with_the_sign_that_fits():
    bank = filter_bank.standard(5)
    found, correlations = filter_bank.best_matches(TEN, bank)
    figure = drawing.matches(TEN, found, correlations, {"a": RANDOM.random(50), "b": RANDOM.random(50)}, "x")
    shown = drawn(figure)
    for i in range(10):
        own, standard = shown[2 * i], shown[2 * i + 1]
        assert np.corrcoef(own.ravel(), standard.ravel())[0, 1] == pytest.approx(abs(correlations[i]))
        minus = "−" if correlations[i] < 0 else ""
        assert titles(figure)[2 * i : 2 * i + 2] == [
            f"filter {i}\n$r$ = {abs(correlations[i]):.2f}",
            f"{minus}{found[i]}\n",
        ]
    (marks,) = [line for line in figure.axes[-1].lines if line.get_marker() == "v"]
    np.testing.assert_allclose(marks.get_xdata(), np.abs(correlations))


def test_the_way_shows_every_stage_and_every_probability():
    stages = {"conv1": RANDOM.normal(size=(10, 24, 24)), "after fc1": RANDOM.random(50)}
    figure = drawing.forward_pass(DIGIT, stages, np.array([0.125, 0.875]), ["no", "yes"], "x")
    assert [axis.get_ylabel() for axis in figure.axes[:3]] == ["image\n28×28", "conv1\n10×24×24", "after fc1\n50"]
    sheet = drawn(figure)[1]
    assert np.array_equal(sheet[:24, :24], stages["conv1"][0]) and np.array_equal(sheet[:, -24:], stages["conv1"][9])
    assert np.array_equal(drawn(figure)[2].ravel(), stages["after fc1"])
    bars = figure.axes[-1]
    assert [bar.get_height() for bar in bars.patches] == [12.5, 87.5]
    assert [text.get_text() for text in bars.texts] == ["12.5", "87.5"]


def test_tiles_leave_gaps_of_nothing():
    sheet = drawing._tiles(np.arange(12.0).reshape(3, 2, 2), columns=2)
    expected = np.full((5, 5), np.nan)
    expected[:2, :2], expected[:2, 3:], expected[3:, :2] = [[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]
    np.testing.assert_array_equal(sheet, expected)


@pytest.mark.parametrize("channels", [10, 20, 96])
def test_each_channel_has_its_patches_below_its_number(channels):
    cuts = RANDOM.random((channels, 6, 14, 14))
    figure = drawing.patches(cuts, [f"{i}\n1.00" for i in range(channels)], None, "x")
    assert [title.split("\n")[0].split()[-1] for title in titles(figure)] == [str(i) for i in range(channels)]
    column = drawn(figure)[3]  # (6 patches and 5 gaps of 2 pixels, 14, colors)
    assert column.shape == (6 * 14 + 5 * 2, 14, 4) and (column[14:16] == 1).all()
    gray = (cuts[3, 1] - cuts.min()) / np.ptp(cuts)
    np.testing.assert_allclose(column[16:30, :, 0], gray, atol=1 / 255)


def test_bars_are_as_high_as_what_is_lost():
    lost = {"conv1": np.array([1.5, 0.0, -0.25]), "conv2": np.array([0.5, 2.0])}
    figure = drawing.channel_losses(lost, "x")
    for axis, values in zip(figure.axes, lost.values(), strict=True):
        assert [bar.get_height() for bar in axis.patches] == values.tolist()
        assert [float(text.get_text()) for text in axis.texts] == values.tolist()


def test_occlusions_with_incorrect_predictions_and_without():
    maps = {"for 7": RANDOM.normal(size=(28, 28)), "for 2": RANDOM.normal(size=(28, 28))}
    right = [(DIGIT, "7", {"for 7": maps["for 7"]})]
    figure = drawing.occlusions({"right answers": right, "wrong answers": [(DIGIT, "7, is 2", maps)] * 2}, "x")
    assert titles(figure).count("for 7") == 3 and titles(figure).count("for 2") == 2
    assert {axis.title.get_color() for axis in figure.axes if axis.get_title() == "7, is 2"} == {plots.TEST_COLOR}
    assert titles(drawing.occlusions({"right answers": right, "wrong answers": []}, "x")) == ["7", "for 7"]


@pytest.mark.parametrize("count", [0, 1, 10])
def test_mistakes_are_ringed_where_they_lie(count):
    points, labels = RANDOM.normal(size=(40, 2)), np.arange(40) % 4
    marked = [(points[i], DIGIT, f"{i}, is 3") for i in range(count)]
    figure = drawing.decision_plane(points, labels, ["a", "b", "c", "d", "unseen"], marked, "x")
    axis = figure.axes[0]
    assert np.array_equal(axis.collections[0].get_offsets(), points)
    rings = sorted(tuple(line.get_xydata()[0]) for line in axis.lines)
    assert rings == sorted(tuple(points[i]) for i in range(count)) and len(figure.axes) == 1 + count
    assert [text.get_text() for text in axis.texts] == ["a", "b", "c", "d"]
