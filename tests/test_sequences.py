"""RecBole's sequential models under the split of the general ones."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from recbole_cfgdiff.commands import cli as command_line
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.runs.prepare import load_data, make_trainer
from recbole_cfgdiff.runs.spec import Variant, make_runs
from recbole_cfgdiff.tuning.tune import plan_search

RANKED = [
    "--eval_args={'split': {'RS': [0.7, 0.2, 0.1]}, 'mode': 'full'}",
    "--metrics=['NDCG']",
    "--valid_metric=NDCG@10",
]
QUIET = {"show_progress": False, "state": "ERROR"}
LEAVE_OUT = {"eval_args": {"split": {"LS": "valid_and_test"}}}


def load(model, dataset, **options):
    config = Config(model, dataset, config_dict={**QUIET, **options})
    return load_data(config)


def split_in_three(dataset):
    """``dataset/given``: the same rows as a data set that comes split."""
    rows = pd.read_csv(f"dataset/{dataset}/{dataset}.inter", sep="\t").sort_values("timestamp:float")
    users = rows.groupby("user_id:token")
    from_last = users["item_id:token"].transform("size") - users.cumcount()
    Path("dataset/given").mkdir()
    for name, least, most in (("train", 5, 100), ("valid", 3, 4), ("test", 1, 2)):
        rows[from_last.between(least, most)].to_csv(f"dataset/given/given.{name}.inter", sep="\t", index=False)
    return "given", {"benchmark_filename": ["train", "valid", "test"]}


@pytest.mark.parametrize("is_given", [False, True])
def test_the_users_targets_and_masks_are_a_general_model_s(is_given, tiny):
    name, options = split_in_three(tiny) if is_given else (tiny, {})
    _, *general = load("EASE", name, **options)
    _, *sequential = load("SASRec", name, **options)
    for ours, theirs in zip(sequential[1:], general[1:]):
        got, wanted = list(ours), list(theirs)
        assert len(got) == len(wanted) == 1
        assert got[0][0]["user_id"].tolist() == wanted[0][0]["user_id"].tolist()
        for mine, other in ((got[0][1], wanted[0][1]), (got[0][2:], wanted[0][2:])):
            pairs = [sorted(zip(u.tolist(), i.tolist())) for u, i in (mine, other)]
            assert pairs[0] == pairs[1]


def test_sequences_are_the_training_rows_before(tiny):
    _, train, _, test = load("SASRec", tiny, MAX_ITEM_LIST_LENGTH=5)
    _, general, _, _ = load("ForwardCFGDiffRec", tiny)
    model = make_trainer(Config("ForwardCFGDiffRec", tiny, config_dict=QUIET), general).model
    items_of = [
        model.histories.items[start:end].tolist()
        for start, end in zip(model.histories.offsets[:-1], model.histories.offsets[1:])
    ]
    (users, _, _, _), *_ = list(test)
    for user, sequence, length in zip(*(users[name].tolist() for name in ("user_id", "item_id_list", "item_length"))):
        assert sequence[:length] == items_of[user][-5:] and not any(sequence[length:])
    seen = set()
    for batch in train:
        names = ("user_id", "item_id", "item_id_list", "item_length")
        for user, target, sequence, length in zip(*(batch[name].tolist() for name in names)):
            place = items_of[user].index(target)
            assert sequence[:length] == items_of[user][:place][-5:] and not any(sequence[length:])
            seen.add((user, target))
    assert seen == {(user, item) for user, items in enumerate(items_of) for item in items[1:]}


@pytest.mark.parametrize("is_given", [False, True])
def test_sequential_models_stand_beside_general_ones(is_given, tiny):
    name, options = split_in_three(tiny) if is_given else (tiny, {})
    small = ["--hidden_size=8", "--inner_size=8", "--epochs=2", "--seeds=1", "--train_batch_size=256", "--state=ERROR"]
    small += [f"--{key}={value}" for key, value in options.items()]
    assert (
        command_line.main(["compare", "--models=SASRec,GRU4Rec,Pop", f"--dataset={name}", "--output=out", *small]) == 0
    )
    results = pd.read_csv("out/results.csv")
    assert set(results["model"]) == {"SASRec", "GRU4Rec", "Pop"} and (results["status"] == "ended").all()
    assert (results["ndcg@10"] > 0).all()


def test_a_split_for_sequences_only_is_left_to_recbole(tiny):
    _, _, valid, _ = load("SASRec", tiny, **LEAVE_OUT)
    assert valid.is_sequential
    with pytest.raises(ConfigError, match="on other rows"):
        make_runs([Variant("SASRec", "SASRec", LEAVE_OUT)], [tiny], 1)


def test_a_search_has_the_split_of_the_comparison(tiny):
    Path("space.hyper").write_text("learning_rate choice [0.001]\n")
    searched = plan_search("SASRec", tiny, Path("space.hyper")).config
    (compared,) = make_runs([Variant("SASRec", "SASRec", {})], [tiny], 1)
    general = Config("EASE", tiny).options["eval_args"]
    assert searched.options["eval_args"] == compared.options["eval_args"] == general


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "CORE", "FPMC"])
def test_users_without_training_rows_are_scored_and_other_models_work(model, tiny):
    name, options = split_in_three(tiny)
    rows = pd.read_csv("dataset/given/given.train.inter", sep="\t")
    rows[rows["user_id:token"] != "u3"].to_csv("dataset/given/given.train.inter", sep="\t", index=False)
    negatives = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    if model != "FPMC":
        negatives = {"train_neg_sample_args": None}
    result = run(model, name, None, {**QUIET, **options, **negatives, "epochs": 1})
    assert 0 < result["test_result"]["ndcg@10"] < 1


def test_negative_items_are_drawn_as_asked(tiny):
    args = {"distribution": "popularity", "sample_num": 1, "alpha": 2.0}
    _, train, _, _ = load("SASRec", tiny, loss_type="BPR", train_neg_sample_args=args)
    assert train._sampler.distribution == "popularity" and train._sampler.alpha == 2.0
    assert (next(iter(train))["neg_item_id"] > 0).all()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--model=SASRec", "--eval_args={'mode': 'uni20'}"], "only full ranking"),
        (["--model=DIEN", *RANKED], "training rows of its own"),
        (
            [
                "--model=SASRec",
                "--eval_args={'order': 'RO'}",
                "--load_col={'inter': ['user_id', 'item_id']}",
            ],
            "orders a sequence",
        ),
    ],
)
def test_mistakes_are_told(options, part, tiny, cli):
    outcome = cli("--dataset=tiny", "--state=ERROR", *options)
    assert outcome.status == 2 and part in outcome.err and "Traceback" not in outcome.err, outcome.err


def test_a_user_is_ranked_for_once(tiny):
    _, train, _, test = load("SASRec", tiny)
    model = make_trainer(Config("SASRec", tiny, config_dict=QUIET), train).model.eval()
    (users, _, _, _), *_ = list(test)
    scores = model.full_sort_predict(users.to(model.device))
    assert len(users["user_id"].unique()) == len(users)
    assert scores.shape == (len(users), model.n_items) and torch.isfinite(scores).all()
