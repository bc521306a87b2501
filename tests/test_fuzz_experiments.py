"""Damaged files of an experiment, a bounded number of them."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_no_damaged_file_of_an_experiment_ends_in_a_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    from fuzz_experiments import check

    problems = []
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        problems.append(check(seed, folder))
    assert not any(problems), next(filter(None, problems))
