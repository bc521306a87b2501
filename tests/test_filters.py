"""Options that select rows: checked before training, applied as they read, and what each takes is told."""

import logging
from pathlib import Path

import pytest

from conftest import write_inter
from recbole_cfgdiff import data
from recbole_cfgdiff.data.filters import read_intervals, source_of
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tcolor:token"
COLUMNS = {"inter": ["user_id", "item_id", "rating", "timestamp", "color"]}


@pytest.fixture
def shop(empty_folder):
    """``dataset/shop``: ten users with ten ratings of 1 to 5 each, u0 with three; a row twice, at another time."""
    rows = [
        (f"u{user}", f"i{(user + place) % 15}", 1 + place % 5, 100 + place, "red" if place % 2 else "blue")
        for user in range(10)
        for place in range(3 if user == 0 else 10)
    ]
    write_inter(empty_folder / "dataset", "shop", [*rows, ("u1", "i1", 5, 99, "green")], HEADER)
    return "shop"


def load(name, caplog, model="Pop", **options):
    config = Config(model, name, config_dict={"load_col": COLUMNS, **options})
    with caplog.at_level(logging.INFO):
        dataset = data.create_dataset(config)
    return dataset, [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("options", "n_rows", "told"),
    [
        ({}, 94, None),
        ({"val_interval": {"rating": "[4,inf)"}}, 37, "57 of 94 rows left out: rating below 4 (val_interval)"),
        ({"val_interval": {"rating": "(4,inf)"}}, 19, "75 of 94 rows left out: rating at most 4 (val_interval)"),
        ({"val_interval": {"rating": "(-inf,4)"}}, 57, "37 of 94 rows left out: rating at least 4 (val_interval)"),
        ({"val_interval": {"rating": "(-inf,4]"}}, 75, "19 of 94 rows left out: rating above 4 (val_interval)"),
        ({"val_interval": {"rating": "[2,2];(3,5]"}}, 56, "38 of 94 rows left out: rating outside [2,2];(3,5]"),
        ({"val_interval": {"rating": [4, 5]}}, 37, "57 of 94 rows left out: rating outside [4,5] (val_interval)"),
        ({"val_interval": {"color": ["red"]}}, 46, "48 of 94 rows left out: color none of red (val_interval)"),
        ({"rm_dup_inter": "first"}, 93, "1 of 94 rows left out: a user's and an item's rows but the first"),
        ({"rm_dup_inter": "last"}, 93, "1 of 94 rows left out: a user's and an item's rows but the last"),
        (
            {"user_inter_num_interval": "[5,inf)"},
            91,
            "3 of 94 rows left out: users with a number of rows below 5 (user_inter_num_interval)",
        ),
        (
            {"item_inter_num_interval": "[0,6]"},
            46,
            "48 of 94 rows left out: items with a number of rows outside [0,6] (item_inter_num_interval)",
        ),
        ({"user_inter_num_interval": "[0,inf)", "item_inter_num_interval": None}, 94, None),
    ],
    ids=str,
)
def test_each_filter_takes_what_it_says_and_tells_it(options, n_rows, told, shop, caplog):
    dataset, messages = load(shop, caplog, **options)
    assert len(dataset.inter_feat) == n_rows
    left_out = [message for message in messages if "left out" in message]
    assert len(left_out) == (told is not None) and all(message.startswith(told) for message in left_out)


def test_the_first_of_two_rows_is_the_earlier_one(shop, caplog):
    dataset, _ = load(shop, caplog, rm_dup_inter="first")
    rows = dataset.inter_feat
    user, item = dataset.token2id("user_id", "u1"), dataset.token2id("item_id", "i1")
    assert rows[(rows["user_id"] == user) & (rows["item_id"] == item)]["timestamp"].tolist() == [99]


def test_several_filters_are_told_one_by_one(shop, caplog):
    options = {"val_interval": {"rating": "[3,inf)"}, "user_inter_num_interval": "[2,inf)", "rm_dup_inter": "last"}
    _, messages = load(shop, caplog, **options)
    left_out = [message.split(":")[0] for message in messages if "left out" in message]
    assert left_out == ["1 of 94 rows left out", "38 of 93 rows left out", "1 of 55 rows left out"]


def test_what_a_data_set_s_own_file_filters_by_is_told_with_the_file(empty_folder, caplog):
    rows = [(f"u{user}", f"i{place}", 1 + place % 5, place) for user in range(9) for place in range(20)]
    header = HEADER.rpartition("\t")[0]
    write_inter(empty_folder / "dataset", "ml-1m", rows, header)
    options = {"load_col": {"inter": COLUMNS["inter"][:4]}, "eval_args": {"split": {"LS": "test_only"}}}
    _, messages = load("ml-1m", caplog, **options)
    told = "108 of 180 rows left out: rating below 4, properties/dataset/ml-1m.yaml (val_interval)"
    assert told in messages
    # Also in a run that has all options from a checkpoint; but not where it is given.
    options = Config("Pop", "ml-1m", config_dict=options).options
    assert source_of(Config("Pop", "ml-1m", config_dict=options), "val_interval") == "properties/dataset/ml-1m.yaml"
    assert source_of(Config("Pop", "ml-1m", config_dict={"val_interval": {"rating": "[3,9]"}}), "val_interval") is None
    Path("dataset/ml-1m/ml-1m.yaml").write_text("val_interval: {'rating': '[5,inf)'}\n")
    assert source_of(Config("Pop", "ml-1m"), "val_interval") == "dataset/ml-1m/ml-1m.yaml"


def test_a_filter_that_a_given_split_does_not_apply_is_told(empty_folder, caplog):
    rows = [(f"u{user}", f"i{place}", 1, place) for user in range(3) for place in range(4)]
    for part in ("train", "valid", "test"):
        write_inter(empty_folder / "dataset", "ml-1m", rows, HEADER.rpartition("\t")[0])
        Path("dataset/ml-1m/ml-1m.inter").rename(f"dataset/ml-1m/ml-1m.{part}.inter")
    config = Config("Pop", "ml-1m", config_dict={"benchmark_filename": ["train", "valid", "test"]})
    assert len(data.create_dataset(config).inter_feat) == 36
    assert "val_interval of properties/dataset/ml-1m.yaml does not apply: the data set comes split" in caplog.text


def test_users_and_items_without_a_row_of_their_own_are_told(shop, caplog):
    Path("dataset/shop/shop.item").write_text(
        "item_id:token\tprice:float\n" + "".join(f"i{item}\t{item if item else ''}\n" for item in (*range(14), 1))
    )
    columns = {**COLUMNS, "item": ["item_id", "price"]}
    dataset, messages = load(shop, caplog, load_col=columns)
    assert len(dataset.inter_feat) == 89
    assert "1 of 15 rows of dataset/shop/shop.item left out: their item_id stands above them" in messages
    assert any(message.startswith("5 of 94 rows left out: users or items that .user or .item") for message in messages)
    assert "1 of 14 values of price are missing: set to the mean" in messages
    dataset, messages = load(shop, caplog, load_col=columns, val_interval={"price": "[1,9]"})
    assert "4 of 14 rows of .item left out: price outside [1,9] (val_interval)" not in messages  # and the missing one
    assert "5 of 14 rows of .item left out: price outside [1,9] (val_interval)" in messages


def test_what_a_knowledge_graph_takes_is_told(shop, caplog):
    triples = [(f"e{n}", "r", f"e{(n * m) % 14}") for n in range(14) for m in (2, 3)]
    links = [(f"i{n}", f"e{n}") for n in range(14)]
    for suffix, header, rows in (
        ("kg", "head_id:token\trelation_id:token\ttail_id:token", triples),
        ("link", "item_id:token\tentity_id:token", links),
    ):
        Path(f"dataset/shop/shop.{suffix}").write_text("\n".join([header, *map("\t".join, rows)]) + "\n")
    columns = {**COLUMNS, "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    dataset, messages = load(shop, caplog, "CKE", load_col=columns, entity_kg_num_interval="[1,inf)")
    assert [message for message in messages if "left out" in message] == [
        "0 of 28 rows of .kg left out: entities with a number of rows below 1 (entity_kg_num_interval)",
        "5 of 94 rows left out: items that .link leads to no entity",
    ]
    assert len(dataset.inter_feat) == 89


def test_users_and_items_without_a_row_to_train_on_are_told(shop, caplog):
    Path("dataset/shop/shop.user").write_text("user_id:token\tage:float\n" + "".join(f"u{n}\t{n}\n" for n in range(12)))
    options = {"load_col": {**COLUMNS, "user": ["user_id", "age"]}, "eval_args": {"split": {"RS": [0.1, 0.5, 0.4]}}}
    with caplog.at_level(logging.INFO):
        _, train, *_ = load_data(Config("Pop", shop, config_dict=options))
    n_items = len(train._dataset.inter_feat["item_id"].unique())
    assert "2 of 12 users have no row to train on" in caplog.text
    assert f"{15 - n_items} of 15 items have no row to train on" in caplog.text and n_items < 15


def test_noise_and_held_out_users_are_told(shop, caplog):
    config = Config("CFGDiffRec", shop, config_dict={"load_col": COLUMNS, "noise_threshold": 4.0})
    with caplog.at_level(logging.INFO):
        load_data(config)
    assert "rows left out, " in caplog.text and "with rating below 4 let into training and validation" in caplog.text
    config = Config("CFGDiffRec", shop, config_dict={"load_col": COLUMNS, "heldout_users": 0.2})
    with caplog.at_level(logging.INFO):
        load_data(config)
    assert "2 of 10 users held out from training (heldout_users)" in caplog.text


@pytest.mark.parametrize(
    "value",
    [
        *(5, 5.0, True, "5", "[5,inf", "5,inf", ">=3", "", ";", "[1,2];", "[a,b]", "[,]", "[1;2]", "{1,2}", "[1,2,3]"),
        *([1], [1, 2, 3], ["a", 2], {"a": 1}, "[nan,5]", "[5,2]", "(5,5)", "[5,5)", "[3,5];[0,1]", "[0,5];[3,9]"),
    ],
    ids=str,
)
def test_another_form_than_an_interval_is_refused(value):
    with pytest.raises(
        ConfigError, match=r"^option: expected an interval such as '\[4,inf\)', or several in ascending"
    ):
        read_intervals("option", value)


@pytest.mark.parametrize("value", ["[5,5]", " [ 0 , 1 ] ; (5,inf)", [0, 5], (0, 5), "(-inf,1e3]", "[0,1];[1,2]"])
def test_what_recbole_reads_as_intervals_is_read(value):
    assert str(read_intervals("option", value)[0]).startswith(("[5", "[0", "(0", "(-inf"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_interval": {"rating": "4"}}, "val_interval: rating: expected an interval"),
        ({"val_interval": {"rating": [4, 5, 6]}}, "val_interval: rating: expected an interval"),
        (
            {"val_interval": {"rating": ["4"]}},
            "rating: expected a column of type token, it is of type float, which an in",
        ),
        (
            {"val_interval": {"color": "[1,2]"}},
            "color: expected a column of type float, it is of type token, which a li",
        ),
        ({"val_interval": {"rates": "[1,2]"}}, "data set shop: val_interval: rates: no column of that name is loaded"),
        ({"user_inter_num_interval": 5}, "user_inter_num_interval: expected an interval"),
        ({"item_inter_num_interval": ">=3"}, "item_inter_num_interval: expected an interval"),
        ({"rm_dup_inter": False}, "rm_dup_inter: expected one of None, first, last, got False"),
        ({"filter_inter_by_user_or_item": 1}, "filter_inter_by_user_or_item: expected one of None, True, False, got 1"),
        ({"threshold": {"rating": "4"}}, "threshold: expected one column and a number, such as {'rating': 4}"),
        ({"threshold": {"rating": 4, "timestamp": 1}}, "threshold: expected one column and a number"),
        ({"threshold": {"color": 4}}, "threshold: color: expected a column of type float, it is of type token"),
        ({"noise_threshold": 4.0, "RATING_FIELD": "color"}, "noise_threshold: color: expected a column of type float"),
        ({"TIME_FIELD": "color"}, "the times to order by must be numbers, but color is of type token"),
        (
            {"TIME_FIELD": "color", "rm_dup_inter": "first", "eval_args": {"order": "RO"}},
            "rm_dup_inter: color: expected a column of type float",
        ),
        (
            {"load_col": {"inter": ["user_id", "item_id", "timestamp", "nope"]}},
            "has no column 'nope'; there are user_id",
        ),
        ({"load_col": {**COLUMNS, "itme": ["a"]}}, "load_col: itme: there is no file dataset/shop/shop.itme"),
        ({"unload_col": {"inter": ["nope"]}}, "unload_col: inter: dataset/shop/shop.inter has no column 'nope'"),
        ({"unused_col": {"inter": ["user_id"]}}, "unused_col: user_id of inter is needed"),
        ({"unused_col": {"itme": ["price"]}}, "unused_col: no columns of itme are loaded"),
        ({"unload_col": {"inter": ["rating"]}}, "unload_col: load_col says what is loaded of dataset/shop/shop.inter"),
        ({"unused_col": ["rating"]}, "unused_col: expected such as {'inter': ['rating']}"),
        ({"ITEM_ID_FIELD": "user_id"}, "USER_ID_FIELD, ITEM_ID_FIELD: expected two columns, got 'user_id' for both"),
        (
            {"user_inter_num_interval": "[99,inf)"},
            "no row is left, check the filtering settings; 94 of 94 rows left out",
        ),
        ({"additional_feat_suffix": ["../x"]}, "additional_feat_suffix: expected the suffix of a file of its own"),
        ({"additional_feat_suffix": ["net"]}, "expected the file dataset/shop/shop.net, which does not exist"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_columns_is_refused(options, message, shop, caplog):
    with pytest.raises(ConfigError) as error:
        load(shop, caplog, **options)
    assert message in str(error.value)


def test_a_name_in_two_files_is_refused(shop, caplog):
    Path("dataset/shop/shop.item").write_text("item_id:token\trating:float\ni1\t2\n")
    with pytest.raises(ConfigError, match="the column rating is loaded from"):
        load(shop, caplog, load_col={**COLUMNS, "item": ["item_id", "rating"]})
