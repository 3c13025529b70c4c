"""The study in its database: no trial twice, none lost, whatever dies; and one clear line for what goes wrong."""

import ast
import contextlib
import multiprocessing
import sqlite3
import threading
import time
from pathlib import Path

import optuna
import psycopg  # noqa: F401 (its first import may take as long as the retries of the tests)
import pytest
from conftest import ROOT
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from benchmarks import untrained
from pipeline.errors import Failure, WrongUsage
from pipeline.tuning import database, search_space, workers
from pipeline.tuning import study as study_module
from pipeline.tuning.results_table import describe, results
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Study, best
from pipeline.tuning.workers import Objective

SMALL = Settings(max_conv_layers=2, max_linear_layers=2, max_epochs=10)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'study ä.db'}"


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(database, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(database, "GRACE_SECONDS", 2)
    monkeypatch.setattr(database, "SQLITE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(database, "START_TIMEOUT_SECONDS", 0.8)
    monkeypatch.setattr(database, "RUN_TIMEOUT_SECONDS", 0.8)


@pytest.fixture
def finish(tmp_path):
    """Runs a study's waiting trials here, with accuracies that need no training; the numbers of those that ended."""

    def run(open_study: Study, accuracy=lambda configuration: 80.0, count: int = 1000) -> list[int]:
        def rows(configuration):
            return untrained.rows(configuration, accuracy(configuration))

        before = {trial.number for trial in open_study.trials() if trial.state.is_finished()}
        while count and untrained.run_next(open_study, tmp_path, rows):
            count -= 1
        return [t.number for t in open_study.trials() if t.state.is_finished() and t.number not in before]

    return run


@pytest.mark.parametrize("name", ["a%20b", "what next?", "x {v1}", "#1", "a'b\"c", "é 漢 & = +"])
def test_any_folder_can_hold_the_database(tmp_path, name):
    (tmp_path / name).mkdir()
    study = Study(database.sqlite_url(tmp_path / name / "study.db"), "one", SMALL, 1)
    assert (tmp_path / name / "study.db").is_file() and [path.name for path in tmp_path.iterdir()] == [name]
    assert study.has_waiting()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        *((f"postgresql+psycopg://me:{password}@localhost/clothes", "write @ : / % as %40 %3A %2F %25")
          for password in ("p@ss:w/rd", "secret@word", "se:cret", "sec/ret", "100%", "a%zz")),
        ("sqlite://", "a database in memory cannot be resumed"), ("sqlite:///:memory:", "a database in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "a database in memory"), ("secretword", "is not a database URL"),
        ("postgresql://secret:1:2/x", "is not a database URL"), ("journal:///x.log", "in Optuna's journals"),
    ],
)  # fmt: skip
def test_urls_that_cannot_work_are_refused_at_once_without_the_password(given, line):
    with pytest.raises(WrongUsage) as failure:
        database.checked_url(given)
    message = str(failure.value)
    assert line in message and not any(part in message for part in ("p@ss", "secret", "w/rd", "word@", "a%zz", "100%"))


def test_a_url_that_works_keeps_its_password():
    given = "postgresql+psycopg://me:p%40ss%3Aw%2Frd%25@localhost:5433/clothes"
    assert database.sqlalchemy.make_url(database.checked_url(given)).password == "p@ss:w/rd%"
    assert database.without_password(given) == "postgresql+psycopg://me:***@localhost:5433/clothes"


@pytest.mark.parametrize(
    ("given", "file"),
    [("sqlite:///x{v1}.db", "work/x{v1}.db"), ("sqlite:///a b/x.db", "work/a b/x.db"),
     ("sqlite:///~/x.db", "home/x.db"), ("sqlite:////{}/y z.db", "y z.db")],
)  # fmt: skip
def test_a_path_may_be_relative_to_the_folder_or_the_home_and_have_spaces(given, file, tmp_path, monkeypatch):
    (tmp_path / "work" / "a b").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    Study(database.checked_url(given.replace("/{}", str(tmp_path))), "s", SMALL, 1)
    assert (tmp_path / file).is_file()


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
def test_every_trial_ends_once(url, sampler, finish):
    settings = Settings(sampler=sampler, max_conv_layers=1, max_linear_layers=2, max_dropout=0.1, max_hidden_units=64)
    settings = Settings(**vars(settings) | {"max_batch_size": 32, "max_epochs": 10})
    open_study = Study(url, "s", settings, 9)
    ended = finish(open_study, lambda one: 80 + one["learning_rate"] + one["epochs"])
    count = 12 if sampler == "grid" else 9
    assert sorted(ended) == list(range(count)) and open_study.is_finished() and not open_study.has_waiting()
    assert len(open_study.study.get_trials()) == count, "Optuna made none up"
    table = results(open_study.trials())
    assert len(table) == count and (table.state == "complete").all() and table.valid_acc.is_monotonic_decreasing
    assert list(table.columns) == [*search_space.DIMENSIONS, "valid_acc", "test_acc", "time_sec", "state"]
    assert (table.time_sec == 2 * table.epochs).all(), "what a run of its own would take"
    if sampler != "tpe":
        for number, planned in enumerate(search_space.plan(settings, 9)):
            assert table.loc[number, list(planned)].to_dict() == planned
    learned, total = open_study.progress()
    assert learned == total
    shares = open_study.importances()
    assert sum(shares.values()) == pytest.approx(1) and shares


def test_a_prolonged_study_keeps_what_is_done(url, finish):
    first = finish(Study(url, "s", SMALL, 4))
    more = Study(url, "s", SMALL, 10)
    assert sorted(first + finish(more)) == list(range(10))
    fewer = Study(url, "s", SMALL, 4)
    assert fewer.is_finished() and len(fewer.trials()) == 4
    assert len(more.study.get_trials()) == 10


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_start_together_write_one_plan_and_run_each_trial_once(url, tmp_path, count):
    """Real processes: threads would share what Optuna keeps in memory."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=run_without_training, args=(url, str(tmp_path / str(i)))) for i in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    trials = optuna.load_study(study_name="s", storage=url).get_trials()
    ran = [trial for trial in trials if "made it up" not in trial.user_attrs.get("reason", "")]
    assert [trial.user_attrs["plan"] for trial in ran] == list(range(16))
    assert all(trial.state == TrialState.COMPLETE and len(trial.intermediate_values) >= 5 for trial in ran)
    assert optuna.get_all_study_names(url) == ["s"]


def run_without_training(url: str, folder: str) -> None:
    """One machine's search, which shares nothing but the database."""
    Path(folder).mkdir()
    open_study = Study(url, "s", SMALL, 16)
    while not open_study.is_finished():
        untrained.run_next(open_study, Path(folder)) or time.sleep(0.1)


def test_a_dead_process_s_trial_is_run_again_and_a_live_one_s_is_not(url, finish):
    """A trial that is asked for outside of `optimize` has no heartbeat; one whose heartbeat stops is stale."""
    open_study = Study(url, "s", Settings(max_epochs=5), 3)
    dead = open_study.study.ask()
    open_study.storage.record_heartbeat(dead._trial_id)
    live = open_study.study.ask()
    open_study.storage.record_heartbeat(live._trial_id)
    time.sleep(3.5)
    open_study.storage.record_heartbeat(live._trial_id)
    other = Study(url, "s", Settings(max_epochs=5), 3)
    assert sorted(finish(other)) == [2, 3] and not other.is_finished()
    assert [trial.state.name for trial in other.trials()] == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert other.trials()[0].params == open_study.plan[0] and other.trials()[0].number == 3
    with pytest.raises(UpdateFinishedTrialError):
        dead.report(90.0, 1)


def test_a_trial_that_died_before_its_first_heartbeat_is_run_again(url, finish, monkeypatch):
    open_study = Study(url, "s", Settings(max_epochs=5), 2)
    open_study.study.ask()
    assert len(finish(open_study)) == 1 and not open_study.is_finished()
    monkeypatch.setattr(study_module, "FIRST_EPOCH_SECONDS", 0.1)
    time.sleep(0.2)
    assert len(finish(open_study)) == 1 and open_study.is_finished()
    assert results(open_study.trials()).state.tolist() == ["complete"] * 2


def test_a_trial_that_was_stopped_is_run_again(url, finish):
    open_study = Study(url, "s", Settings(max_epochs=5, sampler="tpe"), 1)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(open_study, stop)
    (stopped,) = open_study.trials()
    assert stopped.state == TrialState.FAIL and not open_study.is_finished()
    assert finish(open_study) == [1] and open_study.is_finished()
    assert open_study.trials()[0].params == stopped.params, "the sampler is not asked again"


def test_a_trial_whose_process_dies_in_the_same_epoch_again_and_again_is_failed(url, finish, monkeypatch):
    monkeypatch.setattr(database, "GRACE_SECONDS", 1)
    open_study = Study(url, "s", Settings(max_epochs=5), 1)
    monkeypatch.setattr(study_module, "MAX_ATTEMPTS", 2)
    for _ in range(2):
        dead = open_study.study.ask()
        dead.report(80.0, 1)
        open_study.storage.record_heartbeat(dead._trial_id)
        time.sleep(2.2)
        assert open_study.has_waiting()
    finish(open_study)
    assert "its worker died 2 times in the same epoch" in describe(open_study.trials()[0])
    assert open_study.is_finished()


def test_a_plan_whose_process_died_is_written_by_the_next(url, monkeypatch):
    monkeypatch.setattr(study_module, "PLANNING_SECONDS", 0.3)
    optuna.create_study(storage=url, study_name="s (planning)")
    assert len(Study(url, "s", SMALL, 3).study.get_trials()) == 3
    assert optuna.get_all_study_names(url) == ["s"]


def test_a_trial_made_up_by_optuna_is_no_part_of_the_plan(url, finish):
    open_study = Study(url, "s", SMALL, 2)
    finish(open_study)
    objective = Objective(open_study, None, Path(url.removeprefix("sqlite:///")).parent)
    open_study.study.optimize(objective, n_trials=1, catch=workers.TrialFailed)
    assert len(open_study.study.get_trials()) == 3
    more = Study(url, "s", SMALL, 4)
    assert len(finish(more)) == 2 and len(results(more.trials())) == 4


def test_hyperband_ends_what_lags_behind(url, finish):
    settings = Settings(**vars(SMALL) | {"pruner": "hyperband"})
    open_study, lengths = Study(url, "s", settings, 16), {}
    finish(open_study, lambda _: 90.0, 3)
    finish(open_study, lambda _: 50.0)
    for trial in open_study.trials():
        lengths.setdefault(trial.state, []).append(trial.last_step)
    assert len(lengths[TrialState.PRUNED]) >= 5 and max(lengths[TrialState.PRUNED]) < 10
    assert all(trial.state == TrialState.COMPLETE for trial in open_study.trials()[:1])
    table = results(open_study.trials())
    assert (table[table.state == "pruned"].epochs < 10).all() and len(table) == 16
    assert "pruned after epoch" in describe(next(t for t in open_study.trials() if t.state == TrialState.PRUNED))


def test_the_tree_s_choice_goes_where_it_was_good(url, finish):
    open_study = Study(url, "s", Settings(sampler="tpe", max_epochs=5), 30)
    accuracy = {0.01: 60.0, 0.001: 90.0, 0.0001: 70.0}
    finish(open_study, lambda one: accuracy[one["learning_rate"]] - one["conv_layers"])
    rates = [trial.params["learning_rate"] for trial in open_study.trials()]
    assert len(rates) == 30 and rates[15:].count(0.001) >= 10


def test_a_failed_trial_is_named_and_the_rest_goes_on(url, finish):
    open_study = Study(url, "s", Settings(max_epochs=5), 3)

    def diverge(_):
        raise Failure("the loss is nan\nand more")

    finish(open_study, diverge, 1)
    line = describe(open_study.trials()[0])
    assert "trial 0:" in line and line.endswith("failed, the loss is nan") and "\n" not in line
    assert len(finish(open_study)) == 2 and len(results(open_study.trials())) == 2
    assert open_study.is_finished(), "it is not tried again"


def test_only_optuna_s_public_interface_is_used():
    """No private attribute of another object, and none of the storage's methods that Optuna keeps for itself."""
    internal = {name for name in dir(optuna.storages.BaseStorage) if not name.startswith("_")}
    internal -= {*dir(optuna), *dir(optuna.Study), *dir(optuna.Trial), *dir(optuna.trial.FrozenTrial)}
    assert {"set_trial_state_values", "get_all_trials"} <= internal
    for path in sorted((ROOT / "pipeline" / "tuning").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                name, place = node.attr, f"{path.name}:{node.lineno}"
                assert name.endswith("__") or not name.startswith("_"), f"{place} uses the private {name}"
                assert name not in internal, f"{place} uses {name}, which Optuna keeps for itself"


def test_another_search_under_the_same_name(url):
    Study(url, "s", SMALL, 3)
    with pytest.raises(Failure, match=r"study s .* has other settings: give --max-epochs 10, or another") as message:
        Study(url, "s", Settings(**vars(SMALL) | {"max_epochs": 15}), 3)
    assert "\n" not in str(message.value)
    Study(url, "another", Settings(), 3)
    optuna.create_study(storage=url, study_name="foreign").enqueue_trial({"x": 1})
    with pytest.raises(Failure, match=r"study foreign .* has other settings"):
        Study(url, "foreign", SMALL, 3)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("nonsense", "Could not parse"),
        ("oracle2://host/db", "Can't load plugin"),
        ("postgresql+asyncfoo://host/db", "Can't load plugin"),
        ("mysql+mysqldb://host/db", "install appropriate"),
        ("sqlite:////no/such/folder/study.db", "unable to open"),
    ],
)
def test_a_url_that_leads_nowhere(bad, message):
    with pytest.raises(Failure, match=message) as failure:
        Study(bad, "s", SMALL, 1)
    assert "\n" not in str(failure.value) and "--storage" in str(failure.value)


def test_a_database_that_is_down(capsys):
    with pytest.raises(Failure, match=r"did not answer for 1 s .*check that it runs") as failure:
        Study("postgresql+psycopg://someone:secret@127.0.0.1:9/clothes", "s", SMALL, 1)
    assert "secret" not in str(failure.value) and "\n" not in str(failure.value)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "does not answer" in lines[0] and "secret" not in lines[0]


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "study.db").write_text("a shopping list, long enough to be no empty file")
    with pytest.raises(Failure, match=r"not a database.*delete it: the trained epochs are still in families/"):
        Study(f"sqlite:///{tmp_path / 'study.db'}", "s", SMALL, 1)


def test_a_study_with_damaged_rows(url, tmp_path, finish):
    """What SQLite cannot see is seen by Optuna; more of it in benchmarks/robustness/mutants.py."""
    finish(Study(url, "s", SMALL, 3), count=1)
    with sqlite3.connect(next(tmp_path.glob("*.db"))) as database:
        database.execute("update trial_params set distribution_json = 'nonsense'")
    for opened in (lambda: Study(url, "s", SMALL, 3), lambda: best(url, 0)):
        with pytest.raises(Failure, match=r"cannot be read .*restore a backup, or delete it") as failure:
            opened()
        assert "\n" not in str(failure.value)


def test_the_best_of_all_searches_in_a_database(url, finish):
    assert best(url, 0) is None
    stranger = optuna.create_study(storage=url, study_name="of somebody else", direction="maximize")
    stranger.add_trial(optuna.trial.create_trial(value=100.0))
    one, other = Study(url, "one", SMALL, 4), Study(url, "other", Settings(max_epochs=5), 3)
    assert best(url, 0) is None, "nothing is complete"
    finish(one, lambda _: 81.0, 1)
    finish(other, lambda _: 83.0, 1)
    finish(one, lambda _: 82.0, 1)
    finish(Study(url, "few", Settings(max_epochs=5, pictures=100), 1), lambda _: 99.0)
    study, trial = best(url, 0)
    assert (study, trial.number, trial.value) == ("other", 0, 83)


def test_a_read_only_database(url, tmp_path):
    Study(url, "s", SMALL, 3)
    read_only = f"sqlite:///file:{next(tmp_path.glob('*.db'))}?mode=ro&uri=true"
    with pytest.raises(Failure, match=r"readonly database.*choose another --storage"):
        Study(read_only, "s", SMALL, 4)


@pytest.mark.slow
def test_a_locked_database_is_waited_for(url, tmp_path, capsys, monkeypatch, finish):
    open_study = Study(url, "s", SMALL, 3)
    path = next(tmp_path.glob("*.db"))
    with locked(path), pytest.raises(Failure, match=r"did not answer for 1 s .*locked"):
        finish(open_study)
    assert "locked): trying again" in capsys.readouterr().out
    monkeypatch.setattr(database, "RUN_TIMEOUT_SECONDS", 20)
    lock = locked(path)
    lock.__enter__()
    threading.Timer(1.5, lambda: lock.__exit__(None, None, None)).start()
    assert len(finish(open_study)) == 3
    assert "answers again" in capsys.readouterr().out


@contextlib.contextmanager
def locked(path: Path):
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()
