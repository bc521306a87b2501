"""Rows of equal times keep the order of the file: hundreds of them, so that an unstable sort would change it."""

import numpy as np
import pytest

from conftest import write_inter
from recbole_cfgdiff.data.histories import histories_of
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data

N_USERS, N_ITEMS = 4, 320
# 400 rows a user at four times a second apart; the last 80 repeat the first 80 items.
ROWS = [
    (f"u{user}", f"i{place % N_ITEMS}", 1_400_000_000 + place // 100) for place in range(400) for user in range(N_USERS)
]
RATIOS = [0.5, 0.25, 0.25]


@pytest.fixture
def ties(empty_folder):
    """``dataset/ties``: the times in no order, those of a user's equal ones in the order of ``ROWS``."""
    times = np.random.default_rng(0).permutation(sorted({time for *_, time in ROWS}))
    write_inter(empty_folder / "dataset", "ties", [row for time in times for row in ROWS if row[2] == time])
    return "ties"


def load(name, model="CFGDiffRec", **options):
    config = Config(model, name, config_dict={"state": "ERROR", **options})
    return load_data(config)


def in_time_order(keep):
    """The rows but duplicates, by a stable sort."""
    rows = ROWS if keep != "last" else ROWS[::-1]
    seen, kept = set(), []
    for user, item, time in rows:
        if keep is None or (user, item) not in seen:
            kept.append((user, item, time))
        seen.add((user, item))
    return kept if keep != "last" else kept[::-1]


def split(rows, kind, value, group_by):
    """The three parts, each as a set of pairs by user in order."""
    if kind == "TS":
        boundary = np.percentile([time for *_, time in rows], 60)
        test = [row for row in rows if row[2] > boundary]
        rows = [row for row in rows if row[2] <= boundary]
    groups = (
        [rows] if group_by == "none" else [[row for row in rows if row[0] == f"u{user}"] for user in range(N_USERS)]
    )
    parts = [[], [], []]
    for group in groups:
        if kind == "RS":
            ends = [len(group) // 2, len(group) * 3 // 4]
        elif kind == "TS":
            ends = [int(len(group) * (0.4 / (1 - 0.4))), len(group)]
        else:
            n_valid, n_test = {"valid_and_test": (1, 1), "valid_only": (1, 0), "test_only": (0, 1)}[value]
            ends = [len(group) - n_valid - n_test, len(group) - n_test]
        for part, chosen in zip(parts, (group[: ends[0]], group[ends[0] : ends[1]], group[ends[1] :])):
            part += chosen
    if kind == "TS":
        parts[2] = test
    return [by_user(part) for part in parts]


def by_user(rows):
    return {f"u{user}": [item for owner, item, *_ in rows if owner == f"u{user}"] for user in range(N_USERS)}


def tokens_of(dataset, part):
    columns = (dataset.id2token(field, part.inter_feat[field].numpy()) for field in ("user_id", "item_id"))
    return by_user(list(zip(*columns)))


SPLITS = [
    ("RS", RATIOS, "user"),
    ("RS", RATIOS, "none"),
    ("LS", "valid_and_test", "user"),
    ("LS", "valid_only", "user"),
    ("LS", "test_only", "user"),
    ("TS", [0.4, 0.2, 0.4], "user"),
]


@pytest.mark.parametrize("keep", [None, "first", "last"])
@pytest.mark.parametrize(("kind", "value", "group_by"), SPLITS)
def test_every_split_is_that_of_a_stable_sort(kind, value, group_by, keep, ties):
    wanted = split(in_time_order(keep), kind, value, group_by)
    options = {"eval_args": {"split": {kind: value}, "group_by": group_by}, "rm_dup_inter": keep}
    for repeatable in (False, True):
        dataset, *loaders = load(ties, "EASE", repeatable=repeatable, **options)
        assert [tokens_of(dataset, loader._dataset) for loader in loaders] == wanted


@pytest.mark.parametrize("keep", ["first", "last"])
def test_a_random_split_removes_the_same_duplicates(keep, ties):
    dataset, *loaders = load(ties, "EASE", rm_dup_inter=keep, eval_args={"order": "RO"})
    times = {(user, item): time for user, item, time in in_time_order(keep)}
    rows = 0
    for loader in loaders:
        inter = loader._dataset.inter_feat
        columns = [dataset.id2token(field, inter[field].numpy()) for field in ("user_id", "item_id")]
        for user, item, time in zip(*columns, inter["timestamp"].tolist()):
            assert time == np.float32(times[user, item])
            rows += 1
    assert rows == len(times)


def test_histories_and_sequences_are_in_the_order_of_a_stable_sort(ties):
    train = split(in_time_order("first"), "RS", RATIOS, "user")[0]
    options = {"eval_args": {"split": {"RS": RATIOS}}, "rm_dup_inter": "first"}
    dataset, loader, *_ = load(ties, "ForwardCFGDiffRec", **options)
    histories = histories_of(loader._dataset)
    for user, items in train.items():
        start, end = histories.offsets[dataset.token2id("user_id", user) :][:2]
        assert dataset.id2token("item_id", histories.items[start:end].numpy()).tolist() == items
    dataset, *_, test = load(ties, "SASRec", **options, MAX_ITEM_LIST_LENGTH=200)
    ((users, *_),) = list(test)
    for user, sequence, length in zip(*(users[name] for name in ("user_id", "item_id_list", "item_length"))):
        items = dataset.id2token("item_id", sequence[:length].numpy()).tolist()
        assert items == train[dataset.id2token("user_id", int(user))]


def test_recbole_s_own_sequences_are_in_the_order_of_a_stable_sort(ties):
    rows = by_user(in_time_order("first"))
    options = {"eval_args": {"split": {"LS": "valid_and_test"}}, "rm_dup_inter": "first", "MAX_ITEM_LIST_LENGTH": 400}
    dataset, *_, test = load(ties, "SASRec", **options)
    inter = test._dataset.inter_feat
    for user, sequence, length in zip(*(inter[name] for name in ("user_id", "item_id_list", "item_length"))):
        items = dataset.id2token("item_id", sequence[:length].numpy()).tolist()
        assert items == rows[dataset.id2token("user_id", int(user))][:-1]


def test_times_that_are_features_too_order_the_rows(ties):
    wanted = split(in_time_order("first"), "RS", RATIOS, "user")
    options = {"eval_args": {"split": {"RS": RATIOS}, "order": "TO", "mode": "full"}, "rm_dup_inter": "first"}
    features = {"numerical_features": ["timestamp"], "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    measured = {"metrics": ["NDCG"], "valid_metric": "NDCG@10"}
    dataset, *loaders = load(ties, "FM", **options, **features, **measured)
    assert [tokens_of(dataset, loader._dataset) for loader in loaders] == wanted


def test_the_noisy_protocol_splits_by_a_stable_sort(empty_folder):
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    rows = [(f"u{user}", f"i{place}", 1 + place % 5, 7) for place in range(400) for user in range(N_USERS)]
    write_inter(empty_folder / "dataset", "ties", rows, header)
    columns = {"load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}}
    dataset, *loaders = load("ties", noise_threshold=4.0, **columns)
    clean = [f"i{place}" for place in range(400) if place % 5 >= 3]
    for user in range(N_USERS):
        (train, valid, test) = (tokens_of(dataset, loader._dataset)[f"u{user}"] for loader in loaders)
        assert test == clean[-len(test) :]
        for part in (train, valid):
            assert part == sorted(part, key=lambda item: int(item[1:]))
