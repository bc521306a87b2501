"""``compare``, ``sweep`` and what they refuse, on the tiny data set."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from experiments import write_run

from recbole_cfgdiff.commands import cli
from recbole_cfgdiff.commands.arguments import parse_options
from recbole_cfgdiff.commands.compare import parse_variants
from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.quick_start import load_data_and_model, run
from recbole_cfgdiff.reporting.outputs import OutputFolder
from recbole_cfgdiff.runs.data_sets import DataSets
from recbole_cfgdiff.runs.spec import make_runs
from recbole_cfgdiff.runs.sweep import parse_scales
from recbole_cfgdiff.tuning import tune as tune_module

AUC = ("--metrics=['AUC']", "--valid_metric=AUC", "--eval_args={'mode': 'labeled'}")
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def command(capfd):
    """Run ``python -m recbole_cfgdiff`` with these arguments in this process: status, output, errors."""

    def call(*arguments):
        capfd.readouterr()
        status = cli.main(arguments)
        return (status, *capfd.readouterr())

    return call


def test_a_comparison_goes_on_after_a_failed_run_and_repeats_none_that_ended(tiny, command):
    Path("bad.yaml").write_text("learning_rate: 1.0e+30\n")
    arguments = ("compare", "--models=DiffRec:bad.yaml,CFGDiffRec,Pop", "--dataset=tiny", "--seeds=1", "--jobs=2")
    arguments = (*arguments, "--output=out", "--epochs=2", "--sweep_scales=0,1")
    status, out, err = command(*arguments)
    assert status == 1
    assert "1 of 3 runs failed" in err and err.count("\n") == 1
    assert "[3/3]" in out and "left" in out
    assert "note: DiffRec:bad on tiny, seed 2020 failed: epoch 1: the training loss is" in out

    results = pd.read_csv("out/results.csv").set_index("model")
    assert results["status"].to_dict() == {"DiffRec:bad": "failed", "CFGDiffRec": "ended", "Pop": "ended"}
    assert results.loc["CFGDiffRec", "hyperparameters"] == "given: epochs"
    assert results.loc["CFGDiffRec", "epochs"] == 2 and results.loc["CFGDiffRec", "parameters"] > 1000
    assert (results.loc[["CFGDiffRec", "Pop"], ["training_seconds", "inference_seconds", "peak_memory_mb"]] > 0).all(
        axis=None
    )
    # The numbers are RecBole's own for the same run.
    own = run("CFGDiffRec", "tiny", None, {"epochs": 2, "seed": 2020, "show_progress": False, "state": "ERROR"})
    for metric, value in own["test_result"].items():
        assert results.loc["CFGDiffRec", metric] == value
    for metric, value in own["best_valid_result"].items():
        assert results.loc["CFGDiffRec", f"valid_{metric}"] == value

    for name in ("summary.csv", "summary.md", "summary.tex", "comparisons.csv", "groups.csv", "report.html"):
        assert Path("out", name).stat().st_size > 0
    assert {path.suffix for path in Path("out/figures").iterdir()} == {".png", ".pdf"}
    assert not list(Path("out/runs/tiny/CFGDiffRec").rglob("last.pth"))

    record = Path("out/runs/tiny/CFGDiffRec/2020/record.json")
    before = record.read_bytes(), record.stat().st_mtime_ns
    summary = Path("out/summary.csv").read_bytes()
    status, out, _ = command(*arguments)
    assert status == 1 and "3 runs, 2 at a time; 2 are there already" in out
    assert (record.read_bytes(), record.stat().st_mtime_ns) == before
    assert Path("out/summary.csv").read_bytes() == summary

    # A checkpoint of the comparison can be swept, of a model without guidance it can't.
    status, out, _ = command("sweep", "--checkpoint=out/runs/tiny/CFGDiffRec/2020", "--guidance_scales=0,1")
    assert status == 0
    swept = pd.read_csv("out/runs/tiny/CFGDiffRec/2020/sweep.csv")
    swept_all = pd.read_csv("out/sweeps.csv")
    of_run = swept_all[(swept_all["model"] == "CFGDiffRec") & (swept_all["seed"] == 2020)].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_run[list(swept)], swept)
    value = swept.query("part == 'test' and guidance_scale == 1")["ndcg@10"].item()
    assert value == results.loc["CFGDiffRec", "ndcg@10"] and f"{value:.4f}" in out
    status, _, err = command("sweep", "--checkpoint=out/runs/tiny/CFGDiffRec/2020", "--output=bad.yaml")
    assert status == 2 and "bad.yaml is a file" in err
    status, _, err = command("sweep", "--checkpoint=out/runs/tiny/Pop/2020/checkpoint")
    assert status == 2 and "Pop has no guidance scale" in err

    # Other options are another experiment.
    status, _, err = command(*arguments[:-2], "--epochs=3")
    assert status == 2 and "another experiment's, with options" in err


def test_a_killed_comparison_continues_to_the_tables_of_an_unbroken_one(tiny):
    arguments = ["compare", "--models=Pop,EASE,CFGDiffRec", "--dataset=tiny", "--seeds=1", "--epochs=30"]
    base = [sys.executable, "-m", "recbole_cfgdiff", *arguments, "--stopping_step=100"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([*base, "--output=killed"], env=environment, stdout=subprocess.DEVNULL)
    last = Path("killed/runs/tiny/CFGDiffRec/2020/checkpoint/last.pth")
    while not last.exists():
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    ended = {path: path.stat().st_mtime_ns for path in Path("killed").rglob("record.json")}
    assert {path.parts[3] for path in ended} == {"Pop", "EASE"}
    worker_log = last.parents[1] / "log.txt"
    time.sleep(1)
    size = worker_log.stat().st_size
    time.sleep(1)
    assert worker_log.stat().st_size == size  # the worker has stopped with its parent

    again = subprocess.run([*base, "--output=killed"], env=environment, capture_output=True, text=True, check=True)
    assert "3 runs, 1 at a time; 2 are there already" in again.stdout
    assert "Resuming" in worker_log.read_text()
    assert all(path.stat().st_mtime_ns == before for path, before in ended.items())
    subprocess.run([*base, "--output=unbroken"], env=environment, capture_output=True, check=True)
    for name in ("summary.csv", "comparisons.csv", "groups.csv", "summary.md"):
        assert Path("killed", name).read_bytes() == Path("unbroken", name).read_bytes()
    epochs = [pd.read_csv(f"{folder}/results.csv").set_index("model")["epochs"] for folder in ("killed", "unbroken")]
    assert epochs[0].equals(epochs[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models=CFGDiffRec,MultVEA", "--dataset=tiny"], "unknown model MultVEA; nearest: MultVAE"),
        (["--models=CFGDifRec", "--dataset=tiny"], "nearest: CFGDiffRec"),
        (["--models=Pop", "--dataset=tinny"], "nearest: tiny"),
        (["--modles=Pop", "--dataset=tiny"], "models: none given; add --models=MODELS (is --modles meant for it?)"),
        (["--models=Pop"], "dataset: none given; add --dataset=DATASET"),
        (["--models=Pop", "--dataset=tiny", "--sedes=3"], "unknown option sedes; did you mean --seeds?"),
        (["--models=Pop", "--dataset=tiny", "--jbos", "3"], "unknown option jbos; did you mean --jobs?"),
        (["--models=Pop", "--dataset=tiny", "--epochs"], "expected --key=value, got --epochs; write --epochs=VALUE"),
        (["--models=CFGDiffRec,,Pop", "--dataset=tiny"], "models: expected names"),
        (["--models=Pop", "--model=EASE", "--dataset=tiny"], "model: compare takes its models by --models=A,B"),
        (["--models=Pop,Pop", "--dataset=tiny"], "pop is given twice"),
        (["--models=Pop:none.yaml", "--dataset=tiny"], "there is no file none.yaml"),
        (["--models=Pop", "--dataset=tiny", "--seeds=0"], "seeds: expected at least 1, got 0"),
        (["--models=Pop", "--dataset=tiny", "--jobs=0"], "jobs: expected at least 1, got 0"),
        (["--models=Pop", "--dataset=tiny", "--seed=3"], "seed: an experiment seeds its several runs"),
        (["--models=Pop", "--dataset=tiny", "--resume=saved/x"], "resume: an experiment"),
        (
            ["--models=Pop,SASRec", "--dataset=tiny", "--eval_args={'split': {'LS': 'valid_and_test'}}"],
            "RecBole tests sequential models on other rows",
        ),
        (["--models=MultVAE,MultiVAE", "--dataset=tiny"], "MultVAE and MultiVAE are the same model"),
        (["--models=Pop,EASE:split.yaml", "--dataset=tiny"], "eval_args: it must be the same for all models"),
        (["--models=Pop,EASE:k3.yaml", "--dataset=tiny"], "topk: it must be the same for all models"),
        (["--models=EASE:seed.yaml", "--dataset=tiny"], "seed: an experiment"),
        (["--models=Pop", "--dataset=nowhere"], "nowhere"),
        (["--models=Pop", "--dataset=tiny", "--epochz=3"], "did you mean epochs?"),
        (["--models=Pop", "--dataset=tiny", "--sweep_scales=0,x"], "guidance scales: expected numbers"),
        (["--models=Pop", "--dataset=tiny", *AUC], "metrics: expected metrics of rankings"),
    ],
)
def test_mistakes_are_told_before_anything_is_run(arguments, message, tiny, command):
    Path("split.yaml").write_text("eval_args: {split: {RS: [0.5, 0.25, 0.25]}}\n")
    Path("k3.yaml").write_text("topk: [3]\nvalid_metric: NDCG@3\n")
    Path("seed.yaml").write_text("seed: 7\n")
    status, _, err = command("compare", *arguments, "--output=out")
    assert status == 2 and message in err and err.count("\n") == 1
    assert not Path("out").exists()


def test_the_folder_of_something_else_is_left_alone(tiny, command):
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    status, _, err = command("compare", "--models=Pop", "--dataset=tiny", "--output=out")
    assert status == 2 and "has files that are no experiment's" in err
    assert [path.name for path in Path("out").iterdir()] == ["notes.txt"]
    status, _, err = command("compare", "--models=Pop", "--dataset=tiny", "--output=out/notes.txt")
    assert status == 2 and "is a file" in err


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't write into"), OutputFolder(tmp_path / "file" / "out", {}):
        pass


def test_a_folder_that_can_not_be_written_any_more_is_told_and_what_is_done_stays(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/summary.csv")
    with pytest.raises(ConfigError, match=r"can't write out/summary\.csv: No space"), OutputFolder(tmp_path, {}):
        raise full
    write_run(tmp_path, "A", 2020, [1, 0])
    told = "No space left on device; what is done stays, and the same command goes on"
    with pytest.raises(TrainingError, match=told), OutputFolder(tmp_path, {}):
        raise full


def test_a_report_that_can_not_be_written_is_one_line_and_the_same_command_goes_on(tiny, command):
    arguments = ("compare", "--models=Pop", "--dataset=tiny", "--seeds=1", "--output=out")
    assert command(*arguments)[0] == 0
    Path("out/summary.csv").unlink()
    Path("out/summary.csv").mkdir()
    status, out, err = command(*arguments)
    assert status == 1 and err.startswith("error: output: can't write out/summary.csv: ") and err.count("\n") == 1
    assert not [path for path in Path("out").iterdir() if path.name.startswith(".") and path.name != ".lock"]
    Path("out/summary.csv").rmdir()
    status, out, err = command(*arguments)
    assert status == 0 and "1 are there already" in out


def test_a_run_of_a_comparison_is_accepted_wherever_a_run_is(tiny, command, cli_run):
    arguments = ("compare", "--models=CFGDiffRec", "--dataset=tiny", "--seeds=1", "--epochs", "2", "--output", "out")
    assert command(*arguments)[0] == 0
    folder = Path("out/runs/tiny/CFGDiffRec/2020")
    weights = [
        load_data_and_model(path)[1].state_dict()
        for path in (folder, folder / "checkpoint", folder / "checkpoint" / "best.pth")
    ]
    assert all(
        torch.equal(first, other) for each in weights for first, other in zip(weights[0].values(), each.values())
    )
    for path in (folder, folder / "checkpoint", folder / "checkpoint" / "best.pth"):
        assert command("sweep", f"--checkpoint={path}", "--guidance_scales=0")[0] == 0
    assert checkpoint.find(folder, "best.pth") == folder / "checkpoint" / "best.pth"
    status, err = cli_run(f"--resume={folder}")
    assert status == 2 and "the run has ended, and only its best epoch was kept" in err
    shutil.copy(folder / "checkpoint" / "best.pth", folder / "checkpoint" / "last.pth")
    assert cli_run(f"--resume={folder}", "--epochs=3")[0] == 0
    status, err = cli_run("--resume=dataset/tiny")
    assert status == 2 and "expected last.pth in it, or in its folder checkpoint" in err


@pytest.fixture
def cli_run(capfd):
    """Run ``run_recbole_cfg.py`` with these arguments in this process: status, errors."""

    def call(*arguments):
        capfd.readouterr()
        return cli.run_main(arguments), capfd.readouterr().err

    return call


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--epochs", "1"], {"epochs": "1"}),
        (
            ["--epochs=1", "--weight_decay", "-0.5", "--x", "-1e-3"],
            {"epochs": "1", "weight_decay": "-0.5", "x": "-1e-3"},
        ),
        (["--metrics", "['NDCG']", "--a=b=c"], {"metrics": "['NDCG']", "a": "b=c"}),
        (["--a="], {"a": ""}),
    ],
)
def test_further_options_may_stand_apart_from_their_values(arguments, options):
    assert parse_options(arguments) == options


@pytest.mark.parametrize("arguments", [["--a"], ["--a", "--b=1"], ["a"], ["--a=1", "b"], ["--a", "-b"], ["-a", "1"]])
def test_options_without_a_value_or_a_name_are_refused(arguments):
    with pytest.raises(ConfigError, match="expected --key=value, got "):
        parse_options(arguments)


FINAL_FIT = "--config_files=properties/protocol/final_fit.yaml"


@pytest.mark.parametrize("option", ["--eval_args={'mode': 'uni20'}", FINAL_FIT])
def test_other_evaluations_than_full_ranking_with_validation_are_compared_too(option, tiny, command):
    arguments = ["compare", "--models=CFGDiffRec", "--dataset=tiny", "--seeds=1", "--epochs=1", "--output=out", option]
    status, out, err = command(*arguments)
    assert status == 0, out + err
    sweep = Path("out/runs/tiny/CFGDiffRec/2020/sweep.csv")
    if option == FINAL_FIT:
        assert set(pd.read_csv(sweep)["part"]) == {"test"}
    else:
        assert not sweep.exists()


def test_a_damaged_folder_is_told(tmp_path):
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(ConfigError, match="is damaged"), OutputFolder(tmp_path, {}):
        pass


def test_one_process_works_in_a_folder_at_a_time(tmp_path):
    with (
        OutputFolder(tmp_path / "out", {"command": "compare"}),
        pytest.raises(ConfigError, match="another process"),
        OutputFolder(tmp_path / "out", {"command": "compare"}),
    ):
        pass
    with OutputFolder(tmp_path / "out", {"command": "compare"}):
        pass


def test_data_sets_may_have_metrics_of_their_own(tiny, command):
    shutil.copytree("dataset/tiny", "dataset/other")
    Path("dataset/other/tiny.inter").rename("dataset/other/other.inter")
    Path("dataset/other/other.yaml").write_text("topk: [3]\nvalid_metric: NDCG@3\nmetrics: [NDCG, GAUC]\n")
    status, out, err = command("compare", "--models=Pop,EASE", "--dataset=tiny,other", "--seeds=1", "--output=out")
    assert status == 0, err
    assert "ndcg@3" in out and "recall@10" in out
    tables = Path("out/summary.md").read_text(encoding="utf-8")
    assert "| model | gauc |" in tables.partition("## other")[2] and "gauc" not in tables.partition("## other")[0]


def test_models_are_tuned_first_each_in_its_own_space_and_the_table_says_so(tiny, command):
    arguments = ("compare", "--models=EASE,Pop", "--dataset=tiny", "--seeds=1", "--tune-budget=2", "--output=out")
    status, out, err = command(*arguments)
    assert status == 0, err
    assert "tuning EASE on tiny" in out and "[2/2] reg_weight=" in out and "tuning Pop" not in out
    results = pd.read_csv("out/results.csv").set_index("model")
    assert results.loc["EASE", "hyperparameters"].startswith("tuned: 2 trials, bayes search of EASE.hyper")
    assert "Unequal effort" in out and "shipped YAML (Pop)" in out
    trials = pd.read_csv("out/tune/tiny/EASE/trials.csv")
    # The table's model is the one that the search chose, by validation.
    assert results.loc["EASE", "valid_ndcg@10"] == trials["valid_score"].max()
    status, out, _ = command(*arguments)
    assert status == 0 and "2 are there already" in out
    status, _, err = command(*arguments[:-2], "--tune-budget=-1", "--output=other")
    assert status == 2 and "tune_budget: expected at least 0" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models=EASE,DiffRec", "--learning_rate=0.01"], "learning_rate is both searched and given"),
        (["--models=EASE,EASE:mine.yaml"], "EASE and EASE:mine differ in nothing but what is tuned"),
        (["--models=EASE:tuned.yaml,Pop"], "reg_weight is both searched and given"),
        (["--models=DiffRec:tuned.yaml"], "tuned.yaml: its settings were chosen for EASE, not for DiffRec"),
    ],
)
def test_mistakes_in_a_search_are_told_before_the_first(arguments, message, tiny, command):
    Path("mine.yaml").write_text("chosen_by: me\n")
    Path("tuned.yaml").write_text("model: EASE\nreg_weight: 77.0\nchosen_by: a search\n")
    status, _, err = command("compare", *arguments, "--dataset=tiny", "--tune-budget=2", "--output=out")
    assert status == 2 and message in err and not Path("out").exists()


def test_settings_are_tuned_by_validation_where_test_disagrees(contrary, command, monkeypatch):
    Path("space.hyper").write_text("learning_rate choice [1.0e-8, 0.01]\n")
    monkeypatch.setattr(tune_module, "_space_path", lambda model: Path("space.hyper"))
    fixed = ("--dataset=contrary", "--seeds=1", "--epochs=15", "--output=out")
    assert command("compare", "--models=DiffRec", "--tune-budget=6", *fixed)[0] == 0
    assert yaml.safe_load(Path("out/tune/contrary/DiffRec/best.yaml").read_text())["learning_rate"] == 0.01
    chosen = pd.read_csv("out/results.csv").iloc[0]
    options = {"learning_rate": 1e-8, "epochs": 15, "seed": 2020, "show_progress": False}
    other = run("DiffRec", "contrary", None, options)
    assert chosen["valid_ndcg@10"] > other["best_valid_score"]
    assert chosen["ndcg@10"] < other["test_result"]["ndcg@10"]


def test_the_end_tells_the_command_that_fits_the_first_by_validation_where_test_disagrees(contrary, command):
    for name, rate in (("slow", 1e-8), ("fast", 0.01)):
        Path(f"{name}.yaml").write_text(f"learning_rate: {rate:.1e}\n")
    models = "--models=DiffRec:slow.yaml,DiffRec:fast.yaml"
    status, out, _ = command("compare", models, "--dataset=contrary", "--seeds=1", "--epochs=15", "--output=out")
    metrics = pd.read_csv("out/results.csv").set_index("model")["ndcg@10"]
    assert status == 0 and metrics["DiffRec:fast"] < metrics["DiffRec:slow"]
    (told,) = re.findall("to use DiffRec:fast, first by validation on contrary: python -m recbole_cfgdiff (.*)", out)
    assert command(*shlex.split(told), "--run_name=all")[0] == 0
    assert checkpoint.find(Path("saved/all"), "best.pth").exists()


def test_the_first_complete_table_is_there_early(tiny):
    runs = make_runs(parse_variants("Pop,EASE"), ["tiny"], 2)
    assert [(made.label, made.seed) for made in runs] == [("Pop", 2020), ("EASE", 2020), ("Pop", 2021), ("EASE", 2021)]


def test_a_worker_that_dies_leaves_a_record(tiny, monkeypatch):
    from recbole_cfgdiff.runs import pool

    monkeypatch.setattr(pool.sys, "executable", "/bin/false")
    (made,) = make_runs(parse_variants("Pop"), ["tiny"], 1)
    lines = []
    Path("out").mkdir()
    pool.run_missing([made], Path("out"), 1, lines.append, DataSets())
    record = json.loads((made.folder(Path("out")) / "record.json").read_text())
    assert record["status"] == "failed" and "status 1" in record["error"]
    assert "failed" in lines[1]


@pytest.mark.parametrize("text", ["", "0,", "1,1", "nan", "0,inf", "a"])
def test_guidance_scales_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="guidance scales"):
        parse_scales(text)
