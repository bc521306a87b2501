"""Search spaces and the search."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_cfgdiff.commands import cli
from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.properties import PROPERTIES
from recbole_cfgdiff.quick_start import objective_function, run
from recbole_cfgdiff.tuning import trials as trials_module
from recbole_cfgdiff.tuning import tune as module
from recbole_cfgdiff.tuning.algorithms import check_can_search
from recbole_cfgdiff.tuning.space import Range, boundary_values, read_space
from recbole_cfgdiff.tuning.study import Study
from recbole_cfgdiff.tuning.tune import tune

CHOICES = {"a": Range("choice", (1, 2, 3)), "b": Range("choice", ("x", "y"))}


def space_file(text):
    Path("space.hyper").write_text(text)
    return Path("space.hyper")


def test_recboles_format_is_read():
    space = read_space(
        space_file(
            "# a comment\n\nlearning_rate loguniform -8,0\nembedding_size choice [64, 96 ,128]\n"
            "train_batch_size quniform 100,200,10\nmlp_hidden_size choice ['[64,64]','[128]']\ndropout uniform 0, 0.5\n"
        )
    )
    assert space == {
        "learning_rate": Range("loguniform", (-8, 0)),
        "embedding_size": Range("choice", (64, 96, 128)),
        "train_batch_size": Range("quniform", (100, 200, 10)),
        "mlp_hidden_size": Range("choice", ("[64,64]", "[128]")),
        "dropout": Range("uniform", (0, 0.5)),
    }


@pytest.mark.parametrize(
    "line",
    [
        "steps",
        "steps choice",
        "steps choice 5",
        "steps choice []",
        "steps choice [5,",
        "steps choice [open('x')]",
        "steps chooce [5]",
        "steps uniform 1",
        "steps uniform 2,1",
        "steps uniform 1,x",
        "steps quniform 1,2",
        "steps quniform 1,2,0",
        "steps quniform 2,10,-2",
        "steps quniform 1,2,nan",
        "steps uniform 0,inf",
        "steps loguniform 800,900",
        "steps loguniform -800,0",
        "steps quniform 0,1e300,1e-300",
        "steps quniform 0,1e20,1",
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(line):
    with pytest.raises(ConfigError, match=r"space.hyper, line 2: expected NAME choice \[VALUE, ...\] or"):
        read_space(space_file(f"learning_rate choice [0.1]\n{line}\n"))


def test_a_file_without_parameters_or_with_one_twice_is_refused():
    with pytest.raises(ConfigError, match="no parameter to search"):
        read_space(space_file("# nothing\n"))
    with pytest.raises(ConfigError, match="line 2: a is given twice"):
        read_space(space_file("a choice [1]\na choice [2]\n"))
    with pytest.raises(ConfigError, match="there is no file"):
        read_space(Path("nowhere.hyper"))


def ended(score):
    return {"status": "ended", "valid_score": score, "training_seconds": 1.0, "epochs": 1, "error": None}


FAILED = {**dict.fromkeys(ended(0.0)), "status": "failed", "error": "out of memory"}


def open_study(algorithm, space=CHOICES, seed=1):
    return Study(Path("study.journal"), space, algorithm, seed, bigger=True)


def suggested(algorithm, scores, space=CHOICES, opened_anew=False):
    """The parameters of trials with these scores, in a new study; None as a score is a failure."""
    Path("study.journal").unlink(missing_ok=True)
    search, found = open_study(algorithm, space), []
    for score in scores:
        if opened_anew:
            search = open_study(algorithm, space)
        suggestion = search.next()
        if suggestion is None:
            return [*found, None]
        number, parameters = suggestion
        found.append(parameters)
        search.report(number, FAILED if score is None else ended(score))
    return found


def test_an_exhaustive_search_takes_every_combination_once():
    found = suggested("exhaustive", [1.0] * 7)
    assert found[-1] is None and len(found) == 7
    assert {(each["a"], each["b"]) for each in found[:-1]} == {(a, b) for a in (1, 2, 3) for b in "xy"}


@pytest.mark.parametrize("algorithm", ["exhaustive", "random", "bayes"])
def test_several_trials_may_be_open_and_those_come_again_when_the_study_is_opened_anew(algorithm):
    search = open_study(algorithm)
    opened = [search.next() for _ in range(4)]
    assert [number for number, _ in opened] == [1, 2, 3, 4]
    for number in (3, 1):
        search.report(number, ended(0.1 * number))
    shutil.copy("study.journal", "copy")
    again = open_study(algorithm)
    assert again.finished == [(number, opened[number - 1][1], ended(0.1 * number)) for number in (1, 3)]
    assert again.begun == [opened[1], opened[3]]
    rest = [again.next() for _ in range(4)]
    assert rest[:2] == [opened[1], opened[3]] and [number for number, _ in rest[2:]] == [5, 6]
    Path("copy").replace("study.journal")
    assert rest[2:] == [search.next(), search.next()]
    if algorithm == "exhaustive":
        suggested_ = [tuple(parameters.items()) for _, parameters in (*opened, *rest[2:])]
        assert len(set(suggested_)) == 6 and again.next() is None


MIXED = {
    "rate": Range("loguniform", (-8.0, 0.0)),
    "dropout": Range("uniform", (0.0, 0.5)),
    "size": Range("quniform", (100.0, 400.0, 50.0)),
    "layers": Range("choice", ([8], [16, 8])),
}
SCORES = [0.5, None, 0.2, 0.4, 0.9, 0.1, 0.3, 0.7, 0.6, None, 0.8, 0.15, 0.25, 0.35]  # bayes begins with ten at random


@pytest.mark.parametrize("algorithm", ["random", "bayes"])
def test_a_search_that_is_continued_suggests_what_an_unbroken_one_does(algorithm):
    unbroken = suggested(algorithm, SCORES, MIXED)
    assert suggested(algorithm, SCORES, MIXED, opened_anew=True) == unbroken
    assert len({str(parameters) for parameters in unbroken}) == len(SCORES)


def kept_lines(path, number):
    """Have a file end after so many lines, and a half."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:number]) + lines[number][: len(lines[number]) // 2])


@pytest.mark.parametrize("algorithm", ["exhaustive", "random", "bayes"])
def test_a_search_goes_on_wherever_a_kill_cut_its_file_off(algorithm):
    """The suggestions, and what is known of the trials, are as if it had not happened."""
    space = MIXED if algorithm != "exhaustive" else CHOICES
    scores = SCORES[:6]
    unbroken = suggested(algorithm, scores, space)
    journal = Path("study.journal").read_bytes()
    for cut in range(journal.count(b"\n")):
        Path("study.journal").write_bytes(journal)
        kept_lines(Path("study.journal"), cut)
        search = open_study(algorithm, space)
        outcomes = [FAILED if score is None else ended(score) for score in scores]
        assert [(each.parameters, each.outcome) for each in search.finished] == list(zip(unbroken, outcomes))[
            : len(search.finished)
        ]
        for place in range(len(search.finished), len(scores)):
            assert search.next() == (place + 1, unbroken[place])
            search.report(place + 1, outcomes[place])
        assert [each.parameters for each in open_study(algorithm, space).finished] == unbroken


@contextmanager
def files_of_at_most(size):
    """What is written beyond it is refused, as on a full disk."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", range(700, 2900, 300))
def test_a_full_disk_names_the_file_and_the_search_goes_on_once_there_is_room(size):
    unbroken = suggested("random", [0.5, 0.2, 0.4], MIXED)
    Path("study.journal").unlink()
    with files_of_at_most(size), pytest.raises(OSError, match=r"study\.journal") as refused:
        search = open_study("random", MIXED)
        while True:
            number, _ = search.next()
            search.report(number, ended(0.5))
    assert refused.value.errno == errno.EFBIG and Path("study.journal").stat().st_size == size
    search = open_study("random", MIXED)
    known = [each.parameters for each in search.finished]
    assert [*known, *(search.next()[1] for _ in range(3 - len(known)))] == unbroken


def edited(**changes):
    """The journal's last line that has these keys, with other values."""
    lines = Path("study.journal").read_text().splitlines()
    (place,) = [place for place, line in enumerate(lines) if changes.keys() <= json.loads(line).keys()][-1:]
    lines[place] = json.dumps({**json.loads(lines[place]), **changes})
    Path("study.journal").write_text("\n".join(lines) + "\n")


FLOAT = json.dumps({"name": "FloatDistribution", "attributes": {"step": None, "low": 0.0, "high": 9.0, "log": False}})


@pytest.mark.parametrize(
    "changes",
    [
        {"op_code": 99},
        {"op_code": []},
        {"study_name": "another"},
        {"directions": [1]},
        {"directions": [2, 2]},
        {"param_value_internal": 7.0},
        {"param_value_internal": "0.3"},
        {"param_value_internal": None},
        {"param_value_internal": float("nan")},
        {"param_name": "c"},
        {"distribution": FLOAT},
        {"distribution": "[]"},
        {"values": [0.7]},
        {"values": ["x"]},
        {"state": 2},
        {"state": 3},
        {"state": 7},
        {"user_attr": {"4": ended(0.3)}},
        {"user_attr": {"x": ended(0.3)}},
        {"user_attr": {"3": ended(float("inf"))}},
        {"user_attr": {"3": ended("0.3")}},
        {"user_attr": {"3": {**FAILED, "error": "red \x1b[31m"}}},
        {"user_attr": {"3": "ended"}},
        {"user_attr": {"3": {"status": "ended"}}},
        {"datetime_start": "yesterday"},
    ],
    ids=str,
)
def test_a_damaged_study_is_told(changes):
    suggested("bayes", [0.1, 0.2, 0.3], {**CHOICES, "rate": Range("uniform", (0.0, 1.0))})
    edited(**changes)
    before = Path("study.journal").read_bytes()
    with pytest.raises(ConfigError, match=r"study.journal: damaged: .*; remove it to start the search"):
        open_study("bayes", {**CHOICES, "rate": Range("uniform", (0.0, 1.0))})
    assert Path("study.journal").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    ["{}\n", "[1]\n", "1\n{}\n", "[" * 100_000 + "\n", "cos\nsystem\n(S'touch ran'\ntR.", "\x00\n", "1" * 5000 + "\n"],
)
def test_another_file_than_a_study_is_told(content):
    Path("study.journal").write_text(content)
    with pytest.raises(ConfigError, match=r"study.journal: damaged: .*; remove it to start the search"):
        open_study("random")
    assert not Path("ran").exists()


@pytest.mark.parametrize("state", [1, 2, 4])
def test_a_trial_that_lacks_parameters_has_come_to_nothing(state):
    suggested("bayes", [0.1, 0.2], CHOICES)
    lines = Path("study.journal").read_text().splitlines(keepends=True)
    new = next(json.loads(line) for line in lines if "datetime_start" in line)
    Path("study.journal").write_text("".join([*lines, json.dumps({**new, "state": state, "value": 9.0}), "\n"]))
    with pytest.raises(ConfigError, match="lacks parameters"):
        open_study("bayes", CHOICES)


def test_a_link_is_no_study():
    suggested("random", [0.1])
    Path("study.journal").rename("elsewhere")
    Path("study.journal").symlink_to("elsewhere")
    with pytest.raises(ConfigError, match="expected a file"):
        open_study("random")


def test_bayes_learns_from_the_scores():
    space = {"rate": Range("uniform", (0.0, 1.0))}

    def rates(score):
        Path("study.journal").unlink(missing_ok=True)
        search, found = open_study("bayes", space, seed=3), []
        for _ in range(40):
            number, parameters = search.next()
            found.append(parameters["rate"])
            search.report(number, ended(score(found[-1])))
        return found[20:]

    high, low = rates(lambda rate: rate), rates(lambda rate: -rate)
    assert sum(high) / 20 - sum(low) / 20 > 0.2


def test_every_kind_of_range_gives_its_values():
    space = {
        "whole": Range("quniform", (100.0, 400.0, 50.0)),
        "odd": Range("quniform", (0.5, 5.5, 2.0)),  # numbers from 0.5 to 5.5, rounded to multiples of 2
        "half": Range("quniform", (0.0, 0.5, 0.25)),
        "flat": Range("uniform", (-1.0, 1.0)),
        "log": Range("loguniform", (-8.0, -2.0)),
        "listed": Range("choice", ([8], "x", None, 1, True, 1.0)),
    }
    found = pd.DataFrame(suggested("random", [0.1] * 100, space))
    assert set(found["whole"]) == {100, 150, 200, 250, 300, 350, 400}
    assert set(found["odd"]) == {0, 2, 4, 6} and set(found["half"]) == {0.0, 0.25, 0.5}
    assert found["flat"].between(-1, 1).all() and abs(found["flat"].mean()) < 0.2
    logs = np.log(found["log"])
    assert logs.between(-8, -2).all() and abs(logs.mean() + 5) < 0.5
    assert {(type(value), str(value)) for value in found["listed"]} == {
        (type(value), str(value)) for value in space["listed"].values
    }
    for name, parameter in space.items():
        if parameter.kind != "choice":
            low, high = boundary_values(parameter)
            assert low <= found[name].min() and found[name].max() <= high


def test_whole_numbers_stay_whole():
    whole = {"train_batch_size": Range("quniform", (100.0, 400.0, 50.0))}
    assert all(type(each["train_batch_size"]) is int for each in suggested("random", [0.1] * 5, whole))
    from_a_half = {"steps": Range("quniform", (0.5, 5.5, 1.0))}
    assert all(type(each["steps"]) is int for each in suggested("random", [0.1] * 5, from_a_half))
    halves = {"dropout_prob": Range("quniform", (0.0, 0.5, 0.25))}
    assert {each["dropout_prob"] for each in suggested("random", [0.1] * 12, halves)} == {0.0, 0.25, 0.5}


def test_an_exhaustive_search_of_a_continuous_range_is_refused():
    with pytest.raises(ConfigError, match="b is not; take random or bayes"):
        check_can_search("exhaustive", {"a": Range("choice", (1,)), "b": Range("uniform", (0.0, 1.0))})


RECORDS = {5: (0.1, 0.9), 6: (0.3, 0.1), 7: (0.2, 0.5)}  # steps: validation and test score


@pytest.fixture
def planted(monkeypatch):
    """Trials that were run elsewhere: validation and test disagree."""
    tested = []

    def run_one(run, output, *_):
        steps = run.options["steps"]
        assert not run.is_tested
        checkpoint = run.folder(output) / "checkpoint"
        checkpoint.mkdir(parents=True)
        (checkpoint / "best.pth").write_text(str(steps))
        return {"status": "ended", "valid_score": RECORDS[steps][0], "training_seconds": 1.0, "epochs": 1}

    class Loaded:
        def __init__(self, path):
            self.steps = int(path.read_text())

        def test(self, load_best_model):
            tested.append(self.steps)
            return {"ndcg@10": RECORDS[self.steps][1]}

    monkeypatch.setattr(trials_module, "run_one", run_one)
    monkeypatch.setattr(trials_module, "check_is_of", lambda run, path: None)
    monkeypatch.setattr(module, "load_trained", Loaded)
    return tested


def test_validation_decides_and_only_the_chosen_is_tested(tiny, planted):
    lines = []
    path = space_file("steps choice [5, 6, 7]\n")
    chosen_score, test = tune("DiffRec", tiny, Path("out"), path, "exhaustive", options={"epochs": 1}, say=lines.append)
    assert planted == [6] and (chosen_score, test) == (0.3, {"ndcg@10": 0.1})
    chosen = yaml.safe_load(Path("out/best.yaml").read_text())
    assert chosen == {
        "model": "DiffRec",
        "dataset": "tiny",
        "epochs": 1,
        "steps": 6,
        "chosen_by": "tuned: 3 trials, exhaustive search of space.hyper, by validation ndcg@10 on tiny",
    }
    assert len(lines) == 5 and "best 0.3000" in lines[2]
    # One checkpoint is left, the chosen one.
    assert [path.read_text() for path in Path("out").rglob("best.pth")] == ["6"]


def test_what_is_suggested_again_is_not_trained_again(tiny, planted):
    path = space_file("steps choice [5, 6]\n")
    tune("DiffRec", tiny, Path("out"), path, "random", max_evals=6, options={"epochs": 1}, say=lambda _: None)
    table = pd.read_csv("out/trials.csv")
    assert len(table) == 6 and (table["valid_score"] == table["steps"].map({5: 0.1, 6: 0.3})).all()
    assert len(list(Path("out/runs/tiny").iterdir())) == 2
    assert [path.read_text() for path in Path("out").rglob("best.pth")] == ["6"]


def test_a_search_goes_on_where_it_was_interrupted(tiny):
    path = space_file("steps choice [1, 2]\ndims_dnn choice ['[8]']\nlearning_rate choice [1.0e+30, 0.01]\n")

    def search(say):
        return tune("CFGDiffRec", tiny, Path("out"), path, "exhaustive", options={"epochs": 2}, say=say)

    def interrupt(line):
        if line.startswith("[2/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(interrupt)
    done = {path: path.stat().st_mtime_ns for path in Path("out").rglob("record.json")}
    assert len(done) == 2
    score, test = search(lambda line: None)
    assert all(path.stat().st_mtime_ns == before for path, before in done.items())
    trials = pd.read_csv("out/trials.csv")
    assert sorted(trials["status"]) == ["ended", "ended", "failed", "failed"]
    assert trials[trials["status"] == "failed"]["error"].str.contains("training loss is").all()
    assert trials["valid_score"].max() == score
    # The file is a configuration like any other and gives the same score.
    again = run(config_file_list=["out/best.yaml"], config_dict={"show_progress": False, "state": "ERROR"})
    assert again["best_valid_score"] == score
    assert again["test_result"] == pytest.approx(test)
    assert {path.suffix for path in Path("out").glob("trials.*")} == {".csv", ".png", ".pdf"}


def test_a_search_that_is_killed_in_a_trial_goes_on_in_it(tiny):
    space_file("learning_rate loguniform -6,-5\n")
    command = [sys.executable, "-m", "recbole_cfgdiff", "tune", "--model=DiffRec", "--dataset=tiny", "--max_evals=2"]
    command += ["--params_file=space.hyper", "--algo=random", "--output=out", "--epochs=150", "--stopping_step=1000"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    curve = Path("out/runs/tiny/trial-002/2020/curve.csv")
    deadline = time.monotonic() + 300
    while not (curve.is_file() and len(curve.read_text().splitlines()) > 20) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before, begun = pd.read_csv("out/trials.csv"), pd.read_csv(curve)
    subprocess.run(command, capture_output=True, check=True)
    trials = pd.read_csv("out/trials.csv")
    assert list(trials["trial"]) == [1, 2] and trials.iloc[:1].equals(before)
    whole = pd.read_csv(curve)
    assert len(whole) == 150 and whole.iloc[: len(begun) - 2].equals(begun.iloc[:-2])  # seconds, too: not done again
    unbroken = [*command[:-3], "--output=unbroken", *command[-2:]]
    subprocess.run(unbroken, capture_output=True, check=True)
    compared = ["trial", "learning_rate", "status", "valid_score", "epochs"]
    assert pd.read_csv("unbroken/trials.csv")[compared].equals(trials[compared])


def test_a_search_by_what_came_before_optuna_is_another_search(tiny, planted):
    path = space_file("steps choice [5, 6]\n")
    tune("DiffRec", tiny, Path("out"), path, "exhaustive")
    identity = json.loads(Path("out/experiment.json").read_text())
    Path("out/experiment.json").write_text(json.dumps({**identity, "tool": "hyperopt"}))
    with pytest.raises(ConfigError, match="with tool hyperopt instead of optuna; choose another folder"):
        tune("DiffRec", tiny, Path("out"), path, "exhaustive")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_evals=0"], "max_evals: expected at least 1, got 0"),
        (["--algo=grid"], "algo: expected one of"),
        (["--params_file=broken.hyper"], "broken.hyper, line 1: expected"),
        (["--params_file=unknown.hyper"], "did you mean steps?"),
        (["--params_file=foreign.hyper"], "DiffRec does not read reg_weight"),
        (["--params_file=space.hyper", "--steps=3"], "steps is both searched and given"),
        (["--dataset=nowhere"], "nowhere"),
        (["--params_file=late.hyper"], "learning_rate: expected"),
        (["--params_file=latin.hyper"], "can't read latin.hyper as UTF-8"),
        (["--resume=saved/run"], "resume: a search continues by the same command"),
        (["--eval_step=0"], "nothing is validated"),
        (["--eval_args={'split':{'RS':[0.8,0,0.2]}}"], "nothing is validated"),
    ],
)
def test_mistakes_are_told_before_anything_is_run(arguments, message, tiny, capfd):
    space_file("steps choice [1, 2]\n")
    Path("broken.hyper").write_text("steps chooce [1]\n")
    Path("unknown.hyper").write_text("stepz choice [1]\n")
    Path("late.hyper").write_text("learning_rate choice [0.1, 0.01, -1]\n")
    Path("latin.hyper").write_bytes("# Größe\nsteps choice [1]\n".encode("latin-1"))
    Path("foreign.hyper").write_text("reg_weight choice [1]\n")
    base = {"--model": "DiffRec", "--dataset": "tiny", "--params_file": "space.hyper", "--output": "out"}
    given = base | dict(argument.split("=", 1) for argument in arguments)
    assert cli.main(["tune", *(f"{name}={value}" for name, value in given.items())]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize("path", sorted((PROPERTIES / "hyper").glob("*.hyper")), ids=lambda path: path.stem)
def test_the_shipped_spaces_fit_their_models(path, tiny):
    space = read_space(path)
    Config(path.stem, tiny, None, {name: parameter.values[-1] for name, parameter in space.items()})
    source = (PROPERTIES / "hyper" / "README.md").read_text(encoding="utf-8")
    assert f"`{path.name}`" in source


@pytest.mark.parametrize("path", sorted((PROPERTIES / "hyper").glob("*.hyper")), ids=lambda path: path.stem)
def test_recboles_own_reader_reads_the_shipped_spaces(path):
    pytest.importorskip("hyperopt", reason="RecBole's HyperTuning needs it")
    from recbole.trainer.hyper_tuning import HyperTuning

    assert set(HyperTuning._build_space_from_file(path)) == set(read_space(path))


def test_recboles_own_search_calls_our_objective_function(tiny):
    pytest.importorskip("hyperopt", reason="RecBole's HyperTuning needs it")
    from recbole.trainer.hyper_tuning import HyperTuning

    Path("fixed.yaml").write_text("model: DiffRec\ndataset: tiny\nepochs: 1\nstate: ERROR\n")
    path = space_file("steps choice [5, 6]\n")
    search = HyperTuning(objective_function, params_file=path, fixed_config_file_list=["fixed.yaml"])
    search.run()
    assert search.best_params["steps"] in (5, 6) and len(search.params2result) == 2


def test_a_model_without_a_shipped_space_needs_one(tiny):
    with pytest.raises(ConfigError, match="none shipped for BPR, only for CFGDiffRec"):
        tune("BPR", tiny, Path("out"))


@pytest.mark.parametrize("algorithm", ["exhaustive", "random", "bayes"])
def test_listed_lists_stay_lists(algorithm):
    space = {"dims_dnn": Range("choice", ([8], [16])), "a": Range("choice", (1, 2))}
    assert all(type(each["dims_dnn"]) is list for each in suggested(algorithm, [0.1] * 4, space))


def test_too_many_combinations_are_refused():
    with pytest.raises(ConfigError, match="100,000,000 combinations"):
        check_can_search("exhaustive", {str(digit): Range("choice", tuple(range(10))) for digit in range(8)})


def test_the_best_file_names_what_was_searched_not_what_another_file_names(tiny, planted):
    path = space_file("steps choice [5, 6]\n")
    Path("before.yaml").write_text("model: EASE\ndataset: other\nchosen_by: earlier\ndropout_prob: 0.3\n")
    tune("DiffRec", tiny, Path("out"), path, "exhaustive", None, ["before.yaml"])
    best = yaml.safe_load(Path("out/best.yaml").read_text())
    assert (best["model"], best["dataset"], best["steps"], best["dropout_prob"]) == ("DiffRec", "tiny", 6, 0.3)
    assert best["chosen_by"].startswith("tuned: 2 trials")


def test_another_number_of_trials_is_another_search(tiny, planted):
    path = space_file("steps choice [5, 6, 7]\n")
    tune("DiffRec", tiny, Path("out"), path, "exhaustive")
    before = Path("out/trials.csv").read_bytes()
    with pytest.raises(ConfigError, match="with max_evals 3 instead of 1"):
        tune("DiffRec", tiny, Path("out"), path, "exhaustive", max_evals=1)
    assert Path("out/trials.csv").read_bytes() == before and planted == [6]


def test_a_score_that_is_not_finite_is_a_failure(tiny, monkeypatch):
    record = {"status": "ended", "valid_score": float("-inf"), "training_seconds": 1.0, "epochs": 1}
    monkeypatch.setattr(trials_module, "run_one", lambda *_: dict(record))
    with pytest.raises(TrainingError, match="no trial of 2 ended of itself; the first error: nothing was validated"):
        tune("DiffRec", tiny, Path("out"), space_file("steps choice [5, 6]\n"), "exhaustive")
    assert not Path("out/best.yaml").exists()


@pytest.mark.parametrize(("options", "extra"), [(["--algo=random"], "tune"), (["--tool=ray"], "ray")])
def test_what_is_not_installed_is_told_before_anything_is_built(options, extra, monkeypatch, empty_folder, capfd):
    for package in ("optuna", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    arguments = ["tune", "--model=DiffRec", "--dataset=nowhere", "--params_file=none.hyper", *options]
    assert cli.main(arguments) == 2
    error = capfd.readouterr().err
    assert f'pip install "recbole-cfgdiff[{extra}]"' in error and error.count("\n") == 1


def test_the_chosen_weights_are_made_again_if_they_are_damaged(tiny):
    path = space_file("dropout_prob choice [0.1, 0.2]\n")
    lines = []

    def search():
        return tune("DiffRec", tiny, Path("out"), path, "exhaustive", None, (), {"epochs": 1}, say=lines.append)

    before = search()
    assert "1 run of" not in lines[1] and "about" in lines[0] and "left" in lines[0]
    (best,) = Path("out").rglob("best.pth")
    for damage in (lambda: best.write_bytes(best.read_bytes()[:1000]), best.unlink):
        damage()
        lines.clear()
        assert search() == before
        assert len([line for line in lines if "best.pth" in line and "is done again" in line]) == 1
    (record, *_) = Path("out").rglob("record.json")
    record.write_text("{")  # of a trial that is over: what came of it stands in the study
    assert search() == before
