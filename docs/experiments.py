"""The runs behind the tables of the docs, each by the README's command line.

    python docs/experiments.py STUDY

Writes ``docs/STUDY/results.csv`` and ``docs/STUDY/table.md``. A run whose result is there is not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "run_recbole_cfg.py"
METRICS = ("ndcg@10", "recall@10", "precision@10", "mrr@10")


class Study(NamedTuple):
    """Options that all runs share, the options of each row of the table, and the seeds."""

    shared: str
    rows: dict[str, str]
    seeds: tuple[int, ...]


ENCODERS = {
    "raw": "--guidance_encoder=raw",
    "embedding": "--guidance_encoder=embedding",
    "embedding, no time": "--guidance_encoder=embedding --time_embedding=False",
}
STUDIES = {
    "ml-100k": Study(
        "--dataset=ml-100k",
        {name: f"--model={name}" for name in ("CFGDiffRec", "DiffRec", "RecBoleDiffRec", "MultVAE", "EASE", "Pop")},
        (2020, 2021, 2022),
    ),
    "encoder-ml-100k": Study("--model=CFGDiffRec --dataset=ml-100k", ENCODERS, (2020, 2021, 2022, 2023, 2024)),
    "encoder-ml-1m-clean": Study(
        "--model=CFGDiffRec --dataset=ml-1m-clean --dims_dnn=[1000] --learning_rate=0.0001 "
        "--noise_scale=0.1 --noise_min=0.0001 --noise_max=0.02 --eval_step=3 --stopping_step=4",
        ENCODERS,
        (2020, 2021),
    ),
}


def run_once(arguments: list[str], folder: Path) -> dict[str, float]:
    """Train and test once, or take the result of an earlier run."""
    if not list(folder.glob("*/result.json")):
        options = [*arguments, f"--checkpoint_dir={folder}", "--show_progress=False"]
        subprocess.run([sys.executable, str(SCRIPT), *options], check=True)
    result = json.loads(next(folder.glob("*/result.json")).read_text(encoding="utf-8"))
    valid, test = result["best_valid_result"], result["test_result"]
    return {"valid ndcg@10": valid["ndcg@10"], **{f"test {metric}": test[metric] for metric in METRICS}}


def run_study(name: str) -> str:
    """Run what is missing, write the files and return the table, means and standard deviations over the seeds."""
    study, rows = STUDIES[name], []
    for label, options in study.rows.items():
        for seed in study.seeds:
            arguments = [*study.shared.split(), *options.split(), f"--seed={seed}"]
            folder = HERE / name / "runs" / f"{label.replace(', ', '-').replace(' ', '-')}-{seed}"
            rows.append({"": label, "seed": seed, **run_once(arguments, folder)})
    results = pd.DataFrame(rows)
    results.to_csv(HERE / name / "results.csv", index=False)
    by_label = results.drop(columns="seed").groupby("", sort=False)
    table = by_label.mean().map("{:.4f}".format) + " ± " + by_label.std().map("{:.4f}".format)
    lines = ["| | " + " | ".join(table.columns) + " |", "|---" * (1 + len(table.columns)) + "|"]
    lines += [f"| {label} | " + " | ".join(cells) + " |" for label, cells in zip(table.index, table.to_numpy())]
    (HERE / name / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a table of the docs again.")
    parser.add_argument("study", choices=STUDIES)
    print(run_study(parser.parse_args().study))
