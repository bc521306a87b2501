import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recommending import N_ITEMS, N_USERS, history_of, make_recommender

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.diversify import maximal_marginal_relevance
from recbole_cfgdiff.recommender.recommender import SCORES, Asked

# What the package requires beside torch, numpy, pandas, pyarrow and safetensors, and what those require.
MISSING = ["recbole", "scipy", "yaml", "tabulate", "tqdm", "colorlog", "sklearn", "tensorboard", "texttable", "thop"]
MISSING += ["psutil", "matplotlib", "optuna", "ray", "fastapi"]
MODELS = ["CFGDiffRec", "DiffRec", "ForwardCFGDiffRec", "NextItemRidge", "SeqCFGDiffRec"]
USERS = [f"u{number}" for number in range(1, N_USERS + 1)]


@pytest.mark.parametrize("model", MODELS)
def test_a_list_is_the_items_of_the_best_scores_that_the_user_does_not_have(model):
    recommender = make_recommender(model)
    table = recommender.recommend(users=["u3"], topk=N_ITEMS)
    known = recommender.known_users()
    rows = known.histories.select(torch.tensor([3]))
    scores = next(recommender.source.scorer.sweep(rows, [1.0]))[0, 1:].tolist()
    seen = history_of(recommender, "u3")
    expected = [f"i{place + 1}" for place in np.argsort(scores)[::-1] if f"i{place + 1}" not in seen]
    assert table["item"].tolist() == expected
    assert table["rank"].tolist() == list(range(1, len(expected) + 1))
    assert table["score"].tolist() == pytest.approx([scores[int(item[1:]) - 1] for item in expected], abs=1e-6)
    assert (table["user"] == "u3").all()
    assert table["title"].tolist() == [f"Film {item[1:]}" for item in expected]


@pytest.mark.parametrize("model", MODELS)
def test_the_same_history_gets_the_same_scores_known_or_new(model):
    recommender = make_recommender(model)
    known = recommender.recommend(users=["u3", "u5"], topk=5)
    new = recommender.recommend(histories=[history_of(recommender, user) for user in ("u3", "u5")], topk=5)
    assert known["item"].tolist() == new["item"].tolist() and new["user"].tolist() == [0] * 5 + [1] * 5
    assert known["score"].tolist() == pytest.approx(new["score"].tolist(), abs=1e-5)


def test_order_counts_where_the_model_reads_it():
    recommender = make_recommender("ForwardCFGDiffRec")
    one, other = (recommender.recommend(histories=[each]) for each in (["i1", "i2", "i3"], ["i3", "i2", "i1"]))
    assert not np.allclose(sorted(one["score"]), sorted(other["score"]))


def test_weights_of_recency_are_those_of_the_model():
    recommender = make_recommender("DiffRec", **{"time-aware": True})
    one, other = (recommender.recommend(histories=[each]) for each in (["i1", "i2", "i3"], ["i3", "i2", "i1"]))
    assert not np.allclose(sorted(one["score"]), sorted(other["score"]))


@pytest.mark.parametrize("model", ["CFGDiffRec", "ForwardCFGDiffRec"])
def test_an_empty_history_gets_the_unguided_list(model):
    recommender = make_recommender(model)
    nothing, guided = (recommender.recommend(histories=[[]], topk=5, guidance_scale=scale) for scale in (0, 3))
    pd.testing.assert_frame_equal(nothing, guided)
    unguided, guided = (recommender.recommend(histories=[["i1"]], topk=5, guidance_scale=scale) for scale in (0, 3))
    assert unguided["score"].tolist() != guided["score"].tolist()


def test_candidates_exclude_and_seen_items():
    recommender = make_recommender()
    seen = history_of(recommender, "u1")
    some = [f"i{number}" for number in range(1, 11)]
    items = recommender.recommend(users=["u1"], topk=50, candidates=some, exclude=["i1"])["item"]
    assert set(items) == set(some) - {"i1"} - set(seen)
    assert set(recommender.recommend(users=["u1"], topk=50, include_seen=True)["item"]) >= set(seen)
    assert len(recommender.recommend(users=["u1"], topk=50, candidates=[])) == 0


def test_nobody_gets_no_list():
    assert list(make_recommender().recommend(users=[]).columns) == ["user", "rank", "item", "score", "title"]


def test_batches_are_those_of_one_user(monkeypatch):
    recommender = make_recommender()
    together = recommender.recommend(users=USERS)
    monkeypatch.setattr("recbole_cfgdiff.recommender.recommender.SCORES", N_ITEMS)
    assert SCORES > N_ITEMS and len(list(recommender.for_users(USERS, Asked()))) == N_USERS
    alone = recommender.recommend(users=USERS)
    assert together["item"].tolist() == alone["item"].tolist()
    assert together["score"].tolist() == pytest.approx(alone["score"].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"users": ["u1", "u77", "x"]}, "users: 2 of 3 users are unknown to the model: 'u77' (nearest: 'u7'), 'x'"),
        ({"histories": [["i1"], ["i99"]]}, "items: 1 of 2 items are unknown to the model: 'i99' (nearest: 'i9')"),
        ({"users": ["u1"], "exclude": ["I1x"]}, "items: 1 of 1 items are unknown"),
        ({"users": ["u1"], "candidates": ["?"]}, "items: 1 of 1 items are unknown to the model: '?'"),
        ({"users": ["u1"], "topk": 0}, "topk: expected an integer of at least 1, got 0"),
        ({"users": ["u1"], "topk": True}, "topk"),
        ({"users": ["u1"], "guidance_scale": float("nan")}, "guidance_scale: expected a finite number"),
        ({"users": "u1"}, "users: expected a list, got the text 'u1'"),
        ({"histories": "i1"}, "histories: expected a list, got the text 'i1'"),
        ({"histories": ["i1", "i2"]}, "a history: expected a list, got the text 'i1'"),
        ({"users": ["u1"], "exclude": "i1"}, "exclude: expected a list, got the text 'i1'"),
        ({"users": ["u1"], "candidates": "i1"}, "candidates: expected a list, got the text 'i1'"),
        ({"users": ["u1"], "guidance_scale": 1e300}, "guidance_scale: expected a finite number of 32 bits"),
        ({"users": ["u1"], "diversify": 1.5}, "diversify: expected a number between 0 and 1, got 1.5"),
        ({"users": ["u1"], "histories": [[]]}, "either users or histories"),
        ({}, "either users or histories"),
    ],
)
def test_mistakes_are_told(asked, told):
    with pytest.raises(ConfigError) as error:
        make_recommender().recommend(**asked)
    assert told in str(error.value)


def test_a_guidance_scale_of_a_model_without_guidance_is_refused():
    with pytest.raises(ConfigError, match="guidance_scale: the scores of this model do not depend on it"):
        make_recommender("DiffRec").recommend(users=["u1"], guidance_scale=2)


def test_titles_are_searched_by_substring_those_that_begin_with_it_first():
    recommender = make_recommender()
    found = recommender.items.ids.of(recommender.items.search("film 1", 5)).tolist()
    assert found == ["i1", "i10", "i11", "i12", "i13"]
    assert recommender.items.ids.of(recommender.items.search("2", 3)).tolist() == ["i2", "i12", "i20"]
    assert recommender.items.search("i7", 3).tolist() == [7] and len(recommender.items.search("Zorn", 3)) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_maximal_marginal_relevance_of_1_keeps_the_ranking(seed, topk):
    generator = torch.Generator().manual_seed(seed)
    scores, vectors = torch.randn(2, 8, generator=generator), torch.randn(2, 8, 3, generator=generator)
    chosen = maximal_marginal_relevance(scores, vectors, topk, 1.0)
    assert chosen.tolist() == scores.argsort(dim=1, descending=True)[:, :topk].tolist()


def test_maximal_marginal_relevance_as_computed_by_hand():
    scores = torch.tensor([[1.0, 0.9, 0.0]])
    vectors = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])  # the first two of one direction
    # After 0: item 1 has 0.5 * 0.9 - 0.5 * 1 = -0.05, item 2 has 0.5 * 0 - 0.5 * 0 = 0.
    assert maximal_marginal_relevance(scores, vectors, 3, 0.5).tolist() == [[0, 2, 1]]
    assert maximal_marginal_relevance(scores, vectors, 3, 0.9).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("model", ["CFGDiffRec", "SeqCFGDiffRec"])
def test_diverse_lists_are_of_other_items_and_never_of_barred_ones(model):
    recommender = make_recommender(model)
    plain, same, diverse = (
        recommender.recommend(users=USERS, topk=8, exclude=["i1"], diversify=each)["item"].tolist()
        for each in (None, 1.0, 0.0)
    )
    assert plain == same != diverse and "i1" not in diverse
    for place, user in enumerate(USERS):
        own = diverse[8 * place : 8 * place + 8]
        assert not set(own) & set(history_of(recommender, user)) and len(set(own)) == 8


def test_a_model_without_vectors_tells_that_its_lists_cannot_be_made_diverse():
    with pytest.raises(ConfigError, match="diversify: a linear model of all pairs of items has no vectors"):
        make_recommender("NextItemRidge").recommend(users=["u1"], diversify=0.5)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers_are_no_ranking(number):
    recommender = make_recommender()
    recommender.source.scorer.denoiser.output_layer.bias.data[3] = number
    with pytest.raises(ConfigError, match="scores: some are beyond the numbers of 32 bits"):
        recommender.recommend(histories=[["i1"]])


@pytest.mark.parametrize("trade_off", [0.0, 0.5, 1.0])
def test_a_diverse_list_of_few_candidates_has_each_once(trade_off):
    recommender = make_recommender()
    asked = {"candidates": ["i1", "i2", "i3"], "include_seen": True, "diversify": trade_off}
    for table in (recommender.recommend(users=["u1"], **asked), recommender.recommend(histories=[[]], **asked)):
        assert sorted(table["item"]) == ["i1", "i2", "i3"]
    assert recommender.recommend(users=["u1"], **{**asked, "candidates": []}).empty


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("model", MODELS)
def test_lists_on_an_accelerator_are_those_of_the_processor(model):
    recommender = make_recommender(model)
    whom = [{"users": USERS}, {"histories": [["i1", "i2"], []]}]
    whom += [] if model == "NextItemRidge" else [{"users": USERS, "diversify": 0.5}]
    expected = [recommender.recommend(**each) for each in whom]
    recommender.source.scorer.network.cuda()
    for each, table in zip(whom, expected):
        pd.testing.assert_frame_equal(recommender.recommend(**each), table, atol=1e-4)


def test_it_is_imported_and_used_without_recbole(tmp_path):
    make_recommender().save_pretrained(tmp_path / "model")
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
from recbole_cfgdiff.recommender import Recommender
print(Recommender.load({str(tmp_path / "model")!r}).recommend(users=["u1"], topk=4).to_csv(index=False))
"""
    root = Path(__file__).resolve().parents[1]
    outcome = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(root)}
    )
    assert outcome.returncode == 0, outcome.stderr
    expected = Recommender.load(tmp_path / "model").recommend(users=["u1"], topk=4)
    assert outcome.stdout.split() == expected.to_csv(index=False).split()
