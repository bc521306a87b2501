"""The README's table: each model on ml-100k by the README's command line, for three seeds.

    python docs/ml-100k/compare.py

Writes ``results.csv`` and ``table.md`` beside itself. A run whose result is there is not repeated.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "run_recbole_cfg.py"
MODELS = ("CFGDiffRec", "DiffRec", "RecBoleDiffRec", "MultVAE", "EASE", "Pop")
SEEDS = (2020, 2021, 2022)
METRICS = ("ndcg@10", "recall@10", "precision@10", "mrr@10")


def run_once(model: str, seed: int) -> dict[str, float]:
    """Train and test one model, or take the result of an earlier run."""
    runs = HERE / "runs" / f"{model}-{seed}"
    if not list(runs.glob("*/result.json")):
        options = [f"--model={model}", "--dataset=ml-100k", f"--seed={seed}", f"--checkpoint_dir={runs}"]
        subprocess.run([sys.executable, str(SCRIPT), *options, "--show_progress=False"], check=True)
    result = json.loads(next(runs.glob("*/result.json")).read_text(encoding="utf-8"))
    valid, test = result["best_valid_result"], result["test_result"]
    return {"valid ndcg@10": valid["ndcg@10"], **{metric: test[metric] for metric in METRICS}}


def main() -> None:
    rows = [{"model": model, "seed": seed, **run_once(model, seed)} for model in MODELS for seed in SEEDS]
    results = pd.DataFrame(rows)
    results.to_csv(HERE / "results.csv", index=False)
    by_model = results.drop(columns="seed").groupby("model", sort=False)
    mean, deviation = by_model.mean(), by_model.std()
    table = mean.map("{:.4f}".format) + " ± " + deviation.map("{:.4f}".format)
    lines = ["| model | " + " | ".join(table.columns) + " |", "|---" * (1 + len(table.columns)) + "|"]
    lines += [f"| {model} | " + " | ".join(cells) + " |" for model, cells in zip(table.index, table.to_numpy())]
    (HERE / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
