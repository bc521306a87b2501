"""What the linear part is worth: a trained SeqCFGDiffRec with other factors of it.

    python docs/sequences/linear_weight.py --checkpoint=RUN --output=docs/sequences/linear-DATASET

The network stays as it is, trained without knowing of the linear part; a factor of 0 is the network alone. Writes
``linear_weight.csv``: all metrics of the validation and test rows under each factor.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from recbole_cfgdiff.runs.prepare import load_trained

WEIGHTS = (0.0, 50.0, 100.0, 200.0, 400.0, 800.0)


def measure(checkpoint: Path) -> pd.DataFrame:
    """A row for each factor and part."""
    prepared = load_trained(checkpoint)
    trainer = prepared.trainer
    rows = []
    for weight in WEIGHTS:
        trainer.model.scorer.prior_weight = weight
        for part, loader in (("valid", prepared.valid_data), ("test", prepared.test_data)):
            metrics = trainer.evaluate(loader, load_best_model=False)
            rows.append({"linear_weight": weight, "part": part, **metrics})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    table = measure(arguments.checkpoint)
    arguments.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.output / "linear_weight.csv", index=False)
    print(table.pivot_table(index="linear_weight", columns="part", values="ndcg@10").to_string())


if __name__ == "__main__":
    main()
