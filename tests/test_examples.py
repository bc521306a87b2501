"""The examples run, and the paper's alternatives do what their names say."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import write_inter
from recbole_cfgdiff import quick_start
from recbole_cfgdiff.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import paper_alternatives
from paper_alternatives import VARIANTS

RATED = {"load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}, "val_interval": {"rating": "[4,inf)"}}


@pytest.fixture
def rated(empty_folder):
    """``dataset/rated``: 40 users with 20 rows each, in time order, every fourth of them a dislike."""
    random = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{item}", 1 if place % 4 == 3 else 5, place)
        for user in range(40)
        for place, item in enumerate(random.permutation(30)[:20])
    ]
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    write_inter(empty_folder / "dataset", "rated", rows, header)
    return "rated"


def a_model(name, dataset):
    model, options = VARIANTS[name]
    paper_alternatives.register(model)
    config = Config(model.__name__, dataset, config_dict={**RATED, **options, "state": "ERROR", "show_progress": False})
    _, train_data, _, _ = quick_start._load_data(config)
    return quick_start._make_trainer(config, train_data).model.eval(), train_data


@pytest.mark.parametrize("name", VARIANTS)
def test_guidance_matters_and_null_guidance_does_not(name, rated):
    model, train_data = a_model(name, rated)
    users = train_data.user_list["user_id"]
    x_start, guidance = model.training_example(users)
    t = torch.zeros(len(users), dtype=torch.int64)

    def predict(code):
        return model.denoiser(x_start, t, code)

    null = predict(model.denoiser.encode(guidance.scaled(torch.zeros(1))))
    torch.testing.assert_close(null, predict(None))
    assert not torch.allclose(predict(model.denoiser.encode(guidance)), null)
    assert model.score(model.histories.select(users)).isfinite().all()


def test_dislikes_before_the_last_training_row_guide_and_are_not_diffused(rated):
    model, train_data = a_model("dislikes as -1", rated)
    raw = pd.read_csv("dataset/rated/rated.inter", sep="\t", names=["user", "item", "rating", "time"], skiprows=1)
    dataset = train_data._dataset
    for user in train_data.user_list["user_id"]:
        rows = raw[raw["user"] == dataset.id2token("user_id", int(user))]
        liked = rows[rows["rating"] >= 4].iloc[:-4]  # 70:20:10 of 15 leaves the first 11
        disliked = rows[(rows["rating"] < 4) & (rows["time"] < liked["time"].max())]
        x_start, guidance = (vector.dense()[0] for vector in model.training_example(user[None]))
        assert tokens(dataset, x_start == 1) == tokens(dataset, guidance == 1) == set(liked["item"])
        assert tokens(dataset, guidance == -1) == set(disliked["item"]) & set(dataset.field2token_id["item_id"])
        assert (x_start >= 0).all()


def tokens(dataset, is_item):
    return {dataset.id2token("item_id", int(item)) for item in is_item.nonzero()}


def test_every_alternative_is_measured(rated, empty_folder, monkeypatch, capsys):
    monkeypatch.setattr(paper_alternatives, "VARIANTS", dict(list(VARIANTS.items())[:1] + list(VARIANTS.items())[4:6]))
    (empty_folder / "dataset" / "rated" / "rated.yaml").write_text(
        "load_col: {inter: [user_id, item_id, rating, timestamp]}\nval_interval: {rating: '[4,inf)'}\n"
    )
    monkeypatch.setattr(
        sys, "argv", ["paper_alternatives.py", "--dataset=rated", "--seeds=2", "--epochs=2", "--output=out/table.csv"]
    )
    paper_alternatives.main()
    table = pd.read_csv("out/table.csv")
    assert table["seed"].to_list() == [2020] * 3 + [2021] * 3 and (table["epochs"] == 2).all()
    assert table["valid_ndcg@10"].between(0, 1).all() and "dislikes as -1" in capsys.readouterr().out
