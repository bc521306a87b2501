import json
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from recommending import make_recommender
from safetensors.torch import load_file, save_file

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.recommender import Users
from recbole_cfgdiff.scoring.histories import Histories

MODELS = ["CFGDiffRec", "DiffRec", "ForwardCFGDiffRec", "NextItemRidge", "SeqCFGDiffRec"]
USERS = ["u1", "u4", "u12"]


@pytest.fixture
def folder(tmp_path):
    make_recommender().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refused(folder):
    with pytest.raises(ConfigError) as error:
        Recommender.from_pretrained(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def change_hyperparameters(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    change_config(folder, hyperparameters=config["hyperparameters"] | changes)


def change_weights(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("model", "options"),
    [
        *((model, {}) for model in MODELS),
        ("DiffRec", {"time-aware": True, "norm": True, "sampler": "ddim"}),
        ("CFGDiffRec", {"mean_type": "eps", "guidance_encoder": "raw", "time_embedding": False}),
        ("CFGDiffRec", {"input_scale": "auto", "output_scale": "auto", "sampling_timesteps": 2}),
    ],
)
def test_scores_are_the_same_bit_for_bit(model, options, tmp_path):
    recommender = make_recommender(model, **options)
    recommender.save_pretrained(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    asked = {"topk": 30, "include_seen": True}
    for whom in ({"users": USERS}, {"histories": [["i1", "i2"], []]}):
        pd.testing.assert_frame_equal(recommender.recommend(**whom, **asked), loaded.recommend(**whom, **asked))
    assert loaded.source.given == recommender.source.given and loaded.about == recommender.about


def test_known_users_without_a_history_stay_known(tmp_path):
    recommender = make_recommender()
    rows = np.array([2, 2, 5]), np.array([4, 3, 7])
    users = Users(recommender.users.ids, Histories.of_pairs(*rows, len(recommender.users.ids) + 1, 31))
    replace(recommender, users=users).save_pretrained(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model").users
    assert loaded.ids.ids.tolist() == users.ids.ids.tolist()
    assert loaded.histories.offsets.equal(users.histories.offsets)
    assert loaded.histories.items.tolist() == [4, 3, 7]


def test_a_model_that_was_loaded_is_saved_as_it_was(folder, tmp_path):
    Recommender.load(folder).save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "items.parquet", "README.md"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_without_histories_nobody_is_in_the_folder(tmp_path):
    make_recommender().save_pretrained(tmp_path / "model", with_histories=False)
    content = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert not (tmp_path / "model" / "histories.parquet").exists() and b"u12" not in content
    loaded = Recommender.load(tmp_path / "model")
    assert len(loaded.recommend(histories=[["i1"]])) == 10
    with pytest.raises(ConfigError, match="without its users' histories"):
        loaded.recommend(users=["u1"])


def test_the_card_tells_the_run(folder):
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n") and "# CFGDiffRec on films" in card
    assert "| ndcg@10 | 0.5000 | 0.2500 |" in card and "the histories of 12 users" in card


@pytest.mark.parametrize(("fit", "told"), [("all", "no row was left out"), (None, "the run has left no result")])
def test_the_card_of_a_model_without_metrics_says_why(fit, told, tmp_path):
    recommender = make_recommender()
    about = {"model": "CFGDiffRec", "fit": fit}
    replace(recommender, about=about).save_pretrained(tmp_path / "model")
    assert told in (tmp_path / "model" / "README.md").read_text()


def test_a_folder_that_is_there_stays(folder):
    before = (folder / "config.json").read_text()
    with pytest.raises(ConfigError, match="exists already"):
        make_recommender("DiffRec").save_pretrained(folder)
    assert (folder / "config.json").read_text() == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "items.parquet"])
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing"):
        Recommender.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "items.parquet", "histories.parquet"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.98])
def test_a_truncated_file_is_refused(name, kept, folder):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * kept)])
    assert name in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "items.parquet", "histories.parquet"])
def test_a_pickle_in_the_place_of_a_file_is_not_run(name, folder, tmp_path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    (folder / name).write_bytes(pickle.dumps(Attack()))
    refused(folder)
    torch.save({"state": Attack()}, folder / name)
    refused(folder)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "items.parquet", "histories.parquet"])
def test_links_and_pipes_are_not_followed(name, folder, tmp_path):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name}: expected a file, not a link" in refused(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("../elsewhere")
    assert f"{name}: expected a file, not a link" in refused(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"{name}: expected a file" in refused(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format_version": 2, "package_version": "9.9"}, "of format 2, and this version reads up to 1"),
        ({"format_version": "1"}, "see its format_version"),
        (
            {"model": "SASRec"},
            "of a model 'SASRec', and only DiffRec, CFGDiffRec, ForwardCFGDiffRec, SeqCFGDiffRec, NextItemRidge are "
            "known",
        ),
        ({"model": "../../etc/passwd"}, "of a model '../../etc/passwd'"),
        ({"model": "DiffRec"}, "hyperparameters"),
        ({"hyperparameters": {}}, "is missing, or unknown"),
        ({"n_items": 2}, "items.parquet: expected at most 1 rows, found 30"),
        ({"n_items": 32}, "expected 31 items"),
        ({"n_items": True}, "see its n_items"),
        ({"n_items": -1}, "n_items: expected at least 2"),
        ({"guidance_scale": "!!python/object/apply:os.system [touch attacked]"}, "see its guidance_scale"),
        ({"about": []}, "see its about"),
        ({"about": {"test": [1]}}, "about: test: expected metrics with their numbers"),
        ({"about": {"valid": {"ndcg@10": "=1"}}}, "about: valid: expected metrics with their numbers"),
        ({"guidance_scale": 10**400}, "guidance_scale: expected a finite number"),
        ({"guidance_scale": 1e300}, "guidance_scale: expected a finite number"),
    ],
)
def test_what_the_configuration_says_is_checked(changes, told, folder):
    change_config(folder, **changes)
    assert told in refused(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"steps": 10**15}, "steps: expected at most 200,000"),
        ({"steps": 0}, "steps: expected an integer of at least 1"),
        ({"dims_dnn": [10**9]}, "of another shape"),
        ({"dims_dnn": [16] * 101}, "dims_dnn: expected at most 100 layers"),
        ({"dims_dnn": [2**62, 2**62]}, "hyperparameters of no network"),
        ({"dims_dnn": [16, 16]}, "is missing, or unknown"),
        ({"guidance_encoder": "os.system"}, "guidance_encoder: expected one of"),
        ({"guidance_embedding_size": 10**12}, "hyperparameters of no network"),
        ({"guidance_embedding_size": 10**6}, "of another shape"),
        ({"sampler": "mine"}, "sampler: expected one of"),
        ({"w_max": "=1"}, "w_max"),
        ({"extra": 1}, "extra is missing, or unknown"),
    ],
)
def test_hyperparameters_are_checked_before_anything_is_made_of_them(changes, told, folder):
    change_hyperparameters(folder, **changes)
    assert told in refused(folder)


def test_what_the_model_is_called_is_what_it_is(folder, tmp_path):
    change_config(folder, about={"model": ["DiffRec"], "dataset": {"a": [1]}, "seed": [[]]})
    Recommender.load(folder).save_pretrained(tmp_path / "again")
    assert Recommender.load(tmp_path / "again").about["model"] == "CFGDiffRec"


@pytest.mark.parametrize("titles", [[1.5, None] * 15, ["Film", None] * 15, [True, None] * 15])
@pytest.mark.parametrize("is_coded", [False, True])
def test_titles_of_any_type_are_text(titles, is_coded, folder):
    titles = pa.array(titles)
    table = {"item": [f"i{n}" for n in range(1, 31)], "title": titles.dictionary_encode() if is_coded else titles}
    pyarrow.parquet.write_table(pa.table(table), folder / "items.parquet")
    recommender = Recommender.load(folder)
    shown = recommender.recommend(users=["u1"], topk=30, include_seen=True)["title"]
    assert set(shown) == {"" if title is None else str(title) for title in titles.to_pylist()}
    assert len(recommender.items.search(str(titles[0]).lower(), 30)) == 15


@pytest.mark.parametrize(
    "text", ["NaN", '{"about": {"seed": 1e999}}', "[" * 100_000, '{"format_version": Infinity}', "[]", "\xff"]
)
def test_a_configuration_that_is_none(text, folder):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    assert "config.json" in refused(folder)


def test_a_huge_configuration_is_not_read(folder):
    with (folder / "config.json").open("ab") as file:
        file.truncate(2**33)
    assert "expected at most 1,048,576 bytes" in refused(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("input_bias"), "'input_bias' is missing, or unknown"),
        (lambda state: state.update(more=torch.zeros(1)), "'more' is missing, or unknown"),
        (lambda state: state.update(input_bias=torch.zeros(17)), "input_bias is of another shape"),
        (lambda state: state["input_bias"].fill_(torch.nan), "input_bias is not of finite numbers"),
        (lambda state: state.update(input_bias=torch.zeros(16, dtype=torch.int64)), "not of finite numbers"),
    ],
)
def test_weights_are_those_of_the_network(change, told, folder):
    change_weights(folder, change)
    assert told in refused(folder)


def test_a_header_of_weights_that_claims_too_much(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + content[8:])
    assert "no file of safetensors, or damaged" in refused(folder)


@pytest.mark.parametrize(
    ("name", "table", "told"),
    [
        ("items.parquet", {"id": ["x"] * 30}, "expected a column 'item'"),
        ("items.parquet", {"item": ["x"] * 30}, "'x' is there twice"),
        ("items.parquet", {"item": [["x"]] * 30}, "expected text or numbers"),
        ("items.parquet", {"item": [b"x"] * 30}, "expected text or numbers"),
        ("items.parquet", {"item": ["x", None] * 15}, "a row has no item"),
        ("histories.parquet", {"user": ["u1"], "item": ["nobody's"]}, "unknown to the model"),
        ("histories.parquet", {"user": ["u1", None], "item": ["i1"] * 2}, "a row has no user"),
        ("histories.parquet", {"user": ["u1", "u1"], "item": ["i1", None]}, "no item though its user has others"),
        ("histories.parquet", {"user": ["u1"]}, "expected columns user and item"),
    ],
)
def test_tables_are_checked(name, table, told, folder):
    pyarrow.parquet.write_table(pa.table(table), folder / name)
    assert told in refused(folder)


def test_few_bytes_that_unpack_to_many_are_refused(folder, monkeypatch):
    monkeypatch.setattr("recbole_cfgdiff.recommender.tables._MOST_BYTES", 2**20)
    table = pa.table({"user": [f"{number:05}" + "u" * 10_000 for number in range(1000)], "item": ["i1"] * 1000})
    pyarrow.parquet.write_table(table, folder / "histories.parquet")
    assert (folder / "histories.parquet").stat().st_size < 2**19
    assert "expected at most 1,048,576 bytes, unpacked" in refused(folder)


def test_only_the_files_of_the_format_are_read(folder, tmp_path):
    (folder / "__init__.py").write_text(f"open({str(tmp_path / 'attacked')!r}, 'w')")
    (folder / "config.yaml").write_text("!!python/object/apply:os.system ['touch attacked']")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(print))
    assert len(Recommender.load(folder).recommend(users=["u1"])) == 10
    assert not (tmp_path / "attacked").exists()


def test_there_is_no_such_folder(tmp_path):
    assert "there is no such folder" in refused(tmp_path / "nothing")
