"""What models are told of a user at test time, and the protocols that say so."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from test_sequences import split_in_three

from recbole_cfgdiff.commands import cli as command_line
from recbole_cfgdiff.data.history_at_test import TRAIN_AND_VALID
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.collector import collect_guidance_scales
from recbole_cfgdiff.evaluation.reading import given_histories
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data, make_trainer

QUIET = {"show_progress": False, "state": "ERROR", "metrics": ["NDCG"], "valid_metric": "NDCG@10", "topk": [10]}
LEAVE_ONE_OUT = "properties/protocol/leave_one_out.yaml"
RANDOM = {"eval_args": {"split": {"RS": [0.7, 0.2, 0.1]}, "order": "RO", "mode": "full"}}


def load(model, dataset, files=(), **options):
    config = Config(model, dataset, list(files), config_dict={**QUIET, **options})
    _, train, valid, test = load_data(config)
    return make_trainer(config, train), train, valid, test


def items_in_time_order(dataset, parts):
    """By user: the items of these loaders' rows, by the times of the file, as ids of the loaders."""
    times = pd.read_csv(f"dataset/{dataset}/{dataset}.inter", sep="\t").set_index(["user_id:token", "item_id:token"])
    found = {}
    for part in parts:
        data = part._dataset
        for user, item in zip(data.inter_feat["user_id"].tolist(), data.inter_feat["item_id"].tolist()):
            tokens = data.id2token("user_id", user), data.id2token("item_id", item)
            found.setdefault(user, []).append((times.loc[tokens, "timestamp:float"], item))
    return {user: [item for _, item in sorted(rows)] for user, rows in found.items()}


def of_user(histories, user):
    return histories.items[histories.offsets[user] : histories.offsets[user + 1]].tolist()


@pytest.mark.parametrize("options", [{}, RANDOM, {"eval_args": {"split": {"LS": "valid_and_test"}}}])
def test_histories_at_test_are_the_training_and_validation_rows_in_time_order(options, tiny):
    trainer, train, valid, test = load("CFGDiffRec", tiny, **options, history_at_test=TRAIN_AND_VALID)
    expected = items_in_time_order(tiny, [train, valid])
    assert {user: of_user(test.histories, user) for user in expected} == expected
    assert not hasattr(valid, "histories")
    assert {user: of_user(trainer.model.histories, user) for user in expected} == items_in_time_order(tiny, [train])


def test_of_a_given_split_the_validation_rows_come_last(tiny):
    name, options = split_in_three(tiny)
    _, train, valid, test = load("CFGDiffRec", name, **options, history_at_test=TRAIN_AND_VALID)
    expected = items_in_time_order(tiny, [train, valid])
    assert {user: of_user(test.histories, user) for user in expected} == expected


def multi_hot(histories):
    return histories.select(torch.arange(len(histories.counts()))).dense()


# What a model's scores of everybody are, by the histories that it is to be told.
EXPECTED = {
    "DiffRec": lambda model, histories: model.score(multi_hot(histories)),
    "CFGDiffRec": lambda model, histories: model.score(multi_hot(histories)),
    "EASE": lambda model, histories: torch.from_numpy(multi_hot(histories).numpy() @ model.item_similarity),
    "ItemKNN": lambda model, histories: torch.from_numpy(multi_hot(histories).numpy() @ model.w.toarray()),
    "MultiVAE": lambda model, histories: model.forward(multi_hot(histories))[0],
}


@pytest.mark.parametrize("model", EXPECTED)
def test_models_that_read_histories_are_told_the_validation_rows_at_test_time_only(model, tiny):
    trainer, _, valid, test = load(model, tiny, [LEAVE_ONE_OUT])
    trainer.model.eval()
    seen = {}
    for name, loader in (("valid", valid), ("test", test)):
        with given_histories(trainer.model, loader):
            (batch, *_), *_ = list(loader)
            seen[name] = trainer.model.full_sort_predict(batch).reshape(len(batch), -1)
    with torch.no_grad():
        expected = EXPECTED[model](trainer.model, test.histories)[batch["user_id"]]
    torch.testing.assert_close(torch.as_tensor(seen["test"]), expected.float(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(torch.as_tensor(seen["valid"]), expected.float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", ["CFGDiffRec", "ForwardCFGDiffRec"])
def test_a_sweep_is_told_what_an_evaluation_is(model, tiny):
    trainer, train, _, test = load(model, tiny, [LEAVE_ONE_OUT])
    trainer.eval_collector.data_collect(train)
    metrics = trainer.evaluate(test, load_best_model=False)
    scale = trainer.model.guidance_scale
    (collector,) = collect_guidance_scales(trainer, test, [scale]).values()
    assert trainer.evaluator.evaluate(collector.get_data_struct()) == metrics


def test_sequences_at_test_end_with_the_validation_row(tiny):
    _, _, valid, test = load("SASRec", tiny, [LEAVE_ONE_OUT], train_neg_sample_args=None)
    _, general, *_ = load("EASE", tiny, [LEAVE_ONE_OUT])
    of_training, of_both = (items_in_time_order(tiny, parts) for parts in ([general], [general, valid]))
    for loader, expected in ((valid, of_training), (test, of_both)):
        (batch, *_), *_ = list(loader)
        for user, sequence, length in zip(
            *(batch[name].tolist() for name in ("user_id", "item_id_list", "item_length"))
        ):
            assert sequence[:length] == expected[user]


@pytest.mark.parametrize("protocol", ["leave_one_out", "global_time"])
def test_sequential_models_and_ours_stand_side_by_side_and_the_table_tells_what_they_are_told(protocol, tiny, capfd):
    arguments = ["--models=SASRec,CFGDiffRec,EASE,BPR", f"--dataset={tiny}", "--seeds=1", "--epochs=2", "--output=out"]
    arguments += [f"--config_files=properties/protocol/{protocol}.yaml", "--state=ERROR", "--hidden_size=8"]
    assert command_line.main(["compare", *arguments]) == 0
    results = pd.read_csv("out/results.csv").set_index("model")
    assert (results["status"] == "ended").all()
    told = "training and validation rows"
    assert results["history_at_test"].to_dict() == {"SASRec": told, "CFGDiffRec": told, "EASE": told, "BPR": "no rows"}
    page = Path("out/report.html").read_text()
    assert "read the validation rows at test time" in page and "not so BPR (no rows)" in page
    assert "read the validation rows at test time" in capfd.readouterr().out


def test_held_out_users_keep_their_validation_rows_to_be_found(tiny):
    with pytest.raises(ConfigError, match="history_at_test: held-out users"):
        load("CFGDiffRec", tiny, ["properties/protocol/heldout_users.yaml"], history_at_test=TRAIN_AND_VALID)
