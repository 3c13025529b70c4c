"""The grid, the plan, and that one run of training answers for a family of configurations, to the bit."""

import dataclasses

import pytest
import torch

from pipeline import cli, errors
from pipeline.datasets import datasets
from pipeline.errors import Failure
from pipeline.evaluation import metrics
from pipeline.training import loop
from pipeline.tuning import search_space, trial
from pipeline.tuning.search_space import Settings

BASE = {"conv_layers": 1, "linear_layers": 2, "dropout_rate": 0.2, "hidden_units": 64, "batch_size": 32, "epochs": 10}
BASE |= {"learning_rate": 0.001}


@pytest.fixture
def data(split) -> datasets.Data:
    parts = [datasets.Split(split.images[a:b], split.labels[a:b]) for a, b in ((0, 300), (300, 400), (400, 500))]
    return datasets.Data("a few digits", *parts)


def test_the_report_s_grid():
    combinations = search_space.grid(Settings())
    assert len(combinations) == 1296 == len({tuple(one.values()) for one in combinations})
    assert tuple(combinations[0]) == search_space.DIMENSIONS
    values = {name: sorted({one[name] for one in combinations}) for name in search_space.DIMENSIONS}
    assert values == {
        "conv_layers": [1, 2, 3], "linear_layers": [1, 2, 3], "dropout_rate": [0.1, 0.2, 0.3],
        "hidden_units": [64, 128], "batch_size": [32, 64],
        "epochs": [5, 10, 15, 20], "learning_rate": [0.0001, 0.001, 0.01],
    }  # fmt: skip
    assert search_space.plan(Settings(sampler="grid"), 75) == combinations


def test_a_grid_beyond_measure_is_refused():
    with pytest.raises(Failure, match=r"combinations are more than the limit of .*: lower one of the --max- flags"):
        search_space.grid(Settings(max_hidden_units=2**16, max_batch_size=50_000))


def test_maxima_build_the_grid():
    small = Settings(max_conv_layers=1, max_linear_layers=2, max_dropout=0.35, max_hidden_units=200, max_epochs=9)
    assert search_space.dimensions(small)["dropout_rate"] == [0.1, 0.2, 0.3]
    assert search_space.dimensions(small)["hidden_units"] == [64, 128, 192]
    assert len(search_space.grid(small)) == 1 * 2 * 3 * 3 * 2 * 1 * 3
    for tenths in range(1, 10):
        assert len(search_space.dimensions(Settings(max_dropout=tenths / 10))["dropout_rate"]) == tenths, (
            "in spite of rounding"
        )


def test_75_at_random_have_no_repeats_and_the_seed_decides():
    key = lambda plan: [tuple(one.values()) for one in plan]  # noqa: E731
    first, again = (key(search_space.plan(Settings(seed=3), 75)) for _ in range(2))
    assert first == again and len(set(first)) == 75
    assert key(search_space.plan(Settings(seed=4), 75)) != first
    assert key(search_space.plan(Settings(seed=3), 150))[:75] == first, "a longer search continues a shorter one"
    assert search_space.plan(Settings(sampler="tpe"), 3) == [None] * 3
    assert len(search_space.plan(Settings(), 5000)) == 1296


def test_pictures_are_limited_in_proportion_and_the_name_says_so(data, monkeypatch):
    monkeypatch.setattr(datasets, "fashion_mnist", lambda data_dir: data)
    few = trial.fashion_data(Settings(pictures=64), cli.DATA_DIR)
    assert (len(few.train), len(few.valid), len(few.test)) == (64, 16, 100) and "(64 to learn from)" in few.name


def alone(configuration: dict, settings: Settings, data: datasets.Data) -> list[tuple[float, float]]:
    """The oracle: a run of its own, evaluated after every epoch."""
    torch.manual_seed(settings.seed)
    model = trial.build_network(configuration)
    recipe = trial.recipe(configuration, settings, torch.device("cpu"))
    return [
        (metrics.evaluate(epoch.model, data.valid), metrics.evaluate(epoch.model, data.test))
        for epoch in loop.fit(model, data.train, recipe, settings.seed, quiet=True)
    ]


@pytest.mark.parametrize("batch_norm", [0, 1])
def test_a_run_of_10_epochs_passes_through_that_of_5(data, batch_norm):
    settings = Settings(batch_norm=batch_norm, seed=2)
    assert alone(BASE | {"epochs": 5}, settings, data) == alone(BASE, settings, data)[:5]


def test_a_family_shares_one_run_whichever_comes_first(data, tmp_path, monkeypatch):
    settings = Settings(sampler="tpe", max_epochs=10)
    expected = alone(BASE, settings, data)
    learned, fit = [], loop.fit

    def watched(*arguments, **options):
        for epoch in fit(*arguments, **options):
            learned.append(epoch.number)
            yield epoch

    monkeypatch.setattr(loop, "fit", watched)
    for epochs in (5, 10, 5):  # begun, gone on with, answered from the file
        rows = list(trial.train(BASE | {"epochs": epochs}, settings, data, tmp_path))
        assert [row["valid_accuracy"] for row in rows] == [valid[1] for valid, _ in expected[:epochs]]
        assert rows[-1]["test_accuracy"] == expected[epochs - 1][1][1] and rows[0]["test_accuracy"] is None
        seconds = [row["seconds"] for row in rows]
        assert seconds == sorted(seconds) and seconds[0] > 0
    assert learned == list(range(1, 11)), "no epoch twice"
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 10_000, "the state goes once nothing will go on from it"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["seed", "data", "batch_norm", "dropout_rate", "damaged"])
def test_others_do_not_get_a_family_s_rows(data, tmp_path, change):
    settings = Settings(max_epochs=5)
    five = BASE | {"epochs": 5}
    first = list(trial.train(five, settings, data, tmp_path))
    if change == "data":
        data = dataclasses.replace(data, name="others", train=data.valid)
    elif change == "dropout_rate":
        five = five | {"dropout_rate": 0.1}
    elif change == "damaged":
        next(tmp_path.iterdir()).write_bytes(b"half a fi")
    else:
        settings = dataclasses.replace(settings, **{change: 1})
    again = list(trial.train(five, settings, data, tmp_path))
    accuracies = [[row["valid_accuracy"] for row in rows] for rows in (first, again)]
    assert (accuracies[0] == accuracies[1]) == (change == "damaged")
    assert again[-1]["seconds"] != first[-1]["seconds"], "trained, not read"


def test_families():
    settings = Settings()
    sizes = {}
    for one in search_space.grid(settings):
        key = search_space.family(one, settings)
        sizes[key] = sizes.get(key, 0) + 1
    assert sum(sizes.values()) == 1296 and sorted(set(sizes.values())) == [4, 8], "no hidden units, no difference"
    cycle = Settings(schedule="one-cycle")
    five, ten = (search_space.family(BASE | {"epochs": epochs}, cycle) for epochs in (5, 10))
    assert five != ten, "the schedule depends on the epochs"
    one_layer = [trial.build_network(BASE | {"linear_layers": 1, "hidden_units": units}) for units in (64, 128)]
    shapes = [[tuple(weight.shape) for weight in model.parameters()] for model in one_layer]
    assert shapes[0] == shapes[1]


def test_a_lost_network_is_a_failure(data, tmp_path):
    with pytest.raises(errors.Failure, match="training diverged"):
        list(trial.train(BASE | {"learning_rate": 1e30}, Settings(), data, tmp_path))


def test_the_estimate_counts_and_measures(data, monkeypatch):
    monkeypatch.setattr(trial, "seconds_per_epoch", lambda configuration, settings, data: 2.0)
    settings = Settings(sampler="grid", max_conv_layers=1, max_linear_layers=2, max_dropout=0.1, max_batch_size=32)
    separate, together, seconds = trial.estimate(settings, 75, data)
    assert separate == (5 + 10 + 15 + 20) * 3 * 2 * 2 and together == 20 * 3 * 3 and seconds == 2.0 * together
    monkeypatch.undo()
    times = [trial.seconds_per_epoch(BASE | {"conv_layers": n}, Settings(), data) for n in (1, 3)]
    assert 0 < times[0] < 60 and 0 < times[1] < 60


def test_trials_of_one_configuration_differ_by_the_seed_only(data):
    results = [alone(BASE | {"epochs": 5}, Settings(seed=seed), data)[-1][0][0] for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
