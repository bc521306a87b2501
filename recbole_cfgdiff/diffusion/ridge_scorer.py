"""From a sequence to scores by the linear model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.next_item_ridge import NextItemRidge
from recbole_cfgdiff.diffusion.sequences import TENSOR_TELLS_NO_ORDER, latest

_NO_VECTORS = "the scores of a linear model of all pairs of items are no inner products of vectors"


class RidgeScorer:
    """Maps histories to scores of all items by a ``NextItemRidge``. A ``HistoryScorer``.

    Args:
        network: the model.
        max_length: the latest items of a history that are read.
    """

    def __init__(self, network: NextItemRidge, max_length: int) -> None:
        self.network = network
        self.n_items = network.n_items
        self.max_length = max_length

    @torch.no_grad()
    def sweep(self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]) -> Iterator[torch.Tensor]:
        """As of ``Scorer``; the same at each scale."""
        if isinstance(history, torch.Tensor):
            raise ValueError(TENSOR_TELLS_NO_ORDER)
        for _ in guidance_scales:
            yield self.network(latest(history, self.max_length))

    def item_vectors(self) -> torch.Tensor:
        """Always an error, as of ``Scorer``."""
        raise ValueError(_NO_VECTORS)

    def similarity_vectors(self) -> torch.Tensor:
        """Always an error: it has none."""
        raise ValueError("a linear model of all pairs of items has no vectors to tell how alike two items are")

    def query_vectors(self, history: torch.Tensor | SparseRows, guidance_scale: float) -> torch.Tensor:
        """Always an error, as of ``Scorer``."""
        raise ValueError(_NO_VECTORS)

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """As of ``Scorer``; nothing is kept."""
        yield
