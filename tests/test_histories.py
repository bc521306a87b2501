import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.scoring.histories import Histories

N_USERS, N_ITEMS = 5, 7

pairs = st.lists(st.tuples(st.integers(1, N_USERS - 1), st.integers(1, N_ITEMS - 1)), max_size=40)


def histories_of(pairs):
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Histories.of_pairs(users, items, N_USERS, N_ITEMS)


def in_order(pairs, user):
    """A user's items in order, each at its first occurrence."""
    return list(dict.fromkeys(item for owner, item in pairs if owner == user))


@given(pairs)
def test_histories_keep_order_and_repeats(pairs):
    histories = histories_of(pairs)
    items = [each.tolist() for each in histories.items.split(histories.counts().tolist())]
    assert items == [[item for owner, item in pairs if owner == user] for user in range(N_USERS)]


@given(pairs)
def test_without_repeats_each_item_stands_where_it_came_first(pairs):
    histories = histories_of(pairs).without_repeats()
    for user in range(N_USERS):
        start, end = histories.offsets[user], histories.offsets[user + 1]
        assert histories.items[start:end].tolist() == in_order(pairs, user)


@given(pairs, st.lists(st.integers(0, N_USERS - 1), min_size=1, max_size=8))
def test_dense_rows_are_multi_hot(pairs, users):
    dense = histories_of(pairs).without_repeats().select(torch.tensor(users)).dense()
    expected = torch.zeros(len(users), N_ITEMS)
    for row, user in enumerate(users):
        expected[row, in_order(pairs, user)] = 1
    assert torch.equal(dense, expected)


@given(pairs, st.lists(st.integers(0, N_USERS - 1), max_size=8))
def test_histories_of_some_are_theirs_in_order(pairs, users):
    some = histories_of(pairs).without_repeats().of(torch.tensor(users, dtype=torch.int64))
    items = [each.tolist() for each in some.items.split(some.counts().tolist())]
    assert items == [in_order(pairs, user) for user in users] and len(some.values) == len(some.items)


@given(pairs, st.floats(0, 1), st.floats(0, 2))
def test_recency_weights_rise_linearly_within_each_user(pairs, w_min, w_max):
    dense = (
        histories_of(pairs).without_repeats().weighted_by_recency(w_min, w_max).select(torch.arange(N_USERS)).dense()
    )
    for user in range(N_USERS):
        items = in_order(pairs, user)
        expected = np.linspace(w_min, w_max, len(items))
        np.testing.assert_allclose(dense[user, items].numpy(), expected, rtol=1e-5, atol=1e-7)


def test_memory_is_that_of_the_interactions_not_of_the_longest_history():
    users = np.concatenate([np.ones(10_000, dtype=np.int64), np.arange(2, 5_000)])
    items = np.concatenate([np.arange(1, 10_001), np.ones(4_998, dtype=np.int64)])
    histories = Histories.of_pairs(users, items, 5_000, 10_001)
    cells = sum(tensor.numel() for tensor in (histories.offsets, histories.items, histories.values))
    assert cells == 5_001 + 2 * len(users)
