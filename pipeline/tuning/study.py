"""A study in its database: its trials, their states and results.

Optuna stores the trials, suggests configurations, prunes and ranks; leases.py says which worker trains which. So no
trial is trained twice, and none is lost with a machine.
"""

import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import optuna
import pandas as pd
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc

from pipeline import cli
from pipeline.errors import Failure
from pipeline.tuning import search_space, storage
from pipeline.tuning.leases import Leases
from pipeline.tuning.search_space import Configuration, Settings

PLANNING_JOB = -1  # the job of writing the plan into the database
TPE_SEED_FACTOR = 1_000_003  # a prime, so that no two (seed, trial) draw alike
Result = TypeVar("Result")
optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass
class Job:
    """One run of training: the trials it answers for, and the configuration of the longest."""

    number: int  # of its first trial
    trials: dict[int, int]  # trial number -> epochs, of those not yet finished
    configuration: Configuration


class Study:
    """One study, as one process sees it."""

    def __init__(self, url: str, name: str, settings: Settings, trials: int):
        """Open the study, or begin it.

        Raises:
            Failure: the database cannot be had, or holds another search under this name.
        """
        self.url, self.name, self.settings = url, name, settings
        self.mine: set[int] = set()  # jobs taken and not yet done
        self.ids: dict[int, int] = {}  # trial number -> the database's
        self.plan = search_space.plan(settings, trials)
        with storage.readable(url):
            self._patiently(self._open, storage.START_TIMEOUT_SECONDS)
            results(self.trials())

    def take(self) -> Job | None:
        """A job that nobody else has, or None while there is none."""
        return self._patiently(self._take)

    def record(self, job: Job, row: dict) -> list[FrozenTrial]:
        """Report an epoch to the job's trials, and end those that are complete with it or pruned after it.

        The job keeps the others; with none it is done. It has none either when somebody else has taken it over.

        Returns:
            the trials that ended.
        """
        if not self._patiently(lambda: self.leases.holds(job.number)):
            job.trials.clear()
        return self._end(job, lambda number: self._report(number, job.trials[number], row))

    def fail(self, job: Job, reason: str) -> list[FrozenTrial]:
        """End what is left of the job; the trials keep the reason."""
        return self._end(job, lambda number: self._finish(number, TrialState.FAIL, {"reason": reason}))

    def beat(self) -> None:
        """A sign of life, for all jobs of this process."""
        self._patiently(self.leases.renew)

    def release(self) -> None:
        """Let go of all jobs of this process at once, so that others need not wait until they are stale."""
        with contextlib.suppress(exc.SQLAlchemyError):
            self.leases.give_back_all()

    def trials(self) -> list[FrozenTrial]:
        """Those of the plan, in order; not what a greater plan may have added."""
        return self._patiently(lambda: self.study.get_trials(deepcopy=False))[: len(self.plan)]

    def families(self) -> list[list[FrozenTrial]]:
        """The trials, together those that one run answers for."""
        groups: dict[Any, list[FrozenTrial]] = {}
        for trial in self.trials():
            planned = self.plan[trial.number]
            key = trial.number if planned is None else search_space.family(planned, self.settings)
            groups.setdefault(key, []).append(trial)
        return list(groups.values())

    def progress(self) -> tuple[int, int]:
        """Epochs learned so far, and in all; a trial that has no configuration yet counts with the mean of the grid."""
        choices = search_space.dimensions(self.settings)["epochs"]
        learned = total = 0
        for members in self.families():
            went = max(trial.last_step or 0 for trial in members)
            asked = (
                trial.params.get("epochs", sum(choices) / len(choices)) for trial in members if is_unfinished(trial)
            )
            learned, total = learned + went, total + max(asked, default=went)
        return learned, round(total)

    def importances(self) -> dict[str, float]:
        """Of each dimension that was varied for the accuracy, 0 to 1, in the complete trials of the plan.

        PED-ANOVA: Watanabe, Bansal and Hutter, 2023.
        """
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        varied = [name for name in search_space.DIMENSIONS if len({trial.params[name] for trial in complete}) > 1]
        if not varied:
            return {}
        of_plan = optuna.create_study(direction="maximize")  # in memory
        of_plan.add_trials(complete)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        with warnings.catch_warnings(action="ignore"):  # that all are alike where all trials are equally accurate
            return optuna.importance.get_param_importances(of_plan, evaluator=evaluator, params=varied)

    def _open(self) -> None:
        self.storage = storage.open_storage(self.url)
        self.leases = Leases(self.storage.engine, self.name)
        pruner = {
            "none": optuna.pruners.NopPruner(),
            "hyperband": optuna.pruners.HyperbandPruner(max_resource=self.settings.max_epochs),
        }[self.settings.pruner]
        self.study = optuna.create_study(
            storage=self.storage, study_name=self.name, direction="maximize", load_if_exists=True, pruner=pruner
        )
        self.study_id = self.storage.get_study_id_from_name(self.name)
        while not self._write_plan():
            time.sleep(0.2)  # another process is at it

    def _write_plan(self) -> bool:
        """See that the database has every trial of the plan, before any is begun; False while somebody else does it."""
        now, then = cli.result_settings(self.settings), self.study.user_attrs.get("settings")
        missing = self.plan[len(self.study.get_trials(deepcopy=False)) :]
        if then == now and not missing:
            return True
        if then != now and (then is not None or self.study.get_trials(deepcopy=False)):
            raise Failure(
                f"study {self.name} in {storage.without_password(self.url)} has other settings: "
                f"give {cli.changed(now, then or {})}, or another --study"
            )
        if not self.leases.take(PLANNING_JOB):
            return False
        self.study.set_user_attr("settings", now)
        for configuration in self.plan[len(self.study.get_trials(deepcopy=False)) :]:
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.WAITING,
                    params=configuration or {},
                    distributions=search_space.distributions(self.settings) if configuration else {},
                )
            )
        self.leases.give_back(PLANNING_JOB)
        return True

    def _take(self) -> Job | None:
        for members in self.families():
            first = members[0].number
            if first in self.mine or not any(map(is_unfinished, members)) or not self.leases.take(first):
                continue
            # asked again, as it may have been finished before it became mine
            numbers = [
                trial.number for trial in members if is_unfinished(self.storage.get_trial(self._id(trial.number)))
            ]
            for number in numbers:
                self.storage.set_trial_state_values(self._id(number), TrialState.RUNNING)
            if numbers:
                configurations = {number: self.plan[number] or self._suggest(number) for number in numbers}
                longest = max(configurations.values(), key=lambda configuration: configuration["epochs"])
                self.mine.add(first)
                return Job(first, {number: c["epochs"] for number, c in configurations.items()}, longest)
            self._free(first)
        return None

    def _suggest(self, number: int) -> Configuration:
        """The tree of Parzen estimators' choice, after all trials so far; what is at work counts as bad."""
        seed = (TPE_SEED_FACTOR * self.settings.seed + number) % 2**32
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        trial = optuna.Trial(self.study, self._id(number))
        chosen = {}
        for name, kind in search_space.distributions(self.settings).items():
            if isinstance(kind, CategoricalDistribution):
                chosen[name] = trial.suggest_categorical(name, kind.choices)
            else:
                suggest = trial.suggest_int if isinstance(kind, IntDistribution) else trial.suggest_float
                chosen[name] = suggest(name, kind.low, kind.high, step=kind.step)
        return chosen

    def _end(self, job: Job, action: Callable[[int], FrozenTrial | None]) -> list[FrozenTrial]:
        """Do it to each trial of the job; give back those that it ended, and the lease when none is left."""
        ended = []
        for number in list(job.trials):
            trial = self._patiently(functools.partial(action, number))
            if trial is not None:
                ended.append(trial)
                del job.trials[number]
        if not job.trials:
            self._patiently(lambda: self._free(job.number))
        return ended

    def _report(self, number: int, epochs: int, row: dict) -> FrozenTrial | None:
        """The trial, if it has ended with this epoch."""
        trial_id = self._id(number)
        self.storage.set_trial_intermediate_value(trial_id, row["epoch"], row["valid_accuracy"])
        results = {"test_acc": row["test_accuracy"], "time_sec": row["seconds"]}
        if row["epoch"] == epochs:
            return self._finish(number, TrialState.COMPLETE, results, row["valid_accuracy"])
        if self.settings.pruner != "none" and self.study.pruner.prune(self.study, self.storage.get_trial(trial_id)):
            return self._finish(number, TrialState.PRUNED, results)
        return None

    def _finish(self, number: int, state: TrialState, results: dict, value: float | None = None) -> FrozenTrial:
        for name, result in results.items():
            self.storage.set_trial_user_attr(self._id(number), name, result)
        return self.study.tell(number, value, state, skip_if_finished=True)

    def _id(self, number: int) -> int:
        """The database's own number of a trial."""
        if number not in self.ids:
            self.ids[number] = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        return self.ids[number]

    def _free(self, job: int) -> None:
        self.leases.give_back(job)
        self.mine.discard(job)

    def _patiently(self, action: Callable[[], Result], seconds: float | None = None) -> Result:
        return storage.retry(action, self.url, seconds or storage.RUN_TIMEOUT_SECONDS)


def best(url: str, pictures: int) -> tuple[str, FrozenTrial] | None:
    """The complete trial of the greatest validation accuracy, and its study's name; None if there is none.

    Of all studies in the database that learned from so many pictures: those of others rank by other pictures.

    Raises:
        Failure: the database cannot be had.
    """

    def ask() -> list[tuple[str, FrozenTrial]]:
        database = storage.open_storage(url)
        names = optuna.get_all_study_names(database)
        studies = [optuna.load_study(study_name=name, storage=database) for name in names]
        ours = [study for study in studies if study.user_attrs.get("settings", {}).get("pictures") == pictures]
        return [(study.study_name, trial) for study in ours for trial in study.get_trials(states=[TrialState.COMPLETE])]

    with storage.readable(url):
        return max(
            storage.retry(ask, url, storage.START_TIMEOUT_SECONDS), key=lambda found: found[1].value, default=None
        )


def is_unfinished(trial: FrozenTrial) -> bool:
    return not trial.state.is_finished()


def results(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """A row per trial that is complete or pruned, the best on validation first; the report's columns and two more.

    A pruned trial stands there with the epochs it went. time_sec is what the trial's epochs took, also where it
    shared them with others: the time of a run of its own.
    """
    rows = []
    for trial in trials:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            row = {"trial": trial.number, **trial.params, "epochs": trial.last_step}
            row |= {"valid_acc": trial.value} | {name: trial.user_attrs[name] for name in ("test_acc", "time_sec")}
            rows.append(row | {"state": trial.state.name.lower()})
    columns = [*search_space.DIMENSIONS, "valid_acc", "test_acc", "time_sec", "state"]
    table = pd.DataFrame(rows, columns=["trial", *columns]).set_index("trial")
    return table.sort_values("valid_acc", ascending=False, kind="stable")


def describe(trial: FrozenTrial) -> str:
    """A finished trial in a line: its configuration, and what came of it."""
    names = ", ".join(f"{name.replace('_', ' ')} {trial.params[name]:g}" for name in search_space.DIMENSIONS)
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number}: {names}: failed, {trial.user_attrs['reason']}"
    test = trial.user_attrs["test_acc"]
    result = f"valid {trial.value:.2f} %" + ("" if test is None else f", test {test:.2f} %")
    pruned = f", pruned after epoch {trial.last_step}" if trial.state == TrialState.PRUNED else ""
    return f"trial {trial.number}: {names}: {result}, {trial.user_attrs['time_sec']:.0f} s{pruned}"
