"""One run of an experiment, in a process of its own: ``python -m recbole_cfgdiff.runs.worker FOLDER OUTPUT``.

A run gets a fresh process so that its memory and threads are its own, nothing of another model's is left in it, and
its failure ends nothing else.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_cfgdiff.compat import silence_recbole_deprecations
from recbole_cfgdiff.data import download_if_missing
from recbole_cfgdiff.data.atomic import hash_of_data
from recbole_cfgdiff.data.atomic_data import AtomicData
from recbole_cfgdiff.data.history_at_test import is_with_validation
from recbole_cfgdiff.errors import ConfigError, RecBoleFailure, TrainingError, reported_as_training_error
from recbole_cfgdiff.escape import write_table
from recbole_cfgdiff.evaluation.metrics import beyond_accuracy, list_length
from recbole_cfgdiff.evaluation.rankings import collect_rankings
from recbole_cfgdiff.evaluation.reading import reads_histories
from recbole_cfgdiff.files import remove, write_json, write_text
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.config import as_they_are
from recbole_cfgdiff.runs.data_sets import kept_data
from recbole_cfgdiff.runs.folder import run_folder
from recbole_cfgdiff.runs.prepare import configure, prepare_config
from recbole_cfgdiff.runs.records import (
    CURVE_COLUMNS,
    NO_ROWS,
    TRAIN_AND_VALID_ROWS,
    TRAIN_ROWS,
    read_curve,
    write_record,
)
from recbole_cfgdiff.runs.single import Prepared
from recbole_cfgdiff.runs.spec import (
    CHECKPOINTS,
    CURVE,
    LOG,
    PROGRESS,
    SWEEP,
    TEST,
    Run,
    Told,
    check_is_of,
    read_spec,
)
from recbole_cfgdiff.runs.sweep import can_sweep, sweep

_PACKAGES = ("recbole-cfgdiff", "recbole", "torch", "numpy", "scipy", "pandas")
_SECONDS_BETWEEN_WORDS = 1.0  # writing takes time, too
AfterValidation = Callable[["LearningCurve"], None]


def train_and_test(
    run: Run,
    folder: Path,
    after_validation: AfterValidation | None = None,
    say: Callable[[str], None] = print,
    data: AtomicData | None = None,
) -> dict[str, Any]:
    """Do the run, from where an interrupted one left off, and write its learning curve, and of a run that is tested its
    rankings and sweep.

    Args:
        run: what to do.
        folder: the run's.
        after_validation: called with the learning curve after each validation, when there is a checkpoint of it.
        say: called with what the user has to know.
        data: what was read of the data set, if anything was.

    Returns:
        the record, plain values only.

    Raises:
        ConfigError: on a mistake in the options, or if the data is not what the run was planned for.
        TrainingError: if the loss is not finite, or a metric.
    """
    prepared, curve = _resume(run, folder, data, say) or _begin(run, folder, data)

    def on_validation(epoch: int, valid_score: float) -> None:
        curve.add(epoch, valid_score)
        if after_validation is not None:
            after_validation(curve)

    result = prepared.fit(callback_fn=on_validation)
    record = {
        "status": "ended",
        "valid": _plain(result["best_valid_result"] or {}),
        "training_seconds": curve.seconds(),
        "epochs": curve.epochs,
        "valid_metric": prepared.config["valid_metric"].lower(),
        "valid_score": float(result["best_valid_score"]),
        "valid_metric_bigger": bool(result["valid_score_bigger"]),
        "parameters": sum(w.numel() for w in prepared.trainer.model.parameters() if w.requires_grad),
        **(_test(prepared, folder) if run.is_tested else {}),
        "peak_memory_mb": _peak_memory_mb(),
        "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None,
    }
    if run.guidance_scales and can_sweep(prepared):
        write_table(sweep(prepared, run.guidance_scales), folder / SWEEP)
    return record


def _resume(
    run: Run, folder: Path, data: AtomicData | None, say: Callable[[str], None]
) -> tuple[Prepared, LearningCurve] | None:
    """Go on from where an interrupted run left off, or None if there is nothing to go on from, or it is damaged."""
    checkpoints = folder / CHECKPOINTS
    if not (checkpoints / checkpoint.LAST).exists():
        return None
    try:
        for name in (checkpoint.LAST, checkpoint.BEST):
            check_is_of(run, checkpoints / name)
        read_curve(folder / CURVE)  # without it the seconds before are not known
        prepared = _prepare(run, folder, data, resume=str(checkpoints))
        return prepared, LearningCurve(prepared.trainer, folder / CURVE, prepared.model_seconds)
    except (OSError, ValueError) as error:  # damage; a mistake in the options, a ConfigError too, comes again
        told = " ".join(f"{error}".splitlines())
        say(f"{told}; the run starts again from the beginning")
        return None


def _begin(run: Run, folder: Path, data: AtomicData | None) -> tuple[Prepared, LearningCurve]:
    prepared = _prepare(run, folder, data)
    for name in (checkpoint.LAST, checkpoint.BEST):
        remove(folder / CHECKPOINTS / name)
    (folder / CURVE).unlink(missing_ok=True)
    return prepared, LearningCurve(prepared.trainer, folder / CURVE, prepared.model_seconds)


def _prepare(run: Run, folder: Path, data: AtomicData | None, **resume: str) -> Prepared:
    options = {**run.options, "seed": run.seed, "checkpoint_dir": str(folder), "run_name": CHECKPOINTS, **resume}
    config = configure(run.model, run.dataset, None, {**as_they_are(options), "show_progress": False})
    download_if_missing(config)
    if run.data_hash not in ("", hash_of_data(config)):
        raise ConfigError(f"the files of the data set {run.dataset} have changed since the experiment was started")
    return prepare_config(config, data)


def attempt(
    run: Run,
    folder: Path,
    after_validation: AfterValidation | None = None,
    say: Callable[[str], None] = print,
    data: AtomicData | None = None,
) -> dict[str, Any]:
    """``train_and_test``, or the record of its failure, of a bug with ``traceback``; that is printed in any case."""
    try:
        with run_folder(folder / CHECKPOINTS), reported_as_training_error("the same command goes on"):
            return train_and_test(run, folder, after_validation, say, data)
    except (ConfigError, TrainingError) as error:
        return _failure(str(error), isinstance(error, RecBoleFailure))
    except Exception as error:  # any failure is this run's only, a bug too
        return _failure(f"{type(error).__name__}: {error}", shows_where=True)


def _failure(message: str, shows_where: bool) -> dict[str, Any]:
    traceback.print_exc()
    record = {"status": "failed", "error": " ".join(message.splitlines())}
    return {**record, "traceback": traceback.format_exc()} if shows_where else record


def _test(prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Test the best epoch and write its rankings. The part of the record that comes of it."""
    collector = collect_rankings(prepared.trainer, prepared.train_data)
    started = time.perf_counter()
    test_result = prepared.test()
    inference_seconds = time.perf_counter() - started
    collector.ranking.save(folder / TEST)
    beyond = beyond_accuracy(collector.ranking, list_length(prepared.config["valid_metric"], prepared.config["topk"]))
    return {
        "test": _plain(test_result),
        "beyond_accuracy": beyond,
        "inference_seconds": inference_seconds,
        "history_at_test": _history_at_test(prepared),
    }


def _history_at_test(prepared: Prepared) -> str:
    if not reads_histories(prepared.trainer.model):
        return NO_ROWS
    return TRAIN_AND_VALID_ROWS if is_with_validation(prepared.config) else TRAIN_ROWS


def _plain(metrics: Mapping[str, Any]) -> dict[str, float]:
    plain = {name: float(value) for name, value in metrics.items()}
    if odd := [f"{name} is {value}" for name, value in plain.items() if not math.isfinite(value)]:
        raise TrainingError(f"{', '.join(odd)}: no figure to compare; leave it out of metrics")
    return plain


class LearningCurve:
    """Epoch, seconds of training so far, training loss and validation score at each validation, on disk as it goes.

    Args:
        trainer: about to train, or to go on.
        path: a CSV file; what it has of later epochs than the trainer goes on from is dropped.
        model_seconds: what it took to make the model, which counts as training.
    """

    def __init__(self, trainer: Any, path: Path, model_seconds: float) -> None:
        self._trainer, self._path = trainer, path
        rows = read_curve(path) if path.exists() else pd.DataFrame(columns=CURVE_COLUMNS)
        self._rows = rows[rows["epoch"] < trainer.start_epoch]
        self._before = float(self._rows["seconds"].max()) if len(self._rows) else model_seconds
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds of training so far, with the making of the model, interruptions left out."""
        return self._before + time.perf_counter() - self._started

    def add(self, epoch: int, valid_score: float) -> None:
        """The trainer's callback after a validation."""
        loss = self._trainer.train_loss_dict.get(epoch)
        loss = float(np.sum(loss)) if loss is not None else float("nan")
        row = pd.DataFrame([[epoch, self.seconds(), loss, valid_score]], columns=CURVE_COLUMNS)
        self._rows = pd.concat([self._rows, row]) if len(self._rows) else row
        write_text(self._path, self._rows.to_csv(index=False))

    @property
    def latest(self) -> float:
        """The validation score of the last validation."""
        return float(self._rows["valid_score"].iloc[-1])

    @property
    def best(self) -> float:
        """The best validation score so far."""
        scores = self._rows["valid_score"]
        return float(scores.max() if self._trainer.valid_metric_bigger else scores.min())

    @property
    def validations(self) -> int:
        """Number of validations so far."""
        return len(self._rows)

    @property
    def epochs(self) -> int:
        """Number of epochs trained."""
        return 1 + max([*self._trainer.train_loss_dict, *self._rows["epoch"]], default=-1)

    @property
    def most_epochs(self) -> int:
        """Number of epochs there will be, if training does not stop early."""
        return self._trainer.epochs


def _peak_memory_mb() -> float:
    """The most memory this process has held. Not ``getrusage``, which counts what the parent held at the start."""
    status = Path("/proc/self/status")
    if not status.is_file():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def provenance(run: Run) -> dict[str, Any]:
    """What the run was, and by which code on what machine."""
    return {
        "dataset": run.dataset,
        "model": run.label,
        "seed": run.seed,
        "hyperparameters": run.hyperparameters,
        "config_hash": run.config_hash,
        "data_hash": run.data_hash,
        "versions": " ".join(f"{name}={_version(name)}" for name in _PACKAGES) + f" python={platform.python_version()}",
        "git_commit": _git_commit(),
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # this package, run from a checkout that is not installed
        return "none"


def _git_commit() -> str:
    """The commit of this package's checkout, with ``-changed`` if files differ from it; empty outside of one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)

    try:
        if git("ls-files", "--error-unmatch", Path(__file__).name).returncode:
            return ""
    except OSError:
        return ""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", str(here.parent)).stdout
    return git("rev-parse", "--short=12", "HEAD").stdout.strip() + ("-changed" if changed else "")


def _end_with_parent() -> None:
    """Stop when the process that started this one is gone, however it ended: its end of the pipe closes."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(), whose lock would be missed at the end
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(folder: Path, output: Path) -> int:
    """Do the run of ``folder``, in that of the experiment, and write its record; the exit status is 0 also of a run
    that failed on its own."""
    _end_with_parent()
    silence_recbole_deprecations()
    run, note, told_at = read_spec(folder), "", 0.0

    def say(text: str) -> None:
        nonlocal note
        note = text
        print(text)
        write_json(folder / PROGRESS, asdict(Told(note)))

    def tell(curve: LearningCurve) -> None:
        nonlocal told_at
        if time.monotonic() < told_at + _SECONDS_BETWEEN_WORDS:
            return
        told_at = time.monotonic()
        write_json(folder / PROGRESS, asdict(Told(note, curve.epochs, curve.most_epochs, curve.seconds())))

    record = provenance(run) | attempt(run, folder, tell, say, kept_data(output, run.dataset, say))
    if "traceback" in record:
        record["error"] += f"; the traceback is in {run.folder(Path()) / LOG}"
    write_record(folder, record)
    if record["status"] == "ended":
        (folder / CHECKPOINTS / checkpoint.LAST).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
