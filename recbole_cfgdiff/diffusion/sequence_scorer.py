"""From a sequence to scores: all of a trained next-items model that recommending needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.guidance import branches, guided_prediction
from recbole_cfgdiff.diffusion.next_items import NextItemsDenoiser
from recbole_cfgdiff.diffusion.sequences import TENSOR_TELLS_NO_ORDER, latest


class SequenceScorer:
    """Maps histories to scores of all items: the logits of what comes next, everything hidden. A ``HistoryScorer``.

    The last step, ``T``, is all that the ranking needs: its prediction is the marginal distribution of a next item.
    Since the logits are linear in the last hidden layer, guidance combines that, and the items are touched once.

    Args:
        denoiser: the network.
        steps: ``T``.
        max_length: the latest items of a history that are read.
    """

    def __init__(self, denoiser: NextItemsDenoiser, steps: int, max_length: int) -> None:
        self.denoiser = self.network = denoiser
        self.n_items = len(denoiser.output_bias)
        self.steps = steps
        self.max_length = max_length

    @torch.no_grad()
    def sweep(self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]) -> Iterator[torch.Tensor]:
        """As of ``Scorer``; the history is encoded once."""
        guidance = self.guidance(history)
        weight, bias = self.denoiser.output_weights()
        for scale in guidance_scales:
            yield torch.addmm(bias, self.last_hidden(guidance, scale), weight.T)

    def item_vectors(self) -> torch.Tensor:
        """As of ``Scorer``: the items' own vectors and their biases."""
        weight, bias = self.denoiser.output_weights()
        return torch.cat([weight, bias[:, None]], dim=1)

    @torch.no_grad()
    def query_vectors(self, history: torch.Tensor | SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Scorer``."""
        hidden = self.last_hidden(self.guidance(history), guidance_scale)
        return torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)

    def guidance(self, history: torch.Tensor | SparseRows) -> torch.Tensor:
        """What guides after each history, shape ``(B, d)``; 0 of an empty one. Arguments and errors as of ``sweep``."""
        if isinstance(history, torch.Tensor):
            raise ValueError(TENSOR_TELLS_NO_ORDER)
        return self.denoiser.encoder.last(latest(history, self.max_length))

    def last_hidden(
        self,
        guidance: torch.Tensor,
        guidance_scale: float,
        shown: torch.Tensor | None = None,
        t: int | None = None,
    ) -> torch.Tensor:
        """``z`` with guidance and without, combined; the logits are its inner products with the items' vectors.

        Args:
            guidance: of ``guidance``, shape ``(B, d)``.
            guidance_scale: any finite number.
            shown: of ``NextItemsDenoiser.embed``, shape ``(B, d)``; None where everything is hidden.
            t: step from 1 to ``T``; None is ``T``.

        Returns:
            shape ``(B, d)``.
        """
        step = torch.tensor([self.steps if t is None else t], device=guidance.device)
        predictions = [
            self.denoiser(torch.zeros_like(guidance) if each is None else each, shown, step)
            for each in branches(guidance, guidance_scale)
        ]
        return guided_prediction(predictions, guidance_scale)

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """As of ``Scorer``; nothing is kept."""
        yield
