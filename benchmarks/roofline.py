"""How far scoring and training are from the machine's rate of matrix products.

    python benchmarks/roofline.py [--quick] [--repeats=3] [--threads=N] [--output=benchmarks/roofline.json]

The floor is the time that the operations which the work needs would take at that rate, measured in the same run: the
best of square float32 products of width 2,048.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import make_ml_1m_clean, working_folder
from harness import Case, measure, parse_arguments, write


def cases(dataset: str, hidden: int) -> list[Case]:
    """The machine's rate, and what is held against it."""
    return [
        Case("matrix product", "", "", "matmul", 2048),
        *(Case(f"CFGDiffRec, scoring, T = {t}", "CFGDiffRec", dataset, "score", hidden, t, 2.0) for t in (5, 100)),
        Case("CFGDiffRec, training", "CFGDiffRec", dataset, "train", hidden, 5, 1.0),
    ]


def over_floor(rows: list[dict[str, Any]]) -> list[str]:
    """Add the floor to each row, and say how far above it the row is."""
    rate = max(row["gflop"] / row["seconds_min"] for row in rows if row["model"] == "matrix product")
    lines = [f"roofline: {rate:.0f} GFLOP/s"]
    for row in rows:
        row["floor_seconds"] = row["gflop"] / rate
        row["over_floor"] = row["seconds_median"] / row["floor_seconds"]
        lines.append(
            f"{row['model']}: {row['gflop']:.1f} GFLOP, {row['seconds_median']:.2f} s, "
            f"{row['over_floor']:.2f} times the floor of {row['floor_seconds']:.2f} s"
        )
    return lines


def main() -> None:
    arguments = parse_arguments(__doc__ or "", Path(__file__).with_suffix(".json"), repeats=3)
    with working_folder():
        dataset, hidden = ("ml-100k", 300) if arguments.quick else (make_ml_1m_clean(), 1000)
        rows = measure(cases(dataset, hidden), 2 if arguments.quick else arguments.repeats, arguments.threads)
    lines = over_floor(rows)
    write(rows, arguments.threads, arguments.output)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
