"""The whole command, training and evaluating each epoch on ml-100k, beside RecBole's DiffRec with RecBole's default
evaluation batch.

    python benchmarks/command.py [--quick] [--repeats=3] [--threads=N] [--output=benchmarks/command.json]

The users of a row are those trained on, counted in every epoch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from datasets import working_folder
from harness import parse_arguments, summary, table, write

from recbole_cfgdiff import quick_start
from recbole_cfgdiff.overlay.config import Config

_SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_cfg.py"
_SHARED = ("--dataset=ml-100k", "--stopping_step=1000", "--show_progress=False", "--state=ERROR", "--gpu_id=")
_COMMANDS = {
    "RecBole's DiffRec": ("--model=RecBoleDiffRec", "--eval_batch_size=4096"),
    "DiffRec": ("--model=DiffRec",),
    "CFGDiffRec": ("--model=CFGDiffRec",),
}


def size_of_data() -> tuple[int, int]:
    """Users trained on, and items, the padding item counted."""
    _, train_data, _, _ = quick_start.load_data(Config("DiffRec", "ml-100k"))
    return len(train_data.user_list), train_data._dataset.item_num


def run(arguments: tuple[str, ...], threads: int) -> tuple[float, float]:
    """Seconds and peak memory in MiB of the command."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(_SCRIPT), *_SHARED, *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    arguments = parse_arguments(__doc__ or "", Path(__file__).with_suffix(".json"), repeats=3)
    epochs, repeats = (2, 1) if arguments.quick else (20, arguments.repeats)
    measured: dict[str, list[tuple[float, float]]] = {model: [] for model in _COMMANDS}
    with working_folder():
        n_users, n_items = size_of_data()
        for _ in range(repeats):
            for model, options in _COMMANDS.items():
                measured[model].append(run((*options, f"--epochs={epochs}"), arguments.threads))
    rows = [
        {
            "model": model,
            "dataset": "ml-100k",
            "n_items": n_items,
            "n_users": n_users,
            "hidden": 300,
            "steps": 5,
            "guidance_scale": 1.0 if model == "CFGDiffRec" else None,
            "epochs": epochs,
            **summary(runs, epochs * n_users),
        }
        for model, runs in measured.items()
    ]
    write(rows, arguments.threads, arguments.output)
    print(table(rows, "RecBole's DiffRec"))


if __name__ == "__main__":
    main()
