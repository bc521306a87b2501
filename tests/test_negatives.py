"""A user who has every item is refused only where an item that the user does not have is to be drawn."""

import logging

import pytest

from conftest import write_inter
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.runs.prepare import prepare

QUIET = {"show_progress": False, "state": "ERROR", "topk": [1, 3], "valid_metric": "NDCG@3", "epochs": 1}
N_ITEMS = 12


@pytest.fixture
def complete(empty_folder):
    """``dataset/complete``: u0 has all 12 items, u1 to u9 six each."""
    rows = [
        (f"u{user}", f"i{(3 * user + place) % N_ITEMS}", place)
        for user in range(10)
        for place in range(N_ITEMS if user == 0 else 6)
    ]
    write_inter(empty_folder / "dataset", "complete", rows)
    return "complete"


@pytest.fixture
def trained_on_all(complete, empty_folder):
    """``dataset/complete`` as a split in which u0 has all items to train on."""
    folder = empty_folder / "dataset" / "complete"
    header, *rows = (folder / "complete.inter").read_text().splitlines()
    parts = {"train": rows, "valid": [row for row in rows if row.endswith("4")], "test": rows[-1:]}
    for part, chosen in parts.items():
        (folder / f"complete.{part}.inter").write_text("\n".join([header, *chosen]) + "\n")
    return {"benchmark_filename": list(parts)}


@pytest.mark.parametrize("model", ["DiffRec", "CFGDiffRec", "EASE", "MultiVAE", "BPR", "Pop", "ItemKNN", "SASRec"])
def test_full_ranking_takes_a_user_with_all_items(model, complete):
    assert 0 < run(model, complete, config_dict=QUIET, saved=False)["test_result"]["ndcg@3"] <= 1


@pytest.mark.parametrize("model", ["DiffRec", "EASE", "ItemKNN", "SASRec"])
def test_models_that_draw_nothing_take_one_with_all_items_to_train_on(model, complete, trained_on_all):
    result = run(model, complete, config_dict={**QUIET, **trained_on_all}, saved=False)
    assert 0 <= result["test_result"]["ndcg@3"] <= 1


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("model", ["BPR", "Pop", "SASRec"])
def test_where_one_is_to_be_drawn_to_train_on_the_user_is_named(model, distribution, complete, trained_on_all, cli):
    drawn = f"--train_neg_sample_args={{'distribution': '{distribution}', 'sample_num': 1}}"
    arguments = [f"--{name}={value}" for name, value in {**QUIET, **trained_on_all, "loss_type": "BPR"}.items()]
    if model != "SASRec":
        arguments.remove("--loss_type=BPR")
    outcome = cli(f"--model={model}", f"--dataset={complete}", drawn, *arguments)
    assert outcome.status == 2 and outcome.err.startswith("error: "), outcome.err
    assert f"train_neg_sample_args: model {model}: user u0 has all of the 12 items" in outcome.err
    assert "--user_inter_num_interval='[0,12)'" in outcome.err


@pytest.mark.parametrize("mode", ["uni3", "pop3"])
def test_where_one_is_to_be_drawn_to_test_on_the_user_is_named(mode, complete, cli):
    arguments = [f"--{name}={value}" for name, value in QUIET.items()]
    modes = f"--eval_args={{'mode': {{'valid': 'full', 'test': '{mode}'}}}}"
    outcome = cli("--model=EASE", f"--dataset={complete}", modes, *arguments)
    assert outcome.status == 2, outcome.err
    assert f"mode: {mode}: user u0 has all of the 12 items that can be drawn" in outcome.err
    arguments.append("--user_inter_num_interval=[0,12)")
    assert cli("--model=EASE", f"--dataset={complete}", modes, *arguments).status == 0


def test_fewer_items_than_are_to_be_drawn_are_told(tiny, caplog):
    with caplog.at_level(logging.WARNING):
        prepare("EASE", tiny, None, {**QUIET, "state": "WARNING", "eval_args": {"mode": "uni35"}})
    assert "mode uni35: user u" in caplog.text and "items left to draw from, some more than once" in caplog.text
