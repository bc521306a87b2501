"""Metrics of kept rankings: each user's, of groups of users and of items, and beyond accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.metrics import TailPercentage
from recbole.evaluator.register import metrics_dict

from recbole_cfgdiff.evaluation.rankings import Ranking
import itertools

BEYOND_ACCURACY = ("ItemCoverage", "AveragePopularity", "TailPercentage", "GiniIndex", "ShannonEntropy")

# Lowest history length of each group: the paper's zero-shot and few-shot users (Sec. V), then longer ones.
HISTORY_LENGTHS = (0, 1, 6, 11, 21, 51, 101, 201)

# Items by popularity: the share of the items that are more popular than those of the group.
POPULARITY_SHARES = (0.0, 0.05, 0.2, 0.5)


def is_per_user(metric: str) -> bool:
    """Whether a metric, such as ``ndcg@10``, is a mean over users that their rankings determine."""
    return issubclass(metrics_dict[split_metric(metric)[0]], TopkMetric)


def user_metrics(ranking: Ranking, metrics: Sequence[str]) -> pd.DataFrame:
    """Metrics of each user, by RecBole's own formulas; the mean over a user's rankings where there are several.

    Args:
        ranking: with lists at least as long as the metrics'.
        metrics: such as ``ndcg@10``; for each, ``is_per_user``.

    Returns:
        a row a user, sorted by user, a column a metric.
    """
    hits = np.concatenate([ranking.hits, ranking.n_targets[:, None].astype(np.int64)], axis=1)
    struct = DataStruct()
    struct.set("rec.topk", torch.from_numpy(hits))
    by_name = {name: _values_by_length(name, struct, hits.shape[1] - 1) for name, _ in map(split_metric, metrics)}
    values = {metric: by_name[name][:, k - 1] for metric, (name, k) in zip(metrics, map(split_metric, metrics))}
    return pd.DataFrame(values, index=ranking.users).groupby(level=0).mean()


def _values_by_length(name: str, struct: DataStruct, longest: int) -> np.ndarray:
    """A metric of each ranking for lists of 1, 2, ... ``longest`` items, which RecBole averages over the rankings."""
    calculator = metrics_dict[name](_Options(topk=[longest]))
    calculator.topk_result = lambda _, values: values
    return calculator.calculate_metric(struct)


def split_metric(metric: str) -> tuple[str, int]:
    """``ndcg@10`` as ``("ndcg", 10)``; a metric without a length, such as ``gauc``, with 0."""
    name, _, k = metric.lower().partition("@")
    return name, int(k or 0)


def list_length(valid_metric: str, topk: Sequence[int]) -> int:
    """The length of the lists that matter most: that of the metric to choose by, or if it has none, the longest."""
    return split_metric(valid_metric)[1] or max(topk)


class _Options(dict):
    """Options as RecBole's metrics read them; others are None, as in RecBole's Config."""

    def __missing__(self, name: str) -> None:
        return None


def guidance_effects(valid_metric: str, k: int) -> list[str]:
    """What guidance is looked at for: the metric to choose by, coverage, popularity and novelty of ``k`` items."""
    return [valid_metric, *(f"{name}@{k}" for name in ("itemcoverage", "averagepopularity", "novelty"))]


def beyond_accuracy(ranking: Ranking, k: int) -> dict[str, float]:
    """Coverage, popularity, share of the tail, Gini index and entropy as RecBole defines them, and novelty.

    Args:
        ranking: with lists of at least ``k`` items.
        k: length of the lists.

    Returns:
        by name, such as ``itemcoverage@10``. Novelty is the mean self-information ``-log2`` of the share of users who
        have the item (Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems"); an
        item that nobody has counts as one user's.
    """
    items = torch.from_numpy(ranking.items[:, :k].astype(np.int64))
    seen = Counter({item: int(count) for item, count in enumerate(ranking.item_counts) if count})
    struct = DataStruct()
    struct.set("rec.items", items)
    struct.set("data.num_items", len(ranking.item_counts))
    struct.set("data.count_items", seen)
    values: dict[str, Any] = {}
    for name in BEYOND_ACCURACY:
        metric = _TailPercentage if name == "TailPercentage" else metrics_dict[name.lower()]
        calculator = metric(_Options(topk=[k], metric_decimal_place=12))
        values |= calculator.calculate_metric(struct)
    share = np.maximum(ranking.item_counts, 1) / ranking.n_users
    values[f"novelty@{k}"] = -np.log2(share[items.numpy()]).mean()
    return {name: float(value) for name, value in values.items()}


class _TailPercentage(TailPercentage):
    """RecBole 1.2.1 looks each recommendation up in the list of all items of the tail; here each item is, once."""

    def get_tail(self, item_matrix: np.ndarray, count_items: dict[int, int]) -> np.ndarray:
        items, place = np.unique(item_matrix, return_inverse=True)
        return super().get_tail(items[None], count_items)[0][place].reshape(item_matrix.shape)


def by_history_length(ranking: Ranking, metric: str) -> pd.DataFrame:
    """A metric's mean over the users of each history length.

    Returns:
        ``group`` (such as ``1-5``), ``users`` and ``value``, a row for each group that has users.
    """
    lengths = pd.Series(ranking.history_length.astype(np.int64), index=ranking.users).groupby(level=0).first()
    values = user_metrics(ranking, [metric])[metric]
    group = np.searchsorted(HISTORY_LENGTHS, lengths[values.index], side="right") - 1
    return _grouped(values.to_numpy(), group, _range_names(HISTORY_LENGTHS), "users")


def by_popularity(ranking: Ranking, k: int) -> pd.DataFrame:
    """The share of the targets found among ``k`` items, by the popularity of the target in training.

    Returns:
        ``group`` (such as ``top 5%``), ``targets`` and ``value``, a row for each group that has targets.
    """
    counts = ranking.item_counts[1:].astype(np.int64)
    # How many items are more popular; equally popular items are of one group.
    more_popular = np.searchsorted(np.sort(-counts), -counts, side="left") / len(counts)
    group_of_item = np.searchsorted(POPULARITY_SHARES, more_popular, side="right") - 1
    recommended = pd.MultiIndex.from_arrays(
        [np.arange(len(ranking.items)).repeat(k), ranking.items[:, :k].astype(np.int64).ravel()]
    )
    targets = pd.MultiIndex.from_arrays([ranking.target_rows.astype(np.int64), ranking.target_items.astype(np.int64)])
    group = group_of_item[ranking.target_items.astype(np.int64) - 1]
    return _grouped(targets.isin(recommended).astype(float), group, _share_names(POPULARITY_SHARES), "targets")


def _grouped(values: np.ndarray, group: np.ndarray, names: list[str], counted: str) -> pd.DataFrame:
    table = pd.DataFrame({"group": group, "value": values}).groupby("group")["value"].agg(["size", "mean"])
    table.columns = [counted, "value"]
    table.insert(0, "group", [names[index] for index in table.index])
    return table.reset_index(drop=True)


def _range_names(lowest: tuple[int, ...]) -> list[str]:
    pairs = itertools.pairwise(lowest)
    return [str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairs] + [f"{lowest[-1]}+"]


def _share_names(shares: tuple[float, ...]) -> list[str]:
    percent = [f"{share:.0%}"[:-1] for share in (*shares, 1.0)]
    return [f"top {percent[1]}%", *(f"{low}-{high}%" for low, high in itertools.pairwise(percent))]
