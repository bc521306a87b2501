"""What RecBole 1.2.1 does to columns, by pandas 2 and 3: the same values."""

from pathlib import Path

from conftest import write_inter
from recbole_cfgdiff import data
from recbole_cfgdiff.overlay.config import Config

HEADER = "item_id:token\tkind:token\tprice:float\twords:token_seq\tplace:float_seq"
ITEMS = ["i\tbook\t2\ta b\t1 2 3", "j\t\t\t\t", "k\tdisc\t4\tb\t3"]
COLUMNS = {"inter": ["user_id", "item_id"], "item": [f.split(":")[0] for f in HEADER.split("\t")]}


def items(**options):
    write_inter(Path("dataset"), "d", [("u", "i"), ("u", "j"), ("v", "k")], "user_id:token\titem_id:token")
    Path("dataset/d/d.item").write_text("\n".join([HEADER, *ITEMS]) + "\n")
    options = {"load_col": COLUMNS, "eval_args": {"order": "RO"}, **options}
    dataset = data.create_dataset(Config("Pop", "d", config_dict=options))
    return dataset, dataset.item_feat


def test_missing_values_are_filled(empty_folder):
    dataset, rows = items()
    assert rows["kind"].tolist() == [0, 1, 0, 2]
    assert rows["price"].tolist() == [3, 2, 3, 4]
    assert [dataset.id2token("words", ids).tolist() for ids in rows["words"]] == [[], ["a", "b"], [], ["b"]]
    assert [numbers.tolist() for numbers in rows["place"]] == [[], [1, 2, 3], [], [3]]


def test_sequences_of_numbers_are_scaled_and_split_again(empty_folder):
    _, rows = items(normalize_all=False, normalize_field=["place"])
    assert [numbers.tolist() for numbers in rows["place"]] == [[], [0, 0.5, 1], [], [1]]


def test_sequences_of_numbers_are_put_into_buckets(empty_folder):
    buckets = {"place": {"method": "ED", "bucket": 2}}
    _, rows = items(normalize_all=False, numerical_features=["place"], discretization=buckets)
    assert [[part.tolist() for part in parts] for parts in rows["place"]] == [
        [[], []],
        [[1, 1, 1], [1, 1, 2]],
        [[], []],
        [[1], [2]],
    ]
