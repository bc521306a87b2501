"""Guidance as a dial, beside what costs nothing: accuracy against novelty, coverage and the tail, whole curves.

    python docs/sequences/dial.py --checkpoint=RUN --weak=OTHER_RUN --output=docs/sequences/dial-DATASET

Of a trained SeqCFGDiffRec, on validation and test rows:

- guidance: ``u + s (c - u)`` of its unguided logits ``u`` and its guided ones ``c``, at scales ``s``;
- popularity: ``c - w log p(i)``, ``p`` the share of an item in the training rows;
- autoguidance (Karras et al. 2024): ``v + s (c - v)``, ``v`` the logits of another checkpoint of the same data, such as
  of a run that was stopped early.

Writes ``dial.csv`` and, of the test rows, ``dial.png``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.evaluation.collector import collect_sweep
from recbole_cfgdiff.evaluation.metrics import beyond_accuracy, list_length
from recbole_cfgdiff.evaluation.rankings import collect_rankings
from recbole_cfgdiff.runs.prepare import load_trained

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
WEIGHTS = (-0.5, -0.25, 0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
_AGAINST = ("novelty", "itemcoverage", "tailpercentage")


def settings(weak: bool) -> list[tuple[str, float]]:
    """Name of the dial, and where it stands."""
    dials = {"guidance": SCALES, "popularity": WEIGHTS, **({"autoguidance": SCALES} if weak else {})}
    return [(name, value) for name, values in dials.items() for value in values]


def log_popularity(train_data: Any) -> torch.Tensor:
    """Of each item in the training rows, the least of one row; shape ``(n,)``."""
    dataset = train_data._dataset
    counts = torch.bincount(dataset.inter_feat[dataset.iid_field], minlength=dataset.item_num).clamp(min=1)
    return (counts / counts.sum()).log()


def measure(checkpoint: Path, weak: Path | None) -> pd.DataFrame:
    """A row for each part, dial and setting: all metrics, beyond accuracy too."""
    prepared = load_trained(checkpoint)
    trainer, config = prepared.trainer, prepared.config
    other = load_trained(weak).trainer.model if weak else None
    popularity = log_popularity(prepared.train_data)
    collect_rankings(trainer, prepared.train_data)
    chosen, k = settings(weak is not None), list_length(config["valid_metric"], config["topk"])

    def sweep(history: SparseRows) -> Iterator[torch.Tensor]:
        unguided, guided = (each.clone() for each in trainer.model.guidance_sweep(history, [0.0, 1.0]))
        lesser = None if other is None else next(other.guidance_sweep(history, [1.0])).clone()
        for dial, value in chosen:
            if dial == "popularity":
                yield guided - value * popularity
            else:
                base = unguided if dial == "guidance" else lesser
                assert base is not None
                yield torch.lerp(base, guided, value)

    rows = []
    for part, loader in (("valid", prepared.valid_data), ("test", prepared.test_data)):
        for (dial, value), collector in collect_sweep(trainer, loader, chosen, sweep).items():
            metrics = trainer.evaluator.evaluate(collector.get_data_struct())
            rows.append(
                {"part": part, "dial": dial, "value": value, **metrics, **beyond_accuracy(collector.ranking, k)}
            )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, metric: str) -> Figure:
    """Accuracy against each of three, a line a dial."""
    k = metric.partition("@")[2]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, against in zip(figure.subplots(1, len(_AGAINST), sharey=True), _AGAINST):
        for dial, rows in table.groupby("dial", sort=False):
            axes.plot(rows[f"{against}@{k}"], rows[metric], marker="o", markersize=3, label=dial)
        axes.set_xlabel(f"{against}@{k}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(f"test {metric}")
    figure.axes[0].legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--weak", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    table = measure(arguments.checkpoint, arguments.weak)
    arguments.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.output / "dial.csv", index=False)
    draw(table[table["part"] == "test"], "ndcg@10").savefig(arguments.output / "dial.png", dpi=150)
    print(table.pivot_table(index=["dial", "value"], columns="part", values="ndcg@10", sort=False).to_string())


if __name__ == "__main__":
    main()
