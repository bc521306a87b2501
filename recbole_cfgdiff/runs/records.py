"""What a run leaves, checked as it is read: a file that is cut, of another run, or crafted is damage and never used."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from recbole.evaluator.register import metrics_dict

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.escape import one_line, read_table
from recbole_cfgdiff.evaluation.metrics import guidance_effects, split_metric
from recbole_cfgdiff.evaluation.rankings import Ranking
from recbole_cfgdiff.files import read_json, write_json
from recbole_cfgdiff.overlay.config import resolve_model
from recbole_cfgdiff.overlay.hyperparameters import declared_rows
from recbole_cfgdiff.overlay.yaml_files import read_yaml
from recbole_cfgdiff.properties import PROPERTIES
from recbole_cfgdiff.runs.spec import CURVE, RECORD, SURROUNDINGS, SWEEP, TEST, Run, read_spec

# What a model is told of a user at test time.
TRAIN_ROWS, TRAIN_AND_VALID_ROWS, NO_ROWS = "training rows", "training and validation rows", "no rows"
CURVE_COLUMNS = ["epoch", "seconds", "train_loss", "valid_score"]
_MOST_BYTES = 2**25  # of a table


class Damaged(ConfigError):
    """A file of a run can't be what the run left; the run has to be done again."""


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write a run's record beside its files, with what tells whether any of them is still as it was."""
    files = {name: _hash_of(folder / name) for name in (TEST, CURVE, SWEEP) if (folder / name).is_file()}
    record = {**record, "files": files}
    write_json(folder / RECORD, {**record, "checksum": _checksum(record)})


def _checksum(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def read_record(run: Run, output: Path) -> dict[str, Any] | None:
    """The record of a run that has ended, well or not, or None.

    Raises:
        Damaged: if the record, or a file of a run that ended well, can't be what was written.
        ConfigError: if it ended well, but with other options, which the message names, or on other data.
    """
    folder = run.folder(output)
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record = _checked(read_json(path), run)
        if _is_of(run, record, folder):
            if record["status"] == "ended":
                _check_files(run, record, folder)
            return record
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigError) and not isinstance(error, Damaged):
            raise
        place = "" if isinstance(error, Damaged) else f"{path}: "
        raise Damaged(f"{place}{error}") from error
    return None


def _is_of(run: Run, record: dict[str, Any], folder: Path) -> bool:
    """Whether a record is of these options and data; one that failed with others is as good as none."""
    # Records and specs of before there were hashes of data have none.
    is_other_data = record.get("data_hash", run.data_hash) != run.data_hash
    if record["config_hash"] == run.config_hash and not is_other_data:
        return True
    if record["status"] == "failed":
        return False
    if is_other_data:
        raise ConfigError(
            f"{folder}: {run} was run on other files of the data set {run.dataset}; choose another --output"
        )
    made_with = read_spec(folder)
    if made_with.config_hash != record["config_hash"]:
        raise ValueError("it is not of the run that spec.json beside it describes")
    names = {*made_with.options, *run.options} - SURROUNDINGS - _added_since(made_with, run)
    changed = sorted(name for name in names if made_with.options.get(name) != run.options.get(name))
    if not changed:
        return True
    raise ConfigError(
        f"{folder}: {run} was run with other options ({', '.join(changed)}); choose another --output, or "
        "remove that folder to run it again"
    )


def _added_since(made_with: Run, run: Run) -> set[str]:
    """Options that there were not yet when a run was made, and that are as if there still were none."""
    declared = {row.name: row.default for row in declared_rows(resolve_model(run.model))}
    declared |= read_yaml(PROPERTIES / "overall.yaml")
    added = {name for name in declared if name not in made_with.options}
    return {name for name in added if run.options.get(name) == declared[name]}


def _checked(record: Any, run: Run) -> dict[str, Any]:
    """The fields of a record that have a meaning here, text on one line.

    Raises:
        ValueError: if one is missing or not what it has to be.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected a record, found {type(record).__name__}")
    plain = {name: value for name, value in record.items() if name != "checksum"}
    if record.get("checksum", _checksum(plain)) != _checksum(plain):
        raise ValueError("it is not as it was written")
    if record.get("status") not in ("ended", "failed"):
        raise ValueError("status: expected ended or failed")
    needed = _NEEDED if record["status"] == "failed" else _NEEDED | (_TESTED if run.is_tested else _TRIAL) | _ENDED
    for name, is_right in {**_OPTIONAL, **needed}.items():
        if name in record and not is_right(record[name]):
            raise ValueError(f"{name}: unexpected value")
        if name in needed and name not in record:
            raise ValueError(f"{name} is missing")
    if (record["dataset"], record["model"], record["seed"]) != (run.dataset, run.label, run.seed):
        raise ValueError("it is another run's")
    known = {name: record[name] for name in record if name in {**_OPTIONAL, **needed}}
    return {name: one_line(value) if isinstance(value, str) else value for name, value in known.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e300 < value < 1e300  # which NaN is not


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_score(value: Any) -> bool:
    """Also one that is not finite: RecBole's mark of a run that was never validated, and of a trial that failed."""
    return type(value) is float or _is_number(value)


def _is_metric(name: Any) -> bool:
    base, at, k = name.partition("@") if isinstance(name, str) else ("", "", "")
    return base in metrics_dict and (not at or re.fullmatch(r"[1-9]\d{0,5}", k, re.ASCII) is not None)


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_metric(name) and _is_number(each) for name, each in value.items())


def _are_tested(value: Any) -> bool:
    return bool(value) and _are_metrics(value)


def _are_beyond_accuracy(value: Any) -> bool:
    """Of lists of one length."""
    if not isinstance(value, dict) or not value or not all(map(_is_number, value.values())):
        return False
    parts = [name.partition("@") for name in value]
    k = parts[0][2]
    return all(name == "novelty" or name in metrics_dict for name, _, _ in parts) and all(
        _is_metric(f"ndcg@{each}") and each == k for _, _, each in parts
    )


def _are_hashes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) <= {TEST, CURVE, SWEEP} and all(map(_is_text, value.values()))


_Check = Callable[[Any], bool]
_NEEDED: dict[str, _Check] = {
    "dataset": _is_text,
    "model": _is_text,
    "seed": _is_count,
    "config_hash": _is_text,
    "status": _is_text,
}
_ENDED: dict[str, _Check] = {"valid": _are_metrics, "training_seconds": _is_seconds, "epochs": _is_count}
_TESTED: dict[str, _Check] = {
    "test": _are_tested,
    "beyond_accuracy": _are_beyond_accuracy,
    "inference_seconds": _is_seconds,
    "valid_metric": _is_metric,
}
_TRIAL: dict[str, _Check] = {"valid_score": _is_score}
_OPTIONAL: dict[str, _Check] = {
    "data_hash": _is_text,
    "hyperparameters": _is_text,
    "history_at_test": _is_text,
    "versions": _is_text,
    "git_commit": _is_text,
    "threads": _is_count,
    "error": _is_text,
    "valid_score": _is_score,
    "valid_metric": _is_metric,
    "valid_metric_bigger": lambda value: isinstance(value, bool),
    "parameters": _is_count,
    "peak_memory_mb": _is_seconds,
    "peak_gpu_memory_mb": lambda value: value is None or _is_seconds(value),
    "files": _are_hashes,
}


def _check_files(run: Run, record: dict[str, Any], folder: Path) -> None:
    """Check what a run that ended well left beside its record.

    Raises:
        Damaged: with the file.
    """
    for name, known in record.get("files", {}).items():
        if not (folder / name).is_file() or _hash_of(folder / name) != known:
            raise Damaged(f"{folder / name}: it is not as it was written")
    if run.is_tested:
        longest = max(split_metric(name)[1] for name in (*record["test"], *record["beyond_accuracy"]))
        if _read_ranking(folder / TEST).items.shape[1] < longest:
            raise Damaged(f"{folder / TEST}: its lists are shorter than {longest} items")
        if record["valid_metric"] not in record["test"]:
            raise Damaged(f"{folder / RECORD}: {record['valid_metric']} is not among its metrics")
    if (folder / CURVE).exists():
        read_curve(folder / CURVE)
    if run.is_tested and (folder / SWEEP).exists():
        _check_sweep(run, record, folder / SWEEP)


def _read_ranking(path: Path) -> Ranking:
    try:
        return Ranking.load(path)
    except ConfigError as error:
        raise Damaged(str(error)) from error


def _check_sweep(run: Run, record: dict[str, Any], path: Path) -> None:
    table = read_sweep(path)
    k = split_metric(next(iter(record["beyond_accuracy"])))[1]
    parts = {"valid", "test"} if record["valid"] else {"test"}
    rows = sorted((part, scale) for part in parts for scale in run.guidance_scales)
    found = sorted(zip(table["part"], table["guidance_scale"]))
    if found != rows or not set(guidance_effects(record["valid_metric"], k)) <= set(table):
        raise Damaged(f"{path}: expected the metrics of each part under each guidance scale")


def read_curve(path: Path) -> pd.DataFrame:
    """The learning curve of a run: ``CURVE_COLUMNS``, a row a validation.

    Raises:
        Damaged: if it can't be one.
    """
    table = _read_table(path)
    if list(table) != CURVE_COLUMNS or not _all_numbers(table):
        raise Damaged(f"{path}: expected numbers in the columns {', '.join(CURVE_COLUMNS)}")
    epochs, seconds = table["epoch"], table["seconds"]
    if not ((epochs >= 0) & (epochs % 1 == 0) & (seconds >= 0) & (seconds < 1e300)).all() or not (
        epochs.is_monotonic_increasing and epochs.is_unique
    ):
        raise Damaged(f"{path}: expected epochs in their order, and seconds")
    return table.astype({"epoch": int})


def read_sweep(path: Path) -> pd.DataFrame:
    """The metrics of a run by ``part`` and ``guidance_scale``.

    Raises:
        Damaged: if it can't be that.
    """
    table = _read_table(path)
    numbers = table.drop(columns="part", errors="ignore")
    if list(table)[:2] != ["part", "guidance_scale"] or not _all_numbers(numbers) or numbers.isna().any(axis=None):
        raise Damaged(f"{path}: expected part, guidance_scale, and numbers")
    return table


def _read_table(path: Path) -> pd.DataFrame:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise Damaged(f"{path}: expected a file of at most {_MOST_BYTES:,} bytes")
        return read_table(path)
    except (OSError, ValueError) as error:
        raise error if isinstance(error, Damaged) else Damaged(f"{path}: {one_line(str(error))}") from error


def _all_numbers(table: pd.DataFrame) -> bool:
    return all(kind.kind in "if" for kind in table.dtypes)
