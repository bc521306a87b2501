"""Does the runs of an experiment that are not done yet, several at a time, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.experiment.runs import CHECKPOINTS, LOG, RECORD, Run, read_record, write_spec
from recbole_cfgdiff.files import remove_left_overs, write_json

_POLL_SECONDS = 0.1
# A checkout need not be installed to be run from its own folder, which is not where the workers run.
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def run_missing(runs: Sequence[Run], output: Path, jobs: int, report: Callable[[str], None]) -> None:
    """Do what is not done: runs without a record, and failed ones again.

    Args:
        runs: of one experiment.
        output: folder of the experiment.
        jobs: runs at a time; the processor's cores are divided among them.
        report: called with a line for each run that ends.

    Raises:
        ConfigError: if a run was done with other options.
    """
    records = [(run, read_record(run, output)) for run in runs]
    ended = [(run, record) for run, record in records if record and record["status"] == "ended"]
    waiting = [run for run, record in records if not record or record["status"] != "ended"]
    progress = _Progress(ended, waiting, jobs, report)
    waiting.reverse()
    active: list[_Worker] = []
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                active.append(_Worker(waiting.pop(), output, max(1, available_cores() // jobs)))
            time.sleep(_POLL_SECONDS)
            for worker in [worker for worker in active if worker.has_ended()]:
                active.remove(worker)
                progress.ended(worker.run, worker.record(), worker.seconds)
    finally:
        for worker in active:
            worker.stop()


def run_one(run: Run, output: Path) -> dict[str, Any]:
    """Do one run with all cores, or take the record of it, of a failure too.

    Raises:
        ConfigError: if the run was done with other options.
    """
    record = read_record(run, output)
    if record is not None:
        return record
    worker = _Worker(run, output, available_cores())
    try:
        while not worker.has_ended():
            time.sleep(_POLL_SECONDS)
        return worker.record()
    finally:
        worker.stop()


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
    """``PYTHONPATH`` of processes that import this package."""
    return os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))


class _Worker:
    """A process that does one run."""

    def __init__(self, run: Run, output: Path, threads: int) -> None:
        self.run = run
        self._folder = run.folder(output).resolve()
        self._started = time.perf_counter()
        write_spec(run, self._folder)
        (self._folder / RECORD).unlink(missing_ok=True)
        environment = {**os.environ, "PYTHONPATH": search_path()}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        with (self._folder / LOG).open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "recbole_cfgdiff.experiment.worker", str(self._folder)],
                cwd=self._folder,  # where RecBole writes its own logs
                env=environment,
                stdin=subprocess.PIPE,  # closes when this process ends, however it does; the worker then stops too
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def record(self) -> dict[str, Any]:
        """What the worker wrote, or if it could not, a record that says how it ended."""
        record = read_record(self.run, self._folder.parents[3])
        if record is None:
            record = {
                "dataset": self.run.dataset,
                "model": self.run.label,
                "seed": self.run.seed,
                "hyperparameters": self.run.hyperparameters,
                "config_hash": self.run.config_hash,
                "data_hash": self.run.data_hash,
                "status": "failed",
                "error": f"the process ended with status {self._process.returncode}"
                + (
                    " (killed; out of memory?)"
                    if self._process.returncode == -9
                    else f"; see {LOG} in the run's folder"
                ),
            }
            write_json(self._folder / RECORD, record)
        return record

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for folder in (self._folder, self._folder / CHECKPOINTS):
            remove_left_overs(folder)


class _Progress:
    """A line for each run that ends, with the time that is left."""

    def __init__(
        self,
        done: Sequence[tuple[Run, dict[str, Any]]],
        waiting: Sequence[Run],
        jobs: int,
        report: Callable[[str], None],
    ) -> None:
        self._report, self._jobs = report, jobs
        self._total, self._left = len(done) + len(waiting), list(waiting)
        self._seconds: dict[tuple[str, str], list[float]] = {}
        for run, record in done:
            self._add(run, record["training_seconds"] + record["inference_seconds"])
        report(f"{self._total} runs, {jobs} at a time" + (f"; {len(done)} are there already" if done else ""))

    def _add(self, run: Run, seconds: float) -> None:
        self._seconds.setdefault((run.label, run.dataset), []).append(seconds)

    def ended(self, run: Run, record: dict[str, Any], seconds: float) -> None:
        self._left.remove(run)
        self._add(run, seconds)
        outcome = record["error"] if record["status"] == "failed" else _outcome(record)
        place = f"[{self._total - len(self._left)}/{self._total}]"
        left = f"; about {_duration(self._seconds_left())} left" if self._left else ""
        self._report(f"{place} {run}: {record['status']}, {outcome} ({_duration(seconds)}{left})")

    def _seconds_left(self) -> float:
        """By the mean of the variant's earlier runs here, or where there is none, of all of them."""
        of_all = [seconds for each in self._seconds.values() for seconds in each]
        expected = (self._seconds.get((run.label, run.dataset), of_all) for run in self._left)
        return sum(sum(seconds) / len(seconds) for seconds in expected) / self._jobs


def _outcome(record: dict[str, Any]) -> str:
    metric = record["valid_metric"]
    return f"test {metric} {record['test'].get(metric, float('nan')):.4f}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
