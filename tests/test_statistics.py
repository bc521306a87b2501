"""Paired tests, intervals and corrected p-values."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.reporting.statistics import bootstrap_interval, differences, holm, sign_flip_p_values

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)
columns = st.lists(st.integers(-3, 3), min_size=2, max_size=9)


def exact_p_value(values):
    """By all flips of signs: twice the smaller tail, as scipy defines a two-sided p-value."""
    means = [np.dot(signs, values) for signs in itertools.product((-1, 1), repeat=len(values))]
    upper = np.mean([mean >= sum(values) - 1e-9 for mean in means])
    lower = np.mean([mean <= sum(values) + 1e-9 for mean in means])
    return min(1.0, 2 * min(upper, lower))


@given(columns)
def test_few_pairs_are_tested_by_all_flips_of_signs(values):
    found = sign_flip_p_values(np.array(values, dtype=float)[:, None])
    assert found == pytest.approx([exact_p_value(values)])


def test_columns_share_the_flips_but_not_the_result():
    noise = np.random.default_rng(0).normal(size=(400, 1))
    values = np.hstack([np.sign(noise - np.median(noise)), noise + 0.1, noise + 1.0])
    together = sign_flip_p_values(values)
    apart = [sign_flip_p_values(values[:, [index]])[0] for index in range(3)]
    assert together == pytest.approx(apart)
    assert together[0] > 0.05 and together[2] == pytest.approx(2 / 10_000)


def test_without_any_difference_nothing_is_significant():
    for n in (1, 5, 300):
        assert sign_flip_p_values(np.zeros((n, 2))) == pytest.approx([1.0, 1.0])
        assert bootstrap_interval(np.zeros(n)) == (0.0, 0.0)


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(0.3, 1.0, size=2000)
    low, high = bootstrap_interval(values)
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_holm_of_the_textbook():
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_lists)
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values):
    corrected, p = holm(p_values), np.array(p_values)
    assert (corrected >= p).all() and (corrected <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def frame(**users):
    return pd.DataFrame({"recall@2": users})


def test_differences_are_paired_by_user_and_by_seed():
    # Seed 3 has no partner, user c was tested in one of the models only.
    first = {1: frame(a=1.0, b=0.0), 2: frame(b=1.0, a=1.0, c=1.0), 3: frame(a=0.0, b=0.0)}
    other = {1: frame(a=0.0, b=0.0), 2: frame(a=0.5, b=0.0)}
    (found,) = differences(first, [other])
    difference = found["recall@2"]
    # a: (1 + 0.5) / 2, b: (0 + 1) / 2; by seed: 0.5 and 0.75.
    assert difference.mean == pytest.approx((0.75 + 0.5) / 2)
    assert (difference.users, difference.seeds, difference.same_sign) == (2, 2, True)
    assert difference.p_value == pytest.approx(2 / 4)


def test_seeds_that_disagree_are_seen():
    first, other = {1: frame(a=1.0, b=1.0), 2: frame(a=0.0, b=0.0)}, {1: frame(a=0.0, b=0.0), 2: frame(a=0.5, b=0.0)}
    (found,) = differences(first, [other])
    assert not found["recall@2"].same_sign
