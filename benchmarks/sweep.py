"""Nine guidance scales, 0 to 2, in one sweep and one by one; and a single scoring.

python benchmarks/sweep.py [--quick] [--repeats=5] [--threads=N] [--output=benchmarks/sweep.json]
"""

from __future__ import annotations

from pathlib import Path

from datasets import make_ml_1m_clean, make_synthetic, working_folder
from harness import Case, measure, parse_arguments, table, write

_BASELINE = "one scoring"


def cases(dataset: str, hidden: int) -> list[Case]:
    """All of CFGDiffRec at five steps."""
    return [
        Case(label, "CFGDiffRec", dataset, task, hidden, steps=5, guidance_scale=scale)
        for label, task, scale in (
            (_BASELINE, "score", 2.0),
            ("a sweep of 9 scales", "sweep", None),
            ("9 scorings", "nine_scores", None),
        )
    ]


def main() -> None:
    arguments = parse_arguments(__doc__ or "", Path(__file__).with_suffix(".json"), repeats=5)
    with working_folder():
        fields = [cases("ml-100k", 300)]
        if not arguments.quick:
            fields += [cases(make_ml_1m_clean(), 1000), cases(make_synthetic(35_000, 2_000, per_user=50), 1000)]
        rows = [row for field in fields for row in measure(field, arguments.repeats, arguments.threads)]
    write(rows, arguments.threads, arguments.output)
    print(table(rows, _BASELINE))


if __name__ == "__main__":
    main()
