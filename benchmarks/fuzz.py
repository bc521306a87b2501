"""Damaged inputs and odd options in numbers: ``python benchmarks/fuzz.py --cases=10000``.

Each case is a real command on one damaged input, made from a seed, in an empty folder. It fails on a traceback, a wrong
exit status, anything but one line of error, wrong data with exit status 0, or something left behind. ``--targets``
names some of the fuzzers, ``--first`` the first seed, so that one case can be done again.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pandas as pd

TARGETS = ("converters", "options", "atomic", "experiments")


class Case(NamedTuple):
    """One input."""

    target: str
    seed: int


def main(arguments: list[str] | None = None) -> int:
    """Do the cases, and write ``fuzz.csv``: a row a fuzzer. Returns 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="in all, divided among the fuzzers (%(default)s)")
    parser.add_argument("--targets", default=",".join(TARGETS), help="fuzzers (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="first seed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("results/fuzz"), help="folder for fuzz.csv (%(default)s)")
    known = parser.parse_args(arguments)
    targets = known.targets.split(",")
    share = -(-known.cases // len(targets))
    rows, failed = [], 0
    for target in targets:
        started = time.perf_counter()
        cases = [Case(target, seed) for seed in range(known.first, known.first + share)]
        problems = list(_problems(cases, known.jobs))
        failed += len(problems)
        rows.append([target, known.first, share, len(problems), round(time.perf_counter() - started, 1)])
        print(f"{target}: {share} cases, {len(problems)} failed, {rows[-1][-1]} s", flush=True)
    known.output.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["fuzzer", "first_seed", "cases", "failed", "seconds"])
    table.to_csv(known.output / "fuzz.csv", index=False)
    return 1 if failed else 0


def _problems(cases: list[Case], jobs: int) -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        get_context("spawn").Pool(jobs, initializer=_start, initargs=(folder,), maxtasksperchild=500) as pool,
    ):
        for case, problem in zip(cases, pool.imap(check, cases, chunksize=8)):
            if problem is not None:
                print(f"{case.target} {case.seed}: {problem}", file=sys.stderr, flush=True)
                yield problem


def _start(folder: str) -> None:
    """One thread, and temporary files in a folder that the process which started this one removes."""
    import torch

    torch.set_num_threads(1)
    tempfile.tempdir = folder


def check(case: Case) -> str | None:
    """What was wrong with a case, or None."""
    fuzzer = importlib.import_module(f"fuzz_{case.target}")
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.chdir(folder)
        try:
            return fuzzer.check(case.seed, Path(folder))
        finally:
            os.chdir(before)


if __name__ == "__main__":
    sys.exit(main())
