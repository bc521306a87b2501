"""A bounded number of the fuzzer's cases; benchmarks/fuzz.py runs more."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from fuzz_converters import check


def test_damaged_inputs_are_refused_or_give_the_right_data(tmp_path):
    found = {}
    for seed in range(150):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if problem := check(seed, folder):
            found[seed] = problem
    assert not found
