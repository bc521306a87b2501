"""Where scores come from: ours from histories alone; others by the same methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any, Protocol

import torch

from recbole_cfgdiff.diffusion import HistoryScorer, SparseRows
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import Hyperparameters


class Source(Protocol):
    """Scores of all items, RecBole's padding item 0 among them.

    Attributes:
        n_items: columns of the scores.
        is_guided: whether a guidance scale changes them.
    """

    n_items: int
    is_guided: bool

    def rows(self, histories: Histories, chosen: torch.Tensor) -> SparseRows:
        """Some histories as the model takes them, such as weighted by recency.

        Args:
            histories: on the CPU.
            chosen: numbers of rows of ``histories``, int64, shape ``(B,)``.
        """

    def of_histories(self, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """For anybody.

        Args:
            rows: of ``rows``, shape ``(B, n_items)``, entries in time order.
            guidance_scale: any finite number.

        Returns:
            shape ``(B, n_items)``; the next call may overwrite it.

        Raises:
            ConfigError: if the model has no scores for those whom it was not trained on.
        """

    def of_users(self, users: torch.Tensor, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """For those whom the model knows by their numbers, int64, shape ``(B,)``. The rest as of ``of_histories``."""

    def item_vectors(self) -> torch.Tensor:
        """``[w_i, b_i]``, shape ``(n_items, k + 1)``: a score is its inner product with a user's vector.

        Raises:
            ConfigError: if the scores are no such products.
        """

    def similarity_vectors(self) -> torch.Tensor:
        """What tells how alike two items are, by the cosine; shape ``(n_items, k)``.

        Raises:
            ConfigError: if the model has nothing of the kind.
        """

    def query_vectors(self, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """What the scores are the inner products of ``item_vectors`` with. Arguments as of ``of_histories``.

        Returns:
            shape ``(B, k + 1)``.

        Raises:
            ConfigError: if the scores are no such products.
        """

    def fixed_weights(self) -> AbstractContextManager[None]:
        """Within it the weights must not change; what they alone tell is computed once."""


class HistorySource:
    """Of our models, which score whoever has a history alike.

    Args:
        scorer: with its network in evaluation mode.
        given: the model's hyperparameters.
        taken: histories as the model takes them, by its hyperparameters.
    """

    def __init__(
        self, scorer: HistoryScorer, given: Hyperparameters, taken: Callable[[Any, Histories], Histories]
    ) -> None:
        self.scorer = scorer
        self.given = given
        self.n_items = scorer.n_items
        self.is_guided = hasattr(given, "guidance_scale")
        self._taken = taken

    def rows(self, histories: Histories, chosen: torch.Tensor) -> SparseRows:
        """As of ``Source``, on the device of the weights."""
        network = self.scorer.network
        device = next(chain(network.parameters(), network.buffers())).device
        taken = self._taken(self.given, histories.of(chosen)).to(device)
        return taken.select(torch.arange(len(chosen)))

    def of_histories(self, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``; never an error."""
        return next(self.scorer.sweep(rows, [guidance_scale]))

    def of_users(self, users: torch.Tensor, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``: by their histories."""
        return self.of_histories(rows, guidance_scale)

    def item_vectors(self) -> torch.Tensor:
        """As of ``Source``: the last layer of the network."""
        with _told_of("vectors"):
            return self.scorer.item_vectors()

    def similarity_vectors(self) -> torch.Tensor:
        """As of ``Source``."""
        with _told_of("diversify"):
            return self.scorer.similarity_vectors()

    def query_vectors(self, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``."""
        with _told_of("vectors"):
            return self.scorer.query_vectors(rows, guidance_scale)

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """As of ``Scorer``."""
        with self.scorer.fixed_weights():
            yield


@contextmanager
def _told_of(option: str) -> Iterator[None]:
    """An error of the scorer as one of the option that wants vectors."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from error
