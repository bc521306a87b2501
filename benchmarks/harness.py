"""What the benchmarks share: cases that run in worker processes in turn, and rows about them.

Each case lives in a process of its own, started from one server that has imported everything once. The parent asks the
workers in turn, one at a time, again and again, so that a slow spell of the machine meets all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from recbole_cfgdiff.files import write_json

_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Case:
    """One row of a benchmark.

    Args:
        label: what the table calls it.
        model: name of the model, as ``--model`` takes it.
        dataset: name of the data set, in ``dataset/`` of the working folder.
        task: module-level function of ``benchmarks/tasks.py`` that prepares the case.
        hidden: hidden width.
        steps: diffusion steps, None for a model without.
        guidance_scale: None for a model without guidance.
    """

    label: str
    model: str
    dataset: str
    task: str
    hidden: int
    steps: int | None = None
    guidance_scale: float | None = None


def field_of_models(task: str, dataset: str, hidden: int) -> list[Case]:
    """The models that are compared, at five steps."""
    return [
        Case("MultiVAE", "MultiVAE", dataset, task, hidden),
        Case("RecBole's DiffRec", "RecBoleDiffRec", dataset, task, hidden, steps=5),
        Case("DiffRec", "DiffRec", dataset, task, hidden, steps=5),
        Case("CFGDiffRec", "CFGDiffRec", dataset, task, hidden, steps=5, guidance_scale=1.0),
    ]


@dataclass
class Prepared:
    """What a task returns: ``run`` is timed, ``warm`` runs before it; ``n_flops`` is what the work needs, None where it
    is not counted."""

    run: Callable[[], None]
    warm: Callable[[], None]
    n_items: int
    n_users: int
    n_interactions: int
    n_flops: float | None = None


def parse_arguments(description: str, output: Path, repeats: int) -> argparse.Namespace:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="ml-100k only, few repeats: under a minute")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"runs of each case (default {repeats})")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each worker")
    parser.add_argument("--output", type=Path, default=output, help="JSON file")
    arguments = parser.parse_args()
    arguments.output = arguments.output.resolve()
    return arguments


def measure(cases: Sequence[Case], repeats: int, threads: int) -> list[dict[str, Any]]:
    """Run all cases ``repeats`` times, in turn; a row for each."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["recbole_cfgdiff.quick_start", "tasks"])
    workers = []
    for case in cases:
        connection, of_worker = context.Pipe()
        process = context.Process(target=_work, args=(case, threads, of_worker), daemon=True)
        process.start()
        facts = connection.recv()
        if isinstance(facts, str):
            raise SystemExit(f"{case}: {facts}")
        workers.append((process, connection, facts))
    runs: list[list[tuple[float, float]]] = [[] for _ in cases]
    for _ in range(repeats):
        for (_, connection, _), measured in zip(workers, runs):
            connection.send("run")
            measured.append(connection.recv())
    for process, connection, _ in workers:
        connection.send("stop")
        process.join()
    return [_row(case, facts, measured) for case, (_, _, facts), measured in zip(cases, workers, runs)]


def _work(case: Case, threads: int, connection: Connection) -> None:
    """A worker: prepare, then run as often as asked."""
    import tasks
    import torch

    torch.set_num_threads(threads)
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            prepared = getattr(tasks, case.task)(case)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    connection.send({name: value for name, value in vars(prepared).items() if name.startswith("n_")})
    while connection.recv() == "run":
        prepared.warm()
        _reset_peak_memory()
        started = time.perf_counter()
        prepared.run()
        connection.send((time.perf_counter() - started, _peak_memory()))


def _reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> float:
    """Most memory that the process held since the last reset, in MiB (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / _MEBIBYTE


def _row(case: Case, facts: dict[str, Any], measured: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "model": case.label,
        "dataset": case.dataset,
        "n_items": facts["n_items"],
        "n_users": facts["n_users"],
        "n_interactions": facts["n_interactions"],
        "hidden": case.hidden,
        "steps": case.steps,
        "guidance_scale": case.guidance_scale,
        **summary(measured, facts["n_users"]),
        "gflop": None if facts["n_flops"] is None else facts["n_flops"] / 1e9,
    }


def summary(measured: list[tuple[float, float]], n_users: int) -> dict[str, float]:
    """Of runs, each its seconds and its peak memory in MiB, that handled ``n_users`` users each."""
    seconds = [run[0] for run in measured]
    median = statistics.median(seconds)
    return {
        "seconds_median": median,
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "repeats": len(seconds),
        "users_per_second": n_users / median,
        "peak_mb": max(run[1] for run in measured),
    }


def machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on."""
    import numpy
    import recbole
    import torch

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "recbole": recbole.__version__,
    }


def write(rows: list[dict[str, Any]], threads: int, output: Path) -> None:
    """Write the rows, each with the machine, as JSON."""
    about = machine(threads)
    write_json(output, [{**row, "machine": about} for row in rows])


def table(rows: list[dict[str, Any]], baseline: str) -> str:
    """A Markdown table: a line a row, the ratio to the row of the same data set and width called ``baseline``."""
    columns = ["data", "model", "hidden", "T", "scale", "seconds: median (range)", "users/s", f"time / {baseline}"]
    columns.append("peak MB")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    of_baseline = {_field(row): row["seconds_median"] for row in rows if row["model"] == baseline}
    for row in rows:
        ratio = row["seconds_median"] / of_baseline[_field(row)] if _field(row) in of_baseline else None
        cells = [
            f"{row['dataset']} ({row['n_items'] - 1:,} items)",
            row["model"],
            row["hidden"],
            row["steps"],
            None if row["guidance_scale"] is None else f"{row['guidance_scale']:g}",
            f"{row['seconds_median']:.2f} ({row['seconds_min']:.2f} to {row['seconds_max']:.2f})",
            f"{row['users_per_second']:,.0f}",
            None if ratio is None else f"{ratio:.2f}",
            f"{row['peak_mb']:,.0f}",
        ]
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _field(row: dict[str, Any]) -> tuple[str, int]:
    """What rows must share to be compared."""
    return row["dataset"], row["hidden"]
