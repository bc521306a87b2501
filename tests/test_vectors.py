"""The inner products of the vectors are the scores, and an index by them gives the model's ranking."""

import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from recommending import history_of, make_recommender

from recbole_cfgdiff.diffusion.fast import hidden_process
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import vectors
from recbole_cfgdiff.recommender.vectors import ITEM_VECTORS, USER_VECTORS, query_vectors, write_vectors

SCALES = [0.0, 1.0, 2.5]


def read(path):
    """Ids, and vectors as a matrix."""
    table = pyarrow.parquet.read_table(path)
    kind = table.schema.field("vector").type
    assert pyarrow.types.is_fixed_size_list(kind) and kind.value_type == pyarrow.float32()
    column = table.column("vector").combine_chunks()
    return table.column(0).to_pylist(), column.flatten().to_numpy().reshape(len(table), kind.list_size)


def all_scores(recommender, over_the_items=False):
    """Of all known users, without the padding item."""
    source, users = recommender.source, recommender.users
    rows = source.rows(users.histories, torch.arange(1, len(users.ids) + 1))
    source.scorer.runs_in_hidden_space = not over_the_items
    scores = source.of_histories(rows, recommender.guidance_scale)
    source.scorer.runs_in_hidden_space = True
    return scores[:, 1:].numpy()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("DiffRec", {"norm": True, "time-aware": True, "input_scale": 0.5, "output_scale": 0.7}),
        ("CFGDiffRec", {"sampler": "ddim", "sampling_timesteps": 2, "time_embedding": False}),
        ("CFGDiffRec", {"guidance_encoder": "raw", "mean_type": "eps", "output_scale": 1, "noise_scale": 0}),
        ("ForwardCFGDiffRec", {}),
        ("ForwardCFGDiffRec", {"norm": True, "guidance_encoder": "embedding", "dims_dnn": [7, 9]}),
        ("SeqCFGDiffRec", {"linear_weight": 0}),
    ],
)
def test_inner_products_are_the_scores(model, options, scale, tmp_path, monkeypatch):
    monkeypatch.setattr(hidden_process, "_CHUNK", 3)
    recommender = replace(make_recommender(model, **options), guidance_scale=scale)
    write_vectors(recommender, tmp_path)
    items, item_vectors = read(tmp_path / ITEM_VECTORS)
    users, user_vectors = read(tmp_path / USER_VECTORS)
    assert items == list(recommender.items.ids.ids) and users == list(recommender.users.ids.ids)
    expected = all_scores(recommender, over_the_items=True)
    np.testing.assert_allclose(user_vectors @ item_vectors.T, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("model", ["NextItemRidge", "SeqCFGDiffRec"])
def test_scores_of_pairs_are_no_inner_products(model, tmp_path):
    with pytest.raises(ConfigError, match=r"vectors: the scores of a .*linear .* are no inner products"):
        write_vectors(make_recommender(model), tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_are_written_in_batches_that_are_the_whole(tmp_path, monkeypatch):
    recommender = make_recommender()
    write_vectors(recommender, tmp_path)
    names = (ITEM_VECTORS, USER_VECTORS)
    whole = [read(tmp_path / name) for name in names]
    monkeypatch.setattr(vectors, "_ROWS", 4)
    write_vectors(recommender, tmp_path)
    for name, (ids, matrix) in zip(names, whole):
        assert pyarrow.parquet.ParquetFile(tmp_path / name).num_row_groups == -(-len(ids) // 4)
        again = read(tmp_path / name)
        assert again[0] == ids
        np.testing.assert_allclose(again[1], matrix, rtol=1e-5, atol=1e-6)


def test_without_known_users_there_are_items_only(tmp_path):
    write_vectors(replace(make_recommender(), users=None), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [ITEM_VECTORS]


@pytest.mark.parametrize("model", ["CFGDiffRec", "ForwardCFGDiffRec"])
def test_the_same_history_gives_anybody_the_vector_of_a_known_user(model, tmp_path):
    recommender = make_recommender(model)
    write_vectors(recommender, tmp_path)
    users, expected = read(tmp_path / USER_VECTORS)
    histories = [history_of(recommender, user) for user in users]
    np.testing.assert_allclose(query_vectors(recommender, histories), expected, rtol=1e-5, atol=1e-6)
    other = query_vectors(recommender, histories, guidance_scale=2.0)
    assert other.dtype == np.float32 and np.abs(other - expected).max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean_type": "eps", "output_scale": 1}, "vectors: scores hold a share of the history itself"),
        ({"norm": True, "sampling_noise": True}, "vectors: the reverse process runs over the items"),
    ],
)
def test_scores_that_are_no_inner_products_are_refused(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        write_vectors(make_recommender(**options), tmp_path)


def test_an_index_gives_the_ranking_of_the_model(tmp_path):
    """The top 20 of 1,000 users, by faiss."""
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    recommender = replace(make_recommender(n_items=2000, n_users=1000, dims_dnn=[64]), guidance_scale=2.0)
    write_vectors(recommender, tmp_path)
    _, item_vectors = read(tmp_path / ITEM_VECTORS)
    _, user_vectors = read(tmp_path / USER_VECTORS)
    index = faiss.IndexFlatIP(item_vectors.shape[1])
    index.add(item_vectors)
    _, found = index.search(user_vectors, 20)
    scores = all_scores(recommender)
    best = np.argsort(-scores, axis=1)[:, :21]
    # Where two scores differ by less than rounding, either order is theirs.
    gap = np.diff(-np.take_along_axis(scores, best, axis=1), axis=1).min(axis=1)
    is_clear = gap > 1e-5 * np.abs(scores).max()
    assert is_clear.mean() > 0.9
    np.testing.assert_array_equal(found[is_clear], best[is_clear, :20])
    np.testing.assert_allclose(
        np.take_along_axis(scores, found, axis=1), np.take_along_axis(scores, best[:, :20], axis=1), rtol=1e-4
    )


@pytest.mark.parametrize("scale", [math.nan, math.inf, "2"])
def test_scales_that_are_none_are_refused(scale):
    with pytest.raises(ConfigError, match="guidance_scale: expected a finite number"):
        query_vectors(make_recommender(), [["i1"]], scale)
