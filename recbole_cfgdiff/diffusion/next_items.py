"""The next items of a history, diffused as categories: absorbing diffusion (Austin et al. 2021, App. A.2.2) whose
``x_0`` are the ``K`` items that come next, guided by the history. Derived in docs/sequences.md."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from recbole_cfgdiff.diffusion.encoders.sequence import FeedForward, SequenceEncoder, initialise


class Cuts(NamedTuple):
    """What is trained on: a row for each cut ``p`` of each history of a batch.

    Attributes:
        row: of the history that is cut, int64, shape ``(P,)``.
        place: of the last item before the cut, int64, shape ``(P,)``.
        x_start: the next items, the nearest first, 0 where there is none, int64, shape ``(P, K)``.
    """

    row: torch.Tensor
    place: torch.Tensor
    x_start: torch.Tensor


def training_cuts(items: torch.Tensor, n_next: int) -> tuple[torch.Tensor, Cuts]:
    """Every cut of every history but those behind which nothing comes.

    Args:
        items: sequences, shape ``(B, L)``.
        n_next: ``K``.

    Returns:
        what the encoder is to read, shape ``(B, L - 1)``, and the cuts.
    """
    following = F.pad(items, (0, n_next)).unfold(1, n_next, 1)[:, 1 : items.shape[1]]
    row, place = (following[:, :, 0] != 0).nonzero(as_tuple=True)
    return items[:, :-1], Cuts(row, place, following[row, place])


def distance_weights(n_next: int, decay: float) -> torch.Tensor:
    """``decay^(k - 1)`` for the ``k``-th next item, shape ``(n_next,)``."""
    return decay ** torch.arange(n_next, dtype=torch.float32)


def q_sample(x_start: torch.Tensor, t: torch.Tensor, steps: int) -> torch.Tensor:
    """Which items are shown at step ``t``: each is hidden with probability ``t / T``, and stays so in later steps
    (Austin et al. 2021, Eq. 3 with ``beta_t = 1 / (T - t + 1)``).

    Args:
        x_start: shape ``(P, K)``; 0 is no item, and never shown.
        t: steps from 1 to ``T``, shape ``(P,)``; at ``T`` all are hidden.
        steps: ``T``.

    Returns:
        bool, shape ``(P, K)``.
    """
    is_shown = torch.rand(x_start.shape, device=x_start.device) * steps >= t[:, None]
    return is_shown & (x_start != 0)


class NextItemsDenoiser(nn.Module):
    """Predicts the hidden items from the guidance, the items that are shown and the step; by one softmax over the
    items, whose vectors are those that the encoder reads.

        z = LayerNorm(f + FF(f)),   f = h + W_s sum_shown e(i) + emb(t),   logits = z E^T + b

    Args:
        encoder: gives ``h``; null guidance is ``h = 0``.
        steps: ``T``.
        inner_size: width of the feed-forward layer.
        dropout_prob: dropout in it.
        initializer_range: deviation of the weights at the start.
    """

    def __init__(
        self, encoder: SequenceEncoder, steps: int, inner_size: int, dropout_prob: float, initializer_range: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        n_items, size = encoder.item_embedding.weight.shape
        self.shown = nn.Linear(size, size, bias=False)
        self.step_embedding = nn.Embedding(steps, size)
        self.feed_forward = FeedForward(size, inner_size, dropout_prob)
        for module in (self.shown, self.step_embedding, self.feed_forward):
            initialise(module, initializer_range)
        self.norm = nn.LayerNorm(size)
        self.output_bias = nn.Parameter(torch.zeros(n_items))

    def forward(self, guidance: torch.Tensor, shown: torch.Tensor | None, t: torch.Tensor) -> torch.Tensor:
        """The last hidden layer ``z``.

        Args:
            guidance: ``h``, shape ``(P, d)``; zeros are the null guidance.
            shown: of ``embed``, shape ``(P, d)``; None where everything is hidden.
            t: steps from 1 to ``T``, shape ``(P,)`` or ``(1,)``.

        Returns:
            shape ``(P, d)``.
        """
        first = guidance + self.step_embedding(t - 1)
        if shown is not None:
            first = first + self.shown(shown)
        z: torch.Tensor = self.norm(first + self.feed_forward(first))
        return z

    def embed(self, items: torch.Tensor, is_shown: torch.Tensor) -> torch.Tensor:
        """Sum of the vectors of the items that are shown; shapes ``(P, K)`` to ``(P, d)``."""
        table = self.encoder.item_embedding.weight
        return F.embedding_bag(items, table, per_sample_weights=is_shown.to(table.dtype), mode="sum")

    def output_weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``E``, of shape ``(n, d)``, and ``b``, of shape ``(n,)``."""
        return self.encoder.item_embedding.weight, self.output_bias
