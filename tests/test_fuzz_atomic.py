"""Damaged atomic files never give a traceback, and harmless damage loses no row."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import fuzz_atomic


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_a_damaged_data_set_is_told_in_one_line(first, tmp_path):
    for seed in range(first, first + 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert fuzz_atomic.check(seed, folder) is None, seed
