import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from pipeline import plots
from pipeline.tuning import charts, search_space
from pipeline.tuning.search_space import Settings


@pytest.fixture(autouse=True)
def files_only():
    plots.select_backend(show=False)
    yield
    plt.close("all")


@pytest.fixture
def table() -> pd.DataFrame:
    """Forty trials, the first pruned; what decides is the learning rate."""
    table = pd.DataFrame(search_space.plan(Settings(), 40))
    table["valid_acc"] = 90 - 5.0 * (table.learning_rate == 0.01) - table.index / 100
    table["test_acc"], table["time_sec"] = table.valid_acc - 1, 10.0 * table.epochs * table.conv_layers
    table["state"] = ["pruned"] + ["complete"] * 39
    return table.rename_axis("trial").sort_values("valid_acc", ascending=False)


def test_dimensions_show_every_trial_and_the_medians(table):
    figure = charts.dimensions(table, search_space.DIMENSIONS, "title")
    drawn = dict(zip(search_space.DIMENSIONS, figure.axes, strict=False))
    assert all(len(axis.collections[0].get_offsets()) == 40 for axis in drawn.values())
    rates = sorted(table.learning_rate.unique())
    medians = [table[table.learning_rate == rate].valid_acc.median() for rate in rates]
    assert drawn["learning_rate"].lines[0].get_ydata() == pytest.approx(medians)
    assert [label.get_text() for label in drawn["epochs"].get_xticklabels()] == ["5", "10", "15", "20"]
    assert not figure.axes[-1].axison, "seven dimensions, eight places"


def test_coordinates_end_at_the_rank(table):
    (axis,) = charts.coordinates(table, search_space.DIMENSIONS, "title").axes
    lines = [line for line in axis.lines if len(line.get_xdata()) == 8]
    assert len(lines) == 40
    assert [line.get_ydata()[-1] for line in lines] == sorted(table.valid_acc.rank(pct=True)), "the best on top"


def test_importances_are_sorted(table):
    (axis,) = charts.importances({"epochs": 0.2, "learning_rate": 0.7, "dropout_rate": 0.1}, "title").axes
    assert [bar.get_width() for bar in axis.patches] == [0.1, 0.2, 0.7]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["dropout rate", "epochs", "learning rate"]


def test_progress_goes_up_and_tells_pruned_from_complete(table):
    (axis,) = charts.progress(table, "title").axes
    best = axis.lines[0].get_ydata()
    assert np.array_equal(best, np.maximum.accumulate(table.sort_index().valid_acc)) and len(best) == 40
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "complete (39)", "pruned (1)", "best so far"
    ]  # fmt: skip


def test_nothing_is_faster_and_better_than_the_front(table):
    (axis,) = charts.times(table, "title").axes
    seconds, accuracies = axis.lines[0].get_data()
    assert list(accuracies) == sorted(accuracies) and accuracies[-1] == table.valid_acc.max()
    for second, accuracy in zip(seconds, accuracies, strict=True):
        others = table[(table.time_sec <= second) & (table.valid_acc > accuracy)]
        assert len(others) == 0
