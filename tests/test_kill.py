"""A few of the kills of benchmarks/kill.py."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_cfgdiff.runs.pool import search_path

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "kill.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes to be killed are forked")
def test_killed_runs_resume_to_the_metrics_of_unbroken_ones_and_leave_nothing():
    command = [sys.executable, str(SCRIPT), "--kills=6", "--jobs=1", "--output=kill.csv"]
    environment = {**os.environ, "PYTHONPATH": search_path()}
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "6 of 6 kills: resumed to the unbroken run's metrics, nothing left over" in outcome.stdout
    with open("kill.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["signal"] for row in rows) == 3 * ["SIGKILL"] + 3 * ["SIGTERM"]
    assert {row["kind"] for row in rows} >= {"moment", "write"} and not any(row["problem"] for row in rows)
