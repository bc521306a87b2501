"""Train and test variants of a model under the same conditions, a row a variant and a seed."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_cfgdiff.files import write_text
from recbole_cfgdiff.model import MODELS, CFGDiffRec
from recbole_cfgdiff.runs.prepare import prepare
from recbole_cfgdiff.runs.spec import FIRST_SEED

Variants = dict[str, tuple[type[CFGDiffRec], dict[str, Any]]]  # by its name, a variant's model and options


def register(model: type[CFGDiffRec]) -> None:
    """Let ``--model`` and ``Config`` find a model of one's own by its name."""
    MODELS[model.__name__] = model


def measure(
    variants: Variants, name: str, dataset: str, seed: int, config_files: list[str], options: dict[str, Any]
) -> dict[str, Any]:
    """Train and test a variant: a row of the table."""
    model, of_variant = variants[name]
    register(model)
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"show_progress": False, "state": "WARNING"}
        given = {**of_variant, **options, **quiet, "seed": seed, "checkpoint_dir": folder}
        prepared = prepare(model.__name__, dataset, config_files, given)
        start = time.perf_counter()
        valid = prepared.fit()
        seconds = time.perf_counter() - start
        return {
            "variant": name,
            "dataset": dataset,
            "seed": seed,
            "parameters": sum(weight.numel() for weight in prepared.trainer.model.parameters()),
            "epochs": len(prepared.trainer.train_loss_dict),
            "training_seconds": round(seconds, 3),
            **{f"valid_{metric}": value for metric, value in valid["best_valid_result"].items()},
            **prepared.test(),
        }


def measure_all(variants: Variants, description: str) -> None:
    """The command line of an example: measure every variant with every seed, and write and print the table."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--config_files", default="", help='YAML files for all variants: "a.yaml b.yaml"')
    parser.add_argument("--seeds", type=int, default=5, help="2020, 2021, ..., so many")
    parser.add_argument("--epochs", type=int, default=300, help="at most; training stops as RecBole's does")
    parser.add_argument("--output", type=Path, required=True, help="a CSV file")
    arguments = parser.parse_args()
    config_files, options = arguments.config_files.split(), {"epochs": arguments.epochs}
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
        for name in variants:
            rows.append(measure(variants, name, arguments.dataset, seed, config_files, options))
            print(f"{name}, seed {seed}: validation ndcg@10 {rows[-1]['valid_ndcg@10']:.4f}", flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.output, pd.DataFrame(rows).to_csv(index=False))
    columns = ["valid_ndcg@10", "ndcg@10", "recall@10", "training_seconds", "parameters"]
    print(pd.DataFrame(rows).groupby("variant", sort=False)[columns].agg(["mean", "std"]).round(4).to_string())
