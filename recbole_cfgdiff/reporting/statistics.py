"""Whether two models differ: paired tests over users and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

LEVEL = 0.05
RESAMPLES = 9999
_SEED = 2020

METHOD = f"""For each metric every model is compared with the best of the others. The unit is the user: a user's
difference between two models, of the same seed, is averaged over the seeds. Under the null hypothesis these differences
are as likely to have the other sign, so their mean is compared with that after {RESAMPLES} random flips of signs (a
paired permutation test, two-sided, scipy.stats.permutation_test); intervals are 95% percentile bootstrap intervals over
users (scipy.stats.bootstrap). p-values are corrected over the models of a table by Holm's method, not over its columns.
A difference is marked * if its corrected p-value is below {LEVEL:g} and it has the same sign with every seed. Limits:
the test generalises over users like these, not over data sets, and only roughly over seeds, which are few; the best
model is chosen by the same figures that are tested; a difference that is significant can be too small to matter."""


class Difference(NamedTuple):
    """The difference between two models in one metric, the first less the second.

    Attributes:
        mean: over users and seeds.
        low: lower end of the 95% bootstrap interval.
        high: upper end.
        p_value: of the permutation test, not corrected.
        users: number of users that both were tested on.
        seeds: number of seeds that both ended with.
        same_sign: whether every seed's mean difference has one sign and none is 0.
    """

    mean: float
    low: float
    high: float
    p_value: float
    users: int
    seeds: int
    same_sign: bool


def differences(
    first: dict[int, pd.DataFrame], others: Sequence[dict[int, pd.DataFrame]]
) -> list[dict[str, Difference]]:
    """Compare a model with each of some others, in each metric.

    Args:
        first: by seed, each user's metrics, as of ``metrics.user_metrics``.
        others: likewise, with the same columns.

    Returns:
        for each of the others, by metric. Only users and seeds that both have count.
    """
    pairs = [_paired(first, other) for other in others]
    return [_test(pair) for pair in pairs]


class _Pair(NamedTuple):
    by_user: pd.DataFrame  # users x metrics, averaged over seeds
    by_seed: pd.DataFrame  # seeds x metrics, averaged over users


def _paired(first: dict[int, pd.DataFrame], other: dict[int, pd.DataFrame]) -> _Pair:
    each = {seed: (first[seed] - other[seed]).dropna() for seed in first if seed in other}
    joined = pd.concat(each, names=["seed", "user"])
    return _Pair(joined.groupby(level="user").mean(), joined.groupby(level="seed").mean())


def _test(pair: _Pair) -> dict[str, Difference]:
    values = pair.by_user.to_numpy()
    p_values = sign_flip_p_values(values)
    signs = np.sign(pair.by_seed.to_numpy())
    same_sign = (signs == signs[0]).all(axis=0) & (signs[0] != 0)
    found = {}
    for index, metric in enumerate(pair.by_user.columns):
        low, high = bootstrap_interval(values[:, index])
        found[metric] = Difference(
            float(values[:, index].mean()),
            low,
            high,
            float(p_values[index]),
            len(values),
            len(signs),
            bool(same_sign[index]),
        )
    return found


def sign_flip_p_values(differences: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Two-sided p-values of paired permutation tests of the mean, one a column.

    Args:
        differences: of each pair, shape ``(n, c)``. With ``2^n`` at most ``resamples`` the test is exact.
        resamples: random flips; all columns share them.

    Returns:
        shape ``(c,)``; 1 for a column of zeros, and of a single pair.
    """
    if len(differences) < 2:
        return np.ones(differences.shape[1])

    def means(signed: np.ndarray, axis: int) -> np.ndarray:
        # scipy flips signs of the numbers 1 ... n; they are the signs of the pairs, for all columns at once.
        return np.sign(signed) @ differences / len(differences)

    with np.errstate(over="ignore"):  # scipy counts all possible flips
        test = scipy.stats.permutation_test(
            (np.arange(1.0, len(differences) + 1),),
            means,
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, 2**20 // len(differences)),
            random_state=_SEED,
        )
    return np.atleast_1d(test.pvalue)


def bootstrap_interval(differences: np.ndarray, resamples: int = 1999) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean.

    Args:
        differences: shape ``(n,)``; of a single one the interval is that one.
        resamples: number of bootstrap samples.
    """
    if len(differences) < 2:
        return float(differences[0]), float(differences[0])
    interval = scipy.stats.bootstrap(
        (differences,),
        np.mean,
        method="percentile",
        n_resamples=resamples,
        batch=max(1, 2**20 // len(differences)),
        random_state=_SEED,
    ).confidence_interval
    return float(interval.low), float(interval.high)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's corrected p-values ("A simple sequentially rejective multiple test procedure", 1979).

    Args:
        p_values: of one family, in any order, shape ``(m,)``.

    Returns:
        shape ``(m,)``; the i-th smallest is multiplied by ``m - i``, no smaller than those before it, at most 1.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    corrected = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    result = np.empty_like(corrected)
    result[order] = corrected
    return result
