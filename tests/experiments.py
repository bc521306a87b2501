"""Experiments made up by hand, for the tests of what is computed from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recbole_cfgdiff.evaluation.rankings import Ranking
from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.runs.spec import CURVE, RECORD, SWEEP, TEST, Run, make_folder


def ranking_of_hits(hits: list[int]) -> Ranking:
    """Users u1, u2, ... with one target each, item 1, that is recommended first (1) or not at all (0); k = 2."""
    n = len(hits)
    return Ranking(
        users=np.array([f"u{user + 1}" for user in range(n)]),
        history_length=np.arange(n),
        items=np.array([[1, 2] if hit else [2, 3] for hit in hits]),
        n_targets=np.ones(n, dtype=int),
        target_rows=np.arange(n),
        target_items=np.ones(n, dtype=int),
        item_counts=np.array([0, 4, 3, 2, 1]),
        n_users=np.array(n),
    )


def write_run(output: Path, label: str, seed: int, hits: list[int], hyperparameters: str = "shipped YAML") -> Run:
    """An ended run of which ``hits`` says whom it served, with everything that a run leaves."""
    run = Run(label, label, "toy", seed, {"epochs": 1}, hyperparameters, (0.0, 1.0))
    folder = run.folder(output)
    make_folder(run, folder)
    ranking_of_hits(hits).save(folder / TEST)
    share = sum(hits) / len(hits)
    write_json(folder / RECORD, record_of(run, share))
    (folder / CURVE).write_text("epoch,seconds,train_loss,valid_score\n0,1,9.0,0.1\n1,2,8.0,0.2\n")
    columns = "part,guidance_scale,recall@2,itemcoverage@2,averagepopularity@2,novelty@2"
    rows = [f"{part},{scale},{share + scale / 10},0.5,20,3" for part in ("valid", "test") for scale in (0.0, 1.0)]
    (folder / SWEEP).write_text("\n".join([columns, *rows]) + "\n")
    return run


def record_of(run: Run, share: float) -> dict[str, Any]:
    """The record of a run that ended with recall ``share``."""
    return {
        "dataset": run.dataset,
        "model": run.label,
        "seed": run.seed,
        "hyperparameters": run.hyperparameters,
        "config_hash": run.config_hash,
        "versions": "recbole=1.2.1",
        "git_commit": "0123456789ab",
        "threads": 1,
        "status": "ended",
        "valid": {"recall@2": share},
        "test": {"recall@2": share, "recall@1": share},
        "beyond_accuracy": dict.fromkeys(("itemcoverage@2", "averagepopularity@2", "giniindex@2", "novelty@2"), 0.5),
        "training_seconds": 2.0 + run.seed,
        "inference_seconds": 0.5,
        "epochs": 3,
        "parameters": 12345,
        "peak_memory_mb": 300.5,
        "valid_metric": "recall@2",
    }
