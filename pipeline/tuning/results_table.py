"""The table of a study's results: the columns of results.csv, and the line printed for each finished trial."""

from collections.abc import Sequence

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from pipeline.tuning import search_space


def results(trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return a row per complete or pruned trial, sorted by validation accuracy: the report's columns and two more.

    `epochs` of a pruned trial is the number that it trained. `time_sec` is the time of the trial's epochs, as if it had
    not shared them with other trials.
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
    """Describe a finished trial in a line: its configuration and result."""
    names = ", ".join(f"{name.replace('_', ' ')} {trial.params[name]:g}" for name in search_space.DIMENSIONS)
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number}: {names}: failed, {trial.user_attrs['reason']}"
    test = trial.user_attrs["test_acc"]
    result = f"valid {trial.value:.2f} %" + ("" if test is None else f", test {test:.2f} %")
    pruned = f", pruned after epoch {trial.last_step}" if trial.state == TrialState.PRUNED else ""
    return f"trial {trial.number}: {names}: {result}, {trial.user_attrs['time_sec']:.0f} s{pruned}"
