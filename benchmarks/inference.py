"""Scoring of all users: users a second and peak memory.

    python benchmarks/inference.py [--quick] [--repeats=5] [--threads=N] [--output=benchmarks/inference.json]

Weights are random: the time does not depend on them.
"""

from __future__ import annotations

from pathlib import Path

from datasets import make_ml_1m_clean, make_synthetic, working_folder
from harness import Case, field_of_models, measure, parse_arguments, table, write

_BASELINE = "MultiVAE"


def models(dataset: str, hidden: int) -> list[Case]:
    """The field at five steps."""
    return [
        *field_of_models("score", dataset, hidden),
        Case("CFGDiffRec", "CFGDiffRec", dataset, "score", hidden, steps=5, guidance_scale=2.0),
    ]


def loops(dataset: str, hidden: int) -> list[Case]:
    """More steps, and the loops over the items."""
    return [
        *(
            Case("CFGDiffRec", "CFGDiffRec", dataset, "score", hidden, steps, guidance_scale)
            for steps in (40, 100)
            for guidance_scale in (1.0, 2.0)
        ),
        Case("plain dense loop", "CFGDiffRec", dataset, "dense_plain", hidden, steps=5, guidance_scale=2.0),
        Case("shared dense loop", "CFGDiffRec", dataset, "dense_shared", hidden, steps=5, guidance_scale=2.0),
    ]


def main() -> None:
    arguments = parse_arguments(__doc__ or "", Path(__file__).with_suffix(".json"), repeats=5)
    with working_folder():
        if arguments.quick:
            fields = [([*models("ml-100k", 300), *loops("ml-100k", 300)[-3:]], 2)]
        else:
            ml_1m, repeats = make_ml_1m_clean(), arguments.repeats
            plain_100 = Case("plain dense loop", "CFGDiffRec", ml_1m, "dense_plain", 1000, 100, guidance_scale=2.0)
            items_10k, items_35k = (make_synthetic(n_items, n_users=6_000, per_user=50) for n_items in (10_000, 35_000))
            items_100k = make_synthetic(n_items=100_000, n_users=2_000, per_user=50)
            fields = [
                ([*models("ml-100k", 300), *loops("ml-100k", 300)], repeats),
                ([*models(ml_1m, 1000), *loops(ml_1m, 1000)], repeats),
                ([plain_100], 1),
                (models(items_10k, 1000), repeats),
                (models(items_35k, 1000), 2),
                (models(items_100k, 1000), 2),
            ]
        rows = [row for cases, repeats in fields for row in measure(cases, repeats, arguments.threads)]
    write(rows, arguments.threads, arguments.output)
    print(table(rows, _BASELINE))


if __name__ == "__main__":
    main()
