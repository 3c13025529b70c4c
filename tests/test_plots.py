import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

import models
from pipeline import plots


@pytest.fixture(autouse=True)
def files_only():
    plots.select_backend(show=False)
    yield
    plt.close("all")


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_the_diagram_shows_every_stage_with_shape_and_parameters():
    model = models.MnistNet()
    figure = plots.network_diagram(model, "The digit network")
    (axis,) = figure.axes
    written = texts(axis)
    assert "21,840 parameters" in axis.get_title()
    shapes = ["1×28×28", "10×24×24", "10×12×12", "20×8×8", "20×4×4", "320", "50", "10"]
    assert all(shape in written for shape in shapes)
    assert [text.split("\n")[0] for text in written if text.endswith("\nparameters")] == [
        "260",
        "5,020",
        "16,050",
        "510",
    ]
    assert not any(parameter.grad is not None for parameter in model.parameters()) and model.training


def test_incorrect_predictions_are_red():
    figure = plots.image_grid(torch.rand(3, 1, 28, 28), ["7", "2, is 3", "1!"], 2, "three", [False, True, False])
    captions = {axis.get_title(): axis.title.get_color() for axis in figure.axes}
    assert captions == {"7": "black", "2, is 3": plots.TEST_COLOR, "1!": "black", "": captions[""]}


def test_curves_show_the_values_they_are_given():
    figure = plots.losses(([50, 100], [2.0, 1.0]), ([0, 100], [2.3, 0.9]), "loss")
    line, dots = figure.axes[0].lines[0], figure.axes[0].collections[0]
    assert line.get_xydata().tolist() == [[50, 2.0], [100, 1.0]]
    assert dots.get_offsets().tolist() == [[0, 2.3], [100, 0.9]]
    percent = {"train": [90, 95, 97], "valid": [91, 96, 95], "test": [90, 94, 95]}
    figure = plots.accuracies([1, 2, 3], percent, 2, "a")
    assert [list(line.get_ydata()) for line in figure.axes[0].lines[:3]] == list(percent.values())
    assert set(figure.axes[0].lines[3].get_xdata()) == {2}, "the epoch that is kept"


def test_the_confusion_table_shows_every_count():
    counts = pd.DataFrame([[5, 1], [0, 7]], ["a", "b"], ["a", "b"])
    (axis,) = plots.confusion(counts, "x").axes
    assert texts(axis) == ["5", "1", "7"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("before")
    figure = plt.figure()
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        plots.save(figure, path)
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_without_a_display_show_says_so(capsys):
    plots.show()
    assert "no display" in capsys.readouterr().out


def test_any_name_can_be_drawn(tmp_path, capsys):
    """Dollars are no formula, and what the fonts lack appears as its code point."""
    names = ["$", "$$", "us$ {", "é", "ψ", "\U000f0000", "\udce9"]
    counts = pd.DataFrame(np.eye(len(names), dtype=int), names, names)
    figure = plots.confusion(counts, "$ and us$")
    plots.save(plots.image_grid(torch.rand(2, 1, 28, 28), ["is $", "$ 95 %, is us$"], 2, "$"), tmp_path / "grid.png")
    plots.save(figure, tmp_path / "confusion.png")
    expected = ["$", "$$", "us$ {", "é", "ψ", "U+F0000", "U+DCE9"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == expected
    figure, axis = plt.subplots()
    axis.set_title("\U000f0000!")
    plots.save(figure, tmp_path / "title.png")
    assert axis.get_title() == "U+F0000!"
    assert capsys.readouterr().out.count("as U+F0000") == 1
