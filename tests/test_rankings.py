"""Kept rankings and the metrics computed of them."""

import numpy as np
import pytest
from experiments import ranking_of_hits

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.metrics import (
    BEYOND_ACCURACY,
    beyond_accuracy,
    by_history_length,
    by_popularity,
    is_per_user,
    list_length,
    user_metrics,
)
from recbole_cfgdiff.evaluation.rankings import Ranking, collect_rankings
from recbole_cfgdiff.runs.prepare import prepare

ACCURACY = ["Recall", "NDCG", "Precision", "MRR", "Hit", "MAP"]
METRICS = ["recall@1", "recall@3", "ndcg@3", "precision@3", "mrr@3", "hit@3"]


@pytest.fixture
def ranking():
    """Three users, lists of three; a's targets are 1 and 5, b's is 4, c's are 2 and 6 (with two lists)."""
    return Ranking(
        users=np.array(["a", "b", "c", "c"]),
        history_length=np.array([0, 6, 3, 3]),
        items=np.array([[3, 1, 5], [1, 2, 3], [2, 1, 3], [1, 3, 6]]),
        n_targets=np.array([2, 1, 1, 1]),
        target_rows=np.array([0, 0, 1, 2, 3]),
        target_items=np.array([1, 5, 4, 2, 6]),
        # Item 1 is the top 5% of six items alone, items 5 and 6 (unseen) are the last.
        item_counts=np.array([0, 9, 5, 5, 2, 1, 0]),
        n_users=np.array(10),
    )


def test_hits(ranking):
    assert ranking.hits.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]


def test_metrics_of_users_by_hand(ranking):
    found = user_metrics(ranking, METRICS)
    assert list(found.index) == ["a", "b", "c"]
    assert found["recall@1"].tolist() == [0, 0, 0.5]
    assert found["recall@3"].tolist() == [1, 0, 1]
    ndcg = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert found["ndcg@3"].tolist() == pytest.approx([ndcg, 0, (1 + 0.5) / 2])
    assert found["precision@3"].tolist() == pytest.approx([2 / 3, 0, 1 / 3])
    assert found["mrr@3"].tolist() == pytest.approx([1 / 2, 0, (1 + 1 / 3) / 2])
    assert found["hit@3"].tolist() == [1, 0, 1]


def test_by_history_length_by_hand(ranking):
    table = by_history_length(ranking, "recall@3")
    assert table.to_dict("list") == {"group": ["0", "1-5", "6-10"], "users": [1, 1, 1], "value": [1, 1, 0]}


def test_by_popularity_by_hand(ranking):
    table = by_popularity(ranking, 3).set_index("group")
    # Nothing is above item 1; one of six above 2 and 3 (17%); three above item 4, four above item 5, five above 6.
    assert table["targets"].to_dict() == {"top 5%": 1, "5-20%": 1, "50-100%": 3}
    assert table["value"].to_dict() == pytest.approx({"top 5%": 1, "5-20%": 1, "50-100%": 2 / 3})
    assert by_popularity(ranking, 1).set_index("group")["value"]["top 5%"] == 0


def test_beyond_accuracy_by_hand(ranking):
    found = beyond_accuracy(ranking, 1)
    # Recommended first: 3, 1, 2, 1; RecBole counts its padding item as one of the seven.
    assert found["itemcoverage@1"] == pytest.approx(3 / 7)
    assert found["averagepopularity@1"] == pytest.approx((5 + 9 + 5 + 9) / 4)
    assert found["novelty@1"] == pytest.approx(-(2 * np.log2(0.5) + 2 * np.log2(0.9)) / 4)
    assert beyond_accuracy(ranking, 3)["novelty@3"] > 0  # an item that nobody has is no division by zero


def test_a_saved_ranking_is_the_same(ranking, tmp_path):
    ranking.save(tmp_path / "test.npz")
    loaded = Ranking.load(tmp_path / "test.npz")
    for before, after in zip(ranking, loaded):
        np.testing.assert_array_equal(before, after)
    assert user_metrics(loaded, METRICS).equals(user_metrics(ranking, METRICS))
    assert [path.name for path in tmp_path.iterdir()] == ["test.npz"]


def test_which_metrics_are_means_over_users():
    assert all(map(is_per_user, METRICS))
    assert not any(map(is_per_user, ["giniindex@10", "itemcoverage@10", "gauc"]))


def test_the_list_length_that_matters():
    assert list_length("NDCG@10", [5, 10, 20]) == 10 and list_length("GAUC", [5, 20]) == 20


@pytest.mark.parametrize("mode", ["full", "uni20"])
def test_kept_rankings_give_the_metrics_that_recbole_reports(mode, tiny):
    options = {
        "epochs": 1,
        "state": "ERROR",
        "show_progress": False,
        "metric_decimal_place": 10,
        "topk": [3, 5],
        "metrics": [*ACCURACY, *BEYOND_ACCURACY],
        "valid_metric": "NDCG@5",
        "eval_args": {"mode": mode},
    }
    prepared = prepare("CFGDiffRec", tiny, None, options)
    collector = collect_rankings(prepared.trainer, prepared.train_data)
    result = prepared.fit_and_test()["test_result"]
    ranking = collector.ranking
    found = user_metrics(ranking, [f"{name.lower()}@5" for name in ACCURACY])
    assert found.mean().to_dict() == pytest.approx({name: result[name] for name in found})
    beyond = beyond_accuracy(ranking, 5)
    assert {name: result[name] for name in beyond if name in result} == pytest.approx(
        {name: value for name, value in beyond.items() if name in result}
    )
    assert len(beyond) == 6 and set(ranking.users) <= {f"u{user}" for user in range(60)}
    lengths = dict(zip(ranking.users, ranking.history_length))
    inter = prepared.train_data._dataset.inter_feat["user_id"]
    tokens, counts = np.unique(prepared.dataset.id2token("user_id", inter.numpy()), return_counts=True)
    assert lengths == {token: count for token, count in zip(tokens, counts) if token in lengths}


def test_metrics_that_are_not_of_rankings_are_refused(tiny):
    options = {"epochs": 1, "state": "ERROR", "metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "uni5"}}
    prepared = prepare("BPR", tiny, None, options)
    with pytest.raises(ConfigError, match="metrics of rankings"):
        collect_rankings(prepared.trainer, prepared.train_data)


def test_groups_of_made_up_hits():
    table = by_history_length(ranking_of_hits([1, 0, 1]), "recall@2")
    assert table["value"].tolist() == [1.0, 0.5]
