"""The lists of everybody, streamed to a Parquet file, beside plain scoring: users a second and peak memory.

    python benchmarks/recommend.py [--users=100000] [--items=35000] [--hidden=1000] [--threads=N]
        [--output=benchmarks/recommend.json]

A CFGDiffRec of random weights, on which the time does not depend, as an exported folder; 50 items a user, top 20.
"Plain scoring" computes the same scores, in the same batches, and drops them. Each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from harness import machine

from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.catalogue import Catalogue
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.recommender import SCORES, Asked, Users
from recbole_cfgdiff.recommender.source import HistorySource
from recbole_cfgdiff.recommender.writing import write_lists
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import CFGDiffRecHyperparameters, rows
from recbole_cfgdiff.scoring.parts import PARTS

_PER_USER = 50


def make_model(folder: Path, n_users: int, n_items: int, hidden: int) -> None:
    """Write an exported model of random weights and histories."""
    parts = PARTS["CFGDiffRec"]
    defaults = {row.name: row.default for row in rows(CFGDiffRecHyperparameters)}
    given = CFGDiffRecHyperparameters.read({**defaults, "dims_dnn": [hidden], "guidance_scale": 2.0})
    network = parts.make_network(given, n_items + 1).eval()
    random = np.random.default_rng(0)
    items = random.integers(1, n_items + 1, n_users * _PER_USER)
    users = np.repeat(np.arange(1, n_users + 1), _PER_USER)
    histories = Histories.of_pairs(users, items, n_users + 1, n_items + 1)
    catalogue = Catalogue(
        pd.DataFrame({"item": np.arange(n_items).astype(str), "title": [f"Item number {n}" for n in range(n_items)]})
    )
    known = Users(Ids("user", list(np.arange(n_users).astype(str))), histories)
    source = HistorySource(parts.make_scorer(given, n_items + 1, network), given, parts.taken)
    Recommender(source, catalogue, known, 2.0, {"model": "CFGDiffRec", "dataset": "generated"}).save_pretrained(folder)


def stream(recommender: Recommender, folder: Path) -> None:
    """The lists of everybody into a file."""
    users = recommender.known_users().ids.ids
    lists = recommender.for_users(list(users), Asked(topk=20))
    write_lists((recommender.table(users, batch) for batch in lists), folder / "lists.parquet", "title")


def score(recommender: Recommender, folder: Path) -> None:
    """The scores of everybody."""
    histories = recommender.known_users().histories
    size = max(1, SCORES // recommender.source.n_items)
    with torch.no_grad(), recommender.source.fixed_weights():
        for start in range(1, len(histories.offsets) - 1, size):
            chosen = torch.arange(start, min(start + size, len(histories.offsets) - 1))
            recommender.source.of_histories(recommender.source.rows(histories, chosen), 2.0)


def measure(task: str, folder: Path, threads: int) -> dict[str, float]:
    """A row of the table; in a process of its own."""
    torch.set_num_threads(threads)
    recommender = Recommender.from_pretrained(folder / "model")
    started = time.perf_counter()
    {"plain scoring": score, "lists to Parquet": stream}[task](recommender, folder)
    seconds = time.perf_counter() - started
    n_users = len(recommender.known_users().ids)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # Linux counts KiB
    return {"seconds": seconds, "users_per_second": n_users / seconds, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=35_000)
    parser.add_argument("--hidden", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model", arguments.users, arguments.items, arguments.hidden)
        found = {}
        for task in ("plain scoring", "lists to Parquet"):
            with get_context("spawn").Pool(1) as pool:
                found[task] = pool.apply(measure, (task, Path(folder), arguments.threads))
            print(f"{task}: {found[task]['users_per_second']:,.0f} users/s, peak {found[task]['peak_mb']:,.0f} MB")
    share = found["lists to Parquet"]["users_per_second"] / found["plain scoring"]["users_per_second"]
    print(f"share of the rate of plain scoring: {share:.2f}")
    given = {name: getattr(arguments, name) for name in ("users", "items", "hidden")}
    write_json(arguments.output, {**given, "rows": found, "share": share, "machine": machine(arguments.threads)})


if __name__ == "__main__":
    main()
