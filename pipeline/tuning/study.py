"""A study in its database: the plan of its trials, their states and results.

The plan is written as Optuna's waiting trials. `Study.optimize`, called in worker processes on any number of machines
(workers.py), runs them, and Optuna's heartbeats find the trials of processes that have died. A trial that was started
again has a new number, so each has its place in the plan as the user attribute `plan`.
"""

import contextlib
import datetime
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from pipeline import cli
from pipeline.errors import Failure
from pipeline.tuning import database, results_table, search_space
from pipeline.tuning.search_space import Settings

FIRST_EPOCH_SECONDS = 600.0  # for a trial's first epoch, after which it is taken for one that died without a heartbeat
MAX_ATTEMPTS = 5  # at a trial whose process dies in the same epoch each time
PLANNING_SECONDS = 10.0  # without a new trial, after which the process that writes the plan has died
# by how far a trial with the state is
RANKED_STATES = TrialState.WAITING, TrialState.RUNNING, TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE
optuna.logging.set_verbosity(optuna.logging.CRITICAL)


class Study:
    """A study, opened by one process."""

    def __init__(self, url: str, name: str, settings: Settings, trials: int):
        """Open the study, or create it, and write what is missing of the plan.

        Raises:
            Failure: the database cannot be used, or contains another search under this name.
        """
        self.url, self.name, self.settings = url, name, settings
        self.plan = search_space.plan(settings, trials)
        with database.readable(url):
            database.retry(self._open, url, database.START_TIMEOUT_SECONDS)
            results_table.results(self.trials())

    def trials(self) -> list[FrozenTrial]:
        """Return the trials of this plan, in its order, without those that a larger plan has added.

        Of several trials with one place in the plan, the one that got furthest is returned.
        """
        found: dict[int, FrozenTrial] = {}
        for trial in self._all():
            place = plan_index(trial)
            if place not in found or _rank(trial) > _rank(found[place]):
                found[place] = trial
        return [found[place] for place in sorted(found) if 0 <= place < len(self.plan)]

    def families(self) -> list[list[FrozenTrial]]:
        """Group the trials by the training run that gives their results."""
        groups: dict[Any, list[FrozenTrial]] = {}
        for trial in self.trials():
            planned = self.plan[plan_index(trial)]
            key = trial.number if planned is None else search_space.family(planned, self.settings)
            groups.setdefault(key, []).append(trial)
        return list(groups.values())

    def has_waiting(self) -> bool:
        """Does any trial wait? If none does, trials of processes that have died, or were stopped, wait again."""
        if self._all(TrialState.WAITING):
            return True
        optuna.storages.fail_stale_trials(self.study)
        self.write_plan()
        return bool(self._all(TrialState.WAITING))

    def is_finished(self) -> bool:
        return not any(map(is_unfinished, self.trials()))

    def longest(self, family: tuple) -> int:
        """Return the most epochs that a configuration of the plan has in this family; 0 if the plan has none."""
        members = (one for one in self.plan if one and search_space.family(one, self.settings) == family)
        return max((one["epochs"] for one in members), default=0)

    def why_not(self, trial: optuna.Trial) -> str:
        """Return why a trial that Optuna has started should not be trained; empty if it should."""
        if trial.user_attrs.get("plan") == trial.number:
            return ""  # the first one with its place
        if "plan" not in trial.user_attrs and trial.number >= len(self.plan):
            trial.set_user_attr("plan", -1)
            return "Optuna made it up, since another machine took the last one that waited"
        trials = self._all()
        place, taken = trial.user_attrs.get("plan", trial.number), (TrialState.RUNNING, *RANKED_STATES[-2:])
        if any(plan_index(earlier) == place and earlier.state in taken for earlier in trials[: trial.number]):
            return "an earlier trial has its place in the plan"
        history = RetryHeartbeatStaleTrialCallback.retry_history(trials[trial.number])[-MAX_ATTEMPTS:]
        if len(history) == MAX_ATTEMPTS and len({trials[number].last_step for number in history}) == 1:
            return f"its worker died {MAX_ATTEMPTS} times in the same epoch: too little memory?"
        return ""

    def progress(self) -> tuple[int, int]:
        """Return the number of epochs trained and in total; without a configuration, the grid's mean counts."""
        choices = search_space.dimensions(self.settings)["epochs"]
        trained = total = 0
        for members in self.families():
            done = max(trial.last_step or 0 for trial in members)
            planned = (
                trial.params.get("epochs", sum(choices) / len(choices)) for trial in members if is_unfinished(trial)
            )
            trained, total = trained + done, total + max(planned, default=done)
        return trained, round(total)

    def importances(self) -> dict[str, float]:
        """Compute the importance of each varied dimension for the accuracy, 0 to 1, from the complete trials.

        The method is PED-ANOVA (Watanabe, Bansal and Hutter, 2023).
        """
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        varied = [name for name in search_space.DIMENSIONS if len({trial.params[name] for trial in complete}) > 1]
        if not varied:
            return {}
        of_plan = optuna.create_study(direction="maximize")  # in memory
        of_plan.add_trials(complete)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        with warnings.catch_warnings(action="ignore"):  # if all trials are equally accurate
            return optuna.importance.get_param_importances(of_plan, evaluator=evaluator, params=varied)

    def write_plan(self) -> None:
        """Add the trials of the plan that neither wait, run nor are finished."""
        if self._lost():
            with self._planning():
                for place, lost in self._lost().items():
                    planned = self.plan[place]
                    if lost is not None:  # stopped: the same configuration again
                        params, distributions = lost.params, lost.distributions
                    else:
                        params = planned or {}
                        distributions = search_space.distributions(self.settings) if planned else {}
                    self.study.add_trial(
                        optuna.trial.create_trial(
                            state=TrialState.WAITING,
                            params=params,
                            distributions=distributions,
                            user_attrs={"plan": place},
                        )
                    )

    def _open(self) -> None:
        self.storage = database.open_storage(self.url)
        pruner = {
            "none": optuna.pruners.NopPruner(),
            "hyperband": optuna.pruners.HyperbandPruner(max_resource=self.settings.max_epochs),
        }[self.settings.pruner]
        self.study = optuna.create_study(
            storage=self.storage, study_name=self.name, direction="maximize", load_if_exists=True, pruner=pruner
        )
        now, then = cli.result_settings(self.settings), self.study.user_attrs.get("settings")
        if then is None and not self._all():
            self.study.set_user_attr("settings", now)
        elif then != now:
            raise Failure(
                f"study {self.name} in {database.without_password(self.url)} has other settings: "
                f"give {cli.changed(now, then or {})}, or another --study"
            )
        self.write_plan()

    def _all(self, *states: TrialState) -> Sequence[FrozenTrial]:
        return database.retry(
            lambda: self.study.get_trials(deepcopy=False, states=states or None), self.url, database.RUN_TIMEOUT_SECONDS
        )

    def _lost(self) -> dict[int, FrozenTrial | None]:
        """Return the places of the plan without a trial that waits, runs or is finished; and the trial that was lost.

        A trial that died before its first heartbeat runs for ever, to Optuna; it is failed here.
        """
        for trial in self._all():
            if trial.state == TrialState.RUNNING and trial.last_step is None and trial.datetime_start:
                age = datetime.datetime.now() - trial.datetime_start
                if age.total_seconds() > FIRST_EPOCH_SECONDS:
                    self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        found = {plan_index(trial): trial for trial in self.trials()}
        places = range(len(self.plan))
        return {place: found.get(place) for place in places if place not in found or is_lost(found[place])}

    @contextlib.contextmanager
    def _planning(self) -> Iterator[None]:
        """Keep other processes from writing the plan; a study of this name can be created by one of them only."""
        name, start, written = f"{self.name} (planning)", time.monotonic(), 0
        while True:
            try:
                optuna.create_study(storage=self.storage, study_name=name)
                break
            except DuplicatedStudyError:
                time.sleep(0.1)
                if written != len(self._all()):
                    start, written = time.monotonic(), len(self._all())
                elif time.monotonic() - start > PLANNING_SECONDS:
                    start = time.monotonic()
                    with contextlib.suppress(KeyError):
                        optuna.delete_study(study_name=name, storage=self.storage)
        try:
            yield
        finally:
            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name=name, storage=self.storage)


def plan_index(trial: FrozenTrial) -> int:
    """Return the trial's place in the plan; -1 if it has none."""
    return trial.user_attrs.get("plan", trial.number)


def is_lost(trial: FrozenTrial) -> bool:
    """Was the trial's process stopped? A trial that failed by its own fault has a reason."""
    return trial.state == TrialState.FAIL and "reason" not in trial.user_attrs


def is_unfinished(trial: FrozenTrial) -> bool:
    return not trial.state.is_finished() or is_lost(trial)


def _rank(trial: FrozenTrial) -> int:
    return -1 if is_lost(trial) else RANKED_STATES.index(trial.state)


def load(url: str, name: str) -> Study:
    """Open a study that exists, with its own settings and plan.

    Raises:
        Failure: the database cannot be used, or does not contain the study.
    """

    def ask() -> Study:
        opened = database.open_storage(url)
        names = optuna.get_all_study_names(opened)
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise Failure(f"no study {name} in {database.without_password(url)}: --study must be one of {known}")
        found = optuna.load_study(study_name=name, storage=opened)
        if "settings" not in found.user_attrs:
            raise Failure(
                f"study {name} in {database.without_password(url)} is not of this search: give another --study"
            )
        places = 1 + max(map(plan_index, found.get_trials(deepcopy=False)), default=0)
        return Study(url, name, Settings(**found.user_attrs["settings"]), places)

    with database.readable(url):
        return database.retry(ask, url, database.START_TIMEOUT_SECONDS)


def best(url: str, pictures: int) -> tuple[str, FrozenTrial] | None:
    """Find the complete trial with the highest validation accuracy; return its study's name and it, or None.

    Only studies with as many training images are compared, since their validation images are the same.

    Raises:
        Failure: the database cannot be used.
    """

    def ask() -> list[tuple[str, FrozenTrial]]:
        opened = database.open_storage(url)
        names = optuna.get_all_study_names(opened)
        studies = [optuna.load_study(study_name=name, storage=opened) for name in names]
        ours = [study for study in studies if study.user_attrs.get("settings", {}).get("pictures") == pictures]
        return [(study.study_name, trial) for study in ours for trial in study.get_trials(states=[TrialState.COMPLETE])]

    with database.readable(url):
        return max(
            database.retry(ask, url, database.START_TIMEOUT_SECONDS), key=lambda found: found[1].value, default=None
        )
