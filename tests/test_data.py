import zipfile

import numpy as np
import pytest
import recbole.data
import torch

from conftest import SHARED_DATA, write_inter
from recbole_cfgdiff import data
from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.data import download
from recbole_cfgdiff.data.histories import histories_of
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config

# RecBole refuses data in which a user has interacted with all items.
ANOTHER = ("another", "item", 1)


def load(dataset, model="CFGDiffRec", **options):
    config = Config(model, dataset, config_dict=options)
    dataset = data.create_dataset(config)
    return dataset, *data.data_preparation(config, dataset, data.UserDataLoader)


def pairs(dataset, part):
    """(user, item) tokens of a part, in order."""
    columns = (part.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    users, items = (dataset.id2token(field, ids) for field, ids in zip((dataset.uid_field, dataset.iid_field), columns))
    return list(zip(users, items))


@pytest.mark.parametrize("normalize_all", [False, True])
def test_the_split_is_in_exact_time_order(empty_folder, normalize_all):
    """Times a second apart, which RecBole's float32 cannot tell apart, in a shuffled file."""
    rows = [(f"u{user}", f"i{place}", 1_400_000_000 + place) for user in range(5) for place in range(20)]
    np.random.default_rng(0).shuffle(rows)
    write_inter(empty_folder / "dataset", "close", [*rows, ANOTHER])
    dataset, train, valid, test = load("close", normalize_all=normalize_all)
    for part, places in ((train, range(14)), (valid, range(14, 18)), (test, range(18, 20))):
        for user in range(5):
            items = [item for owner, item in pairs(dataset, part._dataset) if owner == f"u{user}"]
            assert items == [f"i{place}" for place in places]


def test_a_random_split_keeps_the_exact_order_of_each_history(empty_folder):
    rows = [(f"u{user}", f"i{place}", 1_400_000_000 + place) for user in range(5) for place in range(20)]
    np.random.default_rng(0).shuffle(rows)
    write_inter(empty_folder / "dataset", "close", [*rows, ANOTHER])
    dataset, train, _, _ = load("close", eval_args={"order": "RO"})
    histories = histories_of(train._dataset)
    for user in range(5):
        id_ = dataset.token2id("user_id", f"u{user}")
        items = dataset.id2token("item_id", histories.select(torch.tensor([id_])).items.numpy())
        places = [int(item[1:]) for item in items]
        assert len(places) == 14 and places == sorted(places)


def test_a_random_split_leaves_the_times_as_they_are(empty_folder):
    rows = [(f"u{user}", f"i{place}", place) for user in range(3) for place in range(10)]
    write_inter(empty_folder / "dataset", "few", [*rows, ANOTHER])
    dataset, train, _, _ = load("few", eval_args={"order": "RO"})
    items = dataset.id2token("item_id", train._dataset.inter_feat["item_id"].numpy())
    times = train._dataset.inter_feat["timestamp"].tolist()
    assert [f"i{time:.0f}" for time in times if time != 1] == [item for item, time in zip(items, times) if time != 1]


def test_equal_times_keep_the_order_of_the_file(empty_folder):
    rows = [(f"u{user}", f"i{place}", 5) for user in range(3) for place in range(10)]
    write_inter(empty_folder / "dataset", "ties", [*rows, ANOTHER])
    dataset, train, _, _ = load("ties")
    assert [item for owner, item in pairs(dataset, train._dataset) if owner == "u1"] == [f"i{i}" for i in range(7)]


def test_given_splits_are_sorted_only_within_each_file(empty_folder):
    folder = empty_folder / "dataset" / "split"
    folder.mkdir(parents=True)
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    for part, rows in {"train": ["u\tb\t9", "u\ta\t8", "v\tz\t3"], "valid": ["u\tc\t1"], "test": ["u\td\t0"]}.items():
        (folder / f"split.{part}.inter").write_text(header + "\n".join(rows) + "\n")
    dataset, *parts = load("split", benchmark_filename=["train", "valid", "test"])
    assert [pairs(dataset, part._dataset) for part in parts] == [
        [("v", "z"), ("u", "a"), ("u", "b")],
        [("u", "c")],
        [("u", "d")],
    ]


def test_training_batches_hold_every_user_with_a_history_once_and_no_padding(tiny):
    dataset, train, _, _ = load(tiny, train_batch_size=7)
    users = torch.cat([batch["user_id"] for batch in train])
    assert sorted(users.tolist()) == list(range(1, dataset.user_num))
    recboles = recbole.data.data_preparation(Config("DiffRec", tiny), data.create_dataset(Config("DiffRec", tiny)))[0]
    assert 0 in torch.cat([batch["user_id"] for batch in recboles])


def test_a_final_fit_has_no_validation_part(tiny):
    split = {"split": {"RS": [0.8, 0, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}
    _, train, valid, test = load(tiny, eval_args=split)
    assert len(valid) == 0
    assert len(train._dataset) + len(test._dataset) == len(load(tiny)[0])


@pytest.mark.parametrize(
    ("split", "sizes"),
    [({"LS": "test_only"}, (840, 0, 60)), ({"LS": "valid_only"}, (840, 60, 0)), ({"RS": [9, 1, 0]}, None)],
)
def test_splits_without_a_part_are_allowed(tiny, split, sizes):
    dataset, *parts = load(tiny, eval_args={"split": split})
    lengths = [len(part._dataset) for part in parts]
    assert sum(lengths) == len(dataset) and 0 in lengths
    if sizes:
        assert [length > 0 for length in lengths] == [size > 0 for size in sizes]


def test_a_random_order_is_recboles_for_the_same_seed(tiny):
    options = {"eval_args": {"order": "RO"}, "seed": 3}
    config = Config("CFGDiffRec", tiny, config_dict=options)
    torch.manual_seed(3)
    ours = load(tiny, **options)
    torch.manual_seed(3)
    raw = recbole.data.create_dataset(config)
    assert set(pairs(ours[0], ours[3]._dataset)) == set(pairs(raw, raw.build()[2]))


def test_what_recbole_reads_is_not_refused(empty_folder):
    """Quoted fields, missing values, text in a column that is not loaded, fields cut off behind those that are."""
    lines = ['"u 1"\t"i\t1"\t1\t\tx', "u2\ti2\t2", "u2\ti3\t3\tnan\ty", "u2\ti4\t4\t0.5\ty", "\t\t\t\t", ""]
    header = "user_id:token\titem_id:token\ttimestamp:float\tweight:float\tnot_loaded:float"
    folder = empty_folder / "dataset" / "odd"
    folder.mkdir(parents=True)
    (folder / "odd.inter").write_bytes("\r\n".join([header, *lines, *lines]).encode())
    options = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "eval_args": {"split": {"RS": [1, 0, 0]}}}
    config = Config("CFGDiffRec", "odd", config_dict=options)
    dataset = data.create_dataset(config)
    columns = [dataset.id2token(field, dataset.inter_feat[field]) for field in ("user_id", "item_id")]
    tokens = set(zip(*columns))
    assert {("u 1", "i\t1"), ("u2", "i2"), ("u2", "i3"), ("u2", "i4")} <= tokens


@pytest.fixture
def offline_archive(empty_folder, monkeypatch):
    """A table of downloads that points into the file system: `tiny-ml`, as RecBole ships it, and `broken`."""
    archive = empty_folder / "Tiny-ML.zip"
    with zipfile.ZipFile(archive, "w") as file:
        rows = [f"{user}\t{item}\t{item}" for user in range(4) for item in range(user, user + 10)]
        file.writestr("Tiny-ML.inter", "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]))
    (empty_folder / "broken.zip").write_bytes(b"no archive")
    properties = empty_folder / "properties"
    (properties / "dataset").mkdir(parents=True)
    urls = {"tiny-ml": archive, "broken": empty_folder / "broken.zip", "gone": empty_folder / "gone.zip"}
    table = "\n".join(f"{name}: {path.as_uri()}" for name, path in urls.items())
    (properties / "dataset" / "url.yaml").write_text(table)
    monkeypatch.setattr(download, "RECBOLE_PROPERTIES", properties)


def test_recboles_download_works_in_a_single_process(offline_archive, empty_folder):
    assert len(load("tiny-ml")[0]) == 40
    assert [path.name for path in (empty_folder / "dataset").iterdir()] == ["tiny-ml"]


@pytest.mark.parametrize("name", ["broken", "gone"])
def test_a_failed_download_says_which_file_belongs_where_and_leaves_nothing(name, offline_archive, empty_folder):
    with pytest.raises(
        ConfigError, match=f"expected the file dataset/{name}/{name}.inter; the download from .* failed"
    ):
        load(name)
    assert not list((empty_folder / "dataset").glob("*"))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the DiffRec authors' ML-1M split is not part of the repository")
def test_the_ml_1m_split_trains_an_epoch_by_the_same_command(empty_folder, cli):
    assert main(["convert", "diffrec", str(SHARED_DATA / "diffrec_ml-1m_clean.zip"), "--name=ml-1m-clean"]) == 0
    outcome = cli("--model=DiffRec", "--dataset=ml-1m-clean", "--epochs=1", "--show_progress=False")
    assert outcome.status == 0
    assert "ndcg@10" in outcome.out
    dataset, *parts = load("ml-1m-clean", "DiffRec")
    assert (dataset.user_num - 1, dataset.item_num - 1) == (5949, 2810)
    assert [len(part._dataset) for part in parts] == [403277, 110722, 57532]
