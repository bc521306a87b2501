"""Known errors are one line, with a traceback where it is asked for; any other exception is a bug and passes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import recbole.config
import torch
from recbole.model.general_recommender import BPR
from recbole.model.layers import MLPLayers

from recbole_cfgdiff.commands import cli as command_line
from recbole_cfgdiff.model import MODELS
from recbole_cfgdiff.runs.pool import search_path

OF_RECBOLE = ("--model=RecBoleDiffRec", "--dataset=tiny", "--mlp_act_func=rleu", "--state=ERROR")


class CallsTorch(BPR):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.layer = torch.nn.Linear(3, "x")


class CallsRecBole(BPR):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.layers = MLPLayers([3, 3], activation="rleu")


@pytest.mark.parametrize(("model", "error"), [(CallsTorch, TypeError), (CallsRecBole, UnboundLocalError)])
def test_a_mistake_in_a_model_of_ones_own_keeps_its_traceback(model, error, tiny, cli, monkeypatch):
    monkeypatch.setitem(MODELS, model.__name__, model)
    with pytest.raises(error) as raised:
        cli(f"--model={model.__name__}", "--dataset=tiny", "--state=ERROR")
    assert any(Path(entry.path) == Path(__file__) for entry in raised.traceback)


def test_what_recbole_raises_itself_is_one_line_and_its_traceback_in_the_log(tiny):
    """In a process of its own: RecBole logs to no file where there are handlers, such as pytest's."""
    command = [sys.executable, "-m", "recbole_cfgdiff", "run", *OF_RECBOLE]
    outcome = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": search_path()}, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 2 and "Traceback" not in outcome.stderr
    assert "RecBole fails on these options or this data: UnboundLocalError" in outcome.stderr.splitlines()[-1]
    (log,) = Path("log").rglob("*.log")
    assert "Traceback" in log.read_text() and "activation_layer" in log.read_text()


@pytest.mark.parametrize("mistake", [OF_RECBOLE, ("--model=DiffRec", "--dataset=nowhere")])
def test_debug_shows_the_traceback_before_the_line(mistake, tiny, cli):
    outcome = cli(*mistake, "--debug")
    assert outcome.status == 2 and "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("error: ")


def test_a_failing_run_of_an_experiment_tells_where_its_traceback_is(tiny, capfd):
    arguments = ["--models=RecBoleDiffRec", *OF_RECBOLE[1:], "--seeds=1", "--output=out"]
    assert command_line.main(["compare", *arguments]) == 1
    folder = Path("runs", "tiny", "RecBoleDiffRec", "2020")
    assert f"the traceback is in {folder / 'log.txt'}" in capfd.readouterr().out
    assert "activation_layer" in (Path("out") / folder / "log.txt").read_text()
    assert "activation_layer" in json.loads((Path("out") / folder / "record.json").read_text())["traceback"]


def test_a_run_that_fails_by_a_known_error_has_its_traceback_in_its_log(tiny, capfd):
    arguments = ["--models=DiffRec", "--dataset=tiny", "--seeds=1", "--output=out", "--dims_dnn=[1000000000000]"]
    assert command_line.main(["compare", *arguments]) == 1
    folder = Path("out/runs/tiny/DiffRec/2020")
    record = json.loads((folder / "record.json").read_text())
    assert "there is not enough memory" in record["error"] and "traceback" not in record
    assert (folder / "log.txt").read_text().count("Traceback") >= 1 and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_checkpoint_of_recboles_is_told_apart(protocol, tiny, cli, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["recbole"])
    config = recbole.config.Config("BPR", "ml-100k")
    Path("saved").mkdir()
    state = {"config": config, "epoch": 1, "state_dict": {"weight": torch.zeros(3)}}
    torch.save(state, "saved/BPR-Nov-26-2026_12-00-00.pth", pickle_protocol=protocol)
    outcome = cli("--resume=saved/BPR-Nov-26-2026_12-00-00.pth")
    assert outcome.status == 2 and "RecBole wrote it" in outcome.err and "run_recbole_cfg.py" in outcome.err
    assert command_line.main(["sweep", "--checkpoint=saved/BPR-Nov-26-2026_12-00-00.pth"]) == 2


def test_options_of_commands_have_hyphens_and_are_taken_with_underscores(tiny, capfd):
    base = ["compare", "--models=Pop", "--dataset=tiny"]
    for option in ("--tune-budget=-1", "--tune_budget=-1"):
        assert command_line.main([*base, option]) == 2
        assert "tune_budget: expected at least 0, got -1" in capfd.readouterr().err
    assert command_line.main([*base, "--tune-budge=3"]) == 2
    assert "did you mean --tune-budget?" in capfd.readouterr().err
    for command in command_line.COMMANDS:
        with pytest.raises(SystemExit):
            command_line.main([command, "--help"])
        told = [word for word in capfd.readouterr().out.split() if word.startswith("--")]
        assert "--debug" in told and not [word for word in told if "_" in word.partition("=")[0]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tune", "--max-evals=4", "--max_evals=5"], "--max_evals is given twice: 4 and 5"),
        (["compare", "--seeds=1", "--seeds=1", "--seeds", "2"], "--seeds is given twice: 1 and 2"),
        (["run", "--model=Pop", "-m", "EASE"], "-m is given twice: Pop and EASE"),
        (["run", "--debug=True"], "--debug takes no value; write --debug alone"),
        (["convert", "csv", "a.csv", "--name=a", "--skip_bad_lines=False"], "--skip_bad_lines takes no value"),
    ],
)
def test_an_option_has_one_value_and_a_flag_none(arguments, told, capfd):
    assert command_line.main(arguments) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"error: {told}") and len(error.splitlines()) == 1


@pytest.mark.parametrize("option", ["--dims_dnn=[1000000000000]", "--embedding_size=3000000000000000000"])
def test_a_network_that_memory_has_no_room_for_is_one_line(option, tiny, cli):
    outcome = cli("--model=CFGDiffRec", f"--dataset={tiny}", "--show_progress=False", "--state=ERROR", option)
    assert outcome.status == 2 and outcome.err.startswith("error: model CFGDiffRec: there is not enough memory: ")
