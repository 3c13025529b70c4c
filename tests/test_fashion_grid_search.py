"""The search as a user runs it, on drawn digits: processes killed, databases stopped, two machines, a real browser."""

import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import fashion_on_digits
import matplotlib.pyplot as plt
import optuna
import pandas as pd
import pytest
from conftest import ROOT
from optuna.trial import TrialState

import fashion_grid_search
import models
from pipeline import checkpoints, cli, errors
from pipeline.datasets import datasets
from pipeline.evaluation import metrics
from pipeline.tuning import best_model, search_space
from pipeline.tuning import trial as trial_module
from pipeline.tuning.search_space import Settings
from pipeline.tuning.trial import train

pytestmark = pytest.mark.slow

SMALL = ["--max-conv-layers", "1", "--max-linear-layers", "2", "--max-epochs", "10", "--max-dropout", "0.1"]
PICTURES = {"dimensions.png", "coordinates.png", "importances.png", "progress.png", "times.png"}


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    """The script in a process group of its own, as on a machine of its own."""
    command = [sys.executable, str(ROOT / "tests" / "fashion_on_digits.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | environment
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def ending(process: subprocess.Popen) -> str:
    """All it says until it ends well."""
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    return printed


def children(process: subprocess.Popen) -> list[int]:
    """Its workers, not the keeper of its semaphores."""
    listed = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]


def wait_for(condition, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


def trials(url: str, study: str = "fashion") -> list[optuna.trial.FrozenTrial]:
    try:
        return optuna.load_study(study_name=study, storage=url).get_trials()
    except Exception:  # not there yet
        return []


def complete(url: str) -> dict[int, optuna.trial.FrozenTrial]:
    """The complete trials, by their place in the plan."""
    return {trial.user_attrs["plan"]: trial for trial in trials(url) if trial.state == TrialState.COMPLETE}


def rows(folder: Path) -> pd.DataFrame:
    """results.csv without the times and the trials' numbers, which are others when a trial is run again."""
    table = pd.read_csv(folder / "results.csv").drop(columns=["time_sec", "trial"])
    return table.sort_values(list(table.columns)).reset_index(drop=True)


def epochs(url: str) -> int:
    return sum(len(trial.intermediate_values) for trial in trials(url))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A search of two workers that nobody stopped."""
    folder = tmp_path_factory.mktemp("finished") / "out put ä"
    return folder, ending(start(*SMALL, "--trials", "6", "--workers", "2", "--output-dir", str(folder)))


def test_writes_what_the_docstring_promises(finished):
    folder, printed = finished
    written = {path.name for path in folder.iterdir()} - {"study.db-wal", "study.db-shm"}
    assert written == PICTURES | {"results.csv", "config.json", "study.db", "families"}
    assert all(name in fashion_grid_search.__doc__ for name in written)
    assert all(plt.imread(folder / name).std() > 0.01 for name in PICTURES)
    assert "72 configurations, 6 to try" not in printed and "48 configurations, 6 to try" in printed
    assert len(re.findall(r"^trial \d: .* valid \d.* test \d.* s$", printed, re.M)) == 6
    assert "Traceback" not in printed and "leaked" not in printed and "it/s" not in printed


def test_results_are_those_of_separate_runs(finished, monkeypatch):
    """Against `trial.train` here, in one process: sharing, workers and the database change no bit."""
    folder, printed = finished
    table = pd.read_csv(folder / "results.csv", index_col="trial")
    assert table.valid_acc.is_monotonic_decreasing and sorted(table.index) == list(range(6))
    settings = Settings(max_conv_layers=1, max_linear_layers=2, max_epochs=10, max_dropout=0.1)
    fashion_on_digits.pretend(monkeypatch.setattr)
    data = fashion_on_digits.fashion(Path("nowhere"))
    for number, planned in enumerate(search_space.plan(settings, 6)):
        row = table.loc[number]
        assert row[list(planned)].to_dict() == planned
        if number < 3:
            (folder.parent / str(number)).mkdir()
            *_, last = train(planned, settings, data, folder.parent / str(number))
            assert (row.valid_acc, row.test_acc) == (last["valid_accuracy"], last["test_accuracy"])
    assert f"{table.valid_acc.iloc[0]:.1f}" in printed


def test_a_lost_network_fails_by_name_and_the_search_goes_on(tmp_path):
    """Half of the learning rates are 1e30."""
    arguments = [*SMALL, "--max-epochs", "5", "--trials", "5", "--workers", "1", "--output-dir", str(tmp_path)]
    printed = ending(start(*arguments, LOST="1"))
    failed = re.findall(
        r"^trial (\d): .* learning rate 1e\+30: failed, training diverged \(loss is nan\).*$", printed, re.M
    )
    table = pd.read_csv(tmp_path / "results.csv", index_col="trial")
    assert len(failed) >= 1 and len(table) >= 1 and len(failed) + len(table) == 5
    assert set(map(int, failed)).isdisjoint(table.index) and (table.learning_rate == 0.001).all()


def test_a_killed_worker_is_replaced_and_a_stopped_search_goes_on(finished, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    command = [*SMALL, "--trials", "6", "--workers", "1", "--output-dir", str(tmp_path)]
    first = start(*command)
    wait_for(lambda: epochs(url) >= 3)
    worker = children(first)[0]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: set(children(first)) - {worker})
    wait_for(lambda: sum(trial.state == TrialState.COMPLETE for trial in trials(url)) >= 2)
    os.killpg(first.pid, signal.SIGINT)
    printed, _ = first.communicate(timeout=60)
    assert re.search(r"a worker died \(exit code -9\): another one takes its place", printed)
    assert first.returncode == 130 and "stopped; to continue:" in printed.splitlines()[-1]
    assert "Traceback" not in printed and "leaked" not in printed
    done = {place: trial.datetime_complete for place, trial in complete(url).items()}
    assert 2 <= len(done) < 6 and not [trial for trial in trials(url) if trial.state == TrialState.RUNNING]
    second = ending(start(*command))
    after = complete(url)
    assert sorted(after) == list(range(6))
    assert all(after[place].datetime_complete == when for place, when in done.items()), "none is run twice"
    assert sum(trial.state == TrialState.COMPLETE for trial in trials(url)) == 6
    assert f"{len(done)} of 6 trials are done" in second
    pd.testing.assert_frame_equal(rows(finished[0]), rows(tmp_path))


@pytest.fixture
def postgres(tmp_path):
    """A private PostgreSQL on loopback: its URL, and what stops and starts it."""
    found = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    if not any(found):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs a server: apt-get install postgresql")
    programs = Path(next(filter(None, found))).resolve().parent
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = Path("/var/tmp" if os.geteuid() == 0 else tmp_path) / f"postgres-{port}"
    home.mkdir()
    user = []
    if os.geteuid() == 0:  # which it refuses
        shutil.chown(home, "postgres")
        user = ["runuser", "-u", "postgres", "--"]

    def run(program: str, *arguments: str) -> None:
        command = [*user, str(programs / program), "-D", str(home / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=home)

    def up() -> None:
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {home} -c fsync=off"
        run("pg_ctl", "-w", "-l", str(home / "log"), "-o", options, "start")

    def down() -> None:
        run("pg_ctl", "-w", "-m", "immediate", "stop")

    run("initdb", "-A", "trust", "-U", "clothes", "-E", "UTF8")
    up()
    yield f"postgresql+psycopg://clothes@127.0.0.1:{port}/postgres", down, up
    down()
    shutil.rmtree(home)


def test_two_machines_on_postgresql_one_dies_and_the_server_too(finished, tmp_path, postgres):
    """Two searches with nothing in common but the database; one is killed; then the server stops for a while."""
    url, down, up = postgres
    command = [*SMALL, "--trials", "6", "--workers", "1", "--storage", url]
    machines = [start(*command, "--output-dir", str(tmp_path / name)) for name in ("one", "two")]
    wait_for(lambda: sum(trial.state == TrialState.RUNNING for trial in trials(url)) >= 2 and epochs(url) >= 4)
    os.killpg(machines[0].pid, signal.SIGKILL)
    assert sum(trial.state == TrialState.RUNNING for trial in trials(url)) >= 1
    down()
    time.sleep(float(os.environ.get("OUTAGE_SECONDS", 3)))
    up()
    printed = ending(machines[1])
    machines[0].communicate()
    assert printed.count("does not answer") == printed.count("answers again") == 1 and "Traceback" not in printed
    assert sorted(complete(url)) == list(range(6))
    assert sum(trial.state == TrialState.COMPLETE for trial in trials(url)) == 6
    pd.testing.assert_frame_equal(rows(finished[0]), rows(tmp_path / "two"))


@pytest.fixture
def here(monkeypatch, capsys, tmp_path):
    """The command line of the script in this process: exit status, and what it printed."""
    fashion_on_digits.pretend(monkeypatch.setattr)

    def launch(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["fashion_grid_search.py", "--output-dir", str(tmp_path), *arguments])
        status = 0
        try:
            cli.launch(fashion_grid_search.main, fashion_grid_search.Config, fashion_grid_search.PRESETS)
        except SystemExit as exit:
            status = exit.code
        return status, *capsys.readouterr()

    return launch


def test_the_same_command_again_trains_nothing(finished, here):
    folder, _ = finished
    before = (folder / "results.csv").read_bytes()
    status, printed, _ = here(*SMALL, "--trials", "6", "--output-dir", str(folder))
    assert status == 0 and "6 of 6 trials are done, 0 epochs remain" in printed
    assert (folder / "results.csv").read_bytes() == before


def test_each_complete_trial_s_network_is_kept_when_asked(finished, here, tmp_path, monkeypatch):
    """Also where the epochs are in the cache, but not the networks."""
    shutil.copytree(finished[0] / "families", tmp_path / "families")
    command = [*SMALL, "--trials", "2", "--workers", "1", "--keep-weights", "--output-dir", str(tmp_path)]
    ending(start(*command))
    table = pd.read_csv(tmp_path / "results.csv", index_col="trial")
    fashion_on_digits.pretend(monkeypatch.setattr)
    data = fashion_on_digits.fashion(Path("nowhere"))
    assert len(list((tmp_path / "weights").iterdir())) == 2
    for number, row in table.iterrows():
        model = checkpoints.load(tmp_path / "weights" / f"trial_{number}.pt", models.FashionNet, "")
        assert metrics.evaluate(model, data.test).accuracy == pytest.approx(row.test_acc)


def test_report_writes_table_and_figures_again_without_training(finished, here, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    for name in ("results.csv", "progress.png"):
        (folder / name).unlink()
    status, out, error = here("--report", "--output-dir", str(folder))  # without the settings of the study
    assert status == 0 and not error and "The best of 6" in out and (folder / "progress.png").exists()
    assert (folder / "results.csv").read_bytes() == (finished[0] / "results.csv").read_bytes()
    for arguments, message in (
        (["--output-dir", str(tmp_path / "empty")], "no search has run in"),
        (["--output-dir", str(folder), "--study", "x"], "no study x in .*--study must be one of fashion"),
    ):
        status, _, error = here("--report", *arguments)
        assert status == 1 and re.search(message, error) and error.count("\n") == 1


def test_another_study_s_pictures_go(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    printed = ending(
        start(*SMALL, "--trials", "1", "--study", "other", "--workers", "1", "--output-dir", str(tmp_path))
    )
    assert "once two trials are complete" in printed
    assert len(pd.read_csv(tmp_path / "results.csv")) == 1 and not any((tmp_path / name).exists() for name in PICTURES)


def test_dry_run_prints_the_report_s_grid_and_an_estimate(here, monkeypatch, tmp_path):
    monkeypatch.setattr(trial_module, "seconds_per_epoch", lambda configuration, settings, data: 60.0)
    status, printed, _ = here("--dry-run", "--workers", "2")
    assert (
        status == 0 and "1,296 configurations, 75 to try" in printed and "learning_rate  0.01, 0.001, 0.0001" in printed
    )
    separate, together, minutes, halved = map(int, re.search(
        r"(\d+) epochs one by one, (\d+) when .*\nabout (\d+)\.0 minutes of one thread, (\d+)\.\d with 2", printed
    ).groups())  # fmt: skip
    assert 75 * 5 < together < separate < 75 * 20 and minutes == together and abs(halved - minutes / 2) <= 1
    assert not (tmp_path / "study.db").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--max-conv-layers", "0"], 2, "--max-conv-layers must be from 1 to 4, not 0"),
        (["--max-epochs", "4"], 2, "--max-epochs must be from 5 to 10000, not 4"),
        (["--max-dropout", "0.05"], 2, "--max-dropout must be from 0.1 to 0.9, not 0.05"),
        (["--champion", "--dry-run"], 2, "cannot be combined"),
        (["--trials", "0"], 2, "--trials must be at least 1"),
        (["--pictures", "50001"], 2, "--pictures must be from 0 to 50000"),
        (["--storage", "sqlite:////no/such/folder/x.db"], 1, "choose another --storage"),
    ],
)
def test_what_cannot_be_done_is_one_line(here, arguments, status, message):
    ended, _, error = here(*arguments)
    assert ended == status and message in error and "Traceback" not in error
    assert status == 2 or len(error.strip().splitlines()) == 1


def test_without_the_clothes_there_is_no_search(here, monkeypatch):
    def missing(data_dir):
        raise errors.Failure("cannot download FashionMNIST")

    monkeypatch.setattr(datasets, "fashion_mnist", missing)
    status, _, error = here()
    assert status == 1 and error.strip() == "error: cannot download FashionMNIST"


def test_the_best_network_is_saved_with_its_class_names(here, monkeypatch, tmp_path):
    monkeypatch.setattr(best_model, "BEST_RECIPE", replace(best_model.BEST_RECIPE, epochs=2))
    status, printed, _ = here("--champion", "--quiet")
    assert status == 0 and "the champion: conv layers 3, linear layers 2, hidden units 128" in printed
    assert "no search has a complete trial" in printed and not (tmp_path / "study.db").exists()
    model = checkpoints.load(tmp_path / "model.pt", models.FashionNet, "fashion_grid_search.py")
    assert model.class_names == list(models.CLOTHES)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["epochs"] == 2 and metrics["parameters"] == models.parameter_count(model)
    assert metrics["dataset"] == "Fashion-MNIST" and len(pd.read_csv(tmp_path / "history.csv")) == 2
    assert {"confusion.png", "mistakes.png", "predictions.png", "accuracies.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    weights = (tmp_path / "model.pt").read_bytes()
    status, printed, _ = here("--champion", "--quiet")
    assert status == 0 and "2 of 2 epochs are done" in printed and ", epoch " not in printed, "nothing is done again"
    assert (tmp_path / "model.pt").read_bytes() == weights


def test_the_best_network_is_that_of_all_studies(finished, here, monkeypatch, tmp_path):
    monkeypatch.setattr(best_model, "BEST_RECIPE", replace(best_model.BEST_RECIPE, epochs=1))
    shutil.copy(finished[0] / "study.db", tmp_path)
    before = {study: len(trials(f"sqlite:///{tmp_path / 'study.db'}", study)) for study in ("fashion", "other")}
    status, printed, _ = here("--champion", "--quiet", "--study", "other", "--max-epochs", "5")
    best = pd.read_csv(finished[0] / "results.csv").iloc[0]
    assert status == 0 and f"the shape of trial {best.trial:.0f} of study fashion, {best.valid_acc:.2f} %" in printed
    model = checkpoints.load(tmp_path / "model.pt", models.FashionNet, "fashion_grid_search.py")
    assert all(model.settings[name] == best[name] for name in ("conv_layers", "linear_layers", "hidden_units"))
    after = {study: len(trials(f"sqlite:///{tmp_path / 'study.db'}", study)) for study in ("fashion", "other")}
    assert before == after == {"fashion": 6, "other": 0}, "no study is begun or prolonged"


def test_a_lost_database_is_made_again_from_the_families(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "study.db").unlink()
    printed = ending(start(*SMALL, "--trials", "6", "--workers", "1", "--output-dir", str(tmp_path)))
    assert "0 of 6 trials are done" in printed
    columns = ["trial", "valid_acc", "test_acc", "time_sec"]
    old, new = (pd.read_csv(folder / "results.csv")[columns] for folder in (finished[0], tmp_path))
    assert old.equals(new), "to the bit, so nothing was learned again"


def test_the_dashboard_shows_the_study_in_a_real_browser(finished, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs a browser: apt-get install chromium")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    server = subprocess.Popen([program, f"sqlite:///{finished[0] / 'study.db'}", "--port", str(port)])
    try:
        page = f"http://127.0.0.1:{port}/dashboard/studies/1/trials"

        def answers() -> bool:
            try:
                return urllib.request.urlopen(page, timeout=5).status == 200
            except OSError:
                return False

        wait_for(answers)
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        shown = subprocess.run(
            [browser, *flags, "--virtual-time-budget=20000", "--dump-dom", page],
            capture_output=True, text=True, timeout=90,
        ).stdout  # fmt: skip
        text = html.unescape(re.sub(r"<[^>]+>", " ", shown))
        table = pd.read_csv(finished[0] / "results.csv")
        shown_trial = table[table.trial == 0].iloc[0]  # the page has the details of the first
        assert "fashion" in text and "Trial 0" in text and "Complete" in text and "Intermediate Values" in text
        assert f"{shown_trial.valid_acc:g}" in text, "its value"
    finally:
        server.terminate()
        server.wait()
