"""``fit=all``: a model of every row, like a run that was validated."""

import json
import re
from pathlib import Path

import pytest
import torch

from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.quick_start import load_data_and_model, objective_function, run
from tests.conftest import write_inter

SHORT = ("--show_progress=False", "--state=ERROR")
QUIET = {"show_progress": False, "state": "ERROR"}
MODELS = ["CFGDiffRec", "ForwardCFGDiffRec", "SASRec", "LightGCN", "EASE", "Pop"]


def run_folder(outcome):
    return Path(re.search(r"run folder: (.+)", outcome.out).group(1))


def rows_of(dataset):
    users, items = (dataset.inter_feat[field].tolist() for field in (dataset.uid_field, dataset.iid_field))
    tokens = dataset.id2token(dataset.uid_field, users), dataset.id2token(dataset.iid_field, items)
    return sorted(zip(*map(list, tokens)))


def all_rows(path="dataset/tiny/tiny.inter"):
    return sorted(tuple(line.split("\t")[:2]) for line in Path(path).read_text().splitlines()[1:])


@pytest.mark.parametrize("model", MODELS)
def test_a_run_like_a_validated_one_trains_on_every_row_as_long_as_that_was_best(model, tiny, cli):
    before = run(model, tiny, config_dict={"epochs": 4, "train_batch_size": 32, **QUIET})
    best = checkpoint.load(Path(before["run_dir"]) / "best.pth")
    outcome = cli("--fit=all", f"--like={before['run_dir']}", *SHORT)
    assert outcome.status == 0, outcome.err
    assert "nothing was validated or tested" in outcome.out
    folder = run_folder(outcome)
    assert str(folder) != before["run_dir"]
    result = json.loads((folder / "result.json").read_text())
    told = {name: result[name] for name in ("model", "fit", "like", "epochs", "best_valid_result", "test_result")}
    expected = {"model": model, "fit": "all", "like": before["run_dir"], "epochs": best["epoch"] + 1}
    assert told == expected | {"best_valid_result": None, "test_result": None}

    config, _, _, train_data, valid_data, test_data = load_data_and_model(folder)
    assert (config["fit"], config["train_batch_size"]) == ("all", 32)
    assert checkpoint.load(folder / "best.pth")["epoch"] == best["epoch"]
    assert len(valid_data) == len(test_data) == 0
    if model == "SASRec":  # a row each but the first of a user
        assert len(train_data._dataset) == len(all_rows()) - 60
    else:
        assert rows_of(train_data._dataset) == all_rows()


def test_the_chosen_guidance_scale_is_taken_over_and_options_beside_override(tiny, cli):
    given = {"epochs": 1, "guidance_scales": [0.0, 3.0], "guidance_scale": 1.5, **QUIET}
    before = run("CFGDiffRec", tiny, config_dict=given)
    chosen = before["guidance_scale"]
    outcome = cli("--fit=all", f"--like={before['run_dir']}", "--epochs=3", "--seed=7", *SHORT)
    config, model, *_ = load_data_and_model(run_folder(outcome))
    assert (model.guidance_scale, config["guidance_scale"], config["guidance_scales"]) == (chosen, chosen, None)
    assert (config["epochs"], config["seed"]) == (3, 7)


def test_without_a_run_to_be_like_the_epochs_are_given(tiny, cli):
    outcome = cli("--model=DiffRec", f"--dataset={tiny}", "--fit=all", *SHORT)
    assert outcome.status == 2 and "epochs: with fit=all no validation ends the training; give --like" in outcome.err
    assert cli("--model=DiffRec", f"--dataset={tiny}", "--fit=all", "--epochs=2", *SHORT).status == 0
    assert cli("--model=EASE", f"--dataset={tiny}", "--fit=all", *SHORT).status == 0


def test_an_interrupted_fit_goes_on_to_the_same_weights(tiny, cli):
    fit = ("--model=ForwardCFGDiffRec", f"--dataset={tiny}", "--fit=all", *SHORT)
    longer, shorter = (run_folder(cli(*fit, f"--epochs={epochs}")) for epochs in (4, 2))
    assert cli(f"--resume={shorter}", "--epochs=4", *SHORT).status == 0
    ours, others = (checkpoint.load(folder / "best.pth")["state_dict"] for folder in (longer, shorter))
    assert all(torch.equal(ours[name], others[name]) for name in ours)
    outcome = cli(f"--resume={shorter}", "--fit=None", "--epochs=5", *SHORT)
    assert outcome.status == 2 and "fit: " in outcome.err


@pytest.mark.parametrize(
    "options",
    [
        {"eval_args": {"split": {"LS": "valid_and_test"}}},
        {"eval_args": {"split": {"TS": [0.7, 0.2, 0.1]}}},
        {"eval_args": {"order": "RO", "mode": "uni10"}, "metrics": ["Recall"], "topk": [5], "valid_metric": "Recall@5"},
        {"heldout_users": 0.2},
    ],
    ids=str,
)
def test_the_rows_are_all_of_them_whatever_the_split_was(options, tiny):
    before = run("DiffRec", tiny, config_dict={"epochs": 1, **options, **QUIET})
    result = run(config_dict={"fit": "all", "like": before["run_dir"], **QUIET})
    assert rows_of(load_data_and_model(result["run_dir"])[3]._dataset) == all_rows()


def test_recboles_own_split_of_sequences_trains_on_every_sequence(tiny):
    given = {"epochs": 1, "eval_args": {"split": {"LS": "valid_and_test"}}, **QUIET}
    before = run("SASRec", tiny, config_dict={"train_neg_sample_args": None, **given})
    result = run(config_dict={"fit": "all", "like": before["run_dir"], **QUIET})
    assert len(load_data_and_model(result["run_dir"])[3]._dataset) == len(all_rows()) - 60


def test_files_of_a_given_split_are_trained_on_together_in_time_order(empty_folder):
    for place, part in enumerate(("train", "valid", "test")):  # times apart by less than float32 can tell
        rows = [
            (f"u{user}", f"i{(user + 3 * row + place) % 12}", 1_400_000_000 + 3 * row + (2 - place))
            for user in range(8)
            for row in range(3)
        ]
        write_inter(empty_folder / "dataset", "given", rows)
        Path("dataset/given/given.inter").rename(f"dataset/given/given.{part}.inter")
    options = {"benchmark_filename": ["train", "valid", "test"], "topk": [5], "valid_metric": "NDCG@5", "epochs": 1}
    before = run("DiffRec", "given", config_dict={**options, **QUIET})
    result = run(config_dict={"fit": "all", "like": before["run_dir"], **QUIET})
    _, model, dataset, train_data, *_ = load_data_and_model(result["run_dir"])
    assert len(train_data._dataset) == 72
    items = model.histories.select(torch.tensor(dataset.token2id("user_id", ["u0"]))).items
    # A row each of the test, validation and training file, in turn.
    assert (
        dataset.id2token("item_id", items.tolist()).tolist()
        == [f"i{(3 * row + place) % 12}" for row in range(3) for place in (2, 1, 0)][: len(items)]
    )


def test_noise_that_was_let_in_is_kept(empty_folder):
    rows = [(f"u{user}", f"i{(user + row) % 20}", 1 + row % 5, row) for user in range(10) for row in range(16)]
    write_inter(empty_folder / "dataset", "rated", rows, "user_id:token\titem_id:token\trating:float\ttimestamp:float")
    given = {"noise_threshold": 4.0, "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}}
    before = run("DiffRec", "rated", config_dict={**given, "topk": [5], "valid_metric": "NDCG@5", "epochs": 1, **QUIET})
    loaders = load_data_and_model(before["run_dir"])[3:]
    result = run(config_dict={"fit": "all", "like": before["run_dir"], **QUIET})
    everything = rows_of(load_data_and_model(result["run_dir"])[3]._dataset)
    assert everything == sorted(row for loader in loaders for row in rows_of(loader._dataset))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--model=EASE", "--dataset=tiny", "--fit=some"), "fit: expected one of None, all, got 'some'"),
        (("--like=saved/r",), "like: it would do nothing: give --fit=all with it"),
        (("--fit=all", "--like=saved/r", "--valid_metric=Recall@5"), "valid_metric: it would do nothing: fit=all"),
        (("--fit=all", "--like=saved/r", "--heldout_users=0.2"), "heldout_users: it would do nothing: fit=all"),
        (("--fit=all", "--like=saved/r", "--eval_args={'split': {'RS': [8,1,1]}}"), "eval_args: it would do nothing"),
        (("--fit=all", "--like=saved/r", "--guidance_scales=[0,2]"), "guidance_scales: a choice by validation needs"),
        (("--fit=all", "--like=saved/r", "--model=DiffRec"), "model: saved/r is a run of CFGDiffRec, not of DiffRec"),
        (("--fit=all", "--like=saved/r", "--config_files=a.yaml"), "config_files: the options are those of saved/r"),
        (("--fit=all", "--like=saved/none"), "saved/none"),
        (("--resume=saved/r", "--like=saved/r"), "like: "),
        (("--resume=saved/r", "--fit=all"), "fit: saved/r was trained and validated with None"),
    ],
    ids=str,
)
def test_mistakes_are_told_in_one_line(options, told, tiny, cli):
    run("CFGDiffRec", tiny, config_dict={"epochs": 1, "run_name": "r", **QUIET})
    outcome = cli(*options, *SHORT)
    assert outcome.status == 2 and told in outcome.err and len(outcome.err.splitlines()) == 1, outcome.err
    assert [path.name for path in Path("saved").iterdir()] == ["r"]


def test_a_run_of_an_experiment_is_one_to_be_like(tiny, cli):
    output = Path("results")
    assert main(["compare", "--models=EASE", f"--dataset={tiny}", "--seeds=1", f"--output={output}"]) == 0
    (run_of_it,) = output.glob("runs/tiny/EASE/*")
    assert cli("--fit=all", f"--like={run_of_it}", *SHORT).status == 0
    assert len(list(Path("saved").glob("EASE-tiny-*/result.json"))) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "--models=EASE", "--fit=all"),
        ("compare", "--models=EASE", "--like=saved/r"),
        ("compare", "--models=BPR", "--init_from=saved/r"),
        ("tune", "--model=EASE", "--algo=exhaustive", "--fit=all"),
    ],
    ids=" ".join,
)
def test_commands_that_compare_refuse_it(command, tiny, capfd):
    assert main([*command, f"--dataset={tiny}", "--output=x"]) == 2
    assert f"{command[-1][2:].split('=')[0]}: it is for the command run" in capfd.readouterr().err
    assert not list(Path().glob("x/*/*"))


def test_a_sweep_needs_rows_to_measure_by(tiny, capfd):
    folder = run("CFGDiffRec", tiny, config_dict={"fit": "all", "epochs": 1, **QUIET})["run_dir"]
    assert main(["sweep", f"--checkpoint={folder}"]) == 2
    assert "it was trained on all rows, and none is left to measure by" in capfd.readouterr().err


def test_what_compares_by_metrics_refuses_it(tiny):
    with pytest.raises(ConfigError, match="fit: it is for the command run"):
        objective_function({"model": "EASE", "dataset": tiny, "fit": "all", **QUIET})


@pytest.mark.parametrize("line", ["fit: all", "like: saved/r"])
def test_a_data_folder_may_not_ask_for_it(line, tiny, cli):
    Path("dataset/tiny/tiny.yaml").write_text(line + "\n")
    outcome = cli("--model=EASE", f"--dataset={tiny}", *SHORT)
    assert outcome.status == 2 and f"refused, it sets {line.split(':')[0]}" in outcome.err


def test_what_a_checkpoint_says_it_is_like_is_not_opened(tiny):
    result = run("EASE", tiny, config_dict={"fit": "all", **QUIET})
    path = Path(result["run_dir"]) / "best.pth"
    state = checkpoint.load(path)
    state["options"]["like"] = "/nowhere/at/all"
    checkpoint.save(state, path)
    assert load_data_and_model(path)[0]["like"] == "/nowhere/at/all"
