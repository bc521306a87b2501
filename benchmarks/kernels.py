"""The operations of ``diffusion/fast/kernels.py`` beside torch's own, on one thread.

python benchmarks/kernels.py [--repeats=40] [--output=benchmarks/kernels.json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from recbole_cfgdiff.diffusion.fast.kernels import Tanh, dropped


def best_milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Of so many calls the shortest."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return round(1000 * min(seconds), 2)


def main() -> None:
    """Print and write a row for each operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hidden, batch, tanh = torch.randn(512, 1000), torch.randn(400, 2811), Tanh()
    cases: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "tanh of 512 x 1,000": (lambda: tanh(hidden), lambda: torch.tanh(hidden)),
        "dropout of 400 x 2,811": (lambda: dropped(batch, 0.5), lambda: nn.functional.dropout(batch, 0.5)),
    }
    rows = {}
    with torch.no_grad():
        for name, (ours, torchs) in cases.items():
            rows[name] = {"ms": best_milliseconds(ours, arguments.repeats)}
            rows[name]["torch ms"] = best_milliseconds(torchs, arguments.repeats)
            print(name, rows[name])
    arguments.output.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
