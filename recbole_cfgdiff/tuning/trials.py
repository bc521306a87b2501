"""The trials of a search: what each is, their table on disk as it grows, and doing them one after another."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.escape import one_line, write_table
from recbole_cfgdiff.overlay.checkpoint import BEST
from recbole_cfgdiff.runs.pool import kind_of, run_one
from recbole_cfgdiff.runs.progress import Progress
from recbole_cfgdiff.runs.spec import CHECKPOINTS, RECORD, Run, check_is_of

if TYPE_CHECKING:
    from recbole_cfgdiff.tuning.study import Study

TRIALS = "trials.csv"
TOLD = ("status", "valid_score", "training_seconds", "epochs", "error")


@dataclass(frozen=True)
class Trial:
    """One configuration of a search.

    Attributes:
        number: from 1.
        parameters: the searched ones.
        given: all options that were given, the searched ones among them.
        run: its run.
    """

    number: int
    parameters: dict[str, Any]
    given: dict[str, Any]
    run: Run


MakeTrial = Callable[[int, "dict[str, Any]"], Trial]


class TrialTable:
    """The trials of a search, judged by validation, on disk as it goes.

    Args:
        output: folder of the search.
        metric: what the trials are judged by, on the validation part.
        bigger: whether more of it is better.
        total: how many trials there will be at most.
        say: called with a line for each trial.
        progress: of as many runs.

    Attributes:
        trials: those that are over, each with what came of it. A trial has ``ended``, was ``stopped`` early, or
            ``failed``.
        best: the trial with the best score among those that ended, and what came of it.
    """

    def __init__(
        self, output: Path, metric: str, bigger: bool, total: int, say: Callable[[str], None], progress: Progress
    ) -> None:
        self.output, self.metric, self.bigger, self.total = output, metric, bigger, total
        self.say, self.progress = say, progress
        self.trials: list[tuple[Trial, dict[str, Any]]] = []
        self.best: tuple[Trial, dict[str, Any]] | None = None

    def add(self, trial: Trial, outcome: dict[str, Any]) -> None:
        """Add a trial that is over.

        Args:
            trial: which.
            outcome: what came of it, as of ``outcome_of``.
        """
        if outcome["status"] == "ended" and (self.best is None or self._is_better(outcome, self.best[1])):
            self.best = trial, outcome
        self.trials.append((trial, outcome))
        write_table(self.table(), self.output / TRIALS)
        came = outcome["error"] or f"{self.metric} {outcome['valid_score']:.4f}"
        best = f"; best {self.best[1]['valid_score']:.4f}" if self.best else ""
        parameters = ", ".join(f"{name}={_short(value)}" for name, value in trial.parameters.items())
        left = f"; {left}" if (left := self.progress.left()) else ""
        self.say(f"[{len(self.trials)}/{self.total}] {parameters}: {outcome['status']}, validation {came}{best}{left}")

    def _is_better(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        first, second = one["valid_score"], other["valid_score"]
        return first > second if self.bigger else first < second

    def add_finished(self, search: Study, make_trial: MakeTrial) -> None:
        """Add the trials that were over when a search is continued."""
        for number, parameters, outcome in search.finished:
            trial = make_trial(number, parameters)
            self.progress.skip(kind_of(trial.run))
            if outcome["status"] == "ended":
                self.progress.took(kind_of(trial.run), outcome["training_seconds"])
            self.add(trial, outcome)

    def table(self) -> pd.DataFrame:
        """A row a trial, by number: its parameters, status, best validation score, seconds of training, epochs, and
        the message of a failure."""
        rows = [{"trial": trial.number, **trial.parameters, **outcome} for trial, outcome in self.trials]
        return pd.DataFrame(rows).sort_values("trial")

    def the_best(self) -> tuple[Trial, float]:
        """The trial with the best validation score among those that ended, and that score.

        Raises:
            TrainingError: if no trial ended.
        """
        if self.best is None:
            errors = [f"; the first error: {outcome['error']}" for _, outcome in self.trials if outcome["error"]]
            raise TrainingError(f"no trial of {len(self.trials)} ended of itself" + "".join(errors[:1]))
        return self.best[0], self.best[1]["valid_score"]


def outcome_of(record: dict[str, Any]) -> dict[str, Any]:
    """What came of a trial: status, score and so on as ``trials.csv`` has them. A trial without a score has failed.

    Args:
        record: with ``status``, ``valid_score``, ``training_seconds``, ``epochs``, of a failed one ``error``.
    """
    outcome: dict[str, Any] = {name: record.get(name) for name in TOLD}
    if outcome["status"] == "failed":
        return {**dict.fromkeys(TOLD), "status": "failed", "error": one_line(outcome["error"])}
    if not math.isfinite(outcome["valid_score"]):
        told = "nothing was validated, or its score is not finite"
        return {**outcome, "status": "failed", "valid_score": None, "error": told}
    return outcome


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def do_in_turn(search: Study, make_trial: MakeTrial, table: TrialTable) -> Path:
    """Do the trials one after another, each with all cores, from where an interrupted search left off.

    What is suggested again takes what came of it the first time, and counts as a trial. Only the best trial's
    checkpoint is kept.

    Returns:
        the folder of the best trial's checkpoint.

    Raises:
        TrainingError: if every trial failed.
    """
    table.add_finished(search, make_trial)
    _keep_the_best_weights(table)
    outcomes = {trial.run.config_hash: outcome for trial, outcome in table.trials}
    while len(table.trials) < table.total and (suggestion := search.next()) is not None:
        trial = make_trial(*suggestion)
        if trial.run.config_hash in outcomes:
            table.progress.skip(kind_of(trial.run))
        else:
            outcomes[trial.run.config_hash] = outcome_of(run_one(trial.run, table.output, table.progress, table.say))
        outcome = outcomes[trial.run.config_hash]
        search.report(trial.number, outcome)
        table.add(trial, outcome)
        _keep_the_best_weights(table)
    best = table.the_best()[0].run
    _check_weights(best, table)
    return best.folder(table.output) / CHECKPOINTS


def _keep_the_best_weights(table: TrialTable) -> None:
    for trial, _ in table.trials:
        folder = trial.run.folder(table.output) / CHECKPOINTS
        if not (table.best and table.best[0] is trial) and folder.exists():
            shutil.rmtree(folder, ignore_errors=True)


def _check_weights(run: Run, table: TrialTable) -> None:
    """Do the run of the best trial again if its weights are gone or damaged."""
    folder = run.folder(table.output)
    try:
        check_is_of(run, folder / CHECKPOINTS / BEST)
    except ConfigError as error:
        table.say(f"{error}; {run} is done again")
        (folder / RECORD).unlink(missing_ok=True)
        run_one(run, table.output, table.progress, table.say)
