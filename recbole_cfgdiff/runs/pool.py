"""Does the runs of an experiment that are not done yet, several at a time, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import read_json, remove_left_overs
from recbole_cfgdiff.runs.data_sets import DataSets
from recbole_cfgdiff.runs.progress import Epochs, Progress, duration
from recbole_cfgdiff.runs.records import Damaged, read_record, write_record
from recbole_cfgdiff.runs.spec import CHECKPOINTS, LOG, PROGRESS, Run, Told, make_folder

_POLL_SECONDS = 0.1
# A checkout need not be installed to be run from its own folder, which is not where the workers run.
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def run_missing(
    runs: Sequence[Run], output: Path, jobs: int, report: Callable[[str], None], data_sets: DataSets
) -> None:
    """Do what is not done: runs without a record, with a damaged one, and failed ones again.

    Args:
        runs: of one experiment.
        output: folder of the experiment.
        jobs: runs at a time; the processor's cores are divided among them.
        report: called with a line for each run that ends, and now and then between.
        data_sets: what was read of the runs' data sets.

    Raises:
        ConfigError: if a run was done with other options.
        OSError: if the folder of a run can't be written.
    """
    records = [(run, record_or_none(run, output, report)) for run in runs]
    waiting = [run for run, record in records if not record or record["status"] != "ended"]
    progress, done = Progress(map(kind_of, waiting), jobs, report), len(runs) - len(waiting)
    for run, record in records:
        if record and record["status"] == "ended":
            progress.took(kind_of(run), record["training_seconds"] + record["inference_seconds"])
    report(f"{len(runs)} runs, {jobs} at a time" + (f"; {done} are there already" if done else ""))
    waiting.reverse()
    active: list[_Worker] = []
    with data_sets.kept(output, {run.dataset for run in waiting}):
        try:
            while waiting or active:
                while waiting and len(active) < jobs:
                    run = waiting.pop()
                    progress.start(str(run), kind_of(run))
                    active.append(_Worker(run, output, max(1, available_cores() // jobs), report))
                time.sleep(_POLL_SECONDS)
                for worker in [worker for worker in active if worker.has_ended()]:
                    active.remove(worker)
                    done += 1
                    report(f"[{done}/{len(runs)}] {_outcome(worker.run, worker.record(), progress)}")
                watch(progress, active)
        finally:
            for worker in active:
                worker.stop()


def kind_of(run: Run) -> str:
    """Runs of a kind take alike; those of a search are all of one kind."""
    return f"{run.label if run.is_tested else run.model} on {run.dataset}"


def _outcome(run: Run, record: dict[str, Any], progress: Progress) -> str:
    seconds = progress.end(str(run))
    if record["status"] == "failed":
        outcome = f"failed, {record['error']}"
    else:
        progress.took(kind_of(run), seconds)
        outcome = f"ended, test {record['valid_metric']} {record['test'][record['valid_metric']]:.4f}"
    left = f"; {left}" if (left := progress.left()) else ""
    return f"{run}: {outcome} ({duration(seconds)}{left})"


def watch(progress: Progress, active: Iterable[_Worker]) -> None:
    """Take in how far the runs are, and say so if it is time to."""
    for worker in active:
        progress.update(str(worker.run), worker.epochs())
    progress.line()


def record_or_none(run: Run, output: Path, report: Callable[[str], None]) -> dict[str, Any] | None:
    """The record of a run, or None if it has to be done; that it is damaged is told.

    Raises:
        ConfigError: if the run was done with other options.
    """
    try:
        return read_record(run, output)
    except Damaged as error:
        report(f"damaged: {error}; {run} is done again")
        return None


def run_one(run: Run, output: Path, progress: Progress, report: Callable[[str], None]) -> dict[str, Any]:
    """Do one run with all cores, or take the record of it, of a failure too.

    Args:
        run: what to do.
        output: folder of the experiment.
        progress: is told how far the run is.
        report: called with a line for what is damaged.

    Raises:
        ConfigError: if the run was done with other options.
        OSError: if its folder can't be written.
    """
    record = record_or_none(run, output, report)
    if record is not None:
        progress.skip(kind_of(run))
    else:
        progress.start(str(run), kind_of(run))
        worker = _Worker(run, output, available_cores(), report)
        try:
            while not worker.has_ended():
                time.sleep(_POLL_SECONDS)
                watch(progress, [worker])
            record = worker.record()
        finally:
            worker.stop()
        progress.end(str(run))
    if record["status"] == "ended":
        progress.took(kind_of(run), record["training_seconds"])
    return record


def check_jobs(jobs: int) -> None:
    """Check the number of runs at a time.

    Raises:
        ConfigError: if it is less than one.
    """
    if jobs < 1:
        raise ConfigError(f"jobs: expected at least 1, got {jobs}")


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def search_path() -> str:
    """``PYTHONPATH`` of processes that import this package, and plugins from where this one can: from its working
    directory too, if it was started by ``python -m``."""
    here = [folder for folder in (os.getcwd(),) if folder in map(os.path.abspath, sys.path)]
    return os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"), *here)))


class _Worker:
    """A process that does one run."""

    def __init__(self, run: Run, output: Path, threads: int, report: Callable[[str], None]) -> None:
        self.run = run
        self._output, self._report = output.resolve(), report
        self._folder = run.folder(self._output)
        self._told_at = 0  # when the file of what the worker told was written
        self._epochs: Epochs | None = None
        make_folder(run, self._folder)
        environment = {**os.environ, "PYTHONPATH": search_path()}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        with (self._folder / LOG).open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "recbole_cfgdiff.runs.worker", str(self._folder), str(self._output)],
                cwd=self._folder,  # where RecBole writes its own logs
                env=environment,
                stdin=subprocess.PIPE,  # closes when this process ends, however it does; the worker then stops too
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def epochs(self) -> Epochs | None:
        """How far the run is, if it has told; what else it told is reported."""
        path = self._folder / PROGRESS
        try:
            written = path.stat().st_mtime_ns
            if written == self._told_at:
                return self._epochs
            told = Told(**read_json(path))
            self._epochs = Epochs(told.epochs, told.most, told.seconds)
            if told.note and not self._told_at:
                self._report(f"{self.run}: {told.note}")
            self._told_at = written
        except (OSError, ValueError, TypeError):  # not there yet
            pass
        return self._epochs

    def record(self) -> dict[str, Any]:
        """What the worker wrote, or if it could not, a record that says how it ended."""
        self.epochs()  # for what it told last
        (self._folder / PROGRESS).unlink(missing_ok=True)
        try:
            record = read_record(self.run, self._output)
        except Damaged as error:
            return self._failed(str(error))
        if record is not None:
            return record
        status = self._process.returncode
        killed = " (killed; out of memory?)" if status == -9 else f"; see {LOG} in the run's folder"
        return self._failed(f"the process ended with status {status}{killed}")

    def _failed(self, error: str) -> dict[str, Any]:
        record = {
            "dataset": self.run.dataset,
            "model": self.run.label,
            "seed": self.run.seed,
            "hyperparameters": self.run.hyperparameters,
            "config_hash": self.run.config_hash,
            "data_hash": self.run.data_hash,
            "status": "failed",
            "error": error,
        }
        write_record(self._folder, record)
        return record

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for folder in (self._folder, self._folder / CHECKPOINTS):
            remove_left_overs(folder)
