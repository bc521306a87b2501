"""How long data is read: seconds from the start of ``run`` until training starts, and those of a whole comparison.

    python benchmarks/reading.py [--quick] [--repeats=3] [--against=OTHER_CHECKOUT]

Rows of the size of ML-1M (a million; a tenth with ``--quick``), random. With another checkout the two take turns, and
the table has the ratio of the medians, ours to theirs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from datasets import make_synthetic, working_folder

_HERE = Path(__file__).resolve().parents[1]
_RUN = (
    "import sys; from recbole_cfgdiff.runs.prepare import prepare; "
    "prepare('Pop', sys.argv[1], None, {'state': 'ERROR'})"
)
_COMPARE = ("-m", "recbole_cfgdiff", "compare", "--models=Pop,EASE", "--seeds=2", "--state=ERROR")


def seconds(checkout: Path, *arguments: str) -> float:
    """Of Python with these arguments, the package being that of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout")
    arguments = parser.parse_args()
    per_user, repeats = (17, 1) if arguments.quick else (166, arguments.repeats)
    checkouts = {"this": _HERE} | ({"other": arguments.against.resolve()} if arguments.against else {})
    measured: dict[tuple[str, str], list[float]] = {}
    with working_folder():
        name = make_synthetic(3700, 6040, per_user)
        for number in range(repeats):
            for which, checkout in checkouts.items():
                output = f"--output={which}-{number}"
                for what, command in (
                    ("run, until training starts", ("-c", _RUN, name)),
                    ("compare, whole", (*_COMPARE, f"--dataset={name}", output)),
                ):
                    measured.setdefault((what, which), []).append(seconds(checkout, *command))
    medians = {key: statistics.median(values) for key, values in measured.items()}
    for (what, which), median in medians.items():
        ratio = f", {median / medians[what, 'other']:.2f} of the other's" if (what, "other") in medians else ""
        print(f"{what}: {median:.1f} s ({which} checkout{ratio if which == 'this' else ''})")


if __name__ == "__main__":
    main()
