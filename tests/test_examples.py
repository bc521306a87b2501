"""The examples run, and the variants in them do what their names say."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import write_inter
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data, make_trainer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import latent_diffusion
import measuring
from latent_diffusion import ClusteredAutoencoder

import paper_alternatives
from paper_alternatives import VARIANTS

REGISTERS = True

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
    measuring.register(model)
    config = Config(model.__name__, dataset, config_dict={**RATED, **options, "state": "ERROR", "show_progress": False})
    _, train_data, _, _ = load_data(config)
    model = make_trainer(config, train_data).model.eval()
    return model, train_data._dataset, train_data.user_list["user_id"].to(model.device)


@pytest.mark.parametrize("name", VARIANTS)
def test_guidance_matters_and_null_guidance_does_not(name, rated):
    model, _, users = a_model(name, rated)
    x_start, guidance = model.training_example(users)
    t = torch.zeros_like(users)

    def predict(code):
        return model.denoiser(x_start, t, code)

    null = predict(model.denoiser.encode(guidance.scaled(torch.zeros(1, device=users.device))))
    torch.testing.assert_close(null, predict(None))
    assert not torch.allclose(predict(model.denoiser.encode(guidance)), null)
    assert model.score(model.histories.select(users)).isfinite().all()


def test_dislikes_before_the_last_training_row_guide_and_are_not_diffused(rated):
    model, dataset, users = a_model("dislikes as -1", rated)
    raw = pd.read_csv("dataset/rated/rated.inter", sep="\t", names=["user", "item", "rating", "time"], skiprows=1)
    for user in users:
        rows = raw[raw["user"] == dataset.id2token("user_id", int(user))]
        liked = rows[rows["rating"] >= 4].iloc[:-4]  # 70:20:10 of 15 leaves the first 11
        disliked = rows[(rows["rating"] < 4) & (rows["time"] < liked["time"].max())]
        x_start, guidance = (vector.dense()[0] for vector in model.training_example(user[None]))
        assert tokens(dataset, x_start == 1) == tokens(dataset, guidance == 1) == set(liked["item"])
        assert tokens(dataset, guidance == -1) == set(disliked["item"]) & set(dataset.field2token_id["item_id"])
        assert (x_start >= 0).all()


def test_hidden_dislikes_change_no_score_but_their_own(rated):
    model, _, users = a_model("dislikes not recommended", rated)
    signed = model.histories.select(users)
    only_liked, is_disliked = paper_alternatives.liked(signed), signed.dense() < 0
    scores, unhidden = model.score(signed), model.score(only_liked)
    assert is_disliked.any()
    assert torch.equal(scores[~is_disliked], unhidden[~is_disliked])
    assert scores[is_disliked].max() < unhidden.min()


def tokens(dataset, is_item):
    return {dataset.id2token("item_id", int(item)) for item in is_item.nonzero()}


def test_a_code_is_of_the_items_of_its_cluster():
    torch.manual_seed(0)
    autoencoder = ClusteredAutoencoder(np.array([1, 0, 0, 1, 1]), n_clusters=2, code_size=6, dropout_prob=0.5).eval()
    codes, _ = autoencoder.encode(SparseRows.of_dense(torch.tensor([[1.0, 1, 0, 0, 0], [0, 1, 0, 0, 0]])))
    assert (codes[1, 3:] == 0).all() and (codes[1, :3] != 0).all()
    scores, changed = autoencoder.decode(codes), autoencoder.decode(codes + torch.tensor([0.0, 0, 0, 1, 1, 1]))
    torch.testing.assert_close(scores[:, [1, 2]], changed[:, [1, 2]])
    assert (scores[:, [0, 3, 4]] != changed[:, [0, 3, 4]]).all()


def test_items_of_the_same_users_are_in_a_cluster():
    users = torch.arange(40).repeat_interleave(6)
    items = torch.randint(0, 10, (240,)) + 10 * (users >= 20)
    of_users = SimpleNamespace(
        uid_field="user", iid_field="item", inter_feat={"user": users, "item": items}, user_num=40, item_num=20
    )
    clusters = latent_diffusion.cluster_items(of_users, n_clusters=2, seed=0)
    assert len(set(clusters[:10])) == len(set(clusters[10:])) == 1 and clusters[0] != clusters[10]


@pytest.mark.parametrize(
    ("example", "names"),
    [
        (paper_alternatives, ["raw guidance", "dislikes as -1", "dislikes as a channel"]),
        (latent_diffusion, ["64 hidden units", "codes, 1 cluster", "codes, 2 clusters"]),
    ],
)
def test_every_variant_is_measured(example, names, rated, empty_folder, monkeypatch, capsys):
    (empty_folder / "ratings.yaml").write_text(
        "load_col: {inter: [user_id, item_id, rating, timestamp]}\nval_interval: {rating: '[4,inf)'}\n"
    )
    options = ["--dataset=rated", "--config_files=ratings.yaml", "--seeds=2", "--epochs=2", "--output=out/all.csv"]
    monkeypatch.setattr(sys, "argv", ["example", *options])
    measuring.measure_all({name: example.VARIANTS[name] for name in names}, "An example")
    table = pd.read_csv("out/all.csv")
    assert table["seed"].to_list() == [2020] * 3 + [2021] * 3 and (table["epochs"] == 2).all()
    assert table["valid_ndcg@10"].between(0, 1).all() and (table["training_seconds"] > 0).all()
    assert names[1] in capsys.readouterr().out
