"""Damaged files of an experiment: the same ``compare`` command again tells what is damaged, does that run again, and
leaves the tables as they were and the files of the other runs alone.

The runs are made up, as nothing is trained; all else is the real command.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import random
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from recbole_cfgdiff import files
from recbole_cfgdiff.commands import cli
from recbole_cfgdiff.escape import write_table
from recbole_cfgdiff.evaluation.metrics import beyond_accuracy, user_metrics
from recbole_cfgdiff.evaluation.rankings import Ranking
from recbole_cfgdiff.reporting import report, statistics
from recbole_cfgdiff.runs import pool
from recbole_cfgdiff.runs.records import CURVE_COLUMNS, read_record, write_record
from recbole_cfgdiff.runs.spec import CURVE, LOG, RECORD, SPEC, SWEEP, TEST, Run, make_folder

_USERS, _ITEMS, _K = 12, 20, 5
_METRICS = ("recall@5", "ndcg@5")
_OF_A_RUN = (SPEC, RECORD, TEST, CURVE, SWEEP, LOG)
_OF_THE_EXPERIMENT = ("experiment.json", "summary.csv", "results.csv", "report.html")
_COMMAND = (
    "compare",
    "--models=Pop,CFGDiffRec",
    "--dataset=fuzz",
    "--seeds=2",
    "--metrics=['Recall', 'NDCG']",
    "--topk=[5]",
    "--valid_metric=NDCG@5",
    "--sweep_scales=0,1",
)


def check(seed: int, folder: Path) -> str | None:
    """Damage one file of a finished experiment by ``seed`` in the empty ``folder``, run the command that made it again
    in this process, and say what was wrong, or None."""
    choose = random.Random(seed)
    output = _finished_experiment(folder)
    is_old = choose.random() < 0.3
    if is_old:
        _forget_checksums(output)
    path = output / choose.choice(_files_of(output))
    damage = choose.choice(_DAMAGES)
    damage(path, choose)
    before = _content(output)
    status, out, err = _run(_template(), output)
    what = f"seed {seed}, {damage.__name__} {path.relative_to(output)}"
    if problem := _problem(status, out, err, output, path.relative_to(output), before, is_old):
        return f"{what}: {problem}\n{out[-500:]}\n{err[-1500:]}"
    return None


def _problem(
    status: int | None, out: str, err: str, output: Path, damaged: Path, before: dict[Path, bytes], is_old: bool
) -> str | None:
    """What the command did wrong, or None."""
    if status is None or "Traceback" in err:
        return "a traceback"
    if status not in (0, 1, 2):
        return f"exit status {status}"
    if status and (not err.startswith("error: ") or err.count("\n") != 1):
        return "its error is no single line"
    if status and damaged.parts[0] == "runs":
        return "a damaged run ended the experiment"
    after = _content(output)
    for path, content in before.items():
        is_of_other_run = path.parts[0] == "runs" and path.parts[:4] != damaged.parts[:4]
        if (is_of_other_run or status == 2) and after.get(path) != content:
            return f"{path} has changed"
    if hidden := [path for path in after if path.name.startswith(".") and path.name != ".lock"]:
        return f"left behind: {hidden[0]}"
    template = _content(_template() / "out")
    for name in ("summary.csv", "comparisons.csv", "groups.csv"):
        if status == 0 and not is_old and after[Path(name)] != template[Path(name)]:
            return f"{name} differs"
    return None


def _forget_checksums(output: Path) -> None:
    """Records as they were before they had any: other figures are then not told from the right ones."""
    for path in output.glob(f"runs/*/*/*/{RECORD}"):
        record = json.loads(path.read_text(encoding="utf-8"))
        files.write_json(path, {name: record[name] for name in record if name not in ("files", "checksum")})


def _files_of(output: Path) -> list[str]:
    runs = sorted(path.relative_to(output) for path in output.glob("runs/*/*/*"))
    of_runs = [str(run / name) for run in runs for name in _OF_A_RUN if (output / run / name).exists()]
    return [*_OF_THE_EXPERIMENT, *of_runs]


def _truncate(path: Path, choose: random.Random) -> None:
    if path.is_file():
        content = path.read_bytes()
        path.write_bytes(content[: choose.randrange(len(content) + 1)])


def _flip(path: Path, choose: random.Random) -> None:
    if path.is_file() and (content := bytearray(path.read_bytes())):
        for _ in range(choose.choice((1, 1, 1, 8))):
            content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        path.write_bytes(content)


def _replace(path: Path, choose: random.Random) -> None:
    if path.is_file():
        texts = ("", "{}", "[]", "null", "1", '"text"', "\0" * 100, "NaN", "[" * 50_000, "a,b\n1,2\n", "\xff", "{")
        path.write_bytes(choose.choice(texts).encode("latin-1"))


def _change_value(path: Path, choose: random.Random) -> None:
    """Another value in place of one of a text file."""
    if path.is_file() and path.suffix in (".json", ".csv"):
        text = path.read_text(encoding="utf-8")
        values = list(re.finditer(r'-?\d+(\.\d+)?|"[^"]*"|true|null', text))
        if values:
            start, end = choose.choice(values).span()
            new = choose.choice(("NaN", "Infinity", "-1", "1e999", "null", "[]", "{}", '"x"', "9" * 400, "", "=1+1"))
            path.write_text(text[:start] + new + text[end:], encoding="utf-8")


def _delete(path: Path, choose: random.Random) -> None:
    if path.name != "experiment.json":  # without it the folder is nobody's, which is no damage
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _make_a_folder(path: Path, choose: random.Random) -> None:
    if path.is_file() and path.name != "experiment.json":
        path.unlink()
        path.mkdir()
        (path / "file").touch()


def _make_a_file(path: Path, choose: random.Random) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        path.touch()


def _swap(path: Path, choose: random.Random) -> None:
    """The file of another run in place of one's own."""
    runs = next((folder for folder in path.parents if folder.name == "runs"), None)
    if runs is None:
        return
    others = [each for each in runs.glob(f"*/*/*/{path.name}") if each != path and each.is_file()]
    if path.is_file() and others:
        path.write_bytes(choose.choice(sorted(others)).read_bytes())


def _damage_array(path: Path, choose: random.Random) -> None:
    """Odd arrays in place of one of the rankings."""
    if path.name != TEST:
        return
    with np.load(path) as arrays:
        parts = dict(arrays)
    name = choose.choice(sorted(parts))
    odd: tuple[Any, ...] = (
        parts[name].astype(float) if parts[name].dtype.kind in "iu" else parts[name].astype(bytes),
        np.array([{"a": 1}], dtype=object),
        parts[name][..., None],
        parts[name][:0] if parts[name].ndim else np.array(0),
        np.full_like(parts[name], 127) if parts[name].dtype.kind in "iu" else parts[name][:1],
        np.array(2**63, dtype=np.uint64),
    )
    np.savez_compressed(path, **{**parts, name: choose.choice(odd)})


_Damage = Callable[[Path, random.Random], None]
_DAMAGES: tuple[_Damage, ...] = (
    _truncate,
    _flip,
    _flip,
    _replace,
    _change_value,
    _change_value,
    _delete,
    _make_a_folder,
    _make_a_file,
    _swap,
    _damage_array,
)


def _finished_experiment(folder: Path) -> Path:
    """A copy of a finished experiment."""
    return Path(shutil.copytree(_template() / "out", folder / "out"))


@functools.cache
def _template() -> Path:
    """A finished experiment, ``out``, and its data, ``dataset``; made once a process, and removed at its end."""
    template = Path(tempfile.mkdtemp(prefix="fuzz-template-"))
    atexit.register(shutil.rmtree, template, ignore_errors=True)
    data = template / "dataset" / "fuzz"
    data.mkdir(parents=True)
    rows = [f"u{user}\ti{(user + item) % _ITEMS}\t{item}" for user in range(_USERS) for item in range(12)]
    text = "user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(rows) + "\n"
    (data / "fuzz.inter").write_text(text, encoding="utf-8")
    status, out, err = _run(template, template / "out")
    if status != 0:
        raise RuntimeError(f"the experiment can't be made:\n{out}\n{err}")
    return template


def _run(template: Path, output: Path) -> tuple[int | None, str, str]:
    """Status (None after a traceback), output and errors of the command."""
    out, err = io.StringIO(), io.StringIO()
    data = template / "dataset"
    with _nothing_slow(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status: int | None = cli.main([*_COMMAND, f"--data_path={data}", f"--output={output}"])
        except (Exception, SystemExit):
            traceback.print_exc()
            status = None
    return status, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _nothing_slow() -> Iterator[None]:
    """No training, drawing, bootstrap or waiting for the disk."""
    with (
        mock.patch.object(pool, "_Worker", _MadeUp),
        mock.patch.object(pool, "_POLL_SECONDS", 0),
        mock.patch.object(files, "_sync"),
        mock.patch.object(report, "_drawings", lambda *_: []),
        mock.patch.object(statistics, "bootstrap_interval", lambda values: (values.min(), values.max())),
    ):
        yield


class _MadeUp:
    """In place of a process that trains: leaves what such a one would."""

    def __init__(self, run: Run, output: Path, threads: int, say: Callable[[str], None]) -> None:
        self.run, self._output = run, output
        folder = run.folder(output)
        make_folder(run, folder)
        (folder / LOG).write_text("made up\n", encoding="utf-8")
        ranking = _ranking(run)
        ranking.save(folder / TEST)
        curve = pd.DataFrame([[epoch, epoch + 1.0, 0.5, 0.1 * epoch] for epoch in range(3)], columns=CURVE_COLUMNS)
        write_table(curve, folder / CURVE)
        test = user_metrics(ranking, _METRICS).mean().to_dict()
        beyond = beyond_accuracy(ranking, _K)
        if run.model == "CFGDiffRec":
            keys = [(part, scale) for part in ("valid", "test") for scale in run.guidance_scales]
            rows = [{"part": part, "guidance_scale": scale, **test, **beyond} for part, scale in keys]
            write_table(pd.DataFrame(rows), folder / SWEEP)
        write_record(folder, _record(run, test, beyond))

    def has_ended(self) -> bool:
        return True

    def epochs(self) -> None:
        return None

    def record(self) -> dict[str, Any] | None:
        return read_record(self.run, self._output)

    def stop(self) -> None:
        pass


def _ranking(run: Run) -> Ranking:
    made = np.random.default_rng([len(run.label), run.seed])
    return Ranking(
        users=np.array([f"u{user}" for user in range(_USERS)]),
        history_length=made.integers(0, 30, _USERS),
        items=np.array([made.permutation(_ITEMS)[:_K] + 1 for _ in range(_USERS)]),
        n_targets=np.ones(_USERS, dtype=int),
        target_rows=np.arange(_USERS),
        target_items=1 + np.arange(_USERS) % _ITEMS,
        item_counts=np.arange(_ITEMS + 1),
        n_users=np.array(_USERS),
    )


def _record(run: Run, test: dict[str, float], beyond: dict[str, float]) -> dict[str, Any]:
    return {
        "dataset": run.dataset,
        "model": run.label,
        "seed": run.seed,
        "hyperparameters": run.hyperparameters,
        "config_hash": run.config_hash,
        "data_hash": run.data_hash,
        "versions": "recbole=1.2.1",
        "git_commit": "",
        "threads": 1,
        "status": "ended",
        "valid": test,
        "training_seconds": 2.0,
        "epochs": 3,
        "valid_metric": "ndcg@5",
        "valid_score": test["ndcg@5"],
        "valid_metric_bigger": True,
        "parameters": 10,
        "test": test,
        "beyond_accuracy": beyond,
        "inference_seconds": 0.5,
        "peak_memory_mb": 100.0,
        "peak_gpu_memory_mb": None,
    }


def _content(output: Path) -> dict[Path, bytes]:
    return {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}
