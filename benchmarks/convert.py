"""Conversion of a large Amazon 2023 CSV: lines a second and peak memory, beside ``pandas.read_csv`` of the same file.

    python benchmarks/convert.py [--lines=10000000] [--output=benchmarks/convert.json]

The file is generated: ids of the real lengths, users and items drawn by Zipf's law.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from recbole_cfgdiff.files import write_json

_CHUNK = 100_000
_PANDAS = """
import sys, pandas
rows = sum(len(chunk) for chunk in pandas.read_csv(sys.argv[1], chunksize=1_000_000))
print(rows)
"""


def generate(path: Path, lines: int) -> None:
    """Write ``lines`` ratings of about lines / 10 users and lines / 100 items."""
    random = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("user_id,parent_asin,rating,timestamp\n")
        for start in range(0, lines, _CHUNK):
            size = min(_CHUNK, lines - start)
            users = random.zipf(1.2, size) * 2654435761 % (lines // 10 + 1)
            items = random.zipf(1.2, size) * 2654435761 % (lines // 100 + 1)
            ratings, times = random.integers(1, 6, size), random.integers(1_500_000_000_000, 1_690_000_000_000, size)
            file.writelines(
                f"A{user:027d},B{item:09d},{rating}.0,{when}\n"
                for user, item, rating, when in zip(users.tolist(), items.tolist(), ratings.tolist(), times.tolist())
            )


def measure(command: list[str], lines: int) -> dict[str, float]:
    """Run a process; its seconds, lines a second and peak resident memory."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command[:4]} failed")
    return {"seconds": round(seconds, 1), "lines_per_second": round(lines / seconds), "peak_mb": usage.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the conversion of a large file.")
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        generate(path, arguments.lines)
        convert = [sys.executable, "-m", "recbole_cfgdiff", "convert", "amazon", str(path), "--name=big"]
        commands = {
            "convert": [*convert, f"--output={folder}"],
            "pandas.read_csv": [sys.executable, "-c", _PANDAS, str(path)],
        }
        size = path.stat().st_size / 2**20
        rows = [
            {"what": name, "lines": arguments.lines, "file_mb": size, **measure(command, arguments.lines)}
            for name, command in commands.items()
        ]
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    write_json(arguments.output, {"machine": machine, "rows": rows})
    for row in rows:
        print(
            "  ".join(
                f"{key} {value:.0f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )


if __name__ == "__main__":
    main()
