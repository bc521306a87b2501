"""The first cases of each fuzzer; ``benchmarks/fuzz.py`` does more."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import fuzz


@pytest.mark.parametrize(
    ("target", "cases"), [("converters", 150), ("options", 100), ("atomic", 100), ("experiments", 40)]
)
def test_damaged_inputs_are_refused_in_one_line_or_give_the_right_data(target, cases):
    found = [fuzz.check(fuzz.Case(target, seed)) for seed in range(cases)]
    assert not list(filter(None, found))


def test_a_case_that_fails_is_told_and_counted(monkeypatch, capsys, tmp_path):
    (tmp_path / "fuzz_broken.py").write_text(
        "def check(seed, folder):\n    return 'a traceback' if seed == 2 else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert fuzz.main(["--cases=4", "--targets=broken", "--jobs=1", f"--output={tmp_path}"]) == 1
    out, err = capsys.readouterr()
    assert "broken: 4 cases, 1 failed" in out and "broken 2: a traceback" in err
    assert (tmp_path / "fuzz.csv").read_text().splitlines()[1].startswith("broken,0,4,1,")
