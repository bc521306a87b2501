"""An epoch of training: users a second and peak memory.

    python benchmarks/training.py [--quick] [--repeats=5] [--threads=N] [--output=benchmarks/training.json]

Every model is trained by the same trainer, in batches of 400 users.
"""

from __future__ import annotations

from pathlib import Path

from datasets import make_ml_1m_clean, make_synthetic, working_folder
from harness import Case, field_of_models, measure, parse_arguments, table, write

_BASELINE = "MultiVAE"


def models(dataset: str, hidden: int) -> list[Case]:
    """The field at five steps."""
    return field_of_models("train", dataset, hidden)


def squares(dataset: str, hidden: int) -> list[Case]:
    """With and without the expanded square, where the hidden width is below the batch size."""
    return [
        Case("MultiVAE", "MultiVAE", dataset, "train", hidden),
        Case("CFGDiffRec", "CFGDiffRec", dataset, "train", hidden, 5, 1.0),
        Case("CFGDiffRec, error not expanded", "CFGDiffRec", dataset, "train_direct", hidden, 5, 1.0),
    ]


def main() -> None:
    arguments = parse_arguments(__doc__ or "", Path(__file__).with_suffix(".json"), repeats=5)
    with working_folder():
        fields = [(models("ml-100k", 300), arguments.repeats)]
        if not arguments.quick:
            fields += [
                (models(make_ml_1m_clean(), 1000), arguments.repeats),
                (models(make_synthetic(n_items=10_000, n_users=6_000, per_user=50), 1000), 3),
                (models(make_synthetic(n_items=35_000, n_users=4_000, per_user=50), 1000), 3),
                (squares(make_synthetic(n_items=35_000, n_users=4_000, per_user=50), 300), 3),
                (models(make_synthetic(n_items=100_000, n_users=2_000, per_user=50), 1000), 2),
            ]
        rows = [row for cases, repeats in fields for row in measure(cases, repeats, arguments.threads)]
    write(rows, arguments.threads, arguments.output)
    print(table(rows, _BASELINE))


if __name__ == "__main__":
    main()
