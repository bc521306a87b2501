"""The folder of an experiment: whose it is, its runs, and the tables made of their records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.evaluation.rankings import Ranking
from recbole_cfgdiff.files import read_json, remove_left_overs, write_json
from recbole_cfgdiff.names import check_path
from recbole_cfgdiff.runs.records import CURVE_COLUMNS, read_curve, read_record, read_sweep
from recbole_cfgdiff.runs.spec import CURVE, RECORD, SPEC, SWEEP, TEST, Run

_IDENTITY = "experiment.json"
_RUN = "runs/*/*/*/{}"


class OutputFolder:
    """The folder of one experiment, which no other process works in meanwhile: a context manager.

    Args:
        path: made if it is not there.
        identity: what tells the experiment from others; plain values.

    Raises:
        ConfigError: if the folder is another experiment's or not one's at all, if another process works in it, or if it
            can't be written before a run is done.
        TrainingError: if it can't be written later on. What is done stays, and the same command goes on.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        check_output(path)
        self.path, self._identity = path, json.loads(json.dumps(identity))
        self._lock = FileLock(path / ".lock")

    def __enter__(self) -> OutputFolder:
        self._check_is_ours()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(f"output: another process works in {self.path}") from error
        except OSError as error:
            raise ConfigError(f"output: can't write into {self.path}: {error.strerror}") from error
        try:
            self._check_is_ours()  # by now it may have become another's
            for folder, _, _ in os.walk(self.path):
                remove_left_overs(Path(folder))
            write_json(self.path / _IDENTITY, self._identity)
        except BaseException as error:
            self._lock.release()
            if not isinstance(error, OSError):
                raise
            raise ConfigError(f"output: can't write into {self.path}: {error.strerror}") from error
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._lock.release()
        if isinstance(error, OSError):
            is_begun = any(self.path.glob(_RUN.format(RECORD)))
            with told_if_not_written(self.path, TrainingError if is_begun else ConfigError):
                raise error

    def _check_is_ours(self) -> None:
        known = self.path / _IDENTITY
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"output: {self.path} is a file; expected a folder")
        if known.is_file():
            self._check(known)
        elif self.path.is_dir() and not self._is_an_experiments():
            raise ConfigError(f"output: {self.path} has files that are no experiment's; choose another folder")

    def _is_an_experiments(self) -> bool:
        """Whether it is empty or has runs, of which each knows by itself whether it is this experiment's."""
        return any(self.path.glob(_RUN.format(SPEC))) or all(path.name == ".lock" for path in self.path.iterdir())

    def _check(self, path: Path) -> None:
        try:
            known = read_json(path)
            if not isinstance(known, dict):
                raise ValueError(f"expected options, found {type(known).__name__}")
        except (OSError, ValueError) as error:
            has_runs = any(self.path.glob(_RUN.format(SPEC)))
            hint = ", or remove that file to go on with the runs that are of this command" if has_runs else ""
            raise ConfigError(f"output: {path} is damaged: {error}; choose another folder{hint}") from error
        for name in {**known, **self._identity}:
            before, now = known.get(name), self._identity.get(name)
            if before != now:
                told = f" {before} instead of {now}" if len(f"{before}{now}") < 300 else " of other content"
                raise ConfigError(
                    f"output: {self.path} is another experiment's, with {name}{told}; choose another folder"
                )


@contextmanager
def told_if_not_written(path: Path, kind: type[Exception]) -> Iterator[None]:
    """Turn an error of the system into one that names the file, in ``path`` if it does not say.

    Args:
        path: folder that is written.
        kind: ``TrainingError`` where what was done before stays.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:  # of standard output
            raise
        stays = "; what is done stays, and the same command goes on from there" if kind is TrainingError else ""
        raise kind(f"output: can't write {error.filename or path}: {error.strerror or error}{stays}") from error


def check_output(path: Path) -> None:
    """Check that something is, or can be, a folder to write into.

    Raises:
        ConfigError: if it is a file, or has a part that is no name.
    """
    check_path("output", path)
    try:
        is_other = path.exists() and not path.is_dir()
    except OSError as error:  # such as a name that is too long
        raise ConfigError(f"output: can't write into {path}: {error.strerror}") from error
    if is_other:
        raise ConfigError(f"output: {path} is a file; expected a folder")


class Results:
    """The runs of an experiment that have ended well, and what they left.

    Args:
        runs: all of the experiment.
        output: its folder.

    Attributes:
        table: a row a run, failed ones included (``status``, ``error``), in the order of ``runs``; metrics of the
            test part by name, of the validation part as ``valid_NAME``.
        runs: those that ended well.
    """

    def __init__(self, runs: Sequence[Run], output: Path) -> None:
        self._output = output
        records = [(run, read_record(run, output)) for run in runs]
        self.table = pd.DataFrame([_row(record) for _, record in records if record])
        self.runs = [run for run, record in records if record and record["status"] == "ended"]
        self._records = [record for _, record in records if record and record["status"] == "ended"]
        self._rankings: dict[Path, Ranking] = {}

    def metrics(self, dataset: str) -> list[str]:
        """Names of the test metrics, in RecBole's order."""
        return self._names(dataset, "test")

    def beyond_accuracy(self, dataset: str) -> list[str]:
        """Names of the beyond-accuracy metrics."""
        return self._names(dataset, "beyond_accuracy")

    def _names(self, dataset: str, kind: str) -> list[str]:
        records = [record for record in self._records if record["dataset"] == dataset]
        return list(dict.fromkeys(name for record in records for name in record[kind]))

    def first_by_validation(self) -> Iterator[Run]:
        """For each data set the first run of the model whose mean validation score is best; none without validation."""
        for _, rows in self.table.loc[self.table["status"] == "ended"].groupby("dataset", sort=False):
            scores = rows.dropna(subset=["valid_score"]).groupby("model", sort=False)["valid_score"].mean()
            if len(scores):
                first = scores.idxmax() if rows["valid_metric_bigger"].iloc[0] else scores.idxmin()
                dataset = rows["dataset"].iloc[0]
                yield next(run for run in self.runs if (run.label, run.dataset) == (first, dataset))

    def ranking(self, run: Run) -> Ranking:
        """What the run recommended in its test."""
        path = run.folder(self._output) / TEST
        if path not in self._rankings:
            self._rankings[path] = Ranking.load(path)
        return self._rankings[path]

    def curve(self, run: Run) -> pd.DataFrame:
        """Epoch, seconds, training loss and validation score; no rows for a run that was never validated."""
        path = run.folder(self._output) / CURVE
        table = read_curve(path) if path.exists() else pd.DataFrame(columns=CURVE_COLUMNS)
        return table.dropna(subset=["valid_score"])

    def sweep(self, run: Run) -> pd.DataFrame | None:
        """Metrics by part and guidance scale, of a guided model."""
        path = run.folder(self._output) / SWEEP
        return read_sweep(path) if path.exists() else None

    def sweeps(self) -> pd.DataFrame:
        """All sweeps, with the data set, model and seed of each; no rows if there are none."""
        tables = [(run, self.sweep(run)) for run in self.runs]
        told = [
            table.assign(dataset=run.dataset, model=run.label, seed=run.seed)
            for run, table in tables
            if table is not None
        ]
        return pd.concat(told) if told else pd.DataFrame()


def _row(record: dict[str, Any]) -> dict[str, Any]:
    nested = ("test", "beyond_accuracy", "valid", "files")
    row = {name: value for name, value in record.items() if name not in nested}
    row |= record.get("test", {}) | record.get("beyond_accuracy", {})
    return row | {f"valid_{name}": value for name, value in record.get("valid", {}).items()}
