"""The study in its database: no trial twice, none lost, whatever dies; and one clear line for what goes wrong."""

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import optuna
import psycopg  # noqa: F401 (its first import may take as long as the retries of the tests)
import pytest
from optuna.trial import TrialState

from pipeline.errors import Failure, WrongUsage
from pipeline.tuning import database, leases, search_space
from pipeline.tuning.results_table import describe, results
from pipeline.tuning.search_space import Settings
from pipeline.tuning.study import Job, Study, best

SMALL = Settings(max_conv_layers=2, max_linear_layers=2, max_epochs=10)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'study ä.db'}"


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(database, "SQLITE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(database, "START_TIMEOUT_SECONDS", 0.8)
    monkeypatch.setattr(database, "RUN_TIMEOUT_SECONDS", 0.8)


@pytest.mark.parametrize("name", ["a%20b", "what next?", "x {v1}", "#1", "a'b\"c", "é 漢 & = +"])
def test_any_folder_can_hold_the_database(tmp_path, name):
    (tmp_path / name).mkdir()
    study = Study(database.sqlite_url(tmp_path / name / "study.db"), "one", SMALL, 1)
    assert (tmp_path / name / "study.db").is_file() and [path.name for path in tmp_path.iterdir()] == [name]
    assert study.take() is not None
    study.release()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        *((f"postgresql+psycopg://me:{password}@localhost/clothes", "write @ : / % as %40 %3A %2F %25")
          for password in ("p@ss:w/rd", "secret@word", "se:cret", "sec/ret", "100%", "a%zz")),
        ("sqlite://", "a database in memory cannot be resumed"), ("sqlite:///:memory:", "a database in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "a database in memory"), ("secretword", "is not a database URL"),
        ("postgresql://secret:1:2/x", "is not a database URL"),
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
    assert database.checked_url("sqlite:///x{v1}.db") == "sqlite:///x%7Bv1%7D.db"


def row(epoch: int, accuracy: float = 80.0) -> dict:
    return {
        "epoch": epoch, "valid_accuracy": accuracy, "seconds": 2.0 * epoch,
        "test_accuracy": accuracy - 1 if epoch % 5 == 0 else None,
    }  # fmt: skip


def learn(open_study: Study, job: Job, accuracy: float = 80.0) -> list[int]:
    """Give a job all its epochs; the numbers of the trials that ended, in order."""
    ended = []
    for epoch in range(1, max(job.trials.values()) + 1):
        ended += [trial.number for trial in open_study.record(job, row(epoch, accuracy))]
    return ended


def finish(open_study: Study) -> list[int]:
    ended = []
    while job := open_study.take():
        ended += learn(open_study, job, 80 + job.number / 10)
    return ended


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
def test_every_trial_ends_once(url, sampler):
    settings = Settings(sampler=sampler, max_conv_layers=1, max_linear_layers=2, max_dropout=0.1, max_hidden_units=64)
    settings = Settings(**vars(settings) | {"max_batch_size": 32, "max_epochs": 10})
    open_study = Study(url, "s", settings, 9)
    ended = finish(open_study)
    count = 12 if sampler == "grid" else 9
    assert sorted(ended) == list(range(count)) and open_study.take() is None
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


def test_a_prolonged_study_keeps_what_is_done(url):
    first = finish(Study(url, "s", SMALL, 4))
    more = Study(url, "s", SMALL, 10)
    assert sorted(first + finish(more)) == list(range(10))
    fewer = Study(url, "s", SMALL, 4)
    assert fewer.take() is None and len(fewer.trials()) == 4
    assert len(more.study.get_trials()) == 10


def test_two_machines_never_have_the_same(url):
    searches = [Study(url, "s", SMALL, 16) for _ in range(2)]
    ended, errors = [], []

    def work(open_study: Study) -> None:
        try:
            ended.extend(finish(open_study))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(open_study,)) for open_study in searches]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for open_study in searches:
            open_study.beat()
        time.sleep(0.05)
    assert not errors and sorted(ended) == list(range(16))


def test_a_dead_machine_s_job_is_taken_over_and_a_live_one_s_is_not(url):
    dead, live, heir = (Study(url, "s", Settings(max_epochs=5), 2) for _ in range(3))
    jobs = dead.take(), live.take()
    assert {job.number for job in jobs} == {0, 1} and heir.take() is None
    dead.record(jobs[0], row(1))
    deadline = time.monotonic() + 5
    while (taken := heir.take()) is None and time.monotonic() < deadline:
        live.beat()
        time.sleep(0.05)
    assert taken.number == jobs[0].number and taken.trials == {jobs[0].number: 5}
    live.beat()
    assert heir.take() is None
    assert dead.record(jobs[0], row(2)) == [] and not jobs[0].trials, "it was only slow, and learns that it lost"
    assert sorted(learn(heir, taken) + learn(live, jobs[1])) == [0, 1]
    assert {trial.state for trial in heir.trials()} == {TrialState.COMPLETE}
    assert all(len(trial.intermediate_values) == 5 for trial in heir.trials())


def test_what_is_released_is_free_at_once(url):
    one, other = (Study(url, "s", Settings(max_epochs=5), 1) for _ in range(2))
    assert one.take() and other.take() is None
    one.release()
    assert other.take().number == 0


def test_one_run_serves_a_family(url):
    settings = Settings(sampler="grid", max_conv_layers=1, max_linear_layers=1, max_dropout=0.1, max_hidden_units=64)
    settings = Settings(**vars(settings) | {"max_batch_size": 32})
    open_study = Study(url, "s", settings, 1)
    job = open_study.take()
    assert job.configuration["epochs"] == 20 and sorted(job.trials.values()) == [5, 10, 15, 20]
    by_epochs = {epochs: number for number, epochs in job.trials.items()}
    for epoch in range(1, 21):
        ended = [trial.number for trial in open_study.record(job, row(epoch))]
        assert ended == ([by_epochs[epoch]] if epoch in by_epochs else [])
    assert open_study.take().number != job.number


def test_hyperband_ends_what_lags_behind(url):
    settings = Settings(**vars(SMALL) | {"pruner": "hyperband"})
    open_study, lengths = Study(url, "s", settings, 16), {}
    while job := open_study.take():
        accuracy = 90.0 if job.number < 3 else 50.0
        learn(open_study, job, accuracy)
    for trial in open_study.trials():
        lengths.setdefault(trial.state, []).append(trial.last_step)
    assert len(lengths[TrialState.PRUNED]) >= 5 and max(lengths[TrialState.PRUNED]) < 10
    assert all(trial.state == TrialState.COMPLETE for trial in open_study.trials()[:1])
    table = results(open_study.trials())
    assert (table[table.state == "pruned"].epochs < 10).all() and len(table) == 16
    assert "pruned after epoch" in describe(next(t for t in open_study.trials() if t.state == TrialState.PRUNED))


def test_the_tree_s_choice_goes_where_it_was_good(url):
    open_study = Study(url, "s", Settings(sampler="tpe", max_epochs=5), 30)
    rates = []
    while job := open_study.take():
        rate = job.configuration["learning_rate"]
        rates.append(rate)
        learn(open_study, job, {0.01: 60.0, 0.001: 90.0, 0.0001: 70.0}[rate] - job.configuration["conv_layers"])
    assert rates[15:].count(0.001) >= 10


def test_a_failed_trial_is_named_and_the_rest_goes_on(url):
    open_study = Study(url, "s", Settings(max_epochs=5), 3)
    (failed,) = open_study.fail(open_study.take(), "the loss is nan")
    line = describe(failed)
    assert f"trial {failed.number}:" in line and line.endswith("failed, the loss is nan") and "\n" not in line
    assert len(finish(open_study)) == 2 and len(results(open_study.trials())) == 2
    assert open_study.take() is None, "it is not tried again"


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


def test_a_study_with_damaged_rows(url, tmp_path):
    """What SQLite cannot see is seen by Optuna; more of it in benchmarks/robustness/mutants.py."""
    learn(open_study := Study(url, "s", SMALL, 3), open_study.take())
    with sqlite3.connect(next(tmp_path.glob("*.db"))) as database:
        database.execute("update trial_params set distribution_json = 'nonsense'")
    for opened in (lambda: Study(url, "s", SMALL, 3), lambda: best(url, 0)):
        with pytest.raises(Failure, match=r"cannot be read .*restore a backup, or delete it") as failure:
            opened()
        assert "\n" not in str(failure.value)


def test_the_best_of_all_searches_in_a_database(url):
    assert best(url, 0) is None
    stranger = optuna.create_study(storage=url, study_name="of somebody else", direction="maximize")
    stranger.add_trial(optuna.trial.create_trial(value=100.0))
    one, other = Study(url, "one", SMALL, 4), Study(url, "other", Settings(max_epochs=5), 3)
    assert best(url, 0) is None, "nothing is complete"
    learn(one, one.take(), 81)
    learn(other, other.take(), 83)
    learn(one, one.take(), 82)
    few = Study(url, "few", Settings(max_epochs=5, pictures=100), 1)
    learn(few, few.take(), 99)
    study, trial = best(url, 0)
    assert (study, trial.number, trial.value) == ("other", 0, 83)


def test_a_read_only_database(url, tmp_path):
    Study(url, "s", SMALL, 3)
    read_only = f"sqlite:///file:{next(tmp_path.glob('*.db'))}?mode=ro&uri=true"
    with pytest.raises(Failure, match=r"readonly database.*choose another --storage"):
        Study(read_only, "s", SMALL, 4)


@pytest.mark.slow
def test_a_locked_database_is_waited_for(url, tmp_path, capsys, monkeypatch):
    open_study = Study(url, "s", SMALL, 3)
    path = next(tmp_path.glob("*.db"))
    with locked(path), pytest.raises(Failure, match=r"did not answer for 1 s .*locked"):
        open_study.take()
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
