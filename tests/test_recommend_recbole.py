"""Lists by RecBole's own models: RecBole's own ranking of known users, and new ones where a history is all it takes."""

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_cfgdiff.data.histories import histories_of
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.quick_start import load_data_and_model, run
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.onnx_export import write_onnx
from recbole_cfgdiff.recommender.vectors import query_vectors, write_vectors
from recbole_cfgdiff.runs.prepare import load_data

QUIET = {"show_progress": False, "state": "ERROR"}
TRAINING = {"epochs": 2, "train_batch_size": 256, "run_name": "r"}
OURS = {"dims_dnn": [20], "steps": 3}
SEQUENTIAL = {"hidden_size": 8, "MAX_ITEM_LIST_LENGTH": 5, "train_neg_sample_args": None}
OPTIONS = {
    "CFGDiffRec": OURS,
    "DiffRec": OURS,
    "ForwardCFGDiffRec": OURS,
    "GRU4Rec": {"embedding_size": 8, **SEQUENTIAL},
    "MultiVAE": {"mlp_hidden_size": [16], "latent_dimension": 8},
    "NeuMF": {"mf_embedding_size": 8, "mlp_embedding_size": 8, "mlp_hidden_size": [8]},
    "RecBoleDiffRec": {**OURS, "time-aware": True},
    "SASRec": {"inner_size": 8, **SEQUENTIAL},
}
OF_ALL_ROWS = ("CFGDiffRec", "ForwardCFGDiffRec")  # whom these know, they know by all rows
LEAVE_OUT = {"split": {"LS": "valid_and_test"}}


def trained(model, dataset="tiny", **options):
    """A run's folder."""
    return run(model, dataset, None, {**QUIET, **TRAINING, **OPTIONS.get(model, {}), **options})["run_dir"]


def rows_of(dataset="tiny"):
    """All rows of the file, each user's items in time order."""
    rows = pd.read_csv(f"dataset/{dataset}/{dataset}.inter", sep="\t").sort_values("timestamp:float")
    return rows.groupby("user_id:token")["item_id:token"].apply(list)


def training_rows(dataset="tiny"):
    """As ``rows_of``, of the training part."""
    whole, train, _, _ = load_data(Config("EASE", dataset, config_dict=QUIET))
    histories, ids = histories_of(train._dataset), whole.field2id_token
    return {
        ids["user_id"][user]: list(ids["item_id"][histories.select(torch.tensor([user])).items.numpy()])
        for user in range(1, whole.user_num)
    }


def scores_of(table):
    """By user, in order, and item."""
    return table.pivot(index="user", columns="item", values="score")


@pytest.mark.parametrize("model", ["CFGDiffRec", "DiffRec", "EASE", "ForwardCFGDiffRec", "LightGCN", "SASRec"])
def test_known_users_get_recboles_own_ranking_without_what_they_have(model, tiny):
    folder = trained(model)
    _, net, dataset, _, _, test = load_data_and_model(folder)
    if hasattr(net, "histories"):
        net.histories = histories_of(dataset)
    ((interaction, *_),) = list(test)
    with torch.no_grad():
        scores = net.full_sort_predict(interaction).view(len(interaction), -1)
    scores[:, 0] = -torch.inf
    users = dataset.id2token("user_id", interaction["user_id"].numpy())
    for row, user in enumerate(users):
        scores[row, dataset.token2id("item_id", np.array(rows_of()[user]))] = -torch.inf
    expected = dataset.id2token("item_id", scores.topk(10).indices.numpy())
    table = Recommender.load(folder).recommend(users=users, topk=10)
    assert len(users) == 60 and table["item"].to_numpy().reshape(60, 10).tolist() == expected.tolist()
    assert table["user"].tolist() == np.repeat(users, 10).tolist()


@pytest.mark.parametrize(
    "model", [*OF_ALL_ROWS, "EASE", "GRU4Rec", "ItemKNN", "MultiVAE", "Pop", "RecBoleDiffRec", "SASRec", "SLIMElastic"]
)
def test_the_same_history_has_the_same_scores_as_a_new_user_s(model, tiny):
    recommender = Recommender.load(trained(model))
    histories = dict(rows_of()) if model in OF_ALL_ROWS else training_rows()
    of_users = recommender.recommend(users=list(histories), topk=40, include_seen=True)
    of_histories = recommender.recommend(histories=list(histories.values()), topk=40, include_seen=True)
    known, new = scores_of(of_users).loc[list(histories)], scores_of(of_histories)
    np.testing.assert_allclose(known, new, rtol=1e-5, atol=1e-5)
    others = scores_of(recommender.recommend(histories=[["i0"], ["i1", "i3"]], topk=40, include_seen=True))
    assert np.allclose(others.iloc[0], others.iloc[1]) == (model == "Pop")
    again = recommender.recommend(users=list(histories), topk=40, include_seen=True)
    pd.testing.assert_frame_equal(of_users, again)


def test_a_model_that_scores_pairs_only_ranks_all_items(tiny):
    folder = trained("NeuMF")
    _, net, dataset, *_ = load_data_and_model(folder)
    table = Recommender.load(folder).recommend(users=["u7"], topk=40, include_seen=True)
    pairs = {
        "user_id": torch.full((40,), dataset.token2id("user_id", "u7")),
        "item_id": torch.from_numpy(dataset.token2id("item_id", table["item"].to_numpy())),
    }
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(pairs), table["score"], rtol=1e-6)
    assert table["score"].is_monotonic_decreasing and table["item"].is_unique


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "NeuMF", "FPMC", "CDAE"])
def test_models_of_their_users_refuse_new_ones(model, tiny):
    options = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}} if model == "FPMC" else {}
    recommender = Recommender.load(trained(model, **options))
    assert len(recommender.recommend(users=["u1", "u2"], topk=3)) == 6
    with pytest.raises(ConfigError, match=f"model {model}: .*only for the users whom it was trained with"):
        recommender.recommend(histories=[["i1", "i2"]])


def test_a_neighbourhood_of_users_refuses_new_ones(tiny):
    recommender = Recommender.load(trained("ItemKNN", knn_method="user"))
    with pytest.raises(ConfigError, match="only for the users"):
        recommender.recommend(histories=[["i1", "i2"]])


@pytest.mark.parametrize("model", ["EASE", "MultiVAE", "SASRec"])
def test_an_empty_history_is_refused_where_it_is_read(model, tiny):
    recommender = Recommender.load(trained(model))
    with pytest.raises(ConfigError, match=f"model {model}: an empty history"):
        recommender.recommend(histories=[["i1"], []])


def test_popularity_needs_no_history(tiny):
    recommender = Recommender.load(trained("Pop"))
    nobody = recommender.recommend(histories=[[]], topk=40)
    known = recommender.recommend(users=["u3"], topk=40, include_seen=True)
    assert nobody["item"].tolist() == known["item"].tolist() and nobody["score"].is_monotonic_decreasing


def test_what_was_kept_of_other_weights_is_not_used(tiny):
    folder = trained("LightGCN")
    recommender, expected = (Recommender.load(folder) for _ in range(2))
    net = recommender.source._model
    stale = torch.zeros(net.n_users, 8), torch.zeros(net.n_items, 8)
    net.restore_user_e, net.restore_item_e = stale
    pd.testing.assert_frame_equal(recommender.recommend(users=["u1"]), expected.recommend(users=["u1"]))


def test_recboles_own_split_of_sequences_leaves_nothing_out(tiny):
    recommender = Recommender.load(trained("SASRec", eval_args=LEAVE_OUT))
    rows = rows_of()
    table = recommender.recommend(users=list(rows.index), topk=40)
    assert all(set(group["item"]).isdisjoint(rows[user]) for user, group in table.groupby("user"))
    assert len(table) == 60 * 40 - rows.map(len).sum()
    new = recommender.recommend(histories=[rows["u5"]], topk=40)
    assert new["item"].tolist() == table[table["user"] == "u5"]["item"].tolist()


def test_what_such_models_do_not_have_is_refused(tiny, tmp_path):
    recommender = Recommender.load(trained("EASE"))
    with pytest.raises(ConfigError, match="guidance_scale: the scores of this model do not depend on it"):
        recommender.recommend(users=["u1"], guidance_scale=2.0)
    with pytest.raises(ConfigError, match="model EASE: only the models of this package have item vectors"):
        recommender.recommend(users=["u1"], diversify=0.5)
    for write in (write_vectors, write_onnx):
        with pytest.raises(ConfigError, match=r"model EASE: only the models of this package|onnx: .* need RecBole"):
            write(recommender, tmp_path)
    with pytest.raises(ConfigError, match="model EASE: only the models of this package have item vectors"):
        query_vectors(recommender, [["i1"]])
    with pytest.raises(ConfigError, match="export: the scores of EASE need RecBole"):
        recommender.save_pretrained(tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize("model", ["EASE", "SASRec"])
def test_trained_on_all_rows_it_knows_users_by_all_rows(model, tiny):
    recommender, rows = Recommender.load(trained(model, fit="all")), rows_of()
    known = recommender.recommend(users=list(rows.index), topk=40)
    new = recommender.recommend(histories=list(rows), topk=40)
    assert known["item"].tolist() == new["item"].tolist()
    np.testing.assert_allclose(known["score"], new["score"], rtol=1e-5, atol=1e-5)
