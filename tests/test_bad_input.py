"""A user's mistakes: one clear line, exit status 2, and no training."""

from pathlib import Path

import pytest

from conftest import write_inter
from recbole_cfgdiff.trainer import CheckpointTrainer


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("training started")

    monkeypatch.setattr(CheckpointTrainer, "fit", fit)


def fails_with(outcome, *parts):
    assert outcome.status == 2
    lines = outcome.err.strip().splitlines()
    assert lines[-1].startswith("error: ") and "Traceback" not in outcome.err
    for part in parts:
        assert part in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--model=CFGDifRec", "--dataset=tiny"], ["unknown model CFGDifRec; nearest: CFGDiffRec"]),
        (["--model=DiffRec", "--dataset=ml-1mm"], ["unknown dataset ml-1mm", "dataset/ml-1mm/ml-1mm.inter", "ml-1m"]),
        (["--model=DiffRec", "--dataset=tinny"], ["unknown dataset tinny", "nearest: tiny"]),
        (["--model=CFGDifRec"], ["unknown model CFGDifRec; nearest: CFGDiffRec"]),
        (["--model=DiffRec"], ["dataset: none given; add --dataset=NAME"]),
        (["--dataset=tiny"], ["model: none given; add --model=NAME"]),
        (["--guidance_scael=2"], ["unknown option guidance_scael (did you mean guidance_scale?)"]),
        (["--modle=DiffRec", "--dataset=tiny"], ["model: none given", "is --modle meant for it?"]),
        (["steps=3"], ["expected --key=value, got steps=3"]),
        (["--steps", "3"], ["expected --key=value, got --steps; write --steps=VALUE"]),
        (["--steps=3", "--steps=4"], ["--steps is given twice: 3 and 4"]),
        (["--config_files=none.yaml"], ["config_files: there is no file none.yaml"]),
        (["--p_uncond=1.2"], ["p_uncond: expected a finite number in [0, 1], got 1.2"]),
        (["--p_uncond=half"], ["p_uncond: expected a finite number in [0, 1], got 'half'"]),
        (["--guidance_scale=nan"], ["guidance_scale: expected a finite number, got 'nan'"]),
        (["--guidance_encoder=attention"], ["guidance_encoder: expected one of raw, embedding, got 'attention'"]),
        (["--guidance_embedding_size=0"], ["guidance_embedding_size: expected an integer of at least 1, got 0"]),
        (["--steps=0"], ["steps: expected an integer of at least 1, got 0"]),
        (["--steps=2.5"], ["steps: expected an integer of at least 1, got 2.5"]),
        (["--sampling_steps=6"], ["sampling_steps: expected at most steps (5), got 6"]),
        (["--noise_scale=500"], ["betas out of range: beta is 1.375 at step 2"]),
        (["--noise_scale=1e999"], ["noise_scale: expected a finite number of at least 0, got inf"]),
        (["--noise_max=nan"], ["noise_max: expected a finite number of at least 0, got 'nan'"]),
        (["--noise_schedule=sqrt"], ["noise_schedule: expected one of linear, linear-var, cosine, binomial"]),
        (["--mean_type=x1"], ["mean_type: expected one of x0, eps, got 'x1'"]),
        (["--dims_dnn=300"], ["dims_dnn: expected a non-empty list of positive integers"]),
        (["--mlp_act_func=gelu"], ["mlp_act_func: expected one of tanh"]),
        (["--dropout_prob=-0.1"], ["dropout_prob: expected a finite number in [0, 1], got -0.1"]),
        (["--input_scale=0"], ["input_scale: expected auto or a positive number, got 0"]),
        (["--output_scale=high"], ["output_scale: expected auto or a positive number, got 'high'"]),
        (["--output_scale=0"], ["output_scale: expected auto or a positive number, got 0"]),
        (["--output_scale=0.1", "--mean_type=eps"], ["output_scale: expected 1 with mean_type eps", "got 0.1"]),
        (["--reweight=1"], ["reweight: expected True or False, got 1"]),
        (["--learning_rate=-1"], ["learning_rate: expected a finite number of at least 0, got -1"]),
        (["--epochs=abc"], ["epochs: expected an integer of at least 0, got 'abc'"]),
        (["--seed=-1"], ["seed: expected an integer of at least 0, got -1"]),
        (["--seed=4294967296"], ["seed: expected an integer below 2^32"]),
        (["--eval_step=abc"], ["eval_step: expected an integer, got 'abc'"]),
        (["--train_batch_size=0"], ["train_batch_size: expected an integer of at least 1, got 0"]),
        (["--state=LOUD"], ["state: expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'LOUD'"]),
        (["--clip_grad_norm=5"], ["clip_grad_norm: expected such as {'max_norm': 5, 'norm_type': 2}, got 5"]),
        (["--topk=0"], ["topk: expected positive integers, such as [5, 10], got 0"]),
        (["--topk=[10, 1000]"], ["topk: 1000 is more than the 40 items there are"]),
        (["--topk=5"], ["such as Recall@5, the default NDCG@10 is none of them"]),
        (["--metrics=[]"], ["metrics: expected a list of names, such as ['Recall', 'NDCG'], got []"]),
        (["--eval_args=5"], ["eval_args: expected such as {'order': 'TO', 'mode': 'full'}, got 5"]),
        (["--eval_args={'mode': 'uni-5'}"], ["eval_args: mode: expected full, labeled, uniN or popN", "'uni-5'"]),
        (["--eval_args={'group_by': 5}"], ["eval_args: group_by: expected one of user, none, None, got 5"]),
        (["--eval_args={'split': {'RS': [0.8, 0.2]}}"], ["split: RS: expected three ratios", "[0.8, 0.2]"]),
        (["--eval_args={'split': {'XX': 1}}"], ["split: expected such as {'RS': [0.7, 0.2, 0.1]}, got {'XX': 1}"]),
        (["--benchmark_filename=['train']"], ["benchmark_filename: expected the names of three parts"]),
        (["--load_col={'user': ['user_id']}"], ["load_col: expected columns user_id, item_id of inter"]),
        (["--unload_col={'inter': ['item_id']}"], ["load_col, unload_col: expected user_id, item_id of", "tiny.inter"]),
        (["--unload_col=abc"], ["unload_col: expected such as {'inter': ['rating']}, got 'abc'"]),
        (["--enable_amp=1"], ["enable_amp: expected True or False, got 1"]),
        (["--USER_ID_FIELD=1"], ["USER_ID_FIELD: expected the name of a column, got 1"]),
        (["--TIME_FIELD=[]"], ["TIME_FIELD: expected the name of a column, got []"]),
        (["--run_name=../x"], ["run_name: expected the name of a folder below checkpoint_dir, got '../x'"]),
        (["--run_name=.."], ["run_name: expected the name of a folder", "got '..'"]),
        (["--heldout_users=0.999"], ["heldout_users: a share of 0.999 of 60 users leaves none to train on"]),
        (["--encoding=-1"], ["encoding: expected the name of an encoding, such as utf-8, got -1"]),
        (["--encoding=foo"], ["encoding: unknown encoding: foo"]),
        (["--field_separator="], ["field_separator: expected one or more characters, got ''"]),
        (["--full_sort_eval_batch_size=abc"], ["full_sort_eval_batch_size: expected an integer of at least 1"]),
        (["--val_interval=5"], ["val_interval: expected such as {'rating': '[4,inf)'}, got 5"]),
        (["--model=DiffRec", "--dataset=../tiny"], ["dataset: expected the name of a folder below data_path"]),
        (["--log_wandb=True"], ["log_wandb: the package wandb is missing: pip install wandb"]),
        (["--metrics=['NDCGG']"], ["metrics: there is no metric NDCGG (did you mean NDCG?)"]),
        (["--metrics=['NDCG', 'Accuracy']"], ["metrics: there is no metric Accuracy; there are AUC, "]),
        (
            ["--eval_args={'split': {'RS': [0.7, 0.2, 0.1]}, 'order': 'XO'}"],
            ["eval_args: order: expected one of TO, RO"],
        ),
        (["--val_interval={'timestamp': '[9e9,inf)'}"], ["data set tiny", "check the filtering settings"]),
        (["--user_inter_num_interval=[1000,inf)"], ["data set tiny", "check the filtering settings"]),
        (["--TIME_FIELD=when"], ["data set tiny: no column 'when' to order by is loaded"]),
        (["--resume=nowhere"], ["checkpoint nowhere: there is no such file"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("-") else "",
)
def test_one_clear_line_and_exit_2(arguments, parts, tiny, cli):
    named = any(argument.startswith(("--model", "--dataset")) for argument in arguments)
    fails_with(cli(*([] if named else ["--model=CFGDiffRec", f"--dataset={tiny}"]), *arguments), *parts)


HEADER = "user_id:token\titem_id:token\ttimestamp:float"


@pytest.mark.parametrize(
    ("header", "rows", "parts"),
    [
        (HEADER, [("u", "i", 1), ("u", "j")], ["bad.inter, line 3: expected 3 fields, found 2"]),
        (HEADER, [("u", "i", 1, 9)], ["bad.inter, line 2: expected 3 fields, found 4"]),
        (HEADER, [("u", "i", "noon")], ["bad.inter, line 2: expected a number for timestamp, found 'noon'"]),
        (HEADER, [("u", "i", "inf")], ["bad.inter, line 2: expected a number for timestamp, found 'inf'"]),
        (HEADER, [("", "i", 1)], ["bad.inter, line 2: expected an id for user_id, found nothing"]),
        (HEADER, [("u", "NA", 1)], ["line 2: expected an id for item_id, found 'NA', which RecBole takes for none"]),
        (HEADER, [("u", "i", "")], ["bad.inter, line 2: expected a number for timestamp, found ''"]),
        (HEADER.replace("float", "token"), [("u", "i", 1)], ["the times to order by must be numbers", "of type token"]),
        ("\ufeff" + HEADER, [("u", "i", 1)], ["bad.inter, line 1", "byte order mark (encoding: utf-8-sig reads it)"]),
        ("user_id item_id", [("u", "i")], ["bad.inter, line 1: expected name:type"]),
        ("user_id:token\tname:token", [("u", "i")], ["bad.inter, line 1: expected a column item_id:token"]),
        ("user_id:token\titem_id:token", [("u", "i")], ["data set bad: no column 'timestamp' to order by is loaded"]),
        (HEADER, [], ["bad.inter: expected rows below the header, found none"]),
        (HEADER, [("u", "i", 1), ("v", "j", 2)], ["data set bad: the validation part of the split", "is empty"]),
    ],
    ids=str,
)
def test_a_malformed_file_is_named_with_its_line(header, rows, parts, empty_folder, cli):
    write_inter(empty_folder / "dataset", "bad", rows, header)
    fails_with(cli("--model=CFGDiffRec", "--dataset=bad"), *parts)


def test_features_without_their_ids_are_refused(tiny, cli):
    Path("dataset/tiny/tiny.item").write_text("item_id:token\tprice:float\ni1\t2\n")
    columns = "{'inter': ['user_id', 'item_id', 'timestamp'], 'item': ['price']}"
    fails_with(cli("--model=DiffRec", "--dataset=tiny", f"--load_col={columns}"), "expected item_id of", "tiny.item")


def test_an_unknown_data_set_is_told_before_the_log_begins(tiny, cli):
    fails_with(cli("--model=DiffRec", "--dataset=tinny"), "unknown dataset tinny")
    assert not Path("log").exists()


def test_a_missing_file_is_named(empty_folder, cli):
    (empty_folder / "dataset" / "empty").mkdir(parents=True)
    fails_with(cli("--model=CFGDiffRec", "--dataset=empty"), "expected the file dataset/empty/empty.inter")


def test_text_in_another_encoding_is_named(empty_folder, cli):
    write_inter(empty_folder / "dataset", "latin", [("u", "i", 1)])
    path = empty_folder / "dataset" / "latin" / "latin.inter"
    path.write_bytes(path.read_bytes() + "Zoë\ti\t2\n".encode("latin-1"))
    fails_with(cli("--model=CFGDiffRec", "--dataset=latin"), "latin.inter, line 3: not utf-8 text")


def test_recency_weights_need_times(empty_folder, cli):
    rows = [(f"u{user}", f"i{item}") for user in range(5) for item in range(user, user + 20)]
    write_inter(empty_folder / "dataset", "timeless", rows, "user_id:token\titem_id:token")
    order = "--eval_args={'order': 'RO', 'split': {'RS': [0.7, 0.2, 0.1]}}"
    outcome = cli("--model=DiffRec", "--dataset=timeless", order, "--time-aware=True")
    fails_with(outcome, "time-aware: the data set timeless has no column 'timestamp'")


def test_no_ratings_to_filter_by_is_named(empty_folder, cli):
    write_inter(empty_folder / "dataset", "ml-1m", [("u", "i", 1)])
    fails_with(cli("--model=CFGDiffRec", "--dataset=ml-1m"), "data set ml-1m", "rating")
