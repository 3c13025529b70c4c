"""A study in its database: its trials, their states and results.

Optuna stores the trials, suggests configurations, prunes and ranks; leases.py assigns each trial to one process, so
that none is trained twice and none is lost when a machine fails.
"""

import contextlib
import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc

from pipeline import cli
from pipeline.errors import Failure
from pipeline.tuning import database, results_table, search_space
from pipeline.tuning.leases import Leases
from pipeline.tuning.search_space import Configuration, Settings

PLANNING_JOB = -1  # the lease for writing the plan into the database
TPE_SEED_FACTOR = 1_000_003  # a prime, so that every (seed, trial) has its own sampler seed
Result = TypeVar("Result")
optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass
class Job:
    """One training run: the trials whose results it gives, and the configuration of the longest."""

    number: int  # of its first trial
    trials: dict[int, int]  # trial number -> epochs, of those not yet finished
    configuration: Configuration


class Study:
    """A study, opened by one process."""

    def __init__(self, url: str, name: str, settings: Settings, trials: int):
        """Open the study, or create it.

        Raises:
            Failure: the database cannot be used, or contains another search under this name.
        """
        self.url, self.name, self.settings = url, name, settings
        self.mine: set[int] = set()  # unfinished jobs of this process
        self.ids: dict[int, int] = {}  # trial number -> the database's identifier
        self.plan = search_space.plan(settings, trials)
        with database.readable(url):
            self._retry(self._open, database.START_TIMEOUT_SECONDS)
            results_table.results(self.trials())

    def take(self) -> Job | None:
        """Lease a job that no other process has; None if there is none at the moment."""
        return self._retry(self._take)

    def record(self, job: Job, row: dict) -> list[FrozenTrial]:
        """Report an epoch to the job's trials, and end those that are complete or pruned.

        Ended trials are removed from the job; a job without trials is done. If another process has the lease now, all
        are removed.

        Returns:
            the trials that ended.
        """
        if not self._retry(lambda: self.leases.holds(job.number)):
            job.trials.clear()
        return self._end(job, lambda number: self._report(number, job.trials[number], row))

    def fail(self, job: Job, reason: str) -> list[FrozenTrial]:
        """Mark the job's remaining trials as failed, for this reason."""
        return self._end(job, lambda number: self._finish(number, TrialState.FAIL, {"reason": reason}))

    def beat(self) -> None:
        """Renew the leases of this process."""
        self._retry(self.leases.renew)

    def release(self) -> None:
        """Return the leases of this process, so that others need not wait until they expire."""
        with contextlib.suppress(exc.SQLAlchemyError):
            self.leases.give_back_all()

    def trials(self) -> list[FrozenTrial]:
        """Return the trials of this plan, in order, without those that a larger plan has added."""
        return self._retry(lambda: self.study.get_trials(deepcopy=False))[: len(self.plan)]

    def families(self) -> list[list[FrozenTrial]]:
        """Group the trials by the training run that gives their results."""
        groups: dict[Any, list[FrozenTrial]] = {}
        for trial in self.trials():
            planned = self.plan[trial.number]
            key = trial.number if planned is None else search_space.family(planned, self.settings)
            groups.setdefault(key, []).append(trial)
        return list(groups.values())

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

    def _open(self) -> None:
        self.storage = database.open_storage(self.url)
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
            time.sleep(0.2)  # another process writes it

    def _write_plan(self) -> bool:
        """Add the plan's missing trials to the database; return False while another process does so."""
        now, then = cli.result_settings(self.settings), self.study.user_attrs.get("settings")
        missing = self.plan[len(self.study.get_trials(deepcopy=False)) :]
        if then == now and not missing:
            return True
        if then != now and (then is not None or self.study.get_trials(deepcopy=False)):
            raise Failure(
                f"study {self.name} in {database.without_password(self.url)} has other settings: "
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
            # read again: another process may have finished it before this one got the lease
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
        """Let the TPE sampler choose a configuration from all trials so far; running trials count as bad ones."""
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
        """Apply `action` to each trial of the job; return the trials it ended, and the lease when none is left."""
        ended = []
        for number in list(job.trials):
            trial = self._retry(functools.partial(action, number))
            if trial is not None:
                ended.append(trial)
                del job.trials[number]
        if not job.trials:
            self._retry(lambda: self._free(job.number))
        return ended

    def _report(self, number: int, epochs: int, row: dict) -> FrozenTrial | None:
        """Report an epoch to a trial; return the trial if it ends with this epoch."""
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
        """Return the database's identifier of a trial."""
        if number not in self.ids:
            self.ids[number] = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        return self.ids[number]

    def _free(self, job: int) -> None:
        self.leases.give_back(job)
        self.mine.discard(job)

    def _retry(self, action: Callable[[], Result], seconds: float | None = None) -> Result:
        return database.retry(action, self.url, seconds or database.RUN_TIMEOUT_SECONDS)


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


def is_unfinished(trial: FrozenTrial) -> bool:
    return not trial.state.is_finished()
