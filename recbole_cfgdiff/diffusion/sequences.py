"""Histories as sequences of items: a row a history, the earliest item first, zeros (the padding item) behind."""

from __future__ import annotations

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows

TENSOR_TELLS_NO_ORDER = "history: expected SparseRows, entries in time order; a tensor does not tell their order"


def latest(history: SparseRows, length: int) -> torch.Tensor:
    """The latest items of each history.

    Args:
        history: ``B`` histories; of entries the values count only in that those of value 0 are padding.
        length: how many of a history at most.

    Returns:
        int64, shape ``(B, L)``, ``L`` the length of the longest, at least 1.
    """
    return _before(history, history.counts(), length)


def windows(history: SparseRows, length: int) -> torch.Tensor:
    """Of each history so many items in a row, drawn at random from a longer one. Arguments and result as ``latest``."""
    counts = history.counts()
    spare = (counts - length).clamp(min=0)
    return _before(history, counts - (torch.rand(len(counts), device=counts.device) * (spare + 1)).long(), length)


def _before(history: SparseRows, ends: torch.Tensor, length: int) -> torch.Tensor:
    """The latest items before the places ``ends``, of shape ``(B,)``."""
    starts = (ends - length).clamp(min=0)
    places = history.places() - starts[history.row]
    chosen = (places >= 0) & (places < (ends - starts)[history.row]) & (history.values != 0)
    longest = max(1, int((ends - starts).max())) if len(history) else 1
    items = history.items.new_zeros(len(history), longest)
    items[history.row[chosen], places[chosen]] = history.items[chosen]
    return items


def lengths(items: torch.Tensor) -> torch.Tensor:
    """Number of items of each sequence, of shape ``(B, L)``; int64, shape ``(B,)``."""
    return (items != 0).sum(dim=1)
