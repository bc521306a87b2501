"""The linear model of what comes next: what it solves, and as a model and a part of one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recommending import make_recommender

from conftest import write_inter
from recbole_cfgdiff.diffusion import NextItemRidge, latest
from recbole_cfgdiff.diffusion.next_item_ridge import pair_sums
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import next_item_ridge
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.runs.prepare import load_trained
from recbole_cfgdiff.scoring.histories import Histories

N_ITEMS = 7
QUIET = {"show_progress": False, "state": "ERROR"}
people = st.lists(st.lists(st.integers(1, N_ITEMS - 1), max_size=9), min_size=1, max_size=5)


def rows_of(histories, n_items=N_ITEMS):
    users = np.repeat(np.arange(len(histories)), list(map(len, histories)))
    items = np.array([item for each in histories for item in each], dtype=np.int64)
    return Histories.of_pairs(users, items, len(histories), n_items).select(torch.arange(len(histories)))


def sums_by_cuts(histories, max_length, power, decay):
    """The same from every cut's own vectors."""
    gram, moment = np.zeros((2, N_ITEMS, N_ITEMS))
    total = sum(decay**k for k in range(max_length))
    for items in histories:
        for cut in range(1, len(items)):
            x = np.zeros(N_ITEMS)
            for age in range(1, min(cut, max_length) + 1):
                x[items[cut - age]] += age**-power
                for k, item in enumerate(items[cut:]):
                    if age + k <= max_length:
                        moment[items[cut - age], item] += age**-power * decay**k / total
            gram += np.outer(x, x)
    return gram, moment


@given(people, st.integers(1, 10), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.6, 1.0]))
def test_sums_over_pairs_are_sums_over_cuts(histories, max_length, power, decay):
    found = pair_sums(rows_of(histories), max_length, power, decay)
    for each, expected in zip(found, sums_by_cuts(histories, max_length, power, decay)):
        np.testing.assert_allclose(each, expected, rtol=1e-4, atol=1e-5)


@given(people)
def test_it_is_the_ridge_regression_of_what_comes_next(histories):
    ridge = NextItemRidge(N_ITEMS, N_ITEMS, recency_power=0.5)
    ridge.fit(rows_of(histories), max_length=20, decay=0.5, reg_weight=2.0)
    gram, moment = sums_by_cuts(histories, 20, 0.5, 0.5)
    expected = np.linalg.solve(gram + 2 * np.eye(N_ITEMS), moment).clip(0)
    found = torch.zeros(N_ITEMS, N_ITEMS).scatter(1, ridge.neighbors.long(), ridge.coefficients)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@given(people)
def test_scores_are_sums_of_rows_by_recency(histories):
    ridge = NextItemRidge(N_ITEMS, 3, recency_power=0.7)
    ridge.fit(rows_of([[1, 2, 3, 4], [2, 3, 5, 6, 1]]), max_length=9, decay=0.5, reg_weight=1.0)
    coefficients = torch.zeros(N_ITEMS, N_ITEMS).scatter(1, ridge.neighbors.long(), ridge.coefficients)
    assert (coefficients > 0).sum(dim=1).max() <= 3
    found = ridge(latest(rows_of(histories), 4))
    for scores, items in zip(found, histories):
        expected = sum((age**-0.7 * coefficients[item] for age, item in enumerate(items[:-5:-1], 1)), torch.zeros(1))
        torch.testing.assert_close(scores, expected.expand(N_ITEMS))


def test_of_a_row_the_largest_are_kept():
    whole, few = (NextItemRidge(N_ITEMS, kept, recency_power=0.0) for kept in (N_ITEMS, 2))
    for ridge in (whole, few):
        ridge.fit(rows_of([[1, 2, 3, 4, 5], [1, 3, 2, 6]]), max_length=9, decay=0.9, reg_weight=1.0)
    torch.testing.assert_close(few.coefficients, whole.coefficients[:, :2])


def circle(folder, n_users=60):
    rows = [(f"u{user}", f"i{(user + place) % 12}", place) for user in range(n_users) for place in range(9)]
    write_inter(folder / "dataset", "circle", rows)
    return "circle"


LAST_OUT = {"eval_args": {"split": {"LS": "valid_and_test"}}, "history_at_test": "train_and_valid", "topk": [1, 10]}


def test_it_finds_what_follows_what(empty_folder):
    options = {**QUIET, **LAST_OUT, "recency_power": 1.0, "linear_decay": 0, "reg_weight": 1.0}
    assert run("NextItemRidge", circle(empty_folder), None, options)["test_result"]["recall@1"] == 1


def test_it_lets_a_network_that_knows_nothing_know(empty_folder):
    name = circle(empty_folder)
    options = {**QUIET, **LAST_OUT, "epochs": 1, "hidden_size": 8, "inner_size": 8}
    without, with_it = (
        run("SeqCFGDiffRec", name, None, {**options, "linear_weight": weight})["test_result"]["recall@1"]
        for weight in (0, 1000)
    )
    assert without < 0.5 < with_it


def test_a_run_keeps_it_and_an_exported_folder_too(tiny):
    run("NextItemRidge", tiny, None, {**QUIET, "run_name": "ridge"})
    of_run = Recommender.load("saved/ridge")
    assert load_trained("saved/ridge").trainer.model.ridge.coefficients.any()
    of_run.save_pretrained("model")
    users = ["u1", "u2"]
    assert Recommender.load("model").recommend(users=users).equals(of_run.recommend(users=users))


def test_resuming_fits_nothing_anew(tiny, monkeypatch):
    options = {**QUIET, "hidden_size": 8, "inner_size": 8, "epochs": 2, "run_name": "seq"}
    run("SeqCFGDiffRec", tiny, None, options)
    monkeypatch.setattr(NextItemRidge, "fit", lambda *_, **__: pytest.fail("fitted anew"))
    run("SeqCFGDiffRec", tiny, None, {**options, "epochs": 3, "resume": "saved/seq"})


def test_it_has_nothing_for_another_run_to_start_from(tiny):
    run("NextItemRidge", tiny, None, {**QUIET, "run_name": "older"})
    Recommender.load("saved/older").save_pretrained("older-model")
    with pytest.raises(ConfigError, match="init_from: a model that is fitted in closed form has no weights"):
        run("SeqCFGDiffRec", tiny, None, {**QUIET, "hidden_size": 8, "init_from": "older-model"})
    with pytest.raises(ConfigError, match="init_from: it would do nothing"):
        run("NextItemRidge", tiny, None, {**QUIET, "init_from": "saved/older"})


def test_held_out_users_are_no_part_of_it(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(NextItemRidge, "fit", lambda _, history, *__: seen.append(len(history)))
    for files in ([], ["properties/protocol/heldout_users.yaml"]):
        run("NextItemRidge", tiny, files, {**QUIET, **({"heldout_users": 0.5} if files else {})})
    assert seen[1] == pytest.approx(seen[0] / 2, abs=1)


def test_more_items_than_can_be_solved_for_are_told(tiny, monkeypatch):
    monkeypatch.setattr(next_item_ridge, "_MOST_ITEMS", 3)
    with pytest.raises(ConfigError, match=r"NextItemRidge: the linear part solves for pairs of at most 3 items"):
        run("NextItemRidge", tiny, None, QUIET)
    with pytest.raises(ConfigError, match="set linear_weight to 0 to do without"):
        run("SeqCFGDiffRec", tiny, None, {**QUIET, "hidden_size": 8})


@pytest.mark.parametrize("model", ["NextItemRidge", "SeqCFGDiffRec"])
def test_a_penalty_is_needed(model, tiny):
    with pytest.raises(ConfigError, match="reg_weight: expected a number above 0, got 0"):
        run(model, tiny, None, {**QUIET, "reg_weight": 0})


def test_numbers_of_no_items_are_refused(tmp_path):
    recommender = make_recommender("NextItemRidge")
    recommender.source.scorer.network.neighbors[3, 1] = 2**30
    recommender.save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match="neighbors: expected numbers of items, below 31"):
        Recommender.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(("scale", "same"), [(0.0, True), (1.0, False)])
def test_null_guidance_has_no_linear_part(scale, same):
    recommenders = (make_recommender("SeqCFGDiffRec", linear_weight=weight) for weight in (200, 400))
    lists = [each.recommend(users=["u1"], guidance_scale=scale, topk=20)["score"] for each in recommenders]
    assert np.allclose(*lists) is same
