"""The trials of a search: what each is, their table on disk as it grows, and doing them one after another."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.escape import write_table
from recbole_cfgdiff.overlay.checkpoint import BEST
from recbole_cfgdiff.runs.pool import kind_of, run_one
from recbole_cfgdiff.runs.progress import Progress
from recbole_cfgdiff.runs.spec import CHECKPOINTS, RECORD, Run, check_is_of
from recbole_cfgdiff.tuning.algorithms import Search

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
        rows: of ``trials.csv``: number, parameters, status, best validation score, seconds, epochs, message of a
            failure. A trial has ``ended``, was ``stopped`` early, or ``failed``.
        best: the trial with the best score among those that ended, and its record.
    """

    def __init__(
        self, output: Path, metric: str, bigger: bool, total: int, say: Callable[[str], None], progress: Progress
    ) -> None:
        self.output, self.metric, self.bigger, self.total = output, metric, bigger, total
        self.say, self.progress = say, progress
        self.rows: list[dict[str, Any]] = []
        self.best: tuple[Trial, dict[str, Any]] | None = None

    def add(self, trial: Trial, record: dict[str, Any]) -> float | None:
        """Add a trial that is over; its loss, lower is better, None of a failed one.

        Args:
            trial: which.
            record: with ``status``, ``valid_score``, ``training_seconds``, ``epochs``, of a failed one ``error``.
        """
        if record["status"] != "failed" and not math.isfinite(record["valid_score"]):
            told = "nothing was validated, or its score is not finite"
            record = {**record, "status": "failed", "valid_score": None, "error": told}
        failed = record["status"] == "failed"
        if record["status"] == "ended" and (self.best is None or self._loss(record) < self._loss(self.best[1])):
            self.best = trial, record
        self.rows.append({"trial": trial.number, **trial.parameters, **{name: record.get(name) for name in TOLD}})
        write_table(self.table(), self.output / TRIALS)
        outcome = record["error"] if failed else f"{self.metric} {record['valid_score']:.4f}"
        best = f"; best {self.best[1]['valid_score']:.4f}" if self.best else ""
        parameters = ", ".join(f"{name}={_short(value)}" for name, value in trial.parameters.items())
        left = f"; {left}" if (left := self.progress.left()) else ""
        self.say(f"[{len(self.rows)}/{self.total}] {parameters}: {record['status']}, validation {outcome}{best}{left}")
        return None if failed else self._loss(record)

    def _loss(self, record: dict[str, Any]) -> float:
        return -record["valid_score"] if self.bigger else record["valid_score"]

    def table(self) -> pd.DataFrame:
        """The rows by number."""
        return pd.DataFrame(self.rows).sort_values("trial")

    def the_best(self) -> tuple[Trial, float]:
        """The trial with the best validation score among those that ended, and that score.

        Raises:
            TrainingError: if no trial ended.
        """
        if self.best is None:
            errors = [f"; the first error: {row['error']}" for row in self.rows if row["status"] == "failed"]
            raise TrainingError(f"no trial of {len(self.rows)} ended of itself" + "".join(errors[:1]))
        return self.best[0], self.best[1]["valid_score"]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def do_in_turn(search: Search, make_trial: MakeTrial, table: TrialTable) -> Path:
    """Do the trials one after another, each with all cores; those that have a record are not done again.

    What hyperopt suggests again takes the record of the first time, and counts as a trial. Only the best trial's
    checkpoint is kept.

    Returns:
        the folder of the best trial's checkpoint.

    Raises:
        TrainingError: if every trial failed.
    """
    kept: Path | None = None
    records: dict[str, dict[str, Any]] = {}  # by the hash of the options
    while len(table.rows) < table.total and (suggestion := search.next()) is not None:
        trial = make_trial(*suggestion)
        config_hash = trial.run.config_hash
        if config_hash in records:
            table.progress.skip(kind_of(trial.run))
        else:
            records[config_hash] = run_one(trial.run, table.output, table.progress, table.say)
        search.report(trial.number, table.add(trial, records[config_hash]))
        folder = trial.run.folder(table.output) / CHECKPOINTS
        is_best = table.best is not None and table.best[0] is trial
        discarded = kept if is_best else folder
        kept = folder if is_best else kept
        if discarded is not None:
            shutil.rmtree(discarded, ignore_errors=True)
    best = table.the_best()[0].run
    _check_weights(best, table)
    return best.folder(table.output) / CHECKPOINTS


def _check_weights(run: Run, table: TrialTable) -> None:
    """Do the run of the best trial again if its weights are gone or damaged."""
    folder = run.folder(table.output)
    try:
        check_is_of(run, folder / CHECKPOINTS / BEST)
    except ConfigError as error:
        table.say(f"{error}; {run} is done again")
        (folder / RECORD).unlink(missing_ok=True)
        run_one(run, table.output, table.progress, table.say)
