"""One process at a time has a run's folder, and a run that was cut short goes on from what is whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.runs.folder import run_folder
from recbole_cfgdiff.runs.pool import search_path

SCRIPT = Path(__file__).resolve().parents[1] / "run_recbole_cfg.py"
RUN = ("--model=CFGDiffRec", "--dataset=tiny", "--dims_dnn=[20]", "--run_name=r", "--epochs=5", "--stopping_step=9")
SHORT = ("--show_progress=False", "--state=ERROR")


def result(folder):
    content = json.loads((Path(folder) / "result.json").read_text())
    return content["best_valid_result"], content["test_result"]


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def is_refused(outcome, told):
    return outcome.status == 2 and len(outcome.err.splitlines()) == 1 and told in outcome.err


@pytest.fixture
def ended(tiny, cli):
    """A run that has ended."""
    assert cli(*RUN, *SHORT).status == 0
    return Path("saved/r")


def test_a_second_process_in_a_runs_folder_is_refused_and_disturbs_nothing(ended, cli):
    with run_folder(ended):
        before = contents(ended)
        for second in (("--resume=saved/r",), ("--resume=saved/r/last.pth", "--epochs=9"), RUN):
            assert is_refused(cli(*second, *SHORT), "another process trains in saved/r")
        assert contents(ended) == before
    assert cli("--resume=saved/r", *SHORT).status == 0
    assert not (ended / ".lock").exists()


def test_of_two_runs_of_one_new_name_started_at_once_one_is_refused(ended):
    command = [sys.executable, str(SCRIPT), *RUN, *SHORT, "--checkpoint_dir=both"]
    environment = {**os.environ, "PYTHONPATH": search_path()}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    assert len("".join(errors).splitlines()) == 1 and "both/r" in "".join(errors)
    assert result("both/r") == result(ended)
    assert sorted(path.name for path in Path("both/r").iterdir()) == ["best.pth", "last.pth", "result.json"]


def test_a_mistake_leaves_no_folder(tiny, cli):
    assert cli(*RUN, "--metrics=['Nothing']", *SHORT).status == 2
    assert cli(*RUN, "--topk=4000", *SHORT).status == 2
    assert not list(Path().glob("saved/*"))


def test_what_was_left_unfinished_goes_when_a_run_goes_on(ended, cli):
    for name in (".last.gone-4000000.pth", ".best.4000000.pth", ".last.123.pth", ".mine"):
        (ended / name).write_bytes(b"half")
    assert cli("--resume=saved/r", *SHORT).status == 0
    assert sorted(contents(ended)) == [".mine", "best.pth", "last.pth", "result.json"]


@pytest.mark.parametrize("name", ["last.pth", "best.pth"])
@pytest.mark.parametrize("damage", ["cut", "empty", "other", "missing"])
def test_a_damaged_checkpoint_is_one_line_before_training(name, damage, ended, cli):
    path = ended / name
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "other": b"nothing of ours"}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    before = contents(ended)
    told = f"saved/r: expected {name} in it" if (damage, name) == ("missing", "last.pth") else f"saved/r/{name}"
    assert is_refused(cli("--resume=saved/r", "--epochs=9", *SHORT), told)
    assert contents(ended) == before


@pytest.mark.parametrize("n_written", [0, 1, 2, 3, 7])
def test_a_run_that_ended_between_two_checkpoints_goes_on_to_the_unbroken_metrics(n_written, ended, cli, monkeypatch):
    """Among them those where best.pth is newer than last.pth, and where there is no last.pth yet."""
    save, calls = checkpoint.save, []

    def interrupted(state, path):
        if len(calls) == n_written:
            raise KeyboardInterrupt
        calls.append(path.name)
        save(state, path)

    broken = (*RUN, *SHORT, "--checkpoint_dir=broken")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", interrupted)
        assert cli(*broken).status == 130
    assert cli(*(("--resume=broken/r", *SHORT) if "last.pth" in calls else broken)).status == 0
    assert result("broken/r") == result(ended)
